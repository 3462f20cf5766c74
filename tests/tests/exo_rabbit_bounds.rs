//! exo with a real RabbitMQ: what it has in memory, what rests, and what is in its way.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;
mod remote;

use host::{Exo, item};
use remote::{Remote, trouble};
use serde_json::Value;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use testkit::rabbit::{PASSWORD, Rabbit};

fn turn() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the most memory that a process has had, in KiB.
fn peak_kib(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn large_items_of_rabbitmq_are_not_all_in_memory_at_once() {
    const LARGE: usize = 20;
    const SMALL: usize = 300;
    let _turn = turn();
    let remote = Remote::new("instances: 8\n");
    remote.site.script("work", "#!/bin/sh\ncat > /dev/null\n");
    let mut client = remote.client();
    let forget = r#""params":{"forget":true}"#;
    // Brisk ones first, so that many are fetched ahead when the large ones come.
    for n in 0..SMALL {
        let small = item(&format!("s{n}"), &format!("{{{forget}}}"));
        client.publish("p", small.as_bytes()).unwrap();
    }
    let pad = "x".repeat(15_000_000);
    for n in 0..LARGE {
        let large = item(&format!("l{n}"), &format!("{{{forget},\"pad\":\"{pad}\"}}"));
        client.publish("p", large.as_bytes()).unwrap();
    }
    let exo = remote.site.exo();
    let done = || remote.site.status().and_then(|status| status["done"].as_u64());
    remote.site.until_long(|| done() == Some((SMALL + LARGE) as u64));
    let peak = peak_kib(exo.worker());
    println!("the worker had {peak} KiB at most");
    // One in hand, with its copy for the record, and those that came before the first was seen, which are
    // more where the machine is busy. All would be 300 MB.
    assert!(peak < 200 << 10, "{peak} KiB");
    remote.site.until(|| remote.messages("p") == Some((0, 0)));
    drop(exo);
}

#[test]
fn many_items_that_rest_keep_no_other_from_being_done() {
    let _turn = turn();
    let remote = Remote::new("retry: {first: 1h, longest: 1h}\n");
    let yaml = remote.site.join("p/exo.yaml");
    let own = fs::read_to_string(&yaml).unwrap().replace(host::QUICK, "");
    fs::write(&yaml, own).unwrap();
    remote.site.script("work", "#!/bin/sh\nitem=$(cat)\ncase $item in *fail*) exit 1 ;; esac\n");
    let mut client = remote.client();
    for n in 0..230 {
        client.publish("p", item(&format!("f{n}"), r#"{"do":"fail"}"#).as_bytes()).unwrap();
    }
    for n in 0..3 {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    let exo = remote.site.exo();
    remote.site.until_long(|| remote.messages("p") == Some((0, 230)));
    assert_eq!(trouble(&remote.site), Value::Null);
    for n in 0..3 {
        remote.site.stopped(&format!("w{n}"));
    }
    drop(exo);
}

#[test]
fn a_broker_that_takes_nothing_is_waited_for_and_no_item_is_done_twice() {
    let _turn = turn();
    let remote = Remote::new("");
    let exo: Exo = remote.site.exo();
    remote.client().publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    let alarm = Rabbit::shared().alarm();
    remote.go();
    let says = |what: &str| trouble(&remote.site).as_str().is_some_and(|it| it.contains(what));
    remote.site.until(|| says("RabbitMQ takes no answers"));
    // As long as a look at the queue and its answer may take together, and more.
    let since = Instant::now();
    remote.site.until_long(|| since.elapsed() > Duration::from_secs(24));
    assert!(says("RabbitMQ takes no answers"), "{}", trouble(&remote.site));
    drop(alarm);
    assert_eq!(remote.answers(1)["w1"].len(), 1);
    assert_eq!(remote.site.stopped("w1").1.len(), 1);
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    assert!(!remote.site.log().contains("not connected"), "{}", remote.site.log());
    drop(exo);
}

#[test]
fn what_is_in_the_way_is_said_anew_when_it_is_something_else() {
    let _turn = turn();
    let remote = Remote::new("");
    let password = &remote.server.password_file;
    Rabbit::shared().stop_app();
    let exo = remote.site.exo();
    let says = |what: &str| trouble(&remote.site).as_str().is_some_and(|it| it.contains(what));
    let away = "Connection refused";
    remote.site.until(|| trouble(&remote.site).as_str().is_some_and(|it| it.ends_with(away)));
    fs::write(password, "wrong").unwrap();
    Rabbit::shared().start_app();
    remote.site.until_long(|| says("ACCESS_REFUSED"));
    fs::write(password, PASSWORD).unwrap();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    assert_eq!(remote.answers(1)["w1"].len(), 1);
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    drop(exo);
}

#[test]
fn a_dead_letter_exchange_that_is_not_there_is_said_before_anything_is_lost_by_it() {
    let _turn = turn();
    let remote = Remote::by(&format!(
        "  host: 127.0.0.1\n  port: {}\n  quorum: true\n  delivery-limit: 2\n  \
         dead-letter-exchange: skynet-dead\n",
        Rabbit::shared().port()
    ));
    Rabbit::shared().delete_queue(&remote.server.vhost, "p");
    let exo = remote.site.exo();
    let says = |what: &str| trouble(&remote.site).as_str().is_some_and(|it| it.contains(what));
    remote.site.until(|| says("unable to use dead-letter-exchange skynet-dead"));
    assert_eq!(remote.messages("p"), None, "a queue was made");
    remote.client().announce("skynet-dead", b"made").unwrap();
    remote.site.until_long(|| remote.messages("p").is_some());
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    assert_eq!(remote.answers(1)["w1"].len(), 1);
    drop(exo);
}
