//! What went wrong with the participant's processes and with the queue, for whoever watches.

use super::slot::Slot;
use serde::Serialize;
use std::collections::VecDeque;
use sys::linux::time;

/// So many are kept: who watches is told of each at once.
const KEPT: usize = 8;

/// One of them.
#[derive(Clone, Debug, Serialize)]
struct Trouble {
    /// Counted from 1.
    number: u64,
    /// `ended`, `not-started` or `queue`.
    kind: &'static str,
    /// Which instance; `None` where it is about all.
    instance: Option<String>,
    /// What happened: the same words for the same.
    how: String,
    /// The last line that its process wrote.
    line: Option<String>,
    /// What was in hand.
    wfid: Option<String>,
    job: Option<i64>,
    attempt: Option<u32>,
}

/// All of them since this exo began.
#[derive(Debug)]
pub(super) struct Troubles {
    life: String,
    count: u64,
    last: VecDeque<Trouble>,
}

impl Troubles {
    /// Begins with none.
    #[must_use]
    pub(super) fn new() -> Self {
        let (seconds, nanos) = time::wall();
        // The pid tells those apart that the clock does not.
        let life = format!("{seconds}.{nanos:09}.{}", sys::linux::process::pid());
        Self { life, count: 0, last: VecDeque::new() }
    }

    /// Returns what tells this exo from the next.
    pub(super) fn life(&self) -> &str {
        &self.life
    }

    /// Returns how many there were.
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the last ones.
    pub(super) fn last(&self) -> impl Serialize + use<'_> {
        &self.last
    }

    /// Notes that an instance is in trouble.
    pub(super) fn of(&mut self, slot: &Slot, kind: &'static str, how: &str) {
        let work = slot.work.as_ref();
        self.note(Trouble {
            number: 0,
            kind,
            instance: Some(slot.name.clone()),
            how: how.to_owned(),
            line: slot.last_line(),
            wfid: work.map(|work| work.wfid.clone()),
            job: work.map(|work| work.job),
            attempt: work.map(|work| work.attempt),
        });
    }

    /// Notes that the queue is.
    pub(super) fn of_queue(&mut self, how: &str) {
        self.note(Trouble {
            number: 0,
            kind: "queue",
            instance: None,
            how: how.to_owned(),
            line: None,
            wfid: None,
            job: None,
            attempt: None,
        });
    }

    fn note(&mut self, trouble: Trouble) {
        self.count += 1;
        self.last.truncate(KEPT - 1);
        self.last.push_front(Trouble { number: self.count, ..trouble });
    }
}
