//! All of it together, as a user meets it, with everything wrong that can be.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use testkit::scratch::{is_supervised, pid_in_status};
use testkit::svscan::{
    COUNTED, Svscan, TALKER, add_logger, kill9, lines, lose_supervise, nothing_is_lost, starts,
    supervise_of, svc, svscan, until_unsupervised,
};
use testkit::{Scratch, program, run};

const O_NONBLOCK: i32 = 0o4000;

fn client(scan: &Svscan, tool: &str, args: &[&str]) -> testkit::Output {
    run(Command::new(program(tool)).args(args).current_dir(scan.folder()))
}

/// Each program names what is wrong, and ends with the code that daemontools has for it.
#[track_caller]
fn wrong_arguments(scan: &Svscan) {
    for (tool, args, code, said) in [
        (
            "svc",
            &["-t", "missing"][..],
            0,
            "svc: warning: unable to chdir to missing: file does not exist\n",
        ),
        ("svc", &["-z", "web"], 100, "svc: illegal option -- z\n"),
        (
            "svok",
            &["missing"],
            111,
            "svok: fatal: unable to chdir to missing: file does not exist\n",
        ),
        (
            "svscan",
            &["missing"],
            111,
            "svscan: fatal: unable to chdir to missing: file does not exist\n",
        ),
        (
            "supervise",
            &["missing"],
            111,
            "supervise: fatal: unable to chdir to missing: file does not exist\n",
        ),
        (
            "supervise",
            &["web"],
            111,
            "supervise: fatal: unable to acquire web/supervise/lock: temporary failure\n",
        ),
        ("supervise", &[], 100, "supervise: usage: supervise dir\n"),
    ] {
        let output = client(scan, tool, args);
        assert_eq!(output.code, Some(code), "{tool} {args:?}: {output:?}");
        assert!(output.err().contains(said), "{tool} {args:?}: {output:?}");
    }
    let output = client(scan, "svstat", &["missing"]);
    assert!(
        output.out().starts_with("missing: unable to chdir: file does not exist"),
        "{output:?}"
    );
}

/// Bytes none of which is a command, more than fit.
fn garbage_in_control(dir: &Path) {
    let mut control = fs::File::options()
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(dir.join("supervise/control"))
        .unwrap();
    let garbage: Vec<u8> =
        (0..=255u8).filter(|b| !b.is_ascii_alphanumeric() && !b"+=".contains(b)).collect();
    for _ in 0..20 {
        // Full is as good: what does not fit is nobody's loss.
        let _ = control.write_all(&garbage);
    }
    drop(control);
}

/// svstat on a full device.
#[track_caller]
fn no_room_for_output(scan: &Svscan) {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut svstat = Command::new(program("svstat"));
    let status = svstat
        .arg("web")
        .current_dir(scan.folder())
        .stdout(full)
        .stderr(std::process::Stdio::null());
    assert_eq!(status.status().unwrap().code(), Some(111));
}

/// Bad input to each program gets one clear line, and the services notice nothing.
#[test]
fn bad_input_gets_a_clear_error_and_nothing_is_lost() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", TALKER);
    add_logger(&dir);
    let unreadable = scratch.service("service/unreadable", COUNTED);
    fs::set_permissions(unreadable.join("run"), fs::Permissions::from_mode(0o000)).unwrap();
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| lines(&dir.join("log/lines")) > 5);
    let pids = (pid_in_status(&dir), pid_in_status(&dir.join("log")));

    wrong_arguments(&scan);
    scan.until(|| scan.messages().contains("unable to start unreadable/run: access denied"));

    garbage_in_control(&dir);
    no_room_for_output(&scan);

    let before = lines(&dir.join("log/lines"));
    scan.until(|| lines(&dir.join("log/lines")) > before + 5);
    assert_eq!((pid_in_status(&dir), pid_in_status(&dir.join("log"))), pids);
    // The mended one starts by itself.
    fs::set_permissions(unreadable.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    scan.until(|| starts(&unreadable) == 1);
    svc(scan.folder(), &["-d", "web"]);
    scan.until(|| pid_in_status(&dir).is_none());
    nothing_is_lost(&dir);
    assert_eq!(scan.end().code(), Some(0));
}

/// Descriptors closed, messages into a full device, everything killed once: nothing is lost.
#[test]
fn a_bad_day_loses_no_service_and_no_line() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", TALKER);
    add_logger(&dir);
    let other = scratch.service("service/other", COUNTED);
    let start = || {
        let wrapper = ["sh", "-c", "exec \"$@\" <&- >&- 2>/dev/full", "sh"];
        let mut command = svscan(&scratch, &wrapper, &[], "service");
        Svscan::spawn(&scratch.join("service"), &mut command)
    };
    let scan = start();
    scan.until(|| lines(&dir.join("log/lines")) > 5 && starts(&other) == 1);
    fs::write(scan.join("a file"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", scan.join("dangling")).unwrap();
    scan.kill9();
    let lost = supervise_of(&scratch, &dir).unwrap();
    kill9(lost);
    let scan = start();
    scan.until(|| supervise_of(&scratch, &dir).is_some_and(|pid| pid != lost));
    scan.until(|| is_supervised(&dir));
    assert_eq!((starts(&dir), starts(&dir.join("log")), starts(&other)), (1, 1, 1));
    lose_supervise(&scratch, &other);
    kill9(pid_in_status(&other).unwrap());
    scan.until(|| starts(&other) == 2);
    let before = lines(&dir.join("log/lines"));
    scan.until(|| lines(&dir.join("log/lines")) > before + 5);
    let output = client(&scan, "svstat", &["web", "web/log", "other"]);
    assert_eq!(output.out().lines().filter(|l| l.contains(": up (pid ")).count(), 3, "{output:?}");
    svc(scan.folder(), &["-d", "web"]);
    scan.until(|| pid_in_status(&dir).is_none());
    nothing_is_lost(&dir);
    assert_eq!(scan.end().code(), Some(0));
    until_unsupervised(&dir);
    until_unsupervised(&other);
}
