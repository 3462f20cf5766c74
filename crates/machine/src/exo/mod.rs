//! What exo does with one instance of its participant: when to start it, ask for an item, hand it
//! over, stop the work, end the process, and settle the item.
//!
//! A machine for each instance; they share nothing. Whoever performs the actions knows what a
//! [`Key`] stands for and keeps what is to be said about an end.

use crate::time::{Mono, earlier};
use core::time::Duration;

mod ahead;
mod asks;
mod limit;
mod stop;
mod words;
use ahead::AtHand;
pub use ahead::MOST as MOST_AHEAD;
use asks::Asks;
use limit::Limit;
use stop::Stop;
pub use words::{Action, Actions, Ask, Event, How, Key, Mode, Rules, Standing, Why, Word};

#[cfg(test)]
mod tests;

/// Between the notice that the end is near, and the end.
pub const NOTICE: Duration = Duration::from_secs(5);
/// From the end of the time for an item to KILL, unless less is allowed for a cancel.
pub const LATE: Duration = Duration::from_secs(3);
/// How long a death is waited for after KILL before the item is settled without it.
pub const UNDYING: Duration = Duration::from_secs(2);
/// From the end of what a participant says to KILL.
pub const CLOSED: Duration = Duration::from_secs(1);
/// The next item is looked ahead at where the last took no longer than this, and as long as the one
/// in hand does not; so many as would take no longer than this together.
pub const QUICK: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Running,
    Draining,
    Stopping { notice: Option<Mono>, end: Option<Mono> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Process {
    /// None; the next is not started before this.
    Absent {
        until: Option<Mono>,
    },
    /// It has not said hello.
    Starting {
        until: Mono,
    },
    Up,
    /// Its socket is closed, and nothing is in hand: KILL is sent then.
    Closed {
        until: Mono,
    },
    /// KILL was sent, and no item depends on it.
    Dying,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Hand {
    key: Key,
    since: Mono,
    limit: Option<Limit>,
    stop: Option<Stop>,
}

/// One instance of a participant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Instance {
    rules: Rules,
    phase: Phase,
    process: Process,
    hand: Option<Hand>,
    next: AtHand,
    /// At most one.
    asked_now: Asks,
    asked_ahead: Asks,
    /// It waits for us to hear what it says.
    is_kept_waiting: bool,
    /// How many items to have at hand and to ask for, by how long the last one took.
    ahead: usize,
    last_start: Mono,
    /// Starts in a row that led to nothing.
    vain: u32,
}

impl Instance {
    /// Returns one that has not begun.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            phase: Phase::Running,
            process: Process::Absent { until: None },
            hand: None,
            next: AtHand::new(),
            asked_now: Asks::new(),
            asked_ahead: Asks::new(),
            is_kept_waiting: false,
            ahead: 0,
            last_start: Mono(0),
            vain: 0,
        }
    }

    /// Returns how it gets its items.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.rules.mode
    }

    /// Decides what follows from an event.
    pub fn step(&mut self, event: Event, now: Mono, out: &mut Actions) {
        match event {
            Event::Begun => {}
            Event::Tick => self.tick(now, out),
            Event::NotStarted => self.not_started(now, out),
            Event::Hello => {
                if let Process::Starting { .. } = self.process {
                    self.process = Process::Up;
                }
            }
            Event::Died { well, unread } => self.died(well, unread, now, out),
            Event::Answered { key, word } => self.answered(key, word, now, out),
            Event::Broken => self.broken(now, out),
            Event::Arrived { key, begun } => self.arrived(key, begun, now, out),
            Event::Withdrawn(ask) => self.asked(ask).answered(),
            Event::KeptWaiting(is_so) => self.kept_waiting(is_so, now),
            Event::Cancelled { key, hurry } => self.cancelled(key, hurry, now, out),
            Event::Overtaken(key) => self.overtaken(key, now, out),
            Event::Drain => {
                if self.phase == Phase::Running {
                    self.phase = Phase::Draining;
                }
            }
            Event::Resume => {
                if self.phase == Phase::Draining {
                    self.phase = Phase::Running;
                }
            }
            Event::Shutdown => self.shutdown(now, out),
        }
        self.pursue(now, out);
    }

    /// Returns when [`Event::Tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Mono> {
        let process = match self.process {
            Process::Absent { until } => until.filter(|_| !self.is_stopping()),
            Process::Starting { until } | Process::Closed { until } => Some(until),
            Process::Up | Process::Dying => None,
        };
        let hand = self.hand.and_then(|hand| match hand.stop {
            Some(stop) => Some(stop.until),
            None => hand.limit.and_then(Limit::at),
        });
        let phase = match self.phase {
            Phase::Stopping { notice, end } => earlier(notice, end),
            Phase::Running | Phase::Draining => None,
        };
        earlier(earlier(process, hand), earlier(phase, self.patience()))
    }

    /// Tells whether there is nothing left to be done, and nothing will be.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.is_stopping() && self.hand.is_none() && self.is_absent()
    }

    /// Returns how it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        if let Some(Hand { key, since, stop, .. }) = self.hand {
            return Standing::Working { key, since, stopping: stop.map(|stop| stop.why) };
        }
        match self.process {
            Process::Absent { .. } if self.is_stopping() => Standing::Ended,
            Process::Absent { until: Some(until) } => Standing::Resting { until },
            Process::Absent { until: None } if self.is_persistent() => Standing::Starting,
            Process::Starting { .. } => Standing::Starting,
            Process::Closed { .. } | Process::Dying => Standing::Ending,
            Process::Up if self.is_stopping() => Standing::Ending,
            Process::Absent { until: None } | Process::Up => Standing::Idle,
        }
    }

    const fn is_persistent(&self) -> bool {
        matches!(self.rules.mode, Mode::Persistent)
    }

    const fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    const fn is_absent(&self) -> bool {
        matches!(self.process, Process::Absent { .. })
    }

    /// Tells whether there is a process that was not killed.
    fn can_hear(&self) -> bool {
        let stop = self.hand.and_then(|hand| hand.stop);
        let is_alive = !matches!(self.process, Process::Absent { .. } | Process::Dying);
        is_alive && !stop.is_some_and(|stop| stop.killed)
    }

    /// Tells whether an item could be worked on.
    fn is_ready(&self) -> bool {
        self.phase == Phase::Running
            && self.hand.is_none()
            && match self.process {
                Process::Up => true,
                Process::Absent { until } => !self.is_persistent() && until.is_none(),
                Process::Starting { .. } | Process::Closed { .. } | Process::Dying => false,
            }
    }

    /// Does what the state asks for, whatever led to it.
    fn pursue(&mut self, now: Mono, out: &mut Actions) {
        if let Process::Absent { until: Some(until) } = self.process
            && until <= now
        {
            self.process = Process::Absent { until: None };
        }
        if self.is_persistent()
            && self.process == (Process::Absent { until: None })
            && !self.is_stopping()
        {
            self.process = Process::Starting { until: now.after(self.rules.start) };
            self.last_start = now;
            self.vain = self.vain.saturating_add(1);
            out.push(Action::Start(None));
        }
        if self.is_ready() {
            match self.next.pop() {
                Some(next) => self.take(next, false, now, out),
                // One of those may be on its way, and then another would have to wait for it that is
                // begun as it is taken.
                None if self.asked_ahead.open() > 0 => self.asked_ahead.withdraw(Ask::Ahead, out),
                None if self.asked_now.open() == 0 => self.asked_now.ask(Ask::Now, out),
                None => {}
            }
        } else if self.hand.is_none() || self.phase != Phase::Running {
            self.withdraw_all(out);
        }
        self.look_ahead(out);
    }

    const fn asked(&mut self, ask: Ask) -> &mut Asks {
        match ask {
            Ask::Now => &mut self.asked_now,
            Ask::Ahead => &mut self.asked_ahead,
        }
    }

    fn take(&mut self, key: Key, begun: bool, now: Mono, out: &mut Actions) {
        if !begun {
            out.push(Action::Begin(key));
        }
        let left = self.rules.item.map(Limit::Left);
        let limit = left.map(|left| left.kept_waiting(self.is_kept_waiting, now));
        self.hand = Some(Hand { key, since: now, limit, stop: None });
        if self.is_persistent() {
            out.push(Action::HandOver(key));
        } else {
            self.process = Process::Up;
            self.last_start = now;
            out.push(Action::Start(Some(key)));
        }
    }

    fn look_ahead(&mut self, out: &mut Actions) {
        let is_at_it = self.hand.is_some_and(|hand| hand.stop.is_none());
        if !is_at_it || self.phase != Phase::Running || self.asked_ahead.are_withdrawn() {
            return;
        }
        let coming = self.next.len() + self.asked_ahead.open();
        if coming > self.ahead {
            self.asked_ahead.withdraw(Ask::Ahead, out);
        }
        for _ in coming..self.ahead {
            self.asked_ahead.ask(Ask::Ahead, out);
        }
    }

    /// Returns how long what is at hand, or asked for to be, may wait for what is in hand.
    fn patience(&self) -> Option<Mono> {
        let asks = self.asked_ahead.open() > 0 && !self.asked_ahead.are_withdrawn();
        let waits = !self.next.is_empty() || asks;
        self.hand.filter(|_| waits).map(|hand| hand.since.after(QUICK))
    }

    fn give_back_ahead(&mut self, out: &mut Actions) {
        while let Some(next) = self.next.pop() {
            out.push(Action::GiveBack(next));
        }
    }

    fn withdraw_all(&mut self, out: &mut Actions) {
        self.asked_ahead.withdraw(Ask::Ahead, out);
        self.asked_now.withdraw(Ask::Now, out);
        self.give_back_ahead(out);
    }

    fn arrived(&mut self, key: Key, begun: bool, now: Mono, out: &mut Actions) {
        self.asked(if begun { Ask::Now } else { Ask::Ahead }).answered();
        let is_quick = self.hand.is_some_and(|hand| hand.since.after(QUICK) > now);
        let has_room = self.next.len() < self.ahead;
        if self.is_ready() {
            self.take(key, begun, now, out);
        } else if !begun && is_quick && has_room && self.phase == Phase::Running {
            self.next.push(key);
        } else {
            give_away(key, begun, out);
        }
    }

    /// The time for an item stands still while it waits for us.
    fn kept_waiting(&mut self, is_so: bool, now: Mono) {
        self.is_kept_waiting = is_so;
        if let Some(limit) = self.hand.as_mut().and_then(|hand| hand.limit.as_mut()) {
            *limit = limit.kept_waiting(is_so, now);
        }
    }

    fn tick(&mut self, now: Mono, out: &mut Actions) {
        let is_over = |at: Option<Mono>| at.is_some_and(|at| at <= now);
        if is_over(self.patience()) {
            self.ahead = 0;
            self.asked_ahead.withdraw(Ask::Ahead, out);
            self.give_back_ahead(out);
        }
        match self.process {
            Process::Starting { until } if until <= now => {
                self.process = Process::Dying;
                out.push(Action::GiveUp);
            }
            Process::Closed { until } if until <= now => {
                self.process = Process::Dying;
                out.push(Action::Kill);
            }
            _ => {}
        }
        if let Some(hand) = self.hand
            && hand.stop.is_none()
            && is_over(hand.limit.and_then(Limit::at))
        {
            let grace = self.rules.cancel.min(LATE);
            self.stop(Why::Late, now.after(grace), out);
        }
        if let Phase::Stopping { notice, end } = &mut self.phase {
            if is_over(*notice) {
                *notice = None;
                if self.can_hear() {
                    out.push(Action::TellEnd);
                }
            } else if is_over(*end) {
                *end = None;
                self.kill_for_shutdown(now, out);
            }
        }
        self.tick_stop(now, out);
    }

    /// Ends what is left at the end of the time for a shutdown.
    fn kill_for_shutdown(&mut self, now: Mono, out: &mut Actions) {
        if !self.can_hear() {
            return;
        }
        out.push(Action::Kill);
        match &mut self.hand {
            None => self.process = Process::Dying,
            // Nobody's fault; and nobody else's item before nobody works on it any more.
            Some(hand) => {
                let why = hand.stop.map_or(Why::Ended, |stop| stop.why);
                hand.stop = Some(Stop { why, until: now.after(UNDYING), killed: true });
            }
        }
    }

    fn tick_stop(&mut self, now: Mono, out: &mut Actions) {
        let Some(hand @ Hand { stop: Some(stop), .. }) = self.hand else { return };
        if stop.until > now {
            return;
        }
        if stop.killed {
            self.process = Process::Dying;
            self.conclude(hand, stop.how(), now, out);
        } else {
            self.kill(stop.why, now, out);
        }
    }

    /// Kills the process for the sake of what is in hand.
    fn kill(&mut self, why: Why, now: Mono, out: &mut Actions) {
        self.set_stop(Stop { why, until: now.after(UNDYING), killed: true });
        // That others changed their mind is nothing against it: the next start rests no longer.
        if why == Why::Cancelled {
            self.vain = 0;
        }
        out.push(Action::Kill);
    }

    fn set_stop(&mut self, stop: Stop) {
        if let Some(hand) = &mut self.hand {
            hand.stop = Some(stop);
        }
    }

    /// Asks the participant to stop working on what is in hand, unless it was asked before; it is
    /// killed at `until` at the latest.
    fn stop(&mut self, why: Why, until: Mono, out: &mut Actions) {
        let Some(hand) = &mut self.hand else { return };
        match &mut hand.stop {
            Some(stop) if stop.killed => {}
            Some(stop) => stop.until = stop.until.min(until),
            None => {
                hand.stop = Some(Stop { why, until, killed: false });
                out.push(Action::Cancel(hand.key, why));
            }
        }
    }

    fn cancelled(&mut self, key: Key, hurry: bool, now: Mono, out: &mut Actions) {
        if let Some(hand) = self.hand.filter(|hand| hand.key == key) {
            if hurry && !hand.stop.is_some_and(|stop| stop.killed) {
                // Not asked first: it could answer that.
                let why = hand.stop.map_or(Why::Cancelled, |stop| stop.why);
                self.kill(why, now, out);
            } else if !hurry {
                self.stop(Why::Cancelled, now.after(self.rules.cancel), out);
                self.tick_stop(now, out);
            }
        } else if self.next.remove(key) {
            out.push(Action::GiveBack(key));
        }
    }

    fn overtaken(&mut self, key: Key, now: Mono, out: &mut Actions) {
        if self.hand.is_some_and(|hand| hand.key == key) {
            self.stop(Why::Overtaken, now.after(self.rules.cancel.min(LATE)), out);
        } else if self.next.remove(key) {
            out.push(Action::GiveBack(key));
        }
    }

    fn broken(&mut self, now: Mono, out: &mut Actions) {
        // A process that ends closes its socket first: how it dies says more than that.
        let until = now.after(CLOSED);
        if self.hand.is_some() {
            self.stop(Why::Broken, until, out);
        } else if let Process::Starting { .. } | Process::Up = self.process {
            // Told to end, it may close its socket first.
            if !self.is_stopping() {
                self.process = Process::Closed { until };
            }
        }
    }

    fn answered(&mut self, key: Key, word: Word, now: Mono, out: &mut Actions) {
        let Some(hand) = self.hand.filter(|hand| hand.key == key) else { return };
        let how = match hand.stop {
            None if self.cuts_short(word) => None,
            Some(Stop { why: Why::Ended, .. }) if word != Word::Done => None,
            Some(Stop { why: Why::Late, .. }) if word != Word::Done => Some(How::Late),
            _ => Some(How::Said),
        };
        if hand.stop.is_some_and(|stop| stop.killed) {
            self.process = Process::Dying;
        }
        self.vain = 0;
        self.conclude(hand, how, now, out);
    }

    /// Tells whether it is by our end, of which the participant knows, that work ends like this.
    const fn cuts_short(&self, word: Word) -> bool {
        match (self.phase, word) {
            (_, Word::Done) => false,
            (Phase::Stopping { .. }, Word::GaveUp) => true,
            // Whatever it says once it knows that it dies: a process for one item is taken like that, too.
            (Phase::Stopping { notice: None, .. }, Word::Failed) => true,
            (Phase::Stopping { .. } | Phase::Running | Phase::Draining, _) => false,
        }
    }

    /// Settles an item; `None`: it is as good as it was.
    fn conclude(&mut self, hand: Hand, how: Option<How>, now: Mono, out: &mut Actions) {
        if let Some(how) = how {
            self.settle(hand, how, now, out);
        } else {
            self.hand = None;
            out.push(Action::Interrupt(hand.key));
        }
    }

    fn settle(&mut self, hand: Hand, how: How, now: Mono, out: &mut Actions) {
        self.hand = None;
        let taken = now.nanos_from(hand.since).max(1);
        let most = self.rules.ahead.clamp(1, MOST_AHEAD);
        self.ahead = (QUICK.as_nanos() as u64 / taken).min(most as u64) as usize;
        // Those that would wait too long for their turn by now; the first one's has come.
        while self.next.len() > self.ahead.max(1)
            && let Some(next) = self.next.pop_last()
        {
            out.push(Action::GiveBack(next));
        }
        out.push(Action::Finish(hand.key, how));
    }

    fn not_started(&mut self, now: Mono, out: &mut Actions) {
        if !self.is_persistent() {
            self.vain = self.vain.saturating_add(1);
        }
        if let Some(hand) = self.hand {
            self.conclude(hand, hand.stop.and_then(Stop::how), now, out);
        }
        self.gone(now, true);
    }

    fn died(&mut self, well: bool, unread: bool, now: Mono, out: &mut Actions) {
        let Some(hand) = self.hand else { return self.gone(now, self.is_persistent()) };
        let told_to_end = matches!(self.phase, Phase::Stopping { notice: None, .. })
            || self.is_stopping() && self.is_persistent();
        let said = if self.is_persistent() { How::Died } else { How::Said };
        match hand.stop {
            None | Some(Stop { why: Why::Broken, killed: false, .. })
                if told_to_end && !well || unread =>
            {
                self.conclude(hand, None, now, out);
            }
            None | Some(Stop { why: Why::Cancelled | Why::Broken, killed: false, .. }) => {
                // As where it is killed for that.
                if hand.stop.is_some_and(|stop| stop.why == Why::Cancelled) {
                    self.vain = 0;
                }
                self.settle(hand, said, now, out);
            }
            Some(_) if well && !self.is_persistent() => self.settle(hand, said, now, out),
            Some(stop) => self.conclude(hand, stop.how(), now, out),
        }
        if !self.is_persistent() {
            self.vain = 0;
        }
        self.gone(now, self.is_persistent());
    }

    /// The process is no more; `spaced`: the next waits for its time.
    fn gone(&mut self, now: Mono, spaced: bool) {
        let doubled = self.rules.restart.saturating_mul(1 << self.vain.saturating_sub(1).min(20));
        let delay = doubled.min(self.rules.restart_longest).max(self.rules.restart);
        let until = self.last_start.after(delay);
        self.process = Process::Absent { until: Some(until).filter(|at| spaced && *at > now) };
    }

    fn shutdown(&mut self, now: Mono, out: &mut Actions) {
        if self.is_stopping() {
            return;
        }
        let notice = self.rules.shutdown.saturating_sub(NOTICE);
        self.phase = Phase::Stopping {
            notice: Some(now.after(notice)),
            end: Some(now.after(self.rules.shutdown)),
        };
        match self.process {
            Process::Absent { .. } => {
                self.phase = Phase::Stopping { notice: None, end: None };
            }
            // It may not listen yet.
            Process::Starting { .. } => out.push(Action::Terminate),
            Process::Up if self.is_persistent() && self.can_hear() => {
                out.push(Action::TellShutdown);
            }
            Process::Up | Process::Closed { .. } | Process::Dying => {}
        }
    }
}

fn give_away(key: Key, begun: bool, out: &mut Actions) {
    out.push(if begun { Action::Interrupt(key) } else { Action::GiveBack(key) });
}
