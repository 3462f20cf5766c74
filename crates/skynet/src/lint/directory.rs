//! One service directory.

use super::{script, spelling};
use crate::finding::Finding;
use crate::here::Here;
use crate::service::{Origin, Service};
use daemontools::scan::{Policy, flaw};
use ondisk::names::{COMPAT, FAILURE_CODES, LOG, NOTIFY, RUN, START, STOP, SUPERVISE};
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::flags::ENOENT;
use sys::linux::file::{self, HERE};
use sys::linux::folder::{self, Absent, Trouble};

/// Bytes of `failure-codes` that supervise reads.
const CODES: usize = 256;

fn below(dir: &Path, name: &CStr) -> PathBuf {
    dir.join(OsStr::from_bytes(name.to_bytes()))
}

/// Looks at a service with its logger.
#[must_use]
pub fn look(here: &Here, service: &Service) -> Vec<Finding> {
    let name = &service.name;
    let dir = &service.dir;
    if !dir.is_dir() {
        return vec![Finding::error("is no directory").of(name).at(dir)];
    }
    let mut findings = Vec::new();
    findings.extend(distrusted(here, service));
    let is_installed = service.origin != Origin::Elsewhere;
    let folder = is_installed.then(|| here.places().run.join("supervise").join(name));
    let start = script::optional(&below(dir, START), name);
    let has_start = start.is_none() && below(dir, START).exists();
    if !has_start || below(dir, RUN).symlink_metadata().is_ok() {
        findings.extend(script::look(here, &below(dir, RUN), name));
    }
    findings.extend(start);
    for program in [STOP, NOTIFY, LOG] {
        findings.extend(script::optional(&below(dir, program), name));
    }
    findings.extend(half(name, dir, folder.as_deref()));
    let log = below(dir, LOG);
    if log.is_dir() {
        findings.extend(script::look(here, &below(&log, RUN), name));
        let folder = folder.map(|folder| folder.with_file_name(format!("{name}.log")));
        findings.extend(half(name, &log, folder.as_deref()));
        findings.extend(log_directory(here, service, &log));
    }
    findings
}

/// Looks at what a service and a logger have likewise.
fn half(name: &str, dir: &Path, folder: Option<&Path>) -> Vec<Finding> {
    let mut findings = spelling::look(dir, name);
    findings.extend(supervise_folder(name, dir, folder));
    findings.extend(failure_codes(&below(dir, FAILURE_CODES)).map(|found| found.of(name)));
    let compat = below(dir, COMPAT);
    if let Some(text) = read(&compat).filter(|text| !ondisk::names::says_encore(text)) {
        let first = String::from_utf8_lossy(&text);
        let what = "says nothing that is known: its first word may be encore";
        let found = Finding::warning(what).of(name).at(&compat);
        findings.push(found.in_line(1, 1, first.lines().next().unwrap_or_default()));
    }
    findings
}

/// Asks svscan's own judgement.
fn distrusted(here: &Here, service: &Service) -> Option<Finding> {
    let scanned = &here.places().service;
    let is_elsewhere = service.origin == Origin::Elsewhere && !service.is_linked;
    let above = if is_elsewhere { service.dir.parent()? } else { scanned };
    let policy = Policy::of_folder(above);
    let path = if service.is_linked { scanned.join(&service.name) } else { service.dir.clone() };
    let flaw = flaw(&CString::new(path.as_os_str().as_bytes()).ok()?, policy)?;
    let found = match policy {
        Policy::Refuse => Finding::error(format!("svscan refuses to run it: {flaw}")),
        Policy::Warn => Finding::warning(format!("others can change what runs: {flaw}")),
    };
    Some(found.of(&service.name).at(&service.dir))
}

/// Looks at the folder `supervise`, as supervise and svc will.
fn supervise_folder(name: &str, dir: &Path, usual: Option<&Path>) -> Option<Finding> {
    let path = below(dir, SUPERVISE);
    let c_dir = CString::new(dir.as_os_str().as_bytes()).ok()?;
    let handle = file::open(HERE, &c_dir, file::flags::O_PATH, 0).ok()?;
    match folder::open(handle.raw(), SUPERVISE, Absent::Refuse) {
        Ok(_) | Err(Trouble::System(Errno(ENOENT))) => {}
        Err(Trouble::Untrusted) => {
            let what = "is a link that others can change, or leads where others can write: \
                        supervise refuses it";
            return Some(Finding::error(what).of(name).at(&path));
        }
        Err(Trouble::System(why)) => {
            let what = format!("cannot be used as a folder: {why}");
            return Some(Finding::error(what).of(name).at(&path));
        }
    }
    let (usual, target) = (usual?, dir.join(fs::read_link(&path).ok()?));
    if target == usual {
        return None;
    }
    let mend = format!("ln -sfn {} {}", usual.display(), path.display());
    let is_another_s = target.parent() == usual.parent();
    let what = format!("leads to {}, not to {}", target.display(), usual.display());
    let found = if is_another_s { Finding::error(what) } else { Finding::warning(what) };
    let why = if is_another_s {
        "two services with one supervise folder keep each other from running"
    } else {
        "only folders in the run folder are made anew behind a boot"
    };
    Some(found.of(name).at(&path).because(why).mended_by(mend))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let c_path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let how = file::flags::O_RDONLY | file::flags::O_NONBLOCK;
    let (opened, _) = file::open_regular(HERE, &c_path, how, 0).ok()?;
    let mut bytes = vec![0; CODES + 1];
    let len = sys::linux::fd::read_at(opened.raw(), &mut bytes, 0).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

fn failure_codes(path: &Path) -> Option<Finding> {
    let text = read(path)?;
    if text.len() > CODES {
        let what = format!("is longer than {CODES} bytes, and no more of it is read");
        return Some(Finding::warning(what).at(path));
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    for (i, line) in text.lines().enumerate() {
        let bad = line.split_whitespace().find(|word| word.parse::<u8>().is_err());
        if let Some(word) = bad {
            let before = line.find(word).map_or(0, |at| line[..at].chars().count());
            let what = format!("{word} is no exit code from 0 to 255");
            return Some(Finding::warning(what).at(path).in_line(i + 1, before + 1, line));
        }
    }
    None
}

/// Looks for the directory into which a logger writes.
fn log_directory(here: &Here, service: &Service, log: &Path) -> Option<Finding> {
    let main = log.join("main");
    if main.is_dir() {
        return None;
    }
    let target = fs::read_link(&main).map(|target| log.join(target));
    // One that nobody has supervised yet gets it when it is installed.
    let is_elsewhere = service.origin == Origin::Elsewhere && !service.is_linked;
    if is_elsewhere && target.is_err() && !below(&service.dir, SUPERVISE).is_dir() {
        return None;
    }
    let is_used = read(&below(log, RUN)).is_some_and(|run| {
        String::from_utf8_lossy(&run).split_whitespace().any(|word| word == "./main")
    });
    // As its user, multilog makes the last folder of its path itself.
    let is_made = !here.is_system()
        && target.as_ref().map_or(log, |target| target.parent().unwrap_or(log)).is_dir();
    if is_made || target.is_err() && !is_used {
        return None;
    }
    let target = target.unwrap_or(main);
    let owner = if here.is_system() { "-o skynetlog -g skynet -m 2750 " } else { "" };
    let mend = format!("install -d {owner}{}", target.display());
    let found = Finding::error("is missing: the logger cannot write");
    let found = found.of(&service.name).at(&target);
    Some(found.mended_by(mend))
}
