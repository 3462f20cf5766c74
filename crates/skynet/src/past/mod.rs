//! What participants did: sums over many attempts, and the path of one process across participants.

pub mod classes;
pub mod object;
pub mod path;
pub mod queues;
pub mod tally;
pub mod whole;

use crate::moment;
use clap::Args;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use sys::account;
use work::read::{Job, Span};
use work::{Fault, Kind, State, Wall};

/// From when to when.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct When {
    /// Only what ended then or later: 2h, 12:30, 2026-11-26, "2026-11-26 12:30".
    #[arg(long, value_name = "TIME", value_parser = moment::read)]
    since: Option<Wall>,
    /// Only what ended before.
    #[arg(long, value_name = "TIME", value_parser = moment::read)]
    until: Option<Wall>,
}

impl When {
    /// Returns it; what was not said is the beginning, and the end, of time.
    #[must_use]
    pub fn span(self) -> Span {
        let all = Span::ALL;
        Span { since: self.since.unwrap_or(all.since), until: self.until.unwrap_or(all.until) }
    }

    /// Returns it in words, with a blank before them; nothing where nothing was said.
    #[must_use]
    pub fn words(self) -> String {
        let word = |word: &str, at: Option<Wall>| {
            at.map(|at| format!(" {word} {}", moment::full(at))).unwrap_or_default()
        };
        word("since", self.since) + &word("until", self.until)
    }
}

/// Returns the word for where a job stands, by which it can be asked for.
#[must_use]
pub const fn state_word(job: &Job) -> &'static str {
    stands(job.subject.state, job.subject.fault)
}

/// The same of anything that stands so.
#[must_use]
pub const fn stands(state: State, fault: Fault) -> &'static str {
    match (state, fault.kind()) {
        (State::Stop, Kind::Done) => "done",
        (State::Stop, Kind::Cancelled) => "cancelled",
        (State::Stop, _) => "failed",
        (state, _) => state.name(),
    }
}

/// Returns the words for how an attempt ended.
#[must_use]
pub fn end_words(how: Option<&str>, fault: Option<Fault>) -> String {
    let fault = fault.unwrap_or_default();
    match (how, fault.kind()) {
        (None, _) => "under way".to_owned(),
        (Some("interrupted"), _) => "interrupted".to_owned(),
        (Some("lost"), _) => "lost".to_owned(),
        (Some(_), Kind::Done) => "done".to_owned(),
        (Some("overdue"), Kind::Cancelled) => "cancelled, had to be killed".to_owned(),
        (Some(_), Kind::Cancelled) => "cancelled".to_owned(),
        (Some(_), _) => format!("fault {}", fault.0),
    }
}

/// Returns the name of whoever submitted something; each is looked up once.
#[must_use]
pub fn user(uid: Option<u32>) -> Option<String> {
    static KNOWN: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());
    let uid = uid?;
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let name = known.entry(uid).or_insert_with(|| match account::name_of(uid) {
        Some(name) => String::from_utf8_lossy(&name).into_owned(),
        None => uid.to_string(),
    });
    Some(name.clone())
}
