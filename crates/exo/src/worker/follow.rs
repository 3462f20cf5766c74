//! Starts that the keeper begins by itself as soon as the process before has ended.
//!
//! Between the death of a process for one item and the start of the next, keeper and worker would wait
//! for each other. So the keeper is told the next start while the last process runs. Whatever would
//! change it is told to the machine of the instance only once the keeper has taken that start back; where
//! it had begun by then, the death of the one before it is told first, as it came first.

use super::Worker;
use super::link::{self, Ends};
use crate::order::Order;
use ::log::error;
use machine::exo::{Actions, Event, Key, Mode};
use machine::time::Mono;
use sys::linux::fd::Fd;
use sys::program::TROUBLE;

/// A start that is to follow.
pub(super) struct Follower {
    pub(super) key: Key,
    pub(super) serial: u32,
    /// Our ends.
    pub(super) ends: Ends,
    /// The keeper is to take it back, and has not answered.
    pub(super) is_recalled: bool,
}

impl Worker {
    /// Tells the keeper what is to follow, where descriptors are plenty.
    pub(super) fn look_ahead(&mut self) {
        if self.is_roomy && self.over.is_none() {
            (0..self.slots.len()).for_each(|slot| self.order_follower(slot));
        }
    }

    fn order_follower(&mut self, slot: usize) {
        let slot_ref = &mut self.slots[slot];
        let is_at_work = slot_ref.process.is_some() && slot_ref.follower.is_none();
        let Some(key) = slot_ref.machine.follower().filter(|_| is_at_work) else { return };
        let (line_limit, item_limit) = (self.settings.line_limit, self.settings.item_limit);
        // Where they cannot be made, the start itself says so.
        let Ok((ends, others)) = link::make(line_limit, item_limit, Mode::PerItem) else { return };
        let start = slot_ref.order_of(Some(key), true);
        let serial = start.serial;
        if self.order(&Order::Start(start), &others.each_ref().map(Fd::raw)) {
            let follower = Follower { key, serial, ends, is_recalled: false };
            self.slots[slot].follower = Some(follower);
        }
    }

    /// Tells whether the machine may be told this now; if not, it will be.
    pub(super) fn may_be_told(&mut self, slot: usize, event: Event, now: Mono) -> bool {
        let slot_ref = &mut self.slots[slot];
        let Some(follower) = &mut slot_ref.follower else { return true };
        if let Event::Died { .. } = event {
            return true;
        }
        if !follower.is_recalled {
            let mut trial = slot_ref.machine.clone();
            trial.step(event, now, &mut Actions::default());
            if event != Event::NotStarted && trial.follower() == Some(follower.key) {
                return true;
            }
            follower.is_recalled = true;
            let order = Order::Recall { instance: slot_ref.number, serial: follower.serial };
            // Nobody would know what runs.
            if !self.order(&order, &[]) {
                self.over = Some(TROUBLE);
            }
        }
        // Its time will have come then, too.
        if event != Event::Tick {
            self.slots[slot].put_off.push(event);
        }
        false
    }

    /// The keeper has answered. Where it was too late, it has told the death of the one before, too.
    pub(super) fn recalled(&mut self, slot: usize, serial: u32) {
        let Some(slot_ref) = self.slots.get_mut(slot) else { return };
        if slot_ref.follower.take_if(|it| it.is_recalled && it.serial == serial).is_some() {
            self.tell_what_waited(slot);
            self.decide();
        }
    }

    /// A death was told: what waited for that comes next.
    pub(super) fn death_is_told(&mut self, slot: usize) {
        let slot_ref = &mut self.slots[slot];
        if slot_ref.follower.take().is_some() {
            // Its process runs, for an item that nobody wants done now.
            error!("{}: a process was begun in vain", slot_ref.name);
            self.over = Some(TROUBLE);
        }
        // That was about the process that is dead.
        slot_ref.put_off.retain(|event| *event != Event::Broken);
        self.tell_what_waited(slot);
    }

    fn tell_what_waited(&mut self, slot: usize) {
        for event in std::mem::take(&mut self.slots[slot].put_off).into_iter().rev() {
            self.events.push_front((slot, event));
        }
    }
}
