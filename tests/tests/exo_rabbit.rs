//! exo with a real RabbitMQ: every item is answered exactly once, whatever goes away meanwhile.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;

use host::{Exo, Site, item, private_kib};
use machine::work::State;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::time::Duration;
use testkit::rabbit::{PASSWORD, Rabbit, USER};
use work::amqp::{Client, Server};

/// Answers with what it got; waits for the file `go` where the item says so.
const WORK: &str = r#"#!/bin/sh
item=$(cat)
case $item in
*'"do":"wait"'*) trap 'exit 17' TERM; echo begun; until [ -e go ]; do sleep 0.02; done ;;
esac
printf '%s' "$item" >&3
"#;

struct Remote {
    site: Site,
    server: Server,
}

impl Remote {
    fn new(more: &str) -> Self {
        let rabbit = Rabbit::shared();
        let vhost = rabbit.vhost();
        let site = Site::per_item(WORK, more);
        let password_file = site.join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
        // exo's worker is `daemon`, and nobody else may read it but root.
        chown(&password_file, Some(1), Some(1)).unwrap();
        let broker = format!(
            "broker:\n  kind: rabbitmq\n  host: 127.0.0.1\n  port: {}\n  vhost: {vhost}\n  \
             user: {USER}\n  password-file: {}\n",
            rabbit.port(),
            password_file.display(),
        );
        let yaml = site.join("etc/skynet.yaml");
        let whole = fs::read_to_string(&yaml).unwrap();
        fs::write(&yaml, format!("{broker}{whole}")).unwrap();
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port: rabbit.port(),
            vhost,
            user: USER.to_owned(),
            password_file,
            tls: false,
        };
        let remote = Self { site, server };
        remote.client().declare("p").unwrap();
        remote
    }

    fn client(&self) -> Client {
        Client::connect(&self.server, "test").unwrap()
    }

    fn messages(&self, queue: &str) -> Option<(usize, usize)> {
        Rabbit::shared().messages(&self.server.vhost, queue)
    }

    /// Waits until `count` items were answered and nothing is left; returns the answers by process,
    /// and which of them came more than once.
    #[track_caller]
    fn answers(&self, count: usize) -> BTreeMap<String, Vec<Vec<u8>>> {
        let mut client = self.client();
        client.declare("ruote_workitems").unwrap();
        client.consume("ruote_workitems").unwrap();
        let mut all: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        self.site.until(|| {
            while let Some(message) = client.next(Duration::from_millis(50)).unwrap() {
                client.acknowledge(&message).unwrap();
                let answer: Value = serde_json::from_slice(&message.body).unwrap();
                let wfid = answer["fei"]["wfid"].as_str().unwrap().to_owned();
                all.entry(wfid).or_default().push(message.body);
            }
            all.len() >= count && self.messages("p") == Some((0, 0))
        });
        all
    }

    #[track_caller]
    fn begun(&self) {
        self.site.until(|| self.site.log().contains("begun"));
    }

    fn go(&self) {
        fs::write(self.site.join("p/go"), "").unwrap();
    }
}

fn trouble(site: &Site) -> Value {
    site.status().map_or(Value::Null, |status| status["trouble"].clone())
}

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
fn the_password_stands_in_no_process_log_or_record() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.answers(1);
    for pid in [exo.pid(), exo.worker()] {
        for name in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{name}");
        }
    }
    let shown = remote.site.command(&["check", "--show"]).output().unwrap();
    assert!(String::from_utf8_lossy(&shown.stdout).contains("password-file"), "{shown:?}");
    assert!(!String::from_utf8_lossy(&shown.stdout).contains(PASSWORD));
    assert!(!remote.site.log().contains(PASSWORD));
    for entry in fs::read_dir(remote.site.join("store")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let there = bytes.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
            assert!(!there, "{}", path.display());
        }
    }
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
fn exo_and_its_connection_have_less_than_6_mib_of_their_own() {
    let remote = Remote::new("");
    let exo = remote.site.exo();
    let mut client = remote.client();
    for n in 0..50 {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    remote.answers(50);
    let kib = private_kib(exo.pid()) + private_kib(exo.worker());
    assert!(kib <= 6 << 10, "{kib} KiB");
    println!("keeper and worker: {kib} KiB");
    drop(exo);
}

#[test]
fn a_cancel_over_the_control_exchange_stops_a_busy_participant() {
    let remote = Remote::new("cancel-grace: 10s\n");
    let exo = remote.site.exo();
    let mut client = remote.client();
    client.publish("p", item("w1", r#"{"do":"wait"}"#).as_bytes()).unwrap();
    remote.begun();
    let cancel = br#"{"cancel":true,"fei":{"wfid":"w1"},"flavour":null}"#;
    client.announce("skynet-control", cancel).unwrap();
    let (job, _) = remote.site.stopped("w1");
    assert_eq!(job.subject.fault, machine::work::Fault::CANCELLED);
    remote.site.until(|| remote.messages("p") == Some((0, 0)));
    assert_eq!(remote.messages("ruote_workitems"), Some((0, 0)), "nobody is answered");
    drop(exo);
}

#[test]
fn wherever_exo_is_killed_each_item_is_answered_and_all_its_answers_are_the_same() {
    let (items, kills) =
        if std::env::var_os("SKYNET_LONG").is_some() { (100_000, 10_000) } else { (60, 6) };
    let remote = Remote::new("instances: 2\ntries: 1000\n");
    let mut client = remote.client();
    for n in 0..items {
        client.publish("p", item(&format!("w{n}"), "{}").as_bytes()).unwrap();
    }
    for kill in 0..kills {
        let exo: Exo = remote.site.exo();
        let worker = exo.worker();
        let left = || remote.messages("p").map_or(0, |(ready, held)| ready + held);
        let goal = items - (kill + 1) * items / (kills + 1);
        remote.site.until(|| left() <= goal);
        linux::signal::kill(worker, 9).unwrap();
        drop(exo);
    }
    let exo = remote.site.exo();
    let answers = remote.answers(items);
    assert_eq!(answers.len(), items);
    for (wfid, all) in answers {
        // What was published, and not known to be, goes again: the same bytes.
        assert!(all.iter().all(|answer| *answer == all[0]), "{wfid} has answers that differ");
    }
    drop(exo);
}
