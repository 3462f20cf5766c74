//! The items that are at hand for when the one in hand is done.

use super::Key;

/// Most items that an instance has at hand.
pub const MOST: usize = 16;

/// An item at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Next {
    pub(super) key: Key,
    pub(super) begun: bool,
}

/// Items at hand, in the order in which they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct AtHand([Option<Next>; MOST]);

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
    pub(super) fn push(&mut self, next: Next) {
        if let Some(free) = self.0.iter_mut().find(|place| place.is_none()) {
            *free = Some(next);
        }
    }

    /// Takes the first.
    pub(super) fn pop(&mut self) -> Option<Next> {
        self.take(|_| true)
    }

    /// Takes the last.
    pub(super) fn pop_last(&mut self) -> Option<Next> {
        self.0.iter_mut().rev().find_map(Option::take)
    }

    /// Takes the one of this name.
    pub(super) fn remove(&mut self, key: Key) -> Option<Next> {
        self.take(|next| next.key == key)
    }

    fn take(&mut self, wanted: impl Fn(Next) -> bool) -> Option<Next> {
        let at = self.0.iter().position(|next| next.is_some_and(&wanted))?;
        let taken = self.0[at].take();
        self.0[at..].rotate_left(1);
        taken
    }

    #[cfg(test)]
    pub(super) fn keys(&mut self) -> impl Iterator<Item = &mut Key> {
        self.0.iter_mut().flatten().map(|next| &mut next.key)
    }
}
