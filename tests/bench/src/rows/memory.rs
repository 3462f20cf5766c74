//! What an idle suite costs: memory, and wake-ups.

use super::Figures;
use crate::peer::Peer;
use crate::processes::{self, Process};
use crate::stage::{Lab, Stage};
use crate::trouble::{Result, Trouble};
use std::time::Duration;

const LOGGERS: [&str; 3] = ["multilog", "svlogd", "s6-log"];

/// Counted for each logger of ours until there is one, KiB: private memory and page tables.
const PROMISED_LOGGER: u64 = 16 + 36;

/// The mean of all supervises.
pub(super) fn idle(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let Some(_stage) = Stage::steady(lab, peer, lab.sample(), false)? else {
        return Ok(vec![None; 3]);
    };
    let (mut private, mut tables, mut count) = (0, 0, 0);
    for process in processes::all()?.iter().filter(|process| process.name == peer.keeper()) {
        let memory = process.memory()?;
        private += memory.private;
        tables += memory.tables;
        count += 1;
    }
    if count < lab.sample() {
        return Err(Trouble::new(format!("only {count} processes are {}", peer.keeper())));
    }
    let mean = |sum: u64| Some(sum as f64 / count as f64);
    Ok(vec![mean(private), mean(tables), mean(private + tables)])
}

/// Everything but the services themselves.
pub(super) fn suite(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let Some(stage) = Stage::steady(lab, peer, lab.services, true)? else {
        return Ok(vec![None]);
    };
    let promised = !peer.has_own_logger();
    let mut sum = if promised { stage.dirs.len() as u64 * PROMISED_LOGGER } else { 0 };
    for process in own()? {
        if !promised || !LOGGERS.contains(&process.name.as_str()) {
            let memory = process.memory()?;
            sum += memory.share + memory.tables;
        }
    }
    Ok(vec![Some(sum as f64 / 1024.0)])
}

/// How often an idle suite is woken.
pub(super) fn switches(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let Some(_stage) = Stage::steady(lab, peer, lab.sample(), false)? else {
        return Ok(vec![None]);
    };
    let processes = own()?;
    let sum = || processes.iter().map(Process::switches).sum::<Result<u64>>();
    let before = sum()?;
    std::thread::sleep(Duration::from_secs(lab.idle_seconds));
    Ok(vec![Some((sum()? - before) as f64)])
}

/// Sums what the suite that runs now costs, shared pages divided, MiB.
pub(super) fn share() -> Result<f64> {
    let mut sum = 0;
    for process in own()? {
        let memory = process.memory()?;
        sum += memory.share + memory.tables;
    }
    Ok(sum as f64 / 1024.0)
}

/// Lists the suite's processes: the services are all named run, and all others are the suite's.
fn own() -> Result<Vec<Process>> {
    let mut all = processes::all()?;
    all.retain(|process| process.name != "run");
    Ok(all)
}
