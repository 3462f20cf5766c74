//! Participants beside each other: those that take from one queue, those of one name, and those of one
//! account.

use crate::finding::Finding;
use exo::config::{self, Loaded};
use serde_json::Value;
use std::collections::BTreeMap;

/// What becomes of an item should not depend on who happens to take it.
const SAME: [&str; 9] = [
    "command",
    "mode",
    "user",
    "tries",
    "retry",
    "time-limit",
    "item-limit",
    "error-class",
    "config",
];

/// Looks at all that could be read, each with the name of its service. `by_root`: exo is started by
/// root, and so each runs as the account that it names.
#[must_use]
pub fn look(all: &[(String, Loaded)], by_root: bool) -> Vec<Finding> {
    let mut findings = if by_root { of_one_account(all) } else { Vec::new() };
    let mut names = BTreeMap::new();
    let mut queues: BTreeMap<_, Vec<&(String, Loaded)>> = BTreeMap::new();
    for each in all {
        let (service, Loaded { settings, origins, .. }) = each;
        if let Some(first) = names.insert(settings.socket(), service) {
            let what = format!(
                "participant: {} is {first}, too: one of them has no control socket",
                settings.participant
            );
            findings.push(Finding::error(what).of(service).set_at(origins.get("participant")));
        }
        queues.entry((&settings.store, &settings.queue)).or_default().push(each);
    }
    for ((_, queue), takers) in queues {
        let Some(((first, one), others)) = takers.split_first() else { continue };
        for (service, other) in others {
            let keys = differing(one, other);
            if keys.is_empty() {
                continue;
            }
            let what = format!(
                "queue: {first} takes from {queue}, too, and differs in {}",
                keys.join(", ")
            );
            let why = "what becomes of an item depends on who happens to take it";
            let found = Finding::warning(what).of(service).because(why);
            findings.push(found.set_at(other.origins.get("queue")));
        }
    }
    findings
}

/// Whoever takes from one queue does the same work, and may have one account.
fn of_one_account(all: &[(String, Loaded)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut accounts: BTreeMap<_, &(String, Loaded)> = BTreeMap::new();
    for each in all {
        let (service, Loaded { settings, origins, .. }) = each;
        let (first, other) = accounts.entry(settings.account()).or_insert(each);
        let queue = (&settings.store, &settings.queue);
        if queue == (&other.settings.store, &other.settings.queue) {
            continue;
        }
        let what = format!("user: {first} runs as {}, too", settings.account());
        let why = "each may open the other's files and, before Linux 6.12, signal and trace it";
        let found = Finding::warning(what).of(service).because(why);
        let mend = "give each an account of its own: user in exo.yaml";
        findings.push(found.set_at(origins.get("user")).mended_by(mend));
    }
    findings
}

fn differing(one: &Loaded, other: &Loaded) -> Vec<&'static str> {
    let values = |loaded: &Loaded| -> BTreeMap<String, Value> {
        serde_json::from_str(&config::effective(&loaded.settings)).unwrap_or_default()
    };
    let (one, other) = (values(one), values(other));
    SAME.into_iter().filter(|key| one.get(*key) != other.get(*key)).collect()
}
