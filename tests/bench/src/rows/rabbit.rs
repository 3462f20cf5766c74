//! What a work item of RabbitMQ costs: how many are done a second, how soon one is answered, memory.

use super::{Figures, median};
use crate::peer::Peer;
use crate::queue::Safe;
use crate::queue::exo::{Exo, Mode};
use crate::queue::rabbit::{self, AtWork, Queue};
use crate::rabbits::{EXO, OLDER, PIKA, PIKA_50, rival};
use crate::stage::Lab;
use crate::trouble::{Result, Trouble};

/// Items of one measurement.
const COUNT: u64 = 5_000;
/// Questions of one.
const QUESTIONS: u64 = 300;
/// Items that are cancelled.
const CANCELS: u64 = 50;
/// Messages that are published one by one.
const MESSAGES: u64 = 2_000;
/// Participants that are several, and those that are many.
const SEVERAL: u32 = 4;
const MANY: u32 = 20;

/// Which participant stands for an exo in the table.
fn mode(peer: &Peer) -> Mode {
    if peer.name == OLDER { Mode::Older } else { Mode::Kit }
}

/// Items a second with one participant, with several, and the memory that it takes.
pub(super) fn speed(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if let Some(rival) = rival(peer.name) {
        let mut work = AtWork::start(lab, rival, COUNT)?;
        let rate = work.rate(COUNT)?;
        return Ok(speed_of(peer.name, rate, rabbit::memory()?));
    }
    let (one, exo, all) = exo(lab, peer, 1, COUNT)?;
    let (several, ..) = self::exo(lab, peer, SEVERAL, 2 * COUNT)?;
    Ok(vec![Some(one), Some(several), Some(exo), Some(all)])
}

/// Returns the figures of one that is not ours. None of these has several participants; what has the most
/// on its way stands in for them, since the goal names it.
fn speed_of(name: &str, rate: f64, memory: f64) -> Figures {
    vec![Some(rate), (name == PIKA_50).then_some(rate), None, Some(memory)]
}

/// Returns how many items are done a second; the KiB that only exo's processes have, and the MiB of
/// all.
fn exo(lab: &Lab, peer: &Peer, instances: u32, count: u64) -> Result<(f64, f64, f64)> {
    let queue = Queue::new(lab)?;
    let exo = Exo::of_broker(lab, peer, Safe::Power, &queue)?;
    queue.fill(count)?;
    exo.start(&queue.name, &queue.name, mode(peer), instances)?;
    let rate = exo.rate(count)?;
    Ok((rate, Exo::memory()? as f64, rabbit::memory()?))
}

/// From the publication of an item to its answer, everybody idle before it.
pub(super) fn latency(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let times = match peer.name {
        EXO | OLDER => {
            let queue = Queue::new(lab)?;
            let exo = Exo::of_broker(lab, peer, Safe::Power, &queue)?;
            queue.fill(1)?;
            exo.start(&queue.name, &queue.name, mode(peer), 1)?;
            exo.wait_for_end(1)?;
            queue.ask(QUESTIONS)?
        }
        PIKA => {
            let Some(rival) = rival(PIKA) else { return Ok(vec![None; 2]) };
            AtWork::start(lab, rival, 1)?.queue().ask(QUESTIONS)?
        }
        _ => return Ok(vec![None; 2]),
    };
    let mut times = times;
    times.sort_by(f64::total_cmp);
    Ok(vec![median(&times), times.get(times.len() * 99 / 100).copied()])
}

/// From a cancel by the control exchange to the end of the work, while others wait in the queue.
pub(super) fn cancel(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None; 2]);
    }
    let queue = Queue::new(lab)?;
    let exo = Exo::of_broker(lab, peer, Safe::Power, &queue)?;
    queue.fill(CANCELS)?;
    exo.start(&queue.name, &queue.name, Mode::Sleeper, 1)?;
    let mut told = Vec::new();
    for r#try in 1..=CANCELS {
        told.push(queue.cancel(exo.begun(r#try)?)?);
    }
    let ended = exo.cancelled(CANCELS)?;
    if told.len() != ended.len() {
        return Err(Trouble::new(format!("{} of {} were cancelled", ended.len(), told.len())));
    }
    let took = |(told, ended): (&i64, &i64)| (ended - told) as f64 / 1000.0;
    let mut times: Vec<f64> = told.iter().zip(&ended).map(took).collect();
    times.sort_by(f64::total_cmp);
    Ok(vec![median(&times), times.last().copied()])
}

/// What many exos on one machine need, each with a participant that has worked.
pub(super) fn many(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != EXO {
        return Ok(vec![None]);
    }
    let queue = Queue::new(lab)?;
    let exo = Exo::of_broker(lab, peer, Safe::Power, &queue)?;
    queue.fill(COUNT)?;
    for number in 0..MANY {
        exo.start(&format!("noop-{number}"), &queue.name, mode(peer), 1)?;
    }
    exo.wait_for_end(COUNT)?;
    Ok(vec![Some(Exo::memory()? as f64 / 1024.0)])
}

/// Messages a second, published one by one, each when the one before is confirmed.
pub(super) fn publish(lab: &Lab, peer: &Peer) -> Result<Figures> {
    if peer.name != PIKA {
        return Ok(vec![None]);
    }
    Ok(vec![Some(Queue::new(lab)?.publish(MESSAGES)?)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rabbits::{CELERY, CELERY_4};

    #[test]
    fn who_has_one_consumer_has_no_figure_of_several_participants_unless_the_goal_names_it() {
        assert_eq!(speed_of(PIKA_50, 7.0, 1.0), [Some(7.0), Some(7.0), None, Some(1.0)]);
        for name in [PIKA, CELERY, CELERY_4] {
            assert_eq!(speed_of(name, 7.0, 1.0), [Some(7.0), None, None, Some(1.0)], "{name}");
        }
    }
}
