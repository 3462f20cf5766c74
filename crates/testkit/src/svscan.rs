//! A svscan over a folder that a test starts, injects faults into, kills and starts again.

use crate::scratch::{Scratch, is_supervised, is_zombie, script};
use crate::suite::{Suite, program};
use crate::wait::{holds_within, until};
use linux::signal::{self, numbers as n};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// Seconds in which whatever is to happen has happened on a busy machine.
pub const SOON: u64 = 30;

/// A `run` that adds a line to `starts` for each start, and one to `twice` where another copy of
/// it runs; then runs until it is killed.
pub const COUNTED: &str = "#!/bin/sh\nexec 9>>copy\nflock -n 9 || echo $$ >>twice\n\
                           echo $$ >>starts\nexec sleep 1000000\n";

/// A `run` that says numbered lines, each first aloud, then to its own file `said`.
pub const TALKER: &str = "#!/bin/sh\nexec 9>>copy\nflock -n 9 || echo $$ >>twice\n\
                          echo $$ >>starts\ni=0\nwhile :; do\n\
                          echo \"$$ $i\"\necho \"$$ $i\" >>said\ni=$((i + 1))\n\
                          sleep 0.02 9>&-\ndone\n";

/// A logger's `run` that adds what it reads to `lines`.
pub const KEEPER: &str = "#!/bin/sh\nexec 9>>copy\nflock -n 9 || echo $$ >>twice\n\
                          echo $$ >>starts\nexec cat >>lines\n";

/// One running svscan; killed and reaped at its end.
pub struct Svscan {
    folder: PathBuf,
    said: PathBuf,
    child: Child,
}

/// Returns the command that scans the folder `name` of a scratch folder with our programs first
/// in `$PATH`. `wrapper` is a command line to put before svscan; it must run svscan as this very
/// process, as `env` and `strace -D` do, or end with it. Its messages go to `NAME.messages`.
///
/// # Panics
/// Where the folder or the file for the messages cannot be had.
#[must_use]
pub fn svscan(scratch: &Scratch, wrapper: &[&str], options: &[&str], name: &str) -> Command {
    from(program("svscan").parent().expect("folder"), scratch, wrapper, options, name)
}

/// As [`svscan`], with the programs of another folder.
///
/// # Panics
/// As [`svscan`].
#[must_use]
pub fn from(
    bin: &Path,
    scratch: &Scratch,
    wrapper: &[&str],
    options: &[&str],
    name: &str,
) -> Command {
    let bin = bin.canonicalize().expect("path");
    let folder = scratch.join(name);
    fs::create_dir_all(&folder).expect("mkdir");
    let said = messages_of(&folder);
    let said = fs::File::options().create(true).append(true).open(said).expect("open");
    let mut command = match wrapper.split_first() {
        None => Command::new(bin.join("svscan")),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(bin.join("svscan"));
            command
        }
    };
    let mut path = OsString::from(&bin);
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(options).arg(&folder).env("PATH", path).stdin(Stdio::null());
    command.current_dir(scratch.path());
    command.stdout(said.try_clone().expect("dup")).stderr(said);
    command
}

fn messages_of(folder: &Path) -> PathBuf {
    let mut said = OsString::from(folder);
    said.push(".messages");
    said.into()
}

impl Svscan {
    /// Starts the plain `svscan NAME` in a scratch folder.
    ///
    /// # Panics
    /// Where it does not come.
    #[track_caller]
    #[must_use]
    pub fn start(scratch: &Scratch, name: &str) -> Self {
        Self::spawn(&scratch.join(name), &mut svscan(scratch, &[], &[], name))
    }

    /// Starts a command of [`svscan`].
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    pub fn spawn(folder: &Path, command: &mut Command) -> Self {
        let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self { folder: folder.to_path_buf(), said: messages_of(folder), child }
    }

    /// Returns the pid of what was started: svscan, or the wrapper around it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Returns the scanned folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of one of its entries.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns what svscan, and every supervise below it, said so far.
    #[must_use]
    pub fn messages(&self) -> String {
        let bytes = fs::read(&self.said).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends svscan a signal.
    ///
    /// # Panics
    /// Where it is gone.
    #[track_caller]
    pub fn signal(&self, number: i32) {
        signal::kill(self.pid(), number).expect("kill");
    }

    /// From now on injects faults into svscan itself, see [`crate::calls::trace`].
    ///
    /// # Panics
    /// Where strace does not come.
    #[track_caller]
    pub fn harm(&self, rules: &[&str]) {
        crate::calls::trace(self.pid(), Path::new("/dev/null"), rules);
    }

    /// Kills svscan with KILL and reaps it.
    ///
    /// # Panics
    /// Where it cannot be reaped.
    pub fn kill9(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Tells svscan TERM and waits for its end.
    ///
    /// # Panics
    /// Where it does not end.
    #[track_caller]
    #[must_use]
    pub fn end(mut self) -> ExitStatus {
        self.signal(n::SIGTERM);
        self.ended(2 * SOON)
    }

    /// Waits for svscan's end.
    ///
    /// # Panics
    /// Where it does not end within `seconds`.
    #[track_caller]
    pub fn ended(&mut self, seconds: u64) -> ExitStatus {
        let mut status = None;
        let over = holds_within(Duration::from_secs(seconds), || {
            status = self.child.try_wait().expect("wait");
            status.is_some()
        });
        assert!(over, "svscan runs after {seconds} s; it said:\n{}", self.messages());
        status.expect("status")
    }

    /// Tells whether svscan runs.
    ///
    /// # Panics
    /// Where it cannot be waited for.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("wait").is_none()
    }

    /// Waits until `condition` holds; where it does not, shows what svscan said.
    ///
    /// # Panics
    /// Where it does not within [`SOON`].
    #[track_caller]
    pub fn until(&self, condition: impl FnMut() -> bool) {
        let holds = holds_within(Duration::from_secs(SOON), condition);
        assert!(holds, "still not so after {SOON} s; svscan said:\n{}", self.messages());
    }
}

impl Drop for Svscan {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds to a service directory a logger that keeps every line in `log/lines`.
///
/// # Panics
/// Where it cannot be made.
pub fn add_logger(dir: &Path) {
    fs::create_dir_all(dir.join("log")).expect("mkdir");
    script(&dir.join("log/run"), KEEPER);
}

/// Counts the starts of [`COUNTED`], [`TALKER`] or [`KEEPER`] in a directory; a second copy beside
/// a living one is a failure at once.
///
/// # Panics
/// Where there were two copies.
#[track_caller]
#[must_use]
pub fn starts(dir: &Path) -> usize {
    let twice = fs::read_to_string(dir.join("twice")).unwrap_or_default();
    assert!(twice.is_empty(), "two copies of {}: {twice}", dir.display());
    fs::read_to_string(dir.join("starts")).map_or(0, |text| text.lines().count())
}

/// Counts the lines of a file; none where there is no file.
#[must_use]
pub fn lines(path: &Path) -> usize {
    let Ok(bytes) = fs::read(path) else { return 0 };
    bytes.split(|b| *b == b'\n').count() - 1
}

/// Waits until every line that the [`TALKER`] in `dir` said is logged, and checks that each is
/// logged once, and that between the first and the last of one life none is missing.
///
/// # Panics
/// Where a line is lost or doubled.
#[track_caller]
pub fn nothing_is_lost(dir: &Path) {
    let said = fs::read_to_string(dir.join("said")).expect("said");
    let said: Vec<&str> = said.split_inclusive('\n').filter(|l| l.ends_with('\n')).collect();
    let logged = || fs::read_to_string(dir.join("log/lines")).unwrap_or_default();
    let mut missing = Vec::new();
    let all = holds_within(Duration::from_secs(SOON), || {
        let logged = logged();
        let logged: BTreeSet<&str> = logged.split_inclusive('\n').collect();
        missing = said.iter().filter(|line| !logged.contains(**line)).copied().collect();
        missing.is_empty()
    });
    assert!(all, "lost {} of {} lines, first {:?}", missing.len(), said.len(), missing.first());
    let logged = logged();
    let mut next = ("", 0);
    for line in logged.split_inclusive('\n').filter(|l| l.ends_with('\n')) {
        let (life, number) = line.trim_end().split_once(' ').expect("two words");
        let number: u64 = number.parse().expect("number");
        if life != next.0 {
            next = (life, 0);
        }
        assert_eq!(number, next.1, "a line of life {life} is lost or doubled");
        next.1 += 1;
    }
}

/// Kills a process with KILL.
pub fn kill9(pid: i32) {
    let _ = signal::kill(pid, n::SIGKILL);
}

/// Tells whether a process runs: it is there and no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    pid > 0 && Path::new(&format!("/proc/{pid}")).exists() && !is_zombie(pid)
}

/// Returns the processes of a program in a scratch folder, by its name.
#[must_use]
pub fn named(scratch: &Scratch, program: &str) -> Vec<i32> {
    let its = |pid: &i32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == program) && is_alive(*pid)
    };
    scratch.processes().into_iter().filter(its).collect()
}

/// Returns the supervises that stand in a service directory.
#[must_use]
pub fn supervises_of(scratch: &Scratch, dir: &Path) -> Vec<i32> {
    let Ok(dir) = dir.canonicalize() else { return Vec::new() };
    let here = |pid: &i32| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == dir);
    named(scratch, "supervise").into_iter().filter(here).collect()
}

/// Returns the one supervise that stands in a service directory.
#[must_use]
pub fn supervise_of(scratch: &Scratch, dir: &Path) -> Option<i32> {
    supervises_of(scratch, dir).first().copied()
}

/// Kills the supervise of a service directory and waits until another keeps it.
///
/// # Panics
/// Where there is none, or none comes within [`SOON`].
#[track_caller]
pub fn lose_supervise(scratch: &Scratch, dir: &Path) {
    let lost = supervise_of(scratch, dir).expect("a supervise");
    kill9(lost);
    until(SOON, || !is_alive(lost));
    until(SOON, || supervise_of(scratch, dir).is_some() && is_supervised(dir));
}

/// Runs our `svc` in a folder.
///
/// # Panics
/// Where it fails.
#[track_caller]
pub fn svc(folder: &Path, args: &[&str]) {
    let output = crate::run(Command::new(program("svc")).args(args).current_dir(folder));
    assert!(output.code == Some(0) && output.stderr.is_empty(), "svc {args:?}: {output:?}");
}

/// Waits until the supervise of a service directory is gone.
///
/// # Panics
/// Where it is not within [`SOON`].
#[track_caller]
pub fn until_unsupervised(dir: &Path) {
    until(SOON, || !is_supervised(dir));
}

/// Starts the original's svscan on a folder of a scratch folder, as a process group's leader.
///
/// # Panics
/// Where it cannot be started.
#[track_caller]
#[must_use]
pub fn original(scratch: &Scratch, name: &str) -> Svscan {
    let folder = scratch.join(name);
    let said = fs::File::options().create(true).append(true).open(messages_of(&folder));
    let said = said.expect("open");
    let mut command = Command::new(Suite::Original.program("svscan"));
    command.arg(&folder).stdin(Stdio::null()).process_group(0).current_dir(scratch.path());
    command.stdout(said.try_clone().expect("dup")).stderr(said);
    Svscan::spawn(&folder, &mut command)
}
