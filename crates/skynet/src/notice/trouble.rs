//! What went wrong: read out of the record of a supervise, of a store, and of what an exo says.

use exo::config::notice::Kind;
use ondisk::record::{Exit, Phase, Record};
use ondisk::tai64n::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sys::linux::errno::Errno;

/// Longest signature and text, in characters.
const LONGEST: usize = 500;

/// Trouble that happened, perhaps several times.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The service; with `/log` behind it, its logger.
    pub service: String,
    /// A word of [`Kind`].
    pub kind: String,
    /// What is the same about trouble with the same cause.
    pub signature: String,
    /// What happened, for people.
    pub text: String,
    /// How often.
    pub times: u64,
    /// When: seconds since 1970, and nanoseconds.
    pub at: (i64, u32),
    /// How a process ended.
    pub death: Option<Death>,
    /// Items that were in hand, as far as whoever told it knew them.
    pub items: Vec<Item>,
}

/// How a service's process ended, as its record says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// Number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Why it could not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Starts after the first.
    pub restarts: u64,
}

/// A work item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Process that it belongs to.
    pub wfid: String,
    /// Its number as a job.
    pub job: Option<i64>,
    /// Which try.
    pub attempt: Option<u32>,
    /// Who had it.
    pub instance: Option<String>,
}

impl Trouble {
    /// Returns its kind; `None` = it is of a kind that this program does not know, or a trial.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::from_word(&self.kind)
    }

    /// Returns what names its group.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}\n{}\n{}", self.service, self.kind, self.signature)
    }

    fn new(service: &str, kind: Kind, signature: &str, text: &str) -> Self {
        let short = |text: &str| text.chars().take(LONGEST).collect();
        Self {
            service: service.to_owned(),
            kind: kind.word().to_owned(),
            signature: short(signature),
            text: short(text),
            times: 1,
            ..Self::default()
        }
    }
}

/// What is known of a service's record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Label of the last death.
    died: Option<String>,
    /// How many deaths there were.
    deaths: u64,
    /// Label of the last change of the pid.
    since: String,
    /// It had failed for good.
    failed: bool,
}

fn label(stamp: Stamp) -> String {
    String::from_utf8_lossy(&stamp.to_label()).into_owned()
}

impl Seen {
    /// Notes a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        let is_dead = record.phase != Phase::Running && record.died.is_some();
        Self {
            died: record.died.map(label),
            deaths: record.restarts + u64::from(is_dead),
            since: label(record.since),
            failed: record.phase == Phase::Failed,
        }
    }
}

/// Tells what went wrong with a service between two looks at its record. `before`: the first one;
/// `None` = it was not looked at yet, and what is older than `begun` is not told.
#[must_use]
pub fn of_record(
    service: &str,
    before: Option<&Seen>,
    record: &Record,
    begun: Stamp,
) -> Option<Trouble> {
    let now = Seen::of(record);
    let is_new = |stamp: Stamp, known: Option<&String>| match before {
        Some(_) => known.is_none_or(|known| *known != label(stamp)),
        None => stamp > begun,
    };
    if let Exit::NotRun(errno) = record.last_exit
        && record.process.pid == 0
        && matches!(record.phase, Phase::Due | Phase::Failed)
    {
        let why = Errno(errno).to_string();
        let is_again = is_new(record.since, before.map(|before| &before.since));
        let text = format!("unable to run it: {why}");
        let found = Trouble::new(service, Kind::NotUp, &text, &text);
        let error = Some(why);
        return is_again
            .then(|| found.with_death(record, record.since, Death { error, ..Death::default() }));
    }
    let died =
        record.died.filter(|died| is_new(*died, before.and_then(|seen| seen.died.as_ref())))?;
    if record.asked {
        return None;
    }
    let (signature, text, death) = match record.last_exit {
        // It ended as one does that has done its work.
        Exit::Code(0) | Exit::None | Exit::NotRun(_) => return None,
        Exit::Code(code) => {
            let death = Death { code: Some(code), ..Death::default() };
            (format!("exit {code}"), format!("it ended with exit code {code}"), death)
        }
        Exit::Signal(signal) => {
            let death = Death { signal: Some(signal), ..Death::default() };
            let name = signal_name(signal);
            (format!("signal {signal}"), format!("signal {signal}{name} ended it"), death)
        }
        Exit::Unknown => {
            let text = "it ended, and nobody knows how: an earlier supervise had started it";
            ("end unknown".to_owned(), text.to_owned(), Death::default())
        }
    };
    let kind = if now.failed { Kind::NotUp } else { Kind::Crash };
    let text = if now.failed { format!("{text}, and is not started again") } else { text };
    // Counted anew by another supervise.
    let known = before.map_or(0, |before| before.deaths);
    let times = if now.deaths > known { now.deaths - known } else { 1 };
    let found = Trouble { times, ..Trouble::new(service, kind, &signature, &text) };
    Some(found.with_death(record, died, death))
}

impl Trouble {
    fn with_death(self, record: &Record, at: Stamp, death: Death) -> Self {
        let death = Some(Death { restarts: record.restarts, ..death });
        Self { at: (at.unix_seconds(), at.nanos), death, ..self }
    }
}

/// Names the signals by which programs end as a rule.
const fn signal_name(signal: i32) -> &'static str {
    match signal {
        4 => " (ILL)",
        6 => " (ABRT)",
        7 => " (BUS)",
        8 => " (FPE)",
        9 => " (KILL)",
        11 => " (SEGV)",
        13 => " (PIPE)",
        15 => " (TERM)",
        24 => " (XCPU)",
        25 => " (XFSZ)",
        31 => " (SYS)",
        _ => "",
    }
}

/// How far the troubles of an exo are known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenExo {
    /// Names the exo.
    pub life: String,
    /// So many.
    pub troubles: u64,
}

impl SeenExo {
    /// Tells whether it began behind this moment, as its name says.
    #[must_use]
    pub fn began_behind(&self, moment: Stamp) -> bool {
        let mut parts = self.life.split('.');
        let seconds = parts.next().and_then(|part| part.parse().ok()).unwrap_or(i64::MAX);
        let nanos = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Stamp::from_unix(seconds, nanos) > moment
    }
}

/// One of an exo's troubles, as it says them.
#[derive(Debug, Deserialize)]
struct Said {
    number: u64,
    kind: String,
    instance: Option<String>,
    how: String,
    line: Option<String>,
    wfid: Option<String>,
    job: Option<i64>,
    attempt: Option<u32>,
}

/// Reads the status of an exo: how far its troubles are known then, and those that are new.
#[must_use]
pub fn of_exo(
    service: &str,
    before: Option<&SeenExo>,
    status: &Value,
    at: (i64, u32),
) -> Option<(SeenExo, Vec<Trouble>)> {
    let life = status.get("life")?.as_str()?.to_owned();
    let troubles = status.get("troubles")?.as_u64()?;
    let known = before.filter(|before| before.life == life).map_or(0, |before| before.troubles);
    let said = status.get("last_troubles").cloned().unwrap_or_default();
    let said: Vec<Said> = serde_json::from_value(said).unwrap_or_default();
    let mut new: Vec<Said> = said.into_iter().filter(|said| said.number > known).collect();
    new.sort_by_key(|said| said.number);
    let mut found: Vec<Trouble> = new.into_iter().map(|said| of_said(service, said, at)).collect();
    // Those that exo remembers no more were before the first.
    let missed = troubles.saturating_sub(known).saturating_sub(found.len() as u64);
    if let Some(first) = found.first_mut() {
        first.times += missed;
    }
    Some((SeenExo { life, troubles }, found))
}

fn of_said(service: &str, said: Said, at: (i64, u32)) -> Trouble {
    let who = said.instance.as_deref().unwrap_or(service);
    let kind = if said.kind == "not-started" { Kind::NotUp } else { Kind::Disconnected };
    let mut text = match said.kind.as_str() {
        "queue" => format!("the queue cannot be reached: {}", said.how),
        "not-started" => format!("{who} does not start: {}", said.how),
        _ => format!("{who} went away: {}", said.how),
    };
    if let Some(line) = said.line.filter(|line| !line.is_empty()) {
        text = format!("{text}; its last line: {line}");
    }
    let signature = exo::signature::signature(&said.how, &[], "");
    let item = said.wfid.map(|wfid| Item {
        wfid,
        job: said.job,
        attempt: said.attempt,
        instance: said.instance,
    });
    let items = item.into_iter().collect();
    Trouble { at, items, ..Trouble::new(service, kind, &signature, &text) }
}

/// A dead item, as the store says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dead {
    /// Its number.
    pub id: i64,
    /// Where it came from.
    pub queue: String,
    /// The job it was.
    pub job: Option<i64>,
    /// Process that it belonged to.
    pub wfid: Option<String>,
    /// What is wrong with it.
    pub fault: u16,
    /// The same, for people.
    pub reason: String,
    /// Class of its last fault.
    pub signature: Option<String>,
    /// When: seconds since 1970, and nanoseconds.
    pub at: (i64, u32),
}

/// Tells of a dead item. `service`: whose queue it was in.
#[must_use]
pub fn of_dead(service: &str, dead: &Dead) -> Trouble {
    let signature = dead.signature.clone().filter(|signature| !signature.is_empty());
    let signature = signature.unwrap_or_else(|| exo::signature::signature("", &[], &dead.reason));
    let wfid = dead.wfid.as_deref().unwrap_or("an item that is none");
    let text = format!("{wfid} was put away, fault {}: {}", dead.fault, dead.reason);
    let item = Item { job: dead.job, wfid: wfid.to_owned(), ..Item::default() };
    let items = vec![item];
    Trouble { at: dead.at, items, ..Trouble::new(service, Kind::DeadItem, &signature, &text) }
}

#[cfg(test)]
mod tests;
