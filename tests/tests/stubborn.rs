//! What only shows in an unlucky state: replaced while a start is due, started on a full disk,
//! with messages that nobody takes.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use ondisk::record::Phase;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use testkit::crash::{CRASHER, assert_spaced, start_times};
use testkit::keeper::{Keeper, is_alive, kill9, record, running, send, supervise, until_down};
use testkit::scratch::{SLEEPER, is_supervised, script};
use testkit::{Disk, Scratch, run, until};

const HUP: i32 = 1;

fn is_due(dir: &Path) -> bool {
    record(dir).is_some_and(|record| record.phase == Phase::Due)
}

/// Starts of a crash loop stay a second apart, whatever becomes of supervise meanwhile.
fn stays_slow(scratch: &Scratch, mut disturb: impl FnMut(Keeper) -> Keeper) {
    let dir = scratch.service("web", CRASHER);
    let mut keeper = Keeper::pair(scratch, "web");
    for round in 1..6 {
        until(30, || start_times(&dir).len() >= round && is_due(&dir));
        keeper = disturb(keeper);
    }
    until(30, || start_times(&dir).len() >= 7);
    assert_spaced(&dir);
}

/// `crash_loop_rate`, replaced
#[test]
fn a_replaced_supervise_keeps_the_starts_of_a_crash_loop_apart() {
    let scratch = Scratch::new();
    stays_slow(&scratch, |keeper| {
        keeper.signal(HUP);
        keeper
    });
}

/// `crash_loop_rate`, killed
#[test]
fn a_killed_supervise_keeps_the_starts_of_a_crash_loop_apart() {
    let scratch = Scratch::new();
    stays_slow(&scratch, |keeper| {
        keeper.kill9();
        Keeper::pair(&scratch, "web")
    });
}

/// `no_fd_leak_to_run`, replaced while a start is due
#[test]
fn a_start_behind_a_replacement_inherits_nothing_and_the_logger_stays_ours() {
    let scratch = Scratch::new();
    let looks = "#!/bin/sh\nls -l /proc/self/fd >fds.new && mv fds.new fds\n\
                 [ -e stay ] && exec sleep 1000000\nexit 1\n";
    let dir = scratch.service("web", looks);
    let log = dir.join("log");
    fs::create_dir(&log).unwrap();
    script(&log.join("run"), "#!/bin/sh\nexec cat >>lines\n");
    let keeper = Keeper::pair(&scratch, "web");
    until(30, || dir.join("fds").exists() && is_due(&dir) && is_supervised(&log));
    fs::remove_file(dir.join("fds")).unwrap();
    fs::write(dir.join("stay"), "").unwrap();
    keeper.signal(HUP);
    until(30, || dir.join("fds").exists());
    let service = running(&dir);
    let fds = fs::read_to_string(dir.join("fds")).unwrap();
    // Its own output is the file: the pipe to the logger is not among them.
    assert!(!fds.contains("/supervise/"), "{fds}");
    keeper.kill9();
    let _keeper = Keeper::pair(&scratch, "web");
    assert_eq!(running(&dir), service);
    until(30, || is_supervised(&log));
    let logger = running(&log);
    kill9(logger);
    until(30, || running(&log) != logger);
}

/// `enospc_at_start`, then killed
#[test]
fn a_service_started_on_a_full_disk_is_taken_back_too() {
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "size=64k");
    let dir = disk.service("web");
    let only = "#!/bin/sh\necho $$ >>/proc/self/fd/1\nexec sleep 1000000\n";
    script(&dir.join("run"), only);
    disk.fill();
    let said = || fs::read_to_string(scratch.join("disk:web.messages")).unwrap_or_default();
    let pids = || {
        let text = said();
        text.lines().filter_map(|line| line.parse::<i32>().ok()).collect::<Vec<_>>()
    };
    let keeper = Keeper::spawn(&dir, &mut supervise(&scratch, "disk/web", false));
    until(30, || !pids().is_empty());
    let service = pids()[0];
    keeper.kill9();
    let _keeper = Keeper::spawn(&dir, &mut supervise(&scratch, "disk/web", false));
    disk.free();
    until(30, || record(&dir).is_some_and(|r| r.process.pid.cast_signed() == service));
    assert_eq!(pids(), [service], "a second copy");
    assert!(is_alive(service));
    send(&dir, b"d");
    until_down(&dir);
    assert!(!is_alive(service));
}

/// A pipe that takes nothing more, and that nobody reads.
fn full_pipe() -> (OwnedFd, File) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let size = 1 << 16;
    std::io::Write::write_all(&mut writer, &vec![b'x'; size]).unwrap();
    (reader.into(), File::from(OwnedFd::from(writer)))
}

/// `supervise_stderr_gone`, where it is not gone but full
#[test]
fn messages_that_nobody_takes_keep_supervise_from_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    fs::remove_file(dir.join("run")).unwrap();
    let (_reader, full) = full_pipe();
    let mut command = supervise(&scratch, "web", true);
    command.stderr(Stdio::from(full));
    let _keeper = Keeper::spawn(&dir, &mut command);
    until(30, || is_supervised(&dir));
    script(&dir.join("run"), SLEEPER);
    running(&dir);
    send(&dir, b"d");
    until_down(&dir);
}

/// `svscan_stderr_gone`, where it is not gone but full
#[test]
fn messages_that_nobody_takes_keep_svscan_from_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", SLEEPER);
    for i in 0..50 {
        std::os::unix::fs::symlink("nowhere", scratch.join(&format!("service/{i}"))).unwrap();
    }
    let (_reader, full) = full_pipe();
    let mut svscan = std::process::Command::new(testkit::program("svscan"));
    let path = testkit::program("svscan").canonicalize().unwrap();
    svscan.env("PATH", path.parent().unwrap()).arg(scratch.join("service"));
    let mut svscan = svscan.stderr(Stdio::from(full)).spawn().unwrap();
    running(&dir);
    let pid = svscan.id().to_string();
    assert_eq!(run(std::process::Command::new("kill").args(["-TERM", &pid])).code, Some(0));
    until(30, || svscan.try_wait().unwrap().is_some());
    assert!(!is_supervised(&dir));
}
