//! What wakes the thread when there is something to look at.

use super::thread::Input;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Wake;
use std::time::Duration;

/// How long the connection is kept from reading on at most: no heartbeat is missed by it.
const LONGEST: Duration = Duration::from_millis(100);

/// Wakes the thread when there is something to look at: once, until it has looked.
///
/// Whoever wakes it is the thread that reads from the connection. Where what comes is large it is kept
/// from reading on meanwhile, or all that the broker has sent ahead would be in memory at once.
pub(super) struct Nudge {
    is_told: Mutex<bool>,
    looked: Condvar,
    /// What comes is large.
    is_careful: AtomicBool,
    inputs: Sender<Input>,
}

impl Nudge {
    pub(super) fn new(inputs: Sender<Input>) -> Arc<Self> {
        let (is_told, is_careful) = (Mutex::new(false), AtomicBool::new(false));
        Arc::new(Self { is_told, looked: Condvar::new(), is_careful, inputs })
    }

    /// The thread is about to look.
    pub(super) fn heard(&self) {
        *self.is_told.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.looked.notify_all();
    }

    /// Takes note whether what comes is large.
    pub(super) fn be_careful(&self, is_careful: bool) {
        self.is_careful.store(is_careful, Ordering::SeqCst);
    }

    fn tell(&self) {
        let mut is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_told, true) {
            let _ = self.inputs.send(Input::Nudged);
        }
    }
}

impl Wake for Nudge {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.tell();
        if self.is_careful.load(Ordering::SeqCst) {
            let is_told = self.is_told.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = |is_told: &mut bool| *is_told;
            let _ = self.looked.wait_timeout_while(is_told, LONGEST, waits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::task::Waker;

    #[test]
    fn it_is_told_once_until_it_was_heard() {
        let (inputs, all) = channel();
        let nudge = Nudge::new(inputs);
        let waker = Waker::from(Arc::clone(&nudge));
        for _ in 0..2 {
            waker.wake_by_ref();
            waker.wake_by_ref();
            assert!(matches!(all.try_recv(), Ok(Input::Nudged)));
            assert!(all.try_recv().is_err());
            nudge.heard();
        }
    }

    #[test]
    fn who_wakes_it_with_what_is_large_waits_until_it_is_heard() {
        let (inputs, all) = channel();
        let nudge = Nudge::new(inputs);
        nudge.be_careful(true);
        let waker = Waker::from(Arc::clone(&nudge));
        let reader = std::thread::spawn(move || waker.wake());
        all.recv().unwrap();
        nudge.heard();
        reader.join().unwrap();
        assert!(all.try_recv().is_err());
    }
}
