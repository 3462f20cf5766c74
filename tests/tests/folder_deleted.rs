//! Somebody deletes the `supervise` folder of a service that runs: no second copy comes of it.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use testkit::keeper::{
    Keeper, is_alive, kill9, record, running, send, status, supervise, svstat, until_down,
};
use testkit::scratch::{SLEEPER, is_supervised};
use testkit::svscan::COUNTED;
use testkit::{Scratch, run, until};

const SIGHUP: i32 = 1;

/// Prints a line for each USR1; has left its directory, so that only its record tells of it.
const PRINTER: &str = "#!/bin/sh\necho >>starts\ntrap 'echo told' USR1\n: >ready\ncd ..\n\
                       while :; do sleep 1000000 & wait $!; kill $!; done\n";

fn starts(dir: &Path) -> usize {
    fs::read_to_string(dir.join("starts")).map_or(0, |starts| starts.lines().count())
}

fn delete_folder(dir: &Path) {
    fs::remove_dir_all(dir.join("supervise")).unwrap();
}

#[test]
fn a_deleted_folder_is_made_anew_at_the_next_change_and_the_next_supervise_takes_all_back() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", PRINTER);
    let lines = scratch.join("lines");
    let log = scratch.service("web/log", &format!("#!/bin/sh\nexec cat >>{}\n", lines.display()));
    let printed = || fs::read_to_string(&lines).map_or(0, |s| s.lines().count());
    let mut keeper = Keeper::pair(&scratch, "web");
    for life in 1..=2 {
        until(10, || dir.join("ready").exists());
        let (before, logger) = (running(&dir), running(&log));
        fs::remove_file(dir.join("ready")).unwrap();
        delete_folder(&dir);
        delete_folder(&log);
        kill9(before);
        kill9(logger);
        until(10, || is_supervised(&dir) && is_supervised(&log) && dir.join("ready").exists());
        let (service, logger) = (running(&dir), running(&log));
        assert!(svstat(&dir).starts_with(&format!("up (pid {service}) ")), "{}", svstat(&dir));
        keeper.kill9();
        keeper = Keeper::pair(&scratch, "web");
        until(10, || is_supervised(&log) && record(&log).is_some_and(|record| record.adopted));
        assert_eq!((running(&dir), running(&log)), (service, logger));
        // The next logger reads from the pipe that the service writes to, nameless as it is.
        kill9(logger);
        until(10, || running(&log) != logger);
        send(&dir, b"1");
        until(10, || printed() == life);
        assert_eq!(starts(&dir), 1 + life);
    }
    send(&dir, b"dx");
    until(10, || status(&dir).is_some_and(|status| status.pid == 0));
}

/// The record, with or without the folder, and what else is gone with it.
#[test]
fn files_of_the_folder_that_were_deleted_come_back_with_the_next_change() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let mut keeper = Keeper::plain(&scratch, "web");
    let all = ["lock", "control", "ok", "status", "record"];
    let names = all.map(|name| dir.join("supervise").join(name));
    for count in 0..=all.len() {
        let pid = keeper.service();
        // From the last one on; none means the folder.
        names.iter().rev().take(count).for_each(|path| fs::remove_file(path).unwrap());
        if count == 0 {
            delete_folder(&dir);
        }
        kill9(pid);
        until(10, || names.iter().all(|path| path.exists()) && is_supervised(&dir));
        until(10, || running(&dir) != pid);
        let second = run(&mut supervise(&scratch, "web", false));
        assert_eq!(second.code, Some(111), "{count}");
    }
    send(&dir, b"dx");
    assert_eq!(keeper.end_within(10).code(), Some(0));
    until_down(&dir);
}

/// The lock of the new folder is free; HUP passes the claim on, and mends.
#[test]
fn a_second_supervise_is_refused_though_the_folder_with_the_lock_is_gone() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", COUNTED);
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    until(10, || starts(&dir) == 1);
    let refused = || {
        let second = run(&mut supervise(&scratch, "web", false));
        let lock = "supervise: fatal: unable to acquire web/supervise/lock: temporary failure\n";
        assert_eq!((second.code, second.err()), (Some(111), lock.to_string()));
    };
    delete_folder(&dir);
    refused();
    keeper.signal(SIGHUP);
    until(10, || is_supervised(&dir));
    fs::rename(dir.join("supervise"), dir.join("elsewhere")).unwrap();
    refused();
    // Passed on again and again.
    keeper.signal(SIGHUP);
    until(10, || is_supervised(&dir));
    delete_folder(&dir);
    refused();
    assert!(is_alive(pid) && starts(&dir) == 1);
    assert!(!dir.join("twice").exists());
}

/// As in daemontools-encore: the folder makes the supervise.
#[test]
fn supervises_with_folders_elsewhere_may_share_a_directory() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let first = Keeper::plain(&scratch, "web");
    let mut command = supervise(&scratch, "web", false);
    command.env("SUPERVISEDIR", "other");
    let second = Keeper::spawn(&dir, &mut command);
    let mut svok = Command::new(testkit::program("svok"));
    svok.arg(&dir).env("SUPERVISEDIR", "other");
    until(10, || run(&mut svok).code == Some(0));
    assert!(is_alive(first.pid()) && is_alive(second.pid()));
}
