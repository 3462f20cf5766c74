//! The claim on a participant's name in the folder of the control sockets: one exo at a time has it.
//!
//! It is a lock on a file beside the socket, which only its owner can open, and dies with whoever
//! holds it. The exo that takes our place after HUP finds it among its descriptors; one that is too
//! old for that closes it and takes none.

use super::Trouble;
use super::places::{self, c_string};
use crate::settings::Settings;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::{EAGAIN, EPERM, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR};
use sys::linux::file::{self, HERE};
use sys::linux::{process, signal};

/// How long a child of a keeper that was killed may have the lock until it has closed it.
const TRIES: u32 = 100;
const BETWEEN: Duration = Duration::from_millis(10);

/// What one exo has of its name.
#[derive(Debug)]
pub(super) struct Claim {
    /// That of the control sockets.
    pub(super) folder: Fd,
    name: CString,
    lock: Fd,
}

/// Why it could not be taken.
enum Failed {
    /// Another exo has it, whose pid this is, if it lives.
    Taken(Option<i32>),
    /// There can be none.
    Unable(Errno),
}

impl From<Errno> for Failed {
    fn from(why: Errno) -> Self {
        Self::Unable(why)
    }
}

impl Claim {
    /// Takes it, or goes on with the lock `kept` that we had before HUP. The inner error is why there
    /// can be none, nor a control socket.
    ///
    /// # Errors
    /// Another exo has it.
    pub(super) fn take(
        settings: &Settings,
        kept: Option<Fd>,
    ) -> std::result::Result<std::result::Result<Self, Trouble>, Trouble> {
        match Self::try_take(settings, kept) {
            Ok(claim) => Ok(Ok(claim)),
            Err(Failed::Taken(pid)) => {
                let whose = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
                let name = &settings.participant;
                let what =
                    format!("unable to run participant {name}: an exo runs it already{whose}");
                Err(Trouble::plain(what))
            }
            Err(Failed::Unable(why)) => Ok(Err(places::no_socket(settings, why))),
        }
    }

    fn try_take(settings: &Settings, kept: Option<Fd>) -> std::result::Result<Self, Failed> {
        let folder = places::run_folder(settings)?;
        let name = c_string(settings.lock_name().as_bytes())?;
        let (mut kept, mut holder) = (kept, None);
        for _ in 0..TRIES {
            let lock = match kept.take() {
                Some(lock) => lock,
                None => open(&folder, &name)?,
            };
            match file::lock_now(lock.raw()) {
                Ok(()) if is_at(&folder, &name, &lock) => {
                    // Who reads it only wants to tell people.
                    let text = format!("{}\n", process::pid());
                    let _ = file::cut(lock.raw(), 0)
                        .and_then(|()| fd::write_at(lock.raw(), text.as_bytes(), 0));
                    return Ok(Self { folder, name, lock });
                }
                // Its holder ended in order meanwhile.
                Ok(()) => continue,
                Err(Errno(EAGAIN)) => holder = read_holder(&lock),
                Err(why) => return Err(why.into()),
            }
            let _ = fd::poll(&mut [], Some(BETWEEN.as_nanos() as u64));
        }
        Err(Failed::Taken(holder))
    }

    /// The descriptor of the lock, which no child may keep.
    pub(super) fn lock(&self) -> i32 {
        self.lock.raw()
    }

    /// Gives it up; nothing of it is left on disk.
    pub(super) fn release(self) {
        let _ = file::unlink(self.folder.raw(), &self.name);
    }

    /// Leaves the lock to the program that we are about to become.
    pub(super) fn hand_on(&self) {
        let _ = fd::set_cloexec(self.lock.raw(), false);
    }
}

/// Finds the lock among the descriptors that we were started with.
pub(super) fn kept(settings: &Settings) -> Option<i32> {
    let path = settings.run.join(settings.lock_name());
    let path = c_string(path.as_os_str().as_bytes()).ok()?;
    let id = file::stat(HERE, &path, false).ok()?.id();
    let names = fs::read_dir("/proc/self/fd")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut fds = names.filter_map(|name| name.parse::<i32>().ok()).filter(|fd| *fd > 2);
    fds.find(|fd| file::stat_fd(*fd).is_ok_and(|stat| stat.id() == id))
}

fn open(folder: &Fd, name: &CStr) -> Result<Fd> {
    file::open(folder.raw(), name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600)
}

fn is_at(folder: &Fd, name: &CStr, lock: &Fd) -> bool {
    let there = file::stat(folder.raw(), name, false).map(|stat| stat.id());
    there.is_ok() && there == file::stat_fd(lock.raw()).map(|stat| stat.id())
}

/// Reads who has the lock; `None` = nobody who lives.
fn read_holder(lock: &Fd) -> Option<i32> {
    let mut text = [0; 16];
    let len = fd::read_at(lock.raw(), &mut text, 0).ok()?;
    let pid: i32 = std::str::from_utf8(&text[..len]).ok()?.trim_end().parse().ok()?;
    let is_alive = || matches!(signal::kill(pid, 0), Ok(()) | Err(Errno(EPERM)));
    (pid > 0 && pid != process::pid() && is_alive()).then_some(pid)
}
