//! What is seen of a process: how it stands, the steps that it came by, what it wants done.

use super::message::{Fei, Wrong};
use participant::protocol::Flavour;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A step of it waits for its answer.
    Running,
    /// It came to its end.
    Done,
    /// A step failed, which nothing was there for.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It waits for its answer.
    Running,
    /// It was answered.
    Done,
    /// It failed.
    Error,
    /// Its condition did not hold.
    Skipped,
    /// It was handed out, and nobody waits for it.
    Forgotten,
    /// It was cancelled.
    Cancelled,
}

/// A step as it was come by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Visit {
    /// Place in the process.
    pub expid: String,
    /// Participant.
    pub name: String,
    /// Where it went.
    pub queue: String,
    /// When, in microseconds since 1970.
    pub at: i64,
    /// When it was over.
    pub ended: Option<i64>,
    /// How.
    pub outcome: Outcome,
    /// `__result__` of its answer.
    pub result: Option<Box<RawValue>>,
    /// What was wrong.
    pub error: Option<Wrong>,
}

/// What is to be done outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Action {
    /// An item is to be put into a queue.
    Dispatch {
        /// Which queue.
        queue: String,
        /// The item.
        item: Box<RawValue>,
        /// As it is named.
        fei: Fei,
    },
    /// Work is not wanted any more.
    Cancel {
        /// Which queue has it.
        queue: String,
        /// Which item.
        fei: Fei,
        /// When it was handed out, as it says.
        dispatched_at: String,
        /// Why.
        flavour: Flavour,
    },
}
