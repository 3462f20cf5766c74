//! exo asked and told by its control socket, signals and readiness, end to end.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::{DONE, ECHO, RACES_CANCELS, SOON, Site, TALKS, item};
use machine::work::{Fault, State};
use serde_json::json;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};
use work::read::Job;

/// A process for one item that works until it is told to stop, and then says so.
const BUSY: &str = "#!/bin/sh\ntrap 'echo told >&2; exit 17' TERM\n\
                    echo begun\nwhile :; do sleep 0.01; done\n";

/// A persistent one that works on each item until it is cancelled, and answers with the flavour.
const LISTENS: &str = "while hear; do\ncase $type in\nshutdown) exit 0 ;;\n\
    cancel) echo \"$line\"; say \"{\\\"type\\\":\\\"cancelled\\\",\\\"id\\\":$id}\" ;;\nesac\ndone\n";

/// One that hears nothing behind its hello.
const DEAF: &str = "while :; do sleep 1; done\n";

/// One that says how far it is only where it is asked.
const ASKED: &str = "while hear; do\ncase $type in\nshutdown) exit 0 ;;\n\
    cancel) say \"{\\\"type\\\":\\\"cancelled\\\",\\\"id\\\":$id}\" ;;\n\
    status) say \"{\\\"type\\\":\\\"progress\\\",\\\"id\\\":$id,\\\"done\\\":0.5,\\\"text\\\":\\\"asked\\\"}\" ;;\n\
    esac\ndone\n";

fn cancel(wfid: &str, flavour: &str) -> serde_json::Value {
    json!({ "command": "cancel", "wfid": wfid, "flavour": flavour })
}

#[test]
fn each_flavour_of_a_cancel_ends_the_work_and_is_what_is_recorded() {
    for (flavour, fault) in
        [("cancel", Fault::CANCELLED), ("kill", Fault::KILLED), ("timeout", Fault::GIVEN_UP)]
    {
        let site = Site::per_item(BUSY, "");
        let _exo = site.exo();
        site.submit("w", "{}");
        site.until(|| site.log().contains("p_0 w/1: begun"));
        let answer = site.ask(&cancel("w", flavour));
        assert_eq!(answer, json!({ "ok": true, "cancelled": 1, "refused": [] }));
        let (job, attempts) = site.stopped("w");
        assert_eq!((job.subject.fault, attempts.len()), (fault, 1), "{attempts:?}");
        // By the participant itself: exo's own lines bear the item's name, too.
        let was_told = site.log().lines().any(|line| line == "p_0 w/1: told");
        assert_eq!(was_told, flavour != "kill", "{}", site.log());
        assert_eq!(site.instance()["state"], "idle");
    }
}

#[test]
fn a_persistent_participant_is_told_the_flavour_and_works_on_the_next_item() {
    for (flavour, fault) in [("cancel", Fault::CANCELLED), ("timeout", Fault::GIVEN_UP)] {
        let site = Site::persistent(LISTENS, "");
        let exo = site.exo();
        site.submit("w", "{}");
        site.running("w");
        let pids = exo.participants();
        assert_eq!(site.ask(&cancel("w", flavour))["cancelled"], 1);
        assert_eq!(site.stopped("w").0.subject.fault, fault);
        let told = format!("\"flavour\":\"{flavour}\"}}");
        site.until(|| site.log().contains(&told));
        site.submit("next", "{}");
        site.running("next");
        assert_eq!(exo.participants(), pids);
    }
}

#[test]
fn who_obeys_a_cancel_is_no_trouble_and_counts_as_cancelled() {
    for site in [Site::per_item(BUSY, ""), Site::persistent(LISTENS, "")] {
        let _exo = site.exo();
        for (flavour, fault) in [("cancel", Fault::CANCELLED), ("timeout", Fault::GIVEN_UP)] {
            site.submit(flavour, "{}");
            site.running(flavour);
            site.ask(&cancel(flavour, flavour));
            let said = format!("exo: info: p_0 {flavour}/1: cancelled, fault {}: ", fault.0);
            site.until(|| site.log().lines().any(|line| line.starts_with(&said)));
        }
        let count = |how: &str| site.status().unwrap()[how].clone();
        site.until(|| ["done", "failed", "cancelled"].map(count) == [0, 0, 2]);
        assert!(!site.log().contains("exo: warning: p_0"), "{}", site.log());
    }
}

#[test]
fn whoever_asks_again_how_it_stands_hears_how_far_the_work_is() {
    let site = Site::persistent(ASKED, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    site.running("w");
    site.until(|| site.instance()["progress"] == json!({ "done": 0.5, "text": "asked" }));
    site.ask(&cancel("w", "cancel"));
    site.stopped("w");
}

#[test]
fn who_does_not_stop_when_it_is_cancelled_is_killed_after_its_grace() {
    let site = Site::persistent(DEAF, "cancel-grace: 300ms\n");
    let exo = site.exo();
    site.submit("w", "{}");
    // It says hello before it stops listening.
    site.running("w");
    let before = exo.participants();
    assert_eq!(site.ask(&cancel("w", "cancel"))["cancelled"], 1);
    let (job, attempts) = site.stopped("w");
    assert_eq!(job.subject.fault, Fault::CANCELLED);
    assert_eq!(attempts[0].how.as_deref(), Some("overdue"), "{attempts:?}");
    site.until(|| exo.participants().iter().all(|pid| !before.contains(pid)));
}

#[test]
fn who_is_killed_for_a_cancel_is_told_as_no_trouble() {
    for flavour in ["cancel", "kill"] {
        let site = Site::persistent(DEAF, "cancel-grace: 100ms\n");
        let _exo = site.exo();
        for wfid in ["first", "second"] {
            site.submit(wfid, "{}");
            site.running(wfid);
            site.ask(&cancel(wfid, flavour));
            let (_, attempts) = site.stopped(wfid);
            // One that is to be killed is not asked first.
            let wanted = if flavour == "kill" { "killed" } else { "did not stop" };
            assert_eq!(attempts[0].text.as_deref(), Some(wanted));
        }
        let ended = |line: &str| line.starts_with("exo: info: p_0 ") && line.contains(": ended: ");
        site.until(|| site.log().lines().filter(|line| ended(line)).count() == 2);
        assert_eq!(site.status().unwrap()["troubles"], 0, "{}", site.log());
        assert!(!site.log().contains("exo: warning: p_0"), "{}", site.log());
    }
}

#[test]
fn who_answers_a_cancel_by_ending_is_told_as_no_trouble_unless_by_a_signal() {
    for (end, words) in [("exit 0", "exit 0"), ("exit 3", "exit 3"), ("kill -ABRT $$", "signal 6")]
    {
        let work = format!(
            "while hear; do\ncase $type in\nshutdown) exit 0 ;;\ncancel) {end} ;;\nesac\ndone\n"
        );
        let site = Site::persistent(&work, "");
        let _exo = site.exo();
        site.submit("w", "{}");
        site.running("w");
        site.ask(&cancel("w", "cancel"));
        let (job, _) = site.stopped("w");
        assert_eq!(job.subject.fault, Fault::CANCELLED);
        let is_trouble = words.starts_with("signal");
        let ended = if is_trouble {
            format!("exo: warning: p_0 w/1: ended: {words}\n")
        } else {
            format!("exo: info: p_0 w/1: ended: {words}; asked to stop by a cancel\n")
        };
        site.until(|| site.log().contains(&ended));
        assert_eq!(site.status().unwrap()["troubles"], i32::from(is_trouble), "{}", site.log());
    }
}

#[test]
fn a_cancel_is_of_all_places_of_a_process_or_of_one_and_of_items_that_wait_too() {
    let site = Site::per_item(BUSY, "");
    let _exo = site.exo();
    site.submit("w", "{}");
    site.until(|| site.log().contains("p_0 w/1: begun"));
    for place in ["0_2", "0_3", "0_4"] {
        site.drop_into("p", item("w", "{}").replace("0_1", place).as_bytes());
    }
    let jobs = || site.reader().jobs_of("w").unwrap();
    site.until(|| jobs().len() == 4);
    let one = json!({ "command": "cancel", "wfid": "w", "expid": "0_3" });
    assert_eq!(site.ask(&one)["cancelled"], 1);
    let stopped = || jobs().into_iter().filter(|job| job.subject.state == State::Stop).count();
    site.until(|| stopped() == 1);
    assert_eq!(site.ask(&one)["ok"], false);
    assert_eq!(site.ask(&cancel("w", "cancel"))["cancelled"], 3);
    site.until(|| stopped() == 4);
    assert!(jobs().iter().all(|job| job.subject.fault == Fault::CANCELLED));
    let none = site.ask(&cancel("nobody", "cancel"));
    assert_eq!(none["error"], "no item of nobody waits or is worked on here");
}

#[test]
fn a_cancel_reaches_each_of_many_items_and_who_asks_meanwhile_is_answered() {
    const MANY: usize = 12_000;
    let site = Site::per_item(BUSY, "");
    let at = |place| item("w", "{}").replace("0_1", &format!("0_{place}")).into_bytes();
    Sender::new(&site).send("p", (1..=MANY).map(at));
    let _exo = site.exo();
    site.until(|| site.log().contains("p_0 w/1: begun"));
    let last = json!({ "command": "cancel", "wfid": "w", "expid": format!("0_{MANY}") });
    assert_eq!(site.ask(&last), json!({ "ok": true, "cancelled": 1, "refused": [] }));
    let mut meanwhile = 0;
    let answer = std::thread::scope(|scope| {
        let all = scope.spawn(|| site.ask(&cancel("w", "cancel")));
        while !all.is_finished() {
            assert_eq!(site.status().unwrap()["state"], "running");
            meanwhile += 1;
        }
        all.join().unwrap()
    });
    println!("{meanwhile} answers meanwhile");
    assert_eq!(answer, json!({ "ok": true, "cancelled": MANY - 1, "refused": [] }));
    site.stopped("w");
    let jobs = site.reader().jobs_of("w").unwrap();
    let is_cancelled = |job: &Job| job.subject.fault == Fault::CANCELLED;
    assert_eq!(jobs.iter().filter(|job| is_cancelled(job)).count(), MANY);
    let again = site.ask(&cancel("w", "cancel"));
    assert_eq!(again["error"], "no item of w waits or is worked on here");
}

#[test]
fn drained_it_finishes_what_it_has_and_takes_nothing_until_it_is_resumed() {
    let site = Site::per_item(DONE, "");
    let gate = site.open_folder("gate");
    let open = gate.join("open").display().to_string();
    site.script("work", &format!("#!/bin/sh\nuntil [ -e {open} ]; do sleep 0.01; done\n"));
    let _exo = site.exo();
    site.submit("first", "{}");
    site.running("first");
    assert_eq!(site.ask(&json!({ "command": "drain" })), json!({ "ok": true }));
    assert_eq!(site.status().unwrap()["state"], "draining");
    site.submit("second", "{}");
    fs::write(&open, "").unwrap();
    assert_eq!(site.stopped("first").0.subject.fault, Fault::NONE);
    site.until(|| site.job("second").is_some());
    assert_eq!(site.instance()["state"], "idle");
    assert_eq!(site.job("second").unwrap().tries, 0);
    assert_eq!(site.ask(&json!({ "command": "resume" })), json!({ "ok": true }));
    assert_eq!(site.stopped("second").0.subject.fault, Fault::NONE);
}

#[test]
fn a_busy_exo_answers_and_the_command_of_the_same_name_asks_it() {
    let noisy = "#!/bin/sh\nwhile :; do echo noise; done\n";
    let site = Site::per_item(noisy, "instances: 4\ncancel-grace: 100ms\nshutdown-grace: 1s\n");
    let exo = site.exo();
    for n in 0..4 {
        site.submit(&format!("w{n}"), "{}");
        site.running(&format!("w{n}"));
    }
    assert_eq!(site.status().unwrap()["instances"].as_array().unwrap().len(), 4);
    site.answers_soon(&json!({ "command": "status" }), 200);
    let control = |words: &[&str]| {
        let mut command = site.command(&["control"]);
        command.args(words);
        testkit::run(&mut command)
    };
    for (words, code) in [
        (&["status"][..], 0),
        (&["drain"], 0),
        (&["resume"], 0),
        (&["cancel", "nobody"], 1),
        (&["cancel", "w1", "--flavour", "kill"], 0),
        (&["cancel", "w2", "--flavour", "never"], 100),
        (&["dance"], 100),
    ] {
        let output = control(words);
        assert_eq!(output.verdict().0, Some(code), "{words:?}: {output:?}");
        if code == 0 {
            let answer: serde_json::Value = serde_json::from_str(&output.out()).unwrap();
            assert_eq!(answer["ok"], true, "{words:?}");
        }
    }
    assert_eq!(site.stopped("w1").0.subject.fault, Fault::KILLED);
    for asked in [
        json!({ "command": "drain" }),
        json!({ "command": "resume" }),
        // It is looked for in the store.
        cancel("nobody", "cancel"),
    ] {
        site.answers_soon(&asked, 20);
    }
    assert!(exo.end().success());
    assert_eq!(control(&["status"]).verdict().0, Some(3));
}

#[test]
fn a_running_exo_is_asked_and_told_whatever_is_wrong_with_its_files_by_now() {
    let site = Site::per_item(BUSY, "participant: other\n");
    let exo = site.spawn(&mut site.command(&[]));
    let control = |words: &[&str]| {
        let mut command = site.command(&["control"]);
        testkit::run(command.args(words))
    };
    site.until(|| control(&["status"]).code == Some(0));
    let (own, whole) = (site.join("p/exo.yaml"), site.join("etc/skynet.yaml"));
    let texts = [&own, &whole].map(|path| fs::read_to_string(path).unwrap());
    fs::write(&own, format!("{}tries: many\n[", texts[0])).unwrap();
    fs::write(&whole, format!("{}stroe: /\n", texts[1])).unwrap();
    for words in [&["status"][..], &["drain"], &["resume"], &["status"]] {
        let said = control(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        assert!(said.out().contains("\"ok\":true"), "{said:?}");
        assert!(said.err().contains("exo: warning: unable to read "), "{said:?}");
        assert!(said.err().contains("tries: ") && said.err().contains("stroe: "), "{said:?}");
    }
    assert_eq!(control(&["cancel", "nobody"]).code, Some(1));
    assert!(exo.end().success());
    let said = control(&["status"]);
    assert_eq!((said.code, said.out()), (Some(111), String::new()));
    assert!(said.err().starts_with("exo: fatal: unable to read "), "{said:?}");
}

#[test]
fn an_odd_or_silent_client_hinders_no_other() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixStream;
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(site.socket()).unwrap()).collect();
    for odd in [
        &b"status\n"[..],
        b"\n",
        b"{}\n",
        b"\xff\n",
        b"{\"command\":\"cancel\",\"wfid\":\"w\",\"x\":1}\n",
    ] {
        let mut socket = UnixStream::connect(site.socket()).unwrap();
        socket.write_all(odd).unwrap();
        let mut line = String::new();
        BufReader::new(&socket).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"error\":\"not understood: "), "{line}");
        assert!(line.ends_with("\"ok\":false}\n"), "{line}");
    }
    let mut endless = UnixStream::connect(site.socket()).unwrap();
    let _ = endless.write_all(&[b'x'; 8 << 10]);
    assert_eq!(site.status().unwrap()["state"], "running");
    assert_eq!(site.work("w", "{}").fault, Some(Fault::NONE));
    drop(silent);
}

/// Connects as another user, says so, and asks once it is told to.
const LATER: &str = r#"use Socket; $| = 1;
    socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un($ARGV[0])) or die $!;
    print "there\n"; <STDIN>; syswrite(S, "{\"command\":\"status\"}\n"); my $line = <S>; print $line // "closed\n";"#;

/// As Debian has it.
const DAEMON: u32 = 1;

#[test]
fn silent_clients_of_one_user_make_way_for_others_and_another_user_s_keeps_its_place() {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::UnixStream;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};
    let site = Site::per_item(DONE, "");
    let _exo = site.exo();
    let mut other = Command::new("perl");
    other.args(["-e", LATER]).arg(site.socket()).uid(DAEMON).gid(DAEMON);
    let mut other = other.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "there\n");
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(site.socket()).unwrap()).collect();
    for _ in 0..5 {
        assert_eq!(site.status().unwrap()["state"], "running");
    }
    let is_open = |mut socket: &UnixStream| {
        socket.set_nonblocking(true).unwrap();
        socket.read(&mut [0]).is_err()
    };
    // None of them had to go because its own time was over.
    let open: Vec<bool> = silent.iter().map(is_open).collect();
    assert!(open.iter().filter(|open| **open).count() >= 20, "{open:?}");
    assert!(!open[0] && open[39], "the oldest make way: {open:?}");
    other.stdin.take().unwrap().write_all(b"\n").unwrap();
    line.clear();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("running"), "{line}");
    other.wait().unwrap();
}

#[test]
fn term_gives_items_back_at_once_and_they_do_not_count() {
    // Told to end it dies of TERM, or it ends well before.
    for (persistent, work) in
        [(true, "while hear; do :; done\n"), (false, "#!/bin/sh\nsleep 1000\n")]
    {
        let more = "instances: 3\nshutdown-grace: 300ms\n";
        let site =
            if persistent { Site::persistent(work, more) } else { Site::per_item(work, more) };
        let exo = site.exo();
        for n in 0..5 {
            site.submit(&format!("w{n}"), "{}");
        }
        let running = || (0..5).filter(|n| is(&site, *n, State::Run)).count();
        let are_jobs = || (0..5).all(|n| site.job(&format!("w{n}")).is_some());
        site.until(|| running() == 3 && are_jobs());
        assert!(exo.end().success(), "{}", site.log());
        for n in 0..5 {
            let job = site.job(&format!("w{n}")).unwrap();
            let ready = State::Ready { leased: false };
            assert_eq!((job.subject.state, job.subject.count), (ready, 0), "{job:?}");
        }
    }
}

fn is(site: &Site, number: usize, state: State) -> bool {
    site.job(&format!("w{number}")).is_some_and(|job| job.subject.state == state)
}

#[test]
fn it_says_that_it_is_ready_to_a_socket_and_a_descriptor_once_it_takes_items() {
    use std::io::Read;
    for work in ["", "sleep 0.3\n"] {
        // A persistent one is ready when its participant is.
        let site = Site::per_item(
            &format!("#!/bin/sh\n{work}{}{ECHO}", host::WORDS),
            "mode: persistent\nready-fd: 5\n",
        );
        let notify = UnixDatagram::bind(site.join("notify")).unwrap();
        notify.set_read_timeout(Some(Duration::from_secs(SOON))).unwrap();
        let (mut from, to) = std::io::pipe().unwrap();
        let mut command = std::process::Command::new("/bin/bash");
        let raw = std::os::fd::AsRawFd::as_raw_fd(&to);
        let inherited = linux::fd::duplicate(raw).unwrap();
        let script = format!("exec \"$0\" 5>&{} {}>&-", inherited.raw(), inherited.raw());
        command.args(["-c", &script]).arg(testkit::program("exo"));
        site.prepare(&mut command);
        command.env("NOTIFY_SOCKET", site.join("notify"));
        let exo = site.spawn(&mut command);
        drop((to, inherited));
        let mut told = [0; 64];
        let len = notify.recv(&mut told).unwrap();
        assert_eq!(&told[..len], b"READY=1\n");
        let mut line = String::new();
        from.read_to_string(&mut line).unwrap();
        assert_eq!(line, "\n");
        assert_eq!(site.instance()["state"], "idle");
        assert!(exo.end().success());
    }
}

/// A cancel of each item is asked for while it is being done, as close to its end as chance has it.
#[test]
fn of_cancel_and_completion_racing_one_is_the_outcome_everywhere() {
    let count = if std::env::var_os("SKYNET_LONG").is_some() { 100_000 } else { 10_000 };
    let site = Site::persistent_program(&["perl", "race.pl"], "instances: 4\ncancel-grace: 5s\n");
    site.script("race.pl", &format!("{TALKS}{RACES_CANCELS}"));
    let mut sender = Sender::new(&site);
    let exo = site.exo();
    let wfids: Vec<String> = (0..count).map(|n| format!("w{n}")).collect();
    let begun = Instant::now();
    let mut asked = (0, 0);
    for some in wfids.chunks(4) {
        sender.submit(some);
        for wfid in some {
            let answer = site.ask(&cancel(wfid, "cancel"));
            asked =
                if answer["ok"] == true { (asked.0 + 1, asked.1) } else { (asked.0, asked.1 + 1) };
        }
    }
    site.until(|| progress(&site.join("store")) == (count as u64, 0));
    let sums = adds_up(&sender, &site.join("store"), 3, "races");
    println!(
        "{count} races in {:?}: {} cancels in time, {} too late; {sums:?}",
        begun.elapsed(),
        asked.0,
        asked.1
    );
    // What was done before it heard of the cancel is done.
    let cancelled = sums.cancelled;
    assert!(sums.done >= asked.1 && cancelled <= asked.0, "{sums:?}");
    assert!(sums.done * 50 > count && cancelled * 50 > count, "no race: {sums:?}");
    assert!(exo.end().success(), "{}", site.log());
}

#[test]
fn a_second_exo_of_a_participant_is_refused_and_takes_nothing_from_the_first() {
    let site = Site::per_item(DONE, "instances: 2\n");
    let exo = site.exo();
    let second = site.command(&[]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let pid = exo.pid();
    let wanted =
        format!("exo: fatal: unable to run participant p: an exo runs it already, pid {pid}\n");
    assert_eq!((second.status.code(), said), (Some(111), wanted));
    site.work("w", "{}");
    assert!(site.status().is_some(), "the first is asked as before");
    assert_eq!(exo.end().code(), Some(0));
    assert_eq!(fs::read_dir(site.join("run")).unwrap().count(), 0, "something is left");
}

#[test]
fn an_exo_starts_right_behind_one_that_was_killed() {
    let site = Site::persistent(ECHO, "instances: 4\n");
    for _ in 0..10 {
        let exo = site.exo();
        site.until(|| exo.participants().len() == 4);
        exo.signal(9);
        let mut next = site.spawn(&mut site.command(&[]));
        site.until(|| site.status().is_some() || !next.is_running());
        assert!(next.is_running(), "{}", site.log());
        next.kill9();
    }
}
