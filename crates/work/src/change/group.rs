//! Dependencies, labels and locks.

use super::job::event;
use super::row::{step, subject};
use super::tx::{Ring, Stop, Tx};
use super::{Applied, DependencyId, Policy, Refused, Steer, TakerId};
use crate::{item, name};
use machine::work::{Event, Fault, Next, State, Subject};
use rusqlite::params;

/// Labels that are made by submitting to them, and those that have a priority: each costs every taking a
/// little.
const LABELS: u32 = 1000;

impl Tx<'_> {
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

    /// Gives a label a priority, or takes it back.
    pub(super) fn prioritise_label(
        &mut self,
        name: &str,
        priority: Option<i32>,
    ) -> Result<(), Stop> {
        if let Some(flaw) = name::label_flaw(name) {
            return Err(Refused::Label(item::cut(name, 100).into_owned(), flaw).into());
        }
        let Some(priority) = priority else { return self.forget_label(name) };
        let others = "SELECT count(*) FROM label WHERE known = 1 AND name NOT IN ('', ?1)";
        let others: u32 = self.first(others, [name], |row| row.get(0))?.unwrap_or_default();
        if others >= LABELS {
            return Err(Refused::Senseless("there are too many labels that have a priority").into());
        }
        self.execute(
            "INSERT INTO label (name, priority, active, known) VALUES (?1, ?2, 1, 1)
                ON CONFLICT (name) DO UPDATE SET priority = ?2, known = 1",
            params![name, priority],
        )?;
        self.ring_later(Ring::All);
        Ok(())
    }

    fn forget_label(&mut self, name: &str) -> Result<(), Stop> {
        let sql = "UPDATE label SET priority = 0, known = 0 WHERE name = ?1 AND known = 1";
        if self.execute(sql, [name])? == 0 {
            return Err(Refused::Absent("label that has a priority").into());
        }
        self.forget_empty_labels()?;
        self.ring_later(Ring::All);
        Ok(())
    }

    /// Removes labels that nobody has given a priority and nothing has.
    pub(super) fn forget_empty_labels(&self) -> Result<(), Stop> {
        self.execute(
            "DELETE FROM label WHERE known = 0
                AND NOT EXISTS (SELECT 1 FROM job WHERE job.label = label.id)
                AND NOT EXISTS (SELECT 1 FROM request WHERE request.label = label.id)",
            [],
        )?;
        Ok(())
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
        if self.put_subject("dependency", id, next)?.is_none() {
            return Ok(());
        }
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

    /// Whoever sees to it says that it is done, or will not be. Nobody need have asked before: what
    /// comes before the end has happened then.
    pub(super) fn resolve(&mut self, id: DependencyId, fault: Fault) -> Result<Applied, Stop> {
        let limit = Policy::default().limit;
        let mut subject = self.dependency_subject(id)?;
        for event in [Event::Released, Event::Accepted, Event::Leased, Event::Begun] {
            if let Some(next) = subject.step(event, limit).ok().and_then(Next::subject) {
                subject = next;
            }
        }
        let next = step(subject, Event::Ended(fault), limit)?;
        self.put_dependency(id.0, next)?;
        Ok(Applied::Done)
    }

    pub(super) fn lock(
        &mut self,
        name: &str,
        holder: &str,
        life: Option<TakerId>,
    ) -> Result<Applied, Stop> {
        if let Some(taker) = life {
            self.taker(taker)?;
        }
        let sql = "SELECT coalesce(holder, 'job ' || job), life FROM lock WHERE name = ?1";
        let read =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?));
        match self.first(sql, [name], read)? {
            Some((by, of)) if by == holder && of == life.map(|taker| taker.0) => Ok(Applied::Done),
            Some((by, _)) => Err(Refused::Locked(by).into()),
            None => {
                self.execute(
                    "INSERT INTO lock (name, holder, since_at, life) VALUES (?1, ?2, ?3, ?4)",
                    params![name, holder, self.now.wall.0, life.map(|taker| taker.0)],
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

    /// Lets go of the locks that somebody took for as long as a taker lives.
    pub(super) fn let_go_of(&mut self, taker: TakerId) -> Result<(), Stop> {
        let sql = "DELETE FROM lock WHERE life = ?1 RETURNING name";
        for name in self.all(sql, [taker.0], |row| row.get::<_, String>(0))? {
            self.ring_for_key(&name)?;
        }
        Ok(())
    }
}
