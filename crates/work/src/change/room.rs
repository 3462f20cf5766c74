//! What was done long ago, and the room that it took.

use super::tx::{Stop, Tx};
use super::{Applied, JobId, Refused};
use crate::clock::Wall;
use rusqlite::params;

/// What stopped just now is kept however full the store is: somebody may be looking at it.
const JUST_NOW_US: i64 = 60_000_000;

/// Room that stays for what comes next, so that none is given back and taken again all the time: one
/// part of so many, and a MiB at least.
const SPARE: i64 = 8;
const LEAST: i64 = 1 << 20;

/// Pages of the file.
struct Pages {
    bytes: i64,
    all: i64,
    free: i64,
}

impl Pages {
    const fn used_bytes(&self) -> u64 {
        ((self.all - self.free) * self.bytes).unsigned_abs()
    }

    /// Returns how many are more than what is to be spare.
    fn excess(&self) -> i64 {
        self.free - (self.all / SPARE).max(LEAST / self.bytes.max(1))
    }
}

/// What stopped before these is removed: because of its age, and because the store is too large.
#[derive(Clone, Copy)]
struct Old {
    by_age: Wall,
    by_size: Wall,
}

impl Tx<'_> {
    fn pages(&self) -> rusqlite::Result<Pages> {
        let number = |name| self.conn.pragma_query_value(None, name, |row| row.get(0));
        Ok(Pages {
            bytes: number("page_size")?,
            all: number("page_count")?,
            free: number("freelist_count")?,
        })
    }

    /// Removes old stopped jobs among the next `at_most`, and requests that have none left.
    pub(super) fn clean(
        &mut self,
        before: Wall,
        most: u64,
        after: JobId,
        at_most: u32,
    ) -> Result<Applied, Stop> {
        if at_most == 0 {
            return Err(Refused::Senseless("nothing is looked at").into());
        }
        if after == JobId(0) {
            if self.clean_strays(before, at_most)? == at_most as usize {
                // There may be more.
                return self.cleaned(0, Some(after), most);
            }
            if self.clean_requests(before, at_most)? == at_most as usize {
                return self.cleaned(0, Some(after), most);
            }
            self.clean_classes(before)?;
        }
        let is_too_large = self.pages()?.used_bytes() > most;
        let just_now = Wall(self.now.wall.0.saturating_sub(JUST_NOW_US));
        let old = Old { by_age: before, by_size: if is_too_large { just_now } else { before } };
        let before = old.by_age.max(old.by_size);
        self.forget_drops(before)?;
        let last = "SELECT max(id), count(*), max(iif(submitted_at > ?3, NULL, submitted_at)) FROM
            (SELECT id, submitted_at FROM job WHERE id > ?1 ORDER BY id LIMIT ?2)";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, Option<i64>>(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?))
        };
        let (last, seen, newest): (_, u32, _) =
            self.first(last, params![after.0, at_most, self.now.wall.0], read)?.unwrap_or_default();
        let Some(last) = last else { return self.cleaned(0, None, most) };
        self.date_back([after, JobId(last)])?;
        let removed = self.remove(after, JobId(last), old)?;
        // Those behind were submitted later, and so stopped later.
        let is_young = newest.is_some_and(|newest| newest >= before.0);
        let next = (seen == at_most && !is_young).then_some(JobId(last));
        self.cleaned(removed, next, most)
    }

    fn cleaned(&self, removed: u32, next: Option<JobId>, most: u64) -> Result<Applied, Stop> {
        let is_full = next.is_none() && self.pages()?.used_bytes() > most;
        Ok(Applied::Cleaned { removed, next, is_full })
    }

    /// Tells whether the wall clock may be behind by now: the oldest job, or the last, is later. What is
    /// later than now was recorded while it was ahead otherwise.
    fn may_be_behind(&self) -> Result<bool, Stop> {
        let sql = "SELECT max(submitted_at) FROM job
            WHERE id IN ((SELECT min(id) FROM job), (SELECT max(id) FROM job))";
        let latest = self.first(sql, [], |row| row.get::<_, Option<i64>>(0))?.flatten();
        Ok(latest.is_some_and(|latest| latest > self.now.wall.0))
    }

    /// What stopped later than now counts as having stopped now: else it would be kept until the clock
    /// is there, which may be for ever. Not by a clock that may be behind: all would be old once it is set.
    fn date_back(&self, [after, last]: [JobId; 2]) -> Result<(), Stop> {
        if self.may_be_behind()? {
            return Ok(());
        }
        let now = self.now.wall;
        let sql = "UPDATE job SET changed_at = ?3
            WHERE state = 'stop' AND id > ?1 AND id <= ?2 AND changed_at > ?3";
        self.execute(sql, [after.0, last.0, now.0])?;
        Ok(())
    }

    fn remove(&mut self, after: JobId, last: JobId, old: Old) -> Result<u32, Stop> {
        let limits = [after.0, last.0, old.by_age.0, old.by_size.0];
        // What another broker may send again would be worked on again, if it were not known here.
        let old = "state = 'stop' AND id > ?1 AND id <= ?2 AND (changed_at < ?3
            OR changed_at < ?4 AND NOT EXISTS (SELECT 1 FROM owed WHERE owed.job = job.id))";
        let requests =
            format!("SELECT DISTINCT request FROM job WHERE {old} AND request IS NOT NULL");
        let requests: Vec<i64> = self.all(&requests, limits, |row| row.get(0))?;
        let removed = self.execute(&format!("DELETE FROM job WHERE {old}"), limits)?;
        for request in requests {
            self.execute(
                "DELETE FROM request WHERE id = ?1 AND state = 'stop'
                    AND NOT EXISTS (SELECT 1 FROM job WHERE request = ?1)",
                [request],
            )?;
        }
        Ok(removed as u32)
    }

    /// Removes requests that stopped before a moment and have no job, some of them: what could not be
    /// parsed never had one. Tells how many.
    fn clean_requests(&mut self, before: Wall, at_most: u32) -> Result<usize, Stop> {
        let gone = self.execute(
            "DELETE FROM request WHERE id IN (SELECT id FROM request WHERE state = 'stop'
                AND changed_at < ?1 AND NOT EXISTS (SELECT 1 FROM job WHERE request = request.id)
                ORDER BY changed_at LIMIT ?2)",
            params![before.0, at_most],
        )?;
        Ok(gone)
    }

    /// Moves the last pages of the file into room that nothing uses, and cuts it there. In a file that
    /// was made without knowing where its pages belong, nothing happens.
    pub(super) fn compact(&mut self, at_most: u32) -> Result<Applied, Stop> {
        let before = self.pages()?;
        let wanted = before.excess().min(i64::from(at_most));
        if wanted <= 0 {
            return Ok(Applied::Compacted { has_more: false });
        }
        let mut moving = self.conn.prepare(&format!("PRAGMA incremental_vacuum({wanted})"))?;
        let mut steps = moving.raw_query();
        // A row a page; what is not asked for is not moved.
        while steps.next()?.is_some() {}
        let now = self.pages()?;
        Ok(Applied::Compacted { has_more: now.free < before.free && now.excess() > 0 })
    }
}
