//! Running a program with a time limit, its output kept.

use crate::suite::program;
use crate::wait::holds_within;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Time that [`run`] gives a program, in seconds; far more than any needs.
const LIMIT: u64 = 30;

/// What a program said and how it ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Number of the signal that ended it.
    pub signal: Option<i32>,
    /// Bytes on descriptor 1.
    pub stdout: Vec<u8>,
    /// Bytes on descriptor 2.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns the exit code and descriptor 2 as text.
    #[must_use]
    pub fn verdict(&self) -> (Option<i32>, String) {
        (self.code, self.err())
    }

    /// Returns descriptor 1 as text; what is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns descriptor 2 as text; what is not UTF-8 becomes U+FFFD.
    #[must_use]
    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (out, err) = (self.out(), self.err());
        write!(f, "code {:?} signal {:?} out {out:?} err {err:?}", self.code, self.signal)
    }
}

/// Runs a program to its end with nothing to read, and keeps what it writes.
///
/// The output goes to files, so a service that the program leaves behind keeps nobody waiting.
///
/// # Panics
/// Where it cannot be started, or does not end within half a minute; it is killed then.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    run_within(LIMIT, command)
}

/// Runs one of our programs in `dir`.
///
/// # Panics
/// As [`run`].
#[track_caller]
#[must_use]
pub fn call(dir: &Path, name: &str, args: &[&str]) -> Output {
    run(Command::new(program(name)).args(args).current_dir(dir))
}

/// As [`run`], with a limit of `seconds`.
///
/// # Panics
/// As [`run`].
#[track_caller]
pub fn run_within(seconds: u64, command: &mut Command) -> Output {
    let (mut out, mut err) = (nameless_file(), nameless_file());
    let clone = |file: &File| Stdio::from(file.try_clone().expect("dup"));
    command.stdin(Stdio::null()).stdout(clone(&out)).stderr(clone(&err));
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let status = end_of(&mut child, seconds);
    let mut output = |status: ExitStatus| Output {
        code: status.code(),
        signal: status.signal(),
        stdout: content(&mut out),
        stderr: content(&mut err),
    };
    match status {
        Some(status) => output(status),
        None => panic!("{command:?} ran for {seconds} s: {:?}", output(ExitStatus::default())),
    }
}

/// Waits for a child's end; `None` = it had to be killed.
fn end_of(child: &mut Child, seconds: u64) -> Option<ExitStatus> {
    let mut status = None;
    let _ = holds_within(Duration::from_secs(seconds), || {
        status = child.try_wait().expect("wait");
        status.is_some()
    });
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

fn nameless_file() -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("skynet-output-{}-{n}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path).expect("open");
    std::fs::remove_file(&path).expect("unlink");
    file
}

fn content(file: &mut File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().expect("rewind");
    file.read_to_end(&mut bytes).expect("read");
    bytes
}
