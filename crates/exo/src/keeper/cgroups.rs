//! A cgroup for each instance: nothing that a participant starts can leave it, so all of it can be
//! killed at once, also by the next keeper. A second one for each is for a process that is made while
//! another of the instance runs.
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
use sys::linux::file::flags::{
    EEXIST, ENODEV, ENOENT, ENOSYS, O_DIRECTORY, O_NOFOLLOW, O_RDONLY, O_WRONLY,
};
use sys::linux::file::{self, HERE};
use sys::linux::process::{self, Ended, Fork, Waited};
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
    /// Processes can be made in one: those that are moved there make the kernel wait for 10 ms where
    /// nothing else is going on, and hold up every fork and exit of the machine meanwhile.
    makes: bool,
    /// By [`Seat::place`], once somebody was started there.
    rooms: Vec<Option<Room>>,
}

/// Which of the two cgroups of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    instance: u16,
    is_second: bool,
}

impl Seat {
    /// Behind the number of an instance, names its second cgroup.
    const SECOND: &str = "b";

    pub(super) const fn first(instance: u16) -> Self {
        Self { instance, is_second: false }
    }

    pub(super) const fn other(self) -> Self {
        Self { is_second: !self.is_second, ..self }
    }

    fn place(self) -> usize {
        2 * usize::from(self.instance) + usize::from(self.is_second)
    }

    fn name(self) -> String {
        let second = if self.is_second { Self::SECOND } else { "" };
        format!("{}{second}", self.instance)
    }

    fn is_name(name: &[u8]) -> bool {
        let number = name.strip_suffix(Self::SECOND.as_bytes()).unwrap_or(name);
        number.iter().all(u8::is_ascii_digit)
    }
}

/// One cgroup of an instance.
#[derive(Debug)]
struct Room {
    folder: Fd,
    events: Fd,
    /// All in it were killed once. Linux counts that, and kills from 6.14 on, and in releases that
    /// have its mend, what is made in a cgroup with another count than where its parent is.
    was_killed: bool,
}

/// Tells whether it is why nothing can be done with a cgroup that somebody has removed.
const fn is_removed(why: Errno) -> bool {
    matches!(why, Errno(ENODEV | ENOENT))
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
            let made = Self { folder, path: name, is_closed, makes: false, rooms: Vec::new() };
            file::lock_now(made.folder.raw())?;
            file::stat(made.folder.raw(), c"cgroup.kill", false)?;
            Ok(made)
        };
        make().map_err(|why| unable("use", &path, why))
    }

    /// Tries whether processes can be made in a cgroup. To be asked once nobody is in one any more.
    pub(super) fn try_to_make(&mut self) {
        let Ok(room) = self.room(Seat::first(0)) else { return };
        self.makes = match process::fork_into(room.folder.raw()) {
            Ok(Fork::Child) => process::exit(0),
            Ok(Fork::Parent(pid)) => process::wait(pid, true) == Waited::Ended(pid, Ended::Code(0)),
            Err(_) => false,
        };
    }

    /// Makes a copy of this process for an instance, in its cgroup or, where that cannot be, outside:
    /// it has to write `0` to the descriptor then, before its rights go.
    pub(super) fn fork(&mut self, seat: Seat) -> Result<(Fork, Option<Fd>)> {
        match self.fork_into(seat) {
            Ok(fork) => return Ok((fork, None)),
            Err(why) if is_removed(why) || why == Errno(ENOSYS) => {}
            Err(why) => return Err(why),
        }
        let open = |room: &Room| file::open(room.folder.raw(), c"cgroup.procs", O_WRONLY, 0);
        let door = match open(self.room(seat)?) {
            Err(why) if is_removed(why) => {
                self.rooms[seat.place()] = None;
                open(self.room(seat)?)?
            }
            door => door?,
        };
        Ok((process::fork()?, Some(door)))
    }

    /// Makes a copy of this process for an instance, in its cgroup.
    ///
    /// # Errors
    /// `ENOSYS` where it cannot be made in it, `ENODEV` or `ENOENT` where that was removed; else as
    /// clone3(2).
    pub(super) fn fork_into(&mut self, seat: Seat) -> Result<Fork> {
        let makes = self.makes;
        let room = self.room(seat)?;
        if !makes || room.was_killed {
            return Err(Errno(ENOSYS));
        }
        process::fork_into(room.folder.raw()).inspect_err(|why| {
            if is_removed(*why) {
                self.rooms[seat.place()] = None;
            }
        })
    }

    /// Returns a cgroup of an instance, if possible one in which nobody was killed.
    fn room(&mut self, seat: Seat) -> Result<&Room> {
        let at = seat.place();
        if self.rooms.len() <= at {
            self.rooms.resize_with(at + 1, || None);
        }
        let is_new = |room: &Room| !room.was_killed;
        let room = match self.rooms[at].take().filter(is_new) {
            Some(room) => room,
            None => Room::open(&self.folder, seat)?,
        };
        Ok(self.rooms[at].insert(room))
    }

    /// The descriptor of the lock, which no child may keep.
    pub(super) fn lock(&self) -> i32 {
        self.folder.raw()
    }

    /// Tells whether nobody lives in one any more, and whoever did never left it.
    pub(super) fn holds_none(&self, seat: Seat) -> bool {
        let room = self.rooms.get(seat.place()).and_then(Option::as_ref);
        self.is_closed && room.is_some_and(|room| is_empty(&room.events))
    }

    /// Kills all who are in one; where nobody was ever started, nobody is to be killed.
    pub(super) fn kill(&mut self, seat: Seat) {
        if let Some(Some(room)) = self.rooms.get_mut(seat.place()) {
            room.was_killed = true;
        }
        let _ = self.open(&format!("{}/cgroup.kill", seat.name())).and_then(|to| kill(&to));
    }

    /// Kills all of all instances.
    pub(super) fn kill_all(&mut self) {
        self.rooms.iter_mut().flatten().for_each(|room| room.was_killed = true);
        let _ = self.open("cgroup.kill").and_then(|to| kill(&to));
    }

    /// Kills whatever is in it and waits until it is dead, or `deadline` is over: false.
    pub(super) fn clear(&mut self, deadline: u64) -> bool {
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
        for name in names.iter().filter(|name| Seat::is_name(name.to_bytes())) {
            let _ = file::rmdir(self.folder.raw(), name);
        }
        let _ = file::rmdir(HERE, &self.path);
    }

    fn open(&self, name: &str) -> Result<Fd> {
        file::open(self.folder.raw(), &c_string(name.as_bytes())?, O_WRONLY, 0)
    }
}

impl Room {
    /// Makes it; one that is there already and empty is made anew.
    fn open(above: &Fd, seat: Seat) -> Result<Self> {
        let name = c_string(seat.name().as_bytes())?;
        let make = || file::mkdir(above.raw(), &name, 0o755);
        let anew = |_| file::rmdir(above.raw(), &name).and_then(|()| make());
        let was_killed = make().or_else(anew).is_err();
        let folder = file::open(above.raw(), &name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
        let events = file::open(folder.raw(), c"cgroup.events", O_RDONLY, 0)?;
        Ok(Self { folder, events, was_killed })
    }
}

/// Reads `cgroup.events`.
fn is_empty(events: &Fd) -> bool {
    const WORDS: &[u8] = b"populated 0";
    let mut text = [0; 256];
    let holds = |text: &mut [u8]| {
        let len = fd::read_at(events.raw(), text, 0).unwrap_or(0);
        text[..len].windows(WORDS.len()).any(|words| words == WORDS)
    };
    // They come first so far, and room that is full is read into once.
    holds(&mut text[..WORDS.len()]) || holds(&mut text)
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
