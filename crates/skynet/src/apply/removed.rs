//! What was removed by hand while it was supervised: a link that leads nowhere, a supervise whose
//! directory is gone.

use crate::failure::Failure;
use crate::folders::{self, Folder};
use crate::here::Here;
use crate::life::Patience;
use daemontools::observe::Boot;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::{process, signal, time};

/// A service of which only this is left.
#[derive(Debug, Default)]
pub(super) struct Removed {
    /// Its link in the service folder.
    pub(super) link: Option<PathBuf>,
    /// The supervise that keeps it still.
    pub(super) supervise: Option<Folder>,
}

/// Finds them, by name.
pub(super) fn find(here: &Here) -> Result<BTreeMap<String, Removed>, Failure> {
    let mut all: BTreeMap<String, Removed> = BTreeMap::new();
    for entry in fs::read_dir(&here.places().service).into_iter().flatten().filter_map(Result::ok) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link && !name.starts_with('.') && !entry.path().exists() {
            all.entry(name).or_default().link = Some(entry.path());
        }
    }
    let mut seen = Vec::new();
    for folder in folders::all(here)? {
        // Of a service and its logger the name without an end comes first.
        let Some(record) = folder.record.filter(|_| folder.is_kept) else { continue };
        let pid = record.supervisor.pid;
        if !seen.contains(&pid) && has_lost_its_directory(pid) {
            seen.push(pid);
            let name = folder.name.clone();
            all.entry(name).or_default().supervise = Some(folder);
        }
    }
    Ok(all)
}

fn has_lost_its_directory(pid: u32) -> bool {
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
    cwd.to_string_lossy().ends_with(" (deleted)")
}

impl Removed {
    /// Says what is to be done.
    pub(super) fn words(&self) -> Vec<&'static str> {
        let link = self.link.as_ref().map(|_| "remove its link, which leads nowhere");
        let supervise = self.supervise.as_ref().map(|_| "stop what is left of it");
        link.into_iter().chain(supervise).collect()
    }

    /// Takes the link away and tells supervise to end; returns what to wait for.
    fn begin(&self, boot: &Boot) -> Result<Option<Fd>, String> {
        if let Some(link) = &self.link {
            let is_gone = |why: &std::io::Error| why.kind() == std::io::ErrorKind::NotFound;
            match fs::remove_file(link) {
                Err(why) if !is_gone(&why) => return Err(unable("remove", link, &why)),
                _ => {}
            }
        }
        let Some(record) = self.supervise.as_ref().and_then(|folder| folder.record) else {
            return Ok(None);
        };
        let pid = record.supervisor.pid.cast_signed();
        let Ok(pidfd) = process::pidfd(pid) else { return Ok(None) };
        // Looked at behind the descriptor: now it cannot be another's any more.
        if !boot.has(&record, &record.supervisor) {
            return Ok(None);
        }
        let told = process::pidfd_kill(pidfd.raw(), signal::numbers::SIGTERM);
        told.map(|()| Some(pidfd)).map_err(|why| format!("unable to end its supervise: {why}"))
    }
}

fn unable(verb: &str, path: &Path, why: &std::io::Error) -> String {
    Failure::io(verb, path.display(), why).lines.join("; ")
}

/// Ends all of them at the same time; returns for each how it went.
pub(super) fn end(
    all: &[(String, Removed)],
    patience: Patience,
) -> Vec<(&str, Result<&'static str, String>)> {
    let boot = Boot::this();
    let deadline = patience.deadline(time::monotonic());
    let begun: Vec<_> = all.iter().map(|(name, removed)| (name, removed.begin(&boot))).collect();
    let wait = |fd: Fd| {
        if patience.no_wait {
            return Ok("removed, told to stop");
        }
        loop {
            let left = deadline.saturating_sub(time::monotonic());
            match fd::poll(&mut [PollFd::readable(fd.raw())], Some(left)) {
                Ok(n) if n > 0 => return Ok("removed and down"),
                _ if left == 0 => return Err("its supervise does not end in time".to_owned()),
                _ => {}
            }
        }
    };
    let ended = begun.into_iter().map(|(name, begun)| {
        let how = begun.and_then(|fd| match fd {
            Some(fd) => wait(fd),
            None => Ok("removed"),
        });
        (name.as_str(), how)
    });
    ended.collect()
}
