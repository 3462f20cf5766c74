//! The folders and the socket that the worker needs and may not make itself.
//!
//! Every step on the way is opened by itself, below the handle of the one before. A symlink is only
//! followed where root or we made it and nobody else can write where it leads.

use super::Trouble;
use super::people::People;
use crate::accounts::{GROUP, Person};
use crate::settings::{BrokerKind, Settings};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};
use sys::account;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::Fd;
use sys::linux::file::flags::{
    EEXIST, EINVAL, ENOENT, EPERM, O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY,
};
use sys::linux::file::{self, HERE};
use sys::linux::folder::{self, Absent};
use sys::linux::{identity, ids, process, socket};

/// Everybody finds the drop folders and the control socket.
const OPEN: u32 = 0o755;
/// The group is `skynet` where root started us, or who took that group first. An ordinary user's is one
/// that many may be in.
const STORE: u32 = 0o750;
const OWN_STORE: u32 = 0o700;
/// What is left of 0777 for the control socket, likewise.
const SOCKET_UMASK: u32 = 0o117;
const OWN_SOCKET_UMASK: u32 = 0o177;
const UMASK: u32 = 0o022;

/// Makes the folders of the store and of the drop folders, where they are missing, for the worker.
/// What is there stays as it is: the worker will see whether it may use it.
pub(super) fn make_folders(
    settings: &Settings,
    people: &People,
) -> std::result::Result<(), Trouble> {
    let worker = people.are_become.then_some(&people.worker);
    make_store(&settings.store, worker)?;
    if settings.broker.kind == BrokerKind::RabbitMq {
        // Nobody would take what is put there.
        return Ok(());
    }
    let path = &settings.spool;
    let owner = worker.map(|worker| (worker.uid, worker.gid));
    make(path, owner, OPEN).map_err(|why| Trouble::about("unable to make", path, why))
}

/// Makes the folder of the store, where it is missing, for the worker; `None` = it is ours.
pub(super) fn make_store(path: &Path, worker: Option<&Person>) -> std::result::Result<(), Trouble> {
    let gid = |worker: &Person| account::find_group(GROUP).unwrap_or(worker.gid);
    let owner = worker.map(|worker| (worker.uid, gid(worker)));
    let mode = if worker.is_some() || is_group_ours() { STORE } else { OWN_STORE };
    make(path, owner, mode).map_err(|why| Trouble::about("unable to make", path, why))
}

/// Tells whether what we make belongs to the group of those who may ask and read.
fn is_group_ours() -> bool {
    let group = account::find_group(GROUP);
    group.is_some() && ids::gids().ok().map(|[_, effective, _]| effective) == group
}

/// It gets its name last: killed on the way, the next life finds none, and not one that nobody may
/// use.
fn make(path: &Path, owner: Option<(u32, u32)>, mode: u32) -> Result<()> {
    let Some((above, name)) = step_down(path)? else { return Ok(()) };
    let is_there = || file::stat(above.raw(), &name, false).is_ok();
    if is_there() {
        return Ok(());
    }
    let new = c_string(&[b".", name.to_bytes(), b".new"].concat())?;
    match file::mkdir(above.raw(), &new, 0o700) {
        // Of a life that was killed, or of another exo that begins right now.
        Ok(()) | Err(Errno(EEXIST)) => {}
        Err(why) => return Err(why),
    }
    let done = prepare(&above, &new, owner, mode);
    match done.and_then(|()| file::rename_new(above.raw(), &new, &name)) {
        Err(_) if is_there() => {
            // The other was faster.
            let _ = file::rmdir(above.raw(), &new);
            Ok(())
        }
        answer => answer,
    }
}

fn prepare(above: &Fd, new: &CStr, owner: Option<(u32, u32)>, mode: u32) -> Result<()> {
    let folder = file::open(above.raw(), new, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)?;
    let uid = file::stat_fd(folder.raw())?.uid();
    if uid != process::euid() && owner.is_none_or(|(its, _)| uid != its) {
        // Somebody put another in its place, so not all of the way is root's.
        return Err(Errno(EPERM));
    }
    if let Some((uid, gid)) = owner {
        file::set_owner(folder.raw(), uid, gid)?;
    }
    file::set_mode(folder.raw(), mode)
}

/// Opens the folder above the last name of `path`, making what is missing; `None` where there is no
/// last name, as in `/`.
fn step_down(path: &Path) -> Result<Option<(Fd, CString)>> {
    let start = if path.is_absolute() { c"/" } else { c"." };
    let mut here = file::open(HERE, start, O_PATH | O_DIRECTORY, 0)?;
    let mut last: Option<CString> = None;
    for part in path.components() {
        let name = match part {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
            Component::ParentDir => OsStr::new(".."),
            Component::Normal(name) => name,
        };
        if let Some(above) = last.replace(c_string(name.as_bytes())?) {
            here = enter(&here, &above)?;
        }
    }
    Ok(last.map(|name| (here, name)))
}

fn enter(above: &Fd, name: &CStr) -> Result<Fd> {
    match file::mkdir(above.raw(), name, OPEN) {
        Ok(()) | Err(Errno(EEXIST)) => {}
        // A directory that is there can be one in which nobody makes anything.
        Err(why) if file::stat(above.raw(), name, false).is_err() => return Err(why),
        Err(_) => {}
    }
    folder::open(above.raw(), name, Absent::Refuse).map_err(folder::Trouble::errno)
}

pub(super) fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Errno(EINVAL))
}

/// The control socket by its name, to be taken away at the end.
#[derive(Debug)]
pub(super) struct Control {
    name: CString,
    id: (u64, u64),
}

/// Why there is no control socket.
pub(super) fn no_socket(settings: &Settings, why: Errno) -> Trouble {
    Trouble::about("unable to make control socket", &settings.socket(), why)
}

/// Makes the folder of the control sockets, where it is missing, and opens it.
pub(super) fn run_folder(settings: &Settings) -> Result<Fd> {
    make(&settings.run, None, OPEN)?;
    let (above, name) = step_down(&settings.run)?.ok_or(Errno(EINVAL))?;
    let folder = folder::open(above.raw(), &name, Absent::Refuse);
    let folder = folder.map_err(folder::Trouble::errno)?;
    let stat = file::stat_fd(folder.raw())?;
    if ![0, process::euid()].contains(&stat.uid()) || stat.mode() & 0o022 != 0 {
        // Others could put their own socket in the place of ours.
        return Err(Errno(EPERM));
    }
    Ok(folder)
}

impl Control {
    /// Makes ours in their folder, in the place of one that an earlier exo left. Returns it and the
    /// socket, which listens.
    pub(super) fn make(
        folder: &Fd,
        settings: &Settings,
        people: &People,
    ) -> std::result::Result<(Self, Fd), Trouble> {
        Self::try_make(folder, settings, people).map_err(|why| no_socket(settings, why))
    }

    fn try_make(folder: &Fd, settings: &Settings, people: &People) -> Result<(Self, Fd)> {
        let name = settings.socket_name();
        let new = c_string(format!(".{name}").as_bytes())?;
        let name = c_string(name.as_bytes())?;
        remove(folder, &new)?;
        let is_theirs = people.are_become || is_group_ours();
        let umask = if is_theirs { SOCKET_UMASK } else { OWN_SOCKET_UMASK };
        let socket = listen(folder, &new, umask)?;
        if people.are_become {
            let gid = account::find_group(GROUP).unwrap_or(people.worker.gid);
            file::set_owner_of(folder.raw(), &new, people.worker.uid, gid)?;
        }
        let id = file::stat(folder.raw(), &new, false)?.id();
        match file::stat(folder.raw(), &name, false) {
            Ok(there) if !there.is_socket() => return Err(Errno(EEXIST)),
            Ok(_) | Err(Errno(ENOENT)) => file::rename(folder.raw(), &new, &name)?,
            Err(why) => return Err(why),
        }
        Ok((Self { name, id }, socket))
    }

    /// Takes the socket's name away, if it is still that of our socket.
    pub(super) fn remove(&self, folder: &Fd) {
        let there = file::stat(folder.raw(), &self.name, false);
        if there.is_ok_and(|there| there.id() == self.id) {
            let _ = file::unlink(folder.raw(), &self.name);
        }
    }
}

fn remove(folder: &Fd, name: &CStr) -> Result<()> {
    match file::unlink(folder.raw(), name) {
        Err(Errno(ENOENT)) => Ok(()),
        answer => answer,
    }
}

/// Makes a socket below an open folder; bind(2) knows no handles, but /proc does.
fn listen(folder: &Fd, name: &CStr, umask: u32) -> Result<Fd> {
    let mut room = [0; 64];
    let mut path = identity::fd_path(folder.raw(), &mut room)?.to_bytes().to_vec();
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    let path = c_string(&path)?;
    file::set_umask(umask);
    let socket = socket::listen(&path);
    file::set_umask(UMASK);
    socket
}
