//! What was asked of the queue and is not answered yet.

use super::{Action, Actions, Ask};

/// Asks of one kind. Each is answered, by an item or by the word that none comes of it; so nothing
/// arrives that is not counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Asks {
    open: usize,
    /// All of them were taken back. None is asked before they are answered: nobody could tell
    /// whether what comes then is one too many.
    withdrawn: bool,
}

impl Asks {
    /// Returns one without asks.
    pub(super) const fn new() -> Self {
        Self { open: 0, withdrawn: false }
    }

    /// How many may be answered by an item.
    pub(super) const fn open(self) -> usize {
        self.open
    }

    /// Tells whether what was taken back is not answered yet.
    pub(super) const fn are_withdrawn(self) -> bool {
        self.withdrawn
    }

    pub(super) fn ask(&mut self, ask: Ask, out: &mut Actions) {
        self.open += 1;
        out.push(Action::Ask(ask));
    }

    /// Takes all of them back, once.
    pub(super) fn withdraw(&mut self, ask: Ask, out: &mut Actions) {
        if self.open > 0 && !self.withdrawn {
            self.withdrawn = true;
            for _ in 0..self.open {
                out.push(Action::Withdraw(ask));
            }
        }
    }

    /// One of them was answered.
    pub(super) const fn answered(&mut self) {
        self.open = self.open.saturating_sub(1);
        self.withdrawn = self.withdrawn && self.open > 0;
    }
}
