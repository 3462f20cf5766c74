//! The life of the taker that the thread is, and who ends it or what it has.

use super::{Settings, Thread};
use crate::bell::Bell;
use crate::broker::Event;
use crate::change::{Lease, TakerId};
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
    /// Somebody took us for dead.
    pub(crate) is_over: bool,
    /// Others do not find us.
    is_nameless: bool,
    /// When to look whether they do next.
    pub(crate) look_at: Mono,
}

impl Standing {
    /// Tells whether something is to be done about it. `is_named` looks, where it is time to.
    pub(crate) fn is_bad(&mut self, now: Mono, is_named: impl FnOnce() -> bool) -> bool {
        if self.look_at <= now {
            self.look_at = now.after(NAMED);
            self.is_nameless |= !is_named();
        }
        self.is_nameless || self.is_over
    }

    /// We have a socket of this name, and not yet all that belongs to it.
    pub(crate) const fn named(&mut self) {
        (self.is_nameless, self.is_over) = (true, false);
    }

    pub(crate) const fn is_good_again(&mut self) {
        (self.is_nameless, self.is_over) = (false, false);
    }
}

impl Thread {
    /// Sees to it that others find us: where the socket lost its name it gets one again; where somebody took
    /// us for dead by then, a new life begins, and what we had in hand is lost. What fails is tried again with
    /// all else.
    pub(super) fn live_on(&mut self) -> Result<(), Trouble> {
        let now = self.store.now().mono;
        if self.lasting || self.again_at.is_some_and(|at| at > now) {
            return Ok(());
        }
        if !self.standing.is_bad(now, || self.store.is_named(self.taker)) {
            return Ok(());
        }
        let named = if self.standing.is_over { None } else { self.store.name_again(self.taker)? };
        self.standing.is_over |= named.is_none();
        (self.taker, self.bell) = match named {
            Some(bell) => (self.taker, bell),
            None => self.begin_anew()?,
        };
        self.standing.named();
        *self.shared.button() = Some(self.store.button(self.taker)?);
        self.standing.is_good_again();
        // Nobody has rung for what came meanwhile, or for what was lost.
        (self.look, self.rung) = (true, true);
        Ok(())
    }

    fn begin_anew(&mut self) -> Result<(TakerId, Bell), Trouble> {
        let Settings { place, queue, policy, error_class, .. } = &self.settings;
        self.store.end_life(self.taker)?;
        open_taker(&mut self.store, place, queue, (*policy, &**error_class))
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
