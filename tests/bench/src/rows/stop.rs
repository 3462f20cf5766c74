//! From everything running to nothing.

use super::{Figures, millis};
use crate::namespace;
use crate::peer::{Peer, Stop};
use crate::stage::{Lab, Stage};
use crate::trouble::{Result, Trouble, Unable};
use linux::signal;
use linux::time::{SECOND, monotonic};

/// Ends a suite with loggers.
pub(super) fn all(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let Some(stage) = Stage::steady(lab, peer, lab.services, true)? else {
        return Ok(vec![None]);
    };
    Ok(vec![stop(&stage, peer)?])
}

/// Ends a suite the way its users do; milliseconds until none of its processes is left.
pub(super) fn stop(stage: &Stage<'_>, peer: &Peer) -> Result<Option<f64>> {
    let Some(way) = peer.stop(&stage.folder()) else { return Ok(None) };
    let Some(scanner) = stage.scanner() else { return Ok(None) };
    let send = |number| signal::kill(scanner, number).unable(|| "signal the scanner".into());
    let begun = monotonic();
    match way {
        Stop::Signal(number) => send(number)?,
        Stop::Command(command) => drop(stage.spawn(command)?),
        Stop::SignalAndServices(number) => {
            send(number)?;
            let Some(mut command) = peer.command("svc") else { return Ok(None) };
            command.arg("-dx").args(&stage.dirs).args(stage.loggers());
            drop(stage.spawn(command)?);
        }
    }
    let ended = namespace::wait_until_alone(60 * SECOND)?;
    let left = || Trouble::new(format!("not all gone after 60 s{}", stage.complaints()));
    Ok(Some(millis(begun, ended.ok_or_else(left)?)))
}
