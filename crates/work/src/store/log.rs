//! The log of the database: what was changed last.

use crate::place::Place;
use crate::trouble::Trouble;
use rusqlite::{Connection, TransactionBehavior, ffi};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Tells whether it is about what was written and may not be on the disk.
pub(super) fn is_unflushed(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_FSYNC)
}

/// What is not there has no holes.
pub(super) fn unless_gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// Writes all of a log with holes once more as it is, so that the kernel has to bring it to the disk. Nobody
/// else writes it meanwhile.
pub(super) fn fill(conn: &mut Connection, place: &Place, holes: &mut bool) -> Result<(), Trouble> {
    if !*holes {
        return Ok(());
    }
    let path = place.log();
    let alone = conn.transaction_with_behavior(TransactionBehavior::Immediate);
    let alone = alone.map_err(|error| Trouble::database(&place.database(), &error))?;
    unless_gone(write_again(&path)).map_err(|e| Trouble::io("write", &path, e))?;
    drop(alone);
    *holes = false;
    Ok(())
}

fn write_again(path: &Path) -> io::Result<()> {
    let log = File::options().read(true).write(true).open(path)?;
    let mut room = vec![0; 64 << 10];
    let mut at = 0;
    loop {
        let count = log.read_at(&mut room, at)?;
        if count == 0 {
            return log.sync_data();
        }
        log.write_all_at(&room[..count], at)?;
        at += count as u64;
    }
}

/// Moves what is in the log into the file, as far as nobody reads it or does the same. Tells whether that
/// was all. Where it fails everything is as safe as before.
pub(super) fn move_log(conn: &Connection) -> rusqlite::Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
    })
}

/// Cuts a file that is longer than the database. What was cut off is known in the second file alone
/// until something fills that, which may be long. In nobody's way: whoever reads what is there still
/// keeps it until the next time.
pub(super) fn shorten(conn: &Connection, path: &Path) -> rusqlite::Result<()> {
    let number = |name| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).ok();
    let bytes = number("page_count").zip(number("page_size")).map(|(count, size)| count * size);
    let len = path.metadata().map_or(0, |file| file.len());
    if bytes.is_some_and(|bytes| bytes.unsigned_abs() < len) {
        move_log(conn).map(drop)
    } else {
        Ok(())
    }
}
