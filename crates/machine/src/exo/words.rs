//! What is said to the machine of an instance, and what it says.

use crate::queue::Queue;
use crate::time::Mono;
use core::time::Duration;

/// Names a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u32);

/// How the participant gets its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A process for each item.
    PerItem,
    /// One process for many.
    Persistent,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// How items get there.
    pub mode: Mode,
    /// From the start of a persistent participant to its hello.
    pub start: Duration,
    /// For one item.
    pub item: Option<Duration>,
    /// From a cancel to KILL.
    pub cancel: Duration,
    /// From the order to shut down to KILL.
    pub shutdown: Duration,
    /// Between two starts, at least; after starts in vain doubled with each.
    pub restart: Duration,
    /// The most that becomes of it.
    pub restart_longest: Duration,
    /// Most items at hand, 1 to [`MOST_AHEAD`](super::MOST_AHEAD).
    pub ahead: usize,
}

/// What is asked of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// An item to be worked on at once.
    Now,
    /// One to have at hand.
    Ahead,
}

/// Why the work on an item is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is not wanted any more.
    Cancelled,
    /// It took longer than it may.
    Late,
    /// The participant does not keep to the protocol.
    Broken,
    /// Somebody else has the item by now.
    Overtaken,
    /// The time for a shutdown is over. Nobody is told: it is killed.
    Ended,
}

/// How the work on an item ended, in its participant's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Word {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// It was given up: the participant was told to stop, or to end.
    GaveUp,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The first of all.
    Begun,
    /// A deadline may have passed.
    Tick,
    /// The process could not be started.
    NotStarted,
    /// The participant is ready for items.
    Hello,
    /// The process is dead. `well`: it ended as one does that has done its work.
    Died {
        /// In per-item mode: exit code 0 and an answer that can be sent.
        well: bool,
        /// In persistent mode: it had not read the item in hand.
        unread: bool,
    },
    /// The participant said how the work on an item ended.
    Answered {
        /// Which item.
        key: Key,
        /// How.
        word: Word,
    },
    /// What the participant says has no sense any more, or it closed its socket.
    Broken,
    /// The queue gave an item.
    Arrived {
        /// Which.
        key: Key,
        /// Its attempt is recorded: it was asked for to be worked on at once.
        begun: bool,
    },
    /// An ask that was taken back is not answered by an item any more.
    Withdrawn(Ask),
    /// Whether the participant waits for us to hear what it says.
    KeptWaiting(bool),
    /// An item is not wanted any more. `hurry`: the work is not asked to stop but ended.
    Cancelled {
        /// Which.
        key: Key,
        /// No time is left for it to end by itself.
        hurry: bool,
    },
    /// An item is not ours any more.
    Overtaken(Key),
    /// No more items, until [`Event::Resume`].
    Drain,
    /// Items again.
    Resume,
    /// No more items, and then the end.
    Shutdown,
}

/// How an item is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// As the participant said, or as its process for this item ended.
    Said,
    /// Its process ended without a word about it.
    Died,
    /// It took longer than it may.
    Late,
    /// The participant did not keep to the protocol.
    Broken,
    /// It was cancelled and did not stop by itself.
    Overdue,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask the queue.
    Ask(Ask),
    /// Take an ask back; it is answered by [`Event::Withdrawn`] unless an item is on its way.
    Withdraw(Ask),
    /// Give an item back that was not begun.
    GiveBack(Key),
    /// Give an item back that was begun: nobody's fault.
    Interrupt(Key),
    /// Record that an item is begun.
    Begin(Key),
    /// Start the process; in per-item mode for this item.
    Start(Option<Key>),
    /// Give the item to the process.
    HandOver(Key),
    /// Tell the process that an item is not wanted any more, in per-item mode by TERM.
    Cancel(Key, Why),
    /// Tell the process that no more items come.
    TellShutdown,
    /// Tell the process that it ends soon, in per-item mode by TERM.
    TellEnd,
    /// End the process by TERM.
    Terminate,
    /// End the process by KILL.
    Kill,
    /// End the process by KILL: it has not said hello in its time.
    GiveUp,
    /// Settle an item.
    Finish(Key, How),
}

/// The actions of a step.
pub type Actions = Queue<Action, 40>;

/// How an instance stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its process has not said hello yet.
    Starting,
    /// Nothing to do.
    Idle,
    /// An item is in hand.
    Working {
        /// Which.
        key: Key,
        /// Since when.
        since: Mono,
        /// Why it is to stop, if it is.
        stopping: Option<Why>,
    },
    /// Its process is on its way out.
    Ending,
    /// No process is started before this.
    Resting {
        /// The next start.
        until: Mono,
    },
    /// It has ended, and none will be started.
    Ended,
}
