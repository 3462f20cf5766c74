//! Rotated files go through the background processor, one after the other, while logging goes on.
//!
//! The processor's output is put on disk, gets a mode of its own and takes the file's name by one
//! rename: a file is either as it was and will be processed, or done and will not.

use super::{Answer, Call, File, Machine, PAUSE, Step, Verdict};
use crate::time::Mono;
use ondisk::logdir::Rotated;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    Idle,
    Find,
    Start(Rotated),
    Running(Rotated),
    Sync(Rotated),
    Mark(Rotated),
    /// It may have had to make room in the meantime.
    Look(Rotated),
    Replace(Rotated),
    SyncDirectory,
    Discard,
    /// The processor runs, but its directory is gone.
    Stray,
}

impl Job {
    pub(super) fn look_for_work(&mut self, wanted: bool) {
        if wanted && *self == Self::Idle {
            *self = Self::Find;
        }
    }

    /// The directory is gone.
    pub(super) fn leave(&mut self) {
        *self = match self {
            Self::Running(_) | Self::Stray => Self::Stray,
            _ => Self::Idle,
        };
    }
}

impl Machine {
    /// Says how the background processor ended.
    pub fn reworked(&mut self, well: bool, now: Mono) {
        match self.job {
            Job::Running(file) if well => self.job = Job::Sync(file),
            Job::Running(_) => {
                self.job = Job::Find;
                self.job_pause = Some(now.after(PAUSE));
            }
            Job::Stray => self.job = Job::Find,
            _ => {}
        }
    }

    pub(super) fn job_call(&self) -> Option<Call> {
        let elsewhere = matches!(
            self.step,
            Step::Boot(_) | Step::FinalStop | Step::FinalSync | Step::FinalMark | Step::Over
        );
        if elsewhere || self.ending.is_some() || self.job_pause.is_some() {
            return None;
        }
        Some(match self.job {
            Job::Idle | Job::Running(_) | Job::Stray => return None,
            Job::Find => Call::FindRaw,
            Job::Start(file) => Call::Rework(file),
            Job::Sync(_) => Call::Sync(File::Reworking),
            Job::Mark(_) => Call::Mark(File::Reworking),
            Job::Look(file) => Call::Look(File::Rotated(file)),
            Job::Replace(file) => Call::Replace(file),
            Job::SyncDirectory => Call::SyncDirectory,
            Job::Discard => Call::Remove(File::Reworking),
        })
    }

    pub(super) fn job_answered(&mut self, answer: Answer, now: Mono) -> Verdict {
        if let Answer::Failed(_) = answer {
            self.job_pause = Some(now.after(PAUSE));
            if matches!(self.job, Job::Start(_) | Job::Sync(_) | Job::Mark(_)) {
                self.job = Job::Find;
            }
            return Verdict::Pausing;
        }
        self.job = match self.job {
            Job::Find => match answer {
                Answer::Raw(Some(file)) => Job::Start(file),
                _ => Job::Idle,
            },
            Job::Start(file) => Job::Running(file),
            Job::Sync(file) => Job::Mark(file),
            Job::Mark(file) => Job::Look(file),
            Job::Look(_) if answer == Answer::Seen(None) => Job::Discard,
            Job::Look(file) => Job::Replace(file),
            Job::Replace(_) => Job::SyncDirectory,
            Job::SyncDirectory | Job::Discard => Job::Find,
            Job::Idle | Job::Running(_) | Job::Stray => self.job,
        };
        Verdict::Fine
    }
}
