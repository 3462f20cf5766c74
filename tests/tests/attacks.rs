//! What somebody else may put into a service directory, and what may leak into a service.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use testkit::keeper::{
    Keeper, is_alive, kill9, record, running, send, status, supervise, under, until_down,
};
use testkit::scratch::{SLEEPER, script};
use testkit::wait::holds_within;
use testkit::{Scratch, run, until};

/// An unprivileged account's number.
const NOBODY: u32 = 65534;
const FILES: [&str; 7] = ["status", "status.new", "lock", "control", "record", "ok", "logpipe"];
const SECRET: &[u8] =
    b"not to be touched, and longer than any record: ................................\
    ....................................................................................";

fn said(scratch: &Scratch, name: &str) -> String {
    fs::read_to_string(scratch.join(&format!("{name}.messages"))).unwrap_or_default()
}

/// Runs a pair, with what follows from its life: status writes, restart, HUP, `x`; it may refuse.
fn try_life(scratch: &Scratch, name: &str) {
    let dir = scratch.join(name);
    let mut keeper = Keeper::spawn(&dir, &mut supervise(scratch, name, true));
    let tries = || {
        let said = said(scratch, name);
        // Said once, and tried again each second.
        said.matches("unable to").count() >= 3 || said.contains("unable to create pipe for")
    };
    let mut over = false;
    until(20, || {
        over = keeper.ended().is_some();
        // A link to a FIFO would hold this test.
        let file = dir.join("supervise/status").symlink_metadata().is_ok_and(|m| m.is_file());
        let alive = || status(&dir).is_some_and(|s| is_alive(s.pid.cast_signed()));
        over || tries() || file && alive()
    });
    if over || tries() {
        return;
    }
    let pid = running(&dir);
    kill9(pid);
    until(10, || running(&dir) != pid);
    keeper.signal(1);
    send(&dir, b"d");
    until_down(&dir);
}

/// `status_symlink_attack`, `lock_symlink_creates_nothing`, `control_symlink_attack`
#[test]
fn no_link_in_the_folder_is_written_through() {
    std::thread::scope(|scope| {
        for file in FILES {
            scope.spawn(move || {
                for kind in ["link", "dangling", "hard", "fifo"] {
                    not_written_through(file, kind);
                }
            });
        }
    });
}

fn not_written_through(file: &str, kind: &str) {
    let scratch = Scratch::new();
    let name = format!("{}-{kind}", file.replace('.', "-"));
    let dir = scratch.service(&name, SLEEPER);
    let _ = scratch.service(&format!("{name}/log"), "#!/bin/sh\nexec cat >/dev/null\n");
    fs::create_dir(dir.join("supervise")).unwrap();
    let (victim, absent) = (scratch.join("victim"), scratch.join("absent"));
    let at = dir.join("supervise").join(file);
    fs::write(&victim, SECRET).unwrap();
    match kind {
        "link" => symlink(&victim, &at).unwrap(),
        "dangling" => symlink(&absent, &at).unwrap(),
        "hard" => fs::hard_link(&victim, &at).unwrap(),
        _ => {
            let fifo = scratch.join("fifo");
            assert_eq!(run(Command::new("mkfifo").arg(&fifo)).code, Some(0));
            symlink(&fifo, &at).unwrap();
        }
    }
    let before = fs::metadata(&victim).unwrap();
    try_life(&scratch, &name);
    assert_eq!(fs::read(&victim).unwrap(), SECRET, "{name}");
    let after = fs::metadata(&victim).unwrap();
    assert_eq!((after.mode(), after.uid()), (before.mode(), before.uid()), "{name}");
    assert!(!absent.exists(), "{name}: made what the link named");
}

#[test]
fn a_status_or_record_that_is_a_link_is_replaced_by_a_file() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    fs::create_dir(dir.join("supervise")).unwrap();
    for file in ["status", "record"] {
        symlink("/etc/passwd", dir.join("supervise").join(file)).unwrap();
    }
    let keeper = Keeper::plain(&scratch, "web");
    let pid = keeper.service();
    assert_eq!(record(&dir).unwrap().process.pid.cast_signed(), pid);
    for file in ["status", "record"] {
        assert!(dir.join("supervise").join(file).symlink_metadata().unwrap().is_file());
    }
}

/// The folder's name stands for now one thing, now another, while supervises come and go.
#[test]
fn a_folder_that_is_swapped_for_a_link_under_way_leads_nowhere_else() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let victim = scratch.join("victim");
    fs::create_dir(&victim).unwrap();
    let (folder, aside, link) = (dir.join("supervise"), dir.join("aside"), dir.join("link"));
    fs::create_dir(&folder).unwrap();
    symlink(&victim, &link).unwrap();
    lchown(&link, Some(NOBODY), None).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Also where this test fails: the thread must not be waited for then for ever.
        let _end = Finally(|| over.store(true, Ordering::Relaxed));
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let _ = fs::rename(&folder, &aside).and_then(|()| fs::rename(&link, &folder));
                let _ = fs::rename(&folder, &link).and_then(|()| fs::rename(&aside, &folder));
                // A supervise may have made a folder in between.
                if aside.exists() && folder.exists() {
                    let _ = fs::remove_dir_all(&folder);
                }
                if !aside.exists() && !folder.exists() {
                    let _ = fs::create_dir(&folder);
                }
            }
        });
        let seconds = if std::env::var_os("SKYNET_LONG").is_some() { 60 } else { 4 };
        let end = linux::time::monotonic() + seconds * 1_000_000_000;
        while linux::time::monotonic() < end {
            let mut keeper = Keeper::spawn(&dir, &mut supervise(&scratch, "web", false));
            let until_then = linux::time::monotonic() + 30_000_000;
            until(10, || keeper.ended().is_some() || linux::time::monotonic() > until_then);
            let _ = linux::signal::kill(keeper.pid(), 15);
            until(10, || keeper.ended().is_some());
        }
    });
    let found: Vec<_> = fs::read_dir(&victim).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(found.is_empty(), "{found:?}");
}

/// Calls a function at its end.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn the_folder_may_be_a_link_of_root_to_a_folder_of_root() {
    let scratch = Scratch::new();
    for (name, there) in [("there", true), ("dangling", false)] {
        let dir = scratch.service(name, SLEEPER);
        let target = scratch.join(&format!("{name}-target"));
        if there {
            fs::create_dir(&target).unwrap();
            chmod(&target, 0o700);
        }
        symlink(format!("../{name}-target"), dir.join("supervise")).unwrap();
        let keeper = Keeper::plain(&scratch, name);
        keeper.service();
        assert_eq!(mode(&target), 0o700);
        assert!(target.join("status").exists());
        drop(keeper);
    }
}

#[test]
fn the_folder_may_be_no_link_that_others_control() {
    let scratch = Scratch::new();
    let cases: [(&str, u32, u32, u32); 4] = [
        ("foreign-link", NOBODY, 0, 0o700),
        ("foreign-target", 0, NOBODY, 0o700),
        ("open-target", 0, 0, 0o777),
        ("group-target", 0, 0, 0o770),
    ];
    for (name, link_owner, target_owner, bits) in cases {
        let dir = scratch.service(name, SLEEPER);
        let target = scratch.join(&format!("{name}-target"));
        fs::create_dir(&target).unwrap();
        chmod(&target, bits);
        chown(&target, Some(target_owner), None).unwrap();
        symlink(&target, dir.join("supervise")).unwrap();
        lchown(dir.join("supervise"), Some(link_owner), None).unwrap();
        let mut keeper = Keeper::spawn(&dir, &mut supervise(&scratch, name, false));
        assert_eq!(keeper.end_within(10).code(), Some(111), "{name}");
        let text = format!(
            "supervise: fatal: unable to acquire {name}/supervise/lock: permission denied\n"
        );
        assert_eq!(said(&scratch, name), text);
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "{name}");
    }
}

fn chmod(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// `modes_with_umask_zero`
#[test]
fn modes_do_not_depend_on_the_umask() {
    for (name, mask) in [("open", "0"), ("usual", "022"), ("narrow", "077")] {
        let scratch = Scratch::new();
        let dir = scratch.service(name, SLEEPER);
        let log = scratch.service(&format!("{name}/log"), "#!/bin/sh\nexec cat\n");
        let shell = format!("umask {mask}; exec \"$@\"");
        let mut command = under(&scratch, &["sh", "-c", &shell, "sh"], name, true);
        let _keeper = Keeper::start(&dir, &mut command);
        running(&dir);
        running(&log);
        for dir in [&dir, &log] {
            let folder = dir.join("supervise");
            assert_eq!(mode(&folder), 0o700, "{name}");
            for private in ["lock", "control", "ok"] {
                assert_eq!(mode(&folder.join(private)), 0o600, "{name}: {private}");
            }
            for public in ["status", "record"] {
                let bits = mode(&folder.join(public));
                assert_eq!(bits & 0o133, 0, "{name}: {public} {bits:o}");
            }
        }
        assert_eq!(mode(&dir.join("supervise/logpipe")), 0o600);
    }
}

fn descriptors(pid: i32) -> BTreeSet<u32> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    all.map(|e| e.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Descriptors that this test was given by whoever runs it, and so gives to all.
fn given() -> BTreeSet<u32> {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let stays = |fd: &u32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|f| u32::from_str_radix(f.trim(), 8).unwrap() & CLOSE_ON_EXEC == 0)
    };
    descriptors(std::process::id().cast_signed()).into_iter().filter(stays).collect()
}

/// Waits until a process runs this program, and so is behind its last exec.
fn until_runs(pid: i32, program: &str) {
    let name = || fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    until(10, || name().trim() == program);
}

/// `no_fd_leak_to_run`
#[test]
fn nothing_but_0_1_2_reaches_service_logger_and_notify() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", SLEEPER);
    script(&dir.join("notify"), "#!/bin/sh\necho $$ >>../notified\nexec sleep 1000000\n");
    let keeper = Keeper::pair(&scratch, "web");
    let notified = || -> Vec<i32> {
        let list = fs::read_to_string(scratch.join("notified")).unwrap_or_default();
        list.lines().filter_map(|pid| pid.parse().ok()).collect()
    };
    for round in 1..=3 {
        until(10, || notified().len() >= round);
        for pid in [running(&dir), running(&log)].into_iter().chain(notified()) {
            until_runs(pid, "sleep");
            let expected: BTreeSet<u32> = given().into_iter().chain([0, 1, 2]).collect();
            // The name changes a moment before the descriptors close.
            let clean = holds_within(Duration::from_secs(5), || descriptors(pid) == expected);
            assert!(clean, "round {round}: {:?}", descriptors(pid));
        }
        // The descriptors that outlive a replacement must not outlive the next exec either.
        let born = record(&dir).unwrap().supervisor.alive_at;
        keeper.signal(1);
        until(10, || record(&dir).unwrap().supervisor.alive_at > born);
        let before = (running(&dir), running(&log));
        kill9(before.0);
        kill9(before.1);
        until(10, || running(&dir) != before.0 && running(&log) != before.1);
    }
}

/// `no_signal_state_leak`
#[test]
fn nothing_is_blocked_or_ignored_in_what_is_run() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let log = scratch.service("web/log", SLEEPER);
    let wrapper = ["env", "--ignore-signal", "--block-signal"];
    let mut command = under(&scratch, &wrapper, "web", true);
    let keeper = Keeper::start(&dir, &mut command);
    let clean = |pid: i32| {
        until_runs(pid, "sleep");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        for line in ["SigBlk:", "SigIgn:"] {
            let mask = status.lines().find_map(|l| l.strip_prefix(line)).unwrap().trim();
            assert_eq!(mask, "0000000000000000", "{line}");
        }
    };
    clean(running(&dir));
    clean(running(&log));
    let before = running(&dir);
    keeper.signal(1);
    kill9(before);
    until(10, || running(&dir) != before);
    clean(running(&dir));
}

#[test]
fn a_log_pipe_under_another_s_name_is_not_what_the_service_writes_to() {
    let scratch = Scratch::new();
    let run_script = "#!/bin/sh\necho started\nexec sleep 1000000\n";
    let dir = scratch.service("web", run_script);
    let lines = scratch.join("lines");
    let text = format!("#!/bin/sh\nexec cat >>{}\n", lines.display());
    let log = scratch.service("web/log", &text);
    let victim = scratch.join("victim");
    fs::write(&victim, SECRET).unwrap();
    let _keeper = Keeper::pair(&scratch, "web");
    let printed = || fs::read_to_string(&lines).map_or(0, |s| s.lines().count());
    running(&log);
    until(10, || printed() == 1);
    let pipe = dir.join("supervise/logpipe");
    for (round, harm) in ["hard link", "link", "other pipe", "removed"].iter().enumerate() {
        fs::remove_file(&pipe).unwrap_or_default();
        match *harm {
            "hard link" => fs::hard_link(&victim, &pipe).unwrap(),
            "link" => symlink(&victim, &pipe).unwrap(),
            "other pipe" => assert_eq!(run(Command::new("mkfifo").arg(&pipe)).code, Some(0)),
            _ => {}
        }
        let before = (running(&dir), running(&log));
        kill9(before.0);
        kill9(before.1);
        until(10, || running(&dir) != before.0 && running(&log) != before.1);
        until(10, || printed() == round + 2);
        assert_eq!(fs::read(&victim).unwrap(), SECRET, "{harm}");
    }
}
