//! What svc promises beyond the original: it writes only where it should, never hangs, and waits.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used)]

use ondisk::record::{Identity, Phase, Record};
use ondisk::status::Want;
use ondisk::tai64n::Stamp;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use testkit::fake::{Sleeper, record, status};
use testkit::scratch::{SLEEPER, Supervise, is_supervised, pid_in_status};
use testkit::{Fake, Output, Scratch, Suite, call, program, run, until};

#[test]
fn svc_writes_only_into_a_fifo_and_follows_no_symlink_to_one() {
    let scratch = Scratch::new();
    let mut victim = Fake::keep(&scratch.service("victim", SLEEPER));
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let secret = scratch.join("secret");
    for target in [secret.as_path(), &victim.file("control")] {
        fs::write(&secret, "left alone").unwrap();
        fs::remove_file(fake.file("control")).unwrap();
        symlink(target, fake.file("control")).unwrap();
        let done = call(scratch.path(), "svc", &["-u", "case"]);
        let warning = "svc: warning: unable to control case: supervise/control is not a FIFO\n";
        assert_eq!(done.verdict(), (Some(0), warning.into()));
        assert_eq!(fs::read(&secret).unwrap(), b"left alone");
    }
    fs::remove_file(fake.file("control")).unwrap();
    fs::hard_link(&secret, fake.file("control")).unwrap();
    assert_eq!(call(scratch.path(), "svc", &["-u", "case"]).code, Some(0));
    assert_eq!(fs::read(&secret).unwrap(), b"left alone");
    assert_eq!(victim.received(), b"");
}

#[test]
fn svc_goes_through_a_linked_folder_only_where_nobody_else_can_change_it() {
    let scratch = Scratch::new();
    let mut fake = Fake::keep(&scratch.service("real", SLEEPER));
    let folder = scratch.join("real/supervise");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    let link = scratch.service("case", SLEEPER).join("supervise");
    symlink(&folder, &link).unwrap();
    assert_eq!(call(scratch.path(), "svc", &["-u", "case"]).code, Some(0));
    assert_eq!(fake.received(), b"u");
    let refused = || {
        let done = call(scratch.path(), "svc", &["-u", "case"]);
        done.err().contains("symbolic link that others can change")
    };
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused());
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!refused());
    // Only root can give a file away.
    if std::os::unix::fs::lchown(&link, Some(65534), None).is_ok() {
        assert!(refused());
    }
    assert_eq!(fake.received(), b"u");
}

#[test]
fn svc_does_not_hang_on_a_full_pipe_and_says_so() {
    let scratch = Scratch::new();
    let mut fake = Fake::keep(&scratch.service("case", SLEEPER));
    fake.fill_control();
    let done = call(scratch.path(), "svc", &["--timeout", "50", "-u", "case"]);
    let full = "svc: warning: unable to control case: control pipe is full\n";
    assert_eq!(done.verdict(), (Some(0), full.into()));
    let done = call(scratch.path(), "svc", &["--timeout=50", "--wait=up", "-u", "case"]);
    assert_eq!(done.code, Some(111));
    assert!(done.err().starts_with(full));
    // Without a limit of its own it gives up, too.
    assert_eq!(call(scratch.path(), "svc", &["-u", "case"]).verdict(), (Some(0), full.into()));
    assert!(fake.received().iter().all(|byte| *byte == b'.'));
}

#[test]
fn svc_sends_as_soon_as_a_full_pipe_has_room() {
    let scratch = Scratch::new();
    let mut fake = Fake::keep(&scratch.service("case", SLEEPER));
    let mut other = Fake::keep(&scratch.service("other", SLEEPER));
    fake.fill_control();
    let mut svc = Command::new(program("svc"))
        .args(["--timeout", "20000", "-dx", "case", "other"])
        .current_dir(scratch.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // A full pipe keeps nobody else waiting.
    let mut received = Vec::new();
    until(10, || {
        received.extend(other.received());
        received == b"dx"
    });
    let mut received = Vec::new();
    until(10, || {
        received.extend(fake.received());
        received.ends_with(b"dx")
    });
    assert!(svc.wait().unwrap().success());
}

#[test]
fn encore_s_letters_arrive() {
    let scratch = Scratch::new();
    let mut fake = Fake::keep(&scratch.service("case", SLEEPER));
    for (letters, bytes) in
        [("-q12w", "q12w"), ("-+k", "+k="), ("-+t=t", "+t=t"), ("-Lt", "Ltl"), ("-tLdlx", "tLdlx")]
    {
        assert_eq!(
            call(scratch.path(), "svc", &[letters, "case"]).verdict(),
            (Some(0), String::new())
        );
        assert_eq!(String::from_utf8(fake.received()).unwrap(), bytes);
    }
}

#[test]
fn wrong_long_options_are_refused_before_anything_is_sent() {
    let scratch = Scratch::new();
    let mut fake = Fake::keep(&scratch.service("case", SLEEPER));
    for wrong in [
        &["--wait=gone"][..],
        &["--wait"],
        &["--timeout=1s"],
        &["--timeout", "-1"],
        &["--timeout=99999999999999999999"],
        &["--nonsense"],
    ] {
        let done = call(scratch.path(), "svc", &[&["-u"], wrong, &["case"]].concat());
        assert_eq!((done.code, done.err().lines().count()), (Some(100), 1), "{wrong:?}");
    }
    assert_eq!(call(scratch.path(), "svc", &["-u", "--timeout"]).code, Some(100));
    assert_eq!(fake.received(), b"");
}

// ---- waiting

const KEEPERS: [Suite; 2] = [Suite::Original, Suite::Ours];

/// A service that is up. The original's supervise writes a status and nothing else.
fn kept(keeper: Suite, scratch: &Scratch, name: &str) -> Supervise {
    let dir = scratch.service(name, SLEEPER);
    let supervise = scratch.supervise(keeper, name);
    until(10, || pid_in_status(&dir).is_some());
    supervise
}

fn wait_for(scratch: &Scratch, goal: &str, args: &[&str]) -> Output {
    let wait = format!("--wait={goal}");
    call(scratch.path(), "svc", &[&[wait.as_str(), "--timeout=20000"], args].concat())
}

#[test]
fn svc_waits_until_each_of_several_services_is_where_it_should_be() {
    for keeper in KEEPERS {
        wait_through_a_life(keeper);
    }
}

fn wait_through_a_life(keeper: Suite) {
    let scratch = Scratch::new();
    let mut supervises = ["a", "b"].map(|name| kept(keeper, &scratch, name));
    let pids = || ["a", "b"].map(|name| pid_in_status(&scratch.join(name)));
    let reached = |goal: &str, letters: &str| {
        let done = wait_for(&scratch, goal, &[letters, "a", "b"]);
        assert_eq!(done.verdict(), (Some(0), String::new()), "{keeper:?} {goal} {letters}");
    };
    let before = pids();
    reached("restarted", "-t");
    let after = pids();
    assert!(after[0].is_some() && after[0] != before[0], "{before:?} {after:?}");
    assert!(after[1].is_some() && after[1] != before[1], "{before:?} {after:?}");
    reached("down", "-d");
    assert_eq!(pids(), [None, None]);
    reached("up", "-u");
    assert!(pids().iter().all(Option::is_some));
    reached("ready", "-c");
    reached("finished", "-dx");
    assert!(!is_supervised(&scratch.join("a")) && !is_supervised(&scratch.join("b")));
    for supervise in &mut supervises {
        assert!(supervise.wait().unwrap().success());
    }
    // Already there: nothing is left to wait for.
    for goal in ["finished", "down"] {
        let done = call(scratch.path(), "svc", &[&format!("--wait={goal}"), "a", "b"]);
        assert_eq!(done.verdict(), (Some(0), String::new()), "{goal}");
    }
}

#[test]
fn waiting_for_long_takes_no_more_memory() {
    let scratch = Scratch::new();
    let names = ["one/a", "two/b"];
    let _supervises = names.map(|name| kept(Suite::Ours, &scratch, name));
    let dirs = names.map(|name| scratch.join(name));
    let mut waiting = Command::new(program("svc"));
    let mut waiting = waiting.arg("--wait=finished").args(&dirs).spawn().unwrap();
    let told = |file: &str, key: &str| {
        let text = fs::read_to_string(format!("/proc/{}/{file}", waiting.id())).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        value.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    // It has begun to wait, and looks at what changes.
    let reads = || told("io", "syscr:");
    until(10, || reads() > 4);
    let (size, seen) = (told("status", "VmSize:"), reads());
    // A look takes two reads at least, and its heap has 4 KiB: a path for each would not fit.
    until(60, || {
        for letter in ["-p", "-c"] {
            assert_eq!(run(Command::new(program("svc")).arg(letter).args(&dirs)).code, Some(0));
        }
        reads() > seen + 1000
    });
    assert_eq!(told("status", "VmSize:"), size);
    let done = run(Command::new(program("svc")).arg("-dx").args(&dirs));
    assert_eq!(done.code, Some(0));
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn a_state_that_does_not_come_in_time_is_99() {
    let scratch = Scratch::new();
    let _supervise = kept(Suite::Original, &scratch, "a");
    for (goal, warning) in
        [("down", "a is not down in time"), ("finished", "a is not finished in time")]
    {
        let wait = format!("--wait={goal}");
        let done = call(scratch.path(), "svc", &[&wait, "--timeout", "30", "a"]);
        assert_eq!(done.verdict(), (Some(99), format!("svc: warning: {warning}\n")));
    }
    let done = call(scratch.path(), "svc", &["--wait=up", "--timeout=0", "a"]);
    assert_eq!(done.verdict(), (Some(0), String::new()));
}

#[test]
fn a_state_that_cannot_come_is_1_and_trouble_is_111() {
    let scratch = Scratch::new();
    let _ = scratch.service("alone", SLEEPER);
    for goal in ["up", "ready", "restarted"] {
        let done = wait_for(&scratch, goal, &["alone"]);
        let warning = format!("svc: warning: alone cannot become {goal}: supervise not running\n");
        assert_eq!(done.verdict(), (Some(1), warning));
    }
    let done = wait_for(&scratch, "up", &["missing", "alone"]);
    assert_eq!(done.code, Some(111));
    assert!(
        done.err().starts_with("svc: warning: unable to chdir to missing: file does not exist\n")
    );
}

/// Whatever a supervise that does not run has left behind: nothing, its folder, a FIFO.
#[test]
fn without_a_supervise_a_command_that_is_waited_for_is_impossible_whatever_is_left_of_one() {
    let scratch = Scratch::new();
    let folder = scratch.service("case", SLEEPER).join("supervise");
    let impossible = "svc: warning: case cannot become up: supervise not running\n";
    let absent = "file does not exist";
    for (left, why) in [("", absent), ("folder", absent), ("control", "supervise not running")] {
        match left {
            "folder" => fs::create_dir(&folder).unwrap(),
            "control" => {
                let made = run(Command::new("mkfifo").arg(folder.join("control")));
                assert_eq!(made.code, Some(0));
            }
            _ => {}
        }
        let done = call(scratch.path(), "svc", &["-u", "--wait=up", "case"]);
        let warning = format!("svc: warning: unable to control case: {why}\n{impossible}");
        assert_eq!(done.verdict(), (Some(1), warning), "{left}");
    }
}

/// Tells whether svc has set up its wait: it watches, it holds `ok`, and it sleeps.
fn is_waiting(pid: u32) -> bool {
    let all = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).into_iter().flatten();
    let watches = all("fdinfo")
        .flatten()
        .any(|info| fs::read_to_string(info.path()).is_ok_and(|text| text.contains("inotify wd")));
    let holds = all("fd")
        .flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|file| file.ends_with("supervise/ok")));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    watches && holds && stat.contains(") S ")
}

#[test]
fn a_supervise_that_is_killed_ends_the_wait() {
    for keeper in KEEPERS {
        for (goal, code) in [("down", 1), ("restarted", 1), ("finished", 0)] {
            let scratch = Scratch::new();
            let mut supervise = kept(keeper, &scratch, "a");
            let mut svc = Command::new(program("svc"))
                .args([&format!("--wait={goal}"), "--timeout=20000", "a"])
                .current_dir(scratch.path())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            until(10, || is_waiting(svc.id()));
            supervise.kill().unwrap();
            assert_eq!(svc.wait().unwrap().code(), Some(code), "{keeper:?} {goal}");
        }
    }
}

#[test]
fn a_supervise_that_comes_back_at_once_has_let_go_all_the_same() {
    for keeper in KEEPERS {
        let scratch = Scratch::new();
        let mut supervise = kept(keeper, &scratch, "a");
        let mut svc = Command::new(program("svc"))
            .args(["--wait=finished", "--timeout=20000", "-dx", "a"])
            .current_dir(scratch.path())
            .spawn()
            .unwrap();
        supervise.wait().unwrap();
        let _next = scratch.supervise(keeper, "a");
        assert_eq!(svc.wait().unwrap().code(), Some(0), "{keeper:?}");
    }
}

#[test]
fn a_service_that_is_up_is_waited_for_until_the_record_says_that_it_is_ready() {
    let scratch = Scratch::new();
    let dir = scratch.service("case", SLEEPER);
    let fake = Fake::keep(&dir);
    let sleeper = Sleeper::new();
    let silent = record(sleeper.identity(), Want::Up);
    fake.status(&status(sleeper.pid(), Want::Up).to_bytes());
    fs::write(fake.file("record"), silent.to_bytes()).unwrap();
    let done = call(scratch.path(), "svc", &["--wait=ready", "--timeout=30", "case"]);
    assert_eq!(done.code, Some(99));
    assert_eq!(wait_for(&scratch, "up", &["case"]).code, Some(0));
    let mut svc = Command::new(program("svc"))
        .args(["--wait=ready", "--timeout=20000", "case"])
        .current_dir(scratch.path())
        .spawn()
        .unwrap();
    let ready = Record { ready: Some(Stamp::from_unix(2, 2)), ..silent };
    // In place, as supervise does; no other file changes.
    let file = fs::File::options().write(true).open(fake.file("record")).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, &ready.to_bytes(), 0).unwrap();
    assert_eq!(svc.wait().unwrap().code(), Some(0));
}

#[test]
fn a_failed_service_cannot_come_up() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let nobody = Identity::default();
    fake.status(&status(0, Want::Up).to_bytes());
    let failed = Record { phase: Phase::Failed, ..record(nobody, Want::Up) };
    fs::write(fake.file("record"), failed.to_bytes()).unwrap();
    let done = wait_for(&scratch, "up", &["case"]);
    let warning = "svc: warning: case cannot become up: the service has failed\n";
    assert_eq!(done.verdict(), (Some(1), warning.into()));
}

#[test]
fn a_pid_that_belongs_to_another_process_by_now_is_not_up() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let sleeper = Sleeper::new();
    fake.status(&status(sleeper.pid(), Want::Up).to_bytes());
    let earlier = Identity { alive_at: 1, ..sleeper.identity() };
    fs::write(fake.file("record"), record(earlier, Want::Up).to_bytes()).unwrap();
    let done = call(scratch.path(), "svc", &["--wait=up", "--timeout=30", "case"]);
    assert_eq!(done.code, Some(99));
    let object = call(scratch.path(), "svstat", &["--json", "case"]).out();
    assert!(object.contains(r#""up":false,"pid":null"#), "{object}");
}
