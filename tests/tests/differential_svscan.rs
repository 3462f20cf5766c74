//! The original's svscan beside ours: the same folders, the same signals, the same changes. What
//! differs on purpose stands in [`DIFFERENCES`]; all else must be the same.

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod beside;

use beside::{Difference, PATIENCE, compare, compare_each, difference, launch, lives, sh};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use testkit::scratch::{is_supervised, pid_in_status, script};
use testkit::{Scratch, Suite, run, until};

const ENDS_ALL: &str = "who ends svscan means its services";
const NO_REASON_TO_DIE: &str = "a signal that means something is obeyed, and no other ends it";

const DIFFERENCES: &[Difference] = &[
    difference(
        "--help",
        ("111 svscan: fatal: unable to chdir to --help: file does not exist\n", "0 "),
        "`--help`, `--version`",
        "people try it, and no folder is called so",
    ),
    difference(
        "log is a file",
        ("supervise: fatal: unable to chdir to log: not a directory; a is up", "; a is up"),
        "`NAME/log` is a file",
        "a file that cannot be executed is no logger, as in daemontools-encore",
    ),
    difference(
        "log is a link to itself",
        (
            "svscan: warning: unable to stat a/log: symbolic link loop; a is not up",
            "supervise: warning: unable to stat a/log: symbolic link loop; a is not up",
        ),
        "`NAME/log` cannot be looked at",
        "it is supervise that looks, and says why the service has to wait",
    ),
    difference(
        "log has no run",
        (
            "supervise: fatal: unable to start log/run: file does not exist; a is up",
            "supervise: fatal: unable to start a/log/run: file does not exist; a is up",
        ),
        "the text when `run` cannot be started",
        "whose logger it is belongs to the message",
    ),
    difference(
        "lock is a folder",
        (
            "supervise: fatal: unable to acquire a/supervise/lock: is a directory; a is not up",
            "supervise: warning: unable to acquire a/supervise/lock: is a directory; a is not up",
        ),
        "a supervise that svscan started cannot use its folder",
        "it does not end: it keeps the logger, and the service as soon as it can",
    ),
    difference("TERM", ("signal 15, service lives", "exit 0, service is dead"), TERM, ENDS_ALL),
    difference("INT", ("signal 2, service lives", "exit 0, service is dead"), TERM, ENDS_ALL),
    difference(
        "HUP",
        ("signal 1, service lives", "goes on, service lives"),
        "HUP, ALRM to svscan",
        NO_REASON_TO_DIE,
    ),
    difference(
        "ALRM",
        ("signal 14, service lives", "goes on, service lives"),
        "HUP, ALRM to svscan",
        NO_REASON_TO_DIE,
    ),
    difference(
        "USR1",
        ("signal 10, service lives", "goes on, service lives"),
        "USR1 to svscan",
        NO_REASON_TO_DIE,
    ),
    difference(
        "USR2",
        ("signal 12, service lives", "goes on, service lives"),
        "QUIT, USR2, WINCH to svscan",
        NO_REASON_TO_DIE,
    ),
    difference(
        "QUIT",
        ("signal 3, service lives", "goes on, service lives"),
        "QUIT, USR2, WINCH to svscan",
        NO_REASON_TO_DIE,
    ),
    difference(
        "a new svscan",
        ("supervise: fatal: unable to acquire a/supervise/lock: temporary failure", ""),
        "KILL to svscan, then a new one",
        "the new one takes over the supervise that runs",
    ),
    difference(
        "second argument",
        (
            "own: , messages: svscan: warning: unable to stat dangling: file does not exist\n",
            "own: svscan: warning: unable to stat dangling: file does not exist\n, messages: ",
        ),
        "second argument",
        "what has no meaning in daemontools works as in daemontools-encore",
    ),
];

const TERM: &str = "TERM, INT to svscan";

/// Says that it runs, in a file of its directory.
const RUN: &str = "#!/bin/sh\necho start >>ran\nexec sleep 1000000\n";

/// A folder `services` in a scratch folder, scanned.
struct Scanned {
    scratch: Scratch,
    suite: Suite,
    child: Mutex<Child>,
}

impl Scanned {
    /// Makes the folder by a shell line; there is a service directory `sv` to copy.
    fn prepare(make: &str) -> Scratch {
        let scratch = Scratch::new();
        let _ = scratch.service("sv", RUN);
        sh(scratch.path(), &format!("mkdir services; {make}"));
        scratch
    }

    fn start(suite: Suite, make: &str, before: &str) -> Self {
        let scratch = Self::prepare(make);
        let child = launch(&scratch, "svscan", suite, before, &["services"]);
        Self { scratch, suite, child: Mutex::new(child) }
    }

    fn dir(&self, name: &str) -> PathBuf {
        self.scratch.join("services").join(name)
    }

    fn pid(&self, name: &str) -> Option<u32> {
        pid_in_status(&self.dir(name)).and_then(|pid| u32::try_from(pid).ok())
    }

    /// Waits for a service and returns its pid.
    #[track_caller]
    fn up(&self, name: &str) -> u32 {
        until(PATIENCE, || self.pid(name).is_some_and(lives));
        self.pid(name).unwrap()
    }

    /// Waits until a service that is added now runs: the folder was scanned since.
    #[track_caller]
    fn scanned(&self, name: &str) {
        sh(self.scratch.path(), &format!("cp -r sv {name}; mv {name} services"));
        self.up(name);
    }

    fn messages(&self) -> String {
        fs::read_to_string(self.scratch.join("messages")).unwrap_or_default()
    }

    /// Waits until each of these was said, and returns all that was, once each, in order.
    #[track_caller]
    fn said(&self, words: &[&str]) -> String {
        until(PATIENCE, || words.iter().all(|word| self.messages().contains(word)));
        let text = self.messages();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        lines.join("\n")
    }

    fn ended(&self) -> Option<String> {
        use std::os::unix::process::ExitStatusExt;
        let status = self.child.lock().unwrap().try_wait().unwrap()?;
        Some(match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or(0)),
        })
    }

    fn svc(&self, letters: &str, name: &str) {
        let svc = self.suite.program("svc");
        let told = run(Command::new(svc).arg(letters).arg(self.dir(name)));
        assert_eq!((told.code, told.err()), (Some(0), String::new()), "svc {letters}");
    }

    fn kill(&self, signal: &str) {
        let pid = self.child.lock().unwrap().id();
        sh(self.scratch.path(), &format!("kill -{signal} {pid}"));
    }
}

#[test]
fn the_same_folders_cannot_be_scanned() {
    let long = "x".repeat(256);
    let cases: &[(&str, &[&str])] = &[
        ("a missing folder", &["none"]),
        ("a file", &["sv/run"]),
        ("an empty argument", &[""]),
        ("an option is a folder", &["-x"]),
        ("two dashes", &["--", "services"]),
        ("a name that is too long", &[&long]),
        ("further arguments", &["none", "services", "x"]),
        ("--help", &["--help"]),
    ];
    compare_each(DIFFERENCES, cases, |suite, args| {
        let scratch = Scanned::prepare(":");
        let said =
            run(Command::new(suite.program("svscan")).args(*args).current_dir(scratch.path()));
        format!("{:?} {}", said.code.unwrap_or(-1), said.err())
    });
}

#[test]
fn the_same_entries_are_services() {
    compare(DIFFERENCES, "entries", |suite| {
        let make = "cd services; cp -r ../sv a; cp -r ../sv .hidden; cp ../sv/run file; \
            ln -s ../sv link; ln -s none dangling; ln -s loop loop; mkdir empty; ln -s a again; \
            mkfifo fifo; cp -r ../sv 'a b'; cp -r ../sv -- -x";
        let all = Scanned::start(suite, make, ":");
        for name in ["a", "link", "a b", "-x"] {
            all.up(name);
        }
        let said = all.said(&["stat dangling", "stat loop", "empty/run"]);
        all.scanned("later");
        assert!(!all.dir(".hidden").join("supervise").exists());
        let starts = fs::read_to_string(all.dir("a").join("ran")).unwrap();
        // Two names are one service: nobody fights for its lock.
        format!("{said}\n{} starts of a", starts.lines().count())
    });
}

#[test]
fn troubles_are_told_in_the_same_words() {
    // The folder, the surroundings; what to wait for, with the original and with ours.
    type Case = (&'static str, &'static str, [&'static [&'static str]; 2]);
    // Not a message, but that the service `a` runs.
    const RUNS: &str = "a runs";
    const CASES: &[(&str, Case)] = &[
        (
            "no supervise in PATH",
            ("cp -r sv services/a", "PATH=/nowhere", [&["start supervise a"]; 2]),
        ),
        (
            "a service called supervise",
            ("cp -r sv services/supervise", "PATH=/nowhere", [&["supervise supervise"]; 2]),
        ),
        (
            "log is a file",
            ("cp -r sv services/a; touch services/a/log", ":", [&["to log", RUNS], &[RUNS]]),
        ),
        (
            "log is a link to itself",
            ("cp -r sv services/a; ln -s log services/a/log", ":", [&["stat a/log"]; 2]),
        ),
        (
            "log has no run",
            ("cp -r sv services/a; mkdir services/a/log", ":", [&["log/run", RUNS]; 2]),
        ),
        (
            "lock is a folder",
            ("cp -r sv services/a; mkdir -p services/a/supervise/lock", ":", [&["lock"]; 2]),
        ),
    ];
    compare_each(DIFFERENCES, CASES, |suite, (make, before, [original, ours])| {
        let all = Scanned::start(suite, make, before);
        let runs = || all.dir("a").join("ran").exists();
        for word in if suite == Suite::Ours { *ours } else { *original } {
            until(PATIENCE, || if *word == RUNS { runs() } else { all.messages().contains(word) });
        }
        if *before == ":" {
            all.scanned("later");
        }
        let up = if runs() { "up" } else { "not up" };
        format!("{}; a is {up}", all.said(&[]))
    });
}

#[test]
fn a_folder_that_cannot_be_read_is_told_and_read_again_later() {
    compare(DIFFERENCES, "unreadable", |suite| {
        let as_nobody = "chmod go+rwx . services; chmod 311 services; \
            if [ $(id -u) = 0 ]; then exec setuidgid nobody \"$0\" \"$@\"; fi";
        let all = Scanned::start(suite, ":", as_nobody);
        let said = all.said(&["directory"]);
        sh(all.scratch.path(), "chmod -R go+w sv; cp -rp sv services/a; chmod 755 services");
        all.up("a");
        said
    });
}

/// A service that writes numbers and a logger that keeps them.
const PAIR: &str = "cp -r sv services/a; mkdir services/a/log; cd services/a; \
    printf '#!/bin/sh\\necho start >>ran\\necho to the log\\nexec sleep 1000000\\n' >run; \
    printf '#!/bin/sh\\nexec cat >>said\\n' >log/run; chmod 755 run log/run";

fn pair(suite: Suite, before: &str) -> String {
    let all = Scanned::start(suite, PAIR, before);
    let said = || fs::read_to_string(all.dir("a/log/said")).unwrap_or_default();
    let first = all.up("a");
    let logger = all.up("a/log");
    until(PATIENCE, || said() == "to the log\n");
    all.svc("-t", "a");
    until(PATIENCE, || said() == "to the log\nto the log\n");
    assert!(lives(logger));
    assert_ne!(all.up("a"), first);
    all.svc("-k", "a/log");
    until(PATIENCE, || all.pid("a/log").is_some_and(|pid| pid != logger && lives(pid)));
    all.svc("-t", "a");
    until(PATIENCE, || said() == "to the log\n".repeat(3));
    // The idiom of the manual: all of it ends for good.
    sh(all.scratch.path(), "mv services/a gone");
    let svc = suite.program("svc");
    let told =
        run(Command::new(svc).args(["-dx", "gone", "gone/log"]).current_dir(all.scratch.path()));
    assert_eq!(told.err(), "");
    let is_over = |dir: &str| !is_supervised(&all.scratch.join(dir));
    until(PATIENCE, || is_over("gone") && is_over("gone/log"));
    all.scanned("later");
    assert!(is_over("gone") && is_over("gone/log"));
    all.messages()
}

#[test]
fn a_service_with_a_log_is_a_pair() {
    compare(DIFFERENCES, "pair", |suite| pair(suite, ":"));
}

#[test]
fn the_original_s_svscan_is_content_with_our_supervise() {
    let ours = Suite::Ours.program("supervise");
    let before = format!("PATH={}:$PATH", ours.parent().unwrap().display());
    assert_eq!(pair(Suite::Original, &before), "");
}

#[test]
fn a_service_under_svscan_gets_the_same_surroundings() {
    compare(DIFFERENCES, "surroundings", |suite| {
        let make = "cp -r sv services/a; mkdir services/a/log; touch services/a/no-setsid; \
            printf '#!/bin/sh\\nexec cat >>said\\n' >services/a/log/run; chmod 755 services/a/log/run";
        let scratch = Scanned::prepare(make);
        let facts = "#!/bin/sh\n{ echo argv $0 $#; pwd; env | sort; umask
            [ /proc/$$/fd/0 -ef /dev/null ] && echo null; [ -p /proc/$$/fd/1 ] && echo pipe
            } >facts.new 2>messages\n[ /proc/$$/fd/2 -ef ../../messages ] && echo same >>facts.new
            mv facts.new facts\nexec sleep 1000000\n";
        script(&scratch.join("services/a/run"), facts);
        let child = launch(&scratch, "svscan", suite, ":", &["services"]);
        let all = Scanned { scratch, suite, child: Mutex::new(child) };
        until(PATIENCE, || all.dir("a").join("facts").exists());
        let facts = fs::read_to_string(all.dir("a").join("facts")).unwrap();
        let bin = suite.program("svscan");
        let path = format!("PATH={}:", bin.parent().unwrap().display());
        facts.replace(all.scratch.path().to_str().unwrap(), "HERE").replace(&path, "PATH=")
    });
}

#[test]
fn a_renamed_entry_is_the_same_service_and_a_removed_one_runs_on() {
    compare(DIFFERENCES, "renamed", |suite| {
        let all = Scanned::start(suite, "cp -r sv services/a; cp -r sv services/b", ":");
        let (a, b) = (all.up("a"), all.up("b"));
        sh(all.scratch.path(), "mv services/a services/c; mv services/b gone");
        all.scanned("later");
        assert!(lives(a) && lives(b));
        assert_eq!(all.pid("c"), Some(a));
        all.messages()
    });
}

#[test]
fn a_supervise_that_ended_is_started_again() {
    compare(DIFFERENCES, "started again", |suite| {
        let all = Scanned::start(suite, "cp -r sv services/a", ":");
        let first = all.up("a");
        all.svc("-dx", "a");
        until(PATIENCE, || all.pid("a").is_some_and(|pid| pid != first && lives(pid)));
        // Open from the first status on.
        until(PATIENCE, || is_supervised(&all.dir("a")));
        all.messages()
    });
}

#[test]
fn what_a_signal_to_svscan_does() {
    const CASES: &[(&str, &str)] = &[
        ("TERM", "TERM"),
        ("INT", "INT"),
        ("HUP", "HUP"),
        ("ALRM", "ALRM"),
        ("USR1", "USR1"),
        ("USR2", "USR2"),
        ("QUIT", "QUIT"),
        ("KILL", "KILL"),
    ];
    compare_each(DIFFERENCES, CASES, |suite, signal| {
        let all = Scanned::start(suite, "cp -r sv services/a", ":");
        let pid = all.up("a");
        all.kill(signal);
        let mut goes_on = false;
        if suite == Suite::Ours && !["TERM", "INT", "KILL"].contains(signal) {
            all.scanned("later");
            goes_on = true;
        }
        until(PATIENCE, || goes_on || all.ended().is_some());
        let end = all.ended().unwrap_or("goes on".to_owned());
        format!("{end}, service {}", if lives(pid) { "lives" } else { "is dead" })
    });
}

#[test]
fn a_new_svscan_after_one_that_was_killed() {
    compare(DIFFERENCES, "a new svscan", |suite| {
        let all = Scanned::start(suite, "cp -r sv services/a", ":");
        let pid = all.up("a");
        all.kill("KILL");
        until(PATIENCE, || all.ended().is_some());
        *all.child.lock().unwrap() = launch(&all.scratch, "svscan", suite, ":", &["services"]);
        all.scanned("later");
        if suite == Suite::Original {
            all.said(&["acquire"]);
        }
        assert_eq!(all.pid("a"), Some(pid));
        all.said(&[])
    });
}

#[test]
fn a_second_argument_is_a_service_that_gets_the_output() {
    compare(DIFFERENCES, "second argument", |suite| {
        let scratch = Scanned::prepare("mkdir services/own; ln -s none services/dangling");
        script(&scratch.join("services/own/run"), "#!/bin/sh\nexec cat >>said\n");
        let child = launch(&scratch, "svscan", suite, ":", &["services", "own"]);
        let all = Scanned { scratch, suite, child: Mutex::new(child) };
        let said = || fs::read_to_string(all.dir("own").join("said")).unwrap_or_default();
        until(PATIENCE, || (said() + &all.messages()).contains("dangling"));
        format!("own: {}, messages: {}", said(), all.messages())
    });
}

#[test]
fn the_table_has_reasons_topics_and_no_case_too_many() {
    beside::check(DIFFERENCES, include_str!("differential_svscan.rs"));
}
