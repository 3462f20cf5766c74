//! Whose programs svscan runs: none that somebody else can change, where it can say so.
//!
//! daemontools runs what it finds. In folders of skynet's own, and in a user's own, a service
//! directory or a program of it that another user can write is refused; elsewhere it is warned
//! about. Refused is also what another user can put in the place of one, by a folder or a symlink on
//! the way to it.

use ondisk::names::LOG;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::{self, HERE, Stat};
use sys::linux::process;
use sys::trusted;

/// The system's own folder.
const SYSTEM: &str = "/etc/skynet";

/// What is done about a directory that others can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Not run.
    Refuse,
    /// Run, and said.
    Warn,
}

impl Policy {
    /// Returns the policy of the current directory.
    #[must_use]
    pub(super) fn here() -> Self {
        std::env::current_dir().map_or(Self::Warn, |here| Self::of_folder(&here))
    }

    /// Returns that of a svscan that watches this folder.
    #[must_use]
    pub fn of_folder(dir: &Path) -> Self {
        Self::of(dir, own_folder().as_deref())
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
pub fn flaw(name: &CStr, policy: Policy) -> Option<String> {
    let opened = file::open(HERE, name, file::flags::O_PATH, 0);
    let (dir, stat) = match opened.and_then(|dir| Ok((file::stat_fd(dir.raw())?, dir))) {
        Ok((stat, dir)) => (dir, stat),
        // Nothing is run from there.
        Err(Errno(libc::ENOENT)) => return None,
        // For want of a descriptor, say: another time it may be known.
        Err(_) => return Some(unknown("it")),
    };
    if let Some(why) = of_file(&stat) {
        return Some(format!("it {why}"));
    }
    for name in RUN {
        match file::stat(dir.raw(), name, true).map(|stat| of_file(&stat)) {
            Ok(Some(why)) => return Some(format!("{} {why}", name.to_string_lossy())),
            // Without a folder there is nothing in it.
            Err(Errno(libc::ENOENT)) if name == LOG => break,
            Ok(None) | Err(_) => {}
        }
    }
    if policy == Policy::Refuse { on_the_way(name) } else { None }
}

/// Returns what is wrong on the way to the directory and to what is run from it.
fn on_the_way(name: &CStr) -> Option<String> {
    let dir = Path::new(OsStr::from_bytes(name.to_bytes()));
    std::iter::once(c"").chain(RUN).find_map(|file| {
        let file = OsStr::from_bytes(file.to_bytes());
        match trusted::look(&dir.join(file)) {
            Ok(flaw) => flaw.map(|flaw| flaw.to_string()),
            // Nothing is run, and nobody else can change that.
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) => None,
            Err(_) if file.is_empty() => Some(unknown("it")),
            Err(_) => Some(unknown(&file.to_string_lossy())),
        }
    })
}

fn unknown(file: &str) -> String {
    format!("{file} cannot be looked at")
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
        for policy in [Policy::Refuse, Policy::Warn] {
            assert_eq!(flaw(&too_long, policy), Some("it cannot be looked at".to_owned()));
            assert_eq!(flaw(c"/proc/no-such-name", policy), None);
            assert_eq!(flaw(c"/proc", policy), None);
        }
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
