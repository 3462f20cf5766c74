//! Asking a running exo, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{DONE, Site};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks several things in one go and returns what was answered.
fn ask_at_once(site: &Site, questions: &[Value]) -> Vec<Value> {
    let mut socket = UnixStream::connect(site.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = Vec::new();
    for question in questions {
        writeln!(text, "{question}").unwrap();
    }
    socket.write_all(&text).unwrap();
    let lines = BufReader::new(socket).lines().take(questions.len());
    lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

#[test]
fn questions_that_come_together_are_answered_one_after_the_other() {
    let site = Site::per_item("#!/bin/sh\nsleep 60\n", "");
    let _exo = site.exo();
    site.submit("busy", "{}");
    site.running("busy");
    let status = || json!({"command": "status"});
    // The second one waits for the store, and the third one for the second.
    let cancel = json!({"command": "cancel", "wfid": "busy", "flavour": "kill"});
    let answers = ask_at_once(&site, &[status(), cancel, json!({"command": "dance"}), status()]);
    assert_eq!(answers[0]["status"]["instances"][0]["wfid"], "busy");
    assert_eq!((&answers[1]["ok"], &answers[1]["cancelled"]), (&json!(true), &json!(1)));
    assert_eq!(answers[2]["ok"], false);
    assert_eq!(answers[3]["status"]["participant"], "p");
    site.stopped("busy");
}

#[test]
fn a_cancel_that_names_nobody_cancels_nobody() {
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    let ask = |wfid: &str| site.ask(&json!({"command": "cancel", "wfid": wfid}));
    assert_eq!(ask("")["error"], "which process? Its wfid is missing");
    assert_eq!(ask("nobody")["ok"], false);
}

#[test]
fn whoever_asks_and_goes_away_is_called_no_participant() {
    let site = Site::per_item(DONE, "");
    let exo = site.exo();
    site.until(|| site.status().is_some());
    // While nobody accepts: by then they are dead.
    stop(exo.worker());
    for _ in 0..3 {
        let asks = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])";
        let mut python = std::process::Command::new("python3");
        let socket = site.socket();
        let status = python.args(["-c", asks]).arg(&socket).status().unwrap();
        assert!(status.success());
    }
    go_on(exo.worker());
    site.until(|| site.status().is_some());
    assert!(!site.log().contains("asked for control"), "{}", site.log());
}

fn stop(pid: i32) {
    signal(pid, "-STOP");
}

fn go_on(pid: i32) {
    signal(pid, "-CONT");
}

fn signal(pid: i32, which: &str) {
    let kill = std::process::Command::new("kill").args([which, &pid.to_string()]).status();
    assert!(kill.unwrap().success());
}
