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
use work::read::Dead;
use work::{NewJob, Reader, Wall};

/// Dead items that are looked through for one of ours.
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
    last_dead: i64,
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
            return Ok(Self { seen: None, last_dead: 0, begun });
        };
        let last_dead = reader.dead(1)?.first().map_or(0, |dead| dead.id.0);
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
        let mut sent: Vec<Option<Sent>> = left.iter().map(|_| None).collect();
        let runs = exo::ask::ask(&settings.socket(), &Request::Status).is_ok();
        if let Some((watch, reader)) = &self.seen {
            let look = |reader: &Reader| self.look(reader, here, settings, left, &mut sent);
            // Where none runs, one may have been faster than the question.
            watch.until(reader, Some(if runs { deadline } else { 0 }), look)?;
        }
        let open = |(sent, left): (Option<Sent>, &Left)| {
            sent.unwrap_or_else(|| Sent::Left(named(&settings.queue, &left.name.0, None)))
        };
        Ok(sent.into_iter().zip(left).map(open).collect())
    }

    fn look(
        &self,
        reader: &Reader,
        here: &Here,
        settings: &Settings,
        left: &[Left],
        sent: &mut [Option<Sent>],
    ) -> Result<bool, Failure> {
        let queue = &settings.queue;
        let mut dead: Option<Vec<Dead>> = None;
        for (left, sent) in left.iter().zip(sent.iter_mut()).filter(|(_, sent)| sent.is_none()) {
            let (wfid, identity) = &left.name;
            if let Some(id) = reader.named(queue, wfid, identity)? {
                let about = named(queue, wfid, Some(id.0));
                let is_known = reader.job(id)?.is_some_and(|job| job.submitted < self.begun);
                *sent = Some(Sent::Job { about, is_known });
                continue;
            }
            if dead.is_none() {
                dead = Some(self.our_dead(reader, here, queue)?);
            }
            let its = dead.iter().flatten().find(|dead| left.item.starts_with(&dead.bytes));
            if let Some(dead) = its {
                let about = named(queue, wfid, None);
                *sent = Some(Sent::Refused(about, dead.reason.clone()));
            }
        }
        Ok(sent.iter().all(Option::is_some))
    }

    /// Returns the dead items that came since, and may be ours.
    fn our_dead(&self, reader: &Reader, here: &Here, queue: &str) -> Result<Vec<Dead>, Failure> {
        let newest = reader.dead(1)?.first().map_or(0, |dead| dead.id.0);
        if newest <= self.last_dead {
            return Ok(Vec::new());
        }
        let uid = hand::caller().uid;
        let is_ours = |dead: &Dead| {
            let owner = dead.owner == Some(uid) || dead.owner == Some(here.uid);
            dead.id.0 > self.last_dead && dead.job.is_none() && dead.queue == queue && owner
        };
        Ok(reader.dead(DEAD)?.into_iter().filter(is_ours).collect())
    }
}
