//! What the logger does next with one log directory.
//!
//! The machine asks for one system call at a time and is told how it went. A call that fails is
//! asked for once more after five seconds, for ever; only while the directory is taken over at
//! start is a failure the end. Whatever is interrupted, at whichever call, the next machine that
//! takes the directory over finds every byte once.
//!
//! Three flows: [`boot`] takes a directory over, [`rotate`] closes `current` and opens the next,
//! [`rework`] sends rotated files through the background processor while logging goes on.
//!
//! Source: multilog(8); daemontools.md 1.8. Where this is better than the original: a rotated name
//! is later than all that are there, whatever the clock says; names are on disk before something
//! is removed because of them; a directory or a `current` that somebody takes away is made anew;
//! what a polite end left of a rotation is resumed.

pub mod age;
mod boot;
mod rework;
mod rotate;
#[cfg(test)]
mod tests;

use crate::time::{Mono, earlier};
use boot::Boot;
use core::time::Duration;
use ondisk::logdir::{Code, Rotated};
use ondisk::tai64n::Stamp;
use rework::Job;
use rotate::Rotate;

/// From a failure to the next attempt.
pub const PAUSE: Duration = Duration::from_secs(5);
/// How long an end may be held up by a processor or by failures.
pub const GRACE: Duration = Duration::from_secs(5);

/// What the script says about a directory, as far as the machine cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What ends the name of a file that is complete.
    pub code: Code,
    /// Fewer rotated files than this remain after a rotation.
    pub keep: u32,
    /// Bytes that `current` may grow to.
    pub size: u64,
    /// Bytes that the rotated files and a full `current` may have together; 0: any number.
    pub total: u64,
    /// Files go through a processor before they get their rotated name.
    pub processor: bool,
    /// Rotated files go through a processor later.
    pub background: bool,
    /// On a full disk the oldest rotated file makes room.
    pub drop_when_full: bool,
}

/// A file of the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// What is being written.
    Current,
    /// A `current` that was closed.
    Previous,
    /// The processor's output.
    Processed,
    /// What the processor keeps from run to run.
    State,
    /// The next `State`.
    Newstate,
    /// The background processor's output.
    Reworking,
    /// One that has its final name.
    Rotated(Rotated),
}

/// What is to be done: one system call on the directory, or a few that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Make the directory if it is absent, open it, take its lock; answered by `Done`.
    Enter,
    /// Is the directory still the one at its path? Answered by `Found`.
    LookDirectory,
    /// Is `current` still the file that is open, and as long as what was written? By `Found`.
    LookOpen,
    /// Look at a file; answered by `Seen`.
    Look(File),
    /// Is a rotated file the same file under a second name? Answered by `Twin`.
    FindTwin(File),
    /// List the rotated files; answered by `Surveyed`.
    Survey,
    /// Find the oldest rotated file that is still to be reworked; answered by `Raw`.
    FindRaw,
    /// Remove a file; one that is absent is `Done`.
    Remove(File),
    /// Give a file its rotated name, which nobody has; answered by `Done`.
    Name(File, Rotated),
    /// Make `state`, empty.
    MakeState,
    /// Rename `newstate` to `state`; one that is absent is `Done`.
    KeepState,
    /// Open `current` for writing at its end; make it if it is absent.
    OpenCurrent,
    /// Give the open `current` the mode of a file that is being written.
    SetOpen,
    /// Put the content of the open `current` on disk.
    SyncCurrent,
    /// Give the open `current` the mode of a file that is complete and on disk.
    CloseCurrent,
    /// Rename `current` to `previous`.
    SetAside,
    /// Start the processor: `previous` to `processed`, `state` to `newstate`.
    Process,
    /// Put a file on disk; make it if it is absent.
    Sync(File),
    /// Give a file that is on disk the mode that says so.
    Mark(File),
    /// Start the background processor: this file to `reworking`.
    Rework(Rotated),
    /// Rename `reworking` to this file.
    Replace(Rotated),
    /// Put the names on disk.
    SyncDirectory,
    /// Send TERM to the processors that run, and remove `reworking`. Cannot fail.
    Stop,
}

/// What a look at a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its mode says that it is complete and on disk.
    pub closed: bool,
    /// It has no content.
    pub empty: bool,
}

/// What the rotated files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many.
    pub count: u32,
    /// The first in order.
    pub oldest: Option<Rotated>,
    /// The stamp of the last in order.
    pub newest: Option<Stamp>,
    /// Their bytes; counts only where the rules limit the total.
    pub bytes: u64,
    /// The wall clock.
    pub now: Stamp,
}

/// Whether something is as it was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is.
    Same,
    /// It is gone, or something else has its name.
    Lost,
    /// It was cut from outside while bytes went on arriving behind the cut.
    Holed,
}

/// Why a call failed, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No room on the disk.
    Full,
    /// The file is not there.
    Absent,
    /// Anything else.
    Other,
}

/// How a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As asked.
    Done,
    /// The file, `None` where it is absent.
    Seen(Option<Seen>),
    /// Whether there is a second name.
    Twin(bool),
    /// The rotated files.
    Surveyed(Survey),
    /// The file to be reworked, if there is one.
    Raw(Option<Rotated>),
    /// Whether it is as it was left.
    Found(Found),
    /// Not done.
    Failed(Failure),
}

/// What is to be said about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// The call failed and will be made again after a pause.
    Pausing,
    /// The call failed and will be made again when the oldest file has made room.
    Dropping,
    /// There is no file left that could make room: what failed is tried again after a pause.
    Exhausted,
    /// The call failed while the directory was taken over at start.
    Fatal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Ready,
    Boot(Boot),
    Rotate(Rotate),
    /// A look while all is well.
    CheckDirectory,
    CheckCurrent,
    /// A look before what failed is tried again.
    LookAgain,
    /// Room is to be made for what failed.
    DropSurvey,
    DropRemove(Rotated),
    /// The content goes to disk at intervals.
    SyncData,
    FinalStop,
    FinalSync,
    FinalMark,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Front,
    Job,
}

/// Decides what happens to one log directory. Performs nothing and reads no clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    rules: Rules,
    step: Step,
    /// Where to go on behind a look or a removal that came in between.
    resume: Step,
    /// Nothing but the background's work happens before.
    pause: Option<Mono>,
    turn: Turn,
    /// The directory was taken over: from now on nothing is fatal.
    booted: bool,
    /// `current` was closed properly.
    clean: bool,
    /// `current` is to get a rotated name.
    aside: bool,
    /// `previous` is to be taken up where the last logger left it.
    leftover: bool,
    /// There is an open `current` under that name.
    has_current: bool,
    survey: Survey,
    job: Job,
    job_pause: Option<Mono>,
    ending: Option<Mono>,
}

impl Machine {
    /// Returns the machine of a directory that is to be taken over.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            step: Step::Boot(Boot::Enter),
            resume: Step::Ready,
            pause: None,
            turn: Turn::Front,
            booted: false,
            clean: false,
            aside: false,
            leftover: false,
            has_current: false,
            survey: Survey::default(),
            job: Job::Idle,
            job_pause: None,
            ending: None,
        }
    }

    /// Tells whether the directory takes bytes: nothing is under way that `current` is part of.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.step == Step::Ready && self.pause.is_none()
    }

    /// Tells whether the directory was taken over: from then on a failure is no end.
    #[must_use]
    pub fn is_booted(&self) -> bool {
        self.booted
    }

    /// Returns the stamp of the last rotated file, as far as anybody looked.
    #[must_use]
    pub fn newest(&self) -> Option<Stamp> {
        self.survey.newest
    }

    /// Tells whether the end that was asked for has come.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.step == Step::Over
    }

    /// Tells whether the end was asked for.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Returns when [`Machine::next`] has something new to say, if time alone brings that about.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        if self.is_finished() {
            return None;
        }
        earlier(earlier(self.pause, self.ending), self.job_pause)
    }

    /// Returns the call that is to be made now; its answer comes before anything else.
    pub fn next(&mut self, now: Mono) -> Option<Call> {
        self.pass_time(now);
        if self.pause.is_none()
            && let Some(call) = self.front_call()
        {
            self.turn = Turn::Front;
            return Some(call);
        }
        self.turn = Turn::Job;
        self.job_call()
    }

    /// Takes the answer to the call that [`Machine::next`] asked for.
    pub fn answer(&mut self, answer: Answer, now: Mono) -> Verdict {
        if self.turn == Turn::Job {
            return self.job_answered(answer, now);
        }
        match (self.step, answer) {
            (Step::LookAgain, Answer::Failed(_)) => self.step = self.resume,
            // What cannot be looked at now may be all right.
            (Step::CheckDirectory | Step::CheckCurrent, Answer::Failed(_)) => {
                self.step = Step::Ready;
            }
            (Step::Rotate(step), Answer::Failed(Failure::Absent)) if self.is_moot(step) => {}
            (_, Answer::Failed(failure)) => return self.failed(failure, now),
            (Step::DropSurvey, Answer::Surveyed(Survey { oldest: None, .. })) => {
                self.step = self.resume;
                return match self.hold_up(now) {
                    Verdict::Pausing => Verdict::Exhausted,
                    verdict => verdict,
                };
            }
            (Step::Boot(step), answer) => self.boot_answered(step, answer),
            (Step::Rotate(step), answer) => self.rotate_answered(step, answer),
            (step, answer) => self.other_answered(step, answer),
        }
        Verdict::Fine
    }

    /// Says that `current` has its size or its age, or that somebody asked for a new one.
    pub fn rotate(&mut self) {
        if self.is_ready() {
            self.step = Step::Rotate(Rotate::Verify);
        }
    }

    /// Asks for a look whether directory and `current` are still there.
    pub fn check(&mut self) {
        if self.is_ready() {
            self.step = Step::CheckDirectory;
        }
    }

    /// Tells whether the next call is such a look. What follows from it is another matter: the
    /// caller may have something to note before.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        matches!(self.step, Step::CheckDirectory | Step::CheckCurrent)
    }

    /// Asks for the content of `current` to be put on disk.
    pub fn sync(&mut self) {
        if self.is_ready() {
            self.step = Step::SyncData;
        }
    }

    /// Says that `current` could not be written to.
    pub fn write_failed(&mut self, failure: Failure, now: Mono) -> Verdict {
        if self.is_ready() { self.failed(failure, now) } else { Verdict::Fine }
    }

    /// Says how the processor ended.
    pub fn processed(&mut self, well: bool, now: Mono) {
        if self.step == Step::Rotate(Rotate::Running) {
            if well {
                self.step = Step::Rotate(Rotate::SyncProcessed);
            } else {
                self.step = Step::Rotate(Rotate::LookPrevious);
                self.pause = Some(now.after(PAUSE));
            }
        }
    }

    /// Asks for the end: `current` is closed properly, within [`GRACE`].
    pub fn finish(&mut self, now: Mono) {
        if self.ending.is_some() || self.is_finished() {
            return;
        }
        self.ending = Some(now.after(GRACE));
        if self.step == Step::Ready {
            self.end();
        }
    }

    fn end(&mut self) {
        self.pause = None;
        self.step = Step::FinalStop;
    }

    fn pass_time(&mut self, now: Mono) {
        let past = |moment: Option<Mono>| moment.is_some_and(|moment| moment <= now);
        if past(self.job_pause) {
            self.job_pause = None;
        }
        let closing = self.is_closing();
        if past(self.ending) && !closing && self.step != Step::Over {
            self.end();
        } else if past(self.pause) {
            self.pause = None;
            let outside = closing || matches!(self.step, Step::Boot(Boot::Enter));
            if !outside {
                // What fails may fail because the directory is gone.
                self.resume = self.step;
                self.step = Step::LookAgain;
            }
        }
    }

    fn is_closing(&self) -> bool {
        matches!(self.step, Step::FinalStop | Step::FinalSync | Step::FinalMark)
    }

    fn front_call(&self) -> Option<Call> {
        Some(match self.step {
            Step::Ready | Step::Over => return None,
            Step::Boot(step) => self.boot_call(step),
            Step::Rotate(step) => return self.rotate_call(step),
            Step::CheckDirectory | Step::LookAgain => Call::LookDirectory,
            Step::CheckCurrent => Call::LookOpen,
            Step::DropSurvey => Call::Survey,
            Step::DropRemove(oldest) => Call::Remove(File::Rotated(oldest)),
            Step::SyncData | Step::FinalSync => Call::SyncCurrent,
            Step::FinalStop => Call::Stop,
            Step::FinalMark => Call::CloseCurrent,
        })
    }

    fn failed(&mut self, failure: Failure, now: Mono) -> Verdict {
        let dropping = matches!(self.step, Step::DropSurvey | Step::DropRemove(_));
        if failure == Failure::Full && self.rules.drop_when_full && !dropping {
            self.resume = self.step;
            self.step = Step::DropSurvey;
            return Verdict::Dropping;
        }
        if dropping {
            self.step = self.resume;
        }
        self.hold_up(now)
    }

    fn hold_up(&mut self, now: Mono) -> Verdict {
        if self.is_closing() && self.ending.is_some_and(|ending| ending <= now) {
            self.step = Step::Over;
            Verdict::Pausing
        } else if self.booted {
            self.step = self.step.once_more();
            self.pause = Some(now.after(PAUSE));
            Verdict::Pausing
        } else {
            Verdict::Fatal
        }
    }

    fn other_answered(&mut self, step: Step, answer: Answer) {
        self.step = match (step, answer) {
            (Step::CheckDirectory | Step::LookAgain, Answer::Found(Found::Lost)) => {
                self.leave();
                Step::Boot(Boot::Enter)
            }
            (Step::CheckDirectory, _) => Step::CheckCurrent,
            (Step::CheckCurrent, Answer::Found(Found::Lost)) => Step::Rotate(Rotate::OpenAnother),
            (Step::CheckCurrent, Answer::Found(Found::Holed)) => Step::Rotate(Rotate::Verify),
            (Step::LookAgain, _) => self.resume,
            (Step::DropSurvey, Answer::Surveyed(Survey { oldest: Some(oldest), .. })) => {
                Step::DropRemove(oldest)
            }
            (Step::FinalStop, _) if self.has_current => Step::FinalSync,
            (Step::FinalSync, _) => Step::FinalMark,
            (Step::FinalStop | Step::FinalMark, _) => Step::Over,
            (Step::DropSurvey | Step::DropRemove(_), _) => self.resume,
            (Step::CheckCurrent | Step::SyncData, _) => Step::Ready,
            (Step::Ready | Step::Boot(_) | Step::Rotate(_) | Step::Over, _) => step,
        };
        self.settle();
    }

    /// What follows when a flow has come to its end.
    fn settle(&mut self) {
        if self.step == Step::Ready && self.ending.is_some() {
            self.end();
        }
    }

    /// The directory is gone: what is under way in it is of no use any more.
    fn leave(&mut self) {
        self.has_current = false;
        self.survey = Survey::default();
        self.job.leave();
    }

    /// Returns the name for a file that is closed now: later than all others.
    fn later(&self, code: Code) -> Rotated {
        let now = self.survey.now;
        let stamp = match self.survey.newest {
            Some(newest) if newest >= now => newest.next(),
            Some(_) | None => now,
        };
        Rotated { stamp, code }
    }

    /// A name is in use from the moment it is tried: should it be taken, the next try is later.
    fn used(&mut self, name: Rotated) {
        self.survey.newest = Some(name.stamp);
    }
}

impl Step {
    /// Where to begin again when this step failed.
    fn once_more(self) -> Self {
        match self {
            Self::Boot(step) => Self::Boot(step.once_more()),
            Self::Rotate(step) => Self::Rotate(step.once_more()),
            step => step,
        }
    }
}
