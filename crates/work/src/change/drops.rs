//! Files of drop folders: each is recorded once, whoever dies before it is removed.

use super::tx::{Stop, Tx};
use super::{Applied, Change};
use crate::clock::Wall;
use rusqlite::params;

/// Files that are forgotten in one go, at most.
const FORGOTTEN: u32 = 256;

impl Tx<'_> {
    pub(super) fn dropped(&mut self, file: i64, change: &Change) -> Result<Applied, Stop> {
        let known = "SELECT 1 FROM dropped WHERE file = ?1";
        if self.first(known, [file], |_| Ok(()))?.is_some() {
            return Ok(Applied::Seen);
        }
        let applied = self.make_steps(change)?;
        let sql = "INSERT INTO dropped (file, at) VALUES (?1, ?2)";
        self.execute(sql, params![file, self.now.wall.0])?;
        Ok(applied)
    }

    /// Forgets which files were recorded before a moment, some of them.
    pub(super) fn forget_drops(&self, before: Wall) -> Result<(), Stop> {
        self.execute(
            "DELETE FROM dropped WHERE at < ?1
                AND id IN (SELECT id FROM dropped ORDER BY id LIMIT ?2)",
            params![before.0, FORGOTTEN],
        )?;
        Ok(())
    }
}
