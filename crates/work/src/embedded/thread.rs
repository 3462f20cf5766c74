//! The thread that has the store.

pub(crate) mod life;
#[cfg(test)]
mod tests;

use super::retention::Retention;
use super::{Settings, Shared, Wishes};
use crate::bell::Bell;
use crate::broker::{Delivery, Event, Then, Wish};
use crate::change::{Applied, Ask, Change, Lease, Refused, TakerId};
use crate::drop_folder::DropFolder;
use crate::open::Safety;
use crate::outbox::Outbox;
use crate::store::Store;
use crate::trouble::Trouble;
use crate::troubled::Troubled;
use life::Standing;
use machine::time::{Mono, earlier};
use machine::work::Fault;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Between two tries at what could not be done.
pub(crate) const AGAIN: Duration = Duration::from_secs(1);
/// Longest sleep of a thread that has connections to look after.
pub(crate) const LONGEST: Duration = Duration::from_secs(5);
/// How long the end tries again what could not be done; whoever keeps us waits longer.
const CLOSING: Duration = Duration::from_secs(5);
/// Between two of these tries.
const PAUSE: Duration = Duration::from_millis(100);
/// Sleep of a thread that nobody rings and that has nothing to do, in nanoseconds.
const FOR_GOOD: u64 = 3_600_000_000_000;
/// Changes in one transaction: enough to share its cost, few enough for others to have a turn.
pub(crate) const AT_ONCE: usize = 256;

/// So soon after a commit the next wishes are not the last, as a rule.
const BUSY: Duration = Duration::from_millis(1);
/// How long they are gathered then.
const GATHER: Duration = Duration::from_micros(200);
/// How long ends are gathered for a commit that waits for the disk, and may keep a processor busy with
/// that, while others are in hand or at hand.
const GATHER_ENDS: Duration = Duration::from_millis(2);
/// So many of them are enough.
const ENDS: usize = 8;

/// Tells whether nobody waits for a wish, who looks ahead.
pub(super) const fn can_wait(wish: &Wish) -> bool {
    match wish {
        Wish::Ask(ask, _) => matches!(ask, Ask::Ahead),
        Wish::Change(_, then) => matches!(then, Then::Begin(_) | Then::Settle(_) | Then::Stage(_)),
        // What is asked next waits for its answer.
        Wish::Withdraw(..) | Wish::Send(..) | Wish::Collect | Wish::Tell(..) => false,
    }
}

/// What follows from a change.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// The loop wished for it.
    Wished(Then),
    /// The loop sent an item.
    Sent(u64),
    /// One of our own: a take for the ask at the front.
    Take,
    /// One of our own.
    Keep,
    /// One of our own.
    Clean,
}

impl Answer {
    const fn lease(self) -> Option<Lease> {
        match self {
            Self::Wished(
                Then::Begin(key) | Then::Stage(key) | Then::Return(key) | Then::Settle(key),
            ) => Some(key),
            _ => None,
        }
    }

    const fn is_wished(self) -> bool {
        matches!(self, Self::Wished(_) | Self::Sent(_))
    }
}

/// What may be in trouble, each by itself.
#[derive(Clone, Copy)]
enum Part {
    /// The store: nothing goes on.
    Store,
    /// The drop folder: all else goes on.
    Drops,
}

pub(super) struct Thread {
    shared: Arc<Shared>,
    store: Store,
    taker: TakerId,
    bell: Bell,
    outbox: Outbox,
    settings: Settings,
    asks: VecDeque<(Ask, String)>,
    /// Wishes that are not granted yet, in their order.
    changes: VecDeque<(Change, Answer)>,
    /// What the loop is to be told.
    news: Vec<Event>,
    /// Leases that are ours, each with the cancel that was told.
    held: HashMap<Lease, Option<Fault>>,
    /// A look at the drop folder was wished.
    collect: bool,
    /// Not before this: the last time it could not be done.
    collect_at: Option<Mono>,
    /// Of each [`Part`].
    troubled: Troubled,
    /// Told that dead items went for others.
    is_crowded: bool,
    /// The queue may be looked at again.
    look: bool,
    /// When to look without being rung.
    next_look: Option<Mono>,
    renew_at: Option<Mono>,
    retention: Retention,
    again_at: Option<Mono>,
    lasting: bool,
    /// When the last commit was.
    committed: Mono,
    /// Woken since cancels were looked for.
    rung: bool,
    standing: Standing,
}

impl Thread {
    pub(super) fn new(
        shared: Arc<Shared>,
        store: Store,
        (taker, bell): (TakerId, Bell),
        outbox: Outbox,
        settings: &Settings,
    ) -> Self {
        let retention = Retention::new(settings.keep, store.now().mono);
        Self {
            shared,
            store,
            taker,
            bell,
            outbox,
            settings: settings.clone(),
            asks: VecDeque::new(),
            changes: VecDeque::new(),
            news: Vec::new(),
            held: HashMap::new(),
            collect: true,
            collect_at: None,
            troubled: Troubled::default(),
            is_crowded: false,
            look: true,
            next_look: None,
            renew_at: None,
            retention,
            again_at: None,
            lasting: false,
            committed: Mono(0),
            rung: false,
            standing: Standing::default(),
        }
    }

    pub(super) fn run(&mut self) {
        loop {
            self.gather();
            if self.listen() {
                return self.close();
            }
            // What needs no commit waits for none.
            self.publish();
            if let Err(trouble) = self.live_on().and_then(|()| self.work()) {
                self.stop(&trouble);
            }
            self.publish();
            if self.is_idle() {
                self.rest();
            } else {
                // What takes many turns keeps nobody waiting who rang.
                let heard = self.bell.hush();
                self.heed(&heard);
            }
        }
    }

    /// Grants what was wished, as far as that goes, and ends the taker's life.
    fn close(&mut self) {
        self.asks.clear();
        self.take_back();
        self.again_at = None;
        while !self.lasting && !self.changes.is_empty() {
            if let Err(trouble) = self.work() {
                self.stop(&trouble);
                self.make_each(self.store.now().mono.after(CLOSING));
                break;
            }
        }
        // Whoever does not hear of it finds our socket dead.
        let _ = self.store.apply(&Change::CloseTaker(self.taker));
    }

    /// Makes one by one what could not be made together: what does not fit takes nothing else along.
    /// Tries again until a moment.
    fn make_each(&mut self, until: Mono) {
        let mut is_late = false;
        while !self.lasting && !is_late && !self.changes.is_empty() {
            let mut stuck = VecDeque::new();
            let mut leases = Vec::new();
            for (change, answer) in std::mem::take(&mut self.changes) {
                let lease = answer.lease();
                // What follows in the same lease keeps its order.
                if is_late || self.lasting || lease.is_some_and(|lease| leases.contains(&lease)) {
                    stuck.push_back((change, answer));
                } else if let Err(trouble) = self.make(vec![change], vec![answer]) {
                    self.stop(&trouble);
                    is_late = until <= self.store.now().mono;
                    stuck.append(&mut self.changes);
                    leases.extend(lease);
                }
            }
            self.changes = stuck;
            if !self.changes.is_empty() && !is_late && !self.lasting {
                let _ = self.shared.gathered.wait_timeout(self.shared.wishes(), PAUSE);
            }
        }
    }

    /// Gives back what arrived and was never looked at.
    fn take_back(&mut self) {
        for event in self.outbox.take_back() {
            if let Event::Arrived(delivery) = event {
                self.shared.unrecorded.wished();
                let (change, then) = delivery.unseen();
                self.changes.push_back((change, Answer::Wished(then)));
            }
        }
    }

    /// Waits a little for more wishes where a commit costs more than they do, and nobody waits.
    fn gather(&mut self) {
        let is_busy = self.committed.after(BUSY) > self.store.now().mono;
        let has_waiting = self.asks.iter().any(|(ask, _)| *ask == Ask::Now);
        if !is_busy || has_waiting || !self.changes.is_empty() {
            return;
        }
        let mut wishes = self.shared.wishes();
        let limit = match self.settings.safety {
            Safety::Kill => GATHER,
            // Asks have gathered while the last commit waited; ends of a process for each item have not.
            Safety::Power => {
                wishes.ends = Some(self.held.len().min(ENDS));
                GATHER_ENDS
            }
        };
        if wishes.list.is_empty() || wishes.enough() {
            return;
        }
        wishes.is_gathering = true;
        let more = |wishes: &mut Wishes| !wishes.enough();
        let waited = self.shared.gathered.wait_timeout_while(wishes, limit, more);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_gathering = false;
    }

    /// Takes over what was wished. Returns whether all is to end.
    fn listen(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut wishes = shared.wishes();
        for wish in wishes.list.drain(..) {
            match wish {
                Wish::Ask(ask, instance) => {
                    self.asks.push_back((ask, instance));
                    self.look = true;
                }
                Wish::Withdraw(ask, instance) => {
                    let same = |asked: &(Ask, String)| asked.0 == ask && asked.1 == instance;
                    if let Some(at) = self.asks.iter().position(same) {
                        self.asks.remove(at);
                        self.news.push(Event::Withdrawn { ask, instance });
                    }
                }
                Wish::Change(change, then) => {
                    self.changes.push_back((change, Answer::Wished(then)));
                }
                Wish::Send(ticket, job) => {
                    self.changes.push_back((Change::Submit(job), Answer::Sent(ticket)));
                }
                Wish::Collect => self.collect = true,
                // Nobody asks from afar.
                Wish::Tell(..) => {}
            }
        }
        wishes.closing
    }

    fn is_idle(&self) -> bool {
        if self.again_at.is_some() || self.lasting {
            return true;
        }
        let may_collect = self.wants_drops() && self.collect_at.is_none();
        let is_cleaning = self.retention.step(self.store.now()).is_some();
        let has_nothing = self.changes.is_empty() && !self.look && !self.standing.is_over;
        has_nothing && !may_collect && !is_cleaning
    }

    /// Does what takes long where there is nothing else to do.
    fn tidy(&mut self) {
        let has_time = self.held.is_empty() && self.changes.is_empty();
        if has_time && self.shared.wishes().list.is_empty() {
            self.store.tidy().unwrap_or_else(|trouble| self.stop(&trouble));
            self.publish();
        }
    }

    fn rest(&mut self) {
        self.tidy();
        let deadline = if self.lasting {
            None
        } else if self.again_at.is_some() {
            self.again_at
        } else {
            let look = self.next_look.filter(|_| !self.asks.is_empty());
            let renew = self.renew_at.filter(|_| !self.held.is_empty());
            let own = earlier(self.collect_at, Some(self.retention.deadline()));
            let has_any = !(self.asks.is_empty() && self.held.is_empty());
            let named = has_any.then_some(self.standing.look_at);
            earlier(earlier(earlier(look, renew), own), named)
        };
        let now = self.store.now().mono;
        let untold = self.outbox.is_behind().then(|| now.after(AGAIN));
        let limit = earlier(deadline, untold).map_or(FOR_GOOD, |at| at.nanos_from(now));
        let limit = Duration::from_nanos(limit.min(FOR_GOOD));
        let waited = if self.falls_asleep() { self.bell.wait(limit) } else { self.bell.hush() };
        self.shared.wishes().is_asleep = false;
        self.heed(&waited);
        let is_due = self.next_look.is_some_and(|at| at <= self.store.now().mono);
        self.look |= is_due && !self.asks.is_empty();
    }

    /// Takes note of who rang.
    fn heed(&mut self, heard: &io::Result<bool>) {
        let Ok(by_others) = *heard else {
            self.again_at = Some(self.store.now().mono.after(AGAIN));
            return;
        };
        self.rung |= by_others;
        self.look |= by_others && !(self.asks.is_empty() && self.held.is_empty());
    }

    /// Asks to be rung from now on, unless there are wishes already that can be granted.
    fn falls_asleep(&self) -> bool {
        let mut wishes = self.shared.wishes();
        let has_time = self.again_at.is_none() && !self.lasting;
        wishes.is_asleep = !wishes.closing && (wishes.list.is_empty() || !has_time);
        wishes.is_asleep
    }

    /// Makes one transaction of all that is to be done, as far as it fits.
    fn work(&mut self) -> Result<(), Trouble> {
        let now = self.store.now().mono;
        if self.lasting || self.again_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        self.again_at = None;
        let (batch, answers) = self.batch(now);
        if batch.is_empty() {
            self.look = false;
        } else {
            self.make(batch, answers)?;
        }
        self.collect(now)?;
        self.hear_of_cancels()
    }

    fn make(&mut self, batch: Vec<Change>, answers: Vec<Answer>) -> Result<(), Trouble> {
        let made = match self.store.apply_all(&batch) {
            Ok(made) => made,
            Err(trouble) => {
                let unmade = batch.into_iter().zip(answers);
                for wish in unmade.rev().filter(|(_, answer)| answer.is_wished()) {
                    self.changes.push_front(wish);
                }
                return Err(trouble);
            }
        };
        self.committed = self.store.now().mono;
        self.well(Part::Store);
        self.look = false;
        let wished = answers.iter().filter(|answer| answer.is_wished()).count();
        self.shared.unrecorded.made(wished);
        if wished > 0 {
            self.retention.written();
        }
        self.standing.is_over |=
            made.iter().any(|made| matches!(made, Err(Refused::Absent("taker"))));
        for (answer, applied) in answers.into_iter().zip(made) {
            self.answer(answer, applied);
        }
        Ok(())
    }

    fn wants_drops(&self) -> bool {
        let is_under_way = |folder: &DropFolder| self.collect || folder.is_under_way();
        self.settings.drop_folder.as_ref().is_some_and(is_under_way)
    }

    /// Takes a portion of what is in the drop folder. Where that cannot be, all else goes on.
    fn collect(&mut self, now: Mono) -> Result<(), Trouble> {
        if !self.wants_drops() || self.collect_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        let Some(folder) = &mut self.settings.drop_folder else { return Ok(()) };
        // What is wished while a look is under way is for the one after it.
        self.collect &= folder.is_under_way();
        let collected = folder.collect(&mut self.store);
        self.news.extend(folder.unread().into_iter().map(Event::Unread));
        let why = folder.first_why();
        match collected {
            Ok(found) => {
                if let Some(why) = why {
                    self.news.push(Event::Buried { count: found.buried, why });
                }
                if found.gone > 0 && !std::mem::replace(&mut self.is_crowded, true) {
                    self.news.push(Event::Crowded);
                }
                self.collect_at = None;
                self.look = true;
                self.well(Part::Drops);
            }
            Err(trouble) if trouble.is_lasting() => return Err(trouble),
            Err(trouble) => {
                self.collect = true;
                self.collect_at = Some(now.after(AGAIN));
                self.trouble(Part::Drops, &trouble);
            }
        }
        Ok(())
    }

    /// Returns the changes to be made now: what was wished first, so that what that makes ready
    /// can be taken at once.
    fn batch(&mut self, now: Mono) -> (Vec<Change>, Vec<Answer>) {
        let wished = self.changes.len().min(AT_ONCE);
        let (mut batch, mut answers): (Vec<_>, Vec<_>) = self.changes.drain(..wished).unzip();
        let mut own = |change, answer| {
            batch.push(change);
            answers.push(answer);
        };
        if !self.held.is_empty() && self.renew_at.is_none_or(|at| at <= now) {
            own(Change::Renew(self.taker), Answer::Keep);
        }
        if self.look || wished > 0 {
            // Once: the next take that finds nothing says when to look again.
            if self.next_look.take_if(|at| *at <= now).is_some() {
                own(Change::Sweep(self.taker), Answer::Keep);
            }
            for (ask, instance) in &self.asks {
                let (taker, ask, instance) = (self.taker, *ask, instance.clone());
                own(Change::Take { taker, ask, instance }, Answer::Take);
            }
        }
        if let Some(step) = self.retention.step(self.store.now()) {
            own(step, Answer::Clean);
        }
        (batch, answers)
    }

    fn answer(&mut self, answer: Answer, applied: Result<Applied, Refused>) {
        match (answer, applied) {
            (Answer::Take, Ok(Applied::Taken(taken))) => {
                // Of several asks the first of its kind is granted; the answers keep their order.
                let ask = if taken.begun { Ask::Now } else { Ask::Ahead };
                if let Some(at) = self.asks.iter().position(|(asked, _)| *asked == ask) {
                    self.asks.remove(at);
                }
                self.held.insert(taken.lease, None);
                self.plan_renewal();
                self.tell(Event::Arrived(Delivery { taken: *taken }));
            }
            (Answer::Take, Ok(Applied::Nothing { next })) => self.next_look = next,
            (Answer::Wished(Then::Settle(key)), Ok(Applied::Ended { fault, retry })) => {
                self.held.remove(&key);
                self.tell(Event::Settled { key, fault, retry });
            }
            (Answer::Wished(Then::Settle(key) | Then::Return(key)), Err(_)) => {
                self.held.remove(&key);
                self.tell(Event::Overtaken(key));
            }
            (Answer::Wished(Then::Return(key)), Ok(_)) => {
                self.held.remove(&key);
            }
            (Answer::Wished(Then::Begin(key)), Err(_)) => self.tell(Event::Overtaken(key)),
            (Answer::Wished(Then::Stage(key)), applied) => {
                self.tell(Event::Staged(key));
                if applied.is_err() {
                    self.tell(Event::Overtaken(key));
                }
            }
            (Answer::Sent(ticket), applied) => {
                let job = applied.and_then(|applied| match applied {
                    Applied::Submitted { job, .. } | Applied::Known(job) => Ok(Some(job)),
                    _ => Err(Refused::Senseless("no job came of it")),
                });
                self.tell(Event::Sent { ticket, job });
            }
            (Answer::Wished(Then::Made(ticket)), made) => {
                // Who has a job in hand that was cancelled may be we: nobody rings us then.
                self.rung |= made.is_ok();
                self.tell(Event::Made { ticket, made });
            }
            (Answer::Keep, _) => self.plan_renewal(),
            (Answer::Clean, Ok(came)) => {
                self.news.extend(self.retention.stepped(&came, self.store.now().mono));
                // What was kept back by what went may be free.
                self.look = true;
            }
            (
                Answer::Wished(Then::Settle(_) | Then::Begin(_)) | Answer::Take | Answer::Clean,
                _,
            ) => {}
        }
    }

    fn plan_renewal(&mut self) {
        let third = self.settings.policy.lease / 3;
        self.renew_at = Some(self.store.now().mono.after(third));
    }

    /// Lets everything rest, since the store cannot be changed.
    fn stop(&mut self, trouble: &Trouble) {
        self.lasting = trouble.is_lasting();
        self.again_at = Some(self.store.now().mono.after(AGAIN));
        self.trouble(Part::Store, trouble);
    }

    fn trouble(&mut self, part: Part, trouble: &Trouble) {
        let what = trouble.to_string();
        self.news.extend(self.troubled.trouble(part as usize, what, self.lasting));
    }

    fn well(&mut self, part: Part) {
        self.news.extend(self.troubled.well(part as usize));
    }

    fn tell(&mut self, event: Event) {
        self.news.push(event);
    }

    /// Lets the loop know what it is to be told, and wakes it once for all of it.
    fn publish(&mut self) {
        self.outbox.publish(&mut self.news);
    }
}
