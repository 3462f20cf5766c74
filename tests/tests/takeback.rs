//! A lost supervise: the next one takes the service and its logger back.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use ondisk::record::Exit;
use std::fs;
use std::path::{Path, PathBuf};
use testkit::keeper::{
    is_alive, kill9, record, running, send, status, supervise, svstat, until_down,
};
use testkit::scratch::{SLEEPER, script};
use testkit::{Keeper, Scratch, Suite, run, until};

const SIGHUP: i32 = 1;

/// Keeps a line for each start in `starts`, and says so in `twice` where another copy runs.
fn counted(scratch: &Scratch, name: &str) -> PathBuf {
    let here = scratch.join(name);
    let here = here.display();
    scratch.service(
        name,
        &format!(
            "#!/bin/sh\nexec 9>>{here}/copy\nflock -n 9 || echo $$ >>{here}/twice\n\
             echo $$ >>{here}/starts\nexec sleep 1000000\n"
        ),
    )
}

fn starts(dir: &Path) -> usize {
    fs::read_to_string(dir.join("starts")).map_or(0, |s| s.lines().count())
}

fn add_logger(scratch: &Scratch, name: &str) -> PathBuf {
    let log = counted(scratch, &format!("{name}/log"));
    let text = fs::read_to_string(log.join("run")).unwrap();
    let lines = scratch.join("lines");
    script(&log.join("run"), &text.replace("sleep 1000000", &format!("cat >>{}", lines.display())));
    log
}

/// `supervise_kill9_one_copy`, `supervise_term_one_copy` (ours ends its service on TERM).
#[test]
fn a_killed_supervise_s_service_keeps_its_pid_and_obeys_the_next() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    let mut keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    until(10, || starts(&dir) == 1);
    let since = status(&dir).unwrap().since;
    for _ in 0..5 {
        keeper.kill9();
        assert_eq!(svstat(&dir), "supervise not running");
        keeper = Keeper::plain(&scratch, "web");
        assert_eq!(status(&dir).unwrap().pid.cast_signed(), pid);
        assert_eq!(status(&dir).unwrap().since, since, "the service did not change");
        assert!(svstat(&dir).starts_with(&format!("up (pid {pid}) ")), "{}", svstat(&dir));
        let record = record(&dir).unwrap();
        assert!(record.adopted);
        assert_eq!(record.supervisor.pid.cast_signed(), keeper.pid());
    }
    send(&dir, b"p");
    until(10, || testkit::keeper::state(pid) == Some('T'));
    keeper.kill9();
    keeper = Keeper::plain(&scratch, "web");
    assert!(status(&dir).unwrap().paused, "a pause outlives supervise");
    send(&dir, b"c");
    until(10, || testkit::keeper::state(pid) == Some('S'));
    assert_eq!((starts(&dir), is_alive(pid)), (1, true));
    keeper.signal(15);
    assert_eq!(keeper.end_within(10).code(), Some(0));
    assert!(!is_alive(pid));
    assert!(!dir.join("twice").exists());
}

#[test]
fn a_killed_pair_keeps_service_and_logger_and_no_line_is_lost_or_doubled() {
    let scratch = Scratch::new();
    let dir = scratch.service(
        "web",
        "#!/bin/sh\necho $$ >>starts\ni=0\nwhile [ ! -e halt ]; do i=$((i+1)); echo $i; done\n\
         echo $i >printed.new; mv printed.new printed\nexec sleep 1000000\n",
    );
    let log = add_logger(&scratch, "web");
    let mut keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    let lines = scratch.join("lines");
    let size = || fs::metadata(&lines).map_or(0, |m| m.len());
    for _ in 0..20 {
        keeper.kill9();
        keeper = Keeper::pair(&scratch, "web");
        until(10, || record(&log).is_some_and(|r| r.supervisor.pid.cast_signed() == keeper.pid()));
        let before = size();
        until(10, || size() > before);
    }
    assert_eq!((running(&dir), running(&log)), (service, logger));
    assert!(record(&log).unwrap().adopted);
    fs::write(dir.join("halt"), "").unwrap();
    until(20, || dir.join("printed").exists());
    let printed: u64 = fs::read_to_string(dir.join("printed")).unwrap().trim().parse().unwrap();
    let last = format!("{printed}\n");
    until(20, || fs::read(&lines).unwrap().ends_with(last.as_bytes()));
    let mut expected = 0;
    for line in fs::read_to_string(&lines).unwrap().lines() {
        expected += 1;
        assert_eq!(line.parse(), Ok(expected));
    }
    assert_eq!(expected, printed);
    assert_eq!((starts(&dir), starts(&log)), (1, 1));
}

/// `service_and_log_die_together`, while nobody keeps them, and after that while adopted.
#[test]
fn service_and_logger_that_die_unkept_or_adopted_are_started_again() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    let log = add_logger(&scratch, "web");
    let keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    keeper.kill9();
    kill9(service);
    kill9(logger);
    until(10, || !is_alive(service) && !is_alive(logger));
    let keeper = Keeper::pair(&scratch, "web");
    until(10, || running(&dir) != service && running(&log) != logger);
    let (service, logger) = (running(&dir), running(&log));
    keeper.kill9();
    let keeper = Keeper::pair(&scratch, "web");
    until(10, || record(&log).is_some_and(|r| r.adopted));
    assert_eq!((running(&dir), running(&log)), (service, logger));
    kill9(service);
    kill9(logger);
    until(10, || running(&dir) != service && running(&log) != logger);
    assert!(!record(&dir).unwrap().adopted, "its own child by now");
    assert!(!dir.join("twice").exists() && !log.join("twice").exists());
    drop(keeper);
}

#[test]
fn an_adopted_service_told_down_stays_down_also_for_later_supervises() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    let keeper = Keeper::plain(&scratch, "web");
    until(10, || starts(&dir) == 1);
    keeper.kill9();
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    send(&dir, b"d");
    until_down(&dir);
    assert!(!is_alive(pid));
    keeper.kill9();
    let keeper = Keeper::plain(&scratch, "web");
    assert_eq!(status(&dir).unwrap().pid, 0, "what was wanted outlives supervise");
    send(&dir, b"u");
    assert_ne!(keeper.service(), pid);
    until(10, || starts(&dir) == 2);
}

/// `stale_status_pid_reuse`
#[test]
fn a_stranger_with_the_recorded_pid_is_never_signalled() {
    let scratch = Scratch::new();
    let stranger = scratch.service("stranger", SLEEPER);
    let foreign = Keeper::plain(&scratch, "stranger");
    let other = foreign.service();
    let truth = record(&stranger).unwrap();
    let forged = |change: &dyn Fn(&mut ondisk::record::Record)| {
        let mut record = truth;
        change(&mut record);
        record
    };
    let lies = [
        // Another boot, or the pid namespace of another container.
        forged(&|r| r.boot[0] ^= 1),
        forged(&|r| r.boot = [0; 16]),
        // Seen alive before the stranger was started.
        forged(&|r| r.process.alive_at = 1),
    ];
    for (i, lie) in lies.iter().enumerate() {
        let name = format!("web{i}");
        let dir = scratch.service(&name, SLEEPER);
        fs::create_dir(dir.join("supervise")).unwrap();
        fs::write(dir.join("supervise/record"), lie.to_bytes()).unwrap();
        // A status of ours or of the original, with a stamp as old as the stranger.
        fs::copy(stranger.join("supervise/status"), dir.join("supervise/status")).unwrap();
        let keeper = Keeper::plain(&scratch, &name);
        until(10, || status(&dir).is_some_and(|s| s.pid != 0 && s.pid.cast_signed() != other));
        send(&dir, b"pctd");
        until_down(&dir);
        keeper.kill9();
        assert_eq!(running(&stranger), other);
        assert_eq!(record(&stranger).unwrap(), truth, "the stranger was left alone");
    }
}

/// The record's pid is this very test's: it would not survive a mistake.
/// Leaves its directory at once, so that only its record tells of it.
const GONE: &str = "#!/bin/sh\necho $$ >>starts\ncd ..\nexec sleep 1000000\n";

#[test]
fn a_service_whose_directory_was_renamed_is_taken_back_by_its_new_name_and_no_other() {
    let scratch = Scratch::new();
    let (old, new) = (scratch.service("old", GONE), scratch.join("new"));
    let keeper = Keeper::plain(&scratch, "old");
    until(10, || starts(&old) == 1);
    let pid = keeper.service();
    fs::rename(&old, &new).unwrap();
    assert!(svstat(&new).starts_with(&format!("up (pid {pid}) ")), "{}", svstat(&new));
    assert_eq!(run(&mut supervise(&scratch, "new", false)).code, Some(111));
    // Another service gets the name, with a record of its own.
    let old = scratch.service("old", GONE);
    let other = Keeper::plain(&scratch, "old");
    until(10, || starts(&old) == 1);
    let other_pid = other.service();
    assert_ne!(other_pid, pid);
    other.kill9();
    keeper.kill9();
    for (name, pid) in [("new", pid), ("old", other_pid)] {
        let keeper = Keeper::plain(&scratch, name);
        assert_eq!((keeper.service(), starts(keeper.dir())), (pid, 1), "{name}");
        send(keeper.dir(), b"d");
        until_down(keeper.dir());
        assert!(!is_alive(pid), "{name}");
    }
}

#[test]
fn a_deleted_directory_s_supervise_and_one_of_a_new_directory_of_its_name_leave_each_other_alone() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    let mut first = Keeper::pair(&scratch, "web");
    let pid = first.service();
    // It writes into its directory when it starts, which must not be while that is removed.
    until(10, || starts(&dir) == 1);
    fs::remove_dir_all(&dir).unwrap();
    let dir = counted(&scratch, "web");
    let second = Keeper::pair(&scratch, "web");
    until(10, || starts(&dir) == 1);
    let other = second.service();
    assert!(other != pid && is_alive(pid));
    // Asked to end, the first ends its own.
    first.signal(15);
    assert_eq!(first.end_within(10).code(), Some(0));
    assert!(!is_alive(pid));
    second.kill9();
    let third = Keeper::pair(&scratch, "web");
    assert_eq!((third.service(), starts(&dir)), (other, 1));
    assert!(!dir.join("twice").exists());
}

#[test]
fn a_record_without_checksum_or_of_another_version_is_not_believed() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    let mut bytes = record(&dir).unwrap().to_bytes();
    keeper.kill9();
    kill9(pid);
    bytes[52..56].copy_from_slice(&std::process::id().to_le_bytes());
    for garbled in [&bytes[..], &bytes[..100], &[0xff; 176], b""] {
        fs::write(dir.join("supervise/record"), garbled).unwrap();
        fs::remove_file(dir.join("supervise/status")).unwrap();
        let keeper = Keeper::plain(&scratch, "web");
        let pid = keeper.service();
        assert_ne!(pid.cast_unsigned(), std::process::id());
        send(&dir, b"dx");
        until(10, || !is_alive(pid));
    }
}

#[test]
fn hup_replaces_supervise_in_place_and_touches_no_service() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    let log = add_logger(&scratch, "web");
    let keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    let before = record(&dir).unwrap();
    for _ in 0..3 {
        let written = record(&dir).unwrap().supervisor.alive_at;
        keeper.signal(SIGHUP);
        until(10, || record(&dir).is_some_and(|r| r.supervisor.alive_at > written));
        assert!(testkit::scratch::is_supervised(&dir), "ok never closes");
    }
    let after = record(&dir).unwrap();
    assert_eq!(after.supervisor.pid.cast_signed(), keeper.pid());
    assert_eq!((after.process, after.since, after.adopted), (before.process, before.since, false));
    assert_eq!((running(&dir), running(&log)), (service, logger));
    kill9(service);
    until(10, || running(&dir) != service);
    assert_eq!(record(&dir).unwrap().last_exit, Exit::Signal(9), "its own child all along");
    send(&log, b"dx");
    send(&dir, b"dx");
    until(10, || !is_alive(logger));
}

#[test]
fn no_command_is_lost_under_fifty_rapid_hups() {
    let scratch = Scratch::new();
    let dir = scratch.service(
        "web",
        "#!/bin/sh\ntrap 'echo >>got; : >done1' USR1\n: >ready\n\
         while :; do sleep 1000000 & wait $!; kill $!; done\n",
    );
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    until(10, || dir.join("ready").exists());
    let got = || fs::read(dir.join("got")).map_or(0, |b| b.len());
    for n in 1..=50 {
        keeper.signal(SIGHUP);
        send(&dir, b"1");
        keeper.signal(SIGHUP);
        until(10, || got() == n);
    }
    assert_eq!(running(&dir), pid);
    for _ in 0..50 {
        keeper.signal(SIGHUP);
    }
    send(&dir, b"d");
    keeper.signal(SIGHUP);
    until_down(&dir);
    send(&dir, b"u");
    keeper.signal(SIGHUP);
    assert_ne!(running(&dir), pid);
}

#[test]
fn hup_during_an_asked_for_end_does_not_bring_the_service_back() {
    let scratch = Scratch::new();
    let dir = scratch
        .service("web", "#!/bin/sh\ntrap '' TERM\necho >>starts\nwhile :; do sleep 1; done\n");
    let log = add_logger(&scratch, "web");
    let mut keeper = Keeper::pair(&scratch, "web");
    let pid = running(&dir);
    running(&log);
    until(10, || starts(&dir) == 1);
    keeper.signal(15);
    keeper.signal(SIGHUP);
    until(10, || record(&dir).is_some_and(|r| r.exit_asked));
    keeper.signal(SIGHUP);
    kill9(pid);
    assert_eq!(keeper.end_within(15).code(), Some(0), "service, then logger, then supervise");
    assert_eq!(starts(&dir), 1);
}

#[test]
fn the_original_s_service_is_taken_over() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    let mut original = scratch.supervise(Suite::Original, "web");
    let pid = running(&dir);
    until(10, || starts(&dir) == 1);
    let since = status(&dir).unwrap().since;
    original.kill().unwrap();
    original.wait().unwrap();
    let keeper = Keeper::plain(&scratch, "web");
    let now = status(&dir).unwrap();
    assert_eq!((now.pid.cast_signed(), now.since), (pid, since));
    assert!(record(&dir).unwrap().adopted);
    assert_eq!(starts(&dir), 1);
    send(&dir, b"t");
    until(10, || running(&dir) != pid);
    assert!(!dir.join("twice").exists());
    drop(keeper);
}

/// Ours, then the original, then ours again: the record is older than the status.
#[test]
fn the_original_s_service_is_taken_over_also_where_an_older_record_lies() {
    let scratch = Scratch::new();
    let dir = counted(&scratch, "web");
    for proper_end in [true, false] {
        let mut keeper = Keeper::plain(&scratch, "web");
        let pid = keeper.service();
        if proper_end {
            send(&dir, b"dx");
            keeper.end_within(10);
        } else {
            keeper.kill9();
            kill9(pid);
        }
        until(10, || !is_alive(pid));
        let mut original = scratch.supervise(Suite::Original, "web");
        until(10, || running(&dir) != pid);
        let pid = running(&dir);
        original.kill().unwrap();
        original.wait().unwrap();
        let mut keeper = Keeper::plain(&scratch, "web");
        assert_eq!(status(&dir).unwrap().pid.cast_signed(), pid);
        assert!(!dir.join("twice").exists(), "a proper end: {proper_end}");
        send(&dir, b"dx");
        keeper.end_within(10);
    }
}

#[test]
fn a_status_of_the_original_is_not_believed_where_folder_or_stamp_do_not_agree() {
    let scratch = Scratch::new();
    let stranger = scratch.service("stranger", SLEEPER);
    let foreign = Keeper::plain(&scratch, "stranger");
    let other = foreign.service();
    let truth = status(&stranger).unwrap();
    for elsewhere in [true, false] {
        let name = format!("web{elsewhere}");
        let dir = scratch.service(&name, SLEEPER);
        fs::create_dir(dir.join("supervise")).unwrap();
        let mut lie = truth;
        if elsewhere {
            fs::write(dir.join("supervise/status"), lie.to_bytes()).unwrap();
            let keeper = Keeper::plain(&scratch, &name);
            until(10, || keeper.service() != other);
            send(&dir, b"kd");
            until_down(&dir);
            assert!(is_alive(other));
        } else {
            // The right folder: a process that somebody left there, of another age.
            let mut left = std::process::Command::new("sleep")
                .arg("1000000")
                .current_dir(&dir)
                .spawn()
                .unwrap();
            lie.pid = left.id();
            lie.since.seconds -= 100;
            fs::write(dir.join("supervise/status"), lie.to_bytes()).unwrap();
            let keeper = Keeper::plain(&scratch, &name);
            until(10, || keeper.service().cast_unsigned() != lie.pid);
            send(&dir, b"kd");
            until_down(&dir);
            assert!(left.try_wait().unwrap().is_none(), "not ours, not touched");
            left.kill().unwrap();
            left.wait().unwrap();
        }
    }
}
