//! Taking a directory over, whatever state the last logger left it in.

use super::{Answer, Call, File, Machine, Rotate, Seen, Step};
use ondisk::logdir::Code;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Boot {
    Enter,
    ClearReworking,
    Survey,
    LookCurrent,
    RemoveState,
    LookProcessed,
    /// `processed` is complete: `previous` is not needed any more once the name is on disk.
    SyncNames,
    RemovePrevious,
    KeepState,
    ForgetNewstate,
    /// `processed` is not complete: `previous` is what counts.
    RemoveProcessed,
    RemoveNewstate,
    LookPrevious,
    FindTwin(File),
    RemoveTwin(File),
    Name(File),
    MakeState,
    OpenCurrent,
    SetOpen,
    SyncDirectory,
}

impl Boot {
    /// Where to begin again when this step failed.
    pub(super) fn once_more(self) -> Self {
        match self {
            Self::Name(_) => Self::Survey,
            step => step,
        }
    }
}

impl Machine {
    pub(super) fn boot_call(&self, step: Boot) -> Call {
        match step {
            Boot::Enter => Call::Enter,
            Boot::ClearReworking => Call::Remove(File::Reworking),
            Boot::Survey => Call::Survey,
            Boot::LookCurrent => Call::Look(File::Current),
            Boot::RemoveState => Call::Remove(File::State),
            Boot::LookProcessed => Call::Look(File::Processed),
            Boot::RemovePrevious => Call::Remove(File::Previous),
            Boot::KeepState => Call::KeepState,
            Boot::RemoveProcessed => Call::Remove(File::Processed),
            Boot::RemoveNewstate | Boot::ForgetNewstate => Call::Remove(File::Newstate),
            Boot::LookPrevious => Call::Look(File::Previous),
            Boot::FindTwin(file) => Call::FindTwin(file),
            Boot::RemoveTwin(file) => Call::Remove(file),
            Boot::Name(File::Processed) => Call::Name(File::Processed, self.later(self.rules.code)),
            Boot::Name(file) => Call::Name(file, self.later(Code::UNFINISHED)),
            Boot::MakeState => Call::MakeState,
            Boot::OpenCurrent => Call::OpenCurrent,
            Boot::SetOpen => Call::SetOpen,
            Boot::SyncNames | Boot::SyncDirectory => Call::SyncDirectory,
        }
    }

    pub(super) fn boot_answered(&mut self, step: Boot, answer: Answer) {
        let seen = if let Answer::Seen(seen) = answer { seen } else { None };
        let closed = seen.is_some_and(|seen| seen.closed);
        let next = match step {
            Boot::Enter => {
                self.leftover = false;
                Boot::ClearReworking
            }
            Boot::ClearReworking => Boot::Survey,
            Boot::Survey => {
                if let Answer::Surveyed(survey) = answer {
                    self.survey = survey;
                }
                Boot::LookCurrent
            }
            Boot::LookCurrent => self.current_seen(seen),
            Boot::RemoveState => Boot::LookProcessed,
            Boot::LookProcessed if closed => Boot::SyncNames,
            Boot::SyncNames => Boot::RemovePrevious,
            Boot::LookProcessed => Boot::RemoveProcessed,
            // What the last run of the processor left counts only if all went well.
            Boot::RemovePrevious if self.clean => Boot::KeepState,
            Boot::RemovePrevious => Boot::ForgetNewstate,
            Boot::KeepState | Boot::ForgetNewstate => Boot::FindTwin(File::Processed),
            Boot::RemoveProcessed => Boot::RemoveNewstate,
            Boot::RemoveNewstate => Boot::LookPrevious,
            Boot::LookPrevious => self.previous_seen(seen),
            Boot::FindTwin(file) if answer == Answer::Twin(true) => Boot::RemoveTwin(file),
            Boot::FindTwin(file) => Boot::Name(file),
            Boot::Name(file) => {
                self.used(self.later(Code::UNFINISHED));
                self.named(file)
            }
            Boot::RemoveTwin(file) => self.named(file),
            Boot::MakeState => Boot::OpenCurrent,
            Boot::OpenCurrent => {
                self.has_current = true;
                Boot::SetOpen
            }
            Boot::SetOpen => Boot::SyncDirectory,
            Boot::SyncDirectory => return self.taken_over(),
        };
        self.step = Step::Boot(next);
    }

    fn current_seen(&mut self, seen: Option<Seen>) -> Boot {
        self.clean = seen.is_some_and(|seen| seen.closed);
        // An empty one is as good as new; a name of its own would only cost an old file's place.
        self.aside = seen.is_some_and(|seen| !seen.closed && !seen.empty);
        if self.clean { Boot::LookProcessed } else { Boot::RemoveState }
    }

    fn previous_seen(&mut self, seen: Option<Seen>) -> Boot {
        match seen {
            None => self.named(File::Previous),
            Some(seen) if seen.closed && self.clean => {
                self.leftover = true;
                self.open()
            }
            Some(_) => Boot::FindTwin(File::Previous),
        }
    }

    fn named(&self, file: File) -> Boot {
        if file == File::Current || !self.aside {
            self.open()
        } else {
            Boot::FindTwin(File::Current)
        }
    }

    fn open(&self) -> Boot {
        if self.clean { Boot::OpenCurrent } else { Boot::MakeState }
    }

    fn taken_over(&mut self) {
        self.booted = true;
        let then = if self.leftover { self.set_aside() } else { Rotate::Count };
        self.step = Step::Rotate(then);
    }
}
