//! The pipes between services and loggers outlive svscan and supervise, and lose nothing.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use testkit::scratch::{is_supervised, pid_in_status};
use testkit::svscan::{
    KEEPER, Svscan, TALKER, add_logger, is_alive, kill9, lines, lose_supervise, nothing_is_lost,
    starts, supervise_of, svc, until_unsupervised,
};
use testkit::{Scratch, until};

fn talkers(scratch: &Scratch, names: &[&str]) -> Vec<PathBuf> {
    let make = |name: &&str| {
        let dir = scratch.service(&format!("service/{name}"), TALKER);
        add_logger(&dir);
        dir
    };
    names.iter().map(make).collect()
}

/// Waits until each logger has `more` lines more than now.
#[track_caller]
fn flows(scan: &Svscan, dirs: &[PathBuf], more: usize) {
    let log = |dir: &Path| lines(&dir.join("log/lines"));
    let before: Vec<_> = dirs.iter().map(|dir| log(dir)).collect();
    scan.until(|| dirs.iter().zip(&before).all(|(dir, n)| log(dir) >= n + more));
}

/// Ends the services, then checks every line.
#[track_caller]
fn settle(scan: &Svscan, dirs: &[PathBuf]) {
    for dir in dirs {
        svc(dir, &["-d", "."]);
    }
    scan.until(|| dirs.iter().all(|dir| pid_in_status(dir).is_none()));
    for dir in dirs {
        nothing_is_lost(dir);
    }
}

/// `svscan_kill9_restart`, `svscan_kill9_log_flows`
#[test]
fn a_killed_svscan_interrupts_nothing_and_the_next_carries_on() {
    let scratch = Scratch::new();
    let dirs = talkers(&scratch, &["a", "b"]);
    let mut scan = Svscan::start(&scratch, "service");
    flows(&scan, &dirs, 10);
    let of = |dir: &PathBuf| (pid_in_status(dir), pid_in_status(&dir.join("log")));
    let pids: Vec<_> = dirs.iter().map(of).collect();
    for _ in 0..3 {
        scan.kill9();
        let all = dirs.iter().map(|d| lines(&d.join("log/lines"))).max().unwrap();
        // Without any svscan too.
        until(30, || dirs.iter().all(|d| lines(&d.join("log/lines")) > all + 5));
        scan = Svscan::start(&scratch, "service");
        flows(&scan, &dirs, 10);
    }
    assert_eq!(pids, dirs.iter().map(of).collect::<Vec<_>>());
    assert!(dirs.iter().all(|d| starts(d) == 1 && starts(&d.join("log")) == 1));
    settle(&scan, &dirs);
    // The new svscan is master: what it adopted ends with it.
    assert_eq!(scan.end().code(), Some(0));
    for dir in &dirs {
        until_unsupervised(dir);
    }
    assert!(dirs.iter().all(|d| pid_in_status(&d.join("log")).is_none()));
}

/// `svscan_then_supervise_kill9_log_flows`: with D and E the pipe is lost with the next death.
#[test]
fn the_pipe_is_joined_again_when_svscan_then_supervise_are_killed() {
    let scratch = Scratch::new();
    let dirs = talkers(&scratch, &["a", "b"]);
    let scan = Svscan::start(&scratch, "service");
    flows(&scan, &dirs, 10);
    scan.kill9();
    let scan = Svscan::start(&scratch, "service");
    for dir in &dirs {
        lose_supervise(&scratch, dir);
    }
    flows(&scan, &dirs, 10);
    assert!(dirs.iter().all(|d| starts(d) == 1 && starts(&d.join("log")) == 1));
    // New lives of both find the same pipe.
    for dir in &dirs {
        kill9(pid_in_status(dir).unwrap());
        scan.until(|| starts(dir) == 2);
    }
    flows(&scan, &dirs, 10);
    settle(&scan, &dirs);
    assert_eq!(scan.end().code(), Some(0));
}

/// `log_supervise_kill9`: the supervise of the pair dies, together with the service or alone, many
/// times; the logger goes on.
#[test]
fn no_line_is_lost_or_doubled_however_often_supervise_is_killed() {
    let scratch = Scratch::new();
    let dirs = talkers(&scratch, &["a"]);
    let dir = &dirs[0];
    let scan = Svscan::start(&scratch, "service");
    flows(&scan, &dirs, 5);
    for round in 1..=5 {
        // The service dies while nobody supervises it, or lives on.
        if round % 2 == 0 {
            let service = pid_in_status(dir).unwrap();
            let supervise = supervise_of(&scratch, dir).unwrap();
            kill9(supervise);
            kill9(service);
            scan.until(|| !is_alive(supervise) && !is_alive(service));
            scan.until(|| supervise_of(&scratch, dir).is_some() && is_supervised(dir));
        } else {
            lose_supervise(&scratch, dir);
        }
        scan.until(|| starts(dir) == 1 + round / 2);
        flows(&scan, &dirs, 5);
    }
    // Once the last of both is gone the logger meets the end of its file: read to the end.
    assert!(starts(&dir.join("log")) <= 3);
    settle(&scan, &dirs);
    assert_eq!(scan.end().code(), Some(0));
}

/// `log_supervise_kill9`: svscan and supervise are both gone while the logger is killed too; what
/// the service says meanwhile is in the pipe, and the next logger gets it.
#[test]
fn what_is_said_while_nobody_is_left_is_logged_later() {
    let scratch = Scratch::new();
    let dirs = talkers(&scratch, &["a"]);
    let dir = &dirs[0];
    let scan = Svscan::start(&scratch, "service");
    flows(&scan, &dirs, 5);
    scan.kill9();
    kill9(supervise_of(&scratch, dir).unwrap());
    let logger = pid_in_status(&dir.join("log")).unwrap();
    // Stopped first: whatever it has read it has written by the time it stands still.
    linux::signal::kill(logger, 19).unwrap();
    let said = lines(&dir.join("said"));
    until(30, || lines(&dir.join("said")) > said + 20);
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| supervise_of(&scratch, dir).is_some());
    linux::signal::kill(logger, 18).unwrap();
    flows(&scan, &dirs, 20);
    assert_eq!((starts(dir), starts(&dir.join("log"))), (1, 1));
    settle(&scan, &dirs);
    assert_eq!(scan.end().code(), Some(0));
}

/// svscan, supervise and logger are all killed: the service meets no broken pipe, and what it says
/// meanwhile waits in the pipe, which it holds by itself.
#[test]
fn a_service_whose_every_reader_is_killed_writes_on() {
    let scratch = Scratch::new();
    let dirs = talkers(&scratch, &["a"]);
    let dir = &dirs[0];
    let scan = Svscan::start(&scratch, "service");
    flows(&scan, &dirs, 5);
    let supervise = supervise_of(&scratch, dir).unwrap();
    let logger = pid_in_status(&dir.join("log")).unwrap();
    scan.kill9();
    kill9(supervise);
    kill9(logger);
    until(30, || !is_alive(supervise) && !is_alive(logger));
    // What the logger had read when it was killed is gone with it; from here on nothing is.
    let before = lines(&dir.join("said")) + 1;
    until(30, || lines(&dir.join("said")) > before + 20);
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| starts(&dir.join("log")) == 2);
    flows(&scan, &dirs, 20);
    assert_eq!(starts(dir), 1);
    svc(dir, &["-d", "."]);
    scan.until(|| pid_in_status(dir).is_none());
    let said = fs::read_to_string(dir.join("said")).unwrap();
    let waiting: Vec<&str> = said.lines().skip(before).collect();
    scan.until(|| {
        let kept = fs::read_to_string(dir.join("log/lines")).unwrap();
        waiting.iter().all(|line| kept.lines().filter(|l| l == line).count() == 1)
    });
    assert_eq!(scan.end().code(), Some(0));
}

/// TERM to svscan: services end first, loggers last, with the last line of every service.
#[test]
fn at_the_end_every_last_line_is_logged() {
    let scratch = Scratch::new();
    let names: Vec<_> = (0..20).map(|i| format!("s{i}")).collect();
    let talk = "#!/bin/sh\ntrap 'echo last; exit 0' TERM\necho first\necho up >up\n\
                while :; do sleep 1 & wait $!; done\n";
    let dirs: Vec<_> = names
        .iter()
        .map(|name| {
            let dir = scratch.service(&format!("service/{name}"), talk);
            add_logger(&dir);
            dir
        })
        .collect();
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| dirs.iter().all(|dir| dir.join("up").exists() && starts(&dir.join("log")) == 1));
    assert_eq!(scan.end().code(), Some(0));
    for dir in &dirs {
        let logged = fs::read_to_string(dir.join("log/lines")).unwrap();
        assert_eq!(logged, "first\nlast\n", "{}", dir.display());
        until_unsupervised(dir);
        until_unsupervised(&dir.join("log"));
    }
    assert!(scratch.processes().iter().all(|pid| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm != "cat\n" && comm != "supervise\n"
    }));
}

/// INT does the same; a service that ignores TERM holds the end up until it is killed.
#[test]
fn a_service_that_ignores_term_is_waited_for_and_can_be_killed() {
    let scratch = Scratch::new();
    let stubborn = "#!/bin/sh\ntrap '' TERM\necho up >up\nwhile :; do sleep 1; done\n";
    let dir = scratch.service("service/stubborn", stubborn);
    add_logger(&dir);
    let other = talkers(&scratch, &["other"]);
    let mut scan = Svscan::start(&scratch, "service");
    scan.until(|| dir.join("up").exists() && starts(&dir.join("log")) == 1);
    flows(&scan, &other, 5);
    let pid = pid_in_status(&dir).unwrap();
    scan.signal(2);
    until_unsupervised(&other[0]);
    nothing_is_lost(&other[0]);
    assert!(scan.is_running());
    assert!(is_alive(pid));
    assert!(pid_in_status(&dir.join("log")).is_some(), "a logger ends after its service");
    svc(scan.folder(), &["-k", "stubborn"]);
    assert_eq!(scan.ended(60).code(), Some(0));
    assert_eq!(pid_in_status(&dir), None);
}

/// A supervise that is killed while everything ends leaves a service behind: another ends that.
#[test]
fn a_supervise_killed_during_the_end_leaves_nothing_behind() {
    let scratch = Scratch::new();
    // Ends half a second after TERM.
    let slow = "#!/bin/sh\ntrap 'echo last; sleep 0.5; exit 0' TERM\necho up >up\n\
                while :; do sleep 0.1 & wait $!; done\n";
    let dir = scratch.service("service/slow", slow);
    add_logger(&dir);
    let mut scan = Svscan::start(&scratch, "service");
    scan.until(|| dir.join("up").exists() && starts(&dir.join("log")) == 1);
    let (service, logger) =
        (pid_in_status(&dir).unwrap(), pid_in_status(&dir.join("log")).unwrap());
    let supervise = supervise_of(&scratch, &dir).unwrap();
    linux::signal::kill(supervise, 19).unwrap();
    scan.signal(15);
    kill9(supervise);
    assert_eq!(scan.ended(60).code(), Some(0));
    assert!(!is_alive(service));
    assert!(!is_alive(logger));
    assert!(fs::read_to_string(dir.join("log/lines")).unwrap().ends_with("last\n"));
}

/// svscan's second argument: that service logs what svscan and every supervise says.
#[test]
fn a_log_service_gets_the_messages_of_svscan_and_supervise() {
    let scratch = Scratch::new();
    let log = scratch.service("service/messages", KEEPER);
    let _ = scratch.service("service/broken", "#!/nonexistent/interpreter\n");
    let mut command = testkit::svscan::svscan(&scratch, &[], &[], "service");
    command.arg("messages");
    let mut scan = Svscan::spawn(&scratch.join("service"), &mut command);
    scan.until(|| starts(&log) == 1);
    symlink("nowhere", scan.join("dangling")).unwrap();
    let said = || fs::read_to_string(log.join("lines")).unwrap_or_default();
    scan.until(|| said().contains("supervise: fatal: unable to start broken/run"));
    scan.until(|| said().contains("svscan: warning: unable to stat dangling"));
    // What is said while it is away waits for it.
    let logger = pid_in_status(&log).unwrap();
    kill9(logger);
    // Not before: what a dying process has read is gone with it.
    scan.until(|| !is_alive(logger));
    symlink("nowhere", scan.join("second")).unwrap();
    scan.until(|| starts(&log) == 2 && said().contains("unable to stat second"));
    assert_eq!(scan.messages(), "", "nothing went past it");
    scan.signal(15);
    assert_eq!(scan.ended(60).code(), Some(0));
    until_unsupervised(&log);
    assert_eq!(pid_in_status(&log), None);
}

/// Checks that what svscan says gets to the service `messages` through a pipe in `folder`.
#[track_caller]
fn messages_flow(scratch: &Scratch, dir: &Path, folder: &Path, supervisedir: Option<&Path>) {
    let mut command = testkit::svscan::svscan(scratch, &[], &[], "service");
    command.arg("messages");
    if let Some(elsewhere) = supervisedir {
        command.env("SUPERVISEDIR", elsewhere);
    }
    let mut scan = Svscan::spawn(&scratch.join("service"), &mut command);
    symlink("nowhere", scan.join("dangling")).unwrap();
    let said = || fs::read_to_string(dir.join("lines")).unwrap_or_default();
    scan.until(|| said().contains("svscan: warning: unable to stat dangling"));
    // The one that supervise keeps for the service.
    scan.until(|| ["logpipe", "status", "lock"].iter().all(|file| folder.join(file).exists()));
    scan.signal(15);
    assert_eq!(scan.ended(60).code(), Some(0));
}

/// As for supervise and svc.
#[test]
fn the_log_service_s_folder_may_be_a_link_that_nobody_else_controls() {
    for there in [true, false] {
        let scratch = Scratch::new();
        let dir = scratch.service("service/messages", KEEPER);
        let target = scratch.join("target");
        if there {
            fs::create_dir(&target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o700)).unwrap();
        }
        symlink("../../target", dir.join("supervise")).unwrap();
        messages_flow(&scratch, &dir, &target, None);
        assert!(dir.join("supervise").is_symlink());
    }
}

#[test]
fn the_log_service_s_folder_may_be_no_link_that_others_control() {
    const NOBODY: u32 = 65534;
    let cases: [(u32, u32, u32); 4] =
        [(NOBODY, 0, 0o700), (0, NOBODY, 0o700), (0, 0, 0o777), (0, 0, 0o770)];
    for (link_owner, target_owner, bits) in cases {
        let scratch = Scratch::new();
        let dir = scratch.service("service/messages", KEEPER);
        let target = scratch.join("target");
        fs::create_dir(&target).unwrap();
        fs::set_permissions(&target, fs::Permissions::from_mode(bits)).unwrap();
        chown(&target, Some(target_owner), None).unwrap();
        symlink(&target, dir.join("supervise")).unwrap();
        lchown(dir.join("supervise"), Some(link_owner), None).unwrap();
        let other = scratch.service("service/other", KEEPER);
        let mut command = testkit::svscan::svscan(&scratch, &[], &[], "service");
        command.arg("messages");
        let scan = Svscan::spawn(&scratch.join("service"), &mut command);
        scan.until(|| starts(&other) == 1);
        let wanted = "svscan: warning: unable to create pipe for messages: permission denied\n";
        assert!(scan.messages().contains(wanted), "{}", scan.messages());
        assert_eq!(
            fs::read_dir(&target).unwrap().count(),
            0,
            "{link_owner} {target_owner} {bits:o}"
        );
        assert_eq!(scan.end().code(), Some(0));
    }
}

#[test]
fn the_log_service_s_pipe_is_where_supervisedir_puts_the_folder() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/messages", KEEPER);
    messages_flow(&scratch, &dir, &dir.join("other"), Some(Path::new("other")));
    assert!(!dir.join("supervise").exists());
    let scratch = Scratch::new();
    let dir = scratch.service("service/messages", KEEPER);
    let base = scratch.join("run");
    fs::create_dir(&base).unwrap();
    let colons = dir.to_str().unwrap()[1..].replace('/', ":");
    messages_flow(&scratch, &dir, &base.join(colons), Some(&base));
    assert!(!dir.join("supervise").exists());
}
