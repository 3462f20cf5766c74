//! Seeing what arrives in the drop folder, also where it was away, and where it cannot be watched.

use crate::settings::{BrokerKind, Settings};
use ::log::{info, warn};
use machine::time::Mono;
use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;
use sys::linux::errno::Result;
use sys::linux::fd::PollFd;
use sys::linux::watch::{self, Watcher};

/// From one look to the next where the folder cannot be watched.
const LOOK: Duration = Duration::from_secs(5);

/// The drop folder, as it is watched.
pub(super) struct Drops {
    folder: PathBuf,
    watched: Option<(Watcher, i32)>,
    /// Where it is not watched: when it is looked at next.
    next: Mono,
    /// It was said that it cannot be watched.
    is_said: bool,
}

impl Drops {
    /// Watches the drop folder; `None` = items come another way.
    pub(super) fn watch(settings: &Settings, now: Mono) -> Option<Self> {
        if settings.broker.kind == BrokerKind::RabbitMq {
            return None;
        }
        let folder = super::drop_folder(settings);
        let mut drops = Self { folder, watched: None, next: now, is_said: false };
        drops.begin(now);
        Some(drops)
    }

    pub(super) fn interest(&self) -> PollFd {
        let watcher = self.watched.as_ref();
        watcher.map_or(PollFd::none(), |(watcher, _)| PollFd::readable(watcher.raw()))
    }

    /// Returns when there is something to do without a report.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.watched.is_none().then_some(self.next)
    }

    /// Reads what is reported, and tries again what could not be watched. Tells whether the folder is
    /// to be looked at.
    pub(super) fn look(&mut self, now: Mono) -> bool {
        let (mut arrived, mut is_lost) = (false, false);
        if let Some((watcher, own)) = &self.watched {
            watcher.reports(|report| {
                is_lost |= report.watch == *own && report.what & watch::LOST != 0;
                // An empty name: what is gone, or reports that the kernel dropped.
                arrived |= !report.name.starts_with(b".");
            });
        }
        if is_lost {
            (self.watched, self.next) = (None, now);
        }
        if self.watched.is_none() && self.next <= now {
            self.begin(now);
            arrived = true;
        }
        arrived
    }

    fn begin(&mut self, now: Mono) {
        match self.open() {
            Ok(watched) => {
                if self.is_said {
                    info!("{} is watched again", self.folder.display());
                }
                (self.watched, self.is_said) = (Some(watched), false);
            }
            Err(why) => {
                if !self.is_said {
                    let (folder, every) = (self.folder.display(), LOOK.as_secs());
                    warn!("unable to watch {folder}, looking at it every {every} s: {why}");
                }
                (self.next, self.is_said) = (now.after(LOOK), true);
            }
        }
    }

    fn open(&self) -> Result<(Watcher, i32)> {
        // A path of the configuration has no NUL in it; one that had would be no folder.
        let path = CString::new(self.folder.as_os_str().as_encoded_bytes()).unwrap_or_default();
        let watcher = Watcher::new()?;
        // A file that could not be read may be by now.
        let own = watcher.add(&path, watch::APPEARED | watch::ATTRIBUTES)?;
        Ok((watcher, own))
    }
}
