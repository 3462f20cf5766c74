//! The same with ten times as many services, and again.

use super::{Figures, Goal, Measure, control, measure, memory, millis, stop, tools};
use crate::peer::Peer;
use crate::stage::{self, Lab, Stage};
use crate::trouble::Result;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

/// Figures of one size.
type OfSize = [Option<f64>; 5];

macro_rules! of_size {
    ($n:literal) => {
        [
            measure(concat!("bring-up of ", $n, " services, ms"), Goal::None),
            measure(concat!("memory of a suite with ", $n, " services, MiB"), Goal::None),
            measure(concat!("svstat of ", $n, " services in one call, ms"), Goal::None),
            measure(concat!($n, " services killed at once, to all back, ms"), Goal::None),
            measure(concat!("stop of ", $n, " services, to everything gone, ms"), Goal::None),
        ]
    };
}

/// Those of each size, in the order of `SIZES`.
pub(super) const MEASURES: &[Measure] =
    [of_size!("10"), of_size!("100"), of_size!("1,000"), of_size!("10,000")].as_flattened();

/// Takes suites of growing size from nothing to nothing, without loggers.
#[allow(clippy::unnecessary_wraps, reason = "the type of every row's function")]
pub(super) fn all(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let mut figures = Vec::new();
    for size in SIZES {
        let asked = size <= lab.services || lab.huge;
        let known = peer.most_services().is_none_or(|most| size <= most);
        let of_size = if asked && known { one(lab, peer, size) } else { Ok(OfSize::default()) };
        // Too many for a suite says nothing against what it did with fewer.
        figures.extend(of_size.unwrap_or_else(|trouble| {
            eprintln!("bench: warning: {} with {size} services: {trouble}", peer.name);
            [Some(f64::NAN); 5]
        }));
    }
    Ok(figures)
}

fn one(lab: &Lab, peer: &Peer, size: usize) -> Result<OfSize> {
    let none = Ok(OfSize::default());
    let Some(mut stage) = Stage::prepare(lab, peer, size, false)? else { return none };
    let Some(begun) = stage.start()? else { return none };
    let up = millis(begun, stage.wait_for_starts(size)?);
    stage::rest();
    let memory = memory::share()?;
    let status = tools::status_of_all(&stage, peer)?;
    let back = control::storm_on(&stage)?;
    stage::rest();
    Ok([Some(up), Some(memory), status, Some(back), stop::stop(&stage, peer)?])
}
