//! What supervise holds of one member.

use core::ffi::CStr;
use linux::decimal;
use linux::errno::{Errno, OrLasting, Result};
use linux::fd::{self, Fd, PollFd};
use linux::file::{self, HERE, flags};
use linux::process::{self, Ended};
use linux::signal;
use linux::time::{self, SECOND};
use machine::supervise::{Kill, Script, Which};
use ondisk::control::Signal;
use ondisk::names;
use ondisk::record::{Exit, Identity, Phase, Record};
use ondisk::tai64n::Stamp;

/// How long we ask for the exit status of a process that was not our child.
const LATE: u64 = 2 * SECOND;

/// A member whose lock is ours.
pub(crate) struct Kept {
    /// Whose.
    pub(crate) which: Which,
    /// Where its programs run; `None` = where we are.
    pub(crate) dir: Option<Fd>,
    /// The `supervise` folder.
    pub(crate) folder: Fd,
    /// Lock and control FIFO; a logger that is a script shares its service's.
    pub(crate) lock: Option<Fd>,
    /// Holds the claim on the directory where the folder lies in it, see [`crate::folder::claim`].
    pub(crate) claim: Option<Fd>,
    pub(crate) control: Option<Fd>,
    /// Open from the first published status on: whoever sees it open finds a status.
    pub(crate) ok: Option<Fd>,
    /// The record file, as long as one can be had.
    pub(crate) file: Option<Fd>,
    /// Its content.
    pub(crate) record: Record,
    /// Stands for a process that is not our child.
    pub(crate) watch: Option<Fd>,
    /// A dead process whose parent has not told how it ended, and when we stop asking.
    pub(crate) late: Option<(Fd, u64)>,
    /// The last publication failed, and it was said.
    pub(crate) complained: bool,
    /// The last process and the script that it ran, for `notify`.
    pub(crate) last_pid: u32,
    /// The process was sent a signal to end it.
    told: bool,
    pub(crate) script: &'static CStr,
}

impl Kept {
    /// Returns a member that holds its folder and nothing else yet.
    pub(crate) fn new(which: Which, dir: Option<Fd>, folder: Fd, record: Record) -> Self {
        Self {
            which,
            dir,
            folder,
            lock: None,
            claim: None,
            control: None,
            ok: None,
            file: None,
            record,
            watch: None,
            late: None,
            complained: false,
            last_pid: 0,
            told: false,
            script: names::RUN,
        }
    }

    /// Returns the name of the record in the folder.
    pub(crate) fn record_name(&self) -> &'static CStr {
        if self.is_script() { names::LOG_RECORD } else { names::RECORD }
    }

    /// Opens the record, made if absent. It is only ever overwritten in place, at its full size,
    /// so that a full disk cannot hinder it later. Where none can be made, there is none.
    ///
    /// # Errors
    /// Where there may be one and it cannot be had now.
    pub(crate) fn open_record(&mut self) -> Result<()> {
        let (dir, name) = (self.folder.raw(), self.record_name());
        let open = |how| {
            file::open(dir, name, how | flags::O_NOFOLLOW | flags::O_NONBLOCK, 0o644).or_lasting()
        };
        let mut opened = open(flags::O_RDWR | flags::O_CREAT)?;
        if opened.is_none() {
            // A read-only file system: what it says counts all the same.
            opened = open(flags::O_RDONLY)?;
        }
        self.file = match opened {
            Some(file) if is_own_file(&file)? => Some(file),
            // Put there by somebody: a link to what is not ours to write.
            _ => match file::unlink(dir, name) {
                Ok(()) => open(flags::O_RDWR | flags::O_CREAT | flags::O_EXCL)?,
                Err(_) => None,
            },
        };
        Ok(())
    }

    /// Reads the record; `None` = there is none that can be understood.
    ///
    /// # Errors
    /// Where it cannot be read now.
    pub(crate) fn read_record(&self) -> Result<Option<Record>> {
        self.file.as_ref().map_or(Ok(None), |file| read_record(file.raw()))
    }

    /// Overwrites the record in place; one that could not be had so far is tried for again.
    ///
    /// # Errors
    /// As openat(2) and pwrite(2).
    pub(crate) fn write_record(&mut self) -> Result<()> {
        let bytes = self.record.to_bytes();
        let write = |file: &Option<Fd>| match file {
            Some(file) => fd::write_at(file.raw(), &bytes, 0),
            None => Err(Errno(flags::ENOENT)),
        };
        match write(&self.file) {
            Err(Errno(flags::ENOENT | flags::EBADF)) => {
                self.open_record()?;
                write(&self.file)
            }
            answer => answer,
        }
    }

    /// Returns the process that [`note_in_lock`] noted.
    pub(crate) fn noted_in_lock(&self) -> Option<Identity> {
        let [alive, (pid, mark)] = file::stat_fd(self.lock.as_ref()?.raw()).ok()?.times();
        let alive_at = u64::try_from(alive.0).ok()?.checked_mul(SECOND)?;
        let alive_at = alive_at.checked_add(u64::try_from(alive.1).ok()?)?;
        let pid = u32::try_from(pid).ok().filter(|pid| mark == MARK && *pid > 1)?;
        Some(Identity { pid, alive_at })
    }

    /// Puts into the record what will be true once the script runs.
    pub(crate) fn about_to_run(&mut self, script: Script) {
        let now = stamp();
        self.told = false;
        let record = &mut self.record;
        record.since = now;
        record.adopted = false;
        record.paused = false;
        record.stopping = false;
        record.begun = script != Script::Stop;
        record.ready = (script == Script::Run).then_some(now);
        (record.phase, self.script) = match script {
            Script::Start => (Phase::Starting, names::START),
            Script::Run => (Phase::Running, names::RUN),
            Script::Stop => (Phase::Stopping, names::STOP),
        };
        if script == Script::Run && record.died.is_some() {
            record.restarts = record.restarts.saturating_add(1);
        }
    }

    /// Tells whether such a death is final: the directory lists the code, or encore rules.
    pub(crate) fn is_permanent(&self, exit: Exit, encore: bool) -> bool {
        let Exit::Code(code) = exit else { return false };
        if encore && code == 100 {
            return true;
        }
        let at = self.dir.as_ref().map_or(HERE, Fd::raw);
        let how = flags::O_RDONLY | flags::O_NONBLOCK;
        let Ok(list) = file::open(at, names::FAILURE_CODES, how, 0) else { return false };
        let mut bytes = [0; 256];
        let n = fd::read_at(list.raw(), &mut bytes, 0).unwrap_or(0);
        lists(&bytes[..n], code)
    }

    /// Tells whether the logger is an executable, without a directory of its own.
    pub(crate) fn is_script(&self) -> bool {
        self.which == Which::Logger && self.dir.is_none()
    }

    /// Returns the pid, if a process lives.
    pub(crate) fn pid(&self) -> Option<i32> {
        i32::try_from(self.record.process.pid).ok().filter(|pid| *pid > 0)
    }

    /// Notes that the process is dead.
    pub(crate) fn buried(&mut self, exit: Exit) {
        let now = stamp();
        self.last_pid = core::mem::take(&mut self.record.process.pid);
        self.record.since = now;
        self.record.died = Some(now);
        self.record.ready = None;
        self.record.adopted = false;
        // Told by an earlier supervise, it was told to go down.
        self.record.asked = self.told || self.record.stopping;
        self.record.last_exit = exit;
        self.watch = None;
    }

    /// Asks for a while how the process behind a pidfd ended, once its parent has reaped it.
    pub(crate) fn look_back_at(&mut self, dead: Fd) {
        self.late = Some((dead, time::monotonic() + LATE));
    }

    /// Sends a signal to the process, or to its whole group.
    pub(crate) fn signal(&mut self, what: Kill, group: bool) {
        let Some(pid) = self.pid() else { return };
        self.told |= is_the_end(what);
        let number = number(what);
        // What we sent it for may be over already; then it needs no signal.
        let _ = match &self.watch {
            Some(watch) if group && is_dead(watch) => Ok(()),
            // One that leads no group is told alone.
            _ if group => signal::kill(-pid, number).or_else(|_| signal::kill(pid, number)),
            // Not our child: its pid may be another's by now, its pidfd not.
            Some(watch) => process::pidfd_kill(watch.raw(), number),
            None => signal::kill(pid, number),
        };
    }
}

/// Reads a record; `None` = it cannot be understood.
///
/// # Errors
/// Where it cannot be read now.
pub(crate) fn read_record(file: i32) -> Result<Option<Record>> {
    let mut bytes = [0; Record::LEN];
    let n = fd::read_at(file, &mut bytes, 0)?;
    Ok(Record::from_bytes(&bytes[..n]))
}

/// What tells times of a lock that mean a process from times that mean times.
const MARK: i64 = 271_828_182;

/// Notes a process in the times of its lock: they need no room on a disk that is full.
pub(crate) fn note_in_lock(lock: i32, who: Identity) {
    let alive = ((who.alive_at / SECOND) as i64, (who.alive_at % SECOND) as i64);
    // Where even that cannot be, the status may still tell the next supervise.
    let _ = file::set_times(lock, [alive, (i64::from(who.pid), MARK)]);
}

/// Tells whether the process behind a pidfd is dead: its pid may be another's by now.
fn is_dead(watch: &Fd) -> bool {
    let mut polls = [PollFd::readable(watch.raw())];
    fd::poll(&mut polls, Some(0)).is_ok_and(|ready| ready > 0)
}

/// Tells whether an open file was written by root or us, and writing to it changes that file alone,
/// under its one name.
pub(crate) fn is_own_file(file: &Fd) -> Result<bool> {
    let stat = file::stat_fd(file.raw())?;
    let ours = stat.uid() == 0 || stat.uid() == process::euid();
    Ok(stat.is_file() && stat.has_one_name() && ours)
}

/// Tells whether a list of decimal numbers, apart by white space, has `code`.
fn lists(bytes: &[u8], code: i32) -> bool {
    let code = u64::try_from(code).ok();
    let mut words = bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.any(|word| decimal::parse(word).is_some_and(|word| Some(word) == code))
}

/// Returns the wall clock's stamp.
pub(crate) fn stamp() -> Stamp {
    let (seconds, nanos) = time::wall();
    Stamp::from_unix(seconds, nanos)
}

/// Puts the end of a process into the record's words.
pub(crate) fn exit(ended: Ended) -> Exit {
    match ended {
        Ended::Code(code) => Exit::Code(code),
        Ended::Signal(signal) => Exit::Signal(signal),
    }
}

/// Tells whether a signal is sent to end a process.
fn is_the_end(what: Kill) -> bool {
    use Signal::{Interrupt, Kill as Killed, Quit, Terminate};
    matches!(what, Kill::Named(Interrupt | Killed | Quit | Terminate))
}

fn number(what: Kill) -> i32 {
    use signal::numbers as n;
    match what {
        Kill::Stop => n::SIGSTOP,
        Kill::Continue => n::SIGCONT,
        Kill::Named(Signal::Alarm) => n::SIGALRM,
        Kill::Named(Signal::Hangup) => n::SIGHUP,
        Kill::Named(Signal::Interrupt) => n::SIGINT,
        Kill::Named(Signal::Kill) => n::SIGKILL,
        Kill::Named(Signal::Quit) => n::SIGQUIT,
        Kill::Named(Signal::Terminate) => n::SIGTERM,
        Kill::Named(Signal::User1) => n::SIGUSR1,
        Kill::Named(Signal::User2) => n::SIGUSR2,
        Kill::Named(Signal::Window) => n::SIGWINCH,
    }
}
