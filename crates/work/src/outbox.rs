//! What a broker's thread has to tell the loop, and the descriptor that wakes it.

use crate::broker::Event;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct Told<T> {
    list: VecDeque<T>,
    /// A byte for them is in the loop's socket, or on its way there.
    is_told: bool,
}

fn locked<T>(told: &Mutex<Told<T>>) -> MutexGuard<'_, Told<T>> {
    // Nothing panics while it holds the lock; what it guards is whole in any case.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's end.
pub(crate) struct Outbox<T = Event> {
    told: Arc<Mutex<Told<T>>>,
    waker: UnixStream,
    /// The kernel had no memory for the byte that wakes the loop.
    is_behind: bool,
}

/// The loop's end.
pub(crate) struct Inbox<T = Event> {
    told: Arc<Mutex<Told<T>>>,
    wakeup: UnixStream,
}

/// Makes both ends.
pub(crate) fn pair<T>() -> io::Result<(Outbox<T>, Inbox<T>)> {
    let (wakeup, waker) = UnixStream::pair()?;
    wakeup.set_nonblocking(true)?;
    waker.set_nonblocking(true)?;
    let told = Arc::new(Mutex::new(Told { list: VecDeque::new(), is_told: false }));
    Ok((Outbox { told: Arc::clone(&told), waker, is_behind: false }, Inbox { told, wakeup }))
}

impl<T> Outbox<T> {
    /// Lets the loop know of all this, and wakes it once for it.
    pub(crate) fn publish(&mut self, news: &mut Vec<T>) {
        if news.is_empty() && !self.is_behind {
            return;
        }
        let mut told = locked(&self.told);
        told.list.extend(news.drain(..));
        let is_told = std::mem::replace(&mut told.is_told, true);
        drop(told);
        self.is_behind = !is_told && self.waker.write(&[1]).is_err();
        if self.is_behind {
            locked(&self.told).is_told = false;
        }
    }

    /// Tells whether the loop still is to be woken for what it was told: by publishing again soon,
    /// if only nothing.
    pub(crate) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Takes back what the loop has not looked at.
    pub(crate) fn take_back(&self) -> VecDeque<T> {
        std::mem::take(&mut locked(&self.told).list)
    }
}

impl<T> Inbox<T> {
    pub(crate) fn wakeup(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }

    /// Returns the next thing that the thread told.
    pub(crate) fn next(&mut self) -> Option<T> {
        let mut told = locked(&self.told);
        let event = told.list.pop_front();
        if event.is_none() && told.is_told {
            // Where it is still on its way it is looked for next time.
            told.is_told = !matches!(self.wakeup.read(&mut [0; 1]), Ok(1));
        }
        event
    }
}
