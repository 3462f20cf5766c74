//! The stand-in engine, and what people send, over RabbitMQ; on a user's instance and on a system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod connected;
mod served;
mod site;

use connected::Vhost;
use serde_json::Value;
use served::{launch, objects, pairs, path, process, serve, stands, state};
use site::{Kind, Person, Place, Site};
use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;
use testkit::program;
use testkit::rabbit::{PASSWORD, Rabbit, with_password};
use work::{Reader, wire};

const ENGINE: &str = "ruote_workitems";

/// Does what the step's parameter says.
const WORK: &str = r#"#!/bin/sh
item=$(cat)
case $item in
*'"do":"fail"'*) echo "it broke" >&2; exit 11 ;;
*'"do":"wait"'*) trap 'echo told; exit 17' TERM; until [ -e go ]; do sleep 0.05; done ;;
esac
printf '%s' "$item" | sed 's/"fields":{/&"__result__":true,/' >&3
"#;

/// A participant as they were written for `SkyNET`.
const HANDLER: &str = r#"class ParticipantHandler(object):
    def handle_wi_control(self, ctrl):
        self.log.info("control %s" % ctrl.message)

    def handle_lifecycle_control(self, ctrl):
        pass

    def handle_wi(self, wi):
        wi.fields.old = "seen in %s" % wi.params.place
        wi.result = True
"#;

/// One of before that.
const CONSUMER: &str = include_str!("../../crates/participant/python/tests/older/consumer.py");

const QUICK: &str = "retry: {first: 20ms, longest: 50ms}\n";

fn participants(site: &Site, names: &[&str]) {
    for name in names {
        site.participant(name, QUICK, WORK);
        site.well(&["start", name]);
    }
}

fn handler(site: &Site, file: &str, text: &str, name: &str) {
    let dir = site.on_desk("code", &[(file, text)]);
    let file = dir.join(file).display().to_string();
    site.well(&["install", &file, "-n", name, "--enable", "--now"]);
}

fn fields(site: &Site, wfid: &str) -> Value {
    let file = site.at(Place::Store).join(format!("engine/{wfid}.json"));
    let process: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    process["fields"].clone()
}

fn jobs(site: &Site, wfid: &str, queue: &str) -> usize {
    let reader = Reader::open(&work::Place::new(site.at(Place::Store))).unwrap();
    reader.jobs_of(wfid).unwrap().iter().filter(|job| job.queue == queue).count()
}

#[test]
fn old_participants_new_ones_and_those_that_speak_amqp_themselves_do_the_steps_of_one_process() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["new"]);
        handler(&site, "old.py", HANDLER, "old");
        handler(&site, "consumer.py", CONSUMER, "counter");
        serve(&site);
        site.well(&["register", "counter", "--pattern", "count.*"]);
        let yaml = "process: p\nfields: {n: 12345678901234567890123, x: 1.0}\nsteps:\n- do: old\n  with: {place: '${x}'}\n- do: new\n  if: ${__result__}\n- do: raw\n- do: counting\n";
        let wfid = launch(&site, &process(&site, "p.yaml", yaml));
        site.until(|| path(&site, &wfid).len() == 3);
        // Nobody has made its queue yet, and an engine does not.
        site.until(|| site.own_log().contains("there is no queue raw"));
        assert_eq!(vhost.messages("raw"), None);
        let mut raw = vhost.client();
        raw.declare("raw").unwrap();
        raw.consume("raw").unwrap();
        let item = raw.next(Duration::from_secs(site::SOON)).unwrap().unwrap();
        raw.acknowledge(&item).unwrap();
        let said = String::from_utf8(item.body.clone()).unwrap();
        assert!(said.contains("\"n\":12345678901234567890123,") && said.contains("1.0"), "{said}");
        assert!(said.contains("\"old\":\"seen in 1.0\""), "{said}");
        raw.publish(ENGINE, &item.body).unwrap();
        site.until(|| state(&site, &wfid) == "done");
        let wanted = [("0_0_0", "done"), ("0_0_1", "done"), ("0_0_2", "done"), ("0_0_3", "done")];
        assert_eq!(path(&site, &wfid), pairs(&wanted));
        let fields = fields(&site, &wfid);
        assert_eq!((&fields["count"], &fields["x"]), (&Value::from(1), &Value::from(1.0)));
        assert!(!site.own_log().contains("not heeded"), "{}", site.own_log());
    });
}

#[test]
fn who_launches_without_skynet_begins_a_process_with_each_message_and_what_is_none_is_said() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a"]);
        serve(&site);
        site.well(&["register", "a", "--pattern", "built_.*"]);
        let mut client = vhost.client();
        client.declare(ENGINE).unwrap();
        let message = br#"{"definition":"Ruote.process_definition :name => 'night' do\n  sequence do\n    built_x\n  end\nend","fields":{"project":"devel:a"},"variables":null}"#;
        client.publish(ENGINE, b"nonsense").unwrap();
        client.publish(ENGINE, message).unwrap();
        client.publish(ENGINE, message).unwrap();
        let done = || {
            let all = objects(&site.well(&["engine", "list", "--json"]));
            let is_done = |one: &&Value| one["process"] == "night" && one["state"] == "done";
            all.iter().filter(is_done).count()
        };
        site.until(|| done() == 2);
        site.until(|| vhost.messages(ENGINE) == Some((0, 0)));
        let said = site.own_log();
        assert!(said.contains("a message is not heeded: no message of an engine"), "{said}");
        // Another engine than this one may understand it.
        let xml = process(&site, "p.xml", "<process-definition/>\n");
        let said = site.well(&["launch", &xml]);
        assert!(said.contains("launched; an engine that is not skynet's"), "{said}");
        site.until(|| site.own_log().contains("XML are not understood here"));
    });
}

#[test]
fn a_process_that_is_cancelled_takes_its_items_back_from_whoever_works_on_them() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a", "b"]);
        serve(&site);
        let yaml =
            "process: p\nsteps:\n- concurrence: [{do: a, with: {do: wait}}, do: later]\n- do: b\n";
        let wfid = launch(&site, &process(&site, "p.yaml", yaml));
        site.until(|| {
            let said = site.skynet(&["status", "a", "--json"]);
            said.out().contains("\"working\"") && site.own_log().contains("no queue later")
        });
        assert_eq!(site.well(&["engine", "cancel", &wfid]), format!("{wfid}: cancelled\n"));
        site.until(|| stands(&site, "a", &wfid) == ("stop", 900));
        let mut later = vhost.client();
        later.declare("later").unwrap();
        later.consume("later").unwrap();
        // What waited for its queue is taken back, too.
        let next = "process: q\nsteps:\n- do: later\n";
        let next = launch(&site, &process(&site, "q.yaml", next));
        let came = later.next(Duration::from_secs(site::SOON)).unwrap().unwrap();
        assert!(String::from_utf8_lossy(&came.body).contains(&next), "{came:?}");
        later.acknowledge(&came).unwrap();
        // Behind an item that somebody has, who is told, the old way.
        site.well(&["engine", "cancel", &next, "--flavour", "kill"]);
        let told = later.next(Duration::from_secs(site::SOON)).unwrap().unwrap();
        let told: Value = serde_json::from_slice(&told.body).unwrap();
        assert_eq!((&told["cancel"], &told["flavour"]), (&true.into(), &"kill".into()));
        assert_eq!(told["fei"]["wfid"], next);
        assert!(told.get("fields").is_none() && told["fei"]["subid"].is_string(), "{told}");
        site.until(|| vhost.messages("a") == Some((0, 0)));
    });
}

#[test]
fn of_many_processes_each_step_is_done_once_however_often_the_engine_is_killed() {
    const PROCESSES: usize = 20;
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a", "b"]);
        let yaml = "process: p\nsteps:\n- do: a\n- concurrence: [do: a, do: b]\n- do: b\n";
        let file = process(&site, "p.yaml", yaml);
        let all: Vec<String> = (0..PROCESSES).map(|_| launch(&site, &file)).collect();
        serve(&site);
        let mut kills = 0;
        site.until(|| {
            if kills < 8 && site.pid("engine").is_some() {
                for pid in site.pids("skynet") {
                    kills += usize::from(linux::signal::kill(pid, 9).is_ok());
                }
            }
            let said = site.skynet(&["engine", "list", "--json"]);
            let done = objects(&said.out());
            done.iter().filter(|object| object["state"] == "done").count() == PROCESSES
        });
        assert!(kills > 0);
        for wfid in &all {
            assert_eq!((jobs(&site, wfid, "a"), jobs(&site, wfid, "b")), (2, 2), "{wfid}");
        }
        site.until(|| vhost.messages(ENGINE) == Some((0, 0)));
    });
}

#[test]
fn one_engine_of_a_virtual_host_reads_and_another_one_takes_over_when_it_ends() {
    let vhost = Vhost::new();
    let site = vhost.machine(Kind::Private);
    let other = vhost.machine(Kind::Private);
    participants(&site, &["a"]);
    serve(&site);
    let consumers = || Rabbit::shared().consumers(&vhost.name, ENGINE);
    site.until(|| consumers() == 1);
    serve(&other);
    other.until(|| other.own_log().contains("another engine reads it"));
    let file = process(&other, "p.yaml", "process: p\nsteps: [do: a]\n");
    let wfid = launch(&other, &file);
    site.until(|| state(&site, &wfid) == "done");
    site.well(&["stop", "engine"]);
    other.until(|| other.own_log().contains("connected to RabbitMQ again"));
    let wfid = launch(&site, &process(&site, "p.yaml", "process: p\nsteps: [do: a]\n"));
    other.until(|| state(&other, &wfid) == "done");
}

#[test]
fn a_pattern_that_only_another_engine_understands_is_sent_to_it_with_a_warning() {
    let vhost = Vhost::new();
    let site = vhost.machine(Kind::Private);
    let more = "config: {participant: {regexp: \"(?!x).*\"}}\nqueue: q\n";
    site.participant("a", more, WORK);
    let mut engine = vhost.client();
    engine.declare(ENGINE).unwrap();
    engine.consume(ENGINE).unwrap();
    for (verb, wanted) in [
        ("register", wire::register("(?!x).*", "q")),
        ("unregister", wire::unregister("(?!x).*", "q")),
    ] {
        let said = site.skynet(&[verb, "a"]);
        let warned = "\"(?!x).*\" is sent as it is; skynet's own engine does not understand it: ";
        assert!(said.code == Some(0) && said.err().contains(warned), "{said:?}");
        let told = engine.next(Duration::from_secs(site::SOON)).unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&told.body), String::from_utf8_lossy(&wanted));
    }
}

#[test]
fn variables_of_a_launch_reach_an_engine_that_may_have_some() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        let file = process(&site, "p.pdef", "Ruote.process_definition do\n  a\nend\n");
        let given = ["--field", "f=1", "--variable", "list=[1, 2.0]", "--variable", "text=x y"];
        let said = site.ends(0, &[&["launch", &file][..], &given].concat());
        assert!(said.contains("skynet's own engine has no variables"), "{said}");
        let mut client = vhost.client();
        client.consume(ENGINE).unwrap();
        let sent = client.next(Duration::from_secs(site::SOON)).unwrap().expect("it is launched");
        let text = String::from_utf8(sent.body).unwrap();
        let both = "\"fields\":{\"f\":1},\"variables\":{\"list\":[1, 2.0],\"text\":\"x y\"}";
        assert!(text.contains(both), "{text}");
    });
}

#[test]
fn items_are_submitted_to_rabbitmq_and_what_does_not_go_there_is_refused() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a"]);
        site.until(|| vhost.messages("a").is_some());
        let said = site.well(&["submit", "a", "--wfid", "w1", "{\"fields\":{\"n\":1}}", "--json"]);
        let object: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&object["wfid"], &object["result"]), (&"w1".into(), &"published".into()));
        site.until(|| stands(&site, "a", "w1") == ("stop", 0));
        for (code, args, why) in [
            (1, &["submit", "a", "{\"fields\":{}}"][..], "--wfid"),
            (
                1,
                &[
                    "submit",
                    "a",
                    "{\"cancel\":true,\"fei\":{\"wfid\":\"w\",\"expid\":\"0\"},\"fields\":{}}",
                ],
                "skynet cancel",
            ),
            (100, &["submit", "a", "--wfid", "w2", "{}", "--wait"], "--wait is not for a"),
            (100, &["submit", "a", "--wfid", "w2", "{}", "--key", "k"], "--key is not for a"),
        ] {
            let said = site.ends(code, args);
            assert!(said.contains(why), "{said}");
        }
        site.well(&["stop", "a"]);
        Rabbit::shared().delete_queue(&vhost.name, "a");
        let said = site.ends(1, &["submit", "a", "--wfid", "w3", "{\"fields\":{}}"]);
        assert!(said.contains("there is no queue a"), "{said}");
    });
}

#[test]
fn a_process_is_cancelled_on_whatever_machine_it_is_worked_on() {
    let vhost = Vhost::new();
    let site = vhost.machine(Kind::Private);
    participants(&site, &["a"]);
    site.until(|| vhost.messages("a").is_some());
    let item = r#"{"fields":{"do":"wait"}}"#;
    for kind in [Kind::Private, Kind::System] {
        let wfid = format!("w-{kind:?}");
        site.well(&["submit", "a", "--wfid", &wfid, item]);
        site.until(|| stands(&site, "a", &wfid).0 == "run");
        let other = vhost.machine(kind);
        // A store to look into is there once something has run.
        participants(&other, &["z"]);
        other.until(|| vhost.messages("z").is_some());
        let said = other.well(&["cancel", &wfid, "--flavour", "kill"]);
        assert!(said.contains("every machine is told"), "{said}");
        site.until(|| stands(&site, "a", &wfid) == ("stop", 901));
        // One place of a process, and no other.
        let mut client = vhost.client();
        let (wfid, next) = (format!("e-{kind:?}"), format!("f-{kind:?}"));
        for (wfid, fields) in [(&wfid, r#"{"do":"wait"}"#), (&next, r#"{"n":1}"#)] {
            let fei = format!(r#"{{"wfid":"{wfid}","subid":"s","expid":"0_1"}}"#);
            let item = format!(r#"{{"fei":{fei},"fields":{fields}}}"#);
            client.publish("a", item.as_bytes()).unwrap();
        }
        site.until(|| stands(&site, "a", &wfid).0 == "run");
        for expid in ["0_2", "0_11", "0"] {
            let said = other.well(&["cancel", &wfid, "--expid", expid]);
            assert!(said.contains("every machine is told"), "{said}");
        }
        // Cancels come in their order, so the others have come before this one.
        other.well(&["cancel", &wfid, "--expid", "0_1", "--flavour", "kill"]);
        site.until(|| stands(&site, "a", &wfid) == ("stop", 901));
        site.until(|| stands(&site, "a", &next) == ("stop", 0));
    }
    let unknown = site.ends(4, &["cancel", "job-4711"]);
    assert!(unknown.contains("no process or job job-4711"), "{unknown}");
}

#[test]
fn where_rabbitmq_is_not_reached_each_verb_says_so() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a"]);
        let yaml = site.at(Place::Config).join("skynet.yaml");
        let text = fs::read_to_string(&yaml).unwrap();
        let port = Rabbit::shared().port().to_string();
        // Nobody listens there.
        fs::write(&yaml, text.replace(&port, "1")).unwrap();
        let file = process(&site, "p.yaml", "process: p\nsteps: [do: a]\n");
        for args in [
            &["launch", &file][..],
            &["register", "a"],
            &["submit", "a", "--wfid", "w", "{\"fields\":{}}"],
            &["cancel", "w"],
        ] {
            let said = site.ends(111, args);
            assert!(said.contains("unable to connect to RabbitMQ at 127.0.0.1:1"), "{said}");
        }
        fs::write(&yaml, "broker: {kind: rabbitmq}\n").unwrap();
        for args in [&["launch", &file][..], &["engine", "serve"]] {
            let said = site.ends(111, args);
            assert!(said.contains("broker.password-file is missing"), "{said}");
        }
    });
}

#[test]
fn who_runs_a_process_over_rabbitmq_stays_with_it_and_others_of_the_group_are_refused() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a"]);
        let yaml = "process: p\nfields: {x: 1.0}\nsteps: [do: a]\n";
        let file = process(&site, "p.yaml", yaml);
        let output = site.skynet(&["engine", "run", &file]);
        assert_eq!(output.code, Some(0), "{output:?}");
        assert_eq!(output.out(), "{\"__result__\":true,\"x\":1.0}\n");
        let failing = yaml.replace("do: a", "{do: a, with: {do: fail}}");
        let output = site.skynet(&["engine", "run", &process(&site, "q.yaml", &failing)]);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.err().contains("it broke (exit 11)"), "{output:?}");
        if kind == Kind::System {
            for args in [
                &["launch", &file][..],
                &["register", "a"],
                &["submit", "a", "--wfid", "w", "{\"fields\":{}}"],
            ] {
                let refused = site.skynet_of(Person::Ann, args);
                assert_eq!(refused.code, Some(1), "{args:?} {refused:?}");
                assert!(refused.err().contains("it is root's"), "{refused:?}");
            }
        }
    });
}

#[test]
fn the_password_stands_in_no_process_log_or_file_of_an_engine() {
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a"]);
        serve(&site);
        let wfid = launch(&site, &process(&site, "p.yaml", "process: p\nsteps: [do: a]\n"));
        site.until(|| state(&site, &wfid) == "done");
        let engines = site.pids("skynet");
        assert!(!engines.is_empty());
        for pid in engines {
            for name in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
                assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "{name}");
            }
        }
        assert!(!site.own_log().contains(PASSWORD));
        for args in [
            &["doctor"][..],
            &["status"],
            &["status", "--json"],
            &["history"],
            &["history", "--json"],
            &["history", &wfid],
            &["history", &wfid, "--json"],
            &["log", "a"],
            &["cat", "a"],
            &["check"],
        ] {
            let said = site.skynet(args);
            let said = said.out() + &said.err();
            assert!(!said.is_empty() && !said.contains(PASSWORD), "{args:?}: {said}");
        }
        let store = site.at(Place::Store);
        assert!(store.join(format!("engine/{wfid}.json")).is_file());
        assert_eq!(with_password(&store), [] as [PathBuf; 0]);
        // What others may read is refused, and what is wrong with it is said.
        let file = site.at(Place::Config).join("password");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let said = site.ends(111, &["register", "a"]);
        assert!(said.contains("chmod 600 it") && !said.contains(PASSWORD), "{said}");
    });
}

/// Tells whether only root may look into a process, as into one that was forbidden to be traced.
fn is_shut(pid: i32) -> bool {
    fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid() == 0
}

/// Tells whether a text stands somewhere in a process's own memory.
fn remembers(pid: i32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (first, last) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let [first, last] = [first, last].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(last - first).unwrap()];
        // What the kernel keeps for itself is no memory of the program's.
        memory.read_exact_at(&mut bytes, first).is_ok()
            && bytes.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn who_reads_the_password_is_for_nobody_to_trace_and_keeps_no_copy_of_its_own() {
    // Without its beginning, over which memory that is free may be written.
    let most = PASSWORD.split_once('-').unwrap().1;
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        participants(&site, &["a"]);
        serve(&site);
        let file = process(&site, "p.yaml", "process: p\nsteps: [do: a]\n");
        let wfid = launch(&site, &file);
        site.until(|| state(&site, &wfid) == "done");
        let engines = site.pids("skynet");
        let workers = site.pids("exo-worker");
        assert!(!engines.is_empty() && !workers.is_empty());
        assert!(engines.iter().chain(&workers).all(|pid| is_shut(*pid)));
        assert!(remembers(engines[0], "ruote_workitems"), "nothing is found that is there");

        // A broker that takes connections and says nothing: who comes has read the password.
        let broker = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        broker.set_nonblocking(true).unwrap();
        let port = |port: u16| format!("port: {port}\n");
        let yaml = site.at(Place::Config).join("skynet.yaml");
        let text = fs::read_to_string(&yaml).unwrap();
        let other = port(broker.local_addr().unwrap().port());
        fs::write(&yaml, text.replace(&port(Rabbit::shared().port()), &other)).unwrap();
        for args in [
            &["register", "a"][..],
            &["launch", &file],
            &["submit", "a", "--wfid", "w", "{\"fields\":{}}"],
            &["cancel", "w"],
        ] {
            let mut child = site.command(program("skynet"), args).spawn().unwrap();
            let mut connection = None;
            site.until(|| {
                connection = broker.accept().ok();
                connection.is_some()
            });
            let tools: Vec<i32> =
                site.pids("skynet").into_iter().filter(|pid| !engines.contains(pid)).collect();
            assert!(!tools.is_empty(), "{args:?}");
            for pid in tools {
                assert!(is_shut(pid), "{args:?}");
                assert!(!remembers(pid, most), "{args:?}");
            }
            drop(connection);
            assert_eq!(child.wait().unwrap().code(), Some(111), "{args:?}");
        }
    });
}
