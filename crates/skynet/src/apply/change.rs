//! Whether a service runs with what it would be started with now.

use super::plan::Change;
use crate::life::care;
use crate::service::Service;
use daemontools::observe::Snapshot;
use exo::config::{self, Loaded, OWN_FILE};
use exo::control::Request;
use exo::settings::Mode;
use ondisk::names::RUN;
use ondisk::tai64n::Stamp;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An exo answers within a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer.
const LONGEST: u64 = 4 << 20;
/// The part that is different where the directory was replaced.
const DIRECTORY: &str = "its directory";

/// Looks at a service; returns what is different, and in words which part, or what is wrong.
///
/// A file counts as changed if it, or its name, was changed behind the start of the service: no
/// supervise remembers what it ran. An exo says which configuration it has.
pub(super) fn look(service: &Service, dir: &Path, snapshot: &Snapshot) -> (Change, Vec<String>) {
    let loaded = match service.is_participant.then(|| service.load()) {
        Some(Err(why)) => return (Change::Broken, why.lines),
        Some(Ok(loaded)) => Some(loaded),
        None => None,
    };
    let Some(half) = snapshot.half.filter(|_| snapshot.kept && snapshot.is_up()) else {
        // The next start takes what is there, but for a supervise in a directory that was replaced.
        let is_older = care::is_due(snapshot) && is_left_behind(service, dir, snapshot);
        let changed: Vec<_> = is_older.then(|| DIRECTORY.to_owned()).into_iter().collect();
        return (if is_older { Change::Changed } else { Change::None }, changed);
    };
    let since = half.status.since;
    let run = dir.join(OsStr::from_bytes(RUN.to_bytes()));
    let mut changed = Vec::new();
    if is_left_behind(service, dir, snapshot) {
        changed.push(DIRECTORY.to_owned());
    }
    if is_newer(&run, since) {
        changed.push("run".to_owned());
    }
    if let Some(loaded) = loaded {
        changed.extend(of_participant(&loaded, dir, since));
    }
    let change = if changed.is_empty() { Change::None } else { Change::Changed };
    (change, changed)
}

fn is_left_behind(service: &Service, dir: &Path, snapshot: &Snapshot) -> bool {
    service.is_linked && care::is_left_behind(snapshot, dir)
}

fn of_participant(loaded: &Loaded, dir: &Path, since: Stamp) -> Vec<String> {
    let settings = &loaded.settings;
    let mut changed = Vec::new();
    let running = care::socket_of(settings).and_then(|socket| digest(&socket));
    let is_other = match running {
        Some(running) => running != config::digest(settings),
        // One that cannot say: an older one, or another exoskeleton.
        None => is_newer(&dir.join(OWN_FILE), since),
    };
    if is_other {
        changed.push("its configuration".to_owned());
    }
    // Where each item has a process of its own, the next one is of the new code anyway.
    let words = settings.command.iter().filter(|_| settings.mode == Mode::Persistent);
    let files = words.map(|word| Path::new(OsStr::from_bytes(word.to_bytes())));
    let files = files.filter(|file| dir.join(file).is_file() && is_newer(&dir.join(file), since));
    changed.extend(files.map(|file| file.display().to_string()));
    changed
}

/// Asks a running exo which configuration it has.
fn digest(socket: &Path) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(&Request::Status.line()).ok()?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line).ok()?;
    let answer: Value = serde_json::from_str(&line).ok()?;
    answer["status"]["config"].as_str().map(str::to_owned)
}

/// Tells whether a file, or the link to it, changed behind a moment, its name included.
fn is_newer(path: &Path, since: Stamp) -> bool {
    let changed = |stat: fs::Metadata| {
        let nanos = u32::try_from(stat.ctime_nsec()).unwrap_or(0);
        Stamp::from_unix(stat.ctime(), nanos) > since
    };
    let both = [fs::symlink_metadata(path), fs::metadata(path)];
    both.into_iter().any(|stat| stat.is_ok_and(changed))
}
