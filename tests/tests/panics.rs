//! A bug in supervise or svscan, met in the programs as they are shipped: a read that claims more
//! bytes than there is room for, by strace. It costs no service.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::path::Path;
use testkit::keeper::{Keeper, is_alive, record, running, send};
use testkit::scratch::{is_supervised, pid_in_status};
use testkit::svscan::{COUNTED, Svscan, add_logger, kill9, starts, supervise_of, svc};
use testkit::{Scratch, until};

/// The next read of a few bytes says that it brought so many.
const LIE: &str = "read:retval=100000:when=1";

fn said(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Checks that a program said one line, and that it is about a bug.
#[track_caller]
fn said_one_line(said: &str, program: &str) {
    let place = said.strip_prefix(&format!("{program}: fatal: bug at "));
    let place = place.and_then(|place| place.strip_suffix('\n')).expect(said);
    let (file, line) = place.split_once(':').expect(said);
    assert!(file.starts_with("crates/") && line.parse::<u32>().is_ok(), "{said:?}");
}

#[test]
fn a_supervise_that_panics_says_so_in_one_line_and_the_next_takes_the_service_back() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", COUNTED);
    add_logger(&dir);
    let log = dir.join("log");
    let mut keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    until(10, || starts(&dir) == 1 && starts(&log) == 1);
    keeper.harm(&[LIE]);
    send(&dir, b"c");
    assert_eq!(keeper.end_within(10).code(), Some(111));
    said_one_line(&said(&scratch.join("web.messages")), "supervise");
    assert!(is_alive(service) && is_alive(logger));
    let keeper = Keeper::pair(&scratch, "web");
    until(10, || record(&log).is_some_and(|r| r.supervisor.pid.cast_signed() == keeper.pid()));
    assert_eq!((running(&dir), running(&log)), (service, logger));
    assert_eq!((starts(&dir), starts(&log)), (1, 1));
    send(&dir, b"k");
    until(10, || starts(&dir) == 2);
}

#[test]
fn a_svscan_that_panics_says_so_in_one_line_and_the_next_takes_everything_over() {
    let scratch = Scratch::new();
    let dirs = ["a", "b"].map(|name| {
        let dir = scratch.service(&format!("service/{name}"), COUNTED);
        add_logger(&dir);
        dir
    });
    let mut scan = Svscan::start(&scratch, "service");
    let pids = || dirs.each_ref().map(|dir| [pid_in_status(dir), pid_in_status(&dir.join("log"))]);
    scan.until(|| pids().as_flattened().iter().all(Option::is_some));
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1 && starts(&dir.join("log")) == 1));
    let before = pids();
    let supervises = dirs.each_ref().map(|dir| supervise_of(&scratch, dir));
    scan.harm(&[LIE]);
    let new = scratch.service("new", COUNTED);
    std::fs::rename(&new, scan.join("new")).unwrap();
    assert_eq!(scan.ended(30).code(), Some(111));
    said_one_line(&scan.messages(), "svscan");
    assert!(dirs.iter().all(|dir| is_supervised(dir)));
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| starts(&scan.join("new")) == 1);
    assert_eq!(pids(), before);
    assert_eq!(dirs.each_ref().map(|dir| supervise_of(&scratch, dir)), supervises);
    assert!(dirs.iter().all(|dir| starts(dir) == 1 && starts(&dir.join("log")) == 1));
    // It is master: a supervise that is lost comes back, and the end ends all.
    kill9(supervises[0].unwrap());
    scan.until(|| supervise_of(&scratch, &dirs[0]).is_some_and(|pid| Some(pid) != supervises[0]));
    svc(&dirs[1], &["-k", "."]);
    scan.until(|| starts(&dirs[1]) == 2);
    assert_eq!(starts(&dirs[0]), 1);
    assert_eq!(scan.end().code(), Some(0));
    assert!(pids().as_flattened().iter().all(Option::is_none));
}
