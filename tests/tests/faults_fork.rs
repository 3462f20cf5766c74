//! No failure of fork, memory or descriptors loses a service or makes supervise deaf.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::calls::{self, Call, each_at_once};
use testkit::keeper::{
    self, Keeper, injected, is_alive, kill9, record, running, send, status, supervise, until_down,
};
use testkit::scratch::{SLEEPER, is_supervised};
use testkit::wait::holds_within;
use testkit::{Scratch, run, until};

fn said(scratch: &Scratch, name: &str) -> String {
    fs::read_to_string(scratch.join(&format!("{name}.messages"))).unwrap_or_default()
}

fn pid(dir: &Path) -> i32 {
    status(dir).map_or(0, |s| s.pid.cast_signed())
}

/// Lets supervise have so many descriptors. It holds more than 8: then not one more can be had.
fn limit(keeper: &Keeper, descriptors: u32) {
    let of = keeper.pid().to_string();
    let most = format!("--nofile={descriptors}:4096");
    let set = run(Command::new("prlimit").args(["--pid", &of, &most]));
    assert_eq!(set.code, Some(0), "{set:?}");
}

/// `fork_eagain_never_lost`; the same with ENOMEM.
#[test]
fn a_failed_fork_costs_a_second_and_never_the_service() {
    for (name, rule) in [
        ("first", "clone:error=EAGAIN:when=1..2"),
        ("later", "clone:error=EAGAIN:when=2..4"),
        ("memory", "clone:error=ENOMEM:when=2..3"),
    ] {
        let scratch = Scratch::new();
        let dir = scratch.service(name, SLEEPER);
        let keeper = Keeper::start(&dir, &mut injected(&scratch, &[rule], false, name, false));
        let first = running(&dir);
        kill9(first);
        until(20, || pid(&dir) != first && is_alive(pid(&dir)));
        let text =
            format!("supervise: warning: unable to fork for {name}, trying again in 1 second: ");
        assert!(said(&scratch, name).contains(&text), "{}", said(&scratch, name));
        drop(keeper);
    }
}

/// `fork_eagain_prompt`
#[test]
fn commands_are_obeyed_while_every_fork_fails() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let rules = ["clone:error=EAGAIN:when=2+"];
    let keeper = Keeper::start(&dir, &mut injected(&scratch, &rules, false, "web", false));
    kill9(running(&dir));
    until_down(&dir);
    for (byte, want) in [(b"d", b'd'), (b"o", 0), (b"d", b'd'), (b"u", b'u')] {
        send(&dir, byte);
        until(5, || status(&dir).unwrap().want.to_byte() == want);
        assert_eq!(pid(&dir), 0);
    }
    keeper.heal();
    running(&dir);
}

/// `emfile_status_true`
#[test]
fn without_descriptors_commands_are_obeyed_and_afterwards_all_is_true() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat\n");
    let keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    limit(&keeper, 8);
    kill9(service);
    kill9(logger);
    until(10, || record(&dir).is_some_and(|r| r.process.pid == 0));
    until(10, || record(&log).is_some_and(|r| r.process.pid == 0));
    send(&log, b"d");
    until(5, || record(&log).unwrap().want == ondisk::status::Want::Down);
    send(&log, b"u");
    limit(&keeper, 1024);
    until(10, || is_alive(pid(&dir)) && is_alive(pid(&log)));
    assert!(pid(&dir) != service && pid(&log) != logger);
    assert_eq!(record(&dir).unwrap().process.pid.cast_signed(), pid(&dir));
}

#[test]
fn a_plain_service_is_restarted_at_once_without_a_single_descriptor() {
    let scratch = Scratch::new();
    // The limit is the service's, too, and dash reads a script by descriptor 10 or a later one.
    let dir = scratch.service("web", "#!/bin/bash\nexec sleep 1000000\n");
    let keeper = Keeper::plain(&scratch, "web");
    let service = running(&dir);
    limit(&keeper, 8);
    kill9(service);
    let mut again = 0;
    until(10, || {
        again = record(&dir).unwrap().process.pid.cast_signed();
        again != service && is_alive(again)
    });
    assert_eq!(pid(&dir), service, "it had a descriptor for the status");
    limit(&keeper, 1024);
    until(10, || pid(&dir) == again);
    assert!(is_alive(again), "{}", said(&scratch, "web"));
    assert_eq!(record(&dir).unwrap().restarts, 1);
}

/// `run_missing_then_appears`, `run_not_executable_then_fixed`, `run_bad_interpreter`
#[test]
fn a_run_that_cannot_be_run_is_tried_again_until_it_can() {
    type Mend = fn(&Path);
    let cases: [(&str, Mend, &str, Mend); 3] = [
        (
            "missing",
            |dir| fs::rename(dir.join("run"), dir.join("aside")).unwrap(),
            "file does not exist",
            |dir| fs::rename(dir.join("aside"), dir.join("run")).unwrap(),
        ),
        (
            "mode",
            |dir| chmod(&dir.join("run"), "644"),
            "access denied",
            |dir| chmod(&dir.join("run"), "755"),
        ),
        (
            "interpreter",
            |dir| testkit::scratch::script(&dir.join("run"), "#!/nonexistent\n"),
            "file does not exist",
            |dir| testkit::scratch::script(&dir.join("run"), SLEEPER),
        ),
    ];
    for (name, harm, text, mend) in cases {
        let scratch = Scratch::new();
        let dir = scratch.service(name, SLEEPER);
        harm(&dir);
        let keeper = Keeper::plain(&scratch, name);
        let line = format!("supervise: fatal: unable to start {name}/run: {text}\n");
        until(10, || said(&scratch, name).matches(&line).count() >= 3);
        assert_eq!(pid(&dir), 0, "{name}");
        assert_eq!(record(&dir).unwrap().ready, None, "what did not run is not ready");
        mend(&dir);
        running(&dir);
        drop(keeper);
    }
}

fn chmod(path: &Path, mode: &str) {
    assert_eq!(run(Command::new("chmod").arg(mode).arg(path)).code, Some(0));
}

fn calls(trace: &Path) -> Vec<Call> {
    calls::of(&fs::read_to_string(trace).unwrap()).into_iter().filter(calls::may_fail).collect()
}

fn traced(scratch: &Scratch, paired: bool) -> Command {
    let trace = scratch.join("trace");
    keeper::under(scratch, &["strace", "-D", "-q", "-o", trace.to_str().unwrap()], "web", paired)
}

fn service_with_logger(scratch: &Scratch, name: &str) {
    let _ = scratch.service(name, SLEEPER);
    let _ = scratch.service(&format!("{name}/log"), "#!/bin/sh\nexec cat\n");
}

/// `svscan_emfile`, `fork_eagain_never_lost` and their like, for every call there is.
#[test]
fn no_single_failing_call_at_a_take_back_leads_to_a_second_copy() {
    let scratch = Scratch::new();
    service_with_logger(&scratch, "web");
    let dir = scratch.join("web");
    Keeper::pair(&scratch, "web").kill9();
    let keeper = Keeper::start(&dir, &mut traced(&scratch, true));
    until(10, || record(&dir.join("log")).is_some_and(|r| r.adopted));
    keeper.kill9();
    let calls = calls(&scratch.join("trace"));
    assert!(calls.len() > 40, "{calls:?}");
    each_at_once(&calls, |(name, k)| {
        for error in ["EIO", "EMFILE"] {
            let scratch = Scratch::new();
            service_with_logger(&scratch, "web");
            let (dir, log) = (scratch.join("web"), scratch.join("web/log"));
            let keeper = Keeper::pair(&scratch, "web");
            let (service, logger) = (running(&dir), running(&log));
            keeper.kill9();
            let rule = format!("{name}:error={error}:when={k}");
            let mut command = injected(&scratch, &[&rule], false, "web", true);
            let mut keeper = Keeper::spawn(&dir, &mut command);
            let back = || {
                if keeper.ended().is_some() {
                    keeper = Keeper::spawn(&dir, &mut supervise(&scratch, "web", true));
                }
                let own = keeper.pid();
                let kept = |dir: &Path| {
                    is_supervised(dir)
                        && record(dir).is_some_and(|r| r.supervisor.pid.cast_signed() == own)
                };
                kept(&dir) && kept(&log)
            };
            assert!(
                holds_within(Duration::from_secs(20), back),
                "{rule}: {}",
                said(&scratch, "web")
            );
            assert_eq!((pid(&dir), pid(&log)), (service, logger), "{rule}");
        }
    });
}

#[test]
fn no_single_failing_call_in_its_life_loses_a_service_or_a_command() {
    let live = |keeper: &Keeper, what: &str| {
        let (dir, log) = (keeper.dir().to_path_buf(), keeper.dir().join("log"));
        let step = |name: &str, condition: &mut dyn FnMut() -> bool| {
            let told = || (record(&dir), status(&dir));
            assert!(
                holds_within(Duration::from_secs(20), condition),
                "{what}: {name} {:?}",
                told()
            );
        };
        step("start", &mut || is_alive(pid(&dir)) && is_alive(pid(&log)) && is_supervised(&log));
        let (service, logger) = (pid(&dir), pid(&log));
        kill9(service);
        kill9(logger);
        step("service", &mut || pid(&dir) != service && is_alive(pid(&dir)));
        step("logger", &mut || pid(&log) != logger && is_alive(pid(&log)));
        send(&dir, b"d");
        step("d", &mut || {
            pid(&dir) == 0 && status(&dir).unwrap().want == ondisk::status::Want::Down
        });
        send(&dir, b"u");
        step("u", &mut || is_alive(pid(&dir)));
    };
    let scratch = Scratch::new();
    service_with_logger(&scratch, "web");
    let dir = scratch.join("web");
    let keeper = Keeper::start(&dir, &mut traced(&scratch, true));
    live(&keeper, "no fault");
    let start = calls(&scratch.join("trace"));
    assert!(start.len() > 80, "{start:?}");
    let mut every = start;
    if std::env::var_os("SKYNET_LONG").is_none() {
        // A spread; the start is another test's.
        every = every.into_iter().skip(30).step_by(3).collect();
    }
    each_at_once(&every, |(name, k)| {
        let scratch = Scratch::new();
        service_with_logger(&scratch, "web");
        let dir = scratch.join("web");
        let rule = format!("{name}:error=EIO:when={k}");
        let mut keeper = Keeper::spawn(&dir, &mut injected(&scratch, &[&rule], false, "web", true));
        until(20, || {
            if keeper.ended().is_some() {
                keeper = Keeper::spawn(&dir, &mut supervise(&scratch, "web", true));
            }
            is_supervised(&dir) && is_supervised(&dir.join("log"))
        });
        live(&keeper, &rule);
    });
}
