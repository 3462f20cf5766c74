//! Two machines and one RabbitMQ: what either does the other can do, and what befalls one, or the
//! broker, costs no step. The whole broker is stopped here, so that these tests have one of their own
//! and take turns.

#![allow(clippy::unwrap_used, clippy::panic)]

mod connected;
mod served;
mod site;

use connected::Vhost;
use serde_json::Value;
use served::{launch, objects, pairs, path, process, stands, state};
use site::{Kind, Place, Site};
use std::collections::BTreeSet;
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use testkit::rabbit::Rabbit;
use work::Reader;

/// Instances of each participant on each machine.
const HANDS: usize = 3;

/// A participant of today: says what it does, and waits for the file `go` where the step says so.
const NEW: &str = r#"#!/bin/sh
item=$(cat)
echo "at work"
case $item in
*'"do":"wait"'*) trap 'exit 17' TERM; until [ -e go ]; do sleep 0.05; done ;;
esac
printf '%s' "$item" | sed 's/"fields":{/&"__result__":true,/' >&3
"#;

/// One as they were written for `SkyNET`.
const OLD: &str = r#"class ParticipantHandler(object):
    def handle_wi_control(self, ctrl):
        pass

    def handle_lifecycle_control(self, ctrl):
        pass

    def handle_wi(self, wi):
        self.log.info("handled")
        wi.fields.old = True
        wi.result = True
"#;

const ENGINE: &str = "#!/bin/sh\nexec skynet engine serve 2>&1\n";

fn turn() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine with an old participant and a new one, as services that are there after a boot, too.
fn machine(vhost: &Vhost, kind: Kind) -> Site {
    let site = vhost.machine(kind);
    let code = site.on_desk("code", &[("old.py", OLD)]).join("old.py");
    let hands = HANDS.to_string();
    let old = ["install", code.to_str().unwrap(), "-n", "old", "-i", &hands, "--enable", "--now"];
    site.well(&old);
    let config = format!("command: ./work\ninstances: {HANDS}\n");
    let new = site.on_desk("new", &[("exo.yaml", &config), ("work", NEW)]);
    site.well(&["install", new.to_str().unwrap(), "--enable", "--now"]);
    site
}

fn with_engine(site: &Site) {
    let dir = site.on_desk("engine", &[("run", ENGINE)]);
    site.well(&["install", dir.to_str().unwrap(), "--enable", "--now"]);
}

/// Returns all that the engine has said, which has no logger of its own.
fn said(site: &Site) -> String {
    let folder = site.at(Place::Logs).join("skynet-log");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let is_log = |name: &str| name == "current" || name.starts_with('@');
    let logs = entries.filter(|entry| is_log(&entry.file_name().to_string_lossy()));
    logs.map(|entry| fs::read_to_string(entry.path()).unwrap_or_default()).collect()
}

/// A second answer to anything would be one that nobody waits for.
#[track_caller]
fn each_was_answered_once(engine: &Site) {
    let said = said(engine);
    assert!(!said.contains("not heeded"), "{said}");
}

/// Returns the processes whose items a machine has in hand.
fn in_hand(site: &Site, all: &[String]) -> BTreeSet<String> {
    all.iter().filter(|wfid| stands(site, "new", wfid).0 == "run").cloned().collect()
}

fn done(site: &Site, all: &[String]) -> usize {
    let listed = objects(&site.well(&["engine", "list", "--json"]));
    let is_done = |one: &&Value| {
        one["state"] == "done" && all.iter().any(|wfid| one["wfid"].as_str() == Some(wfid))
    };
    listed.iter().filter(is_done).count()
}

const THREE: &str = "process: three\nsteps:\n- do: old\n- do: new\n  if: ${old} and ${__result__}\n- do: old\n  with: {last: true}\n";
const WAITS: &str = "process: waits\nsteps:\n- do: old\n- do: new\n  with: {do: wait}\n- do: old\n";

#[test]
fn a_process_over_two_machines_goes_on_through_a_restart_of_the_broker_and_is_told_by_its_wfid() {
    let _turn = turn();
    let vhost = Vhost::new();
    let [one, two] = [Kind::Private, Kind::System].map(|kind| machine(&vhost, kind));
    with_engine(&two);
    let three = process(&one, "three.yaml", THREE);
    let wfid = launch(&one, &three);
    two.until(|| state(&two, &wfid) == "done");
    assert_eq!(
        path(&two, &wfid),
        pairs(&[("0_0_0", "done"), ("0_0_1", "done"), ("0_0_2", "done")])
    );
    // Each machine tells its part.
    let logs: String =
        [&one, &two].map(|site| site.skynet(&["log", "--wfid", &wfid]).out()).concat();
    assert_eq!(
        (logs.matches("handled").count(), logs.matches("at work").count()),
        (2, 1),
        "{logs}"
    );
    let told = [&one, &two].map(|site| site.skynet(&["history", "--wfid", &wfid]).out()).concat();
    assert!(told.contains("old") && told.contains("new"), "{told}");

    // An item that waits in the broker is there when that is back.
    for site in [&one, &two] {
        site.well(&["stop", "new"]);
    }
    let wfid = launch(&one, &three);
    two.until(|| vhost.messages("new") == Some((1, 0)));
    Rabbit::shared().stop_app();
    two.until(|| said(&two).contains("not connected to RabbitMQ"));
    let refused = one.ends(111, &["launch", &three]);
    assert!(refused.contains("unable to connect to RabbitMQ"), "{refused}");
    Rabbit::shared().start_app();
    for site in [&one, &two] {
        site.well(&["start", "new"]);
    }
    two.until(|| state(&two, &wfid) == "done");
    assert!(said(&two).contains("connected to RabbitMQ again"));
    each_was_answered_once(&two);
}

#[test]
fn a_cancel_reaches_the_machine_that_works_from_the_engine_and_from_any_other() {
    let _turn = turn();
    let vhost = Vhost::new();
    let [one, two] = [Kind::Private, Kind::System].map(|kind| machine(&vhost, kind));
    with_engine(&two);
    let waits = process(&two, "waits.yaml", WAITS);
    let all: Vec<String> = (0..2 * HANDS).map(|_| launch(&two, &waits)).collect();
    two.until(|| in_hand(&one, &all).len() == HANDS && in_hand(&two, &all).len() == HANDS);
    let [ones, twos] = [&one, &two].map(|site| in_hand(site, &all));
    // By the engine, an item of the other machine.
    let first = ones.first().unwrap();
    assert_eq!(two.well(&["engine", "cancel", first]), format!("{first}: cancelled\n"));
    one.until(|| stands(&one, "new", first) == ("stop", 900));
    // By the administrator of a machine that does not have it, though it may have done its first step.
    let second = twos.first().unwrap();
    let said = one.well(&["cancel", second, "--flavour", "kill"]);
    assert_eq!(
        said,
        format!("{second}: nothing of it waits or is worked on here; every machine is told\n")
    );
    two.until(|| stands(&two, "new", second) == ("stop", 901));
    for site in [&one, &two] {
        fs::write(site.dir("new").join("go"), "").unwrap();
    }
    let rest: Vec<String> =
        all.iter().filter(|wfid| *wfid != first && *wfid != second).cloned().collect();
    two.until(|| done(&two, &rest) == rest.len());
}

#[test]
fn the_items_of_a_machine_that_is_lost_are_done_by_the_other_and_each_is_answered_once() {
    let _turn = turn();
    let (processes, losses) =
        if std::env::var_os("SKYNET_LONG").is_some() { (200, 20) } else { (4 * HANDS, 1) };
    let vhost = Vhost::new();
    let [one, two] = [Kind::Private, Kind::System].map(|kind| machine(&vhost, kind));
    with_engine(&two);
    let waits = process(&two, "waits.yaml", WAITS);
    for _ in 0..losses {
        for site in [&one, &two] {
            let _ = fs::remove_file(site.dir("new").join("go"));
        }
        let all: Vec<String> = (0..processes).map(|_| launch(&two, &waits)).collect();
        two.until(|| in_hand(&one, &all).len() == HANDS && in_hand(&two, &all).len() == HANDS);
        // A machine that is lost between an answer and its acknowledgement has it given twice: the
        // broker cannot know. So what was answered is settled first.
        two.until(|| vhost.messages("old") == Some((0, 0)));
        let lost = in_hand(&one, &all);
        one.lose_power();
        fs::write(two.dir("new").join("go"), "").unwrap();
        two.until(|| done(&two, &all) == all.len());
        for wfid in &lost {
            assert_eq!(stands(&two, "new", wfid), ("stop", 0), "{wfid}");
        }
        // Back again, it does nothing of it a second time.
        fs::write(one.dir("new").join("go"), "").unwrap();
        one.well(&["boot"]);
        let wfid = launch(&two, &process(&two, "three.yaml", THREE));
        two.until(|| state(&two, &wfid) == "done");
        one.until(|| {
            Rabbit::shared().consumers(&vhost.name, "new") > 0
                && ["old", "new", "ruote_workitems"]
                    .iter()
                    .all(|queue| vhost.messages(queue) == Some((0, 0)))
        });
        each_was_answered_once(&two);
    }
}

#[test]
fn a_process_goes_on_when_the_machine_of_its_engine_is_back() {
    let _turn = turn();
    let vhost = Vhost::new();
    let [one, two] = [Kind::Private, Kind::System].map(|kind| machine(&vhost, kind));
    with_engine(&two);
    two.well(&["stop", "new"]);
    let waits = process(&two, "waits.yaml", WAITS);
    let all: Vec<String> = (0..HANDS).map(|_| launch(&two, &waits)).collect();
    two.until(|| in_hand(&one, &all).len() == HANDS);
    two.lose_power();
    // Done and answered meanwhile; so is what is launched from elsewhere.
    fs::write(one.dir("new").join("go"), "").unwrap();
    one.until(|| vhost.messages("ruote_workitems") == Some((HANDS, 0)));
    let late = launch(&one, &process(&one, "three.yaml", THREE));
    two.well(&["boot"]);
    let mut all = all;
    all.push(late);
    two.until(|| done(&two, &all) == all.len());
    for wfid in &all {
        let steps = pairs(&[("0_0_0", "done"), ("0_0_1", "done"), ("0_0_2", "done")]);
        assert_eq!(path(&two, wfid), steps, "{wfid}");
        let reader = Reader::open(&work::Place::new(one.at(Place::Store))).unwrap();
        let jobs = reader.jobs_of(wfid).unwrap();
        assert!(jobs.iter().filter(|job| job.queue == "new").count() <= 1, "{wfid}");
    }
}

#[test]
fn what_two_machines_have_in_hand_while_the_broker_restarts_goes_on_and_each_step_ends_once() {
    let _turn = turn();
    let vhost = Vhost::new();
    let [one, two] = [Kind::Private, Kind::System].map(|kind| machine(&vhost, kind));
    with_engine(&two);
    let waits = process(&two, "waits.yaml", WAITS);
    let all: Vec<String> = (0..2 * HANDS).map(|_| launch(&two, &waits)).collect();
    two.until(|| in_hand(&one, &all).len() == HANDS && in_hand(&two, &all).len() == HANDS);
    Rabbit::shared().stop_app();
    two.until(|| said(&two).contains("not connected to RabbitMQ"));
    // Work ends while nobody can be told.
    for site in [&one, &two] {
        fs::write(site.dir("new").join("go"), "").unwrap();
        site.until(|| in_hand(site, &all).is_empty());
    }
    Rabbit::shared().start_app();
    two.until(|| done(&two, &all) == all.len());
    for wfid in &all {
        let steps = pairs(&[("0_0_0", "done"), ("0_0_1", "done"), ("0_0_2", "done")]);
        assert_eq!(path(&two, wfid), steps, "{wfid}");
    }
}
