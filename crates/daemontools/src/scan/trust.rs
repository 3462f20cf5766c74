//! Whose programs svscan runs: none that somebody else can change, where it can say so.
//!
//! daemontools runs what it finds. In folders of skynet's own, and in a user's own, a service
//! directory or a program of it that another user can write is refused; elsewhere it is warned
//! about.

use ondisk::names::LOG;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::{self, HERE, Stat};
use sys::linux::process;

/// The system's own folder.
const SYSTEM: &str = "/etc/skynet";

/// What is done about a directory that others can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Not run.
    Refuse,
    /// Run, and said.
    Warn,
}

impl Policy {
    /// Returns the policy of the current directory.
    #[must_use]
    pub(super) fn here() -> Self {
        let Ok(here) = std::env::current_dir() else { return Self::Warn };
        Self::of(&here, own_folder().as_deref())
    }

    fn of(dir: &Path, own: Option<&Path>) -> Self {
        let strict = dir.starts_with(SYSTEM) || own.is_some_and(|own| dir.starts_with(own));
        if strict { Self::Refuse } else { Self::Warn }
    }
}

/// Returns a user's own folder: `$XDG_STATE_HOME/skynet`.
fn own_folder() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty());
    let state = state.map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").filter(|dir| !dir.is_empty())?;
        Some(Path::new(&home).join(".local/state"))
    });
    state.map(|state| state.join("skynet"))
}

/// What supervise runs from a service directory, and the directory that leads to a logger; what
/// lies in that comes behind it. What is not there runs nothing; it is looked at again at the next
/// start of supervise.
const RUN: [&CStr; 9] = [
    c"run",
    c"start",
    c"stop",
    c"notify",
    LOG,
    c"log/run",
    c"log/start",
    c"log/stop",
    c"log/notify",
];

/// Returns what is wrong with a service directory: which file, and why others can change it.
#[must_use]
pub(super) fn flaw(name: &CStr) -> Option<(&'static str, &'static str)> {
    let opened = file::open(HERE, name, file::flags::O_PATH, 0);
    let (dir, stat) = match opened.and_then(|dir| Ok((file::stat_fd(dir.raw())?, dir))) {
        Ok((stat, dir)) => (dir, stat),
        // Nothing is run from there.
        Err(Errno(libc::ENOENT)) => return None,
        // For want of a descriptor, say: another time it may be known.
        Err(_) => return Some(("it", "cannot be looked at")),
    };
    if let Some(why) = of_file(&stat) {
        return Some(("it", why));
    }
    for name in RUN {
        match file::stat(dir.raw(), name, true).map(|stat| of_file(&stat)) {
            Ok(Some(why)) => return Some((name.to_str().unwrap_or_default(), why)),
            // Without a folder there is nothing in it.
            Err(Errno(libc::ENOENT)) if name == LOG => break,
            Ok(None) | Err(_) => {}
        }
    }
    None
}

fn of_file(stat: &Stat) -> Option<&'static str> {
    let (uid, mode) = (stat.uid(), stat.mode());
    if uid != 0 && uid != process::euid() {
        Some("belongs to another user")
    } else if mode & 0o022 != 0 {
        Some("can be written by others (chmod go-w)")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    #[test]
    fn what_cannot_be_looked_at_is_not_trusted() {
        let too_long = CString::new("a".repeat(300)).unwrap();
        assert_eq!(flaw(&too_long), Some(("it", "cannot be looked at")));
        assert_eq!(flaw(c"/proc/no-such-name"), None);
        assert_eq!(flaw(c"/proc"), None);
    }

    #[test]
    fn only_folders_of_our_own_are_strict() {
        let own = Some(Path::new("/users/a/.local/state/skynet"));
        for (dir, policy) in [
            ("/etc/skynet/service", Policy::Refuse),
            ("/users/a/.local/state/skynet/service", Policy::Refuse),
            ("/etc/service", Policy::Warn),
            ("/etc/skynetish", Policy::Warn),
            ("/users/a/service", Policy::Warn),
        ] {
            assert_eq!(Policy::of(Path::new(dir), own), policy, "{dir}");
        }
    }
}
