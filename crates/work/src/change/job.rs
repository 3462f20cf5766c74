//! Recording jobs, and what is done to them by hand.

use super::blob;
use super::line::Line;
use super::request::begins;
use super::row::{Job, step};
use super::tx::{Ring, Stop, Tx};
use super::{
    Applied, Ask, Ended, Entry, JobId, NewJob, Policy, Refused, RequestId, Steer, Subject, TakerId,
};
use crate::{item, name};
use machine::time::Mono;
use machine::work::{self, Event, Fault, Kind, Next, Reach, State};
use rusqlite::params;

/// Refuses a job for a queue that cannot be called so.
pub(super) fn has_names(
    job: &NewJob,
    flaw: fn(&str) -> Option<&'static str>,
) -> Result<(), Refused> {
    for queue in [Some(&job.queue), job.reply_to.as_ref()].into_iter().flatten() {
        if let Some(flaw) = flaw(queue) {
            return Err(Refused::Queue(item::cut(queue, 100).into_owned(), flaw));
        }
    }
    Ok(())
}

impl Tx<'_> {
    pub(super) fn submit(&mut self, job: &NewJob) -> Result<Applied, Stop> {
        has_names(job, name::flaw)?;
        self.record(job, None)
    }

    /// Records a job, unless one of its name is recorded.
    pub(super) fn record(
        &mut self,
        job: &NewJob,
        request: Option<RequestId>,
    ) -> Result<Applied, Stop> {
        if job.identity.is_empty() && job.wfid.is_empty() {
            return Err(Refused::Senseless("a job needs a name").into());
        }
        if let Some(known) = self.find(&job.wfid, &job.identity, &job.queue)? {
            if !self.is_same(known, job)? {
                return Err(Refused::Named(known).into());
            }
            self.asked_again(known, job)?;
            return Ok(Applied::Known(known));
        }
        self.check_references(job)?;
        let (label, known) = self.label(&job.label)?;
        let begins = begins(match job.entry {
            Entry::Ready => Some(Event::Accepted),
            Entry::New => None,
            Entry::Hold => Some(Event::Held),
        })?;
        let due = (!job.delay.is_zero()).then(|| self.due(job.delay));
        self.execute(
            "INSERT INTO job (queue, wfid, identity, label, priority, state, fault, count, wary,
                due, due_at, lease, tries, request, parent, dependency, key, owner, reply_to,
                answered, submitted_at, changed_at, stage)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, ?7, ?8, 0, ?17, ?9, ?10, ?11, ?12, ?13,
                ?14, 0, ?15, ?15, ?16)",
            params![
                job.queue,
                job.wfid,
                job.identity,
                label,
                job.priority,
                begins.state.name(),
                due.map(|(mono, _)| mono.0.cast_signed()),
                due.map(|(_, wall)| wall),
                request.map(|request| request.0),
                job.parent.map(|parent| parent.0),
                job.dependency.map(|dependency| dependency.0),
                job.key,
                job.owner,
                job.reply_to,
                self.now.wall.0,
                job.stage,
                job.tries,
            ],
        )?;
        let id = JobId(self.conn.last_insert_rowid());
        self.line_up(id, Line { queue: &job.queue, label, key: job.key.as_deref() })?;
        self.put_item(id, &job.item)?;
        self.ring_later(Ring::Queue(job.queue.clone()));
        Ok(Applied::Submitted { job: id, label_unknown: !known })
    }

    /// Tells whether a job of the same name is of the same item: byte for byte, and by the same user.
    /// What is not there any more cannot be compared.
    fn is_same(&self, known: JobId, new: &NewJob) -> Result<bool, Stop> {
        if self.job(known)?.owner != new.owner {
            return Ok(false);
        }
        let sql = "SELECT sum = ?2 AND length(bytes) = ?3 FROM item WHERE job = ?1";
        let (sum, length) = (item::checksum(&new.item), new.item.len() as u64);
        let same =
            self.first(sql, params![known.0, sum, length.cast_signed()], |row| row.get(0))?;
        Ok(same.unwrap_or(true))
    }

    /// Records a job that nobody can give another name: where one is another item's, it is named by
    /// its bytes, too.
    pub(super) fn submit_apart(&mut self, job: &NewJob) -> Result<Applied, Stop> {
        // Its queue is there: one of RabbitMQ may be called as none of ours is.
        has_names(job, name::queue_flaw)?;
        match self.record(job, None) {
            Err(Stop::Refused(Refused::Named(_))) => {
                self.record(&job.clone().named_apart(""), None)
            }
            made => made,
        }
    }

    /// Sees to it that whoever submits a job once more gets the answer that is recorded, or the one
    /// that will be. An answer that still waits for its taker is not sent twice.
    fn asked_again(&mut self, known: JobId, new: &NewJob) -> Result<(), Stop> {
        let job = self.job(known)?;
        if job.reply_to.is_none() && new.reply_to.is_none() {
            return Ok(());
        }
        let reply_to = new.reply_to.clone().or_else(|| job.reply_to.clone());
        let is_moved = reply_to != job.reply_to;
        if is_moved {
            let sql = "UPDATE job SET reply_to = ?2 WHERE id = ?1";
            self.execute(sql, params![job.id.0, reply_to])?;
        }
        let is_over = job.subject.state == State::Stop;
        if !is_over || job.subject.fault.kind() == Kind::Cancelled {
            return Ok(());
        }
        let job = Job { reply_to, ..job };
        match self.answer_sent(&job)? {
            Some(answer) => self.send_again(answer),
            // Nobody was to be answered.
            None if job.answered && !is_moved => Ok(()),
            None => match self.last_output(&job)? {
                Some(output) => self.send_answer(&job, &output),
                None => Ok(()),
            },
        }
    }

    /// Has an answer taken once more that somebody took before.
    fn send_again(&mut self, answer: JobId) -> Result<(), Stop> {
        if self.job(answer)?.subject.state == State::Stop {
            self.steer_job(answer, Steer::Requeue(Reach::Any))?;
        }
        Ok(())
    }

    fn check_references(&self, job: &NewJob) -> Result<(), Stop> {
        if let Some(parent) = job.parent {
            self.job(parent)?;
        }
        if let Some(dependency) = job.dependency {
            let sql = "SELECT 1 FROM dependency WHERE id = ?1";
            self.first(sql, [dependency.0], |_| Ok(()))?.ok_or(Refused::Absent("dependency"))?;
        }
        Ok(())
    }

    fn find(&self, wfid: &str, identity: &str, queue: &str) -> Result<Option<JobId>, Stop> {
        let sql = "SELECT id FROM job WHERE wfid = ?1 AND identity = ?2 AND queue = ?3
            AND answer_to = 0";
        Ok(self.first(sql, [wfid, identity, queue], |row| row.get(0).map(JobId))?)
    }

    /// Returns the answer of a job's last attempt, where it is in the queue that wants it. Whatever else
    /// is called so there is another's.
    fn answer_sent(&self, job: &Job) -> Result<Option<JobId>, Stop> {
        let sql = "SELECT id FROM job WHERE wfid = ?1 AND identity = ?2 AND queue = ?3
            AND answer_to = ?4";
        let params = params![job.wfid, job.answer_name(), job.reply_to, job.id.0];
        Ok(self.first(sql, params, |row| row.get(0).map(JobId))?)
    }

    pub(super) fn put_item(&self, job: JobId, bytes: &[u8]) -> Result<(), Stop> {
        self.execute(
            "INSERT INTO item (job, sum, bytes) VALUES (?1, ?2, ?3)",
            params![job.0, item::checksum(bytes), blob::room(bytes)?],
        )?;
        Ok(self.fill(blob::ITEM, job.0, bytes)?)
    }

    pub(super) fn arrive(
        &mut self,
        (new, known): (&NewJob, Option<JobId>),
        taker: TakerId,
        ask: Ask,
        instance: &str,
    ) -> Result<Applied, Stop> {
        let (queue, policy) = self.taker(taker)?;
        if *queue != *new.queue {
            return Err(Refused::Senseless("it is of another queue than its taker").into());
        }
        let on_record = |id| Ok(Applied::Known(id));
        let recorded = known.map_or_else(|| self.submit_apart(new), on_record)?;
        let (Applied::Known(id) | Applied::Submitted { job: id, .. }) = recorded else {
            return Err(Refused::Absent("job").into());
        };
        // One that was known may be gone by now.
        let job = self.job(id)?;
        self.execute("INSERT OR IGNORE INTO owed (job) VALUES (?1)", [id.0])?;
        self.came_again(id)?;
        match job.subject.state {
            State::Ready { leased: false } if self.waits(&job)? => {
                Ok(Applied::Elsewhere { job: id, until: self.rests_until(id)? })
            }
            State::Ready { leased: false } => {
                // What was tried in vain is not for having at hand.
                let in_vain = job.subject.wary || job.subject.count > 0;
                if in_vain && ask == Ask::Ahead {
                    return Ok(Applied::Vain(id));
                }
                let stored = self.stored(job.id)?;
                match self.seize(job, stored, taker, ask, instance, policy)? {
                    Some(applied) => Ok(applied),
                    None => self.finished(&self.job(id)?),
                }
            }
            State::Stop => self.finished(&job),
            _ => Ok(Applied::Elsewhere { job: id, until: None }),
        }
    }

    /// Another broker is rid of these jobs for sure.
    pub(super) fn settled(&self, jobs: &[JobId]) -> Result<Applied, Stop> {
        for job in jobs {
            // One that was requeued meanwhile has another message there.
            let sql = "DELETE FROM owed WHERE job = ?1
                AND (SELECT state FROM job WHERE id = ?1) = 'stop'";
            self.execute(sql, [job.0])?;
        }
        Ok(Applied::Done)
    }

    fn finished(&self, job: &Job) -> Result<Applied, Stop> {
        let answer = if job.answered { None } else { self.last_output(job)? };
        let by = "SELECT t.id FROM attempt a JOIN taker t ON t.id = a.taker WHERE a.id = ?1";
        let by = self.first(by, [job.attempt], |row| row.get(0).map(TakerId))?;
        let (fault, attempt) = (job.subject.fault, job.tries);
        Ok(Applied::Finished { job: job.id, fault, answer, attempt, by })
    }

    /// Returns a job's queue and its item, where that is what was submitted.
    pub(crate) fn item_of(&self, job: JobId) -> Result<Option<(String, Vec<u8>)>, Stop> {
        let (job, stored) = (self.job(job)?, self.stored(job)?);
        let is_whole = stored.is_whole;
        Ok(is_whole.then_some((job.queue, stored.bytes)))
    }

    /// Returns what is to be sent to a job's sender, and the number of the attempt that it is of.
    pub(crate) fn answer_of(&self, job: JobId) -> Result<Option<(Vec<u8>, u32)>, Stop> {
        let job = self.job(job)?;
        Ok(self.last_output(&job)?.map(|answer| (answer, job.tries)))
    }

    /// Tells whether a job rests, its lock is somebody's, or its request or what it depends on keeps it.
    fn waits(&self, job: &Job) -> Result<bool, Stop> {
        let sql = "SELECT 1 FROM job j WHERE id = ?1 AND (due > ?2
            OR EXISTS (SELECT 1 FROM lock WHERE name = j.key)
            OR request IS NOT NULL AND NOT EXISTS (SELECT 1 FROM request r
                WHERE r.id = j.request AND r.fault = 0 AND r.state IN ('ready', 'run'))
            OR dependency IS NOT NULL AND NOT EXISTS (SELECT 1 FROM dependency d
                WHERE d.id = j.dependency AND d.fault = 0 AND d.state = 'stop'))";
        let now = self.now.mono.0.cast_signed();
        Ok(self.first(sql, params![job.id.0, now], |_| Ok(()))?.is_some())
    }

    /// Tells whether a job was ended by a cancel: nobody is to work on it, or wants an answer.
    pub(crate) fn is_cancelled(&self, job: JobId) -> Result<bool, Stop> {
        let found = self.job(job)?.subject;
        Ok(found.state == State::Stop && found.fault.kind() == Kind::Cancelled)
    }

    /// Returns when a job's delay ends; `None` = it has none, or it is over.
    fn rests_until(&self, job: JobId) -> Result<Option<Mono>, Stop> {
        let sql = "SELECT due FROM job WHERE id = ?1 AND due > ?2";
        let now = self.now.mono.0.cast_signed();
        let due = self.first(sql, params![job.0, now], |row| row.get::<_, i64>(0))?;
        Ok(due.map(|due| Mono(due.unsigned_abs())))
    }

    fn last_output(&self, job: &Job) -> Result<Option<Vec<u8>>, Stop> {
        if job.subject.fault.kind() == Kind::Cancelled {
            return Ok(None);
        }
        let Some(attempt) = job.attempt else { return Ok(None) };
        let sql = "SELECT sum, iif(length(output) > ?2, NULL, output), fault, text FROM attempt
            WHERE id = ?1";
        let found = self.first(sql, params![attempt, blob::WHOLE], |row| {
            let (sum, given) = (row.get::<_, Option<i64>>(0)?, row.get(1)?);
            let (fault, text) = (Fault(row.get::<_, Option<u16>>(2)?.unwrap_or(0)), row.get(3)?);
            Ok((sum, given, Ended { fault, text, ..Ended::default() }))
        })?;
        let Some((sum, given, ended)) = found else { return Ok(None) };
        // There is a sum where there is an answer.
        let Some(sum) = sum else { return self.plain_answer(job, &ended) };
        let output = self.fetch(blob::OUTPUT, attempt, given)?;
        if item::checksum(&output) == sum {
            return Ok(Some(output));
        }
        let text = Some("the store's copy of the answer is damaged".to_owned());
        let ended = Ended { fault: Fault::SYSTEM, text, ..Ended::default() };
        self.plain_answer(job, &ended)
    }

    pub(super) fn prioritise(&mut self, job: JobId, priority: i32) -> Result<Applied, Stop> {
        let job = self.job(job)?;
        let sql = "UPDATE job SET priority = ?2 WHERE id = ?1";
        self.execute(sql, params![job.id.0, priority])?;
        self.line_up(job.id, job.line())?;
        self.ring_later(Ring::Queue(job.queue));
        Ok(Applied::Done)
    }

    pub(super) fn steer(&mut self, subject: Subject, steer: Steer) -> Result<Applied, Stop> {
        match subject {
            Subject::Job(job) => self.steer_job(job, steer),
            Subject::Request(request) => self.steer_request(request, steer),
            Subject::Dependency(dependency) => self.steer_dependency(dependency, steer),
        }
    }

    fn steer_job(&mut self, job: JobId, steer: Steer) -> Result<Applied, Stop> {
        let job = self.job(job)?;
        let policy = Policy::default();
        let next = match steer {
            Steer::Requeue(_) if job.rests_after_a_try() => {
                let anew = work::Subject { state: job.subject.state, ..work::Subject::new() };
                Next::Keep(anew)
            }
            _ => step(job.subject, event(steer), policy.limit)?,
        };
        // Who has it is to hear of it: to stop, or that it has it no longer.
        if let (Steer::Cancel(_), Some(holder)) = (steer, job.holder) {
            self.ring_later(Ring::Holder(TakerId(holder)));
        }
        if let Steer::Requeue(_) = steer {
            self.reopen_request(&job)?;
            // How far it had come is for who goes on with it; what was done is done from the start.
            let is_done =
                job.subject.state == State::Stop && job.subject.fault.kind() == Kind::Done;
            let sql = "UPDATE job SET answered = 0, stage = iif(?2, NULL, stage) WHERE id = ?1";
            self.execute(sql, params![job.id.0, is_done])?;
            self.execute("DELETE FROM dead WHERE job = ?1", [job.id.0])?;
            // What rests was not settled: whoever has its message keeps it.
            self.send_later((job.id, &job.queue), job.subject.state != State::Stop)?;
        }
        self.put(&job, next, policy)?;
        Ok(Applied::Done)
    }

    /// Cancels what of a request's jobs can be cancelled.
    pub(super) fn cancel_jobs(&mut self, request: RequestId, why: Fault) -> Result<(), Stop> {
        let sql = "SELECT id FROM job WHERE request = ?1 AND state <> 'stop'";
        for id in self.all(sql, [request.0], |row| row.get(0).map(JobId))? {
            if self.job(id)?.subject.can_be_cancelled(why) {
                self.steer_job(id, Steer::Cancel(why))?;
            }
        }
        Ok(())
    }
}

/// Returns what a hand does, in the machine's words.
pub(super) const fn event(steer: Steer) -> Event {
    match steer {
        Steer::Accept => Event::Accepted,
        Steer::Hold => Event::Held,
        Steer::Release => Event::Released,
        Steer::Cancel(why) => Event::CancelAsked(why),
        Steer::Requeue(reach) => Event::Requeued(reach),
    }
}
