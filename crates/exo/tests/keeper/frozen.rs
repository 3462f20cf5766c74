//! Starts that somebody else keeps from going on.

use crate::exo::{Exo, Plan, is_alive};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use sys::linux::signal::{self, numbers};
use testkit::until;

const SLEEPER: &[&str] = &["sleep", "1000000"];

/// Whoever stops all processes of its user that it may, for ever, but itself.
struct Stopper(Child);

impl Stopper {
    fn start(uid: u32) -> Self {
        let script = "[ $(id -u) = $1 ] || exit 1; while :; do kill -STOP -1; done";
        let mut shell = Command::new("sh");
        shell.args(["-c", script, "sh", &uid.to_string()]).uid(uid).gid(uid);
        Self(shell.stderr(std::process::Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Stopper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts instance 0 and returns what became of it.
fn start(exo: &mut Exo, serial: u32) -> String {
    exo.tell(&format!("start 0 {serial}"));
    let line = exo.line();
    if line.starts_with("Started") {
        exo.tell(&format!("signal 0 {serial} kill"));
        assert_eq!(exo.ended(0, serial).0, "Signal(9)");
    }
    line
}

#[test]
fn a_user_who_stops_all_of_its_processes_stops_no_keeper() {
    let uid = 61_234;
    let mut exo = Plan::new()
        .with_account(&format!("frozen:x:{uid}:{uid}"))
        .with("shutdown=0")
        .with("instances=2")
        .start(SLEEPER);
    let stopper = Stopper::start(uid);
    // Some are stopped when they run their program already, which is no concern of the keeper's.
    let (mut serial, mut line) = (0, String::new());
    while !line.starts_with("NotStarted") {
        serial += 1;
        line = start(&mut exo, serial);
        assert!(serial < 10_000, "none was stopped on its way");
    }
    assert!(line.ends_with("errno: 110 }"), "{line}");
    // With one more on its way, as long as nobody waits for it.
    exo.tell(&format!("start 1 {serial}"));
    signal::kill(exo.keeper, 15).unwrap();
    while exo.line() != "Shutdown" {}
    exo.tell("exit 0");
    assert_eq!(exo.code(), Some(0), "{}", exo.said());
    drop(stopper);
}

/// A system call: its name, and its number.
type Call = (&'static str, i64);
const CHDIR: Call = ("chdir", 80);
const EXECVE: Call = ("execve", 59);

/// A strace that holds its process back, and what that starts, where one begins this call.
struct Holder {
    strace: Child,
    number: i64,
}

impl Holder {
    fn of(exo: &Exo, pid: i32, (name, number): Call) -> Self {
        let trace = exo.base.join("trace").display().to_string();
        let rule = format!("--inject={name}:delay_enter=100000000:when=1");
        let words = ["-ff", "-q", "-I", "2", "-o", &trace, &rule, "-p", &pid.to_string()];
        let mut strace = Command::new("strace");
        let strace = strace.args(words).stderr(std::process::Stdio::null()).spawn().unwrap();
        until(30, || testkit::calls::tracer(pid) != 0);
        Self { strace, number }
    }

    fn holds(&self, pid: i32) -> bool {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        call.starts_with(&format!("{} ", self.number))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

/// Begins to start instance 0, which goes no further than that step of it; returns what keeps it there,
/// and nobody else.
fn hang(exo: &mut Exo, step: &str) -> Option<Holder> {
    let holder = Holder::of(exo, exo.keeper, CHDIR);
    exo.tell("start 0 1");
    let its = |exo: &Exo| children(exo).into_iter().find(|pid| *pid != exo.worker);
    until(30, || its(exo).is_some_and(|pid| holder.holds(pid)));
    let pid = its(exo).unwrap();
    // As soon as it has gone into its directory; another start would be held back like it until then.
    signal::kill(pid, numbers::SIGSTOP).unwrap();
    drop(holder);
    until(30, || is_stopped(pid));
    (step == "Run").then(|| {
        let holder = Holder::of(exo, pid, EXECVE);
        signal::kill(pid, numbers::SIGCONT).unwrap();
        until(30, || holder.holds(pid));
        holder
    })
}

#[test]
fn a_start_that_hangs_keeps_nobody_waiting_and_is_given_up_at_its_step() {
    for step in ["Directory", "Run"] {
        let mut exo = Plan::new().with("instances=2").start(SLEEPER);
        let holder = hang(&mut exo, step);
        exo.tell("start 1 2");
        exo.tell("signal 1 2 kill");
        // It can be killed on its way like any other,
        let line = exo.line();
        assert!(line.starts_with("Started { instance: 1, serial: 2"), "{line}");
        assert_eq!(exo.ended(1, 2).0, "Signal(9)");
        // and the other one is not forgotten.
        let wanted = format!("NotStarted {{ instance: 0, serial: 1, step: {step}, errno: 110 }}");
        assert_eq!(exo.line(), wanted);
        let pids = children(&exo);
        // Whom strace holds back it keeps from dying too.
        drop(holder);
        until(30, || !pids.iter().any(|pid| *pid != exo.worker && is_alive(*pid)));
        exo.end();
    }
}

fn is_stopped(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn children(exo: &Exo) -> Vec<i32> {
    let path = format!("/proc/{0}/task/{0}/children", exo.keeper);
    let list = fs::read_to_string(path).unwrap();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
