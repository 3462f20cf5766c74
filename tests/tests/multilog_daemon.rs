//! A daemon talks at full speed under supervise while its logger is killed, stopped and out of disk
//! space; afterwards each of its numbered lines is in the log once and in order.
//!
//! Ten seconds of it in each run, three minutes with `SKYNET_LONG`.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testkit::lines::{Checker, Stamp, files, speaker};
use testkit::scratch::{pid_in_status, script};
use testkit::svscan::{is_alive, lines, svc};
use testkit::wait::holds_within;
use testkit::{Disk, Scratch, Svscan, program, until};

const SIGHUP: i32 = 1;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// Files that the checker leaves alone: a logger that was killed may look for where it was.
const LAST: usize = 3;

/// Daemons at full speed are enough for a machine two at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A daemon, its logger, and where the lines go.
struct Daemon {
    dir: PathBuf,
    log: PathBuf,
    stamp: Stamp,
}

impl Daemon {
    fn new(scratch: &Scratch, name: &str, first: &str, stamp: Stamp) -> Self {
        let log = scratch.join("disk").join(name);
        let dir = scratch.service(&format!("service/{name}"), &speaker());
        fs::create_dir(dir.join("log")).unwrap();
        let run = format!(
            "#!/bin/sh\necho $$ >>starts\nexec multilog {first} s1000000 n100000 {}\n",
            log.display()
        );
        script(&dir.join("log/run"), &run);
        Self { dir, log, stamp }
    }

    /// Sends its logger a signal; returns `false` where none runs just now.
    fn signal(&self, number: i32) -> bool {
        let logger = pid_in_status(&self.dir.join("log")).filter(|pid| is_alive(*pid));
        logger.is_some_and(|pid| linux::signal::kill(pid, number).is_ok())
    }

    /// How often its logger has begun.
    fn starts(&self) -> usize {
        lines(&self.dir.join("log/starts"))
    }

    /// How often its logger has told of a full disk.
    fn complaints(&self, scan: &Svscan) -> usize {
        let log = self.log.display().to_string();
        let told = |line: &&str| line.contains(&log) && line.contains("out of disk space");
        scan.messages().lines().filter(told).count()
    }

    /// Reads and removes what is rotated but the `last` files; `true` where there was any.
    fn check(&self, checker: &mut Checker, last: usize) -> bool {
        let all = if self.log.exists() { files(&self.log) } else { Vec::new() };
        let old = &all[..all.len().saturating_sub(last)];
        for path in old {
            let read = checker.read(&fs::read(path).unwrap());
            assert_eq!(read, Ok(()), "{}", path.display());
            fs::remove_file(path).unwrap();
        }
        !old.is_empty()
    }
}

/// What has been done to the loggers.
#[derive(Debug, Default)]
struct Done {
    kills: usize,
    stops: usize,
    full: usize,
}

/// Does to the loggers what may happen to them, once each. While `room` is locked nobody makes any.
fn trouble(daemons: &[Daemon], scan: &Svscan, disk: &Disk, room: &Mutex<()>, done: &mut Done) {
    for daemon in daemons {
        // The one before may have been killed just now.
        scan.until(|| daemon.signal(SIGSTOP));
        let before = daemon.starts();
        daemon.signal(SIGKILL);
        done.kills += 1;
        scan.until(|| daemon.starts() > before);
    }
    for daemon in daemons {
        done.stops += usize::from(daemon.signal(SIGSTOP));
    }
    // Long enough for the pipes to be full.
    let _ = holds_within(Duration::from_millis(100), || false);
    for daemon in daemons {
        daemon.signal(SIGCONT);
    }
    let before: Vec<usize> = daemons.iter().map(|daemon| daemon.complaints(scan)).collect();
    let locked = room.lock().unwrap();
    disk.fill();
    let told = |(daemon, before): (&Daemon, &usize)| daemon.complaints(scan) > *before;
    scan.until(|| daemons.iter().zip(&before).all(told));
    done.full += 1;
    // Every other time it is for the next ones to find out what is written, without any room.
    if done.full % 2 == 1 {
        for daemon in daemons {
            done.kills += usize::from(daemon.signal(SIGKILL));
        }
    }
    disk.free();
    drop(locked);
}

/// Ends the checkers, also where the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Checks a daemon's log until that is over.
fn follow(daemon: &Daemon, room: &Mutex<()>, over: &AtomicBool) -> Checker {
    let mut checker = Checker::new(daemon.stamp);
    while !over.load(Ordering::Relaxed) {
        let locked = room.lock().unwrap();
        let any = daemon.check(&mut checker, LAST);
        drop(locked);
        if !any {
            let _ = holds_within(Duration::from_millis(10), || over.load(Ordering::Relaxed));
        }
    }
    checker
}

#[test]
fn a_daemon_s_lines_are_there_once_whatever_befalls_its_logger() {
    let _alone = ALONE.lock();
    let seconds = if std::env::var_os("SKYNET_LONG").is_some() { 180 } else { 10 };
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "size=300m");
    let daemons = [
        Daemon::new(&scratch, "plain", "", Stamp::None),
        Daemon::new(&scratch, "stamped", "t", Stamp::Tai64n),
    ];
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| daemons.iter().all(|daemon| daemon.log.exists()));
    let (room, over, mut done) = (Mutex::new(()), AtomicBool::new(false), Done::default());
    let checkers: Vec<Checker> = std::thread::scope(|scope| {
        let (room, over) = (&room, &over);
        let guard = Over(over);
        let start = |daemon| scope.spawn(move || follow(daemon, room, over));
        let threads: Vec<_> = daemons.iter().map(start).collect();
        let end = linux::time::monotonic() + seconds * linux::time::SECOND;
        while done.full < 2 || linux::time::monotonic() < end {
            trouble(&daemons, &scan, &disk, room, &mut done);
        }
        for daemon in &daemons {
            svc(&daemon.dir, &["-d", "."]);
        }
        until(60, || daemons.iter().all(|daemon| daemon.dir.join("said").exists()));
        drop(guard);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // The loggers read to the end.
    assert_eq!(scan.end().code(), Some(0));
    for (daemon, mut checker) in daemons.iter().zip(checkers) {
        daemon.check(&mut checker, 0);
        let said = fs::read_to_string(daemon.dir.join("said")).unwrap().parse().unwrap();
        println!("{}: {said} lines, {} loggers, {done:?}", daemon.log.display(), daemon.starts());
        assert_eq!(checker.end(), Ok(said), "{}", daemon.log.display());
        assert!(daemon.starts() > 2 && said > 10_000, "{said} lines");
    }
    assert!(done.kills > 3 && done.stops > 3, "{done:?}");
}

/// Puts multilog there anew, in place of the one that runs.
fn install(scratch: &Scratch) {
    let (new, path) = (scratch.join("new"), scratch.join("multilog"));
    // Written by another process: no child of ours holds it open when it is run.
    let copied = Command::new("cp").arg(program("multilog")).arg(&new).status().unwrap();
    assert!(copied.success());
    fs::rename(new, path).unwrap();
}

#[test]
fn hup_replaces_a_logger_at_full_speed_and_loses_no_line() {
    let _alone = ALONE.lock();
    let scratch = Scratch::new();
    install(&scratch);
    let daemons = [
        Daemon::new(&scratch, "plain", "", Stamp::None),
        Daemon::new(&scratch, "stamped", "t", Stamp::Tai64n),
    ];
    for daemon in &daemons {
        let run = fs::read_to_string(daemon.dir.join("log/run")).unwrap();
        let own = format!("exec {} ", scratch.join("multilog").display());
        script(&daemon.dir.join("log/run"), &run.replace("exec multilog ", &own));
    }
    fs::create_dir(scratch.join("disk")).unwrap();
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| daemons.iter().all(|daemon| daemon.log.join("current").exists()));
    let pid = |daemon: &Daemon| pid_in_status(&daemon.dir.join("log"));
    // It may write before its supervise has said that it runs.
    scan.until(|| daemons.iter().all(|daemon| pid(daemon).is_some()));
    let before: Vec<_> = daemons.iter().map(pid).collect();
    let mut checkers = [Checker::new(Stamp::None), Checker::new(Stamp::Tai64n)];
    for _ in 0..if std::env::var_os("SKYNET_LONG").is_some() { 300 } else { 25 } {
        install(&scratch);
        for (daemon, pid) in daemons.iter().zip(&before) {
            daemon.signal(SIGHUP);
            let exe = format!("/proc/{}/exe", pid.unwrap());
            scan.until(|| fs::read_link(&exe).is_ok_and(|exe| exe.exists()));
        }
        // Meanwhile nothing is said: where reading is slower than writing, there would be more each time.
        for daemon in &daemons {
            svc(&daemon.dir, &["-p", "."]);
        }
        for (daemon, checker) in daemons.iter().zip(&mut checkers) {
            daemon.check(checker, LAST);
        }
        for daemon in &daemons {
            svc(&daemon.dir, &["-c", "."]);
        }
    }
    assert_eq!(daemons.iter().map(pid).collect::<Vec<_>>(), before);
    // The order to end that comes while it is replaced counts.
    for daemon in &daemons {
        assert!(daemon.signal(SIGHUP) && daemon.signal(SIGTERM));
    }
    scan.until(|| daemons.iter().all(|daemon| daemon.starts() == 2));
    for daemon in &daemons {
        svc(&daemon.dir, &["-d", "."]);
    }
    until(60, || daemons.iter().all(|daemon| daemon.dir.join("said").exists()));
    assert_eq!(scan.end().code(), Some(0));
    for (daemon, mut checker) in daemons.iter().zip(checkers) {
        daemon.check(&mut checker, 0);
        let said = fs::read_to_string(daemon.dir.join("said")).unwrap().parse().unwrap();
        assert_eq!(checker.end(), Ok(said), "{}", daemon.log.display());
        assert!(said > 1000, "{said} lines");
    }
}
