//! What svc, svok, svstat and svup promise beyond the original.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use ondisk::record::{Exit, Identity, Phase, Record};
use ondisk::status::{State, Status, Want};
use ondisk::tai64n::Stamp;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::fake::fifo;
use testkit::scratch::{SLEEPER, Supervise, is_supervised, pid_in_status};
use testkit::{Fake, Output, Scratch, Suite, program, run, until};

fn call(dir: &Path, name: &str, args: &[&str]) -> Output {
    run(Command::new(program(name)).args(args).current_dir(dir))
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.code, output.err())
}

fn status(pid: u32, want: Want) -> Status {
    Status { since: Stamp::from_unix(1_000_000_000, 5), pid, paused: false, want }
}

/// A process that runs until it is dropped.
struct Sleeper(Child);

impl Sleeper {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000000").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn identity(&self) -> Identity {
        Identity { pid: self.pid(), alive_at: linux::time::boottime() }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The record of a service that runs as `process`, as its supervise would write it.
fn record(process: Identity, want: Want) -> Record {
    let supervisor = Identity { pid: 1, alive_at: u64::MAX };
    Record {
        process,
        since: status(process.pid, want).since,
        want,
        phase: if process.pid == 0 { Phase::Down } else { Phase::Running },
        ..Record::new(linux::identity::boot(), supervisor)
    }
}

// ---- sending

#[test]
fn svc_writes_only_into_a_fifo_and_follows_no_symlink_to_one() {
    let scratch = Scratch::new();
    let mut victim = Fake::keep(&scratch.service("victim", SLEEPER));
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let secret = scratch.join("secret");
    for target in [secret.as_path(), &victim.file("control")] {
        fs::write(&secret, "untouched").unwrap();
        fs::remove_file(fake.file("control")).unwrap();
        symlink(target, fake.file("control")).unwrap();
        let done = call(scratch.path(), "svc", &["-u", "case"]);
        let warning = "svc: warning: unable to control case: supervise/control is not a FIFO\n";
        assert_eq!(said(&done), (Some(0), warning.into()));
        assert_eq!(fs::read(&secret).unwrap(), b"untouched");
    }
    fs::remove_file(fake.file("control")).unwrap();
    fs::hard_link(&secret, fake.file("control")).unwrap();
    assert_eq!(call(scratch.path(), "svc", &["-u", "case"]).code, Some(0));
    assert_eq!(fs::read(&secret).unwrap(), b"untouched");
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
    call(scratch.path(), "svc", &["-u", "case"]);
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
    assert_eq!(said(&done), (Some(0), full.into()));
    let done = call(scratch.path(), "svc", &["--timeout=50", "--wait=up", "-u", "case"]);
    assert_eq!(done.code, Some(111));
    assert!(done.err().starts_with(full));
    // Without a limit of its own it gives up, too.
    assert_eq!(said(&call(scratch.path(), "svc", &["-u", "case"])), (Some(0), full.into()));
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
            said(&call(scratch.path(), "svc", &[letters, "case"])),
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
        assert_eq!(said(&done), (Some(0), String::new()), "{keeper:?} {goal} {letters}");
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
        assert_eq!(said(&done), (Some(0), String::new()), "{goal}");
    }
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
        assert_eq!(said(&done), (Some(99), format!("svc: warning: {warning}\n")));
    }
    let done = call(scratch.path(), "svc", &["--wait=up", "--timeout=0", "a"]);
    assert_eq!(said(&done), (Some(0), String::new()));
}

#[test]
fn a_state_that_cannot_come_is_1_and_trouble_is_111() {
    let scratch = Scratch::new();
    let _ = scratch.service("alone", SLEEPER);
    for goal in ["up", "ready", "restarted"] {
        let done = wait_for(&scratch, goal, &["alone"]);
        let warning = format!("svc: warning: alone cannot become {goal}: supervise not running\n");
        assert_eq!(said(&done), (Some(1), warning));
    }
    let done = wait_for(&scratch, "up", &["missing", "alone"]);
    assert_eq!(done.code, Some(111));
    assert!(
        done.err().starts_with("svc: warning: unable to chdir to missing: file does not exist\n")
    );
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
fn a_service_that_declares_readiness_is_waited_for_until_the_record_says_so() {
    let scratch = Scratch::new();
    let dir = scratch.service("case", SLEEPER);
    fs::write(dir.join("notification-fd"), "3\n").unwrap();
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
    assert_eq!(said(&done), (Some(1), warning.into()));
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

// ---- telling

/// Cuts the seconds, which pass, out of an object.
fn without_seconds(object: &str) -> String {
    let mut out = String::new();
    let mut parts = object.split("\"seconds\":");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(part.split_once(',').unwrap().1);
    }
    out
}

#[test]
fn an_object_tells_all_that_is_known_of_a_service_and_its_logger() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("web", SLEEPER));
    let sleeper = Sleeper::new();
    let pid = sleeper.pid();
    let web = Record {
        last_exit: Exit::Signal(9),
        died: Some(Stamp::from_unix(999_999_999, 0)),
        restarts: 3,
        adopted: true,
        ..record(sleeper.identity(), Want::Up)
    };
    fake.status(&status(pid, Want::Up).to_bytes());
    fs::write(fake.file("record"), web.to_bytes()).unwrap();
    let logger = Record { last_exit: Exit::NotRun(2), ..record(Identity::default(), Want::Down) };
    fs::write(fake.file("log.record"), logger.to_bytes()).unwrap();
    let object = call(scratch.path(), "svstat", &["--json", "web/"]).out();
    let expected = format!(
        "{{\"name\":\"web\",\"dir\":\"web/\",\"supervised\":true,\"up\":true,\"pid\":{pid},\
         \"since\":\"2001-09-09T01:46:40.000000005Z\",\"want\":\"up\",\"paused\":false,\
         \"normally\":\"up\",\"ready\":true,\"state\":\"running\",\"last_exit\":{{\
         \"kind\":\"signal\",\"signal\":9,\"at\":\"2001-09-09T01:46:39.000000000Z\"}},\
         \"restarts\":3,\"adopted\":true,\"error\":null,\"log\":{{\"name\":\"log\",\"dir\":\"web/\",\
         \"supervised\":true,\"up\":false,\"pid\":null,\
         \"since\":\"2001-09-09T01:46:40.000000005Z\",\"want\":\"down\",\"paused\":false,\
         \"normally\":\"up\",\"ready\":false,\"state\":\"down\",\"last_exit\":{{\
         \"kind\":\"not-run\",\"errno\":2,\"reason\":\"file does not exist\",\"at\":null}},\
         \"restarts\":0,\"adopted\":false,\"error\":null}}}}\n"
    );
    assert_eq!(without_seconds(&object), expected);
}

#[test]
fn a_service_that_outlived_its_supervise_is_told_as_up_and_not_supervised() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let sleeper = Sleeper::new();
    fake.status(&status(sleeper.pid(), Want::Up).to_bytes());
    let path = fake.file("record");
    drop(fake);
    let object = || call(scratch.path(), "svstat", &["--json", "case"]).out();
    // Nobody vouches for the pid.
    assert!(object().contains(r#""supervised":false,"up":false,"pid":null"#), "{}", object());
    fs::write(path, record(sleeper.identity(), Want::Up).to_bytes()).unwrap();
    let living = format!(r#""supervised":false,"up":true,"pid":{}"#, sleeper.pid());
    assert!(object().contains(&living), "{}", object());
    assert_eq!(call(scratch.path(), "svstat", &["case"]).out(), "case: supervise not running\n");
}

#[test]
fn a_logger_with_a_folder_of_its_own_is_told_inside() {
    let scratch = Scratch::new();
    let _supervise = kept(Suite::Original, &scratch, "web");
    let _logger = kept(Suite::Original, &scratch, "web/log");
    let object = call(scratch.path(), "svstat", &["--json", "web"]).out();
    let pid = pid_in_status(&scratch.join("web/log")).unwrap();
    let inside =
        format!(r#""log":{{"name":"log","dir":"web/log","supervised":true,"up":true,"pid":{pid}"#);
    assert!(object.contains(&inside), "{object}");
}

#[test]
fn names_that_are_not_utf8_are_told_in_hex_too() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path().join(OsStr::from_bytes(b"a\xff\"\n"))).unwrap();
    let mut svstat = Command::new(program("svstat"));
    svstat.arg("--json").arg(OsStr::from_bytes(b"a\xff\"\n")).current_dir(scratch.path());
    let start = concat!(
        "{\"name\":\"a\u{fffd}\\\"\\n\",\"name_hex\":\"61ff220a\",",
        "\"dir\":\"a\u{fffd}\\\"\\n\",\"dir_hex\":\"61ff220a\",\"supervised\":false,"
    );
    let object = run(&mut svstat).out();
    assert!(object.starts_with(start), "{object}");
}

#[test]
fn svstat_answers_whatever_the_files_hold() {
    type Put = fn(&Path);
    let things: [Put; 7] = [
        |path| fifo(path),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| symlink("/proc/self/mem", path).unwrap(),
        |path| fs::File::create(path).unwrap().set_len(1 << 42).unwrap(),
        |path| fs::write(path, [0xff; 176]).unwrap(),
        |path| fs::write(path, "").unwrap(),
    ];
    for (i, put) in things.iter().enumerate() {
        for name in ["status", "record", "log.record"] {
            let scratch = Scratch::new();
            let fake = Fake::keep(&scratch.service("case", SLEEPER));
            fake.status(&status(1, Want::Up).to_bytes());
            let _ = fs::remove_file(fake.file(name));
            put(&fake.file(name));
            // Somebody holds the FIFO open and never writes.
            let both = fs::File::options().read(true).write(true).open(fake.file(name));
            for args in [&["case"][..], &["--json", "case"]] {
                let done = call(scratch.path(), "svstat", args);
                assert_eq!((done.code, done.out().lines().count()), (Some(0), 1), "{i} {name}");
            }
            for program in ["svok", "svup"] {
                assert!(call(scratch.path(), program, &["case"]).code.is_some());
            }
            drop(both);
        }
    }
}

#[test]
fn a_terminal_gets_no_control_byte_from_a_name() {
    let scratch = Scratch::new();
    let name = "\u{1b}[2J\u{9b}x";
    let typed = |program: &str, args: &str| {
        let path = Suite::Ours.program(program);
        let line = format!("{} {args} '{name}'", path.display());
        // script(1) gives the program a terminal.
        let mut script = Command::new("script");
        run(script.args(["-qec", &line, "/dev/null"]).current_dir(scratch.path())).out()
    };
    let shown = "\\x1b[2J\\xc2\\x9bx";
    let svstat = typed("svstat", "");
    assert_eq!(svstat.trim_end(), format!("{shown}: unable to chdir: file does not exist"));
    let svc = typed("svc", "-u");
    let warning = "svc: warning: unable to chdir to";
    assert_eq!(svc.trim_end(), format!("{warning} {shown}: file does not exist"));
    let object = typed("svstat", "--json");
    assert!(!object.trim_end().chars().any(char::is_control), "{object:?}");
}

// ---- encore

fn encore(dir: &Path, name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(program(name));
    run(command.args(args).current_dir(dir).env("DAEMONTOOLS_COMPAT", "encore"))
}

#[test]
fn encore_s_lines_come_where_encore_rules() {
    let scratch = Scratch::new();
    let dir = scratch.service("case", SLEEPER);
    let fake = Fake::keep(&dir);
    let now = || Stamp::from_unix(linux::time::wall().0 + 1000, 0);
    let half =
        |pid, want, state| Status { since: now(), ..status(pid, want) }.to_encore_bytes(state);
    let mut bytes = half(7, Want::Once, State::Running).to_vec();
    bytes.extend(half(0, Want::Down, State::Failed));
    fake.status(&bytes);
    let classic = "case: up (pid 7) 0 seconds\n";
    let main = "case: up (pid 7) 0 seconds, once, running\n";
    let log = "case log: down 0 seconds, normally up, failed\n";
    assert_eq!(call(scratch.path(), "svstat", &["case"]).out(), classic);
    assert_eq!(encore(scratch.path(), "svstat", &["case"]).out(), format!("{main}{log}"));
    assert_eq!(encore(scratch.path(), "svstat", &["-l", "case"]).out(), main);
    assert_eq!(encore(scratch.path(), "svstat", &["-L", "case"]).out(), log);
    let usage = encore(scratch.path(), "svstat", &["-z", "case"]);
    assert_eq!(usage.code, Some(100));
    assert!(usage.err().ends_with("svstat: usage: svstat [-L] [-l] dir [dir ...]\n"));
    fs::write(dir.join("compat"), "encore please\n").unwrap();
    assert_eq!(call(scratch.path(), "svstat", &["case"]).out(), format!("{main}{log}"));
    fs::write(dir.join("compat"), "encored\n").unwrap();
    assert_eq!(call(scratch.path(), "svstat", &["case"]).out(), classic);
    let wrong = encore(scratch.path(), "svc", &["-z", "case"]);
    assert!(wrong.err().contains("svc options: + kill process group, = kill parent"));
}

#[test]
fn svup_tells_whether_service_and_logger_are_up() {
    let scratch = Scratch::new();
    let dir = scratch.service("case", SLEEPER);
    let svup = |args: &[&str]| call(scratch.path(), "svup", args).code;
    assert_eq!(svup(&["case"]), Some(100));
    assert_eq!(
        said(&call(scratch.path(), "svup", &[])),
        (Some(100), "svup: usage: svup [-L] [-l] dir\n".into())
    );
    let missing = call(scratch.path(), "svup", &["missing"]);
    let fatal = "svup: fatal: unable to chdir to missing: file does not exist\n";
    assert_eq!(said(&missing), (Some(111), fatal.into()));
    let fake = Fake::keep(&dir);
    assert_eq!(svup(&["case"]), Some(100));
    fake.status(b"short");
    let short = call(scratch.path(), "svup", &["case"]);
    let fatal = "svup: fatal: bad data in case/supervise/status: truncated file\n";
    assert_eq!(said(&short), (Some(111), fatal.into()));
    for (main, logger) in [(false, false), (false, true), (true, false), (true, true)] {
        let half = |up| {
            let state = if up { State::Running } else { State::Stopped };
            status(u32::from(up), Want::Up).to_encore_bytes(state)
        };
        fake.status(&half(main));
        let code = |up| Some(if up { 0 } else { 100 });
        assert_eq!(svup(&["case"]), code(main));
        assert_eq!(svup(&["-L", "case"]), Some(100));
        fake.status(&[half(main), half(logger)].concat());
        assert_eq!(svup(&["case"]), code(main && logger));
        assert_eq!(svup(&["-l", "case"]), code(main));
        assert_eq!(svup(&["-L", "case"]), code(logger));
    }
    fake.status(&status(0, Want::Up).to_encore_bytes(State::Started));
    assert_eq!(svup(&["case"]), Some(0));
}

#[test]
fn svup_asks_a_logger_s_own_folder_when_told_to() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let logger = Fake::keep(&scratch.service("case/log", SLEEPER));
    fake.status(&status(0, Want::Down).to_bytes());
    for (pid, code) in [(0, 100), (1, 0)] {
        logger.status(&status(pid, Want::Up).to_bytes());
        assert_eq!(call(scratch.path(), "svup", &["-L", "case"]).code, Some(code));
    }
}

#[test]
fn supervisedir_is_honoured_by_all() {
    let scratch = Scratch::new();
    let dir = scratch.service("case", SLEEPER);
    let kept = scratch.join("kept");
    let colons = dir.to_str().unwrap().replace('/', ":").replacen(':', "/", 1);
    let elsewhere = format!("{}{colons}", kept.display());
    fs::create_dir_all(&elsewhere).unwrap();
    fs::create_dir(dir.join("sv")).unwrap();
    for (value, folder) in [
        (kept.to_str().unwrap(), elsewhere.as_str()),
        ("sv/it", dir.join("sv/it").to_str().unwrap()),
    ] {
        // A fake keeps a folder called `supervise`: it is moved to where it is looked for.
        let mut fake = Fake::keep(&dir);
        fake.status(&status(1, Want::Up).to_bytes());
        let _ = fs::remove_dir(folder);
        fs::rename(dir.join("supervise"), folder).unwrap();
        let with = |name: &str, args: &[&str]| {
            let mut command = Command::new(program(name));
            run(command
                .args(args)
                .arg("case")
                .current_dir(scratch.path())
                .env("SUPERVISEDIR", value))
        };
        assert_eq!(with("svok", &[]).code, Some(0), "{value}");
        assert_eq!(with("svup", &[]).code, Some(0), "{value}");
        assert!(with("svstat", &[]).out().starts_with("case: up (pid 1) "), "{value}");
        assert!(with("svstat", &["--json"]).out().contains(r#""supervised":true"#), "{value}");
        assert_eq!(with("svc", &["--wait=up", "--timeout=20000", "-u"]).code, Some(0), "{value}");
        assert_eq!(fake.received(), b"u", "{value}");
        assert_eq!(call(scratch.path(), "svok", &["case"]).code, Some(100));
    }
}
