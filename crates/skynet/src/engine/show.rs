//! Processes and their steps, for people and for programs.

use super::process::{Outcome, Process, State, Visit};
use crate::moment;
use crate::screen::{Column, Screen, Table, Tone, clean};
use participant::protocol::Flavour;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt::Write;
use std::time::Duration;
use work::Wall;

/// Returns the word for what a cancel has made of something.
#[must_use]
pub const fn ended_by(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Cancel => "cancelled",
        Flavour::Kill => "killed",
        Flavour::Timeout => "timed out",
    }
}

/// Tells what is new of processes, each thing once.
#[derive(Debug, Default)]
pub struct Progress {
    told: HashMap<String, Vec<Outcome>>,
    is_json: bool,
}

impl Progress {
    /// Begins with nothing told. `is_json`: an object a line instead of words.
    #[must_use]
    pub fn new(is_json: bool) -> Self {
        Self { is_json, ..Self::default() }
    }

    /// Returns lines about what is new of a process.
    pub fn of(&mut self, process: &Process) -> String {
        let is_new = !self.told.contains_key(&process.wfid);
        let told = self.told.entry(process.wfid.clone()).or_default();
        let mut out = String::new();
        if is_new && !self.is_json {
            let _ = writeln!(out, "{}: {} begins", process.wfid, clean(&process.name));
        }
        for (at, visit) in process.path.iter().enumerate() {
            if told.get(at) == Some(&visit.outcome) {
                continue;
            }
            match told.get_mut(at) {
                Some(known) => *known = visit.outcome,
                None => told.push(visit.outcome),
            }
            if self.is_json {
                let _ = writeln!(out, "{}", visit_object(&process.wfid, visit));
            } else {
                let _ = writeln!(out, "{}: {}", process.wfid, words(visit));
            }
        }
        if process.state != State::Running {
            self.told.remove(&process.wfid);
            if self.is_json {
                let _ = writeln!(out, "{}", object(process));
            } else {
                let _ = writeln!(out, "{}: {}", process.wfid, ending(process));
            }
        }
        out
    }
}

fn words(visit: &Visit) -> String {
    let mut words = format!("{} {}: ", visit.expid, clean(&visit.name));
    let queue = clean(&visit.queue);
    match visit.outcome {
        Outcome::Running => {
            let _ = write!(words, "waits in queue {queue}");
        }
        Outcome::Forgotten => {
            let _ = write!(words, "left in queue {queue}, nobody waits for it");
        }
        outcome => words.push_str(word(outcome)),
    }
    if let (Outcome::Done | Outcome::Error | Outcome::Cancelled, Some(taken)) =
        (visit.outcome, taken(visit))
    {
        let _ = write!(words, " after {taken}");
    }
    if let Some(result) = &visit.result {
        let _ = write!(words, ", result {}", clean(result.get()));
    }
    if let Some(error) = &visit.error {
        let _ = write!(words, ": {}", clean(&error.message));
    }
    words
}

fn ending(process: &Process) -> String {
    match (&process.state, &process.error) {
        (State::Failed, Some((expid, error))) => {
            format!("failed at {expid}: {}", clean(&error.message))
        }
        (state, _) => state_word(*state).to_owned(),
    }
}

/// Returns the word for how a process stands.
#[must_use]
pub const fn state_word(state: State) -> &'static str {
    match state {
        State::Running => "running",
        State::Done => "done",
        State::Failed => "failed",
        State::Cancelled => "cancelled",
    }
}

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Running => "running",
        Outcome::Done => "done",
        Outcome::Error => "error",
        Outcome::Skipped => "skipped",
        Outcome::Forgotten => "forgotten",
        Outcome::Cancelled => "cancelled",
    }
}

const fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Running => Tone::Notable,
        Outcome::Done => Tone::Good,
        Outcome::Error => Tone::Bad,
        Outcome::Skipped | Outcome::Forgotten | Outcome::Cancelled => Tone::Faint,
    }
}

fn taken(visit: &Visit) -> Option<String> {
    Some(moment::span(moment::between(Wall(visit.at), Wall(visit.ended?))))
}

fn seconds(from: i64, to: Option<i64>) -> Value {
    let micros = to.map(|to| moment::between(Wall(from), Wall(to)));
    micros.map_or(Value::Null, |micros| json!(Duration::from_micros(micros).as_secs_f64()))
}

/// Returns a step as an object.
#[must_use]
pub fn visit_object(wfid: &str, visit: &Visit) -> Value {
    let result = visit.result.as_ref().and_then(|raw| serde_json::from_str(raw.get()).ok());
    let mut object = json!({ "wfid": wfid, "expid": visit.expid, "step": visit.name,
        "queue": visit.queue, "state": word(visit.outcome), "at": moment::utc(Wall(visit.at)),
        "seconds": seconds(visit.at, visit.ended), "result": result.unwrap_or(Value::Null) });
    if let Some(error) = &visit.error {
        object["error"] = json!(error);
    }
    object
}

/// Returns a process as an object.
#[must_use]
pub fn object(process: &Process) -> Value {
    let steps: Vec<&str> = process.running().map(|visit| visit.expid.as_str()).collect();
    let mut object = json!({ "wfid": process.wfid, "process": process.name,
        "state": state_word(process.state), "at": moment::utc(Wall(process.at)),
        "seconds": seconds(process.at, process.ended), "running": steps });
    if let Some((expid, error)) = &process.error {
        object["error"] = json!(error);
        object["error"]["expid"] = json!(expid);
    }
    object
}

/// Returns the steps of a process as a table.
#[must_use]
pub fn path(process: &Process, screen: &Screen) -> String {
    let mut columns = ["PLACE", "STEP", "QUEUE", "STATE", "AT", "TOOK", "RESULT"].map(Column::new);
    columns[6].may_shrink = true;
    let mut table = Table::new(&columns);
    for visit in &process.path {
        let result = match (&visit.error, &visit.result) {
            (Some(error), _) => error.message.clone(),
            (None, Some(result)) => result.get().to_owned(),
            (None, None) => String::new(),
        };
        table.add([
            (visit.expid.clone(), Tone::Plain),
            (visit.name.clone(), Tone::Plain),
            (visit.queue.clone(), Tone::Plain),
            (word(visit.outcome).to_owned(), tone(visit.outcome)),
            (moment::clock(Wall(visit.at)), Tone::Plain),
            (taken(visit).unwrap_or_default(), Tone::Plain),
            (result, Tone::Plain),
        ]);
    }
    let mut out = table.lines(screen, true);
    let head = format!("{} {}", process.wfid, clean(&process.name));
    let _ = writeln!(out, "{head}: {}", ending(process));
    out
}

/// Returns processes as a table.
#[must_use]
pub fn list(processes: &[Process], screen: &Screen) -> String {
    let mut columns = ["WFID", "PROCESS", "STATE", "BEGAN", "AT", "WHY"].map(Column::new);
    columns[5].may_shrink = true;
    let mut table = Table::new(&columns);
    let now = moment::now();
    for process in processes {
        let at: Vec<String> =
            process.running().map(|visit| format!("{} {}", visit.expid, visit.name)).collect();
        let tone = match process.state {
            State::Running => Tone::Notable,
            State::Done => Tone::Good,
            State::Failed => Tone::Bad,
            State::Cancelled => Tone::Faint,
        };
        let why = process.error.as_ref().map(|(_, error)| error.message.clone());
        table.add([
            (process.wfid.clone(), Tone::Plain),
            (process.name.clone(), Tone::Plain),
            (state_word(process.state).to_owned(), tone),
            (moment::short(Wall(process.at), now), Tone::Plain),
            (at.join(", "), Tone::Plain),
            (why.unwrap_or_default(), Tone::Plain),
        ]);
    }
    table.lines_of("processes", screen)
}
