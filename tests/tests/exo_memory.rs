//! What exo's keeper and worker have of their own in memory: little whatever comes, and the same
//! after many items.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, progress};
use host::{ECHO, Exo, Site, item};
use std::fs;
use std::time::{Duration, Instant};
use testkit::wait::holds_within;

/// Most that both may have at any time, in KiB.
const MOST: u64 = 64 << 10;
/// The largest item that is taken.
const LARGEST: usize = 16 << 20;

/// Says more than its host wants to keep, then answers with its item, of whatever size.
const LOUD: &str = "#!/bin/sh\nhead -c 3000000 /dev/zero\nhead -c 300000 /dev/urandom >&2\n\
                    case $SKYNET_WFID in twice*) cat >&3; head -c 20000000 /dev/zero >&3 ;;\n\
                    *) cat >&3 ;; esac\n";

/// Returns a number of KiB that the kernel has about a process.
fn kib(pid: i32, file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Returns the most that a process ever had, shared memory included.
fn peak_kib(pid: i32) -> u64 {
    kib(pid, "status", "VmHWM:")
}

/// Returns what a process has written to. The program itself counts as private, too, where no other
/// exo runs at the same time: that says nothing.
fn private_kib(pid: i32) -> u64 {
    kib(pid, "smaps_rollup", "Private_Dirty:")
}

fn peak(exo: &Exo) -> u64 {
    peak_kib(exo.pid()) + peak_kib(exo.worker())
}

fn private(exo: &Exo) -> u64 {
    private_kib(exo.pid()) + private_kib(exo.worker())
}

fn of_size(wfid: &str, size: usize) -> String {
    let around = item(wfid, "{\"x\":\"\"}").len();
    item(wfid, &format!("{{\"x\":\"{}\"}}", "x".repeat(size - around)))
}

#[test]
fn items_and_answers_of_all_sizes_and_endless_words_leave_exo_under_64_mib() {
    let site = Site::per_item(LOUD, "tries: 1\n");
    let exo = site.exo();
    let begun = private(&exo);
    let mut count = 0;
    for name in ["once", "twice"] {
        for size in [200, 5_000, 70_000, 1 << 20, 5 << 20, LARGEST] {
            count += 1;
            site.drop_into("p", of_size(&format!("{name}-{size}"), size).as_bytes());
        }
        // None of these is an item that can be taken.
        site.drop_into("p", of_size(&format!("{name}-more"), LARGEST + 1).as_bytes());
        site.drop_into("p", &vec![b'['; 1 << 20]);
        site.drop_into("p", "{\"fei\":".repeat(100_000).as_bytes());
    }
    let is_done = || progress(&site.join("store")) == (count, 0);
    assert!(holds_within(Duration::from_secs(120), is_done), "{}", site.log().len());
    let (peak, left) = (peak(&exo), private(&exo));
    println!("private at first {begun} KiB, at most {peak} KiB, at the end {left} KiB");
    assert!(peak < MOST, "{peak} KiB");
    assert!(exo.end().success());
}

#[test]
fn after_many_items_exo_is_no_larger_than_after_some() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let (items, step) = if long { (1_000_000, 20_000) } else { (6_000, 1_000) };
    let site = Site::persistent(ECHO, "instances: 2\n");
    let mut sender = Sender::new(&site);
    let exo = site.exo();
    let begun = Instant::now();
    let mut sizes = Vec::new();
    let mut count = 0;
    // As many as ten minutes allow.
    while count < items && begun.elapsed() < Duration::from_secs(600) {
        let names: Vec<_> = (count..count + step).map(|n| n.to_string()).collect();
        sender.submit(&names);
        count += step;
        let is_done = || progress(&site.join("store")) == (count as u64, 0);
        assert!(holds_within(Duration::from_secs(300), is_done), "{}", site.log());
        sizes.push((count, private_kib(exo.pid()), private_kib(exo.worker())));
    }
    println!("items, private KiB of keeper and of worker: {sizes:?}");
    let (first, last) = (sizes[sizes.len() / 4], sizes[sizes.len() - 1]);
    let grown = (last.1 + last.2).saturating_sub(first.1 + first.2);
    assert!(grown <= 256, "grown by {grown} KiB: {sizes:?}");
    assert!(last.1 + last.2 <= 4 << 10, "{sizes:?}");
    assert!(exo.end().success());
}
