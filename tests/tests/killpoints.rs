//! kill -9 of supervise at every system call: the next one finds exactly one service, or none and
//! starts it. crates/supervise/README.md lists the points.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use ondisk::record::Record;
use ondisk::status::Want;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::calls::{self, Call};
use testkit::keeper::{self, Keeper, is_alive, record, send, status, supervise};
use testkit::scratch::is_supervised;
use testkit::wait::holds_within;
use testkit::{Scratch, until};

/// Points that are tried when `SKYNET_LONG` does not ask for all.
const SPREAD: usize = 64;

fn service(scratch: &Scratch, name: &str, program: &str) -> PathBuf {
    let here = scratch.join(name);
    let here = here.display();
    scratch.service(
        name,
        &format!(
            "#!/bin/sh\nexec 9>>{here}/copy\nflock -n 9 || echo $$ >>{here}/twice\nexec {program}\n"
        ),
    )
}

fn pid(dir: &Path) -> i32 {
    status(dir).map_or(0, |s| s.pid.cast_signed())
}

/// Waits for `condition`; `false` = supervise died before.
fn unless_killed(keeper: &mut Keeper, mut condition: impl FnMut() -> bool) -> bool {
    let mut dead = false;
    until(30, || {
        dead = keeper.ended().is_some();
        dead || condition()
    });
    !dead
}

/// A life with everything in it: start, death and restart, `d`, `u`, replacement, `p`, `x`.
fn live(keeper: &mut Keeper, dir: &Path) -> Killed {
    if let Err(killed) = live_till_told_to_end(keeper, dir) {
        return killed;
    }
    // svscan's kind would come back in three seconds: TERM ends both for good.
    let _ = linux::signal::kill(keeper.pid(), 15);
    until(30, || keeper.ended().is_some());
    let proper = keeper.ended().is_some_and(|status| status.success());
    if proper { Killed::Never } else { Killed::Ending }
}

/// When supervise was killed.
#[derive(Debug, PartialEq, Eq)]
enum Killed {
    /// Before it was told anything: the service is to run.
    Living,
    /// Perhaps after `d` or `p`, and before `u` or `c`.
    Told,
    Ending,
    Never,
}

fn live_till_told_to_end(keeper: &mut Keeper, dir: &Path) -> Result<(), Killed> {
    let try_send = |keeper: &mut Keeper, byte: &[u8]| {
        // It may die in between: then nobody reads, and nobody is waited for.
        keeper.ended().is_none() && keeper::try_send(dir, byte).is_ok()
    };
    if !unless_killed(keeper, || is_supervised(dir) && is_alive(pid(dir))) {
        return Err(Killed::Living);
    }
    let first = pid(dir);
    keeper::kill9(first);
    if !unless_killed(keeper, || pid(dir) != first && is_alive(pid(dir))) {
        return Err(Killed::Living);
    }
    try_send(keeper, b"d");
    if !unless_killed(keeper, || pid(dir) == 0) {
        return Err(Killed::Told);
    }
    try_send(keeper, b"u");
    // Its script is over before it is paused: what counts copies looks for the program.
    let program = || fs::read_to_string(format!("/proc/{}/comm", pid(dir))).unwrap_or_default();
    if !unless_killed(keeper, || is_alive(pid(dir)) && program() == "sleep\n") {
        return Err(Killed::Told);
    }
    let born = record(dir).unwrap().supervisor.alive_at;
    let _ = linux::signal::kill(keeper.pid(), 1);
    if !unless_killed(keeper, || record(dir).is_some_and(|r| r.supervisor.alive_at > born)) {
        return Err(Killed::Told);
    }
    try_send(keeper, b"p");
    let paused = unless_killed(keeper, || status(dir).is_some_and(|s| s.paused));
    if paused { Ok(()) } else { Err(Killed::Told) }
}

/// Starts supervise as svscan does: again and again, for as long as it ends. That `ok` is open says
/// nothing yet: a child that is about to run its program has a copy of it, and of the lock.
fn start_again(scratch: &Scratch, dir: &Path, paired: bool) -> Keeper {
    let mut keeper = Keeper::spawn(dir, &mut supervise(scratch, "web", paired));
    until(30, || {
        if keeper.ended().is_some() {
            keeper = Keeper::spawn(dir, &mut supervise(scratch, "web", paired));
        }
        let its = |record: Record| record.supervisor.pid.cast_signed() == keeper.pid();
        is_supervised(dir) && record(dir).is_some_and(its)
    });
    keeper
}

fn copies(scratch: &Scratch, dir: &Path, program: &str) -> Vec<i32> {
    let runs = |pid: &i32| {
        let at = |what: &str| fs::read_link(format!("/proc/{pid}/{what}")).ok();
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        at("cwd").as_deref() == Some(dir) && name.trim() == program && is_alive(*pid)
    };
    scratch.processes().into_iter().filter(runs).collect()
}

/// Told to end and killed on the way: the next goes on with that, or was never told.
fn ends_or_keeps_one(scratch: &Scratch, dir: &Path, point: &Call, paired: bool) {
    let mut next = Keeper::spawn(dir, &mut supervise(scratch, "web", paired));
    let settled = || {
        let running = copies(scratch, dir, "sleep");
        let ended = next.ended().is_some_and(|status| status.success());
        (ended && running.is_empty())
            || running == [pid(dir)]
            || (pid(dir) == 0 && running.is_empty())
    };
    assert!(
        holds_within(Duration::from_secs(15), settled),
        "{point:?}: {:?}, {:?}, {}",
        copies(scratch, dir, "sleep"),
        record(dir),
        fs::read_to_string(scratch.join("web.messages")).unwrap_or_default()
    );
    assert!(!dir.join("twice").exists(), "{point:?}");
}

/// Kills supervise as it makes this call. Returns `false` where it ended before.
fn one_copy_after(point: &Call, paired: bool) -> bool {
    let scratch = Scratch::new();
    let dir = service(&scratch, "web", "sleep 1000000");
    let log = dir.join("log");
    if paired {
        service(&scratch, "web/log", "cat");
    }
    let rule = format!("{}:signal=KILL:when={}", point.0, point.1);
    let mut command = keeper::injected(&scratch, &[&rule], false, "web", paired);
    let mut keeper = Keeper::spawn(&dir, &mut command);
    let killed = live(&mut keeper, &dir);
    drop(keeper);
    match killed {
        Killed::Never => return false,
        Killed::Ending => {
            ends_or_keeps_one(&scratch, &dir, point, paired);
            return true;
        }
        Killed::Living | Killed::Told => {}
    }
    let keeper = start_again(&scratch, &dir, paired);
    if killed == Killed::Told {
        send(&dir, b"cu");
    }
    let once = |dir: &Path, program: &str| {
        // Until the new supervise has heard `u`, what was killed on its way to `d` may still run.
        let kept = |record: Record| {
            record.supervisor.pid.cast_signed() == keeper.pid()
                && record.process.pid.cast_signed() == pid(dir)
                && record.want == Want::Up
        };
        let once = || copies(&scratch, dir, program) == [pid(dir)] && record(dir).is_some_and(kept);
        assert!(
            holds_within(Duration::from_secs(15), once),
            "{point:?}: {program} runs as {:?}, {:?}",
            copies(&scratch, dir, program),
            (record(dir), status(dir))
        );
        assert!(!dir.join("twice").exists(), "two copies after {point:?}");
    };
    once(&dir, "sleep");
    if paired {
        once(&log, "cat");
    }
    true
}

/// Returns the system calls of a life that nobody ends.
fn points(paired: bool) -> Vec<Call> {
    let scratch = Scratch::new();
    let dir = service(&scratch, "web", "sleep 1000000");
    if paired {
        service(&scratch, "web/log", "cat");
    }
    let trace = scratch.join("trace");
    let trace = trace.to_str().unwrap();
    let wrapper = ["strace", "-D", "-q", "-o", trace];
    let mut command = keeper::under(&scratch, &wrapper, "web", paired);
    let mut keeper = Keeper::spawn(&dir, &mut command);
    let ended = live(&mut keeper, &dir);
    assert_eq!(ended, Killed::Never, "{:?}", fs::read_to_string(scratch.join("web.messages")));
    let calls = || fs::read_to_string(trace).unwrap_or_default();
    until(10, || calls().contains("exit_group"));
    calls::of(&calls())
}

fn at_many_points(paired: bool) {
    let points = points(paired);
    let count = points.len();
    assert!(count > 100, "{count} system calls are no life");
    let all = std::env::var_os("SKYNET_LONG").is_some();
    let tried = if all { count } else { SPREAD };
    let points: Vec<Call> = (0..tried).map(|i| points[i * count / tried].clone()).collect();
    let died = AtomicUsize::new(0);
    calls::each_at_once(&points, |point| {
        if one_copy_after(point, paired) {
            died.fetch_add(1, Ordering::Relaxed);
        }
    });
    // Lives differ by a few calls: a wait more or less.
    let died = died.into_inner();
    assert!(died >= tried * 8 / 10, "killed only at {died} of {tried} points");
}

#[test]
fn wherever_a_plain_supervise_is_killed_the_next_keeps_exactly_one_service() {
    at_many_points(false);
}

#[test]
fn wherever_a_pair_s_supervise_is_killed_the_next_keeps_one_service_and_one_logger() {
    at_many_points(true);
}

/// The record that the child wrote says what was wanted when it was started, too.
#[test]
fn a_supervise_killed_before_a_start_is_published_leaves_a_service_that_is_wanted_up() {
    // The first life; a later one, told to go up.
    for (down, write) in [(false, 1), (true, 3)] {
        let scratch = Scratch::new();
        let dir = service(&scratch, "web", "sleep 1000000");
        if down {
            fs::write(dir.join("down"), "").unwrap();
        }
        let rule = format!("pwrite64:signal=KILL:when={write}");
        let mut command = keeper::injected(&scratch, &[&rule], false, "web", false);
        let mut keeper = Keeper::spawn(&dir, &mut command);
        if down {
            until(20, || is_supervised(&dir));
            send(&dir, b"u");
        }
        keeper.end_within(20);
        let keeper = start_again(&scratch, &dir, false);
        let first = keeper.service();
        assert_eq!(record(&dir).unwrap().want, Want::Up);
        assert!(record(&dir).unwrap().adopted);
        keeper::kill9(first);
        until(20, || pid(&dir) != first && is_alive(pid(&dir)));
        assert!(!dir.join("twice").exists());
    }
}

/// The child holds the lock until it runs its program, and then it has written its record.
#[test]
fn a_supervise_killed_while_its_child_is_about_to_run_leaves_no_room_for_a_second_copy() {
    for (paired, slow) in [(false, "setsid"), (true, "pwrite64"), (false, "execve")] {
        let scratch = Scratch::new();
        let dir = service(&scratch, "web", "sleep 1000000");
        // The first execve of a child; supervise's own comes before.
        let rule = format!("{slow}:delay_enter=1500000:when=1");
        let mut command = keeper::injected(&scratch, &[&rule], true, "web", paired);
        let keeper = Keeper::spawn(&dir, &mut command);
        until(20, || !keeper::children(keeper.pid()).is_empty() || pid(&dir) != 0);
        keeper.kill9();
        let keeper = start_again(&scratch, &dir, paired);
        until(10, || is_alive(pid(&dir)));
        until(10, || copies(&scratch, &dir, "sleep") == [pid(&dir)]);
        assert!(!dir.join("twice").exists(), "slow {slow}");
        drop(keeper);
    }
}

#[test]
fn a_child_killed_before_it_runs_its_program_is_tried_again() {
    let scratch = Scratch::new();
    let dir = service(&scratch, "web", "sleep 1000000");
    let rules = ["setsid:signal=KILL"];
    let keeper = Keeper::start(&dir, &mut keeper::injected(&scratch, &rules, true, "web", false));
    until(20, || record(&dir).is_some_and(|r| r.restarts >= 2));
    keeper.heal();
    let once = || is_alive(pid(&dir)) && copies(&scratch, &dir, "sleep") == [pid(&dir)];
    assert!(holds_within(Duration::from_secs(10), once), "{:?}", record(&dir));
}
