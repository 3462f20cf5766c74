//! Programs that rotated files go through.

use super::*;
use linux::fd::{PollFd, poll};

fn with(processor: &'static CStr) -> Settings {
    Settings { processor: Some(processor), ..small() }
}

fn behind(background: &'static CStr) -> Settings {
    Settings { background: Some(background), ..small() }
}

/// Waits until a processor has ended and lets the folder know, for as long as one runs.
pub(super) fn wait(folder: &mut Folder, now: u64) {
    loop {
        let fds = folder.poll_fds();
        if fds == [-1, -1] {
            return;
        }
        let ready = poll(&mut fds.map(PollFd::readable), Some(20 * S)).unwrap();
        assert!(ready > 0, "still running");
        work(folder, now);
    }
}

fn rotate(folder: &mut Folder, line: &[u8]) {
    write(folder, line);
    folder.rotate();
    work(folder, S);
}

pub(super) fn rotate_and_wait(folder: &mut Folder) {
    folder.rotate();
    work(folder, S);
    wait(folder, S);
}

#[test]
fn a_processor_makes_the_rotated_file_and_its_next_state() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(with(c"tr a-z A-Z; cat <&4 >&5; echo x >&5"));
    for line in [&b"one\n"[..], b"two\n"] {
        rotate(&mut folder, line);
        assert!(!folder.is_ready(), "no input meanwhile");
        wait(&mut folder, S);
        assert!(folder.is_ready());
    }
    let rotated = scratch.rotated();
    assert_eq!(
        rotated.iter().map(|name| scratch.read(name)).collect::<Vec<_>>(),
        [b"ONE\n", b"TWO\n"]
    );
    assert!(rotated.iter().all(|name| scratch.mode(name) == CLOSED));
    assert_eq!(scratch.read("state"), b"x\nx\n");
    assert_eq!(scratch.names().len(), 5, "{:?}", scratch.names());
    finish(folder);
}

#[test]
fn a_processor_gets_the_five_descriptors_and_stands_in_the_directory() {
    let scratch = Scratch::new();
    // Somebody left one open for us.
    let leaked = fs::File::open("/dev/null").unwrap();
    let leaked = linux::fd::copy_from(std::os::fd::AsRawFd::as_raw_fd(&leaked), 50).unwrap();
    linux::fd::dup_to(leaked.raw(), 60).unwrap();
    let command = c"cat; pwd -P; ls /proc/$$/fd; \
                    grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let mut folder = scratch.open(with(command));
    signal_ignored();
    rotate(&mut folder, b"line\n");
    wait(&mut folder, S);
    drop(Fd::from_raw(60));
    let said = String::from_utf8(scratch.read(&scratch.rotated()[0])).unwrap();
    let mut said = said.lines();
    assert_eq!(said.next(), Some("line"));
    assert_eq!(said.next(), scratch.path.canonicalize().unwrap().to_str());
    let rest: Vec<&str> = said.collect();
    // 10 and above are the shell's own.
    let (fds, signals) = rest.split_at(rest.len() - 3);
    let fds: Vec<u32> = fds.iter().map(|n| n.parse().unwrap()).filter(|n| *n < 10).collect();
    assert_eq!(fds, [0, 1, 2, 4, 5]);
    assert!(!rest.contains(&"60") && !rest.contains(&"50"));
    for line in &signals[..2] {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
}

fn signal_ignored() {
    linux::signal::ignore(linux::signal::numbers::SIGUSR2);
}

#[test]
fn a_processor_that_fails_or_crashes_is_run_again_after_the_pause() {
    for command in [c"cat; test -e ok || exit 3", c"cat; test -e ok || kill -9 $$"] {
        let scratch = Scratch::new();
        let mut folder = scratch.open(with(command));
        rotate(&mut folder, b"line\n");
        wait(&mut folder, S);
        assert!(!folder.is_ready());
        assert_eq!((folder.deadline(), scratch.rotated().len()), (Some(6 * S), 0));
        scratch.put("ok", b"", OPEN);
        work(&mut folder, 6 * S);
        wait(&mut folder, 6 * S);
        assert!(folder.is_ready());
        assert_eq!(scratch.content(), b"line\n");
    }
}

#[test]
fn a_processor_that_hangs_does_not_hold_up_the_end_and_its_file_is_taken_up_again() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(with(c"echo $$ >pid; test -e ok || exec sleep 1000; cat"));
    rotate(&mut folder, b"line\n");
    testing_until(|| scratch.has("pid") && !scratch.read("pid").is_empty());
    folder.finish(S);
    assert!(!folder.is_finished());
    assert_eq!(folder.deadline(), Some(6 * S));
    work(&mut folder, 6 * S);
    assert!(folder.is_finished());
    assert_eq!(scratch.mode("current"), CLOSED);
    let pid = String::from_utf8(scratch.read("pid")).unwrap();
    let pid: i32 = pid.trim().parse().unwrap();
    let killed = linux::process::Ended::Signal(linux::signal::numbers::SIGTERM);
    assert_eq!(linux::process::wait(pid, true), linux::process::Waited::Ended(pid, killed));
    drop(folder);
    scratch.put("ok", b"", OPEN);
    let mut folder = scratch.open(with(c"cat"));
    assert!(!folder.is_ready(), "its file is being processed");
    wait(&mut folder, S);
    assert!(folder.is_ready());
    assert_eq!(scratch.content(), b"line\n");
    assert!(scratch.rotated()[0].ends_with('s'));
}

/// Waits for something that a processor does; 20 seconds at most.
fn testing_until(mut condition: impl FnMut() -> bool) {
    let end = time::monotonic() + 20 * S;
    while !condition() {
        assert!(time::monotonic() < end, "still not so");
        poll(&mut [], Some(S / 500)).unwrap();
    }
}

#[test]
fn rotated_files_are_reworked_once_while_logging_goes_on() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(behind(c"test -e go || exit 1; tr a-z A-Z; echo more"));
    rotate(&mut folder, b"one\n");
    assert!(folder.is_ready(), "it does not wait for the background");
    rotate(&mut folder, b"two\n");
    wait(&mut folder, S);
    assert!(folder.is_ready());
    assert_eq!(scratch.content(), b"one\ntwo\n");
    assert_eq!(folder.deadline(), Some(6 * S));
    scratch.put("go", b"", OPEN);
    work(&mut folder, 6 * S);
    wait(&mut folder, 6 * S);
    assert_eq!(scratch.content(), b"ONE\nmore\nTWO\nmore\n");
    assert!(scratch.rotated().iter().all(|name| scratch.mode(name) == REWORKED));
    assert_eq!(folder.deadline(), None);
    finish(folder);
    let mut folder = scratch.open(behind(c"tr A-Z a-z"));
    wait(&mut folder, S);
    assert_eq!(scratch.content(), b"ONE\nmore\nTWO\nmore\n", "not a second time");
    assert!(!scratch.has("reworking"));
}

#[test]
fn a_background_processor_that_writes_nothing_replaces_only_what_is_empty() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(behind(c"test -e go && cat"));
    scratch.put("go", b"", OPEN);
    rotate(&mut folder, b"one\n");
    wait(&mut folder, S);
    finish(folder);
    scratch.put(&scratch.rotated()[0], b"", CLOSED);
    let mut folder = scratch.open(behind(c"test ! -e go || cat"));
    wait(&mut folder, S);
    assert_eq!(scratch.mode(&scratch.rotated()[0]), REWORKED, "nothing of nothing");
    fs::remove_file(scratch.path.join("go")).unwrap();
    rotate(&mut folder, b"two\n");
    wait(&mut folder, S);
    assert_eq!((scratch.content(), folder.deadline()), (b"two\n".to_vec(), Some(6 * S)));
    assert_eq!(scratch.mode(&scratch.rotated()[1]), CLOSED);
    scratch.put("go", b"", OPEN);
    work(&mut folder, 6 * S);
    wait(&mut folder, 6 * S);
    assert_eq!((scratch.content(), folder.deadline()), (b"two\n".to_vec(), None));
    assert_eq!(scratch.mode(&scratch.rotated()[1]), REWORKED);
}

#[test]
fn a_file_that_had_to_go_while_it_was_reworked_stays_away() {
    let scratch = Scratch::new();
    let patient = behind(c"cat; while test ! -e go; do sleep 0.01; done");
    let mut folder = scratch.open(Settings { keep: 2, ..patient });
    rotate(&mut folder, b"one\n");
    rotate(&mut folder, b"two\n");
    assert_eq!(scratch.content(), b"two\n");
    scratch.put("go", b"", OPEN);
    wait(&mut folder, S);
    assert_eq!((scratch.content(), scratch.rotated().len()), (b"two\n".to_vec(), 1));
    assert_eq!(scratch.mode(&scratch.rotated()[0]), REWORKED);
}

#[test]
fn what_an_end_interrupts_is_reworked_by_the_next_logger() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(behind(c"exec sleep 1000"));
    rotate(&mut folder, b"one\n");
    finish(folder);
    assert_eq!(scratch.mode(&scratch.rotated()[0]), CLOSED);
    assert!(!scratch.has("reworking"));
    let mut folder = scratch.open(behind(c"tr a-z A-Z"));
    wait(&mut folder, S);
    assert_eq!(scratch.content(), b"ONE\n");
}
