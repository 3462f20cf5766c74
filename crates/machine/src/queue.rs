//! A first-in, first-out queue of fixed size, for actions and events.

/// Holds up to `N` items without a heap.
#[derive(Clone, Debug)]
pub struct Queue<T: Copy, const N: usize> {
    items: [Option<T>; N],
    first: usize,
    len: usize,
}

impl<T: Copy, const N: usize> Default for Queue<T, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Copy, const N: usize> Queue<T, N> {
    /// Returns an empty queue.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: [None; N], first: 0, len: 0 }
    }

    /// Adds an item at the end.
    ///
    /// `N` is chosen so that it is never full, which the machine's enumeration shows; should it be
    /// full all the same, the item is dropped, since a daemon must not panic.
    pub fn push(&mut self, item: T) {
        debug_assert!(self.len < N, "queue of {N} is full");
        if self.len < N {
            self.items[(self.first + self.len) % N] = Some(item);
            self.len += 1;
        }
    }

    /// Takes the first item.
    pub fn pop(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        let item = self.items[self.first].take();
        self.first = (self.first + 1) % N;
        self.len -= 1;
        item
    }

    /// Tells how many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Tells whether there is no item.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
