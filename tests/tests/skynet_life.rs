//! The verbs that change how services stand, on a user's instance and on the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use site::{Kind, Person, Place, SOON, Site};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use testkit::scratch::script;
use testkit::{program, run_within};

/// A participant that says that it is at work, and ends when a file `go` is there.
const PATIENT: &str = "#!/bin/sh\necho at work\nwhile ! [ -e go ]; do sleep 0.05; done\n";

/// Holds each line against its words: the figures of a line, which differ, may stand between them.
#[track_caller]
fn says(out: &str, lines: &[&[&str]]) {
    let all: Vec<&str> = out.lines().collect();
    assert_eq!(all.len(), lines.len(), "{out}");
    for words in lines {
        let has_all = |line: &&&str| {
            let mut rest = **line;
            words.iter().all(|word| match rest.find(word) {
                Some(at) => {
                    rest = &rest[at + word.len()..];
                    true
                }
                None => false,
            })
        };
        assert!(all.iter().any(|line| has_all(&line)), "no line with {words:?}:\n{out}");
    }
}

/// Shows how long after the last change of a service's status its verb had ended.
fn show_delay(site: &Site, verb: &str, name: &str) {
    let status = site.at(Place::Run).join("supervise").join(name).join("status");
    let delay = status.metadata().unwrap().modified().unwrap().elapsed().unwrap_or_default();
    println!("{:?}: {verb} had ended {delay:?} after the status of {name} changed", site.kind);
}

/// Shows how long a verb took by its own account: told to people, held against nothing.
fn show(kind: Kind, out: &str) {
    for line in out.lines() {
        println!("{kind:?}: {line}");
    }
}

#[test]
fn start_and_stop_wait_for_the_effect_and_say_so() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["one", "two"] {
            site.sleeper(name);
        }
        let out = site.well(&["enable", "--now", "one", "two"]);
        show(kind, &out);
        says(&out, &[&["one: enabled and up after ", " s, pid "], &["two: enabled and up after "]]);
        let pid = site.pid("one").unwrap();
        says(&site.well(&["start", "one"]), &[&[&format!("one: already up, pid {pid}")]]);

        let out = site.well(&["stop", "t*", "one"]);
        show_delay(&site, "stop", "one");
        show(kind, &out);
        says(&out, &[&["one: down after ", " s"], &["two: down after "]]);
        assert_eq!((site.pid("one"), site.pid("two")), (None, None));
        says(&site.well(&["down", "one"]), &[&["one: already down"]]);

        let out = site.well(&["up", "--all"]);
        show(kind, &out);
        says(&out, &[&["one: up after ", ", pid "], &["two: up after "]]);
        assert!(out.contains(&format!("pid {}", site.pid("one").unwrap())));
    });
}

#[test]
fn a_service_that_does_not_come_up_is_told_with_its_exit_and_its_log() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.service("bad", "#!/bin/sh\necho cannot >&2\nexit 3\n");
        let mended = site.sleeper("mended");
        fs::remove_file(mended.join("run")).unwrap();
        let out = site.ends(1, &["start", "bad", "mended"]);
        let log = site.inside(Place::Logs).join("skynet-log/current");
        let log = format!("; log: {}", log.display());
        says(
            &out,
            &[
                &["bad: FAILED after ", "run ended with exit code 3", &log],
                &["mended: FAILED after ", "unable to run run: file does not exist", &log],
            ],
        );
        assert!(site.own_log().contains("cannot"));
        site.sleeper("mended");
        says(&site.well(&["start", "mended"]), &[&["mended: ", "up", "pid "]]);
        // Its end was asked for between two lives.
        site.well(&["stop", "bad"]);
        site.ends(1, &["restart", "bad"]);
    });
}

#[test]
fn unknown_names_are_said_and_skipped() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("sizer");
        let out = site.ends(4, &["start", "sizer", "sizes", "x*"]);
        says(
            &out,
            &[
                &["sizer: up after "],
                &["skynet: warning: no service sizes; did you mean sizer?"],
                &["skynet: warning: no service matches x*"],
            ],
        );
        assert!(site.pid("sizer").is_some());
        for (args, near) in [
            (
                &["stauts"][..],
                "unrecognized subcommand 'stauts'; did you mean status?; see skynet --help",
            ),
            (
                &["status", "--jsno"],
                "'--jsno' found; did you mean --json?; see skynet status --help",
            ),
            (
                &["wait", "sizer", "--state", "busy"],
                "but one of up, down, ready, idle, finished; see skynet wait --help",
            ),
            (&["job", "show"], "missing: <JOB|WFID>; see skynet job show --help"),
            (&["dead", "show", "x"], "not a number; see skynet dead show --help"),
        ] {
            says(&site.ends(100, args), &[&["skynet: fatal: ", near]]);
        }
        for (args, line) in [(&[][..], "\nLooking:\n"), (&["job"], "\nCommands:\n")] {
            assert!(site.ends(100, args).contains(line), "{args:?}");
        }
        assert_eq!(site.skynet(&["start"]).code, Some(100));
        assert_eq!(site.skynet(&["stop", "sizer", "--timeout", "5"]).code, Some(100));
        site.well(&["stop", "--timeout", "30s", "--all"]);
        // Nothing is left that could be done.
        says(&site.ends(1, &["reload", "sizer"]), &[&["sizer: down, nothing to reload"]]);
    });
}

#[test]
fn help_of_every_verb_fits_eighty_columns() {
    let site = Site::new(Kind::Private);
    let help = site.well(&["--help"]);
    assert_eq!(site.well(&["help"]), help);
    assert_eq!(site.well(&["help", "job", "list"]), site.well(&["job", "list", "--help"]));
    let groups = help.lines().filter(|line| line.ends_with(':')).collect::<Vec<_>>();
    assert_eq!(groups, ["Looking:", "Services:", "Work:", "Setting up:", "Options:"]);
    let named = help.lines().filter_map(|line| line.strip_prefix("  "));
    let named = named.filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let verbs: Vec<&str> = named.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(verbs.contains(&"status") && verbs.contains(&"completion"), "{verbs:?}");
    for verb in [""].into_iter().chain(verbs) {
        let args: Vec<&str> =
            [verb, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let help = site.well(&args);
        let wide = help.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{verb}");
    }
}

#[test]
fn a_service_that_is_slow_to_end_is_waited_for_no_longer_than_asked() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let run = "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n";
        site.service("deaf", run);
        site.well(&["start", "deaf"]);
        let out = site.ends(1, &["stop", "--timeout", "100ms", "deaf"]);
        let dir = site.inside(Place::Participants).join("deaf").display().to_string();
        let by = |svc: &str| format!("; end it by {svc} -k {dir}; log: ");
        says(&out, &[&["deaf: FAILED after ", "not down within 100ms; it runs", &by("svc")]]);
        // The package skynet has svc where no shell looks for it.
        let skynet = program("skynet").display().to_string();
        let words = ["PATH=/nowhere", &skynet, "disable", "--now", "--timeout", "100ms", "deaf"];
        let out = run_within(SOON, &mut site.command("/usr/bin/env", &words));
        let svc = program("svc").canonicalize().unwrap().display().to_string();
        says(&out.out(), &[&["deaf: FAILED after ", " within 100ms; it runs", &by(&svc)]]);
        says(&site.well(&["stop", "--no-wait", "deaf"]), &[&["deaf: told to stop"]]);
        run_within(SOON, &mut site.command(&svc, &["-k", &dir]));
        site.well(&["wait", "--state", "finished", "deaf"]);
    });
}

#[test]
fn what_ends_slowly_is_up_again_whoever_gives_up_waiting_and_whoever_starts_it_meanwhile() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.service(
            "slow",
            "#!/bin/sh\ntrap 'until [ -e go ]; do sleep 0.05; done; exit 0' TERM\n\
             while :; do sleep 0.05; done\n",
        );
        let go = dir.join("go");
        site.well(&["start", "slow"]);
        let stop = ["stop", "--timeout", "100ms", "slow"];
        for again in [
            &["start", "--no-wait", "slow"][..],
            &["enable", "--now", "--no-wait", "slow"],
            &["reload", "--timeout", "100ms", "slow"],
        ] {
            let before = site.pid("slow").unwrap();
            if again[0] == "reload" {
                site.ends(1, again);
            } else {
                site.ends(1, &stop);
                let said = site.well(again);
                assert!(!said.contains("already up"), "{said}");
            }
            assert_eq!(site.pid("slow"), Some(before), "{again:?}");
            fs::write(&go, "").unwrap();
            site.until(|| site.pid("slow").is_some_and(|pid| pid != before));
            fs::remove_file(&go).unwrap();
            let said = site.well(&["start", "slow"]);
            assert!(said.contains("already up"), "{said}");
        }
        site.ends(1, &stop);
        fs::write(&go, "").unwrap();
        site.well(&["start", "slow"]);
    });
}

#[test]
fn restart_makes_another_life_and_reload_takes_up_new_code() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.sleeper("web");
        says(&site.well(&["restart", "web"]), &[&["web: up after "]]);
        let first = site.pid("web").unwrap();
        let out = site.well(&["restart", "web"]);
        show(kind, &out);
        says(&out, &[&["web: restarted after ", ", pid "]]);
        let second = site.pid("web").unwrap();
        assert_ne!(first, second);

        script(&dir.join("run"), "#!/bin/sh\n: >new\nexec sleep 1000000\n");
        site.own_all(&dir);
        let out = site.well(&["reload", "web"]);
        show(kind, &out);
        says(&out, &[&["web: reloaded after "]]);
        assert_ne!(site.pid("web").unwrap(), second);
        assert!(dir.join("new").exists());
    });
}

#[test]
fn behind_a_boot_what_is_enabled_runs_and_what_is_disabled_does_not() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["later", "now", "off", "quiet", "started"] {
            site.sleeper(name);
        }
        says(&site.well(&["enable", "later"]), &[&["later: enabled"]]);
        assert_eq!(site.pid("later"), None, "enabled is not started");
        site.well(&["enable", "--now", "now", "off", "quiet"]);
        says(&site.well(&["start", "started"]), &[&["started: up"]]);
        says(&site.well(&["disable", "--now", "off"]), &[&["off: disabled and down after "]]);
        let out = site.well(&["disable", "quiet"]);
        says(&out, &[&["quiet: disabled, runs on until it is stopped"]]);
        assert!(site.pid("quiet").is_some());
        says(&site.well(&["enable", "now"]), &[&["now: already enabled"]]);
        says(&site.well(&["disable", "off"]), &[&["off: already disabled"]]);

        site.lose_power();
        let out = site.well(&["boot"]);
        show(kind, &out);
        says(&out, &[&["svscan: runs, pid "], &["later: up after "], &["now: up after "]]);
        let up = |name: &str| site.pid(name).is_some();
        let stands = ["later", "now", "off", "quiet", "started"].map(up);
        assert_eq!(stands, [true, true, false, false, false]);
        let enabled = site.well(&["list", "--enabled"]);
        assert_eq!(enabled, "later\nnow\nskynet-log\n");
        // What was started once can be started again, and enabled.
        site.well(&["start", "started", "off"]);
        site.well(&["enable", "started", "quiet"]);
        assert!(up("started") && up("off") && !up("quiet"));
    });
}

#[test]
fn a_killed_svscan_costs_nothing_and_the_next_one_carries_on() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for name in ["a", "b", "c"] {
            site.sleeper(name);
        }
        site.well(&["enable", "--now", "a", "b"]);
        let pid = site.pid("a").unwrap();
        site.kill_svscan();
        // Who has a supervise obeys.
        says(&site.well(&["stop", "b"]), &[&["b: down after "]]);
        says(&site.well(&["start", "b"]), &[&["b: up after "]]);
        says(&site.ends(1, &["start", "c"]), &[&["c: FAILED: no svscan runs; ", "skynet boot"]]);
        let out = site.ends(1, &["enable", "--now", "c"]);
        says(&out, &[&["c: FAILED: enabled, not started: no svscan runs"]]);
        let out = site.well(&["boot"]);
        says(&out, &[&["svscan: runs"], &["a: up"], &["b: up"], &["c: up"]]);
        assert_eq!(site.pid("a"), Some(pid));
        says(&site.well(&["boot"]), &[&["svscan: already runs, pid "]]);
        assert_eq!(site.pids("svscan").len(), 1);

        site.well(&["stop", "b"]);
        for pid in site.pids("svscan").into_iter().chain(site.pids("supervise")) {
            linux::signal::kill(pid, 9).unwrap();
        }
        site.until(|| site.pids("svscan").is_empty() && site.pids("supervise").is_empty());
        let out = site.ends(1, &["stop", "a"]);
        says(&out, &[&["a: FAILED: it runs, pid ", ", and no supervise keeps it; no svscan runs"]]);
        let out = site.well(&["boot"]);
        says(&out, &[&["svscan: runs"], &["a: up"], &["b: down, as it was told"], &["c: up"]]);
        assert_eq!(site.pid("a"), Some(pid));

        site.kill_svscan();
        let out = site.well(&["halt"]);
        says(&out, &[&["a: down"], &["b: down"], &["c: down"], &["skynet-log: down"]]);
        assert_eq!(site.pids(""), [0; 0]);
    });
}

#[test]
fn halt_leaves_nothing_running_and_every_line_logged() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.service(
            "talker",
            "#!/bin/sh\ntrap 'echo last; exit' TERM\necho first\nwhile :; do sleep 0.05; done\n",
        );
        site.logger("talker", "#!/bin/sh\nexec cat >>lines\n");
        site.well(&["enable", "--now", "talker"]);
        let out = site.well(&["halt"]);
        show(kind, &out);
        says(&out, &[&["talker: down after "], &["svscan: down after "]]);
        assert_eq!(site.pids(""), [0; 0]);
        assert_eq!(fs::read_to_string(dir.join("log/lines")).unwrap(), "first\nlast\n");
        says(&site.well(&["halt"]), &[&["svscan: already down"]]);
        fs::remove_dir_all(site.at(Place::Run)).unwrap();
        says(&site.well(&["halt"]), &[&["svscan: already down"]]);

        site.well(&["boot"]);
        site.well(&["disable", "--now", "talker"]);
        let lines = fs::read_to_string(dir.join("log/lines")).unwrap();
        assert_eq!(lines, "first\nlast\nfirst\nlast\n");
        assert_eq!(site.pids("supervise").len(), 1, "svscan's log has the only one");
    });
}

#[test]
fn in_the_foreground_boot_is_svscan() {
    Site::each(|kind| {
        let site = Site::new(kind);
        site.sleeper("web");
        site.well(&["enable", "web"]);
        let mut boot = site.command(program("skynet"), &["boot", "--foreground"]);
        let mut child = boot.spawn().unwrap();
        site.until(|| site.pid("web").is_some());
        assert_eq!(site.ends(1, &["boot", "--foreground"]).lines().count(), 1);
        site.well(&["halt"]);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn where_systemd_runs_it_boots_and_ends_the_system_s_instance_and_is_told_when_that_runs() {
    let site = Site::new(Kind::System);
    site.sleeper("web");
    site.well(&["enable", "web"]);
    fs::create_dir_all(site.at(Place::Run).with_file_name("systemd/system")).unwrap();
    assert!(site.ends(1, &["boot"]).contains("systemctl start skynet"));
    let socket = site.desk().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(Duration::from_secs(SOON))).unwrap();
    let mut boot = site.command(program("skynet"), &["boot", "--foreground"]);
    let mut child = boot.env("NOTIFY_SOCKET", &socket).spawn().unwrap();
    let mut told = [0; 64];
    let len = listener.recv(&mut told).unwrap();
    assert_eq!(&told[..len], b"READY=1\n");
    site.until(|| site.pid("web").is_some());
    let said = site.ends(1, &["halt"]);
    assert!(said.contains("systemctl stop skynet"), "{said}");
    assert!(site.pid("web").is_some());
    // As systemd stops it.
    let svscan = site.pids("svscan")[0];
    linux::signal::kill(svscan, linux::signal::numbers::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(site.well(&["halt"]).lines().count(), 1);
}

#[test]
fn a_participant_drains_and_takes_items_again() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.participant("sizer", "instances: 2\n", PATIENT);
        let out = site.well(&["enable", "--now", "sizer"]);
        show(kind, &out);
        says(&out, &[&["sizer_0: idle"], &["sizer_1: idle"], &["sizer: enabled and up after "]]);
        site.submit("sizer", "first");
        site.until(|| site.own_log().contains("first/1: at work"));
        let out = site.well(&["drain", "sizer"]);
        says(&out, &[&["sizer_", "working on first"], &["sizer_"], &["sizer: draining after "]]);
        site.submit("sizer", "second");
        let out = site.ends(1, &["drain", "--wait", "--timeout", "200ms", "sizer"]);
        says(&out, &[&["sizer: FAILED after ", "not drained within 200ms"]]);
        assert!(!site.own_log().contains("second/1"));

        fs::write(dir.join("go"), "").unwrap();
        let out = site.well(&["drain", "--wait", "sizer"]);
        says(&out, &[&["sizer_0: idle"], &["sizer_1: idle"], &["sizer: drained after "]]);
        fs::remove_file(dir.join("go")).unwrap();
        says(&site.well(&["resume", "sizer"]), &[&["sizer: resumed after "]]);
        site.until(|| site.own_log().contains("second/1: at work"));
        let out = site.ends(1, &["wait", "--state", "idle", "--timeout", "200ms", "sizer"]);
        says(&out, &[&["sizer: FAILED", "not idle within 200ms"]]);
        fs::write(dir.join("go"), "").unwrap();
        site.well(&["wait", "--state", "idle", "sizer"]);

        site.sleeper("plain");
        let out = site.ends(1, &["drain", "plain"]);
        says(&out, &[&["plain: FAILED: no participant, takes no items"]]);
        site.well(&["stop", "sizer"]);
        says(&site.ends(1, &["drain", "sizer"]), &[&["sizer: FAILED: down, takes no items"]]);
    });
}

#[test]
fn reload_of_a_participant_loses_nothing_that_waits() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.participant("sizer", "", "#!/bin/sh\necho old at work\nexit 1\n");
        site.well(&["enable", "--now", "sizer"]);
        site.well(&["drain", "sizer"]);
        site.submit("sizer", "waits");
        script(&dir.join("work"), "#!/bin/sh\necho new at work\n");
        fs::write(dir.join("exo.yaml"), "command: ./work\nfoo: 1\n").unwrap();
        site.own_all(&dir);
        let out = site.ends(1, &["reload", "sizer"]);
        says(&out, &[&["sizer: FAILED: ", "foo: unknown key", "; it runs on as it was"]]);
        fs::write(dir.join("exo.yaml"), "command: ./work\n").unwrap();
        says(&site.well(&["reload", "sizer"]), &[&["sizer: reloaded after "]]);
        site.until(|| site.own_log().contains("waits/1: new at work"));
        assert!(!site.own_log().contains("old at work"));
    });
}

#[test]
fn instances_that_do_not_start_are_told_one_by_one() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let config = "mode: persistent\ninstances: 2\n";
        site.participant("bad", config, "#!/bin/sh\nexit 7\n");
        let out = site.ends(1, &["start", "bad"]);
        says(
            &out,
            &[
                &["bad_0: FAILED: no hello: exit 7"],
                &["bad_1: FAILED: no hello: exit 7"],
                &["bad: FAILED: 2 of 2 instances did not start; log: "],
            ],
        );
        // Between two starts that is its trouble, though its exo is up.
        site.until(|| site.well(&["status"]).contains("bad_0: no hello: exit 7"));
    });
}

#[test]
fn a_participant_whose_code_is_gone_is_told_with_the_file_and_what_runs_is_left_alone() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let dir = site.participant("p", "", "#!/bin/sh\nexit 0\n");
        site.well(&["start", "p"]);
        let pid = site.pid("p");
        fs::remove_file(dir.join("work")).unwrap();
        let its = site.inside(Place::Participants).join("p");
        let why = format!("p: FAILED: there is no program {}/work; put it there, ", its.display());
        says(&site.ends(1, &["reload", "p"]), &[&[&why, "; it runs on as it was"]]);
        assert_eq!(site.pid("p"), pid);
        site.well(&["stop", "p"]);
        says(&site.ends(1, &["start", "p"]), &[&[&why, "or install it again"]]);
        says(&site.ends(1, &["enable", "--now", "p"]), &[&[&why]]);
        assert_eq!((site.pid("p"), site.well(&["list", "--enabled", "p"])), (None, String::new()));
        // The code that an interpreter is given counts, too; words that are no code do not.
        fs::write(dir.join("exo.yaml"), "command: [sh, -e, handle.sh, out.txt]\n").unwrap();
        let why = format!("there is no file {}/handle.sh", its.display());
        says(&site.ends(1, &["start", "p"]), &[&["p: FAILED: ", &why]]);
        assert!(site.ends(1, &["check", "p"]).contains(&format!("exo.yaml:1: command: {why}")));
        fs::write(dir.join("handle.sh"), "exit 0\n").unwrap();
        site.own_all(&dir);
        site.well(&["start", "p"]);
    });
}

#[test]
fn wait_sees_what_others_do() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.sleeper("web");
        says(
            &site.ends(1, &["wait", "--state", "up", "web"]),
            &[&["web: FAILED: neither enabled nor started"]],
        );
        says(&site.well(&["wait", "--state", "finished", "web"]), &[&["web: finished after "]]);
        site.well(&["enable", "web"]);
        says(&site.well(&["wait", "--state", "down", "web"]), &[&["web: down after "]]);
        let skynet = program("skynet");
        let mut waiter = site.command(&skynet, &["wait", "--state", "ready", "web"]);
        let mut waiter = waiter.stdout(std::process::Stdio::null()).spawn().unwrap();
        site.well(&["start", "--no-wait", "web"]);
        assert_eq!(waiter.wait().unwrap().code(), Some(0));
        show_delay(&site, "wait", "web");
        let mut waiter = site.command(&skynet, &["wait", "--state", "finished", "web"]);
        let mut waiter = waiter.stdout(std::process::Stdio::null()).spawn().unwrap();
        site.well(&["disable", "--now", "web"]);
        assert_eq!(waiter.wait().unwrap().code(), Some(0));
    });
}

#[test]
fn whoever_may_not_is_told_who_may() {
    let site = Site::booted(Kind::Private);
    site.sleeper("web");
    site.well(&["start", "web"]);
    let folder = site.at(Place::Run).join("supervise/web");
    std::os::unix::fs::lchown(&folder, Some(0), Some(0)).unwrap();
    let out = site.ends(1, &["stop", "web"]);
    says(&out, &[&["web: FAILED: unable to control it: access denied; root may"]]);
    site.own_all(&folder);
    site.well(&["stop", "web"]);
}

#[test]
fn a_hundred_services_come_up_together() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        for i in 0..100 {
            site.sleeper(&format!("s{i:02}"));
        }
        let out = site.well(&["enable", "--now", "s*"]);
        assert_eq!(out.lines().filter(|line| line.contains(" up after ")).count(), 100);
        show(kind, out.lines().last().unwrap());
        let out = site.well(&["disable", "--now", "--all"]);
        assert_eq!(out.lines().filter(|line| line.contains(" down after ")).count(), 100);
        show(kind, out.lines().last().unwrap());
        assert_eq!(site.pids("supervise").len(), 1);
    });
}

#[test]
fn what_is_for_the_owner_of_the_system_s_instance_is_refused_to_others_and_names_are_shown() {
    let site = Site::booted(Kind::System);
    site.sleeper("p");
    site.well(&["start", "p"]);
    for who in [Person::Ann, Person::Bob] {
        let said = site.skynet_of(who, &["list", "--names-only"]);
        assert_eq!((said.code, said.out()), (Some(0), "p\nskynet-log\n".to_owned()));
        for verb in ["boot", "halt"] {
            let said = site.skynet_of(who, &[verb]);
            let text =
                format!("skynet: fatal: unable to {verb} the system's instance: it is root's; ");
            assert!(said.code == Some(1) && said.err().starts_with(&text), "{said:?}");
        }
        let said = site.skynet_of(who, &["stop", "p"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.out().contains("access denied; root may"), "{said:?}");
        // Without the option a user means an instance of their own.
        let own = site.command_of(who, program("skynet"), &["list"]).output().unwrap();
        assert!(own.status.success(), "{own:?}");
        assert!(!String::from_utf8_lossy(&own.stdout).contains("skynet-log"), "{own:?}");
    }
    assert!(site.pid("p").is_some());
    // Root's is the system's in any case.
    assert_eq!(site.well(&["--system", "list", "--names-only"]), "p\nskynet-log\n");
}
