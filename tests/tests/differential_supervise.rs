//! The original's supervise beside ours: the same directories, the same commands. What differs on
//! purpose stands in [`DIFFERENCES`]; all else must be the same.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beside;

use beside::{
    Difference, Kept, PATIENCE, compare, compare_each, difference, distinct, listing, lives, sh,
    state,
};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use testkit::scratch::script;
use testkit::{Suite, run, until};

const O_NONBLOCK: i32 = 0o4000;

const NOT_AS_EXPECTED: &str = "files in `supervise` that are not what they should be";
const NOT_OURS: &str = "what lies there was not made by a supervise: using it would mean reading \
    from or writing to somebody else's file";

const DIFFERENCES: &[Difference] = &[
    difference(
        "--help",
        (
            "exit 111: supervise: fatal: unable to chdir to --help: file does not exist\n",
            "exit 0: ",
        ),
        "`--help`, `--version`",
        "people try it, and no directory is called so",
    ),
    difference(
        "--version",
        (
            "exit 111: supervise: fatal: unable to chdir to --version: file does not exist\n",
            "exit 0: ",
        ),
        "`--help`, `--version`",
        "people try it, and no directory is called so",
    ),
    difference(
        "a control that is a file",
        (
            "runs",
            "exit 111: supervise: fatal: unable to read sv/supervise/control: invalid argument\n",
        ),
        NOT_AS_EXPECTED,
        "the original reads the end of the file again and again, and never hears a command",
    ),
    difference(
        "control is a folder",
        (
            "exit 111: supervise: fatal: unable to write sv/supervise/control: is a directory\n",
            "exit 111: supervise: fatal: unable to read sv/supervise/control: is a directory\n",
        ),
        NOT_AS_EXPECTED,
        "one descriptor serves for both ways, so the first use of it is the one that fails",
    ),
    difference(
        "ok is a file",
        ("runs", "exit 111: supervise: fatal: unable to read sv/supervise/ok: invalid argument\n"),
        NOT_AS_EXPECTED,
        "a file can be opened for ever: svok and svstat would say that supervise runs when it does not",
    ),
    difference(
        "ok is a folder",
        ("runs", "exit 111: supervise: fatal: unable to read sv/supervise/ok: invalid argument\n"),
        NOT_AS_EXPECTED,
        "the original keeps a service that nobody can see or control",
    ),
    difference(
        "lock is a link",
        (
            "runs",
            "exit 111: supervise: fatal: unable to acquire sv/supervise/lock: symbolic link loop\n",
        ),
        "`supervise` is a symlink",
        NOT_OURS,
    ),
    difference(
        "supervise is a link to everybody's folder",
        (
            "runs",
            "exit 111: supervise: fatal: unable to acquire sv/supervise/lock: permission denied\n",
        ),
        "`supervise` is a symlink",
        "anybody could put another control there",
    ),
    difference(
        "no right to write",
        (
            "exit 111: supervise: fatal: unable to acquire sv/supervise/lock: file does not exist\n",
            "exit 111: supervise: fatal: unable to acquire sv/supervise/lock: access denied\n",
        ),
        "folder `supervise` cannot be made",
        "the reason is what the reader can do something about",
    ),
];

/// Starts supervise on what a shell line makes of a service directory; tells what comes of it.
fn starts(suite: Suite, make: &str, before: &str, args: &[&str]) -> String {
    let scratch = Kept::prepare();
    sh(scratch.path(), make);
    Kept::start(suite, scratch, before, args).verdict()
}

#[test]
fn the_same_arguments_are_wrong() {
    let long = "x".repeat(256);
    let cases: &[(&str, &[&str])] = &[
        ("no argument", &[]),
        ("two arguments", &["sv", "sv"]),
        ("an option is a folder", &["-x"]),
        ("an option and a folder", &["-x", "sv"]),
        ("two dashes and a folder", &["--", "sv"]),
        ("an empty argument", &[""]),
        ("a missing folder", &["none"]),
        ("a folder below a file", &["sv/run/x"]),
        ("a name that is too long", &[&long]),
        ("--help", &["--help"]),
        ("--version", &["--version"]),
    ];
    compare_each(DIFFERENCES, cases, |suite, args| starts(suite, ":", ":", args));
}

const STARTS: &[(&str, &str)] = &[
    ("a file instead of a folder", "rm -r sv; touch sv"),
    ("a link to itself", "rm -r sv; ln -s sv sv"),
    ("a link to a folder", "mv sv real; ln -s real sv"),
    ("down is a folder", "mkdir sv/down"),
    ("down is a dangling link", "ln -s none sv/down"),
    ("down is a link to itself", "ln -s down sv/down"),
    ("supervise is a file", "touch sv/supervise"),
    ("supervise is a folder that is there", "mkdir -m 755 sv/supervise"),
    ("supervise is a dangling link", "ln -s ../elsewhere sv/supervise"),
    ("supervise is a dangling link to nowhere", "ln -s ../no/where sv/supervise"),
    ("supervise is a link to a folder", "mkdir real; ln -s ../real sv/supervise"),
    ("supervise is a link to everybody's folder", "mkdir -m 777 real; ln -s ../real sv/supervise"),
    ("supervise is a link to itself", "ln -s supervise sv/supervise"),
    ("lock is a folder", "mkdir -p sv/supervise/lock"),
    ("lock is a link", "mkdir sv/supervise; touch lock; ln -s ../../lock sv/supervise/lock"),
    ("lock has content", "mkdir sv/supervise; echo x >sv/supervise/lock"),
    ("a control that is a file", "mkdir sv/supervise; echo u >sv/supervise/control"),
    ("control is a folder", "mkdir -p sv/supervise/control"),
    ("ok is a file", "mkdir sv/supervise; echo u >sv/supervise/ok"),
    ("ok is a folder", "mkdir -p sv/supervise/ok"),
    (
        "files of an earlier life",
        "mkdir sv/supervise; cd sv/supervise; mkfifo -m 600 control ok; \
        touch lock; head -c 18 /dev/zero >status; touch status.new",
    ),
    ("a short status", "mkdir sv/supervise; echo x >sv/supervise/status"),
    ("a long status", "mkdir sv/supervise; head -c 4096 /dev/urandom >sv/supervise/status"),
];

#[test]
fn the_same_directories_can_be_kept() {
    compare_each(DIFFERENCES, STARTS, |suite, make| starts(suite, make, ":", &["sv"]));
}

/// Who may not do everything: nobody where we are root.
fn as_nobody() -> &'static str {
    if sh(Path::new("/"), "id -u").trim() == "0" {
        "chmod go+x . ; chown nobody sv; set -- setuidgid nobody \"$0\" \"$@\"; exec \"$@\""
    } else {
        ":"
    }
}

#[test]
fn the_same_rights_are_needed() {
    const CASES: &[(&str, &str)] = &[
        ("no right to enter", "mkdir sv/in; chmod 0 sv"),
        ("no right to write", "chmod 555 sv"),
        ("no right to write in supervise", "mkdir sv/supervise; chmod 555 sv/supervise"),
        (
            "no right to read the lock",
            "mkdir -m 777 sv/supervise; touch sv/supervise/lock; \
            chmod 0 sv/supervise/lock",
        ),
        ("no right to read control", "mkdir -m 777 sv/supervise; mkfifo -m 0 sv/supervise/control"),
        ("no right to read down", "touch sv/down; chmod 0 sv/down"),
    ];
    compare_each(DIFFERENCES, CASES, |suite, make| starts(suite, make, as_nobody(), &["sv"]));
}

#[test]
fn a_second_supervise_says_the_same_and_harms_nothing() {
    compare(DIFFERENCES, "a second supervise", |suite| {
        let first = Kept::ready(suite, Kept::prepare(), ":");
        let pid = first.up();
        let before = (first.status(), listing(&first.dir().join("supervise")));
        let supervise = suite.program("supervise");
        let said = run(Command::new(supervise).arg("sv").current_dir(first.scratch.path()));
        let after = (first.status(), listing(&first.dir().join("supervise")));
        assert_eq!(before, after);
        assert!(lives(pid));
        format!("{said:?}")
    });
    for holder in ["flock", "setlock"] {
        // Whoever holds it, and however.
        compare(DIFFERENCES, "a lock that another program holds", |suite| {
            let scratch = Kept::prepare();
            sh(scratch.path(), "mkdir sv/supervise; touch sv/supervise/lock");
            let held = Command::new(holder)
                .args(["sv/supervise/lock", "sh", "-c", "echo >held; exec sleep 1000"])
                .current_dir(scratch.path())
                .spawn();
            let mut held = held.expect("a holder");
            until(PATIENCE, || scratch.join("held").exists());
            let said = Kept::start(suite, scratch, ":", &["sv"]).verdict();
            held.kill().expect("kill");
            held.wait().expect("wait");
            said
        });
    }
}

/// What a `run` that cannot be started leads to: the message, and that it is tried again.
fn cannot_run(suite: Suite, make: &str) -> String {
    let scratch = Kept::prepare();
    sh(scratch.path(), make);
    let kept = Kept::ready(suite, scratch, ":");
    until(PATIENCE, || kept.read("messages").lines().count() > 1);
    kept.svc("-dx");
    format!("{}\n{}", kept.end(), distinct(&kept.read("messages")))
}

#[test]
fn a_run_that_cannot_be_started_is_told_in_the_same_words_and_tried_again() {
    const CASES: &[(&str, &str)] = &[
        ("run is missing", "rm sv/run"),
        ("run is not executable", "chmod 644 sv/run"),
        ("run has a bad interpreter", "printf '#!/nowhere/sh\\n' >sv/run"),
        ("run is a folder", "rm sv/run; mkdir sv/run"),
        ("run is empty", ": >sv/run"),
        ("run is garbage", "printf '\\001\\002\\003\\004' >sv/run"),
        ("run is a dangling link", "ln -sf none sv/run"),
        ("run is a link to itself", "ln -sf run sv/run"),
        ("run is a FIFO", "rm sv/run; mkfifo -m 755 sv/run"),
        ("run lies below a file", "ln -sf down/run sv/run; touch sv/file; ln -sf file/x sv/run"),
    ];
    compare_each(DIFFERENCES, CASES, |suite, make| cannot_run(suite, make));
}

#[test]
fn a_run_that_is_mended_or_replaced_runs_at_the_next_start() {
    compare(DIFFERENCES, "run is mended", |suite| {
        let scratch = Kept::prepare();
        sh(scratch.path(), "mv sv/run sv/other");
        let kept = Kept::ready(suite, scratch, ":");
        until(PATIENCE, || !kept.read("messages").is_empty());
        sh(&kept.dir(), "mv other run");
        let first = kept.up();
        script(&kept.dir().join("run"), "#!/bin/sh\necho new >which\nexec sleep 1000\n");
        kept.svc("-t");
        until(PATIENCE, || kept.lines("which") == ["new"]);
        until(PATIENCE, || kept.pid().is_some_and(|pid| pid != first));
        "the new one".to_owned()
    });
}

/// Writes down each start and each signal.
const LISTENER: &str = "#!/bin/sh
for signal in HUP INT QUIT ALRM TERM USR1 USR2 WINCH CONT; do
    trap \"echo $signal >>heard\" $signal
done
echo start >>heard
while :; do
    sleep 1000 &
    wait $!
    kill $! 2>/dev/null
done
";

fn listener(suite: Suite) -> Kept {
    let scratch = Kept::prepare();
    script(&scratch.join("sv/run"), LISTENER);
    let kept = Kept::ready(suite, scratch, ":");
    until(PATIENCE, || kept.lines("heard") == ["start"]);
    kept
}

/// Life of the service after a command.
#[derive(PartialEq)]
enum Life {
    Same,
    New,
    Down,
}
use Life::{Down, New, Same};

/// Letters; what the service hears; what becomes of it; bytes 16 and 17 of the status.
const STEPS: &[(&str, &[&str], Life, &[u8; 2])] = &[
    ("-h", &["HUP"], Same, b"\0u"),
    ("-a", &["ALRM"], Same, b"\0u"),
    ("-i", &["INT"], Same, b"\0u"),
    ("-t", &["TERM"], Same, b"\0u"),
    ("-c", &["CONT"], Same, b"\0u"),
    ("-p", &[], Same, b"\x01u"),
    ("-u", &[], Same, b"\x01u"),
    ("-o", &[], Same, b"\x01\0"),
    ("-c", &["CONT"], Same, b"\0\0"),
    ("-u", &[], Same, b"\0u"),
    ("-p", &[], Same, b"\x01u"),
    ("-d", &["TERM", "CONT"], Same, b"\0d"),
    ("-u", &[], Same, b"\0u"),
    ("-k", &["start"], New, b"\0u"),
    ("-p", &[], Same, b"\x01u"),
    ("-k", &["start"], New, b"\0u"),
    ("-ahit", &["HUP", "INT", "ALRM", "TERM"], Same, b"\0u"),
    ("-o", &[], Same, b"\0\0"),
    ("-k", &[], Down, b"\0\0"),
    ("-hait", &[], Down, b"\0\0"),
    ("-p", &[], Down, b"\0\0"),
    ("-c", &[], Down, b"\0\0"),
    ("-d", &[], Down, b"\0d"),
    ("-o", &["start"], New, b"\0\0"),
    ("-u", &[], Same, b"\0u"),
    ("-d", &["TERM", "CONT"], Same, b"\0d"),
    ("-k", &[], Down, b"\0d"),
    ("-u", &["start"], New, b"\0u"),
    ("-x", &[], Same, b"\0u"),
    ("-a", &["ALRM"], Same, b"\0u"),
];

#[test]
fn every_letter_does_the_same_to_the_service_and_to_the_status() {
    compare(DIFFERENCES, "letters", |suite| {
        let kept = listener(suite);
        let mut told = vec!["start".to_owned()];
        for (i, (letters, heard, life, bytes)) in STEPS.iter().enumerate() {
            let before = kept.status().unwrap();
            kept.svc(letters);
            told.extend(heard.iter().map(|&word| word.to_owned()));
            let is_so = || {
                let raw = fs::read(kept.dir().join("supervise/status")).unwrap();
                let status = kept.status().unwrap();
                let as_told = match life {
                    Same => status.pid == before.pid && status.since == before.since,
                    New => status.pid != before.pid && status.pid != 0,
                    Down => status.pid == 0,
                };
                let mut lines = kept.lines("heard");
                // Signals that come together are heard in the order of their numbers.
                let mut wanted = told.clone();
                let from = told.len() - heard.len();
                if lines.len() == wanted.len() {
                    lines[from..].sort();
                    wanted[from..].sort();
                }
                let stopped = status.pid != 0 && state(status.pid) == Some('T');
                as_told && raw[16..] == bytes[..] && lines == wanted && stopped == (bytes[0] == 1)
            };
            let ok = testkit::wait::holds_within(std::time::Duration::from_secs(PATIENCE), is_so);
            assert!(
                ok,
                "{suite:?}, step {i}, {letters}: {:?} {:?}",
                kept.status(),
                kept.lines("heard")
            );
            told = kept.lines("heard");
        }
        kept.svc("-k");
        let end = kept.end();
        let left = kept.status().unwrap();
        format!("{end}, pid {}, wants {:?}", left.pid, left.want)
    });
}

#[test]
fn bytes_that_are_no_commands_are_ignored_and_many_are_all_obeyed() {
    compare(DIFFERENCES, "bytes", |suite| {
        let kept = listener(suite);
        let pid = kept.up();
        // 800 bytes of every value that names nothing in either program, a command among them.
        let noise: Vec<u8> = (0..=u8::MAX)
            .filter(|byte| !b"udopchaitkxqw12+=Ll".contains(byte))
            .cycle()
            .take(800)
            .collect();
        let bytes = [&noise[..], b"h", &noise, b"\0\n a"].concat();
        fs::write(kept.dir().join("supervise/control"), bytes).unwrap();
        until(PATIENCE, || kept.lines("heard").contains(&"ALRM".to_owned()));
        assert_eq!(kept.up(), pid);
        let mut heard = kept.lines("heard");
        heard.sort();
        format!("{heard:?}")
    });
}

#[test]
fn starts_are_never_closer_than_a_second_apart() {
    compare(DIFFERENCES, "spacing", |suite| {
        let scratch = Kept::prepare();
        script(&scratch.join("sv/run"), "#!/bin/sh\necho >>starts\nexit 3\n");
        let before = std::time::Instant::now();
        let kept = Kept::start(suite, scratch, ":", &["sv"]);
        until(PATIENCE, || kept.lines("starts").len() >= 4);
        // Not how long it takes: it cannot take less.
        assert!(before.elapsed().as_millis() >= 3000);
        "three seconds for four starts".to_owned()
    });
}

#[test]
fn down_keeps_it_down_until_told_otherwise() {
    for (case, make, runs) in [
        ("down: a file", "touch sv/down", false),
        ("down: a folder", "mkdir sv/down", false),
        ("down: a dangling link", "ln -s none sv/down", true),
    ] {
        compare(DIFFERENCES, case, |suite| {
            let scratch = Kept::prepare();
            sh(scratch.path(), make);
            let kept = Kept::ready(suite, scratch, ":");
            if !runs {
                let status = kept.status().unwrap();
                assert_eq!((status.pid, status.want), (0, ondisk::status::Want::Down), "{case}");
                kept.svc("-u");
            }
            kept.up();
            kept.svc("-dx");
            kept.end()
        });
    }
}

#[test]
fn x_ends_supervise_with_0_whenever_nothing_runs() {
    const CASES: &[(&str, (&str, &str))] = &[
        ("x while down", ("touch sv/down", "-x")),
        ("dx while up", (":", "-dx")),
        ("xd while up", (":", "-xd")),
        ("ox, then its end", ("echo '#!/bin/sh' >sv/run", "-ox")),
        ("x, then its end", ("printf '#!/bin/sh\\nread x <go\\n' >sv/run; mkfifo sv/go", "-x")),
    ];
    compare_each(DIFFERENCES, CASES, |suite, (make, letters)| {
        let scratch = Kept::prepare();
        sh(scratch.path(), make);
        let kept = Kept::ready(suite, scratch, ":");
        kept.svc(letters);
        // A death in the original's first second is met before the letter: the next one counts.
        until(PATIENCE, || {
            let _ = fs::File::options()
                .write(true)
                .custom_flags(O_NONBLOCK)
                .open(kept.dir().join("go"));
            kept.ended().is_some()
        });
        let end = kept.end();
        let left = kept.status().unwrap();
        format!("{end}, pid {}, wants {:?}, {}", left.pid, left.want, kept.read("messages"))
    });
}

#[test]
fn the_table_has_reasons_topics_and_no_case_too_many() {
    beside::check(DIFFERENCES, include_str!("differential_supervise.rs"));
}
