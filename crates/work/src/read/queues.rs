//! How queues stand: what waits in them, for how long, and what went wrong last.

use super::Reader;
use crate::change::JobId;
use crate::clock::Wall;
use crate::trouble::Trouble;
use machine::work::Fault;
use rusqlite::{Connection, OptionalExtension, params};

/// A queue at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Jobs that are ready to be taken; counted as far as was asked. Not those of another broker that
    /// has their messages again: they may be done elsewhere.
    pub waiting: u64,
    /// Jobs that wait for their time, after a fault for one; counted likewise.
    pub later: u64,
    /// The oldest of those that are ready.
    pub oldest: Option<Oldest>,
}

/// The job that has waited longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oldest {
    /// Its number.
    pub job: JobId,
    /// Its process.
    pub wfid: String,
    /// Since when.
    pub submitted: Wall,
}

/// An attempt that ended otherwise than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// At which job.
    pub job: JobId,
    /// Of which process.
    pub wfid: String,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// By which instance.
    pub instance: String,
    /// When it ended.
    pub ended: Wall,
    /// With which fault.
    pub fault: Option<Fault>,
    /// Exit code of its process.
    pub code: Option<i32>,
    /// Signal that ended its process.
    pub signal: Option<i32>,
    /// What was wrong.
    pub text: Option<String>,
}

/// What the index of ready jobs has.
const READY: &str = "queue = ?1 AND state = 'ready' AND holder IS NULL AND due IS NULL";

/// Returns when a ready job `j` that nobody has in hand is the other broker's to give: nobody here
/// rests it. In a store of before nothing is known of that.
pub(super) fn away(conn: &Connection) -> rusqlite::Result<&'static str> {
    Ok(if is_known(conn, "again")? {
        "(EXISTS (SELECT 1 FROM owed WHERE owed.job = j.id)
            AND NOT EXISTS (SELECT 1 FROM again WHERE again.job = j.id AND has_message = 0)
            AND (due_at IS NULL OR due_at < unixepoch('subsec') * 1000000))"
    } else if is_known(conn, "owed")? {
        "(EXISTS (SELECT 1 FROM owed WHERE owed.job = j.id)
            AND (due_at IS NULL OR due_at < unixepoch('subsec') * 1000000))"
    } else {
        "0"
    })
}

/// Returns when a ready job `j` is to be sent to the other broker first.
pub(super) fn unsent(conn: &Connection) -> rusqlite::Result<&'static str> {
    Ok(if is_known(conn, "again")? {
        "EXISTS (SELECT 1 FROM again WHERE again.job = j.id)"
    } else {
        "0"
    })
}

fn is_known(conn: &Connection, table: &str) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1")?.exists([table])
}

/// Attempts among which the last failures are looked for.
const RECENT: u32 = 2000;

impl Reader {
    /// Returns how queues stand, all of them at the same moment, in the order of their names here. Each
    /// is found by an index; no more than `at_most` jobs of it are counted.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn standings(&self, names: &[&str], at_most: u64) -> Result<Vec<Queue>, Trouble> {
        let read = || -> rusqlite::Result<Vec<Queue>> {
            // One look at the file for all: each would take its locks.
            let moment = self.conn.unchecked_transaction()?;
            let at_most = i64::try_from(at_most).unwrap_or(i64::MAX);
            names.iter().map(|name| queue(&moment, name, at_most)).collect()
        };
        read().map_err(|error| Trouble::database(&self.path, &error))
    }

    /// Returns how many dead items came from a queue.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn dead_of(&self, queue: &str) -> Result<u64, Trouble> {
        let sql = "SELECT count(*) FROM dead WHERE queue = ?1";
        let count = self.first(sql, [queue], |row| row.get::<_, i64>(0))?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    /// Returns the last attempts of a queue that ended otherwise than they should, the last one first,
    /// at most `at_most`. Only the newest attempts of all queues are looked through.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn last_failures(&self, queue: &str, at_most: u32) -> Result<Vec<Failure>, Trouble> {
        let sql = "SELECT a.job, iif(wfid = '', 'job-' || j.id, wfid), a.number, a.instance,
            a.ended_at, a.fault, a.code, a.signal, a.text
            FROM (SELECT * FROM attempt ORDER BY id DESC LIMIT ?3) a JOIN job j ON j.id = a.job
            WHERE j.queue = ?1 AND a.ended_at IS NOT NULL AND a.how <> 'interrupted'
                AND coalesce(a.fault, 1) <> 0
            ORDER BY a.id DESC LIMIT ?2";
        self.all(sql, params![queue, at_most, RECENT], |row| {
            Ok(Failure {
                job: JobId(row.get(0)?),
                wfid: row.get(1)?,
                attempt: row.get(2)?,
                instance: row.get(3)?,
                ended: Wall(row.get(4)?),
                fault: row.get::<_, Option<u16>>(5)?.map(Fault),
                code: row.get(6)?,
                signal: row.get(7)?,
                text: row.get(8)?,
            })
        })
    }
}

fn queue(conn: &Connection, name: &str, at_most: i64) -> rusqlite::Result<Queue> {
    let is_away = away(conn)?;
    let count = |what: &str| -> rusqlite::Result<u64> {
        let of = format!("SELECT 1 FROM job j WHERE {what} AND NOT {is_away} LIMIT ?2");
        let sql = format!("SELECT count(*) FROM ({of})");
        let mut statement = conn.prepare_cached(&sql)?;
        statement
            .query_row(params![name, at_most], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    Ok(Queue {
        waiting: count(READY)?,
        later: count("queue = ?1 AND due IS NOT NULL")?,
        oldest: oldest(conn, name, is_away)?,
    })
}

/// A job of the index, and where it stands there: label, whether it is behind another of its key,
/// priority, number.
type Place = (i64, Option<i64>, i64, i64);

/// Tells whether who waits for a key stands in line. In a store of before nobody does.
fn has_lines(conn: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM pragma_table_info('job') WHERE name = 'behind'";
    conn.prepare_cached(sql)?.exists([])
}

/// Finds the oldest job that is ready: the index has them by label, place in line and priority, of which
/// there are few, so it is the oldest of those that stand first for each of these.
fn oldest(conn: &Connection, queue: &str, is_away: &str) -> rusqlite::Result<Option<Oldest>> {
    let has_lines = has_lines(conn)?;
    let (behind, by) = if has_lines { ("behind", "behind, ") } else { ("NULL", "") };
    let first = |and: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<Option<Place>> {
        let sql = format!(
            "SELECT label, {behind}, priority, id FROM job j WHERE {READY} AND NOT {is_away} {and}
                ORDER BY label, {by}priority DESC, id LIMIT 1"
        );
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        conn.prepare_cached(&sql)?.query_row(values, read).optional()
    };
    let of_label = "AND label = ?2";
    let mut at = first("", &[&queue])?;
    let mut least: Option<i64> = None;
    while let Some((label, place, priority, id)) = at {
        least = Some(least.map_or(id, |least| least.min(id)));
        let lower = match (has_lines, place) {
            (false, _) => "AND priority < ?3",
            (true, None) => "AND behind IS NULL AND priority < ?3",
            (true, Some(_)) => "AND behind = 1 AND priority < ?3",
        };
        at = first(&format!("{of_label} {lower}"), &[&queue, &label, &priority])?;
        if at.is_none() && has_lines && place.is_none() {
            at = first(&format!("{of_label} AND behind = 1"), &[&queue, &label])?;
        }
        if at.is_none() {
            at = first("AND label > ?2", &[&queue, &label])?;
        }
    }
    let Some(id) = least else { return Ok(None) };
    let sql = "SELECT id, iif(wfid = '', 'job-' || id, wfid), submitted_at FROM job WHERE id = ?1";
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Oldest { job: JobId(row.get(0)?), wfid: row.get(1)?, submitted: Wall(row.get(2)?) })
    };
    conn.prepare_cached(sql)?.query_row([id], read).optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{MIGRATIONS, migrate};

    fn store(steps: &[&str]) -> Connection {
        let mut conn = Connection::open_in_memory().unwrap();
        migrate(&mut conn, steps).unwrap();
        conn.execute_batch("INSERT INTO label VALUES (2, 'x', 0, 1, 1), (3, 'y', 9, 1, 1)")
            .unwrap();
        conn
    }

    fn put(conn: &Connection, queue: &str, label: u32, priority: i32, due: Option<i64>) -> i64 {
        let sql = "INSERT INTO job (queue, wfid, identity, label, priority, state, fault, count,
            wary, due, due_at, lease, tries, answered, submitted_at, changed_at)
            VALUES (?1, '', ?2, ?3, ?4, 'ready', 0, 0, 0, ?5, ?5, 0, 0, 0, ?6, 0)";
        let id = conn.last_insert_rowid() + 1;
        conn.execute(sql, params![queue, id.to_string(), label, priority, due, id * 10]).unwrap();
        conn.last_insert_rowid()
    }

    #[test]
    fn the_oldest_is_found_whatever_its_label_priority_and_place_in_line() {
        let found = |steps: &[&str], and: &str| {
            let conn = store(steps);
            assert_eq!(queue(&conn, "q", 9).unwrap(), Queue::default());
            put(&conn, "other", 1, 0, None);
            put(&conn, "q", 1, 0, Some(5));
            let places = [(2, 0), (3, -7), (1, 5), (1, 0), (1, -1), (3, 9), (2, 8)];
            let put = |(label, priority)| put(&conn, "q", label, priority, None);
            let ids: Vec<i64> = places.into_iter().cycle().take(14).map(put).collect();
            conn.execute_batch(and).unwrap();
            finds_each(&conn, &ids);
        };
        found(&MIGRATIONS[..11], "");
        found(MIGRATIONS, "");
        for every in 1..6 {
            let behind =
                format!("UPDATE job SET behind = 1 WHERE due IS NULL AND id % {every} = 0");
            found(MIGRATIONS, &behind);
        }
    }

    fn finds_each(conn: &Connection, ids: &[i64]) {
        let id_only = |conn: &Connection| {
            oldest(conn, "q", away(conn).unwrap()).unwrap().map(|oldest| oldest.job.0)
        };
        for (i, id) in ids.iter().enumerate() {
            assert_eq!(id_only(conn), Some(*id));
            let found = queue(conn, "q", 4).unwrap();
            assert_eq!((found.waiting, found.later), ((ids.len() - i).min(4) as u64, 1));
            assert_eq!(found.oldest.unwrap().submitted, Wall(id * 10));
            conn.execute("DELETE FROM job WHERE id = ?1", [id]).unwrap();
        }
        assert_eq!(id_only(conn), None);
    }

    #[test]
    fn a_queue_is_looked_at_by_index() {
        let conn = store(MIGRATIONS);
        for what in [
            format!("SELECT 1 FROM job WHERE {READY} LIMIT 9"),
            "SELECT 1 FROM job WHERE queue = ?1 AND due IS NOT NULL LIMIT 9".into(),
            format!(
                "SELECT id FROM job WHERE {READY} AND label = 2 AND behind = 1 AND priority < 3
                    ORDER BY label, behind, priority DESC, id LIMIT 1"
            ),
            format!(
                "SELECT id FROM job WHERE {READY} AND label = 2 AND behind IS NULL AND priority < 3
                    ORDER BY label, behind, priority DESC, id LIMIT 1"
            ),
            format!(
                "SELECT id FROM job WHERE {READY} AND label > 2
                    ORDER BY label, behind, priority DESC, id LIMIT 1"
            ),
        ] {
            let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {what}")).unwrap();
            let mut steps = plan.raw_query();
            while let Some(step) = steps.next().unwrap() {
                let step: String = step.get(3).unwrap();
                // SQLite may look at the row as well for what the index says by its condition.
                let is_found =
                    ["SEARCH job USING INDEX job_", "SEARCH job USING COVERING INDEX job_"]
                        .iter()
                        .any(|way| step.starts_with(way));
                assert!(is_found, "{step}: {what}");
            }
        }
    }
}
