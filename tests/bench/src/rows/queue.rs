//! What a work item costs: how many are done a second, how soon one is answered, memory, and
//! whether all that depends on what else is in the store.

use super::{Figures, Goal, Measure, measure, median};
use crate::peer::Peer;
use crate::queue::exo::{Exo, Mode};
use crate::queue::huey::Huey;
use crate::queue::plain::{self, Jobs, Journal};
use crate::queue::{Bed, Safe};
use crate::stage::Lab;
use crate::trouble::Result;
use crate::workers::{EXO, FLOOR, HUEY, HUEY_2, SQLITE};

/// Items of one measurement where each waits for the disk, and where none does.
const SLOW: u64 = 5_000;
const FAST: u64 = 20_000;
/// Processes of one measurement.
const PROCESSES: u64 = 1_500;
/// Questions of one.
const QUESTIONS: u64 = 300;
/// The exos that share a store, and the items of each.
const SHARERS: u32 = 10;
const SHARE: u64 = 2_000;
/// Items of one that asks what many do, and with `--huge`.
const MANY: u64 = 40_000;
const HUGE: u64 = 1_000_000;
/// Finished items in the store.
const SOME: u64 = 10_000;

/// The queue.
const QUEUE: &str = "noop";

/// The lines of [`depth`].
pub(super) const DEPTH: &[Measure] = &[
    measure("take and finish, kill-safe, one finished item in the store, µs", Goal::None),
    measure("10,000 finished items in the store, times as long", Goal::AtMost(1.1)),
    measure("1,000,000 finished items in the store, times as long", Goal::AtMost(1.1)),
];

/// Items a second, each safe from power cuts: one participant, eight of them.
pub(super) fn power(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != FLOOR {
        return speed(lab, peer, Safe::Power, SLOW);
    }
    let bed = Bed::new(lab)?;
    let mut journal = Journal::new(&bed)?;
    let rate = plain::rate(SLOW, || journal.append())?;
    Ok(vec![Some(rate); 2])
}

/// Items a second, each safe from the death of processes.
pub(super) fn kill(lab: &Lab, peer: &Peer) -> Result<Figures> {
    speed(lab, peer, Safe::Kill, FAST)
}

fn speed(lab: &Lab, peer: &Peer, safe: Safe, count: u64) -> Result<Figures> {
    match peer.name {
        EXO => Ok(vec![
            Some(exo_rate(lab, peer, (safe, Mode::Persistent), 1, count)?),
            Some(exo_rate(lab, peer, (safe, Mode::Persistent), 8, 2 * count)?),
        ]),
        HUEY | HUEY_2 => Ok(vec![Some(Huey::new(lab, peer, safe)?.rate(count)?); 2]),
        SQLITE => {
            let bed = Bed::new(lab)?;
            let jobs = Jobs::new(&bed, safe, count)?;
            let rate = plain::rate(count, || jobs.turn(&mut || Ok(())))?;
            Ok(vec![Some(rate); 2])
        }
        _ => Ok(vec![None; 2]),
    }
}

fn exo_rate(
    lab: &Lab,
    peer: &Peer,
    (safe, mode): (Safe, Mode),
    instances: u32,
    count: u64,
) -> Result<f64> {
    let exo = Exo::new(lab, peer, safe)?;
    exo.fill(QUEUE, count)?;
    exo.start(QUEUE, QUEUE, mode, instances)?;
    exo.rate(count)
}

/// Items a second with one participant as authors write them, by the crate, by the package for Python: each
/// safe from power cuts, then from kills.
pub(super) fn kits(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None; 4]);
    }
    let mut rates = Vec::new();
    for safe in [Safe::Power, Safe::Kill] {
        for mode in [Mode::Crate, Mode::Kit] {
            rates.push(Some(exo_rate(lab, peer, (safe, mode), 1, SLOW)?));
        }
    }
    Ok(rates)
}

/// Items a second with a process for each. The floor starts one and appends to a file; `SQLite`
/// takes, starts one and finishes.
pub(super) fn per_item(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let nothing = lab.tiny("next");
    let rate = match peer.name {
        EXO => exo_rate(lab, peer, (Safe::Power, Mode::PerItem), 1, PROCESSES)?,
        SQLITE => {
            let bed = Bed::new(lab)?;
            let jobs = Jobs::new(&bed, Safe::Power, PROCESSES)?;
            plain::rate(PROCESSES, || jobs.turn(&mut || plain::execute(&nothing)))?
        }
        FLOOR => {
            let bed = Bed::new(lab)?;
            let mut journal = Journal::new(&bed)?;
            plain::rate(PROCESSES, || plain::execute(&nothing).and_then(|()| journal.append()))?
        }
        _ => return Ok(vec![None]),
    };
    Ok(vec![Some(rate)])
}

/// From the submission of an item to its answer, everybody idle before it.
pub(super) fn latency(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None; 2]);
    }
    let exo = Exo::new(lab, peer, Safe::Power)?;
    exo.fill(QUEUE, 1)?;
    exo.start(QUEUE, QUEUE, Mode::Persistent, 1)?;
    exo.wait_for_end(1)?;
    let mut times = exo.ask(QUEUE, QUESTIONS)?;
    times.sort_by(f64::total_cmp);
    let last = times.get(times.len() * 99 / 100).copied();
    Ok(vec![median(&times), last])
}

/// What exo needs, and what more after many items.
pub(super) fn memory(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None; 2]);
    }
    let count = if lab.huge { HUGE } else { MANY };
    let exo = Exo::new(lab, peer, Safe::Kill)?;
    exo.fill(QUEUE, count)?;
    exo.start(QUEUE, QUEUE, Mode::Persistent, 1)?;
    exo.wait_for_tries(MANY / 10)?;
    let early = Exo::memory()?;
    exo.wait_for_end(count)?;
    let late = Exo::memory()?;
    Ok(vec![Some(early.max(late) as f64), Some(late as f64 - early as f64)])
}

/// Whether finished items make others slower.
pub(super) fn depth(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None; 3]);
    }
    let base = after(lab, peer, 1)?;
    let some = after(lab, peer, SOME)?;
    let huge = if lab.huge { Some(after(lab, peer, HUGE)?) } else { None };
    Ok(vec![Some(base), Some(some / base), huge.map(|huge| huge / base)])
}

/// Returns the microseconds of an item where so many are finished.
fn after(lab: &Lab, peer: &Peer, finished: u64) -> Result<f64> {
    let exo = Exo::new(lab, peer, Safe::Kill)?;
    exo.finish(QUEUE, finished)?;
    exo.fill(QUEUE, MANY)?;
    exo.start(QUEUE, QUEUE, Mode::Persistent, 1)?;
    Ok(1e6 / exo.rate(MANY)?)
}

/// The least and the most that one of ten exos gets, of a tenth: with a queue for each, with one
/// for all.
pub(super) fn fair(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None; 4]);
    }
    let mut figures = Vec::new();
    for together in [false, true] {
        let exo = Exo::new(lab, peer, Safe::Power)?;
        let all = SHARE * u64::from(SHARERS);
        let names: Vec<_> = (0..SHARERS).map(|number| format!("{QUEUE}{number}")).collect();
        if together {
            exo.fill(QUEUE, all)?;
        }
        for name in names.iter().filter(|_| !together) {
            exo.fill(name, SHARE)?;
        }
        for name in &names {
            exo.start(name, if together { QUEUE } else { name }, Mode::Persistent, 1)?;
        }
        let shares = exo.shares(all, names.len())?;
        let tenths = shares.iter().map(|share| share * f64::from(SHARERS));
        figures.push(tenths.clone().min_by(f64::total_cmp));
        figures.push(tenths.max_by(f64::total_cmp));
    }
    Ok(figures)
}
