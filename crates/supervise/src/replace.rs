//! HUP: supervise runs the program now on disk in its place, and touches no service.
//!
//! The process stays the same, so its children stay its children. The next program is told the
//! numbers of the descriptors that must not close meanwhile: the locks, so that nobody else takes
//! them; the claim on the service directory; the FIFOs, so that no command and no log byte is lost; the records, so that a service is
//! known also where their names are gone; and modifiers whose command has not come yet. All else it
//! finds in the records. What it cannot take at once, for want of descriptors or memory, or since a
//! device fails, it holds on to and tries again.
//! Should it be a program that does not know this, it ends with code 100, the locks are free, and
//! svscan's next supervise takes the service back.

use crate::args::RESUME;
use crate::host::Host;
use crate::keep::{self, Kept};
use crate::{NAME, WARNING};
use core::convert::Infallible;
use core::ffi::{CStr, c_char};
use linux::decimal::{self, Decimal};
use linux::errno::{Errno, OrLasting, Result};
use linux::fd::{self, Fd};
use linux::file::{self, flags};
use linux::{message, process};
use machine::supervise::{Machine, Modifiers, Which};
use ondisk::names;
use ondisk::record::Record;

/// Descriptors in the list: lock, control, ok, record of the service, of the logger; the pipe; the
/// service directory.
const DESCRIPTORS: usize = 2 * EACH + 2;
const EACH: usize = 4;
const RECORD: usize = 3;
const PIPE: usize = 2 * EACH;
const DIRECTORY: usize = PIPE + 1;
/// Behind them, for service and logger: the modifiers of their next command.
const COUNT: usize = DESCRIPTORS + 2;
/// Room for the option: its name, a number of up to 10 digits and a comma for each, and the end.
const ROOM: usize = RESUME.len() + COUNT * 11 + 1;
/// A member's modifiers are the sum of these.
const GROUP: i32 = 1;
const OTHER: i32 = 2;

/// Numbers of descriptors that are open already, and of modifiers; -1 = none.
#[derive(Clone, Copy)]
pub(crate) struct Inherited([i32; COUNT]);

impl Default for Inherited {
    fn default() -> Self {
        Self([-1; COUNT])
    }
}

impl Inherited {
    /// Reads the list: decimal numbers, apart by commas; what is no number stands for none.
    pub(crate) fn parse(list: &[u8]) -> Self {
        let mut all = Self::default();
        for (slot, word) in all.0.iter_mut().zip(list.split(|b| *b == b',')) {
            *slot = decimal::parse(word).and_then(|n| i32::try_from(n).ok()).unwrap_or(-1);
        }
        all
    }

    /// Returns the modifiers of a member's next command.
    pub(crate) fn modifiers(&self, which: Which) -> Modifiers {
        let sum = self.0[DESCRIPTORS + which as usize].max(0);
        Modifiers { group: sum & GROUP != 0, other: sum & OTHER != 0 }
    }

    /// Keeps the descriptors from what is run before their turn comes; what is not open is none.
    pub(crate) fn guard(&mut self) {
        for raw in self.0[..DESCRIPTORS].iter_mut().filter(|raw| **raw >= 0) {
            if *raw < 3 || fd::set_cloexec(*raw, true).is_err() {
                *raw = -1;
            }
        }
    }

    /// Tells whether anything is held: a supervise was replaced by this one.
    pub(crate) fn is_any(&self) -> bool {
        self.0[..DESCRIPTORS].iter().any(|raw| *raw >= 0)
    }

    /// Tells whether a member's lock or record is held: its process may live.
    pub(crate) fn has_member(&self, which: Which) -> bool {
        let first = slot(which);
        self.0[first] >= 0 || self.0[first + RECORD] >= 0
    }

    /// Tells whether the log pipe is held.
    pub(crate) fn has_pipe(&self) -> bool {
        self.0[PIPE] >= 0
    }

    /// Goes to the service directory in which the program before us was, whatever its name stands
    /// for by now. `None` = it passed none on.
    pub(crate) fn enter(&self) -> Option<Result<()>> {
        Some(self.0[DIRECTORY]).filter(|raw| *raw >= 0).map(file::chdir_fd)
    }

    /// Takes over what is held of a member, as far as it really is the file of its name.
    ///
    /// # Errors
    /// Where that cannot be told now; then nothing is lost, see [`Inherited::take_back`].
    pub(crate) fn pass_on(&mut self, kept: &mut Kept) -> Result<()> {
        let first = slot(kept.which);
        kept.lock = self.take_one(first, &kept.folder, names::LOCK)?;
        kept.control = self.take_one(first + 1, &kept.folder, names::CONTROL)?;
        kept.ok = self.take_one(first + 2, &kept.folder, names::OK)?;
        if kept.which == Which::Service {
            kept.claim = self.give(DIRECTORY);
        }
        Ok(())
    }

    /// Keeps what a member holds until it can be taken.
    pub(crate) fn take_back(&mut self, kept: &mut Kept) {
        let first = slot(kept.which);
        let held = [&mut kept.lock, &mut kept.control, &mut kept.ok];
        for (i, place) in held.into_iter().enumerate() {
            if let Some(held) = place.take() {
                self.0[first + i] = held.into_raw();
            }
        }
        if let (Which::Service, Some(claim)) = (kept.which, kept.claim.take()) {
            self.0[DIRECTORY] = claim.into_raw();
        }
    }

    /// Returns what the record of a member says that the program before us wrote. It counts also
    /// where another file has the record's name by now, or none: with the folder goes no service.
    ///
    /// # Errors
    /// Where it cannot be read now.
    pub(crate) fn record(&self, which: Which) -> Result<Option<Record>> {
        match self.0[slot(which) + RECORD] {
            raw if raw >= 0 => Ok(keep::read_record(raw).or_lasting()?.flatten()),
            _ => Ok(None),
        }
    }

    /// Closes the record of a member that was taken.
    pub(crate) fn close_record(&mut self, which: Which) {
        self.give(slot(which) + RECORD);
    }

    /// Returns the reading end of the log pipe, whatever has its name by now: service and logger
    /// that live hold this one.
    ///
    /// # Errors
    /// Where that cannot be told now.
    pub(crate) fn pass_on_pipe(&mut self) -> Result<Option<Fd>> {
        let raw = self.0[PIPE];
        if raw < 0 {
            return Ok(None);
        }
        let stat = file::stat_fd(raw).or_lasting()?;
        Ok(self.give(PIPE).filter(|_| stat.is_some_and(|stat| stat.is_fifo())))
    }

    /// Keeps the reading end of the log pipe until the other end can be had.
    pub(crate) fn take_back_pipe(&mut self, reader: Fd) {
        self.0[PIPE] = reader.into_raw();
    }

    fn take_one(&mut self, slot: usize, folder: &Fd, name: &CStr) -> Result<Option<Fd>> {
        let raw = self.0[slot];
        if raw < 0 {
            return Ok(None);
        }
        let named = file::stat(folder.raw(), name, false).or_lasting()?.map(|stat| stat.id());
        let id = file::stat_fd(raw).or_lasting()?.map(|stat| stat.id());
        // What is not the file of that name is closed.
        Ok(self.give(slot).filter(|_| id.is_some() && id == named))
    }

    fn give(&mut self, slot: usize) -> Option<Fd> {
        let raw = core::mem::replace(&mut self.0[slot], -1);
        (raw >= 0).then(|| Fd::from_raw(raw))
    }
}

/// Returns where in the list a member's lock is, and behind it control, ok and record.
fn slot(which: Which) -> usize {
    which as usize * EACH
}

impl Host {
    /// Runs the program now on disk; returns only where that failed.
    #[inline(never)]
    pub(crate) fn replace(&mut self, machine: &Machine) {
        let Err(why) = self.try_replace(machine);
        let parts: [&[u8]; 3] = [b"unable to replace supervise of ", self.name.to_bytes(), b""];
        message::system(NAME, WARNING, &parts, why);
    }

    fn try_replace(&self, machine: &Machine) -> Result<Infallible> {
        let here = file::open(file::HERE, c".", flags::O_PATH | flags::O_DIRECTORY, 0)?;
        let mut held = self.held(machine);
        if held[DIRECTORY] < 0 {
            held[DIRECTORY] = here.raw();
        }
        let open = || held[..DESCRIPTORS].iter().filter(|raw| **raw >= 0);
        let mut option = [0; ROOM];
        write_option(&held, &mut option);
        for raw in open() {
            let _ = fd::set_cloexec(*raw, false);
        }
        // The path of the program and our directory's name count from there.
        let why = match file::chdir_fd(self.origin.raw()) {
            Ok(()) => self.exec(&option),
            Err(why) => why,
        };
        let _ = file::chdir_fd(here.raw());
        for raw in open() {
            let _ = fd::set_cloexec(*raw, true);
        }
        Err(why)
    }

    fn held(&self, machine: &Machine) -> [i32; COUNT] {
        // What we could not take yet is passed on as it is.
        let mut held = self.inherited.0;
        for kept in self.members.iter().flatten() {
            let first = slot(kept.which);
            let all = [&kept.lock, &kept.control, &kept.ok, &kept.file];
            for (place, fd) in held[first..].iter_mut().zip(all) {
                *place = fd.as_ref().map_or(-1, Fd::raw);
            }
        }
        if let Some(claim) = self.members[0].as_ref().and_then(|service| service.claim.as_ref()) {
            held[DIRECTORY] = claim.raw();
        }
        if let Some(pipe) = &self.pipe {
            held[PIPE] = pipe.reader.raw();
        }
        for which in [Which::Service, Which::Logger] {
            let Modifiers { group, other } = machine.modifiers(which);
            let sum = if group { GROUP } else { 0 } + if other { OTHER } else { 0 };
            held[DESCRIPTORS + which as usize] = sum;
        }
        held
    }

    fn exec(&self, option: &[u8; ROOM]) -> Errno {
        let Some(path) = process::exec_path() else { return Errno(flags::ENOENT) };
        let mut argv: [*const c_char; 6] = [core::ptr::null(); 6];
        let pair = self.paired.then_some(c"--pair".as_ptr());
        let once = self.own.once.then_some(c"--once".as_ptr());
        let name = Some(self.name.as_ptr());
        let all = [Some(c"supervise".as_ptr()), Some(option.as_ptr().cast()), pair, once, name];
        for (slot, arg) in argv.iter_mut().zip(all.into_iter().flatten()) {
            *slot = arg;
        }
        process::exec(path, &argv)
    }
}

fn write_option(held: &[i32; COUNT], out: &mut [u8; ROOM]) {
    let mut rest = out.iter_mut();
    let mut put = |bytes: &[u8]| {
        for (byte, place) in bytes.iter().zip(rest.by_ref()) {
            *place = *byte;
        }
    };
    put(RESUME);
    for raw in held {
        if let Ok(raw) = u64::try_from(*raw) {
            put(Decimal::of(raw).digits());
        }
        put(b",");
    }
}
