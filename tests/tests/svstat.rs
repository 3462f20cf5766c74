//! What svstat, svok and svup promise beyond the original.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used)]

use ondisk::record::{Exit, Identity, Phase, Record};
use ondisk::status::{State, Status, Want};
use ondisk::tai64n::Stamp;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use testkit::fake::{Sleeper, fifo, record, status};
use testkit::scratch::{SLEEPER, is_supervised, pid_in_status};
use testkit::{Fake, Output, Scratch, Suite, call, program, run, until};

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
        ready: Some(Stamp::from_unix(1_000_000_000, 6)),
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
    assert!(serde_json::from_str::<serde_json::Value>(&object).is_ok());
}

#[test]
fn a_service_that_outlived_its_supervise_is_told_as_up_and_not_supervised() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let sleeper = Sleeper::new();
    fake.status(&status(sleeper.pid(), Want::Up).to_bytes());
    let path = fake.file("record");
    drop(fake);
    // Another test's child may hold what it inherited until it runs its program.
    until(10, || !is_supervised(&scratch.join("case")));
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
    let _kept = ["web", "web/log"].map(|name| {
        let _ = scratch.service(name, SLEEPER);
        scratch.supervise(Suite::Original, name)
    });
    until(10, || pid_in_status(&scratch.join("web/log")).is_some());
    let object = call(scratch.path(), "svstat", &["--json", "web"]).out();
    let pid = pid_in_status(&scratch.join("web/log")).unwrap();
    let inside =
        format!(r#""log":{{"name":"log","dir":"web/log","supervised":true,"up":true,"pid":{pid}"#);
    assert!(object.contains(&inside), "{object}");
}

#[test]
fn hundreds_of_directories_are_each_told_in_their_order() {
    let scratch = Scratch::new();
    let mut kept = Vec::new();
    let (mut dirs, mut lines, mut objects) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..300_u32 {
        // Some in one place, some alone, some named from here, some from the root.
        let place = if i % 50 == 0 { format!("place{i}") } else { "services".to_owned() };
        let dir = scratch.join(&format!("{place}/{i}"));
        let said = match i % 3 {
            0 => {
                fs::create_dir_all(&dir).unwrap();
                let fake = Fake::keep(&dir);
                fake.status(&status(i + 1_000_000, Want::Up).to_bytes());
                kept.push(fake);
                format!("up (pid {}) ", i + 1_000_000)
            }
            1 => {
                fs::create_dir_all(&dir).unwrap();
                "unable to open supervise/ok: file does not exist".to_owned()
            }
            _ => "unable to chdir: file does not exist".to_owned(),
        };
        let relative = format!("{place}/{i}");
        let dir = if i % 20 < 10 { relative } else { dir.to_str().unwrap().to_owned() };
        lines.push(format!("{dir}: {said}"));
        objects.push(format!(r#"{{"name":"{i}","dir":"{dir}","supervised":{},"#, i % 3 == 0));
        dirs.push(dir);
    }
    let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
    let told = |args: &[&str], expected: &[String]| {
        let out = call(scratch.path(), "svstat", args).out();
        assert_eq!(out.lines().count(), expected.len());
        for (line, expected) in out.lines().zip(expected) {
            assert!(line.starts_with(expected.as_str()), "{line} is not {expected}");
        }
    };
    told(&dirs, &lines);
    told(&[&["--json"], &dirs[..]].concat(), &objects);
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
    assert!(serde_json::from_str::<serde_json::Value>(&object).is_ok());
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
    assert_eq!(encore(scratch.path(), "svstat", &[]).code, Some(100));
    assert_eq!(call(scratch.path(), "svstat", &[]).code, Some(0));
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
        call(scratch.path(), "svup", &[]).verdict(),
        (Some(100), "svup: usage: svup [-L] [-l] dir\n".into())
    );
    let missing = call(scratch.path(), "svup", &["missing"]);
    let fatal = "svup: fatal: unable to chdir to missing: file does not exist\n";
    assert_eq!(missing.verdict(), (Some(111), fatal.into()));
    let fake = Fake::keep(&dir);
    assert_eq!(svup(&["case"]), Some(100));
    fake.status(b"short");
    let short = call(scratch.path(), "svup", &["case"]);
    let fatal = "svup: fatal: bad data in case/supervise/status: truncated file\n";
    assert_eq!(short.verdict(), (Some(111), fatal.into()));
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
fn svup_believes_the_record_that_a_service_needs_no_process() {
    let scratch = Scratch::new();
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    fake.status(&status(0, Want::Up).to_bytes());
    assert_eq!(call(scratch.path(), "svup", &["case"]).code, Some(100));
    let started = Record { phase: Phase::Started, ..record(Identity::default(), Want::Up) };
    fs::write(fake.file("record"), started.to_bytes()).unwrap();
    assert_eq!(call(scratch.path(), "svup", &["case"]).code, Some(0));
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
