//! A text that somebody has, and whether everybody may read it.

use super::copy;
use crate::failure::Failure;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::linux::fd;
use sys::linux::file;
use sys::linux::file::flags::O_RDONLY;

/// Bytes of the largest.
const LARGEST: usize = 1 << 20;

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// It.
    pub text: String,
    /// Others may read the file. What is made of one that they may not, they may not read either.
    pub is_open: bool,
    /// Its group may.
    pub is_groups: bool,
}

/// Reads one. `verb` stands in the message that it cannot be done, `shown` is what messages call it.
///
/// # Errors
/// As open(2); it is no regular file, too large, or not UTF-8.
pub fn read(verb: &str, path: &Path, shown: &Path) -> Result<Text, Failure> {
    let real = path.canonicalize().map_err(|why| Failure::io(verb, shown.display(), &why))?;
    let (folder, name) = (real.parent().unwrap_or(&real), real.file_name().unwrap_or_default());
    let name = CString::new(name.as_bytes()).unwrap_or_default();
    let unable = |why| Failure::errno(verb, shown.display(), why);
    let folder = copy::open(folder)?;
    // What is asked is the file that is read, whatever has its name by now.
    let (file, stat) = file::open_regular(folder.raw(), &name, O_RDONLY, 0).map_err(unable)?;
    let mut bytes = vec![0; LARGEST + 1];
    let len = fd::read_at(file.raw(), &mut bytes, 0).map_err(unable)?;
    if len > LARGEST {
        return Err(Failure::refused(format!("{} is larger than 1MiB", shown.display())));
    }
    bytes.truncate(len);
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::refused(format!("{} is not UTF-8", shown.display())))?;
    let mode = stat.mode();
    Ok(Text { text, is_open: mode & 0o004 != 0, is_groups: mode & 0o040 != 0 })
}
