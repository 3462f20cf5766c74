//! Participants that are one process for each item, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod host;

use host::{DONE, Site, item};
use machine::work::Fault;
use std::fs;

/// Returns the answer to the only attempt at an item by this script.
#[track_caller]
fn answer(work: &str, fields: &str) -> Option<String> {
    let site = Site::per_item(work, "");
    let _exo = site.exo();
    let attempt = site.work("w", fields);
    assert_eq!(attempt.fault, Some(Fault::NONE), "{attempt:?}");
    attempt.output.map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn the_item_is_on_0_byte_for_byte_and_the_answer_on_3() {
    let odd =
        r#"{"one":1.0,"large":1E400,"big":123456789012345678901234567890,"é":"\u0041","x":-0}"#;
    let site = Site::per_item("#!/bin/sh\ncat >seen\n", "");
    let seen = site.open_folder("seen");
    site.script("work", &format!("#!/bin/sh\ntee {}/item | sed s/-0/-1/ >&3\n", seen.display()));
    let _exo = site.exo();
    let attempt = site.work("w", odd);
    assert_eq!(fs::read_to_string(seen.join("item")).unwrap(), item("w", odd));
    let wanted = item("w", &odd.replace("-0", "-1"));
    assert_eq!(String::from_utf8(attempt.output.unwrap()).unwrap(), wanted);
}

#[test]
fn without_an_answer_the_item_is_done_as_it_came() {
    assert_eq!(answer(DONE, "{\"x\":1.0}"), None);
}

#[test]
fn an_answer_that_is_the_item_is_kept_once() {
    assert_eq!(answer("#!/bin/sh\ncat >&3\n", "{\"x\":1.0}"), None);
}
