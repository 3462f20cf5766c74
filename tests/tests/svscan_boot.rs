//! What svscan, and the supervises that it tells of it, take for their boot, in time namespaces of
//! their own too: by it they know the processes of those before them.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use ondisk::record::Record;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use testkit::keeper::{Keeper, record, running, under};
use testkit::scratch::is_supervised;
use testkit::svscan::{Svscan, kill9, starts, supervise_of, svscan};
use testkit::{Scratch, program, run, until};

/// Clocks that count from the boot are ahead by eleven days.
const AHEAD: [&str; 6] = ["unshare", "--time", "--monotonic", "1000000", "--boottime", "1000000"];

/// Nothing but its record tells of a service that has left its directory.
const GONE: &str = "#!/bin/sh\necho $$ >>starts\ncd ..\nexec sleep 1000000\n";

fn services(scratch: &Scratch, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| scratch.service(&format!("service/{name}"), GONE)).collect()
}

fn start(scratch: &Scratch, wrapper: &[&str]) -> Svscan {
    Svscan::spawn(&scratch.join("service"), &mut svscan(scratch, wrapper, &[], "service"))
}

fn clocks(pid: i32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/time")).unwrap()
}

/// Counts the processes that svscan watches without being their parent.
fn watched(scan: &Svscan) -> usize {
    let fds = fs::read_dir(format!("/proc/{}/fd", scan.pid())).unwrap();
    let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().contains("pidfd")).count()
}

#[test]
fn svscans_of_several_time_namespaces_take_over_each_other_s_supervises_and_services() {
    let scratch = Scratch::new();
    let dirs = services(&scratch, &["a", "b"]);
    let supervises = || dirs.iter().map(|dir| supervise_of(&scratch, dir)).collect::<Vec<_>>();
    let mut scan = start(&scratch, &AHEAD);
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let pids: Vec<_> = dirs.iter().map(|dir| running(dir)).collect();
    for wrapper in [&[][..], &AHEAD] {
        // Only svscan is lost: the next one watches what goes on.
        let kept = supervises();
        scan.kill9();
        scan = start(&scratch, wrapper);
        scan.until(|| watched(&scan) == dirs.len());
        assert_eq!(
            clocks(scan.pid()) == clocks(std::process::id().cast_signed()),
            wrapper.is_empty()
        );
        assert_eq!(supervises(), kept);
        // All is lost: other supervises come, told by this svscan.
        for supervise in kept {
            kill9(supervise.unwrap());
        }
        // The record of those before them may say the same.
        let is_back = |dir: &PathBuf| {
            let supervise = supervise_of(&scratch, dir);
            let its = |record: Record| {
                record.adopted && Some(record.supervisor.pid.cast_signed()) == supervise
            };
            is_supervised(dir) && record(dir).is_some_and(its)
        };
        scan.until(|| watched(&scan) == 0 && dirs.iter().all(is_back));
        assert_eq!(dirs.iter().map(|dir| running(dir)).collect::<Vec<_>>(), pids);
    }
    // Whoever waits for a service from outside is answered as well.
    let mut svc = Command::new(program("svc"));
    let answer = run(svc.args(["-d", "--wait=down", "--timeout=20000"]).args(&dirs));
    assert_eq!((answer.code, answer.err()), (Some(0), String::new()));
    assert!(dirs.iter().all(|dir| starts(dir) == 1));
    assert_eq!(scan.end().code(), Some(0));
}

/// svscan tells its child, and at that moment: else a supervise asks itself.
#[test]
fn a_command_line_of_svscan_s_that_was_copied_or_forged_costs_no_second_copy() {
    let scratch = Scratch::new();
    let dir = services(&scratch, &["web"]).remove(0);
    let scan = start(&scratch, &[]);
    scan.until(|| starts(&dir) == 1);
    let (pid, supervise) = (running(&dir), supervise_of(&scratch, &dir).unwrap());
    let line = fs::read_to_string(format!("/proc/{supervise}/cmdline")).unwrap();
    let told = line.split('\0').find_map(|arg| arg.strip_prefix("--boot=")).unwrap();
    scan.kill9();
    kill9(supervise);
    until(10, || !is_supervised(&dir));
    let other = if told.starts_with('0') { "1" } else { "0" };
    let other = format!("{other}{}", &told[1..]);
    let shell = ["sh", "-c", "exec \"$0\" \"--boot=$BOOT\" \"$@\""];
    let ahead = [&AHEAD[..], &shell].concat();
    for (wrapper, text) in [
        (&shell[..], told),
        (&ahead, told),
        (&shell, &other),
        (&shell, &told[1..]),
        (&shell, "none"),
        (&shell, ""),
    ] {
        let mut command = under(&scratch, wrapper, "service/web", true);
        let keeper = Keeper::start(&dir, command.env("BOOT", text));
        until(10, || record(&dir).is_some_and(|record| record.adopted));
        assert_eq!((keeper.service(), starts(&dir)), (pid, 1), "{text:?}");
        keeper.kill9();
    }
}

/// strace shows who opens the file that tells the boot.
#[test]
fn a_supervise_that_svscan_starts_need_not_ask_which_boot_it_is() {
    let scratch = Scratch::new();
    let names: Vec<_> = (0..20).map(|i| format!("s{i}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let dirs = services(&scratch, &names);
    let trace = scratch.join("trace");
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let scan = start(
        &scratch,
        &["strace", "-D", "-f", "-qq", "-o", trace.to_str().unwrap(), "-P", boot_id],
    );
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let opened = fs::read_to_string(&trace).unwrap().matches("openat(").count();
    // On a machine so busy that a second went by what some were told is too old for them.
    assert!((1..=dirs.len()).contains(&opened), "{opened}");
    assert_eq!(scan.end().code(), Some(0));
}
