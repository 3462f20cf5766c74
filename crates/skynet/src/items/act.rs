//! Having something done for many jobs.

use super::hand::{Hand, Lost, caller};
use super::report::{About, Report};
use crate::failure::{Answer, Failure, warn};
use crate::here::Here;
use exo::control::{AT_ONCE, Request};
use serde_json::Value;
use std::collections::HashMap;
use sys::linux::time;
use work::read::Act as Kept;
use work::{JobId, Reader, Wall};

/// How often another exo is looked for where one ended before it answered.
const TRIES: u32 = 5;

/// What came of each number: the job that it is or became, where that is told, or why nothing.
pub type Came = HashMap<i64, Result<Option<i64>, String>>;

/// What is asked of each job, and how it is kept.
pub struct Act<'a> {
    /// The word by which the store keeps it.
    pub kept: &'static str,
    /// The question about some of them.
    pub request: &'a dyn Fn(Vec<i64>) -> Request,
}

/// Has it done for all jobs, by an exo or ourselves. Where an exo ends before it answers, or cannot
/// tell yet, the store tells what was done, and the rest is asked for again.
///
/// # Errors
/// Nobody can do it, or the store cannot be read.
pub fn jobs(here: &Here, reader: &Reader, ids: &[i64], act: &Act<'_>) -> Result<Came, Failure> {
    let begun = now();
    let uid = caller().uid;
    let is_ours = |kept: &Kept| kept.what == act.kept && kept.by.uid == uid && kept.at >= begun;
    let mut came = Came::new();
    let mut open = ids.to_vec();
    let mut unknown = String::new();
    for _ in 0..TRIES {
        let lost = ask(here, &open, act.request, &mut came)?;
        for id in &open {
            // Refused the second time, it may have been done the first time.
            if !matches!(came.get(id), Some(Ok(_))) && reader.acts(JobId(*id))?.iter().any(is_ours)
            {
                came.insert(*id, Ok(None));
            }
        }
        open.retain(|id| !came.contains_key(id));
        let Some(why) = lost.filter(|_| !open.is_empty()) else { return Ok(came) };
        unknown = why;
    }
    came.extend(open.into_iter().map(|id| (id, Err(unknown.clone()))));
    Ok(came)
}

/// Has each of these taken back, and says what came of it: by its name, the question that does it, and,
/// where there is none such, what is said of that. Returns the exit code.
///
/// # Errors
/// Nobody can do it.
pub fn take_back(
    here: &Here,
    is_json: bool,
    all: impl Iterator<Item = (String, Request, Option<String>)>,
) -> Answer {
    let mut some_are_unknown = false;
    let mut report = Report::new(here, is_json);
    for (name, request, unknown) in all {
        if let Some(unknown) = unknown {
            warn(&unknown);
            some_are_unknown = true;
            continue;
        }
        let about = About { name: Some(name), ..About::default() };
        match one(here, &|_| request.clone())? {
            Ok(_) => report.done(&about, "gone", "taken back"),
            Err(why) => report.failed(&about, &why),
        }
    }
    Ok(report.code(some_are_unknown))
}

/// Returns the moment it is, as the store keeps it.
#[must_use]
pub fn now() -> Wall {
    let (seconds, nanos) = time::wall();
    Wall(seconds * 1_000_000 + i64::from(nanos / 1000))
}

/// The same for what is no job, of which nothing is known where an exo ends before it answers.
///
/// # Errors
/// Nobody can do it.
pub fn others(
    here: &Here,
    ids: &[i64],
    request: &dyn Fn(Vec<i64>) -> Request,
) -> Result<Came, Failure> {
    let mut came = Came::new();
    if let Some(why) = ask(here, ids, request, &mut came)? {
        for id in ids {
            came.entry(*id).or_insert_with(|| Err(format!("{why}; it may be done, look again")));
        }
    }
    Ok(came)
}

/// The same for one thing that has no number yet, or is asked for by itself; returns its number.
///
/// # Errors
/// Nobody can do it.
pub fn one(
    here: &Here,
    request: &dyn Fn(Vec<i64>) -> Request,
) -> Result<Result<i64, String>, Failure> {
    let mut hand = Hand::find(here)?;
    let answer = match hand.ask(&request(Vec::new())) {
        Ok(answer) => answer,
        Err(Lost::Gone(why)) => return Ok(Err(format!("{why}; it may be done, look again"))),
        Err(Lost::Failed(failure)) => return Err(failure),
    };
    let mut came = Came::new();
    read(&answer, &[], &mut came);
    let first = came.into_iter().next();
    Ok(first.map_or_else(|| Err(trouble(&answer)), |(id, came)| came.map(|_| id)))
}

/// Asks one who can do it; returns why there is no answer about some.
fn ask(
    here: &Here,
    ids: &[i64],
    request: &dyn Fn(Vec<i64>) -> Request,
    came: &mut Came,
) -> Result<Option<String>, Failure> {
    if ids.is_empty() {
        return Ok(None);
    }
    let mut hand = Hand::find(here)?;
    for some in ids.chunks(AT_ONCE) {
        match hand.ask(&request(some.to_vec())) {
            Ok(answer) if answer.get("pending").is_some() => return Ok(Some(trouble(&answer))),
            Ok(answer) => read(&answer, some, came),
            Err(Lost::Gone(why)) => return Ok(Some(why)),
            Err(Lost::Failed(failure)) => return Err(failure),
        }
    }
    Ok(None)
}

fn read(answer: &Value, ids: &[i64], came: &mut Came) {
    let list = |key: &str| answer.get(key).and_then(Value::as_array).into_iter().flatten();
    let id = |entry: &Value| entry.get("id").and_then(Value::as_i64);
    for entry in list("done") {
        if let Some(id) = id(entry) {
            came.insert(id, Ok(entry.get("job").and_then(Value::as_i64)));
        }
    }
    let text = |value: &Value| value.get("error").and_then(Value::as_str).map(str::to_owned);
    for entry in list("refused") {
        if let (Some(id), Some(why)) = (id(entry), text(entry)) {
            came.insert(id, Err(why));
        }
    }
    // It was not done at all, or not yet.
    for id in ids {
        came.entry(*id).or_insert_with(|| Err(trouble(answer)));
    }
}

fn trouble(answer: &Value) -> String {
    let why = answer.get("error").and_then(Value::as_str);
    why.unwrap_or("exo did not say what came of it").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_number_has_an_answer_whatever_exo_says() {
        let mut came = Came::new();
        let answer = json!({
            "ok": true,
            "done": [{ "id": 1 }, { "id": 2, "job": 9 }],
            "refused": [{ "id": 3, "error": "it is done" }],
        });
        read(&answer, &[1, 2, 3, 4], &mut came);
        assert_eq!((&came[&1], &came[&2]), (&Ok(None), &Ok(Some(9))));
        assert_eq!(came[&3], Err("it is done".to_owned()));
        assert!(came[&4].is_err());
        let mut came = Came::new();
        read(&json!({ "ok": false, "error": "busy" }), &[1, 2], &mut came);
        assert_eq!([&came[&1], &came[&2]], [&Err("busy".to_owned()); 2]);
    }
}
