//! What is done with work items: submit, cancel, requeue, dead items, rules, replay; on a user's
//! instance and on a system's, with exo and without.

#![allow(clippy::unwrap_used, clippy::panic)]

mod items;
mod site;

use items::{QUICK, WORK, acts, job, owner, reader, ready, running, stands, submit, write};
use serde_json::{Value, json};
use site::{Kind, Place, SOON, Site};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use testkit::{program, run_within};
use work::JobId;

#[test]
fn many_items_are_submitted_at_once_and_an_item_that_is_known_is_not_done_twice() {
    Site::each(|kind| {
        let site = running(kind);
        let item = |n| {
            format!(
                "{{\"fei\":{{\"wfid\":\"w{n}\",\"expid\":\"0\",\"subid\":\"s\"}},\"fields\":{{\"n\":1}}}}\n"
            )
        };
        let text: String = (0..300).map(item).collect();
        write(&site, "items", &text);
        let path = site.inside(Place::Participants).join("p/items").display().to_string();
        let begun = std::time::Instant::now();
        let said = site.well(&["submit", "p", "--lines", &path, "--priority", "3", "--key", "k"]);
        println!("{kind:?}: 300 items were submitted in {:?}", begun.elapsed());
        assert_eq!(said.lines().filter(|line| line.ends_with(": submitted")).count(), 300);
        let jobs = reader(&site).jobs(Some("p"), None, 999).unwrap();
        assert_eq!((jobs.len(), jobs[7].priority), (300, 3));
        let said = site.well(&["submit", "p", item(7).trim(), "--json"]);
        let object: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&object["result"], &object["wfid"]), (&json!("known"), &json!("w7")));
        assert_eq!(reader(&site).jobs(Some("p"), None, 999).unwrap().len(), 300);
    });
}

#[test]
fn a_job_that_is_named_by_its_bare_number_is_told_its_name() {
    Site::each(|kind| {
        let site = running(kind);
        let id = submit(&site, "one", "wait").0;
        for verb in ["cancel", "requeue", "replay"] {
            let said = site.ends(4, &[verb, &id.to_string()]);
            let near = format!("no process or job {id}; did you mean job-{id}?\n");
            assert_eq!(said, format!("skynet: warning: {near}"));
        }
    });
}

#[test]
fn jobs_that_wait_and_jobs_in_hand_are_cancelled_and_it_is_kept_who_asked() {
    Site::each(|kind| {
        let site = running(kind);
        let one = submit(&site, "one", "wait");
        site.until(|| stands(&site, "one").0 == "run");
        let two = submit(&site, "two", "wait");
        let said = site.well(&["cancel", "--flavour", "kill", "one", "two"]);
        let mut lines: Vec<_> = said.lines().collect();
        lines.sort_unstable();
        let cancelled = |id: JobId, wfid| format!("job-{} {wfid}: cancelled", id.0);
        assert_eq!(lines, [cancelled(one, "one"), cancelled(two, "two")]);
        for wfid in ["one", "two"] {
            assert_eq!(stands(&site, wfid), ("stop", 901));
            let acts = acts(&site, wfid);
            let [act] = &acts[..] else { panic!("{acts:?}") };
            let by = (act.by.uid, &*act.by.name);
            assert_eq!(
                (&*act.what, act.detail.as_deref(), by),
                ("cancel", Some("kill"), owner(kind))
            );
        }
        let said = site.ends(1, &["cancel", "one"]);
        assert_eq!(said, "one: nothing of it waits or is worked on\n");
        let said = site.ends(4, &["cancel", "nobody", "x*"]);
        assert!(said.contains("no process or job nobody\n"), "{said}");
        assert!(said.contains("no process or job matches x*\n"), "{said}");
        let said = site.well(&["acts", "--json", "one"]);
        let object: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&object["what"], &object["job"]), (&json!("cancel"), &json!(one.0)));
        assert_eq!((&object["uid"], &object["by"]), (&json!(owner(kind).0), &json!(owner(kind).1)));
        let said = site.well(&["acts", "-n", "1"]);
        let line = said.lines().nth(1).unwrap();
        assert!(
            line.contains("cancel") && line.contains(" two") && line.ends_with("kill"),
            "{said}"
        );
        site.ends(4, &["acts", "nobody"]);
        let deaf = submit(&site, "deaf", "deaf");
        // Not before it is deaf.
        site.until(|| site.own_log().contains("deaf/1: begun"));
        let name = format!("job-{}", deaf.0);
        let said = site.well(&["cancel", "--no-wait", &name, "--json"]);
        let object: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&object["wfid"], &object["result"]), (&json!("deaf"), &json!("told")));
        // What is done all the same is done.
        write(&site, "go", "");
        site.until(|| stands(&site, "deaf") == ("stop", 0));
        fs::remove_file(site.dir("p").join("go")).unwrap();
        submit(&site, "slow", "deaf");
        site.until(|| site.own_log().contains("slow/1: begun"));
        let said = site.ends(1, &["cancel", "--timeout", "100ms", "slow"]);
        assert!(said.contains("slow: FAILED: told to stop, and still worked on"), "{said}");
        write(&site, "go", "");
        site.until(|| stands(&site, "slow") == ("stop", 0));
    });
}

#[test]
fn who_was_told_to_stop_and_does_not_can_be_killed_at_once() {
    Site::each(|kind| {
        let site = running(kind);
        for (wfid, by_exo) in [("deaf", false), ("other", true)] {
            let id = submit(&site, wfid, "deaf");
            site.until(|| site.own_log().contains(&format!("{wfid}/1: begun")));
            let said = site.ends(1, &["cancel", "--timeout", "100ms", wfid]);
            assert!(said.contains("told to stop, and still worked on"), "{said}");
            let name = format!("job-{}", id.0);
            let said = site.ends(1, &["cancel", &name]);
            let stops = format!("{name}: it is being cancelled, and killed at the end of its ");
            assert!(said.starts_with(&stops) && said.contains("--flavour kill"), "{said}");
            if by_exo {
                let exo = |flavour| {
                    let args = ["control", "cancel", "--flavour", flavour, "other"];
                    let dir = site.inside(Place::Participants).join("p").display().to_string();
                    let exo = program("exo").display().to_string();
                    let words = [&["-C", &dir, &exo][..], &args];
                    run_within(SOON, &mut site.command("/usr/bin/env", &words.concat()))
                };
                let said = exo("cancel");
                assert!(said.out().contains("of other is being cancelled here"), "{said:?}");
                assert_eq!(exo("kill").code, Some(0));
            } else {
                let said = site.well(&["cancel", "--flavour", "kill", wfid]);
                assert_eq!(said, format!("{name} {wfid}: cancelled\n"));
            }
            site.until(|| stands(&site, wfid) == ("stop", 901));
        }
    });
}

#[test]
fn without_an_exo_the_owner_s_changes_are_made_at_once_and_the_store_stays_whose_it_is() {
    Site::each(|kind| {
        let site = running(kind);
        submit(&site, "bad", "fail");
        site.until(|| stands(&site, "bad") == ("stop", 11));
        site.well(&["stop", "p"]);
        let waits = submit(&site, "waits", "answer");
        let said = site.well(&["cancel", "wai*"]);
        assert_eq!(said, format!("job-{} waits: cancelled\n", waits.0));
        site.well(&["requeue", "bad"]);
        assert_eq!((stands(&site, "bad"), stands(&site, "waits")), (("ready", 0), ("stop", 900)));
        for wfid in ["bad", "waits"] {
            let by = acts(&site, wfid).pop().unwrap().by;
            assert_eq!((by.uid, &*by.name), owner(kind));
        }
        let its = site.at(Place::Store).metadata().unwrap().uid();
        for entry in fs::read_dir(site.at(Place::Store)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name().to_string_lossy().starts_with("work.") {
                assert_eq!(entry.metadata().unwrap().uid(), its, "{entry:?}");
            }
        }
        write(&site, "mended", "");
        site.well(&["start", "p"]);
        site.until(|| stands(&site, "bad") == ("stop", 0));
    });
}

#[test]
fn failed_jobs_are_tried_again_by_name_or_all_of_a_participant_and_done_ones_by_force() {
    Site::each(|kind| {
        let site = running(kind);
        for wfid in ["a", "b"] {
            submit(&site, wfid, "fail");
        }
        submit(&site, "fine", "answer");
        for (wfid, fault) in [("a", 11), ("b", 11), ("fine", 0)] {
            site.until(|| stands(&site, wfid) == ("stop", fault));
        }
        let id = |wfid: &str| job(&site, wfid).id.0;
        let said = site.ends(1, &["requeue", "fine"]);
        assert_eq!(said, "fine: nothing of it failed; --force is for what is done\n");
        let named = format!("job-{}", id("fine"));
        let said = site.ends(1, &["requeue", &named]);
        assert_eq!(said, format!("{named} fine: FAILED: it is done; --force does it again\n"));
        site.well(&["requeue", "--force", &named]);
        site.until(|| job(&site, "fine").tries == 2 && stands(&site, "fine") == ("stop", 0));
        write(&site, "mended", "");
        let said = site.well(&["requeue", "--failed", "p", "--priority", "7"]);
        let lines = ["a", "b"].map(|wfid| format!("job-{} {wfid}: ready again\n", id(wfid)));
        assert_eq!(said, lines.concat());
        for wfid in ["a", "b"] {
            site.until(|| stands(&site, wfid) == ("stop", 0));
            assert_eq!(job(&site, wfid).priority, 7);
            let act = acts(&site, wfid).pop().unwrap();
            assert_eq!(act.detail.as_deref(), Some("priority 7"));
        }
        let said = site.ends(1, &["requeue", "--failed", "p"]);
        assert_eq!(said, "p: nothing of it failed\n");
        site.ends(4, &["requeue", "--failed", "nobody"]);
        site.ends(4, &["requeue", "nobody"]);
    });
}

#[test]
fn what_failed_of_a_participant_that_is_installed_no_more_is_ready_for_the_next_that_takes_it() {
    Site::each(|kind| {
        let site = running(kind);
        submit(&site, "a", "fail");
        site.until(|| stands(&site, "a") == ("stop", 11));
        site.well(&["uninstall", "--now", "p"]);
        let said = site.ends(0, &["requeue", "--failed", "p"]);
        let id = job(&site, "a").id.0;
        assert_eq!(
            said,
            format!(
                "job-{id} a: ready again\n\
                 skynet: warning: no participant here takes from p: its jobs wait for one\n"
            )
        );
        assert_eq!(stands(&site, "a"), ("ready", 0));
        assert!(site.ends(4, &["requeue", "--failed", "q"]).contains("no participant q"));
        site.participant("p", QUICK, WORK);
        write(&site, "mended", "");
        site.well(&["start", "p"]);
        site.until(|| stands(&site, "a") == ("stop", 0));
    });
}

#[test]
fn a_dead_item_is_tried_again_or_dropped() {
    Site::each(|kind| {
        let site = ready(kind);
        write(&site, "exo.yaml", &format!("command: ./work\ntries: 1\n{QUICK}"));
        site.well(&["start", "p"]);
        for wfid in ["a", "b"] {
            submit(&site, wfid, "retry");
            site.until(|| stands(&site, wfid) == ("stop", 25));
        }
        assert_eq!(reader(&site).dead(9).unwrap().len(), 2);
        write(&site, "mended", "");
        let said = site.well(&["dead", "requeue", "1"]);
        assert_eq!(said, format!("dead item 1 job-{}: ready again\n", job(&site, "a").id.0));
        site.until(|| stands(&site, "a") == ("stop", 0));
        // What is there is done, whatever else was named.
        let said = site.ends(4, &["dead", "drop", "9", "2"]);
        let none = "skynet: warning: no dead item 9 is in the store\n";
        assert_eq!(said, format!("dead item 2: gone\n{none}"));
        assert_eq!(reader(&site).dead(9).unwrap(), []);
        assert_eq!(stands(&site, "b"), ("stop", 25));
        let said = site.ends(4, &["dead", "requeue", "1"]);
        assert_eq!(said, "skynet: warning: no dead item 1 is in the store\n");
        let kept = acts(&site, "b").pop().unwrap();
        assert_eq!((&*kept.what, kept.by.uid), ("dead-drop", owner(kind).0));
    });
}

#[test]
fn a_rule_has_failures_of_one_kind_tried_again_until_it_is_taken_back() {
    Site::each(|kind| {
        let site = running(kind);
        submit(&site, "first", "fail");
        site.until(|| stands(&site, "first") == ("stop", 11));
        let class = reader(&site).classes().unwrap().pop().unwrap();
        let said =
            site.well(&["failure", "note", &class.signature, "--owner", "ann", "--bug", "#7"]);
        assert_eq!(said, format!("p {}: noted\n", class.signature));
        let noted = reader(&site).classes().unwrap().pop().unwrap();
        assert_eq!((noted.owner.as_deref(), noted.bug.as_deref()), (Some("ann"), Some("#7")));
        let auto = ["--auto", "it broke", "--limit", "2", "--until", "7d", "--delay", "50ms"];
        let said = site.well(&[&["requeue"], &auto[..], &["p"]].concat());
        assert_eq!(said, "p: rule 1: tried again at most 2 times a job\n");
        submit(&site, "second", "fail");
        site.until(|| stands(&site, "second") == ("stop", 11));
        assert_eq!(job(&site, "second").tries, 3, "once, and twice again");
        let by_rule = acts(&site, "second");
        assert_eq!(by_rule.len(), 2);
        assert!(by_rule.iter().all(|act| act.detail.as_deref() == Some("by rule 1")));
        assert_eq!(stands(&site, "first"), ("stop", 11), "a rule is for what comes");
        let rules = site.well(&["rule", "list", "--json"]);
        let rule: Value = serde_json::from_str(&rules).unwrap();
        assert_eq!(
            (&rule["used"], &rule["limit"], &rule["queue"]),
            (&json!(2), &json!(2), &json!("p"))
        );
        assert_eq!((&rule["uid"], &rule["by"]), (&json!(owner(kind).0), &json!(owner(kind).1)));
        assert!(site.well(&["rule", "list"]).contains(&class.signature));
        assert_eq!(site.well(&["rule", "drop", "1"]), "rule 1: taken back\n");
        assert_eq!(site.well(&["rule", "list", "--json"]), "");
        submit(&site, "third", "fail");
        site.until(|| stands(&site, "third") == ("stop", 11));
        assert_eq!(job(&site, "third").tries, 1);
        for (code, args) in [
            (4, &["rule", "drop", "1"][..]),
            (4, &["failure", "note", "no such class", "--owner", "ann"]),
            (100, &["failure", "note", "no such class"]),
            (100, &["requeue", "--auto", "s", "p"]),
            (100, &["requeue", "--auto", "s", "--limit", "2", "--until", "soon", "p"]),
            (1, &["requeue", "--auto", "s", "--limit", "2", "--until", "2001-01-01", "p"]),
            (100, &["requeue", "--auto", "s", "--limit", "0", "--until", "7d", "p"]),
            (4, &["requeue", "--auto", "s", "--limit", "2", "--until", "7d", "q"]),
        ] {
            site.ends(code, args);
        }
    });
}

#[test]
fn one_cause_is_one_class_with_one_rule_whatever_file_an_item_is_about() {
    const OPEN: &str = "#!/bin/sh\ncat > item\necho \"unable to open /srv/in/$SKYNET_WFID.txt: gone\" >&2\nexit 11\n";
    Site::each(|kind| {
        let site = Site::booted(kind);
        site.participant("p", QUICK, OPEN);
        site.well(&["start", "p"]);
        submit(&site, "alpha", "open");
        site.until(|| stands(&site, "alpha") == ("stop", 11));
        let auto = |named| {
            ["requeue", "--auto", named, "--limit", "1", "--until", "7d", "--delay", "50ms", "p"]
        };
        assert_eq!(site.skynet(&auto("unable to open")).err(), "");
        submit(&site, "beta", "open");
        site.until(|| stands(&site, "beta") == ("stop", 11));
        assert_eq!(job(&site, "beta").tries, 2, "once, and again by the rule");
        let classes = reader(&site).classes().unwrap();
        assert_eq!((classes.len(), classes[0].count), (1, 3), "{classes:?}");
        let said = site.skynet(&auto("never seen")).err();
        let wanted = "skynet: warning: no failure of p is called never seen; taken for";
        assert!(said.starts_with(wanted), "{said}");
    });
}

#[test]
fn an_exo_that_is_killed_in_the_middle_of_a_requeue_costs_nothing_and_nothing_is_done_twice() {
    Site::each(|kind| {
        let site = running(kind);
        submit(&site, "bad", "fail");
        site.until(|| stands(&site, "bad") == ("stop", 11));
        // Nobody can write, so that what it is asked for stays in the middle.
        let gate = ["work.turn", "work.lock"].map(|name| {
            let file =
                fs::File::options().write(true).open(site.at(Place::Store).join(name)).unwrap();
            file.lock().unwrap();
            file
        });
        let mut command = site.command(program("skynet"), &["requeue", "bad"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let told = format!("told by user {} to requeue 1", owner(kind).0);
        site.until(|| site.own_log().contains(&told));
        for pid in [site.pids("exo-keeper"), site.pids("exo-worker")].concat() {
            linux::signal::kill(pid, 9).unwrap();
        }
        drop(gate);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let id = job(&site, "bad").id.0;
        assert_eq!(said, format!("job-{id} bad: ready again\n"), "{output:?}");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(acts(&site, "bad").len(), 1);
        site.until(|| job(&site, "bad").tries == 2);
    });
}

#[test]
fn of_a_cancel_and_the_end_of_the_work_one_is_the_outcome_and_it_is_the_one_that_is_told() {
    let races = if std::env::var_os("SKYNET_LONG").is_some() { 400 } else { 40 };
    Site::each(|kind| {
        let site = ready(kind);
        let work = "#!/bin/sh\nn=$(sed 's/.*\"ms\":\\([0-9]*\\).*/\\1/')\n\
                    sleep 0.$(printf %03d \"$n\")\n";
        site.participant("p", &format!("instances: 2\n{QUICK}"), work);
        site.well(&["start", "p"]);
        let mut seen = [0, 0];
        for race in 0..races {
            let wfid = format!("w{race}");
            // From the next to nothing to more than a cancel takes on a busy machine.
            let field = format!("ms={}", race * 23 % 500);
            site.well(&["submit", "p", "--wfid", &wfid, "--field", &field]);
            let output = site.skynet(&["cancel", &wfid]);
            let (state, fault) = stands(&site, &wfid);
            assert_eq!(state, "stop", "{output:?}");
            let said = output.out();
            match fault {
                900 => {
                    assert!(
                        said.ends_with(": cancelled\n") && output.code == Some(0),
                        "{output:?}"
                    );
                }
                0 => {
                    let late = said.contains("done before it heard of it")
                        || said.contains("nothing of it waits or is worked on")
                        || said.contains("not while it is stop");
                    assert!(late && output.code == Some(1), "{output:?}");
                }
                _ => panic!("{fault}: {output:?}"),
            }
            seen[usize::from(fault == 900)] += 1;
        }
        println!("{kind:?}: {} were done, {} cancelled", seen[0], seen[1]);
    });
}

#[test]
fn a_recorded_item_is_replayed_by_its_participant_s_user_and_nothing_is_recorded() {
    Site::each(|kind| {
        let site = running(kind);
        submit(&site, "bad", "fail");
        site.until(|| stands(&site, "bad") == ("stop", 11));
        let said = site.ends(1, &["replay", "bad"]);
        assert!(said.contains("it broke"), "{said}");
        write(&site, "mended", "");
        let output = site.skynet(&["replay", &format!("job-{}", job(&site, "bad").id.0)]);
        assert_eq!(output.code, Some(0), "{output:?}");
        let answer = r#""fields":{"by":"nobody","was":12345678901234567890123,"do":"fail"}}"#;
        assert!(output.out().ends_with(&format!("{answer}\n")), "{output:?}");
        assert_eq!(stands(&site, "bad"), ("stop", 11));
        assert_eq!(reader(&site).attempts(job(&site, "bad").id).unwrap().len(), 1);
        site.ends(4, &["replay", "nobody"]);
    });
}

#[test]
fn no_control_byte_of_a_process_reaches_whoever_looks() {
    Site::each(|kind| {
        let site = ready(kind);
        let wfid = "w\u{1b}[31m";
        let said = site.well(&["submit", "p", "--wfid", wfid, "--field", "n=1"]);
        assert_eq!(said, "job-1 w\\x1b[31m: submitted\n");
        let said = site.well(&["cancel", "w*"]);
        assert_eq!(said, "job-1 w\\x1b[31m: cancelled\n");
    });
}

#[test]
fn whoever_waits_for_a_participant_that_takes_no_items_is_told_at_once_what_to_do() {
    Site::each(|kind| {
        let site = ready(kind);
        let waits = |wfid: &str, advice: &str| {
            let args = ["submit", "p", "--wait", "--wfid", wfid, "--field", "n=1"];
            let mut submit = site.command(program("skynet"), &args);
            let submit = submit.stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut submit = submit.spawn().unwrap();
            let mut line = String::new();
            BufReader::new(submit.stderr.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, format!("skynet: warning: p {advice} p\n"));
            submit
        };
        let ends = |submit: Child| {
            let output = submit.wait_with_output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        let waiting = waits("down", "is down and takes no items; start it with: skynet start");
        site.well(&["start", "p"]);
        ends(waiting);
        site.well(&["drain", "p"]);
        let advice = "is drained and takes no items; end that with: skynet resume";
        let waiting = waits("drained", advice);
        assert!(site.well(&["start", "p"]).contains(&format!("; it {advice} p\n")));
        site.well(&["resume", "p"]);
        ends(waiting);
        assert!(!site.well(&["start", "p"]).contains(';'));
    });
}

#[test]
fn dead_items_are_counted_however_large_they_are() {
    let site = Site::booted(Kind::System);
    site.participant("sizer", "", "#!/bin/sh\n");
    site.well(&["start", "sizer"]);
    site.submit("sizer", "w1");
    site.well(&["wait", "--state", "idle", "sizer"]);
    items::bury(&site, "sizer", 12);
    let mut command = items::in_small_room(&site.command(program("skynet"), &["doctor"]));
    let said = run_within(SOON, &mut command);
    assert!(said.out().contains("there are dead items: 12"), "{said:?}");
}
