//! Who may have much in memory: one instance at a time, so that all of them together stay within
//! what one may have, whatever they say.

use super::slot::Slot;
use super::{Worker, now};
use ::log::warn;
use machine::exo::Event;
use machine::time::Mono;
use std::time::Duration;
use work::Lease;

/// Bytes that all instances may have said of answers, or of items that they send, without leave for
/// more. As much waits for commits at most.
const ALL: usize = 8 << 20;
/// What one has of them at most, and at least, however many there are.
pub(super) const MOST: usize = 1 << 20;
pub(super) const LEAST: usize = 8 << 10;

/// How long one that has leave may say nothing while others wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who has leave.
#[derive(Debug)]
struct Speaker {
    slot: usize,
    bytes: usize,
    /// Nothing has come of it since then, others wait, and that is not our doing.
    since: Option<Mono>,
}

/// How much an instance has said of what goes on.
#[derive(Clone, Copy, Debug)]
struct Said {
    bytes: usize,
    /// It is not we who keep it from going on.
    is_heard: bool,
}

/// Who has leave, and what is large and not safe yet.
#[derive(Debug)]
pub(super) struct Large {
    /// Bytes that each instance may say without leave for more; the same is small enough to wait for
    /// its commit beside others.
    small: usize,
    speaker: Option<Speaker>,
    answers: Vec<Lease>,
    sent: Vec<u64>,
}

impl Large {
    /// For so many instances.
    pub(super) fn new(instances: u16) -> Self {
        let small = (ALL / usize::from(instances.max(1))).clamp(LEAST, MOST);
        Self { small, speaker: None, answers: Vec::new(), sent: Vec::new() }
    }

    pub(super) const fn small(&self) -> usize {
        self.small
    }

    /// Notes that an answer is on its way to the store.
    pub(super) fn answers(&mut self, lease: Lease, bytes: usize) {
        if bytes > self.small {
            self.answers.push(lease);
        }
    }

    /// The store has it, or does not want it.
    pub(super) fn answered(&mut self, lease: Lease) {
        self.answers.retain(|known| *known != lease);
    }

    /// Notes that an item is on its way to a queue.
    pub(super) fn sends(&mut self, ticket: u64, bytes: usize) {
        if bytes > self.small {
            self.sent.push(ticket);
        }
    }

    /// It is there, or was refused.
    pub(super) fn sent(&mut self, ticket: u64) {
        self.sent.retain(|known| *known != ticket);
    }

    /// Returns who has leave, where the instances have said so much each.
    fn choose(&mut self, all: &[Said], turn: usize, now: Mono) -> Option<usize> {
        let small = self.small;
        let has_much = |slot: usize| all.get(slot).is_some_and(|said| said.bytes >= small);
        let count = all.len();
        self.speaker.take_if(|speaker| !has_much(speaker.slot));
        if self.speaker.is_none() && self.answers.is_empty() && self.sent.is_empty() {
            let next = (turn..count).chain(0..turn).find(|slot| has_much(*slot));
            self.speaker = next.map(|slot| Speaker { slot, bytes: 0, since: None });
        }
        let speaker = self.speaker.as_mut()?;
        let said = all[speaker.slot];
        let others_wait = (0..count).any(|slot| slot != speaker.slot && has_much(slot));
        let goes_on = std::mem::replace(&mut speaker.bytes, said.bytes) != said.bytes;
        if goes_on || !others_wait || !said.is_heard {
            speaker.since = None;
        }
        if others_wait && said.is_heard {
            speaker.since.get_or_insert(now);
        }
        Some(speaker.slot)
    }

    /// Returns when whoever has leave has said nothing for too long.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.speaker.as_ref()?.since.map(|since| since.after(PATIENCE))
    }
}

impl Worker {
    /// Gives leave to one of those that wait for it, for whom no time passes meanwhile.
    pub(super) fn share_out(&mut self) {
        let now = now();
        let has_room = self.log.has_room();
        let said = |slot: &Slot| Said { bytes: slot.said(), is_heard: has_room && slot.is_heard() };
        let all: Vec<Said> = self.slots.iter().map(said).collect();
        let speaker = self.large.choose(&all, self.turn, now);
        let small = self.large.small();
        for (number, slot) in self.slots.iter_mut().enumerate() {
            let has_leave = speaker == Some(number);
            slot.may_say(if has_leave { usize::MAX } else { small });
            // So does one that may not go on before what it sent is safe, where that cannot be: a disk is
            // full, or RabbitMQ away. Of an ordinary commit its time goes on.
            let waits = !has_leave && all[number].bytes >= small || slot.is_stuck(now);
            if std::mem::replace(&mut slot.is_kept_waiting, waits) != waits {
                self.events.push_back((number, Event::KeptWaiting(waits)));
            }
        }
        if let Some(slot) = speaker
            && self.large.deadline().is_some_and(|at| at <= now)
        {
            let name = &self.slots[slot].name;
            let seconds = PATIENCE.as_secs();
            warn!("{name} said nothing for {seconds} s in the middle of much, while others wait");
            let why = format!("said nothing for {seconds} s in the middle of much");
            self.listen_no_more(slot, &why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use work::{JobId, TakerId};

    const MUCH: usize = MOST;
    const BEGIN: Mono = Mono(1_000_000_000);

    fn said(bytes: [usize; 3]) -> [Said; 3] {
        bytes.map(|bytes| Said { bytes, is_heard: true })
    }

    #[test]
    fn one_at_a_time_has_leave_until_what_it_said_is_safe() {
        let lease = Lease { job: JobId(1), taker: TakerId(1), number: 1 };
        let mut large = Large::new(3);
        let choose = |large: &mut Large, bytes| large.choose(&said(bytes), 1, BEGIN);
        assert_eq!(choose(&mut large, [MUCH - 1, 0, 9]), None);
        assert_eq!(choose(&mut large, [MUCH, 0, MUCH]), Some(2));
        assert_eq!(choose(&mut large, [MUCH, MUCH, 9 * MUCH]), Some(2));
        large.answers(lease, 9 * MUCH);
        assert_eq!(choose(&mut large, [MUCH, MUCH, 0]), None);
        large.sends(7, MUCH + 1);
        large.answered(lease);
        assert_eq!(choose(&mut large, [MUCH, MUCH, 0]), None);
        large.sent(7);
        assert_eq!(choose(&mut large, [MUCH, MUCH, 0]), Some(1));
        large.answers(lease, MUCH);
        assert_eq!(choose(&mut large, [MUCH, 0, 0]), Some(0), "what is small keeps nobody waiting");
    }

    #[test]
    fn who_says_nothing_more_has_ten_seconds_from_when_others_wait_and_it_is_heard() {
        let mut large = Large::new(3);
        let mut at = BEGIN;
        let mut deadline = |bytes: [usize; 3], is_heard: bool, later: u64| {
            at = at.after(Duration::from_secs(later));
            let all = said(bytes).map(|said| Said { is_heard, ..said });
            large.choose(&all, 0, at);
            large.deadline().map(|until| until.nanos_from(at) / 1_000_000_000)
        };
        assert_eq!(deadline([MUCH, 9, 0], true, 0), None);
        assert_eq!(deadline([MUCH, 9, 0], true, 60), None, "nobody waits");
        assert_eq!(deadline([MUCH, MUCH, 0], true, 60), Some(10));
        assert_eq!(deadline([MUCH, MUCH, 0], true, 9), Some(1));
        assert_eq!(deadline([MUCH + 1, MUCH, 0], true, 0), Some(10), "it goes on");
        assert_eq!(deadline([MUCH + 1, MUCH, 0], true, 9), Some(1));
        assert_eq!(deadline([MUCH + 1, MUCH, 0], false, 9), None, "we do not listen");
        assert_eq!(deadline([MUCH + 1, MUCH, 0], true, 0), Some(10));
        assert_eq!(deadline([0, MUCH, 0], true, 9), None, "another one's turn");
    }

    #[test]
    fn what_is_small_is_less_where_there_are_many() {
        for (instances, small) in [(0, MOST), (1, MOST), (8, MOST), (64, 128 << 10), (1000, 8388)] {
            assert_eq!(Large::new(instances).small(), small, "{instances}");
        }
        assert_eq!(Large::new(u16::MAX).small(), LEAST);
    }
}
