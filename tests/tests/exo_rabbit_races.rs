//! exo with a real RabbitMQ: what comes at the very moment at which an item is done.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;
mod remote;

use history::progress;
use host::{RACES_CANCELS, TALKS, item};
use machine::work::Fault;
use remote::Remote;
use std::fs;
use std::path::Path;
use std::time::Duration;
use testkit::wait::holds_within;
use work::{Place, Reader};

/// Works as long as the item says, and dies of TERM.
const SLEEPS: &str = "#!/bin/sh\nexec sleep \"$(sed 's/.*\"s\":\"//; s/\".*//')\"\n";

/// Does every item at once or a little later, unless the end comes before.
const RACER: &str = r#"while (1) {
    my $line = hear();
    exit 0 if $line =~ /"type":"shutdown"/;
    next unless $line =~ /"type":"work","id":(\d+)/;
    my ($id, $heard) = ($1, "");
    my $most = $line =~ /"s":"([0-9.]+)"/ ? $1 : rand(0.004);
    vec($heard, 3, 1) = 1;
    if (rand() < 0.9 && select($heard, undef, undef, $most)) {
        exit 0 if hear() =~ /"type":"shutdown"/;
    } else {
        syswrite($s, "{\"type\":\"result\",\"id\":$id}\n");
    }
}
"#;

fn is_long() -> bool {
    std::env::var_os("SKYNET_LONG").is_some()
}

/// A participant of three instances, whose items fail for good where one attempt counts and fails.
fn three(is_persistent: bool) -> Remote {
    let remote = Remote::new("instances: 3\n");
    let own = fs::read_to_string(remote.site.join("p/exo.yaml")).unwrap();
    let own = format!("{own}tries: 1\nshutdown-grace: 5s\ncancel-grace: 5s\n");
    let persistent = "mode: persistent\nrestart: {first: 20ms, longest: 50ms}\n";
    let mode = if is_persistent { persistent } else { "" };
    fs::write(remote.site.join("p/exo.yaml"), format!("{own}{mode}")).unwrap();
    let persistent = format!("{TALKS}{RACER}");
    remote.site.script("work", if is_persistent { &persistent } else { SLEEPS });
    remote
}

/// Tells whether anything is worked on.
fn is_at_work(store: &Path) -> bool {
    let counts = Reader::open(&Place::new(store)).and_then(|reader| reader.counts());
    counts.is_ok_and(|all| all.iter().any(|count| count.state == "run"))
}

#[test]
fn term_at_any_moment_gives_the_items_of_rabbitmq_back_at_once_and_they_do_not_count() {
    let rounds = if is_long() { 300 } else { 15 };
    for is_persistent in [false, true] {
        let remote = three(is_persistent);
        let store = remote.site.join("store");
        let mut client = remote.client();
        client.declare("ruote_workitems").unwrap();
        let (mut sent, mut cut) = (0, 0);
        for round in 0..rounds {
            let (rest, _) = remote.messages("p").unwrap();
            for _ in rest..12 {
                let fields = format!(r#"{{"s":"{:.3}"}}"#, f64::from(sent * 7 % 30) / 1000.0);
                client.publish("p", item(&format!("w{sent}"), &fields).as_bytes()).unwrap();
                sent += 1;
            }
            let exo = remote.site.exo();
            if round % 2 == 0 {
                // On a slow host nothing else would be connected, let alone in hand, by then.
                let are_done = || progress(&store) == (sent as u64, 0);
                remote.site.until(|| is_at_work(&store) || are_done());
            } else {
                // Chance decides what is in hand then; it is the moment that differs, not a wait.
                let _ = holds_within(Duration::from_millis(round * 13 % 61), || false);
            }
            let code = exo.end().code();
            let (left, unacknowledged) = remote.messages("p").unwrap();
            let (answered, _) = remote.messages("ruote_workitems").unwrap();
            let context = format!("round {round}, persistent: {is_persistent}");
            assert_eq!(code, Some(0), "{context}: {}", remote.site.log());
            assert_eq!(unacknowledged, 0, "{context}");
            assert_eq!(left + answered, sent as usize, "{context}: {}", remote.site.log());
        }
        let exo = remote.site.exo();
        let answers = remote.answers(sent as usize);
        assert!(exo.end().success(), "{}", remote.site.log());
        assert_eq!(answers.len(), sent as usize);
        for (wfid, its) in answers {
            let (job, attempts) = remote.site.stopped(&wfid);
            assert_eq!((its.len(), job.subject.fault), (1, Fault::NONE), "{job:?} {attempts:?}");
            cut += attempts.len() - 1;
        }
        println!("{sent} items, {cut} attempts were cut, persistent: {is_persistent}");
        assert!(cut > 0, "nothing was in hand");
    }
}

/// X8: cancels come by the control exchange and by the queue, as close to the end of the work as chance
/// has it, a few before it has begun.
#[test]
fn of_a_cancel_and_the_end_of_the_work_one_is_the_outcome_in_answer_history_and_status() {
    let count = if is_long() { 10_000 } else { 600 };
    let remote = Remote::new("instances: 4\ncancel-grace: 5s\nmode: persistent\n");
    // A cancel takes its way through the broker.
    let racer = RACES_CANCELS.replace("rand(0.002)", "rand(0.02)");
    remote.site.script("work", &format!("{TALKS}{racer}"));
    let exo = remote.site.exo();
    let store = remote.site.join("store");
    let mut client = remote.client();
    client.declare("ruote_workitems").unwrap();
    let wfids: Vec<String> = (0..count).map(|n| format!("w{n}")).collect();
    for (round, some) in wfids.chunks(4).enumerate() {
        for wfid in some {
            client.publish("p", item(wfid, "{}").as_bytes()).unwrap();
        }
        for (n, wfid) in some.iter().enumerate() {
            let cancel = format!(r#"{{"cancel":true,"fei":{{"wfid":"{wfid}"}},"flavour":null}}"#);
            if n == round % 4 {
                client.publish("p", cancel.as_bytes()).unwrap();
            } else {
                client.announce("skynet-control", cancel.as_bytes()).unwrap();
            }
        }
        let all = (round * 4 + some.len()) as u64;
        remote.site.until(|| progress(&store) == (all, 0));
    }
    remote.site.until(|| remote.messages("p") == Some((0, 0)));
    let (mut done, mut cancelled, mut begun) = (Vec::new(), 0, 0);
    for wfid in &wfids {
        let (job, attempts) = remote.site.stopped(wfid);
        match job.subject.fault {
            Fault::NONE => done.push(&**wfid),
            Fault::CANCELLED => cancelled += 1,
            _ => panic!("{job:?} {attempts:?}"),
        }
        // One that was cancelled before it came was never begun.
        assert!(attempts.len() <= 1, "{job:?} {attempts:?}");
        for attempt in &attempts {
            begun += u64::from(job.subject.fault == Fault::CANCELLED);
            assert_eq!(attempt.fault, Some(job.subject.fault), "{job:?}");
        }
    }
    let answers = remote.answers(done.len());
    assert_eq!(answers.len(), done.len(), "one that was cancelled was answered");
    assert!(done.iter().all(|wfid| answers[*wfid].len() == 1));
    let status = remote.site.status().unwrap();
    let counts = ["done", "failed"].map(|key| status[key].as_u64().unwrap());
    assert_eq!(counts, [done.len() as u64, 0], "{status}");
    // What was only at hand is no end of its own.
    let counted = status["cancelled"].as_u64().unwrap();
    assert!((begun..=cancelled).contains(&counted), "{status}");
    println!("{} done, {cancelled} cancelled, {begun} of them begun", done.len());
    assert!(done.len() * 50 > count && begun * 50 > count as u64, "no race");
    assert!(exo.end().success(), "{}", remote.site.log());
}
