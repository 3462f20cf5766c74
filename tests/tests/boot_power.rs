//! The power goes: a machine with a kernel of its own ends without notice, and boots again.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod host;
mod machine;
mod rootfs;

use host::item;
use machine::Machine;
use machine::emulated::{Disk, Emulated};
use machine::load::{Load, log};
use std::collections::{HashMap, HashSet};
use std::time::SystemTime;
use testkit::until;

/// How often the power goes.
const CUTS: usize = 2;
/// Seconds in which an emulated machine has accepted a few items.
const SOON: u64 = 180;
/// The line on which each run of a participant's work is told, and the one of accepted items.
const RAN: u8 = 2;
const ACCEPTED: u8 = 3;

/// Starts submitting to a participant, one item after the other; each that was accepted is told.
#[track_caller]
fn submit(machine: &mut Emulated, name: &str, life: usize) {
    let text = item("WFID", "{}");
    machine.well(&format!(
        "(n=0; while :; do wfid={name}-{life}-$((n += 1)); \
         echo '{text}' | sed s/WFID/$wfid/ | skynet submit {name} --lines >/dev/null && \
         echo $wfid >/dev/ttyS{ACCEPTED}; done) </dev/null >/dev/null 2>&1 &"
    ));
}

/// Waits until so many more items are accepted.
#[track_caller]
fn until_accepted(disk: &Disk, more: usize) {
    let wanted = disk.said(ACCEPTED).len() + more;
    until(SOON, || disk.said(ACCEPTED).len() >= wanted);
}

/// Returns how many items of a participant are recorded as done, and asserts that none has failed.
#[track_caller]
fn done(machine: &mut Emulated, name: &str) -> usize {
    let said = machine.well(&format!("skynet history --json {name}"));
    assert!(said.contains("\"failed\":0,"), "{said}");
    let (_, rest) = said.split_once("\"done\":").unwrap();
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

/// Returns how often the work of each item was done.
fn runs(disk: &Disk, name: &str) -> HashMap<String, usize> {
    let mut runs = HashMap::new();
    let its = |item: &String| item.split('-').next() == Some(name);
    disk.said(RAN).into_iter().filter(its).for_each(|item| *runs.entry(item).or_default() += 1);
    runs
}

/// Each counter's lines are in their order, from one on in each life. Lines that nobody synced may be
/// missing where the power went: a file is cut short there, or has zero bytes, since a file system may
/// note a length before it has the content.
#[track_caller]
fn assert_order(name: &str, log: &str) {
    let (mut last, mut lives, mut torn) = (0, 0, 0);
    for line in log.lines() {
        let line = line.replace('\0', "");
        let whole = line.split_once(" line ").filter(|(stamp, _)| stamp.len() == 25);
        let number = whole.and_then(|(_, number)| number.parse::<u32>().ok());
        match number {
            Some(1) => (last, lives) = (1, lives + 1),
            Some(number) if number == last + 1 => last = number,
            Some(number) if number > last && torn == lives => last = number,
            None if torn < lives || line.is_empty() => torn = lives,
            _ => panic!("{name}: {line:?} behind {last}:\n{log}"),
        }
    }
    assert_eq!(lives, CUTS + 1, "{name}:\n{log}");
}

#[test]
fn when_the_power_goes_no_accepted_item_and_no_synced_line_is_lost_and_none_is_done_twice() {
    let random = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos() as usize / 1000;
    let disk = Disk::new(&["each0", "stays0"].map(|name| match name {
        "each0" => ("/var/tmp/did.each0", "/dev/ttyS2"),
        _ => ("/var/tmp/did.stays0", "/dev/ttyS2"),
    }));
    let mut machine = disk.boot();
    let load = Load::start(&mut machine, 3, 1);
    machine.well("sync");
    let mut synced = vec![String::new(); load.counters.len()];
    for life in 0..CUTS {
        load.participants.iter().for_each(|name| submit(&mut machine, name, life));
        until_accepted(&disk, 5);
        for (name, earlier) in load.counters.iter().zip(&mut synced) {
            *earlier = log(&mut machine, name);
            earlier.truncate(earlier.rfind(" line ").unwrap_or(0));
        }
        machine.well("sync");
        let before: Vec<_> =
            load.participants.iter().map(|name| done(&mut machine, name)).collect();
        // Behind what was synced, and at once when one more is known to be accepted.
        let more = 5 + random % 11;
        until_accepted(&disk, more);
        let (kept, lost) = machine.cut();
        println!("cut {life}, {more} items behind: {kept} requests kept, {lost} lost");
        assert!(kept > 100);
        machine = disk.boot();
        machine.well("systemctl is-active skynet && systemctl --failed -q");
        for (name, before) in load.participants.iter().zip(before) {
            assert!(done(&mut machine, name) >= before, "{name}");
        }
        for (name, earlier) in load.counters.iter().zip(&synced) {
            let said = log(&mut machine, name);
            assert!(said.starts_with(&**earlier), "{name}: {said} instead of {earlier}");
        }
    }
    assert_items(&disk, &mut machine, &load);
    for name in &load.counters {
        machine.until(&format!("tail -n 1 /var/log/skynet/{name}/current | grep ' line [1-9]'"));
        assert_order(name, &log(&mut machine, name));
    }
    machine.power_off();
}

/// Each accepted item is recorded as done, once, and was done; more often only what was in hand when
/// the power went.
#[track_caller]
fn assert_items(disk: &Disk, machine: &mut Emulated, load: &Load) {
    let accepted = disk.said(ACCEPTED);
    for name in &load.participants {
        let its = |item: &String| item.split('-').next() == Some(name.as_str());
        let accepted: HashSet<_> = accepted.iter().filter(|item| its(item)).cloned().collect();
        assert!(accepted.len() > CUTS, "{name}: {accepted:?}");
        let mut done_now = 0;
        until(SOON, || {
            done_now = done(machine, name);
            let runs = runs(disk, name);
            runs.len() == done_now && accepted.iter().all(|item| runs.contains_key(item))
        });
        // What nobody was told of may be there all the same: one for each cut.
        assert!(done_now - accepted.len() <= CUTS, "{name}: {done_now} of {}", accepted.len());
        let runs = runs(disk, name);
        let twice: Vec<_> = runs.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.len() <= CUTS && twice.iter().all(|(_, n)| **n <= 1 + CUTS), "{twice:?}");
        println!("{name}: {} accepted, {done_now} done, again {twice:?}", accepted.len());
    }
}
