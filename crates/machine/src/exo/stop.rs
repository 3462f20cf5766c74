//! Work that is to stop.

use super::words::{How, Why};
use crate::time::Mono;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stop {
    pub(super) why: Why,
    /// When KILL is sent, then when its effect is waited for no longer.
    pub(super) until: Mono,
    pub(super) killed: bool,
}

impl Stop {
    /// Returns how an item is settled whose work was stopped in vain; `None`: it is as good as it was.
    pub(super) const fn how(self) -> Option<How> {
        match self.why {
            Why::Cancelled => Some(How::Overdue),
            Why::Late => Some(How::Late),
            Why::Broken => Some(How::Broken),
            Why::Overtaken => Some(How::Died),
            Why::Ended => None,
        }
    }
}
