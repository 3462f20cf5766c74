//! Requests: groups of jobs that are recorded, parsed, steered and ended together.

use super::job::{event, has_names};
use super::row::{Job, step, subject};
use super::tx::{Ring, Stop, Tx};
use super::{Applied, JobId, NewJob, NewRequest, Policy, Refused, RequestId, Steer};
use crate::name;
use machine::work::{Event, Fault, Next, Refusal, State, Subject};
use rusqlite::params;

impl Tx<'_> {
    /// Records a request, with all its jobs where they are known.
    pub(super) fn request(&mut self, new: &NewRequest) -> Result<Applied, Stop> {
        if new.name.is_empty() {
            return Err(Refused::Senseless("a request needs a name").into());
        }
        let known = "SELECT id FROM request WHERE name = ?1";
        if let Some(id) = self.first(known, [&new.name], |row| row.get(0))? {
            return Ok(Applied::RequestKnown(RequestId(id)));
        }
        let first = match (new.held, new.jobs.is_empty()) {
            (true, _) => Some(Event::Held),
            (false, false) => Some(Event::Accepted),
            (false, true) => None,
        };
        let begins = begins(first)?;
        let (label, _) = self.label(&new.label)?;
        self.execute(
            "INSERT INTO request (name, source, label, owner, payload, state, fault, count,
                registered_at, changed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?7)",
            params![
                new.name,
                new.source,
                label,
                new.owner,
                new.payload,
                begins.state.name(),
                self.now.wall.0
            ],
        )?;
        let id = RequestId(self.conn.last_insert_rowid());
        self.add_jobs(id, &new.label, &new.jobs)?;
        Ok(Applied::Requested(id))
    }

    fn add_jobs(&mut self, id: RequestId, label: &str, jobs: &[NewJob]) -> Result<(), Stop> {
        for job in jobs {
            let job = NewJob { label: label.to_owned(), ..job.clone() };
            has_names(&job, name::flaw)?;
            if let Applied::Known(_) = self.record(&job, Some(id))? {
                return Err(Refused::Senseless("one of its jobs is recorded already").into());
            }
        }
        Ok(())
    }

    /// Records the jobs that a request was found to be. One that is none is done.
    pub(super) fn expand(&mut self, id: RequestId, jobs: &[NewJob]) -> Result<Applied, Stop> {
        let from = self.to_be_parsed(id)?;
        let next = step(from, Event::Accepted, Policy::default().limit)?;
        let label = "SELECT l.name FROM request r JOIN label l ON l.id = r.label WHERE r.id = ?1";
        let label: String =
            self.first(label, [id.0], |row| row.get(0))?.ok_or(Refused::Absent("label"))?;
        self.put_request(id.0, next)?;
        self.add_jobs(id, &label, jobs)?;
        self.close_request(id.0)?;
        Ok(Applied::Requested(id))
    }

    /// A request cannot be parsed, like this.
    pub(super) fn unparsed(&mut self, id: RequestId, fault: Fault) -> Result<Applied, Stop> {
        let from = self.to_be_parsed(id)?;
        let next = step(from, Event::Unaccepted(fault), Policy::default().limit)?;
        self.put_request(id.0, next)?;
        Ok(Applied::Done)
    }

    fn to_be_parsed(&self, id: RequestId) -> Result<Subject, Stop> {
        let subject = self.request_subject(id.0)?;
        if self.has_jobs(id.0)? {
            return Err(Refused::Senseless("it has jobs already").into());
        }
        Ok(subject)
    }

    fn has_jobs(&self, id: i64) -> Result<bool, Stop> {
        let sql = "SELECT 1 FROM job WHERE request = ?1 LIMIT 1";
        Ok(self.first(sql, [id], |_| Ok(()))?.is_some())
    }

    fn request_subject(&self, id: i64) -> Result<Subject, Stop> {
        let sql = "SELECT state, fault, count, 0 FROM request WHERE id = ?1";
        let found = self.first(sql, [id], |row| subject(row, 0, false))?;
        Ok(found.ok_or(Refused::Absent("request"))?)
    }

    fn put_request(&mut self, id: i64, next: Next) -> Result<(), Stop> {
        let Some(to) = self.put_subject("request", id, next)? else { return Ok(()) };
        let queues = "SELECT DISTINCT queue FROM job WHERE request = ?1";
        if matches!(to.state, State::Ready { .. }) {
            for queue in self.all(queues, [id], |row| row.get(0))? {
                self.ring_later(Ring::Queue(queue));
            }
        }
        Ok(())
    }

    pub(super) fn steer_request(&mut self, id: RequestId, steer: Steer) -> Result<Applied, Stop> {
        let from = self.request_subject(id.0)?;
        let has_jobs = self.has_jobs(id.0)?;
        let event = match (steer, has_jobs) {
            // What has no job is to be parsed.
            (Steer::Accept, false) => {
                return Err(Refused::Senseless("it has no job yet").into());
            }
            (Steer::Requeue(reach), false) => Event::Renewed(reach),
            _ => event(steer),
        };
        let next = step(from, event, Policy::default().limit)?;
        self.put_request(id.0, next)?;
        match steer {
            // Its jobs decide: what is worked on stops with the last of them.
            Steer::Cancel(why) => self.cancel_jobs(id, why)?,
            Steer::Requeue(reach) => {
                let failed = "SELECT id FROM job WHERE request = ?1 AND state = 'stop'
                    AND (?2 OR fault <> 0)";
                let all = reach == machine::work::Reach::Any;
                let read = |row: &rusqlite::Row<'_>| row.get(0).map(JobId);
                for job in self.all(failed, params![id.0, all], read)? {
                    self.steer(super::Subject::Job(job), steer)?;
                }
            }
            Steer::Accept | Steer::Hold | Steer::Release => {}
        }
        if has_jobs {
            self.close_request(id.0)?;
        }
        Ok(Applied::Done)
    }

    /// One of its jobs was taken.
    pub(super) fn run_request(&mut self, job: &Job) -> Result<(), Stop> {
        let Some(id) = job.request else { return Ok(()) };
        let from = self.request_subject(id)?;
        if matches!(from.state, State::Ready { .. }) {
            let limit = Policy::default().limit;
            let taken = step(from, Event::Leased, limit)?.subject().unwrap_or(from);
            let next = step(taken, Event::Begun, limit)?;
            self.put_request(id, next)?;
        }
        Ok(())
    }

    /// One of its jobs is to be tried again.
    pub(super) fn reopen_request(&mut self, job: &Job) -> Result<(), Stop> {
        let Some(id) = job.request else { return Ok(()) };
        let from = self.request_subject(id)?;
        match from.state {
            State::Stop => {
                let again = Event::Requeued(machine::work::Reach::Any);
                let next = step(from, again, Policy::default().limit)?;
                self.put_request(id, next)
            }
            // It would never be taken, and the request never end.
            State::Cancelling => Err(Refused::NotNow(Refusal::NotNow(from.state)).into()),
            _ => Ok(()),
        }
    }

    /// Ends a request whose last job has stopped. Its fault is that of its first job that failed.
    pub(super) fn close_request(&mut self, id: i64) -> Result<(), Stop> {
        let open = "SELECT 1 FROM job WHERE request = ?1 AND state <> 'stop' LIMIT 1";
        if self.first(open, [id], |_| Ok(()))?.is_some() {
            return Ok(());
        }
        let from = self.request_subject(id)?;
        if from.state == State::Stop {
            return Ok(());
        }
        let failed = "SELECT fault FROM job WHERE request = ?1 AND fault <> 0 ORDER BY id LIMIT 1";
        let fault = self.first(failed, [id], |row| row.get(0).map(Fault))?.unwrap_or(Fault::NONE);
        let next = step(from, Event::Closed(fault), Policy::default().limit)?;
        self.put_request(id, next)
    }
}

/// Returns what something is recorded as, of which this is so already.
pub(super) fn begins(first: Option<Event>) -> Result<Subject, Stop> {
    let new = Subject::new();
    let Some(event) = first else { return Ok(new) };
    Ok(step(new, event, Policy::default().limit)?.subject().unwrap_or(new))
}
