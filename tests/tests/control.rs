//! The control FIFO: junk, floods, and whatever mix of commands.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use ondisk::control::Command as Letter;
use ondisk::status::Want;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;
use testkit::keeper::{Keeper, is_alive, record, running, send, state, status, written};
use testkit::scratch::SLEEPER;
use testkit::wait::holds_within;
use testkit::{Scratch, until};

/// Writes all of it, waiting for room.
fn pour(dir: &Path, bytes: &[u8]) {
    let mut control = fs::File::options().write(true).open(dir.join("supervise/control")).unwrap();
    control.write_all(bytes).unwrap();
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n as u64).unwrap()
    }
}

/// `control_junk_flood`
#[test]
fn a_hundred_thousand_bytes_of_junk_change_nothing() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    let before = written(&dir);
    let junk: Vec<u8> = (0..=255).filter(|b| Letter::from_byte(*b).is_none()).collect();
    let flood: Vec<u8> = junk.iter().copied().cycle().take(100_000).collect();
    pour(&dir, &flood);
    assert_eq!((written(&dir), running(&dir)), (before, pid));
    send(&dir, b"p");
    until(10, || state(pid) == Some('T') && status(&dir).unwrap().paused);
}

/// What the status says is so.
fn is_true(dir: &Path) -> bool {
    let Some(status) = status(dir) else { return false };
    let pid = status.pid.cast_signed();
    let right = if pid == 0 {
        status.want != Want::Up
    } else {
        let stopped = state(pid) == Some('T');
        is_alive(pid) && stopped == status.paused && (status.want != Want::Down || stopped)
    };
    right && record(dir).is_some_and(|r| r.process.pid == status.pid && r.want == status.want)
}

/// `control_command_fuzz`
#[test]
fn after_any_mix_of_commands_the_status_is_true() {
    const MIX: &[u8] = b"udopchaitkq12w+= \n\0xyzUD";
    let rounds: u64 = if std::env::var_os("SKYNET_LONG").is_some() { 200 } else { 8 };
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    for seed in 1..=rounds {
        let mut keeper = Keeper::plain(&scratch, "web");
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut last = Want::Up;
        for _ in 0..random.below(40) {
            let burst: Vec<u8> = (0..=random.below(30))
                .map(|_| MIX[random.below(MIX.len())])
                .filter(|b| *b != b'x')
                .collect();
            for byte in &burst {
                last = match byte {
                    b'u' => Want::Up,
                    b'd' => Want::Down,
                    b'o' => Want::Once,
                    _ => last,
                };
            }
            pour(&dir, &burst);
        }
        let settled = || is_true(&dir) && status(&dir).unwrap().want == last;
        let truth = || (status(&dir), record(&dir));
        let within = Duration::from_secs(10);
        assert!(holds_within(within, settled), "seed {seed}: {last:?} {:?}", truth());
        send(&dir, b"cu");
        let up = || is_true(&dir) && status(&dir).unwrap().pid != 0;
        assert!(holds_within(within, up), "seed {seed}: {:?}", truth());
        send(&dir, b"dx");
        assert_eq!(keeper.end_within(10).code(), Some(0));
    }
}

#[test]
fn commands_for_a_pair_reach_the_member_that_they_name() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat >/dev/null\n");
    let _keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    send(&log, b"t");
    until(10, || running(&log) != logger);
    assert_eq!(running(&dir), service);
    let logger = running(&log);
    send(&dir, b"Lp");
    until(10, || state(logger) == Some('T') && status(&log).unwrap().paused);
    send(&dir, b"Lclt");
    until(10, || running(&dir) != service && state(logger) == Some('S'));
    assert_eq!(running(&log), logger);
}

#[test]
fn a_service_told_x_by_its_entry_comes_back_under_svscan_s_kind_and_its_logger_stays() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", "#!/bin/sh\nexec cat >/dev/null\n");
    let mut keeper = Keeper::pair(&scratch, "web");
    let (service, logger) = (running(&dir), running(&log));
    send(&dir, b"dx");
    until(10, || !testkit::scratch::is_supervised(&dir) && !is_alive(service));
    until(10, || testkit::scratch::is_supervised(&dir));
    until(10, || running(&dir) != service);
    assert_eq!(running(&log), logger);
    // Without the entry, both end for good.
    fs::rename(&dir, scratch.join("gone")).unwrap();
    let (dir, log) = (scratch.join("gone"), scratch.join("gone/log"));
    send(&dir, b"dx");
    send(&log, b"dx");
    assert_eq!(keeper.end_within(10).code(), Some(0));
    assert!(!is_alive(logger));
}
