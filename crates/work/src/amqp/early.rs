//! Cancels of items that are not here: they may come yet.
//!
//! Only one that says when its item was sent out is kept, and it is for that item alone: the place may
//! be sent out again right behind its cancel, which RabbitMQ or a clock that is wrong does not tell
//! apart from what was cancelled.

use crate::item::dispatched;
use crate::wire::Cancel;
use machine::time::Mono;
use machine::work::Fault;
use std::collections::VecDeque;
use std::time::Duration;

/// Most that are kept; the oldest goes first.
const MOST: usize = 1000;
/// How long one is kept.
const LONGEST: Duration = Duration::from_secs(600);
/// Most bytes of what it names.
const LARGEST: usize = 1024;

/// What was cancelled before it came.
#[derive(Debug, Default)]
pub(super) struct Early {
    all: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    cancel: Cancel,
    until: Mono,
}

impl Early {
    /// Keeps a cancel that names one item.
    pub(super) fn keep(&mut self, cancel: &Cancel, now: Mono) {
        let (Some(item), Some(sent)) = (&cancel.item, &cancel.sent) else { return };
        if cancel.wfid.len() + item.len() + sent.len() > LARGEST {
            return;
        }
        self.forget(now);
        if self.all.len() == MOST {
            self.all.pop_front();
        }
        self.all.push_back(Kept { cancel: cancel.clone(), until: now.after(LONGEST) });
    }

    /// Keeps that an item of this name is cancelled, where no other can have it.
    pub(super) fn keep_for(&mut self, wfid: &str, rest: &str, why: Fault, now: Mono) {
        let sent = Some(dispatched(rest)).filter(|sent| !sent.is_empty()).map(str::to_owned);
        let cancel = Cancel { wfid: wfid.to_owned(), item: Some(rest.to_owned()), sent, why };
        self.keep(&cancel, now);
    }

    /// An item of this name was wanted again `at` a moment: what cancelled it before that is over.
    pub(super) fn wanted_again(&mut self, wfid: &str, rest: &str, at: Mono) {
        let is_over =
            |kept: &Kept| kept.until <= at.after(LONGEST) && kept.cancel.is_for(wfid, rest);
        self.all.retain(|kept| !is_over(kept));
    }

    /// Returns why an item that comes now is not wanted, if a cancel of it came before.
    pub(super) fn why(&mut self, wfid: &str, rest: &str, now: Mono) -> Option<Fault> {
        self.forget(now);
        let at = self.all.iter().position(|kept| kept.cancel.is_for(wfid, rest))?;
        self.all.remove(at).map(|kept| kept.cancel.why)
    }

    fn forget(&mut self, now: Mono) {
        while self.all.front().is_some_and(|kept| kept.until <= now) {
            self.all.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancel(wfid: &str, item: Option<&str>, sent: Option<&str>) -> Cancel {
        let [item, sent] = [item, sent].map(|text| text.map(str::to_owned));
        Cancel { wfid: wfid.to_owned(), item, sent, why: Fault::KILLED }
    }

    const fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn a_cancel_is_for_the_one_item_that_it_means_for_ten_minutes() {
        let mut early = Early::default();
        early.keep(&cancel("w", Some("0_1!s!"), Some("now")), at(0));
        early.keep(&cancel("v", None, Some("now")), at(0));
        assert_eq!(early.why("w", "0_2!s!now", at(1)), None);
        assert_eq!(early.why("v", "0_1!s!now", at(1)), None, "a whole process");
        assert_eq!(early.why("w", "0_1!s!now.1", at(1)), None, "sent out anew");
        assert_eq!(early.why("w", "0_1!s!now", at(1)), Some(Fault::KILLED));
        assert_eq!(early.why("w", "0_1!s!now", at(1)), None, "it was for one");
        early.keep(&cancel("w", Some("0_1!s!"), Some("now")), at(1));
        assert_eq!(early.why("w", "0_1!s!now", at(601)), None, "too late");
    }

    #[test]
    fn a_cancel_is_over_once_its_item_was_wanted_again_and_one_behind_that_is_not() {
        let mut early = Early::default();
        let (item, other) = ("0_1!s!now", "0_2!s!now");
        for (rest, when) in [(item, 1), (other, 1), (item, 3)] {
            early.keep_for("w", rest, Fault::KILLED, at(when));
        }
        early.wanted_again("w", item, at(2));
        assert_eq!(early.why("w", item, at(4)), Some(Fault::KILLED), "it came behind");
        assert_eq!(early.why("w", item, at(4)), None);
        assert_eq!(early.why("w", other, at(4)), Some(Fault::KILLED));
    }

    #[test]
    fn a_cancel_that_does_not_say_when_its_item_was_sent_out_is_not_kept() {
        let mut early = Early::default();
        early.keep(&cancel("w", Some("0_1!s!"), None), at(0));
        early.keep_for("w", "0_1!s!", Fault::KILLED, at(0));
        for rest in ["0_1!s!", "0_1!s!now"] {
            assert_eq!(early.why("w", rest, at(0)), None, "{rest}");
        }
        early.keep_for("w", "0_1!s!now", Fault::KILLED, at(0));
        assert_eq!(early.why("w", "0_1!s!now", at(0)), Some(Fault::KILLED));
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten_and_a_huge_one_is_not_kept() {
        let mut early = Early::default();
        for n in 0..=MOST {
            early.keep(&cancel(&format!("w{n}"), Some("0!!"), Some("x")), at(0));
        }
        early.keep(&cancel(&"w".repeat(LARGEST), Some("0!!"), Some("x")), at(0));
        assert_eq!(early.all.len(), MOST);
        assert_eq!(early.why("w0", "0!!x", at(0)), None);
        assert_eq!(early.why("w1", "0!!x", at(0)), Some(Fault::KILLED));
    }
}
