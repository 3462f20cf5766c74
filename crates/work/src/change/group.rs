//! Requests, dependencies, labels and locks.

use super::job::{event, has_names};
use super::row::{Job, step, subject};
use super::tx::{Ring, Stop, Tx};
use super::{Applied, DependencyId, NewRequest, Policy, Refused, RequestId, Steer};
use crate::name;
use machine::work::{Event, Fault, Kind, Next, State, Subject};
use rusqlite::params;

/// Labels that are made by submitting to them: each costs every taking a little.
const LABELS: u32 = 1000;

impl Tx<'_> {
    /// Records a request with all its jobs.
    pub(super) fn request(&mut self, new: &NewRequest) -> Result<Applied, Stop> {
        if new.name.is_empty() || new.jobs.is_empty() {
            return Err(Refused::Senseless("a request needs a name and a job").into());
        }
        let known = "SELECT id FROM request WHERE name = ?1";
        if let Some(id) = self.first(known, [&new.name], |row| row.get(0))? {
            return Ok(Applied::RequestKnown(RequestId(id)));
        }
        let (label, _) = self.label(&new.label)?;
        let state = if new.held { "hold" } else { "ready" };
        self.execute(
            "INSERT INTO request (name, source, label, owner, payload, state, fault, count,
                registered_at, changed_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?7, ?7)",
            params![new.name, new.source, label, new.owner, new.payload, state, self.now.wall.0],
        )?;
        let id = RequestId(self.conn.last_insert_rowid());
        for job in &new.jobs {
            let job = super::NewJob { label: new.label.clone(), ..job.clone() };
            has_names(&job, name::flaw)?;
            if let Applied::Known(_) = self.record(&job, Some(id), "ready")? {
                return Err(Refused::Senseless("one of its jobs is recorded already").into());
            }
        }
        Ok(Applied::Requested(id))
    }

    fn request_subject(&self, id: i64) -> Result<Subject, Stop> {
        let sql = "SELECT state, fault, count, 0 FROM request WHERE id = ?1";
        let found = self.first(sql, [id], |row| subject(row, 0, false))?;
        Ok(found.ok_or(Refused::Absent("request"))?)
    }

    fn put_request(&mut self, id: i64, to: Subject) -> Result<(), Stop> {
        self.execute(
            "UPDATE request SET state = ?2, fault = ?3, count = ?4, changed_at = ?5 WHERE id = ?1",
            params![id, to.state.name(), to.fault.0, to.count, self.now.wall.0],
        )?;
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
        let Some(to) = step(from, event(steer), Policy::default().limit)?.subject() else {
            return Ok(Applied::Done);
        };
        match steer {
            // Its jobs decide: it stops with the last of them.
            Steer::Cancel(why) => {
                self.put_request(id.0, Subject { state: State::Cancelling, fault: why, ..from })?;
                self.cancel_jobs(id, why)?;
                self.finish_request(id.0)?;
            }
            Steer::Requeue(reach) => {
                self.put_request(id.0, to)?;
                let failed = "SELECT id FROM job WHERE request = ?1 AND state = 'stop'
                    AND (?2 OR fault <> 0)";
                let all = reach == machine::work::Reach::Any;
                let read = |row: &rusqlite::Row<'_>| row.get(0).map(super::JobId);
                for job in self.all(failed, params![id.0, all], read)? {
                    self.steer(super::Subject::Job(job), steer)?;
                }
            }
            Steer::Accept | Steer::Hold | Steer::Release => self.put_request(id.0, to)?,
        }
        Ok(Applied::Done)
    }

    /// One of its jobs was taken.
    pub(super) fn run_request(&mut self, job: &Job) -> Result<(), Stop> {
        let Some(id) = job.request else { return Ok(()) };
        self.execute(
            "UPDATE request SET state = 'run', changed_at = ?2 WHERE id = ?1 AND state = 'ready'",
            params![id, self.now.wall.0],
        )?;
        Ok(())
    }

    /// One of its jobs is to be tried again.
    pub(super) fn reopen_request(&mut self, job: &Job) -> Result<(), Stop> {
        let Some(id) = job.request else { return Ok(()) };
        self.execute(
            "UPDATE request SET state = 'run', fault = 0, changed_at = ?2
                WHERE id = ?1 AND state = 'stop'",
            params![id, self.now.wall.0],
        )?;
        Ok(())
    }

    /// Ends a request whose last job has stopped. Its fault is that of its first job that failed.
    pub(super) fn finish_request(&mut self, id: i64) -> Result<(), Stop> {
        let open = "SELECT 1 FROM job WHERE request = ?1 AND state <> 'stop' LIMIT 1";
        if self.first(open, [id], |_| Ok(()))?.is_some() {
            return Ok(());
        }
        let failed = "SELECT fault FROM job WHERE request = ?1 AND fault <> 0 ORDER BY id LIMIT 1";
        let fault = self.first(failed, [id], |row| row.get(0).map(Fault))?.unwrap_or(Fault::NONE);
        let from = self.request_subject(id)?;
        let to = match from.state {
            State::Cancelling | State::Stop => Subject { state: State::Stop, ..from },
            _ => Subject { state: State::Stop, fault, ..from },
        };
        self.put_request(id, to)
    }

    /// Returns a label's number, and whether somebody has set its priority. One that nobody has
    /// is made and comes last.
    pub(super) fn label(&mut self, name: &str) -> Result<(i64, bool), Stop> {
        let sql = "SELECT id, known FROM label WHERE name = ?1";
        if let Some(found) = self.first(sql, [name], |row| Ok((row.get(0)?, row.get(1)?)))? {
            return Ok(found);
        }
        let unknown = "SELECT count(*) FROM label WHERE known = 0";
        let unknown: u32 = self.first(unknown, [], |row| row.get(0))?.unwrap_or_default();
        if unknown >= LABELS {
            return Err(Refused::Senseless("there are too many labels that nobody has set").into());
        }
        self.execute(
            "INSERT INTO label (name, priority, active, known) VALUES (?1, 0, 1, 0)",
            [name],
        )?;
        Ok((self.conn.last_insert_rowid(), false))
    }

    pub(super) fn set_label(
        &mut self,
        name: &str,
        priority: i32,
        active: bool,
    ) -> Result<Applied, Stop> {
        self.execute(
            "INSERT INTO label (name, priority, active, known) VALUES (?1, ?2, ?3, 1)
                ON CONFLICT (name) DO UPDATE SET priority = ?2, active = ?3, known = 1",
            params![name, priority, active],
        )?;
        self.ring_later(Ring::All);
        Ok(Applied::Done)
    }

    /// Finds or records what jobs wait for. One that is held back is taken up, since somebody
    /// needs it now.
    pub(super) fn need(
        &mut self,
        names: [&String; 3],
        checker: Option<&str>,
    ) -> Result<Applied, Stop> {
        let sql = "SELECT state, fault, count, 0, id FROM dependency
            WHERE kind = ?1 AND name = ?2 AND component = ?3";
        let read = |row: &rusqlite::Row<'_>| Ok((subject(row, 0, false)?, row.get(4)?));
        if let Some((found, id)) = self.first(sql, names, read)? {
            if found.state == State::Hold {
                let next = step(found, Event::Released, Policy::default().limit)?;
                self.put_dependency(id, next)?;
            }
            let ended = (found.state == State::Stop).then_some(found.fault);
            return Ok(Applied::Needed { dependency: DependencyId(id), ended });
        }
        self.execute(
            "INSERT INTO dependency (kind, name, component, checker, state, fault, count,
                changed_at) VALUES (?1, ?2, ?3, ?4, 'new', 0, 0, ?5)",
            params![names[0], names[1], names[2], checker, self.now.wall.0],
        )?;
        let dependency = DependencyId(self.conn.last_insert_rowid());
        Ok(Applied::Needed { dependency, ended: None })
    }

    fn dependency_subject(&self, id: DependencyId) -> Result<Subject, Stop> {
        let sql = "SELECT state, fault, count, 0 FROM dependency WHERE id = ?1";
        let found = self.first(sql, [id.0], |row| subject(row, 0, false))?;
        Ok(found.ok_or(Refused::Absent("dependency"))?)
    }

    fn put_dependency(&mut self, id: i64, next: Next) -> Result<(), Stop> {
        let Some(to) = next.subject() else { return Ok(()) };
        self.execute(
            "UPDATE dependency SET state = ?2, fault = ?3, count = ?4, changed_at = ?5
                WHERE id = ?1",
            params![id, to.state.name(), to.fault.0, to.count, self.now.wall.0],
        )?;
        let waiting = "SELECT DISTINCT queue FROM job WHERE dependency = ?1 AND state = 'ready'";
        for queue in self.all(waiting, [id], |row| row.get(0))? {
            self.ring_later(Ring::Queue(queue));
        }
        Ok(())
    }

    pub(super) fn steer_dependency(
        &mut self,
        id: DependencyId,
        steer: Steer,
    ) -> Result<Applied, Stop> {
        let from = self.dependency_subject(id)?;
        let next = step(from, event(steer), Policy::default().limit)?;
        self.put_dependency(id.0, next)?;
        Ok(Applied::Done)
    }

    /// Whoever sees to it says that it is done, or will not be. It may have been at once, without
    /// anybody taking it first.
    pub(super) fn resolve(&mut self, id: DependencyId, fault: Fault) -> Result<Applied, Stop> {
        let from = self.dependency_subject(id)?;
        let limit = Policy::default().limit;
        if from.state == State::Stop || fault.kind() == Kind::Cancelled {
            return Err(Refused::NotNow(machine::work::Refusal::NotNow(from.state)).into());
        }
        let next = step(Subject { state: State::Run, ..from }, Event::Ended(fault), limit)?;
        self.put_dependency(id.0, next)?;
        Ok(Applied::Done)
    }

    pub(super) fn lock(&mut self, name: &str, holder: &str) -> Result<Applied, Stop> {
        let sql = "SELECT coalesce(holder, 'job ' || job) FROM lock WHERE name = ?1";
        match self.first(sql, [name], |row| row.get::<_, String>(0))? {
            Some(by) if by == holder => Ok(Applied::Done),
            Some(by) => Err(Refused::Locked(by).into()),
            None => {
                self.execute(
                    "INSERT INTO lock (name, holder, since_at) VALUES (?1, ?2, ?3)",
                    params![name, holder, self.now.wall.0],
                )?;
                Ok(Applied::Done)
            }
        }
    }

    pub(super) fn unlock(&mut self, name: &str, holder: &str) -> Result<Applied, Stop> {
        let sql = "DELETE FROM lock WHERE name = ?1 AND holder = ?2";
        if self.execute(sql, [name, holder])? == 0 {
            return Err(Refused::Absent("lock").into());
        }
        self.ring_for_key(name)?;
        Ok(Applied::Done)
    }
}
