//! Processes over participants, run by the stand-in engine; on a user's instance and on a system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod served;
mod site;

use serde_json::Value;
use served::{launch, objects, pairs, path, process, serve, stands, state};
use site::{Kind, Person, Place, Site};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use testkit::program;
use work::{Reader, wire};

/// Does what the step's parameter says, and answers true unless it says something else.
const WORK: &str = r#"#!/bin/sh
item=$(cat)
result=true
case $item in
*'"do":"fail"'*) echo "it broke" >&2; exit 11 ;;
*'"do":"no"'*) result=false ;;
*'"do":"wait"'*) trap 'echo told; exit 17' TERM; until [ -e go ]; do sleep 0.05; done ;;
esac
printf '%s' "$item" | sed "s/\"fields\":{/&\"__result__\":$result,/" >&3
"#;

const QUICK: &str = "retry: {first: 20ms, longest: 50ms}\n";

/// A site with participants of these names, which run.
fn running(kind: Kind, names: &[&str]) -> Site {
    let site = Site::booted(kind);
    for name in names {
        site.participant(name, QUICK, WORK);
        site.well(&["start", name]);
    }
    site
}

#[test]
fn a_process_goes_its_way_by_what_its_steps_answer() {
    Site::each(|kind| {
        let site = running(kind, &["a", "b"]);
        let file = process(
            &site,
            "p.yaml",
            "process: three\nfields: {n: 12345678901234567890123, x: 1.0}\nsteps:\n- do: a\n  with: {do: 'no'}\n- do: b\n  if: ${__result__}\n- do: b\n  unless: ${__result__}\n  with: {of: '${n}'}\n",
        );
        let output = site.skynet(&["engine", "run", &file, "--field", "y=z"]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let fields = r#"{"__result__":true,"n":12345678901234567890123,"x":1.0,"y":"z"}"#;
        assert_eq!(output.out().trim_end(), fields);
        let all = objects(&site.well(&["engine", "list", "--json"]));
        let wfid = all[0]["wfid"].as_str().unwrap();
        assert!(output.err().contains(&format!("{wfid}: three begins")), "{output:?}");
        let wanted = [("0_0_0", "done"), ("0_0_1", "skipped"), ("0_0_2", "done")];
        assert_eq!(path(&site, wfid), pairs(&wanted));
        let shown = site.well(&["engine", "path", wfid]);
        assert!(shown.contains("0_0_0  a     a      done"), "{shown}");
        assert!(shown.contains(&format!("{wfid} three: done")), "{shown}");
        // The participants' history knows it by the same name.
        assert!(site.well(&["history", wfid]).contains('b'), "{shown}");
        let near = site.ends(4, &["engine", "path", &wfid[..wfid.len() - 1]]);
        assert!(near.contains(&format!("did you mean {wfid}?")), "{near}");
    });
}

#[test]
fn a_step_that_may_answer_with_more_than_usual_is_heard_and_the_next_one_gets_all_of_it() {
    let grow = r#"s/"fields":\{/$& . "\"grown\":\"" . ("y" x 17e6) . "\","/e"#;
    let grow = format!("#!/bin/sh\nexec perl -pe '{grow}' >&3\n");
    let look = "#!/bin/sh\nexec perl -ne 'exit(length > 17e6 ? 0 : 11)'\n";
    Site::each(|kind| {
        let site = Site::booted(kind);
        for (name, work) in [("a", &*grow), ("b", look)] {
            site.participant(name, &format!("{QUICK}item-limit: 20MiB\n"), work);
            site.well(&["start", name]);
        }
        let file = process(&site, "p.yaml", "process: p\nsteps:\n- do: a\n- do: b\n");
        let output = site.skynet(&["engine", "run", &file]);
        assert_eq!(output.code, Some(0), "{}", output.err());
        let wfid = objects(&site.well(&["engine", "list", "--json"]))[0]["wfid"].to_string();
        let wanted = [("0_0_0", "done"), ("0_0_1", "done")];
        assert_eq!(path(&site, wfid.trim_matches('"')), pairs(&wanted));
        assert!(output.out().len() > 17_000_000, "{}", output.out().len());
    });
}

#[test]
fn an_error_stops_the_process_and_says_where_and_why() {
    Site::each(|kind| {
        let site = running(kind, &["a", "b"]);
        let yaml = "process: p\nsteps:\n- do: a\n  with: {do: fail}\n- do: b\n";
        let file = process(&site, "p.yaml", yaml);
        let output = site.skynet(&["engine", "run", "--json", &file]);
        assert_eq!(output.code, Some(1), "{output:?}");
        let all = objects(&output.out());
        let over = all.iter().find(|object| object["state"] == "failed").unwrap();
        assert_eq!(over["error"]["expid"], "0_0_0");
        assert_eq!(over["error"]["message"], "it broke (exit 11)");
        let handled = format!("{yaml}  if: ${{__error__}} is set\n")
            .replace("fail}", "fail}\n  on-error: pass");
        let file = process(&site, "q.yaml", &handled);
        let output = site.skynet(&["engine", "run", &file]);
        assert_eq!(output.code, Some(0), "{output:?}");
        assert!(output.out().contains("\"message\":\"it broke (exit 11)\""), "{output:?}");
    });
}

#[test]
fn a_cancel_reaches_whoever_works_and_the_process_ends_or_goes_on() {
    Site::each(|kind| {
        let site = running(kind, &["a", "b"]);
        serve(&site);
        let yaml = "process: p\nsteps:\n- do: a\n  with: {do: wait}\n- do: b\n";
        let file = process(&site, "p.yaml", yaml);
        let works = || {
            let said = site.skynet(&["status", "a", "--json"]);
            said.out().contains("\"working\"")
        };
        let wfid = launch(&site, &file);
        site.until(|| path(&site, &wfid) == pairs(&[("0_0_0", "running")]) && works());
        let said = site.well(&["engine", "cancel", &wfid, "--flavour", "kill"]);
        assert_eq!(said, format!("{wfid}: killed\n"));
        assert_eq!(path(&site, &wfid), pairs(&[("0_0_0", "cancelled")]));
        site.until(|| stands(&site, "a", &wfid) == ("stop", 901));
        let again = site.ends(1, &["engine", "cancel", &wfid]);
        assert!(again.contains("nothing of"), "{again}");

        let wfid = launch(&site, &file);
        site.until(|| works() && stands(&site, "a", &wfid).0 == "run");
        let one = ["engine", "cancel", &wfid, "--expid", "0_0_0", "--flavour", "timeout"];
        assert!(site.well(&one).contains("0_0_0: timed out"));
        site.until(|| state(&site, &wfid) == "done");
        let wanted = [("0_0_0", "cancelled"), ("0_0_1", "done")];
        assert_eq!(path(&site, &wfid), pairs(&wanted));
        site.until(|| stands(&site, "a", &wfid) == ("stop", 902));
    });
}

/// Keeps an item until the next comes that says `release`, and sends it to the engine then; launches
/// a process where an item says so.
const KEEPER: &str = r#"#!/usr/bin/env python3
import skynet

ENGINE = "ruote_workitems"

@skynet.participant
class Keeper(skynet.Participant):
    def start(self, config):
        self.kept = None

    def work(self, item):
        if item.params.get("release"):
            self.kept["fields"]["__result__"] = "released"
            item.forward(ENGINE, self.kept)
        elif item.params.get("launch"):
            item.forward(ENGINE, {"definition": item.params["launch"], "fields": {"by": "keeper"}})
        else:
            self.kept = item.data
            item.forget = True

if __name__ == "__main__":
    skynet.run()
"#;

fn keeper(site: &Site) {
    let desk = site.desk();
    site.well(&["new", "keeper", "--language", "python", "--dir", desk.to_str().unwrap()]);
    let dir = desk.join("keeper");
    fs::write(dir.join("exo.yaml"), "mode: persistent\ncommand: ./keep\n").unwrap();
    testkit::scratch::script(&dir.join("keep"), KEEPER);
    site.own_all(&dir);
    site.well(&["install", dir.to_str().unwrap()]);
    site.well(&["start", "keeper"]);
}

#[test]
fn what_a_participant_keeps_goes_on_when_it_sends_it_to_the_engine_and_it_can_launch_others() {
    Site::each(|kind| {
        let site = running(kind, &["a"]);
        keeper(&site);
        serve(&site);
        let yaml = "process: p\nsteps:\n- do: keeper\n- do: a\n  if: ${__result__} == released\n";
        let kept = launch(&site, &process(&site, "p.yaml", yaml));
        site.until(|| stands(&site, "keeper", &kept) == ("stop", 0));
        assert_eq!(path(&site, &kept), pairs(&[("0_0_0", "running")]));
        let yaml = "process: q\nsteps:\n- do: keeper\n  with: {release: true}\n- do: keeper\n  with:\n    launch: [define, {name: third}, [[a, {}, []]]]\n";
        let release = launch(&site, &process(&site, "q.yaml", yaml));
        site.until(|| state(&site, &release) == "done" && state(&site, &kept) == "done");
        assert_eq!(path(&site, &kept), pairs(&[("0_0_0", "done"), ("0_0_1", "done")]));
        let third = || {
            let all = objects(&site.well(&["engine", "list", "--json"]));
            all.iter().any(|object| object["process"] == "third" && object["state"] == "done")
        };
        site.until(third);
        // Nobody waits for one that is to be forgotten from the start.
        let yaml = "process: r\nsteps:\n- do: a\n  forget: true\n";
        let forgotten = launch(&site, &process(&site, "r.yaml", yaml));
        site.until(|| state(&site, &forgotten) == "done");
        assert_eq!(path(&site, &forgotten), pairs(&[("0_0_0", "forgotten")]));
        site.until(|| stands(&site, "a", &forgotten) == ("stop", 0));
        // What that is, engine and exo see in the same way.
        let odd = r#"["define",{"name":"s"},[["a",{"forget":"false"},[]],["a",{"forget":0},[]]]]"#;
        let odd = launch(&site, &process(&site, "s.pdef", odd));
        site.until(|| state(&site, &odd) == "done");
        assert_eq!(path(&site, &odd), pairs(&[("0_0", "forgotten"), ("0_1", "done")]));
    });
}

#[test]
fn what_is_registered_is_the_pattern_that_a_participant_was_installed_with_and_unregistered_is_the_same()
 {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let handler = "class ParticipantHandler:\n    def handle_wi(self, wi):\n        pass\n";
        let code = site.on_desk("code", &[("built.py", handler)]).join("built.py");
        let code = code.to_str().unwrap();
        site.well(&["install", code, "-q", "builds", "-r", "built_.*"]);
        site.well(&["install", code, "-n", "plain"]);
        let all: [(&[&str], _); 8] = [
            (&["register", "built"], wire::register("built_.*", "builds")),
            (&["register", "built", "--pattern", "built_.*"], wire::register("built_.*", "builds")),
            (&["register", "built_.*", "--queue", "builds"], wire::register("built_.*", "builds")),
            (&["register", "plain"], wire::register("plain", "plain")),
            (&["register", "built", "--remove"], wire::unregister("built_.*", "builds")),
            (&["unregister", "built"], wire::unregister("built_.*", "builds")),
            (&["unregister", "x_.*", "--queue", "q"], wire::unregister("x_.*", "q")),
            (&["unregister", "built", "--pattern", "b.*"], wire::unregister("b.*", "builds")),
        ];
        for (words, _) in &all {
            site.well(words);
        }
        let reader = Reader::open(&work::Place::new(site.at(Place::Store))).unwrap();
        let mut jobs = reader.jobs(Some("ruote_workitems"), None, 20).unwrap();
        jobs.sort_by_key(|job| job.id.0);
        let told = jobs.iter().map(|job| reader.item(job.id).unwrap().unwrap());
        for ((words, wanted), told) in all.iter().zip(told) {
            assert_eq!(
                String::from_utf8_lossy(&told),
                String::from_utf8_lossy(wanted),
                "{words:?}"
            );
        }
        assert_eq!(jobs.len(), all.len());
        site.ends(4, &["unregister", "nobody"]);
    });
}

#[test]
fn steps_whose_names_fit_a_registered_pattern_go_to_its_participant() {
    Site::each(|kind| {
        let site = running(kind, &["a"]);
        let yaml = "process: p\nsteps:\n- do: built_x\n- do: built_y\n";
        let file = process(&site, "p.yaml", yaml);
        let said = site.well(&["register", "a", "--pattern", "built_.*", "--json"]);
        let object: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&object["queue"], &object["result"]), (&"a".into(), &"registered".into()));
        let output = site.skynet(&["engine", "run", "--json", &file]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let queues = objects(&output.out());
        let queues: Vec<_> = queues.iter().filter_map(|o| o["queue"].as_str()).collect();
        assert_eq!(queues, ["a"; 4]);
        site.well(&["register", "built_.*", "--queue", "a", "--remove"]);
        serve(&site);
        let wfid = launch(&site, &file);
        site.until(|| stands(&site, "built_x", &wfid) == ("ready", 0));
        // What it was installed with, unless another is given.
        let config = site.dir("a").join("exo.yaml");
        let text = fs::read_to_string(&config).unwrap();
        let stored = "config:\n  participant:\n    regexp: stored_.*\n";
        fs::write(&config, format!("{text}{stored}")).unwrap();
        for (args, name) in [(&[][..], "stored_.*"), (&["--pattern", "given_.*"], "given_.*")] {
            let args = [&["register", "a", "--json"], args].concat();
            let object: Value = serde_json::from_str(&site.well(&args)).unwrap();
            assert_eq!(object["name"], name);
        }
        for (code, args) in [
            (100, &["register", "a", "--pattern", "("][..]),
            (100, &["register", "a", "--pattern", "(?!x).*"]),
            (100, &["register"]),
            (100, &["register", "--queue", "q"]),
            (4, &["register", "nobody"]),
        ] {
            site.ends(code, args);
        }
    });
}

#[test]
fn a_process_goes_on_where_its_engine_was_killed() {
    Site::each(|kind| {
        let site = running(kind, &["a", "b"]);
        serve(&site);
        let yaml = "process: p\nsteps:\n- do: a\n  with: {do: wait}\n- do: b\n- do: a\n";
        let file = process(&site, "p.yaml", yaml);
        let wfid = launch(&site, &file);
        site.until(|| stands(&site, "a", &wfid).0 == "run");
        let first = site.pids("skynet");
        assert_eq!(first.len(), 1, "{first:?}");
        site.well(&["stop", "engine"]);
        // Answered while no engine runs; then one that is killed again and again.
        let go = site.dir("a").join("go");
        fs::write(&go, "").unwrap();
        site.until(|| stands(&site, "a", &wfid) == ("stop", 0));
        assert_eq!(path(&site, &wfid), pairs(&[("0_0_0", "running")]));
        site.well(&["start", "engine"]);
        let mut kills = 0;
        site.until(|| {
            for pid in site.pids("skynet") {
                if kills < 5 && linux::signal::kill(pid, 9).is_ok() {
                    kills += 1;
                }
            }
            state(&site, &wfid) == "done"
        });
        let wanted = [("0_0_0", "done"), ("0_0_1", "done"), ("0_0_2", "done")];
        assert_eq!(path(&site, &wfid), pairs(&wanted));
        assert!(kills > 0);
        // Each step was done once.
        let reader = Reader::open(&work::Place::new(site.at(Place::Store))).unwrap();
        let jobs = reader.jobs_of(&wfid).unwrap();
        let of = |queue: &str| jobs.iter().filter(|job| job.queue == queue).count();
        assert_eq!((of("a"), of("b")), (2, 1));
    });
}

#[test]
fn who_stays_with_a_process_takes_over_from_the_engine_that_ran_it() {
    Site::each(|kind| {
        let site = running(kind, &["a"]);
        serve(&site);
        site.until(|| !site.pids("skynet").is_empty());
        let yaml = "process: p\nsteps:\n- do: a\n- do: a\n  with: {do: wait}\n";
        let file = process(&site, "p.yaml", yaml);
        // Beside an engine that serves, which has it to itself.
        let mut command = site.command(program("skynet"), &["engine", "run", "--json", &file]);
        let run = command.stdout(Stdio::piped()).spawn().unwrap();
        let wfid = || {
            let all = objects(&site.well(&["engine", "list", "--running", "--json"]));
            all.first().map(|object| object["wfid"].as_str().unwrap().to_owned())
        };
        site.until(|| wfid().is_some_and(|wfid| path(&site, &wfid).len() == 2));
        let wfid = wfid().unwrap();
        site.well(&["stop", "engine"]);
        fs::write(site.dir("a").join("go"), "").unwrap();
        let output = run.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("\"state\":\"done\""), "{said}");
        assert_eq!(path(&site, &wfid), pairs(&[("0_0_0", "done"), ("0_0_1", "done")]));
    });
}

/// Many processes at once, over an engine that is killed all the time.
#[test]
fn of_many_processes_each_step_is_done_once_however_often_the_engine_is_killed() {
    const PROCESSES: usize = 20;
    Site::each(|kind| {
        let site = running(kind, &["a", "b"]);
        let yaml = "process: p\nsteps:\n- do: a\n- concurrence: [do: a, do: b]\n- do: b\n";
        let file = process(&site, "p.yaml", yaml);
        let all: Vec<String> = (0..PROCESSES).map(|_| launch(&site, &file)).collect();
        serve(&site);
        let mut kills = 0;
        let engine = || site.pid("engine");
        site.until(|| {
            if kills < 8 && engine().is_some() {
                for pid in site.pids("skynet") {
                    kills += usize::from(linux::signal::kill(pid, 9).is_ok());
                }
            }
            let done = objects(&site.well(&["engine", "list", "--json"]));
            done.iter().filter(|object| object["state"] == "done").count() == PROCESSES
        });
        assert!(kills > 0);
        let reader = Reader::open(&work::Place::new(site.at(Place::Store))).unwrap();
        for wfid in &all {
            let jobs = reader.jobs_of(wfid).unwrap();
            let of = |queue: &str| jobs.iter().filter(|job| job.queue == queue).count();
            assert_eq!((of("a"), of("b")), (2, 2), "{wfid}");
        }
    });
}

#[test]
fn what_is_no_process_is_told_with_its_place_and_nothing_begins() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let file = process(&site, "p.yaml", "process: p\nsteps:\n- doo: a\n");
        for verb in [&["engine", "run"][..], &["launch"]] {
            let said = site.ends(1, &[verb, &[&file]].concat());
            let wanted = format!(
                "unable to read {file}: line 3, column 3: doo: unknown key; did you mean do?"
            );
            assert!(said.contains(&wanted), "{said}");
            assert!(said.contains("skynet: fatal:   - doo: a\n"), "{said}");
            assert!(said.contains("skynet: fatal:     ^\n"), "{said}");
        }
        let ruby = process(&site, "p.xml", "<process-definition/>\n");
        assert!(site.ends(1, &["launch", &ruby]).contains("XML"));
        let good = process(&site, "q.yaml", "process: q\nsteps: [do: a]\n");
        let said = site.ends(1, &["launch", &good, "--variable", "v=1"]);
        assert!(said.contains("this engine has no variables"), "{said}");
        for (code, args) in [
            (111, &["launch", "/no/such/file.yaml"][..]),
            (100, &["launch"]),
            (100, &["engine"]),
            (100, &["launch", &file, "--field", "x"]),
            (4, &["engine", "path", "nothing"]),
            (4, &["engine", "path", "../x"]),
            (4, &["engine", "cancel", "nothing"]),
        ] {
            site.ends(if args.contains(&"--field") { 1 } else { code }, args);
        }
        assert_eq!(site.well(&["engine", "list", "--json"]), "");
    });
}

#[test]
fn members_of_the_group_may_look_at_processes_and_others_may_not() {
    let site = running(Kind::System, &["a"]);
    let file = process(&site, "p.yaml", "process: p\nsteps: [do: a]\n");
    site.well(&["engine", "run", "--json", &file]);
    let all = objects(&site.well(&["engine", "list", "--json"]));
    let wfid = all[0]["wfid"].as_str().unwrap();
    let seen = site.skynet_of(Person::Ann, &["engine", "path", wfid, "--json"]);
    assert_eq!((seen.code, objects(&seen.out()).len()), (Some(0), 1), "{seen:?}");
    for (who, args) in [
        (Person::Ann, &["engine", "cancel", wfid][..]),
        (Person::Ann, &["engine", "serve"]),
        (Person::Ann, &["launch", &file]),
        (Person::Ann, &["register", "a"]),
        (Person::Bob, &["engine", "list"]),
        (Person::Bob, &["engine", "path", wfid]),
    ] {
        let refused = site.skynet_of(who, args);
        assert_eq!((refused.code, refused.out()), (Some(1), String::new()), "{args:?} {refused:?}");
        assert!(
            refused.err().contains("of the system's instance")
                || refused.err().contains("it is root's"),
            "{refused:?}"
        );
    }
}

#[test]
fn only_one_engine_of_an_instance_serves() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        serve(&site);
        site.until(|| !site.pids("skynet").is_empty());
        let lock: PathBuf = site.at(Place::Store).join("engine/lock");
        site.until(|| lock.exists());
        let said = site.ends(1, &["engine", "serve"]);
        assert!(said.contains("another engine of this instance runs"), "{said}");
    });
}
