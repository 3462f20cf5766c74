//! What whoever is told of trouble wants to know.

use super::Reader;
use crate::change::{DeadId, JobId};
use crate::clock::Wall;
use crate::trouble::Trouble;
use machine::work::Fault;

/// Attempts that are looked through, newest first.
const NEWEST: i64 = 10_000;

/// Between the end of an attempt and the death that is its reason, in microseconds.
const MOMENT: i64 = 1_000_000;

/// A dead item, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutAway {
    /// Its number.
    pub id: DeadId,
    /// Where it came from.
    pub queue: String,
    /// The job it was, if it became one.
    pub job: Option<JobId>,
    /// Process that it belongs to, where it became a job.
    pub wfid: Option<String>,
    /// What is wrong.
    pub fault: Fault,
    /// The same, for people.
    pub reason: String,
    /// Class of its last fault, where an attempt has one.
    pub signature: Option<String>,
    /// Since when.
    pub at: Wall,
}

/// An attempt that has not ended, or that was not brought to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its job.
    pub job: JobId,
    /// Process that it belongs to; `job-NUMBER` where its item names none.
    pub wfid: String,
    /// From 1.
    pub attempt: u32,
    /// Which instance.
    pub instance: String,
    /// When it began.
    pub begun: Wall,
}

impl Reader {
    /// Returns the number of the last dead item; 0 where there was none yet.
    ///
    /// # Errors
    /// [`Trouble`], as all of these.
    pub fn last_dead(&self) -> Result<DeadId, Trouble> {
        // Numbers are not given twice, also where the last ones are removed.
        let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'dead'), 0)";
        Ok(self.first(sql, [], |row| row.get(0))?.map_or(DeadId(0), DeadId))
    }

    /// Returns the dead items behind `after`, oldest first, at most `at_most`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn dead_after(&self, after: DeadId, at_most: u32) -> Result<Vec<PutAway>, Trouble> {
        let sql = "SELECT d.id, d.queue, d.job, d.fault, d.reason, d.at,
            (SELECT iif(wfid = '', 'job-' || id, wfid) FROM job WHERE id = d.job),
            (SELECT signature FROM attempt WHERE job = d.job ORDER BY id DESC LIMIT 1)
            FROM dead d WHERE d.id > ?1 ORDER BY d.id LIMIT ?2";
        self.all(sql, rusqlite::params![after.0, at_most], |row| {
            Ok(PutAway {
                id: DeadId(row.get(0)?),
                queue: row.get(1)?,
                job: row.get::<_, Option<i64>>(2)?.map(JobId),
                fault: Fault(row.get(3)?),
                reason: row.get(4)?,
                at: Wall(row.get(5)?),
                wfid: row.get(6)?,
                signature: row.get(7)?,
            })
        })
    }

    /// Returns what was in hand of a queue at `when`, as far as nobody brought it to its end, newest
    /// first, at most `at_most`. Whoever dies together with it may have given it back a moment before.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn held(&self, queue: &str, when: Wall, at_most: u32) -> Result<Vec<Held>, Trouble> {
        let sql = "SELECT j.id, iif(wfid = '', 'job-' || j.id, wfid), a.number, a.instance,
            a.begun_at FROM attempt a JOIN job j ON j.id = a.job
            WHERE a.id > (SELECT coalesce(max(id), 0) FROM attempt) - ?4 AND j.queue = ?1
                AND a.begun_at <= ?2
                AND (a.ended_at IS NULL OR a.ended_at >= ?2 - ?5 AND how <> 'ended')
            ORDER BY a.id DESC LIMIT ?3";
        self.all(sql, rusqlite::params![queue, when.0, at_most, NEWEST, MOMENT], |row| {
            Ok(Held {
                job: JobId(row.get(0)?),
                wfid: row.get(1)?,
                attempt: row.get(2)?,
                instance: row.get(3)?,
                begun: Wall(row.get(4)?),
            })
        })
    }
}
