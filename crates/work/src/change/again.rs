//! What another broker is to be sent again: jobs that were requeued, whose message it has no more.
//!
//! Whoever requeues may be any process of the machine, so that what is to be sent is kept in the commit of
//! the requeue, until whoever takes from the queue has sent it and that is confirmed.

use super::tx::{Stop, Tx};
use super::{Applied, JobId, Refused};
use crate::clock::Wall;
use rusqlite::params;

/// So many are read at once, of either kind: more than are on their way together, or rest. What is
/// recorded as sent has the next ones read.
const AT_ONCE: u32 = 4096;

/// A job that is to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Again {
    /// Number of this requeue. Never given to another: a confirm is for one of them alone.
    pub(crate) number: i64,
    /// Which job.
    pub(crate) job: JobId,
    /// Its name.
    pub(crate) wfid: String,
    /// The rest of it.
    pub(crate) identity: String,
    /// When it was requeued: a job that is ready has not changed since then.
    pub(crate) at: Wall,
    /// Its message was never settled: it is only to be worked on at once, by whoever has that.
    pub(crate) has_message: bool,
}

impl Tx<'_> {
    /// Keeps how whoever takes from a queue gets its items. Where that is from here, nothing of the queue
    /// is to be sent anywhere.
    pub(super) fn set_remote(&self, queue: &str, is_remote: bool) -> Result<(), Stop> {
        if is_remote {
            self.execute("INSERT OR IGNORE INTO remote (queue) VALUES (?1)", [queue])?;
            return Ok(());
        }
        self.execute("DELETE FROM remote WHERE queue = ?1", [queue])?;
        let sql = "DELETE FROM again WHERE (SELECT queue FROM job WHERE id = again.job) = ?1";
        self.execute(sql, [queue])?;
        Ok(())
    }

    /// Tells whether the items of a queue come from another broker.
    pub(super) fn is_remote(&self, queue: &str) -> Result<bool, Stop> {
        let sql = "SELECT 1 FROM remote WHERE queue = ?1";
        Ok(self.first(sql, [queue], |_| Ok(()))?.is_some())
    }

    /// A job is ready again by hand: where it came from another broker, that is to be told.
    pub(super) fn send_later(
        &mut self,
        (job, queue): (JobId, &str),
        has_message: bool,
    ) -> Result<(), Stop> {
        if !self.is_remote(queue)? {
            return Ok(());
        }
        if !has_message && !self.stored(job)?.is_whole {
            return Err(Refused::Senseless("what is left of it is damaged").into());
        }
        let sql = "INSERT OR REPLACE INTO again (job, has_message) VALUES (?1, ?2)";
        self.execute(sql, params![job.0, has_message])?;
        Ok(())
    }

    /// The message of a job is here.
    pub(super) fn came_again(&self, job: JobId) -> Result<(), Stop> {
        self.execute("DELETE FROM again WHERE job = ?1", [job.0])?;
        Ok(())
    }

    /// The other broker has a message of it for sure.
    pub(super) fn sent_again(&self, number: i64) -> Result<Applied, Stop> {
        let sql = "INSERT OR IGNORE INTO owed (job) SELECT job FROM again WHERE id = ?1";
        self.execute(sql, [number])?;
        self.execute("DELETE FROM again WHERE id = ?1", [number])?;
        Ok(Applied::Done)
    }

    /// Returns what of a queue is to be sent again, some of it, in the order in which it was asked for.
    pub(crate) fn unsent(&self, queue: &str) -> Result<Vec<Again>, Stop> {
        let sql = "SELECT a.id, a.job, j.wfid, j.identity, j.changed_at FROM again a JOIN job j ON j.id = a.job
            WHERE j.queue = ?1 AND j.state = 'ready' AND j.holder IS NULL AND a.has_message = ?2
            ORDER BY a.id LIMIT ?3";
        let mut unsent = Vec::new();
        for has_message in [true, false] {
            unsent.extend(self.all(sql, params![queue, has_message, AT_ONCE], |row| {
                let (number, job) = (row.get(0)?, JobId(row.get(1)?));
                let (wfid, identity, at) = (row.get(2)?, row.get(3)?, Wall(row.get(4)?));
                Ok(Again { number, job, wfid, identity, at, has_message })
            })?);
        }
        Ok(unsent)
    }
}
