//! A place for the one value of its kind that lives as long as the program.
//!
//! What lies in a static shares a page that libc has written to anyway; on the stack it would
//! need one more in each process.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

/// A static value that is given out once.
pub struct Home<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `take` gives the value out once, to one owner, whatever thread that is in; `Send` lets it
// be used there.
unsafe impl<T: Send> Sync for Home<T> {}

impl<T> Home<T> {
    /// Returns a place that holds `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self { taken: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    /// Gives the value out; `None` = somebody has it already.
    // Once: the flag is what the borrow checker cannot see.
    #[allow(clippy::mut_from_ref)]
    pub fn take(&'static self) -> Option<&'static mut T> {
        if self.taken.swap(true, Ordering::AcqRel) {
            return None;
        }
        // SAFETY: the flag lets nobody but the first caller come here, so this is the only
        // reference there will ever be.
        Some(unsafe { &mut *self.value.get() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_given_out_once() {
        static HOME: Home<u32> = Home::new(7);
        let value = HOME.take().unwrap();
        *value += 1;
        assert_eq!(*value, 8);
        assert!(HOME.take().is_none());
    }
}
