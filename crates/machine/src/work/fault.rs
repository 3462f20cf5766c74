//! Codes that say how an attempt, or a subject, ended.

/// How something ended: 0 done, 1 to 9 to be tried again, 10 and above final.
///
/// Source: the postage stamp server's codes, whose first block is also a step's exit status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fault(pub u16);

/// What a fault means for what comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing is wrong.
    Done,
    /// It may go better another time.
    Retryable,
    /// It will not go better.
    Final,
    /// It was not wanted any more.
    Cancelled,
}

impl Fault {
    /// Nothing is wrong.
    pub const NONE: Self = Self(0);
    /// Something failed that says no more.
    pub const UNKNOWN: Self = Self(1);
    /// Who worked on it was lost: killed, crashed, or silent for too long.
    pub const LOST: Self = Self(2);
    /// The participant ended by a signal, or broke its protocol.
    pub const CRASHED: Self = Self(4);
    /// It took longer than it may.
    pub const TIMED_OUT: Self = Self(6);
    /// The system cannot do it: what was stored is damaged, or an answer cannot be sent.
    pub const SYSTEM: Self = Self(10);
    /// It is no work item.
    pub const INVALID: Self = Self(21);
    /// It was tried as often as it may.
    pub const EXHAUSTED: Self = Self(25);
    /// Cancelled: first of the codes that mean so.
    pub const CANCELLED: Self = Self(900);
    /// Cancelled with flavour `kill`.
    pub const KILLED: Self = Self(901);
    /// Cancelled with flavour `timeout`: the process it belongs to waits no longer.
    pub const GIVEN_UP: Self = Self(902);

    /// Returns what it means.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self.0 {
            0 => Kind::Done,
            1..=9 => Kind::Retryable,
            900..=999 => Kind::Cancelled,
            _ => Kind::Final,
        }
    }
}
