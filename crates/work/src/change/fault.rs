//! Classes of faults, and dead items.

use super::blob;
use super::tx::{Stop, Tx};
use super::{Applied, DeadId, Ended, JobId, Refused};
use crate::clock::Wall;
use crate::item;
use machine::work::Fault;
use rusqlite::params;

/// Most classes of faults of a queue: from then on, new ones are of the class [`OTHER`].
const CLASSES: u32 = 1000;
const OTHER: &str = "other";

/// Most dead items of one owner that never were a job: whoever drops what is no item fills nothing.
const STRAYS: u32 = 1000;

const DAY_US: i64 = 86_400_000_000;

/// Returns what is the same about faults of a class. One without a signature is of the class of its
/// code.
pub(super) fn signature(ended: &Ended) -> String {
    let of_code = || format!("fault {}", ended.fault.0);
    ended.signature.clone().unwrap_or_else(of_code)
}

impl Tx<'_> {
    /// Counts a fault in its class, which is from the end of the first of its attempts to that of the
    /// last.
    pub(super) fn note_fault(&mut self, queue: &str, ended: &Ended) -> Result<(), Stop> {
        let Wall(at) = ended.at(self.now.wall);
        let signature = self.class(queue, signature(ended))?;
        let text = ended.text.as_deref().unwrap_or("");
        self.execute(
            "INSERT INTO fault (queue, signature, code, text, count, first_at, last_at)
                VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT (queue, signature) DO UPDATE
                SET count = count + 1, first_at = min(first_at, ?5), last_at = max(last_at, ?5),
                text = ?4, code = ?3",
            params![queue, signature, ended.fault.0, text, at],
        )?;
        self.execute(
            "INSERT INTO fault_day (queue, signature, day, count) VALUES (?1, ?2, ?3, 1)
                ON CONFLICT (queue, signature, day) DO UPDATE SET count = count + 1",
            params![queue, signature, at.div_euclid(DAY_US)],
        )?;
        Ok(())
    }

    /// Returns the class that a signature is of. Whoever makes a new one up each time fills nothing.
    fn class(&self, queue: &str, signature: String) -> Result<String, Stop> {
        let known = "SELECT 1 FROM fault WHERE queue = ?1 AND signature = ?2";
        if self.first(known, [queue, &signature], |_| Ok(()))?.is_some() {
            return Ok(signature);
        }
        let count = "SELECT count(*) FROM fault WHERE queue = ?1";
        let count: u32 = self.first(count, [queue], |row| row.get(0))?.unwrap_or_default();
        Ok(if count < CLASSES { signature } else { OTHER.to_owned() })
    }

    pub(super) fn blame(
        &mut self,
        class: [&String; 2],
        owner: Option<&str>,
        bug: Option<&str>,
    ) -> Result<Applied, Stop> {
        let sql = "UPDATE fault SET owner = iif(?3 IS NULL, owner, nullif(?3, '')),
            bug = iif(?4 IS NULL, bug, nullif(?4, '')) WHERE queue = ?1 AND signature = ?2";
        if self.execute(sql, params![class[0], class[1], owner, bug])? == 0 {
            return Err(Refused::Absent("class of faults").into());
        }
        Ok(Applied::Done)
    }

    pub(super) fn bury(
        &mut self,
        queue: &str,
        owner: Option<u32>,
        job: Option<JobId>,
        fault: Fault,
        reason: &str,
        bytes: &[u8],
    ) -> Result<Applied, Stop> {
        self.execute(
            "INSERT INTO dead (queue, owner, job, fault, reason, at, sum, bytes)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                queue,
                owner,
                job.map(|job| job.0),
                fault.0,
                reason,
                self.now.wall.0,
                item::checksum(bytes),
                blob::room(bytes)?
            ],
        )?;
        let dead = DeadId(self.conn.last_insert_rowid());
        self.fill(blob::DEAD, dead.0, bytes)?;
        let gone = if job.is_none() { self.make_room(owner)? } else { 0 };
        Ok(Applied::Buried { dead, gone })
    }

    /// Removes the oldest dead items of an owner that never were a job, where there are too many.
    fn make_room(&self, owner: Option<u32>) -> Result<usize, Stop> {
        let gone = self.execute(
            "DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE job IS NULL AND owner IS ?1
                ORDER BY id DESC LIMIT -1 OFFSET ?2)",
            params![owner, STRAYS],
        )?;
        Ok(gone)
    }

    /// Removes dead items from before a moment that never were a job, some of them. Tells how many.
    pub(super) fn clean_strays(&self, before: Wall, at_most: u32) -> Result<usize, Stop> {
        let gone = self.execute(
            "DELETE FROM dead WHERE id IN
                (SELECT id FROM dead WHERE job IS NULL AND at < ?1 LIMIT ?2)",
            params![before.0, at_most],
        )?;
        Ok(gone)
    }

    pub(super) fn exhume(&mut self, dead: DeadId) -> Result<Applied, Stop> {
        if self.execute("DELETE FROM dead WHERE id = ?1", [dead.0])? == 0 {
            return Err(Refused::Absent("dead item").into());
        }
        Ok(Applied::Done)
    }

    /// Removes classes of faults whose last one was before a moment, the days before it, what was
    /// asked for before it, rules that had ended by then, and labels that are nobody's.
    pub(super) fn clean_classes(&self, before: Wall) -> Result<(), Stop> {
        self.execute("DELETE FROM fault WHERE last_at < ?1", [before.0])?;
        let days = "DELETE FROM fault_day WHERE day < ?1";
        self.execute(days, [before.0.div_euclid(DAY_US)])?;
        self.execute("DELETE FROM act WHERE at < ?1", [before.0])?;
        self.execute("DELETE FROM rule WHERE until_at < ?1", [before.0])?;
        self.forget_empty_labels()
    }
}
