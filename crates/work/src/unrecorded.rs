//! How many changes were wished for that are not on record yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts them: the loop those that it wishes for, the thread that has the store what it takes back, and
/// those that are made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unrecorded(Arc<AtomicUsize>);

impl Unrecorded {
    pub(crate) fn wished(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn made(&self, count: usize) {
        self.0.fetch_sub(count, Ordering::Relaxed);
    }

    pub(crate) fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}
