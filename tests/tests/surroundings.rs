//! Lost standard descriptors, vanished folders, clocks that jump: supervise neither dies nor spins.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Stdio};
use testkit::keeper::{
    self, Keeper, is_alive, kill9, processor_ticks, record, running, send, status, supervise,
    until_down,
};
use testkit::scratch::{SLEEPER, script};
use testkit::{Scratch, program, run, until};

const SECOND: u64 = 1_000_000_000;

/// Fails where supervise needs more than 2 % of the processor for three seconds.
fn assert_calm(keeper: &Keeper) {
    let (from, ticks) = (linux::time::monotonic(), processor_ticks(keeper.pid()).unwrap());
    until(30, || linux::time::monotonic() > from + 3 * SECOND);
    let used = processor_ticks(keeper.pid()).unwrap() - ticks;
    let age = (linux::time::monotonic() - from) / SECOND;
    assert!(used <= 2 * age, "{used} ticks in {age} s");
}

/// `supervise_stderr_gone`
#[test]
fn nobody_reading_its_messages_is_no_reason_to_die() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    fs::rename(dir.join("run"), dir.join("aside")).unwrap();
    let mut command = supervise(&scratch, "web", false);
    let mut keeper = Keeper::spawn(&dir, command.stderr(Stdio::piped()).stdout(Stdio::null()));
    drop(keeper.take_stderr());
    until(10, || record(&dir).is_some());
    assert_calm(&keeper);
    fs::rename(dir.join("aside"), dir.join("run")).unwrap();
    running(&dir);
    assert!(keeper.ended().is_none());
}

/// `supervise_closed_stdio`
#[test]
fn closed_standard_descriptors_are_filled_and_no_file_lands_there() {
    for closed in ["<&- >&- 2>&-", "<&-", ">&-", "2>&-"] {
        let scratch = Scratch::new();
        let dir = scratch.service("web", SLEEPER);
        let shell = format!("exec \"$@\" {closed}");
        let mut command = keeper::under(&scratch, &["sh", "-c", &shell, "sh"], "web", false);
        let keeper = Keeper::start(&dir, &mut command);
        let pid = keeper.service();
        for fd in 0..3 {
            let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
            let ours = target.starts_with(&dir);
            assert!(!ours, "{closed}: {fd} is {}", target.display());
        }
        send(&dir, b"d");
        until_down(&dir);
        fs::remove_file(dir.join("run")).unwrap();
        send(&dir, b"u");
        until(10, || status(&dir).unwrap().want == ondisk::status::Want::Up);
        assert!(record(&dir).is_some(), "messages went into a file of its own");
    }
}

/// `service_dir_removed`
#[test]
fn a_removed_service_directory_neither_ends_nor_spins_supervise() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let mut keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    fs::remove_dir_all(&dir).unwrap();
    kill9(pid);
    assert_calm(&keeper);
    assert!(keeper.ended().is_none());
    keeper.signal(15);
    assert_eq!(keeper.end_within(10).code(), Some(0));
}

#[test]
fn a_removed_supervise_folder_costs_neither_restarts_nor_log_lines() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", "#!/bin/sh\necho $$ | tee -a starts\nexec sleep 1000000\n");
    let lines = scratch.join("lines");
    let _ = scratch.service("web/log", &format!("#!/bin/sh\nexec cat >>{}\n", lines.display()));
    let keeper = Keeper::pair(&scratch, "web");
    let read = |path: &std::path::Path| fs::read_to_string(path).unwrap_or_default();
    until(10, || read(&lines).lines().count() == 1);
    fs::remove_dir_all(dir.join("supervise")).unwrap();
    let pid: i32 = read(&dir.join("starts")).trim().parse().unwrap();
    kill9(pid);
    until(10, || read(&lines).lines().count() == 2);
    let last = || read(&dir.join("starts")).lines().last().unwrap().parse::<i32>().unwrap();
    // `tee` writes to the pipe first.
    until(10, || last() != pid && is_alive(last()));
    assert_calm(&keeper);
}

/// `clock_back_supervise`: to supervise a clock that was set back is a world whose stamps all lie
/// in the future.
#[test]
fn stamps_from_a_clock_that_jumped_delay_nothing() {
    for jump in [3_600_i64, -3_600, 86_400 * 365, -86_400 * 365] {
        let scratch = Scratch::new();
        let dir = scratch.service("web", SLEEPER);
        let keeper = Keeper::plain(&scratch, "web");
        let pid = keeper.service();
        keeper.kill9();
        let mut old = record(&dir).unwrap();
        let moved = old.since.seconds.checked_add_signed(jump).unwrap();
        old.since.seconds = moved;
        old.ready = Some(old.since);
        old.died = Some(old.since);
        fs::write(dir.join("supervise/record"), old.to_bytes()).unwrap();
        let keeper = Keeper::plain(&scratch, "web");
        assert_eq!(keeper.service(), pid);
        assert_eq!(status(&dir).unwrap().since.seconds, moved);
        send(&dir, b"p");
        until(10, || status(&dir).unwrap().paused);
        kill9(pid);
        until(10, || running(&dir) != pid);
        let now = status(&dir).unwrap().since.unix_seconds();
        assert!(now.abs_diff(linux::time::wall().0) < 60, "stamps are of the clock as it is");
        send(&dir, b"d");
        until_down(&dir);
    }
}

/// The clocks that count from the boot, which are all that delays and records go by, jump between
/// two supervises by eleven days, forth and back: the second has time namespaces of its own.
#[test]
fn clocks_that_jump_between_two_supervises_cost_no_second_copy_and_no_delay() {
    const AHEAD: [&str; 6] =
        ["unshare", "--time", "--monotonic", "1000000", "--boottime", "1000000"];
    let scratch = Scratch::new();
    // Nothing but the record tells of a service that has left its directory.
    let dir = scratch.service("web", "#!/bin/sh\necho >>starts\ncd ..\nexec sleep 1000000\n");
    let starts = || fs::read(dir.join("starts")).map_or(0, |starts| starts.len());
    let keeper = Keeper::plain(&scratch, "web");
    let mut pid = keeper.service();
    until(10, || starts() == 1);
    keeper.kill9();
    for (lives, wrapper) in [&AHEAD[..], &[], &AHEAD].into_iter().enumerate() {
        let mut command = keeper::under(&scratch, wrapper, "web", false);
        let keeper = Keeper::start(&dir, &mut command);
        let clocks = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/time")).unwrap();
        let ours = clocks(std::process::id().cast_signed());
        assert_eq!(clocks(keeper.pid()) == ours, wrapper.is_empty());
        assert!(record(&dir).unwrap().adopted);
        assert_eq!((running(&dir), starts()), (pid, 1 + lives));
        for wrapper in [&["env"][..], &AHEAD] {
            let mut svstat = Command::new(wrapper[0]);
            svstat.args(&wrapper[1..]).arg(program("svstat")).arg("--json").arg(&dir);
            let told = run(&mut svstat).out();
            assert!(told.contains(&format!("\"up\":true,\"pid\":{pid},")), "{told}");
            assert!(told.contains("\"adopted\":true"), "{told}");
        }
        kill9(pid);
        until(10, || starts() == 2 + lives && running(&dir) != pid);
        pid = running(&dir);
        keeper.kill9();
    }
}

/// Every wait is one ppoll with a time that counts from now, which the kernel measures by the
/// monotonic clock: nothing sleeps until a time of day.
#[test]
fn no_wait_depends_on_the_wall_clock_and_none_is_longer_than_needed() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", "#!/bin/sh\necho >>starts\nexit 1\n");
    let trace = scratch.join("trace");
    let wrapper = ["strace", "-D", "-q", "-o", trace.to_str().unwrap()];
    let keeper = Keeper::start(&dir, &mut keeper::under(&scratch, &wrapper, "web", false));
    until(20, || fs::read(dir.join("starts")).is_ok_and(|s| s.len() >= 3));
    script(&dir.join("run"), SLEEPER);
    let pid = running(&dir);
    until(10, || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "sleep\n"));
    let calls = || fs::read_to_string(&trace).unwrap();
    until(10, || {
        calls().lines().last().is_some_and(|l| l.contains("ppoll(") && l.contains("NULL"))
    });
    let timers = ["timerfd", "timer_create", "setitimer", "alarm(", "nanosleep", "select("];
    for line in calls().lines() {
        assert!(!timers.iter().any(|timer| line.contains(timer)), "{line}");
        if let Some((_, time)) = line.split_once("{tv_sec=") {
            let seconds: u64 = time.split(',').next().unwrap().parse().unwrap();
            assert!(seconds <= 1, "{line}");
        }
    }
    drop(keeper);
}
