//! Processes that are made while the one before them runs: which of them begin.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::Site;
use machine::work::{Fault, State};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;

const ITEMS: usize = 600;

#[test]
fn what_is_cancelled_or_put_off_while_it_is_next_is_begun_only_where_that_is_recorded() {
    let site = Site::per_item("", "");
    let begun = site.open_folder("begun").join("lines");
    let work = format!("#!/bin/sh\necho \"$SKYNET_WFID $SKYNET_ATTEMPT\" >>{}\n", begun.display());
    site.script("work", &work);
    let exo = site.exo();
    site.ask(&json!({ "command": "drain" }));
    for number in 0..ITEMS {
        site.submit(&format!("w{number}"), "{}");
    }
    site.until(|| site.job(&format!("w{}", ITEMS - 1)).is_some());
    site.ask(&json!({ "command": "resume" }));
    let ended = |wfid: &str| site.job(wfid).is_some_and(|job| job.subject.state == State::Stop);
    // What is next stands right behind what is in hand.
    for number in (9..ITEMS).step_by(3) {
        site.until(|| ended(&format!("w{}", number - 1 - number % 7)));
        site.ask(
            &json!({ "command": "cancel", "wfid": format!("w{number}"), "flavour": "cancel" }),
        );
        if number % 5 == 0 {
            site.ask(&json!({ "command": "drain" }));
            site.ask(&json!({ "command": "resume" }));
        }
    }
    site.until_long(|| (0..ITEMS).all(|number| ended(&format!("w{number}"))));
    assert!(exo.end().success(), "{}", site.log());
    let (mut recorded, mut done) = (BTreeSet::new(), BTreeSet::new());
    for number in 0..ITEMS {
        let wfid = format!("w{number}");
        for attempt in site.attempts(&wfid) {
            let line = format!("{wfid} {}", attempt.number);
            if attempt.fault == Some(Fault::NONE) {
                done.insert(line.clone());
            }
            recorded.insert(line);
        }
    }
    let lines: Vec<_> = fs::read_to_string(&begun).unwrap().lines().map(str::to_owned).collect();
    let begun: BTreeSet<_> = lines.iter().cloned().collect();
    assert_eq!(begun.len(), lines.len(), "begun twice");
    let nothing: [&String; 0] = [];
    // A cancel that is recorded just before the beginning is the outcome.
    let is_cancelled = |line: &str| {
        let wfid = line.split(' ').next().unwrap();
        site.job(wfid).is_some_and(|job| job.subject.fault == Fault::CANCELLED)
    };
    let unrecorded = begun.difference(&recorded).filter(|line| !is_cancelled(line));
    assert_eq!(unrecorded.collect::<Vec<_>>(), nothing, "begun, not recorded");
    assert_eq!(done.difference(&begun).collect::<Vec<_>>(), nothing, "recorded, not begun");
    assert!(done.len() >= ITEMS / 2 && done.len() < ITEMS, "{} done", done.len());
}
