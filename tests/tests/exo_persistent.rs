//! Persistent participants, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{ECHO, SOON, Site, children, item, lines};
use machine::work::{Fault, State};
use serde_json::json;
use std::fs;
use testkit::{calls, until};

/// Returns a script's part that does this for each item.
fn each(work: &str) -> String {
    format!("while hear; do\ncase $type in\nwork)\n{work}\n;;\nshutdown) exit 0 ;;\nesac\ndone\n")
}

#[test]
fn it_is_told_its_name_and_configuration_and_then_gets_items() {
    let more = "config: {pool: 4, one: 1.0, big: 123456789012345678901234567890}\n";
    let site = Site::per_item("#!/bin/sh\n", &format!("mode: persistent\n{more}"));
    let seen = site.open_folder("seen");
    let work = format!(
        "#!/bin/sh\nenv | grep ^SKYNET_ | sort >{0}/env\nread -r first <&3\necho \"$first\" >{0}/first\n\
         echo '{{\"type\":\"hello\",\"protocol\":1,\"more\":\"is no matter\"}}' >&3\n\
         read -r second <&3\necho \"$second\" >{0}/second\nread -r third <&3\n",
        seen.display()
    );
    site.script("work", &work);
    let _exo = site.exo();
    site.submit("w", "{\"x\":1.0,\"y\":1E400}");
    site.until(|| !lines(&seen.join("second")).is_empty());
    let first = "{\"type\":\"start\",\"protocol\":1,\"participant\":\"p\",\"instance\":\"p_0\",\
                 \"engine\":\"ruote_workitems\",\"config\":{\"big\":123456789012345678901234567890,\"one\":1.0,\"pool\":4}}";
    assert_eq!(lines(&seen.join("first")), [first]);
    let environment = ["SKYNET_INSTANCE=p_0", "SKYNET_PARTICIPANT=p"];
    assert_eq!(lines(&seen.join("env")), environment);
    let second = &lines(&seen.join("second"))[0];
    let (head, rest) = second.split_once(",\"attempt\":1,").unwrap();
    assert!(head.starts_with("{\"type\":\"work\",\"id\":"), "{second}");
    assert_eq!(rest, format!("\"item\":{}}}", item("w", "{\"x\":1.0,\"y\":1E400}")));
}

#[test]
fn one_process_does_many_items() {
    let site = Site::persistent(ECHO, "");
    let exo = site.exo();
    for n in 0..50 {
        site.submit(&format!("w{n}"), "{\"x\":1.0}");
    }
    site.until(|| exo.participants().len() == 1);
    let pid = exo.participants();
    for n in 0..50 {
        let (job, attempts) = site.stopped(&format!("w{n}"));
        assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1));
        assert_eq!(attempts[0].output, None);
    }
    assert_eq!(exo.participants(), pid);
    // It counts what is recorded, a moment later.
    site.until(|| site.status().unwrap()["done"] == 50);
}

#[test]
fn one_that_ends_behind_an_answer_costs_the_next_item_no_try() {
    // Gone with the next item on its way, or not: nobody knows.
    let work = each("say \"{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}\"\nexit 0");
    let site = Site::persistent(&work, "tries: 1\n");
    let _exo = site.exo();
    for n in 0..30 {
        site.submit(&format!("w{n}"), "{}");
    }
    for n in 0..30 {
        let (job, attempts) = site.stopped(&format!("w{n}"));
        assert_eq!(job.subject.fault, Fault::NONE, "{attempts:?}");
    }
    site.until(|| site.status().unwrap()["done"] == 30);
}

#[test]
fn an_item_that_nobody_ever_reads_has_its_tries() {
    let site = Site::persistent("sleep 0.05; exit 0\n", "");
    let _exo = site.exo();
    site.submit("w", "{}");
    let (job, attempts) = site.stopped("w");
    assert_eq!(job.subject.fault, Fault::EXHAUSTED, "{attempts:?}");
}

#[test]
fn numbers_and_unknown_keys_of_an_answer_are_kept_as_they_were_written() {
    let changed = r#"{"x":1.0,"large":1E400,"big":123456789012345678901234567890,"z":-0.0}"#;
    let item = item("w", changed);
    let work = each(&format!(
        "say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id,\\\"item\\\":\"'{item}}}'"
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    let attempt = site.work("w", "{\"x\":2}");
    assert_eq!(attempt.fault, Some(Fault::NONE), "{attempt:?}");
    assert_eq!(String::from_utf8(attempt.output.unwrap()).unwrap(), item);
}

#[test]
fn a_fault_has_code_text_and_trace_and_a_class() {
    let work = each(
        "say \"{\\\"type\\\":\\\"fault\\\",\\\"id\\\":$id,\\\"code\\\":42,\
         \\\"text\\\":\\\"no size 17\\\",\\\"trace\\\":[\\\"/srv/main.py:1: in run\\\",\\\"/srv/sizer.py:77: in f\\\"]}\"",
    );
    let site = Site::persistent(&work, "error-class: RuntimeError\n");
    let _exo = site.exo();
    let attempt = site.work("w", "{}");
    assert_eq!((attempt.fault, attempt.text.as_deref()), (Some(Fault(42)), Some("no size 17")));
    let signature = "/main.py:#: in run: /sizer.py:#: in f: no size #";
    assert_eq!(attempt.signature.as_deref(), Some(signature));
    let output = String::from_utf8(attempt.output.unwrap()).unwrap();
    let error = "\"error\":{\"class\":\"RuntimeError\",\"message\":\"no size 17\",\
                 \"trace\":[\"/srv/main.py:1: in run\",\"/srv/sizer.py:77: in f\"]}}";
    assert!(output.ends_with(error), "{output}");
    let class = site.reader().classes().unwrap().remove(0);
    assert_eq!((&*class.signature, class.count, class.code), (signature, 1, Fault(42)));
}

#[test]
fn a_result_that_is_an_error_is_a_failure_with_its_words() {
    let error = r#""error":{"class":"Gone","message":"no size 17","trace":["a.py:3: in f"]}"#;
    let answer = item("w", "{}").replacen('{', &format!("{{{error},"), 1);
    let work = each(&format!(
        "say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id,\\\"item\\\":\"'{answer}}}'"
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    let attempt = site.work("w", "{}");
    let told = (attempt.fault, attempt.text.as_deref(), attempt.signature.as_deref());
    let class = "a.py:#: in f: Gone: no size #";
    assert_eq!(told, (Some(Fault(10)), Some("Gone: no size 17"), Some(class)));
    assert_eq!(String::from_utf8(attempt.output.unwrap()).unwrap(), answer);
    site.until(|| site.status().unwrap()["failed"] == 1);
    let class = site.reader().classes().unwrap().remove(0);
    assert_eq!((class.count, class.code), (1, Fault(10)));
}

#[test]
fn an_error_of_a_participant_s_own_goes_back_as_it_was_set_and_gets_a_class_where_it_has_none() {
    for (set, gets) in [
        (
            r#"{"class":"My::Err","message":"no","extra":1}"#,
            r#"{"class":"My::Err","message":"no","extra":1}"#,
        ),
        (r#"{"message":"no"}"#, r#"{"class":"Usual","message":"no"}"#),
        (r#""no""#, r#""no""#),
    ] {
        let answer = item("w", "{}").replacen('{', &format!("{{\"error\":{set},"), 1);
        let as_result = format!("{{\"type\":\"result\",\"id\":'$id',\"item\":{answer}}}");
        let as_fault = format!(
            "{{\"type\":\"fault\",\"id\":'$id',\"code\":12,\"text\":\"no\",\"item\":{answer}}}"
        );
        for (said, code) in [(as_result, 10), (as_fault, 12)] {
            let site = Site::persistent(&each(&format!("say '{said}'")), "error-class: Usual\n");
            let _exo = site.exo();
            let attempt = site.work("w", "{}");
            assert_eq!(attempt.fault, Some(Fault(code)), "{said}");
            let output = String::from_utf8(attempt.output.unwrap()).unwrap();
            assert!(output.contains(&format!("\"error\":{gets}")), "{output}");
        }
    }
}

#[test]
fn an_error_that_came_with_an_item_and_is_as_it_was_does_not_go_back() {
    let echo = Site::per_item("#!/bin/sh\ncat >&3\n", "");
    for site in [Site::persistent(ECHO, ""), echo, Site::per_item("#!/bin/sh\n", "")] {
        let _exo = site.exo();
        let sent = item("w", "{\"n\":1.0}");
        site.drop_into("p", sent.replacen('{', "{\"error\":{\"message\":\"old\"},", 1).as_bytes());
        let (job, attempts) = site.stopped("w");
        assert_eq!(job.subject.fault, Fault::NONE, "{attempts:?}");
        let output = String::from_utf8(attempts[0].output.clone().unwrap()).unwrap();
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&output), value(&sent));
        assert!(output.contains("\"n\":1.0"), "{output}");
    }
}

#[test]
fn who_asks_to_be_forgotten_and_then_says_a_fault_is_answered_by_nobody() {
    let left = item("w", "{\"params\":{\"forget\":true}}");
    let work = each(&format!(
        "say \"{{\\\"type\\\":\\\"fault\\\",\\\"id\\\":$id,\\\"code\\\":17,\\\"item\\\":\"'{left}}}'"
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    let envelope =
        format!("{{\"skynet\":1,\"reply-to\":\"answers\",\"item\":{}}}", item("w", "{}"));
    site.drop_into("p", envelope.as_bytes());
    let (job, _) = site.stopped("w");
    assert_eq!(job.subject.fault, Fault(17));
    assert_eq!(site.reader().jobs(None, None, 99).unwrap().len(), 1, "no answer is on its way");
}

#[test]
fn progress_is_seen_in_the_status() {
    let work = each(
        "say \"{\\\"type\\\":\\\"progress\\\",\\\"id\\\":$id,\\\"done\\\":0.25,\\\"text\\\":\\\"page 3\\\"}\"",
    );
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.instance()["progress"]["text"] == "page 3");
    let instance = site.instance();
    assert_eq!(instance["progress"]["done"], 0.25);
    assert_eq!((&instance["state"], &instance["wfid"]), (&json!("working"), &json!("w")));
    assert_eq!((&instance["attempt"], &instance["expid"]), (&json!(1), &json!("0_1")));
}

#[test]
fn the_next_attempt_is_told_how_far_the_last_one_came() {
    let work = each(
        "case $line in\n*'\"stage\":\"pushed\"'*) say \"{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}\" ;;\n\
         *) say \"{\\\"type\\\":\\\"stage\\\",\\\"id\\\":$id,\\\"stage\\\":\\\"pushed\\\"}\"; kill -9 $$ ;;\nesac",
    );
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    let (job, attempts) = site.stopped("w");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 2), "{attempts:?}");
    assert_eq!((attempts[0].fault, attempts[0].signal), (Some(Fault::CRASHED), Some(9)));
}

#[test]
fn a_further_item_goes_to_the_other_queue_and_its_sender_is_told_its_number() {
    let further = item("further", "{\"y\":1.0}");
    let work = each(&format!(
        "say '{{\"type\":\"forward\",\"ticket\":7,\"queue\":\"q\",\"item\":{further}}}'\n\
         hear; echo \"$line\"\n\
         say '{{\"type\":\"forward\",\"ticket\":8,\"queue\":\"q\",\"item\":[]}}'\nhear; echo \"$line\"\n\
         say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":1}}\""
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    let _ = site.stopped("w");
    let jobs = site.reader().jobs(Some("q"), None, 10).unwrap();
    let job = &jobs[0];
    assert_eq!((jobs.len(), &*job.wfid), (1, "further"));
    assert!(matches!(job.subject.state, State::Ready { .. }));
    assert_eq!(site.reader().item(job.id).unwrap(), Some(further.into_bytes()));
    let nobody = 65534;
    assert_eq!(job.owner, Some(nobody));
    let told = format!("p_0 w/1: {{\"type\":\"sent\",\"ticket\":7,\"job\":{}}}\n", job.id.0);
    site.until(|| site.log().contains(&told));
    let refused =
        "{\"type\":\"sent\",\"ticket\":8,\"refused\":\"not a work item: an object is expected\"}";
    site.until(|| site.log().contains(refused));
}

/// Sends what is no item, more often than it may leave words unread, before it reads what became of it.
const READS_LATER: &str = r#"#!/usr/bin/env python3
import json, socket
host = socket.socket(fileno=3)
host.sendall(b'{"type":"hello","protocol":1}\n')
lines = host.makefile("rb")
for line in lines:
    said = json.loads(line)
    if said["type"] == "work":
        host.sendall(b'{"type":"forward","ticket":1,"queue":"q","item":1}\n' * 3000)
        refused = [json.loads(lines.readline())["refused"] for _ in range(3000)]
        print(len(refused), flush=True)
        host.sendall(json.dumps({"type": "result", "id": said["id"]}).encode() + b"\n")
"#;

#[test]
fn who_reads_late_what_became_of_much_is_heard_to_the_end() {
    let site = Site::per_item(READS_LATER, "mode: persistent\n");
    let exo = site.exo();
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE));
    assert!(site.log().contains(" 3000\n"), "{}", site.log());
    assert!(exo.end().success());
}

#[test]
fn a_further_item_that_is_named_as_a_job_without_a_name_is_refused() {
    let further = ["job-1", "job-x"].map(|wfid| item(wfid, "{\"y\":1.0}"));
    let work = each(&format!(
        "mine=$id\n\
         say '{{\"type\":\"forward\",\"ticket\":7,\"queue\":\"q\",\"item\":{}}}'\nhear; echo \"$line\"\n\
         say '{{\"type\":\"forward\",\"ticket\":8,\"queue\":\"q\",\"item\":{}}}'\nhear; echo \"$line\"\n\
         say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$mine}}\"",
        further[0], further[1]
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    let _ = site.stopped("w");
    let refused = "{\"type\":\"sent\",\"ticket\":7,\
                   \"refused\":\"the process job-1 is a job without a name\"}";
    site.until(|| site.log().contains(refused));
    let jobs = site.reader().jobs(Some("q"), None, 10).unwrap();
    let wfids: Vec<_> = jobs.iter().map(|job| &*job.wfid).collect();
    assert_eq!(wfids, ["job-x"], "{}", site.log());
}

#[test]
fn a_ticket_that_is_answered_may_be_used_again_for_another_item() {
    let forward = "say '{\"type\":\"forward\",\"ticket\":1,\"queue\":\"q\",\"item\":{\"fields\":{}}}'; hear\n";
    let work = each(&format!(
        "mine=$id\n{}say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$mine}}\"",
        forward.repeat(2)
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE));
    // Without a `fei` each is another one.
    assert_eq!(site.reader().jobs(Some("q"), None, 10).unwrap().len(), 2, "{}", site.log());
}

#[test]
fn parts_of_one_item_that_are_forwarded_are_a_job_each_also_after_a_second_attempt() {
    let part = |n: u32| {
        let part = item("w", &format!("{{\"part\":{n}}}"));
        format!(
            "say '{{\"type\":\"forward\",\"ticket\":{n},\"queue\":\"q\",\"item\":{part}}}'; hear; echo \"$line\"\n"
        )
    };
    let parts: String = (1..=3).map(part).collect();
    let work = each(&format!(
        "mine=$id; attempt=$line\n{parts}case $attempt in\n*'\"attempt\":1,'*) kill -9 $$ ;;\nesac\n\
         say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$mine}}\""
    ));
    let site = Site::persistent(&work, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    let (job, attempts) = site.stopped("w");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 2), "{}", site.log());
    let reader = site.reader();
    let jobs = reader.jobs(Some("q"), None, 10).unwrap();
    let mut parts: Vec<_> = jobs.iter().map(|job| reader.item(job.id).unwrap().unwrap()).collect();
    parts.sort();
    let expected = [1, 2, 3].map(|n| item("w", &format!("{{\"part\":{n}}}")).into_bytes());
    assert_eq!(parts, expected);
}

#[test]
fn it_is_told_to_shut_down_and_finishes_what_it_has_in_hand() {
    let work = "while hear; do\necho \"$type\"\ncase $type in\nwork) mine=$id ;;\n\
                shutdown) say \"{\\\"type\\\":\\\"result\\\",\\\"id\\\":$mine}\"; exit 0 ;;\nesac\ndone\n";
    let site = Site::persistent(work, "");
    let exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.log().contains("p_0 w/1: work\n"));
    assert!(exo.end().success());
    let (job, attempts) = site.stopped("w");
    assert_eq!((job.subject.fault, attempts.len()), (Fault::NONE, 1));
    assert!(site.log().contains("p_0 w/1: shutdown\n"));
}

/// Ends exo while its participant does not; returns for how many milliseconds that lived on once it had
/// noted that it was told.
#[track_caller]
fn lived_on() -> i64 {
    let work = "while hear; do echo \"$line\"; date +'%s %N'; done\n";
    let site = Site::persistent(work, "shutdown-grace: 6s\n");
    let exo = site.exo();
    site.submit("w", "{}");
    // In hand of exo it may be a moment before the participant has it.
    site.until(|| site.log().contains("p_0 w/1: {\"type\":\"work\""));
    let participant = exo.participants()[0];
    assert!(exo.end().success());
    assert!(!testkit::svscan::is_alive(participant));
    let log = site.log();
    assert!(log.contains("{\"type\":\"about-to-die\",\"seconds\":5.0}"), "{log}");
    let job = site.job("w").unwrap();
    assert_eq!((job.subject.state, job.subject.count), (State::Ready { leased: false }, 0));
    let attempt = site.attempts("w").remove(0);
    assert_eq!(attempt.how.as_deref(), Some("interrupted"));
    let told: Vec<i64> = log
        .lines()
        .filter_map(|line| line.strip_prefix("p_0 w/1: ")?.split_once(' '))
        .filter_map(|(s, ns)| {
            Some(s.parse::<i64>().ok()? * 1000 + ns.parse::<i64>().ok()? / 1_000_000)
        })
        .collect();
    let ended = attempt.ended.unwrap().0 / 1000;
    ended - told.last().unwrap()
}

#[test]
fn who_does_not_end_is_told_five_seconds_before_it_is_killed() {
    // Told is noted within a second, unless the machine is busy.
    assert!((0..3).any(|_| lived_on() > 4000), "killed too soon after it was told");
}

#[test]
fn who_dies_while_idle_is_started_again() {
    let site = Site::persistent(ECHO, "");
    let exo = site.exo();
    site.until(|| site.instance()["state"] == "idle");
    let first = exo.participants()[0];
    linux::signal::kill(first, 9).unwrap();
    site.until(|| exo.participants().first().is_some_and(|pid| *pid != first));
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE));
}

#[test]
fn each_of_several_instances_has_one_item_in_hand() {
    let site = Site::persistent("#", "instances: 4\n");
    let seen = site.open_folder("seen");
    let work = each(&format!(
        "touch {0}/$id.$$; until [ -e {0}/go ]; do sleep 0.01; done\n\
         say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}}\"",
        seen.display()
    ));
    site.script("work", &format!("{}{work}", host::WORDS));
    let exo = site.exo();
    for n in 0..8 {
        site.submit(&format!("w{n}"), "{}");
    }
    site.until(|| fs::read_dir(&seen).unwrap().count() == 4);
    let of = |state: &str| {
        let counts = site.reader().counts().unwrap();
        counts.iter().find(|c| c.state == state).map_or(0, |c| c.jobs)
    };
    // The last files may be no jobs yet.
    site.until(|| of("run") + of("ready") == 8);
    assert_eq!((of("run"), of("ready")), (4, 4));
    let mut pids = exo.participants();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 4);
    fs::write(seen.join("go"), "").unwrap();
    for n in 0..8 {
        assert_eq!(site.stopped(&format!("w{n}")).0.subject.fault, Fault::NONE);
    }
}

#[test]
fn one_that_is_killed_for_want_of_a_hello_is_told_with_the_reason_until_one_says_it() {
    const WHY: &str = "no hello within 300ms: killed; is mode: per-item meant?";
    let text = "#!/bin/sh\necho waits\nexec sleep 1000\n";
    let more = "mode: persistent\nrestart: {first: 20ms, longest: 50ms}\nstart-limit: 300ms\n";
    let site = Site::per_item(text, more);
    let exo = site.exo();
    // While the next is given its time, too.
    let is_told = |state: &str| {
        site.until(|| {
            let instance = site.instance();
            instance["start_failure"] == WHY && instance["state"] == state
        });
    };
    is_told("starting");
    // On a busy machine one may be killed before it has said anything.
    let mut trouble = json!(null);
    site.until(|| {
        trouble = site.status().unwrap()["last_troubles"][0].clone();
        trouble["line"] == "waits"
    });
    let told = ["kind", "how"].map(|key| trouble[key].as_str().unwrap_or_default());
    assert_eq!(told, ["not-started", WHY], "{trouble}");
    let log = site.log();
    assert!(log.contains(&format!("p_0 -: {WHY}\n")), "{log}");
    assert!(!log.contains("ended: signal 9"), "{log}");
    site.script("work", &format!("{}{}", host::WORDS, ECHO));
    site.until(|| site.instance()["state"] == "idle");
    assert!(site.instance()["start_failure"].is_null());
    assert!(exo.end().success());
}

#[test]
fn what_a_start_failed_of_is_named() {
    let is_told = |site: &Site, what: &str, why: &str| {
        site.until(|| {
            let told = site.instance()["start_failure"].as_str().unwrap_or_default().to_owned();
            told.starts_with(what) && told.ends_with(why)
        });
    };
    let site = Site::persistent_program(&["./work"], "");
    let _exo = site.exo();
    let folder = site.join("p").canonicalize().unwrap().display().to_string();
    let program = format!("unable to run its program {folder}/work: ");
    is_told(&site, &program, "file does not exist");
    site.script("work", "#!/no/such/interpreter\n");
    is_told(&site, &program, "its interpreter (#!) does not exist");
    fs::rename(site.join("p"), site.join("away")).unwrap();
    is_told(&site, &format!("unable to enter directory {folder}: "), "file does not exist");

    let site = Site::persistent_program(&["no-such-program"], "");
    let _exo = site.exo();
    is_told(&site, "unable to run its program no-such-program (PATH=/", "): file does not exist");
}

#[test]
fn one_that_ends_without_a_hello_is_told_as_not_started_whatever_its_code() {
    for (text, why) in [
        ("exit 0", "no hello: exit 0; is mode: per-item meant?"),
        ("exit 3", "no hello: exit 3"),
        ("kill -9 $$", "no hello: signal 9"),
        ("exec 3>&-; sleep 0.05; exit 111", "no hello: exit 111"),
    ] {
        let more = "mode: persistent\nrestart: {first: 20ms, longest: 50ms}\n";
        let site = Site::per_item(&format!("#!/bin/sh\n{text}\n"), more);
        let exo = site.exo();
        // Whether its death is heard of before the end of its socket or behind it.
        site.until(|| site.status().unwrap()["troubles"].as_u64() > Some(8));
        for trouble in site.status().unwrap()["last_troubles"].as_array().unwrap() {
            assert_eq!((&trouble["kind"], &trouble["how"]), (&json!("not-started"), &json!(why)));
        }
        // While the next is on its way, too.
        for _ in 0..10 {
            assert_eq!(site.instance()["start_failure"], why);
        }
        site.script("work", &format!("{}{}", host::WORDS, ECHO));
        site.until(|| site.instance()["state"] == "idle");
        assert!(site.instance()["start_failure"].is_null());
        assert!(exo.end().success());
    }
}

#[test]
fn one_that_closes_its_socket_with_nothing_in_hand_may_end_by_itself_first() {
    let site = Site::persistent("exec 3>&-\nsleep 0.3\necho bye\nexit 111\n", "");
    let exo = site.exo();
    // It is started again and again: on a busy machine it may take longer than it is given.
    site.until(|| {
        let log = site.log();
        log.contains("p_0 -: bye\n") && log.contains("p_0 -: ended: exit 111\n")
    });
    assert!(exo.end().success());
}

#[test]
fn what_it_started_ends_with_it() {
    let work = "sleep 1000 & echo $! >&2\n".to_owned() + ECHO;
    let site = Site::persistent(&work, "");
    let exo = site.exo();
    site.until(|| site.instance()["state"] == "idle");
    // It says hello first, and then starts it.
    site.until(|| !children(exo.participants()[0]).is_empty());
    let child = children(exo.participants()[0])[0];
    assert!(exo.end().success());
    until(SOON, || !testkit::svscan::is_alive(child));
}

#[test]
fn what_is_printed_before_an_answer_is_tagged_with_its_item_however_slowly_exo_reads() {
    const COUNT: usize = 30;
    // The first line wakes exo; the second and the answer come at any moment while it reads.
    let work = "n=${line#*\\\"wfid\\\":\\\"w}\nn=${n%%\\\"*}\necho first\n\
                while [ $n -gt 0 ]; do /bin/true; n=$((n - 1)); done\necho last\n\
                say \"{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}\"";
    let site = Site::persistent(&each(work), "");
    let exo = site.exo();
    calls::trace(exo.worker(), &site.join("trace"), &["read:delay_exit=5000"]);
    (0..COUNT).for_each(|n| site.submit(&format!("w{n}"), "{}"));
    let attempts: Vec<_> = (0..COUNT).map(|n| site.stopped(&format!("w{n}")).1).collect();
    let log = site.log();
    for (n, attempts) in attempts.iter().enumerate() {
        let tag = format!("p_0 w{n}/{}: ", attempts.len());
        let said: Vec<_> = log.lines().filter_map(|line| line.strip_prefix(&tag)).collect();
        assert_eq!(said, ["first", "last"], "of w{n}: {log}");
    }
}
