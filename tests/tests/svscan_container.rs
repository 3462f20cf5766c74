//! svscan as the first process of a container: a pid namespace of its own.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use linux::signal::numbers as n;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::keeper::children;
use testkit::scratch::is_zombie;
use testkit::svscan::{COUNTED, KEEPER, SOON, Svscan, add_logger, starts, svc, svscan};
use testkit::{Scratch, until};

/// A pid namespace; all in it is killed with its first process, and that with `unshare`.
const NAMESPACE: [&str; 5] = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// svscan with pid 1; `unshare` in front of it ends as it does.
struct Container {
    outer: Svscan,
}

impl Container {
    #[track_caller]
    fn start(scratch: &Scratch, options: &[&str]) -> Self {
        let mut wrapper = NAMESPACE.to_vec();
        if linux::process::euid() != 0 {
            wrapper.insert(1, "--map-root-user");
        }
        let mut command = svscan(scratch, &wrapper, options, "service");
        Self { outer: Svscan::spawn(&scratch.join("service"), &mut command) }
    }

    /// svscan's pid as we see it.
    #[track_caller]
    fn pid(&self) -> i32 {
        let mut pid = None;
        until(SOON, || {
            pid = children(self.outer.pid()).first().copied();
            pid.is_some_and(|pid| {
                fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c == "svscan\n")
            })
        });
        pid.unwrap()
    }

    #[track_caller]
    fn signal(&self, number: i32) {
        linux::signal::kill(self.pid(), number).unwrap();
    }

    #[track_caller]
    fn code(&mut self) -> Option<i32> {
        self.outer.ended(2 * SOON).code()
    }
}

/// Says each signal that it gets, and ends with 5 on TERM.
fn listener(scratch: &Scratch, name: &str) -> PathBuf {
    let run = "#!/bin/sh\nfor s in QUIT USR2 WINCH; do trap \"echo $s >>signals\" $s; done\n\
               trap 'echo TERM >>signals; exit 5' TERM\necho up >>starts\n\
               while :; do sleep 1 & wait $!; done\n";
    scratch.service(&format!("service/{name}"), run)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// A service that leaves orphans behind; the first process reaps each.
#[test]
fn orphans_are_reaped() {
    let scratch = Scratch::new();
    // The middle one ends at once, so its child is an orphan; some end before, some after it.
    let run = "#!/bin/sh\ni=0\nwhile [ $i -lt 50 ]; do (sleep 0.0$((i % 5)) & exit 0)\n\
               i=$((i + 1)); done\necho done >done\nexec sleep 1000000\n";
    let dir = scratch.service("service/forker", run);
    let mut container = Container::start(&scratch, &[]);
    container.outer.until(|| dir.join("done").exists());
    let pid = container.pid();
    // Nothing is left below svscan but its supervise, and no zombie.
    container.outer.until(|| children(pid).len() == 1);
    assert!(!is_zombie(children(pid)[0]));
    container.signal(n::SIGTERM);
    assert_eq!(container.code(), Some(0));
}

#[test]
fn term_ends_services_first_and_loggers_last() {
    let scratch = Scratch::new();
    let run = "#!/bin/sh\ntrap 'echo last; exit 0' TERM\necho up >up\n\
               while :; do sleep 1 & wait $!; done\n";
    let dir = scratch.service("service/web", run);
    add_logger(&dir);
    let mut container = Container::start(&scratch, &[]);
    container.outer.until(|| dir.join("up").exists() && starts(&dir.join("log")) == 1);
    container.signal(n::SIGTERM);
    assert_eq!(container.code(), Some(0));
    assert_eq!(read(&dir.join("log/lines")), "last\n");
}

/// `--exit-with NAME`: the container ends with that service, with its code.
#[test]
fn the_container_ends_with_its_service_and_its_code() {
    for (run, code) in [
        ("exit 0", 0),
        ("exit 7", 7),
        ("exit 111", 111),
        ("kill -KILL $$", 128 + 9),
        ("kill -USR1 $$", 128 + 10),
    ] {
        let scratch = Scratch::new();
        let end =
            format!("#!/bin/sh\necho $$ >>starts\nwhile ! [ -e end ]; do sleep 0.1; done\n{run}\n");
        let main = scratch.service("service/main", &end);
        add_logger(&main);
        let other = scratch.service("service/other", COUNTED);
        let mut container = Container::start(&scratch, &["--exit-with", "main"]);
        container.outer.until(|| starts(&main) == 1 && starts(&other) == 1);
        fs::write(main.join("end"), "").unwrap();
        assert_eq!(container.code(), Some(code), "{run}");
        assert_eq!((starts(&main), starts(&other)), (1, 1), "{run}");
    }
}

/// A mistyped name is told; one that comes later is waited for.
#[test]
fn a_service_to_end_with_that_is_not_there_is_told_once_and_waited_for() {
    let scratch = Scratch::new();
    let other = scratch.service("service/other", COUNTED);
    let mut container = Container::start(&scratch, &["--exit-with", "main"]);
    container.outer.until(|| starts(&other) == 1);
    let wanted = "svscan: warning: unable to end with main yet: there is no such service\n";
    assert_eq!(container.outer.messages(), wanted);
    let _ = scratch.service("main", "#!/bin/sh\nexit 4\n");
    fs::rename(scratch.join("main"), scratch.join("service/main")).unwrap();
    assert_eq!(container.code(), Some(4));
    assert_eq!(container.outer.messages(), wanted);
}

/// One that is over at once, before svscan can look.
#[test]
fn a_service_that_is_over_at_once_ends_the_container_too() {
    let scratch = Scratch::new();
    let main = scratch.service("service/main", "#!/bin/sh\necho $$ >>starts\nexit 3\n");
    let mut container = Container::start(&scratch, &["--exit-with=main"]);
    assert_eq!(container.code(), Some(3));
    assert_eq!(starts(&main), 1);
    // The container starts again on the same directory: what was is of no matter.
    let mut container = Container::start(&scratch, &["--exit-with=main"]);
    assert_eq!(container.code(), Some(3));
    assert_eq!(starts(&main), 2);
}

/// The others end in order: with their last lines.
#[test]
fn what_runs_beside_the_service_ends_in_order() {
    let scratch = Scratch::new();
    let end = "#!/bin/sh\necho $$ >>starts\nwhile ! [ -e end ]; do sleep 0.1; done\nexit 9\n";
    let main = scratch.service("service/main", end);
    let polite = "#!/bin/sh\ntrap 'echo last; exit 0' TERM\necho up >up\n\
                  while :; do sleep 1 & wait $!; done\n";
    let other = scratch.service("service/other", polite);
    add_logger(&other);
    let mut container = Container::start(&scratch, &["--exit-with", "main"]);
    container.outer.until(|| starts(&main) == 1 && other.join("up").exists());
    container.outer.until(|| starts(&other.join("log")) == 1);
    fs::write(main.join("end"), "").unwrap();
    assert_eq!(container.code(), Some(9));
    assert_eq!(read(&other.join("log/lines")), "last\n");
}

/// QUIT, USR2 and WINCH go to the service; TERM ends it, and the container has its code.
#[test]
fn signals_are_passed_on_to_the_service() {
    let scratch = Scratch::new();
    let main = listener(&scratch, "main");
    let other = listener(&scratch, "other");
    let mut container = Container::start(&scratch, &["--exit-with", "main"]);
    container.outer.until(|| starts(&main) == 1 && starts(&other) == 1);
    for (number, name) in [(n::SIGQUIT, "QUIT"), (n::SIGUSR2, "USR2"), (n::SIGWINCH, "WINCH")] {
        container.signal(number);
        container.outer.until(|| read(&main.join("signals")).contains(name));
    }
    assert_eq!(read(&other.join("signals")), "", "to that service alone");
    container.signal(n::SIGTERM);
    let code = container.code();
    assert!(read(&main.join("signals")).ends_with("TERM\n"));
    assert_eq!(starts(&main), 1);
    assert_eq!(code, Some(5), "the code of the service");
}

/// Its supervise is killed: the service is taken back, and still decides the end.
#[test]
fn the_service_is_taken_back_when_its_supervise_is_killed() {
    let scratch = Scratch::new();
    let end = "#!/bin/sh\necho $$ >>starts\nwhile ! [ -e end ]; do sleep 0.1; done\nexit 4\n";
    let main = scratch.service("service/main", end);
    let mut container = Container::start(&scratch, &["--exit-with", "main"]);
    container.outer.until(|| starts(&main) == 1);
    let pid = container.pid();
    let supervise = |pid| {
        let named = |pid: &i32| read(Path::new(&format!("/proc/{pid}/comm"))) == "supervise\n";
        children(pid).into_iter().find(named)
    };
    let first = supervise(pid).unwrap();
    testkit::svscan::kill9(first);
    container.outer.until(|| supervise(pid).is_some_and(|now| now != first));
    let ok = || testkit::scratch::is_supervised(&main);
    container.outer.until(ok);
    assert_eq!(starts(&main), 1);
    fs::write(main.join("end"), "").unwrap();
    assert_eq!(container.code(), Some(4));
    assert_eq!(starts(&main), 1);
}

/// A log service as second argument, in a container as anywhere.
#[test]
fn the_end_of_a_container_with_a_log_service_is_logged() {
    let scratch = Scratch::new();
    let log = scratch.service("service/messages", KEEPER);
    let _ = scratch.service("service/broken", "#!/nonexistent/interpreter\n");
    let wrapper = NAMESPACE;
    let mut command = svscan(&scratch, &wrapper, &[], "service");
    command.arg("messages");
    let mut container = Container { outer: Svscan::spawn(&scratch.join("service"), &mut command) };
    let said = || read(&log.join("lines"));
    container.outer.until(|| said().contains("unable to start broken/run"));
    container.signal(n::SIGINT);
    assert_eq!(container.code(), Some(0));
}

/// svc works from inside as anywhere.
#[test]
fn a_service_of_a_container_obeys_svc() {
    let scratch = Scratch::new();
    let dir = scratch.service("service/web", COUNTED);
    let mut container = Container::start(&scratch, &[]);
    container.outer.until(|| starts(&dir) == 1);
    svc(container.outer.folder(), &["-t", "web"]);
    container.outer.until(|| starts(&dir) == 2);
    container.signal(n::SIGTERM);
    assert_eq!(container.code(), Some(0));
    let left = Command::new("pgrep").args(["-f", scratch.path().to_str().unwrap()]).output();
    drop(left);
    assert!(scratch.processes().is_empty());
}
