//! The keeper's loop: orders in, reports out, the dead reaped.

use super::EXO;
use super::ahead::Behind;
use super::cgroups::{Cgroups, Seat};
use super::launch::Launcher;
use super::priority::Usual;
use super::ready::Ready;
use super::replace::{Next, Replacement};
use super::status::{Progress, Status};
use crate::order::{DESCRIPTORS, DRAINED, LONGEST, Order, REPORT, Report, Signal, Start};
use crate::settings::{Life, Mode};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::{EAGAIN, ECONNRESET, EPIPE, ETIMEDOUT};
use sys::linux::process::{self, Ended};
use sys::linux::signal::{self, numbers};
use sys::linux::{identity, socket, time};

/// For the worker to be gone after its time is over, and for the last of the dead to be reaped.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// For what a participant leaves behind to be dead, before its end is told.
const LEFTOVERS: Duration = Duration::from_secs(2);
/// For a start, from the fork until the program runs.
const START: Duration = Duration::from_secs(10);
/// Of a process for one item that ends within this only the end is told: to hear of its start costs
/// as much as a brisk one takes.
const BRISK: Duration = Duration::from_millis(2);
/// Orders that are read and children that are reaped in one go: signals and orders have their turns,
/// whatever the worker sends and participants leave behind.
const AT_ONCE: usize = 64;

/// A participant that runs, or is dead and not reaped: the pid means it.
#[derive(Debug)]
struct Running {
    pid: i32,
    serial: u32,
    /// Its cgroup.
    seat: Seat,
    /// While it is not known to run its program.
    start: Option<Starting>,
}

#[derive(Debug)]
struct Starting {
    status: Status,
    /// When its status is listened to, which is read in any case.
    heard_at: u64,
    /// When it is given up.
    deadline: u64,
}

impl Running {
    /// Signals its group, or the process where it has not made one yet.
    fn signal(&self, number: i32) {
        if signal::kill(-self.pid, number).is_err() {
            let _ = signal::kill(self.pid, number);
        }
    }
}

/// By whom the keeper may have been woken: who was not heard is not asked.
#[derive(Clone, Copy, Debug)]
struct Woken {
    by_signals: bool,
    by_worker: bool,
}

/// The end of the last one that ran, until what it left behind is dead and reaped.
#[derive(Debug)]
struct Held {
    instance: u16,
    report: Report,
    deadline: u64,
    /// Nobody lived in its cgroup any more: what there is to reap is dead already.
    left_nobody: bool,
}

/// What there is of an instance.
#[derive(Debug, Default)]
struct Place {
    running: Option<Running>,
    /// What is to begin when that has ended.
    behind: Option<Behind>,
    last: Option<Last>,
}

/// The last start that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    serial: u32,
    failed: bool,
}

/// Everything that the keeper knows.
#[derive(Debug)]
pub(super) struct Keeper {
    launcher: Launcher,
    cgroups: Option<Cgroups>,
    ready: Ready,
    signals: Fd,
    worker: i32,
    /// How the worker ended.
    ended: Option<Ended>,
    /// `None` = the worker has closed its end.
    socket: Option<Fd>,
    instances: Vec<Place>,
    /// What the worker has no room for; it grows no longer than four times the instances, since no order
    /// is read meanwhile.
    reports: VecDeque<[u8; REPORT]>,
    held: Option<Held>,
    is_told_to_end: bool,
    /// Told again, we did not wait for the worker.
    is_cut_short: bool,
    /// Another exo is to take our place.
    replacement: Replacement,
    life: Life,
    /// There may be dead ones whose signals were read already.
    are_more_dead: bool,
    /// When the worker must be gone.
    worker_deadline: Option<u64>,
    shutdown_time: Duration,
    /// For a start, from the fork until we want to know of it.
    quiet: Duration,
    /// Messages that were no orders, or orders that cannot be.
    refused: u32,
}

/// What is settled before it serves: the nice value of all others, and what the configuration says.
type Settled = (Option<Usual>, (u16, Mode, Duration, Life));

impl Keeper {
    pub(super) fn new(
        (mut launcher, cgroups): (Launcher, Option<Cgroups>),
        ready: Ready,
        signals: Fd,
        (worker, socket): (i32, Fd),
        (usual, (instances, mode, shutdown_time, life)): Settled,
    ) -> Self {
        launcher.usual = usual;
        Self {
            launcher,
            cgroups,
            ready,
            signals,
            worker,
            ended: None,
            socket: Some(socket),
            instances: (0..instances).map(|_| Place::default()).collect(),
            reports: VecDeque::new(),
            held: None,
            is_told_to_end: false,
            is_cut_short: false,
            replacement: Replacement::Unwanted,
            life,
            are_more_dead: false,
            worker_deadline: None,
            shutdown_time,
            quiet: match mode {
                Mode::PerItem => BRISK,
                Mode::Persistent => Duration::ZERO,
            },
            refused: 0,
        }
    }

    /// Serves until the worker is gone, ends whatever still runs, and returns what is next.
    pub(super) fn serve(mut self) -> (Next, Ready) {
        let ended = loop {
            let woken = self.wait();
            if woken.by_signals || self.are_more_dead {
                self.take_signals();
            }
            if let Some(ended) = self.ended {
                break ended;
            }
            if is_over(self.worker_deadline) {
                // Nothing of it can be waited for: what it has in hand is lost, and ready again.
                EXO.warning_plain(&[OsStr::new("the worker does not end: killed")]);
                self.kill_worker();
            }
            self.settle_all();
            self.release();
            self.flush();
            if woken.by_worker {
                self.obey();
            }
        };
        self.end_all();
        if let Some(mut cgroups) = self.cgroups.take() {
            // What was none of our children any more dies with it, and takes a moment.
            cgroups.clear(after(LEFTOVERS));
            cgroups.remove();
        }
        (self.verdict(ended), self.ready)
    }

    fn wait(&self) -> Woken {
        let mut waits = vec![PollFd::readable(self.signals.raw()), PollFd::none()];
        if let Some(socket) = &self.socket {
            waits[1] = if !self.reports.is_empty() {
                PollFd::writable(socket.raw())
            } else if self.held.is_none() {
                PollFd::readable(socket.raw())
            } else {
                PollFd::none()
            };
        }
        let held = self.held.as_ref().map(|held| held.deadline);
        let starts = self.running().filter_map(|running| running.start.as_ref());
        let (heard, unheard) = starts.partition::<Vec<_>, _>(|start| is_over(Some(start.heard_at)));
        waits.extend(heard.iter().map(|start| PollFd::hung_up(start.status.raw())));
        let given_up = heard.iter().map(|start| start.deadline).min();
        let heard_at = unheard.iter().map(|start| start.heard_at).min();
        let at_once = self.are_more_dead.then_some(0);
        let deadlines = [at_once, self.worker_deadline, held, given_up, heard_at];
        let deadline = deadlines.into_iter().flatten().min();
        let left = deadline.map(|at| at.saturating_sub(time::monotonic()));
        let is_known = fd::poll(&mut waits, left).is_ok();
        let is_ready = |at: usize| !is_known || waits[at].is_ready();
        Woken { by_signals: is_ready(0), by_worker: is_ready(1) }
    }

    fn take_signals(&mut self) {
        // What more there is wakes us again.
        if let Some(number) = signal::next(&self.signals) {
            self.heed(number);
        }
        self.bury_all();
    }

    fn heed(&mut self, number: i32) {
        match number {
            numbers::SIGTERM | numbers::SIGINT if !self.is_told_to_end => {
                self.is_told_to_end = true;
                self.worker_deadline = Some(after(self.shutdown_time + PATIENCE));
                self.report(&Report::Shutdown);
            }
            // Whoever sits there has waited long enough.
            numbers::SIGTERM | numbers::SIGINT if self.life == Life::Session => {
                self.is_cut_short = true;
                self.kill_worker();
            }
            numbers::SIGHUP if !self.is_told_to_end && self.life != Life::Session => {
                self.replacement.begin(self.launcher.usual);
            }
            // Deaths are looked for anyway.
            _ => {}
        }
    }

    /// Reaps the dead, so many of them: who makes orphans as fast as they are reaped must not have
    /// the keeper for itself.
    fn bury_all(&mut self) {
        for _ in 0..AT_ONCE {
            self.are_more_dead = matches!(process::dead_child(), Ok(Some(pid)) if self.bury(pid));
            if !self.are_more_dead {
                return;
            }
        }
    }

    /// Reaps one that is dead; false = it could not be.
    fn bury(&mut self, pid: i32) -> bool {
        let is_it = |place: &Place| place.running.as_ref().is_some_and(|one| one.pid == pid);
        let instance = self.instances.iter().position(is_it);
        // How its start went may be all that there is to tell.
        if let Some(instance) = instance {
            self.settle(instance, true);
        }
        let place = instance.and_then(|i| Some((i as u16, self.instances[i].running.take()?)));
        let mut left_nobody = false;
        if let Some((_, running)) = &place {
            left_nobody = self.cgroups.as_ref().is_some_and(|all| all.holds_none(running.seat));
            if !left_nobody {
                // Not reaped yet, so this is still its group.
                running.signal(numbers::SIGKILL);
                self.cgroups.iter_mut().for_each(|cgroups| cgroups.kill(running.seat));
            }
        }
        let behind = self.instances.iter_mut().filter_map(|place| place.behind.as_mut());
        behind.filter(|behind| behind.pid() == Some(pid)).for_each(Behind::lose);
        let Some((how, usage)) = process::reap(pid) else { return false };
        if pid == self.worker {
            self.ended = Some(how);
        }
        if self.replacement.reaped(pid, how) {
            self.report(&Report::Replace);
        }
        if let Some((instance, Running { serial, .. })) = place {
            let process::Usage { cpu_us, peak_kib } = usage;
            let at = time::monotonic();
            let report = Report::Ended { instance, serial, how, cpu_us, peak_kib, at };
            let follows = left_nobody && self.instances[usize::from(instance)].behind.is_some();
            if follows || self.somebody_runs() {
                self.end(instance, &report);
            } else {
                let deadline = after(LEFTOVERS);
                self.held = Some(Held { instance, report, deadline, left_nobody });
            }
        }
        true
    }

    fn settle_all(&mut self) {
        (0..self.instances.len()).for_each(|instance| self.settle(instance, false));
    }

    /// Tells how a start went, if it is over, and gives it up where it takes too long: others may
    /// have stopped it, or what it waits for does not answer. Of a brisk one that `is_dead` its end
    /// will tell that it ran.
    fn settle(&mut self, instance: usize, is_dead: bool) {
        let place = &mut self.instances[instance];
        let Some(running) = &mut place.running else { return };
        let Some(Starting { status, heard_at, deadline }) = &mut running.start else { return };
        let (instance, pid, serial) = (instance as u16, running.pid, running.serial);
        let (step, Errno(errno)) = match status.progress() {
            Progress::At(_) if !is_over(Some(*deadline)) => return,
            Progress::At(step) => (step, Errno(ETIMEDOUT)),
            Progress::Failed(step, why) => (step, why),
            Progress::Over => {
                let is_brisk = !is_over(Some(*heard_at));
                running.start = None;
                if !(is_brisk && is_dead) {
                    self.report(&Report::Started { instance, serial, pid });
                }
                return;
            }
        };
        running.signal(numbers::SIGKILL);
        self.cgroups.iter_mut().for_each(|cgroups| cgroups.kill(running.seat));
        *place = Place { last: Some(Last { serial, failed: true }), ..Place::default() };
        self.report(&Report::NotStarted { instance, serial, step, errno });
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.instances.iter().filter_map(|place| place.running.as_ref())
    }

    fn somebody_runs(&self) -> bool {
        self.running().next().is_some()
    }

    /// Tells the end of the last participant as soon as nothing is left of it. While others run only
    /// a cgroup knows whose a process is that has left its parent, its group and its session.
    fn release(&mut self) {
        let Some(held) = self.held.take() else { return };
        let is_clear = held.left_nobody && !self.are_more_dead;
        let may_wait = !self.somebody_runs() && !is_over(Some(held.deadline));
        let waiting = self.instances.iter().filter_map(|place| place.behind.as_ref()?.pid());
        let others = [Some(self.worker), self.replacement.pid()].into_iter().flatten();
        let ours: Vec<i32> = others.chain(waiting).collect();
        if may_wait && !is_clear && kill_children(&ours) > 0 {
            self.held = Some(held);
        } else {
            // What follows begins now.
            self.end(held.instance, &held.report.dated(time::monotonic()));
        }
    }

    /// Tells the end of an instance, which is reaped and of which nothing is left. What is to follow begins
    /// before that, and how it failed is told behind it.
    fn end(&mut self, instance: u16, report: &Report) {
        let failed = self.follow(instance);
        self.reports.extend([report].into_iter().chain(&failed).map(Report::encode));
        self.flush();
    }

    /// Begins what is to follow, where there is somebody who wants it. Returns how that failed.
    fn follow(&mut self, instance: u16) -> Option<Report> {
        let behind = self.instances[usize::from(instance)].behind.take()?;
        let socket = self.socket.as_ref().filter(|_| self.ended.is_none())?;
        // Where that cannot be known it has not gone: it counts on what is to follow.
        let is_gone = matches!(fd::poll(&mut [PollFd::hung_up(socket.raw())], Some(0)), Ok(1..));
        if is_gone { None } else { self.begin(behind) }
    }

    fn report(&mut self, report: &Report) {
        self.reports.push_back(report.encode());
        self.flush();
    }

    fn flush(&mut self) {
        while let (Some(bytes), Some(to)) = (self.reports.front(), &self.socket) {
            match socket::send(to.raw(), bytes, &[]) {
                Ok(()) => drop(self.reports.pop_front()),
                Err(Errno(EAGAIN)) => return,
                Err(why) => self.hang_up(Some(why)),
            }
        }
    }

    /// The worker's end is closed, or of no more use: it is dead, or as good as dead.
    fn hang_up(&mut self, why: Option<Errno>) {
        // Dead with or without a report that it has not read: how it ended says more.
        if let Some(why) = why.filter(|Errno(why)| ![EPIPE, ECONNRESET].contains(why)) {
            EXO.warning(&[OsStr::new("unable to speak with the worker, which has to end")], why);
        }
        self.socket = None;
        self.reports.clear();
        self.instances.iter_mut().for_each(|place| place.behind = None);
        self.worker_deadline.get_or_insert(after(PATIENCE));
    }

    fn obey(&mut self) {
        let mut bytes = [0; LONGEST];
        for _ in 0..AT_ONCE {
            // Who does not read its reports is not read either; and while an end is held back the
            // worker cannot know what it may order.
            let may_read = self.reports.is_empty() && self.held.is_none();
            let Some(from) = self.socket.as_ref().filter(|_| may_read) else { return };
            let (len, fds) = match socket::receive(from.raw(), &mut bytes) {
                Err(Errno(EAGAIN)) => return,
                Ok((0, _)) => return self.hang_up(None),
                Err(why) => return self.hang_up(Some(why)),
                Ok(received) => received,
            };
            let with = fds.iter().flatten().count();
            match bytes.get(..len).and_then(Order::decode) {
                Some(Order::Start(start)) if let [Some(a), Some(b), Some(c), Some(d)] = fds => {
                    self.start(start, [a, b, c, d]);
                }
                Some(Order::Signal { instance, serial, signal }) if with == 0 => {
                    self.signal(instance, serial, signal);
                }
                Some(Order::Recall { instance, serial }) if with == 0 => {
                    self.recall(instance, serial);
                }
                Some(Order::Ready) if with == 0 => self.ready.tell(),
                _ => self.refuse("a message that is no order"),
            }
        }
    }

    fn start(&mut self, start: Start, fds: [Fd; DESCRIPTORS]) {
        let Start { instance, serial, is_behind, .. } = start;
        let Some(place) = self.instances.get_mut(usize::from(instance)) else {
            return self.refuse("an order to start what is none of ours");
        };
        if place.behind.is_some() || place.running.is_some() && !is_behind {
            return self.refuse("an order to start what runs");
        }
        if is_behind && place.last != Some(Last { serial: serial.wrapping_sub(1), failed: false }) {
            // That one failed, which the worker is told: it takes this one back.
            return;
        }
        if let Some(running) = &place.running {
            let (launcher, cgroups) = (&mut self.launcher, self.cgroups.as_mut());
            place.behind = Some(Behind::with_child(start, fds, launcher, cgroups, running.seat));
        } else if let Some(failed) = self.begin(Behind::new(start, fds)) {
            self.report(&failed);
        }
    }

    /// Begins a start. Returns how that failed.
    fn begin(&mut self, behind: Behind) -> Option<Report> {
        let Start { instance, serial, .. } = behind.start;
        let begun = behind.begin(&mut self.launcher, self.cgroups.as_mut());
        let place = &mut self.instances[usize::from(instance)];
        place.last = Some(Last { serial, failed: begun.is_err() });
        match begun {
            Ok((pid, status, seat)) => {
                let (heard_at, deadline) = (after(self.quiet), after(START));
                let start = Some(Starting { status, heard_at, deadline });
                place.running = Some(Running { pid, serial, seat, start });
                None
            }
            Err((step, Errno(errno))) => Some(Report::NotStarted { instance, serial, step, errno }),
        }
    }

    fn recall(&mut self, instance: u16, serial: u32) {
        let Some(place) = self.instances.get_mut(usize::from(instance)) else {
            return self.refuse("an order to recall what is none of ours");
        };
        place.behind.take_if(|behind| behind.start.serial == serial);
        let has_begun = place.last.is_some_and(|last| last.serial == serial);
        self.report(&Report::Recalled { instance, serial, has_begun });
    }

    /// An order for one that has ended meanwhile is late, not wrong.
    fn signal(&mut self, instance: u16, serial: u32, signal: Signal) {
        let Some(place) = self.instances.get(usize::from(instance)) else {
            return self.refuse("an order to signal what is none of ours");
        };
        let running = place.running.as_ref();
        let Some(running) = running.filter(|running| running.serial == serial) else { return };
        let numbers: &[i32] = match signal {
            // One that is stopped would not see it.
            Signal::Term => &[numbers::SIGTERM, numbers::SIGCONT],
            Signal::Kill => &[numbers::SIGKILL],
        };
        for number in numbers {
            running.signal(*number);
        }
    }

    /// Says so the first time, the second, the fourth, ...: a flood must not fill the log.
    fn refuse(&mut self, what: &str) {
        self.refused = self.refused.saturating_add(1);
        if self.refused.is_power_of_two() {
            let text = format!("refused from the worker, {} so far: {what}", self.refused);
            EXO.warning_plain(&[OsStr::new(&text)]);
        }
    }

    /// Kills it with all that it has in hand, unless it is dead already.
    fn kill_worker(&mut self) {
        if self.ended.is_none() {
            let _ = signal::kill(self.worker, numbers::SIGKILL);
            self.kill_all();
            self.worker_deadline = None;
        }
    }

    fn kill_all(&mut self) {
        self.instances.iter_mut().for_each(|place| place.behind = None);
        self.running().for_each(|running| running.signal(numbers::SIGKILL));
        self.cgroups.iter_mut().for_each(Cgroups::kill_all);
    }

    /// Kills and reaps whatever is left, and what that leaves behind.
    fn end_all(&mut self) {
        self.socket = None;
        self.kill_all();
        let deadline = after(PATIENCE);
        loop {
            self.bury_all();
            if kill_children(&[]) == 0 {
                return;
            }
            if is_over(Some(deadline)) {
                return EXO.warning_plain(&[OsStr::new("processes are left that do not die")]);
            }
            // Each of them will say that it is dead.
            let left = deadline.saturating_sub(time::monotonic());
            let left = if self.are_more_dead { 0 } else { left };
            let _ = fd::poll(&mut [PollFd::readable(self.signals.raw())], Some(left));
            // What tells us to end counts, also where another exo would have taken our place.
            while let Some(number) = signal::next(&self.signals) {
                self.heed(number);
            }
        }
    }

    fn verdict(&self, ended: Ended) -> Next {
        let text = match ended {
            Ended::Code(0 | DRAINED) if self.is_told_to_end => return Next::End(0),
            Ended::Signal(numbers::SIGKILL) if self.is_cut_short => return Next::End(0),
            ended if let Some(next) = self.replacement.next(ended) => return next,
            Ended::Code(0) => "the worker ended without being told to".to_owned(),
            // It has said why.
            Ended::Code(code) => return Next::End(code),
            Ended::Signal(signal) => format!("the worker was killed by signal {signal}"),
        };
        Next::End(EXO.fatal_plain(&[OsStr::new(&text)]))
    }
}

/// Kills every child of ours but these, dead ones included, which it does not hurt. Returns how many.
fn kill_children(but: &[i32]) -> usize {
    let mut count = 0;
    let looked = identity::for_each_child(|pid| {
        if !but.contains(&pid) {
            let _ = signal::kill(pid, numbers::SIGKILL);
            count += 1;
        }
    });
    if looked.is_ok() { count } else { 0 }
}

fn is_over(deadline: Option<u64>) -> bool {
    deadline.is_some_and(|deadline| time::monotonic() >= deadline)
}

pub(super) fn after(time: Duration) -> u64 {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    time::monotonic().saturating_add(nanos)
}
