//! `skynet label`: whose turn comes first; on a user's instance and on a system's, with exo and without.

#![allow(clippy::unwrap_used, clippy::panic)]

mod items;
mod site;

use items::{reader, ready, stands};
use serde_json::{Value, json};
use site::{Kind, Site};

/// Submits an item of this label, and of the process that is called so with a number.
fn submit(site: &Site, label: &str, number: u32) -> String {
    let wfid = format!("{label}-{number}");
    let labelled = ["--label", label];
    let label = if label == "plain" { &[][..] } else { &labelled };
    let said = site.skynet(&[&["submit", "p", "--wfid", &wfid, "--field", "a=b"], label].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    wfid
}

/// Returns processes in the order in which their items were begun.
fn in_order(site: &Site, mut wfids: Vec<String>) -> Vec<String> {
    site.until(|| wfids.iter().all(|wfid| stands(site, wfid).0 == "stop"));
    let reader = reader(site);
    wfids.sort_by_key(|wfid| {
        let job = reader.jobs_of(wfid).unwrap().remove(0);
        reader.attempts(job.id).unwrap()[0].begun
    });
    wfids
}

fn objects(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_label_s_priority_says_whose_turn_it_is_also_among_what_waits() {
    Site::each(|kind| {
        let site = ready(kind);
        let submit_all =
            |number| ["low", "plain", "high"].map(|label| submit(&site, label, number));
        let first = submit_all(1);
        // Without an exo.
        assert_eq!(site.well(&["label", "set", "high", "5"]), "label high: priority 5\n");
        let list = "LABEL  PRIORITY  WAITING  LATER  IN HAND
high          5        1      0        0
-             0        1      0        0
low           -        1      0        0
";
        assert_eq!(site.well(&["label", "list"]), list);
        site.well(&["start", "p"]);
        let [low, plain, high] = first.clone();
        assert_eq!(in_order(&site, first.to_vec()), [high, plain, low]);
        // By the exo, which has seen the items.
        site.well(&["drain", "--wait", "p"]);
        let [low, plain, high] = submit_all(2);
        let said = site.well(&["label", "set", "--json", "low", "7"]);
        assert_eq!(objects(&said), [json!({ "name": "label low", "ok": true, "result": "set" })]);
        site.well(&["label", "set", "high", "-1"]);
        let [first, second, third] = &objects(&site.well(&["label", "list", "--json"]))[..] else {
            panic!("not three labels")
        };
        let low_is = json!({
            "label": "low", "priority": 7, "active": true, "waiting": 1, "later": 0, "in-hand": 0,
        });
        assert_eq!(*first, low_is);
        assert_eq!((&second["label"], &third["label"]), (&json!(""), &json!("high")));
        site.well(&["resume", "p"]);
        let all = vec![high.clone(), plain.clone(), low.clone()];
        assert_eq!(in_order(&site, all), [low, plain, high]);
        assert_eq!(site.well(&["label", "drop", "low"]), "label low: taken back\n");
        let lowest = objects(&site.well(&["label", "list", "--json"])).pop().unwrap();
        assert_eq!((&lowest["label"], &lowest["priority"]), (&json!("low"), &Value::Null));
        let acts = objects(&site.well(&["acts", "--json"]));
        let acts: Vec<_> = acts.iter().map(|act| (&act["what"], &act["detail"])).collect();
        let detail = ["high: priority 5", "low: priority 7", "high: priority -1"];
        let set = detail.map(|detail| (json!("label-set"), json!(detail)));
        let drop = (json!("label-drop"), json!("low"));
        let kept: Vec<_> = set.iter().chain([&drop]).map(|(what, detail)| (what, detail)).collect();
        assert_eq!(acts, kept);
    });
}

#[test]
fn what_is_no_label_or_no_priority_is_told_and_changes_nothing() {
    let site = Site::booted(Kind::Private);
    let long = "x".repeat(65);
    for (code, args, why) in [
        (100, &["label"][..], "Usage"),
        (100, &["label", "set"], "LABEL"),
        (100, &["label", "set", "l"], "PRIORITY"),
        (100, &["label", "set", "l", "high"], "high"),
        (100, &["label", "set", "l", "2147483648"], "2147483648"),
        (100, &["label", "set", "", "1"], "between 1 and 64 bytes"),
        (100, &["label", "set", &long, "1"], "between 1 and 64 bytes"),
        (100, &["label", "set", "a\tb", "1"], "control character"),
        (100, &["label", "drop"], "LABEL"),
        (4, &["label", "drop", "ghost"], "no label ghost has a priority"),
        (4, &["label", "drop", ""], "has a priority"),
    ] {
        let said = site.ends(code, args);
        assert!(said.contains(why), "{args:?}: {said}");
    }
    assert_eq!(site.well(&["label", "list"]), "no labels to show\n");
    site.well(&["label", "set", "l", "-2147483648"]);
    let said = site.ends(4, &["label", "drop", "l", "ghost"]);
    assert!(said.contains("label l: taken back\n"), "{said}");
    assert_eq!(objects(&site.well(&["label", "list", "--json"])).len(), 1, "nothing has it");
}
