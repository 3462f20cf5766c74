//! Asking a running exo, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{DONE, Site};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
    assert_eq!(answers[1], json!({"ok": true, "cancelled": 1, "refused": []}));
    let page = include_str!("../../packaging/man/exo.8");
    let (_, told) = page.split_once("That of\n.Cm cancel\nhas\n").unwrap();
    let (told, _) = told.split_once(".Pp").unwrap();
    assert!(told.contains(".Ql cancelled ,\n") && told.contains(".Ql refused ,\n"), "{told}");
    assert_eq!(answers[2]["ok"], false);
    assert_eq!(answers[3]["status"]["participant"], "p");
    site.stopped("busy");
}

#[test]
fn who_waits_and_asks_more_is_answered_in_the_order_of_the_questions() {
    let site = Site::per_item("#!/bin/sh\nsleep 60\n", "");
    let _exo = site.exo();
    site.submit("busy", "{}");
    site.running("busy");
    let mut socket = UnixStream::connect(site.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let wait = json!({"command": "wait", "until": "idle"});
    write!(socket, "{wait}\n{}\n", json!({"command": "drain"})).unwrap();
    // The second question is heard behind the wait, or it would not be obeyed once this is over.
    let cancel = json!({"command": "cancel", "wfid": "busy", "flavour": "kill"});
    assert_eq!(site.ask(&cancel)["cancelled"], 1);
    let mut lines = BufReader::new(&socket).lines().map(|line| line.unwrap());
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(first["status"]["state"], "running", "the wait is answered first: {first}");
    let second: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!(second, json!({"ok": true}));
    assert_eq!(site.status().unwrap()["state"], "draining");
}

#[test]
fn who_waits_and_asks_without_end_is_dropped_and_costs_nothing() {
    let site = Site::per_item("#!/bin/sh\nsleep 60\n", "");
    let exo = site.exo();
    site.submit("busy", "{}");
    site.running("busy");
    let mut socket = UnixStream::connect(site.socket()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    writeln!(socket, "{}", json!({"command": "wait", "until": "idle"})).unwrap();
    let more = "{\"command\":\"status\"}\n".repeat(1000);
    let _ = socket.write_all(more.as_bytes());
    let mut line = String::new();
    let heard = BufReader::new(&socket).read_line(&mut line);
    assert!(matches!(heard, Ok(0) | Err(_)) && line.is_empty(), "{line}");
    assert_eq!(site.status().unwrap()["state"], "running");
    drop(exo);
}

#[test]
fn jobs_are_requeued_and_dead_items_tried_again_or_dropped_in_the_name_of_whoever_asks() {
    let fails = "#!/bin/sh\n[ -e mended ] || exit 3\n";
    let site = Site::per_item(fails, "tries: 1\n");
    let _exo = site.exo();
    for wfid in ["a", "b", "c"] {
        site.submit(wfid, "{}");
        site.stopped(wfid);
    }
    site.script("mended", "");
    let id = |wfid: &str| site.job(wfid).unwrap().id.0;
    let control = |words: &[&str]| {
        let output = testkit::run(&mut site.command(&[&["control"], words].concat()));
        let answer: Value = serde_json::from_str(&output.out()).unwrap();
        (output.code, answer)
    };
    let a = id("a").to_string();
    let (code, said) = control(&["requeue", &a, "99", "--priority", "-2"]);
    assert_eq!((code, &said["done"]), (Some(0), &json!([{"id": id("a")}])));
    assert_eq!(said["refused"], json!([{"id": 99, "error": "there is no such job"}]));
    site.until(|| site.stopped("a").1.len() == 2);
    let (code, said) = control(&["requeue", &a]);
    assert_eq!((code, &said["error"]), (Some(1), &json!("it is done")));
    assert_eq!(control(&["requeue", "--force", &a]).0, Some(0));
    let dead: Vec<_> = site.dead().into_iter().map(|dead| dead.id.0).collect();
    assert_eq!(dead.len(), 2, "those of b and c: {dead:?}");
    let (code, said) = control(&["dead-requeue", &dead[1].to_string()]);
    assert_eq!((code, &said["done"][0]["job"]), (Some(0), &json!(id("b"))));
    assert_eq!(control(&["dead-drop", &dead[0].to_string()]).0, Some(0));
    assert_eq!(control(&["dead-drop", &dead[0].to_string()]).0, Some(1));
    site.until(|| site.dead().is_empty());
    let acts = site.reader().last_acts(9).unwrap();
    let kept: Vec<_> = acts.iter().rev().map(|act| (&*act.what, act.by.uid)).collect();
    let uid = linux::process::euid();
    let all = ["requeue", "requeue", "dead-requeue", "dead-drop"];
    assert_eq!(kept, all.map(|what| (what, uid)));
}

#[test]
fn who_may_not_ask_is_refused_and_told_who_may() {
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    site.until(|| site.status().is_some());
    let control = site.command(&["control", "status"]);
    let mut command = std::process::Command::new("setpriv");
    command.args(["--reuid=64990", "--regid=64990", "--clear-groups", "--"]);
    command.arg(control.get_program()).args(control.get_args());
    site.prepare(&mut command);
    let output = testkit::run(&mut command);
    let text = format!(
        "exo: fatal: unable to ask {}: permission denied; root, the worker's user or a member of \
         group skynet may\n",
        site.socket().display()
    );
    assert_eq!((output.code, output.err()), (Some(111), text));
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

/// Adds the keys of all objects in a value.
fn add_keys(value: &Value, keys: &mut BTreeSet<String>) {
    if let Some(object) = value.as_object() {
        keys.extend(object.keys().cloned());
        object.values().for_each(|value| add_keys(value, keys));
    }
    value.as_array().into_iter().flatten().for_each(|value| add_keys(value, keys));
}

#[test]
fn each_question_and_each_key_of_a_status_stands_in_the_manual() {
    let page = include_str!("../../packaging/man/exo.8");
    let questions = page.lines().filter(|line| line.starts_with("{\"command\":"));
    let commands: BTreeSet<String> = questions
        .map(|line| {
            exo::control::Request::read(line.as_bytes()).unwrap();
            let question: Value = serde_json::from_str(line).unwrap();
            question["command"].as_str().unwrap().to_owned()
        })
        .collect();
    // exo's own words for one that it does not know name them all.
    let unknown = exo::control::Request::read(b"{\"command\":\"dance\"}").unwrap_err();
    let (_, known) = unknown.split_once("expected one of ").unwrap();
    let known: BTreeSet<String> = known.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert_eq!(commands, known);

    let mut keys = BTreeSet::new();
    let says = "say '{\"type\":\"progress\",\"id\":'$id',\"done\":0.5,\"text\":\"half\"}'\n\
                until [ -e gate/open ]; do sleep 0.01; done; exit 3\n";
    let site = Site::persistent(&format!("hear; {says}"), "tries: 1\n");
    let gate = site.open_folder("p/gate");
    let _exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.instance()["progress"]["text"] == "half");
    add_keys(&site.status().unwrap(), &mut keys);
    std::fs::write(gate.join("open"), "").unwrap();
    site.stopped("w");
    site.until(|| site.status().unwrap()["last_troubles"][0]["kind"] == "ended");
    add_keys(&site.status().unwrap(), &mut keys);

    let site = Site::new("command: ./nowhere\nmode: persistent\n");
    let _exo = site.exo();
    site.until(|| site.instance()["next_start"].is_number());
    add_keys(&site.status().unwrap(), &mut keys);
    for key in ["progress", "troubles", "next_start", "start_failure", "wfid"] {
        assert!(keys.contains(key), "{key} was not seen: {keys:?}");
    }
    let words: BTreeSet<&str> = page.split_whitespace().collect();
    let missing: Vec<_> = keys.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
