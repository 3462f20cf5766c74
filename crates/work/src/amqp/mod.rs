//! RabbitMQ as the queue: items come from it, answers go to it, and the store keeps the record.
//!
//! One thread has the store and knows all; another one, beside it, drives the connection. What the loop
//! wishes, what comes over the connection and what became of what was published are inputs of the first;
//! whatever came together is one commit.
//!
//! An item is settled in this order: its end is recorded, its answer is published and confirmed, that
//! is recorded, the message is acknowledged. Whatever dies in between, the message comes again, and is
//! answered from the record.

mod air;
mod calls;
mod client;
mod early;
mod flow;
mod let_go;
mod life;
mod lines;
mod link;
mod mailbox;
mod nudge;
mod outgoing;
mod passing;
mod password;
mod readers;
mod record;
mod settled;
mod tasks;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(feature = "tls")]
mod tls;
mod traffic;

pub use air::Names;
pub use client::{Client, Message};
pub use mailbox::{AHEAD, Mail, Mailbox, Tag};

use crate::broker::{Broker, Event, Wish};
use crate::change::Policy;
use crate::clock::Clock;
use crate::embedded::{Keep, open_taker};
use crate::open::Safety;
use crate::outbox::{self, Inbox};
use crate::place::Place;
use crate::store::Store;
use crate::trouble::Trouble;
use crate::unrecorded::Unrecorded;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use thread::{Input, Thread};
use tokio::sync::oneshot;

/// Where the broker is, and who we are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Virtual host.
    pub vhost: String,
    /// Account there.
    pub user: String,
    /// File whose first line is the password; nobody but its owner may use it. Read for each
    /// connection, and not kept.
    pub password_file: PathBuf,
    /// Encrypted, and its certificate checked; needs the feature `tls`.
    pub tls: bool,
    /// Whose certificates are trusted then, a file in PEM; `None` = those that the system trusts.
    pub ca: Option<PathBuf>,
}

/// A participant's queue, as it is declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// A quorum queue: it counts deliveries, so nothing is looked ahead at.
    pub is_quorum: bool,
    /// Deliveries of a quorum queue after which the broker takes the message away.
    pub delivery_limit: Option<i32>,
    /// Where it puts what is taken away or rejected.
    pub dead_letter_exchange: Option<String>,
}

/// How a queue of RabbitMQ is opened.
#[derive(Clone)]
pub struct Settings {
    /// Where the record is kept.
    pub place: Place,
    /// Where the time is from.
    pub clock: Arc<dyn Clock>,
    /// What a change of the record survives.
    pub safety: Safety,
    /// How what is taken is treated.
    pub policy: Policy,
    /// How much of what has been is kept.
    pub keep: Keep,
    /// The broker.
    pub server: Server,
    /// From which queue.
    pub queue: Queue,
    /// Queue that answers are sent to.
    pub reply_queue: String,
    /// Most bytes of an item.
    pub item_limit: usize,
    /// Class of an error in an answer that is made here.
    pub error_class: String,
    /// By which names requests by AIR are answered; `None` = they are not.
    pub air: Option<Names>,
}

/// A queue of RabbitMQ.
pub struct Rabbit {
    inputs: Sender<Input>,
    /// Wishes that the thread does not know of yet.
    wishes: Vec<Wish>,
    inbox: Inbox,
    /// Changes; what is sent goes to the broker.
    unrecorded: Unrecorded,
    thread: Option<JoinHandle<()>>,
}

impl Rabbit {
    /// Opens the record, and begins to connect: that the broker is away is no error, it is told by
    /// [`Event::Trouble`] and tried again for ever.
    ///
    /// # Errors
    /// [`Trouble`], as of [`Store::open`].
    pub fn open(settings: &Settings) -> Result<Self, Trouble> {
        let io = |e| Trouble::io("make a socket for", settings.place.folder(), e);
        let mut store = Store::open(&settings.place, settings.clock.clone(), settings.safety)?;
        let name = &settings.queue.name;
        let policy = Policy { is_remote: true, ..settings.policy };
        let how = (policy, &*settings.error_class);
        let (taker, bell) = open_taker(&mut store, &settings.place, name, how)?;
        let (outbox, inbox) = outbox::pair().map_err(io)?;
        let (inputs, incoming) = channel();
        let runtime = runtime().map_err(io)?;
        let unrecorded = Unrecorded::default();
        let counted = unrecorded.clone();
        let (settings, to_self) = (Settings { policy, ..settings.clone() }, inputs.clone());
        let place = settings.place.clone();
        let no_thread = |e| Trouble::io("make a thread for", place.folder(), e);
        let start = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (ended, end) = oneshot::channel::<()>();
        let here = runtime.handle().clone();
        // What comes and goes does so while the record is written, too: that waits for the disk.
        start("rabbitmq-io")
            .stack_size(256 << 10)
            .spawn(move || runtime.block_on(end))
            .map_err(no_thread)?;
        let thread = start("rabbitmq")
            .stack_size(512 << 10)
            .spawn(move || {
                let _others = here.enter();
                let parts = (store, taker, outbox, counted);
                Thread::new(settings, parts, bell, to_self, incoming).run(&here);
                drop(ended);
            })
            .map_err(no_thread)?;
        Ok(Self { inputs, wishes: Vec::new(), inbox, unrecorded, thread: Some(thread) })
    }
}

/// Makes what the client library runs on: in the thread that drives it.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // Names are looked up in a thread beside it, which ends soon after.
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .thread_stack_size(256 << 10)
        .build()
}

impl Broker for Rabbit {
    fn wakeup(&self) -> BorrowedFd<'_> {
        self.inbox.wakeup()
    }

    fn next(&mut self) -> Option<Event> {
        self.flush();
        self.inbox.next()
    }

    fn flush(&mut self) {
        if !self.wishes.is_empty() {
            // Where nobody listens any more, that was told.
            let _ = self.inputs.send(Input::Wishes(std::mem::take(&mut self.wishes)));
        }
    }

    fn holds_unrecorded(&self) -> bool {
        self.unrecorded.is_any()
    }

    fn wish(&mut self, wish: Wish) {
        if matches!(wish, Wish::Change(..)) {
            self.unrecorded.wished();
        }
        self.wishes.push(wish);
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        self.flush();
        let _ = self.inputs.send(Input::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
