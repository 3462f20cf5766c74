//! A folder with service directories that leaves nothing behind.

use crate::cgroups;
use crate::suite::Suite;
use crate::wait::{holds_within, until};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A `run` that runs until it is killed.
pub const SLEEPER: &str = "#!/bin/sh\nexec sleep 1000000\n";

/// A folder of its own for one test. At its end every process whose current directory lies in it
/// is killed (supervise and its services stand in their service directory), and it is removed.
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes an empty folder.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("skynet-test-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("mkdir");
        // What /proc shows has no symlinks in it.
        Self { path: path.canonicalize().expect("path") }
    }

    /// Returns the folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of something in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a service directory whose `run` is this script, see [`SLEEPER`].
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn service(&self, name: &str, run: &str) -> PathBuf {
        let dir = self.join(name);
        fs::create_dir_all(&dir).expect("mkdir");
        script(&dir.join("run"), run);
        dir
    }

    /// Starts a suite's supervise on `name` below this folder and waits until it can be controlled.
    /// Its messages go to `NAME.messages`.
    ///
    /// # Panics
    /// Where it does not come.
    #[track_caller]
    #[must_use]
    pub fn supervise(&self, suite: Suite, name: &str) -> Supervise {
        let said = fs::File::options()
            .create(true)
            .append(true)
            .open(self.join(&format!("{}.messages", name.replace('/', ":"))))
            .expect("open");
        let child = Command::new(suite.program("supervise"))
            .arg(name)
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(said.try_clone().expect("dup"))
            .stderr(said)
            .spawn()
            .expect("supervise");
        until(10, || is_supervised(&self.join(name)));
        Supervise(child)
    }

    /// Returns the processes whose current directory lies in this folder.
    #[must_use]
    pub fn processes(&self) -> Vec<i32> {
        let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
        all.filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let here = fs::read_link(format!("/proc/{pid}/cwd")).ok()?;
            here.starts_with(&self.path).then_some(pid)
        })
        .collect()
    }
}

/// A supervise that runs; killed, if it still does, when this is dropped. Its service is not.
pub struct Supervise(Child);

impl Deref for Supervise {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Supervise {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Supervise {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Scratch {
    /// Kills every process whose current directory lies in this folder, and tells whether all are
    /// gone.
    #[must_use]
    pub fn kill_all(&self) -> bool {
        let own = linux::process::pid();
        // A supervise that is met before its service can no longer start it again.
        holds_within(Duration::from_secs(10), || {
            let left = self.processes();
            for pid in left.iter().filter(|pid| **pid != own) {
                let _ = linux::signal::kill(*pid, 9);
            }
            left.iter().all(|pid| *pid == own || is_zombie(*pid))
        })
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let gone = self.kill_all();
        cgroups::remove_of(&self.path);
        let mut removed = Ok(());
        // Who has its directory elsewhere may be about to write here once more, and to end.
        let _ = holds_within(Duration::from_secs(10), || {
            removed = fs::remove_dir_all(&self.path);
            removed.is_ok()
        });
        if !std::thread::panicking() {
            assert!(gone, "processes are left in {}", self.path.display());
            removed.expect("rmdir");
        }
    }
}

/// Writes an executable file.
///
/// # Panics
/// Where it cannot be written.
pub fn script(path: &Path, text: &str) {
    // Renamed into place, so that a supervise that starts it meanwhile never runs half of it.
    let new = path.with_extension("new");
    fs::write(&new, text).expect("write");
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::rename(&new, path).expect("rename");
}

/// Copies a program. Another process does so: what we hold open for writing, the child of another test
/// might hold when it is run, and then it cannot be.
///
/// # Panics
/// Where it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp");
    assert!(copied.success(), "cp {} {}: {copied}", from.display(), to.display());
}

/// Tells whether its owner may execute a file.
#[must_use]
pub fn is_executable(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.mode() & 0o100 != 0)
}

/// Tells whether a supervise keeps the service directory: `supervise/ok` has a reader.
#[must_use]
pub fn is_supervised(dir: &Path) -> bool {
    const O_NONBLOCK: i32 = 0o4000;
    let ok = dir.join("supervise/ok");
    fs::OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(ok).is_ok()
}

/// Returns the pid that `supervise/status` tells; `None` = down, or no status.
#[must_use]
pub fn pid_in_status(dir: &Path) -> Option<i32> {
    let bytes = fs::read(dir.join("supervise/status")).ok()?;
    let pid = i32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?);
    (pid != 0).then_some(pid)
}

/// Tells whether a process is dead and only not reaped yet.
#[must_use]
pub fn is_zombie(pid: i32) -> bool {
    let Ok(line) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    line.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}
