//! svstat's lines: daemontools' to the byte, daemontools-encore's additions where it rules.

use crate::observe::{Half, Seen, Trouble};
use crate::svpath::Paths;
use ondisk::names::{COMPAT, OK, STATUS, says_encore};
use ondisk::status::{State, Status, Want};
use ondisk::tai64n::Stamp;
use sys::linux::decimal::Decimal;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd;
use sys::linux::file::{self, HERE};

/// Which of a service and its logger are asked for: encore's `-l`, `-L`, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The service, and the logger where the status tells of one.
    Both,
    /// `-l`: the service.
    Service,
    /// `-L`: the logger.
    Logger,
}

/// Writes svstat's line, or two, for the directory `name`.
pub fn lines(
    out: &mut Vec<u8>,
    name: &[u8],
    seen: &core::result::Result<Seen, Trouble>,
    paths: &mut Paths,
    (encore, which): (bool, Which),
    now: Stamp,
) {
    out.extend_from_slice(name);
    match seen {
        Err(trouble) => {
            out.extend_from_slice(b": ");
            why(out, *trouble, paths);
        }
        Ok(seen) => {
            let service = seen.status.service();
            // Only a status of encore's length can tell what its lines tell.
            let encore = service.state.is_some() && (encore || encore_rules_in(paths));
            let logger = seen.status.logger().filter(|_| encore);
            if which != Which::Logger {
                out.extend_from_slice(b": ");
                half(out, &service, seen.normally_up, encore, now);
            }
            match (which, logger) {
                (Which::Service, _) | (Which::Both, None) => {}
                (Which::Logger, None) => out.extend_from_slice(b": no log service"),
                (_, Some(logger)) => {
                    if which == Which::Both {
                        out.push(b'\n');
                        out.extend_from_slice(name);
                    }
                    out.extend_from_slice(b" log: ");
                    half(out, &logger, seen.normally_up, true, now);
                }
            }
        }
    }
    out.push(b'\n');
}

/// Tells whether the service directory's file `compat` says that encore rules.
fn encore_rules_in(paths: &mut Paths) -> bool {
    let mut bytes = [0; 64];
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let read = file::open(HERE, paths.in_dir(COMPAT), flags, 0)
        .and_then(|file| fd::read(file.raw(), &mut bytes));
    let Ok(len) = read else { return false };
    says_encore(&bytes[..len])
}

fn half(out: &mut Vec<u8>, half: &Half, normally_up: bool, encore: bool, now: Stamp) {
    let status = &half.status;
    let up = status.pid != 0;
    if up {
        out.extend_from_slice(b"up (pid ");
        out.extend_from_slice(Decimal::of(u64::from(status.pid)).digits());
        out.extend_from_slice(b") ");
    } else {
        out.extend_from_slice(b"down ");
    }
    out.extend_from_slice(Decimal::of(seconds(status, now)).digits());
    out.extend_from_slice(b" seconds");
    let suffixes = [
        (up && !normally_up, ", normally down"),
        (!up && normally_up, ", normally up"),
        (up && status.paused, ", paused"),
        (!up && status.want == Want::Up, ", want up"),
        (up && status.want == Want::Down, ", want down"),
        (encore && up && status.want == Want::Once, ", once"),
    ];
    for (_, text) in suffixes.iter().filter(|(applies, _)| *applies) {
        out.extend_from_slice(text.as_bytes());
    }
    if let Some(byte) = half.state.filter(|_| encore) {
        out.extend_from_slice(b", ");
        out.extend_from_slice(
            State::from_byte(byte).map_or("status unknown", State::word).as_bytes(),
        );
    }
}

/// Returns the seconds since the last change as daemontools counts them: stamps without their
/// nanoseconds, the difference as a floating-point number.
#[must_use]
pub fn seconds(status: &Status, now: Stamp) -> u64 {
    let whole = |stamp: Stamp| Stamp { nanos: 0, ..stamp };
    let seconds = whole(status.since).seconds_until(whole(now));
    #[allow(clippy::cast_precision_loss)]
    let rounded = seconds as f64;
    rounded as u64
}

/// Writes why a status cannot be told.
pub fn why(out: &mut Vec<u8>, trouble: Trouble, paths: &Paths) {
    let mut system = |verb: &str, file: &[u8], why: Errno| {
        for part in [verb.as_bytes(), file, b": ", why.text().as_bytes()] {
            out.extend_from_slice(part);
        }
    };
    match trouble {
        Trouble::Chdir(why) => system("unable to chdir", b"", why),
        Trouble::StatDown(why) => system("unable to stat down", b"", why),
        Trouble::NotRunning => out.extend_from_slice(b"supervise not running"),
        Trouble::OpenOk(why) => system("unable to open ", &paths.shown(OK), why),
        Trouble::OpenStatus(why) => system("unable to open ", &paths.shown(STATUS), why),
        Trouble::ReadStatus(Some(why)) => system("unable to read ", &paths.shown(STATUS), why),
        Trouble::ReadStatus(None) => {
            out.extend_from_slice(b"unable to read ");
            out.extend_from_slice(&paths.shown(STATUS));
            out.extend_from_slice(b": bad format");
        }
    }
}

/// Writes all of `bytes` to descriptor 1.
///
/// # Errors
/// As write(2).
pub fn print(mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        let n = fd::write(1, bytes)?;
        bytes = bytes.get(n..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::StatusFile;

    fn line(file: &[u8], normally_up: bool, encore: bool, which: Which) -> String {
        let mut out = Vec::new();
        let seen = Ok(Seen { normally_up, status: StatusFile::from_bytes(file).unwrap() });
        let mut paths = Paths::new(b"supervise");
        paths.set(b"/nowhere").unwrap();
        let now = Stamp::from_unix(107, 0);
        lines(&mut out, b"web", &seen, &mut paths, (encore, which), now);
        String::from_utf8(out).unwrap()
    }

    fn status(pid: u32, paused: bool, want: Want) -> Status {
        Status { since: Stamp::from_unix(100, 999_999_999), pid, paused, want }
    }

    #[test]
    fn suffixes_come_in_daemontools_order() {
        let down = status(7, true, Want::Down).to_bytes();
        let said = "web: up (pid 7) 7 seconds, normally down, paused, want down\n";
        assert_eq!(line(&down, false, false, Which::Both), said);
        let up = status(0, false, Want::Up).to_bytes();
        assert_eq!(
            line(&up, true, true, Which::Both),
            "web: down 7 seconds, normally up, want up\n"
        );
        let once = status(9, false, Want::Once).to_bytes();
        assert_eq!(line(&once, true, true, Which::Both), "web: up (pid 9) 7 seconds\n");
    }

    #[test]
    fn encore_s_additions_come_only_where_it_rules() {
        let mut both = status(9, false, Want::Once).to_encore_bytes(State::Running).to_vec();
        assert_eq!(line(&both, true, false, Which::Both), "web: up (pid 9) 7 seconds\n");
        assert_eq!(
            line(&both, true, true, Which::Both),
            "web: up (pid 9) 7 seconds, once, running\n"
        );
        assert_eq!(line(&both, true, true, Which::Logger), "web: no log service\n");
        both.extend(status(8, false, Want::Up).to_encore_bytes(State::Running));
        let log = "web log: up (pid 8) 7 seconds, running\n";
        assert_eq!(line(&both, true, true, Which::Logger), log);
        let all = format!("web: up (pid 9) 7 seconds, once, running\n{log}");
        assert_eq!(line(&both, true, true, Which::Both), all);
        assert_eq!(
            line(&both, true, true, Which::Service),
            all.lines().next().unwrap().to_owned() + "\n"
        );
        both[18] = 77;
        assert!(line(&both, true, true, Which::Service).ends_with(", status unknown\n"));
    }

    #[test]
    fn elapsed_seconds_are_daemontools_to_the_digit() {
        let far = Status { since: Stamp::default(), ..status(0, false, Want::Up) };
        // Measured with the original: a stamp of zero bytes.
        assert_eq!(seconds(&far, Stamp::from_unix(1_795_359_000, 0)) % 512, 0);
        let future = Status { since: Stamp::from_unix(200, 0), ..far };
        assert_eq!(seconds(&future, Stamp::from_unix(107, 0)), 0);
    }
}
