//! `skynet boot`, killed at each call that changes something, and while svscan is on its way.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use site::{Kind, SOON, Site};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use testkit::calls::{self, Call};
use testkit::{program, run_within};

/// System calls that change something, or start a process.
const CHANGES: &str = "trace=mkdir,mkdirat,open,openat,symlink,symlinkat,rename,renameat,chmod,fchmod,\
    flock,ftruncate,write,pwrite64,clone,clone3,fork,vfork";

/// `skynet boot` under strace, which follows nobody else unless it is told to.
fn traced(site: &Site, options: &[&str]) -> Command {
    let skynet = program("skynet");
    let words = ["-q", "-o"].iter().chain(options).copied();
    site.command("strace", &words.chain([skynet.to_str().unwrap(), "boot"]).collect::<Vec<_>>())
}

/// Returns up to 16 points at which it can be killed, the start of svscan among them.
fn points(kind: Kind) -> Vec<Call> {
    let site = Site::new(kind);
    site.sleeper("web");
    site.well(&["enable", "web"]);
    let trace = site.desk().join("trace");
    let said = run_within(SOON, &mut traced(&site, &[trace.to_str().unwrap(), "-e", CHANGES]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let all = calls::of(&fs::read_to_string(trace).unwrap());
    let is_start = |(name, _): &&Call| name.ends_with("fork") || name.starts_with("clone");
    let start = all.iter().find(is_start).cloned();
    assert!(start.is_some() && all.len() > 10, "{all:?}");
    let few = (0..15).map(|i| all[i * all.len() / 15].clone());
    start.into_iter().chain(few).collect()
}

#[test]
fn wherever_boot_is_killed_the_next_one_goes_on_and_one_svscan_runs() {
    for kind in [Kind::Private, Kind::System] {
        calls::each_at_once(&points(kind), |(name, n)| {
            let site = Site::new(kind);
            site.sleeper("web");
            site.well(&["enable", "web"]);
            let rule = format!("inject={name}:signal=KILL:when={n}");
            run_within(SOON, &mut traced(&site, &["/dev/null", "-e", &rule]));
            site.well(&["boot"]);
            // Of one that runs already nothing is waited for.
            site.until(|| site.pid("web").is_some());
            assert_eq!(site.pids("svscan").len(), 1, "{rule}");
            site.well(&["halt"]);
            assert_eq!(site.pids("svscan"), [0; 0], "{rule}");
        });
    }
}

/// Tells whether a process, or what it does, waits for services: it is told of changes then.
fn waits_for_services(pid: i32) -> bool {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let is_told = |link: &Path| link.to_string_lossy().contains("inotify");
    fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).any(|link| is_told(&link))
}

/// Tells whether a process was stopped, by whoever traces it or by a signal.
fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['t', 'T']))
}

/// Boots, and stops the process that becomes svscan once it is called `name`, its `n`th program; kills
/// the boot. Returns its pid.
fn killed_before_svscan(site: &Site, name: &str, n: u32) -> i32 {
    let rule = format!("inject=execve:signal=STOP:when={n}");
    let trace = site.desk().join(name);
    let _ = fs::remove_file(&trace);
    let mut boot = traced(site, &[trace.to_str().unwrap(), "-f", "-e", &rule]);
    let mut strace = boot.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let is_held =
        || fs::read_to_string(&trace).is_ok_and(|said| said.contains("stopped by SIGSTOP"));
    site.until(is_held);
    let held = site.pids(name)[0];
    // What goes on from here is not traced.
    for part in ["skynet", "strace"] {
        for pid in site.pids(part) {
            linux::signal::kill(pid, 9).unwrap();
        }
        site.until(|| site.pids(part).is_empty());
    }
    strace.wait().unwrap();
    site.until(|| is_stopped(held));
    held
}

#[test]
fn a_svscan_whose_boot_was_killed_before_it_began_is_found_by_the_next_boot_and_by_halt() {
    Site::each(|kind| {
        for (name, n) in [("pgrphack", 1), ("svscan", 2)] {
            let site = Site::new(kind);
            site.sleeper("web");
            site.well(&["enable", "web"]);
            let held = killed_before_svscan(&site, name, n);
            let mut boot = site.command(program("skynet"), &["boot"]);
            let mut boot = boot.stdout(Stdio::null()).spawn().unwrap();
            site.until(|| {
                site.pids("skynet").into_iter().any(waits_for_services)
                    || boot.try_wait().unwrap().is_some()
            });
            linux::signal::kill(held, 18).unwrap();
            assert_eq!(boot.wait().unwrap().code(), Some(0), "{name}");
            assert!(site.pid("web").is_some(), "{name}");
            assert_eq!(site.pids("svscan"), [held], "{name}");
            site.well(&["halt"]);

            let held = killed_before_svscan(&site, name, n);
            let mut halt = site.command(program("skynet"), &["halt"]);
            let mut halt = halt.stdout(Stdio::null()).spawn().unwrap();
            // What is stopped is told to end, and does when it goes on.
            let is_told = || {
                let status = fs::read_to_string(format!("/proc/{held}/status")).unwrap_or_default();
                let pending = status.lines().filter_map(|line| line.strip_prefix("ShdPnd:"));
                pending.into_iter().any(|mask| mask.trim().ends_with("4000"))
            };
            site.until(|| is_told() || halt.try_wait().unwrap().is_some());
            linux::signal::kill(held, 18).unwrap();
            assert_eq!(halt.wait().unwrap().code(), Some(0), "{name}");
            assert_eq!(site.pids("svscan"), [0; 0], "{name}");
            assert_eq!(site.pids("supervise"), [0; 0], "{name}");
        }
    });
}
