//! From the command line to a logger that runs.

use crate::direct::Direct;
use crate::folder::Folder;
use crate::input::Input;
use crate::lines::Lines;
use crate::logger::{Logger, Way};
use crate::output::{Output, Outputs, buffer_len};
use crate::recover::Resume;
use crate::script::{Action, Mistake, Script, Whole};
use crate::spool::Spool;
use crate::stamp::{self, Lead};
use crate::wait::{self, Signals, Wait};
use crate::{FATAL, MULTILOG, NAME};
use core::ffi::CStr;
use linux::entry::Args;
use linux::errno::{Errno, Result};
use linux::fd::{self, Fd, PollFd};
use linux::file::{self, flags};
use linux::home::Home;
use linux::memory::Arena;
use linux::program::{TROUBLE, USAGE};
use linux::{message, process, time};
use ondisk::spool::{MOST, Place};

/// Enough for what a script with one log needs, in a page that is there anyway.
static SPACE: Home<[u8; 2048]> = Home::new([0; 2048]);

/// The program multilog.
#[must_use]
pub fn multilog(args: Args) -> i32 {
    fd::fill_standard();
    file::set_umask(0o022);
    message::never_wait();
    match start(args) {
        Ok(mut logger) => match logger.run() {
            0 if logger.is_replaced() => replace(args),
            code => code,
        },
        Err(code) => code,
    }
}

/// HUP: becomes the program that is now on disk, which finds all as a multilog after one that was
/// told to end. Signals stay blocked: one that comes meanwhile is the next one's.
fn replace(args: Args) -> i32 {
    let Some(path) = process::exec_path() else { return TROUBLE };
    let why = process::exec(path, args.from(0));
    MULTILOG.fatal(&[b"unable to become the program on disk"], why)
}

// A frame of its own: the stack it needs is given back once it has returned.
#[inline(never)]
fn start(args: Args) -> core::result::Result<Logger, i32> {
    let Some(space) = SPACE.take() else { return Err(TROUBLE) };
    let mut arena = Arena::new(space);
    let words = |i| args.get(i);
    let mut count = 0;
    let mut script = Script::new(&words);
    while script.action().map_err(mistake)?.is_some() {
        count += 1;
    }
    let whole = script.whole();
    let mut script = Script::new(&words);
    let actions = list(&mut arena, count, |_| script.action().map_err(mistake)?.ok_or(USAGE))?;
    let paths = |actions: &'static [Action]| actions.iter().filter_map(log_of);
    let n = paths(actions).count();
    // Before anything is made: a signal that comes from now on ends us in good order.
    let polls = list(&mut arena, wait::list_len(n), |_| Ok(PollFd::none()))?;
    let signals =
        Signals::wait().map_err(|why| MULTILOG.fatal(&[b"unable to watch signals"], why))?;
    let files = open_files(&mut arena, actions)?;
    let mut logs = paths(actions);
    let logs = list(&mut arena, n, |_| {
        let (path, settings) = logs.next().ok_or(TROUBLE)?;
        Folder::open(path, settings)
    })?;
    // After the directories: without descriptors it fails at the same place as the original.
    let wait = Wait::new(signals, polls).map_err(cannot_begin)?;
    let parts = Parts { script: actions, whole, files, logs, wait };
    parts.assemble(&mut arena)
}

/// What a logger is made of.
struct Parts {
    script: &'static [Action],
    whole: Whole,
    files: &'static mut [Fd],
    logs: &'static mut [Folder],
    wait: Wait,
}

impl Parts {
    fn assemble(self, arena: &mut Arena) -> core::result::Result<Logger, i32> {
        let mut outputs = Outputs { logs: &mut [], files: self.files };
        let mut lines = Lines::default();
        let mut lead = Lead::new(self.whole.stamp, self.whole.prefix);
        lead.set(time::wall());
        let is_pipe = file::stat_fd(0).is_ok_and(|stat| stat.is_fifo());
        let has_lead = self.whole.stamp != stamp::Kind::None || !self.whole.prefix.is_empty();
        let is_direct = is_pipe && !has_lead && matches!(self.script, [Action::Log(..)]);
        let way = if is_direct {
            Way::Direct(Direct::default())
        } else {
            outputs.logs = open_outputs(arena, self.logs.len()).map_err(cannot_begin)?;
            let spool = if is_pipe { open_spool(&self.whole, self.logs, arena)? } else { None };
            let mut input = Input::new(spool).map_err(cannot_begin)?;
            let mut resume = Resume {
                script: self.script,
                sum: self.whole.sum,
                lead: lead.bytes(),
                logs: self.logs,
                outputs: &mut outputs,
                lines: &mut lines,
            };
            resume.run(&mut input, arena).map_err(|why| no_spool(self.logs, why))?;
            Way::Lines(input)
        };
        Ok(Logger::new(self.script, lead, self.logs, outputs, lines, way, self.wait))
    }
}

/// Opens a spool in the first log, where there is to be one.
fn open_spool(
    whole: &Whole,
    logs: &mut [Folder],
    arena: &mut Arena,
) -> core::result::Result<Option<Spool>, i32> {
    let n = logs.len();
    let [log, ..] = &mut *logs else { return Ok(None) };
    if !whole.is_exact || n > MOST {
        return Ok(None);
    }
    let files = loop {
        match Spool::open_files(log.directory()) {
            // It takes two inodes; who drops what is old makes room for them, too.
            Err(why) if log.is_ready() && log.drops_for(why) => log.failed(why, time::monotonic()),
            answer => break answer.map_err(|why| no_spool(logs, why))?,
        }
    };
    let places = list(arena, n, |_| Ok(Place::default()))?;
    let totals = list(arena, n, |_| Ok(0))?;
    Ok(Some(Spool::new(files, whole.sum, places, totals)))
}

fn cannot_begin(why: Errno) -> i32 {
    MULTILOG.fatal(&[b"unable to begin"], why)
}

fn no_spool(logs: &[Folder], why: Errno) -> i32 {
    let name = logs.first().map_or(&b""[..], Folder::name);
    MULTILOG.fatal(&[b"unable to open spool in ", name], why)
}

/// Makes a buffer for each log.
///
/// # Errors
/// `ENOMEM`.
pub fn open_outputs(arena: &mut Arena, logs: usize) -> Result<&'static mut [Output]> {
    arena.list(logs, |_| Output::new(buffer_len(logs)))?
}

fn log_of(action: &Action) -> Option<(&'static CStr, crate::folder::Settings)> {
    match *action {
        Action::Log(path, settings) => Some((path, settings)),
        _ => None,
    }
}

/// Opens the files of `=`.
fn open_files(
    arena: &mut Arena,
    actions: &[Action],
) -> core::result::Result<&'static mut [Fd], i32> {
    let path = |action: &Action| match *action {
        Action::Status(path) => Some(path),
        _ => None,
    };
    let mut paths = actions.iter().filter_map(path);
    list(arena, actions.iter().filter_map(path).count(), |_| {
        let path = paths.next().ok_or(TROUBLE)?;
        let how = flags::O_WRONLY | flags::O_CREAT | flags::O_NONBLOCK;
        file::open(file::HERE, path, how, 0o600)
            .and_then(fd::beyond_standard)
            .map_err(|why| MULTILOG.fatal(&[b"unable to create ", path.to_bytes()], why))
    })
}

fn list<T>(
    arena: &mut Arena,
    len: usize,
    make: impl FnMut(usize) -> core::result::Result<T, i32>,
) -> core::result::Result<&'static mut [T], i32> {
    arena.list(len, make).map_err(cannot_begin)?
}

fn mistake((action, why): Mistake) -> i32 {
    message::plain(
        NAME,
        FATAL,
        &[b"unable to read action ", action.to_bytes(), b": ", why.as_bytes()],
    );
    USAGE
}
