//! Many services under one svscan: no limit built in, and no wake-up while nothing happens.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use testkit::scratch::{SLEEPER, is_supervised};
use testkit::svscan::{COUNTED, Svscan, add_logger, kill9, named, starts, svscan};
use testkit::{Scratch, until};

/// Makes `count` services that are down: a supervise each, and nothing else.
fn down(scratch: &Scratch, count: usize) -> Vec<PathBuf> {
    let make = |i| {
        let dir = scratch.service(&format!("service/s{i}"), SLEEPER);
        fs::write(dir.join("down"), "").unwrap();
        dir
    };
    (0..count).map(make).collect()
}

/// Whether the machine has room for so many processes more.
fn has_room(processes: usize) -> bool {
    let read = |path: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.trim().parse::<usize>().unwrap_or(usize::MAX)
    };
    let here = fs::read_dir("/proc").unwrap().count();
    let limit = read("/proc/sys/kernel/pid_max").min(read("/proc/sys/kernel/threads-max"));
    limit.saturating_sub(here) > processes + 1000
}

/// `count` services with no more than 1,024 descriptors, the usual limit: all are kept, svscan is
/// killed, the next finds them all, one that is lost comes back, and all end.
fn so_many(count: usize, seconds: u64) {
    let scratch = Scratch::new();
    let all = down(&scratch, count);
    let limited = ["prlimit", "--nofile=1024:"];
    let start = || {
        let mut command = svscan(&scratch, &limited, &[], "service");
        Svscan::spawn(&scratch.join("service"), &mut command)
    };
    let scan = start();
    until(seconds, || all.iter().all(|dir| is_supervised(dir)));
    let before: Vec<i32> = named(&scratch, "supervise");
    assert_eq!(before.len(), count);
    scan.kill9();
    let mut scan = start();
    let late = scratch.service("service/late", COUNTED);
    until(seconds, || starts(&late) == 1);
    let lost = &all[count - 1];
    kill9(testkit::svscan::supervise_of(&scratch, lost).unwrap());
    until(seconds, || is_supervised(lost));
    until(seconds, || named(&scratch, "supervise").len() == count + 1);
    let now: Vec<i32> = named(&scratch, "supervise");
    assert_eq!(before.iter().filter(|pid| now.contains(pid)).count(), count - 1);
    let limit = fs::read_to_string(format!("/proc/{}/limits", now[0])).unwrap();
    let limit = limit.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert!(limit.contains(" 1024 "), "a service has the limit that svscan was given: {limit}");
    scan.signal(15);
    assert_eq!(scan.ended(seconds).code(), Some(0));
    assert!(named(&scratch, "supervise").is_empty());
    assert_eq!(scan.messages(), "");
}

/// `svscan_1050_services`: D and E stop at 1,000.
#[test]
fn more_than_a_thousand_services_are_kept() {
    so_many(1050, 120);
}

/// S14, where `SKYNET_LONG=1`.
#[test]
fn ten_thousand_services_are_kept() {
    if testkit::skipped("SKYNET_LONG", std::env::var_os("SKYNET_LONG").is_some()) {
        return;
    }
    assert!(has_room(10_000), "this machine allows too few processes: kernel.pid_max");
    so_many(10_000, 580);
}

/// Context switches of processes that gave the processor up by themselves: once for each wake-up.
fn switches(pids: &[i32]) -> BTreeMap<i32, u64> {
    let of = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = text.lines().find(|l| l.starts_with("voluntary_ctxt_switches:")).unwrap();
        (*pid, line.split_whitespace().nth(1).unwrap().parse().unwrap())
    };
    pids.iter().map(of).collect()
}

/// Waits until the processes sleep, and returns their counts.
fn settled(pids: &[i32]) -> BTreeMap<i32, u64> {
    let mut last = switches(pids);
    let mut since = Instant::now();
    until(60, || {
        let now = switches(pids);
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(2)
    });
    last
}

/// Nobody wakes up for more than the longest of the intervals that daemontools knows.
#[test]
fn nobody_wakes_up_while_nothing_happens() {
    let scratch = Scratch::new();
    let all: Vec<_> = (0..100)
        .map(|i| {
            let dir = scratch.service(&format!("service/s{i}"), SLEEPER);
            if i % 10 == 0 {
                add_logger(&dir);
            }
            dir
        })
        .collect();
    // Files and hidden names are no reason to look again.
    fs::write(scratch.join("service/file"), "").unwrap();
    symlink("s1", scratch.join("service/.hidden")).unwrap();
    let scan = Svscan::start(&scratch, "service");
    until(60, || all.iter().all(|dir| testkit::scratch::pid_in_status(dir).is_some()));
    idle(&scratch, &scan);
    // The same for what another svscan left, and for what its supervises left.
    scan.kill9();
    named(&scratch, "supervise").into_iter().take(50).for_each(kill9);
    let scan = Svscan::start(&scratch, "service");
    until(60, || all.iter().all(|dir| is_supervised(dir)));
    idle(&scratch, &scan);
}

#[track_caller]
fn idle(scratch: &Scratch, scan: &Svscan) {
    until(60, || named(scratch, "supervise").len() == 100);
    let mut pids = named(scratch, "supervise");
    pids.push(scan.pid());
    let before = settled(&pids);
    let end = Instant::now() + Duration::from_secs(7);
    until(30, || Instant::now() > end);
    let woken: Vec<i32> = switches(&pids)
        .into_iter()
        .filter(|(pid, n)| before.get(pid) != Some(n))
        .map(|(pid, _)| pid)
        .collect();
    let names = woken.iter().map(|pid| {
        fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default().display().to_string()
    });
    assert!(woken.is_empty(), "woken: {:?}", names.collect::<Vec<_>>());
}

/// A thousand services with one svc, and all of them seen by one svstat.
#[test]
fn one_command_reaches_them_all() {
    let scratch = Scratch::new();
    let all = down(&scratch, 300);
    let scan = Svscan::start(&scratch, "service");
    until(60, || all.iter().all(|dir| is_supervised(dir)));
    let names: Vec<String> = (0..300).map(|i| format!("s{i}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    testkit::svscan::svc(scan.folder(), &[&["-o"][..], &names].concat());
    until(60, || all.iter().all(|dir| testkit::scratch::pid_in_status(dir).is_some()));
    let svstat = testkit::program("svstat");
    let output = testkit::run(Command::new(svstat).args(&names).current_dir(scan.folder()));
    assert_eq!(output.code, Some(0));
    assert_eq!(output.out().lines().filter(|l| l.contains(": up (pid ")).count(), 300);
    assert!(Path::new(scan.folder()).exists());
    assert_eq!(scan.end().code(), Some(0));
}
