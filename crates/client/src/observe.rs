//! What the files of a service say, and whether it is true.
//!
//! Nothing here waits, whatever the files are: they are opened without blocking and without
//! following a symlink, and no more of them is read than a good one holds.

use crate::svpath::Paths;
use alloc::ffi::CString;
use core::ffi::CStr;
use linux::census::Process;
use linux::errno::{Errno, Result};
use linux::fd::{self, Fd};
use linux::file::{self, HERE};
use linux::{identity, signal};
use ondisk::names::{DOWN, OK, RECORD, STATUS};
use ondisk::record::{Identity, Phase, Record};
use ondisk::status::{State, Status};

/// The first bytes of a status file.
#[derive(Clone, Copy, Debug)]
pub struct StatusFile {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl StatusFile {
    /// No relative writes more than 40; one more byte would show a longer file.
    const MOST: usize = 41;
    /// Where daemontools-encore has the logger's half.
    const LOG: usize = Status::ENCORE_LEN;

    /// Takes the first bytes of a file; `None` = too short.
    #[must_use]
    pub fn from_bytes(file: &[u8]) -> Option<Self> {
        let len = file.len().min(Self::MOST);
        let mut bytes = [0; Self::MOST];
        bytes[..len].copy_from_slice(&file[..len]);
        (len >= Status::LEN).then_some(Self { bytes, len })
    }

    /// Returns the service's half.
    #[must_use]
    pub fn service(&self) -> Half {
        Half::from_bytes(&self.bytes[..self.len])
    }

    /// Returns the logger's half, which only daemontools-encore writes.
    #[must_use]
    pub fn logger(&self) -> Option<Half> {
        let half = &self.bytes[Self::LOG..self.len.max(Self::LOG)];
        (half.len() >= Status::LEN).then(|| Half::from_bytes(half))
    }
}

/// What a status file says of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Half {
    /// The 18 bytes that all relatives write.
    pub status: Status,
    /// The byte behind them, where there is one.
    pub state: Option<u8>,
}

impl Half {
    /// `bytes` are at least 18.
    fn from_bytes(bytes: &[u8]) -> Self {
        let nothing = Status {
            since: ondisk::tai64n::Stamp::default(),
            pid: 0,
            paused: false,
            want: ondisk::status::Want::Once,
        };
        let status = Status::from_bytes(bytes).unwrap_or(nothing);
        Self { status, state: bytes.get(Status::LEN).copied() }
    }

    /// Returns daemontools-encore's state.
    #[must_use]
    pub fn state(&self) -> Option<State> {
        self.state.and_then(State::from_byte)
    }
}

/// Why a status cannot be told, in the order in which svstat looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The service directory cannot be entered.
    Chdir(Errno),
    /// Whether there is a file `down` cannot be told.
    StatDown(Errno),
    /// No supervise keeps the service.
    NotRunning,
    /// `ok` cannot be opened.
    OpenOk(Errno),
    /// `status` cannot be opened.
    OpenStatus(Errno),
    /// `status` cannot be read; `None` = it is no status.
    ReadStatus(Option<Errno>),
}

/// Tells whether a supervise keeps the service: `ok` is a FIFO that somebody reads.
///
/// # Errors
/// As open(2), but for `ENXIO`.
pub fn is_kept(paths: &mut Paths) -> Result<bool> {
    open_ok(paths).map(|ok| ok.is_some())
}

/// Opens `ok` for writing, which works while a supervise keeps the service; `None` = none does.
///
/// # Errors
/// As open(2), but for `ENXIO`.
pub fn open_ok(paths: &mut Paths) -> Result<Option<Fd>> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let (from, path) = paths.way_in_folder(OK);
    match file::open(from, path, flags, 0) {
        // A file of another kind, perhaps from a copied directory, says nothing of a supervise.
        Ok(ok) => Ok(file::stat_fd(ok.raw())?.is_fifo().then_some(ok)),
        Err(Errno(libc::ENXIO)) => Ok(None),
        Err(why) => Err(why),
    }
}

/// Tells whether the service is normally up: there is no file `down`.
///
/// # Errors
/// As stat(2), but for `ENOENT`.
pub fn is_normally_up(paths: &mut Paths) -> Result<bool> {
    let (from, path) = paths.way_in_dir(DOWN);
    match file::stat(from, path, true) {
        Ok(_) => Ok(false),
        Err(Errno(libc::ENOENT)) => Ok(true),
        Err(why) => Err(why),
    }
}

/// Reads the status file.
///
/// # Errors
/// [`Trouble::OpenStatus`] and [`Trouble::ReadStatus`].
pub fn read_status(paths: &mut Paths) -> core::result::Result<StatusFile, Trouble> {
    let file = open_to_read(paths, STATUS).map_err(Trouble::OpenStatus)?;
    let mut bytes = [0; StatusFile::MOST];
    let len = match fd::read(file.raw(), &mut bytes) {
        Ok(len) => len,
        // A FIFO that somebody holds for writing.
        Err(Errno(libc::EAGAIN)) => return Err(Trouble::ReadStatus(None)),
        Err(why) => return Err(Trouble::ReadStatus(Some(why))),
    };
    // A device would have filled the buffer; a file of a good length need not be asked.
    if !matches!(len, Status::LEN | Status::ENCORE_LEN | 40) {
        let stat = file::stat_fd(file.raw()).map_err(|why| Trouble::ReadStatus(Some(why)))?;
        if !stat.is_file() {
            return Err(Trouble::ReadStatus(None));
        }
    }
    StatusFile::from_bytes(&bytes[..len]).ok_or(Trouble::ReadStatus(None))
}

/// Reads the record `name`; `None` = there is none, or none that is whole.
#[must_use]
pub fn read_record(paths: &mut Paths, name: &CStr) -> Option<Record> {
    const ATTEMPTS: usize = 3;
    let file = open_to_read(paths, name).ok()?;
    let mut bytes = [0; Record::LEN];
    // It is overwritten in place: half a write is met once, hardly twice.
    (0..ATTEMPTS).find_map(|_| {
        let len = fd::read_at(file.raw(), &mut bytes, 0).ok()?;
        Record::from_bytes(&bytes[..len])
    })
}

fn open_to_read(paths: &mut Paths, name: &CStr) -> Result<Fd> {
    let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    let (from, path) = paths.way_in_folder(name);
    file::open(from, path, flags, 0)
}

/// What svstat's line tells.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// There is no file `down`.
    pub normally_up: bool,
    /// The status file.
    pub status: StatusFile,
}

/// Looks at a service as svstat does. Costs seven system calls where all is well.
///
/// # Errors
/// [`Trouble`].
pub fn look(paths: &mut Paths) -> core::result::Result<Seen, Trouble> {
    let seen = look_inside(paths);
    match seen {
        // What is wrong with the directory comes before what is wrong with a file in it.
        Err(Trouble::StatDown(_) | Trouble::OpenOk(_) | Trouble::OpenStatus(_)) => {
            paths.check().map_err(Trouble::Chdir)?;
            seen
        }
        seen => seen,
    }
}

fn look_inside(paths: &mut Paths) -> core::result::Result<Seen, Trouble> {
    let normally_up = is_normally_up(paths).map_err(Trouble::StatDown)?;
    if !is_kept(paths).map_err(Trouble::OpenOk)? {
        return Err(Trouble::NotRunning);
    }
    Ok(Seen { normally_up, status: read_status(paths)? })
}

/// Tells whether a process exists and is not just waiting to be reaped.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(number) = i32::try_from(pid) else { return false };
    if number <= 0 || signal::kill(number, 0) == Err(Errno(libc::ESRCH)) {
        return false;
    }
    let mut path = [0; 24];
    let mut line = [0; 512];
    let read = identity::proc_path(pid, b"/stat", &mut path)
        .and_then(|path| file::open(HERE, path, libc::O_RDONLY, 0))
        .and_then(|file| fd::read(file.raw(), &mut line));
    // Without /proc the answer of kill(2) must do.
    let Ok(len) = read else { return true };
    let state = line[..len].iter().rposition(|b| *b == b')').and_then(|end| line.get(end + 2));
    !matches!(state, Some(b'Z' | b'X'))
}

/// Which processes there are.
pub trait Living {
    /// Tells whether a process exists and is not just waiting to be reaped.
    fn is_alive(&self, pid: u32) -> bool;

    /// Tells whether the process that `record` means by `who` is alive.
    fn has(&self, record: &Record, who: &Identity) -> bool;
}

/// Which processes are the ones that a record means.
#[derive(Default)]
pub struct Boot(identity::Boot);

impl Boot {
    /// Asks which boot this is.
    #[must_use]
    pub fn this() -> Self {
        let mut boot = Self::default();
        boot.learn();
        boot
    }

    /// Asks again, where that could not be answered so far: meanwhile no process is known.
    pub fn learn(&mut self) {
        if !self.0.is_known() {
            self.0 = identity::Boot::this().unwrap_or_default();
        }
    }

    /// Returns the argument by which a supervise that is started now need not ask; `None` where it
    /// is not known.
    #[must_use]
    pub fn argument(&mut self) -> Option<CString> {
        self.learn();
        let text = self.0.is_known().then(|| self.0.tell())?;
        CString::new([&b"--boot="[..], &text].concat()).ok()
    }

    /// Tells whether `record` was written in this boot, by a supervise that has not let go.
    #[must_use]
    pub fn is_of(&self, record: &Record) -> bool {
        self.0.is_known() && record.boot == self.0.id
    }

    /// Tells whether the process that `record` means by `who` is alive.
    #[must_use]
    pub fn has(&self, record: &Record, who: &Identity) -> bool {
        who.pid != 0
            && self.is_of(record)
            && is_alive(who.pid)
            && self.0.started(who.pid).is_ok_and(|started| who.matches(started))
    }

    /// Tells whether `process`, which has been looked at, is the one that `record` means by `who`.
    #[must_use]
    pub fn is(&self, record: &Record, who: &Identity, process: &Process) -> bool {
        who.pid == process.pid
            && self.is_of(record)
            && process.is_alive()
            && who.matches(self.0.of_ticks(process.started))
    }
}

impl Living for Boot {
    fn is_alive(&self, pid: u32) -> bool {
        is_alive(pid)
    }

    fn has(&self, record: &Record, who: &Identity) -> bool {
        self.has(record, who)
    }
}

/// Whether the process that a service's files name is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// There is none, it is dead, or its pid is another's by now.
    Over,
    /// A process has the pid that was left behind, and nobody vouches that it is the same.
    Unsure,
    /// It is alive: its record fits, or its supervise is there.
    Certain,
}

/// All that the supervise folder tells of one process, checked against the processes there are.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot {
    /// A supervise keeps the service.
    pub kept: bool,
    /// What the status file says.
    pub half: Option<Half>,
    /// The record, where it speaks of the same process since the same moment as the status: a
    /// daemontools that knows no records may have written the status since.
    pub record: Option<Record>,
    /// Whether the process is alive.
    pub life: Life,
    /// Status and record speak of different moments, and the supervise that writes both lives: it
    /// was in the middle of that, and they will agree in an instant.
    pub is_torn: bool,
}

impl Snapshot {
    /// Looks at a service.
    #[must_use]
    pub fn take(paths: &mut Paths, living: &impl Living) -> Self {
        let kept = is_kept(paths).unwrap_or(false);
        let half = read_status(paths).ok().map(|status| status.service());
        let record = read_record(paths, RECORD);
        Self::new(kept, half, record, living)
    }

    /// Puts together what was read.
    #[must_use]
    pub fn new(
        kept: bool,
        half: Option<Half>,
        record: Option<Record>,
        living: &impl Living,
    ) -> Self {
        let read = record;
        let record = read.filter(|record| half.is_none_or(|half| agree(record, &half.status)));
        let is_torn = kept
            && record.is_none()
            && read.is_some_and(|record| living.has(&record, &record.supervisor));
        let life = match (&record, &half) {
            (Some(record), _) if living.has(record, &record.process) => Life::Certain,
            (None, Some(half)) if living.is_alive(half.status.pid) => {
                if kept {
                    Life::Certain
                } else {
                    Life::Unsure
                }
            }
            _ => Life::Over,
        };
        Self { kept, half, record, life, is_torn }
    }

    /// Returns what the service is doing.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        if let Some(record) = &self.record {
            return Some(record.phase);
        }
        let half = self.half?;
        Some(match half.state() {
            Some(State::Starting) => Phase::Starting,
            Some(State::Started) => Phase::Started,
            Some(State::Running) => Phase::Running,
            Some(State::Stopping) if half.status.pid != 0 => Phase::Stopping,
            Some(State::Failed) => Phase::Failed,
            _ if half.status.pid != 0 => Phase::Running,
            _ => Phase::Down,
        })
    }

    /// Tells whether the service is up: its process is alive, or it needs none.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self.phase() {
            Some(Phase::Running) => self.life == Life::Certain,
            Some(Phase::Started) => self.kept,
            // A `start` or `stop` script is not the service. (Where only encore's state tells,
            // `run` in its last moments looks like `stop`.)
            _ => false,
        }
    }

    /// Tells whether its process is dead and its supervise, which lives, has not said so yet: how it
    /// ended will be told in an instant.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.kept && self.life == Life::Over && self.phase() == Some(Phase::Running)
    }

    /// Tells whether the service is up and ready, as its supervise recorded it: one that declares
    /// nothing is ready when it is up, and so is one whose supervise keeps no record.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let said = |record: Record| record.ready.is_some() || record.phase == Phase::Started;
        self.is_up() && self.record.is_none_or(said)
    }
}

fn agree(record: &Record, status: &Status) -> bool {
    record.process.pid == status.pid && record.since == status.since
}
