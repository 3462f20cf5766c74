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

impl Now {
    /// Returns the moment at which the wall clock showed this; now, where it has not done so yet.
    pub(crate) fn mono_at(self, shown: Wall) -> Mono {
        let ago = self.wall.0.saturating_sub(shown.0).max(0).unsigned_abs().saturating_mul(1000);
        Mono(self.mono.0.saturating_sub(ago))
    }
}

/// Where a store has its time from.
pub trait Clock: Send + Sync {
    /// Returns the moment it is.
    fn now(&self) -> Now;

    /// Returns what names this run of the machine: `Mono` begins anew with each.
    fn boot(&self) -> String;
}
