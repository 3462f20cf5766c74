//! What has been: attempts that have ended and jobs that have stopped, queue by queue and in the order
//! of their ends, however many there are. Nothing here collects: a row is read, told, and forgotten.

use super::{ATTEMPT, Attempt, Class, Reader, attempt};
use crate::change::JobId;
use crate::clock::Wall;
use crate::trouble::Trouble;
use machine::work::Fault;
use rusqlite::{Params, Row, params};

/// From when to when: the first moment is in it, the last one is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first moment.
    pub since: Wall,
    /// The first one after it.
    pub until: Wall,
}

impl Span {
    /// Everything.
    pub const ALL: Self = Self { since: Wall(i64::MIN), until: Wall(i64::MAX) };
}

/// An attempt that has ended, as much of it as sums need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// When it began.
    pub begun: Wall,
    /// When it ended.
    pub ended: Wall,
    /// With which fault.
    pub fault: Fault,
    /// `ended`, `interrupted`, `lost` or `overdue`.
    pub how: &'a str,
    /// Class of what was wrong.
    pub signature: Option<&'a str>,
}

/// An attempt with what it was at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of which queue.
    pub queue: String,
    /// At which job.
    pub job: JobId,
    /// Process the job belongs to.
    pub wfid: String,
    /// The rest of the job's name.
    pub identity: String,
    /// Who submitted the job.
    pub owner: Option<u32>,
    /// The attempt, without its output.
    pub attempt: Attempt,
}

/// A place among the attempts of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(i64, i64);

/// Some attempts of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// In the order of their ends.
    pub entries: Vec<Entry>,
    /// Where to go on; `None` = that was all.
    pub last: Option<Mark>,
}

pub(super) const ATTEMPTS: &str = "SELECT begun_at, ended_at, fault, how, signature FROM attempt
    WHERE queue = ?1 AND ended_at >= ?2 AND ended_at < ?3 ORDER BY ended_at";

pub(super) const JOBS: &str = "SELECT changed_at, fault FROM job
    WHERE queue = ?1 AND state = 'stop' AND changed_at >= ?2 AND changed_at < ?3
    ORDER BY changed_at";

/// Numbers of attempts: the next after one, in the order of their ends.
pub(super) const NEXT: &str = "SELECT id, ended_at FROM attempt
    WHERE queue = ?1 AND (ended_at, id) > (?2, ?3) AND ended_at < ?4
    ORDER BY ended_at, id LIMIT ?5";

/// Numbers of the last attempts whose fault is of a class. What had no signature is of the class of
/// its code, and what came when there were too many classes of that called `other`.
pub(super) const OF_CLASS: &str = "SELECT id FROM attempt a
    WHERE queue = ?1 AND ended_at >= ?2 AND ended_at <= ?3 AND fault <> 0
        AND (coalesce(signature, 'fault ' || a.fault) = ?4
            OR ?4 = 'other' AND NOT EXISTS (SELECT 1 FROM fault f
                WHERE f.queue = a.queue AND f.signature = coalesce(a.signature, '')))
    ORDER BY ended_at DESC, id DESC LIMIT ?5";

/// The next queue after one, in each index that begins with it.
pub(super) const QUEUES: [&str; 4] = [
    "SELECT min(queue) FROM attempt WHERE ended_at IS NOT NULL AND queue > ?1",
    "SELECT min(queue) FROM job WHERE state = 'stop' AND queue > ?1",
    "SELECT min(queue) FROM job
        WHERE state = 'ready' AND holder IS NULL AND due IS NULL AND queue > ?1",
    "SELECT min(queue) FROM job WHERE due IS NOT NULL AND queue > ?1",
];

pub(super) const HELD_QUEUES: &str = "SELECT DISTINCT queue FROM job WHERE holder IS NOT NULL";

pub(super) fn entry_sql() -> String {
    format!(
        "SELECT {ATTEMPT}, j.queue, j.id, iif(wfid = '', 'job-' || j.id, wfid), identity, owner
            FROM attempt a JOIN job j ON j.id = a.job WHERE a.id = ?1"
    )
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry {
        attempt: attempt(row)?,
        queue: row.get(14)?,
        job: JobId(row.get(15)?),
        wfid: row.get(16)?,
        identity: row.get(17)?,
        owner: row.get(18)?,
    })
}

impl Reader {
    fn each(
        &self,
        sql: &str,
        params: impl Params,
        mut tell: impl FnMut(&Row<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Trouble> {
        let rows = || -> rusqlite::Result<()> {
            let mut statement = self.conn.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            while let Some(row) = rows.next()? {
                tell(row)?;
            }
            Ok(())
        };
        rows().map_err(|error| self.trouble(&error))
    }

    /// Returns the queues that have, or had, a job, in the order of their names.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn queues(&self) -> Result<Vec<String>, Trouble> {
        let mut all: Vec<String> = self.all(HELD_QUEUES, [], |row| row.get(0))?;
        for sql in QUEUES {
            let mut last = String::new();
            while let Some(Some(next)) =
                self.first(sql, [&last], |row| row.get::<_, Option<String>>(0))?
            {
                all.push(next.clone());
                last = next;
            }
        }
        all.sort();
        all.dedup();
        Ok(all)
    }

    /// Tells of each attempt of a queue that ended within a span, in the order of their ends.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn past_attempts(
        &self,
        queue: &str,
        span: Span,
        mut tell: impl FnMut(Past<'_>),
    ) -> Result<(), Trouble> {
        self.each(ATTEMPTS, params![queue, span.since.0, span.until.0], |row| {
            tell(Past {
                begun: Wall(row.get(0)?),
                ended: Wall(row.get(1)?),
                fault: Fault(row.get::<_, Option<u16>>(2)?.unwrap_or_default()),
                how: row.get_ref(3)?.as_str()?,
                signature: row.get_ref(4)?.as_str_or_null()?,
            });
            Ok(())
        })
    }

    /// Tells of each job of a queue that stopped within a span: when, and how.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn past_jobs(
        &self,
        queue: &str,
        span: Span,
        mut tell: impl FnMut(Wall, Fault),
    ) -> Result<(), Trouble> {
        self.each(JOBS, params![queue, span.since.0, span.until.0], |row| {
            tell(Wall(row.get(0)?), Fault(row.get(1)?));
            Ok(())
        })
    }

    /// Returns the next attempts of a queue that ended within a span, in the order of their ends, at
    /// most `at_most`. `after`: where the portion before ended. Asked again and again it tells all, and
    /// between two questions the store may be written and cleaned up.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn entries(
        &self,
        queue: &str,
        span: Span,
        after: Option<Mark>,
        at_most: u32,
    ) -> Result<Portion, Trouble> {
        let Mark(ended, number) = after.unwrap_or(Mark(span.since.0, i64::MIN));
        let params = params![queue, ended, number, span.until.0, at_most];
        let found: Vec<(i64, i64)> =
            self.all(NEXT, params, |row| Ok((row.get(0)?, row.get(1)?)))?;
        let numbers: Vec<i64> = found.iter().map(|(number, _)| *number).collect();
        let last = found.last().map(|(number, ended)| Mark(*ended, *number));
        Ok(Portion { entries: self.entries_of(&numbers)?, last })
    }

    /// Returns the last attempts whose fault is of a class, the newest first, at most `at_most`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn entries_of_class(&self, class: &Class, at_most: u32) -> Result<Vec<Entry>, Trouble> {
        let params = params![class.queue, class.first.0, class.last.0, class.signature, at_most];
        self.entries_of(&self.all(OF_CLASS, params, |row| row.get(0))?)
    }

    fn entries_of(&self, numbers: &[i64]) -> Result<Vec<Entry>, Trouble> {
        let sql = entry_sql();
        let mut all = Vec::with_capacity(numbers.len());
        for number in numbers {
            // One that was cleaned up meanwhile is not told.
            all.extend(self.first(&sql, [number], entry)?);
        }
        Ok(all)
    }

    /// Returns the attempts at a job without their outputs, the first one first.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn tries(&self, id: JobId) -> Result<Vec<Attempt>, Trouble> {
        let sql = format!("SELECT {ATTEMPT} FROM attempt a WHERE job = ?1 ORDER BY id");
        self.all(&sql, [id.0], attempt)
    }

    /// Returns the attempt at a job that has this number, or the last one, without its output.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn attempt(&self, id: JobId, number: Option<u32>) -> Result<Option<Attempt>, Trouble> {
        let sql = format!(
            "SELECT {ATTEMPT} FROM attempt a WHERE job = ?1 AND number = ifnull(?2, number)
                ORDER BY id DESC LIMIT 1"
        );
        self.first(&sql, params![id.0, number], attempt)
    }

    /// Returns what came back of an attempt.
    ///
    /// # Errors
    /// [`Trouble`], also where it is not what came back.
    pub fn output(&self, id: JobId, number: u32) -> Result<Option<Vec<u8>>, Trouble> {
        let sql = "SELECT sum, output FROM attempt
            WHERE job = ?1 AND number = ?2 AND output IS NOT NULL";
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?));
        let Some((sum, bytes)) = self.first(sql, params![id.0, number], read)? else {
            return Ok(None);
        };
        self.whole(sum, &bytes, || format!("the answer of job {}, attempt {number}", id.0))?;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;
    use crate::read::Which;
    use crate::read::lists::{DETAILS, numbers};
    use crate::schema;
    use rusqlite::Connection;

    /// Returns how a question is gone about: a line for each table or index that it looks at.
    fn plan(sql: &str) -> Vec<String> {
        let mut conn = Connection::open_in_memory().unwrap();
        schema::migrate(&mut conn, schema::MIGRATIONS).unwrap();
        let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let mut rows = statement.raw_query();
        let mut steps = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            steps.push(row.get::<_, String>(3).unwrap());
        }
        steps
    }

    #[test]
    fn history_is_read_in_its_order_from_an_index_that_has_all_of_it() {
        let attempts = "USING COVERING INDEX attempt_past (queue=? AND ended_at>? AND ended_at<?)";
        let jobs = "USING COVERING INDEX job_past (queue=? AND changed_at>? AND changed_at<?)";
        assert_eq!(plan(ATTEMPTS), [format!("SEARCH attempt {attempts}")]);
        assert_eq!(plan(JOBS), [format!("SEARCH job {jobs}")]);
        // Its order is the index's, too.
        assert_eq!(plan(NEXT), [format!("SEARCH attempt {attempts}")]);
        let class = plan(OF_CLASS);
        assert_eq!(class[0], format!("SEARCH a {attempts}"));
        assert!(!class.concat().contains("TEMP B-TREE"), "{class:?}");
    }

    #[test]
    fn one_job_and_one_attempt_are_looked_up() {
        for sql in [entry_sql(), DETAILS.to_owned()] {
            let plan = plan(&sql);
            let is_looked_up = |step: &String| {
                step.starts_with("SEARCH ") || step.starts_with("CORRELATED SCALAR SUBQUERY")
            };
            assert!(plan.iter().all(is_looked_up), "{plan:?}");
        }
        for (sql, index) in QUEUES.iter().zip(["attempt_past", "job_past", "job_ready", "job_due"])
        {
            let plan = plan(sql);
            let seeks = format!("INDEX {index} (queue>?)");
            assert!(plan.len() == 1 && plan[0].ends_with(&seeks), "{plan:?}");
        }
    }

    #[test]
    fn jobs_in_a_state_are_found_by_what_knows_the_state() {
        for (which, index) in [
            (Which::All, "PRIMARY KEY (rowid>?)"),
            (Which::Ready, "job_ready|job_due|job_held"),
            (Which::Run, "job_held"),
            (Which::Cancelling, "job_held"),
            (Which::Done, "job_past"),
            (Which::Failed, "job_past"),
            (Which::Cancelled, "job_past"),
        ] {
            for has_queue in [false, true] {
                for (sql, index) in numbers(which, has_queue).iter().zip(index.split('|')) {
                    let plan = plan(sql);
                    assert!(plan[0].contains(index), "{which:?} {has_queue}: {plan:?}");
                }
            }
        }
    }

    #[test]
    fn a_store_of_the_first_version_gets_its_history_with_the_next_writer() {
        let scratch = testkit::Scratch::new();
        let place = Place::new(scratch.path());
        let mut conn = Connection::open(place.database()).unwrap();
        schema::migrate(&mut conn, &schema::MIGRATIONS[..1]).unwrap();
        let rows =
            "INSERT INTO job (id, queue, wfid, identity, label, priority, state, fault, count,
                wary, lease, tries, answered, submitted_at, changed_at)
                VALUES (7, 'q', 'w', 'a', 1, 0, 'stop', 10, 1, 0, 1, 1, 0, 100, 300);
            INSERT INTO attempt (id, job, number, taker, instance, begun_at, ended_at, how, fault,
                sum, output) VALUES (3, 7, 1, 1, 'q_0', 200, 300, 'ended', 10, 5, x'00');";
        conn.execute_batch(rows).unwrap();
        let reader = Reader::open(&place).unwrap();
        assert_eq!(reader.job(JobId(7)).unwrap().unwrap().tries, 1, "what was there is read");
        let why = reader.past_attempts("q", Span::ALL, |_| ()).unwrap_err();
        assert!(matches!(why, Trouble::Older { .. }), "{why:?}");
        assert!(why.to_string().contains("the next exo that starts"), "{why}");

        schema::migrate(&mut conn, schema::MIGRATIONS).unwrap();
        // Also by who has it open.
        let mut told = Vec::new();
        reader.past_attempts("q", Span::ALL, |past| told.push((past.begun, past.ended))).unwrap();
        assert_eq!(told, [(Wall(200), Wall(300))]);
        assert_eq!(
            (reader.queues().unwrap(), reader.tries(JobId(7)).unwrap().len()),
            (vec!["q".into()], 1)
        );
        let kept = "SELECT output FROM attempt WHERE id = 3 AND sum = 5 AND queue = 'q'";
        let kept: Vec<u8> = conn.query_row(kept, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, [0]);
    }
}
