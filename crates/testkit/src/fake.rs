//! A supervise folder as a supervise leaves it, kept by the test itself.

use linux::identity::Boot;
use ondisk::record::{Identity, Phase, Record};
use ondisk::status::{Status, Want};
use ondisk::tai64n::Stamp;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const O_NONBLOCK: i32 = 0o4000;

/// A service directory whose `ok` and `control` this process reads, as a supervise would. What is
/// in the other files is up to the test.
pub struct Fake {
    dir: PathBuf,
    control: File,
    _ok: File,
}

impl Fake {
    /// Makes the supervise folder of `dir` and keeps it.
    ///
    /// # Panics
    /// Where that cannot be done.
    #[must_use]
    pub fn keep(dir: &Path) -> Self {
        let folder = dir.join("supervise");
        fs::create_dir_all(&folder).expect("mkdir");
        let open = |name: &str| {
            fifo(&folder.join(name));
            OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(folder.join(name))
        };
        let (control, ok) = (open("control").expect("control"), open("ok").expect("ok"));
        Self { dir: dir.to_owned(), control, _ok: ok }
    }

    /// Returns the path of a file in the supervise folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join("supervise").join(name)
    }

    /// Replaces the status as supervise does: written aside, renamed.
    ///
    /// # Panics
    /// Where that cannot be done.
    pub fn status(&self, bytes: &[u8]) {
        fs::write(self.file("status.new"), bytes).expect("write");
        fs::rename(self.file("status.new"), self.file("status")).expect("rename");
    }

    /// Returns the bytes that were sent since the last call.
    ///
    /// # Panics
    /// Where the pipe cannot be read.
    pub fn received(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.control.read_to_end(&mut bytes) {
            Err(e) if e.kind() != ErrorKind::WouldBlock => panic!("control: {e}"),
            _ => bytes,
        }
    }

    /// Fills the control pipe to the last byte.
    ///
    /// # Panics
    /// Where it cannot be written to.
    pub fn fill_control(&self) {
        let control = self.file("control");
        let mut pipe =
            OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(control).expect("open");
        for chunk in [&[b'.'; 4096][..], b"."] {
            while pipe.write(chunk).is_ok() {}
        }
    }
}

/// Returns the status of a service that changed last in September 2001.
#[must_use]
pub fn status(pid: u32, want: Want) -> Status {
    Status { since: Stamp::from_unix(1_000_000_000, 5), pid, paused: false, want }
}

/// Returns the record that goes with [`status`] while the service runs as `process`.
#[must_use]
pub fn record(process: Identity, want: Want) -> Record {
    let supervisor = Identity { pid: 1, alive_at: u64::MAX };
    Record {
        process,
        since: status(process.pid, want).since,
        want,
        phase: if process.pid == 0 { Phase::Down } else { Phase::Running },
        ..Record::new(boot().id, supervisor)
    }
}

fn boot() -> Boot {
    Boot::this().expect("boot")
}

/// A process that runs until it is dropped.
pub struct Sleeper(Child);

impl Sleeper {
    /// Starts one.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn new() -> Self {
        Self(Command::new("sleep").arg("1000000").spawn().expect("sleep"))
    }

    /// Returns its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Returns who it is, as a record says it.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { pid: self.pid(), alive_at: boot().now() }
    }
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Makes a FIFO.
///
/// # Panics
/// Where that cannot be done.
pub fn fifo(path: &Path) {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("name");
    linux::file::mkfifo(linux::file::HERE, &name, 0o600).expect("mkfifo");
}
