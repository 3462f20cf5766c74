//! The jobs of a process that have not stopped, a part of them at a time.

use super::{JOB, Job, Reader, job};
use crate::change::JobId;
use crate::trouble::Trouble;
use machine::work::State;
use rusqlite::{Row, params};

/// Which jobs of a process are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The process; the one job that goes by `job-NUMBER`, too.
    pub wfid: &'a str,
    /// Place in it; `None` = all.
    pub expid: Option<&'a str>,
    /// Their queue.
    pub queue: &'a str,
}

/// How far a look at the jobs of a process came: the last one that it met. Answers may have one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    identity: String,
    queue: String,
    id: JobId,
}

/// Some of the jobs of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Those that have not stopped.
    pub jobs: Vec<Job>,
    /// Where the look goes on; `None` = it is over.
    pub next: Option<Met>,
}

impl Wanted<'_> {
    fn is_meant(&self, identity: &str, queue: &str) -> bool {
        let place = identity.split('!').next();
        queue == self.queue && self.expid.is_none_or(|expid| place == Some(expid))
    }
}

impl Reader {
    /// Looks at `at_most` names of a process behind `after`, in the order of its places, and returns
    /// the jobs that have not stopped. Where all are wanted, the whole takes time in proportion to them.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn open_jobs(
        &self,
        wanted: &Wanted<'_>,
        after: Option<&Met>,
        at_most: u32,
    ) -> Result<Part, Trouble> {
        let mut part = Part::default();
        if after.is_none() {
            part.jobs.extend(self.nameless(wanted)?);
        }
        let met = self.names(wanted, after, at_most)?;
        if met.len() == at_most as usize {
            part.next = met.last().cloned();
        }
        for Met { identity, queue, id } in met {
            if wanted.is_meant(&identity, &queue) {
                part.jobs.extend(self.job(id)?.filter(|job| job.subject.state != State::Stop));
            }
        }
        Ok(part)
    }

    /// Returns names of a process, by their index alone.
    fn names(
        &self,
        Wanted { wfid, expid, .. }: &Wanted<'_>,
        after: Option<&Met>,
        at_most: u32,
    ) -> Result<Vec<Met>, Trouble> {
        let begin = (expid.unwrap_or_default(), "", 0);
        let (identity, queue, id) =
            after.map_or(begin, |met| (&*met.identity, &*met.queue, met.id.0));
        // Behind the place is a "!", and this is the next character.
        let end = expid.map(|expid| format!("{expid}\""));
        let below = if end.is_some() { "AND identity < ?6" } else { "AND ?6 IS NULL" };
        let sql = format!(
            "SELECT identity, queue, id FROM job WHERE wfid = ?1 AND wfid <> ''
                AND (identity, queue, id) > (?2, ?3, ?4) {below}
                ORDER BY identity, queue, id LIMIT ?5"
        );
        let name = |row: &Row<'_>| {
            Ok(Met { identity: row.get(0)?, queue: row.get(1)?, id: JobId(row.get(2)?) })
        };
        self.all(&sql, params![wfid, identity, queue, id, at_most, end], name)
    }

    /// Returns the job that goes by its number, since its item names no process.
    fn nameless(&self, wanted: &Wanted<'_>) -> Result<Option<Job>, Trouble> {
        let Some(JobId(number)) = JobId::of_process(wanted.wfid) else { return Ok(None) };
        let sql = format!("{JOB} WHERE j.id = ?1 AND wfid = '' AND state <> 'stop'");
        let found = self.first(&sql, [number], job)?;
        Ok(found.filter(|job| wanted.is_meant(&job.identity, &job.queue)))
    }
}
