//! A queue of work as exo's one loop sees it.

use crate::change::{
    Applied, Ask, Asked, By, Change, DeadId, Ended, JobId, Lease, NewJob, Refused, Taken,
};
use crate::clock::Wall;
use crate::drop_folder::Unread;
use machine::time::Mono;
use machine::work::Fault;
use serde_json::Value;
use std::os::fd::BorrowedFd;

/// A queue that items are taken from, one ask at a time.
///
/// Nothing here waits: a call is a wish, and what came of it is an [`Event`]. Wishes are granted
/// in the order in which they were made. Dropping a broker ends it: wishes that were made are
/// granted first, as far as the disk or the network lets them; what is still in hand then counts
/// as lost.
///
/// Wishes may wait for [`flush`](Self::flush), so that those of one turn of the loop have their
/// commit or packet together.
pub trait Broker {
    /// Returns what becomes readable when [`next`](Self::next) has something to say. To be waited
    /// for only after that said `None`.
    fn wakeup(&self) -> BorrowedFd<'_>;

    /// Returns what happened, one thing at a time; `None` = no more for now.
    fn next(&mut self) -> Option<Event>;

    /// Sends off the wishes that were made so far, which [`next`](Self::next) does too. Before
    /// whoever has made some since then waits.
    fn flush(&mut self);

    /// Tells whether changes were wished for that are not on record yet, and would be lost where the end
    /// could not record them either. Whether others have been told of them is another matter.
    fn holds_unrecorded(&self) -> bool;

    /// Makes a wish. What there is to wish for is said by what follows.
    fn wish(&mut self, wish: Wish);

    /// Wants one more delivery, for this instance. Answered by one [`Event::Arrived`], at once or
    /// whenever there is something.
    fn ask(&mut self, ask: Ask, instance: &str) {
        self.wish(Wish::Ask(ask, instance.to_owned()));
    }

    /// Wants one delivery less, of those that this instance asked for like this. Answered by one
    /// [`Event::Withdrawn`], unless what was asked for is on its way: that arrives nevertheless.
    fn withdraw(&mut self, ask: Ask, instance: &str) {
        self.wish(Wish::Withdraw(ask, instance.to_owned()));
    }

    /// Says that a delivery which was only asked for ahead is worked on, since when and by which
    /// instance. Refused by [`Event::Overtaken`].
    fn begin(&mut self, delivery: &mut Delivery, instance: &str, at: Wall) {
        if !delivery.taken.begun {
            delivery.taken.begun = true;
            let lease = delivery.key();
            let begin = Change::Begin { lease, instance: instance.to_owned(), at };
            self.wish(Wish::Change(begin, Then::Begin(lease)));
        }
    }

    /// Gives a delivery back that was not begun: as if it had never been here.
    fn give_back(&mut self, delivery: Delivery) {
        let lease = delivery.key();
        self.wish(Wish::Change(Change::GiveBack(lease), Then::Return(lease)));
    }

    /// Gives a delivery back that was begun, because we shut down. It is ready for others at once
    /// and the try does not count. What is known of the attempt is recorded all the same.
    fn interrupt(&mut self, delivery: Delivery, ended: Ended) {
        let lease = delivery.key();
        self.wish(Wish::Change(Change::Interrupt(lease, Box::new(ended)), Then::Return(lease)));
    }

    /// Ends a delivery: recorded, answered, settled, in this order. Then [`Event::Settled`], or
    /// [`Event::Overtaken`] where it was not ours any more.
    fn finish(&mut self, delivery: Delivery, ended: Ended) {
        let lease = delivery.key();
        self.wish(Wish::Change(Change::End(lease, Box::new(ended)), Then::Settle(lease)));
    }

    /// Ends a delivery that was cancelled and did not stop by itself within its time.
    fn overdue(&mut self, delivery: Delivery, ended: Ended) {
        let lease = delivery.key();
        let overdue = Change::CancelOverdue(lease, Box::new(ended));
        self.wish(Wish::Change(overdue, Then::Settle(lease)));
    }

    /// Records how far the work on a delivery has come, for the next attempt. Answered by
    /// [`Event::Staged`].
    fn stage(&mut self, delivery: &Delivery, stage: Option<String>) {
        let lease = delivery.key();
        self.wish(Wish::Change(Change::Stage { lease, stage }, Then::Stage(lease)));
    }

    /// Puts a further item into a queue. Answered by [`Event::Sent`] with this ticket, once it is
    /// safe there.
    fn send(&mut self, ticket: u64, job: NewJob) {
        self.wish(Wish::Send(ticket, Box::new(job)));
    }

    /// Looks for items that come by another way than the queue: whoever watches the drop folder saw
    /// one arrive.
    fn collect(&mut self) {
        self.wish(Wish::Collect);
    }

    /// Does what somebody asks for, with whatever job or dead item of the store. Answered by
    /// [`Event::Made`] with this ticket; who has a job in hand that is cancelled hears
    /// [`Event::Cancelled`].
    fn make(&mut self, ticket: u64, by: By, asked: Asked) {
        self.wish(Wish::Change(Change::Asked(by, asked), Then::Made(ticket)));
    }

    /// Answers [`Event::StatusAsked`], whose ticket this is.
    fn tell(&mut self, ticket: u64, status: Value) {
        self.wish(Wish::Tell(ticket, status));
    }
}

/// What a loop wants of a broker.
#[derive(Debug)]
pub enum Wish {
    /// One more delivery for this instance.
    Ask(Ask, String),
    /// One less.
    Withdraw(Ask, String),
    /// A change of the record.
    Change(Change, Then),
    /// A further item, and the ticket by which it is told of.
    Send(u64, Box<NewJob>),
    /// A look for items that come by another way than the queue.
    Collect,
    /// An answer to somebody who asked how it stands.
    Tell(u64, Value),
}

/// What a loop is told about a change that it wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Only where it is refused.
    Begin(Lease),
    /// In any case, and that the lease is over where it is refused.
    Stage(Lease),
    /// Only where it is refused; the lease is over in any case.
    Return(Lease),
    /// How the job stands; the lease is over in any case.
    Settle(Lease),
    /// What came of it, by this ticket.
    Made(u64),
}

/// A job in hand. Neither `Clone` nor `Copy`, and whatever settles it consumes it:
///
/// ```
/// use work::{Broker, Delivery, Ended};
/// fn once(broker: &mut impl Broker, delivery: Delivery) {
///     broker.finish(delivery, Ended::default());
/// }
/// fn not_at_all(broker: &mut impl Broker, delivery: Delivery) {
///     broker.give_back(delivery);
/// }
/// ```
///
/// ```compile_fail,E0382
/// use work::{Broker, Delivery, Ended};
/// fn twice(broker: &mut impl Broker, delivery: Delivery) {
///     broker.finish(delivery, Ended::default());
///     broker.give_back(delivery);
/// }
/// ```
///
/// ```
/// use work::Delivery;
/// fn lend(delivery: &Delivery) -> &Delivery {
///     delivery
/// }
/// ```
///
/// ```compile_fail,E0277
/// use work::Delivery;
/// fn copy(delivery: &Delivery) -> Delivery {
///     Delivery::clone(delivery)
/// }
/// ```
#[derive(Debug)]
#[must_use = "it stays in hand until it is settled"]
pub struct Delivery {
    pub(crate) taken: Taken,
}

impl Delivery {
    /// Returns what names it in events. A key settles nothing.
    #[must_use]
    pub fn key(&self) -> Lease {
        self.taken.lease
    }

    /// Returns all that is known of it, the work item too.
    #[must_use]
    pub fn job(&self) -> &Taken {
        &self.taken
    }

    /// Returns what becomes of it where nobody has looked at it.
    pub(crate) fn unseen(self) -> (Change, Then) {
        let lease = self.key();
        let change = if self.taken.begun {
            Change::Interrupt(lease, Box::default())
        } else {
            Change::GiveBack(lease)
        };
        (change, Then::Return(lease))
    }

    /// Gives the work item's bytes away, so that they need not be kept twice.
    #[must_use]
    pub fn take_item(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.taken.item)
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// An ask was granted.
    Arrived(Delivery),
    /// An ask was taken back before it was granted.
    Withdrawn {
        /// Which kind.
        ask: Ask,
        /// Of which instance.
        instance: String,
    },
    /// A delivery's end is safe: recorded, answered, settled.
    Settled {
        /// Which.
        key: Lease,
        /// How the job stands: not always as the attempt ended, it may have been cancelled or
        /// tried as often as it may.
        fault: Fault,
        /// When it is tried again; `None` = it has stopped.
        retry: Option<Mono>,
    },
    /// How far a delivery has come is recorded, or will never be; they keep their order.
    Staged(Lease),
    /// A delivery is not ours any more: its lease ran out, or it was cancelled before it was
    /// begun. What we say of it is not recorded.
    Overtaken(Lease),
    /// A delivery that is worked on is not wanted any more. It is to be finished none the less.
    Cancelled {
        /// Which.
        key: Lease,
        /// Why: the code that means so.
        why: Fault,
    },
    /// An item came that had been cancelled before: nobody works on it.
    Unwanted {
        /// Process that it belongs to.
        wfid: String,
        /// The rest of its name.
        identity: String,
        /// Why: the code that means so.
        why: Fault,
    },
    /// A cancel that another exo found in a queue would be for an item that is in hand here, but for too
    /// short a time to be sure: a step that is handed out anew may stand right behind it.
    Spared {
        /// Process that it belongs to.
        wfid: String,
        /// The rest of its name.
        identity: String,
    },
    /// An item is safe in the queue it was sent to.
    Sent {
        /// As it was sent with.
        ticket: u64,
        /// The job that it is, as far as that is known here, or why it is none.
        job: Result<Option<JobId>, Refused>,
    },
    /// What somebody asked for is recorded, or refused.
    Made {
        /// As it was asked with.
        ticket: u64,
        /// What came of it.
        made: Result<Applied, Refused>,
    },
    /// Somebody asks from afar how it stands: to be answered by [`Broker::tell`], at once.
    StatusAsked {
        /// Names the question.
        ticket: u64,
        /// With which instance; `None` = with any.
        instance: Option<String>,
        /// With whoever works on this process; `None` = with whoever works or not.
        wfid: Option<String>,
    },
    /// Something does not go on until this is mended, items from the drop folder or everything;
    /// wishes are kept, and tried again by themselves.
    Trouble {
        /// What is wrong, after "unable to".
        what: String,
        /// It will not mend by itself.
        lasting: bool,
    },
    /// It goes on.
    Well,
    /// Files of the drop folder are no items, and dead items now.
    Buried {
        /// How many.
        count: usize,
        /// What is wrong with the first of them.
        why: String,
    },
    /// A file of the drop folder cannot be read, and waits there. Told once of each.
    Unread(Unread),
    /// A message was refused: it is no item, or one that cannot be recorded. It is a dead item now.
    Rejected {
        /// Which.
        dead: DeadId,
        /// What is wrong with it.
        reason: String,
        /// How many of its bytes are kept.
        bytes: usize,
    },
    /// Nobody can tell us of a cancel but by the queue, behind what waits there. Told once.
    Unheard {
        /// What the broker refused.
        why: String,
    },
    /// A cancel that stands in the queue and means what another exo has does not reach it. Told once.
    NotPassed {
        /// What the broker refused.
        why: String,
    },
    /// An answer is larger than what the broker takes: an error that says so went on record, and to
    /// the sender, in its place.
    TooLarge {
        /// Whose.
        job: JobId,
        /// How many bytes it had.
        bytes: usize,
        /// How many it may have.
        most: usize,
    },
    /// There are so many dead items of one owner that never were a job that the oldest went. Told
    /// once.
    Crowded,
    /// More of the store is in use than may be, and nothing is left that may be removed for that. Told
    /// once, until it was not so.
    Full,
}
