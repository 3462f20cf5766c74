//! Who waits for a key: a line for each label of a queue.
//!
//! A key that is locked may keep any number of jobs waiting, and what looks for the next one is not to walk
//! past all of them. So of those that could be taken of a key, a label and a queue the first in their order
//! is in front, and all others are marked as behind it, which the index of ready jobs has first. Who takes
//! looks along the fronts. A front is in its place whether it may be taken or not; where it may not, for
//! another reason than its lock, somebody behind it may.

use super::JobId;
use super::tx::{Stop, Tx};
use rusqlite::{Row, params};

/// Where a job stands in line.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) queue: &'a str,
    pub(super) label: i64,
    /// Nobody waits for what has none.
    pub(super) key: Option<&'a str>,
}

/// The first two of a line.
const FRONT: &str = "SELECT id, behind FROM job WHERE key = ?1 AND queue = ?2 AND label = ?3
    AND state = 'ready' AND due IS NULL AND holder IS NULL ORDER BY priority DESC, id LIMIT 2";

/// A job that stands in a line.
const STANDS: &str = "SELECT id, behind FROM job
    WHERE id = ?1 AND state = 'ready' AND due IS NULL AND holder IS NULL";

/// All lines of a queue, as they are to be. What stands right is not written.
const ALL: &str = "UPDATE job SET behind = line.behind FROM (
        SELECT id, nullif(1, 1 = row_number() OVER (PARTITION BY key, label ORDER BY priority DESC, id))
            AS behind
        FROM job WHERE queue = ?1 AND key IS NOT NULL
            AND state = 'ready' AND due IS NULL AND holder IS NULL) AS line
    WHERE job.id = line.id AND job.behind IS NOT line.behind";

impl Tx<'_> {
    /// Puts a queue's lines right: an exo of before lines that had the store open while a newer one changed
    /// its layout goes on without knowing of them.
    pub(super) fn line_all_up(&self, queue: &str) -> Result<(), Stop> {
        self.execute(ALL, [queue])?;
        Ok(())
    }

    /// One job has come into a line, or left it, or has another place there; all others stand as before.
    /// So at most it, who was in front and who is now stand otherwise.
    pub(super) fn line_up(&self, job: JobId, line: Line<'_>) -> Result<(), Stop> {
        let Some(key) = line.key else { return Ok(()) };
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?));
        let mut stand = self.all(FRONT, params![key, line.queue, line.label], read)?;
        let front = stand.first().map(|(id, _)| *id);
        if !stand.iter().any(|(id, _)| *id == job.0) {
            stand.extend(self.first(STANDS, [job.0], read)?);
        }
        for (id, behind) in stand {
            let is_to_be = (front != Some(id)).then_some(1);
            if behind != is_to_be {
                self.execute("UPDATE job SET behind = ?2 WHERE id = ?1", params![id, is_to_be])?;
            }
        }
        Ok(())
    }
}
