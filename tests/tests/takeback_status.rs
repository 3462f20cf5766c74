//! How an adopted service ended is learnt where the kernel tells. This test's process is the
//! reaper of the services whose supervise was killed, as svscan is.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::process::{self, Waited, become_subreaper};
use ondisk::record::Exit;
use std::fs;
use testkit::keeper::{is_alive, record, running};
use testkit::scratch::is_zombie;
use testkit::{Keeper, Scratch, until};

const EXITS_7: &str = "#!/bin/sh\ntrap 'exit 7' TERM\nwhile :; do sleep 1000000 & wait $!; done\n";

/// From Linux 6.15 on a pidfd tells, after its process is reaped, how it ended.
fn kernel_tells() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse::<u32>().ok());
    let tells = (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15);
    if !tells {
        eprintln!("this kernel does not tell how a process ended that is nobody's child");
    }
    tells
}

fn reap(pid: i32) {
    until(10, || matches!(process::wait(pid, false), Waited::Ended(..)));
}

fn adopted(scratch: &Scratch) -> (Keeper, i32) {
    become_subreaper().unwrap();
    let dir = scratch.service("web", EXITS_7);
    let keeper = Keeper::plain(scratch, "web");
    let pid = running(&dir);
    // Older than a second: the next start is due at once.
    let born = record(&dir).unwrap().process.alive_at;
    until(10, || linux::time::boottime() > born + 1_200_000_000);
    keeper.kill9();
    let keeper = Keeper::plain(scratch, "web");
    assert!(record(&dir).unwrap().adopted);
    (keeper, pid)
}

#[test]
fn an_adopted_service_s_death_is_noticed_before_anybody_reaps_it() {
    let scratch = Scratch::new();
    let (keeper, pid) = adopted(&scratch);
    linux::signal::kill(pid, 9).unwrap();
    until(10, || running(keeper.dir()) != pid);
    assert!(is_zombie(pid), "nobody has reaped it yet");
    assert_eq!(record(keeper.dir()).unwrap().last_exit, Exit::Unknown);
    reap(pid);
    if kernel_tells() {
        until(10, || record(keeper.dir()).unwrap().last_exit == Exit::Signal(9));
    }
}

#[test]
fn how_an_adopted_service_ended_is_learnt_from_its_reaper() {
    let scratch = Scratch::new();
    let (keeper, pid) = adopted(&scratch);
    linux::signal::kill(pid, 15).unwrap();
    reap(pid);
    until(10, || running(keeper.dir()) != pid);
    if kernel_tells() {
        until(10, || record(keeper.dir()).unwrap().last_exit == Exit::Code(7));
    }
    assert!(record(keeper.dir()).unwrap().died.is_some());
}

#[test]
fn a_service_that_died_unkept_and_unreaped_is_dead_for_the_next_supervise() {
    let scratch = Scratch::new();
    let (keeper, pid) = adopted(&scratch);
    keeper.kill9();
    linux::signal::kill(pid, 9).unwrap();
    until(10, || is_zombie(pid));
    let keeper = Keeper::plain(&scratch, "web");
    until(10, || running(keeper.dir()) != pid);
    assert!(!record(keeper.dir()).unwrap().adopted);
    reap(pid);
    assert!(!is_alive(pid));
    if kernel_tells() {
        until(10, || record(keeper.dir()).unwrap().last_exit == Exit::Signal(9));
    }
}
