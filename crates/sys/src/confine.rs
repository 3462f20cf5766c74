//! Keeping a program away from some folders, by Landlock, without any right of our own.
//!
//! Landlock knows no "all but this": what is not allowed is forbidden. So everything is allowed that
//! stands beside the way from / to a folder that is forbidden. The directories on that way, such as
//! `/`, `/home` and one's home directory, are not allowed themselves, whence:
//!
//! - their lists of names cannot be read, and nothing can be made, renamed or removed right in them;
//! - what comes to stand in them later cannot be opened either, until the rules are made anew.
//!
//! Looking at a file (stat) and entering a directory are never forbidden, nor is what is open
//! already. A folder that is mounted in a second place can be opened there.
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

/// Before version 2 nobody under Landlock could move a file to another directory.
const LEAST: u32 = 2;

/// Rules that are made, for as many processes as will be put under them.
#[derive(Debug)]
pub struct Confinement {
    rules: Ruleset,
    version: u32,
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
        let rules = Ruleset::new(version)?;
        let forbidden = forbidden.iter().map(|path| real(path)).collect::<io::Result<Vec<_>>>();
        let forbidden = forbidden.map_err(|why| errno(&why))?;
        allow_beside(&rules, Path::new("/"), &forbidden)?;
        for path in allowed {
            let path = real(path).map_err(|why| errno(&why))?;
            let is_within = forbidden.iter().any(|folder| path.starts_with(folder));
            let holds_one = forbidden.iter().any(|folder| folder.starts_with(&path));
            if is_within && !holds_one {
                allow(&rules, &path)?;
            }
        }
        Ok(Some(Self { rules, version }))
    }

    /// Makes rules that forbid nothing but to signal whoever is outside, and to trace them, which
    /// each forbids; `None` where the kernel knows none such. Files, renames and mounts are as before.
    ///
    /// # Errors
    /// As the calls of landlock(7).
    pub fn apart() -> Result<Option<Self>> {
        match landlock::version().filter(|version| *version >= landlock::SCOPES) {
            Some(version) => Ok(Some(Self { rules: Ruleset::of_signals()?, version })),
            None => Ok(None),
        }
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
        self.version >= 9
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

/// Allows what is in `folder`, but for the forbidden and the ways to them.
fn allow_beside(rules: &Ruleset, folder: &Path, forbidden: &[PathBuf]) -> Result<()> {
    // What we cannot read, whoever is under the rules could not either.
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten() {
        let path = entry.path();
        if forbidden.contains(&path) {
            continue;
        }
        if forbidden.iter().any(|one| one.starts_with(&path)) {
            allow_beside(rules, &path, forbidden)?;
        } else {
            allow(rules, &path)?;
        }
    }
    Ok(())
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
            fs::read_dir(folder.join("secret")).is_ok(),
            fs::write(folder.join("secret/new"), "x").is_ok(),
            fs::rename(folder.join("beside/b"), folder.join("secret/b")).is_ok(),
            fs::write(folder.join("new"), "x").is_ok(),
            fs::read(folder.join("link")).is_ok(),
            // From here on it may.
            fs::read(folder.join("beside/a")).is_ok(),
            fs::rename(folder.join("beside/a"), folder.join("secret/own/a")).is_ok(),
        ];
        can.iter().rev().fold(0, |bits, can| bits << 1 | i32::from(*can))
    }

    #[test]
    fn what_is_forbidden_cannot_be_opened_and_what_stands_beside_it_can() {
        let folder = std::env::temp_dir().join(format!("skynet-confine-{}", std::process::id()));
        for name in ["secret/sub", "secret/own", "beside"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        for name in ["secret/sub/file", "beside/a", "beside/b"] {
            fs::write(folder.join(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("secret/sub/file", folder.join("link")).unwrap();
        let forbidden = [folder.join("secret"), folder.join("not/yet/there")];
        let forbidden = [forbidden[0].as_path(), forbidden[1].as_path()];
        let allowed = [folder.join("secret/own"), folder.clone()];
        let allowed = [allowed[0].as_path(), allowed[1].as_path()];
        let Some(rules) = Confinement::new(&forbidden, &allowed).unwrap() else {
            fs::remove_dir_all(&folder).unwrap();
            return;
        };
        let code = match process::fork().unwrap() {
            Fork::Child => {
                let entered = process::gain_no_rights().is_ok() && rules.enter().is_ok();
                process::exit(if entered { tries(&folder) } else { 1 })
            }
            Fork::Parent(pid) => match process::wait(pid, true) {
                Waited::Ended(_, Ended::Code(code)) => code,
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(code, 0b1100_0000, "{code:08b}");
        // Nothing of it was because of anything else.
        fs::rename(folder.join("secret/own/a"), folder.join("beside/a")).unwrap();
        assert_eq!(tries(&folder), 0xff);
        fs::remove_dir_all(&folder).unwrap();
    }
}
