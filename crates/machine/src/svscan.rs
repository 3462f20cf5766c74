//! What svscan does next about one service of its folder.
//!
//! svscan keeps one supervise for each: starts it, starts it again, and at the end tells it to
//! end. A supervise that is there already, left by an svscan that was killed, is watched instead;
//! one that cannot be watched (the original's) is looked at again from time to time.
//!
//! A step matches on the event first, and each event's own function tests the state: most events
//! answer one action and so concern the one state that waits for them, and what the others note -
//! the entry is there, everything ends - is noted in every state. A table of all pairs would be
//! mostly pairs in which nothing happens. That none is forgotten is shown by the test that takes
//! every reachable state through every event that can come there.

use crate::queue::Queue;
use crate::time::Mono;
use core::time::Duration;

/// Least time between two starts of one supervise.
pub const SPACING: Duration = Duration::from_secs(1);
/// From a supervise that ended because it was told `x` to the next, as long as the entry is there.
pub const RETURN: Duration = Duration::from_secs(3);
/// Between two looks at a supervise that cannot be watched.
pub const LOOK: Duration = Duration::from_secs(5);
/// The same while everything is to end.
pub const LOOK_AT_END: Duration = Duration::from_millis(200);

/// How a supervise ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It was told to: code 0.
    Asked,
    /// Any other way.
    Lost,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Its name is in the folder.
    Appeared,
    /// It is not any more.
    Disappeared,
    /// Answer to `Probe`: no supervise has it.
    Free {
        /// A process of it is alive all the same: its supervise was lost.
        left: bool,
    },
    /// Answer to `Probe`: a supervise has it; `watched`: its death will be told.
    Kept {
        /// There is something to wait on.
        watched: bool,
    },
    /// Answer to `Start`: supervise runs.
    Started,
    /// Answer to `Start`: it does not.
    NotStarted,
    /// The supervise is dead.
    Ended(How),
    /// The deadline passed.
    Tick,
    /// Everything is to end.
    Finish,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look whether a supervise has it; answered by `Free` or `Kept`.
    Probe,
    /// Start a supervise; answered by `Started` or `NotStarted`.
    Start,
    /// Tell the supervise, ours or watched, to end its service and itself.
    Terminate,
    /// Tell a supervise that is not ours the same through its FIFO.
    Command,
    /// Nothing is left to know about it.
    Forget,
}

/// Actions of one step.
pub type Actions = Queue<Action, 4>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Whether a supervise has it is being asked.
    Asking,
    /// A supervise is being started.
    Starting,
    /// Our child, or one left by an earlier svscan, whose death we are told.
    Kept,
    /// Somebody else's, looked at again at this moment.
    Foreign(Mono),
    /// To be started at this moment.
    Due(Mono),
    /// Nothing is left.
    Over,
}

/// Decides for one service. Performs nothing and reads no clock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    present: bool,
    finishing: bool,
    state: State,
    /// No start before this.
    spaced: Option<Mono>,
    rescue: Rescue,
}

/// A process that a supervise which is lost during the end leaves behind, another must end: one more
/// try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rescue {
    NotNeeded,
    Due,
    Tried,
}

impl Entry {
    /// Returns the machine of a service just seen, and what to do first.
    #[must_use]
    pub fn new() -> (Self, Action) {
        let entry = Self {
            present: true,
            finishing: false,
            state: State::Asking,
            spaced: None,
            rescue: Rescue::NotNeeded,
        };
        (entry, Action::Probe)
    }

    /// Tells whether nothing is left to know about it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Returns when a `Tick` is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        match self.state {
            State::Due(at) | State::Foreign(at) => Some(at),
            State::Asking | State::Starting | State::Kept | State::Over => None,
        }
    }

    /// Decides what follows from an event.
    pub fn step(&mut self, event: Event, now: Mono, out: &mut Actions) {
        match event {
            Event::Appeared => self.present = true,
            Event::Disappeared => {
                self.present = false;
                if let State::Due(_) = self.state {
                    self.over(out);
                }
            }
            Event::Free { left } => self.free(left, now, out),
            Event::Kept { watched } => self.kept(watched, now, out),
            Event::Started => self.started(now, out),
            Event::NotStarted => {
                if self.state == State::Starting {
                    self.due(now.after(SPACING), out);
                }
            }
            Event::Ended(how) => self.ended(how, now, out),
            Event::Tick => self.tick(now, out),
            Event::Finish => self.finish(now, out),
        }
    }

    fn wanted(&self) -> bool {
        self.present && (!self.finishing || self.rescue == Rescue::Due)
    }

    fn over(&mut self, out: &mut Actions) {
        self.state = State::Over;
        out.push(Action::Forget);
    }

    fn due(&mut self, at: Mono, out: &mut Actions) {
        if self.wanted() {
            self.state = State::Due(at);
        } else {
            self.over(out);
        }
    }

    fn free(&mut self, left: bool, now: Mono, out: &mut Actions) {
        if self.state != State::Asking {
            return;
        }
        match self.spaced {
            // How a supervise that is not our child ended may not be known; that all is over is.
            _ if self.finishing && !left => self.over(out),
            Some(at) if at > now => self.due(at, out),
            _ if self.wanted() => {
                self.state = State::Starting;
                self.spaced = Some(now.after(SPACING));
                out.push(Action::Start);
            }
            _ => self.over(out),
        }
    }

    fn kept(&mut self, watched: bool, now: Mono, out: &mut Actions) {
        if self.state != State::Asking {
            return;
        }
        if watched {
            self.state = State::Kept;
            if self.finishing {
                out.push(Action::Terminate);
            }
            return;
        }
        let wait = if self.finishing { LOOK_AT_END } else { LOOK };
        self.state = State::Foreign(now.after(wait));
        if self.finishing {
            out.push(Action::Command);
        }
    }

    fn started(&mut self, now: Mono, out: &mut Actions) {
        if self.state == State::Starting {
            self.rescue = if self.finishing { Rescue::Tried } else { Rescue::NotNeeded };
            self.state = State::Kept;
            self.spaced = Some(now.after(SPACING));
            if self.finishing {
                out.push(Action::Terminate);
            }
        }
    }

    fn ended(&mut self, how: How, now: Mono, out: &mut Actions) {
        if self.state != State::Kept {
            return;
        }
        if self.finishing && how == How::Lost && self.rescue == Rescue::NotNeeded {
            self.rescue = Rescue::Due;
        }
        match how {
            _ if !self.wanted() => self.over(out),
            How::Asked => self.state = State::Due(now.after(RETURN)),
            // Somebody else may have it: that is why ours ended.
            How::Lost => self.ask(out),
        }
    }

    fn ask(&mut self, out: &mut Actions) {
        self.state = State::Asking;
        out.push(Action::Probe);
    }

    fn tick(&mut self, now: Mono, out: &mut Actions) {
        match self.state {
            State::Due(at) | State::Foreign(at) if at <= now => self.ask(out),
            State::Due(_)
            | State::Foreign(_)
            | State::Asking
            | State::Starting
            | State::Kept
            | State::Over => {}
        }
    }

    fn finish(&mut self, now: Mono, out: &mut Actions) {
        let again = core::mem::replace(&mut self.finishing, true);
        match self.state {
            State::Due(_) => self.over(out),
            State::Kept => out.push(Action::Terminate),
            State::Foreign(_) if !again => {
                self.state = State::Foreign(now.after(LOOK_AT_END));
                out.push(Action::Command);
            }
            State::Foreign(_) | State::Asking | State::Starting | State::Over => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use std::vec::Vec;

    const EVENTS: [Event; 12] = [
        Event::Appeared,
        Event::Disappeared,
        Event::Free { left: false },
        Event::Free { left: true },
        Event::Kept { watched: true },
        Event::Kept { watched: false },
        Event::Started,
        Event::NotStarted,
        Event::Ended(How::Asked),
        Event::Ended(How::Lost),
        Event::Tick,
        Event::Finish,
    ];

    /// What the world may answer in a state: replies only to what was asked.
    fn possible(entry: &Entry, event: Event) -> bool {
        match event {
            Event::Free { .. } | Event::Kept { .. } => entry.state == State::Asking,
            Event::Started | Event::NotStarted => entry.state == State::Starting,
            Event::Ended(_) => entry.state == State::Kept,
            Event::Appeared | Event::Disappeared | Event::Tick | Event::Finish => true,
        }
    }

    fn check(before: &Entry, event: Event, after: &Entry, out: &[Action], now: Mono) {
        let context = || std::format!("{before:?} --{event:?}--> {after:?} {out:?}");
        let starts = out.iter().filter(|a| **a == Action::Start).count();
        assert!(starts <= 1, "two supervises: {}", context());
        if starts == 1 {
            assert!(before.state == State::Asking, "started unasked: {}", context());
            assert!(after.present, "started unwanted: {}", context());
            let rescue = before.rescue == Rescue::Due;
            let left = event == Event::Free { left: true };
            assert!(!after.finishing || rescue && left, "started at the end: {}", context());
            assert!(before.spaced.is_none_or(|at| at <= now), "too soon: {}", context());
        }
        if after.present && !after.finishing {
            assert!(!after.is_over(), "lost: {}", context());
        }
        if after.is_over() != before.is_over() {
            assert!(out.contains(&Action::Forget), "not forgotten: {}", context());
        }
        let waits = matches!(after.state, State::Asking | State::Starting | State::Kept);
        let moves = waits || after.deadline().is_some() || after.is_over();
        assert!(moves, "stuck: {}", context());
        if after.finishing && !before.finishing {
            let told = out.contains(&Action::Terminate) || out.contains(&Action::Command);
            let answer_due = matches!(after.state, State::Asking | State::Starting);
            assert!(told || answer_due || after.is_over(), "not told to end: {}", context());
        }
    }

    #[test]
    fn every_reachable_state_keeps_the_rules() {
        let rebased = |entry: &Entry, now: Mono| {
            let mut entry = entry.clone();
            let from = |at: Mono| Mono(at.nanos_from(now));
            entry.spaced = entry.spaced.map(from).filter(|at| at.0 > 0);
            entry.state = match entry.state {
                State::Due(at) => State::Due(from(at)),
                State::Foreign(at) => State::Foreign(from(at)),
                other => other,
            };
            entry
        };
        let (first, _) = Entry::new();
        let mut seen = HashSet::from([first.clone()]);
        let mut frontier = Vec::from([(first, Mono(1))]);
        while let Some((entry, now)) = frontier.pop() {
            // A service that is forgotten and appears again is a new one.
            let events = EVENTS.into_iter().filter(|e| !entry.is_over() && possible(&entry, *e));
            let at_deadline = entry.deadline().map(|at| now.max(at));
            for (event, now) in events
                .map(|event| (event, now))
                .chain(at_deadline.map(|at| (Event::Tick, at)))
                .collect::<Vec<_>>()
            {
                let mut after = entry.clone();
                let mut actions = Actions::default();
                after.step(event, now, &mut actions);
                let out: Vec<_> = std::iter::from_fn(|| actions.pop()).collect();
                check(&entry, event, &after, &out, now);
                if seen.insert(rebased(&after, now)) {
                    frontier.push((after, now));
                }
            }
        }
        assert!(seen.len() > 25, "only {} states were reached", seen.len());
    }

    /// Histories with times in between deadlines, which the enumeration leaves out.
    #[test]
    fn random_histories_keep_the_rules() {
        let long = std::env::var_os("SKYNET_LONG").is_some();
        let mut random = 20_261_123_u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % n
        };
        let mut steps = 0;
        for _ in 0..if long { 1_000_000 } else { 20_000 } {
            let (mut entry, _) = Entry::new();
            let mut now = Mono(1);
            for _ in 0..60 {
                if entry.is_over() {
                    break;
                }
                now = Mono(now.0 + [0, 1, 400_000_000, 2_000_000_000][below(4) as usize]);
                let event = EVENTS[below(EVENTS.len() as u64) as usize];
                // The end comes once, near the end.
                let is_early = event == Event::Finish && below(20) > 0;
                if is_early || !possible(&entry, event) {
                    continue;
                }
                steps += 1;
                let before = entry.clone();
                let mut actions = Actions::default();
                entry.step(event, now, &mut actions);
                let out: Vec<_> = std::iter::from_fn(|| actions.pop()).collect();
                check(&before, event, &entry, &out, now);
            }
        }
        assert!(steps > 100_000, "only {steps} steps");
    }
}
