//! The programs that rotated files go through.

use super::Folder;
use super::perform::name;
use super::say::{Notice, Part};
use core::ffi::CStr;
use linux::errno::{Errno, Result};
use linux::fd::{self, Fd};
use linux::file::{self, flags};
use linux::process::{self, Ended, Waited};
use linux::signal::{self, numbers};
use linux::spawn::{self, Outcome, Stack};
use linux::time::SECOND;
use machine::logdir::File;
use machine::time::Mono;
use ondisk::logdir::{self as names, Rotated};

const SHELL: &CStr = c"/bin/sh";
/// Descriptors of the processor's state: as it was, as it will be.
const STATE: i32 = 4;
const NEWSTATE: i32 = 5;
/// How often to look for the end of a child that no descriptor tells of.
const LOOK: u64 = SECOND / 10;

/// A processor that runs.
pub(super) struct Child {
    pid: i32,
    /// Readable at its end; absent where the system has none to give.
    pidfd: Option<Fd>,
    /// When to look where there is none.
    look_at: Mono,
    /// To write nothing would be to lose what it was given.
    must_write: bool,
}

impl Child {
    pub(super) fn pidfd(&self) -> i32 {
        self.pidfd.as_ref().map_or(-1, Fd::raw)
    }
}

impl Folder {
    /// Starts the processor: `previous` to `processed`, `state` to `newstate`.
    pub(super) fn process(&mut self) -> Result<()> {
        let Some(command) = self.settings.processor else { return Err(Errno(flags::EINVAL)) };
        let from = self.open_input(File::Previous, 0)?;
        let to = self.make_output(File::Processed)?;
        let state = self.open_input(File::State, flags::O_CREAT)?;
        let newstate = self.make_output(File::Newstate)?;
        let mut extra = || {
            let _ = fd::dup_to(state.raw(), STATE);
            let _ = fd::dup_to(newstate.raw(), NEWSTATE);
        };
        self.processor = Some(self.start(command, &from, &to, &mut extra)?);
        Ok(())
    }

    /// Starts the background processor: a rotated file to `reworking`.
    pub(super) fn rework(&mut self, file: Rotated) -> Result<()> {
        let Some(command) = self.settings.background else { return Err(Errno(flags::EINVAL)) };
        let from = self.open_input(File::Rotated(file), 0)?;
        let must_write = file::stat_fd(from.raw())?.size() > 0;
        let to = self.make_output(File::Reworking)?;
        let child = self.start(command, &from, &to, &mut || {})?;
        self.background = Some(Child { must_write, ..child });
        Ok(())
    }

    fn open_input(&mut self, file: File, more: i32) -> Result<Fd> {
        self.part = Part::Read(file);
        let flags = flags::O_RDONLY | more;
        let name = name(file);
        above(file::open_regular(self.dir()?, name.as_c_str(), flags, names::OPEN)?.0)
    }

    fn make_output(&mut self, file: File) -> Result<Fd> {
        self.part = Part::Make(file);
        above(file::make_anew(self.dir()?, name(file).as_c_str(), names::OPEN)?)
    }

    fn start(
        &mut self,
        command: &CStr,
        from: &Fd,
        to: &Fd,
        extra: &mut dyn FnMut(),
    ) -> Result<Child> {
        let argv = [c"sh".as_ptr(), c"-c".as_ptr(), command.as_ptr(), core::ptr::null()];
        let child = spawn::Child {
            path: SHELL,
            argv: &argv,
            dir: Some(self.dir()?),
            stdin: Some(from.raw()),
            stdout: Some(to.raw()),
            new_session: false,
            blocked: &[],
        };
        let mut stack = Stack::new();
        self.part = Part::Fork;
        // In the child: what we ignore, and what we inherited, is no business of a processor.
        let outcome = spawn::spawn(&child, &mut stack, &mut |_| {
            fd::close_on_exec_from(3);
            extra();
            signal::reset_all();
        })?;
        match outcome {
            Outcome::Running(pid) => Ok(Child {
                pid,
                pidfd: process::pidfd(pid).ok(),
                look_at: Mono(0),
                must_write: false,
            }),
            Outcome::NotRun(why) => {
                self.part = Part::Run;
                Err(why)
            }
        }
    }

    /// Tells the machine of processors that have ended.
    pub(super) fn reap(&mut self, now: Mono) {
        if let Some(well) = ended(&mut self.processor, now) {
            self.machine.processed(well, now);
            if !well {
                self.notice(Notice::ProcessorFailed);
            }
        }
        let must_write = self.background.as_ref().is_some_and(|child| child.must_write);
        if let Some(well) = ended(&mut self.background, now) {
            let is_lost = well && must_write && self.is_rework_empty();
            self.machine.reworked(well && !is_lost, now);
            if is_lost {
                self.notice(Notice::BackgroundEmpty);
            } else if !well {
                self.notice(Notice::BackgroundFailed);
            }
        }
    }

    fn is_rework_empty(&self) -> bool {
        let stat = self.dir().and_then(|dir| file::stat(dir, names::REWORKING, false));
        stat.is_ok_and(|stat| stat.size() == 0)
    }

    /// Returns when to look for the end of a processor that no descriptor tells of.
    pub(super) fn processors_deadline(&self) -> Option<Mono> {
        let children = [&self.processor, &self.background].into_iter().flatten();
        children.filter(|child| child.pidfd.is_none()).map(|child| child.look_at).min()
    }

    /// Tells the processors to end; nobody waits for them. What the background's has half made is
    /// of no use to anybody.
    pub(super) fn stop_processors(&mut self) {
        if let (Some(_), Ok(dir)) = (self.settings.background, self.dir()) {
            let _ = file::unlink(dir, names::REWORKING);
        }
        for child in [&mut self.processor, &mut self.background] {
            if let Some(child) = child.take() {
                let _ = signal::kill(child.pid, numbers::SIGTERM);
                // It may be a stopped one.
                let _ = signal::kill(child.pid, numbers::SIGCONT);
            }
        }
    }
}

/// Moves a descriptor out of the way of those that a processor gets.
fn above(fd: Fd) -> Result<Fd> {
    if fd.raw() > NEWSTATE { Ok(fd) } else { fd::copy_from(fd.raw(), NEWSTATE + 1) }
}

/// Reaps a child; `Some` when it has ended: whether well.
fn ended(child: &mut Option<Child>, now: Mono) -> Option<bool> {
    let running = child.as_mut()?;
    running.look_at = Mono(now.0.saturating_add(LOOK));
    let well = match process::wait(running.pid, false) {
        Waited::Alive => return None,
        Waited::Ended(_, how) => how == Ended::Code(0),
        // Somebody else reaped it: nobody knows.
        Waited::NoChild => false,
    };
    *child = None;
    Some(well)
}
