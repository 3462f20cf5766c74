//! svlog follows real loggers that rotate under load: each line is shown once, in order.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use testkit::{Scratch, Suite, program, run, until};

/// Whose multilog is tried: ours too, as soon as the tree has one.
fn multilogs() -> Vec<PathBuf> {
    let suites = [Some(Suite::Original), has_ours().then_some(Suite::Ours)];
    suites.into_iter().flatten().map(|suite| suite.program("multilog")).collect()
}

fn has_ours() -> bool {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/multilog/src/bin/multilog.rs");
    ours.is_file()
}

/// A child that is killed at the end.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Killed {
    fn pid(&self) -> i32 {
        self.0.id().cast_signed()
    }

    fn end(&mut self) -> Option<i32> {
        let mut status = None;
        until(30, || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

/// A logger and where its lines go in.
struct Logger {
    child: Killed,
    to: Option<ChildStdin>,
    written: u64,
}

impl Logger {
    fn start(dir: &Path, logger: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(logger);
        command.args(args).current_dir(dir).stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = Killed(command.spawn().expect("logger"));
        let to = child.0.stdin.take();
        until(10, || dir.join("log/current").exists());
        Self { child, to, written: 0 }
    }

    fn write(&mut self, lines: u64) {
        let numbers = self.written + 1..=self.written + lines;
        let text: Vec<String> = numbers.map(|n| format!("line {n}\n")).collect();
        let text = text.concat();
        self.written += lines;
        self.to.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Ends the input and waits for the logger's end.
    fn finish(&mut self) {
        self.to = None;
        assert_eq!(self.child.end(), Some(0), "the logger");
    }
}

/// Starts `svlog -f`, by way of `before`, with its output in files.
fn follow(dir: &Path, before: &[&str], args: &[&str]) -> Killed {
    let svlog = program("svlog").into_os_string().into_string().unwrap();
    let words: Vec<&str> = before.iter().copied().chain([svlog.as_str(), "-f"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(args).current_dir(dir).stdin(Stdio::null());
    command.stdout(File::create(dir.join("shown")).unwrap());
    command.stderr(File::create(dir.join("said")).unwrap());
    Killed(command.spawn().expect("svlog"))
}

fn shown(dir: &Path) -> String {
    String::from_utf8(fs::read(dir.join("shown")).unwrap()).unwrap()
}

fn said(dir: &Path) -> String {
    fs::read_to_string(dir.join("said")).unwrap()
}

/// Waits for the last line and checks that all are there, once and in order.
fn all_are_shown(dir: &Path, written: u64) {
    let last = format!("line {written}\n");
    let is_over = |shown: &str| shown.ends_with(&last);
    until(60, || is_over(&shown(dir)) || !said(dir).is_empty());
    assert_eq!(said(dir), "");
    let shown = shown(dir);
    let mut lines = shown.lines();
    for n in 1..=written {
        let line = lines.next().unwrap_or_default();
        assert!(line.ends_with(&format!("line {n}")), "instead of line {n}: {line:?}");
    }
    assert_eq!(lines.next(), None);
}

fn rotations(dir: &Path) -> usize {
    let all = fs::read_dir(dir.join("log")).unwrap();
    all.filter(|entry| entry.as_ref().unwrap().file_name().as_encoded_bytes()[0] == b'@').count()
}

#[test]
fn each_line_is_followed_once_over_hundreds_of_rotations() {
    for multilog in multilogs() {
        let mut scripts = vec![("t", None), ("+*", None), ("t", Some("!gzip"))];
        if has_ours() && multilog == Suite::Ours.program("multilog") {
            // Compressed in the background, while logging goes on.
            scripts.extend([(":iso", Some(":then=gzip")), ("+*", Some(":then=gzip"))]);
        }
        for (stamp, processor) in scripts {
            let scratch = Scratch::new();
            let dir = scratch.path();
            let mut args = vec![stamp, "s4096", "n5000"];
            args.extend(processor);
            args.push("./log");
            let mut logger = Logger::start(dir, &multilog, &args);
            let _svlog = follow(dir, &[], &["-n", "all", "log"]);
            for _ in 0..60 {
                logger.write(500);
            }
            logger.finish();
            all_are_shown(dir, logger.written);
            assert!(rotations(dir) >= 100, "only {} rotations", rotations(dir));
        }
    }
}

#[test]
fn other_loggers_are_followed_as_well() {
    for logger in ["s6-log", "svlogd"] {
        let scratch = Scratch::new();
        let dir = scratch.path();
        fs::create_dir(dir.join("log")).unwrap();
        fs::write(dir.join("log/config"), "s4096\nn5000\n").unwrap();
        let path = Path::new("/usr/bin").join(logger);
        let args: &[&str] = match logger {
            "svlogd" => &["-t", "./log"],
            _ => &["-b", "n5000", "s4096", "t", "./log"],
        };
        let mut logger = Logger::start(dir, &path, args);
        let _svlog = follow(dir, &[], &["-n", "all", "log"]);
        for _ in 0..100 {
            logger.write(500);
        }
        logger.finish();
        all_are_shown(dir, logger.written);
        // svlogd writes 64 KiB at once.
        assert!(rotations(dir) >= 20, "only {} rotations", rotations(dir));
    }
}

#[test]
fn a_follower_that_stands_still_meanwhile_misses_no_rotation() {
    for multilog in multilogs() {
        for processor in [None, Some("!gzip")] {
            let scratch = Scratch::new();
            let dir = scratch.path();
            let mut args = vec!["t", "s4096", "n5"];
            args.extend(processor);
            args.push("./log");
            let mut logger = Logger::start(dir, &multilog, &args);
            let svlog = follow(dir, &[], &["-n", "all", "log"]);
            for _ in 0..30 {
                linux::signal::kill(svlog.pid(), linux::signal::numbers::SIGSTOP).unwrap();
                // Up to three rotations, while four old files are kept.
                logger.write(200);
                let last = format!("line {}\n", logger.written);
                let current = dir.join("log/current");
                // Where they end a file they are no longer in `current`.
                until(10, || {
                    let bytes = fs::read(&current).unwrap_or_default();
                    bytes.is_empty() || bytes.ends_with(last.as_bytes())
                });
                linux::signal::kill(svlog.pid(), linux::signal::numbers::SIGCONT).unwrap();
                until(30, || shown(dir).ends_with(&last) || !said(dir).is_empty());
            }
            logger.finish();
            all_are_shown(dir, logger.written);
        }
    }
}

#[test]
fn what_is_removed_before_it_is_read_is_told_and_the_rest_is_shown() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let args = ["t", "s4096", "n2", "./log"];
    let mut logger = Logger::start(dir, &multilogs()[0], &args);
    let svlog = follow(dir, &[], &["-n", "all", "log"]);
    logger.write(10);
    until(10, || shown(dir).ends_with("line 10\n"));
    linux::signal::kill(svlog.pid(), linux::signal::numbers::SIGSTOP).unwrap();
    logger.write(1000);
    logger.finish();
    linux::signal::kill(svlog.pid(), linux::signal::numbers::SIGCONT).unwrap();
    until(10, || shown(dir).ends_with("line 1010\n") || said(dir).contains("line 1010"));
    let (shown, said) = (shown(dir), said(dir));
    for line in said.lines() {
        assert!(line.starts_with("svlog: warning: unable to open log/@"), "{line}");
        assert!(line.ends_with(".s: file does not exist"), "{line}");
    }
    assert!(said.lines().count() >= 5, "{said}");
    let numbers: Vec<u64> =
        shown.lines().map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    // What was open when svlog was stopped was read to its end all the same.
    assert!(numbers.len() < 1010 && numbers[..60] == (1..=60).collect::<Vec<_>>(), "{numbers:?}");
}

#[test]
fn where_nothing_tells_of_changes_the_directory_is_looked_at() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let args = ["t", "s4096", "n5000", "./log"];
    let mut logger = Logger::start(dir, &multilogs()[0], &args);
    let strace = ["strace", "-qq", "-o", "/dev/null", "-e", "trace=inotify_init1"];
    let inject = ["-e", "inject=inotify_init1:error=EMFILE"];
    let before: Vec<&str> = strace.into_iter().chain(inject).collect();
    let _svlog = follow(dir, &before, &["-n", "all", "log"]);
    for _ in 0..10 {
        logger.write(500);
        let last = format!("line {}\n", logger.written);
        until(30, || shown(dir).ends_with(&last));
    }
    logger.finish();
    all_are_shown(dir, logger.written);
}

#[test]
fn a_logger_that_is_killed_again_and_again_is_followed_to_what_is_on_disk() {
    for multilog in multilogs() {
        let scratch = Scratch::new();
        let dir = scratch.path();
        let args = ["s4096", "n5000", "./log"];
        let mut logger = Logger::start(dir, &multilog, &args);
        let _svlog = follow(dir, &[], &["-n", "all", "log"]);
        for round in 0..30 {
            logger.write(1);
            let line = format!("line {}\n", logger.written);
            until(10, || {
                let current = fs::read(dir.join("log/current")).unwrap_or_default();
                current.ends_with(line.as_bytes())
            });
            // In the midst of these.
            logger.write(90 + 20 * round);
            let written = logger.written;
            drop(logger);
            logger = Logger::start(dir, &multilog, &args);
            logger.written = written;
        }
        logger.write(1);
        logger.finish();
        let last = format!("line {}\n", logger.written);
        until(30, || shown(dir).ends_with(&last));
        let on_disk = run(Command::new(program("svlog")).arg("log").current_dir(dir));
        assert_eq!(on_disk.verdict(), (Some(0), String::new()));
        assert_eq!(shown(dir), on_disk.out());
        assert!(rotations(dir) >= 30, "only {} rotations", rotations(dir));
    }
}

#[test]
fn a_directory_that_is_removed_or_moved_is_followed_again_when_it_is_made_anew() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    let make = |name: &str, text: &str| {
        fs::create_dir(dir.join("new")).unwrap();
        fs::write(dir.join("new/current"), text).unwrap();
        fs::rename(dir.join("new"), dir.join(name)).unwrap();
    };
    let append = |name: &str, text: &str| {
        let mut current = File::options().append(true).open(dir.join(name)).unwrap();
        current.write_all(text.as_bytes()).unwrap();
    };
    let mut wanted = "a: a\nb: b\n".to_owned();
    let mut shows = |text: &str| {
        wanted += text;
        until(10, || shown(dir) == wanted);
    };
    make("a", "a\nbegun");
    make("b", "b\n");
    let _svlog = follow(dir, &[], &["a", "b"]);
    shows("");
    fs::remove_dir_all(dir.join("a")).unwrap();
    let warning = "svlog: warning: unable to follow a: file does not exist\n";
    until(10, || said(dir) == warning);
    shows("a: begun");
    append("b/current", "still here\n");
    shows("\nb: still here\n");
    make("a", "again\n");
    shows("a: again\n");
    // Moved away, it is still the one.
    fs::rename(dir.join("b"), dir.join("old")).unwrap();
    append("old/current", "moved\n");
    shows("b: moved\n");
    make("b", "new\n");
    shows("b: new\n");
    append("b/current", "and newer\n");
    shows("b: and newer\n");
    assert_eq!(said(dir), warning);
}

#[test]
fn a_directory_that_is_still_empty_is_followed_from_its_first_line() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    fs::create_dir(dir.join("log")).unwrap();
    let svlog = follow(dir, &[], &["log"]);
    // It waits: nothing keeps it busy.
    until(10, || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", svlog.pid())).unwrap();
        stat.contains(") S ")
    });
    let mut logger = Logger::start(dir, &multilogs()[0], &["./log"]);
    logger.write(3);
    until(10, || shown(dir) == "line 1\nline 2\nline 3\n");
    logger.finish();
}

#[test]
fn a_line_is_shown_when_it_is_whole() {
    let scratch = Scratch::new();
    let dir = scratch.path();
    fs::create_dir(dir.join("log")).unwrap();
    fs::write(dir.join("log/current"), "old\nbegun").unwrap();
    let _svlog = follow(dir, &[], &["-n", "1", "log"]);
    let append = |text: &str| {
        let mut current = File::options().append(true).open(dir.join("log/current")).unwrap();
        current.write_all(text.as_bytes()).unwrap();
    };
    until(10, || shown(dir) == "old\n");
    append(", ended\nnext");
    until(10, || shown(dir) == "old\nbegun, ended\n");
    // A rotation within a line.
    fs::rename(dir.join("log/current"), dir.join("log/@400000006b04c42f075bcd15.s")).unwrap();
    fs::write(dir.join("log/current"), "").unwrap();
    append(" line\n");
    until(10, || shown(dir) == "old\nbegun, ended\nnext line\n");
}

#[test]
fn svlog_ends_when_its_reader_is_gone() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("log")).unwrap();
    fs::write(scratch.join("log/current"), "one\ntwo\n").unwrap();
    let script = "(\"$0\" -f log; echo $? >code) | head -n 1";
    let done = run(Command::new("sh")
        .args(["-c", script])
        .arg(program("svlog"))
        .current_dir(scratch.path()));
    assert_eq!(done.out(), "one\n");
    until(10, || fs::read_to_string(scratch.join("code")).is_ok_and(|code| code == "0\n"));
}
