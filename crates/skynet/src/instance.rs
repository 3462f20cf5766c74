//! What an instance needs before its svscan runs: folders, the service that keeps svscan's own log,
//! and an environment.

use crate::failure::{Failure, warn};
use crate::here::Here;
use crate::service::{OWN_LOG, OWN_NOTICE};
use crate::svscan;
use exo::GROUP;
use ondisk::names::{DAEMONTOOLS_COMPAT, RUN, SUPERVISE};
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use sys::account;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file::{self, HERE, flags};

/// Who waits for the lock says so after this time.
const QUIET: Duration = Duration::from_secs(1);
/// Folders that everybody may look into.
const OPEN: u32 = 0o755;
/// A user's own.
const OWN: u32 = 0o700;
/// As root, loggers have a user of their own.
const LOGGER: &str = "skynetlog";
/// Programs of the system, for services of the system.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What reaches services of whoever boots: who they are, where their folders are, how they write.
const PASSED: [&str; 14] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    "LANG",
    "LANGUAGE",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "SKYNET_CONFIG",
];
/// Of these, what reaches services of the system: nothing of the person who boots.
const PASSED_BY_ROOT: [&str; 4] = ["TZ", "LANG", "LANGUAGE", "SKYNET_CONFIG"];

fn name(of: &CStr) -> &OsStr {
    OsStr::from_bytes(of.to_bytes())
}

/// Makes what is missing of an instance; what is there stays as it is.
///
/// # Errors
/// Something cannot be made.
pub fn make(here: &Here) -> Result<(), Failure> {
    let places = here.places();
    let supervise = places.run.join(name(SUPERVISE));
    for folder in [&places.service, &places.participants, &places.logs, &places.run, &supervise] {
        make_place(here, folder)?;
    }
    make_own_log(here)?;
    if here.site.notice.targets.is_empty() {
        return Ok(());
    }
    make_own_notice(here)
}

/// Lists what [`make`] would make, as far as it is missing.
#[must_use]
pub fn missing(here: &Here) -> Vec<PathBuf> {
    let places = here.places();
    let [supervise, own_log] = [places.run.join(name(SUPERVISE)), places.service.join(OWN_LOG)];
    let all =
        [&places.service, &places.participants, &places.logs, &places.run, &supervise, &own_log];
    all.into_iter().filter(|folder| !folder.exists()).cloned().collect()
}

/// Makes a folder of the instance where it is missing: the system's for all to see.
///
/// # Errors
/// As mkdir(2).
pub fn make_place(here: &Here, folder: &Path) -> Result<(), Failure> {
    make_folder(folder, if here.is_system() { OPEN } else { OWN })
}

fn make_folder(folder: &Path, mode: u32) -> Result<(), Failure> {
    let answer = DirBuilder::new().recursive(true).mode(mode).create(folder);
    answer.map_err(|why| Failure::io("make", folder.display(), &why))
}

/// Makes the log directory of a service where it is missing, and returns it. As root it belongs to the
/// loggers' user.
///
/// # Errors
/// It cannot be made, or the accounts are missing.
pub fn make_log(here: &Here, service: &str) -> Result<PathBuf, Failure> {
    let log = here.places().logs.join(service);
    // One of root's was not given away yet when whoever made it was killed.
    let is_done = |stat: fs::Metadata| !here.is_system() || stat.uid() != 0;
    if service != OWN_LOG && fs::metadata(&log).is_ok_and(is_done) {
        return Ok(log);
    }
    let owner = log_owner(here)?;
    make_folder(&log, OWN)?;
    if let Some((user, group)) = owner {
        chown(&log, Some(user), Some(group))
            .and_then(|()| fs::set_permissions(&log, Permissions::from_mode(0o2750)))
            .map_err(|why| Failure::io("give away", log.display(), &why))?;
    }
    Ok(log)
}

/// Returns who keeps logs of a machine, user and group; `None` = whoever it is.
///
/// # Errors
/// The accounts are missing.
pub fn log_owner(here: &Here) -> Result<Option<(u32, u32)>, Failure> {
    if !here.is_system() {
        return Ok(None);
    }
    let (owner, group) = (account::find(LOGGER.as_bytes()), account::find_group(GROUP));
    let (Some(owner), Some(group)) = (owner, group) else {
        let line = format!("user {LOGGER} and group skynet are needed for logs; add them");
        return Err(Failure::trouble(line));
    };
    Ok(Some((owner.uid, group)))
}

/// Makes the service that keeps what svscan says, new each time: programs may have moved.
fn make_own_log(here: &Here) -> Result<(), Failure> {
    let log = make_log(here, OWN_LOG)?;
    let multilog = quoted(&here.program("multilog"));
    let mut user = String::new();
    if here.is_system() {
        user = format!("{} {LOGGER} ", quoted(&here.program("setuidgid")));
    }
    let log = quoted(&log);
    let run = format!(
        "#!/bin/sh\n# Written by skynet boot.\nexec {user}{multilog} t s1000000 n10 {log}\n"
    );
    make_service(here, OWN_LOG, &run)
}

/// Makes the service that tells of trouble, where somebody is to be told.
fn make_own_notice(here: &Here) -> Result<(), Failure> {
    let own = std::env::current_exe().map_err(|why| Failure::io("find", "skynet", &why))?;
    let run = format!(
        "#!/bin/sh\n# Written by skynet boot.\nexec 2>&1\nexec {} notice watch\n",
        quoted(&own)
    );
    make_service(here, OWN_NOTICE, &run)
}

/// Makes a service of the instance's own, or gives it another `run`.
fn make_service(here: &Here, service: &str, run: &str) -> Result<(), Failure> {
    let folder = &here.places().service;
    let dir = folder.join(service);
    if fs::read_to_string(dir.join(name(RUN))).is_ok_and(|there| there == run) {
        return Ok(());
    }
    let failed = |why| Failure::io("make", dir.display(), &why);
    if dir.exists() {
        return write_service(here, service, &dir, run).map_err(failed);
    }
    // svscan sees it once it is whole: it passes over what begins with a dot.
    let new = folder.join(format!(".{service}.new"));
    write_service(here, service, &new, run).and_then(|()| fs::rename(&new, &dir)).map_err(failed)
}

fn write_service(here: &Here, service: &str, dir: &Path, run: &str) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(OPEN).create(dir)?;
    let supervise = here.places().run.join(name(SUPERVISE)).join(service);
    let link = dir.join(name(SUPERVISE));
    if fs::symlink_metadata(&link).is_err() {
        symlink(supervise, &link)?;
    }
    let new = dir.join(".run.new");
    fs::write(&new, run)?;
    fs::set_permissions(&new, Permissions::from_mode(OPEN))?;
    fs::rename(&new, dir.join(name(RUN)))
}

/// Returns a path as a word of sh.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', "'\\''"))
}

/// Takes the lock that keeps two from starting, ending or changing an instance at the same time. Who
/// else has it is said after a second, and waited for.
///
/// # Errors
/// It cannot be made.
pub fn lock(here: &Here, verb: &str) -> Result<Fd, Failure> {
    let path = here.places().run.join("boot.lock");
    let c_path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let how = flags::O_RDWR | flags::O_CREAT | flags::O_NOFOLLOW;
    let lock = file::open(HERE, &c_path, how, 0o600).and_then(|lock| {
        if file::lock_now(lock.raw()).is_err() {
            wait_for(&lock)?;
        }
        Ok(lock)
    });
    let lock = lock.map_err(|why| Failure::errno("lock", path.display(), why))?;
    // For those who wait; on a full disk they are told less.
    let own = format!("skynet {verb}, pid {}\n", sys::linux::process::pid());
    let _ = file::cut(lock.raw(), 0).and_then(|()| fd::write_at(lock.raw(), own.as_bytes(), 0));
    Ok(lock)
}

fn wait_for(lock: &Fd) -> Result<(), Errno> {
    thread::scope(|scope| {
        let (is_over, waits) = mpsc::channel::<()>();
        let told = move || {
            if waits.recv_timeout(QUIET) == Err(RecvTimeoutError::Timeout) {
                warn(&format!("waiting for {}", holder(lock)));
            }
        };
        // Without a thread nothing is said.
        let _ = thread::Builder::new().spawn_scoped(scope, told);
        let locked = file::lock_wait(lock.raw());
        drop(is_over);
        locked
    })
}

/// Returns who has the lock, as they wrote it down.
fn holder(lock: &Fd) -> String {
    let mut room = [0; 64];
    let len = fd::read_at(lock.raw(), &mut room, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(&room[..len]);
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() { "another skynet".to_owned() } else { line.to_owned() }
}

/// Gives svscan its arguments, its descriptors and its environment.
pub fn furnish<'a>(command: &'a mut Command, here: &Here) -> &'a mut Command {
    let service = &here.places().service;
    let passed: &[&str] = if here.is_system() { &PASSED_BY_ROOT } else { &PASSED };
    let is_passed = |name: &OsString| {
        let name = name.to_string_lossy();
        let is_wish = name.as_bytes() == DAEMONTOOLS_COMPAT.to_bytes();
        passed.contains(&&*name) || name.starts_with("LC_") || is_wish
    };
    command.arg(service).arg(OWN_LOG).env_clear();
    command.envs(std::env::vars_os().filter(|(name, _)| is_passed(name)));
    command.env("PATH", search_path(here));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// Where services find programs: ours first, wherever they lie.
fn search_path(here: &Here) -> OsString {
    let own = here.programs.clone().filter(|folder| folder.join(svscan::SVSCAN).is_file());
    let usual = std::env::var_os("PATH").filter(|_| !here.is_system());
    let usual = usual.unwrap_or_else(|| PATH.into());
    let all: Vec<PathBuf> = own.into_iter().chain(std::env::split_paths(&usual)).collect();
    std::env::join_paths(all).unwrap_or(usual)
}
