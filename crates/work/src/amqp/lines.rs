//! The lines of a connection: consumers of the queue, each for so many messages at a time, and the
//! messages that came and are not settled yet, whether they are wanted or not any more.
//!
//! Lines are begun on the newest of the [`Readers`]. What the broker is told leaves in the order in which
//! it is said here, and nobody waits for it.

use super::Queue;
use super::let_go::LetGo;
use super::link::Patient;
use super::readers::Readers;
use super::tasks::{self, Teller, begin};
use crate::change::{self, JobId, NewJob};
use crate::wire::REQUEUED;
use futures_core::Stream;
use lapin::options::BasicCancelOptions;
use lapin::{Channel, Consumer};
use machine::time::Mono;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Acknowledgements of which we want to know soon whether the broker has them: a look at the queue
/// tells, and the next would be late.
const MANY: usize = 4096;

/// Bytes of an item up to which it may be at hand, as of the embedded queue.
pub(super) const SMALL: usize = change::SMALL as usize;

/// What comes after a message that is open for so long comes over another channel. The broker's
/// time-out for acknowledgements is half an hour, unless somebody set it.
const LONG: Duration = Duration::from_secs(5);

/// Most messages: so many items may be in hand or at hand.
pub(super) const MOST: usize = 200;
/// Most that rest besides, unacknowledged, until they are tried again. Of each the name is here.
pub(super) const MOST_PARKED: usize = 2000;

/// What the broker is told to do on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It was asked for; `sure`: the broker said so.
    Active { sure: bool },
    /// Told to end.
    Ending,
}

/// What a message is to us.
#[derive(Debug)]
pub(super) enum Of {
    /// It came, and is not recorded yet.
    New(Box<NewJob>),
    /// It was tried in vain before: for who begins it at once.
    Vain(Box<NewJob>, JobId),
    /// It is being recorded.
    Recording,
    /// It stands for a job that is in hand, or whose answer is on its way.
    Job(JobId),
    /// It is tried again at this time.
    Parked { job: Box<NewJob>, id: JobId, at: Mono },
}

#[derive(Debug)]
struct Message {
    line: u64,
    /// By which channel it came, when, and by which number there.
    reader: u64,
    since: Mono,
    tag: u64,
    of: Of,
}

impl Message {
    fn job(&self) -> Option<JobId> {
        match self.of {
            Of::Vain(_, job) | Of::Job(job) | Of::Parked { id: job, .. } => Some(job),
            Of::New(_) | Of::Recording => None,
        }
    }
}

struct Line {
    state: State,
    reader: u64,
    /// How many messages the broker may have on their way, or here, unsettled.
    room: usize,
    /// How many of them are here.
    here: usize,
    stream: Option<Consumer>,
}

impl Line {
    /// Returns how many messages it waits for.
    fn waits_for(&self) -> usize {
        if self.state == State::Ending { 0 } else { self.room.saturating_sub(self.here) }
    }
}

/// What came over the lines.
pub(super) enum Came {
    /// A message, by the number that it has here, and when it was requeued by hand, where it was:
    /// microseconds since 1970.
    Message(u64, Vec<u8>, Option<i64>),
    /// The broker ended a consumer that was told to end.
    Ended,
    /// It ended one that was not.
    Unwanted,
    /// Its channel is of no use any more: the broker closed it, as where an item took longer than
    /// its time-out for acknowledgements, or all of the connection is lost.
    Gone(u64),
}

/// All lines of a connection.
#[derive(Default)]
pub(super) struct Lines {
    readers: Readers,
    /// When it was last looked whether another is wanted.
    seen: Mono,
    all: BTreeMap<u64, Line>,
    messages: BTreeMap<u64, Message>,
    let_go: LetGo,
    last: u64,
}

impl Lines {
    /// Begins anew over a connection, which has so many channels, or without one. What came over an
    /// earlier one comes again.
    pub(super) fn begin(&mut self, over: Option<(Channel, u16)>, now: Mono) {
        self.let_go = std::mem::take(&mut self.let_go).lost(now);
        self.readers.begin(over.as_ref().map_or(0, |(_, channels)| *channels));
        // Numbers go on, so that none means two messages.
        self.all.clear();
        self.messages.clear();
        if let Some((channel, _)) = over {
            self.add(channel);
        }
    }

    /// The connection ended, for `why`.
    pub(super) fn ended(&mut self, why: &str, now: Mono) {
        self.readers.ended(why);
        self.begin(None, now);
    }

    /// Goes on with another channel. What is open on an earlier one is settled there.
    pub(super) fn add(&mut self, channel: Channel) {
        let lines: Vec<u64> = self.all.keys().copied().collect();
        for line in lines {
            self.cancel(line);
        }
        self.readers.add(channel);
    }

    /// Forgets the channels that the broker closed. What came over them comes again.
    pub(super) fn forget_closed(&mut self, now: Mono) {
        for reader in self.readers.closed() {
            self.gone(reader, now);
        }
    }

    /// Forgets a channel that is of no use any more.
    pub(super) fn gone(&mut self, reader: u64, now: Mono) {
        self.let_go = std::mem::take(&mut self.let_go).lost(now);
        self.readers.gone(reader);
        self.all.retain(|_, line| line.reader != reader);
        self.messages.retain(|_, message| message.reader != reader);
    }

    /// Tells whether another channel is wanted: there is none to read from, or something is open for
    /// long on the newest. Once a second it looks for that, and closes those that are done with.
    pub(super) fn wants_channel(&mut self, now: Mono) -> bool {
        let Some((newest, _)) = self.readers.newest() else { return self.readers.ask() };
        if self.seen.after(Duration::from_secs(1)) > now {
            return false;
        }
        self.seen = now;
        let of_messages = self.messages.values().map(|message| message.reader);
        let of_lines = self.all.values().map(|line| line.reader);
        let used: BTreeSet<u64> = of_messages.chain(of_lines).collect();
        self.readers.close_unused(|reader| used.contains(&reader));
        let is_old =
            |message: &Message| message.reader == newest && message.since.after(LONG) <= now;
        self.messages.values().any(is_old) && self.readers.ask()
    }

    /// Has the lines wait for at least `wanted` messages, as far as there may be so many, and for no
    /// more than `most`; a line that is added is for `broad` at least. `now`: how many are to be begun
    /// at once.
    pub(super) fn wait_for(
        &mut self,
        (wanted, now, most): (usize, usize, usize),
        broad: usize,
        queue: &Queue,
        (patient, teller): (Patient, &Teller),
    ) {
        let mut waiting = self.waiting();
        while waiting > most {
            let widest = self.all.iter().max_by_key(|(_, line)| line.waits_for());
            let Some((&number, line)) = widest else { break };
            waiting -= line.waits_for();
            self.cancel(number);
        }
        let free = self.free(waiting, now);
        let newest = self.readers.newest().filter(|_| waiting < wanted && free > 0);
        if let Some((reader, channel)) = newest {
            let room = (wanted - waiting).max(broad).min(free);
            self.last += 1;
            tasks::consume((channel, patient), &queue.name, self.last, room, teller);
            let state = State::Active { sure: false };
            self.all.insert(self.last, Line { state, reader, room, here: 0, stream: None });
        }
    }

    /// Returns how many messages more may be had, where so many are waited for: in any case one for each
    /// that is to be begun `now`.
    fn free(&self, waiting: usize, now: usize) -> usize {
        let parked = self.parked();
        if parked >= MOST_PARKED {
            return 0;
        }
        let few = MOST.saturating_sub(self.messages.len() - parked + waiting);
        few.max(now.saturating_sub(waiting))
    }

    fn parked(&self) -> usize {
        self.messages.values().filter(|message| matches!(message.of, Of::Parked { .. })).count()
    }

    /// Tells whether so many messages rest until they are tried again that no other is had.
    pub(super) fn is_full_of_parked(&self) -> bool {
        self.messages.len() >= MOST_PARKED && self.parked() >= MOST_PARKED
    }

    fn cancel(&mut self, number: u64) {
        if let Some(line) = self.all.get_mut(&number)
            && let State::Active { sure } = line.state
        {
            line.state = State::Ending;
            // RabbitMQ 3.10 fails where a consumer is told to end before it said that it began.
            if sure {
                let reader = line.reader;
                self.end(number, reader);
            }
        }
    }

    fn end(&self, number: u64, reader: u64) {
        if let Some(channel) = self.readers.channel(reader) {
            let name = tasks::consumer_tag(number);
            begin(channel.basic_cancel(name, BasicCancelOptions::default()));
        }
    }

    /// Returns how many messages are waited for.
    pub(super) fn waiting(&self) -> usize {
        self.all.values().map(Line::waits_for).sum()
    }

    /// Tells whether the broker knows that messages are waited for.
    pub(super) fn surely_waits(&self) -> bool {
        let is_sure =
            |line: &Line| line.state == State::Active { sure: true } && line.waits_for() > 0;
        self.all.values().any(is_sure)
    }

    /// The broker knows of a consumer.
    pub(super) fn consumes(&mut self, number: u64, stream: Consumer) {
        if let Some(line) = self.all.get_mut(&number) {
            line.stream = Some(stream);
            let reader = line.reader;
            match &mut line.state {
                State::Active { sure } => *sure = true,
                State::Ending => self.end(number, reader),
            }
        }
    }

    /// Returns what came next on the lines from `from` on, which becomes the one where that was. Where
    /// there is nothing more on one, whoever is in `context` is woken when there is.
    pub(super) fn next(
        &mut self,
        from: &mut u64,
        now: Mono,
        context: &mut Context<'_>,
    ) -> Option<Came> {
        let next = self.all.range_mut(*from..).find_map(|(&number, line)| {
            let Poll::Ready(came) = Pin::new(line.stream.as_mut()?).poll_next(context) else {
                return None;
            };
            Some((number, line.reader, came))
        });
        let (number, reader, came) = next?;
        *from = number;
        if let Some(Ok(delivery)) = came {
            self.all.entry(number).and_modify(|line| line.here += 1);
            self.last += 1;
            let tag = delivery.delivery_tag;
            let requeued = tasks::number(&delivery.properties, REQUEUED);
            let message = Message { line: number, reader, since: now, tag, of: Of::Recording };
            self.messages.insert(self.last, message);
            return Some(Came::Message(self.last, delivery.data, requeued));
        }
        let ended = self.all.remove(&number);
        let was_told = ended.is_some_and(|line| line.state == State::Ending);
        Some(match came {
            Some(_) => Came::Gone(reader),
            None if was_told => Came::Ended,
            None => Came::Unwanted,
        })
    }

    /// A message came, as if over a line.
    #[cfg(test)]
    pub(super) fn had(&mut self, of: Of) -> u64 {
        self.last += 1;
        let message = Message { line: 0, reader: 1, since: Mono(0), tag: self.last, of };
        self.messages.insert(self.last, message);
        self.last
    }

    /// Says what a message is.
    pub(super) fn is(&mut self, number: u64, of: Of) {
        if let Some(message) = self.messages.get_mut(&number) {
            message.of = of;
        }
    }

    /// Tells whether a message is only for who begins it at once.
    pub(super) fn is_to_be_begun(&self, number: u64) -> bool {
        self.messages.get(&number).is_some_and(|message| match &message.of {
            Of::Vain(..) => true,
            Of::New(job) => job.item.len() > SMALL,
            Of::Recording | Of::Job(_) | Of::Parked { .. } => false,
        })
    }

    /// Returns how many bytes the large ones have that nobody has yet.
    pub(super) fn large(&self) -> usize {
        let all = self.messages.values().filter_map(|message| match &message.of {
            Of::New(job) | Of::Vain(job, _) => Some(job.item.len()),
            Of::Recording | Of::Job(_) | Of::Parked { .. } => None,
        });
        all.filter(|bytes| *bytes > SMALL).sum()
    }

    fn numbers(&self, is_meant: impl Fn(&Of) -> bool) -> Vec<u64> {
        let meant = self.messages.iter().filter(|(_, message)| is_meant(&message.of));
        meant.map(|(number, _)| *number).collect()
    }

    /// Returns the messages that nobody has yet.
    pub(super) fn unrecorded(&self) -> Vec<u64> {
        self.numbers(|of| matches!(of, Of::New(_) | Of::Vain(..)))
    }

    /// Returns what a message is that nobody has yet.
    pub(super) fn unrecorded_job(&self, number: u64) -> Option<&NewJob> {
        match &self.messages.get(&number)?.of {
            Of::New(job) | Of::Vain(job, _) => Some(job),
            Of::Recording | Of::Job(_) | Of::Parked { .. } => None,
        }
    }

    /// Returns the names of what nobody has yet and came before a message.
    pub(super) fn unrecorded_before(&self, number: u64) -> Vec<(String, String)> {
        let Some(Message { reader, tag, .. }) = self.messages.get(&number) else {
            return Vec::new();
        };
        // What came over an earlier channel came before.
        let last = (*reader, *tag);
        let before = self.messages.values().filter(|message| (message.reader, message.tag) < last);
        let names = before.filter_map(|message| match &message.of {
            Of::New(job) | Of::Vain(job, _) => Some((job.wfid.clone(), job.identity.clone())),
            Of::Recording | Of::Job(_) | Of::Parked { .. } => None,
        });
        names.collect()
    }

    /// Returns the messages that are new, or parked until a moment that has come; `begins`: what
    /// is taken may be begun at once.
    pub(super) fn due(&self, now: Mono, begins: bool) -> Vec<u64> {
        self.numbers(|of| match of {
            Of::New(job) => begins || job.item.len() <= SMALL,
            Of::Vain(..) => begins,
            Of::Parked { at, .. } => *at <= now,
            Of::Recording | Of::Job(_) => false,
        })
    }

    /// Takes the job of a new or parked message to record it.
    pub(super) fn record(&mut self, number: u64) -> Option<(Box<NewJob>, Option<JobId>)> {
        let message = self.messages.get_mut(&number)?;
        match std::mem::replace(&mut message.of, Of::Recording) {
            Of::New(job) => Some((job, None)),
            Of::Vain(job, id) | Of::Parked { job, id, .. } => Some((job, Some(id))),
            other => {
                message.of = other;
                None
            }
        }
    }

    /// Returns when the next parked message is to be tried.
    pub(super) fn next_due(&self) -> Option<Mono> {
        let parked = self.messages.values().filter_map(|message| match message.of {
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
        for message in self.messages.values_mut() {
            if let Of::Parked { job, id, at } = &mut message.of
                && is_meant(job, *id)
            {
                *at = now;
                found.push(*id);
            }
        }
        found
    }

    /// Has what is here of a job that nobody has in hand tried at once, by its name. Tells whether there
    /// is anything.
    pub(super) fn try_again(&mut self, job: JobId, again: &NewJob, now: Mono) -> bool {
        let mut is_here = false;
        for message in self.messages.values_mut().filter(|message| message.job() == Some(job)) {
            is_here = true;
            // What was tried in vain is due already.
            if !matches!(message.of, Of::Vain(..)) {
                message.of = Of::Parked { job: Box::new(again.clone()), id: job, at: now };
            }
        }
        is_here
    }

    /// Returns the messages that stand for a job.
    pub(super) fn of_job(&self, job: JobId) -> Vec<u64> {
        self.numbers(|of| matches!(of, Of::Job(id) if *id == job))
    }

    fn take(&mut self, number: u64) -> Option<Message> {
        let message = self.messages.remove(&number)?;
        if let Some(line) = self.all.get_mut(&message.line) {
            line.here -= 1;
        }
        Some(message)
    }

    /// Settles a message for good, with the next [`flush`](Self::flush). `most`: how many others may
    /// be waited for.
    pub(super) fn acknowledge(&mut self, number: u64, most: usize) {
        let is_enough = self.waiting() >= most;
        let Some(message) = self.take(number) else { return };
        // Before, or another message would be on its way already.
        if is_enough {
            self.cancel(message.line);
        }
        self.readers.acknowledge(message.reader, message.tag);
        if let Of::Job(job) = message.of {
            self.let_go.acknowledged.push(job);
        }
    }

    /// Settles a message for good whose job was over when it came.
    pub(super) fn done(&mut self, number: u64, job: JobId, most: usize) {
        self.is(number, Of::Job(job));
        self.acknowledge(number, most);
    }

    /// The broker answered a look at the queue. Returns jobs that it will not send again: it had read
    /// their acknowledgements before it answered.
    pub(super) fn looked(&mut self, now: Mono) -> Vec<JobId> {
        let mut jobs = self.let_go.looked(now);
        let here: BTreeSet<JobId> = self.messages.values().filter_map(Message::job).collect();
        // Of two messages of one job one may be left.
        jobs.retain(|job| !here.contains(job));
        jobs
    }

    /// Tells whether the queue should be looked at soon; once, until it was.
    pub(super) fn wants_look(&mut self) -> bool {
        let is_wanted = self.let_go.acknowledged.len() >= MANY;
        is_wanted && !std::mem::replace(&mut self.let_go.is_asked, true)
    }

    /// The broker closed the channel after all that was said on it. Returns jobs that it will not
    /// send again.
    pub(super) fn closed(&mut self, now: Mono) -> Vec<JobId> {
        [self.looked(now), self.looked(now)].concat()
    }

    /// Throws a message away.
    pub(super) fn reject(&mut self, number: u64) {
        if let Some(message) = self.take(number) {
            self.readers.refuse(message.reader, message.tag, false);
        }
    }

    /// Puts a message back.
    pub(super) fn give_back(&mut self, number: u64) {
        if let Some(message) = self.take(number) {
            // Or it would come straight back.
            self.cancel(message.line);
            self.readers.refuse(message.reader, message.tag, true);
        }
    }

    /// Sends off what was acknowledged since the last time.
    pub(super) fn flush(&mut self) {
        self.readers.flush();
    }

    /// Takes the channels, to close them.
    pub(super) fn close(&mut self) -> Vec<Channel> {
        self.flush();
        self.readers.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_a_message_is_told_by_the_order_of_the_broker() {
        let mut lines = Lines::default();
        let new =
            |wfid: &str| Of::New(Box::new(NewJob { wfid: wfid.to_owned(), ..NewJob::default() }));
        // Two lines are looked at one after the other, whatever came first.
        let had = [(1, 7, new("behind")), (2, 5, new("before")), (3, 6, Of::Recording)];
        for (number, tag, of) in had {
            lines.messages.insert(number, Message { line: 0, reader: 1, since: Mono(0), tag, of });
        }
        assert_eq!(lines.unrecorded_before(3), [("before".to_owned(), String::new())]);
    }
}
