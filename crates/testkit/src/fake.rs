//! A supervise folder as a supervise leaves it, kept by the test itself.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// Makes a FIFO.
///
/// # Panics
/// Where that cannot be done.
pub fn fifo(path: &Path) {
    let name = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("name");
    linux::file::mkfifo(linux::file::HERE, &name, 0o600).expect("mkfifo");
}
