//! The status tells the truth, also on a disk that is full, out of inodes or read-only.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use ondisk::status::{Status, Want};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::keeper::{
    Keeper, is_alive, kill9, processor_ticks, record, running, send, status, supervise, svstat,
    until_down,
};
use testkit::scratch::SLEEPER;
use testkit::{Disk, Scratch, until};

fn start(scratch: &Scratch, name: &str, paired: bool) -> Keeper {
    Keeper::start(&scratch.join(name), &mut supervise(scratch, name, paired))
}

/// Death, restart, `d` and `u`: the status follows each.
fn status_follows(dir: &Path) {
    let before = running(dir);
    kill9(before);
    until(10, || running(dir) != before);
    assert!(svstat(dir).starts_with(&format!("up (pid {}) ", running(dir))), "{}", svstat(dir));
    send(dir, b"d");
    until_down(dir);
    assert_eq!(status(dir).unwrap().want, Want::Down);
    send(dir, b"u");
    let pid = running(dir);
    send(dir, b"p");
    until(10, || status(dir).unwrap().paused);
    send(dir, b"c");
    until(10, || !status(dir).unwrap().paused);
    let bytes = fs::read(dir.join("supervise/status")).unwrap();
    assert_eq!(bytes.len(), Status::LEN);
    assert_eq!(record(dir).unwrap().process.pid.cast_signed(), pid);
}

/// `enospc_status_true`, `enospc_status_heals`
#[test]
fn on_a_full_disk_the_status_stays_true() {
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "size=64k");
    let dir = disk.service("web");
    let keeper = start(&scratch, "disk/web", false);
    running(&dir);
    disk.fill();
    status_follows(&dir);
    let pid = running(&dir);
    keeper.kill9();
    let keeper = start(&scratch, "disk/web", false);
    assert_eq!(running(&dir), pid, "taken back on a full disk");
    until(10, || record(&dir).is_some_and(|r| r.supervisor.pid.cast_signed() == keeper.pid()));
    disk.free();
    status_follows(&dir);
    assert!(!dir.join("supervise/status.new").exists());
}

/// `enoinode_status`
#[test]
fn without_inodes_the_status_stays_true() {
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "nr_inodes=60");
    let dir = disk.service("web");
    let _keeper = start(&scratch, "disk/web", false);
    running(&dir);
    disk.use_up_inodes();
    status_follows(&dir);
    disk.free();
    status_follows(&dir);
}

/// `readonly_fs_restart`
#[test]
fn on_a_read_only_disk_the_service_is_restarted_and_the_status_heals() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = start(&scratch, "web", false);
    let before = running(&dir);
    // What a disk does after an error: nothing new can be opened for writing.
    keeper.harm(&["openat,renameat,unlinkat,mknodat:error=EROFS"]);
    kill9(before);
    // The status cannot be opened; the record is.
    let pid = || record(&dir).map_or(0, |r| r.process.pid.cast_signed());
    until(10, || pid() != before && is_alive(pid()));
    send(&dir, b"d");
    until(10, || pid() == 0);
    send(&dir, b"u");
    until(10, || is_alive(pid()));
    // It is tried again each second: that costs next to nothing, and is said once.
    let ticks = processor_ticks(keeper.pid()).unwrap();
    let from = linux::time::monotonic();
    until(10, || linux::time::monotonic() > from + 3_000_000_000);
    assert!(processor_ticks(keeper.pid()).unwrap() - ticks <= 5);
    let said = fs::read_to_string(scratch.join("web.messages")).unwrap();
    let line = "supervise: warning: unable to write web/supervise/status: read-only file system";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    keeper.heal();
    until(10, || status(&dir).is_some_and(|s| s.pid.cast_signed() == pid()));
    status_follows(&dir);
}

/// `enospc_at_start`
#[test]
fn a_service_starts_on_a_full_disk_and_gets_its_status_when_there_is_room() {
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "size=64k");
    let dir =
        scratch.service("disk/web", "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1; done\n");
    disk.fill();
    let keeper = start(&scratch, "disk/web", false);
    let children = || testkit::keeper::children(keeper.pid());
    until(10, || !children().is_empty());
    send(&dir, b"d");
    until(10, || children().is_empty());
    send(&dir, b"u");
    until(10, || !children().is_empty());
    disk.free();
    let pid = running(&dir);
    assert_eq!(children(), [pid]);
    until(10, || record(&dir).is_some_and(|r| r.process.pid.cast_signed() == pid));
    keeper.kill9();
    let _keeper = start(&scratch, "disk/web", false);
    assert_eq!(running(&dir), pid);
}

#[test]
fn a_service_without_inodes_at_the_start_is_kept_once_there_are_some() {
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "nr_inodes=30");
    let dir = disk.service("web");
    disk.use_up_inodes();
    let mut refused = Keeper::spawn(&dir, &mut supervise(&scratch, "disk/web", false));
    assert_eq!(refused.end_within(10).code(), Some(111));
    let said = fs::read_to_string(scratch.join("disk:web.messages")).unwrap();
    let text = "supervise: fatal: unable to acquire disk/web/supervise/lock: out of disk space\n";
    assert_eq!(said, text);
    disk.free();
    let _keeper = start(&scratch, "disk/web", false);
    running(&dir);
}

/// `status_never_torn`
#[test]
fn the_status_is_never_torn_and_never_missing() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = Keeper::plain(&scratch, "web");
    keeper.service();
    let began = status(&dir).unwrap().since.unix_seconds();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                let commands: [&[u8]; 6] = [b"t", b"p", b"c", b"o", b"u", b"du"];
                send(&dir, commands[n % commands.len()]);
                // As fast as they are obeyed; a full FIFO would refuse.
                let seen = record(&dir).map(|r| r.process.alive_at);
                let _ = testkit::wait::holds_within(std::time::Duration::from_millis(5), || {
                    record(&dir).map(|r| r.process.alive_at) != seen
                });
            }
        });
        for _ in 0..100_000 {
            let bytes = fs::read(dir.join("supervise/status")).unwrap();
            assert_eq!(bytes.len(), Status::LEN);
            let status = Status::from_bytes(&bytes).unwrap();
            assert!(status.since.unix_seconds() >= began && status.since.nanos < 1_000_000_000);
            assert!(status.pid < 1 << 22 && bytes[16] <= 1 && b"ud\0".contains(&bytes[17]));
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// `status_truncated_heals`, `status_garbled`
#[test]
fn a_status_and_a_record_that_somebody_spoiled_heal_with_the_next_change() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let _keeper = Keeper::plain(&scratch, "web");
    running(&dir);
    for spoiled in [&b""[..], b"short", &[0xff; 18], &[0; 4096]] {
        fs::write(dir.join("supervise/status"), spoiled).unwrap();
        fs::write(dir.join("supervise/record"), spoiled).unwrap();
        send(&dir, b"c");
        until(10, || record(&dir).is_some());
        status_follows(&dir);
    }
    for gone in ["status", "record"] {
        fs::remove_file(dir.join("supervise").join(gone)).unwrap();
    }
    let pid = || status(&dir).map_or(0, |s| s.pid.cast_signed());
    send(&dir, b"t");
    until(10, || is_alive(pid()));
}
