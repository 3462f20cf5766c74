//! What stands between a file and its use.

use crate::place::{Place, mend_mode, open_file};
use crate::schema;
use crate::trouble::Trouble;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

/// A file up to this size is checked each time it is opened, a larger one once per boot.
const CHECKED_ALWAYS: u64 = 64 << 20;

/// Bytes of the smallest page that a database may have.
const HEADER: u64 = 512;

/// KiB of pages that a connection keeps.
const CACHE_KIB: i32 = 512;

/// Bytes of a page. With 4096, the default, an item costs a fifth more.
const PAGE: u32 = 2048;

/// The file knows where each of its pages belongs, so that its end can be moved into free room and cut
/// off, when we say so.
const INCREMENTAL: u32 = 2;

/// Pages in the log behind which a commit moves them into the file: as many as `SQLite` does by itself.
const MOVED: u32 = 1000;
/// Bytes that the log keeps once all of it is in the file.
const LOG: u32 = 16 << 20;

/// For a lock that somebody has who does not know of the gate.
const LOCKED: Duration = Duration::from_secs(1);

/// What a change survives once it is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Safety {
    /// Also a power cut.
    #[default]
    Power,
    /// The death of every process, not a power cut: the last changes may be lost then, the store
    /// stays whole.
    Kill,
}

/// Opens the database for changes. The caller has the gate.
pub(crate) fn writer(place: &Place, safety: Safety, boot: &str) -> Result<Connection, Trouble> {
    let path = place.database();
    check_cut(place)?;
    // What is there is not opened: SQLite's locks of this process, of another handle, would end
    // with the closing of any descriptor of the file.
    let size = match fs::metadata(&path) {
        Ok(found) => {
            mend_mode(&path, &found)?;
            found.len()
        }
        // Made by us, so that it has its mode from its first moment on; `-wal` and `-shm` follow.
        Err(e) if e.kind() == ErrorKind::NotFound => {
            drop(open_file(&path)?);
            0
        }
        Err(e) => return Err(Trouble::io("examine", &path, e)),
    };
    let sql = |error: rusqlite::Error| Trouble::database(&path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(&path, flags).map_err(sql)?;
    settle(&conn).map_err(sql)?;
    if is_empty(&conn).map_err(sql)? {
        // A change touches a handful of pages, each of which is written whole and summed up.
        conn.pragma_update(None, "page_size", PAGE).map_err(sql)?;
        conn.pragma_update(None, "auto_vacuum", INCREMENTAL).map_err(sql)?;
        conn.pragma_update(None, "journal_mode", "wal").map_err(sql)?;
    } else {
        let version = check_kind(&conn, &path)?;
        check_tables(&conn, &path, version)?;
        let first = self::boot(&conn).map_err(sql)?.as_deref() != Some(boot);
        if first || size <= CHECKED_ALWAYS {
            check_whole(&conn, &path)?;
            know_pages(&conn);
        }
    }
    conn.pragma_update(None, "journal_size_limit", LOG).map_err(sql)?;
    // Whoever has the gate waits for nobody else, as a rule.
    conn.busy_timeout(LOCKED).map_err(sql)?;
    flush_commits(&conn, safety == Safety::Power).map_err(sql)?;
    schema::migrate(&mut conn, schema::MIGRATIONS).map_err(sql)?;
    Ok(conn)
}

/// Says whether each commit waits until it is on disk, from the next one on.
fn flush_commits(conn: &Connection, flush: bool) -> rusqlite::Result<()> {
    conn.pragma_update(None, "synchronous", if flush { "full" } else { "normal" })
}

/// Has commits wait for no disk at all, or each wait again, from the next one on. What moves the log into the
/// file flushes it first, and tells nobody where that fails: it waits for a commit that is flushed.
pub(crate) fn put_off_flushes(conn: &Connection, put_off: bool) -> rusqlite::Result<()> {
    conn.pragma_update(None, "wal_autocheckpoint", if put_off { 0 } else { MOVED })?;
    flush_commits(conn, !put_off)
}

/// Opens the database for reading, with whatever rights the files give. Returns its version, too.
///
/// Root reads a folder that is another user's: whatever that one puts there, no link is followed.
pub(crate) fn reader(place: &Place) -> Result<(Connection, u32), Trouble> {
    let path = place.database();
    let sql = |error: rusqlite::Error| Trouble::database(&path, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    // That flag is about the folders above as well, where links are in order.
    let folder = place.folder().canonicalize().unwrap_or_else(|_| place.folder().to_owned());
    let real = Place::new(folder).database();
    // SQLite would remove the log of an empty one.
    check_cut(place)?;
    let conn = Connection::open_with_flags(&real, flags).map_err(sql)?;
    settle(&conn).map_err(sql)?;
    conn.pragma_update(None, "query_only", true).map_err(sql)?;
    let version = check_kind(&conn, &path)?;
    Ok((conn, version))
}

fn settle(conn: &Connection) -> rusqlite::Result<()> {
    // A reader without rights could not make `-wal` and `-shm` again; and a file that was found
    // damaged is not written when we let go of it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Without this a statement is planned anew with each new value that a partial index may depend
    // on: a third of the time of an item.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    conn.set_prepared_statement_cache_capacity(64);
    Ok(())
}

fn number(conn: &Connection, pragma: &str) -> rusqlite::Result<u32> {
    conn.pragma_query_value(None, pragma, |row| row.get(0))
}

/// Refuses what is no plain file: whoever opens a pipe may wait for ever.
fn check_plain(paths: &[&Path]) -> Result<(), Trouble> {
    let is_other = |path: &&&Path| fs::metadata(path).is_ok_and(|found| !found.is_file());
    match paths.iter().find(is_other) {
        Some(path) => Err(Trouble::NotOurs { path: path.to_path_buf() }),
        None => Ok(()),
    }
}

/// Refuses what is left of a store that was used, where `SQLite` takes it for a new one: its log would
/// be written over, and nobody told.
fn check_cut(place: &Place) -> Result<(), Trouble> {
    let path = place.database();
    check_plain(&[&path, &place.log()])?;
    // Where nothing can be known, whoever opens the file says why.
    let len = |path: &Path| fs::metadata(path).map(|found| found.len()).ok();
    // Where it is begun, what is in the file is there before the log, and both before a taker is.
    let size = len(&path);
    match size {
        Some(HEADER..) => return Ok(()),
        Some(1..) => return Err(Trouble::NotOurs { path }),
        Some(0) | None => {}
    }
    let has_log = len(&place.log()).is_some_and(|len| len > 0);
    // One that was moved away may be begun anew, whatever else is there.
    let had_takers = || fs::read_dir(place.takers()).is_ok_and(|mut all| all.next().is_some());
    if has_log || size.is_some() && had_takers() {
        let how = if size.is_some() { "is empty" } else { "is missing" };
        return Err(Trouble::Lost { path, how, has_log });
    }
    Ok(())
}

/// Nobody has made anything in it: we may, also where an earlier life of ours was killed at it.
fn is_empty(conn: &Connection) -> rusqlite::Result<bool> {
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: u32 = conn.query_row(tables, [], |row| row.get(0))?;
    Ok(tables == 0 && number(conn, "application_id")? == 0 && number(conn, "user_version")? == 0)
}

fn check_kind(conn: &Connection, path: &Path) -> Result<u32, Trouble> {
    let sql = |error: rusqlite::Error| Trouble::database(path, &error);
    if number(conn, "application_id").map_err(sql)? != schema::APPLICATION {
        return Err(Trouble::NotOurs { path: path.to_owned() });
    }
    let (found, known) = (number(conn, "user_version").map_err(sql)?, schema::VERSION);
    if found > known {
        return Err(Trouble::Newer { path: path.to_owned(), found, known });
    }
    Ok(found)
}

/// The tables' definitions are text that the check takes as it is: they must be ours.
fn check_tables(conn: &Connection, path: &Path, version: u32) -> Result<(), Trouble> {
    let sql = |error: rusqlite::Error| Trouble::database(path, &error);
    let ours = schema::definitions_of(version).map_err(sql)?;
    if schema::definitions(conn).map_err(sql)? == ours {
        return Ok(());
    }
    let what = "its tables are not those of its version".to_owned();
    Err(Trouble::Damaged { path: path.to_owned(), what })
}

pub(crate) fn check_whole(conn: &Connection, path: &Path) -> Result<(), Trouble> {
    let sql = |error: rusqlite::Error| Trouble::database(path, &error);
    let check = "PRAGMA integrity_check(1)";
    let said: String = conn.query_row(check, [], |row| row.get(0)).map_err(sql)?;
    if said == "ok" {
        return Ok(());
    }
    Err(Trouble::Damaged { path: path.to_owned(), what: said.replace('\n', ": ") })
}

/// Writes a file anew that was made without knowing where its pages belong. Where that cannot be, since
/// the disk has no room for the second, it stays as it is: it only does not get smaller.
fn know_pages(conn: &Connection) {
    if !matches!(number(conn, "auto_vacuum"), Ok(0)) {
        return;
    }
    // The second is as large as the first: not in memory.
    let _ = conn.execute_batch("PRAGMA temp_store = file; PRAGMA auto_vacuum = 2; VACUUM;");
    let _ = conn.pragma_update(None, "temp_store", "memory");
}

/// Returns what names the run of the machine that the store was last used in.
pub(crate) fn boot(conn: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE key = 'boot'";
    conn.query_row(sql, [], |row| row.get(0)).optional()
}
