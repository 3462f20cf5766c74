//! What the README tells a newcomer to run, run.

#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

/// Starts a script of the examples on the programs that were built; `variable` names its folder.
fn start(name: &str, (variable, folder): (&str, &Path)) -> (Child, Receiver<String>) {
    let programs = testkit::program("svscan");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut script = Command::new(examples.join(name))
        .env("SKYNET_BIN", programs.parent().expect("a folder"))
        .env(variable, folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("examples/run runs");
    let (send, lines) = channel();
    let output = BufReader::new(script.stdout.take().expect("its output"));
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
    (script, lines)
}

/// Returns the lines up to the one that has `end` in it.
#[track_caller]
fn until(lines: &Receiver<String>, end: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    while !seen.last().is_some_and(|line| line.contains(end)) {
        let line = lines.recv_timeout(DEADLINE);
        seen.push(line.unwrap_or_else(|_| panic!("no line that has {end}: {seen:#?}")));
    }
    seen
}

/// Makes an empty folder that every user finds.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir(&path).expect("a scratch folder");
    path
}

fn interrupt(script: &Child) {
    signal(script, "-INT");
}

fn signal(script: &Child, signal: &str) {
    let pid = script.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
}

/// Returns the processes that have a folder in their arguments.
fn those_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("text");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let arguments = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let arguments = arguments.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    arguments.filter(|arguments| arguments.contains(folder)).collect()
}

#[test]
fn the_daemons_come_up_and_ctrl_c_ends_them_all() {
    let scratch = folder("daemons");
    let (mut script, lines) = start("daemons", ("TMPDIR", &scratch));

    let up = until(&lines, "Ctrl-C ends all");
    for member in ["clock", "clock/log", "redis", "redis/log", "sizer", "sizer/log"] {
        let start = format!("{member}: up (pid ");
        assert!(up.iter().any(|line| line.starts_with(&start)), "{member} is not up: {up:#?}");
    }
    let says = |what: &str| up.iter().any(|line| line.contains(what));
    assert!(says("\"done\":2") && says("sizer_0 first/1: /etc/group: "), "{up:#?}");
    interrupt(&script);
    until(&lines, "is removed");

    assert!(script.wait().expect("its end").success());
    let left = fs::read_dir(&scratch).expect("the folder").count();
    assert_eq!(left, 0, "the scratch folder is left");
}

#[test]
fn whoever_closes_the_terminal_or_stops_reading_leaves_nothing_running() {
    let base = folder("closed");
    let own = ("SKYNET_EXAMPLES", &*base);
    for hangs_up in [true, false] {
        let (mut script, lines) = start("run", own);
        until(&lines, "work for");
        // Nobody reads from now on.
        drop(lines);
        if hangs_up {
            signal(&script, "-HUP");
        }
        assert_ne!(script.wait().expect("its end").code(), Some(0));
        assert_eq!(those_of(&base), [""; 0], "hung up: {hangs_up}");
    }
}

#[test]
fn the_main_job_is_done_once_however_often_it_is_interrupted_on_the_way() {
    let base = folder("run");
    let own = ("SKYNET_EXAMPLES", &*base);
    for stage in ["an instance of", "submitted", "word-index_"] {
        let (mut script, lines) = start("run", own);
        until(&lines, stage);
        interrupt(&script);
        until(&lines, "run again, it goes on");
        while lines.recv_timeout(DEADLINE).is_ok() {}
        assert_eq!(script.wait().expect("its end").code(), Some(130));
        assert_eq!(those_of(&base), [""; 0], "after {stage}");
    }
    let (mut script, lines) = start("run", own);
    let seen = until(&lines, "what was made is in");
    while lines.recv_timeout(DEADLINE).is_ok() {}
    assert!(script.wait().expect("its end").success(), "{seen:#?}");
    assert_eq!(those_of(&base), [""; 0]);

    // One of the indexes has no text, one of the projects does not build.
    let store = work::Place::new(base.join("instance/state/skynet"));
    let reader = work::Reader::open(&store).expect("the store");
    let jobs = reader.jobs(None, None, 1000).expect("its jobs");
    let of = |queue: &str| {
        let those = jobs.iter().filter(|job| job.queue == queue);
        let done = |fault: u16| those.clone().filter(|job| job.subject.fault.0 == fault).count();
        (done(0), those.clone().count() - done(0))
    };
    let (indexes, missing) = of("word-index");
    assert!(indexes > 5 && missing == 1, "{jobs:#?}");
    // Two of them by processes, of which one goes on with an index.
    assert_eq!(of("check-links"), (6, 0));
    assert_eq!(of("build-c"), (1, 1));
    assert!(jobs.iter().all(|job| job.subject.state == work::State::Stop), "{jobs:#?}");
    let results = base.join("instance/results");
    let index = fs::read_to_string(results.join("s.index")).expect("an index");
    assert!(index.contains("supervise.8"));
    let index = fs::read_to_string(results.join("whole.index")).expect("an index by a process");
    assert!(index.contains("whole.html"), "{index}");
    assert!(!results.join("one.index").exists());
    let fields = fs::read_to_string(results.join("one.process")).expect("fields of a process");
    assert!(fields.contains("\"reason\":\"404\""), "{fields}");
    assert!(results.join("hello/bin/hello").is_file());
}

#[test]
fn what_builds_a_project_by_hand_has_one_to_build() {
    let base = folder("by-hand");
    let typed = testkit::page::text("examples/build-c/README.md");
    let typed = testkit::page::block(
        &typed,
        "mkdir /var/tmp/hello && echo 'int main(void) { return 0; }' >/var/tmp/hello/hello.c",
    );
    let own = |text: &str| text.replace("/var/tmp", base.to_str().expect("text"));
    let items = testkit::page::text("examples/build-c/items");
    fs::write(base.join("items"), own(&items)).expect("its items");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/build-c");
    testkit::scratch::copy_program(&examples.join("build"), &base.join("build"));
    let mut sh = Command::new("sh");
    let said = testkit::run(sh.args(["-e", "-c", &own(&typed)]).current_dir(&base));
    let (log, made) =
        (own("\"log\":\"/var/tmp/hello-1.0.log\""), own("\"made\":\"/var/tmp/hello-1.0\""));
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out().contains(&log) && said.out().contains(&made), "{said:?}");
    assert!(base.join("hello-1.0/bin/hello").is_file());
}
