//! All that is known of one service.

use super::asking::{Exo, Instance};
use super::lines::{self, Log, Said};
use super::overview;
use super::processes::Usage;
use super::state::State;
use super::{Seen, Sight, words};
use crate::here::Here;
use daemontools::json::iso8601;
use ondisk::record::{Exit, Record};
use ondisk::tai64n::Stamp;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use sys::linux::time::SECOND;
use work::read::Failure;

/// Last failures that are shown.
const FAILURES: u32 = 3;
/// Lines before a death that are shown.
const LAST_WORDS: usize = 5;
/// Processes of a service that are shown one by one.
const PROCESSES: usize = 20;
/// Supervise starts a service at most once within this time.
const SPACING: f64 = 1.0;

/// A process, or an instance that has none now.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is for the service.
    pub role: String,
    /// Its number.
    pub pid: Option<u32>,
    /// Nanoseconds since it was started.
    pub age: Option<u64>,
    /// What it uses, with all that it started.
    pub usage: Usage,
    /// What it does.
    pub what: String,
}

/// What is known of a service.
pub struct Depth<'a> {
    /// What is seen of it without looking deeper.
    pub seen: &'a Seen,
    /// When this was.
    pub now: Stamp,
    /// Its processes.
    pub parts: Vec<Part>,
    /// Dead items of its queue.
    pub dead: Option<u64>,
    /// Its last failures, the last one first.
    pub failures: Vec<Failure>,
    /// Where its lines are.
    pub log: Option<Log>,
    /// The last of them.
    pub said: Vec<Said>,
    /// The last before it died, where these are others.
    pub last_words: Vec<Said>,
    /// What could not be read.
    pub warnings: Vec<String>,
}

impl<'a> Depth<'a> {
    /// Looks deeper at a service; shows so many lines of its log.
    #[must_use]
    pub fn of(here: &Here, sight: &Sight, seen: &'a Seen, most_lines: usize) -> Self {
        let dir = seen.service.real_dir();
        let mut depth = Self {
            seen,
            now: sight.now,
            parts: parts(sight, seen),
            dead: None,
            failures: Vec::new(),
            log: lines::log_of(here, &seen.service, &dir),
            said: Vec::new(),
            last_words: Vec::new(),
            warnings: Vec::new(),
        };
        depth.read_store(sight);
        depth.read_log(most_lines);
        depth
    }

    fn read_store(&mut self, sight: &Sight) {
        let (Ok(Some(reader)), Some(queue)) = (&sight.store, self.seen.queue_name()) else {
            return;
        };
        let failures = reader.last_failures(queue, FAILURES);
        match reader.dead_of(queue).and_then(|dead| Ok((dead, failures?))) {
            Ok((dead, failures)) => (self.dead, self.failures) = (Some(dead), failures),
            Err(why) => self.warnings.push(why.to_string()),
        }
    }

    fn read_log(&mut self, most: usize) {
        let Some(log) = &self.log else { return };
        match lines::last(&log.folder, None, most) {
            Ok(said) => self.said = said,
            Err(why) => self.warnings.push(why),
        }
        // What it said before it died is worth a look, unless that is among the last lines anyway.
        let died = self.died().filter(|_| self.last_exit().is_some_and(|exit| !is_calm(exit)));
        let oldest = self.said.first().and_then(|said| said.time);
        if let (Some(died), Some(oldest)) = (died, oldest)
            && died < oldest
        {
            // Its logger may have read the last of it a moment later; what it says in its next life,
            // which comes at once where the last one was long enough, is something else.
            let later = Stamp::from_unix(died.unix_seconds() + 1, died.nanos);
            let lives = self.record().filter(|record| record.process.pid != 0);
            let next = lives.map(|record| record.since).filter(|since| died < *since);
            let until = next.filter(|since| *since < later).unwrap_or(later);
            self.last_words = lines::last(&log.folder, Some(until), LAST_WORDS).unwrap_or_default();
        }
    }

    fn record(&self) -> Option<&Record> {
        self.seen.now.record.as_ref()
    }

    /// Returns when it last died.
    #[must_use]
    pub fn died(&self) -> Option<Stamp> {
        self.record().and_then(|record| record.died)
    }

    /// Returns how.
    #[must_use]
    pub fn last_exit(&self) -> Option<Exit> {
        self.record().map(|record| record.last_exit).filter(|exit| *exit != Exit::None)
    }

    /// Returns within how many seconds it is started again, where that is due.
    #[must_use]
    pub fn next_start(&self) -> Option<f64> {
        if self.seen.state != State::Retrying {
            return None;
        }
        let since = |died: Stamp| {
            #[allow(clippy::cast_precision_loss)]
            let whole = died.seconds_until(self.now) as f64;
            whole + f64::from(self.now.nanos) / 1e9 - f64::from(died.nanos) / 1e9
        };
        Some((SPACING - self.died().map_or(0.0, since)).clamp(0.0, SPACING))
    }

    /// Returns all of it as an object.
    #[must_use]
    pub fn object(&self) -> Value {
        let mut all = overview::object(self.seen, self.now);
        let more = self.more();
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
        all
    }

    fn more(&self) -> Value {
        let service = &self.seen.service;
        let queue = self.seen.queue.as_ref();
        let oldest = queue.and_then(|queue| queue.oldest.as_ref());
        let logger = self.seen.log.as_ref();
        json!({
            "origin": service.origin.word(),
            "directory": service.dir.to_string_lossy(),
            "log_directory": self.log.as_ref().map(|log| path(&log.folder)),
            "log_is_shared": self.log.as_ref().map(|log| log.is_shared),
            "logger_up": logger.map(daemontools::observe::Snapshot::is_up),
            "next_start": self.next_start(),
            "last_exit": self.last_exit().map(|exit| exit_object(exit, self.died())),
            "queue": self.seen.queue_name(),
            // All of them were counted.
            "waiting_is_more": queue.map(|_| false),
            "later": queue.map(|queue| queue.later),
            "dead": self.dead,
            "oldest_wfid": oldest.map(|oldest| &oldest.wfid),
            "oldest_job": oldest.map(|oldest| oldest.job.0),
            "exo": match &self.seen.exo { Exo::Told(told) => told.value.clone(), _ => Value::Null },
            "processes": self.parts.iter().map(part_object).collect::<Vec<_>>(),
            "failures": self.failures.iter().map(failure_object).collect::<Vec<_>>(),
            "log": self.said.iter().map(said_object).collect::<Vec<_>>(),
            "last_words": self.last_words.iter().map(said_object).collect::<Vec<_>>(),
        })
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Tells whether a service that ends so was told to, as a rule.
fn is_calm(exit: Exit) -> bool {
    matches!(exit, Exit::None | Exit::Code(0) | Exit::Signal(15))
}

fn exit_object(exit: Exit, died: Option<Stamp>) -> Value {
    let (kind, number) = match exit {
        Exit::Code(code) => ("code", Some(code)),
        Exit::Signal(signal) => ("signal", Some(signal)),
        Exit::NotRun(errno) => ("not-run", Some(errno)),
        Exit::Unknown | Exit::None => ("unknown", None),
    };
    json!({ "kind": kind, "number": number, "at": died.and_then(iso8601) })
}

fn part_object(part: &Part) -> Value {
    json!({
        "role": part.role,
        "pid": part.pid,
        "seconds": part.age.map(|age| age / SECOND),
        "memory": part.usage.memory,
        "cpu": Duration::from_nanos(part.usage.cpu).as_secs_f64(),
        "what": part.what,
    })
}

fn failure_object(failure: &Failure) -> Value {
    json!({
        "at": at(failure).and_then(iso8601),
        "wfid": failure.wfid,
        "job": failure.job.0,
        "attempt": failure.attempt,
        "instance": failure.instance,
        "fault": failure.fault.map(|fault| fault.0),
        "code": failure.code,
        "signal": failure.signal,
        "text": failure.text,
    })
}

/// Returns when a failure was.
#[must_use]
pub fn at(failure: &Failure) -> Option<Stamp> {
    let micros = failure.ended.0;
    let nanos = u32::try_from(micros.rem_euclid(1_000_000)).ok()? * 1000;
    Some(Stamp::from_unix(micros.div_euclid(1_000_000), nanos))
}

fn said_object(said: &Said) -> Value {
    json!({ "at": said.time.and_then(iso8601), "text": said.text })
}

/// Lists the processes of a service: supervise, what it keeps, and the children of that.
fn parts(sight: &Sight, seen: &Seen) -> Vec<Part> {
    let mut parts = Vec::new();
    let supervise = seen.now.record.filter(|_| seen.now.kept).map(|record| record.supervisor.pid);
    parts.extend(supervise.map(|pid| alone(sight, "supervise", pid)));
    match &seen.exo {
        Exo::Told(told) => parts.extend(exo(sight, seen, &told.status.instances)),
        _ => parts.extend(service(sight, seen)),
    }
    let logger = seen.log.as_ref().filter(|log| log.is_up()).and_then(|log| log.half);
    parts.extend(logger.map(|half| whole(sight, "logger", half.status.pid)));
    parts
}

fn service(sight: &Sight, seen: &Seen) -> Vec<Part> {
    let Some(pid) = seen.pid() else { return Vec::new() };
    let children: Vec<u32> = sight.processes.children(pid).map(|child| child.pid).collect();
    let shown = &children[..children.len().min(PROCESSES)];
    let mut parts = vec![alone(sight, "service", pid)];
    parts.extend(shown.iter().map(|child| whole(sight, "child", *child)));
    if children.len() > shown.len() {
        let used = children[shown.len()..].iter().map(|pid| sight.processes.usage_of_all(*pid));
        let usage = used.fold(Usage::default(), Usage::and);
        let what = format!("{} more children", children.len() - shown.len());
        parts.push(Part { role: "others".into(), pid: None, age: None, usage, what });
    }
    parts
}

/// exo: its keeper, its worker, and the participant's processes, which are the keeper's children.
fn exo(sight: &Sight, seen: &Seen, instances: &[Instance]) -> Vec<Part> {
    let mut parts = Vec::new();
    if let Some(keeper) = seen.pid() {
        parts.push(alone(sight, "keeper", keeper));
        let is_worker = |name: &[u8]| name == b"exo-worker";
        let children = || sight.processes.children(keeper);
        let workers = children().filter(|child| is_worker(child.name()));
        parts.extend(workers.map(|worker| whole(sight, "worker", worker.pid)));
        let is_told = |pid: u32| instances.iter().any(|one| one.pid == Some(pid));
        let others = children().filter(|child| !is_worker(child.name()) && !is_told(child.pid));
        parts.extend(others.take(PROCESSES).map(|child| whole(sight, "left behind", child.pid)));
    }
    parts.extend(instances.iter().map(|instance| {
        let part = match instance.pid {
            Some(pid) => whole(sight, &instance.name, pid),
            None => Part {
                role: instance.name.clone(),
                pid: None,
                age: None,
                usage: Usage::default(),
                what: String::new(),
            },
        };
        Part { what: activity(instance), ..part }
    }));
    parts
}

/// A process with all that it started.
fn whole(sight: &Sight, role: &str, pid: u32) -> Part {
    let usage = sight.processes.counted_of_all(pid);
    Part { usage, ..alone(sight, role, pid) }
}

/// A process by itself.
fn alone(sight: &Sight, role: &str, pid: u32) -> Part {
    let process = sight.processes.look(pid);
    let name = process.map(|process| String::from_utf8_lossy(process.name()).into_owned());
    Part {
        role: role.to_owned(),
        pid: Some(pid),
        age: process.map(|process| sight.processes.age(&process)),
        usage: sight.processes.counted(pid),
        what: name.unwrap_or_default(),
    }
}

/// Says what an instance does.
#[must_use]
pub fn activity(instance: &Instance) -> String {
    if let Some(why) = &instance.start_failure {
        return format!("not started: {why}");
    }
    if let Some(left) = instance.next_start {
        return format!("its program ended; next start in {left:.1}s");
    }
    let Some(wfid) = &instance.wfid else { return instance.state.clone() };
    let seconds = Duration::try_from_secs_f64(instance.seconds).unwrap_or_default().as_secs();
    let mut text = format!("{wfid} for {}", words::span(seconds));
    if let Some(progress) = &instance.progress {
        if let Some(done) = progress.done {
            let _ = write!(text, ", {:.0}%", done * 100.0);
        }
        if let Some(said) = &progress.text {
            let _ = write!(text, ", {said}");
        }
    }
    if let Some(job) = instance.job {
        let _ = write!(text, " (job {job}, attempt {})", instance.attempt.unwrap_or(1));
    }
    if let Some(why) = &instance.stopping {
        let _ = write!(text, "; told to stop: {why}");
    }
    text
}
