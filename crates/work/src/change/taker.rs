//! The lives of takers: who opened a queue, who is dead.

use super::tx::{Own, Ring, Stop, Tx};
use super::{Applied, Policy, Refused, TakerId};
use crate::bell::Rung;
use rusqlite::params;

/// Which takers keep others from a lock, whatever their queues: for a life, or for a job in hand. There
/// are fewer locks than jobs in hand, so that these come first.
macro_rules! holders {
    () => {
        "(SELECT life FROM lock WHERE life IS NOT NULL
            UNION ALL SELECT j.holder FROM lock l CROSS JOIN job j ON j.id = l.job
                WHERE j.holder IS NOT NULL)"
    };
}
pub(super) use holders;

impl Tx<'_> {
    pub(super) fn open_taker(&mut self, queue: &str, policy: &Policy) -> Result<Applied, Stop> {
        if policy.limit.tries == 0 {
            return Err(Refused::Senseless("a job is tried at least once").into());
        }
        let ns = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        self.execute(
            "INSERT INTO taker (queue, pid, opened_at, lease_ns, lease_until, tries, exhausted,
                first_ns, longest_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                queue,
                std::process::id(),
                self.now.wall.0,
                ns(policy.lease),
                self.now.mono.after(policy.lease).0.cast_signed(),
                policy.limit.tries,
                policy.limit.exhausted.0,
                ns(policy.backoff.first),
                ns(policy.backoff.longest)
            ],
        )?;
        let taker = TakerId(self.conn.last_insert_rowid());
        self.set_remote(queue, policy.is_remote)?;
        self.line_all_up(queue)?;
        // Before the commit: a row without a socket would be a dead taker's.
        let bell = self.bells.bind(taker)?;
        self.own.push(Own { taker, bell: Some(bell), policy: *policy });
        self.sweep(taker)?;
        Ok(Applied::Opened(taker))
    }

    pub(super) fn renew(&mut self, taker: TakerId) -> Result<Applied, Stop> {
        let (_, policy) = self.taker(taker)?;
        self.prolong(taker, policy)?;
        Ok(Applied::Done)
    }

    pub(super) fn close_taker(&mut self, taker: TakerId) -> Result<Applied, Stop> {
        self.taker(taker)?;
        self.end_taker(taker)?;
        self.own.retain(|own| own.taker != taker);
        Ok(Applied::Done)
    }

    /// Tries all other takers of a taker's queue, and those of other queues that have a lock.
    pub(super) fn sweep(&mut self, taker: TakerId) -> Result<Applied, Stop> {
        let (queue, _) = self.taker(taker)?;
        // Who has a lock keeps others waiting, too.
        let sql = concat!(
            "SELECT id, lease_until FROM taker WHERE id <> ?2 AND (queue = ?1 OR id IN ",
            holders!(),
            ")"
        );
        let read = |row: &rusqlite::Row<'_>| Ok((TakerId(row.get(0)?), row.get::<_, i64>(1)?));
        for (other, lease_until) in self.all(sql, params![queue, taker.0], read)? {
            if !self.is_own(other) && matches!(self.bells.ring(other), Rung::Dead) {
                self.end_taker(other)?;
            } else if lease_until <= self.now.mono.0.cast_signed() {
                self.lose_all(other)?;
            }
        }
        Ok(Applied::Done)
    }

    /// Forgets a taker; what it had is lost.
    pub(super) fn end_taker(&mut self, taker: TakerId) -> Result<(), Stop> {
        self.lose_all(taker)?;
        self.execute("DELETE FROM taker WHERE id = ?1", [taker.0])?;
        (self.looked.taker, self.looked.prolonged) = (None, None);
        self.bells.remove(taker);
        Ok(())
    }

    fn lose_all(&mut self, taker: TakerId) -> Result<(), Stop> {
        self.let_go_of(taker)?;
        let jobs = self.jobs_of(taker)?;
        if jobs.is_empty() {
            return Ok(());
        }
        let (_, policy) = self.taker(taker)?;
        for mut job in jobs {
            self.lose(&mut job, policy)?;
            self.ring_later(Ring::Queue(job.queue));
        }
        Ok(())
    }

    /// The machine was started again: nobody of before lives, and delays are set anew by the wall
    /// clock, the only one that went on. Where it is behind, as one that begins in 1970, what rests does so
    /// no longer than it was to when it was last changed.
    pub(crate) fn new_boot(&mut self, boot: &str) -> Result<(), Stop> {
        for taker in self.all("SELECT id FROM taker", [], |row| row.get(0))? {
            self.end_taker(TakerId(taker))?;
        }
        let now = self.now;
        for table in ["job", "request", "dependency"] {
            let sql = "SET due = ?1 + 1000 * max(0, due_at - max(?2, changed_at))
                WHERE due IS NOT NULL";
            let now = params![now.mono.0.cast_signed(), now.wall.0];
            self.execute(&format!("UPDATE {table} {sql}"), now)?;
        }
        self.execute(
            "INSERT INTO meta VALUES ('boot', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1",
            [boot],
        )?;
        Ok(())
    }
}
