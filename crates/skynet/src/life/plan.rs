//! What is to be done for one service, step by step.

use crate::service::Service;
use daemontools::wait::Goal;
use exo::control::Request;
use std::collections::VecDeque;
use std::path::PathBuf;

/// What a verb has in mind for a service.
pub enum Plan {
    /// These steps.
    Do(Steps),
    /// It is there already, and this is what to say.
    Said(String),
    /// This verb has nothing to do for it, and why.
    Nothing(String),
    /// It cannot be, and why.
    Refused(Vec<String>),
}

impl Plan {
    /// It cannot be, for one reason.
    #[must_use]
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused(vec![why.into()])
    }
}

impl From<crate::failure::Failure> for Plan {
    fn from(failure: crate::failure::Failure) -> Self {
        Self::Refused(failure.lines)
    }
}

/// Steps and the word for where they lead.
pub struct Steps {
    /// "up", "down".
    pub word: &'static str,
    /// Nothing is said of those that get there.
    pub is_quiet: bool,
    /// One after the other.
    pub steps: VecDeque<Step>,
    /// For --no-wait: what has been done when nothing is left but to wait.
    pub told: &'static str,
    /// What to do where time is over; may be empty.
    pub advice: String,
}

impl Steps {
    /// Steps that lead to `word`.
    #[must_use]
    pub fn to(
        word: &'static str,
        told: &'static str,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        let (steps, advice) = (steps.into_iter().collect(), String::new());
        Self { word, is_quiet: false, steps, told, advice }
    }

    /// The same steps, with what to do where they do not lead there in time.
    #[must_use]
    pub fn or(self, advice: impl Into<String>) -> Self {
        Self { advice: advice.into(), ..self }
    }

    /// Steps whose end is not told, but only if they do not lead there in time: with what to do then.
    #[must_use]
    pub fn quietly(
        word: &'static str,
        advice: impl Into<String>,
        steps: impl IntoIterator<Item = Step>,
    ) -> Self {
        Self { is_quiet: true, advice: advice.into(), ..Self::to(word, "", steps) }
    }
}

/// What is told before something is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing.
    None,
    /// These letters of svc, to the service.
    Letters(&'static str),
    /// Supervise itself is to end: its service first, and the logger once it has read what is left.
    End,
}

impl Order {
    /// Tells whether the service is asked to start.
    #[must_use]
    pub fn asks_to_start(self) -> bool {
        matches!(self, Self::Letters(letters) if letters.contains('u'))
    }
}

/// A step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Something is told, and its effect waited for.
    Reach(Order, Goal),
    /// The supervise of the logger is waited for to end, too.
    LoggerEnds,
    /// The service still has the same life a moment later.
    Stays,
    /// The exo behind this socket is asked, and its answer waited for.
    Ask(PathBuf, Request),
    /// The file `down` is taken away.
    Unbar,
    /// The link in the service folder is made anew, and svscan looks at what it leads to.
    Link,
}

impl Step {
    /// Tells whether nothing is done in it but waiting.
    #[must_use]
    pub fn only_waits(&self) -> bool {
        match self {
            Self::Reach(order, _) => *order == Order::None,
            Self::LoggerEnds | Self::Stays => true,
            Self::Ask(_, request) => matches!(request, Request::Status | Request::Wait { .. }),
            Self::Unbar | Self::Link => false,
        }
    }
}

/// A service and its steps.
pub struct Task<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its directory.
    pub dir: PathBuf,
    /// That of its logger, where it has one.
    pub log: Option<PathBuf>,
    /// What is left to do.
    pub steps: Steps,
}

impl<'a> Task<'a> {
    /// A task that has not begun.
    #[must_use]
    pub fn new(service: &'a Service, dir: PathBuf, steps: Steps) -> Self {
        let log = dir.join("log");
        let log = log.is_dir().then_some(log);
        Self { service, dir, log, steps }
    }
}
