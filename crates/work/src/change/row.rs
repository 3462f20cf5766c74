//! A job as it is stored: reading it, stepping its machine, writing it back.

use super::attempt::Beginner;
use super::line::Line;
use super::tx::{Ring, Stop, Tx};
use super::{JobId, Lease, Policy, Refused, TakerId};
use crate::clock::Wall;
use machine::time::Mono;
use machine::work::{Backoff, Event, Fault, Limit, Next, State, Subject};
use rusqlite::{Row, ToSql, params};
use std::fmt::Write as _;
use std::time::Duration;

/// What the changes need of a job.
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) queue: String,
    pub(super) wfid: String,
    pub(super) identity: String,
    pub(super) subject: Subject,
    pub(super) holder: Option<i64>,
    pub(super) lease: i64,
    pub(super) tries: u32,
    pub(super) attempt: Option<i64>,
    pub(super) request: Option<i64>,
    pub(super) parent: Option<i64>,
    pub(super) key: Option<String>,
    pub(super) owner: Option<u32>,
    pub(super) reply_to: Option<String>,
    pub(super) answered: bool,
    pub(super) stage: Option<String>,
    pub(super) label: i64,
    /// Of an attempt that is to be written.
    pub(super) beginner: Option<Beginner>,
    /// When its attempt ended, where that is what changes it.
    pub(super) ended: Option<Wall>,
    pub(super) written: Written,
}

/// What stands in the row of what a change may set there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    subject: Subject,
    holder: Option<i64>,
    lease: i64,
    tries: u32,
    attempt: Option<i64>,
    is_resting: bool,
}

impl Job {
    /// Counts an attempt, which is to be written.
    pub(super) fn start(&mut self, taker: TakerId, instance: &str, at: Wall) {
        self.tries += 1;
        self.beginner = Some(Beginner { taker, instance: instance.to_owned(), at });
    }

    /// Returns where it stands while it waits.
    pub(super) fn line(&self) -> Line<'_> {
        Line { queue: &self.queue, label: self.label, key: self.key.as_deref() }
    }

    /// Tells whether it rests after a try, whose count may be forgotten: a rule has it tried again from the
    /// start.
    pub(super) fn rests_after_a_try(&self) -> bool {
        let is_ready = self.subject.state == State::Ready { leased: false };
        is_ready && self.written.is_resting && self.tries > 0
    }

    /// Returns what names its answer in the queue that wants it, beside which job it is of: the attempt
    /// is told, too.
    pub(super) fn answer_name(&self) -> String {
        format!("{}#{}", self.identity, self.tries)
    }
}

/// What [`job`] reads, of a statement in which the table is the only one that has them, and in which it
/// may be known whether it rests.
macro_rules! columns {
    () => {
        columns!("due IS NOT NULL")
    };
    ($rests:literal) => {
        concat!(
            "id, queue, iif(wfid = '', 'job-' || id, wfid), identity, state, fault, count, wary, holder,
            lease, tries, attempt, request, parent, key, owner, reply_to, answered, stage, label, ",
            $rests
        )
    };
}
pub(super) use columns;

/// How many these are.
pub(super) const COLUMNS: usize = 21;

/// Reads state, fault, count and wary from four columns; `leased` is known from elsewhere.
pub(crate) fn subject(row: &Row<'_>, at: usize, leased: bool) -> rusqlite::Result<Subject> {
    let name = row.get_ref(at)?.as_str()?;
    let state = State::from_name(name, leased && name == State::Ready { leased }.name());
    let state = state.ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(
            at,
            rusqlite::types::Type::Text,
            format!("no such state: {name}").into(),
        )
    })?;
    Ok(Subject {
        state,
        fault: Fault(row.get(at + 1)?),
        count: row.get(at + 2)?,
        wary: row.get(at + 3)?,
    })
}

pub(super) fn policy(row: &Row<'_>) -> rusqlite::Result<Policy> {
    let duration = |at| row.get::<_, i64>(at).map(|ns| Duration::from_nanos(ns.unsigned_abs()));
    Ok(Policy {
        lease: duration(1)?,
        limit: Limit { tries: row.get(2)?, exhausted: Fault(row.get(3)?) },
        backoff: Backoff { first: duration(4)?, longest: duration(5)? },
        ..Policy::default()
    })
}

pub(super) fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let holder: Option<i64> = row.get(8)?;
    let written = Written {
        subject: subject(row, 4, holder.is_some())?,
        holder,
        lease: row.get(9)?,
        tries: row.get(10)?,
        attempt: row.get(11)?,
        is_resting: row.get(20)?,
    };
    let Written { subject, holder, lease, tries, attempt, .. } = written;
    Ok(Job {
        id: JobId(row.get(0)?),
        queue: row.get(1)?,
        wfid: row.get(2)?,
        identity: row.get(3)?,
        subject,
        holder,
        lease,
        tries,
        attempt,
        request: row.get(12)?,
        parent: row.get(13)?,
        key: row.get(14)?,
        owner: row.get(15)?,
        reply_to: row.get(16)?,
        answered: row.get(17)?,
        stage: row.get(18)?,
        label: row.get(19)?,
        beginner: None,
        ended: None,
        written,
    })
}

impl Tx<'_> {
    pub(super) fn job(&self, id: JobId) -> Result<Job, Stop> {
        let sql = concat!("SELECT ", columns!(), " FROM job WHERE id = ?1");
        Ok(self.first(sql, [id.0], job)?.ok_or(Refused::Absent("job"))?)
    }

    /// Returns the job of a lease that still holds.
    pub(super) fn held(&self, lease: Lease) -> Result<Job, Stop> {
        let job = self.job(lease.job)?;
        if lease.is_of(job.holder, job.lease) { Ok(job) } else { Err(Refused::Overtaken.into()) }
    }

    pub(super) fn jobs_of(&self, taker: TakerId) -> Result<Vec<Job>, Stop> {
        let sql = concat!("SELECT ", columns!(), " FROM job WHERE holder = ?1");
        Ok(self.all(sql, [taker.0], job)?)
    }

    /// Stores what the machine made of a job, and what follows from it. Returns when it is tried
    /// again, if it is to rest.
    pub(super) fn put(
        &mut self,
        job: &Job,
        next: Next,
        policy: Policy,
    ) -> Result<Option<Mono>, Stop> {
        let Some(to) = next.subject() else { return Ok(None) };
        let due = self.rest(next, job.id.0, policy);
        let held = to.state.is_running() || to.state.is_leased();
        self.write(job, to, job.holder.filter(|_| held), due)?;
        if !held {
            self.let_go(job)?;
        }
        match to.state {
            State::Ready { leased: false } => self.ring_later(Ring::Queue(job.queue.clone())),
            State::Stop => self.stopped(job)?,
            _ => {}
        }
        Ok(due.map(|(mono, _)| mono))
    }

    /// Returns until when something rests that the machine has tried again.
    pub(super) fn rest(&mut self, next: Next, id: i64, policy: Policy) -> Option<(Mono, i64)> {
        let Next::Retry(to) = next else { return None };
        Some(self.due(policy.backoff.after(to.count, id.unsigned_abs())))
    }

    /// Writes what becomes of a request or of a dependency, as the table is called; `None` = it is as
    /// it was.
    pub(super) fn put_subject(
        &mut self,
        table: &str,
        id: i64,
        next: Next,
    ) -> Result<Option<Subject>, Stop> {
        let Some(to) = next.subject() else { return Ok(None) };
        let due = self.rest(next, id, Policy::default());
        let (mono, wall) = (due.map(|(mono, _)| mono.0.cast_signed()), due.map(|(_, wall)| wall));
        let sql = format!(
            "UPDATE {table} SET state = ?2, fault = ?3, count = ?4, changed_at = ?5, due = ?6,
                due_at = ?7 WHERE id = ?1"
        );
        let (state, now) = (to.state.name(), self.now.wall.0);
        self.execute(&sql, params![id, state, to.fault.0, to.count, now, mono, wall])?;
        Ok(Some(to))
    }

    /// Writes what is not so already: each column costs steps, and more with each index and check
    /// that it is part of.
    pub(super) fn write(
        &self,
        job: &Job,
        to: Subject,
        holder: Option<i64>,
        due: Option<(Mono, i64)>,
    ) -> Result<(), Stop> {
        let was = job.written;
        let from = was.subject;
        // What is kept back, or was until now, keeps the delay that it was submitted with.
        let is_kept = matches!(to.state, State::Hold | State::New)
            || from.state == State::New && to.state != State::Stop;
        let rests = was.is_resting && !is_kept || due.is_some();
        let (state, fault) = (to.state.name(), to.fault.0);
        let (mono, wall) = (due.map(|(mono, _)| mono.0.cast_signed()), due.map(|(_, wall)| wall));
        let columns: [(&str, bool, &dyn ToSql); 10] = [
            ("state", state != from.state.name(), &state),
            ("fault", to.fault != from.fault, &fault),
            ("count", to.count != from.count, &to.count),
            ("wary", to.wary != from.wary, &to.wary),
            ("due", rests, &mono),
            ("due_at", rests, &wall),
            ("holder", holder != was.holder, &holder),
            ("lease", job.lease != was.lease, &job.lease),
            ("tries", job.tries != was.tries, &job.tries),
            ("attempt", job.attempt != was.attempt, &job.attempt),
        ];
        let mut sql = "UPDATE job SET changed_at = ?2".to_owned();
        // History tells both as one.
        let Wall(changed) = job.ended.unwrap_or(self.now.wall);
        let mut values: Vec<&dyn ToSql> = vec![&job.id.0, &changed];
        for (column, _, value) in columns.into_iter().filter(|(_, changes, _)| *changes) {
            values.push(value);
            // Nothing can fail where it goes into memory.
            let _ = write!(sql, ", {column} = ?{}", values.len());
        }
        sql.push_str(" WHERE id = ?1");
        self.execute(&sql, values.as_slice())?;
        self.line_up(job.id, job.line())
    }

    /// Lets go of the lock that was taken with a job, and wakes who waits for it.
    fn let_go(&mut self, job: &Job) -> Result<(), Stop> {
        let Some(key) = &job.key else { return Ok(()) };
        if self.execute("DELETE FROM lock WHERE name = ?1 AND job = ?2", params![key, job.id.0])?
            > 0
        {
            self.ring_for_key(key)?;
        }
        Ok(())
    }

    pub(super) fn ring_for_key(&mut self, key: &str) -> Result<(), Stop> {
        // From queue to queue by the index: of one there may be many that wait.
        let waiting = "WITH RECURSIVE each (queue) AS (
                SELECT min(queue) FROM job WHERE key = ?1 AND state = 'ready'
                UNION ALL SELECT (SELECT min(queue) FROM job WHERE key = ?1 AND state = 'ready'
                    AND queue > each.queue) FROM each WHERE each.queue IS NOT NULL)
            SELECT queue FROM each WHERE queue IS NOT NULL";
        for queue in self.all(waiting, [key], |row| row.get(0))? {
            self.ring_later(Ring::Queue(queue));
        }
        Ok(())
    }

    /// A job has stopped: its parent may go on, its request may be finished.
    fn stopped(&mut self, job: &Job) -> Result<(), Stop> {
        if let Some(parent) = job.parent {
            let sql = "SELECT queue FROM job WHERE id = ?1";
            if let Some(queue) = self.first(sql, [parent], |row| row.get(0))? {
                self.ring_later(Ring::Queue(queue));
            }
        }
        if let Some(request) = job.request {
            self.close_request(request)?;
        }
        Ok(())
    }
}

/// Asks the machine, and turns its refusal into ours.
pub(super) fn step(subject: Subject, event: Event, limit: Limit) -> Result<Next, Stop> {
    subject.step(event, limit).map_err(|refusal| Refused::NotNow(refusal).into())
}
