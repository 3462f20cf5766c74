//! The machine on a model of a file system: a kill before each call, each call failing in turn.

mod model;

use super::*;
use model::{Fault, Logger, TOTAL, World};
use ondisk::logdir::Code;
use std::vec::Vec;

fn rules() -> Vec<Rules> {
    let mut all = Vec::new();
    for bits in 0..16_u32 {
        all.push(Rules {
            code: Code::SAFE,
            keep: 2 + (bits & 1),
            size: 4,
            total: 0,
            processor: bits & 2 != 0,
            background: bits & 4 != 0,
            drop_when_full: bits & 8 != 0,
        });
    }
    all
}

/// How many calls a whole life makes.
fn calls(rules: Rules) -> usize {
    let mut world = World::default();
    let mut logger = Logger::new(rules, Fault::None);
    assert!(logger.live(&mut world), "{rules:?}");
    world.check_all(rules);
    logger.calls
}

#[test]
fn a_kill_before_any_call_and_one_in_the_recovery_lose_and_double_nothing() {
    for rules in rules() {
        for first in 0..calls(rules) {
            let mut world = World::default();
            assert!(!Logger::new(rules, Fault::KillBefore(first)).live(&mut world));
            for second in 0.. {
                let mut world = world.clone();
                let over = Logger::new(rules, Fault::KillBefore(second)).live(&mut world);
                if !over {
                    assert!(Logger::new(rules, Fault::None).live(&mut world));
                }
                world.check_all(rules);
                if over || second > 40 {
                    break;
                }
            }
        }
    }
}

#[test]
fn three_kills_in_a_row_are_no_worse_than_one() {
    let rules = Rules { keep: 3, drop_when_full: false, ..rules()[6] };
    for first in 0..calls(rules) {
        let mut one = World::default();
        Logger::new(rules, Fault::KillBefore(first)).live(&mut one);
        for second in 0..25 {
            let mut two = one.clone();
            Logger::new(rules, Fault::KillBefore(second)).live(&mut two);
            for third in 0..25 {
                let mut three = two.clone();
                Logger::new(rules, Fault::KillBefore(third)).live(&mut three);
                assert!(Logger::new(rules, Fault::None).live(&mut three));
                three.check_all(rules);
            }
        }
    }
}

#[test]
fn each_call_may_fail_and_is_made_again_after_a_pause() {
    for rules in rules() {
        for failing in 0..calls(rules) {
            for failure in [Failure::Full, Failure::Other] {
                let mut world = World::default();
                let mut logger = Logger::new(rules, Fault::Fail(failing, failure));
                if !logger.live(&mut world) {
                    assert!(logger.fatal, "{rules:?} {failing} {failure:?}");
                    assert!(Logger::new(rules, Fault::None).live(&mut world));
                }
                world.check_all(rules);
            }
        }
    }
}

#[test]
fn a_call_that_fails_for_long_and_then_a_kill_lose_nothing() {
    for rules in rules() {
        for failing in 0..calls(rules) {
            for failure in [Failure::Full, Failure::Other] {
                let mut world = World::default();
                let fault = Fault::FailThenKill(failing, failing + 3, failure);
                Logger::new(rules, fault).live(&mut world);
                assert!(Logger::new(rules, Fault::None).live(&mut world));
                world.check_all(rules);
            }
        }
    }
}

#[test]
fn a_processor_that_fails_is_run_again_and_one_that_hangs_is_left_at_the_end() {
    let rules = Rules { background: true, processor: true, ..rules()[0] };
    let mut world = World::default();
    world.bad_runs = 3;
    let mut logger = Logger::new(rules, Fault::None);
    assert!(logger.live(&mut world));
    world.check_all(rules);
    assert_eq!((world.bad_runs, world.state), (0, world.runs));

    let mut world = World::default();
    world.hangs = true;
    let mut logger = Logger::new(rules, Fault::None);
    assert!(logger.live(&mut world), "the end came all the same");
    assert!(logger.now.nanos_from(logger.asked) <= GRACE.as_nanos() as u64);
    assert!(world.stopped && world.is_closed("current"));
    // The next one takes it up where it was left.
    world.hangs = false;
    assert!(Logger::new(rules, Fault::None).live(&mut world));
    world.check_all(rules);
    assert!(world.rotated().iter().all(|(name, _)| name.code == Code::SAFE));
}

#[test]
fn a_directory_or_a_current_that_is_taken_away_is_made_anew() {
    for rules in rules() {
        for at in 0..calls(rules) {
            for fault in [Fault::TakeDirectory(at), Fault::TakeCurrent(at)] {
                let mut world = World::default();
                let mut logger = Logger::new(rules, fault);
                if !logger.live(&mut world) {
                    assert!(logger.fatal);
                    assert!(Logger::new(rules, Fault::None).live(&mut world));
                }
                assert_eq!(world.written, TOTAL);
                // Taken while it was being closed: that is how its owner wants it.
                let taken = !world.names.contains_key("current") && logger.is_asked();
                assert!(taken || world.is_closed("current"), "{rules:?} {fault:?}");
                world.check_names(rules);
                // What was written since somebody took it is all there.
                world.check_tail();
            }
        }
    }
}

#[test]
fn a_limit_of_all_bytes_is_kept() {
    let rules = Rules { keep: 100, total: 11, ..rules()[0] };
    let mut world = World::default();
    assert!(Logger::new(rules, Fault::None).live(&mut world));
    assert!(world.rotated().iter().map(|(_, inode)| inode.bytes.len()).sum::<usize>() <= 7);
    world.check_order();
}

#[test]
fn a_full_disk_makes_room_only_where_the_script_says_so() {
    for drop_when_full in [false, true] {
        let rules = Rules { drop_when_full, keep: 3, ..rules()[0] };
        let mut world = World::default();
        let mut logger = Logger::new(rules, Fault::None);
        logger.until_ready(&mut world);
        while world.rotated().len() < 2 {
            logger.go_on(&mut world);
        }
        logger.until_ready(&mut world);
        let verdict = logger.machine.write_failed(Failure::Full, logger.now);
        let before = logger.now;
        logger.until_ready(&mut world);
        if drop_when_full {
            assert_eq!((verdict, world.rotated().len()), (Verdict::Dropping, 1));
            assert_eq!(logger.now, before);
            // One is left; then nothing helps but waiting.
            for pause in [Duration::ZERO, PAUSE] {
                let before = logger.now;
                logger.machine.write_failed(Failure::Full, before);
                logger.until_ready(&mut world);
                assert_eq!((logger.now, world.rotated().len()), (before.after(pause), 0));
            }
        } else {
            assert_eq!((verdict, world.rotated().len()), (Verdict::Pausing, 2));
            assert_eq!(logger.now, before.after(PAUSE));
        }
        assert_eq!(logger.machine.write_failed(Failure::Other, logger.now), Verdict::Pausing);
        logger.machine.finish(logger.now);
        assert!(logger.live(&mut world), "an end does not wait for the pause");
        world.check_order();
    }
}
