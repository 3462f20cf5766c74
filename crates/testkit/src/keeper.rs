//! A supervise of ours that a test starts, injects faults into, kills and starts again.

#![allow(clippy::must_use_candidate)] // Some are called only to wait.

use crate::calls;
use crate::scratch::{Scratch, is_supervised, is_zombie};
use crate::suite::{Suite, program};
use crate::wait::{holds_within, until};
use ondisk::record::Record;
use ondisk::status::Status;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

/// One running supervise; killed and reaped at its end.
pub struct Keeper {
    dir: PathBuf,
    child: Child,
}

/// Returns the command that keeps the service `name` of a scratch folder, as svscan would run it
/// where `paired`. Its messages go to `NAME.messages`.
///
/// # Panics
/// Where the file for the messages cannot be had.
#[must_use]
pub fn supervise(scratch: &Scratch, name: &str, paired: bool) -> Command {
    under(scratch, &[], name, paired)
}

/// As [`supervise`], run by another program: `wrapper` is its command line so far. It must run
/// supervise as this very process, as `strace -D` does.
///
/// # Panics
/// As [`supervise`].
#[must_use]
pub fn under(scratch: &Scratch, wrapper: &[&str], name: &str, paired: bool) -> Command {
    let said = fs::File::options()
        .create(true)
        .append(true)
        .open(scratch.join(&format!("{}.messages", name.replace('/', ":"))))
        .expect("open");
    let own = program("supervise").canonicalize().expect("path");
    let mut command = match wrapper.split_first() {
        None => Command::new(&own),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(&own);
            command
        }
    };
    if paired {
        command.arg("--pair");
    }
    command.arg(name).current_dir(scratch.path()).stdin(Stdio::null());
    command.stdout(said.try_clone().expect("dup")).stderr(said);
    command
}

/// Returns the command of [`supervise`] under strace, which injects faults by these rules (the
/// argument of `--inject`) into supervise itself; into its children too where `follow`.
///
/// # Panics
/// As [`supervise`].
#[must_use]
pub fn injected(
    scratch: &Scratch,
    rules: &[&str],
    follow: bool,
    name: &str,
    paired: bool,
) -> Command {
    let rules: Vec<String> = rules.iter().map(|rule| format!("--inject={rule}")).collect();
    // Without -I strace would block what `heal` sends.
    let mut wrapper = vec!["strace", "-D", "-q", "-I", "2", "-o", "/dev/null"];
    if follow {
        wrapper.push("-f");
    }
    wrapper.extend(rules.iter().map(String::as_str));
    under(scratch, &wrapper, name, paired)
}

impl Keeper {
    /// From now on injects faults into supervise, see [`injected`].
    ///
    /// # Panics
    /// Where strace does not come.
    #[track_caller]
    pub fn harm(&self, rules: &[&str]) {
        self.trace(Path::new("/dev/null"), rules);
    }

    /// As [`Keeper::harm`]; from now on writes the system calls of supervise to a file besides.
    ///
    /// # Panics
    /// Where strace does not come.
    #[track_caller]
    pub fn trace(&self, to: &Path, rules: &[&str]) {
        calls::trace(self.pid(), to, rules);
    }

    /// Ends what [`injected`] or [`Keeper::harm`] does to supervise.
    ///
    /// # Panics
    /// Where strace does not let go.
    #[track_caller]
    pub fn heal(&self) {
        let pid = calls::tracer(self.pid());
        assert_ne!(pid, 0, "nobody traces");
        linux::signal::kill(pid, linux::signal::numbers::SIGTERM).expect("kill");
        until(20, || calls::tracer(self.pid()) == 0);
    }

    /// Starts a command of [`supervise`] and waits until it can be controlled.
    ///
    /// # Panics
    /// Where it does not come.
    #[track_caller]
    pub fn start(dir: &Path, command: &mut Command) -> Self {
        let mut keeper = Self::spawn(dir, command);
        until(20, || {
            let ended = keeper.child.try_wait().expect("wait");
            assert!(ended.is_none(), "supervise ended: {ended:?}");
            is_supervised(dir)
        });
        keeper
    }

    /// Starts a command of [`supervise`] and waits for nothing.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[track_caller]
    pub fn spawn(dir: &Path, command: &mut Command) -> Self {
        Self { dir: dir.to_path_buf(), child: command.spawn().expect("supervise") }
    }

    /// Starts the plain `supervise NAME`, see [`Keeper::start`].
    #[track_caller]
    pub fn plain(scratch: &Scratch, name: &str) -> Self {
        Self::start(&scratch.join(name), &mut supervise(scratch, name, false))
    }

    /// Starts what svscan starts, see [`Keeper::start`].
    #[track_caller]
    pub fn pair(scratch: &Scratch, name: &str) -> Self {
        Self::start(&scratch.join(name), &mut supervise(scratch, name, true))
    }

    /// Returns the reading end of its messages, where the command piped them.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// Returns supervise's pid.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Returns the service directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Kills supervise with KILL and reaps it.
    ///
    /// # Panics
    /// Where it cannot be reaped.
    pub fn kill9(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Sends supervise itself a signal.
    ///
    /// # Panics
    /// Where it is gone.
    #[track_caller]
    pub fn signal(&self, number: i32) {
        linux::signal::kill(self.pid(), number).expect("kill");
    }

    /// Tells how supervise ended, `None` = it has not.
    ///
    /// # Panics
    /// Where it cannot be waited for.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait")
    }

    /// Waits for supervise's end.
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
        assert!(over, "supervise still runs after {seconds} s");
        status.expect("status")
    }

    /// Waits until the service runs, and returns its pid.
    ///
    /// # Panics
    /// Where it does not within 10 seconds.
    #[track_caller]
    pub fn service(&self) -> i32 {
        running(&self.dir)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until the status of a service directory names a living process, and returns its pid.
///
/// # Panics
/// Where it does not within 10 seconds.
#[track_caller]
pub fn running(dir: &Path) -> i32 {
    let mut pid = 0;
    until(10, || {
        pid = status(dir).map_or(0, |s| s.pid.cast_signed());
        is_alive(pid)
    });
    pid
}

/// Waits until the status of a service directory says that nothing runs.
///
/// # Panics
/// Where it does not within 10 seconds.
#[track_caller]
pub fn until_down(dir: &Path) {
    until(10, || status(dir).is_some_and(|s| s.pid == 0));
}

/// Kills a process with KILL.
pub fn kill9(pid: i32) {
    let _ = linux::signal::kill(pid, linux::signal::numbers::SIGKILL);
}

/// Tells whether a process runs: it is there and no zombie.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    pid > 0 && Path::new(&format!("/proc/{pid}")).exists() && !is_zombie(pid)
}

/// Reads the status file of a service directory.
#[must_use]
pub fn status(dir: &Path) -> Option<Status> {
    Status::from_bytes(&fs::read(dir.join("supervise/status")).ok()?)
}

/// Reads the record of a service directory; the reader of half a write reads again.
#[must_use]
pub fn record(dir: &Path) -> Option<Record> {
    let read = || Record::from_bytes(&fs::read(dir.join("supervise/record")).ok()?);
    (0..100).find_map(|_| read())
}

/// Returns all that supervise has written for others to read: status and record.
///
/// # Panics
/// Where one of them cannot be read.
#[track_caller]
#[must_use]
pub fn written(dir: &Path) -> [Vec<u8>; 2] {
    ["status", "record"].map(|name| fs::read(dir.join("supervise").join(name)).expect(name))
}

/// Returns the children of a process, zombies too.
#[must_use]
pub fn children(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Writes command bytes to a service directory.
///
/// # Panics
/// Where nobody reads them, or they do not fit.
#[track_caller]
pub fn send(dir: &Path, bytes: &[u8]) {
    try_send(dir, bytes).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
}

/// As [`send`], where supervise may be gone.
///
/// # Errors
/// Where nobody reads them, or they do not fit.
pub fn try_send(dir: &Path, bytes: &[u8]) -> std::io::Result<()> {
    const O_NONBLOCK: i32 = 0o4000;
    let mut control = fs::File::options();
    let control = control.write(true).custom_flags(O_NONBLOCK).open(dir.join("supervise/control"));
    control?.write_all(bytes)
}

/// Returns the state letter of a process: `S`, `R`, `T` (stopped), `Z` (zombie), ...
#[must_use]
pub fn state(pid: i32) -> Option<char> {
    stat_field(pid, 3)?.chars().next()
}

/// Returns the processor time of a process, user and system, in clock ticks (a hundredth second).
#[must_use]
pub fn processor_ticks(pid: i32) -> Option<u64> {
    Some(stat_field(pid, 14)?.parse::<u64>().ok()? + stat_field(pid, 15)?.parse::<u64>().ok()?)
}

/// Returns a field of `/proc/PID/stat`, from the third on, as proc(5) counts.
fn stat_field(pid: i32, number: usize) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = line.rsplit(')').next()?;
    rest.split_whitespace().nth(number - 3).map(str::to_string)
}

/// Returns what the original's svstat says of a service directory, without its name and the final
/// newline.
///
/// # Panics
/// Where svstat cannot be run.
#[must_use]
pub fn svstat(dir: &Path) -> String {
    let said = crate::run(Command::new(Suite::Original.program("svstat")).arg(dir)).out();
    let name = format!("{}: ", dir.display());
    said.trim_end().strip_prefix(&name).map_or(said.clone(), str::to_string)
}
