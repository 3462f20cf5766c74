//! Who asked for what, and what is taken up by itself.

use super::Reader;
use crate::change::{By, JobId, RuleId};
use crate::clock::Wall;
use crate::trouble::Trouble;
use rusqlite::{Params, Row, params};
use std::time::Duration;

/// Something that somebody asked for, or had asked for by a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// When it was done.
    pub at: Wall,
    /// Who asked; of what a rule did, who made the rule.
    pub by: By,
    /// `cancel`, `requeue`, `dead-requeue`, `dead-drop`, `note`, `rule-set` or `rule-drop`.
    pub what: String,
    /// Of which queue.
    pub queue: String,
    /// Which job, where it is about one.
    pub job: Option<JobId>,
    /// Process that the job belongs to.
    pub wfid: Option<String>,
    /// More about it, for people.
    pub detail: Option<String>,
    /// The rule that it is about, or that did it.
    pub rule: Option<RuleId>,
}

/// A rule by which jobs that fail are taken up by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its number.
    pub id: RuleId,
    /// Of which queue.
    pub queue: String,
    /// Class of faults that it is for.
    pub signature: String,
    /// How often it has one job tried again.
    pub limit: u32,
    /// How long a job rests before that.
    pub delay: Duration,
    /// When it ends.
    pub until: Wall,
    /// How often it had any job tried again so far.
    pub used: u64,
    /// Who made it.
    pub by: By,
    /// When.
    pub made: Wall,
}

const ACT: &str = "SELECT at, uid, name, what, queue, job, wfid, detail, rule FROM act";

fn act(row: &Row<'_>) -> rusqlite::Result<Act> {
    Ok(Act {
        at: Wall(row.get(0)?),
        by: By { uid: row.get(1)?, name: row.get(2)? },
        what: row.get(3)?,
        queue: row.get(4)?,
        job: row.get::<_, Option<i64>>(5)?.map(JobId),
        wfid: row.get(6)?,
        detail: row.get(7)?,
        rule: row.get::<_, Option<i64>>(8)?.map(RuleId),
    })
}

fn rule(row: &Row<'_>) -> rusqlite::Result<Rule> {
    Ok(Rule {
        id: RuleId(row.get(0)?),
        queue: row.get(1)?,
        signature: row.get(2)?,
        limit: row.get(3)?,
        delay: Duration::from_micros(row.get::<_, i64>(4)?.unsigned_abs()),
        until: Wall(row.get(5)?),
        used: row.get::<_, i64>(6)?.unsigned_abs(),
        by: By { uid: row.get(7)?, name: row.get(8)? },
        made: Wall(row.get(9)?),
    })
}

impl Reader {
    /// Returns what was asked for a job, the first one first.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn acts(&self, job: JobId) -> Result<Vec<Act>, Trouble> {
        self.since_acts(&format!("{ACT} WHERE job = ?1 ORDER BY id"), [job.0], act)
    }

    /// Returns what was asked for at all, the last one first, at most `at_most`.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn last_acts(&self, at_most: u32) -> Result<Vec<Act>, Trouble> {
        self.since_acts(&format!("{ACT} ORDER BY id DESC LIMIT ?1"), [at_most], act)
    }

    /// Returns the rules, by queue and class; those that have ended, too.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn rules(&self) -> Result<Vec<Rule>, Trouble> {
        let sql = "SELECT id, queue, signature, most, delay_us, until_at, used, uid, name, made_at
            FROM rule ORDER BY queue, signature";
        self.since_acts(sql, params![], rule)
    }

    /// Asks for what stores of the first version have not: they are brought up to date by the next
    /// who writes.
    fn since_acts<T>(
        &self,
        sql: &str,
        params: impl Params,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Trouble> {
        let known = "SELECT 1 FROM sqlite_schema WHERE name = 'act'";
        if self.first(known, [], |_| Ok(()))?.is_none() {
            return Ok(Vec::new());
        }
        self.all(sql, params, read)
    }
}
