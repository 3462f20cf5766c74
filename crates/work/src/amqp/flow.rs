//! How briskly items flow: how many are fetched ahead, and how many before anybody asks for them.
//!
//! An ask comes when an item is done, and its message is acknowledged later, when its answer is
//! safe: then the line could have the next. So where one ask follows the other, lines that have
//! none for the moment go on waiting, or each item would cost a consumer's end and its new beginning.
//! For the same reason nothing is looked ahead for behind an item that comes alone, unless it takes
//! longer than such a beginning matters.

use machine::time::Mono;
use std::time::Duration;

/// Items flow briskly for so long after one had come that was asked for ahead, or not longer ago.
const BRISK: Duration = Duration::from_millis(100);
/// An item that came alone is in hand for so long before another is looked ahead for.
const ALONE: Duration = Duration::from_millis(5);
/// Most messages that are fetched before anybody asks for them.
const SPARE: usize = 32;
/// They are no more than would be worked on in so long, as what exo has at hand: others are idle.
const WORTH: Duration = Duration::from_millis(100);
/// How long ends are counted at least before they say how fast items are worked on.
const COUNTED: Duration = Duration::from_millis(10);
/// Most asks of an instance for items ahead; of several there are more.
const MOST: usize = 256;

/// What was seen of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    until: Option<Mono>,
    /// When an instance said last that it waits.
    waited: Mono,
    /// Until when nothing is looked ahead for behind what came last.
    alone: Mono,
    /// Lines for items ahead: twice as many with each that comes, or an item that comes alone would
    /// have many of them opened in vain.
    ahead: usize,
    /// Since when ends are counted, and how many came since.
    counted: Option<(Mono, usize)>,
    /// How many items are worked on within [`WORTH`], by those counted last, and by those before them.
    worth: [usize; 2],
}

impl Flow {
    /// An instance waits for an item.
    pub(super) fn waits(&mut self, now: Mono) {
        self.waited = now;
    }

    /// An item came for an instance that waits.
    pub(super) fn came(&mut self, now: Mono) {
        if self.waited.after(BRISK) > now {
            self.ahead = self.ahead(now).max(1);
            self.until = Some(now.after(BRISK));
        } else {
            self.alone = now.after(ALONE);
        }
    }

    /// An item came that was asked for ahead.
    pub(super) fn granted(&mut self, now: Mono) {
        self.ahead = (2 * self.ahead(now)).clamp(1, MOST);
        self.until = Some(now.after(BRISK));
    }

    /// So many items in hand have ended: those of one commit together, since all of them ended in the
    /// time before it.
    pub(super) fn ended(&mut self, ends: usize, now: Mono) {
        if ends == 0 {
            return;
        }
        let Some((since, counted)) = &mut self.counted else {
            self.counted = Some((now, 0));
            return;
        };
        *counted += ends;
        let took = now.nanos_from(*since);
        if took >= COUNTED.as_nanos() as u64 {
            let worth = (WORTH.as_nanos() as u64 * *counted as u64 / took) as usize;
            self.worth = [worth, self.worth[0]];
            self.counted = Some((now, 0));
        }
    }

    /// What comes is large: none is to come before it is asked for.
    pub(super) fn narrow(&mut self) {
        *self = Self::default();
    }

    /// Returns for how many of the items that are asked for ahead there are to be lines.
    pub(super) fn ahead(&self, now: Mono) -> usize {
        if self.end(now).is_some() { self.ahead.max(1) } else { usize::from(self.alone <= now) }
    }

    /// Returns when there are to be more of them.
    pub(super) fn more(&self, now: Mono) -> Option<Mono> {
        Some(self.alone).filter(|alone| *alone > now && self.end(now).is_none())
    }

    /// Returns how many messages may be here that nobody has asked for: none where an item takes more
    /// than half of [`WORTH`].
    pub(super) fn spare(&self, now: Mono) -> usize {
        // Once is no proof: what waited for a slow commit comes right behind it, as if it took no time.
        let worth = self.worth[0].min(self.worth[1]);
        match worth.min(SPARE) {
            // In steps, or lines would end and begin with each small change.
            worth @ 2.. if self.end(now).is_some() => 1 << worth.ilog2(),
            _ => 0,
        }
    }

    /// Returns until when it lasts, where it has not ended.
    pub(super) fn end(&self, now: Mono) -> Option<Mono> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has `ends` items end after each `pause`, asked for ahead, for as long as it takes to see it.
    fn worked(flow: &mut Flow, now: &mut Mono, ends: usize, pause: Duration) {
        for _ in 0..24 {
            *now = now.after(pause);
            flow.ended(ends, *now);
            flow.granted(*now);
        }
    }

    #[test]
    fn twice_as_many_lines_are_opened_with_each_item_that_comes_soon_and_one_after_a_rest() {
        let mut flow = Flow::default();
        let mut now = Mono(1_000_000_000);
        assert_eq!((flow.ahead(now), flow.end(now)), (1, None));
        for lines in [2, 4, 8] {
            now = now.after(BRISK / 2);
            flow.granted(now);
            assert_eq!(flow.ahead(now), lines);
        }
        let end = flow.end(now).unwrap();
        assert_eq!((flow.ahead(end), flow.end(end)), (1, None));
        flow.granted(end);
        assert_eq!(flow.ahead(end), 2);
    }

    #[test]
    fn behind_an_item_that_comes_alone_nothing_is_looked_ahead_for_at_first() {
        let mut flow = Flow::default();
        let mut now = Mono(1_000_000_000);
        for _ in 0..2 {
            flow.waits(now);
            now = now.after(BRISK);
            flow.came(now);
            assert_eq!((flow.ahead(now), flow.end(now)), (0, None));
            let more = flow.more(now).unwrap();
            assert_eq!(more, now.after(ALONE));
            assert_eq!((flow.ahead(more), flow.more(more)), (1, None));
        }
        // The next comes before long, and so do those behind it: no more is known of them.
        for _ in 0..3 {
            flow.waits(now);
            now = now.after(BRISK / 2);
            flow.came(now);
            assert_eq!((flow.ahead(now), flow.more(now)), (1, None));
        }
        flow.granted(now);
        flow.came(now);
        assert_eq!(flow.ahead(now), 2);
        // One that is alone again is so once that is over.
        now = now.after(2 * BRISK);
        flow.came(now);
        assert_eq!(flow.ahead(now), 0);
        flow.granted(now);
        assert_eq!((flow.ahead(now), flow.more(now)), (1, None));
    }

    #[test]
    fn what_nobody_asked_for_is_no_more_than_is_worked_on_in_a_tenth_of_a_second() {
        let mut now = Mono(1_000_000_000);
        let mut flow = Flow::default();
        flow.granted(now);
        assert_eq!(flow.spare(now), 0, "nobody knows how long they take");
        for (ends, millis, spare) in [
            (1, 1, SPARE),
            (1, 80, 0),
            (16, 20, SPARE),
            (1, 51, 0),
            (1, 20, 4),
            (4, 80, 4),
            (1, 6, 16),
        ] {
            worked(&mut flow, &mut now, ends, Duration::from_millis(millis));
            assert_eq!(flow.spare(now), spare, "{ends} each {millis} ms");
        }
        assert_eq!(flow.spare(now.after(BRISK)), 0, "none is asked for any more");
        // The first long one after quick ones, and the second.
        worked(&mut flow, &mut now, 10, Duration::from_millis(3));
        for _ in 0..2 {
            now = now.after(Duration::from_millis(80));
            flow.ended(1, now);
            flow.granted(now);
        }
        assert_eq!(flow.spare(now), 0);
    }

    #[test]
    fn what_waited_for_a_slow_commit_does_not_look_as_if_it_took_no_time() {
        // Done meanwhile: on record at once, or some with it and the others right behind it.
        for done in [[5, 0], [1, 4], [4, 1]] {
            let mut now = Mono(1_000_000_000);
            let mut flow = Flow::default();
            flow.granted(now);
            worked(&mut flow, &mut now, 1, Duration::from_millis(20));
            assert_eq!(flow.spare(now), 4);
            let steps = [(done[0], 100), (done[1], 1), (1, 19), (1, 20), (1, 20)];
            for (ends, millis) in steps {
                now = now.after(Duration::from_millis(millis));
                flow.ended(ends, now);
                flow.granted(now);
                assert!(flow.spare(now) <= 4, "{done:?}: {} behind {millis} ms", flow.spare(now));
            }
            assert_eq!(flow.spare(now), 4, "{done:?}");
        }
    }
}
