//! All of it stopped for a while and continued, as by a debugger, a freezer or a suspended machine.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::{self, numbers as n};
use std::path::Path;
use std::time::Duration;
use testkit::crash::{CRASHER, assert_spaced, start_times};
use testkit::keeper::state;
use testkit::scratch::pid_in_status;
use testkit::svscan::{
    COUNTED, Svscan, TALKER, add_logger, is_alive, kill9, lines, nothing_is_lost, starts, svc,
};
use testkit::wait::holds_within;
use testkit::{Scratch, until};

fn has_stopped(pid: i32) -> bool {
    state(pid).is_none_or(|state| matches!(state, 'T' | 'Z'))
}

fn send(pids: &[i32], number: i32) {
    for pid in pids {
        // It may be gone by now.
        let _ = signal::kill(*pid, number);
    }
}

/// Stops svscan, each supervise, service and logger.
#[track_caller]
fn stop_all(scratch: &Scratch) {
    // Who is met before its parent may have been started again by it, or have a child more.
    until(30, || {
        let all = scratch.processes();
        let running: Vec<_> = all.into_iter().filter(|pid| !has_stopped(*pid)).collect();
        send(&running, n::SIGSTOP);
        running.is_empty()
    });
}

fn pid(dir: &Path) -> i32 {
    pid_in_status(dir).unwrap_or(0)
}

/// S10: what happened meanwhile is acted upon afterwards, once; the rest does not notice.
#[test]
fn all_stopped_and_continued_loses_nothing_and_starts_nothing_twice() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let scratch = Scratch::new();
    let names = ["talking", "steady", "killed", "ended"];
    let [talking, steady, killed, ended] = names.map(|name| {
        let run = if name == "talking" { TALKER } else { COUNTED };
        scratch.service(&format!("service/{name}"), run)
    });
    add_logger(&talking);
    let logger = talking.join("log");
    let crashing = scratch.service("service/crashing", CRASHER);
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| [&steady, &killed, &ended].iter().all(|dir| starts(dir) == 1));
    scan.until(|| lines(&logger.join("lines")) > 3 && start_times(&crashing).len() > 2);
    scan.until(|| [&steady, &killed, &ended, &talking, &logger].iter().all(|d| is_alive(pid(d))));
    let before = [&steady, &talking, &logger].map(|dir| pid(dir));

    stop_all(&scratch);
    let (said, crashed) = (lines(&talking.join("said")), start_times(&crashing).len());
    kill9(pid(&killed));
    svc(scan.folder(), &["-d", "ended"]);
    let late = scratch.service("service/late", COUNTED);
    let moved = holds_within(Duration::from_secs(if long { 60 } else { 3 }), || {
        lines(&talking.join("said")) != said
            || start_times(&crashing).len() != crashed
            || starts(&killed) != 1
            || starts(&late) != 0
            || !is_alive(pid(&ended))
    });
    assert!(!moved, "somebody was not stopped");

    send(&scratch.processes(), n::SIGCONT);
    scan.until(|| starts(&killed) == 2 && is_alive(pid(&killed)));
    scan.until(|| starts(&late) == 1 && pid_in_status(&ended).is_none());
    scan.until(|| lines(&logger.join("lines")) > said + 3);
    scan.until(|| start_times(&crashing).len() > crashed + 3);
    assert_spaced(&crashing);
    assert_eq!([&steady, &talking, &logger].map(|dir| pid(dir)), before);
    for (dir, count) in [(&steady, 1), (&talking, 1), (&logger, 1), (&killed, 2), (&ended, 1)] {
        assert_eq!(starts(dir), count, "{}", dir.display());
    }
    svc(&talking, &["-d", "."]);
    scan.until(|| pid_in_status(&talking).is_none());
    nothing_is_lost(&talking);
    assert_eq!((scan.messages().as_str(), scan.end().code()), ("", Some(0)));
}
