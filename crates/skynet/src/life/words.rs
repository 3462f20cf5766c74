//! The lines that say how it went.

use crate::here::Here;
use crate::look::lines;
use crate::screen::{Tone, clean};
use crate::service::Service;
use daemontools::control::Refusal;
use daemontools::observe::Snapshot;
use ondisk::names::SUPERVISE;
use ondisk::record::{Exit, Phase};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use sys::account;
use sys::linux::errno::Errno;
use sys::linux::file::flags::{EACCES, EPERM};

/// Says a line: a name, and how it stands.
pub(super) fn put(here: &Here, name: &str, text: &str) {
    write(here, name, text, Tone::Plain);
}

/// The same of what did not get there.
pub(super) fn put_failed(here: &Here, name: &str, text: &str) {
    write(here, name, text, Tone::Bad);
}

fn write(here: &Here, name: &str, text: &str, tone: Tone) {
    let text = clean(text);
    let line = format!("{}: {}\n", clean(name), here.screen.paint(&text, tone));
    // Nobody need be reading, and what was begun goes on.
    let _ = here.screen.put(&line);
}

/// Returns the pid of a service that runs.
pub(super) fn pid(snapshot: &Snapshot) -> Option<u32> {
    snapshot.half.map(|half| half.status.pid).filter(|pid| *pid != 0 && snapshot.kept)
}

/// Says how the last life ended.
pub(crate) fn last_exit(snapshot: &Snapshot) -> String {
    if !snapshot.kept {
        return "its supervise is gone".to_owned();
    }
    match snapshot.record.map(|record| record.last_exit) {
        Some(Exit::Code(code)) => format!("run ended with exit code {code}"),
        Some(Exit::Signal(signal)) => format!("run was ended by signal {signal}"),
        Some(Exit::NotRun(errno)) => format!("unable to run run: {}", Errno(errno)),
        Some(Exit::None | Exit::Unknown) | None => "run ended".to_owned(),
    }
}

/// Says what a service does.
pub(super) fn state(snapshot: &Snapshot) -> String {
    if !snapshot.kept {
        return "no supervise keeps it".to_owned();
    }
    match snapshot.phase() {
        Some(Phase::Running) => {
            pid(snapshot).map_or_else(|| "it runs".to_owned(), |pid| format!("it runs, pid {pid}"))
        }
        Some(Phase::Starting) => "its start script runs".to_owned(),
        Some(Phase::Stopping) => "its stop script runs".to_owned(),
        Some(Phase::Due) => format!("a start is due, {}", last_exit(snapshot)),
        Some(Phase::Failed) => "it has failed".to_owned(),
        Some(Phase::Started) => "it is started".to_owned(),
        Some(Phase::Down) | None => "it is down".to_owned(),
    }
}

/// Returns the file with what a service said last.
pub(super) fn log_of(here: &Here, service: &Service, dir: &Path) -> String {
    let log = lines::log_of(here, service, dir);
    log.map_or_else(
        || "none yet".to_owned(),
        |log| log.folder.join("current").display().to_string(),
    )
}

/// Says why the supervise of a directory took no order.
pub(super) fn refusal(dir: &Path, why: Refusal) -> String {
    match why {
        Refusal::NotRunning => "no supervise keeps it".to_owned(),
        Refusal::NotFifo => "supervise/control is no FIFO".to_owned(),
        Refusal::Untrusted => "supervise is a symbolic link that others can change".to_owned(),
        Refusal::Full => "its supervise does not listen: control pipe is full".to_owned(),
        Refusal::Chdir(why) | Refusal::Open(why) | Refusal::Write(why) => refused(dir, why),
    }
}

/// Says what the system answered, and who may where we may not.
pub(super) fn refused(dir: &Path, why: Errno) -> String {
    let who = if matches!(why.0, EACCES | EPERM) { who_may(dir) } else { String::new() };
    format!("unable to control it: {why}{who}")
}

/// Returns who may give orders to a service, who owns its supervise folder: `; NAME may`.
fn who_may(dir: &Path) -> String {
    let folder = dir.join(OsStr::from_bytes(SUPERVISE.to_bytes()));
    let owner = fs::metadata(folder).or_else(|_| fs::metadata(dir)).ok().map(|stat| stat.uid());
    let Some(uid) = owner.filter(|uid| *uid != 0) else { return "; root may".to_owned() };
    let name = account::name_of(uid).map(|name| String::from_utf8_lossy(&name).into_owned());
    format!("; root and {} may", name.unwrap_or_else(|| uid.to_string()))
}

/// An instance of a participant, as its exo tells.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) failure: Option<String>,
}

/// Reads exo's status.
pub(super) fn instances(status: &Value) -> Vec<Instance> {
    let all = status.get("instances").and_then(Value::as_array);
    all.map(|all| all.iter().map(instance).collect()).unwrap_or_default()
}

fn instance(value: &Value) -> Instance {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let state = text("state").unwrap_or_default();
    let pid = value.get("pid").and_then(Value::as_u64);
    let pid = pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
    let item = text("wfid").map(|wfid| format!(" on {wfid}")).unwrap_or_default();
    let next = value.get("next_start").and_then(Value::as_f64);
    let next = next.map(|left| format!("its program ended; next start in {left:.1} s"));
    let failure = text("start_failure").or(next);
    Instance {
        name: text("name").unwrap_or_default(),
        text: format!("{state}{item}{pid}"),
        failure,
    }
}
