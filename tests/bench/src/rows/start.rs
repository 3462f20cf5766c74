//! From nothing to running services.

use super::{Figures, millis};
use crate::peer::{Family, Peer};
use crate::stage::{Lab, Stage};
use crate::trouble::{Result, Unable};
use linux::time::monotonic;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

/// Bring-up of bare services.
pub(super) fn plain(lab: &Lab, peer: &Peer) -> Result<Figures> {
    Ok(vec![bring_up(lab, peer, lab.services)?])
}

/// Starts so many services; milliseconds to the last one's first instruction.
fn bring_up(lab: &Lab, peer: &Peer, services: usize) -> Result<Option<f64>> {
    let Some(mut stage) = Stage::prepare(lab, peer, services, false)? else { return Ok(None) };
    let Some(begun) = stage.start()? else { return Ok(None) };
    Ok(Some(millis(begun, stage.wait_for_starts(services)?)))
}

/// Bring-up of services with loggers; the floor has none and shows what bare services take.
pub(super) fn logged(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.family == Family::Floor {
        return Ok(vec![bring_up(lab, peer, lab.services)?; 2]);
    }
    let none = Ok(vec![None; 2]);
    let Some(mut stage) = Stage::prepare(lab, peer, lab.services, true)? else { return none };
    let Some(begun) = stage.start()? else { return none };
    let services = stage.wait_for_starts(lab.services)?;
    let loggers = stage.wait_for_loggers()?.max(services);
    Ok(vec![Some(millis(begun, services)), Some(millis(begun, loggers))])
}

/// A new entry in the scanned folder that nobody announces.
pub(super) fn appear(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.family == Family::Floor {
        return Ok(vec![None; 2]);
    }
    let Some(stage) = Stage::steady(lab, peer, lab.services.min(10), false)? else {
        return Ok(vec![None; 2]);
    };
    // A scanner that looks from time to time is met at another moment of its wait in each round.
    let phase = Duration::from_millis(970 * (lab.round % 5) as u64);
    std::thread::sleep(phase);
    let renamed = place(&stage, "renamed", |from, to| fs::rename(from, to))?;
    std::thread::sleep(phase);
    let linked = place(&stage, "linked", |from, to| std::os::unix::fs::symlink(from, to))?;
    Ok(vec![Some(renamed), Some(linked)])
}

/// Puts a new directory into place; milliseconds to its start, infinity where it never comes.
fn place(
    stage: &Stage<'_>,
    name: &str,
    put: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<f64> {
    let (from, to) = (stage.spare(name)?, stage.folder().join(name));
    let before = stage.starts()?;
    let begun = monotonic();
    put(&from, &to).unable(|| format!("put {} into place", to.display()))?;
    if stage.wait_for_starts_if_any(before + 1)?.is_none() {
        return Ok(f64::INFINITY);
    }
    let first = stage.starts_from(before)?;
    Ok(first.first().map_or(f64::INFINITY, |stamp| millis(begun, stamp.at)))
}
