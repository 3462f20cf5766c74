//! What comes into svscan's folder, what goes, and who else keeps it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::numbers as n;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::keeper::children;
use testkit::scratch::{is_supervised, pid_in_status, script};
use testkit::svscan::{
    COUNTED, SOON, Svscan, TALKER, add_logger, is_alive, kill9, lines, named, nothing_is_lost,
    original, starts, supervise_of, svc, svscan, until_unsupervised,
};
use testkit::{Scratch, Suite, run};

fn running(scratch: &Scratch) -> Svscan {
    Svscan::start(scratch, "service")
}

#[test]
fn what_is_renamed_linked_or_made_in_the_folder_starts_without_a_command() {
    let scratch = Scratch::new();
    let scan = running(&scratch);
    let first = scratch.service("service/first", COUNTED);
    scan.until(|| starts(&first) == 1);
    let renamed = scratch.service("all/renamed", COUNTED);
    add_logger(&renamed);
    fs::rename(&renamed, scan.join("renamed")).unwrap();
    let linked = scratch.service("all/linked", COUNTED);
    add_logger(&linked);
    symlink(&linked, scan.join("linked")).unwrap();
    // Neither hidden names nor files are services.
    let hidden = scratch.service("service/.hidden", COUNTED);
    fs::write(scan.join("file"), "").unwrap();
    for dir in [&scan.join("renamed"), &linked] {
        scan.until(|| starts(dir) == 1 && starts(&dir.join("log")) == 1);
    }
    assert!(!is_supervised(&hidden));
    assert_eq!(named(&scratch, "supervise").len(), 3);
}

/// systemd's socket, by a path and by a bare name.
#[test]
fn a_manager_is_told_once_each_service_is_supervised_and_no_service_is_told_of_it() {
    let scratch = Scratch::new();
    let run =
        "#!/bin/sh\nenv >environment.new\nmv environment.new environment\nexec sleep 1000000\n";
    let dirs = ["a", "b"].map(|name| scratch.service(&format!("service/{name}"), run));
    let path = scratch.join("notify");
    let name = format!("{}.notify", path.display());
    for (value, listener) in [
        (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
        (
            format!("@{name}"),
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
        ),
    ] {
        listener.set_read_timeout(Some(Duration::from_secs(SOON))).unwrap();
        let mut command = svscan(&scratch, &[], &[], "service");
        let scan = Svscan::spawn(&scratch.join("service"), command.env("NOTIFY_SOCKET", value));
        let mut told = [0; 64];
        let len = listener.recv(&mut told).unwrap();
        assert_eq!(&told[..len], b"READY=1\n");
        assert_eq!(children(scan.pid()).len(), dirs.len());
        scan.until(|| dirs.iter().all(|dir| dir.join("environment").exists()));
        for dir in &dirs {
            let environment = fs::read_to_string(dir.join("environment")).unwrap();
            assert!(!environment.contains("NOTIFY_SOCKET"), "{environment}");
        }
        // Another svscan in its place is ready, too, and knows whom to tell.
        scan.signal(n::SIGUSR1);
        let len = listener.recv(&mut told).unwrap();
        assert_eq!(&told[..len], b"READY=1\n");
        let dir = scratch.service("service/later", COUNTED);
        scan.until(|| starts(&dir) == 1);
        listener.set_nonblocking(true).unwrap();
        assert!(listener.recv(&mut told).is_err());
        fs::remove_dir_all(&dir).unwrap();
        assert!(scan.end().success());
        // Once, however often it is told to end, and however long its services take.
        let len = listener.recv(&mut told).unwrap();
        assert_eq!(&told[..len], b"STOPPING=1\n");
        assert!(listener.recv(&mut told).is_err());
    }
}

/// A folder is made, then its run, then its logger: each is found, the logger at the latest at the
/// next start.
#[test]
fn a_directory_that_is_filled_slowly_gets_everything_in_the_end() {
    let scratch = Scratch::new();
    let scan = running(&scratch);
    let dir = scan.join("slow");
    fs::create_dir(&dir).unwrap();
    scan.until(|| is_supervised(&dir));
    script(&dir.join("run"), TALKER);
    scan.until(|| starts(&dir) == 1);
    add_logger(&dir);
    svc(scan.folder(), &["-t", "slow"]);
    scan.until(|| starts(&dir) == 2 && lines(&dir.join("log/lines")) > 5);
    fs::remove_file(dir.join("said")).unwrap();
    scan.until(|| lines(&dir.join("said")) > 5);
    svc(scan.folder(), &["-d", "slow"]);
    scan.until(|| pid_in_status(&dir).is_none());
    let logged = fs::read_to_string(dir.join("log/lines")).unwrap();
    let said = fs::read_to_string(dir.join("said")).unwrap();
    scan.until(|| said.lines().all(|line| logged.contains(line)));
}

#[test]
fn a_service_under_another_name_is_the_same_service() {
    let scratch = Scratch::new();
    let dir = scratch.service("all/web", COUNTED);
    let scan = running(&scratch);
    symlink(&dir, scan.join("one")).unwrap();
    scan.until(|| starts(&dir) == 1);
    let (service, supervise) = (pid_in_status(&dir), supervise_of(&scratch, &dir));
    fs::rename(scan.join("one"), scan.join("two")).unwrap();
    symlink(&dir, scan.join("three")).unwrap();
    let marker = scratch.service("service/marker", COUNTED);
    scan.until(|| starts(&marker) == 1);
    scan.signal(n::SIGHUP);
    assert_eq!((pid_in_status(&dir), supervise_of(&scratch, &dir)), (service, supervise));
    // A supervise of the old name that is lost comes back under the new one.
    kill9(supervise.unwrap());
    scan.until(|| supervise_of(&scratch, &dir).is_some_and(|pid| Some(pid) != supervise));
    assert_eq!((starts(&dir), pid_in_status(&dir)), (1, service));
    assert_eq!(named(&scratch, "supervise").len(), 2);
    assert_eq!(scan.end().code(), Some(0));
}

/// svc(8)'s idiom: `cd DIR; rm the link; svc -dx . log`.
#[test]
fn a_removed_entry_is_not_killed_and_ends_when_told() {
    let scratch = Scratch::new();
    let dir = scratch.service("all/web", TALKER);
    add_logger(&dir);
    let scan = running(&scratch);
    symlink(&dir, scan.join("web")).unwrap();
    scan.until(|| lines(&dir.join("log/lines")) > 3);
    fs::remove_file(scan.join("web")).unwrap();
    scan.signal(n::SIGALRM);
    let marker = scratch.service("service/marker", COUNTED);
    scan.until(|| starts(&marker) == 1);
    let now = lines(&dir.join("log/lines"));
    scan.until(|| lines(&dir.join("log/lines")) > now + 3);
    svc(&dir, &["-dx", ".", "log"]);
    until_unsupervised(&dir);
    until_unsupervised(&dir.join("log"));
    scan.until(|| supervise_of(&scratch, &dir).is_none());
    assert_eq!(pid_in_status(&dir), None);
    assert_eq!(pid_in_status(&dir.join("log")), None);
    nothing_is_lost(&dir);
    assert_eq!((starts(&dir), starts(&dir.join("log"))), (1, 1));
    // Nobody has brought it back: it ends with nothing of it left.
    assert_eq!(scan.end().code(), Some(0));
    assert!(!is_supervised(&dir));
    assert_eq!(starts(&dir), 1);
}

#[test]
fn a_service_told_x_is_supervised_again_while_its_entry_is_there() {
    let scratch = Scratch::new();
    let alone = scratch.service("service/alone", COUNTED);
    let dir = scratch.service("service/pair", TALKER);
    add_logger(&dir);
    let scan = running(&scratch);
    scan.until(|| starts(&alone) == 1 && lines(&dir.join("log/lines")) > 3);
    let logger = pid_in_status(&dir.join("log"));
    svc(scan.folder(), &["-dx", "alone", "pair"]);
    scan.until(|| starts(&alone) == 2 && starts(&dir) == 2);
    assert_eq!(pid_in_status(&dir.join("log")), logger, "the logger stayed");
    nothing_is_lost(&dir);
    // The logger alone, likewise.
    svc(scan.folder(), &["-dx", "pair/log"]);
    scan.until(|| starts(&dir.join("log")) == 2);
    nothing_is_lost(&dir);
    assert_eq!(starts(&dir), 2);
    // Both at once.
    svc(scan.folder(), &["-dx", "pair", "pair/log"]);
    scan.until(|| starts(&dir) == 3 && starts(&dir.join("log")) == 3);
    assert_eq!(scan.end().code(), Some(0));
}

/// The original's supervise on DIR/log: ours waits for it without a word, and keeps DIR.
#[test]
fn a_logger_that_somebody_else_keeps_is_asked_for_quietly() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/pair", COUNTED);
    add_logger(&dir);
    let mut other = scratch.supervise(Suite::Original, "service/pair/log");
    let scan = running(&scratch);
    scan.until(|| starts(&dir) == 1 && starts(&dir.join("log")) > 0);
    assert_eq!(starts(&dir.join("log")), 1);
    let waits = supervise_of(&scratch, &dir).unwrap();
    svc(scan.folder(), &["-dx", "pair/log"]);
    assert!(other.wait().unwrap().success());
    scan.until(|| starts(&dir.join("log")) == 2);
    assert_eq!(scan.messages(), "");
    assert_eq!(supervise_of(&scratch, &dir), Some(waits));
    assert_eq!(starts(&dir), 1);
    assert_eq!(scan.end().code(), Some(0));
    until_unsupervised(&dir.join("log"));
}

/// Without inotify the folder is read every five seconds.
#[test]
fn without_notices_the_folder_is_read_every_few_seconds() {
    let scratch = Scratch::new();
    let inject = "--inject=inotify_init1:error=EMFILE";
    let wrapper = ["strace", "-D", "-qq", "-o", "/dev/null", inject];
    let mut command = svscan(&scratch, &wrapper, &[], "service");
    let scan = Svscan::spawn(&scratch.join("service"), &mut command);
    let first = scratch.service("service/first", COUNTED);
    scan.until(|| starts(&first) == 1);
    let second = scratch.service("service/second", COUNTED);
    scan.until(|| starts(&second) == 1);
    // HUP does not wait for that.
    let third = scratch.service("service/third", COUNTED);
    scan.signal(n::SIGHUP);
    scan.until(|| starts(&third) == 1);
    fs::remove_dir_all(scan.join("first")).unwrap();
    assert_eq!(scan.end().code(), Some(0));
}

/// The folder is moved away while it is scanned: said, and scanned on where it is.
#[test]
fn a_folder_that_is_moved_is_scanned_on() {
    let scratch = Scratch::new();
    let scan = running(&scratch);
    let first = scratch.service("service/first", COUNTED);
    scan.until(|| starts(&first) == 1);
    fs::rename(scan.folder(), scratch.join("elsewhere")).unwrap();
    scan.until(|| scan.messages().contains("svscan: warning: the directory was moved or removed"));
    let second = scratch.service("elsewhere/second", COUNTED);
    scan.until(|| starts(&second) == 1);
    assert_eq!(starts(&scratch.join("elsewhere/first")), 1);
    assert_eq!(scan.end().code(), Some(0));
}

/// What comes while everything ends stays where it is.
#[test]
fn nothing_is_started_during_the_end() {
    let scratch = Scratch::new();
    let stubborn = "#!/bin/sh\ntrap '' TERM\necho up >up\nwhile :; do sleep 1; done\n";
    let dir = scratch.service("service/stubborn", stubborn);
    let mut scan = running(&scratch);
    scan.until(|| dir.join("up").exists());
    scan.signal(n::SIGTERM);
    scan.until(|| fs::read(dir.join("supervise/status")).unwrap()[17] == b'd');
    let late = scratch.service("service/late", COUNTED);
    symlink("nowhere", scan.join("dangling")).unwrap();
    scan.signal(n::SIGHUP);
    svc(scan.folder(), &["-k", "stubborn"]);
    assert_eq!(scan.ended(60).code(), Some(0));
    assert_eq!(starts(&late), 0);
}

/// Runs a tree of the original and kills all of it but the services.
fn left_by_the_original(scratch: &Scratch, dir: &Path) -> [i32; 2] {
    let theirs = original(scratch, "service");
    let log = dir.join("log");
    theirs.until(|| starts(dir) == 1 && lines(&log.join("lines")) > 3);
    let pids = [pid_in_status(dir).unwrap(), pid_in_status(&log).unwrap()];
    theirs.kill9();
    named(scratch, "supervise").into_iter().for_each(kill9);
    until_unsupervised(dir);
    until_unsupervised(&log);
    pids
}

/// The original's svscan and supervises are gone; their services are taken over, not started again.
#[test]
fn services_of_a_killed_original_are_taken_over() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", COUNTED);
    let scan = original(&scratch, "service");
    scan.until(|| starts(&dir) == 1);
    let pid = pid_in_status(&dir).unwrap();
    scan.kill9();
    named(&scratch, "supervise").into_iter().for_each(kill9);
    until_unsupervised(&dir);
    let scan = running(&scratch);
    scan.until(|| is_supervised(&dir));
    assert_eq!((starts(&dir), pid_in_status(&dir)), (1, Some(pid)));
    let output = run(Command::new(Suite::Original.program("svstat")).arg(&dir));
    assert!(output.out().contains(&format!(": up (pid {pid}) ")), "{output:?}");
    // Its death is noticed.
    kill9(pid);
    scan.until(|| starts(&dir) == 2);
    assert_eq!(scan.end().code(), Some(0));
}

/// With a logger: the pipe was svscan's and is lost, so both begin a new life at the next death at
/// the latest, and none runs twice.
#[test]
fn a_pair_of_a_killed_original_is_taken_over_once() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", TALKER);
    add_logger(&dir);
    let [service, logger] = left_by_the_original(&scratch, &dir);
    let scan = running(&scratch);
    scan.until(|| is_supervised(&dir) && is_supervised(&dir.join("log")));
    assert!(is_alive(service) && is_alive(logger));
    assert_eq!((starts(&dir), starts(&dir.join("log"))), (1, 1));
    svc(scan.folder(), &["-t", "web"]);
    scan.until(|| starts(&dir) == 2);
    scan.until(|| starts(&dir.join("log")) == 2);
    let before = lines(&dir.join("log/lines"));
    scan.until(|| lines(&dir.join("log/lines")) > before + 5);
    assert_eq!(scan.end().code(), Some(0));
}

/// A supervise of the original that runs is left alone, and ends with all others.
#[test]
fn a_foreign_supervise_is_left_alone_and_told_at_the_end() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", COUNTED);
    let log = scratch.service("service/web/log", COUNTED);
    let mut theirs: Vec<_> = ["service/web", "service/web/log"]
        .map(|name| scratch.supervise(Suite::Original, name))
        .into();
    let ours: PathBuf = scratch.service("service/ours", COUNTED);
    let scan = running(&scratch);
    scan.until(|| starts(&ours) == 1 && starts(&dir) == 1 && starts(&log) == 1);
    assert_eq!(named(&scratch, "supervise").len(), 3);
    let status = scan.end();
    assert_eq!(status.code(), Some(0));
    for child in &mut theirs {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!((starts(&dir), starts(&log), starts(&ours)), (1, 1, 1));
}

/// Once it is gone, ours takes its place.
#[test]
fn the_place_of_a_foreign_supervise_is_taken_when_it_is_gone() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", COUNTED);
    let mut theirs = scratch.supervise(Suite::Original, "service/web");
    let scan = running(&scratch);
    let marker = scratch.service("service/marker", COUNTED);
    scan.until(|| starts(&marker) == 1 && starts(&dir) == 1);
    let pid = pid_in_status(&dir);
    theirs.kill().unwrap();
    theirs.wait().unwrap();
    scan.until(|| supervise_of(&scratch, &dir).is_some() && is_supervised(&dir));
    assert_eq!((starts(&dir), pid_in_status(&dir)), (1, pid));
    assert_eq!(scan.end().code(), Some(0));
}
