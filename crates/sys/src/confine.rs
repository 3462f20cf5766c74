//! Keeping a program away from some folders, by Landlock, without any right of our own.
//!
//! Landlock knows no "all but this": what is not allowed is forbidden. So everything is allowed that
//! stands beside the way from / to a folder that is forbidden. The directories on that way, such as
//! `/`, `/home` and one's home directory, are not allowed themselves, whence:
//!
//! - nothing can be made, renamed or removed right in them: a right to do so would hold below them,
//!   too, so that somebody could put a file of his own among those that are forbidden;
//! - what comes to stand in them later cannot be opened until the rules are made anew, which
//!   [`Confinement::renew`] does.
//!
//! Looking at a file (stat), entering a directory and listing the names in it are never forbidden, nor
//! is what is open already. A folder that is mounted in a second place can be opened there.
//!
//! From version 6 on (Linux 6.12) the program can neither signal nor reach by a bare-named socket
//! whoever is outside, from 9 on (Linux 7.1) it cannot connect to sockets in those folders; before
//! that it can, where their modes let it. It can never trace anybody outside.
//!
//! Source: landlock(7).

use linux::errno::{Errno, Result};
use linux::file::{self, HERE};
use linux::landlock::{self, Ruleset};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Before version 2 nobody under Landlock could move a file to another directory.
const LEAST: u32 = 2;

/// Two changes of a directory may have one time stamp where they are no further apart than a tick of
/// the kernel's clock.
const TICK: Duration = Duration::from_millis(20);

/// Rules that are made, for as many processes as will be put under them.
#[derive(Debug)]
pub struct Confinement {
    rules: Ruleset,
    version: u32,
    /// What the rules are made of; `None` = they say nothing about files.
    files: Option<Files>,
}

/// Which files somebody is kept from.
#[derive(Debug)]
struct Files {
    forbidden: Vec<PathBuf>,
    /// What is allowed within the forbidden.
    allowed: Vec<PathBuf>,
    /// The directories on the way to the forbidden, as they were before the rules were made.
    ways: Vec<Way>,
}

/// A directory of which each entry is allowed by itself.
#[derive(Debug)]
struct Way {
    path: PathBuf,
    /// When something came or went in it for the last time; `None` where that is not known for sure.
    changed: Option<SystemTime>,
}

impl Confinement {
    /// Makes rules that forbid the folders `forbidden`, which need not be there yet, and allow the
    /// folders `allowed` within them; `None` where the kernel has no Landlock that would do.
    ///
    /// # Errors
    /// As open(2) and the calls of landlock(7); what cannot be opened is not allowed, which is none.
    pub fn new(forbidden: &[&Path], allowed: &[&Path]) -> Result<Option<Self>> {
        let Some(version) = landlock::version().filter(|version| *version >= LEAST) else {
            return Ok(None);
        };
        let reals = |paths: &[&Path]| paths.iter().map(|path| real(path)).collect();
        let [forbidden, allowed]: [io::Result<Vec<_>>; 2] = [reals(forbidden), reals(allowed)];
        let forbidden = forbidden.map_err(|why| errno(&why))?;
        let mut allowed = allowed.map_err(|why| errno(&why))?;
        allowed.retain(|path| {
            let is_within = forbidden.iter().any(|folder| path.starts_with(folder));
            is_within && !forbidden.iter().any(|folder| folder.starts_with(path))
        });
        let mut files = Files { forbidden, allowed, ways: Vec::new() };
        let rules = files.rules(version)?;
        Ok(Some(Self { rules, version, files: Some(files) }))
    }

    /// Makes the rules anew, for whoever is put under them from now on, where something has come to
    /// stand beside the forbidden folders, or may have. Tells whether it did.
    ///
    /// # Errors
    /// As [`Confinement::new`]; the rules are as before then.
    pub fn renew(&mut self) -> Result<bool> {
        let Some(files) = self.files.as_mut().filter(|files| files.are_changed()) else {
            return Ok(false);
        };
        self.rules = files.rules(self.version)?;
        Ok(true)
    }

    /// Makes rules that forbid nothing but to signal whoever is outside, and to trace them, which
    /// each forbids; `None` where the kernel knows none such. Files, renames and mounts are as before.
    ///
    /// # Errors
    /// As the calls of landlock(7).
    pub fn apart() -> Result<Option<Self>> {
        match landlock::version().filter(|version| *version >= landlock::SCOPES) {
            Some(version) => Ok(Some(Self { rules: Ruleset::of_signals()?, version, files: None })),
            None => Ok(None),
        }
    }

    /// Returns the descriptor of the rules.
    #[must_use]
    pub fn raw(&self) -> i32 {
        self.rules.raw()
    }

    /// Puts this process, and all that it will run, under the rules, by nothing but a system call.
    ///
    /// # Errors
    /// `EPERM` where it has not given up gaining rights before.
    pub fn enter(&self) -> Result<()> {
        self.rules.restrict()
    }

    /// Tells whether who is under the rules cannot signal anybody outside.
    #[must_use]
    pub fn holds_signals(&self) -> bool {
        self.version >= landlock::SCOPES
    }

    /// Tells whether who is under the rules cannot connect to sockets in the forbidden folders.
    #[must_use]
    pub fn holds_sockets(&self) -> bool {
        self.version >= landlock::SOCKETS
    }
}

fn errno(why: &io::Error) -> Errno {
    Errno(why.raw_os_error().unwrap_or(libc::EINVAL))
}

/// Returns the path without symlinks; what is not there yet ends it as it is.
fn real(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {
            let path = std::path::absolute(path)?;
            match (path.parent(), path.file_name()) {
                (Some(above), Some(name)) => Ok(real(above)?.join(name)),
                _ => Err(why),
            }
        }
        answer => answer,
    }
}

impl Files {
    /// Makes the rules.
    fn rules(&mut self, version: u32) -> Result<Ruleset> {
        let rules = Ruleset::new(version)?;
        let mut ways = Vec::new();
        self.allow_beside(&rules, PathBuf::from("/"), &mut ways)?;
        for path in &self.allowed {
            allow(&rules, path)?;
        }
        self.ways = ways;
        Ok(rules)
    }

    /// Allows what is in `folder`, but for the forbidden and the ways to them, and notes the ways.
    fn allow_beside(&self, rules: &Ruleset, folder: PathBuf, ways: &mut Vec<Way>) -> Result<()> {
        // Before it is read: what comes later is seen by that.
        let changed = change_of(&folder).filter(|at| {
            let age = SystemTime::now().duration_since(*at);
            age.is_ok_and(|age| age > TICK)
        });
        // What we cannot read, whoever is under the rules could not either.
        let entries = fs::read_dir(&folder);
        ways.push(Way { path: folder, changed });
        for entry in entries.into_iter().flatten().flatten() {
            let path = entry.path();
            if self.forbidden.contains(&path) {
                continue;
            }
            if self.forbidden.iter().any(|one| one.starts_with(&path)) {
                self.allow_beside(rules, path, ways)?;
            } else {
                allow(rules, &path)?;
            }
        }
        Ok(())
    }

    fn are_changed(&self) -> bool {
        self.ways.iter().any(|way| way.changed.is_none() || way.changed != change_of(&way.path))
    }
}

/// Returns when something came or went in a directory for the last time.
fn change_of(folder: &Path) -> Option<SystemTime> {
    fs::metadata(folder).and_then(|about| about.modified()).ok()
}

/// Allows a file, or a directory and all below it. A symlink is nothing by itself.
fn allow(rules: &Ruleset, path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno(libc::EINVAL))?;
    // It may be gone already, or be one that only its owner may see.
    let Ok(file) = file::open(HERE, &name, libc::O_PATH | libc::O_NOFOLLOW, 0) else {
        return Ok(());
    };
    let stat = file::stat_fd(file.raw())?;
    if stat.is_symlink() {
        return Ok(());
    }
    rules.allow(file.raw(), stat.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux::process::{self, Ended, Fork, Waited};

    /// What a confined child may do there; each is one bit of its exit code.
    fn tries(folder: &Path) -> i32 {
        let can = [
            fs::read(folder.join("secret/sub/file")).is_ok(),
            fs::create_dir(folder.join("secret/made")).is_ok()
                || fs::write(folder.join("secret/new"), "x").is_ok(),
            fs::rename(folder.join("beside/b"), folder.join("secret/b")).is_ok(),
            fs::write(folder.join("new"), "x").is_ok(),
            fs::read(folder.join("link")).is_ok(),
            // From here on it may.
            fs::read_dir(folder).is_ok() && fs::read_dir(folder.join("secret")).is_ok(),
            fs::read(folder.join("beside/a")).is_ok(),
            fs::rename(folder.join("beside/a"), folder.join("secret/own/a")).is_ok(),
        ];
        can.iter().rev().fold(0, |bits, can| bits << 1 | i32::from(*can))
    }

    /// Returns what comes of it under the rules.
    fn under(rules: &Confinement, folder: &Path, tries: fn(&Path) -> i32) -> i32 {
        match process::fork().unwrap() {
            Fork::Child => {
                let entered = process::gain_no_rights().is_ok() && rules.enter().is_ok();
                process::exit(if entered { tries(folder) } else { 1 })
            }
            Fork::Parent(pid) => match process::wait(pid, true) {
                Waited::Ended(_, Ended::Code(code)) => code,
                other => panic!("{other:?}"),
            },
        }
    }

    fn folder(name: &str) -> PathBuf {
        let name = format!("skynet-confine-{name}-{}", process::pid());
        let folder = std::env::temp_dir().join(name);
        for name in ["secret/sub", "secret/own", "beside"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        folder
    }

    #[test]
    fn what_is_forbidden_cannot_be_opened_and_what_stands_beside_it_can() {
        let folder = folder("beside");
        for name in ["secret/sub/file", "beside/a", "beside/b"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("secret/sub/file", folder.join("link")).unwrap();
        let forbidden = [folder.join("secret"), folder.join("not/yet/there")];
        let forbidden = [forbidden[0].as_path(), forbidden[1].as_path()];
        let allowed = [folder.join("secret/own"), folder.clone()];
        let allowed = [allowed[0].as_path(), allowed[1].as_path()];
        let rules = Confinement::new(&forbidden, &allowed).unwrap();
        if let Some(rules) = &rules {
            let code = under(rules, &folder, tries);
            assert_eq!(code, 0b1110_0000, "{code:08b}");
            // Nothing of it was because of anything else.
            fs::rename(folder.join("secret/own/a"), folder.join("beside/a")).unwrap();
            assert_eq!(tries(&folder), 0xff);
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_comes_to_stand_beside_it_can_be_opened_once_the_rules_are_renewed() {
        let folder = folder("renewed");
        let tries = |folder: &Path| {
            let can = ["secret/sub/file", "later/file", "file"].map(|name| folder.join(name));
            can.iter().fold(0, |bits, path| bits << 1 | i32::from(fs::read(path).is_ok()))
        };
        fs::write(folder.join("secret/sub/file"), "x").unwrap();
        if let Some(mut rules) = Confinement::new(&[&folder.join("secret")], &[]).unwrap() {
            fs::create_dir(folder.join("later")).unwrap();
            for name in ["later/file", "file"] {
                fs::write(folder.join(name), "x").unwrap();
            }
            assert_eq!(under(&rules, &folder, tries), 0b000);
            rules.renew().unwrap();
            assert_eq!(under(&rules, &folder, tries), 0b011);
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
