//! The password: in a file that nobody but its reader may open.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Longest password.
const LONGEST: u64 = 1024;

/// Reads the password of a file: its first line.
///
/// # Errors
/// In words: it cannot be read, or others may.
pub(super) fn read(path: &Path) -> Result<String, String> {
    let unable = |why: &dyn std::fmt::Display| {
        format!("unable to read the password in {}: {why}", path.display())
    };
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(|why| unable(&why))?;
    let told = file.metadata().map_err(|why: io::Error| unable(&why))?;
    if !told.is_file() {
        return Err(unable(&"it is no file"));
    }
    if told.mode() & 0o077 != 0 {
        let why = format!("others may use it (mode {:03o}); chmod 600 it", told.mode() & 0o777);
        return Err(unable(&why));
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|why| unable(&why))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { Err(unable(&"it is empty")) } else { Ok(line.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_line_is_the_password_and_a_file_that_others_may_use_is_refused() {
        let folder = testkit::Scratch::new();
        let file = folder.join("password");
        fs::write(&file, "s3cret word\nmore\n").unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let said = read(&file).unwrap_err();
            assert!(said.contains("chmod 600"), "{said}");
        }
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&file).as_deref(), Ok("s3cret word"));
        let link = folder.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(read(&link).is_err());
        assert!(read(&folder.join("none")).is_err());
        assert!(read(folder.path()).is_err());
        fs::write(&file, "\n").unwrap();
        assert!(read(&file).unwrap_err().ends_with("it is empty"));
    }
}
