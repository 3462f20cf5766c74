//! Items with senders that want an answer, and the proof that their history adds up.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::panic)]

pub(crate) mod killer;
pub(crate) mod lives;

use crate::host::{QUICK, Site, item};
use exo::worker::Clocks;
use machine::work::{Fault, Kind, State};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::scratch::script;
use work::read::Attempt;
use work::{Applied, Change, JobId, NewJob, Place, Reader, Safety, Store};

/// Queue in which the answers are found.
const ANSWERS: &str = "answers";
/// Somebody who is neither exo nor a participant, nor has an account.
const STRANGER: u32 = 54_321;
/// Submitted in one commit.
const AT_ONCE: usize = 500;

/// Submits items, before any exo runs or beside them.
pub(crate) struct Sender {
    store: Store,
    jobs: Vec<(JobId, String)>,
    /// Processes whose items were dropped, and became jobs whose numbers are not known yet.
    dropped: Vec<String>,
}

impl Sender {
    /// Opens a site's store, which belongs to exo's worker.
    #[track_caller]
    pub(crate) fn new(site: &Site) -> Self {
        Self::at(&site.join("store"))
    }

    /// As [`Self::new`], of a store somewhere else.
    #[track_caller]
    pub(crate) fn at(folder: &Path) -> Self {
        let place = Place::new(folder);
        let store = Store::open(&place, Clocks::of_this_boot().unwrap(), Safety::Kill).unwrap();
        if fs::metadata(folder).unwrap().uid() == 0 {
            let mut chown = Command::new("chown");
            assert!(chown.args(["-R", "daemon:"]).arg(folder).status().unwrap().success());
        }
        Self { store, jobs: Vec::new(), dropped: Vec::new() }
    }

    /// Submits items of these processes to the queue `p`.
    #[track_caller]
    pub(crate) fn submit<T: AsRef<str>>(&mut self, wfids: &[T]) {
        let its_item = |wfid: &T| item(wfid.as_ref(), "{\"x\":1.0}").into_bytes();
        self.send("p", wfids.iter().map(its_item));
    }

    /// Submits these items, in envelopes or without, to a queue.
    #[track_caller]
    pub(crate) fn send(&mut self, queue: &str, items: impl IntoIterator<Item = Vec<u8>>) {
        let jobs: Vec<_> = items.into_iter().map(|item| job(queue, item)).collect();
        for some in jobs.chunks(AT_ONCE) {
            let changes: Vec<_> = some.iter().cloned().map(Change::Submit).collect();
            let made = self.store.apply_all(&changes).unwrap();
            for (sent, made) in some.iter().zip(made) {
                let Ok(Applied::Submitted { job, .. }) = made else { panic!("{made:?}") };
                self.jobs.push((job, sent.wfid.clone()));
            }
        }
    }

    /// Drops items of these processes as another user does, for the queue `p`.
    #[track_caller]
    pub(crate) fn drop<T: AsRef<str>>(&mut self, site: &Site, wfids: &[T]) {
        for wfid in wfids {
            let wfid = wfid.as_ref();
            let its_item = item(wfid, "{\"x\":1.0}");
            let text = format!("{{\"skynet\":1,\"item\":{its_item},\"reply-to\":\"{ANSWERS}\"}}");
            site.drop_of(STRANGER, "p", text.as_bytes());
            self.dropped.push(wfid.to_owned());
        }
    }

    /// Finds the jobs of what was dropped: one for each item, of the user who dropped it.
    #[track_caller]
    pub(crate) fn find_dropped(&mut self, store: &Path, context: &str) {
        let reader = Reader::open(&Place::new(store)).unwrap();
        // Nobody but root can give a file to another.
        let own = fs::metadata("/proc/self").unwrap().uid();
        let owner = Some(if own == 0 { STRANGER } else { own });
        let mut jobs = HashMap::<_, Vec<_>>::new();
        for job in reader.jobs(Some("p"), None, u32::MAX).unwrap() {
            jobs.entry(job.wfid.clone()).or_default().push(job);
        }
        for wfid in self.dropped.drain(..) {
            let its = jobs.remove(&wfid).unwrap_or_default();
            let [job] = &its[..] else { panic!("{context}: {wfid} became {its:?}") };
            assert_eq!(job.owner, owner, "{context}: {job:?}");
            self.jobs.push((job.id, wfid));
        }
    }

    /// Returns how many were submitted.
    pub(crate) fn count(&self) -> usize {
        self.jobs.len()
    }
}

#[track_caller]
fn job(queue: &str, item: Vec<u8>) -> Box<NewJob> {
    let job = NewJob::from_item(queue, item, 1 << 20, "").unwrap();
    Box::new(NewJob { reply_to: Some(ANSWERS.to_owned()), ..job })
}

/// Makes a service directory whose exo takes the answers and does nothing with them.
pub(crate) fn consumer(site: &Site) -> PathBuf {
    let folder = site.join(ANSWERS);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("exo.yaml"), format!("{QUICK}command: ./work\ntries: 20\n")).unwrap();
    script(&folder.join("work"), "#!/bin/sh\nexec cat >/dev/null\n");
    folder
}

/// Tells whether so many answers were taken, and none is left.
pub(crate) fn all_taken(store: &Path, count: u64) -> bool {
    progress_of_each(store).remove(ANSWERS).unwrap_or_default() == (count, 0)
}

/// Proves that each answer was done by whoever takes them.
#[track_caller]
pub(crate) fn each_was_taken(store: &Path, context: &str) {
    let reader = Reader::open(&Place::new(store)).unwrap();
    for job in reader.jobs(Some(ANSWERS), None, u32::MAX).unwrap() {
        let end = (job.subject.state, job.subject.fault);
        assert_eq!(end, (State::Stop, Fault::NONE), "{context}: {job:?}");
        let attempts = reader.attempts(job.id).unwrap();
        // One that an orderly end gave back has no fault either.
        let is_done = |attempt: &&Attempt| {
            (attempt.how.as_deref(), attempt.fault) == (Some("ended"), Some(Fault::NONE))
        };
        let done = attempts.iter().filter(is_done);
        assert_eq!(done.count(), 1, "{context}: {attempts:?}");
    }
}

/// What became of many items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Items that are done.
    pub(crate) done: usize,
    /// Items that failed for good.
    pub(crate) failed: usize,
    /// Items that were tried as often as they may be.
    pub(crate) exhausted: usize,
    /// Items that were cancelled.
    pub(crate) cancelled: usize,
    /// Attempts at all of them.
    pub(crate) attempts: usize,
    /// Of these, those that said or showed that they failed, which may be tried again.
    pub(crate) faults: usize,
    /// Those that were lost with whoever worked on them.
    pub(crate) lost: usize,
    /// Those that an orderly end gave back.
    pub(crate) interrupted: usize,
    /// Those that a cancel ended.
    pub(crate) stopped: usize,
}

/// Returns how many items of the queue `p` have stopped, and how many have not.
pub(crate) fn progress(store: &Path) -> (u64, u64) {
    progress_of_each(store).remove("p").unwrap_or_default()
}

/// Returns the same of each queue.
pub(crate) fn progress_of_each(store: &Path) -> HashMap<String, (u64, u64)> {
    let counts = Reader::open(&Place::new(store)).and_then(|reader| reader.counts());
    let mut all = HashMap::<_, (u64, u64)>::new();
    for count in counts.unwrap_or_default() {
        let (stopped, open) = all.entry(count.queue).or_default();
        *(if count.state == "stop" { stopped } else { open }) += count.jobs;
    }
    all
}

/// Proves that every item was settled once, by attempts that lead to its end, and answered once.
/// `tries`: how often an item may be tried. `context` is said where it is not so.
#[track_caller]
pub(crate) fn adds_up(sender: &Sender, store: &Path, tries: usize, context: &str) -> Sums {
    let reader = Reader::open(&Place::new(store)).unwrap();
    let answers = answers(&reader, context);
    let dead = reader.dead(u32::MAX).unwrap();
    let dead: HashSet<_> = dead.into_iter().filter_map(|dead| dead.job).collect();
    let (mut sums, mut expected) = (Sums::default(), 0);
    for (id, wfid) in &sender.jobs {
        let context = format!("{context}: {wfid}");
        let job = reader.job(*id).unwrap();
        let job = job.unwrap_or_else(|| panic!("{context} is lost"));
        assert_eq!(job.subject.state, State::Stop, "{context}: {job:?}");
        let attempts = reader.attempts(*id).unwrap();
        assert_eq!(attempts.len(), job.tries as usize, "{context}: {attempts:?}");
        sums.add(job.subject.fault, &attempts, tries, &context);
        let is_dead = job.subject.fault == Fault::EXHAUSTED;
        assert_eq!(dead.contains(id), is_dead, "{context}: {job:?}");
        let answered = answers.get(&**wfid).copied().unwrap_or(0);
        // Who cancels waits no longer.
        let is_wanted = job.subject.fault.kind() != Kind::Cancelled;
        assert_eq!(answered, usize::from(is_wanted), "{context} has {answered} answers");
        expected += usize::from(is_wanted);
    }
    assert_eq!(answers.values().sum::<usize>(), expected, "{context}: other answers");
    let settled = sums.done + sums.failed + sums.exhausted + sums.cancelled;
    assert_eq!(settled, sender.jobs.len(), "{context}: {sums:?}");
    // Each attempt but an item's last failed, or met somebody's death or end.
    let last = sums.done + sums.failed;
    let told = last + sums.faults + sums.lost + sums.interrupted + sums.stopped;
    assert_eq!(sums.attempts, told, "{context}: {sums:?}");
    sums
}

/// Returns how often each process is answered; each answer is whole.
#[track_caller]
fn answers(reader: &Reader, context: &str) -> HashMap<String, usize> {
    let mut answers = HashMap::new();
    each_answer(reader, |wfid, answer| {
        assert_eq!(answer["fei"]["wfid"], wfid, "{context}: another's answer");
        *answers.entry(wfid.to_owned()).or_insert(0) += 1;
    });
    answers
}

/// Looks at each answer, and at the process whose it is.
#[track_caller]
pub(crate) fn each_answer(reader: &Reader, mut look: impl FnMut(&str, Value)) {
    for job in reader.jobs(Some(ANSWERS), None, u32::MAX).unwrap() {
        let bytes = reader.item(job.id).unwrap().unwrap();
        look(&job.wfid, serde_json::from_slice(&bytes).unwrap());
    }
}

impl Sums {
    /// Adds an item's attempts, which lead to `fault`.
    #[track_caller]
    fn add(&mut self, fault: Fault, attempts: &[Attempt], tries: usize, context: &str) {
        let context = || format!("{context}: {attempts:#?}");
        let mut counted = 0;
        for (n, attempt) in attempts.iter().enumerate() {
            assert_eq!(attempt.number as usize, n + 1, "{}", context());
            let is_last = n + 1 == attempts.len();
            let fault = attempt.fault.unwrap_or_else(|| panic!("no end in {}", context()));
            match attempt.how.as_deref() {
                Some("interrupted") => self.interrupted += 1,
                Some("lost") => (self.lost, counted) = (self.lost + 1, counted + 1),
                Some("ended") if (1..10).contains(&fault.0) => {
                    (self.faults, counted) = (self.faults + 1, counted + 1);
                }
                Some("ended" | "overdue") if is_last => {
                    counted += 1;
                    self.stopped += usize::from(fault.kind() == Kind::Cancelled);
                }
                _ => panic!("ended before its end: {}", context()),
            }
        }
        assert!(counted <= tries, "tried {counted} times: {}", context());
        self.attempts += attempts.len();
        let last = attempts.last().and_then(|last| last.fault);
        if fault.kind() == Kind::Cancelled {
            self.cancelled += 1;
            // One that was given back, or not even begun, has no end of its own.
            let is_told = attempts.last().is_none_or(|last| last.how.as_deref() != Some("ended"));
            assert!(is_told || last == Some(fault), "{}", context());
            return;
        }
        match fault {
            Fault::EXHAUSTED => {
                self.exhausted += 1;
                assert_eq!(counted, tries, "given up early: {}", context());
            }
            Fault::NONE => self.done += 1,
            _ => self.failed += 1,
        }
        assert!(fault == Fault::EXHAUSTED || last == Some(fault), "{}", context());
    }
}
