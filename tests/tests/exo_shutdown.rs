//! What a shutdown makes of the work in hand, with participants of both kits.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{Site, item};
use machine::work::{Fault, State};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::program;

/// Works for as long as it may, as the guide for authors advises.
const PATIENT: &str = "import sys, time\nsys.path.insert(0, KIT)\nimport skynet\n\n\
    @skynet.participant\ndef work(item):\n    print('at it', flush=True)\n    while True:\n        \
    time.sleep(0.05)\n        item.check()\n\n\
    skynet.run()\n";

/// As long as a participant may take, and its last chance but one.
const RULES: &str = "tries: 1\nshutdown-grace: 6s\n";

/// Ends exo in the middle of the item `w`; it is as good as it was.
#[track_caller]
fn ends_in_the_middle(site: &Site, exo: host::Exo) {
    site.running("w");
    assert!(exo.end().success());
    let job = site.job("w").unwrap();
    let log = site.log();
    let ready = (State::Ready { leased: false }, 0, Fault::NONE);
    assert_eq!((job.subject.state, job.subject.count, job.subject.fault), ready, "{log}");
    let attempt = site.attempts("w").remove(0);
    assert_eq!(attempt.how.as_deref(), Some("interrupted"), "{attempt:?}");
    assert_eq!(attempt.text.as_deref(), Some("the participant gave it up"));
    assert!(site.dead().is_empty());
}

#[test]
fn what_a_participant_of_the_python_kit_gives_up_at_a_shutdown_costs_no_try() {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/participant/python");
    let site = Site::persistent_program(&["python3", "-B", "work.py"], RULES);
    site.script("work.py", &PATIENT.replace("KIT", &format!("{kit:?}")));
    let exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.log().contains("p_0 w/1: at it\n"));
    ends_in_the_middle(&site, exo);
}

/// Something that never ends to be read.
fn endless(fifo: &Path) -> Child {
    assert!(Command::new("mkfifo").args(["-m", "666"]).arg(fifo).status().unwrap().success());
    let write = format!("exec yes >{}", fifo.display());
    Command::new("sh").args(["-c", &write]).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn what_a_participant_of_the_rust_kit_gives_up_at_a_shutdown_costs_no_try() {
    let index = program("word-index").display().to_string();
    let site = Site::persistent_program(&[&index], RULES);
    let (fifo, folder) = (site.join("fifo"), site.open_folder("out"));
    let mut writer = endless(&fifo);
    let exo = site.exo();
    let fields = format!("{{\"files\":[{fifo:?}],\"index\":{:?}}}", folder.join("index"));
    site.drop_into("p", item("w", &fields).as_bytes());
    site.until(|| site.instance()["progress"]["done"] == 0.0);
    ends_in_the_middle(&site, exo);
    writer.kill().unwrap();
    writer.wait().unwrap();
}

/// Is not ready to hear anything yet, and ends when TERM says so.
const NOT_READY: &str = "#!/bin/sh\ntrap 'echo told to end; exit 0' TERM\necho not ready\n\
    while :; do sleep 0.05; done\n";

#[test]
fn one_that_is_not_ready_yet_is_told_to_end_by_term() {
    let site = Site::per_item(NOT_READY, "mode: persistent\nshutdown-grace: 6s\n");
    let exo = site.exo();
    site.until(|| site.log().contains("p_0 -: not ready\n"));
    assert!(exo.end().success());
    assert!(site.log().contains("p_0 -: told to end\n"), "{}", site.log());
}
