//! What the machines decided, done.

use super::follow::Follower;
use super::link;
use super::settle::{self, Form};
use super::{Phase, Worker, moments, now};
use crate::flags;
use crate::lines::Lines;
use crate::order::{Order, Signal};
use ::log::{info, warn};
use machine::exo::{Action, Ask, Event, How, Key, Mode, NOTICE, Why};
use machine::time::Mono;
use machine::work::Fault;
use participant::protocol::{Flavour, ToParticipant};
use sys::linux::fd::Fd;
use sys::linux::time;
use work::Ended as Outcome;

const fn ask_of(ask: Ask) -> work::Ask {
    match ask {
        Ask::Now => work::Ask::Now,
        Ask::Ahead => work::Ask::Ahead,
    }
}

const fn flavour(why: Fault) -> Flavour {
    match why {
        Fault::KILLED => Flavour::Kill,
        Fault::GIVEN_UP => Flavour::Timeout,
        _ => Flavour::Cancel,
    }
}

impl Worker {
    pub(super) fn perform(&mut self, slot: usize, action: Action) {
        match action {
            Action::Ask(ask) => self.broker.ask(ask_of(ask), &self.slots[slot].name),
            Action::Withdraw(ask) => self.broker.withdraw(ask_of(ask), &self.slots[slot].name),
            Action::GiveBack(key) => {
                if let Some(delivery) = self.slots[slot].take(key) {
                    self.broker.give_back(delivery);
                }
            }
            Action::Interrupt(key) => {
                let outcome = self.outcome(slot, key, None);
                self.end_work(slot, key);
                if let Some(delivery) = self.slots[slot].take(key) {
                    self.broker.interrupt(delivery, outcome);
                }
            }
            Action::Begin(key) => {
                let slot = &mut self.slots[slot];
                let name = slot.name.clone();
                if let Some(delivery) = slot.delivery(key) {
                    self.broker.begin(delivery, &name, moments::wall(time::wall()));
                }
            }
            Action::Start(item) => self.start(slot, item),
            Action::HandOver(key) => {
                self.begin_work(slot, key, now());
                self.slots[slot].hand_over();
            }
            Action::Cancel(_, why) => self.cancel_work(slot, why),
            Action::TellShutdown => self.slots[slot].say(&ToParticipant::Shutdown),
            Action::TellEnd => match self.slots[slot].machine.mode() {
                Mode::PerItem => self.signal(slot, Signal::Term),
                Mode::Persistent => {
                    let seconds = NOTICE.as_secs_f64();
                    self.slots[slot].say(&ToParticipant::AboutToDie { seconds });
                }
            },
            Action::Terminate => self.signal(slot, Signal::Term),
            Action::Kill => self.kill(slot),
            Action::GiveUp => {
                if let Some(process) = &mut self.slots[slot].process {
                    process.is_given_up = true;
                }
                self.signal(slot, Signal::Kill);
            }
            Action::Finish(key, how) => self.finish(slot, key, how),
        }
    }

    fn kill(&mut self, slot: usize) {
        let slot_ref = &mut self.slots[slot];
        let is_cancelled = slot_ref.is_being_cancelled();
        if let Some(process) = &mut slot_ref.process {
            process.is_unwanted |= is_cancelled;
        }
        self.signal(slot, Signal::Kill);
    }

    fn signal(&mut self, slot: usize, signal: Signal) {
        if let Some(order) = self.slots[slot].signal(signal) {
            self.order(&order, &[]);
        }
    }

    fn start(&mut self, slot: usize, item: Option<Key>) {
        let slot_ref = &mut self.slots[slot];
        let follower = slot_ref.follower.take_if(|follower| item == Some(follower.key));
        // The keeper has begun a follower as soon as it found the process before it dead.
        let since = slot_ref.died.filter(|_| follower.is_some()).unwrap_or_else(now);
        if let Some(key) = item {
            self.begin_work(slot, key, since);
        }
        let slot_ref = &mut self.slots[slot];
        if let Some(Follower { serial, ends, .. }) = follower {
            return slot_ref.begin_process(serial, ends);
        }
        let made =
            link::make(self.settings.line_limit, self.settings.item_limit, slot_ref.machine.mode());
        let is_started = match made {
            Ok((ends, others)) => {
                let start = slot_ref.order_of(item, false);
                slot_ref.begin_process(start.serial, ends);
                self.order(&Order::Start(start), &others.each_ref().map(Fd::raw))
            }
            Err(why) => {
                self.start_failed(slot, format!("unable to make its pipes: {why}"));
                return;
            }
        };
        if !is_started {
            self.start_failed(slot, "the keeper took no order".to_owned());
            return;
        }
        let slot = &mut self.slots[slot];
        if item.is_none() {
            slot.greet(&self.settings);
        }
    }

    /// Says why an instance could not be started, once for each reason, and lets it rest.
    pub(super) fn start_failed(&mut self, slot: usize, why: String) {
        let slot_ref = &mut self.slots[slot];
        slot_ref.process = None;
        slot_ref.is_unheard = false;
        self.troubles.of(slot_ref, "not-started", &why);
        if slot_ref.start_failure.as_ref() != Some(&why) {
            warn!("unable to start {}: {why}", slot_ref.name);
            slot_ref.start_failure = Some(why);
        }
        self.events.push_back((slot, Event::NotStarted));
    }

    fn begin_work(&mut self, slot: usize, key: Key, since: Mono) {
        let slot = &mut self.slots[slot];
        slot.begin(key, since, flags::flags);
        let Some(work) = &slot.work else { return };
        let mut out = Vec::new();
        let mut lines = Lines::new(self.settings.line_limit);
        if work.flags.trace {
            lines.take(flags::summary(&work.item).as_bytes(), &slot.tag, &mut out);
            lines.end(&slot.tag, &mut out);
        }
        if work.flags.dump {
            lines.take(&flags::dump(&work.item), &slot.tag, &mut out);
            lines.end(&slot.tag, &mut out);
        }
        self.log.put(&out);
    }

    fn end_work(&mut self, slot: usize, key: Key) {
        let slot = &mut self.slots[slot];
        if slot.work.as_ref().is_none_or(|work| work.key != key) {
            return;
        }
        let mut out = Vec::new();
        slot.end_work(&mut out);
        self.log.put(&out);
    }

    fn cancel_work(&mut self, slot: usize, why: Why) {
        let slot_ref = &mut self.slots[slot];
        let Some(work) = &slot_ref.work else { return };
        let id = u64::from(work.key.0);
        let flavour = match why {
            Why::Cancelled => work.cancelled.map_or(Flavour::Cancel, flavour),
            Why::Late => Flavour::Timeout,
            Why::Overtaken => Flavour::Kill,
            // It does not listen, or cannot be understood, or has no time left.
            Why::Broken | Why::Ended => return,
        };
        match slot_ref.machine.mode() {
            Mode::PerItem => self.signal(slot, Signal::Term),
            Mode::Persistent => slot_ref.say(&ToParticipant::Cancel { id, flavour }),
        }
    }

    /// Returns what is recorded of the work in hand. `how`: its end; `None` = it is interrupted.
    fn outcome(&mut self, slot: usize, key: Key, how: Option<How>) -> Outcome {
        let form = Form { limit: self.settings.item_limit, class: &self.settings.error_class };
        let is_shutdown = self.phase == Phase::Stopping;
        let (slot, small) = (&mut self.slots[slot], self.large.small());
        let Some(mut work) = slot.work.take_if(|work| work.key == key) else {
            return Outcome::default();
        };
        let mut outcome = match how {
            Some(how) => settle::of_end(how, &mut work, slot, form),
            None => settle::of_interrupt(&mut work, slot, small, is_shutdown),
        };
        // What a process for one item used stands in what its end means, where that counts.
        if outcome.peak_kib.is_none() {
            let spent = slot.spent(now());
            outcome.cpu_us = outcome.cpu_us.or(spent.cpu_us);
            outcome.peak_kib = outcome.peak_kib.or(spent.peak_kib);
        }
        outcome.lasted = Some(moments::until(slot.died, &work));
        let is_the_item = outcome.output.is_none() && outcome.fault == Fault::NONE;
        let is_given = is_the_item && !outcome.forget && work.item.len() <= small;
        outcome.item = is_given.then(|| work.item.to_vec());
        slot.work = Some(work);
        outcome
    }

    fn finish(&mut self, slot: usize, key: Key, how: How) {
        // The last words of what it printed are part of it.
        let outcome = self.outcome(slot, key, Some(how));
        let tag = self.slots[slot].tag.clone();
        let cancelled = self.slots[slot].work.as_ref().and_then(|work| work.cancelled);
        self.end_work(slot, key);
        // Its own words before ours about them.
        self.log.flush(now());
        match (&outcome.text, cancelled) {
            // As it is recorded, however it ended: who obeys is no trouble.
            (Some(text), Some(why)) => info!("{tag}: cancelled, fault {}: {text}", why.0),
            (Some(text), None) => warn!("{tag}: fault {}: {text}", outcome.fault.0),
            (None, _) => {}
        }
        let Some(delivery) = self.slots[slot].take(key) else { return };
        self.large.answers(delivery.key(), outcome.output.as_ref().map_or(0, Vec::len));
        if how == How::Overdue {
            self.broker.overdue(delivery, outcome);
        } else {
            self.broker.finish(delivery, outcome);
        }
    }
}
