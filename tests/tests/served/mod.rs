//! An engine as a service, and what it says of its processes.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::unwrap_used)]

use crate::site::{Place, Site};
use serde_json::Value;
use std::fs;
use work::Reader;

/// Puts a process on the desk; returns its path as the instance names it.
pub(crate) fn process(site: &Site, name: &str, yaml: &str) -> String {
    let path = site.desk().join(name);
    fs::write(&path, yaml).unwrap();
    site.own_all(&path);
    path.display().to_string()
}

/// Has an engine served as a service.
pub(crate) fn serve(site: &Site) {
    site.service("engine", "#!/bin/sh\nexec skynet engine serve 2>&1\n");
    site.well(&["start", "engine"]);
}

pub(crate) fn launch(site: &Site, file: &str) -> String {
    let said = site.well(&["launch", "--json", file]);
    let object: Value = serde_json::from_str(&said).unwrap();
    object["wfid"].as_str().unwrap().to_owned()
}

pub(crate) fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns place and state of each step that a process came by; none where there is no process.
pub(crate) fn path(site: &Site, wfid: &str) -> Vec<(String, String)> {
    let said = site.skynet(&["engine", "path", wfid, "--json"]);
    let text = |object: &Value, key: &str| object[key].as_str().unwrap().to_owned();
    objects(&said.out()).iter().map(|o| (text(o, "expid"), text(o, "state"))).collect()
}

pub(crate) fn state(site: &Site, wfid: &str) -> String {
    let all = objects(&site.well(&["engine", "list", "--json"]));
    let found = all.iter().find(|object| object["wfid"] == wfid);
    found.map(|object| object["state"].as_str().unwrap().to_owned()).unwrap_or_default()
}

pub(crate) fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(at, state)| ((*at).to_owned(), (*state).to_owned())).collect()
}

/// Returns how the job of a process in a queue stands.
pub(crate) fn stands(site: &Site, queue: &str, wfid: &str) -> (&'static str, u16) {
    let reader = Reader::open(&work::Place::new(site.at(Place::Store))).unwrap();
    let jobs = reader.jobs_of(wfid).unwrap();
    let job = jobs.iter().find(|job| job.queue == queue);
    job.map_or(("", 0), |job| (job.subject.state.name(), job.subject.fault.0))
}
