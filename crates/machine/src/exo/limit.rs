//! The end of the time for an item.

use crate::time::Mono;
use core::time::Duration;

/// When the time for an item is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Limit {
    At(Mono),
    /// So much is left, and stays: the participant waits for us.
    Left(Duration),
}

impl Limit {
    /// Lets the time stand still, or go on.
    pub(super) fn kept_waiting(self, is_so: bool, now: Mono) -> Self {
        match self {
            Self::At(at) if is_so => Self::Left(Duration::from_nanos(at.nanos_from(now))),
            Self::Left(left) if !is_so => Self::At(now.after(left)),
            same => same,
        }
    }

    /// Returns when it is over unless something happens before.
    pub(super) const fn at(self) -> Option<Mono> {
        match self {
            Self::At(at) => Some(at),
            Self::Left(_) => None,
        }
    }
}
