//! Services that die or are told to.

use super::{Figures, median, micros, millis};
use crate::peer::{Family, Peer};
use crate::stage::{self, Lab, Stage};
use crate::trouble::{Result, Trouble, Unable};
use linux::errno::Errno;
use linux::fd::PollFd;
use linux::time::{SECOND, monotonic};
use linux::{fd, process, signal};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long after its start a service is told to end.
const EARLY: Duration = Duration::from_millis(50);

/// For so many nanoseconds services are killed one after the other.
const SAMPLING: u64 = 5 * SECOND;

/// One service after the other is killed; the median.
pub(super) fn restart(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let Some(stage) = Stage::steady(lab, peer, lab.sample(), false)? else {
        return Ok(vec![None]);
    };
    let mut taken = Vec::new();
    let limit = monotonic() + SAMPLING;
    for dir in &stage.dirs {
        // Some suites keep even those waiting that have run for long.
        if monotonic() > limit {
            break;
        }
        let (pid, before) = (stage.pid(dir)?, stage.starts()?);
        let begun = monotonic();
        kill(pid)?;
        stage.wait_for_starts(before + 1)?;
        taken.extend(stage.starts_from(before)?.iter().map(|stamp| micros(begun, stamp.at)));
    }
    Ok(vec![median(&taken)])
}

/// All services are killed at once.
pub(super) fn storm(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let Some(stage) = Stage::steady(lab, peer, lab.services, false)? else {
        return Ok(vec![None]);
    };
    Ok(vec![Some(storm_on(&stage)?)])
}

/// Kills all that run; milliseconds until all are back.
pub(super) fn storm_on(stage: &Stage<'_>) -> Result<f64> {
    let victims = stage.starts_from(0)?;
    let begun = monotonic();
    for victim in &victims {
        kill(victim.pid)?;
    }
    let ended = stage.wait_for_starts(2 * victims.len())?;
    Ok(millis(begun, ended))
}

/// Services are told to end: some that have run for long, some that have just begun.
pub(super) fn down(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.family == Family::Floor {
        return Ok(vec![None; 2]);
    }
    let Some(stage) = Stage::steady(lab, peer, lab.services.min(30), false)? else {
        return Ok(vec![None; 2]);
    };
    let mut taken = Vec::new();
    for dir in &stage.dirs {
        let Some(command) = peer.down(dir) else { return Ok(vec![None; 2]) };
        taken.push(end(&stage, dir, command)?);
    }
    stage::rest();
    let mut early = Vec::new();
    for dir in stage.dirs.iter().take(5) {
        let (Some(up), Some(down)) = (peer.up(dir), peer.down(dir)) else { continue };
        let before = stage.starts()?;
        stage.run(up)?;
        let started = stage.wait_for_starts(before + 1)?;
        let age = Duration::from_nanos(monotonic().saturating_sub(started));
        std::thread::sleep(EARLY.saturating_sub(age));
        early.push(end(&stage, dir, down)?);
    }
    Ok(vec![median(&taken), median(&early)])
}

/// Runs `command`, which ends the service in `dir`; microseconds to the end.
fn end(stage: &Stage<'_>, dir: &Path, command: Command) -> Result<f64> {
    let pid = stage.pid(dir)?;
    let watch = process::pidfd(pid).unable(|| format!("watch process {pid}"))?;
    let begun = monotonic();
    let mut child = stage.spawn(command)?;
    let mut fds = [PollFd::readable(watch.raw())];
    let limit = begun + 10 * SECOND;
    while !fds[0].is_ready() {
        let rest = limit.saturating_sub(monotonic());
        if rest == 0 {
            let text = format!("{} did not end in 10 s{}", dir.display(), stage.complaints());
            return Err(Trouble::new(text));
        }
        fd::poll(&mut fds, Some(rest)).unable(|| "wait for a service's end".into())?;
    }
    let ended = monotonic();
    child.wait().unable(|| "wait for the command".into())?;
    Ok(micros(begun, ended))
}

fn kill(pid: i32) -> Result<()> {
    match signal::kill(pid, libc::SIGKILL) {
        // It has ended by itself, and its successor will be counted.
        Ok(()) | Err(Errno(libc::ESRCH)) => Ok(()),
        failed => failed.unable(|| format!("kill {pid}")),
    }
}
