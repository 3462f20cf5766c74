//! A failing system call anywhere in an item's life: in the keeper's, in the worker's loop's, and in
//! the thread's that has the store, there also where another user drops the items and another exo takes
//! the answers.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::lives::{Life, Part, from, points, site, sweep};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use testkit::calls::{self, Call};

/// Points of each part that are tried when `SKYNET_LONG` does not ask for all.
const SPREAD: usize = 12;

/// How calls fail in the world, where exo is right. Waiting for children, signals and clocks does
/// not; closing does, but closes.
const ERRORS: &[(&str, &[&str])] = &[
    ("accept4", &["EMFILE", "ENFILE", "ENOMEM"]),
    ("bind", &["ENOSPC", "ENOMEM"]),
    ("brk", &["ENOMEM"]),
    ("clone", &["EAGAIN", "ENOMEM"]),
    ("clone3", &["EAGAIN", "ENOMEM"]),
    ("connect", &["ENOMEM", "EAGAIN"]),
    ("fallocate", &["ENOSPC", "EIO"]),
    ("fchmod", &["EIO", "EROFS"]),
    ("fchmodat", &["EIO", "EROFS"]),
    ("fchown", &["EIO", "EDQUOT"]),
    ("fchownat", &["EIO", "EDQUOT"]),
    ("fcntl", &["ENOLCK", "EMFILE"]),
    ("fdatasync", &["EIO", "ENOSPC"]),
    ("flock", &["ENOLCK"]),
    ("fork", &["EAGAIN", "ENOMEM"]),
    ("fsync", &["EIO", "ENOSPC"]),
    ("fstat", &["EIO"]),
    ("ftruncate", &["EIO", "ENOSPC"]),
    ("getdents64", &["EIO", "ENOMEM"]),
    ("inotify_add_watch", &["ENOSPC", "ENOMEM"]),
    ("inotify_init1", &["EMFILE", "ENOMEM"]),
    ("lstat", &["EIO"]),
    ("mkdir", &["ENOSPC", "EIO"]),
    ("mkdirat", &["ENOSPC", "EIO"]),
    ("mmap", &["ENOMEM"]),
    ("mremap", &["ENOMEM"]),
    ("newfstatat", &["EIO", "ENOMEM"]),
    ("open", &["EMFILE", "ENFILE", "EIO"]),
    ("openat", &["EMFILE", "ENOMEM", "EIO"]),
    ("openat2", &["EMFILE", "EAGAIN"]),
    ("pipe2", &["EMFILE", "ENFILE"]),
    ("poll", &["ENOMEM", "EINTR"]),
    ("ppoll", &["ENOMEM", "EINTR"]),
    ("pread64", &["EIO"]),
    ("pwrite64", &["ENOSPC", "EIO", "EDQUOT"]),
    ("read", &["EIO", "ENOMEM"]),
    ("readlink", &["EIO", "ENOMEM"]),
    ("readlinkat", &["EIO", "ENOMEM"]),
    ("recvfrom", &["ENOMEM", "EINTR"]),
    ("recvmsg", &["ENOMEM", "EINTR"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("renameat", &["EIO", "ENOSPC"]),
    ("renameat2", &["EIO", "ENOSPC"]),
    ("sendmsg", &["ENOBUFS", "ENOMEM", "ETOOMANYREFS"]),
    ("sendto", &["ENOBUFS", "ENOMEM"]),
    ("signalfd4", &["EMFILE", "ENOMEM"]),
    ("socket", &["EMFILE", "ENOBUFS"]),
    ("socketpair", &["EMFILE", "ENOBUFS"]),
    ("stat", &["EIO", "ENOMEM"]),
    ("statx", &["EIO", "ENOMEM"]),
    ("unlink", &["EIO", "EROFS"]),
    ("unlinkat", &["EIO", "EROFS"]),
    ("vfork", &["EAGAIN", "ENOMEM"]),
    ("write", &["ENOMEM", "ENOBUFS"]),
    ("writev", &["ENOMEM", "ENOBUFS"]),
];

/// Returns how a call may fail: each in another way.
fn error_of(point: &Call) -> Option<&'static str> {
    let (_, errors) = ERRORS.iter().find(|(name, _)| *name == point.0)?;
    Some(errors[point.1 % errors.len()])
}

/// Lets one call fail. exo goes on, or ends with a message and can be started again. Returns whether
/// the call was made.
fn fails_at(persistent: bool, part: Part, point: &Call) -> bool {
    let error = error_of(point).unwrap();
    let rule = format!("{}:error={error}:when={}", point.0, point.1);
    let context = format!("{part:?}, {error} of {} number {}", point.0, point.1);
    let site = site(persistent, "");
    let trace = site.join("trace");
    let mut life = Life::begin(site, part, from(part), &trace, &[&rule]);
    let ended = life.live(&context);
    if !ended.success() {
        assert_says_why(ended, error, &life.site.log(), &context);
    }
    life.go_on(&context);
    life.examine(&context);
    fs::read_to_string(trace).unwrap().contains("(INJECTED)")
}

/// Whoever ends has said why.
#[track_caller]
fn assert_says_why(ended: ExitStatus, error: &str, log: &str, context: &str) {
    // Where there is no memory, Rust's allocator says so and aborts.
    let aborted = ended.signal() == Some(6) && error == "ENOMEM" && log.contains("memory");
    let said = log.contains("exo: fatal: ") || log.contains("unable to speak with the worker");
    let fatal = ended.code() == Some(111) && said;
    assert!(aborted || fatal, "{context}: {ended:?}: {log}");
}

fn at_many_points(persistent: bool, part: Part) {
    let mut points = points(persistent, part);
    if part == Part::Keeper {
        // Without memory for the C library itself nobody can say anything.
        let begun = points.iter().position(|point| point.0 == "set_tid_address").unwrap();
        points.drain(..begun);
    }
    if part == Part::Folder {
        // SQLite's locks: letting go of one does not fail in the world. Who alone has the store does
        // not notice; another would wait.
        points.retain(|point| point.0 != "fcntl");
    }
    points.retain(|point| error_of(point).is_some());
    let what = format!("{part:?}: a call failed");
    sweep(points, SPREAD, &what, |point| fails_at(persistent, part, point));
}

#[test]
fn whichever_call_of_the_keeper_of_one_process_for_each_item_fails_each_item_is_settled_once() {
    at_many_points(false, Part::Keeper);
}

#[test]
fn whichever_call_of_the_keeper_of_a_persistent_participant_fails_each_item_is_settled_once() {
    at_many_points(true, Part::Keeper);
}

#[test]
fn whichever_call_of_the_loop_of_one_process_for_each_item_fails_each_item_is_settled_once() {
    at_many_points(false, Part::Loop);
}

#[test]
fn whichever_call_of_the_loop_of_a_persistent_participant_fails_each_item_is_settled_once() {
    at_many_points(true, Part::Loop);
}

#[test]
fn whichever_call_of_the_store_s_thread_with_one_process_an_item_fails_each_is_settled_once() {
    at_many_points(false, Part::Store);
}

#[test]
fn whichever_call_of_the_store_s_thread_with_a_persistent_participant_fails_each_is_settled_once() {
    at_many_points(true, Part::Store);
}

#[test]
fn whichever_call_fails_what_another_user_dropped_is_answered_once_to_who_takes_the_answers() {
    at_many_points(true, Part::Folder);
}

/// Lets each of the first calls of these names fail.
fn fails_at_each(names: &[&str]) {
    const FIRST: usize = 24;
    let mut all = points(true, Part::Folder);
    all.retain(|point| names.contains(&&*point.0));
    assert!(all.len() > 4, "{all:?}");
    calls::each_at_once(&all[..all.len().min(FIRST)], |point| {
        fails_at(true, Part::Folder, point);
    });
}

#[test]
fn a_dropped_file_that_cannot_be_looked_at_for_a_moment_is_taken_all_the_same() {
    fails_at_each(&["lstat", "newfstatat", "statx"]);
}

#[test]
fn who_cannot_let_go_of_the_store_s_lock_for_a_moment_keeps_no_other_exo_waiting() {
    fails_at_each(&["flock"]);
}
