//! The store as the queue.
//!
//! One thread has the store; it waits for the gate and for the disk, so that exo's loop never
//! does. Whatever was wished while a commit ran is in the next one, together.

pub(crate) mod retention;
pub(crate) mod thread;

use crate::bell::{Bell, OWN};
use crate::broker::{Broker, Event, Then, Wish};
use crate::change::{Applied, Change, Policy, TakerId};
use crate::clock::Clock;
use crate::drop_folder::DropFolder;
use crate::open::Safety;
use crate::outbox::{self, Inbox};
use crate::place::Place;
use crate::store::Store;
use crate::trouble::Trouble;
use crate::unrecorded::Unrecorded;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use thread::{Thread, can_wait};

/// Asks that are worth a commit: half as many as one instance looks ahead at most. As many as come when
/// it begins to look ahead must not wait, or nothing would be at hand when they are granted.
const ENOUGH: usize = 16;

/// How an embedded queue is opened.
#[derive(Clone)]
pub struct Settings {
    /// Where the store is.
    pub place: Place,
    /// Where the time is from.
    pub clock: Arc<dyn Clock>,
    /// What a change survives.
    pub safety: Safety,
    /// From which queue.
    pub queue: String,
    /// How what is taken is treated.
    pub policy: Policy,
    /// Where others leave items for it.
    pub drop_folder: Option<DropFolder>,
    /// How much of what has been is kept.
    pub keep: Keep,
    /// Class of an error in an answer that is made here.
    pub error_class: String,
}

/// How much of what has been is kept. Unless something else is said: all, for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// How long jobs that have stopped are kept, and classes of faults after their last one.
    pub age: Option<Duration>,
    /// Bytes that the store may have in use; from there on those that were submitted first are removed.
    pub size: Option<u64>,
}

/// A queue that is the store itself.
pub struct Embedded {
    shared: Arc<Shared>,
    /// Wishes that the thread does not know of yet.
    wishes: Vec<Wish>,
    inbox: Inbox,
    thread: Option<JoinHandle<()>>,
}

/// What loop and thread tell each other.
#[derive(Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    /// Ends the gathering of wishes.
    gathered: Condvar,
    /// Wakes the thread.
    button: Mutex<Option<UnixDatagram>>,
    /// Changes, and items that are sent.
    unrecorded: Unrecorded,
}

#[derive(Default)]
struct Wishes {
    list: Vec<Wish>,
    closing: bool,
    /// The thread sleeps, or is about to, and is to be rung.
    is_asleep: bool,
    /// It waits until [`enough`](Self::enough) came.
    is_gathering: bool,
    /// So many ends are worth a commit, where they are what is waited for.
    ends: Option<usize>,
}

impl Wishes {
    /// Tells whether they are worth a commit by now, or one of them cannot wait.
    fn enough(&self) -> bool {
        let asks = self.list.iter().filter(|wish| matches!(wish, Wish::Ask(..))).count();
        let is_end = |wish: &&Wish| matches!(wish, Wish::Change(_, Then::Settle(_)));
        let ends = || self.list.iter().filter(is_end).count();
        self.closing
            || asks >= ENOUGH
            || self.ends.is_some_and(|enough| ends() >= enough)
            || !self.list.iter().all(can_wait)
    }
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // Nothing panics while it holds the lock; what it guards is whole in any case.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn button(&self) -> MutexGuard<'_, Option<UnixDatagram>> {
        self.button.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Begins a life as a taker of the queue.
pub(crate) fn open_taker(
    store: &mut Store,
    place: &Place,
    queue: &str,
    (policy, class): (Policy, &str),
) -> Result<(TakerId, Bell), Trouble> {
    let refused = |why: &str| Trouble::Database {
        path: place.database(),
        what: format!("the queue {queue} cannot be opened: {why}"),
    };
    // Before: what dead takers had may be answered as the queue is opened.
    let classed = Change::SetErrorClass { queue: queue.to_owned(), class: class.to_owned() };
    let opening = Change::OpenTaker { queue: queue.to_owned(), policy };
    match store.apply_all(&[classed, opening])?.pop() {
        Some(Ok(Applied::Opened(taker))) => match store.bell(taker) {
            Some(bell) => Ok((taker, bell)),
            None => Err(refused("it has no bell")),
        },
        Some(Err(why)) => Err(refused(&why.to_string())),
        Some(Ok(_)) | None => Err(refused("it has no number")),
    }
}

impl Embedded {
    /// Opens a queue. Jobs of its dead takers are ready again when this returns.
    ///
    /// # Errors
    /// [`Trouble`], as of [`Store::open`].
    pub fn open(settings: &Settings) -> Result<Self, Trouble> {
        let io = |e| Trouble::io("make a socket for", settings.place.folder(), e);
        let mut store = Store::open(&settings.place, settings.clock.clone(), settings.safety)?;
        let how = (settings.policy, &*settings.error_class);
        let (taker, bell) = open_taker(&mut store, &settings.place, &settings.queue, how)?;
        let (outbox, inbox) = outbox::pair().map_err(io)?;
        let shared = Arc::new(Shared::default());
        *shared.button() = Some(store.button(taker)?);
        let mut thread = Thread::new(Arc::clone(&shared), store, (taker, bell), outbox, settings);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .stack_size(256 << 10)
            .spawn(move || thread.run())
            .map_err(|e| Trouble::io("make a thread for", settings.place.folder(), e))?;
        Ok(Self { shared, wishes: Vec::new(), inbox, thread: Some(thread) })
    }

    fn ring(&self) {
        /// Nobody else wakes the thread where there was no memory for it.
        const TRIES: u32 = 16;
        if let Some(button) = self.shared.button().as_ref() {
            // A full bell has been rung.
            let is_rung = |rung: io::Result<usize>| {
                rung.map_or_else(|why| why.kind() == ErrorKind::WouldBlock, |_| true)
            };
            let _ = (0..TRIES).any(|_| is_rung(button.send(&OWN)));
        }
    }
}

impl Broker for Embedded {
    fn wakeup(&self) -> BorrowedFd<'_> {
        self.inbox.wakeup()
    }

    fn next(&mut self) -> Option<Event> {
        self.flush();
        self.inbox.next()
    }

    fn flush(&mut self) {
        if self.wishes.is_empty() {
            return;
        }
        let mut wishes = self.shared.wishes();
        wishes.list.append(&mut self.wishes);
        let asleep = std::mem::take(&mut wishes.is_asleep);
        let gathered = wishes.is_gathering && wishes.enough();
        drop(wishes);
        if asleep {
            self.ring();
        }
        if gathered {
            self.shared.gathered.notify_one();
        }
    }

    fn holds_unrecorded(&self) -> bool {
        self.shared.unrecorded.is_any()
    }

    fn wish(&mut self, wish: Wish) {
        if matches!(wish, Wish::Change(..) | Wish::Send(..)) {
            self.shared.unrecorded.wished();
        }
        self.wishes.push(wish);
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.flush();
        self.shared.wishes().closing = true;
        self.shared.gathered.notify_one();
        self.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Ask, JobId, Lease};

    fn end(n: i64) -> Wish {
        let lease = Lease { job: JobId(n), taker: TakerId(1), number: 1 };
        Wish::Change(Change::GiveBack(lease), Then::Settle(lease))
    }

    #[test]
    fn enough_has_gathered_with_so_many_ends_or_asks_or_one_wish_that_cannot_wait() {
        let gathered = |list, ends| Wishes { list, ends, ..Wishes::default() };
        let ends = |count: i64| (0..count).map(end).collect::<Vec<_>>();
        assert!(!gathered(ends(7), Some(8)).enough());
        assert!(gathered(ends(8), Some(8)).enough());
        // Nothing else is in hand.
        assert!(gathered(ends(1), Some(1)).enough());
        assert!(!gathered(ends(100), None).enough());
        let ask = |ask| Wish::Ask(ask, "p_0".to_owned());
        assert!(gathered(vec![end(0), ask(Ask::Now)], Some(8)).enough());
        let ahead = |count| (0..count).map(|_| ask(Ask::Ahead)).collect();
        assert!(!gathered(ahead(ENOUGH - 1), Some(8)).enough());
        assert!(gathered(ahead(ENOUGH), Some(8)).enough());
    }
}
