//! Starts behind others, and the processes that wait for their turn.

use crate::exo::{Exo, Plan, cgroup, is_alive, open_fds, status};
use std::fs;
use std::os::unix::fs::MetadataExt;
use sys::linux::signal::{self, numbers};
use testkit::scratch::script;
use testkit::until;

const SLEEPER: &[&str] = &["sleep", "1000000"];

/// What a process is like, but for what differs from start to start: pids, sizes, times.
const TELL: &str = "#!/bin/sh
    grep -E '^(Umask|Uid|Gid|Groups|Sig|Shd|Cap|NoNewPrivs|Seccomp)' /proc/self/status
    cat /proc/self/limits
    cut -d' ' -f6 /proc/$$/stat | grep -qx $$ && echo session
    cut -d' ' -f5 /proc/$$/stat | grep -qx $$ && echo group
    ls /proc/$$/fd
    pwd
    env | grep -v ^SKYNET_ | sort
    env | grep ^SKYNET_ | sort
    sed 's/[0-9]*b*$//' /proc/self/cgroup
    echo end";

fn children(exo: &Exo) -> Vec<i32> {
    let keeper = exo.keeper;
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Returns the one that waits.
fn waiting(exo: &Exo) -> Option<i32> {
    children(exo).into_iter().find(|pid| {
        let waits = || fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        name(*pid) == "exo-next" && waits().contains("pipe")
    })
}

fn name(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

#[track_caller]
fn wait_for_one(exo: &Exo) -> i32 {
    until(30, || waiting(exo).is_some());
    waiting(exo).unwrap()
}

/// Starts instance 0, and once more behind that; returns the pids of both.
#[track_caller]
pub(crate) fn start_two(exo: &mut Exo) -> [i32; 2] {
    let first = exo.start(0, 1);
    exo.tell("behind 0 2");
    [first, wait_for_one(exo)]
}

/// Returns the pid of the start that was told last.
#[track_caller]
pub(crate) fn started(exo: &Exo, serial: u32) -> i32 {
    let line = exo.line();
    let head = format!("Started {{ instance: 0, serial: {serial}, pid: ");
    let pid = line.strip_prefix(&head).unwrap_or_else(|| panic!("{line}"));
    pid.trim_end_matches(" }").parse().unwrap()
}

#[track_caller]
fn recall(exo: &mut Exo, serial: u32, has_begun: bool) {
    exo.tell(&format!("recall 0 {serial}"));
    let wanted = format!("Recalled {{ instance: 0, serial: {serial}, has_begun: {has_begun} }}");
    assert_eq!(exo.line(), wanted);
}

/// Ends a start of instance 0.
#[track_caller]
pub(crate) fn end(exo: &mut Exo, serial: u32) {
    exo.tell(&format!("signal 0 {serial} kill"));
    assert_eq!(exo.ended(0, serial).0, "Signal(9)");
}

#[test]
fn a_start_behind_another_begins_at_its_end_and_is_like_any_other() {
    let plan = Plan::new().with("umask=027").with("cpu-seconds=33").with("files=77");
    script(&plan.base.join("tell"), TELL);
    let trap = "trap '' INT USR1 && exec \"$@\"";
    let mut exo = plan.wrapped(&["sh", "-c", trap, "sh"]).start(&["./tell"]);
    exo.tell("start 0 1 w-1 7 half");
    started(&exo, 1);
    assert_eq!(exo.ended(0, 1).0, "Code(0)");
    let alone = exo.out(0);
    // One that waits until the next one does.
    fs::write(exo.base.join("tell"), "#!/bin/sh\nexec sleep 1000000\n").unwrap();
    exo.start(0, 2);
    exo.tell("behind 0 3 w-1 7 half");
    let pid = wait_for_one(&exo);
    fs::write(exo.base.join("tell"), TELL).unwrap();
    end(&mut exo, 2);
    assert_eq!(started(&exo, 3), pid);
    assert_eq!(exo.ended(0, 3).0, "Code(0)");
    assert_eq!(exo.out(0)[alone.len()..], alone);
    for word in ["SKYNET_WFID=w-1\n", "SKYNET_ATTEMPT=7\n", "SKYNET_STAGE=half\n", "end\n"] {
        assert!(alone.contains(word), "{word} in {alone}");
    }
    exo.end();
}

#[test]
fn a_start_that_is_recalled_never_begins_unless_it_has() {
    let mut exo = Plan::new().start(SLEEPER);
    let [_, pid] = start_two(&mut exo);
    recall(&mut exo, 2, false);
    until(30, || !is_alive(pid));
    end(&mut exo, 1);
    assert!(waiting(&exo).is_none());
    // Its number is free again, and the start before it has ended by now.
    exo.tell("behind 0 2");
    started(&exo, 2);
    recall(&mut exo, 2, true);
    exo.end();
}

#[test]
fn behind_a_start_that_failed_nothing_begins() {
    let mut exo = Plan::new().start(&["./later"]);
    exo.tell("start 0 1");
    assert!(exo.line().starts_with("NotStarted { instance: 0, serial: 1, step: Run"));
    script(&exo.base.join("later"), "#!/bin/sh\nexec sleep 1000000\n");
    exo.tell("behind 0 2");
    recall(&mut exo, 2, false);
    exo.start(0, 2);
    // One that fails behind another is told as any other.
    exo.tell("behind 0 3");
    wait_for_one(&exo);
    fs::remove_file(exo.base.join("later")).unwrap();
    end(&mut exo, 2);
    assert!(exo.line().starts_with("NotStarted { instance: 0, serial: 3, step: Run, errno: 2"));
    recall(&mut exo, 3, true);
    exo.end();
}

#[test]
fn one_that_waits_is_out_of_reach_for_its_user_and_holds_nothing_of_the_keepers() {
    let mut exo = Plan::new().start(SLEEPER);
    let [first, pid] = start_two(&mut exo);
    assert_eq!(status(pid)["Uid"], "0 0 0 0");
    // Nobody else can look into it, either.
    assert_eq!(fs::metadata(format!("/proc/{pid}/mem")).unwrap().uid(), 0);
    // Its own four and two pipes, and what it will be confined by.
    let fds = open_fds(pid);
    assert_eq!(&fds[..4], &[0, 1, 2, 3], "{fds:?}");
    let target = |fd: i32| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
    let is = |fd: i32, kind: &str| target(fd).to_str().unwrap().starts_with(kind);
    let (pipes, rules): (Vec<i32>, Vec<i32>) = fds[4..].iter().partition(|fd| is(**fd, "pipe:"));
    assert!(pipes.len() == 2 && rules.len() <= 1, "{fds:?}");
    assert!(rules.iter().all(|fd| is(*fd, "anon_inode:")), "{fds:?}");
    assert_eq!(target(1), exo.base.join("store/out.0"));
    let room = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_ne!(room(pid), room(first));
    exo.end_and(|| assert!(!is_alive(pid)));
}

#[test]
fn one_that_was_killed_is_made_anew() {
    let mut exo = Plan::new().start(SLEEPER);
    let [_, pid] = start_two(&mut exo);
    signal::kill(pid, numbers::SIGKILL).unwrap();
    until(30, || !is_alive(pid));
    end(&mut exo, 1);
    let next = started(&exo, 2);
    assert_ne!(next, pid);
    until(30, || name(next) == "sleep");
    exo.end();
}

#[test]
fn without_keeper_or_worker_nothing_begins_behind_anything() {
    for is_keeper in [true, false] {
        let plan = Plan::new().with("instances=2");
        script(&plan.base.join("say"), "#!/bin/sh\necho $SKYNET_ATTEMPT; exec sleep 1000000");
        let mut exo = plan.start(&["./say"]);
        for instance in [0, 1] {
            exo.tell(&format!("start {instance} 1 w first"));
            assert!(exo.line().starts_with("Started"));
            until(30, || exo.out(instance) == "first\n");
            exo.tell(&format!("behind {instance} 2 w second"));
        }
        until(30, || children(&exo).len() == 5);
        let all: Vec<i32> = children(&exo).into_iter().filter(|pid| *pid != exo.worker).collect();
        signal::kill(if is_keeper { exo.keeper } else { exo.worker }, 9).unwrap();
        until(30, || !all.iter().any(|pid| is_alive(*pid)));
        if !is_keeper {
            assert_eq!(exo.code(), Some(111));
        }
        assert_eq!([exo.out(0), exo.out(1)], ["first\n", "first\n"]);
    }
}

#[test]
fn what_the_participant_is_when_its_turn_comes_counts() {
    let plan = Plan::new();
    let (inner, old) = (plan.base.join("inner"), plan.base.join("old"));
    let write = |text: &str| {
        fs::create_dir(&inner).unwrap();
        script(&inner.join("run"), &format!("#!/bin/sh\necho {text}; pwd -P; exec sleep 1000000"));
    };
    write("first");
    let setting = format!("directory={}", inner.display());
    let mut exo = plan.with(&setting).start(&["./run"]);
    start_two(&mut exo);
    until(30, || exo.out(0).lines().count() == 2);
    fs::rename(&inner, &old).unwrap();
    write("second");
    end(&mut exo, 1);
    started(&exo, 2);
    let wanted = format!("first\n{0}\nsecond\n{0}\n", inner.display());
    until(30, || exo.out(0) == wanted);
    exo.end();
}

#[test]
fn without_cgroups_it_is_made_when_its_turn_comes() {
    let mut exo = Plan::new().without_cgroups().start(SLEEPER);
    exo.start(0, 1);
    exo.tell("behind 0 2");
    // The keeper has obeyed when it answers what comes behind.
    recall(&mut exo, 1, true);
    // The first one and the worker.
    assert_eq!(children(&exo).len(), 2);
    end(&mut exo, 1);
    assert!(is_alive(started(&exo, 2)));
    exo.end();
}

#[test]
fn what_the_last_one_left_behind_dies_and_the_next_one_does_not() {
    let daemon = "[ $SKYNET_ATTEMPT = 1 ] || exec sleep 1000000
        setsid sh -c '(setsid sh -c \"echo left; exec sleep 1000000 > /dev/null\" &)'
        exec sleep 1000000";
    let mut exo = Plan::new().with("directory=/").start(&["sh", "-c", daemon]);
    exo.tell("start 0 1 w 1");
    started(&exo, 1);
    exo.tell("behind 0 2 w 2");
    until(30, || exo.out(0) == "left\n");
    let pid = wait_for_one(&exo);
    let folder = cgroup(&exo.base).unwrap();
    let living = |room: &str| {
        let procs = fs::read_to_string(folder.join(room).join("cgroup.procs")).unwrap_or_default();
        procs.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((living("0").len(), living("0b")), (2, vec![pid.to_string()]));
    end(&mut exo, 1);
    assert!(living("0").is_empty());
    assert_eq!(started(&exo, 2), pid);
    exo.end_and(|| assert!(!folder.exists()));
}

#[test]
fn one_that_was_made_before_the_rules_for_it_is_not_let_go_on() {
    let plan = Plan::new().with("user=daemon").with("drained=no").with("instances=2");
    let later = plan.base.join("later");
    let mut exo = plan.start(&["sh", "-c", "cat later; exec sleep 1000000"]);
    let [_, pid] = start_two(&mut exo);
    // What comes to stand beside the store is forbidden to whoever was under the rules before.
    fs::write(&later, "later\n").unwrap();
    // So that the rules are made anew by somebody else's start.
    exo.start(1, 1);
    until(30, || exo.out(1).ends_with("later\n"));
    end(&mut exo, 1);
    let next = started(&exo, 2);
    until(30, || exo.out(0).ends_with("later\n"));
    assert_eq!(next == pid, exo.said().contains("this kernel has no Landlock"));
    exo.end();
}
