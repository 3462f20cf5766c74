//! What became of items that were submitted.

use super::act;
use super::drop::Left;
use super::hand;
use super::report::About;
use super::watch::Watch;
use crate::failure::Failure;
use crate::here::Here;
use crate::store;
use exo::control::Request;
use exo::settings::Settings;
use work::read::{Dead, Job};
use work::{DeadId, NewJob, Reader, Trouble, Wall};

/// Dead items that are looked through at once for one of ours.
const DEAD: u32 = 1000;

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// A job.
    Job {
        /// Which.
        about: About,
        /// It had been one before.
        is_known: bool,
    },
    /// A file that waits for an exo.
    Left(About),
    /// Nothing, and why.
    Refused(About, String),
}

/// Returns what names the job of an item.
#[must_use]
pub fn about(job: &NewJob, id: Option<i64>) -> About {
    named(&job.queue, &job.wfid, id)
}

/// Returns what names an item of a process that is no job here yet.
#[must_use]
pub fn of_process(queue: &str, wfid: &str) -> About {
    named(queue, wfid, None)
}

fn named(queue: &str, wfid: &str, id: Option<i64>) -> About {
    let own = (!wfid.is_empty()).then(|| wfid.to_owned());
    let wfid = own.or_else(|| id.map(|id| format!("job-{id}")));
    let name = (id.is_none() && wfid.is_none()).then(|| queue.to_owned());
    About { job: id, wfid, queue: Some(queue.to_owned()), name, ..About::default() }
}

/// Looks for jobs that an exo makes of what was left for it.
pub struct Search {
    /// `None` = there is no store yet.
    seen: Option<(Watch, Reader)>,
    /// The last dead item there was before.
    last_dead: DeadId,
    begun: Wall,
}

impl Search {
    /// Begins, before anything is left.
    ///
    /// # Errors
    /// The store may not be read.
    pub fn begin(here: &Here) -> Result<Self, Failure> {
        let begun = act::now();
        let Some(reader) = store::read(here)? else {
            return Ok(Self { seen: None, last_dead: DeadId(0), begun });
        };
        let last_dead = reader.last_dead()?;
        Ok(Self { seen: Some((Watch::begin(here)?, reader)), last_dead, begun })
    }

    /// Waits until all that was left is recorded, where the exo of the queue runs.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn find(
        self,
        here: &Here,
        settings: &Settings,
        left: &[Left],
        deadline: u64,
    ) -> Result<Vec<Sent>, Failure> {
        let Self { seen, last_dead, begun } = self;
        let sent = left.iter().map(|_| None).collect();
        let mut found = Found { here, queue: &settings.queue, left, sent, last_dead, begun };
        let runs = exo::ask::ask(&settings.socket(), &Request::Status).is_ok();
        if let Some((watch, reader)) = &seen {
            // Where none runs, one may have been faster than the question.
            watch.until(reader, Some(if runs { deadline } else { 0 }), |reader| {
                found.look(reader)
            })?;
        }
        let open = |(sent, left): (Option<Sent>, &Left)| {
            sent.unwrap_or_else(|| Sent::Left(named(&settings.queue, &left.name.0, None)))
        };
        Ok(found.sent.into_iter().zip(left).map(open).collect())
    }
}

/// What was found so far of what was left.
struct Found<'a> {
    here: &'a Here,
    queue: &'a str,
    left: &'a [Left],
    sent: Vec<Option<Sent>>,
    /// The last dead item that was looked at.
    last_dead: DeadId,
    begun: Wall,
}

impl Found<'_> {
    fn look(&mut self, reader: &Reader) -> Result<bool, Failure> {
        for (left, sent) in self.left.iter().zip(&mut self.sent) {
            let (wfid, identity) = &left.name;
            let id = if sent.is_none() { reader.named(self.queue, wfid, identity)? } else { None };
            let Some(job) = id.map(|id| reader.job(id)).transpose()?.flatten() else { continue };
            let is_known = job.submitted < self.begun;
            // Of the same name, but another's or of something else, it has ours refused.
            if !is_known || is_mine(self.here, job.owner) && is_same(reader, &job, left)? {
                *sent = Some(Sent::Job { about: (&job).into(), is_known });
            }
        }
        while self.is_open() {
            let dead = reader.strays_after(self.queue, self.last_dead, DEAD)?;
            let Some(last) = dead.last() else { break };
            self.last_dead = last.id;
            for dead in dead {
                self.refuse(reader, &dead)?;
            }
        }
        Ok(!self.is_open())
    }

    fn is_open(&self) -> bool {
        self.sent.iter().any(Option::is_none)
    }

    /// Tells of what became this dead item, where that is ours.
    fn refuse(&mut self, reader: &Reader, dead: &Dead) -> Result<(), Failure> {
        // Its bytes may be many.
        if !is_mine(self.here, dead.owner) {
            return Ok(());
        }
        let Some(dead) = reader.dead_item(dead.id)? else { return Ok(()) };
        for (left, sent) in self.left.iter().zip(&mut self.sent) {
            // Of what was in an envelope the item alone is kept where it was one.
            let is_its = |left: &Left| {
                left.item.starts_with(&dead.bytes)
                    || inner(&dead.queue, left).is_some_and(|item| item.starts_with(&dead.bytes))
            };
            if sent.is_none() && is_its(left) {
                let about = named(self.queue, &left.name.0, None);
                *sent = Some(Sent::Refused(about, dead.reason.clone()));
            }
        }
        Ok(())
    }
}

fn is_mine(here: &Here, owner: Option<u32>) -> bool {
    [hand::caller().uid, here.uid].iter().any(|uid| owner == Some(*uid))
}

/// Tells whether a job is of the item that was left. What is not there any more cannot be compared.
fn is_same(reader: &Reader, job: &Job, left: &Left) -> Result<bool, Failure> {
    match reader.item(job.id) {
        Ok(Some(known)) => Ok(inner(&job.queue, left).is_none_or(|item| item == known)),
        Ok(None) | Err(Trouble::Spoilt { .. }) => Ok(true),
        Err(why) => Err(why.into()),
    }
}

/// Returns what was left without its envelope.
fn inner(queue: &str, left: &Left) -> Option<Vec<u8>> {
    NewJob::from_item(queue, left.item.clone(), usize::MAX, "it").ok().map(|job| job.item)
}
