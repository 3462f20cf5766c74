//! Names of jobs: `job-NUMBER`, or the process that they belong to, or a pattern of either.

use crate::failure::{Failure, code, warn};
use glob::Pattern;
use std::collections::BTreeSet;
use work::read::Job;
use work::{JobId, Reader};

/// Jobs that are read at once where all have to be looked at.
const PAGE: u32 = 1000;

/// Jobs that were asked for.
#[derive(Debug, Default)]
pub struct Picked {
    /// What each name stands for, in the order in which they were given; no job twice.
    pub named: Vec<Named>,
    /// Some were asked for that are not there, which was said.
    pub some_are_unknown: bool,
}

/// A name and its jobs.
#[derive(Debug)]
pub struct Named {
    /// As it was given.
    pub name: String,
    /// It names one job by its number.
    pub is_number: bool,
    /// Oldest first.
    pub jobs: Vec<Job>,
}

impl Picked {
    /// Returns the exit code of a verb that shows what these names stand for.
    #[must_use]
    pub fn code(&self) -> i32 {
        if self.some_are_unknown { code::UNKNOWN } else { 0 }
    }
}

/// Picks the jobs of these names; says which are not there.
///
/// # Errors
/// A pattern is none, or the store cannot be read.
pub fn pick(reader: &Reader, names: &[String]) -> Result<Picked, Failure> {
    let mut picked = Picked::default();
    let mut seen = BTreeSet::new();
    for name in names {
        let (is_number, mut jobs) = named(reader, name)?;
        if jobs.is_empty() {
            picked.some_are_unknown = true;
            let what =
                if is_pattern(name) { "no process or job matches" } else { "no process or job" };
            warn(&format!("{what} {name}{}", near(reader, name)?));
        }
        jobs.retain(|job| seen.insert(job.id));
        if !jobs.is_empty() {
            picked.named.push(Named { name: name.clone(), is_number, jobs });
        }
    }
    Ok(picked)
}

/// Tables have the numbers of jobs alone.
fn near(reader: &Reader, name: &str) -> Result<String, Failure> {
    let near = format!("job-{name}");
    let is_there =
        JobId::of_process(&near).map(|id| reader.job(id)).transpose()?.flatten().is_some();
    Ok(if is_there { format!("; did you mean {near}?") } else { String::new() })
}

/// Tells whether a name may stand for many.
#[must_use]
pub fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

fn named(reader: &Reader, name: &str) -> Result<(bool, Vec<Job>), Failure> {
    if let Some(id) = JobId::of_process(name)
        && let Some(job) = reader.job(id)?
    {
        return Ok((true, vec![job]));
    }
    // A name may hold what a pattern is made of: it comes first.
    let jobs = reader.jobs_of(name)?;
    if jobs.is_empty() && is_pattern(name) {
        return Ok((false, matching(reader, name)?));
    }
    Ok((false, jobs))
}

fn matching(reader: &Reader, name: &str) -> Result<Vec<Job>, Failure> {
    let pattern = Pattern::new(name)
        .map_err(|why| Failure::usage(format!("\"{name}\" is no pattern: {}", why.msg)))?;
    let mut found = Vec::new();
    let mut before = None;
    loop {
        let page = reader.jobs(None, before, PAGE)?;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        found.extend(page.into_iter().filter(|job| pattern.matches(&job.wfid)));
    }
    found.reverse();
    Ok(found)
}
