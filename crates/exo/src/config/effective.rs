//! What is in force, as JSON and for people.

use super::broker;
use super::draft::{LEVELS, MODES, SAFETIES};
use super::keys::{KEYS, LIMITS};
use super::problem::Origin;
use super::{Loaded, Settings};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt::Write;
use std::time::Duration;
use work::units::{Bytes, Span};

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Delays {
    first: String,
    longest: String,
}

/// All keys of the files, with values as the files have them.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Effective<'a> {
    participant: &'a str,
    queue: &'a str,
    mode: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exoskeleton: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    build: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    instances: u16,
    time_limit: String,
    start_limit: String,
    cancel_grace: String,
    shutdown_grace: String,
    restart: Delays,
    tries: u32,
    retry: Delays,
    item_limit: String,
    line_limit: String,
    environment: BTreeMap<&'a str, &'a str>,
    path: &'a str,
    limits: BTreeMap<&'a str, String>,
    umask: String,
    config: &'a RawValue,
    error_class: &'a str,
    broker: BTreeMap<&'a str, String>,
    ready_fd: String,
    log_level: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_user: Option<&'a str>,
    store: String,
    safety: &'a str,
    keep: String,
    keep_size: String,
    spool: String,
    run: String,
}

/// Returns what is in force as one JSON object with the keys of exo.yaml(5) and skynet.yaml(5);
/// what has no value is left out.
#[must_use]
pub fn json(s: &Settings) -> String {
    let span = |time: Duration| Span(time).to_string();
    let all = Effective {
        participant: &s.participant,
        queue: &s.queue,
        mode: word(&MODES, &s.mode),
        command: words(&s.command),
        exoskeleton: s.exoskeleton.as_deref().map(words),
        build: words(&s.build),
        user: s.user.as_deref(),
        instances: s.instances,
        time_limit: s.times.item.map_or_else(none, span),
        start_limit: span(s.times.start),
        cancel_grace: span(s.times.cancel),
        shutdown_grace: span(s.times.shutdown),
        restart: Delays { first: span(s.times.restart), longest: span(s.times.restart_longest) },
        tries: s.tries,
        retry: Delays { first: span(s.backoff.first), longest: span(s.backoff.longest) },
        item_limit: Bytes(s.item_limit as u64).to_string(),
        line_limit: Bytes(s.line_limit as u64).to_string(),
        environment: s.environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        path: &s.path,
        limits: limits(s),
        umask: format!("{:03o}", s.umask),
        config: &s.config,
        error_class: &s.error_class,
        broker: broker::shown(&s.broker),
        ready_fd: s.ready_fd.map_or_else(none, |n| n.to_string()),
        log_level: word(&LEVELS, &s.log_level),
        worker_user: s.worker_user.as_deref(),
        store: s.store.display().to_string(),
        safety: word(&SAFETIES, &s.safety),
        keep: s.keep.map_or_else(none, span),
        keep_size: s.keep_size.map_or_else(none, |size| Bytes(size).to_string()),
        spool: s.spool.display().to_string(),
        run: s.run.display().to_string(),
    };
    // It has nothing but texts, numbers, lists and keys that are texts.
    serde_json::to_string(&all).unwrap_or_default()
}

/// Returns a word that is the same as long as the same is in force.
#[must_use]
pub fn digest(settings: &Settings) -> String {
    format!("{:016x}", ondisk::checksum::fnv(json(settings).as_bytes()))
}

fn none() -> String {
    "none".to_owned()
}

fn word<'a, T: PartialEq>(words: &[(&'a str, T)], value: &T) -> &'a str {
    words.iter().find(|(_, known)| known == value).map_or("", |(word, _)| *word)
}

/// Read as UTF-8, they still are.
fn words(command: &[CString]) -> Vec<String> {
    command.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn limits(s: &Settings) -> BTreeMap<&'static str, String> {
    let l = &s.limits;
    let count = |n: Option<u64>| n.map_or_else(none, |n| n.to_string());
    let size = |n: Option<u64>| n.map_or_else(none, |n| Bytes(n).to_string());
    let cpu = l.cpu_seconds.map_or_else(none, |n| Span(Duration::from_secs(n)).to_string());
    let values =
        [count(l.processes), count(l.files), size(l.memory), size(l.file_size), size(l.core), cpu];
    LIMITS.into_iter().zip(values).collect()
}

/// Returns what is in force as lines that are YAML too, behind each the place it comes from.
#[must_use]
pub fn shown(loaded: &Loaded) -> String {
    let text = json(&loaded.settings);
    let all: BTreeMap<&str, &RawValue> = serde_json::from_str(&text).unwrap_or_default();
    let mut out = String::new();
    for name in KEYS.iter().map(|key| key.name) {
        let Some(value) = all.get(name).map(|value| value.get()) else { continue };
        let below: BTreeMap<String, &RawValue> = if value.starts_with("{\"") {
            serde_json::from_str(value).unwrap_or_default()
        } else {
            BTreeMap::new()
        };
        if below.is_empty() {
            line(&mut out, "", name, value, loaded.origins.get(name));
            continue;
        }
        let _ = writeln!(out, "{name}:");
        for (key, value) in below {
            let origin = loaded.origins.get(&format!("{name}.{key}"));
            let key = serde_json::Value::from(key).to_string();
            line(&mut out, "  ", &key, value.get(), origin);
        }
    }
    out
}

fn line(out: &mut String, indent: &str, key: &str, value: &str, origin: Option<&Origin>) {
    let from = origin.map_or_else(|| "default".to_owned(), Origin::to_string);
    let from = from.replace('\n', "?");
    let _ = writeln!(out, "{indent}{key}: {value} # {from}");
}
