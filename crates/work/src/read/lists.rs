//! Lists for people: jobs in a state, requests, dead items; and what else is known of one job.

use super::{Dead, JOB, Job, Reader, job};
use crate::change::{DeadId, DependencyId, JobId, RequestId, row_subject};
use crate::clock::Wall;
use crate::schema;
use crate::trouble::Trouble;
use machine::work::{Fault, Subject};
use rusqlite::{Row, params};

/// Which jobs are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Whatever their state.
    All,
    /// Kept back.
    Hold,
    /// Not accepted yet.
    New,
    /// To be worked on.
    Ready,
    /// Being worked on.
    Run,
    /// To be stopped.
    Cancelling,
    /// Stopped, with nothing wrong.
    Done,
    /// Stopped, with a fault.
    Failed,
    /// Stopped, not wanted any more.
    Cancelled,
}

/// A group of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its number.
    pub id: RequestId,
    /// Its name.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// Name of its label.
    pub label: String,
    /// Who wants it.
    pub owner: Option<u32>,
    /// Where it stands.
    pub subject: Subject,
    /// When it was recorded.
    pub registered: Wall,
    /// When it last changed.
    pub changed: Wall,
    /// When it may be parsed again, where that failed.
    pub due: Option<Wall>,
}

/// What jobs wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its number.
    pub id: DependencyId,
    /// Queue of the participant that sees to it.
    pub checker: Option<String>,
    /// Where it stands.
    pub subject: Subject,
    /// When it last changed.
    pub changed: Wall,
    /// When it may be seen to again, where that failed.
    pub due: Option<Wall>,
}

/// What else is known of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Name of its request.
    pub request: Option<String>,
    /// The job that waits for it.
    pub parent: Option<JobId>,
    /// What it depends on: kind, name, component.
    pub dependency: Option<[String; 3]>,
    /// Name of its lock.
    pub key: Option<String>,
    /// Who has that: somebody's name, or `job NUMBER`.
    pub locked_by: Option<String>,
    /// Queue that wants the answer.
    pub reply_to: Option<String>,
    /// The answer was sent.
    pub answered: bool,
    /// Bytes of its item.
    pub size: u64,
}

const REQUEST: &str = "SELECT r.id, r.name, source, l.name, owner, state, fault, count, 0,
    registered_at, changed_at, due_at FROM request r JOIN label l ON l.id = r.label";

const DEAD: &str = "SELECT id, queue, owner, job, fault, reason, at, length(bytes)";

pub(super) const DETAILS: &str = "SELECT r.name, j.parent, d.kind, d.name, d.component, j.key,
    coalesce(k.holder, 'job ' || k.job), j.reply_to, j.answered, length(i.bytes)
    FROM job j LEFT JOIN request r ON r.id = j.request
    LEFT JOIN dependency d ON d.id = j.dependency LEFT JOIN lock k ON k.name = j.key
    LEFT JOIN item i ON i.job = j.id WHERE j.id = ?1";

/// Returns the questions for the numbers of jobs, of one queue or of all. Their answers together are
/// all of them; `?2` is how many are wanted of each.
pub(super) fn numbers(which: Which, has_queue: bool) -> Vec<String> {
    let queue = if has_queue { "queue = ?1" } else { "?1 IS NULL" };
    let find = |from: &str, order: &str| {
        format!("SELECT id FROM job {from} AND {queue} ORDER BY {order} DESC LIMIT ?2")
    };
    let held = |state: &str| {
        let held = "INDEXED BY job_held WHERE holder IS NOT NULL";
        find(&format!("{held} AND state = '{state}'"), "id")
    };
    let ended = |fault: &str| {
        find(&format!("INDEXED BY job_past WHERE state = 'stop' AND {fault}"), "changed_at")
    };
    let by_age = |of: &str| vec![find(&format!("WHERE {of}"), "id")];
    match which {
        Which::All => by_age("id > 0"),
        Which::Hold => by_age("id > 0 AND state = 'hold'"),
        Which::New => by_age("id > 0 AND state = 'new'"),
        Which::Ready => vec![
            find(
                "INDEXED BY job_ready
                    WHERE state = 'ready' AND holder IS NULL AND due IS NULL",
                "id",
            ),
            find("INDEXED BY job_due WHERE due IS NOT NULL", "id"),
            held("ready"),
        ],
        Which::Run => vec![held("run")],
        Which::Cancelling => vec![held("cancelling")],
        Which::Done => vec![ended("fault = 0")],
        Which::Failed => vec![ended("fault <> 0 AND fault NOT BETWEEN 900 AND 999")],
        Which::Cancelled => vec![ended("fault BETWEEN 900 AND 999")],
    }
}

fn request(row: &Row<'_>) -> rusqlite::Result<Request> {
    Ok(Request {
        id: RequestId(row.get(0)?),
        name: row.get(1)?,
        source: row.get(2)?,
        label: row.get(3)?,
        owner: row.get(4)?,
        subject: row_subject(row, 5, false)?,
        registered: Wall(row.get(9)?),
        changed: Wall(row.get(10)?),
        due: row.get::<_, Option<i64>>(11)?.map(Wall),
    })
}

fn dead(row: &Row<'_>) -> rusqlite::Result<Dead> {
    Ok(Dead {
        id: DeadId(row.get(0)?),
        queue: row.get(1)?,
        owner: row.get(2)?,
        job: row.get::<_, Option<i64>>(3)?.map(JobId),
        fault: Fault(row.get(4)?),
        reason: row.get(5)?,
        at: Wall(row.get(6)?),
        size: row.get::<_, i64>(7)?.unsigned_abs(),
        bytes: Vec::new(),
    })
}

fn details(row: &Row<'_>) -> rusqlite::Result<Details> {
    let dependency = match row.get::<_, Option<String>>(2)? {
        Some(kind) => Some([kind, row.get(3)?, row.get(4)?]),
        None => None,
    };
    Ok(Details {
        request: row.get(0)?,
        parent: row.get::<_, Option<i64>>(1)?.map(JobId),
        dependency,
        key: row.get(5)?,
        locked_by: row.get(6)?,
        reply_to: row.get(7)?,
        answered: row.get(8)?,
        size: row.get::<_, Option<i64>>(9)?.unwrap_or_default().unsigned_abs(),
    })
}

impl Reader {
    /// Returns jobs in a state, at most `at_most`, of all queues or of one: the newest first, of those
    /// that have stopped the one that did so last.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn listed(
        &self,
        which: Which,
        queue: Option<&str>,
        at_most: u32,
    ) -> Result<Vec<Job>, Trouble> {
        let mut ids: Vec<i64> = Vec::new();
        for sql in numbers(which, queue.is_some()) {
            ids.extend(self.all(&sql, params![queue, at_most], |row| row.get::<_, i64>(0))?);
        }
        if which == Which::Ready {
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.truncate(at_most as usize);
        }
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            jobs.extend(self.job(JobId(id))?);
        }
        Ok(jobs)
    }

    /// Returns what else is known of a job.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn details(&self, id: JobId) -> Result<Option<Details>, Trouble> {
        self.first(DETAILS, [id.0], details)
    }

    /// Returns the job, and the number of its attempt, that a job is the answer of; `None` = it is none,
    /// or that job is gone. Neither its item nor its name says so: both may be anybody's.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn answer_of(&self, answer: &Job) -> Result<Option<(JobId, u32)>, Trouble> {
        // An answer's name ends with it.
        let attempt = answer.identity.rsplit_once('#').and_then(|(_, number)| number.parse().ok());
        let Some(attempt) = attempt.filter(|_| self.version >= schema::KNOWS_ANSWERS) else {
            return Ok(None);
        };
        let sql = "SELECT j.id FROM job a JOIN job j ON j.id = a.answer_to WHERE a.id = ?1";
        self.first(sql, [answer.id.0], |row| Ok((JobId(row.get(0)?), attempt)))
    }

    /// Returns requests, the newest first, at most `at_most`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn requests(&self, at_most: u32) -> Result<Vec<Request>, Trouble> {
        self.all(&format!("{REQUEST} ORDER BY r.id DESC LIMIT ?1"), [at_most], request)
    }

    /// Returns the request of this name; where there is none, the one of this number.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn request_called(&self, name: &str) -> Result<Option<Request>, Trouble> {
        if let Some(found) = self.first(&format!("{REQUEST} WHERE r.name = ?1"), [name], request)? {
            return Ok(Some(found));
        }
        let Ok(id) = name.parse::<i64>() else { return Ok(None) };
        self.first(&format!("{REQUEST} WHERE r.id = ?1"), [id], request)
    }

    /// Returns what jobs wait for, by its kind, name and component.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn dependency(&self, names: [&str; 3]) -> Result<Option<Dependency>, Trouble> {
        let sql = "SELECT id, checker, state, fault, count, 0, changed_at, due_at FROM dependency
            WHERE kind = ?1 AND name = ?2 AND component = ?3";
        self.first(sql, names, |row| {
            Ok(Dependency {
                id: DependencyId(row.get(0)?),
                checker: row.get(1)?,
                subject: row_subject(row, 2, false)?,
                changed: Wall(row.get(6)?),
                due: row.get::<_, Option<i64>>(7)?.map(Wall),
            })
        })
    }

    /// Returns jobs of a request in their order, at most `at_most`, numbered above `after`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn jobs_of_request(
        &self,
        id: RequestId,
        after: JobId,
        at_most: u32,
    ) -> Result<Vec<Job>, Trouble> {
        let sql = format!("{JOB} WHERE j.request = ?1 AND j.id > ?2 ORDER BY j.id LIMIT ?3");
        self.all(&sql, params![id.0, after.0, at_most], job)
    }

    /// Returns how many jobs of a request there are, and how many of them have stopped, and how many
    /// of these with a fault.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn sums_of_request(&self, id: RequestId) -> Result<[u64; 3], Trouble> {
        let sql = "SELECT count(*), coalesce(sum(state = 'stop'), 0),
            coalesce(sum(state = 'stop' AND fault <> 0), 0) FROM job WHERE request = ?1";
        let read = |row: &Row<'_>| {
            let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
            Ok([count(0)?, count(1)?, count(2)?])
        };
        Ok(self.first(sql, [id.0], read)?.unwrap_or_default())
    }

    /// Returns the dead items, newest first, at most `at_most`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn dead(&self, at_most: u32) -> Result<Vec<Dead>, Trouble> {
        let sql = format!("{DEAD}, bytes FROM dead ORDER BY id DESC LIMIT ?1");
        self.all(&sql, [at_most], |row| Ok(Dead { bytes: row.get(8)?, ..dead(row)? }))
    }

    /// Returns the dead items, newest first, at most `at_most`, without their bytes. `queue`: of this
    /// one only.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn dead_heads(&self, queue: Option<&str>, at_most: u32) -> Result<Vec<Dead>, Trouble> {
        let sql =
            format!("{DEAD} FROM dead WHERE ?1 IS NULL OR queue = ?1 ORDER BY id DESC LIMIT ?2");
        self.all(&sql, params![queue, at_most], dead)
    }

    /// Returns the dead items of a queue that never were a job, oldest first, at most `at_most`,
    /// numbered above `after`, without their bytes.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn strays_after(
        &self,
        queue: &str,
        after: DeadId,
        at_most: u32,
    ) -> Result<Vec<Dead>, Trouble> {
        let sql = format!(
            "{DEAD} FROM dead WHERE id > ?1 AND queue = ?2 AND job IS NULL ORDER BY id LIMIT ?3"
        );
        self.all(&sql, params![after.0, queue, at_most], dead)
    }

    /// Returns a dead item.
    ///
    /// # Errors
    /// [`Trouble`], also where it is not what came.
    pub fn dead_item(&self, id: DeadId) -> Result<Option<Dead>, Trouble> {
        let sql = format!("{DEAD}, bytes, sum FROM dead WHERE id = ?1");
        let read =
            |row: &Row<'_>| Ok((Dead { bytes: row.get(8)?, ..dead(row)? }, row.get::<_, i64>(9)?));
        let Some((dead, sum)) = self.first(&sql, [id.0], read)? else { return Ok(None) };
        self.whole(sum, &dead.bytes, || format!("dead item {}", id.0))?;
        Ok(Some(dead))
    }
}
