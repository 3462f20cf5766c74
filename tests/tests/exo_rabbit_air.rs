//! exo answers requests by AIR, over a real RabbitMQ and to a caller with another library.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;
mod remote;

use host::item;
use machine::work::Fault;
use remote::{Remote, trouble};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use testkit::rabbit::{PASSWORD, Rabbit, USER};

/// Makes requests, and returns what came of each.
#[track_caller]
fn call(remote: &Remote, calls: &Value) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/beside/air.py");
    let port = remote.server.port.to_string();
    let mut caller = Command::new("/usr/bin/python3")
        .args([script, &port, &remote.server.vhost, USER, PASSWORD])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    caller.stdin.take().unwrap().write_all(calls.to_string().as_bytes()).unwrap();
    let output = caller.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn service(instance: &str) -> String {
    format!("skynet.p.{instance}.{}", sys_host())
}

fn sys_host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// Waits until the item of `wfid` has a name of its own, and returns what is answered by it.
#[track_caller]
fn of_item(remote: &Remote, wfid: &str, args: &Value) -> Value {
    let asked = json!([{"service": format!("skynet.wi.{wfid}"), "args": args, "kwargs": {}}]);
    let mut answer = Value::Null;
    remote.site.until(|| {
        answer = call(remote, &asked)[0].take();
        answer != "nobody"
    });
    answer
}

#[test]
fn who_asks_an_instance_hears_how_it_stands_and_who_asks_late_hears_nothing() {
    let remote = Remote::with_air("instances: 2\n");
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    let long_ago = 1_000_000_000.0;
    let said = call(
        &remote,
        &json!([
            {"service": service("p_0"), "args": ["status"], "kwargs": {}, "deadline": null},
            {"service": service("p_1"), "args": [], "kwargs": {"method": "status"}},
            {"service": service("p_2"), "args": ["status"]},
            {"service": service("p_0"), "args": ["status"], "deadline": long_ago},
            {"service": service("p_0"), "args": ["cancel", "w1"], "deadline": long_ago},
            {"service": service("p_0"), "args": ["status", "w2"]},
            {"service": service("p_0"), "args": ["cancel", "w2"]},
            {"service": service("p_0"), "args": ["dance"]},
        ]),
    );
    let instances = [&said[0], &said[1]].map(|answer| answer["status"]["instances"].clone());
    assert!(instances.iter().all(|those| those.as_array().unwrap().len() == 1), "{said}");
    assert_eq!(
        (&instances[0][0]["name"], &instances[1][0]["name"]),
        (&json!("p_0"), &json!("p_1"))
    );
    let working = |those: &&Value| those[0]["state"] == "working" && those[0]["wfid"] == "w1";
    assert_eq!(instances.iter().filter(working).count(), 1, "{said}");
    assert_eq!((&said[2], &said[3], &said[4]), (&json!("nobody"), &Value::Null, &Value::Null));
    let why = ["nobody works on w2 here", "no item of w2 is in hand here", "status or cancel"];
    for (answer, why) in [&said[5], &said[6], &said[7]].into_iter().zip(why) {
        assert_eq!(answer["ok"], false);
        assert!(answer["error"].as_str().unwrap().contains(why), "{answer}");
    }
    remote.go();
    assert_eq!(remote.answers(1)["w1"].len(), 1, "a cancel that came late was heeded");
    drop(exo);
}

#[test]
fn an_item_that_lasts_has_a_name_over_lost_connections_until_it_is_cancelled_by_it() {
    let remote = Remote::with_air("cancel-grace: 10s\n");
    let exo = remote.site.exo();
    let mut client = remote.client();
    client.publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    for _ in 0..2 {
        let answer = of_item(&remote, "w1", &json!(["status"]));
        assert_eq!(answer["status"]["instances"][0]["wfid"], "w1", "{answer}");
        // In the status it may be over before anybody looks.
        let losses = || remote.site.log().matches("not connected to RabbitMQ").count();
        let before = losses();
        Rabbit::shared().close_connections(&remote.server.vhost);
        remote.site.until(|| losses() > before);
        remote.site.until(|| trouble(&remote.site) == Value::Null);
    }
    assert_eq!(of_item(&remote, "w1", &json!(["cancel", null, null, "kill"])), json!({"ok": true}));
    let (job, _) = remote.site.stopped("w1");
    assert_eq!(job.subject.fault, Fault::KILLED);
    let asked = json!([{"service": "skynet.wi.w1", "args": ["status"]}]);
    remote.site.until(|| call(&remote, &asked) == json!(["nobody"]));
    drop(exo);
}

#[test]
fn an_exo_that_is_not_told_to_answer_has_no_name() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.answers(1);
    let asked = json!([{"service": service("p_0"), "args": ["status"]}]);
    assert_eq!(call(&remote, &asked), json!(["nobody"]));
    drop(exo);
}

#[test]
fn an_attempt_to_connect_that_failed_does_not_end_the_connection_after_it() {
    let remote = Remote::with_air("");
    let vhost = &remote.server.vhost;
    let configure = |what: &str| Rabbit::shared().permit_each(vhost, [what, ".*", ".*"]);
    // All is allowed but what comes last.
    configure("^(p|ruote_workitems|skynet-control|amq.*|)$");
    let exo = remote.site.exo();
    remote.site.until(|| trouble(&remote.site).as_str().is_some_and(|it| it.contains("AIR")));
    configure(".*");
    remote.site.until(|| Rabbit::shared().consumers(vhost, "p") == 1);
    remote.site.until(|| trouble(&remote.site) == Value::Null);
    let losses = remote.site.log().matches("not connected").count();
    // Until whatever looks after a connection has looked.
    remote.site.until(|| Rabbit::shared().oldest_connection(vhost) > Duration::from_secs(12));
    assert_eq!(remote.site.log().matches("not connected").count(), losses, "{}", remote.site.log());
    drop(exo);
}
