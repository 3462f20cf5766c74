//! What worker and participants may do.

use crate::ahead;
use crate::exo::{Exo, Plan, open_fds, status};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use sys::linux::fd::{self, Fd};
use sys::linux::limit::{self, Limit, Resource};
use testkit::until;

const SLEEPER: &[&str] = &["sleep", "1000000"];

/// `daemon` is 1, `nobody` 65534; both have one group.
fn check_rights(pid: i32, id: &str, name: &str) {
    let status = status(pid);
    let four = [id; 4].join(" ");
    let rows = [
        ("Uid", four.as_str()),
        ("Gid", four.as_str()),
        ("Groups", id),
        ("CapInh", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("SigBlk", "0000000000000000"),
        ("Umask", "0077"),
        ("Name", name),
    ];
    for (key, wanted) in rows {
        assert_eq!(status[key], wanted, "{key} of {name}");
    }
}

#[test]
fn worker_and_participant_have_the_rights_of_their_users_and_no_more() {
    let mut exo = Plan::new().start(SLEEPER);
    check_rights(exo.worker, "1", "exo-worker");
    let pid = exo.start(0, 1);
    until(30, || status(pid)["Name"] == "sleep");
    check_rights(pid, "65534", "sleep");
    let status = status(pid);
    for key in ["SigIgn", "SigCgt"] {
        assert_eq!(status[key], "0000000000000000", "{key}");
    }
    let cwd = fs::read_link(format!("/proc/{pid}/cwd")).unwrap();
    assert_eq!(cwd, exo.base.path());
    // A session and a group of its own: fields 5 and 6.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!(fields[2..4], [pid.to_string(), pid.to_string()]);
    exo.end();
}

#[test]
fn what_exo_ignores_for_whoever_started_it_is_not_ignored_in_the_participant() {
    let script = "trap '' INT QUIT USR1 60 && exec \"$@\"";
    let mut exo = Plan::new().wrapped(&["sh", "-c", script, "sh"]).start(SLEEPER);
    let pid = exo.start(0, 1);
    until(30, || status(pid)["Name"] == "sleep");
    let ignored = u64::from_str_radix(&status(exo.keeper)["SigIgn"], 16).unwrap();
    assert_eq!(ignored & 0x0800_0000_0000_0206, 0x0800_0000_0000_0206, "nothing to show");
    assert_eq!(status(pid)["SigIgn"], "0000000000000000");
    exo.end();
}

#[test]
fn limits_and_umask_are_those_of_the_settings() {
    let plan = Plan::new().with("files=77").with("memory=500000000").with("file-size=4096");
    let plan = plan.with("core=0").with("cpu-seconds=33").with("processes=50").with("umask=027");
    let mut exo = plan.start(SLEEPER);
    let pid = exo.start(0, 1);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    for (name, value) in [
        ("Max open files", "77"),
        ("Max address space", "500000000"),
        ("Max file size", "4096"),
        ("Max core file size", "0"),
        ("Max cpu time", "33"),
        ("Max processes", "50"),
    ] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let values: Vec<&str> = line[name.len()..].split_whitespace().take(2).collect();
        assert_eq!(values, [value, value], "{line}");
    }
    assert_eq!(status(pid)["Umask"], "0027");
    exo.end();
}

#[test]
fn the_environment_is_the_list_whatever_exo_has_in_its_own() {
    let mut plan = Plan::per_item().with("GREETING=good day=").with("LANG=C.UTF-8");
    plan.command.env_clear().envs([
        ("LD_PRELOAD", ""),
        ("LD_LIBRARY_PATH", "/tmp"),
        ("AMQP_PASSWORD", "secret"),
        ("NOTIFY_SOCKET", "/nowhere"),
        ("SKYNET_WFID", "forged"),
        ("HOME", "/root"),
        ("PATH", "/tmp"),
        ("TZ", "UTC"),
        ("LANG", "de_DE"),
    ]);
    let mut exo = plan.with("instances=2").start(&["env"]);
    exo.tell("start 1 1 20260101-x 2 half way");
    assert_eq!(exo.ended_soon(1, 1).0, "Code(0)");
    let mut lines: Vec<_> = exo.out(1).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    let wanted = [
        "GREETING=good day=",
        "HOME=/nonexistent",
        "LANG=C.UTF-8",
        "LOGNAME=nobody",
        "PATH=/usr/bin:/bin",
        "SHELL=/usr/sbin/nologin",
        "SKYNET_ATTEMPT=2",
        "SKYNET_ENGINE=ruote_workitems",
        "SKYNET_INSTANCE=echo_1",
        "SKYNET_PARTICIPANT=echo",
        "SKYNET_STAGE=half",
        "SKYNET_WFID=20260101-x",
        "TZ=UTC",
        "USER=nobody",
    ];
    assert_eq!(lines, wanted);
    // Authors read of each in the page.
    let page =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/man/participant-protocol.7");
    let page = fs::read_to_string(page).unwrap();
    let told = page.lines().filter_map(|line| line.strip_prefix(".It Ev ")).collect::<Vec<_>>();
    let told = told.join(" , ");
    for name in wanted.map(|variable| variable.split('=').next().unwrap()) {
        let is_told = told.split(" , ").any(|said| said == name);
        assert!(is_told || name == "GREETING", "{name} is not in {told}");
    }
    exo.tell("start 0 2");
    assert_eq!(exo.ended_soon(0, 2).0, "Code(0)");
    let said = exo.out(0);
    let ours: Vec<_> = said.lines().filter(|line| line.starts_with("SKYNET_")).collect();
    assert_eq!(ours.len(), 3, "{ours:?}");
    exo.end();
}

#[test]
fn of_a_thousand_inherited_descriptors_none_reaches_worker_or_participant() {
    let before = limit::get(Resource::OpenFiles).unwrap();
    limit::set(Resource::OpenFiles, Limit { soft: before.hard, ..before }).unwrap();
    let null = fs::File::open("/dev/null").unwrap();
    let raw = std::os::fd::AsRawFd::as_raw_fd(&null);
    let many: Vec<Fd> = (0..1000).map(|_| fd::duplicate(raw).unwrap()).collect();
    let mut exo = Plan::new().start(SLEEPER);
    drop(many);
    let pid = exo.start(0, 1);
    // What is closed by running a program is so a moment after it runs.
    until(30, || open_fds(pid) == [0, 1, 2, 3]);
    let mut wanted = vec![0, 1, 2];
    wanted.extend(&exo.fds);
    wanted.sort_unstable();
    assert_eq!(wanted.len(), 5, "a keeper and a control socket");
    assert_eq!(open_fds(exo.worker), wanted);
    exo.end();
}

/// The system calls of the participant's process until it runs its program, from a trace of all.
fn calls_of(exo: &Exo, pid: i32) -> Vec<String> {
    let trace = exo.base.join(&format!("trace.{pid}"));
    until(30, || fs::read_to_string(&trace).unwrap_or_default().contains("execve("));
    let text = fs::read_to_string(&trace).unwrap();
    let end = text.find("execve(").unwrap();
    let end = end + text[end..].find('\n').unwrap_or(text.len() - end);
    text[..end].lines().map(str::to_owned).collect()
}

fn traced(plan: Plan, rule: &[&str]) -> Plan {
    let to = plan.base.join("trace").display().to_string();
    let mut words = vec!["strace", "-ff", "-q", "-s", "400", "-o", &to];
    words.extend(rule);
    plan.wrapped(&words)
}

#[test]
fn rights_are_gone_before_anything_of_the_participants_is_touched() {
    for is_ahead in [false, true] {
        let plan = Plan::new();
        let own = plan.base.join("own");
        fs::create_dir(&own).unwrap();
        testkit::scratch::script(&own.join("go"), "#!/bin/sh\nexec sleep 1000000\n");
        let plan = plan.with(&format!("directory={}", own.display()));
        let mut exo = traced(plan, &[]).start(&["./go"]);
        let pid = if is_ahead {
            let [_, next] = ahead::start_two(&mut exo);
            ahead::end(&mut exo, 1);
            assert_eq!(ahead::started(&exo, 2), next);
            next
        } else {
            exo.start(0, 1)
        };
        check_calls(&exo, pid, own.to_str().unwrap(), is_ahead);
        exo.end();
    }
}

/// Checks what a process did until it ran its program in the folder `own`.
fn check_calls(exo: &Exo, pid: i32, own: &str, is_ahead: bool) {
    let calls = calls_of(exo, pid);
    let at = |what: &str| {
        let found = calls.iter().position(|call| call.starts_with(what));
        found.unwrap_or_else(|| panic!("no {what} in {calls:#?}"))
    };
    let order = [
        "setgroups(",
        "setresgid(65534, 65534, 65534)",
        "setresuid(65534, 65534, 65534)",
        "capset(",
        "getresuid(",
        "getresgid(",
        "getgroups(",
        "capget(",
        "setresuid(0, 0, 0)",
        "setresgid(0, 0, 0)",
        "prctl(PR_SET_NO_NEW_PRIVS",
        "prctl(PR_SET_PDEATHSIG, SIGKILL)",
        "getppid(",
    ];
    // Nobody of its user comes near it before its turn.
    let waits = ["prctl(PR_SET_PDEATHSIG, SIGKILL)", "getppid(", "read("];
    let waits = waits.into_iter().filter(|_| is_ahead);
    let mut rest = calls.iter();
    for call in waits.chain(order).chain(["chdir(", "execve(\"./go\""]) {
        assert!(rest.any(|made| made.starts_with(call)), "no {call} in its turn: {calls:#?}");
    }
    // Neither here nor in the keeper is it touched with more rights.
    assert!(!calls[..at("setresuid(65534")].iter().any(|call| call.contains(own)), "{calls:#?}");
    let keeper = fs::read_to_string(exo.base.join(&format!("trace.{}", exo.keeper))).unwrap();
    let touched = keeper.lines().filter(|call| call.contains(own) && !call.starts_with("execve"));
    assert_eq!(touched.count(), 0, "{keeper}");
    // Between them the child makes system calls and nothing else: no memory is asked for.
    assert!(!calls.iter().any(|call| call.starts_with("mmap(") || call.starts_with("brk(")));
}

#[test]
fn where_a_right_cannot_be_dropped_nothing_is_run() {
    for (call, step) in [
        ("setgroups", "User"),
        ("setresgid", "User"),
        ("setresuid", "User"),
        ("capset", "User"),
        ("getresuid", "User"),
        ("getgroups", "User"),
        ("capget", "User"),
        ("prctl", "Confine"),
    ] {
        // The keeper itself makes none of these any more.
        let mut exo = Plan::new().start(SLEEPER);
        let trace = exo.base.join("trace").display().to_string();
        let rule = format!("--inject={call}:error=EAGAIN:when=1");
        let keeper = exo.keeper.to_string();
        let words = ["-ff", "-q", "-I", "2", "-o", &trace, &rule, "-p", &keeper];
        let mut strace = std::process::Command::new("strace");
        let strace = strace.args(words).stderr(std::process::Stdio::null()).spawn();
        until(30, || testkit::calls::tracer(exo.keeper) != 0);
        exo.tell("start 0 1");
        let line = exo.line();
        let wanted = format!("NotStarted {{ instance: 0, serial: 1, step: {step}, errno: 11 }}");
        assert_eq!(line, wanted, "{call}");
        let ran = fs::read_dir(exo.base.path()).unwrap().flatten().any(|entry| {
            fs::read_to_string(entry.path()).is_ok_and(|text| text.contains("execve("))
        });
        assert!(!ran, "{call}");
        exo.end();
        let _ = strace.unwrap().wait();
    }
}

#[test]
fn without_root_all_is_one_user_and_landlock_keeps_the_participant_out() {
    use std::os::unix::process::CommandExt;
    let mut plan = Plan::new();
    fs::set_permissions(plan.base.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let own = plan.base.join("own");
    fs::create_dir_all(own.join("sub")).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(plan.base.join("credentials")).unwrap();
    fs::write(plan.base.join("credentials/password"), "x").unwrap();
    plan.command.uid(1).gid(1);
    let secret = format!("secret={}", plan.base.join("credentials").display());
    let plan = plan.with("user=daemon").with(&secret).with("drained=no");
    let plan = plan.with(&format!("directory={}", own.display()));
    // Each line that it prints is a thing that it could do.
    let script = "cat ../credentials/password && echo secret
        mkdir ../store/new && echo store
        touch ../spool/new && echo spool
        ln -s /etc/passwd ../run/new && echo run
        touch ../new && echo way
        cat ../later && echo later
        ls .. ../store ../spool ../run ../credentials > /dev/null && echo names
        cat ../store/out.0 && echo out
        kill -0 $PPID && echo keeper
        kill -0 $(cat worker) && echo worker
        cat /proc/$(cat worker)/environ && echo environ
        echo x > file && cat file && echo own
        ls /usr > /dev/null && echo usr
        kill -0 $$ && echo self
        echo done";
    let mut exo = plan.start(&["sh", "-c", script]);
    assert_eq!(status(exo.keeper)["Uid"], "1 1 1 1");
    assert_eq!(status(exo.worker)["NoNewPrivs"], "1");
    // Others may be in an ordinary user's group.
    for (name, wanted) in [("store", 0o700), ("run/echo.sock", 0o600)] {
        let mode = fs::symlink_metadata(exo.base.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, wanted, "{name}");
    }
    fs::write(own.join("worker"), exo.worker.to_string()).unwrap();
    // It was not there when exo began.
    let later = exo.base.join("later");
    fs::write(&later, "x\n").unwrap();
    fs::set_permissions(&later, fs::Permissions::from_mode(0o644)).unwrap();
    let pid = exo.start(0, 1);
    assert!(pid > 0);
    assert_eq!(exo.ended(0, 1).0, "Code(0)");
    let out = exo.out(0);
    let could = ["secret", "store", "spool", "run", "way", "later", "names", "out", "keeper"];
    let could = [&could[..], &["worker", "environ", "own", "usr", "self", "done"]].concat();
    let did: Vec<_> = out.split_whitespace().filter(|word| could.contains(word)).collect();
    let said = exo.said();
    let older =
        ["this kernel has no Landlock", "Landlock keeps it from exo's folders; it may signal"];
    if !older.iter().any(|text| said.contains(text)) {
        assert!(said.contains("Landlock keeps it from exo's folders"), "{said}");
        assert_eq!(did, ["later", "names", "own", "usr", "self", "done"], "{out}");
    }
    let warning = "exo: warning: not started by root: exo and its participant are one user; ";
    assert_eq!(said.matches(warning).count(), 1, "{said}");
    exo.end();
}
