//! How briskly items flow: how many are fetched ahead, and how many before anybody asks for them.
//!
//! An ask comes when an item is done, and its message is acknowledged later, when its answer is
//! safe: then the line could have the next. So where one ask follows the other, lines that have
//! none for the moment go on waiting, or each item would cost a consumer's end and its new beginning.

use machine::time::Mono;
use std::time::Duration;

/// Items flow briskly for so long after one that was asked for ahead had come.
const BRISK: Duration = Duration::from_millis(100);
/// Most messages that are fetched before anybody asks for them.
const SPARE: usize = 32;
/// Most asks of an instance for items ahead; of several there are more.
const MOST: usize = 256;

/// What was seen of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flow {
    until: Option<Mono>,
    /// Lines for items ahead: twice as many with each that comes, or an item that comes alone would
    /// have many of them opened in vain.
    ahead: usize,
}

impl Flow {
    /// An item came that was asked for ahead.
    pub(super) fn granted(&mut self, now: Mono) {
        self.ahead = (2 * self.ahead(now)).min(MOST);
        self.until = Some(now.after(BRISK));
    }

    /// What comes is large: none is to come before it is asked for.
    pub(super) fn narrow(&mut self) {
        *self = Self::default();
    }

    /// Returns for how many of the items that are asked for ahead there are to be lines.
    pub(super) fn ahead(&self, now: Mono) -> usize {
        if self.end(now).is_some() { self.ahead.max(1) } else { 1 }
    }

    /// Returns how many messages may be here that nobody has asked for.
    pub(super) fn spare(&self, now: Mono) -> usize {
        if self.end(now).is_some() { SPARE } else { 0 }
    }

    /// Returns until when it lasts, where it has not ended.
    pub(super) fn end(&self, now: Mono) -> Option<Mono> {
        self.until.filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twice_as_many_lines_are_opened_with_each_item_that_comes_soon_and_one_after_a_rest() {
        let mut flow = Flow::default();
        let mut now = Mono(1_000_000_000);
        assert_eq!((flow.ahead(now), flow.spare(now), flow.end(now)), (1, 0, None));
        for lines in [2, 4, 8] {
            now = now.after(BRISK / 2);
            flow.granted(now);
            assert_eq!((flow.ahead(now), flow.spare(now)), (lines, SPARE));
        }
        let end = flow.end(now).unwrap();
        assert_eq!((flow.ahead(end), flow.spare(end), flow.end(end)), (1, 0, None));
        flow.granted(end);
        assert_eq!(flow.ahead(end), 2);
    }
}
