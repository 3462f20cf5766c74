//! HUP: supervise runs the program now on disk in its place, and touches no service.
//!
//! The process stays the same, so its children stay its children. The next program is told the
//! numbers of the descriptors that must not close meanwhile: the locks, so that nobody else takes
//! them; the FIFOs, so that no command and no log byte is lost; and modifiers whose command has not
//! come yet. All else it finds in the records.
//! Should it be a program that does not know this, it ends with code 100, the locks are free, and
//! svscan's next supervise takes the service back.

use crate::args::RESUME;
use crate::host::{Host, Pipe};
use crate::{NAME, WARNING};
use core::ffi::{CStr, c_char};
use linux::decimal::{self, Decimal};
use linux::errno::Errno;
use linux::fd::{self, Fd};
use linux::file::{self, flags};
use linux::{message, process};
use machine::supervise::{Machine, Modifiers, Which};
use ondisk::names;

/// Descriptors in the list: lock, control, ok of the service, of the logger; the pipe.
const DESCRIPTORS: usize = 7;
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

/// What was held of a member.
pub(crate) struct Held {
    pub(crate) lock: Option<Fd>,
    pub(crate) control: Option<Fd>,
    pub(crate) ok: Option<Fd>,
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

    /// Returns what is held of a member, if it really is the file of its name in `folder`.
    pub(crate) fn take(&mut self, which: Which, folder: &Fd) -> Held {
        let first = which as usize * 3;
        Held {
            lock: self.take_one(first, folder, names::LOCK),
            control: self.take_one(first + 1, folder, names::CONTROL),
            ok: self.take_one(first + 2, folder, names::OK),
        }
    }

    /// Returns the reading end of the log pipe, likewise.
    pub(crate) fn take_pipe(&mut self, folder: &Fd) -> Option<Fd> {
        self.take_one(DESCRIPTORS - 1, folder, names::LOG_PIPE)
    }

    fn take_one(&mut self, slot: usize, folder: &Fd, name: &CStr) -> Option<Fd> {
        let raw = core::mem::replace(&mut self.0[slot], -1);
        // Owned from here: what is not the file of that name is closed.
        let held = (raw >= 0).then(|| Fd::from_raw(raw))?;
        let id = file::stat_fd(held.raw()).ok()?.id();
        (id == file::stat(folder.raw(), name, false).ok()?.id()).then_some(held)
    }
}

impl Host {
    /// Runs the program now on disk; returns only where that failed.
    #[inline(never)]
    pub(crate) fn replace(&mut self, machine: &Machine) {
        let held = self.held(machine);
        let open = || held[..DESCRIPTORS].iter().filter(|raw| **raw >= 0);
        let mut option = [0; ROOM];
        write_option(&held, &mut option);
        for raw in open() {
            let _ = fd::set_cloexec(*raw, false);
        }
        let why = self.exec(&option);
        for raw in open() {
            let _ = fd::set_cloexec(*raw, true);
        }
        let parts: [&[u8]; 3] = [b"unable to replace supervise of ", self.name.to_bytes(), b""];
        message::system(NAME, WARNING, &parts, why);
    }

    fn held(&self, machine: &Machine) -> [i32; COUNT] {
        let mut held = [-1; COUNT];
        for (i, kept) in self.members.iter().enumerate() {
            let Some(kept) = kept else { continue };
            for (slot, fd) in [&kept.lock, &kept.control, &kept.ok].into_iter().enumerate() {
                held[i * 3 + slot] = fd.as_ref().map_or(-1, Fd::raw);
            }
        }
        held[DESCRIPTORS - 1] = self.pipe.as_ref().map_or(-1, |pipe: &Pipe| pipe.reader.raw());
        for which in [Which::Service, Which::Logger] {
            let Modifiers { group, other } = machine.modifiers(which);
            let sum = if group { GROUP } else { 0 } + if other { OTHER } else { 0 };
            held[DESCRIPTORS + which as usize] = sum;
        }
        held
    }

    fn exec(&self, option: &[u8; ROOM]) -> Errno {
        let Some(path) = process::exec_path() else { return Errno(flags::ENOENT) };
        let here = match file::open(file::HERE, c".", flags::O_PATH | flags::O_DIRECTORY, 0) {
            Ok(here) => here,
            Err(why) => return why,
        };
        if let Err(why) = file::chdir_fd(self.origin.raw()) {
            return why;
        }
        let mut argv: [*const c_char; 6] = [core::ptr::null(); 6];
        let pair = self.paired.then_some(c"--pair".as_ptr());
        let once = self.own.once.then_some(c"--once".as_ptr());
        let name = Some(self.name.as_ptr());
        let all = [Some(c"supervise".as_ptr()), Some(option.as_ptr().cast()), pair, once, name];
        for (slot, arg) in argv.iter_mut().zip(all.into_iter().flatten()) {
            *slot = arg;
        }
        let why = process::exec(path, &argv);
        let _ = file::chdir_fd(here.raw());
        why
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
