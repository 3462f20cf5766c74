//! What the README tells a newcomer to run, run.

#![allow(clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// Starts `examples/run` on the programs that were built, with its scratch folder below `scratch`.
fn start(scratch: &Path) -> (Child, Receiver<String>) {
    let programs = testkit::program("svscan");
    let mut script = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/run"))
        .env("SKYNET_BIN", programs.parent().expect("a folder"))
        .env("TMPDIR", scratch)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("examples/run runs");
    let (send, lines) = channel();
    let output = BufReader::new(script.stdout.take().expect("its output"));
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
    (script, lines)
}

/// Returns the lines up to the one that ends in `end`.
#[track_caller]
fn until(lines: &Receiver<String>, end: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    while !seen.last().is_some_and(|line| line.ends_with(end)) {
        let line = lines.recv_timeout(DEADLINE);
        seen.push(line.unwrap_or_else(|_| panic!("no line that ends in {end}: {seen:#?}")));
    }
    seen
}

#[test]
fn the_examples_come_up_and_ctrl_c_ends_them_all() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    let _ = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir(&scratch).expect("a scratch folder");
    let (mut script, lines) = start(&scratch);

    let up = until(&lines, "Ctrl-C ends all");
    for member in ["clock", "clock/log", "redis", "redis/log", "sizer", "sizer/log"] {
        let start = format!("{member}: up (pid ");
        assert!(up.iter().any(|line| line.starts_with(&start)), "{member} is not up: {up:#?}");
    }
    let says = |what: &str| up.iter().any(|line| line.contains(what));
    assert!(says("\"done\":2") && says("sizer_0 first/1: /etc/group: "), "{up:#?}");
    let pid = script.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    until(&lines, "is removed");

    assert!(script.wait().expect("its end").success());
    let left = std::fs::read_dir(&scratch).expect("the folder").count();
    assert_eq!(left, 0, "the scratch folder is left");
}
