//! The world of one supervise: what it holds, waits for and does.

use crate::args::Args;
use crate::keep::{self, Kept};
use crate::replace::Inherited;
use crate::restore::Own;
use crate::{FATAL, WARNING, due, say};
use core::ffi::CStr;
use linux::errno::{Errno, Result};
use linux::fd::{self, Fd, PollFd};
use linux::file::{self, HERE, flags};
use linux::home::Home;
use linux::identity::{self, Boot};
use linux::message;
use linux::process::{self, Waited};
use linux::signal::{self, Set, numbers as n};
use linux::spawn::Stack;
use linux::time::{self, SECOND};
use machine::queue::Queue;
use machine::supervise::{Action, Event, Machine, Which};
use machine::time::{Mono, earlier};
use ondisk::control::Command;
use ondisk::names;
use ondisk::record::{Exit, Identity};

/// Events on their way to the machine. One turn of [`Host::wait`] brings at most two bursts of
/// [`BURST`] commands with their ends, two deaths, four signals and a tick; what is done about one
/// of them brings at most four more before the next is looked at.
pub(crate) type Events = Queue<Event, 32>;

/// Command bytes read at once.
const BURST: usize = 8;
/// Signals taken at once.
const SIGNALS_AT_ONCE: usize = 4;

/// What supervise is waiting on; the order in the poll list.
const SIGNALS: usize = 0;
const FIRST: usize = 1;
const EACH: usize = 3;

static MEMBERS: Home<[Option<Kept>; 2]> = Home::new([None, None]);
static STACK: Home<Stack> = Home::new(Stack::new());

/// Everything supervise holds.
pub(crate) struct Host {
    /// The service directory as it was named to us, for messages.
    pub(crate) name: &'static CStr,
    /// Where we were started: `name` counts from there.
    pub(crate) origin: Fd,
    /// svscan started us.
    pub(crate) paired: bool,
    /// daemontools-encore rules.
    pub(crate) encore: bool,
    /// Ourselves, and what we were asked.
    pub(crate) own: Own,
    /// Service and logger, as far as they are ours.
    pub(crate) members: &'static mut [Option<Kept>; 2],
    /// For the children.
    pub(crate) stack: &'static mut Stack,
    /// There is a logger, and whether it is a script.
    pub(crate) logger: Option<bool>,
    /// Why nobody could tell whether there is a logger: its service is not run without its pipe.
    pub(crate) logger_unknown: Option<Errno>,
    /// The pipe between them.
    pub(crate) pipe: Option<Pipe>,
    /// What the program that we replaced held.
    pub(crate) inherited: Inherited,
    /// No member could ever be taken.
    pub(crate) unlucky: bool,
    /// HUP came.
    pub(crate) replacement_asked: bool,
    /// Children that died before our time, or while we were replaced, were looked for.
    has_reaped: bool,
    signals: Fd,
}

impl Host {
    /// Goes to the service directory. `Err` is the exit code; the reason was said.
    // Not inlined: what it needs of the stack is free again afterwards.
    #[inline(never)]
    pub(crate) fn start(args: &Args) -> core::result::Result<Self, i32> {
        fd::fill_standard();
        message::never_wait();
        signal::reset_all();
        let mut inherited = args.inherited;
        inherited.guard();
        let Entered { origin, encore, signals, boot } = enter(args, &inherited)?;
        let identity = Identity { pid: process::pid() as u32, alive_at: boot.now() };
        let (Some(members), Some(stack)) = (MEMBERS.take(), STACK.take()) else { return Err(111) };
        Ok(Self {
            name: args.dir,
            origin,
            paired: args.paired,
            encore,
            own: Own { boot, identity, once: args.once },
            members,
            stack,
            logger: None,
            logger_unknown: None,
            pipe: None,
            inherited,
            unlucky: true,
            replacement_asked: false,
            has_reaped: false,
            signals,
        })
    }

    /// Goes on where the program that we replaced was, and asks for the service.
    pub(crate) fn begin(&mut self, machine: &mut Machine, events: &mut Events) {
        for which in [Which::Service, Which::Logger] {
            machine.carry_on(which, self.inherited.modifiers(which));
        }
        self.join(Which::Service, events);
    }

    /// Returns the exit code of a supervise that holds nothing any more.
    pub(crate) fn verdict(&self) -> i32 {
        if self.unlucky { 111 } else { 0 }
    }

    /// Returns a member that is ours.
    pub(crate) fn kept(&mut self, which: Which) -> Option<&mut Kept> {
        self.members[which as usize].as_mut()
    }

    /// Does what the machine decided.
    #[inline(never)]
    pub(crate) fn perform(&mut self, action: Action, machine: &Machine, events: &mut Events) {
        match action {
            Action::Launch(which, script) => self.launch(which, script, machine, events),
            Action::Signal(which, what, group) => {
                if let Some(kept) = self.kept(which) {
                    kept.signal(what, group);
                }
            }
            Action::Publish(which) => {
                if self.publish(which, machine).is_err() {
                    events.push(Event::NotPublished(which));
                }
            }
            Action::NotifyStart(which) => self.notify(which, None),
            Action::NotifyDeath(which, exit) => self.notify(which, Some(exit)),
            Action::Join(which) => self.join(which, events),
            Action::LetGo(which) => self.let_go(which),
            Action::FindLogger => self.find_logger(events),
            Action::HangUp => self.hang_up(),
        }
    }

    /// Closes the writing end; a reading end keeps what a logger that crashes leaves behind.
    fn hang_up(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            pipe.writer = None;
        }
    }

    /// Waits for the next thing to happen and turns it into events.
    #[inline(never)]
    pub(crate) fn wait(&mut self, deadline: Option<Mono>, events: &mut Events) {
        if !self.has_reaped {
            self.reap(events);
            if !events.is_empty() {
                return;
            }
        }
        let mut polls = [PollFd::none(); FIRST + 2 * EACH];
        polls[SIGNALS] = PollFd::readable(self.signals.raw());
        let mut until = deadline;
        for (i, kept) in self.members.iter().enumerate() {
            let Some(kept) = kept else { continue };
            let at = FIRST + i * EACH;
            polls[at] = kept.control.as_ref().map_or(PollFd::none(), |f| PollFd::readable(f.raw()));
            polls[at + 1] =
                kept.watch.as_ref().map_or(PollFd::none(), |f| PollFd::readable(f.raw()));
            if let Some((dead, until_late)) = &kept.late {
                polls[at + 2] = PollFd::hung_up(dead.raw());
                until = earlier(until, Some(Mono(*until_late)));
            }
        }
        let timeout = until.map(|at| at.nanos_from(Mono(time::monotonic())));
        // Only a bad list of descriptors can fail, and ours are open.
        let _ = fd::poll(&mut polls, timeout);
        if polls[SIGNALS].is_ready() {
            self.signals_came(events);
        }
        for (i, which) in [Which::Service, Which::Logger].into_iter().enumerate() {
            let [control, watch, late] = [0, 1, 2].map(|k| polls[FIRST + i * EACH + k].is_ready());
            if watch {
                self.adopted_died(which, events);
            }
            self.look_back(which, late);
            if control {
                self.commands(which, events);
            }
        }
        if let Some(tick) = due(deadline) {
            events.push(tick);
        }
    }

    fn signals_came(&mut self, events: &mut Events) {
        // The rest comes next turn: what is queued must find room.
        for _ in 0..SIGNALS_AT_ONCE {
            let Some(number) = signal::next(&self.signals) else { return };
            match number {
                n::SIGCHLD => self.reap(events),
                n::SIGTERM | n::SIGINT => events.push(Event::Terminate),
                n::SIGHUP => self.replacement_asked = true,
                n::SIGTSTP => events.push(Event::Command(Which::Service, Command::Pause)),
                n::SIGCONT => events.push(Event::Command(Which::Service, Command::Continue)),
                _ => {}
            }
        }
    }

    /// Reaps every dead child; those that are not ours were inherited, or are `notify`. While a
    /// member cannot be taken, one of them may be its process: that is asked later how it ended.
    fn reap(&mut self, events: &mut Events) {
        let members = [Which::Service, Which::Logger];
        // Of a logger whose `log` is gone nothing more will be known.
        let no_logger = self.kept(Which::Service).is_some()
            && self.logger.is_none()
            && self.logger_unknown.is_none();
        self.has_reaped = !self.inherited.has_member(Which::Service)
            && (no_logger || !self.inherited.has_member(Which::Logger));
        if self.has_reaped {
            while self.reap_one(-1, events) {}
            return;
        }
        for which in members {
            let child = self.kept(which).filter(|kept| kept.watch.is_none());
            if let Some(pid) = child.and_then(|kept| kept.pid()) {
                self.reap_one(pid, events);
            }
        }
    }

    /// Reaps a process, -1 = any; tells whether one was dead.
    fn reap_one(&mut self, pid: i32, events: &mut Events) -> bool {
        let Waited::Ended(pid, ended) = process::wait(pid, false) else { return false };
        for which in [Which::Service, Which::Logger] {
            let is_it = |kept: &mut Kept| kept.watch.is_none() && kept.pid() == Some(pid);
            if self.kept(which).is_some_and(is_it) {
                self.died(which, keep::exit(ended), events);
            }
        }
        true
    }

    /// Notes a death and tells the machine.
    pub(crate) fn died(&mut self, which: Which, exit: Exit, events: &mut Events) {
        let encore = self.encore;
        if let Some(kept) = self.kept(which) {
            kept.buried(exit);
            let permanent = kept.is_permanent(exit, encore);
            events.push(Event::Died { which, exit, permanent });
        }
    }

    /// The process behind a pidfd is dead. How it ended is known at once only where its parent
    /// has reaped it by now.
    fn adopted_died(&mut self, which: Which, events: &mut Events) {
        let Some(kept) = self.kept(which) else { return };
        let Some(watch) = kept.watch.take() else { return };
        let ended = process::pidfd_ended(watch.raw());
        if ended.is_none() {
            kept.look_back_at(watch);
        }
        self.died(which, ended.map_or(Exit::Unknown, keep::exit), events);
    }

    /// Asks again how a dead process ended.
    fn look_back(&mut self, which: Which, hung_up: bool) {
        let Some(kept) = self.kept(which) else { return };
        let Some((dead, until)) = &kept.late else { return };
        let ended = process::pidfd_ended(dead.raw());
        let over = ended.is_some() || hung_up || *until <= time::monotonic();
        if let (Some(ended), Exit::Unknown) = (ended, kept.record.last_exit) {
            kept.record.last_exit = keep::exit(ended);
            // What the next publication writes says the same.
            let _ = kept.write_record();
        }
        if over {
            kept.late = None;
        }
    }

    fn commands(&mut self, which: Which, events: &mut Events) {
        let Some(kept) = self.kept(which) else { return };
        let Some(control) = &kept.control else { return };
        let mut bytes = [0; BURST];
        let n = fd::read(control.raw(), &mut bytes).unwrap_or(0);
        for command in bytes[..n].iter().filter_map(|b| Command::from_byte(*b)) {
            events.push(Event::Command(which, command));
        }
        if n < BURST {
            events.push(Event::BurstOver(which));
        }
    }
}

/// The pipe from a service to its logger: held open, so that it keeps its bytes whoever dies.
pub(crate) struct Pipe {
    /// The `supervise` folder that it lies in.
    pub(crate) folder: Fd,
    /// Keeps what was written.
    pub(crate) reader: Fd,
    /// Keeps a logger from meeting the end of the file, until that is wanted.
    pub(crate) writer: Option<Fd>,
}

impl Pipe {
    /// Opens a reading end: without a writer left it ends.
    pub(crate) fn for_logger(&self) -> Result<Fd> {
        self.open(flags::O_RDONLY)
    }

    /// Opens an end for reading and writing: its holder never meets a broken pipe.
    pub(crate) fn for_service(&self) -> Result<Fd> {
        self.open(flags::O_RDWR)
    }

    /// By its name, if that still is our pipe; else, whatever became of the folder, anew through
    /// the end that we hold.
    pub(crate) fn open(&self, how: i32) -> Result<Fd> {
        // Not to wait for a writer: there may be none any more.
        let how = how | flags::O_NONBLOCK;
        let named = file::open(self.folder.raw(), names::LOG_PIPE, how | flags::O_NOFOLLOW, 0);
        let ours = file::stat_fd(self.reader.raw())?.id();
        let end = match named {
            Ok(end) if file::stat_fd(end.raw())?.id() == ours => end,
            _ => {
                let mut path = [0; 32];
                file::open(HERE, identity::fd_path(self.reader.raw(), &mut path)?, how, 0)?
            }
        };
        fd::set_nonblock(end.raw(), false)?;
        Ok(end)
    }
}

/// What it takes to go on from the service directory.
struct Entered {
    origin: Fd,
    encore: bool,
    signals: Fd,
    boot: Boot,
}

/// Goes to the service directory. `Err` is the exit code; the reason was said. In the place of
/// another supervise there is no giving up: signals and commands wait until it is done.
fn enter(args: &Args, inherited: &Inherited) -> core::result::Result<Entered, i32> {
    let mut origin = None;
    let mut said = None;
    loop {
        let (verb, why) = match try_to_enter(args, inherited, &mut origin) {
            Ok(entered) => return Ok(entered),
            Err(trouble) => trouble,
        };
        let again = inherited.is_any();
        if said != Some(why) {
            say(if again { WARNING } else { FATAL }, verb, args.dir.to_bytes(), "", why);
            said = Some(why);
        }
        if !again {
            return Err(111);
        }
        let _ = fd::poll(&mut [], Some(SECOND));
    }
}

fn try_to_enter(
    args: &Args,
    inherited: &Inherited,
    origin: &mut Option<Fd>,
) -> core::result::Result<Entered, (&'static str, Errno)> {
    if origin.is_none() {
        let here = file::open(HERE, c".", flags::O_PATH | flags::O_DIRECTORY, 0);
        let here = here.map_err(|why| ("open current directory for ", why))?;
        let entered = inherited.enter().unwrap_or_else(|| file::chdir(args.dir));
        entered.map_err(|why| ("chdir to ", why))?;
        *origin = Some(here);
    }
    let encore = rules_encore();
    let signals = block(encore).map_err(|why| ("create pipe for ", why))?;
    // What is not known now may be wrongly known: a service could be taken for a stranger.
    let boot = args.boot.map_or_else(Boot::this, Ok);
    let boot = boot.map_err(|why| ("learn the boot for ", why))?;
    let origin = origin.take().ok_or(("open current directory for ", Errno(flags::ENOENT)))?;
    Ok(Entered { origin, encore, signals, boot })
}

/// Blocks the signals that we read from a descriptor and returns it; and PIPE, since nobody may
/// be reading our messages.
fn block(encore: bool) -> Result<Fd> {
    let mut set = Set::of(&[n::SIGCHLD, n::SIGTERM, n::SIGINT, n::SIGHUP]);
    if encore {
        // Else job control stops and continues us as it does the original.
        set.add(n::SIGTSTP);
        set.add(n::SIGCONT);
    }
    let descriptor = set.descriptor();
    set.add(n::SIGPIPE);
    set.block_only();
    descriptor
}

/// Tells whether daemontools-encore rules here: the environment or the directory says so.
fn rules_encore() -> bool {
    if let Some(value) = process::variable(names::DAEMONTOOLS_COMPAT) {
        return value == names::ENCORE;
    }
    let mut word = [0; 64];
    let n = file::open(HERE, names::COMPAT, flags::O_RDONLY | flags::O_NONBLOCK, 0)
        .and_then(|file| fd::read_at(file.raw(), &mut word, 0));
    n.is_ok_and(|n| names::says_encore(&word[..n]))
}
