//! The thread that has the store and the connection.

use super::Settings;
use super::calls::Caller;
use super::early::Early;
use super::flow::Flow;
use super::lines::Lines;
use super::link::Link;
use super::nudge::Nudge;
use super::outgoing::Outgoing;
use super::tasks::{self, Kept, Life, Parts, Press, Teller};
use crate::bell::Bell;
use crate::broker::{Event, Then, Wish};
use crate::change::{Ask, Change, JobId, Lease, NewJob, Refused, TakerId};
use crate::embedded::retention::Retention;
use crate::embedded::thread::life::Standing;
use crate::embedded::thread::{AGAIN, AT_ONCE, LONGEST};
use crate::name;
use crate::outbox::Outbox;
use crate::store::Store;
use crate::trouble::Trouble;
use crate::troubled::Troubled;
use crate::unrecorded::Unrecorded;
use machine::time::{Mono, earlier};
use machine::work::{Backoff, Fault};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::net::UnixDatagram;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long the end takes at most: less than the keeper waits before it kills the worker.
pub(super) const CLOSING: Duration = Duration::from_secs(5);
/// How long it waits at most for the broker to close channels and connection: the last of it.
const GOODBYE: Duration = Duration::from_secs(2);
/// How long it waits for the broker's word about answers.
const CONFIRMS: Duration = Duration::from_secs(3);
/// Between two tries to connect.
pub(super) const RECONNECT: Backoff =
    Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(30) };
/// A connection that lasted so long was a good one: the next is tried at once.
pub(super) const GOOD: Duration = Duration::from_secs(10);

/// A job that was cancelled before it came.
#[derive(Clone, Debug)]
pub(super) struct NotBegun {
    pub(super) job: JobId,
    pub(super) wfid: String,
    pub(super) identity: String,
    pub(super) why: Fault,
}

/// What follows from a change.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The loop wished for it.
    Wished(Then),
    /// One of our own: the message of a line was recorded, for this ask.
    Arrive(u64, Ask, String),
    /// One of our own: the answer of a job has been received.
    Answered(JobId),
    /// One of our own: what came on a line is kept with the dead.
    Bury(u64),
    /// One of our own: a job was not wanted any more when it came.
    Unwanted(Box<NotBegun>),
    /// One of our own: nothing follows from it.
    Keep,
    /// One of our own: the next of its kind is as good.
    Passing,
    /// One of our own.
    Clean,
}

/// Everything that happens.
pub(super) enum Input {
    Wishes(Vec<Wish>),
    Close,
    /// Another process rang.
    Rung,
    Connected {
        life: Life,
        parts: Box<Parts>,
    },
    Unreachable {
        life: Life,
        why: String,
    },
    Lost {
        life: Life,
        why: String,
    },
    /// Nobody tells us of cancels: the broker does not allow it.
    Unheard {
        life: Life,
        why: String,
    },
    /// Cancels for what others have are not passed on: the broker does not allow it.
    NotPassed {
        life: Life,
        why: String,
    },
    /// What a message says was passed on, as far as it may be.
    PassedOn {
        life: Life,
        number: u64,
    },
    /// Why the broker takes nothing; `None` = it does again.
    Blocked {
        life: Life,
        why: Option<String>,
    },
    /// There is something to look at: messages, or confirms.
    Nudged,
    Consumes {
        life: Life,
        line: u64,
        stream: lapin::Consumer,
    },
    /// Another channel to read from.
    Reader {
        life: Life,
        reader: lapin::Channel,
    },
    /// Another channel to publish over.
    Press {
        life: Life,
        press: Press,
    },
    Looked {
        life: Life,
        ready: u32,
        consumers: u32,
    },
    /// Came over the control exchange; forwarded: from somebody who found it in a queue.
    Control {
        body: Vec<u8>,
        is_forwarded: bool,
    },
    /// Came by AIR, by this name, from whoever has this queue.
    Called {
        life: Life,
        service: String,
        to: String,
        body: Vec<u8>,
    },
}

/// A delivery that the loop has.
pub(super) struct Hand {
    pub(super) wfid: String,
    pub(super) rest: String,
    /// Number of the attempt.
    pub(super) attempt: u32,
    /// Bytes of its item, where that is large.
    pub(super) large: usize,
    pub(super) since: Mono,
    /// A cancel was told.
    pub(super) told: Option<Fault>,
}

/// Why something is published.
pub(super) enum For {
    /// It is the answer of a job; the loop is told of its end where that was here.
    Answer(JobId, Option<(Lease, Fault)>),
    Sent(u64),
    /// It was requeued, by the number of that.
    Again(i64),
}

/// What a message says of itself besides its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    /// Names it: published again it has the same.
    pub(super) id: Option<String>,
    /// Number of the attempt that it is the answer of.
    pub(super) attempt: Option<u32>,
    /// When it was requeued by hand: microseconds since 1970.
    pub(super) requeued: Option<i64>,
}

impl Marks {
    /// Those of an item, or an answer, of this name.
    pub(super) fn of(wfid: &str, rest: &str) -> Self {
        // A name of 255 bytes is the longest that goes.
        let id = Some(format!("{rest}!{wfid}")).filter(|id| id.len() <= 255);
        Self { id, ..Self::default() }
    }
}

/// A connection in use.
pub(super) struct Connected {
    pub(super) link: Arc<Link>,
    pub(super) kept: Kept,
    pub(super) press: Press,
    /// Has the queue looked at before its time.
    pub(super) look_now: Arc<Notify>,
    pub(super) teller: Teller,
    pub(super) since: Mono,
}

pub(super) struct Thread {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) taker: TakerId,
    pub(super) outbox: Outbox,
    pub(super) unrecorded: Unrecorded,
    pub(super) ringing: JoinHandle<()>,
    pub(super) to_self: Sender<Input>,
    pub(super) inputs: Receiver<Input>,
    pub(super) nudge: Arc<Nudge>,
    pub(super) asks: VecDeque<(Ask, String)>,
    pub(super) changes: VecDeque<(Change, Answer)>,
    pub(super) news: Vec<Event>,
    pub(super) held: HashMap<Lease, Hand>,
    /// Who asked by AIR how it stands, and was not answered yet.
    pub(super) calls: BTreeMap<u64, Caller>,
    pub(super) outgoing: Outgoing,
    /// The number of the last call.
    pub(super) tokens: u64,
    pub(super) life: Life,
    pub(super) connected: Option<Connected>,
    /// Connections in a row that came to nothing.
    pub(super) vain: u32,
    pub(super) lines: Lines,
    pub(super) flow: Flow,
    pub(super) early: Early,
    /// When a message may be had again that nobody asked for, in case it is a cancel.
    pub(super) peek_at: Mono,
    /// When one may be had again at all: the last was too large beside what is here.
    pub(super) full_until: Mono,
    /// When a large one came last, if not long ago.
    pub(super) large_at: Option<Mono>,
    /// Told that so many rest that no other is had.
    pub(super) is_full: bool,
    /// Messages that came, and how many had at the last look at the queue, where somebody waited.
    pub(super) came: u64,
    pub(super) came_before: Option<u64>,
    /// Looks in a row at a queue that was empty, while somebody waited.
    pub(super) vain_looks: u32,
    /// The last requeue of what has a message, as far as it was seen.
    pub(super) newest_again: Option<i64>,
    /// Jobs that were to be answered and are done again, maybe by another.
    pub(super) overtaken: Vec<JobId>,
    pub(super) sweep: bool,
    pub(super) rung: bool,
    pub(super) renew_at: Option<Mono>,
    pub(super) standing: Standing,
    pub(super) flush_at: Option<Mono>,
    pub(super) retention: Retention,
    pub(super) again_at: Option<Mono>,
    pub(super) lasting: bool,
    /// What was told of each [`Part`].
    pub(super) troubled: Troubled,
    /// Told that nobody tells us of cancels.
    pub(super) is_unheard: bool,
    /// Told that cancels are not passed on.
    pub(super) is_not_passed: bool,
    /// Told that dead items went for others.
    pub(super) is_crowded: bool,
    /// Since when it ends.
    pub(super) closing: Option<Mono>,
}

/// What may be in trouble, each by itself.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Store,
    Broker,
    /// So many items rest that no other is had.
    Rest,
    /// Answers are not taken.
    Answers,
}

/// What is given back here goes back to the broker.
fn with_message(change: Change) -> Change {
    match change {
        Change::GiveBack(lease) => Change::HandBack(lease),
        other => other,
    }
}

pub(super) fn ring(bell: Bell, inputs: Sender<Input>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Ok(bell) = UnixDatagram::from_std(bell.into_socket()) else { return };
        while bell.recv(&mut [0]).await.is_ok() {
            while bell.try_recv(&mut [0]).is_ok() {}
            if inputs.send(Input::Rung).is_err() {
                return;
            }
        }
    })
}

impl Thread {
    pub(super) fn new(
        settings: Settings,
        (store, taker, outbox, unrecorded): (Store, TakerId, Outbox, Unrecorded),
        bell: Bell,
        to_self: Sender<Input>,
        inputs: Receiver<Input>,
    ) -> Self {
        let nudge = Nudge::new(to_self.clone());
        let retention = Retention::new(settings.keep, store.now().mono);
        Self {
            settings,
            store,
            taker,
            outbox,
            unrecorded,
            ringing: ring(bell, to_self.clone()),
            to_self,
            inputs,
            nudge,
            asks: VecDeque::new(),
            changes: VecDeque::new(),
            news: Vec::new(),
            held: HashMap::new(),
            calls: BTreeMap::new(),
            outgoing: Outgoing::default(),
            tokens: 0,
            life: 0,
            connected: None,
            vain: 0,
            lines: Lines::default(),
            flow: Flow::default(),
            early: Early::default(),
            peek_at: Mono(0),
            full_until: Mono(0),
            large_at: None,
            is_full: false,
            came: 0,
            came_before: None,
            vain_looks: 0,
            newest_again: None,
            overtaken: Vec::new(),
            sweep: false,
            rung: false,
            renew_at: None,
            standing: Standing::default(),
            flush_at: None,
            retention,
            again_at: None,
            lasting: false,
            troubled: Troubled::default(),
            is_unheard: false,
            is_not_passed: false,
            is_crowded: false,
            closing: None,
        }
    }

    /// Works until it is told to end; what waits for the broker does so by `others`.
    pub(super) fn run(mut self, others: &Handle) {
        self.connect();
        loop {
            self.hear();
            if let Err(trouble) = self.live_on().and_then(|()| self.work()) {
                self.stop(&trouble);
            }
            // First: whoever waits for it goes on while the broker is told what it is to send.
            self.outbox.publish(&mut self.news);
            self.balance();
            self.await_confirms();
            self.outbox.publish(&mut self.news);
            if self.is_over() {
                return self.close(others);
            }
        }
    }

    /// Waits for something to happen, and takes all of it that is there.
    pub(super) fn hear(&mut self) {
        let now = self.store.now().mono;
        if !self.has_work(now) {
            let deadline = self.deadline(now);
            let limit = deadline.map_or(LONGEST, |at| Duration::from_nanos(at.nanos_from(now)));
            let limit = limit.min(self.patience()).min(LONGEST);
            let input = self.inputs.try_recv().or_else(|_| {
                self.tidy();
                self.inputs.recv_timeout(limit)
            });
            if let Ok(input) = input {
                self.heed(input);
            }
        }
        for _ in 0..AT_ONCE {
            let Ok(input) = self.inputs.try_recv() else { break };
            self.heed(input);
        }
        self.give_up_waiting();
        self.push_again();
    }

    /// Does what takes long while there is nothing at all to do.
    fn tidy(&mut self) {
        if self.held.is_empty() && self.outgoing.is_empty() && self.changes.is_empty() {
            self.store.tidy().unwrap_or_else(|trouble| self.stop(&trouble));
            self.outbox.publish(&mut self.news);
        }
    }

    /// Looks what came over the connection.
    fn look(&mut self) {
        self.nudge.heard();
        let waker = Waker::from(Arc::clone(&self.nudge));
        let mut context = Context::from_waker(&waker);
        // One by one: what is given back is not in memory beside the next.
        let mut from = 0;
        let now = self.store.now().mono;
        while let Some(came) = self.lines.next(&mut from, now, &mut context) {
            self.came(came);
        }
        self.confirmed(&mut context);
    }

    /// Sees to it that confirms of what was published just now wake us.
    fn await_confirms(&mut self) {
        if self.connected.as_ref().is_some_and(|connected| connected.press.is_unheard()) {
            let waker = Waker::from(Arc::clone(&self.nudge));
            self.confirmed(&mut Context::from_waker(&waker));
        }
    }

    pub(super) fn has_work(&self, now: Mono) -> bool {
        self.again_at.is_none() && !self.lasting && {
            let begins = self.asks.iter().any(|(ask, _)| *ask == Ask::Now);
            let is_due = !self.asks.is_empty() && !self.lines.due(now, begins).is_empty();
            !self.changes.is_empty() || self.rung || is_due || self.standing.is_over
        }
    }

    pub(super) fn deadline(&self, now: Mono) -> Option<Mono> {
        let own = if self.lasting || self.again_at.is_some() {
            self.again_at
        } else {
            let parked = self.lines.next_due().filter(|_| !self.asks.is_empty());
            let renew = self.renew_at.filter(|_| !self.held.is_empty());
            let renew = earlier(renew, self.flush_at);
            let peek = Some(self.peek_at).filter(|at| *at > now && self.may_peek());
            let peek = earlier(peek, Some(self.full_until).filter(|at| *at > now));
            let parked = earlier(parked, peek);
            let flow = earlier(self.flow.end(now), self.flow.more(now));
            let kept = earlier(self.retention.deadline().into(), flow);
            let again = self.outgoing.next_again().filter(|_| self.connected.is_some());
            earlier(earlier(earlier(parked, renew), kept), again)
        };
        let ends = self.closing.map(|since| [CONFIRMS, CLOSING].map(|limit| since.after(limit)));
        earlier(own, ends.and_then(|ends| ends.into_iter().find(|end| *end > now)))
    }

    pub(super) fn heed(&mut self, input: Input) {
        let life = self.life;
        match input {
            Input::Wishes(wishes) => wishes.into_iter().for_each(|wish| self.wish(wish)),
            Input::Close => self.begin_to_close(),
            Input::Rung => self.rung = true,
            Input::Connected { life: of, parts } if of == life => self.use_link(*parts),
            Input::Unreachable { life: of, why } if of == life => self.not_connected(&why),
            Input::Lost { life: of, why } if of == life => self.lost(&why),
            Input::Unheard { life: of, why } if of == life => self.unheard(why),
            Input::NotPassed { life: of, why } if of == life => self.not_passed(why),
            Input::PassedOn { life: of, number } if of == life => self.acknowledge_message(number),
            Input::Blocked { life: of, why } if of == life => self.blocked(why),
            Input::Nudged => self.look(),
            Input::Consumes { life: of, line, stream } if of == life => {
                self.lines.consumes(line, stream);
                self.look();
            }
            Input::Reader { life: of, reader } if of == life => {
                self.lines.add(reader);
            }
            Input::Press { life: of, press } if of == life => self.use_press(press),
            Input::Looked { life: of, ready, consumers } if of == life => {
                self.looked(ready, consumers);
            }
            Input::Control { body, is_forwarded } => self.heard_control(&body, is_forwarded),
            Input::Called { life: of, service, to, body } if of == life => {
                self.called(&service, to, &body);
            }
            // Of a connection that was given up.
            _ => {}
        }
    }

    /// Tells whether nothing is ever taken for such an ask: giving back would count as a delivery.
    fn is_in_vain(&self, ask: Ask) -> bool {
        ask == Ask::Ahead && self.settings.queue.is_quorum
    }

    pub(super) fn wish(&mut self, wish: Wish) {
        match wish {
            Wish::Ask(ask, _) if self.is_in_vain(ask) => {}
            Wish::Ask(ask, instance) => {
                if ask == Ask::Now {
                    self.flow.waits(self.store.now().mono);
                }
                self.asks.push_back((ask, instance));
            }
            Wish::Withdraw(ask, instance) => {
                let same = |asked: &(Ask, String)| asked.0 == ask && asked.1 == instance;
                let waits = self.asks.iter().position(same);
                // One that is not there is granted already, unless it could not be.
                if waits.and_then(|at| self.asks.remove(at)).is_some() || self.is_in_vain(ask) {
                    self.news.push(Event::Withdrawn { ask, instance });
                }
            }
            Wish::Change(change, then) => {
                self.changes.push_back((with_message(change), Answer::Wished(then)));
            }
            // There is no other way than the queue.
            Wish::Collect => {}
            Wish::Tell(ticket, status) => self.tell(ticket, &status),
            Wish::Send(ticket, job) => {
                if let Some(refused) = self.flaw(&job) {
                    return self.news.push(Event::Sent { ticket, job: Err(refused) });
                }
                let marks = Marks::of(&job.wfid, &job.identity);
                self.publish(job.queue, job.item, marks, For::Sent(ticket));
            }
        }
    }

    /// Says why something cannot be sent to another queue.
    pub(super) fn flaw(&self, job: &NewJob) -> Option<Refused> {
        if let Some(flaw) = name::queue_flaw(&job.queue) {
            return Some(Refused::Queue(job.queue.clone(), flaw));
        }
        let NewJob { label, priority, delay, reply_to, key, parent, dependency, .. } = job;
        let is_plain = label.is_empty()
            && (*priority, *delay) == (0, Duration::ZERO)
            && (key, parent, dependency) == (&None, &None, &None)
            && reply_to.as_ref().is_none_or(|to| *to == self.settings.reply_queue);
        (!is_plain).then_some(Refused::Senseless(
            "RabbitMQ knows no delay, priority, label, key or reply-to of an item",
        ))
    }

    pub(super) fn begin_to_close(&mut self) {
        self.asks.clear();
        self.closing = Some(self.store.now().mono);
        for event in self.outbox.take_back() {
            if let Event::Arrived(delivery) = event {
                self.unrecorded.wished();
                let (change, then) = delivery.unseen();
                self.changes.push_back((with_message(change), Answer::Wished(then)));
            }
        }
    }

    pub(super) fn is_over(&self) -> bool {
        let Some(since) = self.closing else { return false };
        let now = self.store.now().mono;
        let is_deaf = self.connected.is_none() || since.after(CONFIRMS) <= now;
        let is_done = self.changes.is_empty() && (self.outgoing.is_empty() || is_deaf);
        is_done || self.lasting || since.after(CLOSING) <= now
    }

    fn close(mut self, others: &Handle) {
        let readers = self.lines.close();
        let (mut settled, now) = (Vec::new(), self.store.now().mono);
        let end = self.closing.unwrap_or(now).after(CLOSING);
        let left = Duration::from_nanos(end.nanos_from(now)).min(GOODBYE);
        if let Some(connected) = self.connected.take() {
            others.block_on(async {
                let until = tokio::time::Instant::now() + left;
                // Acknowledgements that are on their way arrive before its end.
                if tokio::time::timeout_at(until, tasks::close_all(readers)).await == Ok(true) {
                    settled = self.lines.closed(self.store.now().mono);
                }
                let closing = connected.link.connection.close(200, "OK".into());
                let _ = tokio::time::timeout_at(until, closing).await;
            });
        }
        self.ringing.abort();
        let _ = self.store.apply(&Change::Settled(settled));
        // Whoever does not hear of it finds our socket dead.
        let _ = self.store.apply(&Change::CloseTaker(self.taker));
    }

    /// Lets everything rest, since the store cannot be changed.
    pub(super) fn stop(&mut self, trouble: &Trouble) {
        self.lasting = trouble.is_lasting();
        self.again_at = Some(self.store.now().mono.after(AGAIN));
        self.trouble(Part::Store, trouble.to_string());
    }

    pub(super) fn trouble(&mut self, part: Part, what: String) {
        self.news.extend(self.troubled.trouble(part as usize, what, self.lasting));
    }

    pub(super) fn well(&mut self, part: Part) {
        self.news.extend(self.troubled.well(part as usize));
    }
}
