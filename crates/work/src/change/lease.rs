//! Working on a job, and the end of that.

use super::row::{Job, step};
use super::take::Stored;
use super::tx::{Ring, Stop, Tx};
use super::{Applied, Ended, JobId, Lease, Policy, Refused, blob};
use crate::flags;
use crate::item::{self, ErrorReply};
use machine::work::{Event, Fault, Kind, Next, State};
use rusqlite::params;
use std::borrow::Cow;

/// What is said of an item that does not have its sum any more.
pub(super) const SPOILT_ITEM: &str = "the store's copy of the item is damaged";

/// Returns what is recorded where the cancel of a job ended its attempt: the cancel is the outcome, as
/// it is the job's, and how a process was ended is not how the work did.
fn cancelled(job: &Job, ended: &Ended) -> Ended {
    Ended { fault: job.subject.fault, signature: None, ..ended.clone() }
}

/// The same of whatever ended an attempt: what was being cancelled and is not done ended by the cancel.
fn as_cancelled<'a>(job: &Job, ended: &'a Ended) -> Cow<'a, Ended> {
    if job.subject.state != State::Cancelling || ended.fault.kind() == Kind::Done {
        return Cow::Borrowed(ended);
    }
    Cow::Owned(cancelled(job, ended))
}

impl Tx<'_> {
    pub(super) fn give_back(&mut self, lease: Lease) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::GivenBack, policy.limit)?;
        self.put(&job, next, policy)?;
        Ok(Applied::Done)
    }

    pub(super) fn hand_back(&mut self, lease: Lease) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        let given_back = self.give_back(lease)?;
        if job.tries == 0 {
            self.execute("DELETE FROM job WHERE id = ?1 AND wary = 0", [lease.job.0])?;
            self.line_up(job.id, job.line())?;
        }
        Ok(given_back)
    }

    pub(super) fn interrupt(&mut self, lease: Lease, ended: &Ended) -> Result<Applied, Stop> {
        let mut job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::Interrupted, policy.limit)?;
        self.close_attempt(&mut job, "interrupted", Fault::NONE, ended)?;
        self.put(&job, next, policy)?;
        Ok(Applied::Done)
    }

    pub(super) fn stage(&mut self, lease: Lease, stage: Option<&str>) -> Result<Applied, Stop> {
        let job = self.held(lease)?;
        self.execute("UPDATE job SET stage = ?2 WHERE id = ?1", params![job.id.0, stage])?;
        Ok(Applied::Done)
    }

    pub(super) fn end(&mut self, lease: Lease, ended: &Ended) -> Result<Applied, Stop> {
        let policy = self.policy(lease.taker)?;
        let mut job = match self.take_begun(lease) {
            Some(job) => job,
            None => self.held(lease)?,
        };
        let next = match step(job.subject, Event::Ended(ended.fault), policy.limit) {
            Ok(next) => next,
            Err(refused) => {
                self.keep_begun(lease, job);
                return Err(refused);
            }
        };
        let (next, policy) = self.by_rule(&job, ended, next, policy)?;
        let ended = as_cancelled(&job, ended);
        self.close(&mut job, "ended", &ended, next, policy)
    }

    pub(super) fn cancel_overdue(&mut self, lease: Lease, ended: &Ended) -> Result<Applied, Stop> {
        let mut job = self.held(lease)?;
        let policy = self.policy(lease.taker)?;
        let next = step(job.subject, Event::CancelOverdue, policy.limit)?;
        let ended = cancelled(&job, ended);
        self.close(&mut job, "overdue", &ended, next, policy)
    }

    /// Who had the job is dead, or its lease ran out.
    pub(super) fn lose(&mut self, job: &mut Job, policy: Policy) -> Result<(), Stop> {
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
        let ended = as_cancelled(job, &ended);
        self.close(job, "lost", &ended, next, policy)?;
        Ok(())
    }

    /// Records the end of an attempt, and all that follows from it.
    pub(super) fn close(
        &mut self,
        job: &mut Job,
        how: &str,
        ended: &Ended,
        next: Next,
        policy: Policy,
    ) -> Result<Applied, Stop> {
        self.close_attempt(job, how, ended.fault, ended)?;
        if !matches!(ended.fault.kind(), Kind::Done | Kind::Cancelled) {
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
        let given = ended.output.as_ref().or(ended.item.as_ref());
        let made = match given {
            Some(_) => None,
            None => self.plain_answer(job, ended)?,
        };
        match given.or(made.as_ref()) {
            Some(output) => self.send_answer(job, output),
            // As where whoever worked on it says that it is forgotten.
            None => self.answered(job.id).map(drop),
        }
    }

    /// Puts an answer into the queue that wants it: here it is an item of that.
    pub(super) fn send_answer(&mut self, job: &Job, output: &[u8]) -> Result<(), Stop> {
        let Some(reply_to) = &job.reply_to else { return Ok(()) };
        let (name, id, now) = (job.answer_name(), job.id.0, self.now.wall.0);
        self.execute(
            "INSERT INTO job (queue, wfid, identity, label, priority, state, fault, count, wary,
                lease, tries, owner, answered, submitted_at, changed_at, answer_to)
                VALUES (?1, ?2, ?3, ?4, 0, 'ready', 0, 0, 0, 0, 0, ?5, 0, ?6, ?6, ?7)
                ON CONFLICT (wfid, identity, queue, answer_to) DO NOTHING",
            params![reply_to, job.wfid, name, job.label, job.owner, now, id],
        )?;
        // What is there is this very answer.
        if self.conn.changes() > 0 {
            self.put_item(JobId(self.conn.last_insert_rowid()), output)?;
            self.ring_later(Ring::Queue(reply_to.clone()));
        }
        self.answered(job.id)?;
        Ok(())
    }

    /// Returns the answer where whoever worked on the item left none: the item as it came, with
    /// the error where it failed. `None` = it asks for none, or cannot have one.
    pub(super) fn plain_answer(&self, job: &Job, ended: &Ended) -> Result<Option<Vec<u8>>, Stop> {
        let Stored { mut bytes, is_whole } = self.stored(job.id)?;
        let mut message = ended.text.as_deref().unwrap_or("it failed");
        if !is_whole {
            // Its name stands elsewhere: by that its sender knows which it was.
            bytes = item::stand_in(&job.wfid, &job.identity);
            message = SPOILT_ITEM;
        } else if ended.fault.kind() == Kind::Done {
            return Ok(Some(bytes));
        } else if flags::flags(&bytes).forget {
            // Whoever died over it has not said so.
            return Ok(None);
        }
        let class = &self.error_class(&job.queue)?;
        let error = ErrorReply { class, message, trace: &[] };
        // Where it is larger, more was set for its queue.
        let limit = if bytes.len() > item::LARGEST { item::MOST } else { item::LARGEST };
        Ok(item::with_error(&bytes, error, limit))
    }

    pub(super) fn set_error_class(&self, queue: &str, class: &str) -> Result<Applied, Stop> {
        let sql = "INSERT INTO error_class VALUES (?1, ?2)
            ON CONFLICT (queue) DO UPDATE SET class = ?2 WHERE class <> ?2";
        self.execute(sql, [queue, class])?;
        Ok(Applied::Done)
    }

    fn error_class(&self, queue: &str) -> Result<String, Stop> {
        let sql = "SELECT class FROM error_class WHERE queue = ?1";
        let class = self.first(sql, [queue], |row| row.get(0))?;
        Ok(class.unwrap_or_else(|| item::ERROR_CLASS.to_owned()))
    }

    pub(super) fn answered(&mut self, job: JobId) -> Result<Applied, Stop> {
        let sql = "UPDATE job SET answered = 1 WHERE id = ?1";
        if self.execute(sql, [job.0])? == 0 {
            return Err(Refused::Absent("job").into());
        }
        Ok(Applied::Done)
    }

    /// What was confirmed may be the answer of an earlier time, of what is to be done again by now.
    pub(super) fn confirmed(&mut self, job: JobId, attempt: u32) -> Result<Applied, Stop> {
        let sql = "UPDATE job SET answered = 1 WHERE id = ?1 AND state = 'stop' AND tries = ?2";
        if self.execute(sql, params![job.0, attempt])? == 0 {
            self.job(job)?;
            return Err(Refused::Overtaken.into());
        }
        Ok(Applied::Done)
    }

    /// The last attempt has another answer. For the sender it failed, whatever it came to.
    pub(super) fn instead(
        &mut self,
        job: JobId,
        answer: &[u8],
        why: &str,
    ) -> Result<Applied, Stop> {
        let job = self.job(job)?;
        if job.subject.state != State::Stop {
            // Somebody wants it done again.
            return Err(Refused::Overtaken.into());
        }
        let attempt = job.attempt.ok_or(Refused::Absent("attempt"))?;
        self.execute(
            "UPDATE attempt SET sum = ?2, output = ?3, text = ifnull(text || '; ', '') || ?4
                WHERE id = ?1",
            params![attempt, item::checksum(answer), blob::room(answer)?, why],
        )?;
        self.fill(blob::OUTPUT, attempt, answer)?;
        if job.subject.fault.kind() == Kind::Done {
            self.untold(&job, attempt, why)?;
        }
        Ok(Applied::Done)
    }

    fn untold(&mut self, job: &Job, attempt: i64, why: &str) -> Result<(), Stop> {
        let ended = Ended {
            fault: Fault::SYSTEM,
            text: Some(why.to_owned()),
            signature: Some("answer not sent".to_owned()),
            ..Ended::default()
        };
        let sql = "UPDATE attempt SET fault = ?2, signature = ?3 WHERE id = ?1";
        self.execute(sql, params![attempt, ended.fault.0, ended.signature])?;
        self.note_fault(&job.queue, &ended)?;
        // Its work was done: whoever does it again begins anew.
        self.execute("UPDATE job SET stage = NULL WHERE id = ?1", [job.id.0])?;
        let policy = Policy::default();
        let next = step(job.subject, Event::Untold(ended.fault), policy.limit)?;
        self.put(job, next, policy)?;
        Ok(())
    }
}
