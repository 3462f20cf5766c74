//! Waiting for everything at once.

use super::drops::Drops;
use super::link::Link;
use super::{Worker, now};
use ::log::warn;
use std::os::fd::AsRawFd;
use sys::linux::fd::{self, PollFd};

/// Descriptors of each instance: two that it prints to, two ways of its link.
const EACH: usize = 4;
/// Those before: keeper, broker, drop folder, log, listening control socket.
const OWN: usize = 5;

impl Worker {
    pub(super) fn wait(&mut self) {
        let mut list = self.interests();
        let clients = list.len();
        self.control.interests(&mut list);
        let timeout = self.deadline().map(|at| at.nanos_from(now()));
        let timeout = if self.keeper.has_report() { Some(0) } else { timeout };
        if let Err(why) = fd::poll(&mut list, timeout) {
            warn!("unable to wait: {why}");
        }
        let is_ready = |at: usize| list.get(at).is_some_and(PollFd::is_ready);
        if is_ready(0) || self.keeper.has_report() {
            self.hear_keeper();
        }
        if let Some(drops) = &mut self.drops {
            let is_due = drops.deadline().is_some_and(|at| at <= now());
            if (is_ready(2) || is_due) && drops.look(now()) {
                self.broker.collect();
            }
        }
        if is_ready(3) {
            self.log.flush(now());
        }
        for slot in self.turns() {
            let first = OWN + slot * EACH;
            if is_ready(first + 2) {
                self.write_participant(slot);
            }
            let says = [first, first + 1, first + 3].into_iter().any(is_ready);
            if says && self.log.makes_room(now()) {
                self.read_participant(slot, false);
            }
        }
        let ready: Vec<bool> = list[clients..].iter().map(PollFd::is_ready).collect();
        self.serve(is_ready(4), &ready);
    }

    /// Returns all instances, each time from another one on: the room in the log may not be enough
    /// for all.
    fn turns(&mut self) -> impl Iterator<Item = usize> + use<> {
        let count = self.slots.len();
        self.turn = (self.turn + 1) % count.max(1);
        (self.turn..count).chain(0..self.turn)
    }

    fn interests(&self) -> Vec<PollFd> {
        let drops = self.drops.as_ref().map_or(PollFd::none(), Drops::interest);
        let mut list = vec![
            self.keeper.interest(),
            PollFd::readable(self.broker.wakeup().as_raw_fd()),
            drops,
            self.log.interest().unwrap_or(PollFd::none()),
            self.control.listening(),
        ];
        let has_room = self.log.has_room();
        for slot in &self.slots {
            let Some(process) = &slot.process else {
                list.extend([PollFd::none(); EACH]);
                continue;
            };
            let [to, from] = match &process.ends.link {
                Link::PerItem(one) => one.interest(),
                Link::Persistent(talk) => talk.interest(),
            };
            if has_room {
                list.extend([process.ends.out.interest(), process.ends.err.interest(), to, from]);
            } else {
                // It waits with its output, and with what it says behind that.
                list.extend([PollFd::none(), PollFd::none(), to, PollFd::none()]);
            }
        }
        list
    }
}
