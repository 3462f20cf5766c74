//! Staying with a process until it is over: as its engine, or beside the one that runs.

use super::keep::Folder;
use super::process::Process;
use super::serve::{self, Server, is_over};
use super::transport;
use crate::failure::Failure;
use crate::here::Here;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use sys::linux::fd::{self, PollFd};
use sys::linux::watch::{APPEARED, Watcher};
use sys::linux::{signal, time};

/// Longest time between two looks at what another engine does: it may have ended.
const LOOK: u64 = time::SECOND / 2;

/// How it ended.
#[derive(Debug)]
pub enum Followed {
    /// As was waited for.
    Over(Box<Process>),
    /// We were told to end, and it goes on when an engine runs.
    Left,
}

/// Follows a process until `is_enough`; every change of it is told.
///
/// # Errors
/// Its engine's folder cannot be used.
pub fn follow(
    here: &Here,
    wfid: &str,
    mut tell: impl FnMut(&Process),
    is_enough: impl Fn(&Process) -> bool,
) -> Result<Followed, Failure> {
    let signals = serve::signals()?;
    let folder = Folder::of(here);
    folder.make()?;
    let watcher = watcher(&folder)?;
    loop {
        if let Some(process) = folder.process(wfid)? {
            tell(&process);
            if is_enough(&process) && is_over_or_runs(&process) {
                return Ok(Followed::Over(Box::new(process)));
            }
        }
        if let Some(lock) = folder.lock()? {
            let mut transport = transport::open(here)?;
            let mut only = |process: &Process| {
                if process.wfid == wfid {
                    tell(process);
                }
            };
            let mut server = Server::begin(&folder, lock, &mut *transport, &mut only)?;
            let is_there = |process: &Process| is_enough(process) && is_over_or_runs(process);
            let enough =
                server.run(&signals, |engine| engine.processes.get(wfid).is_some_and(is_there))?;
            if !enough {
                return Ok(Followed::Left);
            }
            continue;
        }
        let mut list = [PollFd::readable(signals.raw()), PollFd::readable(watcher.raw())];
        fd::poll(&mut list, Some(LOOK)).map_err(|why| Failure::errno("wait for", wfid, why))?;
        watcher.reports(|_| {});
        if list[0].is_ready() && signal::next(&signals).is_some() {
            return Ok(Followed::Left);
        }
    }
}

/// One that ended is followed until what it wanted is done, too.
fn is_over_or_runs(process: &Process) -> bool {
    process.state == super::process::State::Running || is_over(process)
}

fn watcher(folder: &Folder) -> Result<Watcher, Failure> {
    let path = CString::new(folder.path().as_os_str().as_bytes()).unwrap_or_default();
    let watcher = Watcher::new().and_then(|watcher| {
        watcher.add(&path, APPEARED)?;
        Ok(watcher)
    });
    watcher.map_err(|why| Failure::errno("watch", folder.path().display(), why))
}
