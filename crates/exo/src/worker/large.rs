//! Who may have much in memory: one instance at a time, so that all of them together stay within
//! what one may have, whatever they say.

use super::Worker;
use super::slot::Slot;
use work::Lease;

/// Bytes that each instance may have said of an answer, or of an item that it sends, before it needs
/// leave for more; the same is small enough to wait for its commit beside others.
pub(super) const SMALL: usize = 1 << 20;

/// Who has leave, and what is large and not safe yet.
#[derive(Debug, Default)]
pub(super) struct Large {
    speaker: Option<usize>,
    answers: Vec<Lease>,
    sent: Vec<u64>,
}

impl Large {
    /// Notes that an answer is on its way to the store.
    pub(super) fn answers(&mut self, lease: Lease, bytes: usize) {
        if bytes > SMALL {
            self.answers.push(lease);
        }
    }

    /// The store has it, or does not want it.
    pub(super) fn answered(&mut self, lease: Lease) {
        self.answers.retain(|known| *known != lease);
    }

    /// Notes that an item is on its way to a queue.
    pub(super) fn sends(&mut self, ticket: u64, bytes: usize) {
        if bytes > SMALL {
            self.sent.push(ticket);
        }
    }

    /// It is there, or was refused.
    pub(super) fn sent(&mut self, ticket: u64) {
        self.sent.retain(|known| *known != ticket);
    }

    /// Returns who has leave, where the instances have so many bytes each.
    fn choose(
        &mut self,
        bytes: impl ExactSizeIterator<Item = usize>,
        turn: usize,
    ) -> Option<usize> {
        let count = bytes.len();
        let much: Vec<bool> = bytes.map(|bytes| bytes >= SMALL).collect();
        self.speaker = self.speaker.filter(|slot| much.get(*slot) == Some(&true));
        if self.speaker.is_none() && self.answers.is_empty() && self.sent.is_empty() {
            self.speaker = (turn..count).chain(0..turn).find(|slot| much.get(*slot) == Some(&true));
        }
        self.speaker
    }
}

impl Worker {
    /// Gives leave to one of those that wait for it.
    pub(super) fn share_out(&mut self) {
        let speaker = self.large.choose(self.slots.iter().map(Slot::said), self.turn);
        for (number, slot) in self.slots.iter_mut().enumerate() {
            slot.may_say_much(speaker == Some(number));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use work::{JobId, TakerId};

    const MUCH: usize = SMALL;

    #[test]
    fn one_at_a_time_has_leave_until_what_it_said_is_safe() {
        let lease = Lease { job: JobId(1), taker: TakerId(1), number: 1 };
        let mut large = Large::default();
        let choose = |large: &mut Large, bytes: [usize; 3]| large.choose(bytes.into_iter(), 1);
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
}
