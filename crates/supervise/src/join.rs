//! Taking a member: its lock and its FIFOs; and letting go of it.

use crate::folder;
use crate::host::{Events, Host, Pipe};
use crate::keep::Kept;
use crate::restore::Found;
use crate::{FATAL, WARNING, say};
use core::ffi::CStr;
use linux::errno::{Errno, OrLasting, Result};
use linux::fd::Fd;
use linux::file::{self, HERE, Stat, flags};
use linux::identity;
use machine::supervise::{Event, Which};
use ondisk::names;
use ondisk::record::Record;

/// What could not be done, to which file, and why.
type Trouble = (&'static str, Object, Errno);

/// A file of a member: its path below the service directory, and below `log`.
type Object = [&'static str; 2];

/// Whether the logger is a script, and the pipe to it; or what could not be done.
type LoggerOrTrouble =
    core::result::Result<Option<(bool, Pipe)>, (&'static str, &'static str, Errno)>;

const DIR: Object = ["", "/log"];
const DOWN: Object = ["/down", "/log/down"];
const LOCK: Object = ["/supervise/lock", "/log/supervise/lock"];
const CONTROL: Object = ["/supervise/control", "/log/supervise/control"];
const OK: Object = ["/supervise/ok", "/log/supervise/ok"];
const RECORD: Object = ["/supervise/record", "/log/supervise/record"];

impl Host {
    /// Answers `Joined`, `Occupied`, `Delayed` or `EntryGone`.
    pub(crate) fn join(&mut self, which: Which, events: &mut Events) {
        let inherited = self.inherited.has_member(which);
        if !inherited && self.paired && !self.unlucky && self.is_entry_gone() {
            events.push(Event::EntryGone(which));
            return;
        }
        match self.take(which) {
            Ok(found) => {
                self.unlucky = false;
                events.push(Event::Joined(which, found.restored));
                if let Some(exit) = found.dead {
                    self.died(which, exit, events);
                }
            }
            Err((verb, object, why)) => {
                let kept = self.members[which as usize].take();
                if let Some(mut kept) = kept.filter(|_| inherited) {
                    self.inherited.take_back(&mut kept);
                }
                let delayed = inherited && self.inherited.has_member(which);
                self.complain(delayed, verb, object[which as usize], why);
                let answer = if delayed { Event::Delayed } else { Event::Occupied };
                events.push(answer(which));
            }
        }
    }

    /// A supervise started by hand says why it ends. One that svscan started, or that holds the lock
    /// already, tries again, and is silent about a lock that another supervise holds.
    fn complain(&self, again: bool, verb: &str, object: &str, why: Errno) {
        if !self.paired && !again {
            say(FATAL, verb, self.name.to_bytes(), object, why);
        } else if why.0 != flags::EAGAIN {
            say(WARNING, verb, self.name.to_bytes(), object, why);
        }
    }

    /// Tells whether the name by which svscan knows us stands for another directory, or nothing.
    fn is_entry_gone(&self) -> bool {
        let here = file::stat(HERE, c".", true).map(|s| s.id());
        let entry = file::stat(self.origin.raw(), self.name, true).map(|s| s.id());
        match (here, entry) {
            (Ok(here), Ok(entry)) => here != entry,
            (_, Err(why)) => why.0 == flags::ENOENT || why.0 == flags::ENOTDIR,
            (Err(_), Ok(_)) => false,
        }
    }

    /// Takes what makes the member ours, into its place.
    fn take(&mut self, which: Which) -> core::result::Result<Found, Trouble> {
        let has_dir = which == Which::Logger && self.logger != Some(true);
        let how = flags::O_PATH | flags::O_DIRECTORY;
        let dir = if has_dir {
            Some(file::open(HERE, names::LOG, how, 0).map_err(|why| ("chdir to ", DIR, why))?)
        } else {
            None
        };
        let at = dir.as_ref().map_or(HERE, Fd::raw);
        if let Err(why) = file::stat(at, names::DOWN, true)
            && why.0 != flags::ENOENT
        {
            return Err(("stat ", DOWN, why));
        }
        let folder = folder::open(at).map_err(|why| ("acquire ", LOCK, why))?;
        let record = Record::new(self.own.boot.id, self.own.identity);
        let kept = Kept::new(which, dir, folder, record);
        let kept = self.members[which as usize].insert(kept);
        if which == Which::Service || has_dir {
            self.inherited.pass_on(kept).map_err(|why| ("acquire ", LOCK, why))?;
            if kept.lock.is_none() {
                let lock = acquire(&kept.folder).map_err(|why| ("acquire ", LOCK, why))?;
                kept.lock = Some(lock);
            }
            let claim = folder::claim(at, kept.claim.take());
            kept.claim = claim.map_err(|why| ("acquire ", LOCK, why))?;
            if kept.control.is_none() {
                let control = fifo(&kept.folder, names::CONTROL, flags::O_RDWR);
                kept.control = Some(control.map_err(|why| ("read ", CONTROL, why))?);
            }
            // Opened behind the first status; that it can be is known before a service starts.
            make_fifo(&kept.folder, names::OK).map_err(|why| ("read ", OK, why))?;
        }
        // When it is not sure that no service lives from before, none is started.
        let found = kept.open_record().and_then(|()| {
            let passed_on = self.inherited.record(which)?;
            self.own.restore(kept, passed_on)
        });
        let found = found.map_err(|why| ("read ", RECORD, why))?;
        self.inherited.close_record(which);
        Ok(found)
    }

    /// Gives up everything of a member; its record says that its life is over, and how.
    pub(crate) fn let_go(&mut self, which: Which) {
        if let Some(mut kept) = self.members[which as usize].take() {
            let Record { died, asked, last_exit, .. } = kept.record;
            let new = Record::new([0; 16], self.own.identity);
            kept.record = Record { died, asked, last_exit, ..new };
            // Where it cannot be written, the next supervise finds no process all the same.
            let _ = kept.write_record();
        }
    }

    /// Looks for a logger where there is none yet, and makes the pipe to it.
    pub(crate) fn find_logger(&mut self, events: &mut Events) {
        if self.logger.is_some() {
            return;
        }
        let before = self.logger_unknown.take();
        match self.look_for_logger() {
            Ok(None) => {}
            Ok(Some((script, pipe))) => {
                self.pipe = Some(pipe);
                self.logger = Some(script);
                events.push(Event::LoggerFound { script });
            }
            Err((verb, object, why)) => {
                if before != Some(why) {
                    say(WARNING, verb, self.name.to_bytes(), object, why);
                }
                self.logger_unknown = Some(why);
                events.push(Event::LoggerUnknown);
            }
        }
    }

    fn look_for_logger(&mut self) -> LoggerOrTrouble {
        let log = match file::stat(HERE, names::LOG, true) {
            Ok(log) => log,
            Err(why) if why.0 != flags::ENOENT && (self.paired || self.inherited.has_pipe()) => {
                return Err(("stat ", DIR[1], why));
            }
            Err(_) => return Ok(None),
        };
        let script = log.is_program();
        if script || self.paired && log.is_dir() {
            let pipe = self.open_pipe().map_err(|why| ("create pipe for ", "", why))?;
            Ok(Some((script, pipe)))
        } else {
            Ok(None)
        }
    }

    /// Returns the pipe that a service writes to which was taken back, where its name was deleted.
    fn nameless_pipe(&mut self) -> Result<Option<Fd>> {
        let Some(service) = self.kept(Which::Service) else { return Ok(None) };
        let (Some(_), Some(pid)) = (&service.watch, service.pid()) else { return Ok(None) };
        let mut path = [0; 32];
        let path = identity::proc_path(pid.cast_unsigned(), b"/fd/1", &mut path)?;
        // Nothing that is not a FIFO is opened.
        if !file::stat(HERE, path, true).or_lasting()?.is_some_and(|it| is_nameless_fifo(&it)) {
            return Ok(None);
        }
        let end = file::open(HERE, path, flags::O_RDONLY | flags::O_NONBLOCK, 0).or_lasting()?;
        let Some(end) = end else { return Ok(None) };
        Ok(is_nameless_fifo(&file::stat_fd(end.raw())?).then_some(end))
    }

    fn open_pipe(&mut self) -> Result<Pipe> {
        let folder = folder::open(HERE)?;
        // The reader first: a writer alone cannot be opened.
        let reader = match self.inherited.pass_on_pipe()? {
            Some(reader) => reader,
            None => match self.nameless_pipe()? {
                Some(reader) => reader,
                None => fifo(&folder, names::LOG_PIPE, flags::O_RDONLY)?,
            },
        };
        let mut pipe = Pipe { folder, reader, writer: None };
        match pipe.open(flags::O_WRONLY) {
            Ok(writer) => {
                pipe.writer = Some(writer);
                Ok(pipe)
            }
            Err(why) => {
                // It may be all that keeps what was written.
                self.inherited.take_back_pipe(pipe.reader);
                Err(why)
            }
        }
    }
}

/// Tells whether it is a FIFO, no anonymous pipe, and has no name any more.
fn is_nameless_fifo(stat: &Stat) -> bool {
    stat.is_fifo() && stat.has_no_name()
}

pub(crate) fn acquire(folder: &Fd) -> Result<Fd> {
    let how = flags::O_WRONLY | flags::O_APPEND | flags::O_CREAT | flags::O_NONBLOCK;
    let lock = file::open(folder.raw(), names::LOCK, how | flags::O_NOFOLLOW, 0o600)?;
    file::lock_now(lock.raw())?;
    Ok(lock)
}

/// Opens a FIFO of the folder without waiting, made if absent.
pub(crate) fn fifo(folder: &Fd, name: &CStr, how: i32) -> Result<Fd> {
    let how = how | flags::O_NONBLOCK | flags::O_NOFOLLOW;
    let open = || file::open(folder.raw(), name, how, 0);
    let opened = match open() {
        Err(Errno(flags::ENOENT)) => {
            file::mkfifo(folder.raw(), name, 0o600)?;
            open()?
        }
        answer => answer?,
    };
    if file::stat_fd(opened.raw())?.is_fifo() { Ok(opened) } else { Err(Errno(flags::EINVAL)) }
}

/// Makes a FIFO of the folder, if it is absent.
pub(crate) fn make_fifo(folder: &Fd, name: &CStr) -> Result<()> {
    let stat = match file::stat(folder.raw(), name, false) {
        Err(Errno(flags::ENOENT)) => return file::mkfifo(folder.raw(), name, 0o600),
        answer => answer?,
    };
    if stat.is_fifo() { Ok(()) } else { Err(Errno(flags::EINVAL)) }
}
