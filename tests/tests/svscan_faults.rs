//! svscan while calls fail, descriptors are closed, entries are broken, or another svscan is there.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::numbers as n;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::crash::{CRASHER, assert_spaced, start_times};
use testkit::scratch::{SLEEPER, is_supervised, pid_in_status};
use testkit::svscan::{
    COUNTED, Svscan, add_logger, is_alive, kill9, lose_supervise, named, starts, supervise_of,
    supervises_of, svscan,
};
use testkit::{Scratch, program, run, until};

/// Makes the named services, which count their starts.
fn counted(scratch: &Scratch, names: &[&str]) -> Vec<PathBuf> {
    names.iter().map(|name| scratch.service(&format!("service/{name}"), COUNTED)).collect()
}

fn injecting(scratch: &Scratch, what: &str) -> Svscan {
    let inject = format!("--inject={what}");
    let wrapper = ["strace", "-D", "-qq", "-o", "/dev/null", &inject];
    Svscan::spawn(&scratch.join("service"), &mut svscan(scratch, &wrapper, &[], "service"))
}

fn prlimit(pid: i32, limit: &str) {
    let output = run(Command::new("prlimit").args(["--pid", &pid.to_string(), limit]));
    assert_eq!(output.code, Some(0), "{output:?}");
}

/// `svscan_fork_eagain`: the first forks fail. D and E give the service up or svscan ends.
#[test]
fn a_failed_fork_is_tried_again_and_no_service_is_lost() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b"]);
    let scan = injecting(&scratch, "clone:error=EAGAIN:when=1..5");
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    assert!(scan.messages().contains("svscan: warning: unable to fork for a: "));
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_fork_eagain` with ENOMEM, while services run already: these notice nothing.
#[test]
fn a_failed_fork_of_a_later_service_touches_no_other() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b"]);
    let scan = injecting(&scratch, "clone:error=ENOMEM:when=3..6");
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let pids: Vec<_> = dirs.iter().map(|dir| pid_in_status(dir)).collect();
    let late = counted(&scratch, &["c"]);
    scan.until(|| starts(&late[0]) == 1);
    assert!(scan.messages().contains("unable to fork for c: "));
    assert_eq!(pids, dirs.iter().map(|dir| pid_in_status(dir)).collect::<Vec<_>>());
    // A supervise that is lost while forks fail comes back all the same.
    lose_supervise(&scratch, &dirs[0]);
    assert_eq!(starts(&dirs[0]), 1);
}

/// `svscan_emfile`: no descriptor can be had; a service that is made meanwhile starts once there
/// are some again, and none is taken for gone.
#[test]
fn without_descriptors_services_wait_and_none_is_lost() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b"]);
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let before = named(&scratch, "supervise");
    prlimit(scan.pid(), "--nofile=4:4096");
    let late = counted(&scratch, &["c"]);
    scan.signal(n::SIGHUP);
    scan.until(|| scan.messages().contains("unable to read directory"));
    let killed = supervise_of(&scratch, &dirs[1]).unwrap();
    kill9(killed);
    prlimit(scan.pid(), "--nofile=4096:4096");
    scan.until(|| starts(&late[0]) == 1);
    scan.until(|| supervise_of(&scratch, &dirs[1]).is_some_and(|pid| pid != killed));
    assert!(dirs.iter().all(|dir| starts(dir) == 1));
    let after = named(&scratch, "supervise");
    assert!(before.iter().filter(|pid| **pid != killed).all(|pid| after.contains(pid)));
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_readdir_eio`: E ends at a single failed directory read, even while services run.
#[test]
fn a_folder_that_cannot_be_read_is_read_again_and_nobody_is_forgotten() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b"]);
    let scan = injecting(&scratch, "getdents64:error=EIO:when=1..3");
    // The first reads fail at the start, where nothing is known yet: every five seconds anew.
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let said = scan.messages();
    let warning = "svscan: warning: unable to read directory: input/output error\n";
    assert_eq!(said.matches(warning).count(), 1, "said once, not each time: {said}");
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_readdir_eio` while services run: HUP reads the folder, which fails.
#[test]
fn a_failed_read_of_the_folder_ends_no_service() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b"]);
    // Two calls read a small folder: the names, and that there are no more.
    let scan = injecting(&scratch, "getdents64:error=EIO:when=3..4");
    scan.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let before = named(&scratch, "supervise");
    scan.signal(n::SIGHUP);
    scan.until(|| scan.messages().contains("unable to read directory"));
    kill9(pid_in_status(&dirs[0]).unwrap());
    until(30, || starts(&dirs[0]) == 2);
    assert_eq!(named(&scratch, "supervise").len(), before.len());
    let late = counted(&scratch, &["c"]);
    scan.until(|| starts(&late[0]) == 1);
    assert_eq!(scan.end().code(), Some(0));
}

/// `two_svscans`: the second finds everything kept and starts nothing twice.
#[test]
fn a_second_svscan_starts_no_second_copy() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b", "c"]);
    for dir in &dirs {
        add_logger(dir);
    }
    let first = Svscan::start(&scratch, "service");
    let second = Svscan::start(&scratch, "service");
    first.until(|| dirs.iter().all(|dir| starts(dir) == 1 && starts(&dir.join("log")) == 1));
    // Both know of a new one at the same time.
    let late = counted(&scratch, &["d", "e", "f"]);
    first.until(|| late.iter().all(|dir| starts(dir) == 1));
    // The death of a supervise is seen by both.
    for dir in &dirs {
        lose_supervise(&scratch, dir);
    }
    // One that goes on trying for a lock in vain would be a second one.
    let one_each = || {
        let all = dirs.iter().chain(&late).map(|dir| supervises_of(&scratch, dir).len());
        all.collect::<Vec<_>>() == [1; 6]
    };
    first.until(one_each);
    second.kill9();
    for dir in dirs.iter().chain(&late) {
        assert_eq!(starts(dir), 1, "{}", dir.display());
        assert!(is_supervised(dir));
    }
    assert_eq!(first.end().code(), Some(0));
}

/// svscan knows a supervise that runs by its record, and that by the boot; it watches it by a pidfd.
#[test]
fn a_boot_that_cannot_be_read_at_first_is_read_later_and_running_supervises_are_taken_over() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a", "b"]);
    let first = Svscan::start(&scratch, "service");
    first.until(|| dirs.iter().all(|dir| starts(dir) == 1));
    let kept = dirs.iter().map(|dir| supervise_of(&scratch, dir)).collect::<Vec<_>>();
    first.kill9();
    let wrapper = "strace -D -qq -o /dev/null -P /proc/sys/kernel/random/boot_id \
                   --inject=openat:error=EMFILE:when=1..3";
    let wrapper: Vec<&str> = wrapper.split_whitespace().collect();
    let mut command = svscan(&scratch, &wrapper, &[], "service");
    let second = Svscan::spawn(&scratch.join("service"), &mut command);
    let watched = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", second.pid())).unwrap();
        let targets = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().contains("pidfd")).count()
    };
    second.until(|| watched() == 2);
    assert_eq!(dirs.iter().map(|dir| supervise_of(&scratch, dir)).collect::<Vec<_>>(), kept);
    assert!(dirs.iter().all(|dir| starts(dir) == 1));
    assert_eq!(second.end().code(), Some(0));
}

/// S3: what crashes at once is started once a second, under svscan too.
#[test]
fn a_crash_loop_runs_once_a_second_and_its_stop_is_obeyed() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/crasher", CRASHER);
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| start_times(&dir).len() >= 5);
    assert_spaced(&dir);
    testkit::svscan::svc(scan.folder(), &["-d", "crasher"]);
    scan.until(|| {
        pid_in_status(&dir).is_none() && fs::read(dir.join("supervise/status")).unwrap()[17] == b'd'
    });
    let supervise = supervise_of(&scratch, &dir).unwrap();
    assert!(is_alive(supervise));
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_stderr_gone`: nobody reads the messages any more. D and E die of SIGPIPE.
#[test]
fn messages_that_nobody_reads_kill_neither_svscan_nor_supervise() {
    let scratch = Scratch::new();
    let dirs = counted(&scratch, &["a"]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = svscan(&scratch, &[], &[], "service");
    command.stderr(writer.try_clone().unwrap()).stdout(writer);
    let mut scan = Svscan::spawn(&scratch.join("service"), &mut command);
    drop((command, reader));
    scan.until(|| starts(&dirs[0]) == 1);
    // svscan has something to say of the link, supervise of the run.
    symlink("nowhere", scan.join("dangling")).unwrap();
    let broken = scratch.service("service/broken", "#!/nonexistent/interpreter\n");
    scan.until(|| is_supervised(&broken));
    let late = counted(&scratch, &["late"]);
    scan.until(|| starts(&late[0]) == 1);
    testkit::scratch::script(&broken.join("run"), COUNTED);
    scan.until(|| starts(&broken) == 1);
    assert!(scan.is_running());
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_stderr_gone` with /dev/full.
#[test]
fn messages_that_cannot_be_written_hinder_nothing() {
    let scratch = Scratch::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = svscan(&scratch, &[], &[], "service");
    command.stderr(full.try_clone().unwrap()).stdout(full);
    symlink("nowhere", scratch.join("service/dangling")).unwrap();
    let scan = Svscan::spawn(&scratch.join("service"), &mut command);
    let late = counted(&scratch, &["late"]);
    scan.until(|| starts(&late[0]) == 1);
    assert_eq!(scan.end().code(), Some(0));
}

/// `svscan_closed_stdio`: D puts a file of its own in the place of a closed descriptor.
#[test]
fn closed_descriptors_are_taken_by_nothing_of_ours() {
    let scratch = Scratch::new();
    let tell = "#!/bin/sh\nall=$(for i in 0 1 2; do readlink /proc/$$/fd/$i || echo closed; done)\n\
                echo \"$all\" >fds.new\nmv fds.new fds\nexec sleep 1000000\n";
    let dir = scratch.service("service/a", tell);
    let logged = scratch.service("service/b", tell);
    add_logger(&logged);
    let closing = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let mut command = svscan(&scratch, &closing, &[], "service");
    let mut scan = Svscan::spawn(&scratch.join("service"), &mut command);
    scan.until(|| dir.join("fds").exists() && logged.join("fds").exists());
    let fds = fs::read_to_string(dir.join("fds")).unwrap();
    assert!(fds.lines().all(|fd| fd == "/dev/null" || fd == "closed"), "{fds}");
    let fds = fs::read_to_string(logged.join("fds")).unwrap();
    let second = fds.lines().nth(1).unwrap();
    assert_eq!(Path::new(second), logged.join("supervise/logpipe"), "{fds}");
    assert!(scan.is_running());
    assert_eq!(scan.end().code(), Some(0));
}

/// A thousand entries that cannot be run, each in its way.
fn broken_entries(folder: &Path) {
    for i in 0..250 {
        symlink("nowhere", folder.join(format!("dangling-{i}"))).unwrap();
        fs::write(folder.join(format!("file-{i}")), "").unwrap();
        symlink(format!("loop-{i}"), folder.join(format!("loop-{i}"))).unwrap();
        fs::create_dir(folder.join(format!(".hidden-{i}"))).unwrap();
    }
}

/// `svscan_bad_entries`
#[test]
fn a_thousand_broken_entries_hinder_no_other() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("service")).unwrap();
    broken_entries(&scratch.join("service"));
    let long = format!("service/{}", "n".repeat(255));
    let odd = ["service/new\nline", "service/-d", "service/ ", "service/\u{1b}[2J", &long];
    let odd = odd.map(|name| scratch.service(name, COUNTED));
    // `log` as a file: no logger, and no reason not to run.
    let with_file = scratch.service("service/log-is-a-file", COUNTED);
    fs::write(with_file.join("log"), "").unwrap();
    let without_run = scratch.join("service/without-run");
    fs::create_dir(&without_run).unwrap();
    let not_program = scratch.service("service/not-executable", SLEEPER);
    fs::set_permissions(not_program.join("run"), fs::Permissions::from_mode(0o644)).unwrap();
    // supervise cannot have its folder there.
    let no_folder = scratch.service("service/no-folder", COUNTED);
    fs::write(no_folder.join("supervise"), "").unwrap();
    let last = counted(&scratch, &["zzz"]);

    let mut scan = Svscan::start(&scratch, "service");
    scan.until(|| odd.iter().chain(&last).all(|dir| starts(dir) == 1));
    scan.until(|| starts(&with_file) == 1 && is_supervised(&without_run));
    scan.until(|| scan.messages().contains("unable to start not-executable/run"));
    scan.until(|| scan.messages().contains("no-folder/supervise/lock"));
    assert_eq!(scan.messages().matches("unable to stat dangling-7:").count(), 1);
    // Mended, each starts without a command.
    fs::remove_file(no_folder.join("supervise")).unwrap();
    testkit::scratch::script(&without_run.join("run"), COUNTED);
    testkit::scratch::script(&not_program.join("run"), COUNTED);
    fs::create_dir(scan.join("nowhere")).unwrap();
    testkit::scratch::script(&scan.join("nowhere/run"), COUNTED);
    let mended = [no_folder, without_run, not_program, scan.join("nowhere")];
    scan.until(|| mended.iter().all(|dir| starts(dir) == 1));
    assert!(scan.is_running());
    assert!(odd.iter().chain(&last).all(|dir| starts(dir) == 1));
    assert_eq!(scan.end().code(), Some(0));
}

/// An entry that cannot be looked at now is looked at again, without a command.
#[test]
fn a_link_whose_target_comes_later_is_started() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("service")).unwrap();
    symlink("../all/web", scratch.join("service/web")).unwrap();
    let scan = Svscan::start(&scratch, "service");
    scan.until(|| scan.messages().contains("unable to stat web: file does not exist"));
    let dir = scratch.service("all/web", COUNTED);
    scan.until(|| starts(&dir) == 1);
}

/// The folder itself is missing: said, and 111.
#[test]
fn a_missing_folder_is_fatal() {
    let scratch = Scratch::new();
    let output = run(Command::new(program("svscan")).arg(scratch.join("missing")));
    assert_eq!(output.code, Some(111));
    let wanted = format!(
        "svscan: fatal: unable to chdir to {}: file does not exist\n",
        scratch.join("missing").display()
    );
    assert_eq!(output.err(), wanted);
    assert_eq!(output.out(), "");
}
