//! Orders and reports.

use crate::exo::Plan;
use exo::order::{LONGEST, Order, Start};
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use testkit::scratch::script;

const SLEEPER: &[&str] = &["sleep", "1000000"];

#[test]
fn the_step_that_failed_is_told() {
    let rows: [(&[&str], &str, &str, i32); 8] = [
        (&["no-such-program"], "core=0", "Run", 2),
        (&["/no/such/program"], "core=0", "Run", 2),
        (&["./bad"], "core=0", "Interpreter", 2),
        (&["./text"], "core=0", "Run", 8),
        (&["./plain"], "core=0", "Run", 13),
        (SLEEPER, "directory=/no/such/directory", "Directory", 2),
        (SLEEPER, "directory=/etc/passwd", "Directory", 20),
        (SLEEPER, "files=18446744073709551614", "Limits", 1),
    ];
    for (command, setting, step, errno) in rows {
        let plan = Plan::new();
        script(&plan.base.join("bad"), "#!/nowhere/interpreter\n");
        script(&plan.base.join("text"), "exit 0\n");
        fs::write(plan.base.join("plain"), "#!/bin/sh\n").unwrap();
        let mut exo = plan.with(setting).start(command);
        exo.tell("start 0 9");
        let wanted =
            format!("NotStarted {{ instance: 0, serial: 9, step: {step}, errno: {errno} }}");
        assert_eq!(exo.line(), wanted, "{command:?} {setting}");
        exo.end();
    }
}

#[test]
fn of_a_process_for_one_item_that_ends_at_once_only_the_end_is_told() {
    let mut exo = Plan::per_item().start(&["true"]);
    let was_told = |serial| {
        exo.tell(&format!("start 0 {serial}"));
        let (how, was_told) = exo.ended_soon(0, serial);
        assert_eq!(how, "Code(0)");
        was_told
    };
    // One may be kept from its end by whoever else is busy.
    assert!(!(1..100).all(was_told));
    exo.end();
    let mut exo = Plan::per_item().start(SLEEPER);
    exo.start(0, 1);
    exo.tell("signal 0 1 kill");
    assert_eq!(exo.ended(0, 1).0, "Signal(9)");
    exo.end();
}

#[test]
fn a_start_for_which_there_is_no_process_fails_and_the_next_one_does_not() {
    let mut exo = Plan::new().start(SLEEPER);
    let trace = exo.base.join("trace");
    testkit::calls::trace(exo.keeper, &trace, &["clone,clone3:error=EAGAIN:when=1"]);
    exo.tell("start 0 1");
    assert_eq!(exo.line(), "NotStarted { instance: 0, serial: 1, step: Fork, errno: 11 }");
    exo.start(0, 2);
    exo.end();
}

#[test]
fn what_is_no_order_is_refused_said_and_changes_nothing() {
    let mut exo = Plan::new().start(SLEEPER);
    let start = Order::Start(Start::default()).encode().unwrap();
    let hex = |bytes: &[u8]| {
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect::<String>()
    };
    let mut bad = vec![("00".to_owned(), 0), (hex(&[0xff; LONGEST + 1]), 4)];
    // Right, but for the number of descriptors.
    bad.extend((0..4).map(|count| (hex(&start), count)));
    // Cut, and with more behind it.
    bad.extend((1..start.len()).map(|len| (hex(&start[..len]), 4)));
    bad.push((hex(&[&start[..], b"x"].concat()), 4));
    // An instance that there is not.
    bad.push((hex(&[&start[..2], &[1, 0], &start[4..]].concat()), 4));
    bad.push((hex(&[2, 1, 1, 0, 0, 0, 0, 0]), 0));
    bad.push((hex(&[2, 1, 0, 0, 0, 0, 0, 0]), 1));
    for (bytes, descriptors) in &bad {
        exo.tell(&format!("raw {bytes} {descriptors}"));
    }
    // One that runs already.
    exo.start(0, 1);
    exo.tell("start 0 2");
    exo.tell("signal 0 1 kill");
    assert_eq!(exo.ended(0, 1).0, "Signal(9)");
    let said = exo.said();
    let lines = said.lines().filter(|line| line.contains("refused from the worker")).count();
    // Refused once, twice, four times, ...
    assert_eq!(lines, (bad.len() + 1).ilog2() as usize + 1, "{said}");
    exo.end();
}

#[test]
fn a_worker_that_does_not_read_loses_no_report() {
    let mut exo = Plan::new().with("instances=1000").start(&["/no/such/program"]);
    exo.tell("flood 1000");
    let mut missing: BTreeSet<String> = (0..1000)
        .map(|i| format!("NotStarted {{ instance: {i}, serial: {i}, step: Run, errno: 2 }}"))
        .collect();
    let mut flooded = String::new();
    while !missing.is_empty() {
        let line = exo.line();
        if !missing.remove(&line) {
            flooded = line;
        }
    }
    assert_eq!(flooded, "flooded true");
    exo.end();
}

#[test]
fn readiness_is_told_to_a_socket_with_a_path_or_a_bare_name() {
    let folder = testkit::Scratch::new();
    let path = folder.join("notify");
    let bare = format!("skynet-notify-{}", std::process::id());
    let by_path = UnixDatagram::bind(&path).unwrap();
    let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&bare).unwrap()).unwrap();
    for (socket, value) in [(by_path, path.display().to_string()), (by_name, format!("@{bare}"))] {
        let mut plan = Plan::new();
        plan.command.env("NOTIFY_SOCKET", value);
        let mut exo = plan.start(SLEEPER);
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv(&mut [0; 64]).is_err(), "told before it was so");
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        exo.tell("ready");
        let mut bytes = [0; 64];
        let len = socket.recv(&mut bytes).unwrap();
        assert_eq!(&bytes[..len], b"READY=1\n");
        exo.end();
    }
}

#[test]
fn readiness_is_told_to_a_descriptor_which_is_closed_then() {
    use std::io::Read;
    let (mut from, to) = std::io::pipe().unwrap();
    let inherited = sys::linux::fd::duplicate(to.as_raw_fd()).unwrap();
    let mut exo = Plan::new().with(&format!("ready={}", inherited.raw())).start(SLEEPER);
    drop((to, inherited));
    let pid = exo.start(0, 1);
    testkit::until(30, || crate::exo::open_fds(pid) == [0, 1, 2, 3]);
    exo.tell("ready");
    exo.tell("ready");
    let mut all = Vec::new();
    from.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"\n");
    exo.end();
}
