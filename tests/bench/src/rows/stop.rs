//! From everything running to nothing.

use super::{Figures, millis};
use crate::namespace;
use crate::peer::{Peer, Stop};
use crate::stage::{Lab, Stage};
use crate::trouble::{Result, Trouble, Unable};
use linux::signal;
use linux::time::{SECOND, monotonic};

/// Ends a suite the way its users do.
pub(super) fn all(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let folder = lab.root.join("services");
    let Some(way) = peer.stop(&folder) else { return Ok(vec![None]) };
    let Some(stage) = Stage::steady(lab, peer, lab.services, true)? else {
        return Ok(vec![None]);
    };
    let Some(scanner) = stage.scanner() else { return Ok(vec![None]) };
    let send = |number| signal::kill(scanner, number).unable(|| "signal the scanner".into());
    let begun = monotonic();
    match way {
        Stop::Signal(number) => send(number)?,
        Stop::Command(command) => drop(stage.spawn(command)?),
        Stop::SignalAndServices(number) => {
            send(number)?;
            let Some(mut command) = peer.command("svc") else { return Ok(vec![None]) };
            command.arg("-dx").args(&stage.dirs);
            command.args(stage.dirs.iter().map(|dir| dir.join("log")));
            drop(stage.spawn(command)?);
        }
    }
    let ended = namespace::wait_until_alone(60 * SECOND)?;
    let left = || Trouble::new(format!("not all gone after 60 s{}", stage.complaints()));
    Ok(vec![Some(millis(begun, ended.ok_or_else(left)?))])
}
