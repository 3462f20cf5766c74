//! The items that are at hand for when the one in hand is done.

use super::{Instance, Key, Phase};

/// Most items that an instance has at hand.
pub const MOST: usize = 32;

/// Items at hand, in the order in which they came. None of them is begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct AtHand([Option<Key>; MOST]);

impl AtHand {
    /// Returns one without items.
    pub(super) const fn new() -> Self {
        Self([None; MOST])
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0[0].is_none()
    }

    /// Adds the last. Whoever adds looks whether there is room.
    pub(super) fn push(&mut self, next: Key) {
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(next);
        }
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Key> {
        self.take(|_| true)
    }

    /// Takes the last.
    pub(super) fn pop_last(&mut self) -> Option<Key> {
        self.0.iter_mut().rev().find_map(Option::take)
    }

    /// Takes the one of this name; tells whether it was here.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        self.take(|next| next == key).is_some()
    }

    fn take(&mut self, wanted: impl Fn(Key) -> bool) -> Option<Key> {
        let at = self.0.iter().position(|next| next.is_some_and(&wanted))?;
        let taken = self.0[at].take();
        self.0[at..].rotate_left(1);
        taken
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.0[0]
    }

    #[cfg(test)]
    pub(super) fn keys(&mut self) -> impl Iterator<Item = &mut Key> {
        self.0.iter_mut().flatten()
    }
}

impl Instance {
    /// Returns for which item a process would be started at once if the one that there is ended now,
    /// whatever the end of that means.
    #[must_use]
    pub fn follower(&self) -> Option<Key> {
        let is_there = !self.is_persistent() && !self.is_absent();
        self.next.first().filter(|_| is_there && self.phase == Phase::Running)
    }
}
