//! The least that a queue can cost: SQL alone, and what no queue gets around.

use super::{Bed, Safe};
use crate::trouble::{Reason, Result, Unable};
use linux::time::{SECOND, monotonic};
use rusqlite::Connection;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

impl Reason for rusqlite::Error {
    fn reason(&self) -> String {
        self.to_string()
    }
}

/// A table of jobs.
pub(crate) struct Jobs(Connection);

impl Jobs {
    /// Makes one of so many.
    pub(crate) fn new(bed: &Bed, safe: Safe, count: u64) -> Result<Self> {
        let synchronous = if safe == Safe::Power { "full" } else { "normal" };
        let sql = format!(
            "PRAGMA journal_mode = wal;
            PRAGMA synchronous = {synchronous};
            CREATE TABLE job (id INTEGER PRIMARY KEY, state TEXT NOT NULL, item TEXT NOT NULL);
            CREATE INDEX job_state ON job (state, id);
            WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT {count})
                INSERT INTO job SELECT n, 'ready', '{}' FROM number;",
            "x".repeat(200)
        );
        let open = || -> rusqlite::Result<_> {
            let conn = Connection::open(bed.disk.join("plain.db"))?;
            conn.execute_batch(&sql)?;
            Ok(Self(conn))
        };
        open().unable(|| "make a database".into())
    }

    /// Takes the first and finishes it, a commit each; `work` is between them.
    pub(crate) fn turn(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        const TAKE: &str = "UPDATE job SET state = 'run' WHERE id =
            (SELECT id FROM job WHERE state = 'ready' ORDER BY id LIMIT 1) RETURNING id, item";
        let take = || -> rusqlite::Result<i64> {
            let mut take = self.0.prepare_cached(TAKE)?;
            take.query_row([], |row| row.get::<_, String>(1).and_then(|_| row.get(0)))
        };
        let id = take().unable(|| "take a job".into())?;
        work()?;
        let finish =
            || self.0.prepare_cached("UPDATE job SET state = 'stop' WHERE id = ?1")?.execute([id]);
        finish().unable(|| "finish a job".into()).map(|_| ())
    }
}

/// A file that grows.
pub(crate) struct Journal(File);

impl Journal {
    /// Makes it.
    pub(crate) fn new(bed: &Bed) -> Result<Self> {
        File::create(bed.disk.join("journal")).map(Self).unable(|| "make a file".into())
    }

    /// Appends as much as an item has and waits for the disk.
    pub(crate) fn append(&mut self) -> Result<()> {
        let written = self.0.write_all(&[b'x'; 200]).and_then(|()| self.0.sync_all());
        written.unable(|| "write a file".into())
    }
}

/// Starts a program and waits for its end.
pub(crate) fn execute(program: &Path) -> Result<()> {
    let status = Command::new(program).env_clear().stdin(Stdio::null()).status();
    status.unable(|| format!("run {}", program.display())).map(|_| ())
}

/// Returns how many turns a second there are, in so many; the first tenth is none of it.
pub(crate) fn rate(count: u64, mut turn: impl FnMut() -> Result<()>) -> Result<f64> {
    for _ in 0..count / 10 {
        turn()?;
    }
    let (rest, begun) = (count - count / 10, monotonic());
    for _ in 0..rest {
        turn()?;
    }
    Ok(rest as f64 * SECOND as f64 / (monotonic() - begun) as f64)
}
