//! A multilog that a test feeds, injects faults into, kills and starts again.

#![allow(clippy::must_use_candidate)] // Some are called only to wait.

use crate::keeper::is_alive;
use crate::scratch::Scratch;
use crate::suite::Suite;
use crate::wait::{holds_within, until};
use linux::fd::PollFd;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A FIFO that somebody holds: whatever becomes of the logger, the bytes in it stay.
pub struct Pipe {
    path: PathBuf,
    holder: File,
}

impl Pipe {
    /// Makes one in a scratch folder.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn new(scratch: &Scratch, name: &str) -> Self {
        let path = scratch.join(name);
        let c_path = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        linux::file::mkfifo(linux::file::HERE, &c_path, 0o600).expect("mkfifo");
        let holder = File::options().read(true).write(true).open(&path).expect("open");
        Self { path, holder }
    }

    /// Opens the end that a logger gets.
    ///
    /// # Panics
    /// Where it cannot be opened.
    #[must_use]
    pub fn reader(&self) -> File {
        File::open(&self.path).expect("open")
    }

    /// Opens another writing end.
    ///
    /// # Panics
    /// Where it cannot be opened.
    #[must_use]
    pub fn writer(&self) -> File {
        File::options().write(true).open(&self.path).expect("open")
    }

    /// Writes, waiting for room where there is none.
    ///
    /// # Panics
    /// Where it fails.
    #[track_caller]
    pub fn write(&self, bytes: &[u8]) {
        (&self.holder).write_all(bytes).expect("write");
    }

    /// Tells whether all that was written has been taken out.
    ///
    /// # Panics
    /// Where that cannot be asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let mut fds = [PollFd::readable(self.holder.as_raw_fd())];
        linux::fd::poll(&mut fds, Some(0)).expect("poll") == 0
    }
}

/// Returns the command of a suite's multilog with this script, in the scratch folder. It reads
/// nothing until told otherwise; its messages go to `messages`.
///
/// # Panics
/// Where the file for the messages cannot be had.
#[must_use]
pub fn multilog(scratch: &Scratch, suite: Suite, script: &[&str]) -> Command {
    under(scratch, &[], suite, script)
}

/// As [`multilog`], run by another program: `wrapper` is its command line so far. It must run
/// multilog as this very process, as `strace -D` does.
///
/// # Panics
/// As [`multilog`].
#[must_use]
pub fn under(scratch: &Scratch, wrapper: &[&str], suite: Suite, script: &[&str]) -> Command {
    let said = File::options().create(true).append(true).open(scratch.join("messages"));
    let said = said.expect("open");
    let program = suite.program("multilog").canonicalize().expect("path");
    let mut command = match wrapper.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    // Little, as a service has it: it lies in the pages of the stack, which a test measures.
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.args(script).current_dir(scratch.path()).stdin(Stdio::null());
    command.stdout(said.try_clone().expect("dup")).stderr(said);
    command
}

/// As [`multilog`], under strace, which injects faults by these rules (the argument of `--inject`)
/// into multilog itself, not into its processors.
///
/// # Panics
/// As [`multilog`].
#[must_use]
pub fn injected(scratch: &Scratch, rules: &[&str], suite: Suite, script: &[&str]) -> Command {
    let rules: Vec<String> = rules.iter().map(|rule| format!("--inject={rule}")).collect();
    let mut wrapper = vec!["strace", "-D", "-q", "-I", "2", "-o", "/dev/null"];
    wrapper.extend(rules.iter().map(String::as_str));
    under(scratch, &wrapper, suite, script)
}

/// One running multilog; killed and reaped at its end.
pub struct Logger(Child);

impl Logger {
    /// Starts a command of [`multilog`].
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")))
    }

    /// Starts it with this end of a pipe to read from.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    pub fn read(command: &mut Command, end: File) -> Self {
        let logger = Self::start(command.stdin(end));
        // The command would keep the pipe's end.
        command.stdin(Stdio::null());
        logger
    }

    /// Returns its pid.
    pub fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    /// Sends it a signal; one that has just ended does not mind.
    pub fn signal(&self, number: i32) {
        let _ = linux::signal::kill(self.pid(), number);
    }

    /// Waits until TERM and ALRM mean what multilog(8) says, or until it has ended: a program that
    /// is only being loaded dies of them.
    ///
    /// # Panics
    /// Where neither comes.
    #[track_caller]
    pub fn until_it_heeds_signals(&self) {
        // The original catches it, and blocks it where it must not come.
        let heeds = || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
            let status = status.unwrap_or_default();
            let sets = status.lines().filter_map(|line| {
                line.strip_prefix("SigBlk:").or_else(|| line.strip_prefix("SigCgt:"))
            });
            let term = 1 << (linux::signal::numbers::SIGTERM - 1);
            sets.filter_map(|set| u64::from_str_radix(set.trim(), 16).ok())
                .any(|set| set & term != 0)
        };
        until(20, || heeds() || crate::scratch::is_zombie(self.pid()));
    }

    /// Kills it with KILL and reaps it.
    ///
    /// # Panics
    /// Where it cannot be reaped.
    pub fn kill9(mut self) {
        let _ = self.0.kill();
        self.0.wait().expect("wait");
    }

    /// Tells how it ended, `None` = it has not.
    ///
    /// # Panics
    /// Where it cannot be waited for.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.0.try_wait().expect("wait")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end within `seconds`.
    #[track_caller]
    pub fn end_within(&mut self, seconds: u64) -> ExitStatus {
        let mut status = None;
        let over = holds_within(Duration::from_secs(seconds), || {
            status = self.ended();
            status.is_some()
        });
        assert!(over, "multilog still runs after {seconds} s");
        status.expect("status")
    }

    /// Waits until the pipe is empty, sends TERM and waits for a proper end.
    ///
    /// # Panics
    /// Where that does not come.
    #[track_caller]
    pub fn finish(&mut self, pipe: &Pipe) {
        until(60, || {
            let ended = self.ended();
            assert!(ended.is_none(), "multilog ended: {ended:?}");
            pipe.is_empty()
        });
        // One that was just started and had nothing to read may not be so far yet.
        self.until_it_heeds_signals();
        self.signal(linux::signal::numbers::SIGTERM);
        let ended = self.end_within(30);
        assert!(ended.success(), "multilog ended: {ended:?}");
    }

    /// From now on injects faults into it, see [`injected`].
    ///
    /// # Panics
    /// Where strace does not come.
    #[track_caller]
    pub fn harm(&self, rules: &[&str]) {
        let mut strace = Command::new("strace");
        strace.args(["-q", "-I", "2", "-o", "/dev/null", "-p", &self.pid().to_string()]);
        strace.args(rules.iter().map(|rule| format!("--inject={rule}")));
        let mut strace = strace.stderr(Stdio::null()).spawn().expect("strace");
        until(20, || self.tracer() != 0);
        std::thread::spawn(move || strace.wait());
    }

    /// Ends what [`injected`] or [`Logger::harm`] does to it.
    ///
    /// # Panics
    /// Where strace does not let go.
    #[track_caller]
    pub fn heal(&self) {
        let pid = self.tracer();
        assert_ne!(pid, 0, "nobody traces");
        linux::signal::kill(pid, linux::signal::numbers::SIGTERM).expect("kill");
        until(20, || self.tracer() == 0);
    }

    fn tracer(&self) -> i32 {
        number(self.pid(), "status", "TracerPid:") as i32
    }
}

impl Drop for Logger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the number behind `key` in a file of `/proc/PID`, 0 where there is none.
#[must_use]
pub fn number(pid: i32, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Waits until a running multilog is asleep: what it was given is dealt with.
///
/// # Panics
/// Where it does not come to rest.
#[track_caller]
pub fn until_idle(pid: i32) {
    let switches = || {
        assert!(is_alive(pid), "multilog is gone");
        number(pid, "status", "voluntary_ctxt_switches:")
    };
    let asleep = || crate::keeper::state(pid) == Some('S');
    until(30, || {
        let before = switches();
        // Asleep at every look, and not once awake in between.
        asleep() && !holds_within(Duration::from_millis(50), || !asleep() || switches() != before)
    });
}

/// Returns what multilog has said so far, see [`multilog`].
#[must_use]
pub fn messages(scratch: &Scratch) -> String {
    fs::read(scratch.join("messages"))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// Lists a log directory: names with stamps as `@s` and `@u` in order, each with mode and size.
/// Files that only ours has, of none or unknown size, are left out: `spool.0` and `spool.1`.
///
/// # Panics
/// Where it cannot be read.
#[must_use]
pub fn listing(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with("spool."))
        .collect();
    names.sort();
    let line = |name: &String| {
        let meta = fs::symlink_metadata(dir.join(name)).expect("stat");
        let shown = match name.strip_prefix('@') {
            Some(stamp) => format!("@{}", stamp.rsplit('.').next().unwrap_or_default()),
            None => name.clone(),
        };
        format!("{shown} {:o} {}", meta.mode() & 0o7777, meta.len())
    };
    names.iter().map(line).collect()
}
