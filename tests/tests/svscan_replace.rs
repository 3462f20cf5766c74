//! Other programs under a hundred running services: USR1, and kill -9 of all that supervises.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::numbers as n;
use ondisk::record::Phase;
use ondisk::status::Want;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::crash::{CRASHER, assert_spaced, start_times};
use testkit::keeper::{record, state, status};
use testkit::scratch::{pid_in_status, script};
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
    // On a machine that is busy starting others its program may be ahead of what is said of it.
    scan.until(|| talking.iter().all(|dir| pid_in_status(&dir.join("log")).is_some()));
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

/// Installs other programs and has svscan and every supervise replaced by them.
#[track_caller]
fn replace(scan: &Svscan, scratch: &Scratch, bin: &Path) {
    // A service that is just being started is called supervise until it runs its program.
    let all = || named(scratch, "supervise").into_iter().collect::<BTreeSet<i32>>();
    let mut supervises = BTreeSet::new();
    scan.until(|| {
        supervises = all();
        supervises.len() == COUNT
    });
    install(bin);
    scan.signal(n::SIGUSR1);
    scan.until(|| exe(scan.pid()) == inode(&bin.join("svscan")));
    let new = inode(&bin.join("supervise"));
    scan.until(|| supervises.iter().all(|pid| exe(*pid) == new));
    scan.until(|| all() == supervises);
}

/// Waits until each has logged something new.
#[track_caller]
fn they_talk_on(scan: &Svscan, talking: &[PathBuf]) {
    let logged: Vec<_> = talking.iter().map(|dir| lines(&dir.join("log/lines"))).collect();
    scan.until(|| talking.iter().zip(&logged).all(|(d, n)| lines(&d.join("log/lines")) > n + 3));
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
        replace(&scan, &scratch, &bin);
        they_talk_on(&scan, &talking);
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

/// So many services crash, are paused, run once, are down.
const EACH: usize = 5;

/// What the files say of a service that nobody touches.
fn kept(dir: &Path) -> (Vec<u8>, Phase, Want, bool, u32) {
    let bytes = fs::read(dir.join("supervise/status")).unwrap();
    let record = record(dir).unwrap();
    (bytes, record.phase, record.want, record.paused, record.process.pid)
}

fn words(option: &str, dirs: &[PathBuf]) -> Vec<String> {
    let paths = dirs.iter().map(|dir| dir.to_str().unwrap().to_string());
    std::iter::once(option.to_string()).chain(paths).collect()
}

#[track_caller]
fn tell(option: &str, dirs: &[PathBuf]) {
    let words = words(option, dirs);
    svc(Path::new("/"), &words.iter().map(String::as_str).collect::<Vec<_>>());
}

fn are_paused(dirs: &[PathBuf], paused: bool) -> bool {
    let letter = if paused { 'T' } else { 'S' };
    let is_so = |dir: &PathBuf| {
        let status = status(dir).unwrap();
        status.paused == paused && state(status.pid.cast_signed()) == Some(letter)
    };
    dirs.iter().all(is_so)
}

#[track_caller]
fn they_crash_on(scan: &Svscan, crashing: &[PathBuf]) {
    let before: Vec<usize> = crashing.iter().map(|dir| start_times(dir).len()).collect();
    let again = |(dir, before): (&PathBuf, &usize)| start_times(dir).len() > before + 2;
    scan.until(|| crashing.iter().zip(&before).all(again));
}

/// Each is as it was, and obeys.
#[track_caller]
fn they_obey(scan: &Svscan, [crashing, paused, once, down]: [&[PathBuf]; 4]) {
    tell("-c", paused);
    scan.until(|| are_paused(paused, false));
    for dir in once {
        kill9(pid_in_status(dir).unwrap());
    }
    scan.until(|| once.iter().all(|dir| record(dir).is_some_and(|r| r.phase == Phase::Down)));
    tell("-u", down);
    scan.until(|| down.iter().all(|dir| starts(dir) == 1));
    tell("-d", crashing);
    scan.until(|| crashing.iter().all(|dir| record(dir).is_some_and(|r| r.phase == Phase::Down)));
    assert!(once.iter().all(|dir| starts(dir) == 1));
}

#[test]
fn usr1_changes_nothing_for_services_that_crash_are_paused_run_once_or_are_down() {
    let scratch = Scratch::new();
    let (all, talking) = hundred(&scratch);
    let (steady, odd) = all.split_at(COUNT - 4 * EACH);
    let kinds: Vec<&[PathBuf]> = odd.chunks(EACH).collect();
    let [crashing, paused, once, down] = kinds.try_into().unwrap();
    for dir in crashing {
        script(&dir.join("run"), CRASHER);
    }
    for dir in down {
        fs::write(dir.join("down"), "").unwrap();
    }
    // One that has a logger is among them.
    let paused = &[paused, &talking[..1]].concat()[..];
    let bin = scratch.join("bin");
    fs::create_dir(&bin).unwrap();
    install(&bin);
    let scan =
        Svscan::spawn(&scratch.join("service"), &mut from(&bin, &scratch, &[], &[], "service"));
    all_up(&scan, &[steady, paused, once].concat(), &talking);
    tell("-p", paused);
    tell("-o", once);
    scan.until(|| are_paused(paused, true) && once.iter().all(|dir| kept(dir).2 == Want::Once));
    scan.until(|| down.iter().all(|dir| record(dir).is_some_and(|r| r.phase == Phase::Down)));
    they_crash_on(&scan, crashing);
    let calm = [steady, paused, once, down].concat();
    let before: Vec<_> = calm.iter().map(|dir| kept(dir)).collect();
    for _ in 0..3 {
        replace(&scan, &scratch, &bin);
        they_talk_on(&scan, &talking[1..]);
        they_crash_on(&scan, crashing);
        assert_eq!(calm.iter().map(|dir| kept(dir)).collect::<Vec<_>>(), before);
        assert!(are_paused(paused, true));
        assert!(crashing.iter().all(|dir| record(dir).unwrap().want == Want::Up));
    }
    for dir in crashing {
        assert_spaced(dir);
    }
    they_obey(&scan, [crashing, paused, once, down]);
    every_line_is_there(&scan, &talking);
    none_was_restarted(&[steady, &paused[..EACH], once, down].concat(), &talking);
    assert_eq!((scan.messages().as_str(), scan.end().code()), ("", Some(0)));
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
