//! What comes over the connection and what goes, and the connection itself.

use super::lines::{Came, MOST_PARKED, Of, SMALL};
use super::link::{Link, words};
use super::tasks::{self, Parts, Press, Teller};
use super::thread::{Answer, Connected, GOOD, Hand, Input, Part, RECONNECT, Thread};
use crate::broker::Event;
use crate::change::{Ask, Change, JobId, NewJob, Steer, Subject, TOGETHER};
use crate::clock::Wall;
use crate::wire::{self, Cancel, Incoming};
use machine::work::Fault;
use std::sync::Arc;
use std::time::Duration;

/// Between an item that nobody had asked for and the next.
const PEEK: Duration = Duration::from_secs(1);
/// What is in hand for less than this when a cancel comes that somebody found in a queue may have stood
/// behind it there: handed out anew, and not meant. On its way from there by the exchange a cancel takes some
/// milliseconds, and an engine that cancels a step waits for no answer before it hands out the next; to stop
/// that one would be wrong for good, and to let the other one work on costs what it does from there on, as with
/// a cancel that is late. A second is many times the way also where a machine is busy, and little of what
/// anybody cancels by hand.
const YOUNG: Duration = Duration::from_secs(1);
/// A message that is had in vain is had again so much later for each of these bytes.
const DEAR: usize = 64 << 10;

/// Returns when a message of so many bytes that was given back may be had again.
fn pause(bytes: usize) -> Duration {
    PEEK * u32::try_from(1 + bytes / DEAR).unwrap_or(u32::MAX).min(60)
}

/// After so many looks at an empty queue a message that was there once is not waited for any more.
pub(super) const VAIN_LOOKS: u32 = 2;

impl Thread {
    /// Begins to connect, after a while where the last times were in vain.
    pub(super) fn connect(&mut self) {
        self.life += 1;
        let teller = Teller { life: self.life, inputs: self.to_self.clone() };
        let settings = self.settings.clone();
        let seed = self.store.now().mono.0 ^ u64::from(std::process::id());
        let first = self.vain;
        tokio::spawn(async move {
            for vain in first.. {
                let delay = if vain > 0 { RECONNECT.after(vain, seed) } else { Duration::ZERO };
                tasks::pause(delay).await;
                let name = format!("skynet {}", settings.queue.name);
                let made = async {
                    let link = Link::open(&settings.server, &name).await?;
                    tasks::prepare(link, &settings, &teller).await.map(Box::new)
                };
                match made.await {
                    Ok(parts) => return teller.tell(Input::Connected { life: teller.life, parts }),
                    Err(why) => teller.tell(Input::Unreachable { life: teller.life, why }),
                }
            }
        });
    }

    pub(super) fn use_link(&mut self, parts: Parts) {
        let teller = Teller { life: self.life, inputs: self.to_self.clone() };
        let Parts { link, kept, reader, press, look_now } = parts;
        let channels = link.connection.configuration().channel_max();
        let (link, since) = (Arc::new(link), self.store.now().mono);
        self.connected = Some(Connected { link, kept, press, look_now, teller, since });
        self.lines.begin(Some((reader, channels)), since);
        self.name_all();
        (self.came_before, self.vain_looks) = (None, 0);
        self.well(Part::Broker);
        self.outgoing.forget_most();
        self.push_all();
        // What was requeued meanwhile is sent.
        self.rung = true;
    }

    /// There is another channel to publish over.
    pub(super) fn use_press(&mut self, press: Press) {
        if let Some(connected) = &mut self.connected {
            connected.press = press;
            self.outgoing.forget_again();
            self.push_all();
            self.rung = true;
        }
    }

    pub(super) fn not_connected(&mut self, why: &str) {
        let (host, port) = (&self.settings.server.host, self.settings.server.port);
        let what = format!("not connected to RabbitMQ at {host}:{port}: {}", words(&why));
        self.trouble(Part::Broker, what);
    }

    /// The broker takes nothing, or does again. What it sends is worked on meanwhile, and no confirm
    /// is late.
    pub(super) fn blocked(&mut self, why: Option<String>) {
        let Some(connected) = &mut self.connected else { return };
        connected.press.prolong();
        match why {
            Some(why) => self.trouble(Part::Broker, format!("RabbitMQ takes no answers: {why}")),
            None => self.well(Part::Broker),
        }
    }

    /// Says that so many items rest that no other is had, and when that is over.
    fn tell_of_rest(&mut self) {
        let is_full = self.lines.is_full_of_parked();
        if std::mem::replace(&mut self.is_full, is_full) == is_full {
            return;
        }
        if is_full {
            let what = format!("{MOST_PARKED} items wait to be tried again: no other is taken");
            self.trouble(Part::Rest, what);
        } else {
            self.well(Part::Rest);
        }
    }

    /// Says once that no cancel reaches us but by the queue.
    pub(super) fn unheard(&mut self, why: String) {
        if !std::mem::replace(&mut self.is_unheard, true) {
            self.news.push(Event::Unheard { why });
        }
    }

    /// Says once that cancels for what others have are not passed on.
    pub(super) fn not_passed(&mut self, why: String) {
        if !std::mem::replace(&mut self.is_not_passed, true) {
            self.news.push(Event::NotPassed { why });
        }
    }

    /// The connection is of no use any more, and may be so before we heard that it is there. What is
    /// in hand stays there; its messages come again.
    pub(super) fn lost(&mut self, why: &str) {
        let now = self.store.now().mono;
        let was_good = self.connected.take().is_some_and(|it| it.since.after(GOOD) <= now);
        self.vain = if was_good { 1 } else { self.vain.saturating_add(1) };
        self.lines.ended(why, now);
        self.outgoing.forget_again();
        self.not_connected(why);
        self.connect();
    }

    pub(super) fn looked(&mut self, ready: u32, consumers: u32) {
        if self.large_at.take_if(|at| at.after(tasks::LOOK) <= self.store.now().mono).is_some() {
            self.nudge.be_careful(false);
        }
        let settled = self.lines.looked(self.store.now().mono);
        if !settled.is_empty() {
            self.changes.push_back((Change::Settled(settled), Answer::Keep));
        }
        let is_waiting = self.lines.surely_waits();
        let is_starved = ready > 0 && self.came_before == Some(self.came);
        if is_waiting && (consumers == 0 || is_starved) {
            return self.lost("the broker has items and sends none");
        }
        self.came_before = is_waiting.then_some(self.came);
        self.vain_looks =
            if is_waiting && ready == 0 { self.vain_looks.saturating_add(1) } else { 0 };
        // What was requeued and should have come may be lost.
        self.rung |= self.vain_looks == VAIN_LOOKS;
    }

    pub(super) fn came(&mut self, came: Came) {
        match came {
            Came::Message(number, body, requeued) => self.message(number, body, requeued),
            Came::Ended => {}
            Came::Unwanted => self.lost("the broker ended the consumer: the queue was deleted"),
            Came::Gone(reader) => self.lines.gone(reader, self.store.now().mono),
        }
    }

    /// Has as many messages waited for as there are asks, and gives back what came for asks that
    /// were taken back.
    pub(super) fn balance(&mut self) {
        let now = self.store.now().mono;
        self.lines.forget_closed(now);
        if let Some(Connected { link, teller, .. }) = &self.connected
            && self.lines.wants_channel(now)
        {
            tokio::spawn(tasks::reopen(Arc::clone(link), teller.clone()));
        }
        let new = self.lines.unrecorded();
        for number in new.iter().skip(self.asks.len() + self.spare()) {
            if !self.is_in_hand(*number) {
                let bytes = self.lines.unrecorded_job(*number).map_or(0, |job| job.item.len());
                self.lines.give_back(*number);
                self.peek_at = self.store.now().mono.after(pause(bytes));
            }
        }
        let (wanted, most, broad) = (self.wanted(), self.most(), self.spare());
        let now = self.asks.iter().filter(|(ask, _)| *ask == Ask::Now).count().min(wanted);
        if let Some(Connected { link, teller, .. }) = &self.connected {
            let queue = &self.settings.queue;
            self.lines.wait_for((wanted, now, most), broad, queue, (link.patient(), teller));
        }
        self.tell_of_rest();
        self.lines.flush();
        if let Some(Connected { look_now, .. }) = &self.connected
            && self.lines.wants_look()
        {
            look_now.notify_one();
        }
    }

    /// Tells whether a message is called as an item in hand: that came again, over another connection,
    /// and would hide what stands behind it.
    fn is_in_hand(&self, number: u64) -> bool {
        let is = |job: &NewJob| {
            let same = |hand: &Hand| hand.wfid == job.wfid && hand.rest == job.identity;
            self.held.values().any(same)
        };
        self.lines.unrecorded_job(number).is_some_and(is)
    }

    /// Returns how many lines have to wait for a message.
    fn wanted(&self) -> usize {
        // While nothing can be recorded nothing is wanted.
        let now = self.store.now().mono;
        if self.again_at.is_some() || self.lasting || self.full_until > now {
            return 0;
        }
        let ahead = self.asks.iter().filter(|(ask, _)| *ask == Ask::Ahead).count();
        let asked = self.asks.len() - ahead + self.flow.ahead(now).min(ahead);
        asked.max(usize::from(self.may_peek() && self.peek_at <= now))
    }

    /// Tells whether a message may be had that nobody asked for: right behind the item in hand may be
    /// its cancel. What is an item goes back untouched, and the next is not had before a while, so
    /// that it gets to whoever has asked. Where the queue counts deliveries none is had.
    pub(super) fn may_peek(&self) -> bool {
        let is_busy = !self.held.is_empty() && self.asks.is_empty();
        is_busy && !self.settings.queue.is_quorum && self.closing.is_none()
    }

    /// Returns how many messages may be here that nobody has asked for yet: none where the queue counts
    /// deliveries, since what is not wanted after all would go back.
    fn spare(&self) -> usize {
        let has_room = self.full_until <= self.store.now().mono;
        let is_at_work =
            self.closing.is_none() && self.again_at.is_none() && !self.lasting && has_room;
        let may_go_back = !self.settings.queue.is_quorum;
        if is_at_work && may_go_back { self.flow.spare(self.store.now().mono) } else { 0 }
    }

    /// Returns how many lines may wait for a message.
    pub(super) fn most(&self) -> usize {
        let unasked = self.lines.unrecorded().len().saturating_sub(self.asks.len());
        self.wanted() + self.spare().saturating_sub(unasked)
    }

    /// Tells whether an item may be in memory beside what is there. Where the queue counts deliveries
    /// it may in any case: to give it back would count.
    fn has_room(&mut self, bytes: usize) -> bool {
        if bytes <= SMALL || self.settings.queue.is_quorum {
            return true;
        }
        self.flow.narrow();
        self.nudge.be_careful(true);
        self.large_at = Some(self.store.now().mono);
        let in_hand: usize = self.held.values().map(|hand| hand.large).sum();
        let others = in_hand + self.lines.large() + self.outgoing.large(SMALL);
        others == 0 || others + bytes <= TOGETHER as usize
    }

    fn message(&mut self, number: u64, body: Vec<u8>, requeued: Option<i64>) {
        self.came += 1;
        let queue = self.settings.queue.name.clone();
        if !self.has_room(body.len()) {
            self.full_until = self.store.now().mono.after(pause(body.len()));
            return self.lines.give_back(number);
        }
        match wire::read(&body, self.settings.item_limit) {
            Ok(Incoming::Item(named)) => {
                if let Some(at) = requeued {
                    let at = self.store.now().mono_at(Wall(at));
                    self.early.wanted_again(&named.wfid, &named.rest, at);
                }
                let job = NewJob {
                    queue,
                    wfid: named.wfid,
                    identity: named.rest,
                    item: body,
                    ..NewJob::default()
                };
                self.lines.is(number, Of::New(Box::new(job)));
            }
            Ok(Incoming::Cancel(cancel)) => {
                self.cancel_before(number, &cancel);
                let is_here = self.cancel(&cancel, Duration::ZERO);
                match &self.connected {
                    // Whoever has it may be elsewhere.
                    Some(connected) if !is_here => connected.kept.passing.pass_on(number, body),
                    _ => self.acknowledge_message(number),
                }
            }
            Err(invalid) => {
                let reason = invalid.to_string();
                // A broker lets in what is many times as long as any item; its beginning tells whose it is.
                let mut bytes = body;
                bytes.truncate(self.settings.item_limit);
                let bury =
                    Change::Bury { queue, owner: None, fault: Fault::UNKNOWN, reason, bytes };
                self.changes.push_back((bury, Answer::Bury(number)));
            }
        }
    }

    /// Settles a message for good that stands for no job.
    pub(super) fn acknowledge_message(&mut self, number: u64) {
        let most = self.most();
        self.lines.acknowledge(number, most);
    }

    /// A cancel in the queue is for what stood before it and has been had from there already, too.
    fn cancel_before(&mut self, number: u64, cancel: &Cancel) {
        let now = self.store.now().mono;
        for (wfid, rest) in self.lines.unrecorded_before(number) {
            if cancel.is_for(&wfid, &rest) {
                self.early.keep_for(&wfid, &rest, cancel.why, now);
            }
        }
    }

    pub(super) fn heard_control(&mut self, body: &[u8], is_forwarded: bool) {
        let Ok(Incoming::Cancel(cancel)) = wire::read(body, self.settings.item_limit) else {
            return;
        };
        // What is handed out anew is one step.
        let is_sure = !is_forwarded || cancel.sent.is_some() || cancel.item.is_none();
        let youngest = if is_sure { Duration::ZERO } else { YOUNG };
        if !self.cancel(&cancel, youngest) {
            self.early.keep(&cancel, self.store.now().mono);
        }
    }

    /// Has what is meant stopped, as far as it is here, and in hand for so long at least. Tells
    /// whether any of it is.
    pub(super) fn cancel(&mut self, cancel: &Cancel, youngest: Duration) -> bool {
        let now = self.store.now().mono;
        let is_meant = |hand: &Hand| cancel.is_for(&hand.wfid, &hand.rest);
        let mut jobs: Vec<JobId> = Vec::new();
        for (lease, hand) in self.held.iter().filter(|(_, hand)| is_meant(hand)) {
            if hand.since.after(youngest) <= now {
                jobs.push(lease.job);
            } else if hand.told.is_none() {
                let (wfid, identity) = (hand.wfid.clone(), hand.rest.clone());
                self.news.push(Event::Spared { wfid, identity });
            }
        }
        jobs.extend(self.lines.hurry(now, |job, _| cancel.is_for(&job.wfid, &job.identity)));
        let is_here = !jobs.is_empty();
        for job in jobs {
            let steer = Change::Steer(Subject::Job(job), Steer::Cancel(cancel.why));
            self.changes.push_back((steer, Answer::Keep));
        }
        self.rung |= is_here;
        is_here
    }
}
