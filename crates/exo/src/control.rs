//! The words of the control socket: one JSON object a line, a question and its answer.

use machine::work::{Fault, Reach};
use participant::protocol::Flavour;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use work::{Applied, Asked, DeadId, JobId, NewRule, Refused, RuleId, Wall, units};

/// So many jobs or dead items fit into a question, whatever their numbers.
pub const AT_ONCE: usize = 100;
/// How long a job rests before a rule has it tried again, where the rule does not say.
const REST: Duration = Duration::from_secs(300);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How do you stand?
    Status,
    /// The same, answered once it is so.
    Wait {
        /// What is waited for.
        until: Until,
    },
    /// How do you stand? Answered once there was more trouble than is known.
    Watch {
        /// So much is known of this exo.
        seen: u64,
    },
    /// Take no more items.
    Drain,
    /// Take items again.
    Resume,
    /// Items of a process are not wanted any more.
    Cancel {
        /// Which process.
        wfid: String,
        /// Which place in it; `None` = all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expid: Option<String>,
        /// Why, and how much of a hurry.
        #[serde(default = "cancel")]
        flavour: Flavour,
    },
    /// These jobs are not wanted any more, whatever their queue.
    CancelJobs {
        /// Their numbers.
        jobs: Vec<i64>,
        /// Why, and how much of a hurry.
        #[serde(default = "cancel")]
        flavour: Flavour,
    },
    /// These jobs are to be tried again, whatever their queue.
    Requeue {
        /// Their numbers.
        jobs: Vec<i64>,
        /// Also those that are done.
        #[serde(default)]
        force: bool,
        /// Their place among those of their label; `None` = as before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<i32>,
    },
    /// These dead items are to be tried again.
    DeadRequeue {
        /// Their numbers.
        dead: Vec<i64>,
    },
    /// These dead items go.
    DeadDrop {
        /// Their numbers.
        dead: Vec<i64>,
    },
    /// Whose matter a class of faults is. `None` leaves what is said, `""` takes it back.
    Note {
        /// Of which queue.
        queue: String,
        /// Which class.
        signature: String,
        /// Who sees to it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
        /// Where it is written down.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bug: Option<String>,
    },
    /// Jobs that fail like this are to be tried again by themselves.
    RuleSet {
        /// Of which queue.
        queue: String,
        /// Class of faults.
        signature: String,
        /// How often each job is.
        limit: u32,
        /// When that ends, in seconds since 1970.
        until: i64,
        /// How long a job rests before, a number with its unit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delay: Option<String>,
    },
    /// Not any more.
    RuleDrop {
        /// Number of the rule.
        rule: i64,
    },
    /// Items of this label come before those of labels with a lower priority, in each queue.
    LabelSet {
        /// Its name.
        label: String,
        /// The highest is first.
        priority: i32,
    },
    /// The label has no priority any more: its items come last.
    LabelDrop {
        /// Its name.
        label: String,
    },
}

/// What a question may wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// No instance is starting, or ending to be started again.
    Started,
    /// No item is in hand; and, unless exo was told to drain, none is ready in the queue.
    Idle,
}

const fn cancel() -> Flavour {
    Flavour::Cancel
}

/// Returns the code that means this flavour.
#[must_use]
pub const fn code_of(flavour: Flavour) -> Fault {
    match flavour {
        Flavour::Cancel => Fault::CANCELLED,
        Flavour::Kill => Fault::KILLED,
        Flavour::Timeout => Fault::GIVEN_UP,
    }
}

impl Request {
    /// Returns what is to be done with the store, each with the number that it is about; nothing
    /// where the question is of another kind.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn asked(&self) -> Result<Vec<(i64, Asked)>, String> {
        let each = |ids: &[i64], asked: &dyn Fn(i64) -> Asked| {
            ids.iter().map(|id| (*id, asked(*id))).collect()
        };
        Ok(match self {
            Self::CancelJobs { jobs, flavour } => {
                each(jobs, &|id| Asked::Cancel(JobId(id), code_of(*flavour)))
            }
            Self::Requeue { jobs, force, priority } => {
                let reach = if *force { Reach::Any } else { Reach::Failed };
                each(jobs, &|id| Asked::Requeue { job: JobId(id), reach, priority: *priority })
            }
            Self::DeadRequeue { dead } => each(dead, &|id| Asked::Revive(DeadId(id))),
            Self::DeadDrop { dead } => each(dead, &|id| Asked::Exhume(DeadId(id))),
            Self::Note { queue, signature, owner, bug } => {
                let (queue, signature) = (queue.clone(), signature.clone());
                let (owner, bug) = (owner.clone(), bug.clone());
                vec![(0, Asked::Blame { queue, signature, owner, bug })]
            }
            Self::RuleSet { queue, signature, limit, until, delay } => {
                let delay = delay.as_deref().map_or(Ok(REST), units::duration);
                let rule = NewRule {
                    queue: queue.clone(),
                    signature: signature.clone(),
                    limit: *limit,
                    delay: delay.map_err(|why| format!("delay: {why}"))?,
                    until: Wall(until.saturating_mul(1_000_000)),
                };
                vec![(0, Asked::SetRule(Box::new(rule)))]
            }
            Self::RuleDrop { rule } => vec![(*rule, Asked::DropRule(RuleId(*rule)))],
            Self::LabelSet { label, priority } => {
                vec![(0, Asked::SetLabel { name: label.clone(), priority: Some(*priority) })]
            }
            Self::LabelDrop { label } => {
                vec![(0, Asked::SetLabel { name: label.clone(), priority: None })]
            }
            Self::Status | Self::Wait { .. } | Self::Watch { .. } => Vec::new(),
            Self::Drain | Self::Resume | Self::Cancel { .. } => Vec::new(),
        })
    }

    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn read(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|why| format!("not understood: {why}"))
    }

    /// Returns the line.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        line_of(&serde_json::to_value(self).unwrap_or(Value::Null))
    }
}

fn line_of(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// An answer: an object with `ok`, and `error` where that is false.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer(pub Value);

impl Answer {
    /// It is done.
    #[must_use]
    pub fn done() -> Self {
        Self(json!({ "ok": true }))
    }

    /// It is not done, and why.
    #[must_use]
    pub fn failed(why: &str) -> Self {
        Self(json!({ "ok": false, "error": why }))
    }

    /// It is going to be done, but is not recorded yet, and why.
    #[must_use]
    pub fn pending(why: &str) -> Self {
        let why = format!("asked for, but not recorded yet: {why}");
        Self(json!({ "ok": false, "pending": true, "error": why }))
    }

    /// How it stands.
    #[must_use]
    pub fn status(status: &Value) -> Self {
        Self(json!({ "ok": true, "status": status }))
    }

    /// So many cancels are recorded; `refused` says why others were not.
    #[must_use]
    pub fn cancelled(taken: u32, refused: &[String]) -> Self {
        if taken > 0 {
            return Self(json!({ "ok": true, "cancelled": taken, "refused": refused }));
        }
        Self::failed(refused.first().map_or("", String::as_str))
    }

    /// What came of each thing that was asked for, by the number that it is about.
    #[must_use]
    pub fn made(all: &[(i64, Result<Applied, Refused>)]) -> Self {
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        for (id, made) in all {
            match made {
                Ok(Applied::Known(job) | Applied::Submitted { job, .. }) => {
                    done.push(json!({ "id": id, "job": job.0 }));
                }
                Ok(Applied::Ruled(rule)) => done.push(json!({ "id": rule.0 })),
                Ok(_) => done.push(json!({ "id": id })),
                Err(why) => refused.push(json!({ "id": id, "error": why.to_string() })),
            }
        }
        if !done.is_empty() {
            return Self(json!({ "ok": true, "done": done, "refused": refused }));
        }
        let why = refused.first().map_or("nothing was asked for".into(), |it| it["error"].clone());
        Self(json!({ "ok": false, "error": why, "done": [], "refused": refused }))
    }

    /// Returns the line.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        line_of(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_survive_the_way_through_a_line() {
        for request in [
            Request::Status,
            Request::Wait { until: Until::Started },
            Request::Wait { until: Until::Idle },
            Request::Watch { seen: 7 },
            Request::Drain,
            Request::Resume,
            Request::Cancel { wfid: "w\n".into(), expid: None, flavour: Flavour::Kill },
            Request::Cancel {
                wfid: "w".into(),
                expid: Some("0_1".into()),
                flavour: Flavour::Cancel,
            },
            Request::CancelJobs { jobs: vec![1, i64::MAX], flavour: Flavour::Timeout },
            Request::Requeue { jobs: vec![1], force: true, priority: Some(-5) },
            Request::Requeue { jobs: Vec::new(), force: false, priority: None },
            Request::DeadRequeue { dead: vec![2] },
            Request::DeadDrop { dead: vec![2, 3] },
            note(Some("")),
            note(None),
            rule(Some("5min")),
            rule(None),
            Request::RuleDrop { rule: 4 },
            Request::LabelSet { label: "l".into(), priority: -1 },
            Request::LabelDrop { label: "l".into() },
        ] {
            let line = request.line();
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            assert_eq!(Request::read(&line), Ok(request));
        }
    }

    fn note(owner: Option<&str>) -> Request {
        let (owner, bug) = (owner.map(str::to_owned), Some("b".to_owned()));
        Request::Note { queue: "q".into(), signature: "s".into(), owner, bug }
    }

    fn rule(delay: Option<&str>) -> Request {
        let (limit, until, delay) = (3, 2_000_000_000, delay.map(str::to_owned));
        Request::RuleSet { queue: "q".into(), signature: "s".into(), limit, until, delay }
    }

    #[test]
    fn what_may_be_missing_in_a_question_is_what_the_manual_says() {
        let page = include_str!("../../../packaging/man/exo.8");
        let questions: Vec<_> =
            page.lines().filter(|line| line.starts_with("{\"command\":")).collect();
        assert!(questions.len() > 15, "{questions:?}");
        let (_, told) = page.split_once("label-drop\",\"label\":\"urgent\"}\n.Ed\n.Pp\n").unwrap();
        let (told, _) = told.split_once("may be missing").unwrap();
        let (only, _) = page.split_once(" may the\n.Ql priority\nof\n.Ql requeue .").unwrap();
        assert!(only.ends_with("may be missing, and so"));
        let words: Vec<_> = told.split_whitespace().collect();
        for question in questions {
            let whole: serde_json::Map<_, _> = serde_json::from_str(question).unwrap();
            let read = |question| Request::read(Value::Object(question).to_string().as_bytes());
            read(whole.clone()).unwrap();
            for key in whole.keys().filter(|key| *key != "command") {
                let mut less = whole.clone();
                less.remove(key);
                let is_requeue = whole["command"] == "requeue";
                let may = words.contains(&&**key) || key == "priority" && is_requeue;
                assert_eq!(read(less).is_ok(), may, "{question} without {key}");
            }
        }
    }

    #[test]
    fn a_full_question_fits_into_a_line_and_asks_one_thing_of_each_number() {
        let question = Request::Requeue {
            jobs: vec![i64::MIN; AT_ONCE],
            force: false,
            priority: Some(i32::MIN),
        };
        assert!(question.line().len() <= 4096, "{}", question.line().len());
        assert_eq!(question.asked().unwrap().len(), AT_ONCE);
        assert_eq!(Request::Status.asked(), Ok(Vec::new()));
        assert!(rule(Some("5")).asked().unwrap_err().starts_with("delay: "));
    }

    #[test]
    fn what_was_refused_is_told_beside_what_was_done() {
        let refused = || (2, Err(Refused::Absent("job")));
        let some = Answer::made(&[(1, Ok(Applied::Done)), refused()]).0;
        assert_eq!((&some["ok"], &some["done"][0]["id"]), (&json!(true), &json!(1)));
        assert_eq!(some["refused"][0], json!({ "id": 2, "error": "there is no such job" }));
        let none = Answer::made(&[refused()]).0;
        assert_eq!((&none["ok"], &none["error"]), (&json!(false), &json!("there is no such job")));
        let revived = Answer::made(&[(4, Ok(Applied::Known(JobId(9))))]).0;
        assert_eq!(revived["done"][0], json!({ "id": 4, "job": 9 }));
    }

    #[test]
    fn what_is_no_question_is_told_so() {
        for line in [&b""[..], b"status", b"{}", b"{\"command\":\"dance\"}", b"[1]", b"\xff"] {
            assert!(Request::read(line).unwrap_err().starts_with("not understood: "));
        }
        let extra = b"{\"command\":\"cancel\",\"wfid\":\"w\",\"flavor\":\"kill\"}";
        assert!(Request::read(extra).unwrap_err().contains("flavor"));
    }
}
