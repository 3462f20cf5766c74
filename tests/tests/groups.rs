//! What a stop leaves behind: nothing of the service's process group.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use testkit::keeper::{Keeper, is_alive, running, state};
use testkit::svscan::svc;
use testkit::{Scratch, until};

/// In which a stop has left nothing behind.
const SOON: u64 = 5;

/// A service with a child, a grandchild whose parent is gone, and that one's child: each writes
/// its pid into a file. `how` runs the grandchild.
fn family(scratch: &Scratch, name: &str, how: &str) -> PathBuf {
    let note = |file: &str| format!("echo $$ >{file}.new; mv {file}.new {file};");
    let child = format!("{} exec sleep 1000000", note("child"));
    let last = format!("{} exec sleep 1000000", note("last"));
    fs::create_dir_all(scratch.join(name)).unwrap();
    testkit::scratch::script(
        &scratch.join(name).join("child.sh"),
        &format!("#!/bin/sh\n{child}\n"),
    );
    testkit::scratch::script(&scratch.join(name).join("last.sh"), &format!("#!/bin/sh\n{last}\n"));
    let daemon = format!("#!/bin/sh\n{} ./last.sh &\nwait; exec sleep 1000000\n", note("daemon"));
    testkit::scratch::script(&scratch.join(name).join("daemon.sh"), &daemon);
    // The subshell between the two ends at once, as a daemon's first parent does.
    let run = format!("#!/bin/sh\n./child.sh &\n({how} ./daemon.sh &)\nexec sleep 1000000\n");
    scratch.service(name, &run)
}

fn pid(dir: &Path, name: &str) -> i32 {
    until(10, || dir.join(name).exists());
    fs::read_to_string(dir.join(name)).unwrap().trim().parse().unwrap()
}

/// Waits until the whole family runs; returns the pids of service, child, daemon, its child.
fn members(dir: &Path) -> [i32; 4] {
    let all = [running(dir), pid(dir, "child"), pid(dir, "daemon"), pid(dir, "last")];
    until(10, || [all[0], all[1], all[3]].iter().all(|pid| state(*pid) == Some('S')));
    all
}

#[test]
fn a_stop_of_the_group_leaves_no_descendant_alive() {
    let scratch = Scratch::new();
    let dir = family(&scratch, "web", "");
    let mut keeper = Keeper::plain(&scratch, "web");
    let all = members(&dir);
    svc(scratch.path(), &["-+dx", "web"]);
    until(SOON, || !all.iter().any(|pid| is_alive(*pid)));
    assert_eq!(keeper.end_within(SOON).code(), Some(0));
    assert_eq!(scratch.processes(), [0; 0]);
}

/// Descendants that ignore TERM, and a group that was paused, end by KILL likewise.
#[test]
fn a_killed_group_leaves_no_descendant_alive_whatever_it_ignores() {
    let scratch = Scratch::new();
    let dir = family(&scratch, "web", "trap '' TERM HUP INT;");
    let mut keeper = Keeper::plain(&scratch, "web");
    let all = members(&dir);
    svc(scratch.path(), &["-+p", "web"]);
    until(10, || all.iter().all(|pid| state(*pid) == Some('T')));
    svc(scratch.path(), &["-x+kd", "web"]);
    until(SOON, || !all.iter().any(|pid| is_alive(*pid)));
    assert_eq!(keeper.end_within(SOON).code(), Some(0));
    assert_eq!(scratch.processes(), [0; 0]);
}

/// The limit that svc(8) tells of.
#[test]
fn a_descendant_in_a_session_of_its_own_outlives_a_stop_of_the_group() {
    let scratch = Scratch::new();
    let dir = family(&scratch, "web", "setsid");
    let mut keeper = Keeper::plain(&scratch, "web");
    let [service, child, daemon, last] = members(&dir);
    svc(scratch.path(), &["-+dx", "web"]);
    until(SOON, || !is_alive(service) && !is_alive(child));
    assert_eq!(keeper.end_within(SOON).code(), Some(0));
    assert!(is_alive(daemon) && is_alive(last));
}
