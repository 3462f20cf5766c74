//! Making way for another exo, once nothing of ours would be lost by that.

use super::slot::Slot;
use super::{Phase, Worker, now};
use crate::order::DRAINED;
use ::log::{info, warn};
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
    /// It was said that it is kept from that.
    is_told: bool,
}

impl Way {
    /// Tells whether nobody is waited for any more. `is_stuck`: what is not on record cannot be for now.
    /// What is wished for all the time, as a source does that sends without end, is by our end.
    fn is_free(
        &mut self,
        is_recorded: bool,
        is_stuck: bool,
        owes_answers: bool,
        now: Mono,
    ) -> bool {
        self.look = (!is_recorded).then(|| now.after(LOOK));
        if !is_recorded && is_stuck {
            self.until = None;
            return false;
        }
        let until = *self.until.get_or_insert(now.after(ANSWERS));
        is_recorded && !owes_answers || until <= now
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
        if let (false, false, Some(why)) = (is_recorded, self.way.is_told, &self.trouble) {
            self.way.is_told = true;
            warn!("another exo takes its place only when what was done is on record: {why}");
        }
        if self.way.is_free(is_recorded, self.trouble.is_some(), owes_answers, now()) {
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
        assert!(!way.is_free(false, true, false, begin));
        assert_eq!(way.deadline(), Some(begin.after(LOOK)));
        let later = begin.after(Duration::from_secs(3600));
        assert!(!way.is_free(false, true, false, later), "however long that takes");
        assert!(!way.is_free(true, false, true, later));
        assert_eq!(way.deadline(), Some(later.after(ANSWERS)));
        assert!(way.is_free(true, false, false, later));
        assert!(way.is_free(true, false, true, later.after(ANSWERS)));
        // Who wishes all the time, and nothing keeps that from being recorded.
        let mut way = Way::default();
        assert!(!way.is_free(false, false, false, begin));
        assert_eq!(way.deadline(), Some(begin.after(LOOK)));
        assert!(way.is_free(false, false, false, begin.after(ANSWERS)));
    }
}
