//! Deaths: crash loops, bursts, children that are nobody's, two supervises, while stopped.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::process::Command;
use testkit::crash::{CRASHER, SPACING, assert_spaced, start_times as starts};
use testkit::keeper::{
    self, Keeper, children, is_alive, kill9, processor_ticks, running, send, state, status,
    supervise, under, until_down, written,
};
use testkit::scratch::{SLEEPER, is_supervised};
use testkit::{Scratch, run, until};

fn has_zombies(pid: i32) -> bool {
    children(pid).into_iter().any(testkit::scratch::is_zombie)
}

/// `crash_loop_rate`
#[test]
fn a_crash_loop_starts_once_a_second_and_costs_no_processor_time() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", CRASHER);
    let keeper = Keeper::plain(&scratch, "web");
    until(30, || starts(&dir).len() >= 6);
    let starts = starts(&dir);
    assert_spaced(&dir);
    let age = linux::time::boottime() - starts[0];
    let ticks = processor_ticks(keeper.pid()).unwrap();
    // A tick is a hundredth of a second: one a second is 1 %.
    assert!(ticks <= age / SPACING, "{ticks} ticks in {age} ns");
}

/// `crash_loop_control_latency`
#[test]
fn a_crash_loop_is_stopped_at_once_whatever_is_queued() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", CRASHER);
    let keeper = Keeper::plain(&scratch, "web");
    until(10, || !starts(&dir).is_empty());
    let mut bytes = vec![b'h'; 4000];
    bytes.push(b'd');
    send(&dir, &bytes);
    until(5, || status(&dir).is_some_and(|s| s.pid == 0 && s.want == ondisk::status::Want::Down));
    let stopped = starts(&dir).len();
    send(&dir, b"u");
    until(10, || starts(&dir).len() > stopped);
    drop(keeper);
}

/// `two_supervises`
#[test]
fn a_second_supervise_is_refused_and_changes_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    let before = written(&dir);
    let second = Command::new(testkit::program("supervise").canonicalize().unwrap())
        .arg("web")
        .current_dir(scratch.path())
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(111));
    assert_eq!(
        String::from_utf8_lossy(&second.stderr),
        "supervise: fatal: unable to acquire web/supervise/lock: temporary failure\n"
    );
    assert_eq!(written(&dir), before);
    // svscan's kind ends without a word: svscan starts it again.
    let mut third = Keeper::spawn(&dir, &mut supervise(&scratch, "web", true));
    assert_eq!(third.end_within(10).code(), Some(111));
    assert_eq!(written(&dir), before);
    assert_eq!(running(&dir), pid);
    assert_eq!(fs::read_to_string(scratch.join("web.messages")).unwrap(), "");
}

/// `inherited_children`
#[test]
fn children_of_an_earlier_program_are_reaped() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let shell = "i=0; while [ $i -lt 50 ]; do (exit 0) & i=$((i+1)); done; sleep 1000000 & \
                 echo $! >stray; (read x <web/go; exit 0) & exec \"$@\"";
    assert_eq!(run(Command::new("mkfifo").arg(dir.join("go"))).code, Some(0));
    let mut command = under(&scratch, &["sh", "-c", shell, "sh"], "web", false);
    let keeper = Keeper::start(&dir, &mut command);
    let pid = keeper.service();
    until(10, || !has_zombies(keeper.pid()) && children(keeper.pid()).len() == 3);
    fs::write(dir.join("go"), "\n").unwrap();
    let stray = fs::read_to_string(scratch.join("stray")).unwrap().trim().parse().unwrap();
    kill9(stray);
    until(10, || children(keeper.pid()) == [pid]);
    assert_eq!(running(&dir), pid, "their deaths are not its own");
}

#[test]
fn children_that_died_before_supervise_was_run_are_reaped() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    // Waits for their deaths and leaves them unreaped.
    let python = "import os, sys\n\
        all = [os.fork() or os._exit(0) for _ in range(20)]\n\
        for pid in all: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n\
        os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = under(&scratch, &["python3", "-c", python], "web", false);
    let keeper = Keeper::start(&dir, &mut command);
    let pid = keeper.service();
    until(10, || children(keeper.pid()) == [pid]);
}

/// `sigchld_burst`
#[test]
fn the_service_s_death_is_seen_in_a_burst_of_others_and_under_a_storm_of_signals() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let shell = "i=0; while [ $i -lt 100 ]; do sleep 1000000 & i=$((i+1)); done; exec \"$@\"";
    let mut command = under(&scratch, &["sh", "-c", shell, "sh"], "web", false);
    // encore's way: TSTP and CONT are signals of supervise's own.
    let keeper = Keeper::start(&dir, command.env("DAEMONTOOLS_COMPAT", "encore"));
    let pid = keeper.service();
    for child in children(keeper.pid()) {
        kill9(child);
    }
    until(10, || running(&dir) != pid && !has_zombies(keeper.pid()));
    let pid = running(&dir);
    for n in 0..20_000 {
        keeper.signal(linux::signal::numbers::SIGCONT);
        keeper.signal(linux::signal::numbers::SIGCHLD);
        if n == 10_000 {
            kill9(pid);
        }
    }
    until(10, || running(&dir) != pid);
    send(&dir, b"d");
    until_down(&dir);
}

/// `supervise_stopped_and_continued`, `service_and_log_die_together`, `clock_back_supervise` in part
#[test]
fn deaths_while_supervise_is_stopped_are_acted_on_when_it_goes_on() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat\n");
    let keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    keeper.signal(linux::signal::numbers::SIGSTOP);
    until(10, || state(keeper.pid()) == Some('T'));
    kill9(service);
    kill9(logger);
    until(10, || !is_alive(service) && !is_alive(logger));
    // Long past the deadline of the next start.
    let stopped = linux::time::monotonic();
    until(10, || linux::time::monotonic() > stopped + 3 * SPACING);
    keeper.signal(linux::signal::numbers::SIGCONT);
    until(10, || running(&dir) != service && running(&log) != logger);
    until(3, || !has_zombies(keeper.pid()));
    let (service, logger) = (running(&dir), running(&log));
    kill9(service);
    kill9(logger);
    until(10, || running(&dir) != service && running(&log) != logger);
}

/// `ignores_term`, `paused_then_down`
#[test]
fn a_service_that_ignores_term_or_is_paused_can_be_ended_and_stays_down() {
    let scratch = Scratch::new();
    let dir =
        scratch.service("web", "#!/bin/sh\ntrap '' TERM\n: >ready\nwhile :; do sleep 1; done\n");
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    until(10, || dir.join("ready").exists());
    send(&dir, b"d");
    until(10, || status(&dir).unwrap().want == ondisk::status::Want::Down);
    assert!(is_alive(pid));
    send(&dir, b"k");
    until_down(&dir);
    testkit::scratch::script(&dir.join("run"), SLEEPER);
    send(&dir, b"u");
    let pid = keeper.service();
    send(&dir, b"p");
    until(10, || state(pid) == Some('T') && status(&dir).unwrap().paused);
    send(&dir, b"d");
    until_down(&dir);
    assert!(!is_alive(pid), "continued, so that TERM could reach it");
    let down = linux::time::monotonic();
    until(10, || {
        assert!(status(&dir).unwrap().pid == 0, "nothing comes back after -d");
        linux::time::monotonic() > down + 2 * SPACING
    });
    assert!(is_supervised(&dir));
    assert_eq!(keeper::svstat(&dir).split(' ').next(), Some("down"));
}
