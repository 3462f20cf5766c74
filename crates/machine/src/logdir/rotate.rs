//! Closing `current`, opening the next one, giving the closed one its name, making room.

use super::{Answer, Call, File, Found, Machine, Rules, Step, Survey};
use ondisk::logdir::Rotated;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rotate {
    /// Is `current` still ours?
    Verify,
    SyncCurrent,
    CloseCurrent,
    SetAside,
    OpenCurrent,
    SetOpen,
    /// What the processor failed on may have been taken away.
    LookPrevious,
    Process,
    Running,
    SyncProcessed,
    SyncNewstate,
    MarkProcessed,
    /// `processed` takes the place of `previous`: its name must be on disk first.
    SyncNames,
    RemovePrevious,
    KeepState,
    Survey,
    Name,
    SyncDirectory,
    /// How many are there now?
    Count,
    RemoveOldest(Rotated),
    /// Somebody took `current` away: the next one, without a rotation.
    OpenAnother,
    SetAnotherOpen,
    SyncAnother,
}

impl Rotate {
    /// Where to begin again when this step failed.
    pub(super) fn once_more(self) -> Self {
        match self {
            Self::SetAside => Self::Verify,
            Self::Process => Self::LookPrevious,
            Self::Name => Self::Survey,
            step => step,
        }
    }
}

impl Machine {
    pub(super) fn rotate_call(&self, step: Rotate) -> Option<Call> {
        Some(match step {
            Rotate::Verify => Call::LookOpen,
            Rotate::SyncCurrent => Call::SyncCurrent,
            Rotate::CloseCurrent => Call::CloseCurrent,
            Rotate::SetAside => Call::SetAside,
            Rotate::OpenCurrent | Rotate::OpenAnother => Call::OpenCurrent,
            Rotate::SetOpen | Rotate::SetAnotherOpen => Call::SetOpen,
            Rotate::LookPrevious => Call::Look(File::Previous),
            Rotate::Process => Call::Process,
            Rotate::Running => return None,
            Rotate::SyncProcessed => Call::Sync(File::Processed),
            Rotate::SyncNewstate => Call::Sync(File::Newstate),
            Rotate::MarkProcessed => Call::Mark(File::Processed),
            Rotate::RemovePrevious => Call::Remove(File::Previous),
            Rotate::KeepState => Call::KeepState,
            Rotate::Survey | Rotate::Count => Call::Survey,
            Rotate::Name => Call::Name(self.closed_file(), self.later(self.rules.code)),
            Rotate::SyncNames | Rotate::SyncDirectory | Rotate::SyncAnother => Call::SyncDirectory,
            Rotate::RemoveOldest(oldest) => Call::Remove(File::Rotated(oldest)),
        })
    }

    pub(super) fn rotate_answered(&mut self, step: Rotate, answer: Answer) {
        let next = match step {
            Rotate::Verify if answer == Answer::Found(Found::Lost) => Rotate::OpenAnother,
            Rotate::Verify => Rotate::SyncCurrent,
            Rotate::SyncCurrent => Rotate::CloseCurrent,
            Rotate::CloseCurrent => Rotate::SetAside,
            Rotate::SetAside => {
                self.has_current = false;
                Rotate::OpenCurrent
            }
            Rotate::OpenCurrent => {
                self.has_current = true;
                Rotate::SetOpen
            }
            Rotate::SetOpen => self.set_aside(),
            Rotate::LookPrevious if answer == Answer::Seen(None) => Rotate::Count,
            Rotate::LookPrevious => Rotate::Process,
            Rotate::Process | Rotate::Running => Rotate::Running,
            Rotate::SyncProcessed => Rotate::SyncNewstate,
            Rotate::SyncNewstate => Rotate::MarkProcessed,
            Rotate::MarkProcessed => Rotate::SyncNames,
            Rotate::SyncNames => Rotate::RemovePrevious,
            Rotate::RemovePrevious => Rotate::KeepState,
            Rotate::KeepState => Rotate::Survey,
            Rotate::Survey => {
                self.surveyed(answer);
                Rotate::Name
            }
            Rotate::Name => {
                self.used(self.later(self.rules.code));
                self.survey.count += 1;
                Rotate::SyncDirectory
            }
            // How large the new one is, nobody has asked yet.
            Rotate::SyncDirectory if self.rules.total > 0 => Rotate::Count,
            Rotate::SyncDirectory => return self.make_room(),
            Rotate::Count => {
                self.surveyed(answer);
                return self.make_room();
            }
            Rotate::RemoveOldest(_) => Rotate::Count,
            Rotate::OpenAnother => Rotate::SetAnotherOpen,
            Rotate::SetAnotherOpen => Rotate::SyncAnother,
            Rotate::SyncAnother => return self.rotated(),
        };
        self.step = Step::Rotate(next);
    }

    /// Tells, and goes on, where a failure leaves nothing to be done: who took the file away has
    /// it now.
    pub(super) fn is_moot(&mut self, step: Rotate) -> bool {
        let moot = step == Rotate::Name;
        if moot {
            self.step = Step::Rotate(Rotate::SyncDirectory);
        }
        moot
    }

    /// Returns the first step with a `previous` that is closed.
    pub(super) fn set_aside(&self) -> Rotate {
        if self.rules.processor { Rotate::Process } else { Rotate::Survey }
    }

    fn closed_file(&self) -> File {
        if self.rules.processor { File::Processed } else { File::Previous }
    }

    fn surveyed(&mut self, answer: Answer) {
        if let Answer::Surveyed(survey) = answer {
            self.survey = survey;
        }
    }

    fn make_room(&mut self) {
        let Survey { count, oldest, bytes, .. } = self.survey;
        let Rules { keep, total, size, .. } = self.rules;
        let too_many = count >= keep;
        let too_much = total > 0 && bytes.saturating_add(size) > total;
        match oldest {
            Some(oldest) if too_many || too_much => {
                self.step = Step::Rotate(Rotate::RemoveOldest(oldest));
            }
            // The only one was counted before it had its name.
            None if too_many => self.step = Step::Rotate(Rotate::Count),
            Some(_) | None => self.rotated(),
        }
    }

    fn rotated(&mut self) {
        self.step = Step::Ready;
        self.job.look_for_work(self.rules.background);
        self.settle();
    }
}
