//! The lines of a connection: each a channel on which one message at a time is had, whether it is
//! wanted or not any more.

use super::Queue;
use super::link::Link;
use super::tasks::{self, Order, Teller};
use crate::change::{JobId, NewJob};
use machine::time::Mono;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Most lines: so many items may be in hand, or rest unacknowledged until they are tried again.
const MOST: usize = 200;

/// What the broker is told to do on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consumer {
    None,
    /// It was asked for; `sure`: the broker said so.
    Active {
        sure: bool,
    },
    /// Told to end.
    Ending,
}

/// What a message is to us.
#[derive(Debug)]
pub(super) enum Of {
    /// It came, and is not recorded yet.
    New(Box<NewJob>),
    /// It was tried in vain before: for who begins it at once.
    Vain(Box<NewJob>),
    /// It is being recorded.
    Recording,
    /// It stands for a job that is in hand, or whose answer is on its way.
    Job(JobId),
    /// It is tried again at this time.
    Parked { job: Box<NewJob>, id: Option<JobId>, at: Mono },
}

#[derive(Debug)]
struct Message {
    tag: u64,
    of: Of,
}

struct Line {
    orders: UnboundedSender<Order>,
    task: JoinHandle<()>,
    consumer: Consumer,
    message: Option<Message>,
}

impl Line {
    fn order(&self, order: Order) {
        // One whose task has ended said so.
        let _ = self.orders.send(order);
    }

    fn is_waiting(&self) -> bool {
        matches!(self.consumer, Consumer::Active { .. }) && self.message.is_none()
    }

    fn cancel(&mut self) {
        if let Consumer::Active { .. } = self.consumer {
            self.order(Order::Cancel);
            self.consumer = Consumer::Ending;
        }
    }
}

/// All lines of a connection.
#[derive(Default)]
pub(super) struct Lines {
    all: BTreeMap<u64, Line>,
    last: u64,
}

impl Lines {
    /// Has at least `wanted` lines wait for a message, as far as there may be so many, and no more
    /// than `most`.
    pub(super) fn wait_for(
        &mut self,
        (wanted, most): (usize, usize),
        link: &Arc<Link>,
        queue: &Queue,
        teller: &Teller,
    ) {
        let mut waiting = self.waiting();
        for line in self.all.values_mut() {
            if waiting < wanted && line.consumer == Consumer::None && line.message.is_none() {
                line.order(Order::Consume);
                line.consumer = Consumer::Active { sure: false };
                waiting += 1;
            } else if waiting > most && line.is_waiting() {
                line.cancel();
                waiting -= 1;
            }
        }
        while waiting < wanted && self.all.len() < MOST {
            self.last += 1;
            let (orders, obeyed) = unbounded_channel();
            let (link, name) = (Arc::clone(link), queue.name.clone());
            let task = tasks::line(link, name, self.last, teller.clone(), obeyed);
            let task = tokio::spawn(task);
            let consumer = Consumer::Active { sure: false };
            let added = Line { orders, task, consumer, message: None };
            added.order(Order::Consume);
            self.all.insert(self.last, added);
            waiting += 1;
        }
    }

    /// Returns how many lines wait for a message.
    pub(super) fn waiting(&self) -> usize {
        self.all.values().filter(|line| line.is_waiting()).count()
    }

    /// Returns how many of them the broker knows of.
    pub(super) fn surely_waiting(&self) -> usize {
        let is_sure = |line: &&Line| {
            line.message.is_none() && line.consumer == Consumer::Active { sure: true }
        };
        self.all.values().filter(is_sure).count()
    }

    pub(super) fn consumes(&mut self, line: u64) {
        if let Some(line) = self.all.get_mut(&line)
            && let Consumer::Active { sure } = &mut line.consumer
        {
            *sure = true;
        }
    }

    pub(super) fn idle(&mut self, line: u64) {
        if let Some(line) = self.all.get_mut(&line)
            && line.consumer == Consumer::Ending
        {
            line.consumer = Consumer::None;
        }
    }

    /// Tells whether the broker ended a consumer that was not told to end.
    pub(super) fn is_unwanted(&self, line: u64) -> bool {
        let active = |line: &Line| matches!(line.consumer, Consumer::Active { .. });
        self.all.get(&line).is_some_and(active)
    }

    /// A channel has ended: what it had comes again on another.
    pub(super) fn gone(&mut self, line: u64) {
        self.all.remove(&line);
    }

    /// A message came on a line.
    pub(super) fn came(&mut self, line: u64, tag: u64, of: Of) {
        if let Some(line) = self.all.get_mut(&line) {
            line.message = Some(Message { tag, of });
        }
    }

    /// Says what the message of a line is.
    pub(super) fn is(&mut self, line: u64, of: Of) {
        if let Some(message) = self.all.get_mut(&line).and_then(|line| line.message.as_mut()) {
            message.of = of;
        }
    }

    /// Tells whether the message of a line is only for who begins it at once.
    pub(super) fn is_vain(&self, line: u64) -> bool {
        let message = self.all.get(&line).and_then(|line| line.message.as_ref());
        message.is_some_and(|message| matches!(message.of, Of::Vain(_)))
    }

    /// Returns the lines whose message nobody has yet.
    pub(super) fn unrecorded(&self) -> Vec<u64> {
        let is_new = |line: &Line| {
            line.message
                .as_ref()
                .is_some_and(|message| matches!(message.of, Of::New(_) | Of::Vain(_)))
        };
        self.all.iter().filter(|(_, line)| is_new(line)).map(|(number, _)| *number).collect()
    }

    /// Returns the lines whose message is new, or parked until a moment that has come; `begins`: what
    /// is taken may be begun at once.
    pub(super) fn due(&self, now: Mono, begins: bool) -> Vec<u64> {
        let is_due = |of: &Of| match of {
            Of::New(_) => true,
            Of::Vain(_) => begins,
            Of::Parked { at, .. } => *at <= now,
            Of::Recording | Of::Job(_) => false,
        };
        let due = self
            .all
            .iter()
            .filter(|(_, line)| line.message.as_ref().is_some_and(|message| is_due(&message.of)));
        due.map(|(number, _)| *number).collect()
    }

    /// Takes the job of a new or parked message to record it.
    pub(super) fn record(&mut self, line: u64) -> Option<(Box<NewJob>, Option<JobId>)> {
        let message = self.all.get_mut(&line)?.message.as_mut()?;
        match std::mem::replace(&mut message.of, Of::Recording) {
            Of::New(job) | Of::Vain(job) => Some((job, None)),
            Of::Parked { job, id, .. } => Some((job, id)),
            other => {
                message.of = other;
                None
            }
        }
    }

    /// Returns when the next parked message is to be tried.
    pub(super) fn next_due(&self) -> Option<Mono> {
        let parked = self.all.values().filter_map(|line| match line.message.as_ref()?.of {
            Of::Parked { at, .. } => Some(at),
            _ => None,
        });
        parked.min()
    }

    /// Returns the parked jobs by which `is_meant` says so, and has them tried at once.
    pub(super) fn hurry(
        &mut self,
        now: Mono,
        is_meant: impl Fn(&NewJob, JobId) -> bool,
    ) -> Vec<JobId> {
        let mut found = Vec::new();
        for line in self.all.values_mut() {
            if let Some(Message { of: Of::Parked { job, id: Some(id), at }, .. }) =
                &mut line.message
                && is_meant(job, *id)
            {
                *at = now;
                found.push(*id);
            }
        }
        found
    }

    /// Returns the lines whose message stands for a job.
    pub(super) fn of_job(&self, job: JobId) -> Vec<u64> {
        let is_its = |line: &Line| {
            line.message
                .as_ref()
                .is_some_and(|message| matches!(message.of, Of::Job(id) if id == job))
        };
        self.all.iter().filter(|(_, line)| is_its(line)).map(|(number, _)| *number).collect()
    }

    /// Settles the message of a line for good. `most`: how many lines may wait for another.
    pub(super) fn acknowledge(&mut self, line: u64, most: usize) {
        self.end(line, most, Order::Ack);
    }

    /// Throws the message of a line away.
    pub(super) fn reject(&mut self, line: u64, most: usize) {
        self.end(line, most, |tag| Order::Nack { tag, requeue: false });
    }

    fn end(&mut self, line: u64, most: usize, order: impl FnOnce(u64) -> Order) {
        let is_enough = self.waiting() >= most;
        let Some(line) = self.all.get_mut(&line) else { return };
        let Some(message) = line.message.take() else { return };
        // Before, or another message would be on its way already.
        if is_enough {
            line.cancel();
        }
        line.order(order(message.tag));
    }

    /// Puts the message of a line back.
    pub(super) fn give_back(&mut self, line: u64) {
        let Some(line) = self.all.get_mut(&line) else { return };
        let Some(message) = line.message.take() else { return };
        // Or it would come straight back.
        line.cancel();
        line.order(Order::Nack { tag: message.tag, requeue: true });
    }

    /// Gives back all that nobody works on, lets every line do what it was told, and ends them.
    pub(super) async fn close(&mut self) {
        for (_, line) in std::mem::take(&mut self.all) {
            drop(line.orders);
            let _ = line.task.await;
        }
    }
}
