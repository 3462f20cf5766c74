//! Jobs and attempts as JSON objects.

use super::whole::{Whole, asker};
use super::{state_word, user};
use crate::json_text;
use crate::moment::{self, utc};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::time::Duration;
use work::read::{Act, Attempt, Entry, Job};

/// A job.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct JobObject<'a> {
    job: i64,
    participant: &'a str,
    wfid: &'a str,
    name: &'a str,
    state: &'static str,
    fault: u16,
    tries: u32,
    user: Option<String>,
    label: &'a str,
    priority: i32,
    stage: Option<&'a str>,
    submitted: String,
    changed: String,
    due: Option<String>,
    #[serde(flatten)]
    whole: Option<WholeObject<'a>>,
}

/// What only one job alone is asked for.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct WholeObject<'a> {
    waits_for: Option<&'a str>,
    request: Option<&'a str>,
    parent: Option<i64>,
    depends_on: Option<String>,
    key: Option<&'a str>,
    locked_by: Option<&'a str>,
    reply_to: Option<&'a str>,
    answered: bool,
    answer_of: Option<AnswerOf>,
    size: u64,
    attempts: Vec<AttemptObject<'a>>,
    acts: Vec<ActObject<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<Box<RawValue>>,
}

/// What an item is the answer of.
#[derive(Serialize)]
pub struct AnswerOf {
    job: i64,
    attempt: u32,
}

/// What somebody asked for.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ActObject<'a> {
    at: String,
    what: &'a str,
    user: String,
    detail: Option<&'a str>,
    rule: Option<i64>,
}

/// An attempt.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttemptObject<'a> {
    attempt: u32,
    instance: &'a str,
    begun: String,
    ended: Option<String>,
    seconds: Option<f64>,
    how: Option<&'a str>,
    fault: Option<u16>,
    code: Option<i32>,
    signal: Option<i32>,
    text: Option<&'a str>,
    signature: Option<&'a str>,
    log: Option<&'a str>,
    cpu_seconds: Option<f64>,
    peak_kib: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
}

/// An attempt with what it was at.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct EntryObject<'a> {
    participant: &'a str,
    job: i64,
    wfid: &'a str,
    name: &'a str,
    user: Option<String>,
    #[serde(flatten)]
    attempt: AttemptObject<'a>,
}

/// Returns seconds of microseconds.
#[must_use]
pub fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// Returns bytes as JSON: as they are where they are JSON, otherwise as a text.
#[must_use]
pub fn raw(bytes: &[u8]) -> Option<Box<RawValue>> {
    let text = json_text::compact(bytes).unwrap_or_else(|| {
        serde_json::Value::from(String::from_utf8_lossy(bytes).into_owned()).to_string()
    });
    RawValue::from_string(text).ok()
}

/// Makes the object of a job.
#[must_use]
pub fn of_job<'a>(job: &'a Job, whole: Option<WholeObject<'a>>) -> JobObject<'a> {
    JobObject {
        job: job.id.0,
        participant: &job.queue,
        wfid: &job.wfid,
        name: &job.identity,
        state: state_word(job),
        fault: job.subject.fault.0,
        tries: job.tries,
        user: user(job.owner),
        label: &job.label,
        priority: job.priority,
        stage: job.stage.as_deref(),
        submitted: utc(job.submitted),
        changed: utc(job.changed),
        due: job.due.map(utc),
        whole,
    }
}

/// Makes the rest of the object of a job.
#[must_use]
pub fn of_whole(whole: &Whole) -> WholeObject<'_> {
    let details = &whole.details;
    WholeObject {
        waits_for: whole.waits_for.as_deref(),
        request: details.request.as_deref(),
        parent: details.parent.map(|parent| parent.0),
        depends_on: details.dependency.as_ref().map(|names| names.join(" ")),
        key: details.key.as_deref(),
        locked_by: details.locked_by.as_deref(),
        reply_to: details.reply_to.as_deref(),
        answered: details.answered,
        answer_of: whole.answer_of.map(|(job, attempt)| AnswerOf { job: job.0, attempt }),
        size: details.size,
        attempts: whole.attempts.iter().map(of_attempt).collect(),
        acts: whole.acts.iter().map(of_act).collect(),
        item: whole.item.as_deref().and_then(raw),
    }
}

fn of_act(act: &Act) -> ActObject<'_> {
    ActObject {
        at: utc(act.at),
        what: &act.what,
        user: asker(act),
        detail: act.detail.as_deref(),
        rule: act.rule.map(|rule| rule.0),
    }
}

/// Makes the object of an attempt.
#[must_use]
pub fn of_attempt(attempt: &Attempt) -> AttemptObject<'_> {
    let took = attempt.ended.map(|ended| moment::between(attempt.begun, ended));
    AttemptObject {
        attempt: attempt.number,
        instance: &attempt.instance,
        begun: utc(attempt.begun),
        ended: attempt.ended.map(utc),
        seconds: took.map(seconds),
        how: attempt.how.as_deref(),
        fault: attempt.fault.map(|fault| fault.0),
        code: attempt.code,
        signal: attempt.signal,
        text: attempt.text.as_deref(),
        signature: attempt.signature.as_deref(),
        log: attempt.log.as_deref(),
        cpu_seconds: attempt.cpu_us.map(|micros| seconds(micros.unsigned_abs())),
        peak_kib: attempt.peak_kib,
        output: attempt.output.as_deref().and_then(raw),
    }
}

/// Makes the object of an attempt with what it was at.
#[must_use]
pub fn of_entry(entry: &Entry) -> EntryObject<'_> {
    EntryObject {
        participant: &entry.queue,
        job: entry.job.0,
        wfid: &entry.wfid,
        name: &entry.identity,
        user: user(entry.owner),
        attempt: of_attempt(&entry.attempt),
    }
}

/// Returns an object as a line.
#[must_use]
pub fn line(object: &impl Serialize) -> String {
    // Its keys are texts, and whatever else it holds has a form in JSON.
    let mut line = serde_json::to_string(object).unwrap_or_default();
    line.push('\n');
    line
}

/// Heads of the columns of [`row`].
pub const HEADS: [&str; 19] = [
    "participant",
    "job",
    "wfid",
    "name",
    "user",
    "attempt",
    "instance",
    "begun",
    "ended",
    "seconds",
    "how",
    "fault",
    "code",
    "signal",
    "text",
    "signature",
    "log",
    "cpu-seconds",
    "peak-kib",
];

/// Returns the values of an object's keys in the order of [`HEADS`]; what has none is empty.
#[must_use]
pub fn row<'a>(object: &'a EntryObject<'_>) -> Vec<Cow<'a, str>> {
    let number = |n: Option<f64>| n.map(|n| n.to_string()).unwrap_or_default().into();
    let whole = |n: Option<i64>| n.map(|n| n.to_string()).unwrap_or_default().into();
    let text = |text: Option<&'a str>| Cow::Borrowed(text.unwrap_or_default());
    let a = &object.attempt;
    vec![
        object.participant.into(),
        object.job.to_string().into(),
        object.wfid.into(),
        object.name.into(),
        text(object.user.as_deref()),
        a.attempt.to_string().into(),
        a.instance.into(),
        a.begun.as_str().into(),
        text(a.ended.as_deref()),
        number(a.seconds),
        text(a.how),
        whole(a.fault.map(i64::from)),
        whole(a.code.map(i64::from)),
        whole(a.signal.map(i64::from)),
        text(a.text),
        text(a.signature),
        text(a.log),
        number(a.cpu_seconds),
        whole(a.peak_kib),
    ]
}
