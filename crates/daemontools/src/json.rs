//! svstat's objects: all that is known of a service, for programs.
//!
//! One object a line. Every field is always there; what is not known, or has no meaning for a
//! service in this state, is null. A name or directory that is not UTF-8 has U+FFFD in place of
//! each wrong sequence, and is followed by a field `name_hex` or `dir_hex` with its exact bytes;
//! only then is that field there. Control characters are always written as `\u00NN`.
//! svstat(8) lists the fields.

use crate::observe::{self, Boot, Half, Life, Seen, Snapshot, Trouble};
use crate::show;
use crate::svpath::Paths;
use ondisk::names::{LOG, LOG_RECORD, RECORD};
use ondisk::record::{Exit, Phase, Record};
use ondisk::status::{Status, Want};
use ondisk::tai64n::Stamp;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::linux::errno::Errno;
use sys::linux::file::{self, HERE};

/// Writes the object of the service directory `dir`, its logger's inside.
pub fn service(out: &mut String, dir: &OsStr, paths: &mut Paths, boot: &Boot, now: Stamp) {
    let mut object = Object::begin(out);
    object.bytes("name", name_of(dir).as_bytes());
    object.bytes("dir", dir.as_bytes());
    let logger = match paths.set(dir.as_bytes()).and_then(|()| paths.check()) {
        Ok(()) => {
            let view = View::of_service(paths, boot);
            view.write(&mut object, now);
            Logger::find(dir, paths, boot)
        }
        Err(why) => {
            View::of_trouble(Trouble::Chdir(why), paths).write(&mut object, now);
            None
        }
    };
    object.key("log");
    match logger {
        None => object.out.push_str("null"),
        Some(Logger { dir, view }) => {
            let mut inner = Object::begin(object.out);
            inner.bytes("name", LOG.to_bytes());
            inner.bytes("dir", dir.as_bytes());
            view.write(&mut inner, now);
            inner.end();
        }
    }
    object.end();
}

/// Returns the last part of a path; of the real path where it is `.` or ends in `..`.
fn name_of(dir: &OsStr) -> OsString {
    let path = Path::new(dir);
    let real = || path.canonicalize().ok()?.file_name().map(OsStr::to_owned);
    let last = path.file_name().map(OsStr::to_owned);
    last.or_else(real).unwrap_or_else(|| dir.to_owned())
}

/// A logger and where it is kept.
struct Logger {
    /// Its own service directory, or the service's where it is a script.
    dir: OsString,
    view: View,
}

impl Logger {
    /// Finds the logger of the directory that `paths` is at; goes elsewhere with `paths`.
    fn find(dir: &OsStr, paths: &mut Paths, boot: &Boot) -> Option<Self> {
        let is_dir = file::stat(HERE, paths.in_dir(LOG), true).is_ok_and(|log| log.is_dir());
        if is_dir {
            let dir = Path::new(dir).join("log").into_os_string();
            paths.set(dir.as_bytes()).ok()?;
            return Some(Self { view: View::of_service(paths, boot), dir });
        }
        let record = observe::read_record(paths, LOG_RECORD);
        let half = observe::read_status(paths).ok().and_then(|status| status.logger());
        let (half, record) = match (half, record) {
            (None, None) => return None,
            (None, Some(record)) => (of_record(&record), Some(record)),
            (Some(half), record) => (half, record),
        };
        let kept = observe::is_kept(paths).unwrap_or(false);
        let normally_up = observe::is_normally_up(paths).ok();
        let now = Snapshot::new(kept, Some(half), record, boot);
        Some(Self { dir: dir.to_owned(), view: View { normally_up, now, error: None } })
    }
}

/// Returns what a status would say where only a record is.
fn of_record(record: &Record) -> Half {
    let Record { since, paused, want, .. } = *record;
    Half { status: Status { since, pid: record.process.pid, paused, want }, state: None }
}

/// What an object tells of one process.
struct View {
    normally_up: Option<bool>,
    now: Snapshot,
    /// Why nothing, or not all, could be read.
    error: Option<String>,
}

impl View {
    fn of_service(paths: &mut Paths, boot: &Boot) -> Self {
        match observe::look(paths) {
            Ok(Seen { normally_up, status }) => Self {
                normally_up: Some(normally_up),
                now: whole(true, status.service(), paths, boot),
                error: None,
            },
            // The service may live on: then its record knows it.
            Err(Trouble::NotRunning) => {
                let mut view = Self::of_trouble(Trouble::NotRunning, paths);
                view.error = None;
                view.normally_up = observe::is_normally_up(paths).ok();
                if let Ok(status) = observe::read_status(paths) {
                    view.now = whole(false, status.service(), paths, boot);
                }
                view
            }
            Err(trouble) => {
                let mut view = Self::of_trouble(trouble, paths);
                view.normally_up = observe::is_normally_up(paths).ok();
                // No supervise was ever here: nothing is wrong.
                if trouble == Trouble::OpenOk(Errno(libc::ENOENT)) {
                    view.error = None;
                }
                view.now.kept = observe::is_kept(paths).unwrap_or(false);
                view
            }
        }
    }

    fn of_trouble(trouble: Trouble, paths: &Paths) -> Self {
        let mut text = Vec::new();
        show::why(&mut text, trouble, paths);
        let now =
            Snapshot { kept: false, half: None, record: None, life: Life::Over, is_torn: false };
        let error = Some(String::from_utf8_lossy(&text).into_owned());
        Self { normally_up: None, now, error }
    }

    fn write(&self, object: &mut Object<'_>, now: Stamp) {
        let Snapshot { kept, half, record, life, .. } = &self.now;
        let status = half.map(|half| half.status);
        let since = status.map(|status| status.since);
        object.plain("supervised", kept);
        object.plain("up", self.now.is_up());
        let pid = status.filter(|_| *life == Life::Certain).map(|status| status.pid);
        object.optional("pid", pid);
        object.time("since", since);
        object.optional("seconds", status.map(|status| show::seconds(&status, now)));
        object.word("want", status.map(|status| want_word(status.want)));
        object.optional("paused", status.map(|s| s.paused && s.pid != 0));
        object.word("normally", self.normally_up.map(|up| if up { "up" } else { "down" }));
        object.plain("ready", self.now.is_ready());
        object.word("state", self.now.phase().map(phase_word));
        object.key("last_exit");
        write_exit(object.out, record.as_ref());
        object.optional("restarts", record.map(|record| record.restarts));
        object.optional("adopted", record.map(|record| record.adopted));
        object.word("error", self.error.as_deref());
    }
}

/// Puts together what belongs to one moment: the status is replaced and the record overwritten one
/// after the other, so what does not fit is read again.
fn whole(kept: bool, half: Half, paths: &mut Paths, boot: &Boot) -> Snapshot {
    const ATTEMPTS: usize = 3;
    let mut now = Snapshot::new(kept, Some(half), None, boot);
    let mut half = half;
    for _ in 0..ATTEMPTS {
        let Some(record) = observe::read_record(paths, RECORD) else { break };
        now = Snapshot::new(kept, Some(half), Some(record), boot);
        if now.record.is_some() {
            break;
        }
        let Ok(status) = observe::read_status(paths) else { break };
        half = status.service();
    }
    now
}

fn want_word(want: Want) -> &'static str {
    match want {
        Want::Up => "up",
        Want::Down => "down",
        Want::Once => "once",
    }
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Down => "down",
        Phase::Due => "due",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Started => "started",
        Phase::Stopping => "stopping",
        Phase::Failed => "failed",
    }
}

fn write_exit(out: &mut String, record: Option<&Record>) {
    let (kind, number) = match record.map_or(Exit::None, |record| record.last_exit) {
        Exit::None => {
            out.push_str("null");
            return;
        }
        Exit::Code(code) => ("code", Some(("code", code))),
        Exit::Signal(signal) => ("signal", Some(("signal", signal))),
        Exit::Unknown => ("unknown", None),
        Exit::NotRun(errno) => ("not-run", Some(("errno", errno))),
    };
    let mut object = Object::begin(out);
    object.word("kind", Some(kind));
    if let Some((key, number)) = number {
        object.plain(key, number);
    }
    if let Some(Exit::NotRun(errno)) = record.map(|record| record.last_exit) {
        object.word("reason", Some(Errno(errno).text()));
    }
    object.time("at", record.and_then(|record| record.died));
    object.end();
}

/// An object that is being written.
struct Object<'a> {
    out: &'a mut String,
    first: bool,
}

impl<'a> Object<'a> {
    fn begin(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    fn end(self) {
        self.out.push('}');
    }

    fn key(&mut self, key: &str) {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        // Keys are ours: nothing in them needs escaping.
        let _ = write!(self.out, "\"{key}\":");
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        let _ = write!(self.out, "{value}");
    }

    fn optional(&mut self, key: &str, value: Option<impl std::fmt::Display>) {
        match value {
            Some(value) => self.plain(key, value),
            None => self.plain(key, "null"),
        }
    }

    fn word(&mut self, key: &str, value: Option<&str>) {
        let Some(value) = value else { return self.plain(key, "null") };
        self.key(key);
        string(self.out, value);
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        string(self.out, &String::from_utf8_lossy(value));
        if std::str::from_utf8(value).is_err() {
            self.key(&format!("{key}_hex"));
            self.out.push('"');
            for byte in value {
                let _ = write!(self.out, "{byte:02x}");
            }
            self.out.push('"');
        }
    }

    fn time(&mut self, key: &str, stamp: Option<Stamp>) {
        self.word(key, stamp.and_then(iso8601).as_deref());
    }
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Returns a stamp as `2026-11-22T14:45:03.123456789Z`; `None` where the year does not have four
/// digits or there is a second's worth of nanoseconds: nobody wrote such a stamp.
#[must_use]
pub fn iso8601(stamp: Stamp) -> Option<String> {
    const DAY: i64 = 86_400;
    let unix = stamp.unix_seconds();
    let (days, second) = (unix.div_euclid(DAY), unix.rem_euclid(DAY));
    let (year, month, day) = civil(days)?;
    if stamp.nanos >= 1_000_000_000 {
        return None;
    }
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    Some(format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{:09}Z", stamp.nanos))
}

/// Returns the Gregorian date of a day counted from 1970, for the years 0 to 9999.
fn civil(days: i64) -> Option<(i64, i64, i64)> {
    // Counted from 1 March of year 0, so that the leap day is the last of its year.
    const TO_1970: i64 = 719_468;
    const ERA: i64 = 146_097;
    if !(-719_528..2_932_897).contains(&days) {
        return None;
    }
    let days = days + TO_1970;
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Some((era * 400 + year_of_era + i64::from(month <= 2), month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_and_wrong_utf8_is_told_in_hex() {
        let mut out = String::new();
        let mut object = Object::begin(&mut out);
        object.bytes("a", "ü\"\\\n\x1b\u{9b}".as_bytes());
        object.bytes("b", b"x\xff");
        object.end();
        let expected =
            concat!(r#"{"a":"ü\"\\\n\u001b\u009b","b":"x"#, "\u{fffd}", r#"","b_hex":"78ff"}"#);
        assert_eq!(out, expected);
    }

    #[test]
    fn dates_are_gregorian() {
        let at = |seconds| iso8601(Stamp::from_unix(seconds, 5)).unwrap();
        assert_eq!(at(0), "1970-01-01T00:00:00.000000005Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59.000000005Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000000005Z");
        assert_eq!(at(4_107_542_399), "2100-02-28T23:59:59.000000005Z");
        assert_eq!(at(253_402_300_799), "9999-12-31T23:59:59.000000005Z");
        assert_eq!(at(-62_167_219_200), "0000-01-01T00:00:00.000000005Z");
        assert_eq!(iso8601(Stamp::from_unix(253_402_300_800, 0)), None);
        assert_eq!(iso8601(Stamp::from_unix(-62_167_219_201, 0)), None);
        assert_eq!(iso8601(Stamp::from_unix(0, 1_000_000_000)), None);
        assert_eq!(iso8601(Stamp::default()), None);
    }

    #[test]
    fn a_directory_s_name_is_its_last_part() {
        assert_eq!(name_of("/etc/service/web/".as_ref()), "web");
        assert_eq!(name_of("/usr/.".as_ref()), "usr");
        assert_eq!(name_of("/".as_ref()), "/");
    }
}
