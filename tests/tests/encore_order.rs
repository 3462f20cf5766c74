//! What comes first where daemontools-encore's scripts, letters and signals meet.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::numbers as n;
use ondisk::status::Want;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::Duration;
use testkit::keeper::{Keeper, kill9, running, send, state, status, supervise, until_down};
use testkit::scratch::{SLEEPER, is_supervised, script};
use testkit::wait::holds_within;
use testkit::{Scratch, until};

/// Longer than anything waits that was asked for: a start that is due comes within a second.
const LONG_ENOUGH: Duration = Duration::from_millis(1500);

/// Writes a script that notes that it runs.
fn say(dir: &Path, name: &str, rest: &str) {
    script(&dir.join(name), &format!("#!/bin/sh\necho {name} >>told\n{rest}\n"));
}

fn told(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("told")).unwrap_or_default();
    text.lines().map(str::to_string).collect()
}

fn wants(dir: &Path, want: Want) -> bool {
    status(dir).is_some_and(|status| status.want == want)
}

/// Starts a supervise which job control may stop, where daemontools rules or encore.
fn keep(scratch: &Scratch, name: &str, encore: bool) -> Keeper {
    let mut command = supervise(scratch, name, false);
    command.env("DAEMONTOOLS_COMPAT", if encore { "encore" } else { "0.76" });
    // The kernel discards TSTP where nobody outside the group could continue it.
    command.process_group(0);
    Keeper::start(&scratch.join(name), &mut command)
}

#[test]
fn once_with_a_start_is_start_then_run_once_then_stop() {
    for encore in [false, true] {
        let scratch = Scratch::new();
        let dir = scratch.service("web", SLEEPER);
        fs::write(dir.join("down"), "").unwrap();
        for name in ["start", "run", "stop"] {
            say(&dir, name, "");
        }
        let mut keeper = keep(&scratch, "web", encore);
        send(&dir, b"o");
        until(10, || told(&dir) == ["start", "run", "stop"]);
        until_down(&dir);
        assert!(!holds_within(LONG_ENOUGH, || told(&dir).len() > 3), "{:?}", told(&dir));
        send(&dir, b"x");
        assert_eq!(keeper.end_within(10).code(), Some(0));
        assert_eq!(told(&dir), ["start", "run", "stop"]);
    }
}

#[test]
fn up_and_once_while_stop_runs_wait_for_its_end() {
    for (letter, want) in [(b"u", Want::Up), (b"o", Want::Once)] {
        let scratch = Scratch::new();
        let dir = scratch.service("web", SLEEPER);
        say(&dir, "start", "");
        say(&dir, "run", "exec sleep 1000000");
        say(&dir, "stop", "while [ ! -e go ]; do sleep 0.02; done; echo stopped >>told");
        let _keeper = keep(&scratch, "web", false);
        until(10, || told(&dir) == ["start", "run"]);
        send(&dir, b"d");
        until(10, || told(&dir) == ["start", "run", "stop"]);
        send(&dir, letter);
        until(10, || wants(&dir, want));
        assert!(!holds_within(LONG_ENOUGH, || told(&dir).len() > 3), "{:?}", told(&dir));
        fs::write(dir.join("go"), "").unwrap();
        until(10, || told(&dir) == ["start", "run", "stop", "stopped", "start", "run"]);
    }
}

#[test]
fn down_keeps_a_logger_that_is_a_script_down_too() {
    for encore in [false, true] {
        let scratch = Scratch::new();
        let dir = scratch.service("web", SLEEPER);
        fs::write(dir.join("down"), "").unwrap();
        say(&dir, "run", "echo hello; exec sleep 1000000");
        say(&dir, "log", "exec cat >>lines");
        let _keeper = keep(&scratch, "web", encore);
        until(10, || wants(&dir, Want::Down));
        assert!(!holds_within(LONG_ENOUGH, || !told(&dir).is_empty()), "{:?}", told(&dir));
        // Each is told up for itself; what the service said meanwhile waits in the pipe.
        send(&dir, b"u");
        until(10, || told(&dir) == ["run"]);
        send(&dir, b"Lu");
        until(10, || fs::read_to_string(dir.join("lines")).is_ok_and(|text| text == "hello\n"));
        assert_eq!(told(&dir), ["run", "log"]);
    }
}

/// By default job control stops supervise, as it does daemontools'.
#[test]
fn tstp_stops_supervise_and_cont_lets_it_act_on_what_happened() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = keep(&scratch, "web", false);
    let pid = keeper.service();
    for _ in 0..2 {
        keeper.signal(n::SIGTSTP);
        until(10, || state(keeper.pid()) == Some('T'));
        assert_ne!(state(pid), Some('T'));
        keeper.signal(n::SIGCONT);
        until(10, || state(keeper.pid()) == Some('S'));
    }
    assert!(!status(&dir).unwrap().paused);
    keeper.signal(n::SIGTSTP);
    until(10, || state(keeper.pid()) == Some('T'));
    kill9(pid);
    keeper.signal(n::SIGCONT);
    until(10, || running(&dir) != pid);
}

#[test]
fn under_encore_tstp_pauses_the_service_and_cont_continues_it() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = keep(&scratch, "web", true);
    let pid = keeper.service();
    keeper.signal(n::SIGTSTP);
    until(10, || state(pid) == Some('T') && status(&dir).unwrap().paused);
    assert!(is_supervised(&dir));
    keeper.signal(n::SIGCONT);
    until(10, || state(pid) == Some('S') && !status(&dir).unwrap().paused);
    assert_eq!(running(&dir), pid);
}
