//! A participant that does what its items say, and how its jobs stand.

// Each file of tests uses a part of it.
#![allow(dead_code, clippy::panic, clippy::unwrap_used)]

use crate::site::{Kind, Place, Site};
use std::fs;
use work::read::{Act, Job};
use work::{JobId, Reader};

pub(crate) const QUICK: &str = "retry: {first: 20ms, longest: 50ms}\n";

/// Does what the item says: fails until a file `mended` is there, waits for a file `go`, or answers.
pub(crate) const WORK: &str = r#"#!/bin/sh
item=$(cat)
case $item in
*'"do":"fail"'*) [ -e mended ] || { echo "it broke" >&2; exit 11; } ;;
*'"do":"retry"'*) [ -e mended ] || { echo "not now" >&2; exit 3; } ;;
*'"do":"deaf"'*) trap '' TERM; echo begun; until [ -e go ]; do sleep 0.05; done ;;
*'"do":"wait"'*) trap 'exit 17' TERM; echo begun; until [ -e go ]; do sleep 0.05; done ;;
esac
printf '%s' "$item" | sed "s/\"fields\":{/&\"by\":\"$(id -un)\",\"was\":12345678901234567890123,/" >&3
"#;

/// A site with the participant `p`, which does not run.
pub(crate) fn ready(kind: Kind) -> Site {
    let site = Site::booted(kind);
    site.participant("p", QUICK, WORK);
    site
}

/// The same, and it runs.
pub(crate) fn running(kind: Kind) -> Site {
    let site = ready(kind);
    site.well(&["start", "p"]);
    site
}

pub(crate) fn reader(site: &Site) -> Reader {
    Reader::open(&work::Place::new(site.at(Place::Store))).unwrap()
}

/// Returns the oldest job of a process.
#[track_caller]
pub(crate) fn job(site: &Site, wfid: &str) -> Job {
    let jobs = reader(site).jobs_of(wfid).unwrap();
    jobs.into_iter().next().unwrap_or_else(|| panic!("there is no job of {wfid}"))
}

#[track_caller]
pub(crate) fn stands(site: &Site, wfid: &str) -> (&'static str, u16) {
    let subject = job(site, wfid).subject;
    (subject.state.name(), subject.fault.0)
}

#[track_caller]
pub(crate) fn acts(site: &Site, wfid: &str) -> Vec<Act> {
    reader(site).acts(job(site, wfid).id).unwrap()
}

/// Who asks where a test does: the owner of the instance.
pub(crate) fn owner(kind: Kind) -> (u32, &'static str) {
    match kind {
        Kind::Private => (65534, "nobody"),
        Kind::System => (0, "root"),
    }
}

/// Submits an item of a process that does this.
#[track_caller]
pub(crate) fn submit(site: &Site, wfid: &str, what: &str) -> JobId {
    let field = format!("do={what}");
    let out = site.well(&["submit", "p", "--wfid", wfid, "--field", &field]);
    let id = job(site, wfid).id;
    assert_eq!(out, format!("job-{} {wfid}: submitted\n", id.0));
    id
}

pub(crate) fn write(site: &Site, name: &str, text: &str) {
    let path = site.dir("p").join(name);
    fs::write(&path, text).unwrap();
    site.own_all(&path);
}

/// Puts so many large dead items of a queue there, of which no user is known.
pub(crate) fn bury(site: &Site, queue: &str, count: u32) {
    site.sql(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
        INSERT INTO dead (queue, owner, job, fault, reason, at, sum, bytes)
            SELECT '{queue}', NULL, NULL, 12, 'it is no item', 0, 0, zeroblob(16777216) FROM n;"
    ));
}

/// Runs skynet with room for some of these, and not for all.
pub(crate) fn in_small_room(command: &std::process::Command) -> std::process::Command {
    let mut small = std::process::Command::new("prlimit");
    small.arg("--as=100663296").arg("--").arg(command.get_program()).args(command.get_args());
    small.env_clear().stdin(std::process::Stdio::null());
    small.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    if let Some(folder) = command.get_current_dir() {
        small.current_dir(folder);
    }
    small
}
