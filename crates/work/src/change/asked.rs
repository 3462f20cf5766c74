//! What people ask for, each kept with who it was.

use super::blob;
use super::rule::NewRule;
use super::tx::{Stop, Tx};
use super::{Applied, DeadId, JobId, NewJob, Refused, RuleId, Steer, Subject};
use crate::item::{self, MOST};
use machine::work::{Fault, Reach};
use rusqlite::params;

/// Somebody who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// User id.
    pub uid: u32,
    /// Name of the account; empty where it is not known.
    pub name: String,
}

/// Everything that people may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Asked {
    /// A job is not wanted any more, and why: a code that means so.
    Cancel(JobId, Fault),
    /// A job is to be tried again from the start, its count forgotten. What the dead items have of
    /// it goes.
    Requeue {
        /// Which.
        job: JobId,
        /// Also where it is done.
        reach: Reach,
        /// Its place among those of its label; `None` = as before.
        priority: Option<i32>,
    },
    /// A dead item is to be tried again: the job that it was, or one that is made of it. It goes.
    /// [`Applied::Submitted`] or [`Applied::Known`].
    Revive(DeadId),
    /// A dead item goes.
    Exhume(DeadId),
    /// Says whose matter a class of faults is. `None` leaves what is said, `""` takes it back.
    Blame {
        /// Of which queue.
        queue: String,
        /// Which class.
        signature: String,
        /// Who sees to it.
        owner: Option<String>,
        /// Where it is written down.
        bug: Option<String>,
    },
    /// Makes a rule, in the place of one for the same class. [`Applied::Ruled`].
    SetRule(Box<NewRule>),
    /// Takes a rule back.
    DropRule(RuleId),
    /// Gives a label a priority, the highest is first; `None` = it has none any more, and its jobs come
    /// last.
    SetLabel {
        /// Its name.
        name: String,
        /// Among all labels.
        priority: Option<i32>,
    },
}

/// What is kept of an act.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) what: &'static str,
    pub(super) queue: String,
    pub(super) job: Option<JobId>,
    pub(super) wfid: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) rule: Option<RuleId>,
}

/// A dead item, as far as it matters to whoever asks for it.
struct Dead {
    queue: String,
    owner: Option<u32>,
    job: Option<JobId>,
    reason: String,
}

impl Tx<'_> {
    /// Does what somebody asks for, and keeps who it was.
    pub(super) fn asked(&mut self, by: &By, asked: &Asked) -> Result<Applied, Stop> {
        match asked {
            Asked::Cancel(job, why) => {
                let kept = self.kept("cancel", *job, flavour(*why))?;
                self.steer(Subject::Job(*job), Steer::Cancel(*why))?;
                self.keep(by, &kept)
            }
            Asked::Requeue { job, reach, priority } => {
                let kept = self.kept("requeue", *job, manner(*reach, *priority))?;
                self.steer(Subject::Job(*job), Steer::Requeue(*reach))?;
                if let Some(priority) = priority {
                    self.prioritise(*job, *priority)?;
                }
                self.keep(by, &kept)
            }
            Asked::Revive(dead) => self.revive(by, *dead),
            Asked::Exhume(id) => {
                let dead = self.dead(*id)?;
                let detail = format!("dead item {}: {}", id.0, dead.reason);
                self.exhume(*id)?;
                let kept = self.kept_of_dead("dead-drop", &dead, dead.job, detail)?;
                self.keep(by, &kept)
            }
            Asked::Blame { queue, signature, owner, bug } => {
                self.blame([queue, signature], owner.as_deref(), bug.as_deref())?;
                let said = [("owner", owner), ("bug", bug)];
                let said = said.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
                let said: Vec<_> = said.map(|(key, value)| format!("{key} {value:?}")).collect();
                let detail = Some(format!("{}: {signature}", said.join(", ")));
                self.keep(
                    by,
                    &Kept { what: "note", queue: queue.clone(), detail, ..Kept::default() },
                )
            }
            Asked::SetRule(rule) => self.set_rule(by, rule),
            Asked::DropRule(rule) => self.drop_rule(by, *rule),
            Asked::SetLabel { name, priority } => {
                let (what, detail) = match priority {
                    Some(priority) => ("label-set", format!("{name}: priority {priority}")),
                    None => ("label-drop", name.clone()),
                };
                self.prioritise_label(name, *priority)?;
                self.keep(by, &Kept { what, detail: Some(detail), ..Kept::default() })
            }
        }
    }

    fn kept(&self, what: &'static str, job: JobId, detail: Option<String>) -> Result<Kept, Stop> {
        let job = self.job(job)?;
        let (queue, wfid) = (job.queue, Some(job.wfid));
        Ok(Kept { what, queue, job: Some(job.id), wfid, detail, rule: None })
    }

    fn kept_of_dead(
        &self,
        what: &'static str,
        dead: &Dead,
        job: Option<JobId>,
        detail: String,
    ) -> Result<Kept, Stop> {
        match job.map(|job| self.kept(what, job, Some(detail.clone()))) {
            Some(Err(Stop::Refused(_))) | None => {
                let (queue, detail) = (dead.queue.clone(), Some(detail));
                Ok(Kept { what, queue, job, detail, ..Kept::default() })
            }
            Some(kept) => kept,
        }
    }

    pub(super) fn keep(&mut self, by: &By, kept: &Kept) -> Result<Applied, Stop> {
        self.execute(
            "INSERT INTO act (at, uid, name, what, queue, job, wfid, detail, rule)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                self.now.wall.0,
                by.uid,
                by.name,
                kept.what,
                kept.queue,
                kept.job.map(|job| job.0),
                kept.wfid,
                kept.detail,
                kept.rule.map(|rule| rule.0),
            ],
        )?;
        Ok(Applied::Done)
    }

    fn dead(&self, id: DeadId) -> Result<Dead, Stop> {
        let sql = "SELECT queue, owner, job, reason FROM dead WHERE id = ?1";
        let found = self.first(sql, [id.0], |row| {
            Ok(Dead {
                queue: row.get(0)?,
                owner: row.get(1)?,
                job: row.get::<_, Option<i64>>(2)?.map(JobId),
                reason: row.get(3)?,
            })
        })?;
        Ok(found.ok_or(Refused::Absent("dead item"))?)
    }

    /// Has a dead item tried again.
    fn revive(&mut self, by: &By, id: DeadId) -> Result<Applied, Stop> {
        let dead = self.dead(id)?;
        let its = match dead.job.map(|job| self.job(job)) {
            Some(Err(Stop::Refused(_))) | None => None,
            Some(job) => Some(job?),
        };
        let applied = match its {
            Some(job) => {
                if !self.stored(job.id)?.is_whole {
                    return Err(Refused::Senseless("what is left of it is damaged").into());
                }
                self.steer(Subject::Job(job.id), Steer::Requeue(Reach::Failed))?;
                Applied::Known(job.id)
            }
            // It never was a job, or that one was cleaned away.
            None => self.submit_again(id, &dead)?,
        };
        let (Applied::Known(job) | Applied::Submitted { job, .. }) = applied else {
            return Ok(applied);
        };
        let detail = format!("dead item {}: {}", id.0, dead.reason);
        // A requeue takes those of its job away.
        self.execute("DELETE FROM dead WHERE id = ?1", [id.0])?;
        let kept = self.kept_of_dead("dead-requeue", &dead, Some(job), detail)?;
        self.keep(by, &kept)?;
        Ok(applied)
    }

    fn submit_again(&mut self, id: DeadId, dead: &Dead) -> Result<Applied, Stop> {
        let sql = "SELECT sum, iif(length(bytes) > ?2, NULL, bytes) FROM dead WHERE id = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get(1)?));
        let found = self.first(sql, params![id.0, blob::WHOLE], read)?;
        let (sum, given) = found.ok_or(Refused::Absent("dead item"))?;
        let bytes = self.fetch(blob::DEAD, id.0, given)?;
        if item::checksum(&bytes) != sum {
            return Err(Refused::Senseless("what is left of it is damaged").into());
        }
        let name = format!("dead!{}", id.0);
        let job = NewJob::from_item(&dead.queue, bytes, MOST, &name);
        let job = job.map_err(|why| Refused::Item(why.to_string()))?;
        let is_unnamed = job.identity == name;
        if is_unnamed && self.is_remote(&dead.queue)? {
            return Err(Refused::Item("missing field `fei`".to_owned()).into());
        }
        let made = self.submit_apart(&NewJob { owner: dead.owner, ..job })?;
        if let Applied::Submitted { job, .. } = made {
            self.send_later((job, &dead.queue), false)?;
        }
        Ok(made)
    }
}

fn flavour(why: Fault) -> Option<String> {
    match why {
        Fault::KILLED => Some("kill".to_owned()),
        Fault::GIVEN_UP => Some("timeout".to_owned()),
        _ => None,
    }
}

fn manner(reach: Reach, priority: Option<i32>) -> Option<String> {
    let force = (reach == Reach::Any).then(|| "force".to_owned());
    let priority = priority.map(|priority| format!("priority {priority}"));
    let all: Vec<String> = force.into_iter().chain(priority).collect();
    (!all.is_empty()).then(|| all.join(", "))
}
