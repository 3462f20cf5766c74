//! The original's svc, svok and svstat beside ours, on the same directories: what they write, how
//! they end, what they send. Every intended difference stands in [`DIFFERENCES`].

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

use ondisk::status::{Status, Want};
use ondisk::tai64n::Stamp;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::fake::fifo;
use testkit::scratch::{SLEEPER, is_supervised, pid_in_status};
use testkit::{Fake, Output, Scratch, Suite, run, until};

/// Whose supervise keeps the services that the clients are tried on.
const KEEPERS: &[Suite] = &[Suite::Original, Suite::Ours];

/// An intended difference.
struct Difference {
    case: &'static str,
    /// What ours does: exit code, output, messages.
    ours: (i32, &'static str, &'static str),
    why: &'static str,
}

const fn difference(
    case: &'static str,
    ours: (i32, &'static str, &'static str),
    why: &'static str,
) -> Difference {
    Difference { case, ours, why }
}

const NO_LINK: &str = "below the supervise folder no symlink is followed: the owner of a service \
    directory must not choose what root opens";
const NO_FILE: &str = "the original writes into whatever file is there, that of another user if a \
    link leads to it";
const NOT_SAID: &str = "the original says nothing and exits 0";

const DIFFERENCES: &[Difference] = &[
    difference(
        "svstat status-folder",
        (0, "case: unable to read supervise/status: is a directory\n", ""),
        "the original goes on with uninitialised memory after a failed read",
    ),
    difference(
        "svstat status-symlink",
        (0, "case: unable to open supervise/status: symbolic link loop\n", ""),
        NO_LINK,
    ),
    difference(
        "svstat status-device",
        (0, "case: unable to open supervise/status: symbolic link loop\n", ""),
        NO_LINK,
    ),
    difference(
        "svstat ok-file",
        (0, "case: supervise not running\n", ""),
        "only a FIFO can have a supervise behind it; the original takes any file for one",
    ),
    difference("svok ok-file", (100, "", ""), "as svstat"),
    difference(
        "svstat ok-symlink",
        (0, "case: unable to open supervise/ok: symbolic link loop\n", ""),
        NO_LINK,
    ),
    difference(
        "svok ok-symlink",
        (111, "", "svok: fatal: unable to open case/supervise/ok: symbolic link loop\n"),
        NO_LINK,
    ),
    difference(
        "svc control-file",
        (0, "", "svc: warning: unable to control case: supervise/control is not a FIFO\n"),
        NO_FILE,
    ),
    difference(
        "svc control-symlink",
        (0, "", "svc: warning: unable to control case: supervise/control is not a FIFO\n"),
        NO_LINK,
    ),
    difference(
        "svstat >/dev/full",
        (111, "", "svstat: fatal: unable to write output: out of disk space\n"),
        NOT_SAID,
    ),
    difference(
        "svstat >&-",
        (111, "", "svstat: fatal: unable to write output: file descriptor not open\n"),
        NOT_SAID,
    ),
    difference("svstat <&- >&- 2>&-", (111, "", ""), NOT_SAID),
    difference(
        "svc --foo",
        (100, "", "svc: fatal: unknown option --foo\n"),
        "the original takes any word that begins with -- for the end of the options; ours are real",
    ),
    difference("svc -q", (0, "", ""), "daemontools-encore's letters are accepted"),
];

/// Runs both on the same arguments in `dir`. The original runs before and after, so that a second
/// that ends in between is no difference; and its clock is coarser than ours by a few milliseconds,
/// so that a difference must show again.
fn both(dir: &Path, program: &str, args: &[&str], redirect: &str) -> (Output, Output) {
    let one = |suite: Suite| {
        let line = format!("exec \"$0\" \"$@\" {redirect}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).arg(suite.program(program)).args(args).current_dir(dir);
        run(&mut shell)
    };
    let mut different = 0;
    for _ in 0..20 {
        let (before, ours, after) = (one(Suite::Original), one(Suite::Ours), one(Suite::Original));
        different += u32::from(before == after && before != ours);
        if before == after && (before == ours || different == 3) {
            return (before, ours);
        }
    }
    panic!("{program} {args:?}: the original never says the same twice");
}

/// Compares, and holds the case against the table.
#[track_caller]
fn compare(case: &str, (original, ours): (Output, Output)) {
    match DIFFERENCES.iter().find(|row| row.case == case) {
        None => assert_eq!(ours, original, "{case}: ours, then the original's"),
        Some(Difference { ours: (code, out, err), why, .. }) => {
            let said = (ours.code, ours.out(), ours.err());
            assert_eq!(said, (Some(*code), (*out).into(), (*err).into()), "{case}: {why}");
            assert_ne!(ours, original, "{case} is no difference any more: {why}");
        }
    }
}

fn stamp(seconds_ago: i64) -> Stamp {
    let (now, _) = linux::time::wall();
    // As a running supervise writes it, with a fraction; the original does not look at it.
    Stamp::from_unix(now - seconds_ago, 999_999_999)
}

/// Makes the service directory `case`, up since nine seconds.
fn kept_case(scratch: &Scratch) -> Fake {
    let fake = Fake::keep(&scratch.service("case", SLEEPER));
    let status = Status { since: stamp(9), pid: 1, paused: false, want: Want::Up };
    fake.status(&status.to_bytes());
    fake
}

#[test]
fn svstat_tells_every_status_like_the_original() {
    let scratch = Scratch::new();
    let fake = kept_case(&scratch);
    let down_file = scratch.join("case/down");
    let stamps = [stamp(0), stamp(1), stamp(100_000), stamp(-100), Stamp::default()];
    for since in stamps.into_iter().chain([Stamp { seconds: u64::MAX, nanos: u32::MAX }]) {
        for (pid, paused) in [(0, 0), (0, 1), (1, 0), (77, 1), (u32::MAX, 255)] {
            for want in [b'u', b'd', 0, b'x'] {
                let status = Status { since, pid, paused: false, want: Want::Up };
                let mut bytes = status.to_bytes();
                (bytes[16], bytes[17]) = (paused, want);
                fake.status(&bytes);
                for down in [false, true] {
                    let _ = fs::remove_file(&down_file);
                    if down {
                        fs::write(&down_file, "").unwrap();
                    }
                    let case = format!("{status:?} {paused} {want} {down}");
                    compare(&case, both(scratch.path(), "svstat", &["case"], ""));
                }
            }
        }
    }
}

/// Takes a file of the supervise folder away and returns its path.
fn without(fake: &Fake, name: &str) -> PathBuf {
    fs::remove_file(fake.file(name)).unwrap();
    fake.file(name)
}

/// Puts a symlink in a file's place; the file is `else` now.
fn linked(fake: &Fake, name: &str) {
    fs::rename(fake.file(name), fake.file("else")).unwrap();
    symlink("else", fake.file(name)).unwrap();
}

fn service_file(fake: &Fake, name: &str) -> PathBuf {
    fake.file("").parent().unwrap().join(name)
}

/// Spoils the folder of a kept service.
type Spoil = fn(&Fake);

const SPOILT: &[(&str, Spoil)] = &[
    ("status-empty", |fake| fake.status(b"")),
    ("status-17-bytes", |fake| fake.status(&[7; 17])),
    ("status-19-bytes", |fake| fake.status(&[7; 19])),
    ("status-20-bytes", |fake| fake.status(&[7; 20])),
    ("status-40-bytes", |fake| fake.status(&[7; 40])),
    ("status-100-bytes", |fake| fake.status(&[7; 100])),
    ("status-of-noise", |fake| fake.status(&(0..=255).rev().collect::<Vec<u8>>())),
    ("status-missing", |fake| drop(without(fake, "status"))),
    ("status-huge", |fake| {
        fs::File::create(fake.file("status")).unwrap().set_len(1 << 40).unwrap();
    }),
    ("status-fifo", |fake| fifo(&without(fake, "status"))),
    ("status-folder", |fake| fs::create_dir(without(fake, "status")).unwrap()),
    ("status-symlink", |fake| linked(fake, "status")),
    ("status-device", |fake| symlink("/dev/zero", without(fake, "status")).unwrap()),
    ("status-loop", |fake| symlink("status", without(fake, "status")).unwrap()),
    ("ok-missing", |fake| drop(without(fake, "ok"))),
    ("ok-without-reader", |fake| fifo(&without(fake, "ok"))),
    ("ok-file", |fake| fs::write(without(fake, "ok"), "").unwrap()),
    ("ok-folder", |fake| fs::create_dir(without(fake, "ok")).unwrap()),
    ("ok-symlink", |fake| linked(fake, "ok")),
    ("control-missing", |fake| drop(without(fake, "control"))),
    ("control-without-reader", |fake| fifo(&without(fake, "control"))),
    ("control-file", |fake| fs::write(without(fake, "control"), "").unwrap()),
    ("control-folder", |fake| fs::create_dir(without(fake, "control")).unwrap()),
    ("control-symlink", |fake| linked(fake, "control")),
    ("no-folder", |fake| fs::remove_dir_all(service_file(fake, "supervise")).unwrap()),
    ("folder-is-a-file", |fake| {
        fs::remove_dir_all(service_file(fake, "supervise")).unwrap();
        fs::write(service_file(fake, "supervise"), "").unwrap();
    }),
    ("folder-is-a-symlink", |fake| {
        fs::rename(service_file(fake, "supervise"), service_file(fake, "else")).unwrap();
        symlink("else", service_file(fake, "supervise")).unwrap();
    }),
    ("down-dangling", |fake| symlink("nowhere", service_file(fake, "down")).unwrap()),
    ("down-loop", |fake| symlink("down", service_file(fake, "down")).unwrap()),
];

#[test]
fn spoilt_folders_are_reported_like_the_original_does() {
    for (name, spoil) in SPOILT {
        let scratch = Scratch::new();
        let fake = kept_case(&scratch);
        spoil(&fake);
        for (program, args) in
            [("svstat", &["case"][..]), ("svok", &["case"]), ("svc", &["-u", "case"])]
        {
            compare(&format!("{program} {name}"), both(scratch.path(), program, args, ""));
        }
    }
}

/// Where nothing else is in the folder, it shows what the original makes of it.
#[test]
fn a_regular_file_as_ok_is_no_supervise_though_the_original_takes_it_for_one() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.service("case", SLEEPER).join("supervise")).unwrap();
    fs::write(scratch.join("case/supervise/ok"), "").unwrap();
    let (original, ours) = both(scratch.path(), "svstat", &["case"], "");
    let opened = "case: unable to open supervise/status: file does not exist\n";
    assert_eq!((original.code, original.out()), (Some(0), opened.into()));
    assert_eq!((ours.code, ours.out()), (Some(0), "case: supervise not running\n".into()));
    let (original, ours) = both(scratch.path(), "svok", &["case"], "");
    assert_eq!((original.code, ours.code), (Some(0), Some(100)));
}

#[test]
fn directories_are_named_in_any_way_the_original_takes() {
    let scratch = Scratch::new();
    let _fake = kept_case(&scratch);
    fs::write(scratch.join("file"), "").unwrap();
    fs::create_dir(scratch.join("bare")).unwrap();
    symlink("nowhere", scratch.join("dangling")).unwrap();
    symlink("loop", scratch.join("loop")).unwrap();
    symlink("case", scratch.join("linked")).unwrap();
    let long = "x".repeat(300);
    let mut dirs = vec!["case", "case/", "./case", "case/.", "linked", "", ".", "/", "-", "-l"];
    dirs.extend(["file", "file/", "bare", "missing", "dangling", "loop", "new\nline", "\u{1b}[2J"]);
    dirs.push(&long);
    for dir in &dirs {
        for program in ["svstat", "svok"] {
            compare(&format!("{program} {dir:?}"), both(scratch.path(), program, &[dir], ""));
        }
        let args = ["-u", "--", dir, "case"];
        compare(&format!("svc {dir:?}"), both(scratch.path(), "svc", &args, ""));
    }
    compare("svstat of all", both(scratch.path(), "svstat", &dirs, ""));
    compare("svok of all", both(scratch.path(), "svok", &dirs, ""));
}

#[test]
fn arguments_are_read_like_the_original_does() {
    let scratch = Scratch::new();
    let _fake = kept_case(&scratch);
    for program in ["svstat", "svok", "svc"] {
        compare(program, both(scratch.path(), program, &[], ""));
        compare(program, both(scratch.path(), program, &["case", "--", "case"], ""));
        compare(program, both(scratch.path(), program, &["--", "case"], ""));
        compare(program, both(scratch.path(), program, &["-", "case"], ""));
    }
    let lines = ["-z case", "-uz case", "-u -z", "-u", "-u -- -d", "case -u", "-: case", "-? case"];
    for line in lines.into_iter().chain(["-U case", "-\u{fc} case", "--foo case", "-q case"]) {
        let args: Vec<&str> = line.split(' ').collect();
        let row = matches!(args[0], "--foo" | "-q");
        let case = format!("svc {}", if row { args[0] } else { line });
        compare(&case, both(scratch.path(), "svc", &args, ""));
    }
}

#[test]
fn closed_and_full_descriptors_change_nothing_but_what_the_table_says() {
    let scratch = Scratch::new();
    let mut fake = kept_case(&scratch);
    let redirects = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full"];
    for redirect in redirects {
        for (program, args) in
            [("svstat", &["case"][..]), ("svok", &["case"]), ("svc", &["-u", "missing", "case"])]
        {
            let case = format!("{program} {redirect}");
            compare(&case, both(scratch.path(), program, args, redirect));
            // No warning went into the control pipe that got a closed descriptor's number.
            let sent = fake.received();
            assert!(sent.iter().all(|byte| *byte == b'u'), "{case}");
            assert_eq!(sent.is_empty(), program != "svc", "{case}");
        }
    }
}

#[test]
fn every_letter_arrives_as_the_original_sends_it() {
    let scratch = Scratch::new();
    let mut fake = kept_case(&scratch);
    let joined = ["ud", "dx", "xd", "udopchaitkx", "uu", "udu", "kitchup"];
    let single = "udopchaitkx".chars().map(String::from);
    for letters in single.chain(joined.map(String::from)) {
        let mut sent = |suite: Suite, args: &[&str]| {
            run(Command::new(suite.program("svc")).args(args).current_dir(scratch.path()));
            fake.received()
        };
        let option = format!("-{letters}");
        for args in [&[option.as_str(), "case"][..], &["-c", &option, "case", "case"]] {
            let original = sent(Suite::Original, args);
            assert!(!original.is_empty());
            assert_eq!(sent(Suite::Ours, args), original, "{args:?}");
        }
    }
}

/// Runs through a service's life with one suite's svc; both svstats agree at each step.
fn one_life(keeper: Suite, client: Suite) {
    let scratch = Scratch::new();
    let dir = scratch.service("case", SLEEPER);
    let mut supervise = scratch.supervise(keeper, "case");
    until(10, || pid_in_status(&dir).is_some());
    let svc = |letters: &str| {
        let done = run(Command::new(client.program("svc")).arg(letters).arg(&dir));
        assert_eq!((done.code, done.out(), done.err()), (Some(0), String::new(), String::new()));
    };
    let agree = |program: &str| {
        let (original, ours) = both(scratch.path(), program, &["case"], "");
        assert_eq!(ours, original, "{program}, kept by {keeper:?}, controlled by {client:?}");
        ours.out()
    };
    let say = |suffix: &str| {
        until(10, || agree("svstat").trim_end().rsplit(" seconds").next() == Some(suffix));
    };
    say("");
    for (letter, suffix) in [("-p", ", paused"), ("-c", "")] {
        svc(letter);
        say(suffix);
    }
    for letter in ["-t", "-k", "-h", "-a", "-i"] {
        let before = pid_in_status(&dir);
        svc(letter);
        until(10, || pid_in_status(&dir).is_some_and(|pid| before != Some(pid)));
    }
    for (letter, suffix) in
        [("-d", ", normally up"), ("-o", ""), ("-t", ", normally up"), ("-u", "")]
    {
        svc(letter);
        say(suffix);
    }
    agree("svok");
    svc("-dx");
    until(10, || !is_supervised(&dir));
    agree("svstat");
    agree("svok");
    supervise.wait().unwrap();
}

#[test]
fn a_service_obeys_either_client_and_either_client_tells_the_same() {
    for &keeper in KEEPERS {
        for client in [Suite::Original, Suite::Ours] {
            one_life(keeper, client);
        }
    }
}
