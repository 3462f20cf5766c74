//! A cgroup for each instance: nothing that a participant starts can leave it, so all of it can be
//! killed at once, also by the next keeper.
//!
//! They are below the cgroup in which exo itself is, in a folder that is named after participant and
//! store; cgroup v2 with `cgroup.kill`, as Linux has it from 5.14 on. No limit is set in them.

use super::places::c_string;
use crate::settings::Settings;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::{EEXIST, ENOENT, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_WRONLY};
use sys::linux::file::{self, HERE};
use sys::linux::{directory, time};

/// Where cgroup v2 is mounted, alone or beside the first version.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Only cgroup v2 has this file.
const OF_V2: &str = "cgroup.controllers";

/// The folder of one exo.
#[derive(Debug)]
pub(super) struct Cgroups {
    path: CString,
    /// Locked, so that none kills what another exo has started.
    folder: Fd,
    /// Who is in one has no right to leave it.
    is_closed: bool,
}

/// What hinders us.
#[derive(Debug)]
pub(super) struct Missing(pub(super) String);

impl Cgroups {
    /// Makes the folder, or takes the one that an earlier keeper left.
    /// `is_closed`: the participant has no right to leave one.
    pub(super) fn make(settings: &Settings, is_closed: bool) -> std::result::Result<Self, Missing> {
        let unable = |what: &str, path: &Path, why: Errno| {
            Missing(format!("unable to {what} {}: {why}", path.display()))
        };
        let store = c_string(settings.store.as_os_str().as_bytes());
        let store = store.and_then(|path| file::stat(HERE, &path, true));
        let (device, inode) = store.map_err(|why| unable("see", &settings.store, why))?.id();
        let above = own_cgroup().ok_or_else(|| Missing("no cgroup v2 is mounted".to_owned()))?;
        let path = above.join(format!("exo.{}.{device:x}-{inode:x}", settings.participant));
        let make = || {
            let name = c_string(path.as_os_str().as_bytes())?;
            at_worst(file::mkdir(HERE, &name, 0o755), EEXIST)?;
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
            let folder = file::open(HERE, &name, flags, 0)?;
            let made = Self { folder, path: name, is_closed };
            file::lock_now(made.folder.raw())?;
            file::stat(made.folder.raw(), c"cgroup.kill", false)?;
            Ok(made)
        };
        make().map_err(|why| unable("use", &path, why))
    }

    /// Returns what a child of the instance has to write `0` to, before its rights go.
    pub(super) fn door(&self, instance: u16) -> Result<Fd> {
        let path = format!("{instance}/cgroup.procs");
        match self.open(&path) {
            Err(Errno(ENOENT)) => {}
            opened => return opened,
        }
        let name = c_string(instance.to_string().as_bytes())?;
        at_worst(file::mkdir(self.folder.raw(), &name, 0o755), EEXIST)?;
        self.open(&path)
    }

    /// The descriptor of the lock, which no child may keep.
    pub(super) fn lock(&self) -> i32 {
        self.folder.raw()
    }

    /// Tells whether nobody lives in an instance's any more, and whoever did never left it.
    pub(super) fn holds_none(&self, instance: u16) -> bool {
        let events = || {
            let name = c_string(format!("{instance}/cgroup.events").as_bytes())?;
            file::open(self.folder.raw(), &name, O_RDONLY, 0)
        };
        self.is_closed && events().is_ok_and(|events| is_empty(&events))
    }

    /// Kills all of an instance; one that was never started has nothing to be killed.
    pub(super) fn kill(&self, instance: u16) {
        let _ = self.open(&format!("{instance}/cgroup.kill")).and_then(|to| kill(&to));
    }

    /// Kills all of all instances.
    pub(super) fn kill_all(&self) {
        let _ = self.open("cgroup.kill").and_then(|to| kill(&to));
    }

    /// Kills whatever is in it and waits until it is dead, or `deadline` is over: false.
    pub(super) fn clear(&self, deadline: u64) -> bool {
        self.kill_all();
        let Ok(events) = file::open(self.folder.raw(), c"cgroup.events", O_RDONLY, 0) else {
            return false;
        };
        loop {
            if is_empty(&events) {
                return true;
            }
            let left = deadline.saturating_sub(time::monotonic());
            if left == 0 {
                return false;
            }
            // A change is told as an error, which is always waited for.
            let _ = fd::poll(&mut [PollFd::hung_up(events.raw())], Some(left));
        }
    }

    /// Removes it, with the folders in it; what somebody is still in stays.
    pub(super) fn remove(self) {
        let mut names = Vec::new();
        let _ = directory::for_each(self.folder.raw(), |name| {
            names.push(name.to_owned());
            None::<()>
        });
        for name in names.iter().filter(|name| name.to_bytes().iter().all(u8::is_ascii_digit)) {
            let _ = file::rmdir(self.folder.raw(), name);
        }
        let _ = file::rmdir(HERE, &self.path);
    }

    fn open(&self, name: &str) -> Result<Fd> {
        file::open(self.folder.raw(), &c_string(name.as_bytes())?, O_WRONLY, 0)
    }
}

/// Reads `cgroup.events`.
fn is_empty(events: &Fd) -> bool {
    let mut text = [0; 256];
    let len = fd::read_at(events.raw(), &mut text, 0).unwrap_or(0);
    text[..len].windows(11).any(|words| words == b"populated 0")
}

fn kill(to: &Fd) -> Result<()> {
    fd::write_all(to.raw(), b"1")
}

fn at_worst(answer: Result<()>, harmless: i32) -> Result<()> {
    answer.or_else(|why| if why == Errno(harmless) { Ok(()) } else { Err(why) })
}

/// Finds the folder of the cgroup v2 in which this process is.
fn own_cgroup() -> Option<PathBuf> {
    let text = fs::read("/proc/self/cgroup").ok()?;
    let path = of_v2(&text)?;
    let mut folders = MOUNTS.iter().map(|mount| Path::new(mount).join(path));
    folders.find(|folder| folder.join(OF_V2).exists())
}

/// Reads the line `0::/PATH`; the path without its slash. One that is outside of what we see begins
/// with `/..`.
fn of_v2(text: &[u8]) -> Option<&OsStr> {
    let path = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/"))?;
    (!path.starts_with(b"..")).then(|| OsStr::from_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_of_version_2_is_found_among_others_unless_it_is_outside() {
        for (text, wanted) in [
            (&b"9:name=systemd:/\n4:memory:/a/b\n0::/\n"[..], Some("")),
            (b"0::/system.slice/x.service\n", Some("system.slice/x.service")),
            (b"0::/../other\n", None),
            (b"4:memory:/a\n", None),
            (b"", None),
        ] {
            assert_eq!(of_v2(text), wanted.map(OsStr::new));
        }
    }
}
