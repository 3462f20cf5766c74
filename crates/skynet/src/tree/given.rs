//! The templates of participants and what they need, as this program carries them.

use super::{Made, Readers};
use std::borrow::Cow;

/// A file of the tree that this program was built from: its path, whether it can be run, its text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given(&'static str, bool, &'static str);

include!(concat!(env!("OUT_DIR"), "/given.rs"));

impl Given {
    /// Returns it as a file below `folder`, which is empty or ends with a slash.
    pub(crate) fn below(&self, folder: &str) -> Made {
        let path = format!("{folder}{}", self.0);
        Made { path, is_program: self.1, readers: Readers::All, text: Cow::Borrowed(self.2) }
    }
}

/// Returns `run` and `log/run` of a participant.
pub(crate) fn runs() -> Vec<Made> {
    let all = SHELL.iter().map(|given| given.below(""));
    all.filter(|file| file.path == "run" || file.path == "log/run").collect()
}
