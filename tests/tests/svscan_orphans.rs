//! The end of a svscan that took over from one that was killed, where nobody reaps: how the
//! supervises ended is not to be known then. This process adopts them, and leaves them as they are.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::process;
use testkit::Scratch;
use testkit::svscan::{COUNTED, Svscan, TALKER, add_logger, kill9, starts, supervise_of};

const COUNT: usize = 20;

#[test]
fn nothing_starts_again_at_the_end_where_nobody_has_reaped_the_supervises() {
    process::become_subreaper().unwrap();
    let scratch = Scratch::new();
    let make = |i: usize| {
        let run = if i.is_multiple_of(2) { TALKER } else { COUNTED };
        let dir = scratch.service(&format!("service/s{i}"), run);
        if i.is_multiple_of(2) {
            add_logger(&dir);
        }
        dir
    };
    let all: Vec<_> = (0..COUNT).map(make).collect();
    let loggers: Vec<_> = all.iter().step_by(2).map(|dir| dir.join("log")).collect();
    let each = || all.iter().chain(&loggers);
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| each().all(|dir| starts(dir) == 1));
    scan.kill9();
    let scan = Svscan::start(&scratch, "service");
    // Who starts what is new has looked at what was there.
    let new = scratch.service("service/new", COUNTED);
    scan.until(|| starts(&new) == 1);
    // The service of one that is lost is ended all the same, by another.
    kill9(supervise_of(&scratch, &all[0]).unwrap());
    assert!(scan.end().success());
    for dir in each() {
        assert_eq!(starts(dir), 1, "{}", dir.display());
    }
    for dir in &all {
        let pid = std::fs::read_to_string(dir.join("starts")).unwrap();
        assert!(!testkit::svscan::is_alive(pid.trim().parse().unwrap()), "{}", dir.display());
    }
}
