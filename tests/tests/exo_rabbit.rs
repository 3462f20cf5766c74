//! exo with a real RabbitMQ: every item is answered exactly once, whatever goes away meanwhile.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;
mod remote;

use host::{ECHO, Exo, WORDS, item, lines, private_kib};
use machine::work::{Fault, State};
use remote::{Remote, trouble};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use testkit::rabbit::{PASSWORD, Rabbit, USER, with_password};
use testkit::scratch::is_zombie;
use work::amqp::Message;

#[test]
fn an_item_of_rabbitmq_is_done_recorded_and_answered_with_every_number_as_it_was() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    let sent = item("w1", r#"{"n":1.0,"big":12345678901234567890123}"#);
    remote.client().publish("p", sent.as_bytes()).unwrap();
    let answers = remote.answers(1);
    assert_eq!(answers["w1"], [sent.as_bytes()]);
    let (job, attempts) = remote.site.stopped("w1");
    assert_eq!((job.subject.state, attempts.len()), (State::Stop, 1));
    assert!(!remote.site.join("spool/p").exists(), "a drop folder that nobody looks into");
    drop(exo);
}

#[test]
fn a_queue_has_any_name_that_rabbitmq_takes() {
    let queue = format!("sizes of x/y: gr\u{f6}\u{df}e {}", "q".repeat(233));
    assert_eq!(queue.len(), 255);
    let remote = Remote::by("  reply-queue: 'answers of x/y'\n");
    let site = &remote.site;
    let own = site.join("p/exo.yaml");
    let text = fs::read_to_string(&own).unwrap();
    fs::write(&own, format!("{text}queue: '{queue}'\n")).unwrap();
    let mut client = remote.client();
    client.declare(&queue).unwrap();
    let sent = item("w1", r#"{"n":1.0}"#);
    client.publish(&queue, sent.as_bytes()).unwrap();
    let exo = site.exo();
    client.declare("answers of x/y").unwrap();
    client.consume("answers of x/y").unwrap();
    let answer = client.next(Duration::from_secs(30)).unwrap().unwrap();
    assert_eq!(answer.body, sent.as_bytes());
    client.acknowledge(&answer).unwrap();
    let jobs = site.reader().jobs_of("w1").unwrap();
    assert_eq!(jobs.iter().map(|job| &job.queue).collect::<Vec<_>>(), [&queue]);
    assert!(!site.join("spool").exists(), "a drop folder that nobody looks into");
    assert!(exo.end().success());
    // What is tried by hand waits in a queue of its own.
    let tried = site.command(&["local", "-i", &sent]).current_dir(site.join("p")).output().unwrap();
    assert!(tried.status.success(), "{tried:?}");
}

#[test]
fn an_answer_that_is_an_error_is_recorded_as_the_failure_that_the_engine_takes_it_for() {
    let remote = Remote::new("");
    let work =
        "#!/bin/sh\nsed 's/}$/,\"error\":{\"class\":\"Gone\",\"message\":\"no size\"}}/' >&3\n";
    remote.site.script("work", work);
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", r#"{"n":1.0}"#).as_bytes()).unwrap();
    let answers = remote.answers(1);
    let error = r#","error":{"class":"Gone","message":"no size"}}"#;
    let sent = item("w1", r#"{"n":1.0}"#);
    let answer = format!("{}{error}", sent.strip_suffix('}').unwrap());
    assert_eq!(answers["w1"], [answer.as_bytes()]);
    let (job, attempts) = remote.site.stopped("w1");
    assert_eq!(job.subject.fault, Fault(10), "{attempts:?}");
    assert_eq!(attempts[0].text.as_deref(), Some("Gone: no size"));
    drop(exo);
}

#[test]
fn who_asks_to_be_forgotten_and_then_fails_sends_the_engine_nothing() {
    let remote = Remote::new("");
    let work = "#!/bin/sh\ncase $SKYNET_WFID in\nkept) sed 's/{}/{\"params\":{\"forget\":true}}/' >&3; exit 17 ;;\nesac\n";
    remote.site.script("work", work);
    let exo = remote.site.exo();
    for wfid in ["kept", "last"] {
        remote.client().publish("p", item(wfid, "{}").as_bytes()).unwrap();
    }
    // One after the other: whatever was said of the first is in front of the second's answer.
    let answers = remote.answers(1);
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["last"]);
    assert_eq!(remote.site.stopped("kept").0.subject.fault, Fault(17));
    drop(exo);
}

#[test]
fn what_exo_dies_over_as_often_as_it_may_is_a_dead_item_and_its_sender_hears_of_it_once() {
    let remote = Remote::new("tries: 2\nerror-class: E\n");
    let site = &remote.site;
    let forgotten = r#"{"do":"wait","params":{"forget":true}}"#;
    for (wfid, fields) in [("lost", r#"{"do":"wait"}"#), ("forgotten", forgotten)] {
        remote.client().publish("p", item(wfid, fields).as_bytes()).unwrap();
        for attempt in 1..=2 {
            let exo = site.exo();
            // Were only the keeper gone before it, the worker would take the attempt back.
            site.until(|| site.log().contains(&format!("{wfid}/{attempt}: begun\n")));
            exo.kill9();
        }
        let exo = site.exo();
        site.until(|| remote.messages("p") == Some((0, 0)));
        assert!(exo.end().success());
        let (job, attempts) = site.stopped(wfid);
        assert_eq!((job.subject.fault, attempts.len()), (Fault::EXHAUSTED, 2), "{attempts:?}");
    }
    let dead: Vec<_> = site.dead().into_iter().map(|dead| dead.bytes).collect();
    let lost = item("lost", r#"{"do":"wait"}"#);
    assert_eq!(dead, [item("forgotten", forgotten).into_bytes(), lost.into_bytes()]);
    let answers = remote.answers(1);
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["lost"]);
    assert_eq!(answers["lost"].len(), 1);
    let answer: Value = serde_json::from_slice(&answers["lost"][0]).unwrap();
    assert_eq!(answer["error"]["class"], "E", "{answer}");
}

#[test]
fn a_participant_sends_what_is_for_the_engine_to_the_queue_that_the_site_names() {
    let remote = Remote::by("  reply-queue: e-2\n");
    let site = &remote.site;
    // The item's answer names the queue, and the persistent one launches a process by it.
    let per_item = "#!/bin/sh\nsed \"s/{}/{\\\"engine\\\":\\\"$SKYNET_ENGINE\\\"}/\" >&3\n";
    site.script("work", per_item);
    let exo = site.exo();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    let mut client = remote.client();
    client.declare("e-2").unwrap();
    client.consume("e-2").unwrap();
    let mut next = || {
        let message = client.next(Duration::from_secs(30)).unwrap().unwrap();
        client.acknowledge(&message).unwrap();
        String::from_utf8(message.body).unwrap()
    };
    assert_eq!(next(), item("w1", r#"{"engine":"e-2"}"#));
    assert!(exo.end().success());

    let persistent = "#!/bin/sh\nread -r start <&3\nengine=${start#*'\"engine\":\"'}\nengine=${engine%%'\"'*}\n\
        echo '{\"type\":\"hello\",\"protocol\":1}' >&3\nread -r work <&3\n\
        printf '{\"type\":\"forward\",\"ticket\":1,\"queue\":\"%s\",\"item\":{\"definition\":\"x\",\"fields\":{}}}\\n' \
        \"$engine\" >&3\nread -r end <&3\n";
    site.script("work", persistent);
    fs::write(site.join("p/exo.yaml"), "mode: persistent\ncommand: ./work\n").unwrap();
    let exo = site.exo();
    remote.client().publish("p", item("w2", "{}").as_bytes()).unwrap();
    assert_eq!(next(), r#"{"definition":"x","fields":{}}"#);
    drop(exo);
}

#[test]
fn what_is_refused_is_logged_with_the_reason_and_the_number_of_the_dead_item() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    let mut client = remote.client();
    for body in [&b"no JSON"[..], br#"{"fields":{}}"#, item("w1", "{}").as_bytes()] {
        client.publish("p", body).unwrap();
    }
    remote.answers(1);
    let dead = remote.site.dead();
    assert_eq!(dead.len(), 2);
    for dead in dead {
        let (id, reason, bytes) = (dead.id.0, dead.reason, dead.bytes.len());
        let line = format!(
            "exo: warning: a message was refused: {reason}; it is dead item {id}, with {bytes} bytes\n"
        );
        remote.site.until(|| remote.site.log().contains(&line));
        assert_eq!(remote.site.log().matches(&line).count(), 1);
    }
    drop(exo);
}

#[test]
fn the_rights_that_the_page_names_are_enough() {
    let remote = Remote::new("cancel-grace: 10s\n");
    let page = include_str!("../../packaging/doc/rabbitmq.md");
    let named =
        page.lines().find_map(|line| line.trim().strip_prefix("rabbitmqctl set_perm")).unwrap();
    let rights: Vec<String> =
        named.split('\'').skip(1).step_by(2).map(|right| right.replace("packer", "p")).collect();
    let [configure, write, read] = &*rights else { panic!("{rights:?}") };
    Rabbit::shared().call(&format!(
        "rabbit_auth_backend_internal:set_permissions(<<\"{USER}\">>, <<\"{}\">>, \
         <<\"{configure}\">>, <<\"{write}\">>, <<\"{read}\">>, <<\"t\">>).",
        remote.server.vhost
    ));
    let exo = remote.site.exo();
    let mut client = remote.client();
    client.publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.site.until(|| remote.messages("ruote_workitems") == Some((1, 0)));
    client.publish("p", item("w2", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    let cancel = br#"{"cancel":true,"fei":{"wfid":"w2"},"flavour":null}"#;
    client.announce("skynet-control", cancel).unwrap();
    assert_eq!(remote.site.stopped("w2").0.subject.fault, Fault::CANCELLED);
    remote.site.until(|| remote.messages("p") == Some((0, 0)));
    drop(exo);
}

/// Makes the participant one of those that were written for `SkyNET`.
fn handler(site: &host::Site, name: &str, config: &str) {
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/participant/python");
    fs::copy(kit.join("tests/older").join(name), site.join("p").join(name)).unwrap();
    let kit = kit.display();
    let path = format!("environment: {{PYTHONPATH: '{kit}', PYTHONDONTWRITEBYTECODE: '1'}}");
    let command = format!("command: [python3, -m, SkyNET, {name}]");
    let own = format!("mode: persistent\n{command}\n{path}\nconfig: {config}\n");
    fs::write(site.join("p/exo.yaml"), own).unwrap();
}

#[test]
fn what_a_handler_sends_to_the_engine_over_rabbitmq_arrives_once_and_the_work_goes_on() {
    let remote = Remote::new("");
    let locks = remote.site.open_folder("locks");
    handler(&remote.site, "lock.py", &format!("{{lock: {{folder: '{}'}}}}", locks.display()));
    let exo = remote.site.exo();
    let mut client = remote.client();
    for (wfid, action) in [("w1", "get"), ("w2", "get"), ("w3", "release")] {
        let fields = format!(r#"{{"params":{{"action":"{action}","lock_project":"x"}}}}"#);
        client.publish("p", item(wfid, &fields).as_bytes()).unwrap();
    }
    for (wfid, all) in remote.answers(3) {
        let [only] = &*all else { panic!("{wfid}: {}", all.len()) };
        let text = String::from_utf8_lossy(only);
        assert!(text.contains(r#""__result__":true"#) && !text.contains("error"), "{text}");
    }
    assert!(exo.end().success());

    handler(&remote.site, "image.py", "{image: {opts: -a}}");
    let exo = remote.site.exo();
    client.publish("p", item("w4", r#"{"name":"core","arch":"arm"}"#).as_bytes()).unwrap();
    client.consume("ruote_workitems").unwrap();
    let mut next = || {
        let message = client.next(Duration::from_secs(30)).unwrap().unwrap();
        client.acknowledge(&message).unwrap();
        serde_json::from_slice::<Value>(&message.body).unwrap()
    };
    for status in ["BUILDING", "DONE"] {
        assert!(next()["definition"].as_str().unwrap().contains(status));
    }
    assert_eq!(next()["fields"]["__result__"], true);
    drop(exo);
}

#[test]
fn an_answer_says_its_attempt_and_what_is_forwarded_has_a_name_that_a_repeat_has_too() {
    let remote = Remote::new("");
    let site = &remote.site;
    let further = item("w1", "{\"part\":1}");
    // Two forwards of one item at each attempt, the first of which fails.
    let work = format!(
        "#!/bin/sh\nread -r start <&3\necho '{{\"type\":\"hello\",\"protocol\":1}}' >&3\n\
         say() {{ printf '%s\\n' \"$1\" >&3; }}\n\
         while read -r work <&3; do\nid=${{work#*'\"id\":'}}\nid=${{id%%,*}}\n\
         case $work in *shutdown*) exit 0 ;; esac\n\
         say '{{\"type\":\"forward\",\"ticket\":1,\"queue\":\"ruote_workitems\",\"item\":{further}}}'\nread -r sent <&3\n\
         say '{{\"type\":\"forward\",\"ticket\":2,\"queue\":\"ruote_workitems\",\"item\":{{\"definition\":\"x\",\"fields\":{{}}}}}}'\nread -r sent <&3\n\
         case $work in\n*'\"attempt\":1,'*) say \"{{\\\"type\\\":\\\"fault\\\",\\\"id\\\":$id,\\\"code\\\":1}}\" ;;\n\
         *) say \"{{\\\"type\\\":\\\"result\\\",\\\"id\\\":$id}}\" ;;\nesac\ndone\n"
    );
    site.script("work", &work);
    let own = "mode: persistent\ncommand: ./work\nretry: {first: 20ms, longest: 50ms}\n";
    fs::write(site.join("p/exo.yaml"), own).unwrap();
    let exo = site.exo();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    let mut client = remote.client();
    client.declare("ruote_workitems").unwrap();
    client.consume("ruote_workitems").unwrap();
    let mut next = || {
        let message = client.next(Duration::from_secs(30)).unwrap().unwrap();
        client.acknowledge(&message).unwrap();
        // As engines expect it: written to their disk.
        let kind = (message.content_type.as_deref(), message.is_persistent);
        assert_eq!(kind, (Some("text/plain"), true), "{message:?}");
        (String::from_utf8(message.body).unwrap(), message.id, message.attempt)
    };
    let (all, answer) = ([next(), next(), next(), next()], next());
    let [part, launch, part_again, launch_again] = &all;
    assert_eq!((&part.0, part.2), (&further, None));
    let id = part.1.as_deref().unwrap();
    assert!(id.starts_with("0_1!s!!p!") && id.ends_with("!w1"), "{id}");
    assert_eq!(part_again, part, "the next attempt sends the same");
    let (name, name_again) = (launch.1.as_deref().unwrap(), launch_again.1.as_deref().unwrap());
    assert!(name.starts_with("p_0!") && name != name_again, "{name}, {name_again}");
    assert_eq!(answer, (item("w1", "{}"), Some("0_1!s!!w1".to_owned()), Some(2)));
    drop(exo);
}

#[test]
fn the_password_stands_in_no_process_log_or_record() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    let status = remote.site.status().unwrap().to_string();
    assert!(!status.contains(PASSWORD), "{status}");
    let participants = exo.participants();
    assert!(!participants.is_empty());
    for pid in [exo.pid(), exo.worker()].into_iter().chain(participants) {
        for name in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{name}");
        }
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let to = fs::read_link(entry.unwrap().path()).unwrap_or_default();
            assert_ne!(to, remote.server.password_file, "{pid} has it open");
        }
    }
    // What has read it leaves no core behind.
    let limits = fs::read_to_string(format!("/proc/{}/limits", exo.worker())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    remote.go();
    remote.answers(1);
    let shown = remote.site.command(&["check", "--show"]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("password-file"), "{shown:?}");
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(PASSWORD));
    assert!(!remote.site.log().contains(PASSWORD));
    // The file itself, and no other, of the store, the participant or whatever there is besides.
    assert_eq!(
        with_password(&remote.site.join("")),
        std::slice::from_ref(&remote.server.password_file)
    );
}

#[test]
fn connections_closed_in_mid_item_cost_nothing_and_double_nothing() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    Rabbit::shared().close_connections(&remote.server.vhost);
    remote.site.until(|| remote.site.log().contains("not connected to RabbitMQ"));
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    remote.go();
    assert_eq!(remote.answers(1)["w1"].len(), 1);
    assert_eq!(remote.site.stopped("w1").1.len(), 1, "it was tried again");
    drop(exo);
}

#[test]
fn exo_and_its_connection_have_little_of_their_own() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    let mut client = remote.client();
    for n in 0..50 {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    remote.answers(50);
    let kib = private_kib(exo.pid()) + private_kib(exo.worker());
    // Without the program's own pages, which the benchmark counts.
    assert!(kib <= 2 << 10, "{kib} KiB");
    println!("keeper and worker: {kib} KiB");
    drop(exo);
}

#[test]
fn a_cancel_over_the_control_exchange_stops_a_busy_participant_within_a_second() {
    let remote = Remote::new("cancel-grace: 10s\n");
    let exo = remote.site.exo();
    let mut client = remote.client();
    let mut took = Vec::new();
    for n in 0..9 {
        let wfid = format!("w{n}");
        client.publish("p", item(&wfid, r#"{"do":"wait"}"#).as_bytes()).unwrap();
        remote.site.until(|| remote.site.log().contains(&format!("{wfid}/1: begun\n")));
        let cancel = format!(r#"{{"cancel":true,"fei":{{"wfid":"{wfid}"}},"flavour":null}}"#);
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64;
        client.announce("skynet-control", cancel.as_bytes()).unwrap();
        let (job, attempts) = remote.site.stopped(&wfid);
        assert_eq!(job.subject.fault, Fault::CANCELLED);
        let micros = attempts[0].ended.unwrap().0 - before;
        took.push(Duration::from_micros(micros.max(0) as u64));
    }
    let median = host::median(&mut took);
    assert!(median < host::PROMISED, "{took:?}");
    remote.site.until(|| remote.messages("p") == Some((0, 0)));
    assert_eq!(remote.messages("ruote_workitems"), Some((0, 0)), "nobody is answered");
    drop(exo);
}

#[test]
fn what_is_not_begun_for_a_cancel_that_came_before_it_is_said_in_the_log() {
    let remote = Remote::new("cancel-grace: 10s\n");
    let exo = remote.site.exo();
    let mut client = remote.client();
    client.publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    let early = r#"{"cancel":true,"fei":{"wfid":"w2","expid":"0_1"},"dispatched_at":"now"}"#;
    client.announce("skynet-control", early.as_bytes()).unwrap();
    // They come in their order: the one before has come when this is heard.
    client.announce("skynet-control", br#"{"cancel":true,"fei":{"wfid":"w1"}}"#).unwrap();
    remote.site.stopped("w1");
    client.publish("p", item("w2", r#"{"dispatched_at":"now"}"#).as_bytes()).unwrap();
    let (job, _) = remote.site.stopped("w2");
    assert_eq!(job.subject.fault, Fault::CANCELLED);
    let line = "not begun, since its cancel came before it: w2 0_1";
    remote.site.until(|| remote.site.log().contains(line));
    // Nor is it missing where it is counted how items ended.
    remote.site.until(|| remote.site.status().is_some_and(|status| status["cancelled"] == 2));
    drop(exo);
}

#[test]
fn a_cancel_right_behind_its_item_stops_a_participant_that_is_long_at_work() {
    let remote = Remote::new("cancel-grace: 10s\n");
    let exo = remote.site.exo();
    let mut client = remote.client();
    client.publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    client.publish("p", br#"{"cancel":true,"fei":{"wfid":"w1"},"flavour":"kill"}"#).unwrap();
    let (job, _) = remote.site.stopped("w1");
    assert_eq!(job.subject.fault, Fault::KILLED);
    remote.site.until(|| remote.messages("p") == Some((0, 0)));
    drop(exo);
}

#[test]
fn of_two_exos_one_that_is_stuck_keeps_no_item_from_the_other() {
    let stuck = Remote::new("");
    let exo = stuck.site.exo();
    let mut client = stuck.client();
    for n in 0..40 {
        client.publish("p", item(&format!("quick{n}"), "{}").as_bytes()).unwrap();
    }
    stuck.answers(40);
    // It found its items quick, and looks ahead at as many as it ever does.
    client.publish("p", item("stuck", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    for n in 0..40 {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    stuck.begun();
    let other = stuck.beside();
    let another = other.site.exo();
    other.site.until(|| stuck.messages("p") == Some((0, 1)));
    for n in 0..40 {
        let (job, attempts) = other.site.stopped(&format!("w{n}"));
        assert_eq!((job.subject.state, attempts.len()), (State::Stop, 1));
    }
    assert!(
        stuck.site.attempts("stuck").len() == 1
            && stuck.site.job("w0").is_none_or(|job| job.subject.state != State::Stop)
    );
    stuck.go();
    assert_eq!(stuck.answers(41).values().filter(|all| all.len() != 1).count(), 0);
    drop((exo, another));
}

#[test]
fn of_items_of_20_ms_few_are_kept_from_a_consumer_that_is_idle() {
    let remote = Remote::new("mode: persistent\n");
    let ends = remote.site.open_folder("seen").join("ends");
    let work = ECHO.replace("work) ", &format!("work) sleep 0.02; echo x >>{}; ", ends.display()));
    remote.site.script("work", &format!("{WORDS}{work}"));
    let mut client = remote.client();
    for n in 0..60 {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    let exo = remote.site.exo();
    let mut most = 0;
    remote.site.until(|| {
        let (ready, _) = remote.messages("p").unwrap();
        // What is done already and waits for the disk is kept from nobody.
        most = most.max((60 - ready).saturating_sub(lines(&ends).len()));
        ready == 0
    });
    // One in hand, 100 ms of work at hand, and less than that unasked.
    assert!(most <= 16, "{most}");
    drop(exo);
}

#[test]
fn twenty_participants_have_little_each() {
    let all: Vec<Remote> = (0..20).map(|_| Remote::new("")).collect();
    let exos: Vec<Exo> = all.iter().map(|remote| remote.site.exo()).collect();
    for remote in &all {
        remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    }
    for remote in &all {
        remote.answers(1);
    }
    let kib: u64 = exos.iter().map(|exo| private_kib(exo.pid()) + private_kib(exo.worker())).sum();
    assert!(kib <= 20 * (2 << 10), "{kib} KiB");
    println!("20 keepers and workers: {kib} KiB");
    drop(exos);
}

/// How many items, and how many kills: `SKYNET_LONG` is a number of kills, or anything for 10,000.
fn much() -> (usize, usize) {
    match std::env::var("SKYNET_LONG").map(|long| long.parse().unwrap_or(0)) {
        Ok(kills @ 2..) => (10 * kills, kills),
        Ok(_) => (100_000, 10_000),
        Err(_) => (60, 6),
    }
}

fn is_gone(pid: i32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists() || is_zombie(pid)
}

/// Kills worker, keeper or a participant; tells whether exo is to be started again.
fn kill(exo: &Exo, worker: i32, choice: u64) -> bool {
    let participant = exo.participants().first().copied();
    let victim = match (choice % 3, participant) {
        (1, _) => exo.pid(),
        (2, Some(participant)) => participant,
        _ => worker,
    };
    // It may have ended by itself.
    let _ = linux::signal::kill(victim, 9);
    Some(victim) != participant
}

#[test]
fn wherever_exo_or_a_participant_is_killed_each_item_is_answered_and_all_its_answers_are_the_same()
{
    let (items, kills) = much();
    let remote = Remote::new("instances: 2\ntries: 1000\n");
    let mut client = remote.client();
    for n in 0..items {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    let mut random = 0x2545_F491_4F6C_DD1D_u64 ^ u64::from(std::process::id());
    let mut exo = remote.site.exo();
    let mut worker = exo.worker();
    // How often an exo died between an answer of an item and its record.
    let mut unsure: BTreeMap<String, usize> = BTreeMap::new();
    for n in 0..kills {
        let next = format!("w{}", (n + 1) * items / (kills + 1));
        remote.site.until(|| remote.site.job(&next).is_some());
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if kill(&exo, worker, random >> 8) {
            drop(exo);
            remote.site.until(|| is_gone(worker));
            for wfid in remote.unsure() {
                *unsure.entry(wfid).or_insert(0) += 1;
            }
            exo = remote.site.exo();
            worker = exo.worker();
        }
    }
    let answers = remote.whole_answers(items);
    assert_eq!(answers.len(), items);
    let (mut sent, mut twice) = (0, 0);
    for (wfid, all) in answers {
        // What was published, and not known to be, goes again: the same bytes by the same name.
        let same = |a: &Message, b: &Message| a.body == b.body && a.id == b.id && a.id.is_some();
        assert!(all.iter().all(|answer| same(answer, &all[0])), "{wfid} has answers that differ");
        let most = 1 + unsure.get(&wfid).copied().unwrap_or(0);
        assert!(all.len() <= most, "{wfid} has {} answers, and may have {most}", all.len());
        (sent, twice) = (sent + all.len(), twice + usize::from(all.len() > 1));
    }
    println!(
        "{items} items, {kills} kills: {sent} answers; {twice} items have more than one, the same"
    );
    drop(exo);
}
