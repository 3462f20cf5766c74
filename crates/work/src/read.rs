//! Read handles: what everybody may ask.

mod acts;
mod labels;
mod lists;
mod past;
mod process;
mod trouble;

pub use acts::{Act, Rule};
pub use labels::Label;
pub use lists::{Dependency, Details, Request, Which};
pub use past::{Entry, Mark, Past, Portion, Span};
pub use process::{Met, Part, Wanted};
mod queues;
pub use queues::{Failure, Oldest, Queue};
pub use trouble::{Held, PutAway};

use crate::change::{DeadId, JobId, SMALL, TOGETHER, row_subject};
use crate::clock::Wall;
use crate::item;
use crate::open;
use crate::place::Place;
use crate::schema;
use crate::trouble::Trouble;
use machine::work::{Fault, Subject};
use rusqlite::{Connection, OptionalExtension, Params, Row};
use std::path::PathBuf;

/// Reads a store, and has no way to change it.
///
/// ```
/// use work::{JobId, Reader, Trouble};
/// fn stands(reader: &Reader) -> Result<bool, Trouble> {
///     Ok(reader.job(JobId(1))?.is_some())
/// }
/// ```
///
/// A store would make this change:
///
/// ```
/// use work::{Applied, Change, Error, JobId, Reader, Store};
/// fn change(_: &mut Reader, store: &mut Store) -> Result<Applied, Error> {
///     store.apply(&Change::Answered(JobId(1), 1))
/// }
/// ```
///
/// ```compile_fail,E0599
/// use work::{Applied, Change, Error, JobId, Reader};
/// fn change(reader: &mut Reader) -> Result<Applied, Error> {
///     reader.apply(&Change::Answered(JobId(1), 1))
/// }
/// ```
///
/// Nor has anybody the connection that a reader has:
///
/// ```
/// use work::Reader;
/// fn raw(reader: &Reader) {
///     let _ = &reader;
/// }
/// ```
///
/// ```compile_fail,E0616
/// use work::Reader;
/// fn raw(reader: &Reader) {
///     let _ = &reader.conn;
/// }
/// ```
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    path: PathBuf,
    /// Of the tables, when it was opened.
    version: u32,
}

/// A job, without its item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its number.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Process it belongs to; `job-NUMBER` where its item names none.
    pub wfid: String,
    /// The rest of its name.
    pub identity: String,
    /// Where it stands.
    pub subject: Subject,
    /// Attempts so far, interrupted ones too.
    pub tries: u32,
    /// Who submitted it.
    pub owner: Option<u32>,
    /// Name of its label.
    pub label: String,
    /// Among those of its label, highest first.
    pub priority: i32,
    /// How far an attempt has come.
    pub stage: Option<String>,
    /// When it was recorded.
    pub submitted: Wall,
    /// When it last changed.
    pub changed: Wall,
    /// When its delay ends, by the wall clock as it was when it began.
    pub due: Option<Wall>,
}

/// One try at a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Which instance.
    pub instance: String,
    /// How far earlier ones had come when it began.
    pub stage: Option<String>,
    /// When it began.
    pub begun: Wall,
    /// When it ended; `None` = it has not.
    pub ended: Option<Wall>,
    /// `ended`, `interrupted`, `lost` or `overdue`.
    pub how: Option<String>,
    /// With which fault.
    pub fault: Option<Fault>,
    /// Exit code of its process.
    pub code: Option<i32>,
    /// Signal that ended its process.
    pub signal: Option<i32>,
    /// What was wrong.
    pub text: Option<String>,
    /// Class of what was wrong.
    pub signature: Option<String>,
    /// Where it begins in the log.
    pub log: Option<String>,
    /// Processor time, in microseconds.
    pub cpu_us: Option<i64>,
    /// Largest memory, in KiB.
    pub peak_kib: Option<i64>,
    /// The item as it came back.
    pub output: Option<Vec<u8>>,
}

/// How many jobs of a queue are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which queue.
    pub queue: String,
    /// Which state, by name.
    pub state: String,
    /// Jobs.
    pub jobs: u64,
}

/// A dead item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Its number.
    pub id: DeadId,
    /// Where it came from.
    pub queue: String,
    /// From whom.
    pub owner: Option<u32>,
    /// The job it was, if it became one.
    pub job: Option<JobId>,
    /// What is wrong.
    pub fault: Fault,
    /// The same, for people.
    pub reason: String,
    /// Since when.
    pub at: Wall,
    /// How many bytes it has.
    pub size: u64,
    /// As it came.
    pub bytes: Vec<u8>,
}

/// Faults with the same cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Of which queue.
    pub queue: String,
    /// What is the same about them.
    pub signature: String,
    /// The last one's code.
    pub code: Fault,
    /// The last one's text.
    pub text: String,
    /// How many.
    pub count: u64,
    /// When the first was.
    pub first: Wall,
    /// When the last was.
    pub last: Wall,
    /// Who sees to it.
    pub owner: Option<String>,
    /// Where it is written down.
    pub bug: Option<String>,
}

/// What keeps a ready job from being taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it is next, or others are before it.
    Nothing,
    /// It is not ready at all.
    NotReady,
    /// Somebody has it at hand.
    Taken,
    /// Its delay.
    Delay,
    /// Its label is not active.
    Label,
    /// Its request is held, or has a fault.
    Request,
    /// What it depends on is not done.
    Dependency,
    /// A job that is its child has not stopped.
    Child,
    /// Somebody has its lock.
    Lock,
    /// Its item is large, and whoever takes from its queue has as many of those in hand as there is
    /// memory for.
    Room,
    /// Its message is with the other broker again, and whoever gets it there may be elsewhere.
    Broker,
    /// Whoever takes from its queue, to send its message to the other broker again.
    Sending,
}

/// What the numbers of the question stand for.
const REASONS: [Waiting; 12] = [
    Waiting::Nothing,
    Waiting::NotReady,
    Waiting::Taken,
    Waiting::Delay,
    Waiting::Label,
    Waiting::Request,
    Waiting::Dependency,
    Waiting::Child,
    Waiting::Lock,
    Waiting::Room,
    Waiting::Broker,
    Waiting::Sending,
];

const JOB: &str = "SELECT j.id, queue, iif(wfid = '', 'job-' || j.id, wfid), identity, state, fault, count, wary, holder, tries,
    owner, l.name, j.priority, stage, submitted_at, changed_at, due_at
    FROM job j JOIN label l ON l.id = j.label";

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    let held = row.get::<_, Option<i64>>(8)?.is_some();
    Ok(Job {
        id: JobId(row.get(0)?),
        queue: row.get(1)?,
        wfid: row.get(2)?,
        identity: row.get(3)?,
        subject: row_subject(row, 4, held)?,
        tries: row.get(9)?,
        owner: row.get(10)?,
        label: row.get(11)?,
        priority: row.get(12)?,
        stage: row.get(13)?,
        submitted: Wall(row.get(14)?),
        changed: Wall(row.get(15)?),
        due: row.get::<_, Option<i64>>(16)?.map(Wall),
    })
}

/// What is read of an attempt without its output, which may be long.
const ATTEMPT: &str = "a.number, a.instance, a.begun_at, a.ended_at, a.how, a.fault, a.code,
    a.signal, a.text, a.signature, a.log, a.cpu_us, a.peak_kib,
    (SELECT stage FROM stage WHERE attempt = a.id)";

fn attempt(row: &Row<'_>) -> rusqlite::Result<Attempt> {
    Ok(Attempt {
        number: row.get(0)?,
        instance: row.get(1)?,
        begun: Wall(row.get(2)?),
        ended: row.get::<_, Option<i64>>(3)?.map(Wall),
        how: row.get(4)?,
        fault: row.get::<_, Option<u16>>(5)?.map(Fault),
        code: row.get(6)?,
        signal: row.get(7)?,
        text: row.get(8)?,
        signature: row.get(9)?,
        log: row.get(10)?,
        cpu_us: row.get(11)?,
        peak_kib: row.get(12)?,
        stage: row.get(13)?,
        output: None,
    })
}

impl Reader {
    /// Opens a store for reading.
    ///
    /// # Errors
    /// [`Trouble`]: there is none, or it may not be read, or is no store that we know.
    pub fn open(place: &Place) -> Result<Self, Trouble> {
        let (conn, version) = open::reader(place)?;
        Ok(Self { conn, path: place.database(), version })
    }

    fn trouble(&self, error: &rusqlite::Error) -> Trouble {
        let is_unknown = matches!(
            error,
            rusqlite::Error::SqliteFailure(_, Some(what)) if what.starts_with("no such ")
        ) || matches!(error, rusqlite::Error::SqlInputError { .. });
        if self.version < schema::VERSION && is_unknown {
            return Trouble::Older { path: self.path.clone() };
        }
        Trouble::database(&self.path, error)
    }

    /// Looks at every page of the file; of a gigabyte, for seconds.
    ///
    /// # Errors
    /// [`Trouble::Damaged`], with what was found first.
    pub fn check(&self) -> Result<(), Trouble> {
        open::check_whole(&self.conn, &self.path)
    }

    fn all<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Trouble> {
        let rows = || -> rusqlite::Result<Vec<T>> {
            self.conn.prepare_cached(sql)?.query_map(params, read)?.collect()
        };
        rows().map_err(|error| self.trouble(&error))
    }

    fn first<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, Trouble> {
        let row = || self.conn.prepare_cached(sql)?.query_row(params, read).optional();
        row().map_err(|error| self.trouble(&error))
    }

    /// Returns a job.
    ///
    /// # Errors
    /// [`Trouble`], as all of these.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, Trouble> {
        self.first(&format!("{JOB} WHERE j.id = ?1"), [id.0], job)
    }

    /// Returns the jobs of a process, oldest first; the one job that goes by `job-NUMBER`, too.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn jobs_of(&self, wfid: &str) -> Result<Vec<Job>, Trouble> {
        let number = JobId::of_process(wfid).map(|job| job.0);
        let sql = format!("{JOB} WHERE wfid = ?1 OR wfid = '' AND j.id = ?2 ORDER BY j.id");
        self.all(&sql, rusqlite::params![Some(wfid).filter(|w| !w.is_empty()), number], job)
    }

    /// Returns the job that has exactly this name and is no answer; `wfid` is empty where its item names
    /// none.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn named(&self, queue: &str, wfid: &str, identity: &str) -> Result<Option<JobId>, Trouble> {
        let sql = if self.version < schema::KNOWS_ANSWERS {
            "SELECT id FROM job WHERE wfid = ?1 AND identity = ?2 AND queue = ?3"
        } else {
            "SELECT id FROM job WHERE wfid = ?1 AND identity = ?2 AND queue = ?3 AND answer_to = 0"
        };
        self.first(sql, [wfid, identity, queue], |row| row.get(0).map(JobId))
    }

    /// Returns the jobs of a queue that failed, and those that rest after a try in vain, oldest first.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn failed(&self, queue: &str) -> Result<Vec<Job>, Trouble> {
        let sql = format!(
            "{JOB} WHERE queue = ?1 AND (state = 'stop' AND fault >= 10
                AND fault NOT BETWEEN 900 AND 999 OR due IS NOT NULL AND tries > 0) ORDER BY j.id"
        );
        self.all(&sql, [queue], job)
    }

    /// Returns jobs, newest first: at most `at_most`, numbered below `before`. `queue`: of this one
    /// only.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn jobs(
        &self,
        queue: Option<&str>,
        before: Option<JobId>,
        at_most: u32,
    ) -> Result<Vec<Job>, Trouble> {
        let sql = format!(
            "{JOB} WHERE (?1 IS NULL OR queue = ?1) AND j.id < ?2 ORDER BY j.id DESC LIMIT ?3"
        );
        let before = before.map_or(i64::MAX, |id| id.0);
        self.all(&sql, rusqlite::params![queue, before, at_most], job)
    }

    /// Returns the item of a job, as it was submitted.
    ///
    /// # Errors
    /// [`Trouble`], also where it is not what was submitted.
    pub fn item(&self, id: JobId) -> Result<Option<Vec<u8>>, Trouble> {
        let sql = "SELECT sum, bytes FROM item WHERE job = ?1";
        let found = self.first(sql, [id.0], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)))?;
        let Some((sum, bytes)) = found else { return Ok(None) };
        self.whole(sum, &bytes, || format!("the item of job {}", id.0))?;
        Ok(Some(bytes))
    }

    fn whole(&self, sum: i64, bytes: &[u8], what: impl Fn() -> String) -> Result<(), Trouble> {
        if item::checksum(bytes) == sum {
            return Ok(());
        }
        Err(Trouble::Spoilt { path: self.path.clone(), what: what() })
    }

    /// Returns the attempts at a job, the first one first.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn attempts(&self, id: JobId) -> Result<Vec<Attempt>, Trouble> {
        let sql =
            format!("SELECT {ATTEMPT}, output, sum FROM attempt a WHERE job = ?1 ORDER BY id");
        let read = |row: &Row<'_>| {
            let attempt = Attempt { output: row.get(14)?, ..attempt(row)? };
            Ok((attempt, row.get::<_, Option<i64>>(15)?))
        };
        let found = self.all(&sql, [id.0], read)?;
        for (attempt, sum) in &found {
            if let (Some(output), Some(sum)) = (&attempt.output, sum) {
                let what = || format!("the answer of job {}, attempt {}", id.0, attempt.number);
                self.whole(*sum, output, what)?;
            }
        }
        Ok(found.into_iter().map(|(attempt, _)| attempt).collect())
    }

    /// Returns how many jobs there are, by queue and state.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn counts(&self) -> Result<Vec<Count>, Trouble> {
        let sql = "SELECT queue, state, count(*) FROM job GROUP BY 1, 2 ORDER BY 1, 2";
        let read = |row: &Row<'_>| {
            let (queue, state, jobs) = (row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?);
            Ok(Count { queue, state, jobs: jobs.unsigned_abs() })
        };
        self.all(sql, [], read)
    }

    /// Tells whether a job of a queue is ready and its time has come; by an index, however many jobs
    /// there are.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn has_ready(&self, queue: &str) -> Result<bool, Trouble> {
        let sql = "SELECT 1 FROM job
            WHERE queue = ?1 AND state = 'ready' AND holder IS NULL AND due IS NULL LIMIT 1";
        Ok(self.first(sql, [queue], |_| Ok(()))?.is_some())
    }

    /// Returns the classes of faults, the one that was last first.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn classes(&self) -> Result<Vec<Class>, Trouble> {
        let sql = "SELECT queue, signature, code, text, count, first_at, last_at, owner, bug
            FROM fault ORDER BY last_at DESC, queue, signature";
        self.all(sql, [], |row| {
            Ok(Class {
                queue: row.get(0)?,
                signature: row.get(1)?,
                code: Fault(row.get(2)?),
                text: row.get(3)?,
                count: row.get::<_, i64>(4)?.unsigned_abs(),
                first: Wall(row.get(5)?),
                last: Wall(row.get(6)?),
                owner: row.get(7)?,
                bug: row.get(8)?,
            })
        })
    }

    /// Returns how a request stands.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn request(&self, name: &str) -> Result<Option<Subject>, Trouble> {
        let sql = "SELECT state, fault, count, 0 FROM request WHERE name = ?1";
        self.first(sql, [name], |row| row_subject(row, 0, false))
    }

    /// Returns who has a lock: somebody's name, or `job NUMBER`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn lock_holder(&self, name: &str) -> Result<Option<String>, Trouble> {
        let sql = "SELECT coalesce(holder, 'job ' || job) FROM lock WHERE name = ?1";
        self.first(sql, [name], |row| row.get(0))
    }

    /// Returns what keeps a job from being taken, in the order in which that is looked at.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn why_waiting(&self, id: JobId) -> Result<Option<Waiting>, Trouble> {
        let is_away = queues::away(&self.conn).map_err(|error| self.trouble(&error))?;
        let is_unsent = queues::unsent(&self.conn).map_err(|error| self.trouble(&error))?;
        let sql = format!(
            "SELECT CASE
            WHEN state <> 'ready' THEN 1
            WHEN holder IS NOT NULL THEN 2
            WHEN {is_away} THEN 10
            WHEN {is_unsent} THEN 11
            WHEN due IS NOT NULL THEN 3
            WHEN NOT EXISTS (SELECT 1 FROM label WHERE id = j.label AND active = 1) THEN 4
            WHEN request IS NOT NULL AND NOT EXISTS (SELECT 1 FROM request r
                WHERE r.id = j.request AND r.fault = 0 AND r.state IN ('ready', 'run')) THEN 5
            WHEN dependency IS NOT NULL AND NOT EXISTS (SELECT 1 FROM dependency d
                WHERE d.id = j.dependency AND d.fault = 0 AND d.state = 'stop') THEN 6
            WHEN EXISTS (SELECT 1 FROM job c WHERE c.parent = j.id AND c.state <> 'stop') THEN 7
            WHEN EXISTS (SELECT 1 FROM lock WHERE name = j.key) THEN 8
            WHEN bytes > ?2 AND EXISTS (SELECT 1 FROM taker WHERE queue = j.queue)
                AND NOT EXISTS (SELECT 1 FROM taker t WHERE t.queue = j.queue AND
                    (SELECT count(*) = 0 OR sum(length(bytes)) + j.bytes <= ?3
                    FROM job h JOIN item ON item.job = h.id
                    WHERE holder = t.id AND length(bytes) > ?2)) THEN 9
            ELSE 0 END
            FROM (SELECT *, (SELECT length(bytes) FROM item WHERE job = job.id) bytes FROM job) j
            WHERE id = ?1"
        );
        let params = rusqlite::params![id.0, SMALL, TOGETHER];
        let found = self.first(&sql, params, |row| row.get::<_, u8>(0))?;
        Ok(found.and_then(|n| REASONS.get(usize::from(n)).copied()))
    }
}
