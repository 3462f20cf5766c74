//! The password: in a file that nobody but its reader may open.

use crate::trouble::reason;
use linux::memory::wipe;
use linux::process;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Longest password.
const LONGEST: usize = 1024;

/// A password. Its memory is overwritten when it is dropped.
pub(super) struct Password {
    /// The beginning of the file, and zeros.
    buffer: Vec<u8>,
    len: usize,
}

impl Password {
    /// Returns its bytes.
    fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Returns what the broker is told at first. That is the client library's from then on, which sends it
    /// and overwrites nothing.
    pub(super) fn starter(&self, user: &str) -> Vec<u8> {
        [b"\0", user.as_bytes(), b"\0", self.bytes()].concat()
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        wipe(&mut self.buffer);
    }
}

/// Reads the password of a file: its first line. Whoever does so is no longer for others of the same
/// user to trace, and leaves no core file.
///
/// # Errors
/// In words: it cannot be read, or others may.
pub(super) fn read(path: &Path) -> Result<Password, String> {
    let unable = |why: &dyn std::fmt::Display| {
        format!("unable to read the password in {}: {why}", path.display())
    };
    process::forbid_tracing();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let failed = |why: io::Error| unable(&reason(&why));
    let mut file = file.map_err(failed)?;
    let told = file.metadata().map_err(failed)?;
    if !told.is_file() {
        return Err(unable(&"it is no file"));
    }
    if told.mode() & 0o077 != 0 {
        let why = format!("others may use it (mode {:03o}); chmod 600 it", told.mode() & 0o777);
        return Err(unable(&why));
    }
    // One that grew would leave copies behind.
    let mut password = Password { buffer: vec![0; LONGEST], len: 0 };
    let read = fill(&mut file, &mut password.buffer).map_err(failed)?;
    let text = password.buffer.get(..read).unwrap_or_default();
    let text = std::str::from_utf8(text).map_err(|_| unable(&"it is not UTF-8"))?;
    password.len = text.lines().next().unwrap_or_default().len();
    if password.len == 0 { Err(unable(&"it is empty")) } else { Ok(password) }
}

/// Reads as much as there is, or as there is room for; returns how much.
fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    loop {
        match file.read(buffer.get_mut(read..).unwrap_or_default()) {
            Ok(0) => return Ok(read),
            Ok(more) => read += more,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
            Err(why) => return Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn wrong(file: &Path) -> String {
        read(file).err().unwrap()
    }

    #[test]
    fn the_first_line_is_the_password_and_a_file_that_others_may_use_is_refused() {
        let folder = testkit::Scratch::new();
        let file = folder.join("password");
        fs::write(&file, "s3cret word\nmore\n").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let said = wrong(&file);
            assert!(said.contains("chmod 600"), "{said}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let password = read(&file).ok().unwrap();
        assert_eq!(password.bytes(), b"s3cret word");
        assert_eq!(password.starter("boss"), b"\0boss\0s3cret word");
        let link = folder.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read(&link).is_err());
        assert!(read(&folder.join("none")).is_err());
        assert!(read(folder.path()).is_err());
        fs::write(&file, "\n").unwrap();
        assert!(wrong(&file).ends_with("it is empty"));
        fs::write(&file, b"s3cret\xff\n").unwrap();
        assert!(wrong(&file).ends_with("it is not UTF-8"));
    }
}
