//! The same with ten times as many services, and again.

use super::{Figures, Goal, Measure, measure, memory, millis};
use crate::peer::Peer;
use crate::stage::{self, Lab, Stage};
use crate::trouble::Result;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];

/// Two for each size, in the order of `SIZES`.
pub(super) const MEASURES: &[Measure] = &[
    measure("growth: bring-up of 10 services, ms", Goal::None),
    measure("growth: memory of the suite with 10 services, MiB", Goal::None),
    measure("growth: bring-up of 100 services, ms", Goal::None),
    measure("growth: memory of the suite with 100 services, MiB", Goal::None),
    measure("growth: bring-up of 1,000 services, ms", Goal::None),
    measure("growth: memory of the suite with 1,000 services, MiB", Goal::None),
    measure("growth: bring-up of 10,000 services, ms", Goal::None),
    measure("growth: memory of the suite with 10,000 services, MiB", Goal::None),
];

/// Brings up suites of growing size.
pub(super) fn all(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let mut figures = Vec::new();
    for size in SIZES {
        let asked = size <= lab.services || lab.huge;
        let known = peer.most_services().is_none_or(|most| size <= most);
        figures.extend(if asked && known { one(lab, peer, size)? } else { [None; 2] });
    }
    Ok(figures)
}

fn one(lab: &Lab, peer: &Peer, size: usize) -> Result<[Option<f64>; 2]> {
    let Some(mut stage) = Stage::prepare(lab, peer, size, false)? else { return Ok([None; 2]) };
    let Some(begun) = stage.start()? else { return Ok([None; 2]) };
    let ended = stage.wait_for_starts(size)?;
    stage::rest();
    Ok([Some(millis(begun, ended)), Some(memory::share()?)])
}
