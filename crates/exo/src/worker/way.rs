//! Making way for another exo, once nothing of ours would be lost by that.

use super::slot::Slot;
use super::{Phase, Worker, now};
use crate::order::DRAINED;
use ::log::info;
use machine::exo::Event;
use machine::time::{Mono, earlier};
use std::time::Duration;

/// How long whoever asked for something, and cancels that are half done, are waited for.
const ANSWERS: Duration = Duration::from_secs(10);
/// Between two looks at whether all is on record: nothing tells of some of it.
const LOOK: Duration = Duration::from_millis(50);

/// How far it is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Way {
    /// When it is looked at again, whatever happens.
    look: Option<Mono>,
    /// When those who asked are waited for no more, from when on nothing else is in the way.
    until: Option<Mono>,
}

impl Way {
    /// Tells whether nobody is waited for any more.
    fn is_free(&mut self, is_recorded: bool, owes_answers: bool, now: Mono) -> bool {
        if !is_recorded {
            *self = Self { look: Some(now.after(LOOK)), until: None };
            return false;
        }
        self.look = None;
        let until = *self.until.get_or_insert(now.after(ANSWERS));
        !owes_answers || until <= now
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        earlier(self.look, self.until)
    }
}

impl Worker {
    /// Lets another exo take our place, once nothing is in hand.
    pub(super) fn replace(&mut self) {
        if self.phase != Phase::Stopping && !self.is_replaced {
            info!(
                "{} takes no more items until another exo is in place",
                self.settings.participant
            );
            self.is_replaced = true;
            self.tell_all(Event::Drain);
        }
    }

    /// Ends where another exo takes our place, nothing is in hand, all that was done is on record, who
    /// asked is answered, and all that was printed is out.
    pub(super) fn make_way(&mut self) {
        let is_at_work = !self.log.is_empty() || self.slots.iter().any(Slot::has_delivery);
        if !self.is_replaced || self.phase == Phase::Stopping || is_at_work {
            self.way = Way::default();
            return;
        }
        let is_recorded = !self.broker.holds_unrecorded();
        let owes_answers = self.cancels.go_on() || self.control.owes_answers();
        if self.way.is_free(is_recorded, owes_answers, now()) {
            self.code = if self.phase == Phase::Draining { DRAINED } else { 0 };
            self.shut_down();
            self.decide();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_recorded_is_waited_for_and_answers_for_ten_seconds() {
        let (mut way, begin) = (Way::default(), Mono(1_000_000_000));
        assert!(!way.is_free(false, false, begin));
        assert_eq!(way.deadline(), Some(begin.after(LOOK)));
        let later = begin.after(Duration::from_secs(3600));
        assert!(!way.is_free(false, false, later), "however long that takes");
        assert!(!way.is_free(true, true, later));
        assert_eq!(way.deadline(), Some(later.after(ANSWERS)));
        assert!(way.is_free(true, false, later));
        assert!(way.is_free(true, true, later.after(ANSWERS)));
    }
}
