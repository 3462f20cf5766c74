//! What a participant knows of the attempt it makes, and what it can say during it.

use crate::fault::Fault;
use crate::item::Item;
use crate::link::Link;
use crate::protocol::{Flavour, FromParticipant};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Hook = Box<dyn FnOnce(Flavour) + Send>;

/// An item in hand, as the thread that works and the one that listens see it.
#[derive(Default)]
pub(crate) struct Task {
    pub(crate) id: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flavour: Option<Flavour>,
    hooks: Vec<Hook>,
    done: Option<f64>,
    text: Option<String>,
}

impl Task {
    pub(crate) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    pub(crate) fn flavour(&self) -> Option<Flavour> {
        self.state().flavour
    }

    /// Marks it as not wanted any more, and tells who asked to be told.
    pub(crate) fn cancel(&self, flavour: Flavour) {
        let hooks = {
            let mut state = self.state();
            state.flavour = Some(flavour);
            std::mem::take(&mut state.hooks)
        };
        // Not under the lock: they may look at the task.
        for hook in hooks {
            // Whoever listens goes on whatever a hook of the author's does; the panic is told.
            let _ = catch_unwind(AssertUnwindSafe(|| hook(flavour)));
        }
    }

    /// Says how far it is.
    pub(crate) fn report(&self, link: &Link) {
        let (done, text) = {
            let state = self.state();
            (state.done, state.text.clone())
        };
        link.say(FromParticipant::Progress { id: self.id, done, text: text.map(Into::into) });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The attempt that is made at an item.
pub struct Context {
    pub(crate) task: Arc<Task>,
    pub(crate) attempt: u32,
    pub(crate) stage: Option<String>,
    /// `None` in per-item mode, where only the answer can be said.
    pub(crate) link: Option<Arc<Link>>,
}

impl Context {
    /// Returns the number of the attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns how far an earlier attempt came: what it told [`Context::set_stage`] last.
    #[must_use]
    pub fn stage(&self) -> Option<&str> {
        self.stage.as_deref()
    }

    /// Tells whether the item is not wanted any more. To be asked now and then during long work:
    /// the time until the process is killed is short.
    ///
    /// In per-item mode the process gets TERM instead, which ends it.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.flavour().is_some()
    }

    /// Returns why the item is not wanted any more; `None` = it is. Where the process is about to
    /// be killed, or exo is gone, that is [`Flavour::Kill`].
    #[must_use]
    pub fn flavour(&self) -> Option<Flavour> {
        self.task.flavour()
    }

    /// Returns a fault where the item is not wanted any more: `context.check()?` ends the work.
    ///
    /// Whatever fault follows a cancel is answered as "cancelled".
    ///
    /// # Errors
    /// See above.
    #[track_caller]
    pub fn check(&self) -> Result<(), Fault> {
        if self.is_cancelled() { Err(Fault::retry("cancelled")) } else { Ok(()) }
    }

    /// Has something done as soon as the item is not wanted any more: a child killed, a connection
    /// closed. It is done at most once, in another thread than the work, which waits for nothing.
    pub fn on_cancel(&self, hook: impl FnOnce(Flavour) + Send + 'static) {
        let mut state = self.task.state();
        if let Some(flavour) = state.flavour {
            drop(state);
            hook(flavour);
        } else {
            state.hooks.push(Box::new(hook));
        }
    }

    /// Says how far the work is, `done` from 0 to 1. The last that was said also answers those who
    /// ask later. In per-item mode it goes to the log.
    pub fn progress(&self, done: Option<f64>, text: &str) {
        let done = done.filter(|done| done.is_finite()).map(|done| done.clamp(0.0, 1.0));
        {
            let mut state = self.task.state();
            state.done = done;
            state.text = (!text.is_empty()).then(|| text.to_owned());
        }
        if let Some(link) = &self.link {
            self.task.report(link);
        } else {
            crate::say(&format!("progress: {} {text}", done.unwrap_or_default()));
        }
    }

    /// Says how far the work has come, for the next attempt should this one be lost: it finds it in
    /// [`Context::stage`]. `None` forgets. In per-item mode it goes to the log alone.
    pub fn set_stage(&self, stage: Option<&str>) {
        if let Some(link) = &self.link {
            link.say(FromParticipant::Stage { id: self.task.id, stage: stage.map(Into::into) });
        } else {
            crate::say(&format!("stage: {}", stage.unwrap_or_default()));
        }
    }

    /// Sends a further item to a queue; returns the job that it is, or `None` where RabbitMQ has it.
    /// Waits until it is safe there.
    ///
    /// # Errors
    /// A fault to be tried again: exo is gone, or the item was refused. A final one in per-item
    /// mode, where nobody listens.
    #[track_caller]
    pub fn forward(&self, queue: &str, item: &Item) -> Result<Option<i64>, Fault> {
        let Some(link) = &self.link else {
            return Err(Fault::finally("a further item can be sent in persistent mode only"));
        };
        match link.forward(queue, item) {
            Ok(job) => Ok(job),
            Err(why) => Err(Fault::retry(format!("unable to forward to {queue}: {why}"))),
        }
    }
}
