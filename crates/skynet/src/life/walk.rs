//! Takes the steps of many services at the same time, with one wait.

use super::plan::{Order, Step, Steps, Task};
use super::{Lines, Patience, words};
use crate::failure::Failure;
use crate::here::Here;
use crate::links;
use crate::service::Service;
use crate::stage;
use crate::talk::{Heard, Talk};
use daemontools::control::{self, Refusal, Sent};
use daemontools::observe::{Boot, Snapshot};
use daemontools::svpath::Paths;
use daemontools::wait::{Goal, Unwatched, Verdict, Waiting};
use exo::control::{Request, Until};
use ondisk::record::{Exit, Phase};
use serde_json::Value;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::watch::{APPEARED, Watcher};
use sys::linux::{process, signal, time};

/// A service without an exo that can be asked is up if it still is after this time: most of those
/// that cannot run end sooner.
const SETTLED: Duration = Duration::from_millis(300);

/// Within this time supervise tries again to run what it could not run, a busy machine included.
const AGAIN: u64 = 2 * time::SECOND;

/// A process without which nothing more happens.
pub struct Guard {
    /// It.
    pub pidfd: Fd,
    /// What its end means.
    pub why: String,
}

/// What goes with a walk.
#[derive(Default)]
pub struct Terms<'a> {
    /// A process that it depends on.
    pub guard: Option<&'a Guard>,
    /// A lock that is given back once nothing is left but to wait.
    pub lock: Option<Fd>,
}

/// Takes all steps of all tasks; says of each service how it went, as soon as it is there.
///
/// # Errors
/// There is no way to be told of anything.
pub fn walk(
    here: &Here,
    tasks: Vec<Task<'_>>,
    patience: Patience,
    terms: Terms<'_>,
    lines: &mut Lines<'_>,
) -> std::result::Result<(), Failure> {
    if tasks.is_empty() {
        return Ok(());
    }
    // A supervise that ends under our write is an answer, not our end.
    signal::ignore(signal::numbers::SIGPIPE);
    let mut steps = tasks.iter().flat_map(|task| &task.steps.steps);
    let are_replaced = steps.any(|step| matches!(step, Step::Link));
    let dirs: Vec<_> = tasks.iter().map(|task| (task.dir.clone(), task.log.clone())).collect();
    let no_way = |why: Errno| Failure::errno("watch for", "changes", why);
    let mut walker = Walker {
        here,
        lines,
        waiting: Waiting::new().map_err(no_way)?,
        paths: super::paths(),
        boot: Boot::this(),
        sockets: Watcher::new().map_err(no_way)?,
        walks: Vec::new(),
        no_wait: patience.no_wait,
        lock: terms.lock,
        begun: time::monotonic(),
        may_connect: true,
    };
    for (task, (dir, log)) in tasks.into_iter().zip(&dirs) {
        walker.take_on(task.service, task.steps, dir, log.as_deref());
    }
    let deadline = patience.deadline(walker.begun);
    walker.go(deadline, terms.guard).map_err(|why| Failure::errno("wait for", "services", why))?;
    walker.give_up(patience.timeout);
    if are_replaced {
        // Only now: a supervise that let go of its service still is in its directory for a moment.
        stage::sweep(here);
    }
    Ok(())
}

struct Walker<'a, 'l, 'h> {
    here: &'a Here,
    lines: &'l mut Lines<'h>,
    waiting: Waiting<'a>,
    paths: Paths,
    boot: Boot,
    /// Sees the control sockets of exos appear.
    sockets: Watcher,
    walks: Vec<Walk<'a>>,
    no_wait: bool,
    lock: Option<Fd>,
    begun: u64,
    /// A socket may have appeared since this was tried last.
    may_connect: bool,
}

/// One service on its way.
struct Walk<'a> {
    service: &'a Service,
    dir: &'a Path,
    steps: Steps,
    /// Its number among those that are watched, and that of its logger.
    own: usize,
    log: Option<usize>,
    /// The first of `steps` has begun.
    has_begun: bool,
    /// When the step is looked at again, whatever happens.
    until: Option<u64>,
    talk: Option<Talk>,
    /// When the last goal was reached.
    reached: u64,
    /// What exo says of itself.
    status: Option<Value>,
    /// Its instances were to start.
    starts: bool,
    is_over: bool,
}

impl Walk<'_> {
    /// Tells whether all is told, so that nothing is left but to wait.
    fn is_told(&self) -> bool {
        let begun = usize::from(self.has_begun);
        self.is_over || self.steps.steps.iter().skip(begun).all(Step::only_waits)
    }
}

/// How far a step is.
enum Progress {
    Done,
    Waits,
    Failed(String),
}

fn is_done(answer: std::result::Result<(), Failure>) -> Progress {
    match answer {
        Ok(()) => Progress::Done,
        Err(why) => Progress::Failed(why.lines.join("; ")),
    }
}

impl<'a> Walker<'a, '_, '_> {
    fn take_on(
        &mut self,
        service: &'a Service,
        steps: Steps,
        dir: &'a Path,
        log: Option<&'a Path>,
    ) {
        let aim = (Goal::Ended, false);
        let own = match self.waiting.add(dir.as_os_str().as_bytes(), aim, &mut self.paths) {
            Ok(own) => own,
            Err(Unwatched::Chdir(why) | Unwatched::System(why)) => {
                let text = format!("FAILED: unable to watch {}: {why}", dir.display());
                self.lines.failed(&service.name, &text);
                return;
            }
        };
        let log = log.and_then(|log| {
            let aim = (Goal::Finished, false);
            self.waiting.add(log.as_os_str().as_bytes(), aim, &mut self.paths).ok()
        });
        self.walks.push(Walk {
            service,
            dir,
            steps,
            own,
            log,
            has_begun: false,
            until: None,
            talk: None,
            reached: self.begun,
            status: None,
            starts: false,
            is_over: false,
        });
    }

    fn go(&mut self, deadline: u64, guard: Option<&Guard>) -> Result<()> {
        self.waiting.look_at_all(&mut self.paths);
        loop {
            for i in 0..self.walks.len() {
                self.advance(i);
            }
            self.may_connect = false;
            if self.walks.iter().all(Walk::is_told) {
                self.lock = None;
            }
            let now = time::monotonic();
            if now >= deadline || self.walks.iter().all(|walk| walk.is_over) {
                return Ok(());
            }
            let pending = self.walks.iter().filter(|walk| !walk.is_over);
            let wake = pending.filter_map(|walk| walk.until).fold(deadline, u64::min);
            let mut fds = Vec::new();
            self.waiting.interests(&mut fds);
            fds.push(PollFd::readable(self.sockets.raw()));
            let guarded = fds.len();
            fds.push(guard.map_or(PollFd::none(), |guard| PollFd::readable(guard.pidfd.raw())));
            fds.extend(self.walks.iter().map(|walk| {
                let socket = walk.talk.as_ref().filter(|_| !walk.is_over).and_then(Talk::raw);
                socket.map_or(PollFd::none(), PollFd::readable)
            }));
            fd::poll(&mut fds, Some(wake.saturating_sub(now)))?;
            self.waiting.hear(&fds, &mut self.paths);
            self.sockets.reports(|_| self.may_connect = true);
            if let Some(guard) = guard.filter(|_| fds[guarded].is_ready()) {
                self.fail_all(&guard.why);
            }
        }
    }

    /// Goes on with one service as far as it goes without waiting.
    fn advance(&mut self, i: usize) {
        while !self.walks[i].is_over {
            let walk = &self.walks[i];
            let Some(step) = walk.steps.steps.front().cloned() else { return self.arrive(i) };
            if self.no_wait && !walk.has_begun && walk.is_told() {
                return self.is_told(i);
            }
            let progress = self.take(i, &step);
            let walk = &mut self.walks[i];
            match progress {
                Progress::Done => {
                    walk.steps.steps.pop_front();
                    (walk.has_begun, walk.until, walk.talk) = (false, None, None);
                }
                Progress::Waits => {
                    if self.no_wait && walk.is_told() {
                        self.is_told(i);
                    }
                    return;
                }
                Progress::Failed(why) => return self.fail(i, &why),
            }
        }
    }

    fn take(&mut self, i: usize, step: &Step) -> Progress {
        match step {
            Step::Reach(order, goal) => self.reach(i, *order, *goal),
            Step::LoggerEnds => {
                let Some(log) = self.walks[i].log else { return Progress::Done };
                self.waiting.look(log, &mut self.paths);
                if self.waiting.verdict(log) == Verdict::Reached {
                    self.walks[i].reached = time::monotonic();
                    return Progress::Done;
                }
                Progress::Waits
            }
            Step::Stays => self.stays(i),
            Step::Ask(socket, request) => self.ask(i, socket, request),
            Step::Unbar => is_done(links::unbar(self.walks[i].service)),
            Step::Link => is_done(links::put(self.here, self.walks[i].service)),
        }
    }

    fn reach(&mut self, i: usize, order: Order, goal: Goal) -> Progress {
        let own = self.walks[i].own;
        if !self.walks[i].has_begun {
            self.waiting.aim(own, goal, order.asks_to_start(), &mut self.paths);
            if let Err(why) = self.tell(i, order) {
                return Progress::Failed(why);
            }
            self.walks[i].has_begun = true;
            self.waiting.look(own, &mut self.paths);
        }
        match self.waiting.verdict(own) {
            Verdict::Reached => {
                self.walks[i].reached = time::monotonic();
                Progress::Done
            }
            Verdict::Impossible(why) => Progress::Failed(why.to_owned()),
            Verdict::Pending if matches!(goal, Goal::Up | Goal::Ready | Goal::Restarted) => {
                self.comes_not(i).map_or(Progress::Waits, Progress::Failed)
            }
            Verdict::Pending => Progress::Waits,
        }
    }

    /// Tells why a service that is to come up does not, if that is so.
    fn comes_not(&mut self, i: usize) -> Option<String> {
        let walk = &mut self.walks[i];
        let (before, now) = self.waiting.seen(walk.own)?;
        let text = || format!("{}, tried again each second", words::last_exit(now));
        if has_died_young(before, now) {
            return Some(text());
        }
        if !cannot_run(now) {
            return None;
        }
        // One that could not be run before may have been mended: it gets another try.
        let clock = time::monotonic();
        let again = if cannot_run(before) { AGAIN } else { 0 };
        let until = *walk.until.get_or_insert(clock.saturating_add(again));
        (until <= clock).then(text)
    }

    fn stays(&mut self, i: usize) -> Progress {
        let now = time::monotonic();
        let walk = &mut self.walks[i];
        if !walk.has_begun {
            walk.has_begun = true;
            let settled = u64::try_from(SETTLED.as_nanos()).unwrap_or(0);
            walk.until = Some(now.saturating_add(settled));
            self.waiting.aim(walk.own, Goal::Ended, false, &mut self.paths);
            self.waiting.look(walk.own, &mut self.paths);
        }
        if let Some(why) = self.has_ended(i) {
            return Progress::Failed(why);
        }
        if self.walks[i].until.is_none_or(|until| until > now) {
            return Progress::Waits;
        }
        let own = self.walks[i].own;
        if self.waiting.seen(own).is_some_and(|(_, now)| now.is_torn || now.is_unheard()) {
            // Its supervise was about to say how it ended, and will be heard.
            self.walks[i].until = None;
            return Progress::Waits;
        }
        Progress::Done
    }

    fn ask(&mut self, i: usize, socket: &Path, request: &Request) -> Progress {
        let mut may_connect = self.may_connect;
        if !self.walks[i].has_begun {
            let walk = &mut self.walks[i];
            walk.has_begun = true;
            walk.talk = Some(Talk::new(socket.to_owned(), request));
            self.waiting.aim(walk.own, Goal::Ended, false, &mut self.paths);
            self.waiting.look(walk.own, &mut self.paths);
            // Before the first try, so that nothing falls between.
            let folder = socket.parent().unwrap_or(Path::new("/"));
            let folder = CString::new(folder.as_os_str().as_bytes()).unwrap_or_default();
            if let Err(why) = self.sockets.add(&folder, APPEARED) {
                return Progress::Failed(format!("unable to watch {}: {why}", socket.display()));
            }
            may_connect = true;
        }
        let walk = &mut self.walks[i];
        let Some(talk) = &mut walk.talk else { return Progress::Waits };
        if talk.raw().is_some() || may_connect {
            match talk.go_on() {
                Heard::Nothing => {}
                Heard::Trouble(why) => return Progress::Failed(why),
                Heard::Answer(answer) => {
                    if answer.get("ok").and_then(Value::as_bool) != Some(true) {
                        let why = answer.get("error").and_then(Value::as_str);
                        return Progress::Failed(why.unwrap_or("exo refused").to_owned());
                    }
                    walk.starts = *request == Request::Wait { until: Until::Started };
                    walk.status = answer.get("status").cloned().or(walk.status.take());
                    walk.reached = time::monotonic();
                    return Progress::Done;
                }
            }
        }
        self.has_ended(i).map_or(Progress::Waits, Progress::Failed)
    }

    /// Tells why the life that a service had is over, if it is.
    fn has_ended(&self, i: usize) -> Option<String> {
        let own = self.walks[i].own;
        let (_, now) = self.waiting.seen(own)?;
        (self.waiting.verdict(own) == Verdict::Reached).then(|| words::last_exit(now))
    }

    fn tell(&mut self, i: usize, order: Order) -> std::result::Result<(), String> {
        let walk = &self.walks[i];
        let letters = match order {
            Order::None => return Ok(()),
            Order::Letters(letters) => letters,
            Order::End => {
                let record = self.waiting.seen(walk.own).and_then(|(_, now)| now.record);
                let told = record.and_then(|record| {
                    let pid = i32::try_from(record.supervisor.pid).ok()?;
                    let supervise = process::pidfd(pid).ok()?;
                    // Looked at behind the descriptor: now it cannot be another's any more.
                    let is_it = self.boot.has(&record, &record.supervisor);
                    is_it.then(|| process::pidfd_kill(supervise.raw(), signal::numbers::SIGTERM))
                });
                match told {
                    Some(Ok(())) => return Ok(()),
                    Some(Err(why)) => return Err(words::refused(walk.dir, why)),
                    // One that keeps no record is not ours, and would leave its service alone.
                    None => "dx",
                }
            }
        };
        let dir = walk.dir;
        let to = self.paths.set(dir.as_os_str().as_bytes()).map_err(Refusal::Chdir);
        match to.and_then(|()| control::send(&mut self.paths, letters.as_bytes())) {
            Ok(Sent::Done) => Ok(()),
            Ok(Sent::Full(_)) => Err("its supervise does not listen: control pipe is full".into()),
            Err(why) => Err(words::refusal(dir, why)),
        }
    }

    fn arrive(&mut self, i: usize) {
        let walk = &mut self.walks[i];
        walk.is_over = true;
        let after = Duration::from_nanos(walk.reached.saturating_sub(self.begun));
        let name = &walk.service.name;
        if walk.steps.is_quiet {
            return;
        }
        let instances = walk.status.as_ref().map(words::instances).unwrap_or_default();
        let mut failed = 0;
        for instance in &instances {
            match &instance.failure {
                Some(why) if walk.starts => {
                    failed += 1;
                    self.lines.instance(&instance.name, &format!("FAILED: {why}"));
                }
                _ if instances.len() > 1 => self.lines.instance(&instance.name, &instance.text),
                _ => {}
            }
        }
        if failed > 0 {
            let log = words::log_of(self.here, walk.service, walk.dir);
            let many = instances.len();
            let text = format!("FAILED: {failed} of {many} instances did not start; log: {log}");
            return self.lines.failed(name, &text);
        }
        let pid = self.waiting.seen(walk.own).and_then(|(_, now)| words::pid(now));
        let pid = pid.map(|pid| format!(", pid {pid}")).unwrap_or_default();
        let text = format!("{} after {:.2} s{pid}", walk.steps.word, after.as_secs_f64());
        self.lines.done(name, &text);
    }

    fn is_told(&mut self, i: usize) {
        let walk = &mut self.walks[i];
        walk.is_over = true;
        self.lines.done(&walk.service.name, walk.steps.told);
    }

    fn fail(&mut self, i: usize, why: &str) {
        let walk = &mut self.walks[i];
        walk.is_over = true;
        let after = Duration::from_nanos(time::monotonic().saturating_sub(self.begun));
        let log = words::log_of(self.here, walk.service, walk.dir);
        let text = format!("FAILED after {:.2} s: {why}; log: {log}", after.as_secs_f64());
        self.lines.failed(&walk.service.name, &text);
    }

    fn fail_all(&mut self, why: &str) {
        for i in 0..self.walks.len() {
            if !self.walks[i].is_over {
                self.fail(i, why);
            }
        }
    }

    /// Says what a service, or the logger that is waited for, does.
    fn state(&self, walk: &Walk<'_>) -> String {
        let log = walk.log.filter(|_| matches!(walk.steps.steps.front(), Some(Step::LoggerEnds)));
        let seen = self.waiting.seen(log.unwrap_or(walk.own)).map(|(_, now)| words::state(now));
        let state = seen.unwrap_or_default();
        if log.is_some() { format!("of its logger: {state}") } else { state }
    }

    /// Time is over.
    fn give_up(&mut self, limit: Duration) {
        let limit = work::units::Span(limit);
        for i in 0..self.walks.len() {
            let walk = &self.walks[i];
            if !walk.is_over {
                let (word, state) = (walk.steps.word, self.state(walk));
                let advice = Some(&walk.steps.advice).filter(|advice| !advice.is_empty());
                let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
                self.fail(i, &format!("not {word} within {limit}; {state}{advice}"));
            }
        }
    }
}

/// Tells whether supervise tries in vain to run the service.
fn cannot_run(snapshot: &Snapshot) -> bool {
    snapshot.record.is_some_and(|record| {
        record.phase == Phase::Due && matches!(record.last_exit, Exit::NotRun(_))
    })
}

/// Tells whether a life that began behind `before` is over already, so that supervise tries again.
fn has_died_young(before: &Snapshot, now: &Snapshot) -> bool {
    let pid = |snapshot: &Snapshot| snapshot.half.map_or(0, |half| half.status.pid);
    let (Some(was), Some(is)) = (before.record, now.record) else { return false };
    // Of a service that runs, the first death is the one that was asked for.
    pid(now) == 0 && (is.restarts > was.restarts || pid(before) == 0 && is.died != was.died)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemontools::observe::Life;
    use ondisk::record::{Identity, Record};
    use ondisk::status::{Status, Want};
    use ondisk::tai64n::Stamp;

    fn at(pid: u32, restarts: u64, died: Option<i64>) -> Snapshot {
        let since = Stamp::from_unix(1, 0);
        let status = Status { since, pid, paused: false, want: Want::Up };
        let bytes = status.to_bytes();
        let half = daemontools::observe::StatusFile::from_bytes(&bytes).map(|file| file.service());
        let record = Record {
            restarts,
            died: died.map(|second| Stamp::from_unix(second, 0)),
            ..Record::new([0; 16], Identity::default())
        };
        Snapshot { kept: true, half, record: Some(record), life: Life::Over, is_torn: false }
    }

    #[test]
    fn a_first_life_that_is_over_was_short() {
        let before = at(0, 0, None);
        assert!(!has_died_young(&before, &before));
        assert!(!has_died_young(&before, &at(7, 0, None)));
        assert!(has_died_young(&before, &at(0, 0, Some(9))));
        let between = at(0, 4, Some(9));
        assert!(has_died_young(&between, &at(0, 5, Some(10))));
    }

    #[test]
    fn the_death_that_a_restart_asks_for_is_none_too_early() {
        let before = at(7, 3, Some(5));
        assert!(!has_died_young(&before, &at(0, 3, Some(9))));
        assert!(!has_died_young(&before, &at(8, 4, Some(9))));
        assert!(has_died_young(&before, &at(0, 4, Some(10))));
    }
}
