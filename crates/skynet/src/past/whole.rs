//! All that is known of one job.

use super::{object, user};
use crate::failure::Failure;
use crate::moment;
use std::collections::BTreeMap;
use work::read::{Act, Attempt, Details, Job, Waiting};
use work::{JobId, Reader, Trouble, Wall};

/// All of a job.
#[derive(Clone, Debug)]
pub struct Whole {
    /// What stands in every list.
    pub job: Job,
    /// What does not.
    pub details: Details,
    /// With their outputs where items were asked for.
    pub attempts: Vec<Attempt>,
    /// What people asked for it, and what rules did.
    pub acts: Vec<Act>,
    /// What keeps it from being taken, if it is ready.
    pub waits_for: Option<String>,
    /// The job and the attempt that it is the answer of, where it is one.
    pub answer_of: Option<(JobId, u32)>,
    /// Its item, where that was asked for.
    pub item: Option<Vec<u8>>,
    /// What of it is damaged.
    pub flaws: Vec<String>,
}

/// Whether items and outputs are read, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// They are.
    With,
    /// They are not.
    Without,
}

/// Reads all of a job; `None` = it is gone.
///
/// # Errors
/// The store cannot be used.
pub fn read(reader: &Reader, job: Job, items: Items) -> Result<Option<Whole>, Failure> {
    let Some(details) = reader.details(job.id)? else { return Ok(None) };
    let mut attempts = reader.tries(job.id)?;
    let (mut item, mut flaws) = (None, Vec::new());
    if items == Items::With {
        item = whole(reader.item(job.id), &mut flaws)?;
        for attempt in &mut attempts {
            attempt.output = whole(reader.output(job.id, attempt.number), &mut flaws)?;
        }
    }
    let acts = reader.acts(job.id)?;
    let waits_for = waiting(reader, &job, &details)?;
    let answer_of = reader.answer_of(&job)?;
    Ok(Some(Whole { job, details, attempts, acts, waits_for, answer_of, item, flaws }))
}

/// One item that is damaged is told, and all others are shown.
fn whole(
    read: Result<Option<Vec<u8>>, Trouble>,
    flaws: &mut Vec<String>,
) -> Result<Option<Vec<u8>>, Failure> {
    match read {
        Ok(bytes) => Ok(bytes),
        Err(why @ Trouble::Spoilt { .. }) => {
            flaws.push(why.to_string());
            Ok(None)
        }
        Err(why) => Err(why.into()),
    }
}

fn waiting(reader: &Reader, job: &Job, details: &Details) -> Result<Option<String>, Failure> {
    let Some(why) = reader.why_waiting(job.id)? else { return Ok(None) };
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    Ok(Some(match why {
        Waiting::NotReady => return Ok(None),
        Waiting::Nothing => "an instance that is free, and others that come before it".to_owned(),
        Waiting::Taken => "the item before it: an instance has it at hand".to_owned(),
        Waiting::Delay => {
            let due = job.due.map(moment::full).unwrap_or_default();
            format!("the end of its delay, {due}")
        }
        Waiting::Label => format!("its label \"{}\", which is not active", job.label),
        Waiting::Request => format!("its request {}, held or failed", name(&details.request)),
        Waiting::Dependency => {
            let names = details.dependency.as_ref().map(|names| names.join(" "));
            format!("{}, which is not done", names.unwrap_or_default())
        }
        Waiting::Child => "a child of it that has not stopped".to_owned(),
        Waiting::Room => {
            "the end of other large items: there is memory for 16 MiB of those in hand at \
                          once"
                .to_owned()
        }
        Waiting::Broker => {
            "RabbitMQ, which has it again: whoever gets it next may be another machine".to_owned()
        }
        Waiting::Sending => {
            "its exo, which sends it to RabbitMQ again as soon as it runs and is connected"
                .to_owned()
        }
        Waiting::Lock => {
            format!("its lock \"{}\", which {} has", name(&details.key), name(&details.locked_by))
        }
    }))
}

impl Whole {
    /// Returns it as JSON, in a line.
    #[must_use]
    pub fn line(&self) -> String {
        let whole = object::of_whole(self);
        object::line(&object::of_job(&self.job, Some(whole)))
    }

    /// Returns what is said of it besides its attempts and its item: words and values.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let (job, details) = (&self.job, &self.details);
        let state = match super::state_word(job) {
            "failed" => format!("failed with fault {}", job.subject.fault.0),
            state if job.subject.fault.0 != 0 && state == "ready" => {
                format!("ready, to be tried again after fault {}", job.subject.fault.0)
            }
            state => state.to_owned(),
        };
        let by = user(job.owner).map(|user| format!(" by {user}")).unwrap_or_default();
        let label = (!job.label.is_empty()).then(|| job.label.clone());
        let priority = (job.priority != 0).then(|| job.priority.to_string());
        let answer = details.reply_to.as_ref().map(|queue| {
            format!("to {queue}, {}", if details.answered { "sent" } else { "not sent" })
        });
        let answer_of = self.answer_of.map(|(job, n)| format!("job {}, attempt {n}", job.0));
        let known = [
            ("job", Some(job.id.0.to_string())),
            ("participant", Some(job.queue.clone())),
            ("wfid", Some(job.wfid.clone())),
            ("name", Some(job.identity.clone())),
            ("state", Some(state)),
            ("waits for", self.waits_for.clone()),
            ("submitted", Some(moment::full(job.submitted) + &by)),
            ("changed", Some(moment::full(job.changed))),
            ("answer", answer),
            ("label", label),
            ("priority", priority),
            ("stage", job.stage.clone()),
            ("lock", details.key.clone()),
            ("request", details.request.clone()),
            ("answer of", answer_of),
            ("child of", details.parent.map(|parent| format!("job {}", parent.0))),
            ("depends on", details.dependency.as_ref().map(|names| names.join(" "))),
            ("item", Some(format!("{} bytes", details.size))),
        ];
        let known = known.into_iter();
        known.filter_map(|(word, value)| value.map(|value| (word, value))).collect()
    }

    /// Returns the last moment at which the item became one that can be taken, before each attempt.
    pub(super) fn waited_since(&self) -> BTreeMap<u32, Wall> {
        let mut since = BTreeMap::new();
        let mut last = self.job.submitted;
        for attempt in &self.attempts {
            since.insert(attempt.number, last);
            last = attempt.ended.unwrap_or(last);
        }
        since
    }
}

/// Returns who asked, or made the rule.
pub(super) fn asker(act: &Act) -> String {
    if act.by.name.is_empty() { act.by.uid.to_string() } else { act.by.name.clone() }
}

/// Returns what was asked for a job, in words.
#[must_use]
pub fn asked(act: &Act) -> String {
    let by = asker(act);
    let mut said = match act.rule {
        Some(rule) => format!("{} by rule {} of {by}", act.what, rule.0),
        None => format!("{} asked for by {by}", act.what),
    };
    if let Some(detail) = &act.detail {
        said.push_str(": ");
        said.push_str(detail);
    }
    said
}

/// Returns what an attempt took, for people; nothing where it is not known.
#[must_use]
pub fn usage(attempt: &Attempt) -> String {
    let cpu = attempt.cpu_us.map(|us| format!("cpu {}", moment::span(us.unsigned_abs())));
    let peak = attempt.peak_kib.map(|kib| format!("memory {}", memory(kib)));
    [cpu, peak].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn memory(kib: i64) -> String {
    match kib {
        0..1024 => format!("{kib} KiB"),
        1024..1_048_576 => format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024),
        _ => format!("{}.{} GiB", kib >> 20, (kib >> 10) % 1024 * 10 / 1024),
    }
}
