//! What of all that happens is put on record, and what follows from that.

use super::lines::{Of, SMALL};
use super::thread::{Answer, For, Hand, Marks, NotBegun, Part, Thread};
use super::traffic::VAIN_LOOKS;
use crate::broker::{Delivery, Event, Then};
use crate::change::{
    Again, Applied, Ask, Change, Ended, JobId, Lease, NewJob, Refused, Steer, Subject, Taken,
};
use crate::embedded::thread::{AGAIN, AT_ONCE};
use crate::open::Safety;
use crate::trouble::Trouble;
use machine::time::Mono;
use machine::work::{Fault, Kind};
use std::time::Duration;

/// So long the begin of an item waits for its end before it is flushed to the disk.
const FLUSH: Duration = Duration::from_millis(5);

/// Instead of what came of a change that could not be flushed.
const UNFLUSHED: Refused = Refused::Absent("disk");

/// Returns how many items in hand have ended.
fn ends(answers: &[Answer], made: &[Result<Applied, Refused>]) -> usize {
    let both = answers.iter().zip(made);
    let is_end = |both: &(&Answer, &Result<Applied, Refused>)| {
        matches!(both, (Answer::Wished(Then::Settle(_)), Ok(Applied::Ended { .. })))
    };
    both.filter(is_end).count()
}

impl Thread {
    /// Makes one transaction of all that is to be done, as far as it fits.
    pub(super) fn work(&mut self) -> Result<(), Trouble> {
        let now = self.store.now().mono;
        if self.lasting || self.again_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        self.again_at = None;
        let (batch, answers) = self.batch(now);
        if !batch.is_empty() {
            let mut made = match self.apply(&batch, now) {
                Ok(made) => made,
                Err(trouble) => {
                    self.unmake(batch, answers);
                    return Err(trouble);
                }
            };
            self.well(Part::Store);
            self.retention.written();
            let is_wished = |answer: &&Answer| matches!(answer, Answer::Wished(_));
            self.unrecorded.made(answers.iter().filter(is_wished).count());
            self.flow.ended(ends(&answers, &made), now);
            let is_gone = |made: &Result<_, _>| matches!(made, Err(Refused::Absent("taker")));
            self.standing.is_over |= made.iter().any(is_gone);
            let flushed = self.flush_ends(&mut made);
            let answered = self.answer_all(batch, answers, made);
            flushed.and(answered)?;
        }
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush()?;
        }
        if self.rung {
            self.send_requeued()?;
        }
        self.give_up_overtaken();
        self.hear_of_cancels()
    }

    /// Makes changes. Where items are only begun, nobody is answered before their end is recorded, which
    /// flushes the begin, too: it waits for the disk only where that end does not come soon.
    fn apply(
        &mut self,
        batch: &[Change],
        now: Mono,
    ) -> Result<Vec<Result<Applied, Refused>>, Trouble> {
        let begins = |change: &Change| matches!(change, Change::Arrive { ask: Ask::Now, .. });
        if self.settings.safety == Safety::Power && batch.iter().all(begins) {
            let made = self.store.apply_all_unflushed(batch)?;
            self.flush_at = self.flush_at.or(Some(now.after(FLUSH)));
            return Ok(made);
        }
        let made = self.store.apply_all(batch)?;
        // Where nothing was written nothing was flushed.
        self.flush_at = self.flush_at.filter(|_| made.iter().all(Result::is_err));
        Ok(made)
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        self.store.flush()?;
        self.flush_at = None;
        self.well(Part::Store);
        Ok(())
    }

    /// An item that came may have ended by that alone, as one that is spoilt: its sender is answered, which
    /// has to wait for the disk. Where that fails such a message is looked at again later.
    fn flush_ends(&mut self, made: &mut [Result<Applied, Refused>]) -> Result<(), Trouble> {
        let is_end = |made: &Result<_, _>| matches!(made, Ok(Applied::Finished { .. }));
        if self.flush_at.is_none() || !made.iter().any(is_end) {
            return Ok(());
        }
        let flushed = self.flush();
        if flushed.is_err() {
            for came in made.iter_mut().filter(|came| is_end(came)) {
                *came = Err(UNFLUSHED);
            }
        }
        flushed
    }

    /// Puts back what was to be done.
    pub(super) fn unmake(&mut self, batch: Vec<Change>, answers: Vec<Answer>) {
        for (change, answer) in batch.into_iter().zip(answers).rev() {
            match (change, answer) {
                (Change::Arrive { job, known, .. }, Answer::Arrive(line, ask, instance)) => {
                    self.put_back(line, job, known);
                    self.asks.push_front((ask, instance));
                }
                (_, Answer::Passing | Answer::Clean) => {}
                (change, answer) => self.changes.push_front((change, answer)),
            }
        }
    }

    pub(super) fn batch(&mut self, now: Mono) -> (Vec<Change>, Vec<Answer>) {
        let wished = self.changes.len().min(AT_ONCE);
        let (mut batch, mut answers): (Vec<_>, Vec<_>) = self.changes.drain(..wished).unzip();
        let taker = self.taker;
        if !self.held.is_empty() && self.renew_at.is_none_or(|at| at <= now) {
            batch.push(Change::Renew(taker));
            answers.push(Answer::Passing);
            self.renew_at = Some(now.after(self.settings.policy.lease / 3));
        }
        if std::mem::take(&mut self.sweep) {
            batch.push(Change::Sweep(taker));
            answers.push(Answer::Passing);
        }
        for line in self.lines.due(now, true) {
            let Some((ask, instance)) = self.next_ask(self.lines.is_to_be_begun(line)) else {
                continue;
            };
            let Some((job, known)) = self.lines.record(line) else { continue };
            batch.push(Change::Arrive { job, known, taker, ask, instance: instance.clone() });
            answers.push(Answer::Arrive(line, ask, instance));
        }
        if let Some(step) = self.retention.step(self.store.now()) {
            batch.push(step);
            answers.push(Answer::Clean);
        }
        (batch, answers)
    }

    /// Takes the ask that is granted next: who waits comes before who looks ahead.
    pub(super) fn next_ask(&mut self, is_to_be_begun: bool) -> Option<(Ask, String)> {
        let waits = self.asks.iter().position(|(ask, _)| *ask == Ask::Now);
        if is_to_be_begun {
            return self.asks.remove(waits?);
        }
        self.asks.remove(waits.unwrap_or(0))
    }

    /// Does what follows from all that was made: from the rest, too, where something cannot be read.
    /// Returns what could not first.
    pub(super) fn answer_all(
        &mut self,
        batch: Vec<Change>,
        answers: Vec<Answer>,
        made: Vec<Result<Applied, Refused>>,
    ) -> Result<(), Trouble> {
        let mut first = Ok(());
        for ((change, answer), applied) in batch.into_iter().zip(answers).zip(made) {
            let answered = self.answer(change, answer, applied);
            first = first.and(answered);
        }
        first
    }

    fn answer(
        &mut self,
        change: Change,
        answer: Answer,
        applied: Result<Applied, Refused>,
    ) -> Result<(), Trouble> {
        match (answer, applied) {
            (Answer::Arrive(line, ask, instance), applied) => {
                let Change::Arrive { job, known, .. } = change else { return Ok(()) };
                self.arrived(line, (job, known), (ask, instance), applied);
            }
            (Answer::Wished(Then::Settle(key)), Ok(Applied::Ended { fault, retry })) => {
                let ended = match change {
                    Change::End(_, ended) | Change::CancelOverdue(_, ended) => ended,
                    _ => Box::default(),
                };
                self.ended(key, (fault, retry), *ended)?;
            }
            (Answer::Wished(Then::Settle(key) | Then::Return(key)), Err(_)) => {
                self.let_go(key);
                self.news.push(Event::Overtaken(key));
            }
            (Answer::Wished(Then::Return(key)), Ok(_)) => self.let_go(key),
            (Answer::Wished(Then::Begin(key)), Err(_)) => self.news.push(Event::Overtaken(key)),
            (Answer::Wished(Then::Stage(key)), applied) => {
                self.news.push(Event::Staged(key));
                if applied.is_err() {
                    self.news.push(Event::Overtaken(key));
                }
            }
            (Answer::Wished(Then::Made(ticket)), made) => {
                self.rung |= made.is_ok();
                self.news.push(Event::Made { ticket, made });
            }
            // It is to be done again, which is sent, or is under way: its message is for that.
            (Answer::Answered(job), Err(Refused::Overtaken)) => self.is_done_anew(job),
            // There may be more to send.
            (Answer::Keep, Ok(_)) if matches!(change, Change::SentAgain(_)) => self.rung = true,
            (Answer::Answered(job), _) => self.acknowledge(job),
            (Answer::Unwanted(it), Ok(_)) => self.not_begun(*it),
            (Answer::Unwanted(it), Err(_)) => self.give_back(it.job),
            (Answer::Bury(line), buried) => {
                self.lines.reject(line);
                if let (Ok(buried), Change::Bury { reason, bytes, .. }) = (buried, change) {
                    self.buried(&buried, reason, bytes.len());
                }
            }
            (Answer::Clean, Ok(came)) => self.cleaned(&came),
            (
                Answer::Wished(Then::Begin(_) | Then::Settle(_))
                | Answer::Keep
                | Answer::Passing
                | Answer::Clean,
                _,
            ) => {}
        }
        Ok(())
    }

    fn is_done_anew(&mut self, job: JobId) {
        self.overtaken.push(job);
        self.rung = true;
    }

    fn not_begun(&mut self, it: NotBegun) {
        let NotBegun { job, wfid, identity, why } = it;
        self.news.push(Event::Unwanted { wfid, identity, why });
        self.acknowledge(job);
    }

    fn cleaned(&mut self, came: &Applied) {
        self.news.extend(self.retention.stepped(came, self.store.now().mono));
    }

    fn has_in_hand(&self, job: JobId) -> bool {
        self.held.keys().any(|lease| lease.job == job)
    }

    /// Settles the messages of a job for good.
    fn acknowledge(&mut self, job: JobId) {
        let most = self.most();
        for line in self.lines.of_job(job) {
            self.lines.acknowledge(line, most);
        }
    }

    /// Puts the messages of a job back.
    fn give_back(&mut self, job: JobId) {
        for line in self.lines.of_job(job) {
            self.lines.give_back(line);
        }
    }

    /// A message was recorded, or was on record.
    pub(super) fn arrived(
        &mut self,
        line: u64,
        (job, known): (Box<NewJob>, Option<JobId>),
        ask: (Ask, String),
        applied: Result<Applied, Refused>,
    ) {
        let most = self.most() + 1;
        match applied {
            Ok(Applied::Taken(taken)) if let Some(why) = self.is_cancelled(&taken) => {
                self.unwanted(line, &taken, why);
            }
            Ok(Applied::Taken(taken)) => return self.taken(line, *taken, ask.0),
            Ok(Applied::Finished { job, answer: None, .. }) => self.lines.done(line, job, most),
            Ok(Applied::Finished { job: id, answer: Some(answer), attempt, by, .. }) => {
                let is_elsewhere = by.is_some_and(|by| by != self.taker);
                if is_elsewhere && !self.outgoing.has_answer_of(id) {
                    self.park(line, job, id, None);
                } else {
                    self.lines.is(line, Of::Job(id));
                    if !self.outgoing.has_answer_of(id) {
                        let name = Some((&*job.wfid, &*job.identity));
                        self.send_answer(id, name, (answer, attempt), None);
                    }
                }
            }
            Ok(Applied::Elsewhere { job: id, until }) => {
                if self.has_in_hand(id) {
                    self.lines.is(line, Of::Job(id));
                } else {
                    self.park(line, job, id, until);
                }
            }
            Ok(Applied::Vain(id)) => self.lines.is(line, Of::Vain(job, id)),
            Err(Refused::Absent("taker") | UNFLUSHED) => self.put_back(line, job, known),
            // It was removed meanwhile: the whole message comes anew.
            Err(Refused::Absent("job")) if known.is_some() => self.lines.give_back(line),
            other => {
                let reason = match other {
                    Err(why) => why.to_string(),
                    Ok(_) => "it could not be recorded".to_owned(),
                };
                let NewJob { queue, item, .. } = *job;
                let fault = Fault::UNKNOWN;
                let bury = Change::Bury { queue, owner: None, fault, reason, bytes: item };
                self.changes.push_back((bury, Answer::Bury(line)));
            }
        }
        self.asks.push_front(ask);
    }

    /// What a message stands for is in hand, or at hand.
    fn taken(&mut self, line: u64, taken: Taken, ask: Ask) {
        let now = self.store.now().mono;
        match ask {
            Ask::Ahead => self.flow.granted(now),
            Ask::Now => self.flow.came(now),
        }
        self.lines.is(line, Of::Job(taken.lease.job));
        let (wfid, rest) = (taken.wfid.clone(), taken.identity.clone());
        let large = Some(taken.item.len()).filter(|bytes| *bytes > SMALL).unwrap_or_default();
        let attempt = taken.attempt;
        self.hold(taken.lease, Hand { wfid, rest, attempt, large, since: now, told: None });
        self.renew_at = Some(now.after(self.settings.policy.lease / 3));
        self.news.push(Event::Arrived(Delivery { taken }));
    }

    /// Tells of a message that was refused.
    fn buried(&mut self, buried: &Applied, reason: String, bytes: usize) {
        let Applied::Buried { dead, gone } = *buried else { return };
        self.news.push(Event::Rejected { dead, reason, bytes });
        if gone > 0 && !std::mem::replace(&mut self.is_crowded, true) {
            self.news.push(Event::Crowded);
        }
    }

    /// Returns why something that was taken is not wanted, where its cancel came first.
    fn is_cancelled(&mut self, taken: &Taken) -> Option<Fault> {
        self.early.why(&taken.wfid, &taken.identity, self.store.now().mono)
    }

    /// Puts on record that something was cancelled before it came.
    fn unwanted(&mut self, line: u64, taken: &Taken, why: Fault) {
        let job = taken.lease.job;
        self.lines.is(line, Of::Job(job));
        let (wfid, identity) = (taken.wfid.clone(), taken.identity.clone());
        let not_begun = Answer::Unwanted(Box::new(NotBegun { job, wfid, identity, why }));
        let steer = Change::Steer(Subject::Job(job), Steer::Cancel(why));
        if taken.begun {
            self.changes.push_back((steer, Answer::Keep));
            // Nobody has begun, whatever the record says: it was no try.
            let end = Change::Interrupt(taken.lease, Box::default());
            self.changes.push_back((end, not_begun));
        } else {
            self.changes.push_back((steer, not_begun));
        }
    }

    /// Has a message recorded again, as what it was.
    fn put_back(&mut self, line: u64, job: Box<NewJob>, known: Option<JobId>) {
        let at = self.store.now().mono;
        let of = match known {
            Some(id) => Of::Parked { job, id, at },
            None => Of::New(job),
        };
        self.lines.is(line, of);
    }

    /// Keeps a message until its job may be tried, or is done: until its delay ends, or where somebody
    /// has it, for a while.
    fn park(&mut self, line: u64, job: Box<NewJob>, id: JobId, until: Option<Mono>) {
        // Whoever has it may be dead.
        self.sweep |= until.is_none();
        let at = until.unwrap_or_else(|| self.store.now().mono.after(AGAIN));
        // Of what is on record the name is enough.
        let job = Box::new(NewJob { item: Vec::new(), ..*job });
        self.lines.is(line, Of::Parked { job, id, at });
    }

    /// The end of an attempt is on record.
    fn ended(
        &mut self,
        key: Lease,
        (fault, retry): (Fault, Option<Mono>),
        ended: Ended,
    ) -> Result<(), Trouble> {
        let hand = self.let_loose(key);
        let attempt = hand.as_ref().map(|hand| hand.attempt);
        let settled = Event::Settled { key, fault, retry };
        if let (Some(at), Some(hand)) = (retry, &hand) {
            self.rest(key.job, hand, at);
            self.news.push(settled);
            return Ok(());
        }
        let is_answered = ended.forget || fault.kind() == Kind::Cancelled;
        let answer = match (ended.output.or(ended.item), attempt) {
            _ if is_answered => None,
            // What was recorded just now, or is the item as it was, need not be read.
            (Some(output), Some(attempt)) => Some((output, attempt)),
            _ => match self.store.answer(key.job) {
                Ok(answer) => answer,
                Err(trouble) => {
                    // It is on record, and read there again as if its message had come anew.
                    if let Some(hand) = &hand {
                        self.rest(key.job, hand, self.store.now().mono);
                    }
                    self.news.push(settled);
                    return Err(trouble);
                }
            },
        };
        if let Some(answer) = answer {
            let name = hand.as_ref().map(|hand| (&*hand.wfid, &*hand.rest));
            self.send_answer(key.job, name, answer, Some((key, fault)));
        } else {
            self.acknowledge(key.job);
            self.news.push(settled);
        }
        Ok(())
    }

    /// Keeps the messages of a job that was in hand until this moment.
    fn rest(&mut self, id: JobId, hand: &Hand, at: Mono) {
        let queue = self.settings.queue.name.clone();
        let (wfid, identity) = (hand.wfid.clone(), hand.rest.clone());
        let job = NewJob { queue, wfid, identity, ..NewJob::default() };
        for line in self.lines.of_job(id) {
            self.lines.is(line, Of::Parked { job: Box::new(job.clone()), id, at });
        }
    }

    /// A delivery was given back, or is somebody else's. One that a cancel ended is nobody's: given back
    /// it would be done by whoever does not know of that.
    pub(super) fn let_go(&mut self, key: Lease) {
        self.let_loose(key);
        if self.store.is_cancelled(key.job).unwrap_or(false) {
            self.acknowledge(key.job);
        } else {
            self.give_back(key.job);
        }
    }

    /// Sends what was requeued, by whomever: it was acknowledged and has no message any more. What has one
    /// here is tried at once.
    fn send_requeued(&mut self) -> Result<(), Trouble> {
        if self.connected.is_none() || self.closing.is_some() {
            return Ok(());
        }
        let queue = self.settings.queue.name.clone();
        let now = self.store.now().mono;
        let unsent = self.store.unsent(&queue)?;
        let newest = unsent.iter().filter(|it| it.has_message).map(|it| it.number).max();
        if newest > self.newest_again {
            // What was seen of the queue before says nothing about this one.
            (self.newest_again, self.vain_looks) = (newest, 0);
        }
        for Again { number, job, wfid, identity, at, has_message } in unsent {
            let is_known = |change: &Change| *change == Change::SentAgain(number);
            let is_held = self.has_in_hand(job);
            let is_under_way = self.outgoing.has_again(number);
            if is_held || is_under_way || self.changes.iter().any(|(it, _)| is_known(it)) {
                continue;
            }
            self.early.wanted_again(&wfid, &identity, self.store.now().mono_at(at));
            self.withdraw_answer(job);
            let again = NewJob { queue: queue.clone(), wfid, identity, ..NewJob::default() };
            if self.lines.try_again(job, &again, now) {
                self.changes.push_back((Change::SentAgain(number), Answer::Keep));
                continue;
            }
            // Whoever else has its message is rung, too; where the broker has it, it comes.
            let comes = has_message && self.vain_looks < VAIN_LOOKS;
            // The next goes when one of these is recorded as safe.
            if comes || self.outgoing.is_full_again() {
                continue;
            }
            if let Some((queue, item)) = self.store.item(job)? {
                let marks = Marks { requeued: Some(at.0), ..Marks::default() };
                self.publish(queue, item, marks, For::Again(number));
            }
        }
        Ok(())
    }

    /// Gives back what is another's by now and has an answer of ours no more: where it comes again it is
    /// known.
    fn give_up_overtaken(&mut self) {
        for job in std::mem::take(&mut self.overtaken) {
            if !self.has_in_hand(job) && !self.outgoing.has_answer_of(job) {
                self.give_back(job);
            }
        }
    }
}
