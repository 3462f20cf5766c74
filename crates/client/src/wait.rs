//! Waiting for the effect of commands, told by the kernel: no polling.
//!
//! Two sources: the supervise folder is watched (status is renamed into it, the record overwritten
//! in it), and `ok` is held open for writing, which reports when its last reader is gone.

use crate::observe::{self, Boot, Life, Snapshot};
use crate::svpath::Paths;
use alloc::vec::Vec;
use linux::errno::{Errno, Result};
use linux::fd::{self, Fd, PollFd};
use linux::time;
use linux::watch::{APPEARED, CHANGED, LOST, OPENED, OVERFLOW, READER_CLOSED, Watcher};
use ondisk::names::{OK, RECORD, STATUS};
use ondisk::record::Phase;
use ondisk::status::Want;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The service runs.
    Up,
    /// It runs and is ready; one that does not declare readiness is ready when it runs.
    Ready,
    /// It does not run and is not going to.
    Down,
    /// No supervise keeps it.
    Finished,
    /// It runs since another moment than before the command.
    Restarted,
    /// A supervise keeps it.
    Kept,
    /// The life that it had is over, whatever came next.
    Ended,
}

impl Goal {
    /// Every goal of svc with its word. svc has none for the others: what it waits for is the effect
    /// of a command, and so a supervise is there.
    pub const ALL: [(&'static str, Self); 5] = [
        ("up", Self::Up),
        ("ready", Self::Ready),
        ("down", Self::Down),
        ("finished", Self::Finished),
        ("restarted", Self::Restarted),
    ];

    /// Reads the word.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| word == known.as_bytes()).map(|(_, goal)| *goal)
    }

    /// Returns the word.
    #[must_use]
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, goal)| *goal == self).map_or("", |(word, _)| word)
    }
}

/// How far a service is from a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There.
    Reached,
    /// Not there yet.
    Pending,
    /// It cannot come any more, for this reason.
    Impossible(&'static str),
}

/// Judges where a service stands. `before` is how it was before commands were sent;
/// `asked_to_start` tells whether one of these was `u` or `o`.
#[must_use]
pub fn judge(goal: Goal, before: &Snapshot, now: &Snapshot, asked_to_start: bool) -> Verdict {
    let reached = match goal {
        Goal::Finished => !now.kept,
        Goal::Down => is_down(now),
        Goal::Up => now.kept && now.is_up(),
        Goal::Ready => now.kept && now.is_ready(),
        Goal::Restarted => now.kept && now.is_up() && moment(now) != moment(before),
        Goal::Kept => now.kept,
        // How it ended is in the record.
        Goal::Ended => {
            !now.kept || !is_unsaid(now) && (!now.is_up() || moment(now) != moment(before))
        }
    };
    if reached {
        return Verdict::Reached;
    }
    match goal {
        Goal::Finished | Goal::Kept | Goal::Ended => Verdict::Pending,
        _ if !now.kept => Verdict::Impossible("supervise not running"),
        Goal::Down => Verdict::Pending,
        // A failure from before may be what the command is to end.
        _ if now.phase() == Some(Phase::Failed)
            && (!asked_to_start || moment(now) != moment(before)) =>
        {
            Verdict::Impossible("the service has failed")
        }
        _ => Verdict::Pending,
    }
}

/// Tells whether a supervise is about to write how a service stands.
fn is_unsaid(now: &Snapshot) -> bool {
    now.is_torn || now.is_unheard()
}

fn is_down(now: &Snapshot) -> bool {
    let Some(half) = now.half else { return !now.kept };
    if !now.kept {
        return now.life == Life::Over;
    }
    match now.phase() {
        Some(Phase::Failed) => true,
        // One that wants up is only between two lives.
        Some(Phase::Down) => half.status.pid == 0 && half.status.want != Want::Up,
        _ => false,
    }
}

/// What tells one life of a service from another.
fn moment(snapshot: &Snapshot) -> Option<(u32, ondisk::tai64n::Stamp)> {
    snapshot.half.map(|half| (half.status.pid, half.status.since))
}

/// One service that is waited for.
struct Watched<'a> {
    dir: &'a [u8],
    /// Its watch; `None` = there is no supervise folder, and none is waited for.
    watch: Option<i32>,
    ok: Option<Fd>,
    goal: Goal,
    asked_to_start: bool,
    before: Snapshot,
    now: Snapshot,
    verdict: Verdict,
    /// Somebody who read `ok` closed it.
    let_go: bool,
}

/// Why a service cannot be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwatched {
    /// Its directory cannot be entered.
    Chdir(Errno),
    /// Its supervise folder cannot be watched.
    System(Errno),
}

/// Services that are waited for together.
pub struct Waiting<'a> {
    watcher: Watcher,
    boot: Boot,
    services: Vec<Watched<'a>>,
}

impl<'a> Waiting<'a> {
    /// Begins with no service.
    ///
    /// # Errors
    /// As `inotify_init1(2)`: there is no way to be told.
    pub fn new() -> Result<Self> {
        let (watcher, boot) = (Watcher::new()?, Boot::this());
        Ok(Self { watcher, boot, services: Vec::new() })
    }

    /// Adds a service, to which no command must have been sent yet; `asked_to_start` tells whether
    /// one will be `u` or `o`. Returns its number.
    ///
    /// # Errors
    /// [`Unwatched`].
    pub fn add(
        &mut self,
        dir: &'a [u8],
        (goal, asked_to_start): (Goal, bool),
        paths: &mut Paths,
    ) -> core::result::Result<usize, Unwatched> {
        paths.set(dir).and_then(|()| paths.check()).map_err(Unwatched::Chdir)?;
        let (watch, ok) = self.watch(paths).map_err(Unwatched::System)?;
        let now = Snapshot::take(paths, &self.boot);
        let verdict = Verdict::Pending;
        let (before, let_go) = (now, false);
        self.services.push(Watched {
            dir,
            watch,
            ok,
            goal,
            asked_to_start,
            before,
            now,
            verdict,
            let_go,
        });
        Ok(self.services.len() - 1)
    }

    fn watch(&self, paths: &mut Paths) -> Result<(Option<i32>, Option<Fd>)> {
        // Before the first look, so that nothing falls between.
        let what = APPEARED | CHANGED | OPENED | READER_CLOSED;
        let watch = match self.watcher.add(paths.in_folder(c""), what) {
            Ok(watch) => Some(watch),
            Err(Errno(libc::ENOENT | libc::ENOTDIR)) => None,
            Err(why) => return Err(why),
        };
        Ok((watch, hold_ok(paths)?))
    }

    /// From now on waits for something else of a service: `before` is how it stands now. A command
    /// is sent behind this.
    pub fn aim(&mut self, i: usize, goal: Goal, asked_to_start: bool, paths: &mut Paths) {
        let Some(service) = self.services.get_mut(i) else { return };
        if paths.set(service.dir).is_ok() {
            service.now = Snapshot::take(paths, &self.boot);
            service.ok = hold_ok(paths).ok().flatten();
        }
        service.before = service.now;
        (service.goal, service.asked_to_start) = (goal, asked_to_start);
        (service.verdict, service.let_go) = (Verdict::Pending, false);
    }

    /// Returns how a service stood when it was added or aimed at, and how it was seen last.
    #[must_use]
    pub fn seen(&self, i: usize) -> Option<(&Snapshot, &Snapshot)> {
        self.services.get(i).map(|service| (&service.before, &service.now))
    }

    /// Returns how far a service is from its goal, as it was seen last.
    #[must_use]
    pub fn verdict(&self, i: usize) -> Verdict {
        self.services.get(i).map_or(Verdict::Pending, |service| service.verdict)
    }

    /// Waits until all are settled or `deadline` (monotonic nanoseconds, `None` = for ever) is
    /// over, and tells `each` service's verdict; [`Verdict::Pending`] = time is over.
    ///
    /// # Errors
    /// As poll(2).
    pub fn finish(
        mut self,
        paths: &mut Paths,
        deadline: Option<u64>,
        mut each: impl FnMut(&[u8], Goal, Verdict),
    ) -> Result<()> {
        self.look_at_all(paths);
        while self.services.iter().any(|service| service.verdict == Verdict::Pending) {
            let left = deadline.map(|deadline| deadline.saturating_sub(time::monotonic()));
            if left == Some(0) {
                break;
            }
            let mut fds = Vec::new();
            self.interests(&mut fds);
            fd::poll(&mut fds, left)?;
            self.hear(&fds, paths);
        }
        for service in &self.services {
            each(service.dir, service.goal, service.verdict);
        }
        Ok(())
    }

    /// Looks at each service that is not settled.
    pub fn look_at_all(&mut self, paths: &mut Paths) {
        for i in 0..self.services.len() {
            self.look(i, paths);
        }
    }

    /// Appends what is to be polled: one more descriptor than there are services.
    pub fn interests(&self, fds: &mut Vec<PollFd>) {
        fds.push(PollFd::readable(self.watcher.raw()));
        fds.extend(self.services.iter().map(|service| match (&service.ok, service.verdict) {
            (Some(ok), Verdict::Pending) => PollFd::hung_up(ok.raw()),
            _ => PollFd::none(),
        }));
    }

    /// Looks at whom something happened to; `fds` begin with those of [`Waiting::interests`].
    pub fn hear(&mut self, fds: &[PollFd], paths: &mut Paths) {
        let services = &mut self.services;
        let mut changed: Vec<_> =
            fds.iter().skip(1).take(services.len()).map(PollFd::is_ready).collect();
        self.watcher.reports(|report| {
            let lost = report.what & LOST != 0;
            let let_go = lost || report.what & READER_CLOSED != 0 && report.name == OK.to_bytes();
            // Our own looks close files, too, and svstat's: they are no reason to look again.
            let counts =
                let_go || report.what & (APPEARED | CHANGED) != 0 && is_telling(report.name);
            // A supervise opens it last of all. While it has no reader, we cannot have opened it.
            let opened = report.what & OPENED != 0 && report.name == OK.to_bytes();
            let overflow = report.what & OVERFLOW != 0;
            for (service, changed) in services.iter_mut().zip(&mut changed) {
                let this = service.watch == Some(report.watch);
                service.let_go |= this && let_go;
                *changed |= this && (counts || opened && !service.now.kept) || overflow;
            }
        });
        for (i, _) in changed.iter().enumerate().filter(|(_, changed)| **changed) {
            self.look(i, paths);
        }
    }

    /// Looks at a service, if it is not settled.
    pub fn look(&mut self, i: usize, paths: &mut Paths) {
        let Some(service) = self.services.get_mut(i) else { return };
        if service.verdict != Verdict::Pending {
            return;
        }
        let mut now = match paths.set(service.dir) {
            Ok(()) => Snapshot::take(paths, &self.boot),
            Err(_) => Snapshot { kept: false, half: None, record: None, ..service.before },
        };
        let gone = supervise_was_replaced(service, &now);
        if service.goal == Goal::Finished {
            // Another supervise may have come at once; that one is not what was waited for.
            now.kept &= !gone;
        }
        service.verdict = judge(service.goal, &service.before, &now, service.asked_to_start);
        if !now.kept {
            service.ok = None;
        }
        service.now = now;
    }
}

/// Opens `ok`, which tells by its hang-up that its last reader is gone; `None` = it has none.
fn hold_ok(paths: &mut Paths) -> Result<Option<Fd>> {
    match observe::open_ok(paths) {
        Err(Errno(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        answer => answer,
    }
}

/// Tells whether a file of the supervise folder says something of the service.
fn is_telling(name: &[u8]) -> bool {
    [STATUS, RECORD, OK].iter().any(|telling| telling.to_bytes() == name)
}

/// Tells whether the supervise of `before` has let go, although another may be there by now.
fn supervise_was_replaced(service: &Watched<'_>, now: &Snapshot) -> bool {
    // One that replaced itself by the program now on disk has the same pid, and let nothing go.
    let keeper = |snapshot: &Snapshot| snapshot.record.map(|record| record.supervisor.pid);
    match (keeper(&service.before), keeper(now)) {
        (Some(before), Some(now)) => before != now,
        _ => service.let_go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Half;
    use ondisk::record::{Identity, Record};
    use ondisk::status::{State, Status};
    use ondisk::tai64n::Stamp;

    /// A service that was started or stopped at second `since`.
    fn at(since: i64, pid: u32, want: Want) -> Snapshot {
        let status = Status { since: Stamp::from_unix(since, 0), pid, paused: false, want };
        Snapshot {
            kept: true,
            half: Some(Half { status, state: None }),
            record: None,
            life: if pid == 0 { Life::Over } else { Life::Certain },
            is_torn: false,
        }
    }

    fn left(snapshot: Snapshot) -> Snapshot {
        Snapshot { kept: false, life: Life::Over, ..snapshot }
    }

    #[test]
    fn a_service_is_up_while_its_process_lives() {
        let up = at(1, 7, Want::Up);
        let down = at(2, 0, Want::Up);
        for goal in [Goal::Up, Goal::Ready] {
            assert_eq!(judge(goal, &up, &up, false), Verdict::Reached);
            assert_eq!(judge(goal, &up, &down, false), Verdict::Pending);
            let dead = Snapshot { life: Life::Over, ..up };
            assert_eq!(judge(goal, &up, &dead, false), Verdict::Pending);
            assert!(matches!(judge(goal, &up, &left(up), false), Verdict::Impossible(_)));
        }
    }

    #[test]
    fn a_service_that_wants_up_is_never_down_for_long() {
        let up = at(1, 7, Want::Up);
        assert_eq!(judge(Goal::Down, &up, &at(2, 0, Want::Up), false), Verdict::Pending);
        for want in [Want::Down, Want::Once] {
            assert_eq!(judge(Goal::Down, &up, &at(2, 0, want), false), Verdict::Reached);
        }
        assert_eq!(judge(Goal::Down, &up, &left(at(2, 0, Want::Up)), false), Verdict::Reached);
        for life in [Life::Certain, Life::Unsure] {
            let orphan = Snapshot { kept: false, life, ..up };
            assert!(matches!(judge(Goal::Down, &up, &orphan, false), Verdict::Impossible(_)));
        }
    }

    #[test]
    fn restarted_is_another_life() {
        let before = at(1, 7, Want::Up);
        assert_eq!(judge(Goal::Restarted, &before, &before, false), Verdict::Pending);
        assert_eq!(judge(Goal::Restarted, &before, &at(2, 0, Want::Up), false), Verdict::Pending);
        // The kernel may give the same pid again.
        assert_eq!(judge(Goal::Restarted, &before, &at(2, 7, Want::Up), false), Verdict::Reached);
        assert_eq!(judge(Goal::Restarted, &before, &at(2, 8, Want::Up), false), Verdict::Reached);
    }

    #[test]
    fn a_life_has_ended_whatever_came_next() {
        let up = at(1, 7, Want::Up);
        assert_eq!(judge(Goal::Ended, &up, &up, false), Verdict::Pending);
        for next in [at(2, 0, Want::Up), at(2, 8, Want::Up), left(up)] {
            assert_eq!(judge(Goal::Ended, &up, &next, false), Verdict::Reached);
        }
        // Status and record are written one after the other.
        let torn = Snapshot { is_torn: true, ..at(2, 0, Want::Up) };
        assert_eq!(judge(Goal::Ended, &up, &torn, false), Verdict::Pending);
        // Its process is dead, and its supervise has not reaped it: how it ended is not known yet.
        let dead = Snapshot { life: Life::Over, ..up };
        assert_eq!(judge(Goal::Ended, &up, &dead, false), Verdict::Pending);
    }

    #[test]
    fn a_supervise_that_is_not_there_yet_may_come() {
        let up = at(1, 7, Want::Up);
        assert_eq!(judge(Goal::Kept, &left(up), &left(up), false), Verdict::Pending);
        assert_eq!(judge(Goal::Kept, &left(up), &up, false), Verdict::Reached);
    }

    #[test]
    fn finished_is_when_supervise_has_let_go() {
        let up = at(1, 7, Want::Up);
        assert_eq!(judge(Goal::Finished, &up, &at(2, 0, Want::Down), false), Verdict::Pending);
        assert_eq!(judge(Goal::Finished, &up, &left(up), false), Verdict::Reached);
    }

    #[test]
    fn a_failed_service_never_comes_up_unless_it_was_just_asked_to() {
        let state = |snapshot: Snapshot, state: State| Snapshot {
            half: snapshot.half.map(|half| Half { state: Some(state as u8), ..half }),
            ..snapshot
        };
        let failed = state(at(1, 0, Want::Up), State::Failed);
        assert!(matches!(judge(Goal::Up, &failed, &failed, false), Verdict::Impossible(_)));
        assert_eq!(judge(Goal::Up, &failed, &failed, true), Verdict::Pending);
        let again = state(at(2, 0, Want::Up), State::Failed);
        assert!(matches!(judge(Goal::Up, &failed, &again, true), Verdict::Impossible(_)));
        assert_eq!(judge(Goal::Down, &failed, &failed, false), Verdict::Reached);
        let oneshot = state(at(2, 0, Want::Up), State::Started);
        assert_eq!(judge(Goal::Up, &failed, &oneshot, true), Verdict::Reached);
    }

    #[test]
    fn a_service_is_ready_when_its_record_says_so() {
        let up = at(1, 7, Want::Up);
        let who = Identity { pid: 7, alive_at: 2 };
        let record = Record {
            process: who,
            since: Stamp::from_unix(1, 0),
            phase: Phase::Running,
            ..Record::new([0; 16], who)
        };
        let silent = Snapshot { record: Some(record), ..up };
        assert_eq!(judge(Goal::Ready, &up, &silent, false), Verdict::Pending);
        assert_eq!(judge(Goal::Up, &up, &silent, false), Verdict::Reached);
        let said = Record { ready: Some(Stamp::from_unix(2, 0)), ..record };
        let ready = Snapshot { record: Some(said), ..up };
        assert_eq!(judge(Goal::Ready, &up, &ready, false), Verdict::Reached);
        // A supervise that keeps no record could not be told.
        assert_eq!(judge(Goal::Ready, &up, &up, false), Verdict::Reached);
    }

    #[test]
    fn every_goal_has_a_word() {
        for (word, goal) in Goal::ALL {
            assert_eq!((Goal::from_word(word.as_bytes()), goal.word()), (Some(goal), word));
        }
        assert_eq!(Goal::from_word(b"gone"), None);
    }
}
