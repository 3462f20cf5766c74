//! The life of the taker that the thread is, and who ends it or what it has.

use super::{Settings, Thread};
use crate::bell::Bell;
use crate::broker::Event;
use crate::change::{Lease, TakerId};
use crate::embedded::open_taker;
use crate::store::Store;
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
    /// Sees to it that others find a taker: where its socket lost its name it gets one again; where somebody
    /// took it for dead by then, a new life begins by `open`, and what it had in hand is lost. Returns who it
    /// is from now on; it [is well](Self::is_well) once that is in use. `None` = nothing was to be done.
    pub(crate) fn mend(
        &mut self,
        store: &mut Store,
        taker: TakerId,
        open: impl FnOnce(&mut Store) -> Result<(TakerId, Bell), Trouble>,
    ) -> Result<Option<(TakerId, Bell)>, Trouble> {
        let now = store.now().mono;
        if self.look_at <= now {
            self.look_at = now.after(NAMED);
            self.is_nameless |= !store.is_named(taker);
        }
        if !self.is_nameless && !self.is_over {
            return Ok(None);
        }
        let named = if self.is_over { None } else { store.name_again(taker)? };
        self.is_over |= named.is_none();
        let found = if let Some(bell) = named {
            (taker, bell)
        } else {
            store.end_life(taker)?;
            open(store)?
        };
        (self.is_nameless, self.is_over) = (true, false);
        Ok(Some(found))
    }

    /// All that belongs to the socket is in use.
    pub(crate) const fn is_well(&mut self) {
        self.is_nameless = false;
    }
}

impl Thread {
    /// Sees to it that others find us. What fails is tried again with all else.
    pub(super) fn live_on(&mut self) -> Result<(), Trouble> {
        if self.lasting || self.again_at.is_some_and(|at| at > self.store.now().mono) {
            return Ok(());
        }
        let Settings { place, queue, policy, error_class, .. } = &self.settings;
        let open = |store: &mut Store| open_taker(store, place, queue, (*policy, &**error_class));
        if let Some(found) = self.standing.mend(&mut self.store, self.taker, open)? {
            (self.taker, self.bell) = found;
            *self.shared.button() = Some(self.store.button(self.taker)?);
            self.standing.is_well();
            // Nobody has rung for what came meanwhile, or for what was lost.
            (self.look, self.rung) = (true, true);
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
