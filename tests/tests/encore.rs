//! Service directories of daemontools-encore, and its way where it is asked for.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use ondisk::record::Phase;
use ondisk::status::{State, Status, Want};
use std::fs;
use std::path::{Path, PathBuf};
use testkit::keeper::{
    Keeper, is_alive, kill9, record, running, send, state, status, supervise, until_down,
};
use testkit::scratch::{SLEEPER, script};
use testkit::{Scratch, until};

fn say(dir: &Path, name: &str, rest: &str) {
    script(&dir.join(name), &format!("#!/bin/sh\necho {name} $* >>told\n{rest}\n"));
}

fn told(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("told")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_string()).collect()
}

fn encore(scratch: &Scratch, name: &str) -> Keeper {
    let mut command = supervise(scratch, name, false);
    Keeper::start(&scratch.join(name), command.env("DAEMONTOOLS_COMPAT", "encore"))
}

fn bytes(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("supervise/status")).unwrap_or_default()
}

#[test]
fn start_runs_before_and_stop_after_and_notify_hears_of_each() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    say(&dir, "start", "");
    say(&dir, "run", "exec sleep 1000000");
    say(&dir, "stop", "exit 3");
    // In one piece: they come from several processes.
    script(&dir.join("notify"), "#!/bin/sh\necho \"$1 $2 $4\" >>heard\n");
    let _keeper = Keeper::plain(&scratch, "web");
    until(10, || told(&dir) == ["start", "run"]);
    let first = running(&dir);
    kill9(first);
    until(10, || told(&dir) == ["start", "run", "run"]);
    until(10, || running(&dir) != first);
    send(&dir, b"d");
    until(10, || told(&dir) == ["start", "run", "run", "stop"]);
    until_down(&dir);
    let heard = || {
        let text = fs::read_to_string(dir.join("heard")).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().map(str::to_string).collect();
        lines.sort();
        lines
    };
    let expected = [
        "run killed 15",
        "run killed 9",
        "run start 0",
        "run start 0",
        "start exit 0",
        "start start 0",
        "stop exit 3",
        "stop start 0",
    ];
    until(10, || heard() == expected);
}

#[test]
fn a_start_that_fails_leaves_the_service_down_until_it_is_told_up() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    say(&dir, "start", "exit 1");
    say(&dir, "run", "exec sleep 1000000");
    let keeper = encore(&scratch, "web");
    until(10, || bytes(&dir).get(18) == Some(&(State::Failed as u8)));
    assert_eq!((told(&dir), record(&dir).unwrap().phase), (vec!["start".into()], Phase::Failed));
    say(&dir, "start", "");
    send(&dir, b"u");
    until(10, || told(&dir) == ["start", "start", "run"]);
    until(10, || bytes(&dir).get(18) == Some(&(State::Running as u8)));
    drop(keeper);
}

#[test]
fn start_without_run_is_started_and_also_for_the_next_supervise() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    fs::remove_file(dir.join("run")).unwrap();
    say(&dir, "start", "");
    say(&dir, "stop", "");
    let keeper = encore(&scratch, "web");
    until(10, || bytes(&dir).get(18) == Some(&(State::Started as u8)));
    keeper.kill9();
    let _keeper = encore(&scratch, "web");
    until(10, || bytes(&dir).get(18) == Some(&(State::Started as u8)));
    assert_eq!(told(&dir), ["start"]);
    send(&dir, b"d");
    until(10, || told(&dir) == ["start", "stop"]);
}

#[test]
fn services_get_a_session_of_their_own_unless_no_setsid() {
    let scratch = Scratch::new();
    for own in [true, false] {
        let name = format!("own-{own}");
        let dir = scratch.service(&name, SLEEPER);
        if !own {
            fs::write(dir.join("no-setsid"), "").unwrap();
        }
        let keeper = Keeper::plain(&scratch, &name);
        let pid = keeper.service();
        let session = |pid: i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields = line.rsplit(')').next().unwrap().to_string();
            fields.split_whitespace().nth(3).unwrap().parse::<i32>().unwrap()
        };
        assert_eq!(session(pid), if own { pid } else { session(keeper.pid()) });
    }
}

/// Counts starts and exits with a code.
fn exits(scratch: &Scratch, name: &str, code: i32) -> PathBuf {
    scratch.service(name, &format!("#!/bin/sh\necho run >>told\nexit {code}\n"))
}

#[test]
fn exit_100_is_final_only_where_encore_rules_or_the_directory_lists_it() {
    type Prepare = fn(&Path);
    let nothing: Prepare = |_| {};
    let cases: [(&str, i32, bool, Prepare, bool); 6] = [
        ("plain", 100, false, nothing, false),
        ("variable", 100, true, nothing, true),
        ("other", 99, true, nothing, false),
        ("file", 100, false, |dir| fs::write(dir.join("compat"), "encore\n").unwrap(), true),
        ("code", 7, false, |dir| fs::write(dir.join("failure-codes"), "3 7\n9\n").unwrap(), true),
        (
            "codes",
            77,
            false,
            |dir| fs::write(dir.join("failure-codes"), "3 7\n9\n").unwrap(),
            false,
        ),
    ];
    for (name, code, variable, prepare, last) in cases {
        let scratch = Scratch::new();
        let dir = exits(&scratch, name, code);
        prepare(&dir);
        let keeper = if variable { encore(&scratch, name) } else { Keeper::plain(&scratch, name) };
        if last {
            until(10, || record(&dir).is_some_and(|r| r.phase == Phase::Failed));
            until(10, || status(&dir).is_some_and(|s| s.want == Want::Down));
            assert_eq!(told(&dir).len(), 1, "{name}");
            send(&dir, b"u");
            until(10, || told(&dir).len() == 2);
        } else {
            until(10, || told(&dir).len() >= 3);
        }
        drop(keeper);
    }
}

#[test]
fn the_status_has_18_bytes_and_20_or_40_only_where_encore_rules() {
    let scratch = Scratch::new();
    let dir = scratch.service("plain", SLEEPER);
    script(&dir.join("log"), "#!/bin/sh\nexec cat >>lines\n");
    let keeper = Keeper::plain(&scratch, "plain");
    running(&dir);
    assert_eq!(bytes(&dir).len(), 18);
    drop(keeper);
    let dir = scratch.service("bare", SLEEPER);
    let keeper = encore(&scratch, "bare");
    running(&dir);
    assert_eq!(bytes(&dir).len(), 20);
    assert_eq!(bytes(&dir)[18..], [State::Running as u8, 0]);
    drop(keeper);
    let dir = scratch.service("logged", "#!/bin/sh\necho hello\nexec sleep 1000000\n");
    script(&dir.join("log"), "#!/bin/sh\nexec cat >>lines\n");
    let keeper = encore(&scratch, "logged");
    let logger = || Status::from_bytes(bytes(&dir).get(20..)?).map(|s| s.pid.cast_signed());
    until(10, || bytes(&dir).len() == 40 && logger().is_some_and(is_alive));
    until(10, || fs::read_to_string(dir.join("lines")).is_ok_and(|s| s == "hello\n"));
    let (service, before) = (running(&dir), logger().unwrap());
    // A logger that is a script is told by letters of the one FIFO, and taken back like any.
    send(&dir, b"Lt");
    until(10, || logger().is_some_and(|pid| pid != before && is_alive(pid)));
    let now = logger();
    keeper.kill9();
    let mut keeper = encore(&scratch, "logged");
    until(10, || bytes(&dir).len() == 40);
    assert_eq!((running(&dir), logger()), (service, now));
    send(&dir, b"dx");
    assert_eq!(keeper.end_within(15).code(), Some(0), "the logger ends with its service");
    assert!(!is_alive(now.unwrap()));
}

#[test]
fn supervisedir_puts_the_folder_elsewhere() {
    let scratch = Scratch::new();
    let dir = scratch.service("web", SLEEPER);
    let base = scratch.join("run");
    fs::create_dir(&base).unwrap();
    let colons = dir.to_str().unwrap()[1..].replace('/', ":");
    for (value, folder) in
        [("other".to_string(), dir.join("other")), (base.display().to_string(), base.join(&colons))]
    {
        let mut command = supervise(&scratch, "web", false);
        let mut keeper = Keeper::spawn(&dir, command.env("SUPERVISEDIR", &value));
        let pid = || {
            let bytes = fs::read(folder.join("status")).unwrap_or_default();
            Status::from_bytes(&bytes).map_or(0, |s| s.pid.cast_signed())
        };
        until(10, || is_alive(pid()) && folder.join("ok").exists());
        fs::write(folder.join("control"), "dx").unwrap();
        assert_eq!(keeper.end_within(10).code(), Some(0));
        assert!(!dir.join("supervise").exists());
    }
}

#[test]
fn every_letter_of_svc_sends_its_signal() {
    let traps: String = ["HUP", "ALRM", "INT", "TERM", "QUIT", "USR1", "USR2", "WINCH"]
        .map(|name| format!("trap 'echo {name} >>told' {name}\n"))
        .concat();
    let scratch = Scratch::new();
    let text =
        format!("#!/bin/sh\n{traps}: >ready\nwhile :; do sleep 1000000 & wait $!; kill $!; done\n");
    let dir = scratch.service("web", &text);
    let _keeper = Keeper::plain(&scratch, "web");
    until(10, || dir.join("ready").exists());
    let pid = running(&dir);
    let letters: [(&[u8], &str); 8] = [
        (b"h", "HUP"),
        (b"a", "ALRM"),
        (b"i", "INT"),
        (b"t", "TERM"),
        (b"q", "QUIT"),
        (b"1", "USR1"),
        (b"2", "USR2"),
        (b"w", "WINCH"),
    ];
    for (n, (letter, name)) in letters.into_iter().enumerate() {
        send(&dir, letter);
        until(10, || told(&dir).len() > n);
        assert_eq!(told(&dir).last().unwrap(), name);
    }
    assert_eq!(running(&dir), pid);
}

#[test]
fn a_plus_reaches_the_children_too_and_an_equals_sign_the_one_process_again() {
    let scratch = Scratch::new();
    let text = "#!/bin/sh\nsleep 1000000 &\necho $! >child.new; mv child.new child\nwait\n";
    let dir = scratch.service("web", text);
    let _keeper = Keeper::plain(&scratch, "web");
    until(10, || dir.join("child").exists());
    let pid = running(&dir);
    let child = fs::read_to_string(dir.join("child")).unwrap().trim().parse().unwrap();
    until(10, || state(child) == Some('S'));
    // A modifier at the end of a burst is for the next one.
    send(&dir, b"=p+");
    until(10, || state(pid) == Some('T'));
    assert_eq!(state(child), Some('S'));
    send(&dir, b"p");
    until(10, || state(child) == Some('T'));
    send(&dir, b"+c");
    until(10, || state(child) == Some('S') && state(pid) == Some('S'));
    send(&dir, b"+k");
    until(10, || !is_alive(pid) && !is_alive(child));
}
