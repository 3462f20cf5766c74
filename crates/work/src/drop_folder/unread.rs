//! Files in a drop folder that cannot be read: they wait there, and each is told once.

use crate::trouble::reason;
use std::collections::HashSet;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of a flood so many are told; the next ones are when these are gone.
const MOST: usize = 1000;

/// A file that cannot be read. It waits in the drop folder until it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where it is.
    pub path: PathBuf,
    /// User id of its owner.
    pub owner: u32,
    /// Why it cannot be read.
    pub why: String,
    /// What chmod(1) is to change of its mode.
    pub mode: &'static str,
}

/// Tells a file from others, also while it is being written: its number, and when it was made where
/// that is known.
type Which = (u64, Option<SystemTime>);

/// What cannot be read.
#[derive(Debug, Default)]
pub(super) struct Unreads {
    /// Told in the look before this.
    told: HashSet<Which>,
    /// Met in this look.
    met: HashSet<Which>,
    news: Vec<Unread>,
}

impl Unreads {
    /// Notes a file; `group` is the folder's, if it is known.
    pub(super) fn meet(
        &mut self,
        path: &Path,
        found: &Metadata,
        group: Option<u32>,
        why: &io::Error,
    ) {
        let which = (found.ino(), found.created().ok());
        if self.met.len() == MOST || !self.met.insert(which) || self.told.contains(&which) {
            return;
        }
        // One that was moved there from elsewhere has the group that it had.
        let is_of_group = group == Some(found.gid()) && found.mode() & 0o040 == 0;
        self.news.push(Unread {
            path: path.to_owned(),
            owner: found.uid(),
            why: reason(why),
            mode: if is_of_group { "g+r" } else { "a+r" },
        });
    }

    /// The look is over: what was not met is gone.
    pub(super) fn end_look(&mut self) {
        self.told = std::mem::take(&mut self.met);
    }

    /// Returns what was not told before.
    pub(super) fn news(&mut self) -> Vec<Unread> {
        std::mem::take(&mut self.news)
    }
}
