//! What time it is, as whoever opens a store says.

use machine::time::Mono;

/// A moment by the wall clock, in microseconds since 1970. Only to be shown: it may jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub i64);

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// What delays and leases are measured by. The same in all processes of a machine.
    pub mono: Mono,
    /// What is shown.
    pub wall: Wall,
}

/// Where a store has its time from.
pub trait Clock: Send + Sync {
    /// Returns the moment it is.
    fn now(&self) -> Now;

    /// Returns what names this run of the machine: `Mono` begins anew with each.
    fn boot(&self) -> String;
}
