//! The words of the control socket: one JSON object a line, a question and its answer.

use participant::protocol::Flavour;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

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

impl Request {
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
            Request::Drain,
            Request::Resume,
            Request::Cancel { wfid: "w\n".into(), expid: None, flavour: Flavour::Kill },
            Request::Cancel {
                wfid: "w".into(),
                expid: Some("0_1".into()),
                flavour: Flavour::Cancel,
            },
        ] {
            let line = request.line();
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
            assert_eq!(Request::read(&line), Ok(request));
        }
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
