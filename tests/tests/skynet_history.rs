//! The verbs that read the store, on a user's instance and on the system's: participants have really
//! worked on items there.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use exo::worker::Clocks;
use serde_json::Value;
use site::{Kind, Place, Site, item};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use testkit::{program, run_within};
use work::{Change, NewJob, NewRequest, Safety, Store};

/// Works on nothing, well.
const GOOD: &str = "#!/bin/sh\ncat >/dev/null\n";
/// Fails for good, with a text that differs each time in what does not count.
const BAD: &str = "#!/bin/sh\necho \"no way: $$ \x1b[2J\" >&2\nexit 10\n";

/// A persistent one that fails with a trace.
const TRACED: &str = r#"#!/usr/bin/perl
open(my $s, "+<&=3") or die; $| = 1; my $old = select($s); $| = 1; select($old);
<$s>; print $s "{\"type\":\"hello\",\"protocol\":1}\n";
while (my $line = <$s>) {
    exit 0 if $line =~ /"type":"shutdown"/;
    next unless $line =~ /"type":"work","id":(\d+)/ || $line =~ /"id":(\d+)/;
    print $s "{\"type\":\"fault\",\"id\":$1,\"code\":10,\"text\":\"it broke\",\"trace\":[\"outer:1\",\"inner:2\"]}\n";
}
"#;

/// Boots an instance with participants that are up.
fn working(kind: Kind, participants: &[(&str, &str, &str)]) -> Site {
    let site = Site::booted(kind);
    for (name, config, work) in participants {
        site.participant(name, config, work);
    }
    site.well(&["enable", "--now", "--all"]);
    site
}

/// Waits until as many jobs of a participant have stopped.
fn stopped(site: &Site, name: &str, count: u64) {
    site.until(|| {
        let history = objects(&site.well(&["history", "--json", name]));
        let sum: u64 =
            ["done", "failed", "cancelled"].iter().map(|key| number(&history[0], key)).sum();
        sum >= count
    });
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(object: &Value, key: &str) -> u64 {
    object[key].as_u64().unwrap_or_else(|| panic!("{key} in {object}"))
}

/// Each of these stands in a line, in this order.
#[track_caller]
fn stands(out: &str, words: &[&str]) {
    let has_all = |line: &str| {
        let mut rest = line;
        words.iter().all(|word| match rest.find(word) {
            Some(at) => {
                rest = &rest[at + word.len()..];
                true
            }
            None => false,
        })
    };
    assert!(out.lines().any(has_all), "no line with {words:?}:\n{out}");
}

#[test]
fn history_tells_what_participants_did_and_how_long_it_took() {
    Site::each(|kind| {
        let site = working(kind, &[("good", "", GOOD), ("bad", "", BAD), ("idle", "", GOOD)]);
        for n in 0..3 {
            site.submit("good", &format!("w{n}"));
        }
        site.submit("bad", "w0");
        site.submit("bad", "w1");
        stopped(&site, "good", 3);
        stopped(&site, "bad", 2);

        let all = site.well(&["history"]);
        println!("{all}");
        stands(&all, &["PARTICIPANT", "DONE", "FAILED", "CANCELLED", "ATTEMPTS", "P50", "P95"]);
        stands(&all, &["bad", "0", "2", "0", "2", " s"]);
        stands(&all, &["good", "3", "0", "0", "3", " s"]);
        assert_eq!(all.lines().count(), 3, "{all}");

        let bad = site.well(&["history", "bad"]);
        println!("{bad}");
        stands(&bad, &["jobs: 0 done, 2 failed, 0 cancelled"]);
        stands(&bad, &["they took: p50 0.", " s, p95 0.", "longest 0."]);
        stands(&bad, &["DAY", "DONE"]);
        stands(&bad, &["2", "10", "no way: "]);
        assert!(!bad.contains('\x1b'), "{bad:?}");

        let [one] = &objects(&site.well(&["history", "--json", "b?d"]))[..] else { panic!() };
        assert_eq!((number(one, "failed"), number(one, "attempts")), (2, 2));
        assert_eq!(number(&one["days"][0], "failed"), 2);
        assert_eq!(number(&one["failures"][0], "count"), 2);
        let (half, longest) = (one["p50"].as_f64().unwrap(), one["longest"].as_f64().unwrap());
        assert!(half > 0.0 && half <= longest, "{one}");

        let before = site.well(&["history", "--json", "--until", "2020-01-01", "good"]);
        assert_eq!(number(&objects(&before)[0], "done"), 0);
        let since = site.well(&["history", "--json", "--since", "1h", "good"]);
        assert_eq!(number(&objects(&since)[0], "done"), 3);
        // One that did nothing yet is known all the same; what nothing is called is not.
        stands(&site.well(&["history", "idle"]), &["jobs: 0 done"]);
        let out = site.ends(4, &["history", "goood", "bad"]);
        stands(&out, &["warning: no participant goood; did you mean good?"]);
        stands(&out, &["jobs: 0 done, 2 failed"]);
        stands(&site.ends(100, &["history", "--since", "soon"]), &["is no time"]);
    });
}

#[test]
fn a_process_is_followed_across_participants() {
    Site::each(|kind| {
        let sizer = "#!/bin/sh\ncat | sed 's/\"fields\":{}/\"fields\":{\"size\":7}/' >&3\n";
        let site = working(kind, &[("sizer", "", sizer), ("packer", "", BAD)]);
        let item = item("sizer", "20261126-walk");
        let envelope = format!("{{\"skynet\":1,\"reply-to\":\"packer\",\"item\":{item}}}");
        site.submit_text("sizer", &envelope);
        stopped(&site, "packer", 1);

        let path = site.well(&["history", "--wfid", "20261126-walk"]);
        println!("{path}");
        stands(&path, &["20261126-walk: 2 jobs, 1 done, 1 failed; ", " s from first to last"]);
        stands(&path, &["sizer ", "job 1", "submitted by "]);
        stands(&path, &["sizer ", "job 1", "attempt 1 begun by sizer_0 after 0."]);
        stands(
            &path,
            &["attempt 1: done after ", "; job done, answered to packer; cpu ", "log @4"],
        );
        stands(&path, &["packer", "job 2", "submitted"]);
        stands(&path, &["packer", "attempt 1: fault 10 after", "no way", "; job failed; "]);
        let times: Vec<&str> = path.lines().filter_map(|line| line.get(..12)).collect();
        let times: Vec<_> = times.into_iter().filter(|time| time.contains('.')).collect();
        assert!(times.len() == 6 && times.is_sorted(), "{path}");
        // What no participant is called is a process.
        assert_eq!(site.well(&["history", "20261126-walk"]).lines().count(), path.lines().count());
        let items = site.well(&["history", "--items", "20261126-walk"]);
        println!("{items}");
        stands(&items, &["\"size\": 7"]);
        let jobs = objects(&site.well(&["history", "--json", "--items", "20261126-walk"]));
        assert_eq!((number(&jobs[0], "job"), &jobs[0]["state"]), (1, &"done".into()));
        assert_eq!(jobs[0]["attempts"][0]["output"]["fields"]["size"], 7);
        assert_eq!(jobs[1]["item"]["fields"]["size"], 7);
        assert_eq!((&jobs[0]["reply-to"], &jobs[0]["answered"]), (&"packer".into(), &true.into()));
        stands(
            &site.ends(4, &["history", "--wfid", "nobody"]),
            &["no process nobody has a job here"],
        );
        stands(&site.ends(100, &["history", "--items", "sizer"]), &["--items is for the path"]);
    });
}

#[test]
fn failures_are_told_by_their_cause_with_the_trace_of_the_last() {
    Site::each(|kind| {
        let traced = ("traced", "mode: persistent\n", TRACED);
        let site = working(kind, &[("bad", "", BAD), traced, ("good", "", GOOD)]);
        for n in 0..2 {
            site.submit("bad", &format!("w{n}"));
            site.submit("traced", &format!("w{n}"));
        }
        stopped(&site, "bad", 2);
        stopped(&site, "traced", 2);
        let list = site.well(&["failure", "list"]);
        println!("{list}");
        stands(&list, &["FAILURE", "COUNT", "FIRST", "LAST", "PARTICIPANT", "CODE", "SIGNATURE"]);
        stands(&list, &["2", "bad", "10", "no way"]);
        stands(&list, &["2", "traced", "10", "it broke"]);
        assert_eq!(list.lines().count(), 3, "{list}");
        let [class] = &objects(&site.well(&["failure", "list", "--json", "traced"]))[..] else {
            panic!()
        };
        assert_eq!((number(class, "count"), number(class, "code")), (2, 10));
        let id = class["failure"].as_str().unwrap();
        for name in [id, "it broke"] {
            let shown = site.well(&["failure", "show", name]);
            println!("{shown}");
            stands(&shown, &["signature", "it broke"]);
            stands(&shown, &["w1, job ", ", attempt 1"]);
            stands(&shown, &["fault 10 after ", ", by traced_0"]);
            stands(&shown, &["    inner:2"]);
            stands(&shown, &["its log begins at @4"]);
        }
        let one = objects(&site.well(&["failure", "show", "-n", "1", "--json", id]));
        assert_eq!(one[0]["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(one[0]["attempts"][0]["participant"], "traced");
        stands(&site.ends(4, &["failure", "show", "zzz"]), &["no failure zzz"]);
        assert_eq!(site.well(&["failure", "list", "good"]), "no failures to show\n");
    });
}

#[test]
fn an_answer_is_shown_with_the_job_and_the_attempt_that_it_is_of() {
    Site::each(|kind| {
        let again = "#!/bin/sh\ncat >/dev/null\n[ $SKYNET_ATTEMPT = 2 ]\n";
        let site = working(kind, &[("again", "retry: {first: 10ms}\n", again)]);
        let asks = item("again", "asks");
        site.submit_text(
            "again",
            &format!("{{\"skynet\":1,\"item\":{asks},\"reply-to\":\"later\"}}"),
        );
        stopped(&site, "again", 1);
        let jobs = objects(&site.well(&["job", "list", "--json"]));
        let of = |name: &str| {
            let of = jobs.iter().find(|job| job["participant"] == name).expect("its job");
            number(of, "job")
        };
        let (asked, answer) = (of("again"), of("later").to_string());
        let told = format!("job {asked}, attempt 2");
        stands(&site.well(&["job", "show", &answer]), &["answer of", &told]);
        let [shown] = &objects(&site.well(&["job", "show", "--json", &answer]))[..] else {
            panic!()
        };
        assert_eq!(shown["answer-of"], serde_json::json!({ "job": asked, "attempt": 2 }));
        assert_eq!(
            site.well(&["job", "show", "--item", &answer]),
            asks,
            "its bytes are the answer's"
        );
    });
}

#[test]
fn jobs_are_listed_by_state_and_shown_with_what_they_wait_for() {
    Site::each(|kind| {
        let slow = "#!/bin/sh\ncat >/dev/null\nwhile ! [ -e go ]; do sleep 0.05; done\n";
        let site = working(kind, &[("slow", "", slow), ("good", "", GOOD)]);
        let wrapped = |wfid: &str, more: &str| {
            format!("{{\"skynet\":1,\"item\":{}{more}}}", item("slow", wfid))
        };
        site.submit("good", "done");
        site.submit_text("slow", &wrapped("runs", ",\"key\":\"k\""));
        site.until(|| site.well(&["job", "list", "--state", "run"]).contains("runs"));
        site.submit_text("slow", &wrapped("locked", ",\"key\":\"k\""));
        site.submit_text("slow", &wrapped("later", ",\"delay\":\"1h\",\"label\":\"l\""));
        site.until(|| site.well(&["job", "list", "slow"]).lines().count() == 4);
        stopped(&site, "good", 1);

        let list = site.well(&["job", "list"]);
        println!("{list}");
        stands(&list, &["JOB", "PARTICIPANT", "WFID", "STATE", "FAULT", "TRIES", "CHANGED"]);
        stands(&list, &["good", "done", "done"]);
        let ready = site.well(&["job", "list", "slow", "--state", "ready", "--json"]);
        let ready = objects(&ready);
        assert_eq!(ready.len(), 2);
        assert!(ready.iter().all(|job| job["state"] == "ready"), "{ready:?}");
        assert_eq!(site.well(&["job", "list", "-n", "1"]).lines().count(), 2);
        assert_eq!(site.well(&["job", "list", "--state", "failed"]), "no jobs to show\n");

        let runs = site.well(&["job", "show", "runs"]);
        println!("{runs}");
        stands(&runs, &["state", "run"]);
        stands(&runs, &["1", "slow_0", "under way"]);
        stands(&runs, &["\"wfid\": \"runs\""]);
        stands(
            &site.well(&["job", "show", "locked"]),
            &["waits for", "its lock \"k\", which job "],
        );
        stands(&site.well(&["job", "show", "later"]), &["waits for", "the end of its delay, 20"]);
        let [later] = &objects(&site.well(&["job", "show", "--json", "later"]))[..] else {
            panic!()
        };
        assert_eq!((&later["label"], &later["state"]), (&"l".into(), &"ready".into()));
        assert!(later["waits-for"].as_str().unwrap().contains("delay"), "{later}");
        let number = number(later, "job").to_string();
        assert_eq!(site.well(&["job", "show", "--item", &number]), item("slow", "later"));
        stands(&site.ends(4, &["job", "show", "4711"]), &["no job, and no process, 4711"]);
        stands(&site.ends(100, &["job", "list", "--state", "odd"]), &["odd"]);
        site.well(&["cancel", "later"]);
        stands(&site.well(&["job", "show", "later"]), &["20", "cancel asked for by "]);
        stands(&site.well(&["history", "later"]), &["slow", "cancel asked for by "]);
        let later = objects(&site.well(&["history", "--json", "later"]));
        assert_eq!(
            (&later[0]["acts"][0]["what"], &later[0]["state"]),
            (&"cancel".into(), &"cancelled".into())
        );
        fs::write(site.dir("slow").join("go"), "").unwrap();
        stopped(&site, "slow", 3);
    });
}

#[test]
fn dead_items_are_shown_with_the_reason_and_without_control_bytes() {
    Site::each(|kind| {
        let site = working(kind, &[("good", "", GOOD)]);
        site.submit_text("good", "no item \x1b[2J\n\0");
        site.submit_text("good", "{\"fields\": 77 }");
        site.until(|| site.well(&["dead", "list", "--json"]).lines().count() == 2);
        let list = site.well(&["dead", "list"]);
        println!("{list}");
        stands(&list, &["DEAD", "SINCE", "PARTICIPANT", "JOB", "FAULT", "BYTES", "REASON"]);
        stands(&list, &["good", "21", "not a work item"]);
        let dead = objects(&site.well(&["dead", "list", "--json"]));
        let of_size = |size: u64| {
            let found = dead.iter().find(|dead| number(dead, "size") == size);
            number(found.unwrap(), "dead").to_string()
        };
        let (odd, json) = (of_size(14), of_size(15));
        let shown = site.well(&["dead", "show", &odd]);
        println!("{shown}");
        stands(&shown, &["reason", "not a work item"]);
        stands(&shown, &["no item \\x1b[2J"]);
        stands(&shown, &["\\x00"]);
        assert!(!shown.contains('\x1b'));
        stands(&site.well(&["dead", "show", &json]), &["  \"fields\": 77"]);
        let one = objects(&site.well(&["dead", "show", "--json", &json]));
        assert_eq!(one[0]["item"], "{\"fields\": 77 }");
        assert_eq!(site.well(&["dead", "show", "--item", &json]), "{\"fields\": 77 }");
        stands(&site.ends(4, &["dead", "show", "99"]), &["no dead item 99"]);
        stands(&site.ends(100, &["dead", "show", "x"]), &["invalid value"]);
    });
}

/// Reads CSV as RFC 4180 has it.
fn table(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut value) = (Vec::new(), Vec::new(), String::new());
    let mut is_quoted = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, is_quoted) {
            ('"', true) if rest.peek() == Some(&'"') => value.extend(rest.next()),
            ('"', _) => is_quoted = !is_quoted,
            (',', false) => row.push(std::mem::take(&mut value)),
            ('\r', false) => {}
            ('\n', false) => {
                row.push(std::mem::take(&mut value));
                rows.push(std::mem::take(&mut row));
            }
            (c, _) => value.push(c),
        }
    }
    assert!(!is_quoted && row.is_empty() && value.is_empty());
    rows
}

#[test]
fn history_is_exported_whole_and_a_file_gets_its_name_when_it_is() {
    Site::each(|kind| {
        let odd = "#!/bin/sh\ncat >/dev/null\necho 'say \"a, b\"' >&2\nexit 12\n";
        let site = working(kind, &[("good", "", GOOD), ("odd", "", odd)]);
        for n in 0..5 {
            site.submit("good", &format!("w{n}"));
        }
        site.submit("odd", "w,0");
        stopped(&site, "good", 5);
        stopped(&site, "odd", 1);
        let all = objects(&site.well(&["export"]));
        assert_eq!(all.len(), 6);
        let last = &all[5];
        assert_eq!(
            (&last["participant"], &last["text"]),
            (&"odd".into(), &"say \"a, b\" (exit 12)".into())
        );
        let ends: Vec<_> = all[..5].iter().map(|one| one["ended"].as_str().unwrap()).collect();
        assert!(ends.is_sorted() && ends[0].ends_with('Z'), "{ends:?}");

        let text = site.well(&["export", "--csv"]);
        let rows = table(&text);
        assert_eq!((rows.len(), rows[0].len()), (7, 19));
        for (row, object) in rows[1..].iter().zip(&all) {
            for (head, value) in rows[0].iter().zip(row) {
                let same = match &object[head] {
                    Value::Null => value.is_empty(),
                    Value::String(text) => text == value,
                    other => other.to_string().parse::<f64>() == value.parse(),
                };
                assert!(same, "{head}: {value:?} in {object}");
            }
        }
        assert_eq!(objects(&site.well(&["export", "odd"])).len(), 1);
        assert_eq!(site.well(&["export", "--until", "2020-01-01"]), "");
        assert_eq!(table(&site.well(&["export", "--csv", "--until", "2020-01-01"])).len(), 1);

        let folder = site.inside(Place::Store);
        let path = folder.join("out.jsonl").display().to_string();
        assert_eq!(site.well(&["export", "-o", &path, "good"]), "");
        let there = site.at(Place::Store).join("out.jsonl");
        assert_eq!(objects(&fs::read_to_string(&there).unwrap()).len(), 5);
        assert_eq!(there.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        site.well(&["export", "-o", &path, "odd"]);
        assert_eq!(objects(&fs::read_to_string(&there).unwrap()).len(), 1);
        // A link is not written through.
        fs::remove_file(&there).unwrap();
        symlink("elsewhere", &there).unwrap();
        stands(&site.ends(111, &["export", "-o", &path]), &["not a regular file"]);
        assert!(!site.at(Place::Store).join("elsewhere").exists());
        let names = fs::read_dir(site.at(Place::Store)).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name.contains("out.jsonl.")).count(), 0);
    });
}

/// Run by the test below, where the instance is and as its owner.
#[test]
#[ignore = "run by another test, within an instance"]
fn a_request_is_recorded() {
    let place = work::Place::new(std::env::var_os("STORE").unwrap());
    let clock = Clocks::of_this_boot().unwrap();
    let mut store = Store::open(&place, clock, Safety::Kill).unwrap();
    let job =
        |queue: &str| NewJob::from_item(queue, item(queue, "r").into_bytes(), 9999, "").unwrap();
    let request = NewRequest {
        name: "upload 7".to_owned(),
        source: "test".to_owned(),
        jobs: vec![job("good"), job("bad")],
        ..NewRequest::default()
    };
    store.apply(&Change::Request(Box::new(request))).unwrap();
}

#[test]
fn requests_are_listed_and_shown_with_their_jobs() {
    Site::each(|kind| {
        let site = working(kind, &[("good", "", GOOD), ("bad", "", BAD)]);
        site.submit("good", "first");
        stopped(&site, "good", 1);
        let program = std::env::current_exe().unwrap();
        let args = ["--exact", "a_request_is_recorded", "--ignored"];
        let mut command = site.command(program, &args);
        let recorded = run_within(site::SOON, command.env("STORE", site.inside(Place::Store)));
        assert_eq!(recorded.code, Some(0), "{recorded:?}");
        stopped(&site, "bad", 1);
        stopped(&site, "good", 2);
        let list = site.well(&["request", "list"]);
        println!("{list}");
        stands(&list, &["REQUEST", "NAME", "SOURCE", "STATE", "JOBS", "OPEN", "FAULTS", "CHANGED"]);
        stands(&list, &["upload 7", "test", "failed", "2", "0", "1"]);
        for name in ["upload 7", "1"] {
            let shown = site.well(&["request", "show", name]);
            println!("{shown}");
            stands(&shown, &["jobs", "2, 0 open, 1 with a fault"]);
            stands(&shown, &["good", "r", "done"]);
            stands(&shown, &["bad", "r", "failed", "10"]);
        }
        let lines = objects(&site.well(&["request", "show", "--json", "upload 7"]));
        assert_eq!((lines.len(), number(&lines[0], "jobs")), (3, 2));
        stands(&site.ends(4, &["request", "show", "none"]), &["no request none"]);
    });
}

const READING: [&[&str]; 7] = [
    &["history"],
    &["history", "good"],
    &["failure", "list"],
    &["job", "list"],
    &["request", "list"],
    &["dead", "list"],
    &["export"],
];

#[test]
fn without_a_store_there_is_no_history_and_nothing_is_made() {
    Site::each(|kind| {
        let site = Site::new(kind);
        site.participant("good", "", GOOD);
        assert_eq!(site.well(&["export"]), "");
        for (list, things) in [
            (&["history"][..], "history"),
            (&["failure", "list"], "failures"),
            (&["job", "list"], "jobs"),
            (&["request", "list"], "requests"),
            (&["dead", "list"], "dead items"),
            (&["rule", "list"], "rules"),
            (&["label", "list"], "labels"),
            (&["acts"], "acts"),
            (&["engine", "list"], "processes"),
            (&["list", "skynet-*"], "services"),
        ] {
            // The last names what is not there before the first boot.
            let code = if list.len() == 2 && list[0] == "list" { 4 } else { 0 };
            let said = site.skynet(list);
            let text = format!("no {things} to show\n");
            assert_eq!((said.code, said.out()), (Some(code), text), "{list:?}");
            let said = site.skynet(&[list, &["--json"]].concat());
            assert_eq!((said.code, said.out()), (Some(code), String::new()), "{list:?}");
        }
        for verb in [["job", "show", "1"], ["dead", "show", "1"], ["failure", "show", "x"]] {
            site.ends(4, &verb);
        }
        site.ends(4, &["history", "--wfid", "w"]);
        site.ends(4, &["export", "nobody"]);
        assert!(!site.at(Place::Store).join("work.db").exists());
    });
}

#[test]
fn a_store_that_is_none_or_damaged_is_told_and_one_damaged_item_spares_the_others() {
    Site::each(|kind| {
        let site = working(kind, &[("good", "", GOOD)]);
        site.submit("good", "w0");
        stopped(&site, "good", 1);
        site.submit("good", "w1");
        stopped(&site, "good", 2);
        site.well(&["halt"]);
        let path = site.at(Place::Store).join("work.db");
        let aside = path.with_file_name("aside");
        fs::rename(&path, &aside).unwrap();
        for (how, cut) in [("missing", false), ("empty", true)] {
            if cut {
                fs::write(&path, "").unwrap();
            }
            for verb in READING {
                stands(&site.ends(111, verb), &["work.db: the file is", how, "put the file back"]);
            }
        }
        fs::rename(&aside, &path).unwrap();
        let spoil = "import sqlite3, sys; conn = sqlite3.connect(sys.argv[1]); \
                     conn.execute(\"UPDATE item SET bytes = x'00' WHERE job = 1\"); conn.commit()";
        let named = site.inside(Place::Store).join("work.db").display().to_string();
        let mut python = site.command("python3", &["-c", spoil, &named]);
        let spoilt = run_within(site::SOON, &mut python);
        assert_eq!(spoilt.code, Some(0), "{spoilt:?}");
        let shown = site.well(&["job", "show", "1"]);
        println!("{shown}");
        stands(&shown, &["damaged", "the item of job 1"]);
        stands(&site.well(&["job", "show", "2"]), &["\"wfid\": \"w1\""]);
        stands(&site.well(&["history", "--items", "w0"]), &["the item of job 1"]);
        assert_eq!(number(&objects(&site.well(&["history", "--json", "good"]))[0], "done"), 2);
        let _ = fs::remove_file(site.at(Place::Store).join("work.db-wal"));
        fs::write(&path, "hello ".repeat(999)).unwrap();
        for verb in READING {
            stands(&site.ends(111, verb), &["work.db: not a store of skynet"]);
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        stands(&site.ends(111, &["history"]), &["not a regular file"]);
    });
}

#[test]
fn members_of_the_group_read_and_others_are_told_who_may() {
    let site = working(Kind::System, &[("good", "", GOOD)]);
    site.submit("good", "w0");
    stopped(&site, "good", 1);
    // As whoever is not root says which instance is meant.
    let config = site.at(Place::Config).join("skynet.yaml");
    fs::write(&config, "store: /var/lib/skynet\nspool: /var/spool/skynet\nrun: /run/skynet\n")
        .unwrap();
    let read_by = |group: &str, verb: &[&str]| {
        let skynet = program("skynet").display().to_string();
        let regid = format!("--regid={group}");
        let mut args = vec!["--reuid=12345", &regid, "--clear-groups", "--", &skynet];
        args.extend(verb);
        let mut command = site.command("setpriv", &args);
        command.env("SKYNET_CONFIG", "/etc/skynet").env("HOME", "/nonexistent");
        run_within(site::SOON, &mut command)
    };
    for verb in READING {
        let member = read_by("64970", verb);
        assert_eq!((member.code, &*member.err()), (Some(0), ""), "{verb:?}");
        let other = read_by("12345", verb);
        let line = "unable to read /var/lib/skynet/work.db: access denied; root, user skynet and \
                    members of group skynet may";
        assert_eq!(other.code, Some(111), "{other:?}");
        stands(&other.err(), &[line]);
    }
    let one = objects(&read_by("64970", &["history", "--json", "good"]).out());
    assert_eq!(number(&one[0], "done"), 1);
}
