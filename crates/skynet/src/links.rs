//! What makes a service enabled: its link in the service folder, and the file `down`.

use crate::failure::Failure;
use crate::here::Here;
use crate::instance;
use crate::service::{Origin, Service};
use ondisk::names::{DOWN, LOG, SUPERVISE};
use std::ffi::{CStr, OsStr};
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

/// Whoever has a supervise folder gives orders: nobody else comes in.
const OWN: u32 = 0o700;
/// Folders on the way to it.
const OPEN: u32 = 0o755;

fn below(dir: &Path, name: &CStr) -> PathBuf {
    dir.join(OsStr::from_bytes(name.to_bytes()))
}

/// Makes the supervise folders of a service directory and of its logger, where they are missing:
/// behind a boot the run folder is empty, and what is to be watched must be there.
///
/// # Errors
/// As mkdir(2).
pub fn make_folders(dir: &Path) -> Result<(), Failure> {
    make_folder(dir)?;
    let log = below(dir, LOG);
    if log.is_dir() { make_folder(&log) } else { Ok(()) }
}

fn make_folder(dir: &Path) -> Result<(), Failure> {
    let folder = below(dir, SUPERVISE);
    let target = match fs::read_link(&folder) {
        Ok(target) => dir.join(target),
        Err(_) => folder,
    };
    let make = |path: &Path, mode: u32| DirBuilder::new().recursive(true).mode(mode).create(path);
    let above = target.parent().map_or(Ok(()), |above| make(above, OPEN));
    above
        .and_then(|()| make(&target, OWN))
        .map_err(|why| Failure::io("make", target.display(), &why))
}

/// Tells whether the supervise folder of a service directory, or of its logger, is to lie elsewhere
/// and is missing there. One that lies in the directory is made by supervise.
#[must_use]
pub fn lacks_folder(dir: &Path) -> bool {
    let is_missing = |dir: &Path| {
        let folder = below(dir, SUPERVISE);
        folder.is_symlink() && !folder.is_dir()
    };
    let log = below(dir, LOG);
    is_missing(dir) || log.is_dir() && is_missing(&log)
}

/// Removes links that did not get their names, because whoever made them was killed.
///
/// # Errors
/// As unlink(2).
pub fn sweep(here: &Here) -> Result<(), Failure> {
    for entry in fs::read_dir(&here.places().service).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let pid = name.strip_prefix('.').and_then(|name| name.rsplit_once('.')?.1.parse().ok());
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link && pid.is_some_and(|pid: u32| !daemontools::observe::is_alive(pid)) {
            let path = entry.path();
            gone(fs::remove_file(&path))
                .map_err(|why| Failure::io("remove", path.display(), &why))?;
        }
    }
    Ok(())
}

/// Has the service supervised: puts a link of its name into the service folder. Where svscan is
/// told of it, all of it is there.
///
/// # Errors
/// As symlink(2) and rename(2).
pub fn put(here: &Here, service: &Service) -> Result<(), Failure> {
    make_folders(&service.dir)?;
    if service.origin == Origin::Package && below(&service.dir, LOG).is_dir() {
        // Of what is installed by hand it was made then.
        instance::make_log(here, &service.name)?;
    }
    let folder = &here.places().service;
    instance::make_place(here, folder)?;
    let link = folder.join(&service.name);
    // svscan passes over what begins with a dot.
    let new = folder.join(format!(".{}.{}", service.name, std::process::id()));
    let put = gone(fs::remove_file(&new))
        .and_then(|()| symlink(&service.dir, &new))
        .and_then(|()| fs::rename(&new, &link).inspect_err(|_| drop(fs::remove_file(&new))));
    put.map_err(|why| Failure::io("make", link.display(), &why))
}

/// Takes the link away again; the service runs on.
///
/// # Errors
/// As unlink(2).
pub fn take_away(here: &Here, service: &Service) -> Result<(), Failure> {
    let link = here.places().service.join(&service.name);
    gone(fs::remove_file(&link)).map_err(|why| Failure::io("remove", link.display(), &why))
}

/// Tells whether the link can be put back once it is taken away: what lies in the service folder
/// itself, or anywhere else, would be forgotten.
#[must_use]
pub fn is_ours(service: &Service) -> bool {
    service.origin != Origin::Elsewhere
}

/// Returns where the file `down` of a service is made. What a package put there nobody writes into:
/// there the name is a link of the package's to a place of the administrator's.
fn down(service: &Service) -> Result<PathBuf, Failure> {
    let down = below(&service.dir, DOWN);
    if service.origin != Origin::Package {
        return Ok(down);
    }
    // No link may have us make or remove anything else.
    let wanted = Path::new("down").join(&service.name);
    fs::read_link(&down).ok().filter(|target| target.ends_with(wanted)).ok_or_else(|| {
        let advice = "its package has no link there; make the package anew with the script \
                      package that `skynet new` gives";
        Failure::refused(format!("unable to make {}: {advice}", down.display()))
    })
}

/// Keeps supervise from starting the service by itself, as from the next time that it looks.
///
/// # Errors
/// As open(2) and mkdir(2); it is a package's that has no place for that.
pub fn bar(service: &Service) -> Result<(), Failure> {
    let down = down(service)?;
    let above = down.parent().filter(|_| service.origin == Origin::Package);
    let made = above
        .map_or(Ok(()), |above| DirBuilder::new().recursive(true).mode(OPEN).create(above))
        .and_then(|()| fs::File::options().write(true).create_new(true).open(&down).map(drop));
    match made {
        Err(why) if why.kind() == ErrorKind::AlreadyExists && down.exists() => Ok(()),
        made => made.map_err(|why| Failure::io("make", down.display(), &why)),
    }
}

/// Ends that.
///
/// # Errors
/// As unlink(2).
pub fn unbar(service: &Service) -> Result<(), Failure> {
    if !below(&service.dir, DOWN).exists() {
        return Ok(());
    }
    let down = down(service)?;
    gone(fs::remove_file(&down)).map_err(|why| Failure::io("remove", down.display(), &why))
}

fn gone(answer: io::Result<()>) -> io::Result<()> {
    match answer {
        Err(why) if why.kind() == ErrorKind::NotFound => Ok(()),
        answer => answer,
    }
}
