//! Asking many exos how they stand, all at the same time.

use crate::talk::{Heard, Talk};
use exo::control::Request;
use serde::Deserialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use sys::linux::fd::{self, PollFd};
use sys::linux::limit::{self, Limit, Resource};
use sys::linux::time;

/// Whoever asks how all stand is not kept waiting by one that hangs.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is known of an exo.
#[derive(Clone, Debug, Default)]
pub enum Exo {
    /// It is none, or is not there to be asked.
    #[default]
    Absent,
    /// It does not answer.
    Silent,
    /// It cannot be asked, and why.
    Refused(String),
    /// What it says.
    Told(Box<Told>),
}

/// What an exo says.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// All of it.
    pub value: Value,
    /// As far as it is used here.
    pub status: Status,
}

/// What an exo says, as far as it is used here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    /// `running`, `draining` or `stopping`.
    pub state: String,
    /// What its queue cannot do at the moment.
    pub trouble: Option<String>,
    /// Items done since it started.
    pub done: u64,
    /// Items that failed since then.
    pub failed: u64,
    /// Items that were cancelled while they were worked on.
    pub cancelled: u64,
    /// Copies of the participant.
    pub instances: Vec<Instance>,
}

/// A copy of a participant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `starting`, `idle`, `working`, `ending`, `ended` or `resting`.
    pub state: String,
    /// Its process.
    pub pid: Option<u32>,
    /// How long it has worked on its item.
    pub seconds: f64,
    /// The process that its item belongs to.
    pub wfid: Option<String>,
    /// The job that its item is.
    pub job: Option<i64>,
    /// Which attempt at it this is.
    pub attempt: Option<u32>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// Why it is told to stop.
    pub stopping: Option<String>,
    /// Seconds until its program is started again.
    pub next_start: Option<f64>,
    /// Why it could not be started.
    pub start_failure: Option<String>,
}

/// How far a participant says that it is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// From 0 to 1.
    pub done: Option<f64>,
    /// In its words.
    pub text: Option<String>,
}

impl Instance {
    /// Tells whether it has an item in hand.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.state == "working"
    }
}

/// Questions that are on their way.
pub struct Asking {
    talks: Vec<Option<Talk>>,
    answers: Vec<Exo>,
    until: u64,
}

impl Asking {
    /// Asks those that have a socket.
    #[must_use]
    pub fn begin(sockets: Vec<Option<PathBuf>>) -> Self {
        let count = sockets.iter().flatten().count();
        make_room(count);
        let talk = |path| Talk::new(path, &Request::Status);
        let answers = vec![Exo::Absent; sockets.len()];
        let patience = u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        let until = time::monotonic().saturating_add(patience);
        let talks = sockets.into_iter().map(|socket| socket.map(talk)).collect();
        let mut this = Self { talks, answers, until };
        for i in 0..this.talks.len() {
            this.go_on(i);
            // Where nobody listens now, nobody is waited for.
            this.talks[i] = this.talks[i].take().filter(|talk| talk.raw().is_some());
        }
        this
    }

    /// Goes on with one as far as it goes without waiting.
    fn go_on(&mut self, i: usize) {
        self.answers[i] = match self.talks[i].as_mut().map(Talk::go_on) {
            None | Some(Heard::Nothing) => return,
            Some(Heard::Trouble(why)) => Exo::Refused(why),
            Some(Heard::Answer(answer)) => understand(answer),
        };
        self.talks[i] = None;
    }

    /// Waits for the answers, in the order of the sockets.
    #[must_use]
    pub fn finish(mut self) -> Vec<Exo> {
        loop {
            let raw = |i: &usize| self.talks[*i].as_ref().and_then(Talk::raw);
            let open: Vec<usize> = (0..self.talks.len()).filter(|i| raw(i).is_some()).collect();
            let mut fds: Vec<_> = open.iter().filter_map(raw).map(PollFd::readable).collect();
            let now = time::monotonic();
            if fds.is_empty() || now >= self.until {
                break;
            }
            if fd::poll(&mut fds, Some(self.until - now)).is_err() {
                break;
            }
            for (i, _) in open.into_iter().zip(&fds).filter(|(_, fd)| fd.is_ready()) {
                self.go_on(i);
            }
        }
        for (talk, answer) in self.talks.iter().zip(&mut self.answers) {
            if talk.is_some() {
                *answer = Exo::Silent;
            }
        }
        self.answers
    }
}

/// Says why a participant takes no items now and what to do, where that is so.
#[must_use]
pub fn takes_none(socket: PathBuf, name: &str) -> Option<String> {
    let exo = Asking::begin(vec![Some(socket)]).finish().pop().unwrap_or_default();
    match exo {
        Exo::Absent => {
            Some(format!("is down and takes no items; start it with: skynet start {name}"))
        }
        Exo::Silent => Some(format!("does not answer; look at it with: skynet status {name}")),
        Exo::Told(told) if told.status.state == "draining" => {
            Some(format!("is drained and takes no items; end that with: skynet resume {name}"))
        }
        Exo::Told(told) if told.status.state == "stopping" => {
            Some(format!("is ending and takes no items; start it with: skynet start {name}"))
        }
        Exo::Told(_) | Exo::Refused(_) => None,
    }
}

fn understand(mut answer: Value) -> Exo {
    let value = answer.get_mut("status").map(Value::take).unwrap_or_default();
    match Status::deserialize(&value) {
        Ok(status) => Exo::Told(Box::new(Told { value, status })),
        Err(why) => Exo::Refused(format!("exo's answer is not understood: {why}")),
    }
}

/// Each question needs a descriptor: more of them are asked for than is usual.
fn make_room(count: usize) {
    const OTHERS: u64 = 64;
    let wanted = OTHERS.saturating_add(count as u64);
    if let Ok(limit) = limit::get(Resource::OpenFiles)
        && limit.soft < wanted
    {
        // Where not even that is allowed, those that get none are told as refused.
        let _ = limit::set(Resource::OpenFiles, Limit { soft: wanted.min(limit.hard), ..limit });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn one_that_hangs_and_one_that_is_not_there_keep_nobody_from_the_others() {
        let scratch = testkit::Scratch::new();
        let path = |name: &str| scratch.join(name);
        let hangs = UnixListener::bind(path("hangs")).unwrap();
        let tells = UnixListener::bind(path("tells")).unwrap();
        drop(UnixListener::bind(path("gone")).unwrap());
        let teller = std::thread::spawn(move || {
            let (mut client, _) = tells.accept().unwrap();
            let answer = r#"{"ok":true,"status":{"state":"draining","done":7,"instances":
                [{"name":"a.0","state":"working","pid":5,"seconds":1.5,"wfid":"w","job":3,
                "attempt":1,"stopping":null,"progress":{"done":0.5,"text":null}}]}}"#;
            let line = answer.replace('\n', "") + "\n";
            std::io::Write::write_all(&mut client, line.as_bytes()).unwrap();
        });
        let sockets = ["hangs", "none", "tells", "gone"].map(|name| Some(path(name)));
        let sockets = sockets.into_iter().chain([None]).collect();
        let answers = Asking::begin(sockets).finish();
        teller.join().unwrap();
        drop(hangs);
        let [Exo::Silent, Exo::Absent, Exo::Told(told), Exo::Absent, Exo::Absent] = &*answers
        else {
            panic!("{answers:?}")
        };
        assert_eq!((&*told.status.state, told.status.done), ("draining", 7));
        let why = takes_none(path("none"), "p").unwrap();
        assert_eq!(why, "is down and takes no items; start it with: skynet start p");
        assert!(told.status.instances[0].is_busy());
        assert_eq!(told.value["done"], 7);
    }
}
