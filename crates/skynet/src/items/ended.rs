//! Waiting for jobs to end, and telling how they did.

use super::report::{About, Report};
use super::submitted::Sent;
use super::watch::Watch;
use crate::failure::{Answer, Failure, code, warn};
use crate::here::Here;
use crate::items;
use machine::work::{Kind, State};
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;
use sys::terminal;
use work::read::{Attempt, Job};
use work::{JobId, Reader, Trouble};

/// Waits for what was submitted, and writes each answer on a line as it comes.
///
/// # Errors
/// The store cannot be read.
pub fn wait(here: &Here, sent: &[Sent], deadline: Option<u64>, is_json: bool) -> Answer {
    let reader = items::reader(here)?;
    let watch = Watch::begin(here)?;
    let mut ends = Ends { here, is_json, open: BTreeMap::new(), failed: 0 };
    for sent in sent {
        match sent {
            Sent::Job { about: About { job: Some(id), .. }, .. } => {
                ends.open.insert(JobId(*id), sent.clone());
            }
            Sent::Job { about, .. } | Sent::Left(about) => {
                ends.fail(about, "left in the drop folder, since no exo of it runs");
            }
            Sent::Refused(about, why) => ends.fail(about, why),
        }
    }
    if !watch.until(&reader, deadline, |reader| ends.look(reader))? {
        for sent in std::mem::take(&mut ends.open).into_values() {
            if let Sent::Job { about, .. } = &sent {
                ends.fail(about, "not done in time; it goes on");
            }
        }
    }
    Ok(if ends.failed == 0 { 0 } else { code::FAILED })
}

struct Ends<'a> {
    here: &'a Here,
    is_json: bool,
    open: BTreeMap<JobId, Sent>,
    failed: usize,
}

impl Ends<'_> {
    fn look(&mut self, reader: &Reader) -> Result<bool, Failure> {
        let ids: Vec<JobId> = self.open.keys().copied().collect();
        for id in ids {
            let job = reader.job(id)?;
            if job.as_ref().is_some_and(|job| job.subject.state != State::Stop) {
                continue;
            }
            let sent = self.open.remove(&id);
            match (job, sent) {
                (Some(job), _) => self.tell(reader, &job)?,
                (None, Some(Sent::Job { about, .. })) => {
                    self.fail(&about, "it was cleaned away before anybody looked");
                }
                (None, _) => {}
            }
        }
        Ok(self.open.is_empty())
    }

    fn tell(&mut self, reader: &Reader, job: &Job) -> Result<(), Failure> {
        let last = reader.attempt(job.id, None)?;
        let fault = job.subject.fault;
        let is_done = fault.kind() == Kind::Done;
        let answer =
            if is_done || self.is_json { answer(reader, job, last.as_ref()) } else { Ok(None) };
        let answer = match answer {
            Ok(answer) => answer,
            // The others are whole, and this one has failed whatever it said.
            Err(Trouble::Spoilt { .. }) if !is_done => None,
            Err(why @ Trouble::Spoilt { .. }) => {
                self.fail(&job.into(), &why.to_string());
                return Ok(());
            }
            Err(why) => return Err(why.into()),
        };
        let text = last.and_then(|last| last.text);
        if self.is_json {
            return self.object(job, text.as_deref(), answer.as_deref());
        }
        match fault.kind() {
            Kind::Done => return put(&answer.unwrap_or_default()),
            Kind::Cancelled => self.fail(&job.into(), "cancelled"),
            Kind::Retryable | Kind::Final => {
                let text = text.unwrap_or_default();
                self.fail(&job.into(), &format!("fault {}: {text}", fault.0));
            }
        }
        Ok(())
    }

    fn object(
        &mut self,
        job: &Job,
        text: Option<&str>,
        answer: Option<&[u8]>,
    ) -> Result<(), Failure> {
        let is_done = job.subject.fault.kind() == Kind::Done;
        self.failed += usize::from(!is_done);
        let mut object = json!({
            "job": job.id.0,
            "wfid": job.wfid,
            "queue": job.queue,
            "ok": is_done,
            "result": match job.subject.fault.kind() {
                Kind::Done => "done",
                Kind::Cancelled => "cancelled",
                Kind::Retryable | Kind::Final => "failed",
            },
            "fault": job.subject.fault.0,
            "error": text.filter(|_| !is_done),
        })
        .to_string();
        // As it came: digits of numbers are not ours to change.
        if let Some(raw) = answer.and_then(|bytes| serde_json::from_slice::<&RawValue>(bytes).ok())
        {
            object.pop();
            let _ = write!(object, ",\"answer\":{}}}", raw.get().replace(['\n', '\r'], " "));
        }
        self.here.screen.put(&(object + "\n"))
    }

    fn fail(&mut self, about: &About, why: &str) {
        if self.is_json {
            let mut report = Report::new(self.here, true);
            report.failed(about, why);
        } else {
            warn(&format!("{}: {why}", about.words()));
        }
        self.failed += 1;
    }
}

/// Returns how an item came back: as the last attempt left it, else where it is done as it was.
fn answer(reader: &Reader, job: &Job, last: Option<&Attempt>) -> Result<Option<Vec<u8>>, Trouble> {
    if let Some(last) = last
        && let Some(own) = reader.output(job.id, last.number)?
    {
        return Ok(Some(own));
    }
    if job.subject.fault.kind() == Kind::Done { reader.item(job.id) } else { Ok(None) }
}

/// Writes an answer on a line.
fn put(answer: &[u8]) -> Result<(), Failure> {
    let flat: Vec<u8> = answer
        .iter()
        .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
        .collect();
    terminal::put_line(1, &flat).map_err(|why| Failure::errno("write", "output", why))
}
