//! Taking a job, working on it, and the end of that.

use super::blob;
use super::row::{Job, step};
use super::tx::{Ring, Stop, Tx};
use super::{Applied, Ask, Ended, JobId, Lease, Policy, Refused, Taken, TakerId};
use crate::item::{self, ErrorReply};
use machine::time::{Mono, earlier};
use machine::work::{Event, Fault, Kind, Next, State};
use rusqlite::params;

/// The first job of a label in the order of a queue that nothing keeps from being taken. What
/// keeps it is told by `Reader::why_waiting` in the same order.
const FIRST: &str = "
    SELECT id FROM job j
    WHERE queue = ?1 AND label = ?2 AND state = 'ready' AND holder IS NULL AND due IS NULL
        AND (?3 OR wary = 0 AND count = 0)
        AND (request IS NULL OR EXISTS (SELECT 1 FROM request r
            WHERE r.id = j.request AND r.fault = 0 AND r.state IN ('ready', 'run')))
        AND (dependency IS NULL OR EXISTS (SELECT 1 FROM dependency d
            WHERE d.id = j.dependency AND d.fault = 0 AND d.state = 'stop'))
        AND NOT EXISTS (SELECT 1 FROM job c WHERE c.parent = j.id AND c.state <> 'stop')
        AND (key IS NULL OR NOT EXISTS (SELECT 1 FROM lock WHERE name = j.key))
    ORDER BY priority DESC, id LIMIT 1";

/// The active labels that have a job of a queue which may be taken, in the order of taking.
pub(crate) const ACTIVE_LABELS: &str = "
    SELECT id FROM label l WHERE active = 1 AND EXISTS (SELECT 1 FROM job
        WHERE queue = ?1 AND label = l.id AND state = 'ready' AND holder IS NULL
        AND due IS NULL)
    ORDER BY known DESC, priority DESC, id";

/// What is said of an item that does not have its sum any more.
const SPOILT_ITEM: &str = "the store's copy of the item is damaged";

/// Bytes of an item up to which it may be at hand: there may be many.
const SMALL: i64 = 16 << 10;
/// Bytes of an item up to which a taker has any number in hand. What keeps a larger one is told by
/// `Reader::why_waiting`.
pub(crate) const LARGE: i64 = 1 << 20;
/// Bytes that larger ones may have together, where it is more than one.
pub(crate) const TOGETHER: i64 = item::LARGEST as i64;

/// An item as it is stored.
pub(super) struct Stored {
    bytes: Vec<u8>,
    /// It is what was submitted.
    pub(super) is_whole: bool,
}

impl Stored {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Tx<'_> {
    pub(super) fn take(
        &mut self,
        taker: TakerId,
        ask: Ask,
        instance: &str,
    ) -> Result<Applied, Stop> {
        if let Some((who, found_dry, next)) = self.dry
            && who == taker
            && (found_dry == ask || found_dry == Ask::Now)
        {
            return Ok(Applied::Nothing { next });
        }
        let (queue, policy) = self.taker(taker)?;
        let now = self.now.mono.0.cast_signed();
        // Looked for first: the change begins with a table of the jobs that it is for.
        let due = "SELECT 1 FROM job WHERE queue = ?1 AND due <= ?2 LIMIT 1";
        if self.first(due, params![queue, now], |_| Ok(()))?.is_some() {
            self.execute(
                "UPDATE job SET due = NULL, due_at = NULL WHERE queue = ?1 AND due <= ?2",
                params![queue, now],
            )?;
        }
        let wary_too = ask == Ask::Now;
        for label in self.all(ACTIVE_LABELS, [&queue], |row| row.get::<_, i64>(0))? {
            while let Some(id) =
                self.first(FIRST, params![queue, label, wary_too], |row| row.get(0))?
            {
                let id = if self.has_room(JobId(id), taker, ask)? {
                    id
                } else if let Some(small) = self.first_small(&queue, label, ask)? {
                    small
                } else {
                    return self.nothing(&queue, taker, ask);
                };
                let job = self.job(JobId(id))?;
                if let Some(taken) = self.seize(job, taker, ask, instance, policy)? {
                    return Ok(taken);
                }
            }
        }
        self.nothing(&queue, taker, ask)
    }

    fn nothing(&mut self, queue: &str, taker: TakerId, ask: Ask) -> Result<Applied, Stop> {
        let next = self.next_change(queue, taker)?;
        self.dry = Some((taker, ask, next));
        Ok(Applied::Nothing { next })
    }

    /// Returns what may be taken while the first job waits for room: it is the next one as soon as
    /// there is some. Nothing to have at hand, where whoever has it would never come to the first.
    fn first_small(&self, queue: &str, label: i64, ask: Ask) -> Result<Option<i64>, Stop> {
        if ask == Ask::Ahead {
            return Ok(None);
        }
        let sql = FIRST.replace(
            "ORDER BY",
            "AND (SELECT length(bytes) FROM item WHERE job = j.id) <= ?4 ORDER BY",
        );
        Ok(self.first(&sql, params![queue, label, true, LARGE], |row| row.get(0))?)
    }

    /// Tells whether a taker may have this job's item in memory beside what it has in hand.
    fn has_room(&self, job: JobId, taker: TakerId, ask: Ask) -> Result<bool, Stop> {
        let sql = "SELECT length(bytes) FROM item WHERE job = ?1";
        let bytes: i64 = self.first(sql, [job.0], |row| row.get(0))?.unwrap_or_default();
        if ask == Ask::Ahead || bytes <= LARGE {
            return Ok(ask == Ask::Now || bytes <= SMALL);
        }
        let sql = "SELECT coalesce(sum(length(bytes)), 0) FROM job JOIN item ON item.job = job.id
            WHERE holder = ?1 AND length(bytes) > ?2";
        let others: i64 =
            self.first(sql, params![taker.0, LARGE], |row| row.get(0))?.unwrap_or_default();
        Ok(others == 0 || others + bytes <= TOGETHER)
    }

    /// Returns when something may be to be taken without anybody ringing.
    fn next_change(&self, queue: &str, taker: TakerId) -> Result<Option<Mono>, Stop> {
        let mono = |row: &rusqlite::Row<'_>| {
            row.get::<_, Option<i64>>(0).map(|at| at.map(|at| Mono(at.unsigned_abs())))
        };
        let due = "SELECT min(due) FROM job WHERE queue = ?1 AND due IS NOT NULL";
        let due = self.first(due, [queue], mono)?.flatten();
        let lease = "SELECT min(lease_until) FROM taker t WHERE queue = ?1 AND id <> ?2
            AND EXISTS (SELECT 1 FROM job WHERE holder = t.id)";
        let lease = self.first(lease, params![queue, taker.0], mono)?.flatten();
        Ok(earlier(due, lease))
    }

    /// Gives a ready job to a taker: holder, lease number, lock, and the attempt where it begins.
    /// `None` = its item is damaged, and it has stopped.
    pub(super) fn seize(
        &mut self,
        job: Job,
        taker: TakerId,
        ask: Ask,
        instance: &str,
        policy: Policy,
    ) -> Result<Option<Applied>, Stop> {
        let Stored { bytes: item, is_whole } = self.stored(job.id)?;
        if !is_whole {
            self.spoil(job, &item, taker, instance, policy)?;
            return Ok(None);
        }
        let leased = step(job.subject, Event::Leased, policy.limit)?;
        let next = match (ask, leased.subject()) {
            (Ask::Now, Some(leased)) => step(leased, Event::Begun, policy.limit)?,
            _ => leased,
        };
        if let Some(key) = &job.key {
            self.execute(
                "INSERT INTO lock (name, job, since_at) VALUES (?1, ?2, ?3)",
                params![key, job.id.0, self.now.wall.0],
            )?;
        }
        let mut seized = Job { holder: Some(taker.0), lease: job.lease + 1, ..job };
        let lease = Lease { job: seized.id, taker, number: seized.lease };
        let attempt = seized.tries + 1;
        if ask == Ask::Now {
            self.open_attempt(&mut seized, taker, instance)?;
        }
        self.put(&seized, next, policy)?;
        self.prolong(taker, policy)?;
        self.run_request(&seized)?;
        Ok(Some(Applied::Taken(Box::new(Taken {
            lease,
            attempt,
            begun: ask == Ask::Now,
            instance: instance.to_owned(),
            wfid: seized.wfid,
            identity: seized.identity,
            stage: seized.stage,
            owner: seized.owner,
            item,
        }))))
    }

    /// Ends a job whose item is not what was submitted: nobody could work on it. What is left of
    /// the item is kept with the dead.
    fn spoil(
        &mut self,
        job: Job,
        left: &[u8],
        taker: TakerId,
        instance: &str,
        policy: Policy,
    ) -> Result<(), Stop> {
        // Its end may let others be taken.
        self.dry = None;
        let leased = step(job.subject, Event::Leased, policy.limit)?;
        let begun = step(leased.subject().unwrap_or(job.subject), Event::Begun, policy.limit)?;
        let subject = begun.subject().unwrap_or(job.subject);
        let mut job = Job { subject, holder: Some(taker.0), lease: job.lease + 1, ..job };
        self.open_attempt(&mut job, taker, instance)?;
        let ended = Ended {
            fault: Fault::SYSTEM,
            text: Some(SPOILT_ITEM.to_owned()),
            signature: Some("damaged item".to_owned()),
            ..Ended::default()
        };
        let next = step(job.subject, Event::Ended(ended.fault), policy.limit)?;
        self.bury(&job.queue, job.owner, Some(job.id), ended.fault, SPOILT_ITEM, left)?;
        self.close(&job, "ended", &ended, next, policy)?;
        Ok(())
    }

    /// Reads a job's item, also where it is not what was submitted any more.
    pub(super) fn stored(&self, job: JobId) -> Result<Stored, Stop> {
        let sql = "SELECT sum, iif(length(bytes) > ?2, NULL, bytes) FROM item WHERE job = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
        let Some((sum, given)) = self.first(sql, params![job.0, blob::WHOLE], read)? else {
            // One that is gone is damaged, too.
            return Ok(Stored { is_whole: false, bytes: Vec::new() });
        };
        let bytes = self.fetch(blob::ITEM, job.0, given)?;
        Ok(Stored { is_whole: item::checksum(&bytes) == sum, bytes })
    }

    /// Records an attempt; the job is to be put with it.
    fn open_attempt(&self, job: &mut Job, taker: TakerId, instance: &str) -> Result<(), Stop> {
        job.tries += 1;
        self.execute(
            "INSERT INTO attempt (job, number, taker, instance, begun_at, queue)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![job.id.0, job.tries, taker.0, instance, self.now.wall.0, job.queue],
        )?;
        job.attempt = Some(self.conn.last_insert_rowid());
        Ok(())
    }

    /// `fault` stands for that of the end.
    fn close_attempt(&self, job: &Job, how: &str, fault: Fault, ended: &Ended) -> Result<(), Stop> {
        let output = ended.output.as_deref();
        self.execute(
            "UPDATE attempt SET ended_at = ?2, how = ?3, fault = ?4, code = ?5, signal = ?6,
                text = ?7, signature = ?8, log = ?9, cpu_us = ?10, peak_kib = ?11, sum = ?12,
                output = ?13 WHERE id = ?1",
            params![
                job.attempt,
                self.now.wall.0,
                how,
                fault.0,
                ended.code,
                ended.signal,
                ended.text,
                ended.signature,
                ended.log,
                ended.cpu_us,
                ended.peak_kib,
                output.map(item::checksum),
                output.map(blob::room).transpose()?,
            ],
        )?;
        if let (Some(row), Some(output)) = (job.attempt, output) {
            self.fill(blob::OUTPUT, row, output)?;
        }
        Ok(())
    }

    pub(super) fn begin(&mut self, lease: Lease, instance: &str) -> Result<Applied, Stop> {
        let mut job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::Begun, policy.limit)?;
        self.open_attempt(&mut job, lease.taker, instance)?;
        self.put(&job, next, policy)?;
        Ok(Applied::Begun(job.tries))
    }

    pub(super) fn give_back(&mut self, lease: Lease) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::GivenBack, policy.limit)?;
        self.put(&job, next, policy)?;
        Ok(Applied::Done)
    }

    pub(super) fn interrupt(&mut self, lease: Lease, ended: &Ended) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::Interrupted, policy.limit)?;
        self.close_attempt(&job, "interrupted", Fault::NONE, ended)?;
        self.put(&job, next, policy)?;
        Ok(Applied::Done)
    }

    pub(super) fn stage(&mut self, lease: Lease, stage: Option<&str>) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        self.execute("UPDATE job SET stage = ?2 WHERE id = ?1", params![job.id.0, stage])?;
        Ok(Applied::Done)
    }

    pub(super) fn end(&mut self, lease: Lease, ended: &Ended) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::Ended(ended.fault), policy.limit)?;
        let (next, policy) = self.by_rule(&job, ended, next, policy)?;
        self.close(&job, "ended", ended, next, policy)
    }

    pub(super) fn cancel_overdue(&mut self, lease: Lease, ended: &Ended) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::CancelOverdue, policy.limit)?;
        let ended = Ended { fault: job.subject.fault, ..ended.clone() };
        self.close(&job, "overdue", &ended, next, policy)
    }

    /// Who had the job is dead, or its lease ran out.
    pub(super) fn lose(&mut self, job: &Job, policy: Policy) -> Result<(), Stop> {
        let next = step(job.subject, Event::Lost, policy.limit)?;
        if !job.subject.state.is_running() {
            self.put(job, next, policy)?;
            return Ok(());
        }
        let text = "whoever worked on it died, or was silent for too long";
        let ended = Ended {
            fault: Fault::LOST,
            text: Some(text.to_owned()),
            signature: Some("lost".to_owned()),
            ..Ended::default()
        };
        let (next, policy) = self.by_rule(job, &ended, next, policy)?;
        self.close(job, "lost", &ended, next, policy)?;
        Ok(())
    }

    /// Records the end of an attempt, and all that follows from it.
    fn close(
        &mut self,
        job: &Job,
        how: &str,
        ended: &Ended,
        next: Next,
        policy: Policy,
    ) -> Result<Applied, Stop> {
        self.close_attempt(job, how, ended.fault, ended)?;
        if ended.fault.kind() != Kind::Done {
            self.note_fault(&job.queue, ended)?;
        }
        if let Next::Bury(_) = next {
            let reason = ended.text.as_deref().unwrap_or("it failed as often as it may");
            let left = self.stored(job.id)?.bytes;
            self.bury(&job.queue, job.owner, Some(job.id), ended.fault, reason, &left)?;
        }
        let retry = self.put(job, next, policy)?;
        let to = next.subject().unwrap_or(job.subject);
        if to.state == State::Stop && to.fault.kind() != Kind::Cancelled {
            if ended.forget {
                // There is nothing that could still be sent.
                self.answered(job.id)?;
            } else {
                self.answer(job, ended)?;
            }
        }
        // What a rule takes up has no fault any more; the attempt has.
        let stands = if to.state == State::Stop { to.fault } else { ended.fault };
        Ok(Applied::Ended { fault: stands, retry })
    }

    /// Sends the answer, if somebody wants it.
    fn answer(&mut self, job: &Job, ended: &Ended) -> Result<(), Stop> {
        if job.reply_to.is_none() {
            return Ok(());
        }
        let made = match &ended.output {
            Some(_) => None,
            None => self.plain_answer(job, ended)?,
        };
        match ended.output.as_ref().or(made.as_ref()) {
            Some(output) => self.send_answer(job, output),
            None => Ok(()),
        }
    }

    /// Puts an answer into the queue that wants it: here it is an item of that.
    pub(super) fn send_answer(&mut self, job: &Job, output: &[u8]) -> Result<(), Stop> {
        let Some(reply_to) = &job.reply_to else { return Ok(()) };
        self.execute(
            "INSERT OR IGNORE INTO job (queue, wfid, identity, label, priority, state, fault,
                count, wary, lease, tries, owner, answered, submitted_at, changed_at)
                VALUES (?1, ?2, ?3, ?4, 0, 'ready', 0, 0, 0, 0, 0, ?5, 0, ?6, ?6)",
            params![reply_to, job.wfid, job.answer_name(), job.label, job.owner, self.now.wall.0],
        )?;
        if self.conn.changes() > 0 {
            self.put_item(JobId(self.conn.last_insert_rowid()), output)?;
            self.ring_later(Ring::Queue(reply_to.clone()));
        }
        self.answered(job.id)?;
        Ok(())
    }

    /// Returns the answer where whoever worked on the item left none: the item as it came, with
    /// the error where it failed.
    pub(super) fn plain_answer(&self, job: &Job, ended: &Ended) -> Result<Option<Vec<u8>>, Stop> {
        let Stored { mut bytes, is_whole } = self.stored(job.id)?;
        let mut message = ended.text.as_deref().unwrap_or("it failed");
        if !is_whole {
            // Its name stands elsewhere: by that its sender knows which it was.
            bytes = item::stand_in(&job.wfid, &job.identity);
            message = SPOILT_ITEM;
        } else if ended.fault.kind() == Kind::Done {
            return Ok(Some(bytes));
        }
        let error = ErrorReply { class: item::ERROR_CLASS, message, trace: &[] };
        Ok(item::with_error(&bytes, error, item::LARGEST))
    }

    pub(super) fn answered(&mut self, job: JobId) -> Result<Applied, Stop> {
        let sql = "UPDATE job SET answered = 1 WHERE id = ?1";
        if self.execute(sql, [job.0])? == 0 {
            return Err(Refused::Absent("job").into());
        }
        Ok(Applied::Done)
    }

    pub(super) fn prolong(&self, taker: TakerId, policy: Policy) -> Result<(), Stop> {
        // Not with each item: a third of the lease may pass.
        let until = self.now.mono.after(policy.lease).0.cast_signed();
        let soon = self.now.mono.after(policy.lease * 2 / 3).0.cast_signed();
        let sql = "UPDATE taker SET lease_until = ?2 WHERE id = ?1 AND lease_until < ?3";
        self.execute(sql, params![taker.0, until, soon])?;
        Ok(())
    }
}
