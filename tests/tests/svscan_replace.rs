//! Other programs under a hundred running services: USR1, and kill -9 of all that supervises.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::numbers as n;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::scratch::pid_in_status;
use testkit::svscan::{
    COUNTED, KEEPER, Svscan, TALKER, add_logger, from, is_alive, kill9, lines, lose_supervise,
    named, nothing_is_lost, starts, supervise_of, svc,
};
use testkit::{Scratch, program, run, until};

const COUNT: usize = 100;
/// Of these so many have a logger, and talk.
const TALKING: usize = 10;

/// A hundred services, ten of which talk to a logger.
fn hundred(scratch: &Scratch) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let make = |i: usize| {
        let run = if i < TALKING { TALKER } else { COUNTED };
        let dir = scratch.service(&format!("service/s{i}"), run);
        if i < TALKING {
            add_logger(&dir);
        }
        dir
    };
    let all: Vec<_> = (0..COUNT).map(make).collect();
    let talking = all[..TALKING].to_vec();
    (all, talking)
}

/// Puts copies of our programs into a folder: other files, so other inodes, each time.
fn install(bin: &Path) {
    for name in ["svscan", "supervise"] {
        let new = bin.join(format!("{name}.new"));
        // By another process: a file that a child of a parallel test still holds cannot be run.
        assert_eq!(run(Command::new("cp").arg(program(name)).arg(&new)).code, Some(0));
        fs::rename(&new, bin.join(name)).unwrap();
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|m| m.ino())
}

fn exe(pid: i32) -> Option<u64> {
    inode(Path::new(&format!("/proc/{pid}/exe")))
}

/// Pids of all services and loggers.
fn pids(all: &[PathBuf]) -> Vec<(Option<i32>, Option<i32>)> {
    all.iter().map(|dir| (pid_in_status(dir), pid_in_status(&dir.join("log")))).collect()
}

#[track_caller]
fn all_up(scan: &Svscan, all: &[PathBuf], talking: &[PathBuf]) {
    until(90, || all.iter().all(|dir| starts(dir) == 1 && pid_in_status(dir).is_some()));
    scan.until(|| talking.iter().all(|dir| lines(&dir.join("log/lines")) > 3));
}

#[track_caller]
fn none_was_restarted(all: &[PathBuf], talking: &[PathBuf]) {
    assert!(all.iter().all(|dir| starts(dir) == 1));
    assert!(talking.iter().all(|dir| starts(&dir.join("log")) == 1));
}

#[track_caller]
fn every_line_is_there(scan: &Svscan, talking: &[PathBuf]) {
    for dir in talking {
        svc(dir, &["-d", "."]);
    }
    scan.until(|| talking.iter().all(|dir| pid_in_status(dir).is_none()));
    for dir in talking {
        nothing_is_lost(dir);
    }
}

#[test]
fn usr1_replaces_svscan_and_every_supervise_under_a_hundred_services() {
    let scratch = Scratch::new();
    let (all, talking) = hundred(&scratch);
    let bin = scratch.join("bin");
    fs::create_dir(&bin).unwrap();
    install(&bin);
    let scan =
        Svscan::spawn(&scratch.join("service"), &mut from(&bin, &scratch, &[], &[], "service"));
    all_up(&scan, &all, &talking);
    let before = pids(&all);
    for _ in 0..2 {
        let supervises: BTreeSet<i32> = named(&scratch, "supervise").into_iter().collect();
        assert_eq!(supervises.len(), COUNT);
        install(&bin);
        scan.signal(n::SIGUSR1);
        scan.until(|| exe(scan.pid()) == inode(&bin.join("svscan")));
        let new = inode(&bin.join("supervise"));
        scan.until(|| supervises.iter().all(|pid| exe(*pid) == new));
        assert_eq!(named(&scratch, "supervise").into_iter().collect::<BTreeSet<_>>(), supervises);
        let logged: Vec<_> = talking.iter().map(|dir| lines(&dir.join("log/lines"))).collect();
        scan.until(|| {
            talking.iter().zip(&logged).all(|(d, n)| lines(&d.join("log/lines")) > n + 3)
        });
    }
    assert_eq!(pids(&all), before);
    none_was_restarted(&all, &talking);
    // The new ones do their work: a death is noticed, commands are obeyed, all ends.
    kill9(pid_in_status(&all[COUNT - 1]).unwrap());
    scan.until(|| starts(&all[COUNT - 1]) == 2);
    lose_supervise(&scratch, &all[COUNT - 2]);
    every_line_is_there(&scan, &talking);
    assert_eq!(scan.messages(), "");
    assert_eq!(scan.end().code(), Some(0));
    assert!(before.iter().all(|(service, logger)| {
        !is_alive(service.unwrap()) && logger.is_none_or(|pid| !is_alive(pid))
    }));
}

/// USR1 while there is no such program: said, and nothing changes.
#[test]
fn usr1_without_programs_on_disk_changes_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", TALKER);
    add_logger(&dir);
    let bin = scratch.join("bin");
    fs::create_dir(&bin).unwrap();
    install(&bin);
    let mut scan =
        Svscan::spawn(&scratch.join("service"), &mut from(&bin, &scratch, &[], &[], "service"));
    scan.until(|| lines(&dir.join("log/lines")) > 3);
    let supervise = supervise_of(&scratch, &dir);
    fs::rename(&bin, scratch.join("gone")).unwrap();
    scan.signal(n::SIGUSR1);
    scan.until(|| scan.messages().contains("svscan: warning: unable to replace svscan: "));
    scan.until(|| {
        scan.messages().contains("supervise: warning: unable to replace supervise of web")
    });
    assert!(scan.is_running());
    let logged = lines(&dir.join("log/lines"));
    scan.until(|| lines(&dir.join("log/lines")) > logged + 3);
    assert_eq!(supervise_of(&scratch, &dir), supervise);
    assert_eq!((starts(&dir), starts(&dir.join("log"))), (1, 1));
    // Its service still ends properly.
    fs::rename(scratch.join("gone"), &bin).unwrap();
    svc(&dir, &["-d", "."]);
    scan.until(|| pid_in_status(&dir).is_none());
    nothing_is_lost(&dir);
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_kill9_restart`, at its worst: all supervises at once, too.
#[test]
fn a_hundred_services_survive_the_kill_of_all_that_supervises_them() {
    let scratch = Scratch::new();
    let (all, talking) = hundred(&scratch);
    let scan = Svscan::start(&scratch, "service");
    all_up(&scan, &all, &talking);
    let before = pids(&all);
    scan.kill9();
    named(&scratch, "supervise").into_iter().for_each(kill9);
    until(30, || named(&scratch, "supervise").is_empty());
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| named(&scratch, "supervise").len() == COUNT);
    scan.until(|| all.iter().all(|dir| testkit::scratch::is_supervised(dir)));
    assert_eq!(pids(&all), before);
    none_was_restarted(&all, &talking);
    // The dead are noticed though they are nobody's children.
    kill9(pid_in_status(&all[COUNT - 1]).unwrap());
    scan.until(|| starts(&all[COUNT - 1]) == 2);
    every_line_is_there(&scan, &talking);
    assert_eq!(scan.end().code(), Some(0));
    let left = |dir: &PathBuf| testkit::scratch::is_supervised(dir);
    assert!(!all.iter().any(left));
}

/// USR1 with a log service: its pipe stays, and so do the messages.
#[test]
fn usr1_keeps_the_log_service() {
    let scratch = Scratch::new();
    let log = scratch.service("service/messages", KEEPER);
    let mut command = testkit::svscan::svscan(&scratch, &[], &[], "service");
    command.arg("messages");
    let mut scan = Svscan::spawn(&scratch.join("service"), &mut command);
    scan.until(|| starts(&log) == 1);
    let said = || fs::read_to_string(log.join("lines")).unwrap_or_default();
    for name in ["first", "second"] {
        scan.signal(n::SIGUSR1);
        std::os::unix::fs::symlink("nowhere", scan.join(name)).unwrap();
        scan.until(|| said().contains(&format!("unable to stat {name}")));
    }
    assert_eq!(starts(&log), 1);
    scan.signal(n::SIGTERM);
    assert_eq!(scan.ended(60).code(), Some(0));
    assert_eq!(scan.messages(), "");
    assert!(!testkit::scratch::is_supervised(&log));
}
