//! A store in a scratch folder, with a clock that a test may move.

use linux::time;
use machine::time::Mono;
use machine::work::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use testkit::Scratch;
use work::{
    Applied, Ask, Asked, By, Change, Clock, Ended, Error, JobId, Lease, NewJob, Now, Place, Policy,
    Reader, Refused, Safety, Store, Taken, TakerId, Wall,
};

/// The machine's clocks, moved on by hand.
#[derive(Default)]
pub(crate) struct Moved {
    mono_ns: AtomicU64,
    wall_us: AtomicI64,
    boot: AtomicU64,
}

impl Moved {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.mono_ns.fetch_add(time.as_nanos() as u64, Ordering::SeqCst);
        self.wall_us.fetch_add(time.as_micros() as i64, Ordering::SeqCst);
    }

    pub(crate) fn set_wall(&self, by: i64) {
        self.wall_us.fetch_add(by, Ordering::SeqCst);
    }

    /// The machine starts again: the monotonic clock begins anew, all processes are gone.
    pub(crate) fn reboot(&self) {
        self.boot.fetch_add(1, Ordering::SeqCst);
        self.mono_ns.store(0, Ordering::SeqCst);
    }
}

impl Clock for Moved {
    fn now(&self) -> Now {
        let (seconds, nanos) = time::wall();
        let wall = seconds * 1_000_000 + i64::from(nanos / 1000);
        // In later boots it begins near nothing.
        let first = self.boot.load(Ordering::SeqCst) == 0;
        let mono = if first { time::monotonic() } else { 1_000_000 };
        Now {
            mono: Mono(mono + self.mono_ns.load(Ordering::SeqCst)),
            wall: Wall(wall + self.wall_us.load(Ordering::SeqCst)),
        }
    }

    fn boot(&self) -> String {
        format!("boot {}", self.boot.load(Ordering::SeqCst))
    }
}

/// A store, a taker of queue `q`, and what else a test asks for.
pub(crate) struct World {
    pub(crate) scratch: Scratch,
    pub(crate) clock: Arc<Moved>,
    pub(crate) store: Store,
    pub(crate) taker: TakerId,
}

pub(crate) fn place(scratch: &Scratch) -> Place {
    Place::new(scratch.join("store"))
}

pub(crate) fn open(scratch: &Scratch, clock: &Arc<Moved>) -> Store {
    Store::open(&place(scratch), Arc::clone(clock) as Arc<dyn Clock>, Safety::Kill).unwrap()
}

pub(crate) fn opened(store: &mut Store, queue: &str, policy: Policy) -> TakerId {
    match store.apply(&Change::OpenTaker { queue: queue.to_owned(), policy }) {
        Ok(Applied::Opened(taker)) => taker,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn job(name: &str) -> NewJob {
    NewJob {
        queue: "q".to_owned(),
        wfid: "w".to_owned(),
        identity: name.to_owned(),
        item: item(name),
        ..NewJob::default()
    }
}

pub(crate) fn item(name: &str) -> Vec<u8> {
    format!(r#"{{"fei":{{"wfid":"w","expid":"{name}"}},"fields":{{}}}}"#).into_bytes()
}

/// One that asks for no answer.
pub(crate) fn forgotten(name: &str) -> Vec<u8> {
    let text = String::from_utf8(item(name)).unwrap();
    text.replace(r#""fields":{}"#, r#""fields":{"params":{"forget":true}}"#).into_bytes()
}

pub(crate) fn fault(code: u16) -> Ended {
    Ended { fault: Fault(code), text: Some("it broke".to_owned()), ..Ended::default() }
}

/// Somebody who asks.
pub(crate) fn ann() -> By {
    By { uid: 1007, name: "ann".to_owned() }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        let (scratch, clock) = (Scratch::new(), Moved::new());
        let mut store = open(&scratch, &clock);
        let taker = opened(&mut store, "q", policy);
        Self { scratch, clock, store, taker }
    }

    /// The errors of its queue have the class `E` from now on.
    pub(crate) fn classed(&mut self) {
        let (queue, class) = ("q".to_owned(), "E".to_owned());
        self.apply(&Change::SetErrorClass { queue, class });
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&place(&self.scratch)).unwrap()
    }

    #[track_caller]
    pub(crate) fn apply(&mut self, change: &Change) -> Applied {
        self.store.apply(change).unwrap_or_else(|e| panic!("{change:?}: {e}"))
    }

    /// Has ann do something.
    #[track_caller]
    pub(crate) fn ask(&mut self, asked: Asked) -> Applied {
        self.apply(&Change::Asked(ann(), asked))
    }

    #[track_caller]
    pub(crate) fn refused(&mut self, change: &Change) -> Refused {
        match self.store.apply(change) {
            Err(Error::Refused(refused)) => refused,
            other => panic!("{change:?}: {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn submit(&mut self, job: NewJob) -> JobId {
        match self.apply(&Change::Submit(Box::new(job))) {
            Applied::Submitted { job, .. } => job,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn take(&mut self, ask: Ask) -> Option<Taken> {
        let (taker, instance) = (self.taker, "q_0".to_owned());
        match self.apply(&Change::Take { taker, ask, instance }) {
            Applied::Taken(taken) => Some(*taken),
            Applied::Nothing { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    /// Takes the job that must be next, and begins it.
    #[track_caller]
    pub(crate) fn taken(&mut self) -> Lease {
        self.take(Ask::Now).expect("a job").lease
    }

    #[track_caller]
    pub(crate) fn end(&mut self, lease: Lease, ended: Ended) -> Applied {
        self.apply(&Change::End(lease, Box::new(ended)))
    }

    pub(crate) fn state(&self, job: JobId) -> (&'static str, u16, u32) {
        let subject = self.reader().job(job).unwrap().expect("the job").subject;
        (subject.state.name(), subject.fault.0, subject.count)
    }
}
