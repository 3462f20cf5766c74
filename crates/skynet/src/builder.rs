//! Builds a participant: runs the command that its exo.yaml names, as a user without rights.
//!
//! What root runs is not decided by a build: files that supervise and exo read are never taken from it.

use crate::failure::Failure;
use crate::here::Here;
use crate::screen::clean;
use crate::stage::{Installed, Stage};
use crate::tree::copy;
use exo::config::OWN_FILE;
use exo::settings::Settings;
use ondisk::names;
use std::ffi::{CStr, OsStr};
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::lchown;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path};
use std::process::{Command, ExitStatus, Stdio};
use sys::account;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::process;
use sys::linux::signal::numbers::{SIGINT, SIGKILL, SIGTERM};
use sys::linux::signal::{self, Set};

/// What supervise reads in a service directory, besides what is below `log`.
const OF_SUPERVISE: [&CStr; 10] = [
    names::SUPERVISE,
    names::LOG,
    names::DOWN,
    names::RUN,
    names::START,
    names::STOP,
    names::NOTIFY,
    names::NO_SETSID,
    names::COMPAT,
    names::FAILURE_CODES,
];
/// What no directory is installed with: what other tools keep there.
const LEFT_OUT: [&str; 5] = [".git", ".hg", ".svn", "__pycache__", ".home"];
/// The longest line of a build that is shown in one piece.
const LINE: usize = 4096;

/// Tells whether a path below a service directory is what others keep there and is not installed.
#[must_use]
pub fn is_left_out(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default();
    let is_cargo_s = path == Path::new("target");
    let is_state =
        ["supervise", "down", "log/supervise", "log/main"].iter().any(|p| path == Path::new(p));
    is_cargo_s || is_state || LEFT_OUT.iter().any(|left| name == *left)
}

/// Tells whether a path below a service directory is read by supervise or exo, which root may run.
fn is_protected(path: &Path) -> bool {
    let Some(Component::Normal(first)) = path.components().next() else { return false };
    let known = OF_SUPERVISE.iter();
    first == OWN_FILE
        || known.map(|name| OsStr::from_bytes(name.to_bytes())).any(|name| name == first)
}

/// Builds what is staged, in a copy, and takes what came of it.
///
/// # Errors
/// The command cannot be run or fails, or what it left cannot be taken.
pub fn build(
    here: &Here,
    installed: &Installed,
    stage: &Stage<'_>,
    name: &str,
    settings: &Settings,
) -> Result<(), Failure> {
    let work = installed.workplace(name)?;
    copy::copy(&copy::open(&stage.dir)?, &stage.dir, &work.dir, &|_| false)?;
    let owner = settings.user.as_deref().filter(|_| here.is_system()).map(|user| {
        let found = account::find(user.as_bytes());
        found.ok_or_else(|| Failure::trouble(format!("unable to find account {user}")))
    });
    let owner = owner.transpose()?.map(|ids| (ids.uid, ids.gid));
    if let Some((uid, gid)) = owner {
        // The folder itself last: until then nobody else comes in.
        give(&work.dir, uid, gid)
            .map_err(|why| Failure::io("give away", work.dir.display(), &why))?;
    }
    run(here, &work.dir, settings, owner)?;
    take(&work.dir, stage)
}

fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    lchown(path, Some(uid), Some(gid))
}

/// Takes what a build left: everything but what root runs, which stays as it was.
fn take(work: &Path, stage: &Stage<'_>) -> Result<(), Failure> {
    let unable = |why: &io::Error| Failure::io("clear", stage.dir.display(), why);
    for entry in fs::read_dir(&stage.dir).map_err(|why| unable(&why))? {
        let entry = entry.map_err(|why| unable(&why))?;
        let path = entry.path();
        if is_protected(Path::new(&entry.file_name())) {
            continue;
        }
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let gone = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        gone.map_err(|why| unable(&why))?;
    }
    let out = |path: &Path| is_protected(path) || is_left_out(path);
    copy::copy(&copy::open(work)?, work, &stage.dir, &out)
}

/// Runs the command, and shows what it says without control characters.
fn run(
    here: &Here,
    work: &Path,
    settings: &Settings,
    owner: Option<(u32, u32)>,
) -> Result<(), Failure> {
    let words: Vec<&OsStr> =
        settings.build.iter().map(|w| OsStr::from_bytes(w.to_bytes())).collect();
    let shown = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let unable = |why: &io::Error| Failure::io("run", format!("the build, {shown}"), why);
    let (mut reader, writer) = io::pipe().map_err(|why| unable(&why))?;
    let errors = writer.try_clone().map_err(|why| unable(&why))?;
    // A session of its own: it has no terminal, and is ended as a whole.
    let mut command = Command::new(here.program("pgrphack"));
    command.args(&words).current_dir(work).stdin(Stdio::null()).stdout(writer).stderr(errors);
    if let Some((uid, gid)) = owner {
        command.env_clear().env("HOME", work.join(".home")).uid(uid).gid(gid);
        command.env("PATH", &settings.path);
    }
    command.envs(settings.environment.iter().map(|(name, value)| (name, value)));
    // From here on they are read: whoever is told to end ends the build first.
    let told = Set::of(&[SIGINT, SIGTERM]);
    told.block_only();
    let told = told.descriptor().map_err(|why| Failure::errno("watch for", "signals", why))?;
    let mut child = command.spawn().map_err(|why| unable(&why))?;
    drop(command);
    let heard = show(here, &mut reader, &told, child.id());
    // What we were told is read, so that it does not end us before we have tidied up.
    while signal::next(&told).is_some() {}
    Set::of(&[]).block_only();
    // What it left running has nothing to do any more.
    let _ = signal::kill(-child.id().cast_signed(), SIGKILL);
    let status = child.wait().map_err(|why| unable(&why))?;
    match heard {
        Ok(Heard::End) if status.success() => Ok(()),
        Ok(Heard::End) => {
            let end = end_of(status);
            Err(Failure::refused(format!("the build, {shown}, {end}; nothing is changed")))
        }
        Ok(Heard::Told) => Err(Failure::refused("told to end; nothing is changed")),
        Err(why) => Err(Failure::errno("hear", "the build", why)),
    }
}

enum Heard {
    /// The build has ended.
    End,
    /// We are told to.
    Told,
}

/// Shows what a build says, line by line, until it has ended: whoever it left behind may hold the pipe
/// as long as they like.
fn show(here: &Here, reader: &mut io::PipeReader, told: &Fd, pid: u32) -> Result<Heard, Errno> {
    let child = process::pidfd(pid.cast_signed())?;
    let mut lines = Lines { here, begun: Vec::new() };
    let mut is_open = true;
    loop {
        let pipe = if is_open { PollFd::readable(reader.as_raw_fd()) } else { PollFd::none() };
        let mut fds = [pipe, PollFd::readable(told.raw()), PollFd::readable(child.raw())];
        fd::poll(&mut fds, None)?;
        let [pipe, told, child] = fds.map(|fd| fd.is_ready());
        if told {
            return Ok(Heard::Told);
        }
        if pipe {
            let mut room = [0; 4096];
            let n = fd::read(reader.as_raw_fd(), &mut room)?;
            is_open = n > 0;
            lines.add(&room[..n]);
        } else if child {
            lines.end();
            return Ok(Heard::End);
        }
    }
}

/// What a build says, as lines without control characters.
struct Lines<'a> {
    here: &'a Here,
    begun: Vec<u8>,
}

impl Lines<'_> {
    fn add(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") || self.begun.len() >= LINE {
                self.end();
            }
        }
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.begun);
        let text = String::from_utf8_lossy(line.trim_ascii_end());
        if !text.is_empty() {
            // Nobody need be reading, and the build goes on.
            let _ = self.here.screen.put(&format!("  {}\n", clean(&text)));
        }
    }
}

fn end_of(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_runs_is_not_taken_from_a_build() {
        for path in
            ["run", "log", "log/run", "log/other", "exo.yaml", "start", "stop", "notify", "down"]
        {
            assert!(is_protected(Path::new(path)), "{path}");
        }
        for path in ["work", "src/run", "lib/exo.yaml", "runs"] {
            assert!(!is_protected(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn the_state_of_a_service_is_not_copied_with_its_directory() {
        for path in
            ["supervise", "log/supervise", "log/main", "down", ".git", "a/__pycache__", "target"]
        {
            assert!(is_left_out(Path::new(path)), "{path}");
        }
        for path in ["run", "log/run", "src/target", "a/down", "main"] {
            assert!(!is_left_out(Path::new(path)), "{path}");
        }
    }
}
