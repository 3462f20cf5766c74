//! The supervise folders in the run folder, whatever service they are of.

use crate::failure::Failure;
use crate::here::Here;
use ondisk::names::{OK, RECORD, SUPERVISE};
use ondisk::record::Record;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::fd;
use sys::linux::file::{self, HERE, flags};

/// One of them.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Name of the service, or of a service's logger with `.log` behind it.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// A supervise keeps the service.
    pub is_kept: bool,
    /// What it recorded last.
    pub record: Option<Record>,
}

/// Lists them in the order of their names; no link is followed.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn all(here: &Here) -> Result<Vec<Folder>, Failure> {
    let above = here.places().run.join(OsStr::from_bytes(SUPERVISE.to_bytes()));
    let read = match fs::read_dir(&above) {
        Ok(read) => read,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(Failure::io("read", above.display(), &why)),
    };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let entries = read.filter_map(Result::ok).filter(is_folder);
    let mut folders: Vec<Folder> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let name = entry.file_name().into_string().ok()?;
            Some(Folder { name, is_kept: is_kept(&path), record: record(&path), path })
        })
        .collect();
    folders.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(folders)
}

fn open(folder: &Path, name: &CStr, how: i32) -> Option<(fd::Fd, file::Stat)> {
    let path = folder.join(OsStr::from_bytes(name.to_bytes()));
    let path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let opened = file::open(HERE, &path, how | flags::O_NONBLOCK | flags::O_NOFOLLOW, 0).ok()?;
    let stat = file::stat_fd(opened.raw()).ok()?;
    Some((opened, stat))
}

fn is_kept(folder: &Path) -> bool {
    open(folder, OK, flags::O_WRONLY).is_some_and(|(_, stat)| stat.is_fifo())
}

fn record(folder: &Path) -> Option<Record> {
    let (opened, stat) = open(folder, RECORD, flags::O_RDONLY)?;
    let mut bytes = [0; Record::LEN];
    let len = if stat.is_file() { fd::read_at(opened.raw(), &mut bytes, 0).ok()? } else { 0 };
    Record::from_bytes(&bytes[..len])
}
