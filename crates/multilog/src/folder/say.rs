//! What a folder says on descriptor 2. The texts are the original's where it has one.

use super::Folder;
use super::perform::name;
use crate::{FATAL, NAME, WARNING};
use linux::decimal::Decimal;
use linux::message;
use machine::logdir::{Call, File, PAUSE, Verdict};
use machine::time::Mono;

/// Which part of a call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What the call is named for.
    Whole,
    /// The lock of the directory.
    Lock,
    /// Opening a file for reading.
    Read(File),
    /// Making a file.
    Make(File),
    /// Making a process.
    Fork,
    /// Running the shell.
    Run,
}

/// What is worth a line though no call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    DirectoryLost,
    CurrentLost,
    CurrentCut,
    ProcessorFailed,
    BackgroundFailed,
    BackgroundEmpty,
}

/// What was said of files that had to make room: each with its line would fill a log of its own.
#[derive(Default)]
pub(super) struct Drops {
    told: Option<Mono>,
    /// How many there were since.
    untold: u64,
}

impl Drops {
    /// Counts one; tells whether to say so, and of how many nothing was said before it.
    fn count(&mut self, now: Mono) -> Option<u64> {
        let is_soon = |told: Mono| u128::from(now.nanos_from(told)) < PAUSE.as_nanos();
        if self.told.is_some_and(is_soon) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told = Some(now);
        Some(core::mem::take(&mut self.untold))
    }
}

/// `unable to` BEFORE, then DIR, then `/` and a file if there is one, then AFTER.
struct Trouble {
    before: &'static str,
    file: Option<File>,
    after: &'static str,
}

const fn at(before: &'static str, file: File) -> Trouble {
    Trouble { before, file: Some(file), after: "" }
}

const fn dir(before: &'static str) -> Trouble {
    Trouble { before, file: None, after: "" }
}

const fn disk(file: File) -> Trouble {
    Trouble { before: "write ", file: Some(file), after: " to disk" }
}

impl Folder {
    pub(super) fn notice(&self, notice: Notice) {
        let (before, after) = match notice {
            Notice::DirectoryLost => ("", " was removed or renamed, making it anew"),
            Notice::CurrentLost => ("", "/current was removed or renamed, making it anew"),
            Notice::CurrentCut => ("", "/current was cut by somebody else, going on at its end"),
            Notice::ProcessorFailed => ("processor failed in ", ", pausing"),
            Notice::BackgroundFailed => ("background processor failed in ", ", pausing"),
            Notice::BackgroundEmpty => ("background processor wrote nothing in ", ", pausing"),
        };
        let parts = [before.as_bytes(), self.path.to_bytes(), after.as_bytes()];
        message::whole(NAME, WARNING, &parts, None);
    }

    pub(super) fn say_write_failed(&mut self, verdict: Verdict, now: Mono) {
        self.trouble(&at("write to ", File::Current), verdict, now);
    }

    pub(super) fn say(&mut self, call: Call, verdict: Verdict, now: Mono) {
        if verdict != Verdict::Fine {
            let none_left = dir("remove any more files in ");
            let trouble = if verdict == Verdict::Exhausted { none_left } else { self.of(call) };
            self.trouble(&trouble, verdict, now);
        }
    }

    fn of(&self, call: Call) -> Trouble {
        match self.part {
            Part::Lock => return dir("lock directory "),
            Part::Read(file) => return at("read ", file),
            Part::Make(file) => return at("create ", file),
            Part::Fork => return dir("fork for processor in "),
            Part::Run => return dir("run /bin/sh in "),
            Part::Whole => {}
        }
        match call {
            Call::Enter | Call::Stop => dir("open directory "),
            Call::LookDirectory => dir("stat "),
            Call::LookOpen => at("stat ", File::Current),
            Call::Look(file) => at("stat ", file),
            Call::FindTwin(_) | Call::Survey | Call::FindRaw => dir("read "),
            // The original does not look whether this worked, and says what comes of it.
            Call::Remove(File::State) => at("write to ", File::State),
            Call::Remove(file) => at("remove ", file),
            Call::Name(File::Current, _) => dir("rename current to its final name in directory "),
            Call::Name(File::Processed, _) => {
                dir("rename processed to its final name in directory ")
            }
            Call::Name(_, _) => dir("rename previous to its final name in directory "),
            Call::MakeState => at("write to ", File::State),
            Call::KeepState => dir("rename newstate to state in directory "),
            Call::OpenCurrent if self.machine.is_booted() => at("create ", File::Current),
            Call::OpenCurrent => at("append to ", File::Current),
            Call::SetOpen | Call::CloseCurrent => at("set mode of ", File::Current),
            Call::SyncCurrent => disk(File::Current),
            Call::SetAside => dir("rename current to previous in directory "),
            Call::Process => dir("fork for processor in "),
            Call::Sync(file) => disk(file),
            Call::Mark(file) => at("set mode of ", file),
            Call::Rework(_) => dir("fork for background processor in "),
            Call::Replace(_) => dir("rename reworking to its final name in directory "),
            Call::SyncDirectory => {
                Trouble { before: "write directory ", file: None, after: " to disk" }
            }
        }
    }

    fn trouble(&mut self, trouble: &Trouble, verdict: Verdict, now: Mono) {
        let untold = match verdict {
            Verdict::Dropping => self.drops.count(now),
            _ => Some(0),
        };
        let Some(untold) = untold else { return };
        let name = trouble.file.map(name);
        let (slash, name) =
            name.as_ref().map_or((&b""[..], &b""[..]), |name| (b"/", name.as_c_str().to_bytes()));
        let (severity, then) = match verdict {
            Verdict::Fine => return,
            Verdict::Pausing | Verdict::Exhausted => (WARNING, ", pausing"),
            Verdict::Dropping => (WARNING, ", removing the oldest file"),
            Verdict::Fatal => (FATAL, ""),
        };
        let number = Decimal::of(untold);
        let [open, number, close]: [&[u8]; 3] = match untold {
            0 => [b"", b"", b""],
            _ => [b" (and ", number.digits(), b" since this was said)"],
        };
        let parts: [&[u8]; 10] = [
            b"unable to ",
            trouble.before.as_bytes(),
            self.path.to_bytes(),
            slash,
            name,
            trouble.after.as_bytes(),
            then.as_bytes(),
            open,
            number,
            close,
        ];
        message::whole(NAME, severity, &parts, Some(self.why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux::time::SECOND;

    #[test]
    fn of_files_that_make_room_one_is_told_every_five_seconds_and_the_others_are_counted() {
        let mut drops = Drops::default();
        let said = [10, 11, 14, 15, 16, 20, 60].map(|at| drops.count(Mono(at * SECOND)));
        assert_eq!(said, [Some(0), None, None, Some(2), None, Some(1), Some(0)]);
    }
}
