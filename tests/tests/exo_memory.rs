//! What exo's keeper and worker have of their own in memory: little whatever comes, and the same
//! after many items.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, progress};
use host::{ECHO, Exo, SOON, Site, TALKS_PYTHON, item};
use machine::work::Fault;
use std::fs;
use std::time::{Duration, Instant};
use testkit::until;
use testkit::wait::holds_within;

/// Most that both may have at any time, in KiB.
const MOST: u64 = 64 << 10;
/// The largest item that is taken.
const LARGEST: usize = 16 << 20;

/// Says more than its host wants to keep, then answers with its item, of whatever size.
const LOUD: &str = "#!/bin/sh\nhead -c 3000000 /dev/zero\nhead -c 300000 /dev/urandom >&2\n\
                    case $SKYNET_WFID in twice*) cat >&3; head -c 20000000 /dev/zero >&3 ;;\n\
                    *) cat >&3 ;; esac\n";

/// Returns a number of KiB that the kernel has about a process.
fn kib(pid: i32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the most that a process ever had, shared memory included.
fn peak_kib(pid: i32) -> u64 {
    kib(pid, "status", "VmHWM:")
}

/// Returns what a process has written to. The program itself counts as private, too, where no other
/// exo runs at the same time: that says nothing.
fn private_kib(pid: i32) -> u64 {
    kib(pid, "smaps_rollup", "Private_Dirty:")
}

fn peak(exo: &Exo) -> u64 {
    peak_kib(exo.pid()) + peak_kib(exo.worker())
}

fn private(exo: &Exo) -> u64 {
    private_kib(exo.pid()) + private_kib(exo.worker())
}

fn of_size(wfid: &str, size: usize) -> String {
    let around = item(wfid, "{\"x\":\"\"}").len();
    item(wfid, &format!("{{\"x\":\"{}\"}}", "x".repeat(size - around)))
}

#[test]
fn items_and_answers_of_all_sizes_and_endless_words_leave_exo_under_64_mib() {
    let site = Site::per_item(LOUD, "tries: 1\n");
    let exo = site.exo();
    let begun = private(&exo);
    let mut count = 0;
    for name in ["once", "twice"] {
        for size in [200, 5_000, 70_000, 1 << 20, 5 << 20, LARGEST] {
            count += 1;
            site.drop_into("p", of_size(&format!("{name}-{size}"), size).as_bytes());
        }
        // None of these is an item that can be taken.
        site.drop_into("p", of_size(&format!("{name}-more"), LARGEST + 1).as_bytes());
        site.drop_into("p", &vec![b'['; 1 << 20]);
        site.drop_into("p", "{\"fei\":".repeat(100_000).as_bytes());
    }
    let is_done = || progress(&site.join("store")) == (count, 0);
    assert!(holds_within(Duration::from_secs(120), is_done), "{}", site.log().len());
    let (peak, left) = (peak(&exo), private(&exo));
    println!("private at first {begun} KiB, at most {peak} KiB, at the end {left} KiB");
    assert!(peak < MOST, "{peak} KiB");
    assert!(exo.end().success());
}

/// Answers small items with large ones, and large ones with themselves.
const GROWING: &str = r#"#!/bin/sh
exec 4<&0
case $SKYNET_WFID in
small*)
    item=$(cat <&4)
    { printf %s "${item%GROW*}"; head -c 16000000 /dev/zero | tr '\0' x; printf %s "${item#*GROW}"; } >&3 ;;
*) cat <&4 >&3 ;;
esac
"#;

/// Answers with an item of 1 MB, the end of which it says when it may.
const LATE: &str = r#"#!/bin/sh
item=$(cat)
echo begun
{
    printf %s "${item%GROW*}"
    head -c 1000000 /dev/zero | tr '\0' x
    until [ -e go ]; do sleep 1; done
    printf %s "${item#*GROW}"
} >&3
"#;

#[test]
fn a_hundred_instances_with_answers_of_1_mb_have_no_more_than_one() {
    const COUNT: u64 = 100;
    let site = Site::per_item(LATE, &format!("instances: {COUNT}\ntries: 1\n"));
    let exo = site.exo();
    for n in 0..COUNT {
        site.drop_into("p", item(&format!("w{n}"), r#"{"x":"GROW"}"#).as_bytes());
    }
    site.until_long(|| site.log().matches("begun").count() as u64 == COUNT);
    fs::write(site.join("p/go"), "").unwrap();
    let is_done = || progress(&site.join("store")) == (COUNT, 0);
    assert!(holds_within(Duration::from_secs(120), is_done), "{}", site.log());
    let jobs: Vec<_> = (0..COUNT).map(|n| site.stopped(&format!("w{n}"))).collect();
    assert!(jobs.iter().all(|(job, _)| job.subject.fault == Fault::NONE), "{}", site.log());
    let peak = peak(&exo);
    println!("at most {peak} KiB");
    assert!(peak < MOST, "{peak} KiB");
    assert!(exo.end().success());
}

/// The same by one process for all items, which sends each answer on before it gives it.
const GROWING_ON: &str = r#"#!/usr/bin/env python3
import json, socket
host = socket.socket(fileno=3)
lines = host.makefile("rb")
def say(**what):
    host.sendall(json.dumps(what).encode() + b"\n")
say(type="hello", protocol=1)
for line in lines:
    said = json.loads(line)
    if said["type"] == "shutdown":
        break
    if said["type"] == "work":
        item = said["item"]
        if item["fields"]["x"] == "GROW":
            item["fields"]["x"] = "x" * 16_000_000
        further = {"fields": item["fields"]}
        say(type="forward", ticket=1, queue="elsewhere", item=further)
        assert json.loads(lines.readline())["type"] == "sent"
        say(type="result", id=said["id"], item=item)
"#;

#[test]
fn many_instances_with_large_items_and_answers_have_no_more_than_one() {
    let persistent = "mode: persistent\n";
    for (work, mode) in [(GROWING, ""), (GROWING_ON, persistent)] {
        let site = Site::per_item(work, &format!("{mode}instances: 8\ntries: 1\n"));
        let exo = site.exo();
        let begun = private(&exo);
        for number in 0..12 {
            site.drop_into("p", item(&format!("small-{number}"), r#"{"x":"GROW"}"#).as_bytes());
            let large = of_size(&format!("large-{number}"), LARGEST - 1000);
            site.drop_into("p", format!("{{\"skynet\":1,\"item\":{large}}}").as_bytes());
        }
        let is_done = || progress(&site.join("store")) == (24, 0);
        assert!(holds_within(Duration::from_secs(240), is_done), "{}", site.log());
        let peak = peak(&exo);
        println!("private at first {begun} KiB, at most {peak} KiB");
        assert!(peak < MOST, "{peak} KiB");
        // Given back, but for what one kept.
        assert!(holds_within(Duration::from_secs(SOON), || private(&exo) < begun + (2 << 10)));
        assert!(exo.end().success());
        let reader = work::Reader::open(&work::Place::new(site.join("store"))).unwrap();
        let failed = reader.classes().unwrap();
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// Begins a large answer and stops in the middle of it; any other item has one that is whole, which it
/// begins once the first is under way.
const STALLS: &str = r#"#!/bin/sh
item=$(cat)
large() { printf %s "${item%GROW*}"; head -c 1300000 /dev/zero | tr '\0' x; }
case $SKYNET_WFID in
stalls) large >&3; : >under-way/here; exec sleep 1000 ;;
*) until [ -e under-way/here ]; do sleep 0.02; done; { large; printf %s "${item#*GROW}"; } >&3 ;;
esac
"#;

/// The same by one process for many items.
const STALLS_ON: &str = r#"#!/usr/bin/env python3
import json, os, socket, time
host = socket.socket(fileno=3)
lines = host.makefile("rb")
host.sendall(b'{"type":"hello","protocol":1}\n')
for line in lines:
    said = json.loads(line)
    if said["type"] == "shutdown":
        break
    if said["type"] == "work":
        item = said["item"]
        item["fields"]["x"] = "x" * 1_300_000
        answer = json.dumps({"type": "result", "id": said["id"], "item": item}).encode() + b"\n"
        if item["fei"]["wfid"] == "stalls":
            host.sendall(answer[:-1000])
            open("under-way/here", "w").close()
            time.sleep(1000)
        while not os.path.exists("under-way/here"):
            time.sleep(0.02)
        host.sendall(answer)
"#;

/// Makes the folder `under-way` in the service directory, where participants may write.
fn under_way(site: &Site) {
    let folder = site.open_folder("p/under-way");
    assert!(folder.is_dir());
}

#[test]
fn one_that_stops_in_the_middle_of_a_large_answer_is_ended_and_another_s_goes_through() {
    for (work, mode) in [(STALLS, ""), (STALLS_ON, "mode: persistent\n")] {
        let site = Site::per_item(work, &format!("{mode}instances: 2\ntries: 1\n"));
        under_way(&site);
        let exo = site.exo();
        for wfid in ["stalls", "whole"] {
            site.drop_into("p", item(wfid, r#"{"x":"GROW"}"#).as_bytes());
        }
        let (job, attempts) = site.stopped("whole");
        assert_eq!(job.subject.fault, Fault::NONE, "{}", site.log());
        assert!(attempts[0].output.as_ref().unwrap().len() > 1_300_000);
        let (_, attempts) = site.stopped("stalls");
        assert_eq!(attempts[0].fault, Some(Fault::CRASHED));
        let text = attempts[0].text.as_deref().unwrap();
        assert!(text.contains("broke the protocol"), "{text}");
        assert!(site.log().contains("said nothing for 10 s"), "{}", site.log());
        assert!(exo.end().success());
    }
}

/// Takes its time in the middle of a large answer; the second begins once the first is under way.
const SLOW: &str = r#"#!/bin/sh
item=$(cat)
[ $SKYNET_WFID = first ] || until [ -e under-way/here ]; do sleep 0.02; done
{
printf %s "${item%GROW*}"
head -c 1300000 /dev/zero | tr '\0' x
: >under-way/here
for _ in 1 2 3 4 5 6 7 8; do sleep 1; printf x; done
printf %s "${item#*GROW}"
} >&3
"#;

#[test]
fn who_waits_for_its_turn_with_a_large_answer_has_its_whole_time_limit_all_the_same() {
    let site = Site::per_item(SLOW, "instances: 2\ntries: 1\ntime-limit: 15s\n");
    under_way(&site);
    let exo = site.exo();
    // The second says the first half, waits for eight seconds, and goes on for eight more.
    for wfid in ["first", "second"] {
        site.drop_into("p", item(wfid, r#"{"x":"GROW"}"#).as_bytes());
    }
    for wfid in ["first", "second"] {
        let (job, _) = site.stopped(wfid);
        assert_eq!(job.subject.fault, Fault::NONE, "{wfid}: {}", site.log());
    }
    assert!(exo.end().success());
}

/// Fails with a large answer when it is told to end.
const LARGE_AT_THE_END: &str = r#"#!/bin/sh
item=$(cat)
trap '{ printf %s "${item%GROW*}"; head -c 15000000 /dev/zero | tr "\0" x; printf %s "${item#*GROW}"; } >&3; exit 1' TERM
: >under-way/$SKYNET_WFID
while :; do sleep 0.05; done
"#;

#[test]
fn large_answers_of_what_a_shutdown_cuts_short_leave_exo_under_64_mib() {
    const ALL: usize = 8;
    let own = format!("instances: {ALL}\ntries: 1\nshutdown-grace: 12s\n");
    let site = Site::per_item(LARGE_AT_THE_END, &own);
    under_way(&site);
    let mut exo = site.exo();
    for n in 0..ALL {
        site.drop_into("p", item(&format!("w{n}"), r#"{"x":"GROW"}"#).as_bytes());
    }
    let begun = || fs::read_dir(site.join("p/under-way")).unwrap().count();
    site.until(|| begun() == ALL);
    let (keeper, worker) = (exo.pid(), exo.worker());
    exo.signal(15);
    let mut most = [0; 2];
    until(60, || {
        for (most, pid) in most.iter_mut().zip([keeper, worker]) {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let now = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let now = now.and_then(|now| now.split_whitespace().next()?.parse().ok());
            *most = (*most).max(now.unwrap_or(0));
        }
        !exo.is_running()
    });
    let most: u64 = most.iter().sum();
    println!("at most {most} KiB");
    assert!(most > 0 && most < MOST, "{most} KiB");
    for n in 0..ALL {
        let attempts = site.attempts(&format!("w{n}"));
        assert_eq!(attempts[0].how.as_deref(), Some("interrupted"), "{attempts:?}");
        assert_eq!(attempts[0].output, None);
    }
}

/// Answers with little that takes much room: a trace of empty lines, an item among blanks.
const PADDED: &str = r#"for said in work():
    item = json.dumps(said["item"]).encode()
    if said["item"]["fei"]["wfid"].startswith("trace"):
        more = b'"type":"fault","code":10,"text":"x","trace":[' + b'"",' * 5_000_000 + b'""]}\n'
    else:
        more = b'"type":"result","item":' + item + b" " * 15_000_000 + b"}\n"
    host.sendall(b'{"id":%d,' % said["id"] + more)
"#;

#[test]
fn what_stands_around_an_answer_and_a_trace_without_end_cost_no_memory() {
    let site = Site::per_item(
        &format!("{TALKS_PYTHON}{PADDED}"),
        "mode: persistent\ninstances: 4\ntries: 1\n",
    );
    let exo = site.exo();
    for number in 0..6 {
        for kind in ["trace", "padded"] {
            site.drop_into("p", item(&format!("{kind}-{number}"), "{}").as_bytes());
        }
    }
    let is_done = || progress(&site.join("store")) == (12, 0);
    assert!(holds_within(Duration::from_secs(240), is_done), "{}", site.log());
    let peak = peak(&exo);
    println!("at most {peak} KiB");
    assert!(peak < MOST, "{peak} KiB");
    assert!(exo.end().success());
}

#[test]
fn after_many_items_exo_is_no_larger_than_after_some() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let (items, step) = if long { (1_000_000, 20_000) } else { (6_000, 1_000) };
    let site = Site::persistent(ECHO, "instances: 2\n");
    let mut sender = Sender::new(&site);
    let exo = site.exo();
    let begun = Instant::now();
    let mut sizes = Vec::new();
    let mut count = 0;
    // As many as ten minutes allow.
    while count < items && begun.elapsed() < Duration::from_secs(600) {
        let names: Vec<_> = (count..count + step).map(|n| n.to_string()).collect();
        sender.submit(&names);
        count += step;
        let is_done = || progress(&site.join("store")) == (count as u64, 0);
        assert!(holds_within(Duration::from_secs(300), is_done), "{}", site.log());
        sizes.push((count, private_kib(exo.pid()), private_kib(exo.worker())));
    }
    println!("items, private KiB of keeper and of worker: {sizes:?}");
    let (first, last) = (sizes[sizes.len() / 4], sizes[sizes.len() - 1]);
    let grown = (last.1 + last.2).saturating_sub(first.1 + first.2);
    assert!(grown <= 256, "grown by {grown} KiB: {sizes:?}");
    // Without the program's own pages, which the benchmark counts.
    assert!(last.1 + last.2 <= 2 << 10, "{sizes:?}");
    assert!(exo.end().success());
}
