//! One member of a supervise: a service, or a logger.

use super::{Action, Actions, Kill, Obstacle, RETRY, RETURN, SPACING, Script, Which};
use crate::time::{Mono, earlier};
use ondisk::control::{Command, Signal};
use ondisk::record::{Exit, Phase as Recorded};
use ondisk::status::{State, Want};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Its lock was asked for; the answer is on its way.
    Joining,
    /// Not ours: somebody else's, or let go. Looked at again at `look`.
    Outside { look: Mono },
    /// Ours since before supervise was replaced, and not known yet. Taken at `look`.
    Delayed { look: Mono },
    /// Let go for good.
    Gone,
    /// Asked to let go, and nothing runs.
    Leaving,
    /// Nothing runs or is due.
    Down,
    /// Down until told `u`.
    Failed,
    /// `start` succeeded and there is no `run`.
    Started,
    /// To be launched at `at`.
    Due { script: Script, at: Mono },
    /// Asked to be launched; the answer is on its way.
    Launching(Script),
    /// Its process lives.
    Alive(Script),
}

/// What a supervise finds when it takes a member's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What is wanted: what the last supervise's record says, else up unless `down` exists.
    pub want: Want,
    /// What it was doing. `Starting`, `Running`, `Stopping`: the process is there, or `Died` follows.
    pub phase: Recorded,
    /// `p` was given.
    pub paused: bool,
    /// `x` was given.
    pub exit_asked: bool,
    /// TERM was sent for `d`.
    pub stopping: bool,
    /// `start` or `run` ran since it was last told to go up.
    pub begun: bool,
    /// When its process was started.
    pub started: Option<Mono>,
}

/// Decides for one member. See [`super::Machine`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    which: Which,
    phase: Phase,
    want: Want,
    exit_asked: bool,
    paused: bool,
    stopping: bool,
    /// `start` or `run` ran since it was told to go up: `stop` is owed, `start` is not.
    begun: bool,
    /// `start` exists and succeeded: a missing `run` is not a mistake.
    start_done: bool,
    /// `u` or `o` was given while `stop` was running or due.
    again: bool,
    /// It is to read its pipe to the end, and then end.
    draining: bool,
    /// No start of `run` before this.
    spaced: Option<Mono>,
    publish_at: Option<Mono>,
    /// Status and record do not say yet what is so.
    changed: bool,
}

impl Member {
    pub(super) fn new(which: Which) -> Self {
        Self {
            which,
            phase: Phase::Joining,
            want: Want::Down,
            exit_asked: false,
            paused: false,
            stopping: false,
            begun: false,
            start_done: false,
            again: false,
            draining: false,
            spaced: None,
            publish_at: None,
            changed: false,
        }
    }

    /// Makes all moments count from `now`, so that states that differ only in when are the same.
    #[cfg(test)]
    pub(super) fn rebase(&mut self, now: Mono) {
        let from_now = |at: Mono| Mono(at.nanos_from(now));
        self.phase = match self.phase {
            Phase::Outside { look } => Phase::Outside { look: from_now(look) },
            Phase::Delayed { look } => Phase::Delayed { look: from_now(look) },
            Phase::Due { script, at } => Phase::Due { script, at: from_now(at) },
            other => other,
        };
        self.spaced = self.spaced.map(from_now).filter(|at| at.0 > 0);
        self.publish_at = self.publish_at.map(from_now);
    }

    #[cfg(test)]
    pub(super) fn launching(&self) -> Option<Script> {
        match self.phase {
            Phase::Launching(script) => Some(script),
            _ => None,
        }
    }

    #[cfg(test)]
    pub(super) fn is_joining(&self) -> bool {
        self.phase == Phase::Joining
    }

    /// Returns what is wanted.
    #[must_use]
    pub fn want(&self) -> Want {
        self.want
    }

    /// Tells whether `p` stopped its process.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Tells whether `x` was given.
    #[must_use]
    pub fn is_exit_asked(&self) -> bool {
        self.exit_asked
    }

    /// Tells whether TERM was sent for `d`.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Tells whether `start` or `run` ran since it was told to go up.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// Tells whether a missing `run` is fine, since `start` did its work.
    #[must_use]
    pub fn is_run_optional(&self) -> bool {
        self.start_done
    }

    /// Tells whether its process lives.
    #[must_use]
    pub fn has_process(&self) -> bool {
        matches!(self.phase, Phase::Alive(_))
    }

    /// Tells whether its lock is ours, and what it is doing is known.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match self.phase {
            Phase::Joining | Phase::Outside { .. } | Phase::Delayed { .. } | Phase::Gone => false,
            Phase::Leaving
            | Phase::Down
            | Phase::Failed
            | Phase::Started
            | Phase::Due { .. }
            | Phase::Launching(_)
            | Phase::Alive(_) => true,
        }
    }

    /// Tells whether its lock is neither ours nor asked for.
    pub(super) fn is_out(&self) -> bool {
        matches!(self.phase, Phase::Outside { .. } | Phase::Gone)
    }

    /// Tells whether it was told `x`, and nothing runs.
    pub(super) fn was_let_go(&self) -> bool {
        self.phase == Phase::Leaving
    }

    /// Returns what the record says of it.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        match self.phase {
            Phase::Joining
            | Phase::Outside { .. }
            | Phase::Delayed { .. }
            | Phase::Gone
            | Phase::Leaving
            | Phase::Down => Recorded::Down,
            Phase::Failed => Recorded::Failed,
            Phase::Started => Recorded::Started,
            Phase::Due { .. } => Recorded::Due,
            Phase::Launching(script) | Phase::Alive(script) => match script {
                Script::Start => Recorded::Starting,
                Script::Run => Recorded::Running,
                Script::Stop => Recorded::Stopping,
            },
        }
    }

    /// Returns daemontools-encore's word for it.
    #[must_use]
    pub fn state(&self) -> State {
        match self.recorded() {
            Recorded::Down => State::Stopped,
            Recorded::Due | Recorded::Starting => State::Starting,
            Recorded::Started => State::Started,
            Recorded::Running if self.stopping => State::Stopping,
            Recorded::Running => State::Running,
            Recorded::Stopping => State::Stopping,
            Recorded::Failed => State::Failed,
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let own = match self.phase {
            Phase::Outside { look: at } | Phase::Delayed { look: at } | Phase::Due { at, .. } => {
                Some(at)
            }
            Phase::Joining
            | Phase::Gone
            | Phase::Leaving
            | Phase::Down
            | Phase::Failed
            | Phase::Started
            | Phase::Launching(_)
            | Phase::Alive(_) => None,
        };
        earlier(own, self.publish_at)
    }

    pub(super) fn tick(&mut self, now: Mono, out: &mut Actions) {
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish();
        }
        match self.phase {
            Phase::Outside { look } | Phase::Delayed { look } if look <= now => {
                self.phase = Phase::Joining;
                out.push(Action::Join(self.which));
            }
            Phase::Due { script, at } if at <= now => self.launch(script, out),
            Phase::Joining
            | Phase::Outside { .. }
            | Phase::Delayed { .. }
            | Phase::Due { .. }
            | Phase::Gone
            | Phase::Leaving
            | Phase::Down
            | Phase::Failed
            | Phase::Started
            | Phase::Launching(_)
            | Phase::Alive(_) => {}
        }
    }

    pub(super) fn command(&mut self, what: Command, group: bool, now: Mono, out: &mut Actions) {
        if !self.is_held() {
            return;
        }
        match what {
            Command::Up | Command::Once => self.go_up(what, now, out),
            Command::Down => self.go_down(group, out),
            Command::Exit => {
                self.exit_asked = true;
                if !self.has_process() {
                    self.wind_down(out);
                }
            }
            Command::Pause | Command::Continue => {
                let stop = what == Command::Pause;
                self.paused = stop && self.has_process();
                self.signal(if stop { Kill::Stop } else { Kill::Continue }, group, out);
            }
            Command::Signal(signal) => return self.signal(Kill::Named(signal), group, out),
            // Modifiers are the pair's.
            Command::Group | Command::Single | Command::Logger | Command::Service => return,
        }
        self.publish();
    }

    fn go_up(&mut self, what: Command, now: Mono, out: &mut Actions) {
        self.want = if what == Command::Up { Want::Up } else { Want::Once };
        self.stopping = false;
        match self.phase {
            Phase::Down | Phase::Failed => self.begin(now, out),
            Phase::Alive(Script::Stop)
            | Phase::Launching(Script::Stop)
            | Phase::Due { script: Script::Stop, .. } => self.again = true,
            Phase::Joining
            | Phase::Outside { .. }
            | Phase::Delayed { .. }
            | Phase::Gone
            | Phase::Leaving
            | Phase::Started
            | Phase::Due { .. }
            | Phase::Launching(_)
            | Phase::Alive(_) => {}
        }
    }

    fn go_down(&mut self, group: bool, out: &mut Actions) {
        self.want = Want::Down;
        self.again = false;
        match self.phase {
            Phase::Alive(Script::Start | Script::Run) => self.terminate(group, out),
            Phase::Down | Phase::Failed | Phase::Started | Phase::Due { .. } => self.wind_down(out),
            // `Launched` will find that it is not wanted; `stop` is let finish.
            Phase::Launching(_) | Phase::Alive(Script::Stop) => {}
            Phase::Joining
            | Phase::Outside { .. }
            | Phase::Delayed { .. }
            | Phase::Gone
            | Phase::Leaving => {}
        }
    }

    fn terminate(&mut self, group: bool, out: &mut Actions) {
        self.signal(Kill::Named(Signal::Terminate), group, out);
        self.signal(Kill::Continue, group, out);
        self.paused = false;
        self.stopping = true;
    }

    fn signal(&self, signal: Kill, group: bool, out: &mut Actions) {
        if self.has_process() {
            out.push(Action::Signal(self.which, signal, group));
        }
    }

    /// A new life: `start` first.
    fn begin(&mut self, now: Mono, out: &mut Actions) {
        self.begun = false;
        self.start_done = false;
        self.launch_when_due(Script::Start, now, out);
    }

    fn launch_when_due(&mut self, script: Script, now: Mono, out: &mut Actions) {
        match self.spaced {
            Some(at) if at > now => self.phase = Phase::Due { script, at },
            _ => self.launch(script, out),
        }
    }

    fn launch(&mut self, script: Script, out: &mut Actions) {
        self.phase = Phase::Launching(script);
        if self.which == Which::Service && script != Script::Stop {
            // A folder that is still being filled may have its log by now.
            out.push(Action::FindLogger);
        }
        out.push(Action::Launch(self.which, script));
    }

    pub(super) fn launched(&mut self, now: Mono, out: &mut Actions) {
        let Phase::Launching(script) = self.phase else { return };
        self.phase = Phase::Alive(script);
        self.paused = false;
        self.stopping = false;
        self.begun = script != Script::Stop;
        if script == Script::Run {
            self.spaced = Some(now.after(SPACING));
        }
        if self.want == Want::Down && script != Script::Stop {
            self.terminate(false, out);
        }
        self.publish();
        out.push(Action::NotifyStart(self.which));
    }

    pub(super) fn not_launched(&mut self, why: Obstacle, now: Mono, out: &mut Actions) {
        let Phase::Launching(script) = self.phase else { return };
        let again = Phase::Due { script, at: now.after(RETRY) };
        match (script, why) {
            (Script::Stop, Obstacle::NoProcess) => self.phase = again,
            (Script::Stop, Obstacle::Absent | Obstacle::NotRun) => {
                self.begun = false;
                self.stopped(now, out);
            }
            _ if self.want == Want::Down || self.exit_asked => {
                // The wish came behind the order.
                self.phase = Phase::Down;
                self.wind_down(out);
            }
            (Script::Start, Obstacle::Absent) => return self.launch_at_once(Script::Run, out),
            (Script::Run, Obstacle::Absent) if self.start_done => self.phase = Phase::Started,
            (Script::Start | Script::Run, _) => self.phase = again,
        }
        self.publish();
    }

    fn launch_at_once(&mut self, script: Script, out: &mut Actions) {
        self.phase = Phase::Launching(script);
        out.push(Action::Launch(self.which, script));
    }

    pub(super) fn died(&mut self, exit: Exit, permanent: bool, now: Mono, out: &mut Actions) {
        let Phase::Alive(script) = self.phase else { return };
        out.push(Action::NotifyDeath(self.which, exit));
        let told = self.stopping && self.want == Want::Down;
        self.paused = false;
        self.stopping = false;
        self.phase = Phase::Down;
        let go_on = self.want != Want::Down && !self.exit_asked;
        match script {
            Script::Stop => {
                self.begun = false;
                self.stopped(now, out);
            }
            Script::Run if self.draining => return self.drained(exit, now, out),
            Script::Start if exit == Exit::Code(0) && go_on => {
                self.start_done = true;
                return self.launch_at_once(Script::Run, out);
            }
            // Nobody knows whether it succeeded: once more rather than lost.
            Script::Start if exit == Exit::Unknown && go_on => self.begin(now, out),
            Script::Start if exit != Exit::Code(0) && !told => self.fail(out),
            Script::Run if permanent && !told => self.fail(out),
            Script::Run if go_on && self.want == Want::Up => {
                self.launch_when_due(Script::Run, now, out);
            }
            Script::Start | Script::Run => self.wind_down(out),
        }
        self.publish();
    }

    fn fail(&mut self, out: &mut Actions) {
        self.want = Want::Down;
        self.begun = false;
        self.phase = Phase::Failed;
        if self.exit_asked {
            self.wind_down(out);
        }
    }

    /// Nothing is to run any more: `stop` if it is owed, then down.
    fn wind_down(&mut self, out: &mut Actions) {
        match self.phase {
            Phase::Launching(_) | Phase::Due { script: Script::Stop, .. } => {}
            _ if self.begun => self.launch(Script::Stop, out),
            _ => {
                self.begun = false;
                self.phase = if self.exit_asked { Phase::Leaving } else { Phase::Down };
            }
        }
    }

    /// `stop` is over, or there was none.
    fn stopped(&mut self, now: Mono, out: &mut Actions) {
        let again = core::mem::take(&mut self.again);
        if self.exit_asked {
            self.phase = Phase::Leaving;
        } else if again {
            self.begin(now, out);
        } else {
            self.phase = Phase::Down;
        }
    }

    fn publish(&mut self) {
        self.publish_at = None;
        self.changed = true;
    }

    /// Publishes what this step changed, once; not while the answer to a launch is on its way,
    /// which changes it again.
    pub(super) fn flush(&mut self, out: &mut Actions) {
        if self.changed && !matches!(self.phase, Phase::Launching(_)) {
            self.changed = false;
            out.push(Action::Publish(self.which));
        }
    }

    pub(super) fn not_published(&mut self, now: Mono) {
        if self.is_held() {
            self.publish_at = Some(now.after(RETRY));
        }
    }

    pub(super) fn joined(&mut self, found: Restored, now: Mono, out: &mut Actions) {
        if self.phase != Phase::Joining {
            return;
        }
        self.want = found.want;
        self.exit_asked = found.exit_asked;
        self.begun = found.begun;
        self.start_done = found.phase == Recorded::Started;
        self.again = found.phase == Recorded::Stopping && found.want == Want::Up;
        self.spaced = found.started.map(|at| at.after(SPACING));
        self.phase = match found.phase {
            Recorded::Down | Recorded::Due => Phase::Down,
            Recorded::Failed => Phase::Failed,
            Recorded::Started => Phase::Started,
            Recorded::Starting => Phase::Alive(Script::Start),
            Recorded::Running => Phase::Alive(Script::Run),
            Recorded::Stopping => Phase::Alive(Script::Stop),
        };
        self.paused = found.paused && self.has_process();
        self.stopping = found.stopping && self.has_process();
        let due = found.phase == Recorded::Due
            || (self.want == Want::Up && matches!(self.phase, Phase::Down | Phase::Failed));
        if self.exit_asked && !self.has_process() {
            self.wind_down(out);
        } else if due {
            match (self.want, self.begun) {
                (Want::Down, _) => self.wind_down(out),
                (_, true) => self.launch_when_due(Script::Run, now, out),
                (_, false) => self.begin(now, out),
            }
        }
        self.publish();
    }

    pub(super) fn occupied(&mut self, now: Mono) {
        if self.phase == Phase::Joining {
            self.phase = Phase::Outside { look: now.after(RETRY) };
        }
    }

    pub(super) fn delayed(&mut self, now: Mono) {
        if self.phase == Phase::Joining {
            self.phase = Phase::Delayed { look: now.after(RETRY) };
        }
    }

    pub(super) fn entry_gone(&mut self) {
        if self.phase == Phase::Joining {
            self.phase = Phase::Gone;
        }
    }

    /// Ends what `x` asked to end, for `stay`: until the next look.
    pub(super) fn settle(&mut self, stay: bool, now: Mono, out: &mut Actions) {
        match self.phase {
            Phase::Leaving => {
                out.push(Action::LetGo(self.which));
                // What is still to be published says what was wanted last.
                *self = Self { want: self.want, ..Self::new(self.which) };
                self.phase =
                    if stay { Phase::Outside { look: now.after(RETURN) } } else { Phase::Gone };
            }
            Phase::Outside { .. } if !stay => self.phase = Phase::Gone,
            _ => {}
        }
    }

    /// `dx`
    pub(super) fn end(&mut self, now: Mono, out: &mut Actions) {
        self.command(Command::Down, false, now, out);
        self.command(Command::Exit, false, now, out);
    }

    /// Its pipe is about to end: it reads the rest and ends by itself.
    pub(super) fn drain(&mut self, out: &mut Actions) {
        match self.phase {
            Phase::Joining
            | Phase::Outside { .. }
            | Phase::Delayed { .. }
            | Phase::Gone
            | Phase::Leaving => {}
            Phase::Alive(_) | Phase::Launching(_) | Phase::Due { .. }
                if self.want != Want::Down =>
            {
                self.draining = true;
            }
            _ => {
                self.exit_asked = true;
                if !self.has_process() {
                    self.wind_down(out);
                }
            }
        }
    }

    /// It ended by itself: done. A signal ended it: the rest of its pipe needs another.
    fn drained(&mut self, exit: Exit, now: Mono, out: &mut Actions) {
        if matches!(exit, Exit::Signal(_)) && !self.exit_asked && self.want != Want::Down {
            self.launch_when_due(Script::Run, now, out);
        } else {
            self.exit_asked = true;
            self.wind_down(out);
        }
        self.publish();
    }
}
