//! Which directory is meant, and what it is called for short.

use super::SVLOG;
use crate::logs::{Folder, Trouble, Why};
use ondisk::names::{LOG, RUN};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use sys::linux::errno::Errno;

/// What log directories are called in service directories, by custom.
const MAIN: &str = "main";

/// A log directory that was found.
pub struct Place {
    /// It.
    pub folder: Folder,
    /// As it was asked for.
    pub asked: OsString,
    /// What it is called for short.
    pub short: OsString,
}

/// Why there is none.
pub enum NotFound {
    /// The system says no.
    System(Errno),
    /// It cannot be read.
    Unreadable(Trouble),
    /// It is a service directory, whose logger writes nobody knows where.
    Elsewhere,
}

impl NotFound {
    /// Says it.
    pub fn say(&self, dir: &OsStr) {
        let (verb, why) = match self {
            Self::System(why) => ("unable to open directory ", *why),
            Self::Unreadable(trouble) => {
                let Some(Why::System(why)) = trouble.why else {
                    SVLOG.warning_plain(&["unable to read directory ".as_ref(), dir]);
                    return;
                };
                ("unable to read directory ", why)
            }
            Self::Elsewhere => {
                let advice = ": it is not in log/main; name the directory its logger writes to";
                let parts = ["unable to find the log of ".as_ref(), dir, advice.as_ref()];
                SVLOG.warning_plain(&parts);
                return;
            }
        };
        SVLOG.warning(&[verb.as_ref(), dir], why);
    }
}

/// Opens the log directory `dir`, or that of the service directory `dir`.
///
/// # Errors
/// [`NotFound`].
pub fn find(dir: &OsStr) -> Result<Place, NotFound> {
    let path = Path::new(dir);
    let folder = Folder::open(dir).map_err(NotFound::System)?;
    let place = |folder| Place { folder, asked: dir.to_owned(), short: short(path) };
    let listing = folder.list().map_err(NotFound::Unreadable)?;
    if listing.current.is_some() || listing.previous.is_some() || !listing.rotated.is_empty() {
        return Ok(place(folder));
    }
    if !listing.troubles.is_empty() {
        return Ok(place(folder));
    }
    let has = |name: &std::ffi::CStr| path.join(OsStr::from_bytes(name.to_bytes())).exists();
    let mut below = vec![path.join(OsStr::from_bytes(LOG.to_bytes())).join(MAIN)];
    if has(RUN) {
        below.push(path.join(MAIN));
    }
    for path in below {
        match Folder::open(path.as_os_str()) {
            Ok(folder) => return Ok(place(folder)),
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) => {}
            Err(why) => return Err(NotFound::System(why)),
        }
    }
    if has(RUN) || has(LOG) { Err(NotFound::Elsewhere) } else { Ok(place(folder)) }
}

/// Returns the last part of a path that tells it from others: neither `log` nor `main`.
fn short(path: &Path) -> OsString {
    let last = |path: &Path| {
        let mut named = path.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            _ => None,
        });
        let log = OsStr::from_bytes(LOG.to_bytes());
        named.rfind(|name| name != MAIN && name != log)
    };
    let is_plain = !path.components().any(|part| part == Component::ParentDir);
    let whole = || path.canonicalize().ok().as_deref().and_then(last);
    let plain = Some(path).filter(|_| is_plain).and_then(last);
    plain.or_else(whole).unwrap_or_else(|| PathBuf::from(path).into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_name_is_the_service_s() {
        for (path, name) in [
            ("/etc/service/web/log/main", "web"),
            ("/etc/service/web/log/main/", "web"),
            ("/etc/service/web", "web"),
            ("web/log", "web"),
            ("/var/log/web", "web"),
            ("/", "/"),
            ("/usr/../usr/bin/..", "usr"),
        ] {
            assert_eq!(short(Path::new(path)), name, "{path}");
        }
    }
}
