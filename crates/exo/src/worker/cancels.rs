//! Cancels of a process: of all its items here, a part of them in each turn of the loop, so that whoever
//! else asks and whoever works is served in between.

use super::control::{PROMPT, Waited};
use super::{Worker, now};
use crate::control::{Answer, code_of};
use ::log::info;
use machine::time::{Mono, earlier};
use machine::work::Fault;
use participant::protocol::Flavour;
use std::collections::HashSet;
use std::time::Duration;
use sys::linux::socket::Peer;
use work::read::{Met, Wanted};
use work::{Applied, Asked, By, JobId, Reader, Refused};

/// Names of a process that are looked at in a turn of the loop.
const LOOKED_AT: u32 = 1000;
/// Cancels that go on at once, whether somebody waits for what comes of them or not.
const MOST: usize = 32;
/// Whoever asked hears by then how far it is: who asks by exo control waits for ten seconds.
const LONGEST: Duration = Duration::from_secs(8);

/// Cancels that go on.
#[derive(Default)]
pub(super) struct Cancels {
    all: Vec<Cancel>,
    /// How many there were.
    count: u64,
}

struct Cancel {
    number: u64,
    by: By,
    wfid: String,
    expid: Option<String>,
    why: Fault,
    /// The last job of the store when it was asked for: what came since is not meant.
    newest: JobId,
    /// Where the look at the items goes on.
    met: Option<Met>,
    /// Nothing is left to be looked at.
    is_seen: bool,
    /// Some were being cancelled already.
    has_others: bool,
    /// What is being recorded.
    tickets: HashSet<u64>,
    cancelled: u32,
    refused: Vec<String>,
    /// When whoever asked is told that it takes longer, unless something is recorded before.
    prompt: Mono,
    /// The same in any case.
    latest: Mono,
    /// It was told so.
    is_told: bool,
}

impl Cancels {
    /// Something that was asked for is recorded, or refused; `Err` where it is no cancel of ours.
    pub(super) fn made(
        &mut self,
        ticket: u64,
        made: Result<Applied, Refused>,
    ) -> Result<(), Result<Applied, Refused>> {
        let ours = self.all.iter_mut().find(|cancel| cancel.tickets.contains(&ticket));
        let Some(cancel) = ours else { return Err(made) };
        cancel.tickets.remove(&ticket);
        cancel.prompt = now().after(PROMPT);
        match made {
            Ok(_) => cancel.cancelled += 1,
            Err(why) => cancel.refused.push(why.to_string()),
        }
        Ok(())
    }

    /// Tells whether some are half done.
    pub(super) const fn go_on(&self) -> bool {
        !self.all.is_empty()
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let each = self.all.iter().map(|cancel| {
            if cancel.tickets.is_empty() {
                return Some(Mono(0));
            }
            earlier(Some(cancel.prompt), Some(cancel.latest)).filter(|_| !cancel.is_told)
        });
        each.fold(None, earlier)
    }
}

impl Cancel {
    /// Looks at the next part of the items, and returns those that are to be cancelled.
    fn look(&mut self, reader: &Reader, queue: &str) -> Result<Vec<JobId>, String> {
        let wanted = Wanted { wfid: &self.wfid, expid: self.expid.as_deref(), queue };
        let part = reader.open_jobs(&wanted, self.met.as_ref(), LOOKED_AT);
        let part = part.map_err(|why| why.to_string())?;
        self.is_seen = part.next.is_none();
        self.met = part.next;
        let (those, others): (Vec<_>, Vec<_>) = part
            .jobs
            .into_iter()
            .filter(|job| job.id <= self.newest)
            .partition(|job| job.subject.can_be_cancelled(self.why));
        self.has_others |= !others.is_empty();
        Ok(those.into_iter().map(|job| job.id).collect())
    }

    /// Returns what came of all of it.
    fn answer(&self) -> Answer {
        if self.cancelled > 0 || !self.refused.is_empty() {
            return Answer::cancelled(self.cancelled, &self.refused);
        }
        let wfid = &self.wfid;
        Answer::failed(&if self.has_others {
            format!("what there is of {wfid} is being cancelled here")
        } else {
            format!("no item of {wfid} waits or is worked on here")
        })
    }
}

impl Worker {
    /// Begins to cancel the items of a process that wait in our queue or are in hand here. Whoever asks
    /// is answered once all are; at once where nothing is begun.
    pub(super) fn begin_cancel(
        &mut self,
        at: usize,
        peer: Peer,
        (wfid, expid): (&str, Option<&str>),
        flavour: Flavour,
    ) -> Option<Answer> {
        if wfid.is_empty() {
            return Some(Answer::failed("which process? Its wfid is missing"));
        }
        if self.cancels.all.len() >= MOST {
            return Some(Answer::failed("too many cancels go on already; ask again"));
        }
        let newest = match self.newest() {
            Ok(newest) => newest,
            Err(why) => return Some(Answer::failed(&why)),
        };
        info!("told by user {} to cancel the items of {wfid}", peer.uid);
        self.cancels.count += 1;
        let number = self.cancels.count;
        let now = now();
        self.cancels.all.push(Cancel {
            number,
            by: super::answer::by(peer),
            wfid: wfid.to_owned(),
            expid: expid.map(str::to_owned),
            why: code_of(flavour),
            newest,
            met: None,
            is_seen: false,
            has_others: false,
            tickets: HashSet::new(),
            cancelled: 0,
            refused: Vec::new(),
            prompt: now.after(PROMPT),
            latest: now.after(LONGEST),
            is_told: false,
        });
        self.control.let_wait(at, Waited::Cancel(number), usize::MAX);
        None
    }

    fn newest(&self) -> Result<JobId, String> {
        let reader = Reader::open(&self.control.store);
        let newest = reader.and_then(|reader| reader.jobs(None, None, 1));
        let newest = newest.map_err(|why| why.to_string())?;
        Ok(newest.first().map_or(JobId(0), |job| job.id))
    }

    /// Has the next part cancelled of what is to be, and answers where that was all.
    pub(super) fn go_on_cancelling(&mut self) {
        let mut all = std::mem::take(&mut self.cancels.all);
        all.retain_mut(|cancel| {
            let answer = self.go_on_with(cancel);
            let is_over = answer.is_some();
            let answer = answer.or_else(|| self.delayed(cancel));
            if let Some(answer) = answer {
                self.control.reached(&[Waited::Cancel(cancel.number)], &answer);
            }
            !is_over
        });
        self.cancels.all = all;
    }

    /// Returns the answer once it is over.
    fn go_on_with(&mut self, cancel: &mut Cancel) -> Option<Answer> {
        if !cancel.tickets.is_empty() {
            return None;
        }
        if !cancel.is_seen {
            let looked = Reader::open(&self.control.store).map_err(|why| why.to_string());
            let looked = looked.and_then(|reader| cancel.look(&reader, &self.settings.queue));
            match looked {
                Ok(jobs) => self.make_cancels(cancel, &jobs),
                Err(why) => {
                    let done = cancel.cancelled;
                    return Some(Answer::failed(&format!("{done} are cancelled, then: {why}")));
                }
            }
        }
        if !cancel.is_seen || !cancel.tickets.is_empty() {
            return None;
        }
        if cancel.cancelled > 0 {
            info!(
                "cancelled {} items of {}, as user {} asked",
                cancel.cancelled, cancel.wfid, cancel.by.uid
            );
        }
        Some(cancel.answer())
    }

    fn make_cancels(&mut self, cancel: &mut Cancel, jobs: &[JobId]) {
        for job in jobs {
            let ticket = self.control.ticket();
            cancel.tickets.insert(ticket);
            let asked = Asked::Cancel(*job, cancel.why);
            self.broker.make(ticket, cancel.by.clone(), asked);
        }
    }

    /// Returns what whoever asked is told where it takes long, once.
    fn delayed(&self, cancel: &mut Cancel) -> Option<Answer> {
        let is_late = cancel.prompt.min(cancel.latest) <= now();
        if !is_late || std::mem::replace(&mut cancel.is_told, true) {
            return None;
        }
        let why = self.trouble.as_deref().unwrap_or("the queue is busy");
        Some(Answer::pending(&match cancel.cancelled {
            0 => why.to_owned(),
            some => format!("{some} so far, the others follow; {why}"),
        }))
    }
}
