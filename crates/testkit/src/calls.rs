//! The system calls of a life, each of which a test can let fail or make the last.

use crate::scratch::is_zombie;
use crate::wait::until;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A system call of a trace: its name, and how many of that name there were, it included.
pub type Call = (String, usize);

/// They mostly wait, for the second between two starts or for a retry.
const AT_ONCE: usize = 8;

/// Calls that fail in the world too. Closing, waiting for children and setting flags do not.
const MAY_FAIL: &[&str] = &[
    "open",
    "openat",
    "stat",
    "fstat",
    "newfstatat",
    "lstat",
    "mkdirat",
    "mknodat",
    "flock",
    "read",
    "pread64",
    "pwrite64",
    "renameat",
    "clone",
    "pidfd_open",
    "signalfd4",
    "chdir",
    "fchdir",
    "ioctl",
    "ppoll",
];

/// Tells whether a call may fail in the world.
#[must_use]
pub fn may_fail(call: &Call) -> bool {
    MAY_FAIL.contains(&call.0.as_str())
}

/// Returns the calls that strace wrote down.
#[must_use]
pub fn of(trace: &str) -> Vec<Call> {
    let mut seen = HashMap::new();
    let names = trace.lines().filter_map(|line| line.split_once('(')).map(|(name, _)| name);
    let names = names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    let counted = names.map(|name| {
        let count: &mut usize = seen.entry(name.to_string()).or_default();
        *count += 1;
        (name.to_string(), *count)
    });
    counted.collect()
}

/// Runs strace on a process: writes its system calls to a file, and injects faults by these rules
/// (the argument of `--inject`).
///
/// # Panics
/// Where strace does not come, unless the process died of what it does.
#[track_caller]
pub fn trace(pid: i32, to: &Path, rules: &[&str]) {
    let mut strace = Command::new("strace");
    // Without -I strace would block the signal that ends it.
    strace.args(["-q", "-I", "2", "-p", &pid.to_string(), "-o"]).arg(to);
    strace.args(rules.iter().map(|rule| format!("--inject={rule}")));
    let mut strace = strace.stderr(Stdio::null()).spawn().expect("strace");
    until(20, || tracer(pid) != 0 || !is_there(pid));
    std::thread::spawn(move || strace.wait());
}

/// Tells whether a thread lives.
fn is_there(thread: i32) -> bool {
    Path::new(&format!("/proc/{thread}")).exists() && !is_zombie(thread)
}

/// Returns who traces a process, 0 = nobody.
#[must_use]
pub fn tracer(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.and_then(|pid| pid.trim().parse().ok()).unwrap_or(0)
}

/// Runs `what` for each call, several at a time.
///
/// # Panics
/// Where one of them does.
pub fn each_at_once(calls: &[Call], what: impl Fn(&Call) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                    what(call);
                }
            });
        }
    });
}
