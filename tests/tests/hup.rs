//! HUP replaces supervise: nothing that the old program had is lost on the way to the new one.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;
use std::time::Duration;
use testkit::calls::{self, Call, each_at_once};
use testkit::keeper::{Keeper, is_alive, kill9, record, running, send};
use testkit::scratch::{SLEEPER, is_supervised, script};
use testkit::wait::holds_within;
use testkit::{Scratch, until};

const SIGHUP: i32 = 1;

/// Adds to `got` for each USR1, to be sent once `ready` is there.
const TOLD: &str = "#!/bin/sh\ntrap 'echo >>got' USR1\n: >ready\n\
                    while :; do sleep 1000000 & wait $!; kill $!; done\n";

/// Prints a line for each USR1 instead.
const TOLD_AND_PRINTS: &str = "#!/bin/sh\ntrap 'echo told' USR1\n: >ready\n\
                               while :; do sleep 1000000 & wait $!; kill $!; done\n";

fn got(dir: &Path) -> u64 {
    fs::metadata(dir.join("got")).map_or(0, |file| file.len())
}

/// Sends HUP; returns what tells whether another program has taken its place.
fn hup(keeper: &Keeper, dir: &Path) -> impl Fn(&Path) -> bool + use<> {
    let born = |dir: &Path| record(dir).map_or(0, |record| record.supervisor.alive_at);
    let before = born(dir);
    keeper.signal(SIGHUP);
    move |dir| born(dir) > before
}

/// Sends bytes and waits until supervise has read them.
fn send_and_be_read(dir: &Path, bytes: &[u8]) {
    const O_NONBLOCK: i32 = 0o4000;
    let control = dir.join("supervise/control");
    let control = fs::File::options().read(true).custom_flags(O_NONBLOCK).open(control).unwrap();
    send(dir, bytes);
    let raw = std::os::fd::AsRawFd::as_raw_fd(&control);
    until(10, || {
        let mut polls = [linux::fd::PollFd::readable(raw)];
        linux::fd::poll(&mut polls, Some(0)).unwrap() == 0
    });
}

fn replaced(keeper: &Keeper) {
    let is_replaced = hup(keeper, keeper.dir());
    until(10, || is_replaced(keeper.dir()));
}

#[test]
fn a_modifier_whose_command_has_not_come_yet_outlives_hup() {
    let scratch = Scratch::new();
    let family = "#!/bin/sh\ntrap : USR1\n\
                  sh -c 'trap \"echo >>got\" USR1; : >ready; while :; do sleep 0.05; done' &\n\
                  while :; do sleep 0.05; done\n";
    let dir = scratch.service("web", family);
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat\n");
    let keeper = Keeper::pair(&scratch, "web");
    until(10, || dir.join("ready").exists());
    let (service, logger) = (running(&dir), running(&log));
    send_and_be_read(&dir, b"+");
    replaced(&keeper);
    replaced(&keeper);
    send(&dir, b"1");
    until(10, || got(&dir) == 1);
    // From the one's FIFO to the other, both ways.
    send_and_be_read(&dir, b"L");
    replaced(&keeper);
    send(&dir, b"k");
    until(10, || running(&log) != logger);
    assert_eq!(running(&dir), service);
    let logger = running(&log);
    send_and_be_read(&log, b"l");
    replaced(&keeper);
    send(&log, b"k");
    until(10, || running(&dir) != service);
    assert_eq!(running(&log), logger);
    // None is left over.
    replaced(&keeper);
    let service = running(&dir);
    send(&dir, b"k");
    until(10, || running(&dir) != service);
    assert_eq!(running(&log), logger);
}

/// The name may stand for another directory by now: what runs is kept where it runs.
#[test]
fn hup_keeps_a_service_whose_directory_was_renamed_or_whose_link_leads_elsewhere() {
    let scratch = Scratch::new();
    let old = scratch.service("old", SLEEPER);
    let _ = scratch.service("old/log", "#!/bin/sh\nexec cat\n");
    let new = scratch.service("new", "#!/bin/sh\n: >run-by-mistake\nexec sleep 1000000\n");
    symlink("old", scratch.join("web")).unwrap();
    let keeper = Keeper::start(&old, &mut testkit::keeper::supervise(&scratch, "web", false));
    let service = running(&old);
    fs::remove_file(scratch.join("web")).unwrap();
    symlink("new", scratch.join("web")).unwrap();
    replaced(&keeper);
    assert_eq!(running(&old), service);
    fs::remove_file(scratch.join("web")).unwrap();
    let moved = scratch.join("moved");
    fs::rename(&old, &moved).unwrap();
    let is_replaced = hup(&keeper, &moved);
    until(10, || is_replaced(&moved));
    assert_eq!(running(&moved), service);
    kill9(service);
    until(10, || running(&moved) != service);
    assert!(!new.join("run-by-mistake").exists());
}

/// The records are deleted with it; what runs is known all the same, and its pipe goes on.
#[test]
fn hup_starts_no_second_copy_where_the_supervise_folders_were_deleted() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", TOLD_AND_PRINTS);
    let lines = scratch.join("lines");
    let text = format!("#!/bin/sh\nexec cat >>{}\n", lines.display());
    let log = scratch.service("web/log", &text);
    let printed = || fs::read_to_string(&lines).map_or(0, |s| s.lines().count());
    let keeper = Keeper::pair(&scratch, "web");
    until(10, || dir.join("ready").exists());
    let (service, logger) = (running(&dir), running(&log));
    for round in 1..=2 {
        fs::remove_dir_all(dir.join("supervise")).unwrap();
        fs::remove_dir_all(log.join("supervise")).unwrap();
        keeper.signal(SIGHUP);
        until(10, || is_supervised(&dir) && is_supervised(&log));
        assert_eq!((running(&dir), running(&log)), (service, logger));
        send(&dir, b"1");
        until(10, || printed() == round);
    }
    // What is started now meets the pipe that the other one holds.
    kill9(logger);
    until(10, || running(&log) != logger);
    send(&dir, b"1");
    until(10, || printed() == 3);
    kill9(service);
    until(10, || running(&dir) != service);
    assert_eq!(record(&dir).unwrap().restarts, 1);
}

#[test]
fn a_logger_whose_folder_was_deleted_is_reaped_behind_hup() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat\n");
    let keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    fs::remove_dir_all(&log).unwrap();
    replaced(&keeper);
    kill9(logger);
    until(10, || !testkit::keeper::children(keeper.pid()).contains(&logger));
    assert_eq!(running(&dir), service);
}

/// Returns the calls of the program that takes the other's place, until it waits again.
fn calls_after_hup(paired: bool) -> Vec<Call> {
    let scratch = Scratch::new();
    let (keeper, _) = told(&scratch, paired);
    let trace = scratch.join("trace");
    keeper.trace(&trace, &[]);
    replaced(&keeper);
    send_and_be_read(keeper.dir(), b"1");
    until(10, || got(keeper.dir()) == 1);
    let text = fs::read_to_string(trace).unwrap();
    let before = calls::of(text.split_once("execve(").unwrap().0).len();
    let calls: Vec<Call> = calls::of(&text).into_iter().skip(before + 1).collect();
    calls.into_iter().filter(calls::may_fail).collect()
}

/// Starts a service that counts what it is told, with a logger where `paired`.
fn told(scratch: &Scratch, paired: bool) -> (Keeper, [i32; 2]) {
    let dir = scratch.service("web", TOLD);
    if !paired {
        let keeper = Keeper::plain(scratch, "web");
        until(10, || dir.join("ready").exists());
        return (keeper, [running(&dir), 0]);
    }
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat\n");
    let keeper = Keeper::pair(scratch, "web");
    until(10, || dir.join("ready").exists());
    (keeper, [running(&dir), running(&log)])
}

/// For want of descriptors, or with a disk that fails, the new program tries again; meanwhile it
/// holds on to everything, as svok sees.
#[test]
fn no_single_failing_call_after_hup_loses_a_service_or_a_command() {
    for paired in [false, true] {
        let calls = calls_after_hup(paired);
        assert!(calls.len() > 20, "{calls:?}");
        let all = std::env::var_os("SKYNET_LONG").is_some();
        each_at_once(&calls, |(name, k)| {
            // One of the two is enough for a call when time is short.
            let errors = ["EMFILE", "EIO"].into_iter().enumerate();
            for error in errors.filter(|(i, _)| all || i % 2 == k % 2).map(|(_, error)| error) {
                let scratch = Scratch::new();
                let (mut keeper, [service, logger]) = told(&scratch, paired);
                let (dir, log) = (scratch.join("web"), scratch.join("web/log"));
                let rule = format!("{name}:error={error}:when={k}");
                keeper.harm(&[&rule]);
                let is_replaced = hup(&keeper, &dir);
                send(&dir, b"1");
                let done = || {
                    assert!(keeper.ended().is_none(), "{rule}: {:?}", keeper.ended());
                    assert!(is_supervised(&dir), "{rule}");
                    is_replaced(&dir) && (!paired || is_replaced(&log)) && got(&dir) == 1
                };
                let said = || fs::read_to_string(scratch.join("web.messages")).unwrap_or_default();
                assert!(holds_within(Duration::from_secs(20), done), "{rule}: {}", said());
                assert_eq!(running(&dir), service, "{rule}");
                let adopted = |dir: &Path| record(dir).is_none_or(|record| record.adopted);
                assert!(!adopted(&dir), "{rule}: its own child as before");
                if paired {
                    assert_eq!(running(&log), logger, "{rule}");
                    assert!(!adopted(&log), "{rule}");
                }
            }
        });
    }
}

/// A death that falls in between is told as it was, and another HUP changes nothing.
#[test]
fn while_the_new_program_cannot_open_what_it_needs_it_holds_on_to_what_it_was_given() {
    // Nothing from its first call on; nothing from the supervise folder on; that folder once.
    for which in ["2+", "7+", "7"] {
        let scratch = Scratch::new();
        let dir = scratch.service("web", TOLD);
        let keeper = Keeper::plain(&scratch, "web");
        until(10, || dir.join("ready").exists());
        let service = running(&dir);
        script(&dir.join("run"), SLEEPER);
        keeper.harm(&[&format!("openat:error=ENFILE:when={which}")]);
        let is_replaced = hup(&keeper, &dir);
        let said = || fs::read_to_string(scratch.join("web.messages")).unwrap_or_default();
        until(10, || said().contains("system cannot open more files"));
        let at_folder = said().contains("unable to acquire web/supervise/lock: system cannot");
        assert_eq!(at_folder, which.starts_with('7'), "{}", said());
        keeper.signal(SIGHUP);
        kill9(service);
        if which.ends_with('+') {
            until(10, || testkit::scratch::is_zombie(service) || !is_alive(service));
            assert!(is_supervised(&dir) && !is_replaced(&dir));
            keeper.heal();
        }
        until(10, || record(&dir).is_some_and(|r| r.restarts == 1));
        assert_eq!(record(&dir).unwrap().last_exit, ondisk::record::Exit::Signal(9), "{which}");
        assert!(is_replaced(&dir));
        send(&dir, b"d");
        testkit::keeper::until_down(&dir);
    }
}
