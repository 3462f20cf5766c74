//! Programs that do one thing and end.

use super::{Figures, median, micros};
use crate::peer::{Family, Peer};
use crate::stage::{Lab, Stage};
use crate::trouble::{Result, Trouble, Unable};
use linux::time::monotonic;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How often a program is run for one median.
const TIMES: usize = 200;

/// Variables in the environment that envdir sets.
const VARIABLES: usize = 5;

/// The state of one service, then of all in one call.
pub(super) fn status(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.family == Family::Floor {
        let mut bare = bare(lab);
        return Ok(vec![repeated(&mut bare, TIMES)?, None]);
    }
    let Some(stage) = Stage::steady(lab, peer, lab.services, false)? else {
        return Ok(vec![None; 2]);
    };
    let one = peer.status(&stage.dirs[..1]).map(|mut command| repeated(&mut command, TIMES));
    Ok(vec![one.transpose()?.flatten(), status_of_all(&stage, peer)?])
}

/// Asks for the state of all services in one call; milliseconds.
pub(super) fn status_of_all(stage: &Stage<'_>, peer: &Peer) -> Result<Option<f64>> {
    let Some(mut command) = peer.status(&stage.dirs) else { return Ok(None) };
    Ok(repeated(&mut command, 10)?.map(|taken| taken / 1000.0))
}

/// Programs that prepare a process and run another one, beyond what running that one takes.
pub(super) fn chain(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let (env, lock) = environment(lab)?;
    let mut commands = peer.chains(&env, &lock);
    for command in commands.iter_mut().flatten() {
        command.arg(lab.tiny("next"));
    }
    let mut bare = bare(lab);
    let mut without = Vec::new();
    let mut with = [const { Vec::new() }; 4];
    // In turns, so that a noisy moment meets all alike.
    for _ in 0..TIMES {
        without.push(once(&mut bare)?);
        for (command, taken) in commands.iter_mut().zip(&mut with) {
            if let Some(command) = command {
                taken.push(once(command)?);
            }
        }
    }
    let without = median(&without).unwrap_or(0.0);
    Ok(with.iter().map(|taken| median(taken).map(|taken| taken - without)).collect())
}

/// Makes what envdir reads and setlock locks.
fn environment(lab: &Lab) -> Result<(PathBuf, PathBuf)> {
    let env = lab.root.join("env");
    fs::create_dir_all(&env).unable(|| format!("make {}", env.display()))?;
    for i in 0..VARIABLES {
        let path = env.join(format!("VARIABLE_{i}"));
        fs::write(&path, "a value\n").unable(|| format!("write {}", path.display()))?;
    }
    Ok((env, lab.root.join("lock")))
}

/// Returns a program that does nothing.
fn bare(lab: &Lab) -> Command {
    let mut command = Command::new(lab.tiny("next"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs a program so many times; returns the median, in microseconds.
pub(super) fn repeated(command: &mut Command, times: usize) -> Result<Option<f64>> {
    let taken = (0..times).map(|_| once(command)).collect::<Result<Vec<_>>>()?;
    Ok(median(&taken))
}

/// Runs a program once; microseconds.
fn once(command: &mut Command) -> Result<f64> {
    let begun = monotonic();
    let status = command.status();
    let ended = monotonic();
    let name = command.get_program().display();
    let status = status.unable(|| format!("run {name}"))?;
    if status.success() {
        return Ok(micros(begun, ended));
    }
    Err(Trouble::new(format!("{name}: {status}")))
}
