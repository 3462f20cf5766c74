//! Another exoskeleton in place of exo.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use testkit::scratch::script;
use testkit::{Output, Scratch, program, run, run_within, until};

fn is_root() -> bool {
    linux::process::euid() == 0
}

/// A service directory whose exoskeleton is this script.
fn service(text: &str, more: &str) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.join("etc")).unwrap();
    fs::create_dir(scratch.join("sizer")).unwrap();
    fs::write(scratch.join("etc/skynet.yaml"), "worker-user: daemon\n").unwrap();
    let own = format!("exoskeleton: [./other, 'two words']\n{more}");
    fs::write(scratch.join("sizer/exo.yaml"), own).unwrap();
    script(&scratch.join("sizer/other"), text);
    scratch
}

fn exo(scratch: &Scratch) -> Command {
    let mut command = Command::new(program("exo"));
    command.current_dir(scratch.join("sizer")).env("SKYNET_CONFIG", scratch.join("etc"));
    command.env("SECRET", "x").env("LD_LIBRARY_PATH", "/x");
    command
}

fn told(text: &str, more: &str) -> Output {
    run(&mut exo(&service(text, more)))
}

#[test]
fn it_gets_what_is_in_force_on_the_descriptor_that_it_is_told() {
    let told = told(
        "#!/bin/sh\neval \"cat <&$SKYNET_CONFIG_FD\"\n",
        "tries: 9\nconfig: {big: 123456789012345678901234567890, one: 1.0}\n",
    );
    let text = told.out();
    let config: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(
        (config["participant"].as_str(), config["tries"].as_u64()),
        (Some("sizer"), Some(9))
    );
    assert_eq!(config["retry"]["first"], "10s");
    assert_eq!(config["exoskeleton"], serde_json::json!(["./other", "two words"]));
    assert!(text.contains("123456789012345678901234567890") && text.contains("\"one\":1.0"));
}

#[test]
fn it_can_not_change_what_it_was_told() {
    let told = told("#!/bin/sh\necho x 1<>/proc/self/fd/3 && exit 1\nexec cat <&3\n", "");
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(serde_json::from_str::<Value>(&told.out()).is_ok());
}

#[test]
fn nothing_but_what_was_listed_is_in_its_environment() {
    let told = told("#!/usr/bin/env -S sh -c 'exec env -u PWD'\n", "environment: {A: 'b c'}\n");
    let out = told.out();
    let mut names: Vec<&str> = out.lines().filter_map(|line| line.split('=').next()).collect();
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    let wanted: &[&str] = if is_root() {
        &["A", "HOME", "LOGNAME", "PATH", "SKYNET_CONFIG_FD", "USER"]
    } else {
        &["A", "PATH", "SKYNET_CONFIG_FD"]
    };
    assert_eq!(names, wanted, "{told:?}");
}

#[test]
fn it_has_the_participant_s_user_and_umask_no_rights_and_no_other_descriptor() {
    let text = "#!/bin/sh\n\
                grep -E '^(Uid|Gid|Groups|NoNewPrivs|SigBlk|SigIgn|CapEff|Umask):' /proc/self/status\n\
                pwd; echo \"$1\"; echo open; ls /proc/$$/fd\n";
    let scratch = service(text, "umask: \"027\"\n");
    // What somebody left open for exo goes no further.
    let mut sh = Command::new("sh");
    sh.arg("-c").arg("exec \"$0\" 7</dev/null 8</dev/null").arg(program("exo"));
    sh.current_dir(scratch.join("sizer")).env("SKYNET_CONFIG", scratch.join("etc"));
    let told = run(&mut sh);
    let out = told.out();
    for line in ["NoNewPrivs:\t1", "Umask:\t0027", "SigIgn:\t0000000000000000", "two words"] {
        assert!(out.lines().any(|l| l == line), "{line}: {told:?}");
    }
    assert!(out.contains("SigBlk:\t0000000000000000"), "{told:?}");
    assert!(out.lines().any(|line| line.ends_with("/sizer")), "{told:?}");
    // The shell keeps its script at 10 or above.
    let open = out.lines().skip_while(|line| *line != "open").skip(1);
    let mut open: Vec<u32> = open.map(|line| line.parse().unwrap()).collect();
    open.retain(|fd| *fd < 10);
    assert_eq!(open, [0, 1, 2, 3], "{told:?}");
    if is_root() {
        let nobody = run(Command::new("id").args(["-u", "nobody"])).out();
        let uids = format!("Uid:\t{0}\t{0}\t{0}\t{0}", nobody.trim());
        assert!(out.lines().any(|l| l == uids), "{told:?}");
        assert!(out.lines().any(|l| l == "CapEff:\t0000000000000000"), "{told:?}");
    }
}

#[test]
fn it_gets_both_ways_of_telling_that_it_is_ready() {
    let text = "#!/bin/sh\neval \"cat <&$SKYNET_CONFIG_FD\"\n\
                echo \" $SKYNET_CONFIG_FD $NOTIFY_SOCKET\"; ls /proc/$$/fd; echo >&READY\n";
    for (ready, config, open) in [(3, 4, [0, 1, 2, 3, 4]), (6, 3, [0, 1, 2, 3, 6])] {
        let scratch = service(&text.replace("READY", &ready.to_string()), "");
        let own = format!("exoskeleton: ./other\nready-fd: {ready}\n");
        fs::write(scratch.join("sizer/exo.yaml"), own).unwrap();
        let said = scratch.join("ready");
        let mut sh = Command::new("sh");
        let line = format!("exec \"$0\" 3</dev/null 5</dev/null {ready}>\"$1\" 7</dev/null");
        sh.args(["-c", &line]).args([program("exo"), said.clone()]);
        sh.current_dir(scratch.join("sizer")).env("SKYNET_CONFIG", scratch.join("etc"));
        let told = run(sh.env("NOTIFY_SOCKET", "@listens"));
        let out = told.out();
        let (json, rest) = out.split_once("} ").unwrap_or_else(|| panic!("{told:?}"));
        let json: Value = serde_json::from_str(&format!("{json}}}")).unwrap();
        assert_eq!(json["ready-fd"], ready.to_string());
        let (line, fds) = rest.split_once('\n').unwrap();
        assert_eq!(line, format!("{config} @listens"));
        let mut fds: Vec<u32> = fds.lines().map(|line| line.parse().unwrap()).collect();
        fds.retain(|fd| *fd < 10);
        assert_eq!(fds, open, "{told:?}");
        assert_eq!(fs::read_to_string(said).unwrap(), "\n", "{told:?}");
    }
}

#[test]
fn a_descriptor_for_readiness_that_nobody_left_open_is_told() {
    let scratch = service("#!/bin/sh\n", "ready-fd: 77\n");
    let mut command = exo(&scratch);
    let told = run(command.stdin(Stdio::null()));
    let line = "exo: fatal: unable to use descriptor 77 for readiness: file descriptor not open\n";
    assert!(told.code == Some(111) && told.err().ends_with(line), "{told:?}");
}

#[test]
fn one_that_is_not_there_or_may_not_be_run_is_told() {
    for (command, why) in [
        ("./nowhere", "unable to run ./nowhere: file does not exist"),
        ("no-such-program-at-all", "unable to run no-such-program-at-all: file does not exist"),
        ("./exo.yaml", "unable to run ./exo.yaml: access denied"),
    ] {
        let scratch = service("", "");
        fs::write(scratch.join("sizer/exo.yaml"), format!("exoskeleton: {command}\n")).unwrap();
        let told = run(&mut exo(&scratch));
        let line = format!("exo: fatal: {why}\n");
        assert!(told.code == Some(111) && told.err().ends_with(&line), "{told:?}");
    }
}

/// Starts the example, which tells descriptor 4 and a socket that it is ready.
fn example() -> (Scratch, Child, UnixDatagram) {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let socket = UnixDatagram::bind(scratch.join("notify")).unwrap();
    fs::set_permissions(scratch.join("notify"), fs::Permissions::from_mode(0o666)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    fs::create_dir(scratch.join("etc")).unwrap();
    fs::write(scratch.join("etc/skynet.yaml"), "worker-user: daemon\n").unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/other-exo");
    let copied = run(Command::new("cp")
        .args(["-R".as_ref(), example.as_os_str()])
        .arg(scratch.join("shout")));
    assert_eq!(copied.code, Some(0));
    let mut own = fs::File::options().append(true).open(scratch.join("shout/exo.yaml")).unwrap();
    std::io::Write::write_all(&mut own, b"ready-fd: 4\n").unwrap();
    let programs = program("exo").parent().unwrap().display().to_string();
    let log = fs::File::create(scratch.join("log")).unwrap();
    let child = Command::new("sh")
        .args(["-c", "exec ./run 4>../ready"])
        .env("NOTIFY_SOCKET", scratch.join("notify"))
        .current_dir(scratch.join("shout"))
        .env("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin"))
        .env("SKYNET_CONFIG", scratch.join("etc"))
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
        .unwrap();
    (scratch, child, socket)
}

/// As long as it takes instead of a second, and half a minute at the most.
const SLEEP: &str = "#!/bin/sh\nleft=300\n\
    until [ -e outbox/1 ] || [ $left = 0 ]; do left=$((left - 1)); /bin/sleep 0.1; done\n";

#[test]
fn the_example_does_what_its_page_says_is_to_be_typed() {
    let page = testkit::page::text("examples/other-exo/README.md");
    let first = "cp -R examples/other-exo /tmp/shout && cd /tmp/shout";
    let typed = testkit::page::block(&page, first);
    for user in [None, is_root().then_some(65534)] {
        let scratch = Scratch::new();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["etc", "bin"] {
            fs::create_dir(scratch.join(folder)).unwrap();
        }
        fs::write(scratch.join("etc/skynet.yaml"), "worker-user: daemon\n").unwrap();
        script(&scratch.join("bin/sleep"), SLEEP);
        let own = scratch.path().display().to_string();
        let programs = program("exo").parent().unwrap().display().to_string();
        let mut sh = Command::new("sh");
        sh.arg("-c").arg(format!("{}\nwait\n", typed.replace("/tmp/", &format!("{own}/"))));
        sh.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        sh.env("PATH", format!("{own}/bin:{programs}:/usr/local/bin:/usr/bin:/bin"));
        sh.env("SKYNET_CONFIG", scratch.join("etc")).env_remove("NOTIFY_SOCKET");
        if let Some(user) = user {
            chown(scratch.path(), Some(user), Some(user)).unwrap();
            // Who types has a home, as a rule.
            sh.uid(user).gid(user).env("HOME", scratch.path());
        }
        let said = run_within(60, &mut sh);
        let out = said.out();
        assert!(said.code == Some(0) && out.lines().any(|line| line == "HELLO"), "{said:?}");
        assert!(out.ends_with("other-exo: ends\n"), "{said:?}");
    }
}

/// Puts a file into the example's inbox that is its user's.
fn put(scratch: &Scratch, name: &str, text: &str) {
    let new = scratch.join(name);
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    give(&new);
    fs::rename(&new, scratch.join("shout/inbox").join(name)).unwrap();
}

/// Makes it the example's user's.
fn give(path: &Path) {
    if is_root() {
        let nobody = run(Command::new("id").args(["-u", "nobody"])).out();
        chown(path, nobody.trim().parse().ok(), None).unwrap();
    }
}

#[test]
fn what_the_example_cannot_read_is_put_away_or_passed_over_and_the_rest_is_done() {
    let (scratch, mut child, socket) = example();
    let log = || fs::read_to_string(scratch.join("log")).unwrap();
    socket.recv(&mut [0; 64]).unwrap_or_else(|why| panic!("{why}: {}", log()));
    let inbox = scratch.join("shout/inbox");
    let failed = scratch.join("shout/failed");
    fs::create_dir(scratch.join("1dir")).unwrap();
    give(&scratch.join("1dir"));
    fs::rename(scratch.join("1dir"), inbox.join("1dir")).unwrap();
    fs::write(scratch.join("2secret"), "x").unwrap();
    give(&scratch.join("2secret"));
    fs::set_permissions(scratch.join("2secret"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::rename(scratch.join("2secret"), inbox.join("2secret")).unwrap();
    std::os::unix::fs::symlink("nowhere", inbox.join("3gone")).unwrap();
    // It cannot be moved: there is something of its name already.
    fs::create_dir_all(failed.join("4stays/full")).unwrap();
    fs::create_dir(inbox.join("4stays")).unwrap();
    put(&scratch, "5", "hello");
    until(30, || log().contains("5: done"));
    assert_eq!(fs::read_to_string(scratch.join("shout/outbox/5")).unwrap(), "HELLO\n");
    for (name, why) in [("1dir", "it is no file"), ("2secret", "denied"), ("3gone", "no file")] {
        assert!(fs::symlink_metadata(failed.join(name)).is_ok(), "{name}: {}", log());
        let told = |line: &str| line.starts_with(&format!("other-exo: {name}: failed: "));
        let lines: Vec<_> = log().lines().filter(|line| told(line)).map(str::to_owned).collect();
        assert!(lines.len() == 1 && lines[0].contains(why), "{}", log());
    }
    let stays = log().lines().filter(|line| line.contains("4stays: failed: ")).count();
    assert!(stays == 1 && log().contains("it stays, passed over"), "{}", log());
    assert!(inbox.join("4stays").is_dir() && !inbox.join("5").exists());
    linux::signal::kill(child.id().cast_signed(), 15).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{}", log());
}

#[test]
fn the_example_works_on_items_and_ends_when_it_is_told() {
    let (scratch, mut child, socket) = example();
    let log = || fs::read_to_string(scratch.join("log")).unwrap();
    let mut bytes = [0; 64];
    let len = socket.recv(&mut bytes).unwrap_or_else(|why| panic!("{why}: {}", log()));
    assert_eq!(&bytes[..len], b"READY=1\n");
    assert_eq!(fs::read_to_string(scratch.join("ready")).unwrap(), "\n");
    assert!(log().contains("shout works on inbox"), "{}", log());
    for (name, text) in [("1", "hello"), ("2", ""), ("3", "world")] {
        put(&scratch, name, text);
    }
    until(30, || log().contains("3: done"));
    let read = |name: &str| fs::read_to_string(scratch.join(&format!("shout/{name}"))).ok();
    assert_eq!(read("outbox/1").as_deref(), Some("HELLO\n"));
    assert_eq!(read("outbox/3").as_deref(), Some("WORLD\n"));
    assert_eq!(read("failed/2").as_deref(), Some(""));
    assert_eq!(fs::read_dir(scratch.join("shout/inbox")).unwrap().count(), 0);
    linux::signal::kill(child.id().cast_signed(), 15).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(log().ends_with("other-exo: ends\n"), "{}", log());
}
