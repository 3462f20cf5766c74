//! The life of the taker that the thread is, and who ends it or what it has.

use super::{Settings, Thread};
use crate::broker::Event;
use crate::change::Lease;
use crate::embedded::open_taker;
use crate::trouble::Trouble;
use machine::time::Mono;
use machine::work::Fault;
use std::collections::HashMap;
use std::time::Duration;

/// Between two looks whether the socket has its name: without it nobody can wake us.
const NAMED: Duration = Duration::from_secs(10);

/// What is known of a taker's life.
#[derive(Default)]
pub(crate) struct Standing {
    /// Somebody took us for dead, or will: our socket's name is gone.
    pub(crate) is_over: bool,
    /// When to look at it next.
    pub(crate) look_at: Mono,
}

impl Standing {
    /// Looks at the name where it is time to. `is_named` does so.
    pub(crate) fn look(&mut self, now: Mono, is_named: impl FnOnce() -> bool) {
        if self.look_at <= now {
            self.look_at = now.after(NAMED);
            self.is_over |= !is_named();
        }
    }
}

impl Thread {
    /// Begins a new life where this one is over; what it had in hand is lost. Where that fails, it is tried
    /// again with all else.
    pub(super) fn live_on(&mut self) -> Result<(), Trouble> {
        let now = self.store.now().mono;
        if self.lasting || self.again_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        self.standing.look(now, || self.store.is_named(self.taker));
        if !self.standing.is_over {
            return Ok(());
        }
        let Settings { place, queue, policy, error_class, .. } = &self.settings;
        let how = (*policy, &**error_class);
        self.store.end_life(self.taker)?;
        let (taker, bell) = open_taker(&mut self.store, place, queue, how)?;
        *self.shared.button() = Some(self.store.button(taker)?);
        (self.taker, self.bell) = (taker, bell);
        self.standing.is_over = false;
        // Nobody has rung for what came meanwhile, or for what was lost.
        (self.look, self.rung) = (true, true);
        Ok(())
    }

    /// Looks what is to be stopped, if somebody rang since the last look.
    pub(super) fn hear_of_cancels(&mut self) -> Result<(), Trouble> {
        if !self.rung || self.held.is_empty() {
            self.rung = false;
            return Ok(());
        }
        let known: HashMap<Lease, Option<Fault>> =
            self.store.in_hand(self.taker)?.into_iter().collect();
        // Not before: nobody rings twice for what could not be read.
        self.rung = false;
        let mut news = Vec::new();
        self.held.retain(|key, told| match known.get(key) {
            // What was only at hand is taken away by a cancel.
            None => {
                news.push(Event::Overtaken(*key));
                false
            }
            // Told again where it is to be killed now.
            Some(Some(why)) if *told != Some(*why) => {
                *told = Some(*why);
                news.push(Event::Cancelled { key: *key, why: *why });
                true
            }
            Some(_) => true,
        });
        self.news.append(&mut news);
        Ok(())
    }
}
