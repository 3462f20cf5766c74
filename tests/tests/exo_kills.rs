//! kill -9 of exo at every system call of an item's life: of the keeper's, of the worker's loop's,
//! and of the thread's that has the store, there also where another user drops the items and another
//! exo takes the answers.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::lives::{Life, Part, from, points, site, sweep};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use testkit::calls::Call;

/// Points of each part that are tried when `SKYNET_LONG` does not ask for all.
const SPREAD: usize = 10;

/// Kills at one call. Returns whether exo died of it.
fn is_killed_at(persistent: bool, part: Part, point: &Call) -> bool {
    let rule = format!("{}:signal=KILL:when={}", point.0, point.1);
    let context = format!("{part:?} killed at {} number {}", point.0, point.1);
    let null = Path::new("/dev/null");
    let mut life = Life::begin(site(persistent, ""), part, from(part), null, &[&rule]);
    let ended = life.live(&context);
    let killed = ended.signal() == Some(9) || ended.code() == Some(111);
    assert!(killed || ended.success(), "{context}: {ended:?}: {}", life.site.log());
    life.go_on(&context);
    life.examine(&context);
    killed
}

fn at_many_points(persistent: bool, part: Part) {
    let points = points(persistent, part);
    let what = format!("{part:?}: exo died");
    sweep(points, SPREAD, &what, |point| is_killed_at(persistent, part, point));
}

#[test]
fn wherever_the_keeper_of_one_process_for_each_item_is_killed_each_item_is_settled_once() {
    at_many_points(false, Part::Keeper);
}

#[test]
fn wherever_the_keeper_of_a_persistent_participant_is_killed_each_item_is_settled_once() {
    at_many_points(true, Part::Keeper);
}

#[test]
fn wherever_the_worker_s_loop_of_one_process_for_each_item_is_killed_each_item_is_settled_once() {
    at_many_points(false, Part::Loop);
}

#[test]
fn wherever_the_worker_s_loop_of_a_persistent_participant_is_killed_each_item_is_settled_once() {
    at_many_points(true, Part::Loop);
}

#[test]
fn wherever_the_store_s_thread_of_one_process_for_each_item_is_killed_each_item_is_settled_once() {
    at_many_points(false, Part::Store);
}

#[test]
fn wherever_the_store_s_thread_of_a_persistent_participant_is_killed_each_item_is_settled_once() {
    at_many_points(true, Part::Store);
}

#[test]
fn wherever_exo_is_killed_what_another_user_dropped_is_answered_once_to_who_takes_the_answers() {
    at_many_points(true, Part::Folder);
}
