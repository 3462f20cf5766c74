//! Cancels of items that are not here: they may come yet.

use crate::clock::{Now, Wall};
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
    /// When it came, as engines write it.
    came: String,
    until: Mono,
}

impl Early {
    /// Keeps a cancel. One of a whole process is not kept: that may end, or go on, by further items.
    pub(super) fn keep(&mut self, cancel: &Cancel, now: Now) {
        let bytes = cancel.item.as_ref().map(|item| item.len() + cancel.wfid.len());
        if bytes.is_none_or(|bytes| bytes > LARGEST) {
            return;
        }
        self.forget(now.mono);
        if self.all.len() == MOST {
            self.all.pop_front();
        }
        let until = now.mono.after(LONGEST);
        self.all.push_back(Kept { cancel: cancel.clone(), came: second(now.wall), until });
    }

    /// Returns why an item that comes now is not wanted, if a cancel of it came before.
    pub(super) fn why(&mut self, wfid: &str, rest: &str, now: Mono) -> Option<Fault> {
        self.forget(now);
        // The same place of a process may be come to again: what was sent out later is not meant.
        let sent = rest.splitn(3, '!').nth(2).and_then(|sent| sent.get(..19)).unwrap_or_default();
        let is_meant = |kept: &Kept| kept.cancel.is_for(wfid, rest) && sent <= kept.came.as_str();
        let at = self.all.iter().position(is_meant)?;
        self.all.remove(at).map(|kept| kept.cancel.why)
    }

    fn forget(&mut self, now: Mono) {
        while self.all.front().is_some_and(|kept| kept.until <= now) {
            self.all.pop_front();
        }
    }
}

/// Returns a second as engines write it: `2026-11-22 08:07:11`, of UTC.
fn second(wall: Wall) -> String {
    let seconds = wall.0.div_euclid(1_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years begin in March here, so that a leap day is the last one. 400 of them are 146,097 days.
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cancel(wfid: &str, item: Option<&str>) -> Cancel {
        Cancel { wfid: wfid.to_owned(), item: item.map(str::to_owned), why: Fault::KILLED }
    }

    fn at(seconds: u64) -> Now {
        Now {
            mono: Mono(seconds * 1_000_000_000),
            wall: Wall(1_795_000_000_000_000 + seconds as i64 * 1_000_000),
        }
    }

    #[test]
    fn a_cancel_is_for_the_next_item_that_it_means_for_ten_minutes() {
        let mut early = Early::default();
        early.keep(&cancel("w", Some("0_1!s!")), at(0));
        early.keep(&cancel("v", None), at(0));
        assert_eq!(early.why("w", "0_2!s!", at(1).mono), None);
        assert_eq!(early.why("v", "0_1!s!", at(1).mono), None, "a whole process");
        assert_eq!(early.why("w", "0_1!s!", at(1).mono), Some(Fault::KILLED));
        assert_eq!(early.why("w", "0_1!s!", at(1).mono), None, "it was for one");
        early.keep(&cancel("w", Some("0_1!s!")), at(1));
        assert_eq!(early.why("w", "0_1!s!", at(601).mono), None, "too late");
    }

    #[test]
    fn what_is_sent_out_after_its_cancel_is_another_item() {
        let mut early = Early::default();
        early.keep(&cancel("w", Some("0_1!")), at(0));
        let sent = |seconds| format!("0_1!s!{}.5 UTC", second(at(seconds).wall));
        assert_eq!(early.why("w", &sent(1), at(2).mono), None);
        assert_eq!(early.why("w", &sent(0), at(2).mono), Some(Fault::KILLED));
    }

    #[test]
    fn of_too_many_the_oldest_is_forgotten_and_a_huge_one_is_not_kept() {
        let mut early = Early::default();
        for n in 0..=MOST {
            early.keep(&cancel(&format!("w{n}"), Some("0!!")), at(0));
        }
        early.keep(&cancel(&"w".repeat(LARGEST), Some("0!!")), at(0));
        assert_eq!(early.all.len(), MOST);
        assert_eq!(early.why("w0", "0!!", at(0).mono), None);
        assert_eq!(early.why("w1", "0!!", at(0).mono), Some(Fault::KILLED));
    }

    #[test]
    fn a_second_is_written_as_engines_do() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_334_831, "2026-11-22 08:07:11"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(second(Wall(seconds * 1_000_000)), text);
        }
    }
}
