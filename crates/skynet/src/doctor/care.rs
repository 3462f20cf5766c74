//! svscan, supervises, their folders, and services that do not stay up.

use super::{Patient, Ward};
use crate::failure::Failure;
use crate::finding::Finding;
use crate::folders;
use crate::life::{care, last_exit};
use crate::svscan;
use daemontools::observe::Life;
use ondisk::names::SUPERVISE;
use ondisk::record::{Exit, Phase, Record};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use sys::linux::time;

/// So many starts, and so young a life: it has not come to stay.
const STARTS: u64 = 3;
const YOUNG: i64 = 10;
/// Stamps are held to be in the future from here on: clocks of one machine agree better.
const AHEAD: i64 = 5;

pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    watchers(ward, findings);
    for patient in ward.patients.iter().filter(|patient| !is_closed(patient)) {
        let found = kept(ward, patient).or_else(|| needed(ward, patient));
        if let Some(found) = found.or_else(|| stays(patient)) {
            findings.push(found.of(&patient.service.name));
        }
    }
    stale(ward, findings)?;
    clock(ward, findings);
    Ok(())
}

fn watchers(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let folder = &ward.here.places().service;
    match &*ward.svscans {
        [] if ward.linked() > 0 => {
            let advice = svscan::advice(ward.here);
            let mend = advice.rsplit_once(": ").map_or(advice, |(_, command)| command);
            let found = Finding::error("no svscan watches the service folder").at(folder);
            findings.push(found.because("nothing that is enabled is started").mended_by(mend));
        }
        [] | [_] => {}
        [first, others @ ..] => {
            let pids: Vec<String> = others.iter().map(i32::to_string).collect();
            let what =
                format!("several svscans watch the service folder: {first}, {}", pids.join(", "));
            let why = "when one of them is told to end, what it started ends with it";
            let found = Finding::error(what).at(folder).because(why);
            // KILL leaves the services alone.
            findings.push(found.mended_by(format!("kill -KILL {}", pids.join(" "))));
        }
    }
}

/// Tells whether we may not look into its supervise folder: nothing is known of it then.
fn is_closed(patient: &Patient) -> bool {
    let folder = patient.dir.join(OsStr::from_bytes(SUPERVISE.to_bytes()));
    fs::metadata(folder.join("ok")).is_err_and(|why| why.kind() == ErrorKind::PermissionDenied)
}

/// Tells whether a supervise keeps what one should.
fn kept(ward: &Ward<'_>, patient: &Patient) -> Option<Finding> {
    let (service, snapshot) = (&patient.service, &patient.snapshot);
    if snapshot.kept || ward.svscans.is_empty() && snapshot.life != Life::Certain {
        return None;
    }
    let own_log = ward.here.places().logs.join(crate::service::OWN_LOG).join("current");
    if snapshot.life == Life::Certain {
        let pid = snapshot.half.map_or(0, |half| half.status.pid);
        let found = Finding::error(format!("it runs, pid {pid}, and no supervise keeps it"));
        let mend =
            if ward.svscans.is_empty() { "boot" } else { &format!("start {}", service.name) };
        let mend = ward.here.command(mend);
        return Some(found.because("nobody starts it again when it ends").mended_by(mend));
    }
    service.is_linked.then(|| {
        let found = Finding::error("it is in the service folder, and no supervise keeps it");
        let why = "svscan refuses it, or its supervise cannot begin";
        let mend = format!("skynet check {}; see {}", service.name, own_log.display());
        found.because(why).mended_by(mend)
    })
}

/// Tells whether the log of those that have no logger of their own is down.
fn needed(ward: &Ward<'_>, patient: &Patient) -> Option<Finding> {
    let name = &patient.service.name;
    let is_needed = name == crate::service::OWN_LOG && !ward.svscans.is_empty();
    let is_down = is_needed && patient.snapshot.kept && care::is_down(&patient.snapshot);
    is_down.then(|| {
        let found = Finding::error("it is down, and services without a logger write to it");
        let why = "each of them stands still as soon as the pipe is full";
        found.because(why).mended_by(format!("skynet start {name}"))
    })
}

/// Tells whether a service ends again and again.
fn stays(patient: &Patient) -> Option<Finding> {
    let record = patient.snapshot.record.filter(|_| patient.snapshot.kept)?;
    let how = last_exit(&patient.snapshot);
    let name = &patient.service.name;
    let (now, _) = time::wall();
    let age = now.saturating_sub(record.since.unix_seconds());
    // Who restarts it on purpose wants it to end.
    let is_young = age < YOUNG && record.restarts >= STARTS && !record.asked;
    let what = match record.phase {
        Phase::Failed => format!("it has failed and is not started again: {how}"),
        Phase::Due if matches!(record.last_exit, Exit::NotRun(_)) => {
            format!("it cannot run: {how}")
        }
        Phase::Due | Phase::Running if is_young => {
            format!("it is started again and again, {} times by now: {how}", record.restarts + 1)
        }
        _ => return None,
    };
    let mend = format!("skynet check {name}; skynet status {name} shows what it said");
    Some(Finding::error(what).mended_by(mend))
}

/// Supervise folders that are nobody's any more.
fn stale(ward: &Ward<'_>, findings: &mut Vec<Finding>) -> Result<(), Failure> {
    let below =
        |dir: PathBuf| dir.join(OsStr::from_bytes(SUPERVISE.to_bytes())).canonicalize().ok();
    let dirs =
        ward.patients.iter().flat_map(|patient| [patient.dir.clone(), patient.dir.join("log")]);
    let used: BTreeSet<PathBuf> = dirs.filter_map(below).collect();
    for folder in folders::all(ward.here)? {
        let is_used = folder.path.canonicalize().is_ok_and(|path| used.contains(&path));
        if is_used {
            continue;
        }
        let supervisor = folder.record.map(|record| record.supervisor.pid);
        if folder.is_kept {
            let what = format!("a supervise keeps {}, which is no service any more", folder.name);
            let found = Finding::error(what).at(&folder.path);
            let pid = supervisor.map_or_else(|| "its supervise".to_owned(), |pid| pid.to_string());
            findings.push(found.mended_by(format!("kill -TERM {pid}")));
        } else {
            let is_old = folder.record.is_some_and(|record| is_of_another_boot(ward, &record));
            let of = if is_old { " of an earlier boot" } else { "" };
            let what = format!("a supervise folder{of} is left over: no service has it");
            let found = Finding::warning(what).at(&folder.path);
            findings.push(found.mended_by(format!("rm -r {}", folder.path.display())));
        }
    }
    Ok(())
}

fn is_of_another_boot(ward: &Ward<'_>, record: &Record) -> bool {
    // One that was let go of has none.
    record.boot != [0; 16] && !ward.boot.is_of(record)
}

/// Stamps in the future: the clock was set back.
fn clock(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let (now, _) = time::wall();
    let ahead = ward.patients.iter().filter_map(|patient| {
        let since = patient.snapshot.half?.status.since.unix_seconds();
        Some((since.saturating_sub(now), &patient.service.name)).filter(|(ahead, _)| *ahead > AHEAD)
    });
    if let Some((seconds, name)) = ahead.max() {
        let what = format!("the clock was set back: {name} began {seconds} s from now");
        let why = "logs and history are in the order of their stamps, and times since are wrong";
        let found = Finding::warning(what).because(why);
        findings.push(found.mended_by("timedatectl set-ntp true"));
    }
}
