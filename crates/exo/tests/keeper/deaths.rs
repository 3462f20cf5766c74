//! Whoever dies takes the others along.

use crate::exo::{Exo, Plan, cgroup, is_alive};
use std::fs;
use sys::linux::signal;
use testkit::until;

const SLEEPER: &[&str] = &["sleep", "1000000"];

/// Starts a process that leaves its parent, its group and its session, says its pid, and ends after
/// so many seconds.
const DAEMON: &str = "
    pid=$(setsid sh -c '(setsid sh -c \"echo \\$\\$; exec sleep 1000000 > /dev/null\" &)')
    echo left $pid
    exec sleep $1";

/// A filter may know no call that makes a process in its cgroup, so that it has to go there.
const UNKNOWN: [&str; 4] = ["strace", "-fqq", "-o/dev/null", "-einject=clone3:error=ENOSYS"];

fn left_behind(exo: &Exo, instance: u16) -> i32 {
    let pid = || {
        let out = exo.out(instance);
        let line = out.lines().find_map(|line| line.strip_prefix("left "))?.to_owned();
        line.parse().ok()
    };
    until(30, || pid().is_some());
    pid().unwrap()
}

/// It stands elsewhere, so that it is not the test's folder that kills what it leaves.
fn with_daemon(plan: Plan, instances: u16, seconds: &str) -> Exo {
    let plan = plan.with(&format!("instances={instances}")).with("directory=/");
    plan.start(&["sh", "-c", DAEMON, "sh", seconds])
}

#[test]
fn a_killed_keeper_takes_participants_along_and_the_worker_sees_its_end() {
    let mut exo = Plan::new().with("instances=2").start(SLEEPER);
    let pids = [exo.start(0, 1), exo.start(1, 2)];
    signal::kill(exo.keeper, 9).unwrap();
    until(30, || !pids.iter().any(|pid| is_alive(*pid)));
    assert_eq!(exo.line(), "end");
}

#[test]
fn a_killed_worker_takes_participants_and_keeper_along() {
    let mut exo = Plan::new().with("instances=2").start(SLEEPER);
    let pids = [exo.start(0, 1), exo.start(1, 2)];
    signal::kill(exo.worker, 9).unwrap();
    assert_eq!(exo.code(), Some(111));
    assert!(!pids.iter().any(|pid| is_alive(*pid)));
    assert!(
        exo.said().ends_with("exo: fatal: the worker was killed by signal 9\n"),
        "{}",
        exo.said()
    );
}

#[test]
fn a_worker_that_ends_with_a_report_unread_is_told_by_its_end_alone() {
    let mut exo = Plan::new().with("instances=2").start(SLEEPER);
    let pids = [exo.start(0, 1), exo.start(1, 2)];
    signal::kill(exo.worker, 19).unwrap();
    signal::kill(pids[0], 9).unwrap();
    // Its end is reported as soon as it is reaped: another one still runs.
    until(30, || !std::path::Path::new(&format!("/proc/{}", pids[0])).exists());
    signal::kill(exo.worker, 9).unwrap();
    assert_eq!(exo.code(), Some(111));
    assert_eq!(exo.said(), "exo: fatal: the worker was killed by signal 9\n");
}

#[test]
fn the_workers_exit_code_is_exos_and_zero_only_counts_when_it_was_told() {
    let mut exo = Plan::new().start(SLEEPER);
    exo.tell("exit 100");
    assert_eq!(exo.code(), Some(100));
    let mut exo = Plan::new().start(SLEEPER);
    exo.tell("exit 0");
    assert_eq!(exo.code(), Some(111));
    assert!(exo.said().contains("exo: fatal: the worker ended without being told to"));
}

#[test]
fn a_participants_group_dies_with_it() {
    let mut exo = Plan::new().start(&["sh", "-c", "sleep 1000000 & echo left $!; kill -9 $$"]);
    exo.start(0, 1);
    assert_eq!(exo.ended(0, 1).0, "Signal(9)");
    let pid = left_behind(&exo, 0);
    until(30, || !is_alive(pid));
    exo.end();
}

#[test]
fn what_left_its_parent_group_and_session_is_dead_before_the_end_is_told() {
    for plan in [Plan::new(), Plan::new().without_cgroups()] {
        let mut exo = with_daemon(plan, 1, "0");
        exo.start(0, 1);
        assert_eq!(exo.ended(0, 1).0, "Code(0)");
        assert!(!is_alive(left_behind(&exo, 0)));
        exo.end();
    }
}

#[test]
fn what_left_its_parent_dies_with_it_while_another_instance_runs() {
    for plan in [Plan::new(), Plan::new().wrapped(&UNKNOWN)] {
        let mut exo = with_daemon(plan, 2, "1000000");
        let pid = exo.start(0, 1);
        let left = left_behind(&exo, 0);
        let other = exo.start(1, 2);
        let of_other = left_behind(&exo, 1);
        signal::kill(pid, 9).unwrap();
        assert_eq!(exo.ended(0, 1).0, "Signal(9)");
        until(30, || !is_alive(left));
        assert!(is_alive(other) && is_alive(of_other));
        exo.end();
        assert!(!is_alive(of_other));
    }
}

#[test]
fn a_cgroup_in_which_all_were_killed_and_one_that_somebody_removed_are_made_again() {
    let daemon = &["sh", "-c", DAEMON, "sh", "0"][..];
    for (words, wraps) in [(daemon, &[][..]), (&["true"], &[]), (&["true"], &UNKNOWN)] {
        let mut exo = Plan::new().wrapped(wraps).with("directory=/").start(words);
        let folder = cgroup(&exo.base).expect("cgroup v2, and root").join("0");
        for serial in 1..=6 {
            exo.start(0, serial);
            assert_eq!(exo.ended(0, serial).0, "Code(0)", "{words:?}, {serial}");
            if serial > 3 {
                fs::remove_dir(&folder).unwrap();
            }
        }
        exo.end();
    }
}

#[test]
fn without_cgroups_what_left_its_parent_lives_while_another_runs_and_not_longer_than_exo() {
    let mut exo = with_daemon(Plan::new().without_cgroups(), 2, "1000000");
    let said = exo.said();
    assert!(
        said.starts_with("exo: warning: no cgroups, so what participants start may outlive exo: ")
    );
    let pid = exo.start(0, 1);
    let left = left_behind(&exo, 0);
    exo.start(1, 2);
    signal::kill(pid, 9).unwrap();
    // One whose it is cannot be told from one of the other's.
    assert_eq!(exo.ended(0, 1).0, "Signal(9)");
    assert!(is_alive(left));
    exo.tell("exit 7");
    assert_eq!(exo.code(), Some(7));
    assert!(!is_alive(left));
}

#[test]
fn the_next_keeper_kills_what_a_killed_one_left_before_it_starts_anything() {
    let mut exo = with_daemon(Plan::new(), 1, "1000000");
    exo.start(0, 1);
    let left = left_behind(&exo, 0);
    signal::kill(exo.keeper, 9).unwrap();
    assert_eq!(exo.line(), "end");
    assert!(is_alive(left), "nothing to show");
    let base = std::mem::replace(&mut exo.base, testkit::Scratch::new());
    let folder = cgroup(&base).expect("cgroup v2, and root");
    assert!(folder.join("0").exists());
    let next = Plan::within(base).start(SLEEPER);
    assert!(!is_alive(left));
    assert_eq!(next.said(), "");
    next.end_and(|| assert!(!folder.exists()));
}

#[test]
fn a_second_exo_of_the_same_store_kills_nothing_of_the_first() {
    let mut exo = Plan::new().start(SLEEPER);
    let pid = exo.start(0, 1);
    let base = exo.base.path().display().to_string();
    let same = || Plan::new().with(&format!("base={base}"));
    let mut second = same().start_only(SLEEPER);
    assert_eq!(second.code(), Some(111));
    assert!(second.said().contains(" runs it already, pid "), "{}", second.said());
    // Nor one whose control sockets are elsewhere.
    let second = same().with(&format!("run={base}/other")).start(SLEEPER);
    assert!(second.said().contains("no cgroups"), "{}", second.said());
    second.end();
    assert!(is_alive(pid));
    exo.end();
}

#[test]
fn where_processes_cannot_be_listed_it_is_said_once() {
    let script = "mount -t tmpfs none /proc && exec \"$@\"";
    let mut exo = Plan::new().wrapped(&["unshare", "-m", "sh", "-c", script, "sh"]).start(SLEEPER);
    for serial in [1, 2] {
        exo.start(0, serial);
        exo.tell(&format!("signal 0 {serial} kill"));
        assert_eq!(exo.ended(0, serial).0, "Signal(9)");
    }
    let said = exo.said();
    let warning = "exo: warning: unable to list processes, so those that a participant leaves behind \
                   live on: file does not exist\n";
    assert_eq!(said.matches(warning).count(), 1, "{said}");
    exo.end();
}

#[test]
fn nothing_dead_stays_unreaped() {
    let mut exo = Plan::new().start(&[
        "sh",
        "-c",
        "for i in 1 2 3; do (sleep 0 &); done; exec sleep 1000000",
    ]);
    exo.start(0, 1);
    until(30, || {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let keeper = exo.keeper as u32;
        let children = pids.filter(|pid| sys::linux::identity::parent(*pid) == Ok(keeper));
        children.count() == 2
    });
    exo.end();
}

#[test]
fn however_many_are_dead_orders_have_their_turn() {
    let count = 400;
    let script =
        format!("for i in $(seq {count}); do (true &); done; echo made; exec sleep 1000000");
    let mut exo = Plan::new().start(&["sh", "-c", &script]);
    exo.start(0, 1);
    signal::kill(exo.keeper, 19).unwrap();
    until(60, || exo.out(0).contains("made"));
    let trace = exo.base.join("trace");
    testkit::calls::trace(exo.keeper, &trace, &[]);
    exo.tell("ready");
    signal::kill(exo.keeper, 18).unwrap();
    exo.tell("signal 0 1 kill");
    assert_eq!(exo.ended(0, 1).0, "Signal(9)");
    let mut text = String::new();
    exo.end_and(|| text = fs::read_to_string(&trace).unwrap());
    let turns = text.split("ppoll(").map(|turn| turn.matches("wait4(").count());
    let most = turns.max().unwrap();
    assert!((1..=64).contains(&most), "{most} in a turn");
    assert!(text.matches("wait4(").count() > 64);
}

#[test]
fn term_and_kill_reach_the_group_and_only_the_start_that_is_meant() {
    let mut exo = Plan::new().start(SLEEPER);
    let pid = exo.start(0, 7);
    exo.tell("signal 0 6 kill");
    signal::kill(pid, 19).unwrap();
    // A stopped one is woken, so that it sees it.
    exo.tell("signal 0 7 term");
    assert_eq!(exo.ended(0, 7).0, "Signal(15)");
    exo.tell("signal 0 7 kill");
    exo.start(0, 8);
    exo.tell("signal 0 8 kill");
    assert_eq!(exo.ended(0, 8).0, "Signal(9)");
    exo.end();
}

#[test]
fn the_end_says_what_was_used() {
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; exit 3";
    let mut exo = Plan::new().start(&["sh", "-c", script]);
    exo.start(0, 1);
    let (how, cpu_us, peak_kib) = exo.ended(0, 1);
    assert_eq!(how, "Code(3)");
    assert!(cpu_us > 10_000 && peak_kib > 500, "{cpu_us} {peak_kib}");
    exo.end();
}

#[test]
fn a_session_heeds_no_hup_and_is_killed_where_it_is_told_to_end_again() {
    let mut exo = Plan::new().start(SLEEPER);
    let pid = exo.start(0, 1);
    for number in [1, 15] {
        signal::kill(exo.keeper, number).unwrap();
    }
    assert_eq!(exo.line(), "Shutdown");
    signal::kill(exo.keeper, 2).unwrap();
    assert_eq!(exo.code(), Some(0), "{}", exo.said());
    assert!(!is_alive(pid));
    assert!(!exo.said().contains("the worker "), "{}", exo.said());
}

#[test]
fn term_is_told_once() {
    let mut exo = Plan::new().with("drained=no").start(SLEEPER);
    exo.start(0, 1);
    for number in [15, 2, 15] {
        signal::kill(exo.keeper, number).unwrap();
    }
    assert_eq!(exo.line(), "Shutdown");
    exo.tell("signal 0 1 kill");
    assert_eq!(exo.ended(0, 1).0, "Signal(9)");
    exo.tell("exit 0");
    assert_eq!(exo.code(), Some(0), "{}", exo.said());
}

#[test]
fn a_worker_that_does_not_end_is_killed_with_all_participants() {
    let mut exo = Plan::new().with("shutdown=0").start(SLEEPER);
    let pid = exo.start(0, 1);
    signal::kill(exo.keeper, 15).unwrap();
    assert_eq!(exo.line(), "Shutdown");
    assert_eq!(exo.code(), Some(111));
    assert!(!is_alive(pid));
    assert!(
        exo.said().contains("exo: warning: the worker does not end: killed\n"),
        "{}",
        exo.said()
    );
}

#[test]
fn a_worker_that_hangs_up_and_stays_is_killed() {
    let mut exo = Plan::new().start(SLEEPER);
    let pid = exo.start(0, 1);
    exo.tell("close");
    assert_eq!(exo.code(), Some(111));
    assert!(!is_alive(pid) && !is_alive(exo.worker));
}
