//! The loggers that are compared, and how each is told to do the same thing: files of 16 MiB, ten
//! of them kept.

use crate::peer::{Family, Folders, Peer};
use crate::trouble::{Result, Unable};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

/// The limit: lines go into a file, and nothing else happens to them.
pub(crate) const FILE: &str = "cat >file";
/// The other limit: lines go nowhere.
pub(crate) const NOWHERE: &str = "cat >/dev/null";

/// What a logger is asked to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Job {
    /// Write every line as it is.
    Plain,
    /// Write a TAI64N stamp before each.
    Stamps,
    /// Select lines by ten patterns.
    Select,
}

/// Ten patterns that mean the same to all: `+` or `-`, the words in front of the line's first and
/// second colon or space; `*` = any name.
const PATTERNS: [(char, &str, &str); 10] = [
    ('-', "*", ""),
    ('+', "*", "error "),
    ('+', "*", "warn "),
    ('+', "web", "info "),
    ('-', "web", "info health"),
    ('-', "web", "info GET /static"),
    ('+', "db", ""),
    ('-', "db", "trace "),
    ('-', "db", "debug "),
    ('+', "queue", "info took "),
];

/// Returns the loggers that are on this machine, ours first, the limits last.
pub(crate) fn installed(folders: &Folders) -> Vec<Peer> {
    let mut all = crate::peer::loggers(folders);
    all.push(Peer::limit(FILE));
    all.push(Peer::limit(NOWHERE));
    all
}

/// Returns a peer's logger that does `job` in the directory `log`, which is not there yet; `None`
/// where it cannot.
pub(crate) fn command(peer: &Peer, log: &Path, job: Job) -> Result<Option<Command>> {
    fs::create_dir(log).unable(|| format!("make {}", log.display()))?;
    if peer.family == Family::Floor {
        return limit(peer, log, job);
    }
    let Some(mut command) = peer.logger() else { return Ok(None) };
    let dir = Path::new(".").join(log.file_name().unwrap_or_default());
    command.current_dir(log.parent().unwrap_or(log));
    match peer.family {
        Family::Runit => {
            let patterns = patterns(job, simple).join("\n");
            let config = format!("s16777216\nn10\n{patterns}\n");
            let path = log.join("config");
            fs::write(&path, config).unable(|| format!("write {}", path.display()))?;
            command.args((job == Job::Stamps).then_some("-t")).arg(dir);
        }
        Family::S6 => {
            command.args((job == Job::Stamps).then_some("t"));
            command.args(["n10", "s16777216"]).args(patterns(job, regular)).arg(dir);
        }
        Family::Daemontools | Family::Floor => {
            command.args((job == Job::Stamps).then_some("t"));
            command.args(["n10", "s16777215"]).args(patterns(job, simple)).arg(dir);
        }
    }
    Ok(Some(command))
}

fn limit(peer: &Peer, log: &Path, job: Job) -> Result<Option<Command>> {
    if job != Job::Plain {
        return Ok(None);
    }
    let target = log.join("current");
    let target = if peer.name == FILE { target.as_path() } else { Path::new("/dev/null") };
    let file = File::create(target).unable(|| format!("make {}", target.display()))?;
    let mut command = Command::new("cat");
    command.stdout(Stdio::from(file));
    Ok(Some(command))
}

fn patterns(job: Job, write: fn(char, &str, &str) -> String) -> Vec<String> {
    let all = PATTERNS.iter().filter(|_| job == Job::Select);
    all.map(|(sign, name, words)| write(*sign, name, words)).collect()
}

/// multilog's patterns, which svlogd has too.
fn simple(sign: char, name: &str, words: &str) -> String {
    if (name, words) == ("*", "") { format!("{sign}*") } else { format!("{sign}{name}: {words}*") }
}

/// s6-log's regular expressions; an empty one is everything.
fn regular(sign: char, name: &str, words: &str) -> String {
    match (name, words) {
        ("*", "") => sign.into(),
        ("*", words) => format!("{sign}^[^:]*: {words}"),
        (name, words) => format!("{sign}^{name}: {words}"),
    }
}
