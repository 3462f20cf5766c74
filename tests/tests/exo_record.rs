//! What the record keeps of attempts that did not end by themselves, of items without a name, and of
//! participants that say too much; end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{Site, TALKS_PYTHON, WORDS};
use linux::signal::{self, numbers};
use machine::work::{Fault, State};
use serde_json::json;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::wait::holds_within;

/// Works until it is killed.
const STUBBORN: &str = "#!/bin/sh
trap '' TERM
echo half way
while :; do sleep 0.05; done
";

/// The same, of a persistent one: it says nothing to whatever it hears.
const SILENT: &str = "
while hear; do
    [ $type = work ] && echo half way
done
";

fn both(more: &str) -> [Site; 2] {
    [Site::per_item(STUBBORN, more), Site::persistent(SILENT, more)]
}

/// Waits until an item is worked on and has been heard of.
fn is_half_way(site: &Site) {
    site.running("w");
    site.until(|| site.log().contains("w/1: half way"));
}

#[test]
fn a_cancelled_attempt_that_had_to_be_killed_is_on_record_with_all_that_is_known() {
    for site in both("cancel-grace: 100ms\n") {
        let _exo = site.exo();
        site.submit("w", "{}");
        is_half_way(&site);
        site.ask(&json!({ "command": "cancel", "wfid": "w" }));
        let (job, attempts) = site.stopped("w");
        assert_eq!(job.subject.fault, Fault::CANCELLED);
        let last = &attempts[0];
        assert_eq!((last.how.as_deref(), last.signal), (Some("overdue"), Some(9)), "{last:?}");
        assert!(last.text.as_deref().is_some_and(|text| text.contains("half way")), "{last:?}");
        assert!(last.log.is_some() && last.cpu_us.is_some(), "{last:?}");
    }
}

#[test]
fn an_interrupted_attempt_is_on_record_with_all_that_is_known() {
    for site in both("shutdown-grace: 200ms\n") {
        let exo = site.exo();
        site.submit("w", "{}");
        is_half_way(&site);
        assert_eq!(exo.end().code(), Some(0));
        let attempts = site.attempts("w");
        let last = &attempts[0];
        assert_eq!(last.how.as_deref(), Some("interrupted"), "{last:?}");
        assert_eq!((last.fault, &last.signature), (Some(Fault::NONE), &None), "{last:?}");
        assert!(last.text.as_deref().is_some_and(|text| text.contains("half way")), "{last:?}");
        assert!(last.log.is_some() && last.cpu_us.is_some(), "{last:?}");
    }
}

/// Says hello, and ends when an item comes, which it does not read; the next of its kind does the item.
const UNREADING: &str = r#"
import os, time
if not os.path.exists("../seen/once"):
    open("../seen/once", "w").close()
    while b'"type":"work"' not in host.recv(65536, socket.MSG_PEEK):
        time.sleep(0.01)
    os._exit(3)
for said in work():
    host.sendall(b'{"type":"result","id":%d}\n' % said["id"])
"#;

#[test]
fn an_attempt_that_never_began_says_why_and_not_that_exo_was_told_to_end() {
    let site = Site::per_item("#!/bin/sh\nexit 0\n", "restart: {first: 20ms}\n");
    let work = site.join("p/work");
    let set_mode = |mode| fs::set_permissions(&work, Permissions::from_mode(mode)).unwrap();
    let _exo = site.exo();
    set_mode(0o600);
    site.submit("w", "{}");
    site.until(|| site.job("w").is_some());
    site.until(|| site.attempts("w").first().is_some_and(|first| first.ended.is_some()));
    set_mode(0o755);
    let (_, attempts) = site.stopped("w");
    let text = attempts[0].text.as_deref().unwrap();
    assert!(text.starts_with("not started: unable to run"), "{attempts:?}");

    let work = format!("{TALKS_PYTHON}{UNREADING}");
    let site = Site::per_item(&work, "mode: persistent\nrestart: {first: 20ms}\n");
    site.open_folder("seen");
    let _exo = site.exo();
    site.submit("w", "{}");
    let (_, attempts) = site.stopped("w");
    assert_eq!(attempts[0].how.as_deref(), Some("interrupted"), "{attempts:?}");
    let text = attempts[0].text.as_deref();
    assert_eq!(text, Some("ended before it read the item"), "{attempts:?}");
}

/// Uses a fifth of a second and a hundred megabytes, and dies of it: by itself, by a signal, or by us.
const HUNGRY: &str = r#"#!/usr/bin/env python3
import json, os, socket, time
host = socket.socket(fileno=3)
host.sendall(b'{"type":"hello","protocol":1}\n')
for line in host.makefile("rb"):
    said = json.loads(line)
    if said["type"] != "work":
        continue
    eaten = b"x" * 100_000_000
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    how = said["item"]["fei"]["wfid"]
    print("eaten", flush=True)
    if how == "exits":
        os._exit(3)
    if how == "killed":
        os.kill(os.getpid(), 9)
    time.sleep(1000)
"#;

#[test]
fn what_a_persistent_participant_used_is_on_record_however_it_died() {
    let own = "mode: persistent\ntries: 1\ncancel-grace: 100ms\nrestart: {first: 20ms}\n";
    let site = Site::per_item(HUNGRY, own);
    let _exo = site.exo();
    for wfid in ["exits", "killed", "cancelled"] {
        site.submit(wfid, "{}");
        site.until(|| site.log().contains(&format!("p_0 {wfid}/1: eaten")));
        if wfid == "cancelled" {
            site.ask(&json!({ "command": "cancel", "wfid": wfid }));
        }
        let attempt = site.stopped(wfid).1.remove(0);
        assert!(attempt.cpu_us.is_some_and(|used| used >= 200_000), "{attempt:?}");
        assert!(attempt.peak_kib.is_some_and(|peak| peak >= 90_000), "{attempt:?}");
    }
}

/// Takes a hundred megabytes for one item, and works on it until it is ended.
const GLUTTON: &str = "#!/usr/bin/env python3
import time
eaten = b'x' * 100_000_000
time.sleep(1000)
";

#[test]
fn what_a_process_for_one_item_used_is_on_record_although_it_took_too_long() {
    let own = "tries: 1\ntime-limit: 8s\ncancel-grace: 100ms\n";
    let site = Site::per_item(GLUTTON, own);
    let _exo = site.exo();
    site.submit("w", "{}");
    let attempt = site.stopped("w").1.remove(0);
    assert_eq!(attempt.fault, Some(Fault::TIMED_OUT), "{attempt:?}");
    assert!(attempt.cpu_us.is_some_and(|used| used > 0), "{attempt:?}");
    assert!(attempt.peak_kib.is_some_and(|peak| peak >= 90_000), "{attempt:?}");
}

/// A persistent one that has 150 MB for a moment where an item is called so.
const GREEDY: &str = r#"for said in work():
    if said["item"]["fei"]["wfid"] == "hog":
        held = b"x" * (150 << 20)
        del held
    host.sendall(json.dumps({"type": "result", "id": said["id"]}).encode() + b"\n")
"#;

#[test]
fn the_peak_of_a_persistent_participant_is_on_record_from_the_item_on_that_caused_it() {
    let site = Site::per_item(&format!("{TALKS_PYTHON}{GREEDY}"), "mode: persistent\n");
    let exo = site.exo();
    // Behind each other as fast as can be: what was read for one must not stand for the next.
    let peaks = ["a", "hog", "c", "dd"].map(|wfid| site.work(wfid, "{}").peak_kib.unwrap());
    let is_large = peaks.map(|peak| peak >= 150 << 10);
    assert_eq!(is_large, [false, true, true, true], "{peaks:?}");
    assert!(exo.end().success());
}

#[test]
fn an_item_without_a_name_goes_by_its_job_in_log_environment_and_cancel() {
    let work = "#!/bin/sh\necho wfid $SKYNET_WFID\nexec sleep 1000000\n";
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    site.drop_into("p", b"{\"fields\":{}}");
    site.until(|| site.log().contains("p_0 job-1/1: wfid job-1\n"));
    let told = site.ask(&json!({ "command": "cancel", "wfid": "job-1" }));
    let (job, _) = site.stopped("job-1");
    assert_eq!(job.subject.fault, Fault::CANCELLED, "{told}");
}

#[test]
fn what_is_said_too_long_is_cut_or_refused_and_a_queue_has_a_queue_s_name() {
    let work = r#"
long=$(head -c 100000 /dev/zero | tr '\0' x)
item='{"skynet":1,"item":{"fields":{}},"priority":7}'
while hear; do
    case $type in
    work)
        say '{"type":"forward","ticket":1,"queue":"../x","item":{"fields":{}}}'
        hear && echo "$line"
        say "{\"type\":\"forward\",\"ticket\":2,\"queue\":\"other\",\"item\":$item}"
        hear && echo "$line"
        echo "{\"type\":\"stage\",\"id\":$work,\"stage\":\"$long\"}" >&3
        say "{\"type\":\"fault\",\"id\":$work,\"code\":10,\"text\":\"$long\",\"trace\":[\"$long\"]}"
        ;;
    shutdown) exit 0 ;;
    esac
done
"#;
    // What is heard in between has no id.
    let work = work.replacen("    work)\n", "    work)\n        work=$id\n", 1);
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    let item = r#"{"skynet":1,"item":{"fei":{"wfid":"w","expid":"0"},"fields":{}},"reply-to":"r"}"#;
    site.drop_into("p", item.as_bytes());
    let (job, attempts) = site.stopped("w");
    assert_eq!(job.subject.fault, Fault(10), "{}", site.log());
    let text = attempts[0].text.as_deref().unwrap();
    assert!(text.len() == 4096 && text.ends_with(" [...]"), "{} bytes", text.len());
    assert_eq!(job.stage, None);
    let log = site.log();
    assert!(log.contains("the name of a queue, \\\"../x\\\", begins with a dot"), "{log}");
    assert!(log.contains("a stage of 100000 bytes; 4096 are allowed"), "{log}");
    let reader = site.reader();
    let jobs = reader.jobs(Some("other"), None, 9).unwrap();
    assert_eq!((jobs.len(), jobs[0].priority), (1, 7));
    let answer = reader.jobs(Some("r"), None, 9).unwrap().remove(0);
    let answer = reader.item(answer.id).unwrap().unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.len() < 16_000 && answer.contains("xxx [...]"), "{} bytes", answer.len());
}

/// Works on each item until the test lets it go on.
const AT_A_GATE: &str = r#"
while hear; do
    [ $type = work ] || continue
    wfid=${line#*\"wfid\":\"}
    wfid=${wfid%%\"*}
    : >GATES/begun.$wfid
    until [ -e GATES/go.$wfid ]; do sleep 0.01; done
    say "{\"type\":\"result\",\"id\":$id}"
done
"#;

#[test]
fn whoever_sees_what_follows_from_an_end_finds_the_end_on_record() {
    let site = Site::persistent("", "");
    let gates = site.open_folder("gates");
    let work = AT_A_GATE.replace("GATES", &gates.display().to_string());
    site.script("work", &format!("{WORDS}{work}"));
    let exo = site.exo();
    let wfids = ["w0", "w1", "w2", "w3"];
    for wfid in wfids {
        let item = host::item(wfid, "{}");
        let envelope = format!("{{\"skynet\":1,\"item\":{item},\"reply-to\":\"r\"}}");
        site.drop_into("p", envelope.as_bytes());
        site.until(|| site.job(wfid).is_some());
    }
    let has_ended = |wfid: &str| site.attempts(wfid)[0].ended.is_some();
    for (n, wfid) in wfids[..3].iter().enumerate() {
        site.until(|| gates.join(format!("begun.{wfid}")).exists());
        // While one end is being recorded the next item is begun, and no further one.
        assert!(n < 2 || has_ended(wfids[n - 2]), "{wfid} is begun: {:?}", site.attempts(wfids[0]));
        fs::write(gates.join(format!("go.{wfid}")), "").unwrap();
    }
    // Who has the answer has the end.
    site.until(|| site.reader().jobs(Some("r"), None, 9).unwrap().len() == 3);
    assert!(wfids[..3].iter().all(|wfid| has_ended(wfid)));
    // So it is with the end of one that was lost: nobody begins anew before.
    let begun = gates.join("begun.w3");
    site.until(|| begun.exists());
    exo.kill9();
    fs::remove_file(&begun).unwrap();
    let _exo = site.exo();
    site.until(|| begun.exists());
    let first = &site.attempts("w3")[0];
    assert!(first.ended.is_some() && first.how.as_deref() == Some("lost"), "{first:?}");
}

/// Says when it began and ended, in microseconds by the clock of the machine.
const STAMPS: &str = r#"#!/usr/bin/env python3
import json, os, socket, time
now = lambda: time.time_ns() // 1000
def work():
    begun = now()
    time.sleep(0.005)
    print("stamps", begun, now(), flush=True)
if "SKYNET_WFID" in os.environ:
    work()
    os._exit(0)
host = socket.socket(fileno=3)
host.sendall(b'{"type":"hello","protocol":1}\n')
for line in host.makefile("rb"):
    said = json.loads(line)
    if said["type"] == "work":
        work()
        host.sendall(b'{"type":"result","id":%d}\n' % said["id"])
"#;

/// Looks at the attempts of items that were submitted one after the other: each is on record from before
/// its participant began until after it was done, and begins behind the one before it.
#[track_caller]
fn are_on_record_as_they_were(site: &Site, names: &[String]) {
    let mut all = Vec::new();
    for name in names {
        let attempt = site.stopped(name).1.remove(0);
        let (begun, ended) = (attempt.begun.0, attempt.ended.unwrap().0);
        let log = site.log();
        let said = log.split(&format!("{name}/1: stamps ")).nth(1).expect("its stamps");
        let mut said = said.lines().next().unwrap().split(' ').map(|at| at.parse().unwrap());
        let (first, last): (i64, i64) = (said.next().unwrap(), said.next().unwrap());
        assert!(begun <= first && last <= ended, "{name}: {first} {last} {attempt:?}");
        all.push((begun, last));
    }
    // One instance does one after the other.
    all.sort_unstable();
    assert!(all.windows(2).all(|two| two[0].1 <= two[1].0), "{all:?}");
}

fn submitted(site: &Site) -> Vec<String> {
    let names: Vec<_> = (0..20).map(|n| format!("w{n}")).collect();
    for name in &names {
        site.submit(name, "{}");
    }
    names
}

/// Says in a folder when it ends, and does so: every second one by a crash.
const ENDS: &str = "#!/bin/sh
date +%s.%N >$FOLDER/$SKYNET_WFID
case $SKYNET_WFID in *[13579]) kill -KILL $$ ;; esac
";

#[test]
fn an_end_is_in_the_history_within_a_second_of_it_and_a_crash_too() {
    let site = Site::per_item("#", "tries: 1\n");
    let stamps = site.open_folder("stamps");
    site.script("work", &ENDS.replace("$FOLDER", &stamps.display().to_string()));
    let _exo = site.exo();
    let mut took: Vec<_> = (0..40)
        .map(|n| {
            let wfid = format!("w{n}");
            let fault = site.work(&wfid, "{}").fault;
            let seen = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            assert_eq!(fault == Some(Fault::NONE), n % 2 == 0, "{wfid}: {fault:?}");
            let ended: f64 = fs::read_to_string(stamps.join(wfid)).unwrap().trim().parse().unwrap();
            seen.saturating_sub(Duration::from_secs_f64(ended))
        })
        .collect();
    let median = host::median(&mut took);
    println!("in the history {median:?} after the end in the median, {:?} at most", took[39]);
    assert!(median < host::PROMISED, "{median:?}");
}

#[test]
fn an_attempt_is_on_record_from_before_its_participant_began_until_after_it_was_done() {
    for mode in ["persistent", "per-item"] {
        let site = Site::per_item(STAMPS, &format!("mode: {mode}\n"));
        let _exo = site.exo();
        are_on_record_as_they_were(&site, &submitted(&site));
    }
}

#[test]
fn a_worker_that_hears_late_of_an_end_and_the_next_begin_records_when_they_were() {
    let site = Site::per_item(STAMPS, "");
    let exo = site.exo();
    let worker = exo.worker();
    let is_over = AtomicBool::new(false);
    let names = submitted(&site);
    thread::scope(|scope| {
        scope.spawn(|| {
            let is_over = || is_over.load(Ordering::Relaxed);
            // It stands still over an end and the begin behind it.
            while !holds_within(Duration::from_millis(5), is_over) {
                signal::kill(worker, numbers::SIGSTOP).unwrap();
                let _ = holds_within(Duration::from_millis(40), is_over);
                signal::kill(worker, numbers::SIGCONT).unwrap();
            }
        });
        let all_done = holds_within(Duration::from_secs(60), || {
            names
                .iter()
                .all(|name| site.job(name).is_some_and(|it| it.subject.state == State::Stop))
        });
        is_over.store(true, Ordering::Relaxed);
        assert!(all_done, "{}", site.log());
    });
    are_on_record_as_they_were(&site, &names);
}

/// Prints more lines than are read at once, then a word on its other output, and answers at once; the
/// next item is at hand by then.
const WORDY: &str = r#"for said in work():
    os.write(1, b"\n" * 60_000)
    os.write(2, b"why\n")
    result = {"type": "result", "id": said["id"]}
    host.sendall(json.dumps(result).encode() + b"\n")
"#;

#[test]
fn what_was_printed_before_an_answer_is_its_item_s_however_much_it_is() {
    let site = Site::per_item(&format!("{TALKS_PYTHON}import os\n{WORDY}"), "mode: persistent\n");
    let exo = site.exo();
    let wfids = ["v", "w", "x"];
    for wfid in wfids {
        site.submit(wfid, "{}");
    }
    for wfid in wfids {
        site.stopped(wfid);
    }
    assert!(exo.end().success());
    let log = site.log();
    for wfid in wfids {
        let tag = format!("p_0 {wfid}/1: ");
        let lines: Vec<&str> = log.lines().filter_map(|line| line.strip_prefix(&tag)).collect();
        let count = |what: &str| lines.iter().filter(|line| **line == what).count();
        assert_eq!((count(""), count("why")), (60_000, 1), "{wfid}");
    }
}

/// Sends an item once there is a file of that name, and answers at once.
const SENDS: &str = r#"for said in work():
    print("here", flush=True)
    while not os.path.exists("../go/sends"):
        time.sleep(0.01)
    host.sendall(b'{"type":"forward","ticket":1,"queue":"other","item":{"fields":{}}}\n')
    host.sendall(b'{"type":"result","id":%d}\n' % said["id"])
"#;

#[test]
fn no_time_of_an_item_passes_while_what_its_participant_sent_cannot_be_recorded() {
    let work = format!("{TALKS_PYTHON}import os, time\n{SENDS}");
    let site =
        Site::per_item(&work, "mode: persistent\ntries: 1\ntime-limit: 10s\ncancel-grace: 100ms\n");
    let go = site.open_folder("go");
    let exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.log().contains("w/1: here"));
    // Somebody else's slow commit.
    let gate = fs::File::options().write(true).open(site.join("store/work.lock")).unwrap();
    gate.lock().unwrap();
    fs::write(go.join("sends"), "").unwrap();
    site.until(|| site.instance()["seconds"].as_f64().is_some_and(|seconds| seconds > 11.0));
    gate.unlock().unwrap();
    let (job, attempts) = site.stopped("w");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1), "{attempts:?}");
    assert!(exo.end().success());
}
