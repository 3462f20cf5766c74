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
    let mut exo = with_daemon(Plan::new(), 2, "1000000");
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
    let second = Plan::new().with(&format!("base={base}")).start(SLEEPER);
    assert!(second.said().contains("no cgroups"), "{}", second.said());
    second.end();
    assert!(is_alive(pid));
    exo.end();
}
