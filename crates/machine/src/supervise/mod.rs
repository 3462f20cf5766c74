//! What supervise does next: one or two members, the service and its logger.
//!
//! The rules are those of supervise(8), of daemontools-encore's scripts, and of the table in
//! crates/daemontools/README.md where these disagree.

mod member;
#[cfg(test)]
mod tests;

pub use member::{Member, Restored};

use crate::queue::Queue;
use crate::time::{Mono, earlier};
use core::time::Duration;
use ondisk::control::{Command, Signal};
use ondisk::record::Exit;
use ondisk::status::Want;

/// Least time between two starts of `run`: daemontools' one second.
pub const SPACING: Duration = Duration::from_secs(1);
/// Until a failed publication, fork or lock is tried again.
pub const RETRY: Duration = Duration::from_secs(1);
/// From letting go of a member, asked by `x`, to looking whether it is to be kept again.
/// daemontools: up to five seconds, svscan's next scan.
pub const RETURN: Duration = Duration::from_secs(3);
/// How long a logger may drain its pipe at the end before it is told TERM.
pub const DRAIN: Duration = Duration::from_secs(5);

/// One of the two members of a supervise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The program of the service directory.
    Service,
    /// The program that reads its output.
    Logger,
}

/// A program of a service directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Script {
    /// Once before `run`.
    Start,
    /// The service itself.
    Run,
    /// Once after the last `run`.
    Stop,
}

/// Why a program was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// There is no such program.
    Absent,
    /// It is there and cannot be run.
    NotRun,
    /// No process could be made.
    NoProcess,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A byte came from a member's control FIFO.
    Command(Which, Command),
    /// That FIFO is empty: modifiers end.
    BurstOver(Which),
    /// Supervise itself was told TERM or INT.
    Terminate,
    /// The deadline passed.
    Tick,
    /// The program asked for runs.
    Launched(Which),
    /// It does not.
    NotLaunched(Which, Obstacle),
    /// The member's process is dead; `permanent`: the directory says that such a death is final.
    Died {
        /// Whose process.
        which: Which,
        /// How it ended.
        exit: Exit,
        /// Not to be started again.
        permanent: bool,
    },
    /// Status or record could not be written.
    NotPublished(Which),
    /// The lock is ours.
    Joined(Which, Restored),
    /// Somebody else holds the lock, or the folder cannot be used now.
    Occupied(Which),
    /// The lock is ours already, and something else that it takes cannot be had now.
    Delayed(Which),
    /// svscan's folder has this service no more: nobody wants it kept.
    EntryGone(Which),
    /// There is a `log` now where there was none; `script`: an executable, not a folder.
    LoggerFound {
        /// It ends with its service.
        script: bool,
    },
    /// Nobody can tell now whether there is a `log`, or its pipe cannot be had.
    LoggerUnknown,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run a program; answered by `Launched` or `NotLaunched`.
    Launch(Which, Script),
    /// Send a signal to the member's process, or to its whole group.
    Signal(Which, Kill, bool),
    /// Write status and record.
    Publish(Which),
    /// Run `notify`, if there is one, about a start.
    NotifyStart(Which),
    /// Run `notify`, if there is one, about the death just reported.
    NotifyDeath(Which, Exit),
    /// Try to take the lock; answered by `Joined`, `Occupied`, `Delayed` or `EntryGone`.
    Join(Which),
    /// Give up lock, `ok` and `control`; the record says that the life is over.
    LetGo(Which),
    /// Look whether there is a `log` by now; answered by `LoggerFound`, `LoggerUnknown` or
    /// nothing.
    FindLogger,
    /// Close our ends of the log pipe, so that the logger meets its end.
    HangUp,
}

/// A signal that supervise sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kill {
    /// STOP, for `p`.
    Stop,
    /// CONT, for `c` and behind TERM.
    Continue,
    /// What a command byte names.
    Named(Signal),
}

/// Actions of one step. Both members at once need no more than this.
pub type Actions = Queue<Action, 24>;

/// What `+`, `=`, `L` and `l` say for the rest of a burst of command bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Burst {
    target: Which,
    group: bool,
    /// Nothing but modifiers came: a client that writes byte by byte is not done yet.
    pending: bool,
}

impl Burst {
    const fn new(target: Which) -> Self {
        Self { target, group: false, pending: false }
    }
}

/// What modifiers that came from a member's FIFO say of the next command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Modifiers {
    /// It is for the whole process group.
    pub group: bool,
    /// It is for the other member.
    pub other: bool,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Ending {
    /// Nobody asked.
    No,
    /// The service is to stop; its logger goes on.
    Service,
    /// The logger empties its pipe, until this moment at the latest.
    Draining { until: Mono, hung_up: bool },
    /// Time is up: the logger was told TERM.
    Forced,
}

/// Decides what a supervise does next. Performs nothing and reads no clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    service: Member,
    logger: Option<Member>,
    /// svscan asked for both members and for coming back after `x`.
    paired: bool,
    /// The logger is a script: it ends with its service.
    script_logger: bool,
    /// When to look for a logger again.
    find_at: Option<Mono>,
    ending: Ending,
    bursts: [Burst; 2],
}

impl Machine {
    /// Returns the machine of a supervise that holds nothing yet; `paired`: svscan asked for it.
    #[must_use]
    pub fn new(paired: bool) -> Self {
        Self {
            service: Member::new(Which::Service),
            logger: None,
            paired,
            script_logger: false,
            find_at: None,
            ending: Ending::No,
            bursts: [Burst::new(Which::Service), Burst::new(Which::Logger)],
        }
    }

    /// Returns a member, if there is one.
    #[must_use]
    pub fn member(&self, which: Which) -> Option<&Member> {
        match which {
            Which::Service => Some(&self.service),
            Which::Logger => self.logger.as_ref(),
        }
    }

    /// Tells whether no member is held: supervise ends.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.service.is_out() && self.logger.as_ref().is_none_or(Member::is_out)
    }

    /// Tells whether supervise was told to end, and its members are about to.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::No
    }

    /// Returns what is known of a member's next command before it comes.
    #[must_use]
    pub fn modifiers(&self, from: Which) -> Modifiers {
        let Burst { target, group, .. } = self.bursts[from as usize];
        Modifiers { group, other: target != from }
    }

    /// Goes on with the modifiers that a machine before this one was told.
    pub fn carry_on(&mut self, from: Which, Modifiers { group, other }: Modifiers) {
        let target = match (from, other) {
            (Which::Service, false) | (Which::Logger, true) => Which::Service,
            (Which::Service, true) | (Which::Logger, false) => Which::Logger,
        };
        self.bursts[from as usize] = Burst { target, group, pending: group || other };
    }

    /// Returns when a `Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let drain = match self.ending {
            Ending::Draining { until, .. } => Some(until),
            Ending::No | Ending::Service | Ending::Forced => None,
        };
        let members = [Some(&self.service), self.logger.as_ref()];
        let others = earlier(drain, self.find_at);
        members.into_iter().flatten().map(Member::deadline).fold(others, earlier)
    }

    /// Decides what follows from an event.
    // Not inlined: what it needs of the stack is free again for what is done about it.
    #[inline(never)]
    pub fn step(&mut self, event: Event, now: Mono, out: &mut Actions) {
        match event {
            Event::Command(which, command) => self.command(which, command, now, out),
            Event::BurstOver(which) => self.burst_over(which),
            Event::Terminate => self.terminate(now, out),
            Event::Tick => self.tick(now, out),
            Event::LoggerFound { script } => self.logger_found(script, out),
            Event::LoggerUnknown => self.find_at = Some(now.after(RETRY)),
            Event::Launched(which) => self.with(which, |m| m.launched(now, out)),
            Event::NotLaunched(which, obstacle) => {
                self.with(which, |m| m.not_launched(obstacle, now, out));
            }
            Event::Died { which, exit, permanent } => {
                self.with(which, |m| m.died(exit, permanent, now, out));
            }
            Event::NotPublished(which) => self.with(which, |m| m.not_published(now)),
            Event::Joined(which, restored) => self.joined(which, restored, now, out),
            // No look for a logger then: of two supervises that start at once, one has both.
            Event::Occupied(which) => self.with(which, |m| m.occupied(now)),
            Event::Delayed(which) => self.with(which, |m| m.delayed(now)),
            Event::EntryGone(which) => self.with(which, Member::entry_gone),
        }
        self.after(now, out);
    }

    fn with(&mut self, which: Which, what: impl FnOnce(&mut Member)) {
        match which {
            Which::Service => what(&mut self.service),
            Which::Logger => {
                if let Some(logger) = &mut self.logger {
                    what(logger);
                }
            }
        }
    }

    fn command(&mut self, which: Which, command: Command, now: Mono, out: &mut Actions) {
        let burst = &mut self.bursts[which as usize];
        burst.pending = true;
        match command {
            Command::Group => burst.group = true,
            Command::Single => burst.group = false,
            Command::Logger => burst.target = Which::Logger,
            Command::Service => burst.target = Which::Service,
            Command::Up
            | Command::Down
            | Command::Once
            | Command::Exit
            | Command::Pause
            | Command::Continue
            | Command::Signal(_) => {
                burst.pending = false;
                let Burst { target, group, .. } = *burst;
                self.with(target, |m| m.command(command, group, now, out));
            }
        }
    }

    fn burst_over(&mut self, which: Which) {
        let burst = &mut self.bursts[which as usize];
        if !burst.pending {
            *burst = Burst::new(which);
        }
    }

    fn joined(&mut self, which: Which, mut found: Restored, now: Mono, out: &mut Actions) {
        // The lock was asked for before the end was.
        let too_late = match which {
            Which::Service => self.ending != Ending::No,
            Which::Logger => self.ending == Ending::Forced,
        };
        if too_late {
            found.want = Want::Down;
            found.exit_asked = true;
        }
        let draining = matches!(self.ending, Ending::Draining { .. });
        self.find_logger(which, out);
        self.with(which, |m| m.joined(found, now, out));
        self.with(which, |m| {
            if too_late {
                m.end(now, out);
            } else if draining {
                m.drain(out);
            }
        });
    }

    fn terminate(&mut self, now: Mono, out: &mut Actions) {
        if self.ending == Ending::No {
            self.ending = Ending::Service;
        }
        self.service.end(now, out);
    }

    fn tick(&mut self, now: Mono, out: &mut Actions) {
        if let (Ending::Draining { until, .. }, Some(logger)) = (self.ending, &mut self.logger)
            && until <= now
        {
            self.ending = Ending::Forced;
            logger.end(now, out);
        }
        if self.find_at.is_some_and(|at| at <= now) {
            self.find_at = None;
            out.push(Action::FindLogger);
        }
        self.service.tick(now, out);
        if let Some(logger) = &mut self.logger {
            logger.tick(now, out);
        }
    }

    fn logger_found(&mut self, script: bool, out: &mut Actions) {
        self.find_at = None;
        if self.logger.is_none() {
            self.script_logger = script;
            self.logger = Some(Member::new(Which::Logger));
            out.push(Action::Join(Which::Logger));
        }
    }

    /// A logger runs whether its service does or not.
    fn find_logger(&self, joined: Which, out: &mut Actions) {
        if joined == Which::Service && self.logger.is_none() {
            out.push(Action::FindLogger);
        }
    }

    /// What follows from the members' states together, whatever changed them.
    fn after(&mut self, now: Mono, out: &mut Actions) {
        if self.ending == Ending::No && self.script_logger && self.service.was_let_go() {
            self.ending = Ending::Service;
        }
        self.service.flush(out);
        if let Some(logger) = &mut self.logger {
            logger.flush(out);
        }
        // While an end is under way nobody comes back, and what is not held yet is left alone.
        let stay = self.paired && self.ending == Ending::No;
        self.service.settle(stay, now, out);
        if let Some(logger) = &mut self.logger {
            logger.settle(stay, now, out);
        }
        self.drain(now, out);
    }

    fn drain(&mut self, now: Mono, out: &mut Actions) {
        let Some(logger) = &mut self.logger else { return };
        if self.ending == Ending::Service && self.service.is_out() {
            self.ending = Ending::Draining { until: now.after(DRAIN), hung_up: false };
            logger.drain(out);
            logger.settle(false, now, out);
        }
        if let Ending::Draining { until, hung_up: false } = self.ending
            && logger.has_process()
        {
            // Not before: without a reader our end is all that keeps the bytes.
            self.ending = Ending::Draining { until, hung_up: true };
            out.push(Action::HangUp);
        }
    }
}
