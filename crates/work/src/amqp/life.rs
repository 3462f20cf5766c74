//! The life of the taker that the thread is, and who ends it or what it has.

use super::Settings;
use super::thread::{Thread, ring};
use crate::bell::Bell;
use crate::broker::Event;
use crate::change::{Lease, TakerId};
use crate::embedded::open_taker;
use crate::trouble::Trouble;
use machine::work::Fault;
use std::collections::HashMap;

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
        let (taker, bell) = match named {
            Some(bell) => (self.taker, bell),
            None => self.begin_anew()?,
        };
        self.taker = taker;
        self.ringing.abort();
        self.ringing = ring(bell, self.to_self.clone());
        self.standing.is_good_again();
        // Nobody has rung for what came meanwhile, or for what was lost.
        self.rung = true;
        Ok(())
    }

    fn begin_anew(&mut self) -> Result<(TakerId, Bell), Trouble> {
        let Settings { place, queue, policy, error_class, .. } = &self.settings;
        self.store.end_life(self.taker)?;
        open_taker(&mut self.store, place, &queue.name, (*policy, &**error_class))
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
        let mut overtaken = Vec::new();
        for (key, hand) in &mut self.held {
            match known.get(key) {
                // What was only at hand is taken away by a cancel.
                None => overtaken.push(*key),
                // Told again where it is to be killed now.
                Some(Some(why)) if hand.told != Some(*why) => {
                    hand.told = Some(*why);
                    self.news.push(Event::Cancelled { key: *key, why: *why });
                }
                Some(_) => {}
            }
        }
        for key in overtaken {
            self.let_go(key);
            self.news.push(Event::Overtaken(key));
        }
        Ok(())
    }
}
