//! Participants by name, also those that worked here once and are not installed any more.

use crate::failure::{Failure, warn};
use crate::here::Here;
use crate::names::nearest;
use crate::service;
use glob::Pattern;
use std::collections::BTreeSet;
use work::Reader;

/// Queues of the participants that were asked for.
#[derive(Clone, Debug, Default)]
pub struct Picked {
    /// Each once.
    pub queues: Vec<String>,
    /// What nothing is called.
    pub unknown: Vec<String>,
}

impl Picked {
    /// Says which names are unknown. Returns the exit code of a verb that did the rest.
    #[must_use]
    pub fn code(&self, known: &[String]) -> i32 {
        for name in &self.unknown {
            let near = nearest(name, known.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            warn(&format!("no participant {name}{near}"));
        }
        if self.unknown.is_empty() { 0 } else { crate::failure::code::UNKNOWN }
    }
}

/// Returns the queues that have worked, or were given work.
///
/// # Errors
/// As [`Reader::queues`].
pub fn known(reader: Option<&Reader>) -> Result<Vec<String>, Failure> {
    Ok(reader.map(Reader::queues).transpose()?.unwrap_or_default())
}

/// Finds the queues of the participants of these names and patterns: those that are installed, and
/// the queues in `known`.
///
/// # Errors
/// A pattern is none, or a folder cannot be read.
pub fn pick(names: &[String], known: &[String], here: &Here) -> Result<Picked, Failure> {
    let services = service::all(here)?;
    let mut picked = Picked::default();
    let mut queues = BTreeSet::new();
    for name in names {
        let pattern = Pattern::new(name)
            .map_err(|why| Failure::usage(format!("\"{name}\" is no pattern: {}", why.msg)))?;
        let is_meant = |known: &str| known == name || pattern.matches(known);
        let before = queues.len();
        let mut found = false;
        for service in services.iter().filter(|s| s.is_participant && is_meant(&s.name)) {
            // Where its configuration cannot be read it has its own name's, as most have.
            let queue = service.load().map(|loaded| loaded.settings.queue);
            queues.insert(queue.unwrap_or_else(|_| service.name.clone()));
            found = true;
        }
        queues.extend(known.iter().filter(|queue| is_meant(queue)).cloned());
        if !found && queues.len() == before && !known.iter().any(|queue| is_meant(queue)) {
            picked.unknown.push(name.clone());
        }
    }
    picked.queues = queues.into_iter().collect();
    Ok(picked)
}
