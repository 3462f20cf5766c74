//! The programs, those on disk and those that run.

use super::Ward;
use crate::finding::Finding;
use crate::here;
use crate::life::Looker;
use daemontools::observe::Life;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use sys::linux::fd::{self, PollFd};
use sys::linux::process;
use sys::linux::time::SECOND;

/// Without these nothing runs.
const NEEDED: [&str; 5] = ["svscan", "supervise", "pgrphack", "multilog", "exo"];
/// Without these something is missing.
const MORE: [&str; 6] = ["svc", "svstat", "svlog", "setuidgid", "envdir", "softlimit"];
/// It takes any argument for a word of its script.
const MUTE: &str = "multilog";
/// What a program may take to say its version.
const PATIENCE: u64 = 5 * SECOND;

pub(super) fn look(ward: &Ward<'_>, looker: &mut Looker, findings: &mut Vec<Finding>) {
    for (name, is_needed) in
        NEEDED.map(|name| (name, true)).into_iter().chain(MORE.map(|name| (name, false)))
    {
        match find(ward, name) {
            Some(path) if name != MUTE => findings.extend(strange(&path, name)),
            Some(_) => {}
            None => findings.push(missing(ward, name, is_needed)),
        }
    }
    for pid in &ward.svscans {
        let mend = format!("kill -USR1 {pid}");
        findings.extend(replaced("svscan", *pid).map(|found| found.mended_by(mend)));
    }
    for patient in &ward.patients {
        let record = patient.snapshot.record.filter(|_| patient.snapshot.kept);
        let Some(record) = record.filter(|record| ward.boot.has(record, &record.supervisor)) else {
            continue;
        };
        let pid = record.supervisor.pid.cast_signed();
        let found = replaced("supervise", pid).map(|found| found.of(&patient.service.name));
        findings.extend(found.map(|found| found.mended_by(format!("kill -HUP {pid}"))));
        for (dir, name) in [(patient.dir.clone(), "exo"), (patient.dir.join("log"), MUTE)] {
            let snapshot = looker.look(&dir);
            let pid = snapshot.half.filter(|_| snapshot.life == Life::Certain);
            let Some(pid) = pid.map(|half| half.status.pid.cast_signed()) else { continue };
            let found = replaced(name, pid).map(|found| found.of(&patient.service.name));
            findings.extend(found.map(|found| found.mended_by(format!("kill -HUP {pid}"))));
        }
    }
}

fn missing(ward: &Ward<'_>, name: &str, is_needed: bool) -> Finding {
    let what = format!("there is no program {name}, neither beside skynet nor in PATH");
    let found = if is_needed { Finding::error(what) } else { Finding::warning(what) };
    let folder = ward.here.programs.as_ref().map(|folder| folder.display().to_string());
    found.mended_by(format!("install it into {}", folder.as_deref().unwrap_or("a folder of PATH")))
}

fn find(ward: &Ward<'_>, name: &str) -> Option<PathBuf> {
    let path = ward.here.program(name);
    if path.is_absolute() {
        return Some(path);
    }
    here::in_path(name)
}

/// Asks a program for its version.
fn strange(path: &Path, name: &str) -> Option<Finding> {
    let ours = env!("CARGO_PKG_VERSION");
    let said = answer(Command::new(path).arg("--version")).unwrap_or_default();
    let first = said.lines().next().unwrap_or_default();
    if first.split_whitespace().next_back() == Some(ours) {
        return None;
    }
    let what = match first {
        "" => format!("{name} does not say that it is of skynet {ours}"),
        said => format!("{name} is of another version than skynet {ours}: {said}"),
    };
    let why = "programs of different versions were not tested together";
    let mend = format!("install {name} of skynet {ours}");
    Some(Finding::warning(what).at(path).because(why).mended_by(mend))
}

/// Returns what a program says within a time.
fn answer(command: &mut Command) -> Option<String> {
    const MOST: u64 = 4096;
    let command = command.env_clear().current_dir("/").stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).spawn().ok()?;
    // Where there is no such handle, there is worse to be told.
    let is_over = process::pidfd(child.id().cast_signed()).map_or(true, |pidfd| {
        fd::poll(&mut [PollFd::readable(pidfd.raw())], Some(PATIENCE)).is_ok_and(|n| n > 0)
    });
    let mut said = String::new();
    if is_over {
        child.stdout.take()?.take(MOST).read_to_string(&mut said).ok()?;
    } else {
        child.kill().ok()?;
    }
    child.wait().ok()?;
    Some(said)
}

/// Tells whether a process runs a program of this name that is not on disk any more.
fn replaced(name: &str, pid: i32) -> Option<Finding> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let exe = exe.to_str()?.strip_suffix(" (deleted)")?.to_owned();
    if Path::new(&exe).file_name() != Some(OsStr::new(name)) {
        return None;
    }
    let what = format!("{name}, pid {pid}, runs a program that was replaced or removed: {exe}");
    let why = "it is of an older version than what is installed";
    Some(Finding::warning(what).because(why))
}
