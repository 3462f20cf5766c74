//! The life of the taker that the thread is, and who ends it or what it has.

use super::Settings;
use super::thread::{Thread, ring};
use crate::broker::Event;
use crate::change::Lease;
use crate::embedded::open_taker;
use crate::store::Store;
use crate::trouble::Trouble;
use machine::work::Fault;
use std::collections::HashMap;

impl Thread {
    /// Sees to it that others find us. What fails is tried again with all else.
    pub(super) fn live_on(&mut self) -> Result<(), Trouble> {
        if self.lasting || self.again_at.is_some_and(|at| at > self.store.now().mono) {
            return Ok(());
        }
        let Settings { place, queue, policy, error_class, .. } = &self.settings;
        let how = (*policy, &**error_class);
        let open = |store: &mut Store| open_taker(store, place, &queue.name, how);
        if let Some((taker, bell)) = self.standing.mend(&mut self.store, self.taker, open)? {
            self.taker = taker;
            self.ringing.abort();
            self.ringing = ring(bell, self.to_self.clone());
            self.standing.is_well();
            // Nobody has rung for what came meanwhile, or for what was lost.
            self.rung = true;
        }
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
