//! Which directory is a service's log, and who may read it.

use crate::here::Here;
use crate::service::{OWN_LOG, Service};
use exo::GROUP;
use ondisk::names::LOG;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::account;
use sys::linux::errno::Errno;
use sys::linux::file::flags::{EACCES, ENOENT};

/// What log directories are called in service directories, by custom.
const MAIN: &str = "main";
/// The group of a directory may read it, and look into it.
const GROUP_READS: u32 = 0o050;

/// Returns the log directory of a service, whose directory is `dir`, which may not be there yet;
/// `None` where the service has no logger, and what it says goes to the service [`OWN_LOG`].
#[must_use]
pub fn find(here: &Here, service: &Service, dir: &Path) -> Option<PathBuf> {
    let usual = here.places().logs.join(&service.name);
    if service.name == OWN_LOG {
        return Some(usual);
    }
    let log = dir.join(OsStr::from_bytes(LOG.to_bytes()));
    if !log.exists() {
        return None;
    }
    let main = log.join(MAIN);
    // One that may not be looked at is there.
    let is_gone = fs::metadata(&main).is_err_and(|why| why.kind() == ErrorKind::NotFound);
    Some(if is_gone { usual } else { main })
}

/// Says that a service has no logger.
#[must_use]
pub fn no_logger(service: &Service) -> String {
    let name = &service.name;
    format!("{name} has no logger; what it says is among the lines of skynet log {OWN_LOG}")
}

/// Says why the log of a service, which should be in this directory, cannot be read.
#[must_use]
pub fn unreadable(service: &Service, dir: &Path, why: Errno) -> String {
    let name = &service.name;
    match why.0 {
        ENOENT => {
            let (dir, main) = (dir.display(), service.dir.join("log").join(MAIN));
            let advice = "where its logger writes to another directory, svlog shows that";
            format!("{name} has no log yet, neither {dir} nor {}; {advice}", main.display())
        }
        EACCES => format!("unable to read the log of {name}: {why}; {} may", readers(dir)),
        _ => format!("unable to read the log of {name}, {}: {why}", dir.display()),
    }
}

/// Returns who may read a directory.
fn readers(dir: &Path) -> String {
    // Where not even that much is shown, a folder above is closed.
    let stat = dir.ancestors().find_map(|dir| dir.metadata().ok());
    let Some(stat) = stat else { return "root".to_owned() };
    let mut who = vec!["root".to_owned()];
    if stat.uid() != 0 {
        let name = account::name_of(stat.uid());
        let name = name.map(|name| String::from_utf8_lossy(&name).into_owned());
        who.push(name.unwrap_or_else(|| format!("user {}", stat.uid())));
    }
    if stat.mode() & GROUP_READS == GROUP_READS {
        let is_ours = account::find_group(GROUP) == Some(stat.gid());
        let ours = || String::from_utf8_lossy(GROUP).into_owned();
        let group = if is_ours { ours() } else { stat.gid().to_string() };
        who.push(format!("members of group {group}"));
    }
    let last = who.pop().unwrap_or_default();
    if who.is_empty() { last } else { format!("{} and {last}", who.join(", ")) }
}
