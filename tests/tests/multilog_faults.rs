//! The logger in trouble: a full disk, missing inodes, a directory or file that others take away,
//! a clock that was wrong, processors that fail, half lines. Nothing is lost, nothing hangs.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use testkit::keeper::processor_ticks;
use testkit::lines::{Stamp, append, assert_holds, content, files, judge, lines};
use testkit::logger::{injected, messages, multilog, number, until_idle};
use testkit::{Disk, Logger, Pipe, Scratch, Suite, run, until};

const SIGALRM: i32 = 14;
const SIGTERM: i32 = 15;

const PLAIN: &[&str] = &["s4096", "n1000"];
const STAMPED: &[&str] = &["t", "s4096", "n1000"];

fn start(scratch: &Scratch, pipe: &Pipe, script: &[&str]) -> Logger {
    Logger::read(&mut multilog(scratch, Suite::Ours, script), pipe.reader())
}

/// Both ways that bytes take: moved as they are, and line by line with a stamp.
fn both_ways(dir: &str) -> [(Vec<&str>, Stamp); 2] {
    [([PLAIN, &[dir]].concat(), Stamp::None), ([STAMPED, &[dir]].concat(), Stamp::Tai64n)]
}

fn says(scratch: &Scratch, text: &str) {
    until(20, || messages(scratch).contains(text));
}

/// `enospc_then_freed`
#[test]
fn on_a_full_disk_it_waits_and_goes_on_when_there_is_room() {
    for (script, stamp) in both_ways("./disk/d") {
        let scratch = Scratch::new();
        let disk = Disk::mount(&scratch, "size=600k");
        let pipe = Pipe::new(&scratch, "pipe");
        let mut logger = start(&scratch, &pipe, &script);
        pipe.write(&lines(0..100));
        until(20, || pipe.is_empty());
        disk.fill();
        std::thread::scope(|scope| {
            // More than the pipe takes: the writer has to wait.
            let writer = scope.spawn(|| pipe.write(&lines(100..3000)));
            says(&scratch, "unable to write to ./disk/d/current, pausing: out of disk space\n");
            let ticks = processor_ticks(logger.pid()).unwrap();
            let from = linux::time::monotonic();
            until(10, || linux::time::monotonic() > from + 2_000_000_000);
            assert!(processor_ticks(logger.pid()).unwrap() - ticks <= 4, "it spins");
            assert!(!writer.is_finished());
            disk.free();
            writer.join().unwrap();
        });
        logger.finish(&pipe);
        assert_holds(&scratch.join("disk/d"), stamp, 3000, |_| true, "disk full");
    }
}

/// Where lines are stamped it begins with a spool, for which there is no room either.
#[test]
fn a_logger_that_starts_on_a_full_disk_waits_or_drops_what_is_old_as_it_is_told() {
    for (full, stamped) in [(":full=wait", true), (":full=drop", true), (":full=drop", false)] {
        let scratch = Scratch::new();
        let disk = Disk::mount(&scratch, "size=1m");
        let pipe = Pipe::new(&scratch, "pipe");
        let stamp = if stamped { Stamp::Tai64n } else { Stamp::None };
        let begin: &[&str] = if stamped { STAMPED } else { PLAIN };
        let script = [begin, &[full, "./disk/d"]].concat();
        pipe.write(&lines(0..500));
        start(&scratch, &pipe, &script).finish(&pipe);
        let dir = scratch.join("disk/d");
        let before = files(&dir);
        disk.fill();
        pipe.write(&lines(500..900));
        let mut logger = start(&scratch, &pipe, &script);
        if full == ":full=wait" {
            says(&scratch, "out of disk space\n");
            assert!(!pipe.is_empty() && files(&dir)[0] == before[0]);
            disk.free();
            logger.finish(&pipe);
            assert_holds(&dir, stamp, 900, |_| true, full);
        } else {
            logger.finish(&pipe);
            let held = content(&dir);
            let rest = judge(&held, stamp, 900, |_| true);
            // What is lost is what was dropped: the oldest.
            assert!(!rest.lost.is_empty() && rest.found > 100, "{rest}");
            let oldest = rest.lost.len() as u64;
            assert!(judge(&held, stamp, 900, |n| n >= oldest).is_fine(), "{rest}");
        }
    }
}

/// `enospc_term_obeyed`
#[test]
fn on_a_full_disk_it_ends_when_it_is_told_to_and_the_next_loses_nothing() {
    for (script, stamp) in both_ways("./disk/d") {
        let scratch = Scratch::new();
        let disk = Disk::mount(&scratch, "size=400k");
        let pipe = Pipe::new(&scratch, "pipe");
        let mut logger = start(&scratch, &pipe, &script);
        pipe.write(&lines(0..100));
        until(20, || pipe.is_empty());
        disk.fill();
        pipe.write(&lines(100..600));
        says(&scratch, "out of disk space\n");
        logger.signal(SIGTERM);
        logger.end_within(15);
        disk.free();
        start(&scratch, &pipe, &script).finish(&pipe);
        assert_holds(&scratch.join("disk/d"), stamp, 600, |_| true, "TERM on a full disk");
    }
}

#[test]
fn without_inodes_it_waits_and_goes_on_when_there_are_some() {
    for (script, stamp) in both_ways("./disk/d") {
        let scratch = Scratch::new();
        let disk = Disk::mount(&scratch, "nr_inodes=60");
        let pipe = Pipe::new(&scratch, "pipe");
        let mut logger = start(&scratch, &pipe, &script);
        pipe.write(&lines(0..10));
        until(20, || pipe.is_empty());
        disk.use_up_inodes();
        pipe.write(&lines(10..600));
        says(&scratch, "pausing: out of disk space\n");
        disk.free();
        logger.finish(&pipe);
        assert_holds(&scratch.join("disk/d"), stamp, 600, |_| true, "out of inodes");
    }
}

/// Writes a line again and again until `condition` holds; returns how many lines there were then.
#[track_caller]
fn talk_until(pipe: &Pipe, from: u64, condition: impl FnMut() -> bool) -> u64 {
    let mut condition = condition;
    let mut next = from;
    until(20, || {
        pipe.write(&lines([next]));
        next += 1;
        condition()
    });
    next
}

/// Starts on directory `d` with a size that nothing here fills, and says the first lines.
fn talking(script: &[&str]) -> (Scratch, Pipe, Logger, u64) {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let script = [script, &["s16000000", "./d"]].concat();
    let logger = start(&scratch, &pipe, &script);
    let current = scratch.join("d/current");
    let has_some = || fs::metadata(&current).is_ok_and(|meta| meta.len() > 1000);
    let next = talk_until(&pipe, 0, has_some);
    until(20, || pipe.is_empty());
    (scratch, pipe, logger, next)
}

/// Ends the logger and proves that these files, one behind the other, hold every line.
#[track_caller]
fn whole_in(files: &[PathBuf], stamp: Stamp, pipe: &Pipe, logger: &mut Logger, count: u64) {
    logger.finish(pipe);
    let text: Vec<u8> = files.iter().flat_map(|path| fs::read(path).unwrap()).collect();
    let verdict = judge(&text, stamp, count, |_| true);
    assert!(verdict.is_fine(), "{files:?}: {verdict}");
}

/// Ends the logger and proves that a text has the last lines, without a gap; the first may be cut.
#[track_caller]
fn newest_in(text: &[u8], stamp: Stamp, count: u64) {
    let end = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
    let verdict = judge(&text[end..], stamp, count, |_| true);
    let lost_only = verdict.doubled.is_empty() && verdict.misplaced.is_empty();
    assert!(lost_only && verdict.strange.is_empty() && verdict.found > 0, "{verdict}");
    assert_eq!(verdict.lost, (0..count - verdict.found).collect::<Vec<_>>(), "{verdict}");
}

fn talkers() -> [(&'static [&'static str], Stamp); 2] {
    [(&[], Stamp::None), (&["t"], Stamp::Tai64n)]
}

/// `log_dir_removed`
#[test]
fn a_directory_that_was_removed_is_made_anew_and_that_is_said() {
    for (script, stamp) in talkers() {
        let (scratch, pipe, mut logger, next) = talking(script);
        let dir = scratch.join("d");
        fs::remove_dir_all(&dir).unwrap();
        let count = talk_until(&pipe, next, || dir.join("current").exists());
        pipe.write(&lines(count..count + 50));
        logger.finish(&pipe);
        newest_in(&content(&dir), stamp, count + 50);
        let said = messages(&scratch);
        assert!(said.contains("multilog: warning: ") && said.contains("./d"), "{said}");
    }
}

#[test]
fn a_directory_that_was_moved_is_left_alone_and_made_anew_and_no_line_is_lost() {
    for (script, stamp) in talkers() {
        let (scratch, pipe, mut logger, next) = talking(script);
        let (dir, moved) = (scratch.join("d"), scratch.join("moved"));
        fs::rename(&dir, &moved).unwrap();
        let count = talk_until(&pipe, next, || dir.join("current").exists());
        pipe.write(&lines(count..count + 50));
        let files = [moved.join("current"), dir.join("current")];
        whole_in(&files, stamp, &pipe, &mut logger, count + 50);
    }
}

#[test]
fn a_current_that_was_renamed_is_followed_by_a_new_one_and_no_line_is_lost() {
    for (script, stamp) in talkers() {
        let (scratch, pipe, mut logger, next) = talking(script);
        let (current, renamed) = (scratch.join("d/current"), scratch.join("d/current.1"));
        fs::rename(&current, &renamed).unwrap();
        let count = talk_until(&pipe, next, || current.exists());
        pipe.write(&lines(count..count + 50));
        whole_in(&[renamed, current], stamp, &pipe, &mut logger, count + 50);
    }
}

#[test]
fn a_current_that_was_removed_is_followed_by_a_new_one() {
    for (script, stamp) in talkers() {
        let (scratch, pipe, mut logger, next) = talking(script);
        let current = scratch.join("d/current");
        fs::remove_file(&current).unwrap();
        let count = talk_until(&pipe, next, || current.exists());
        pipe.write(&lines(count..count + 50));
        logger.finish(&pipe);
        newest_in(&fs::read(current).unwrap(), stamp, count + 50);
    }
}

#[test]
fn a_current_that_was_truncated_goes_on_without_a_hole() {
    for (script, stamp) in talkers() {
        let (scratch, pipe, mut logger, next) = talking(script);
        let current = scratch.join("d/current");
        fs::File::options().write(true).open(&current).unwrap().set_len(0).unwrap();
        // Long enough to be noticed: lines keep coming for a while.
        let from = linux::time::monotonic();
        let second = || linux::time::monotonic() > from + 3_000_000_000;
        let count = talk_until(&pipe, next, second);
        pipe.write(&lines(count..count + 50));
        logger.finish(&pipe);
        let text = content(&scratch.join("d"));
        assert!(!text.contains(&0), "a hole");
        newest_in(&text, stamp, count + 50);
    }
}

/// The example that is shipped, with the real logrotate, several rounds while lines are coming.
#[test]
fn the_shipped_example_for_logrotate_loses_no_line() {
    for (script, stamp) in talkers() {
        let (scratch, pipe, mut logger, mut count) = talking(script);
        let dir = scratch.join("d");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/logrotate/multilog");
        let example = fs::read_to_string(example).unwrap();
        let pattern = "/var/log/skynet/*/current";
        assert!(example.contains(pattern));
        let ours = format!("{}/*/current", scratch.path().display());
        fs::write(scratch.join("logrotate.conf"), example.replace(pattern, &ours)).unwrap();
        for round in 1..=3 {
            // The folder above is everybody's, as /tmp is; that of a real log is not.
            let logrotate = run(Command::new("logrotate")
                .args(["-f", "-s"])
                .args([scratch.join("state"), scratch.join("logrotate.conf")]));
            assert_eq!(logrotate.code, Some(0), "{logrotate:?}");
            assert!(dir.join("current.1").exists(), "round {round}: {logrotate:?}");
            let current = dir.join("current");
            let has_some = || fs::metadata(&current).is_ok_and(|meta| meta.len() > 0);
            count = talk_until(&pipe, count, has_some);
        }
        logger.finish(&pipe);
        let mut text = Vec::new();
        for name in ["current.3.gz", "current.2.gz"] {
            let unpacked = run(Command::new("zcat").arg(dir.join(name)));
            assert_eq!(unpacked.code, Some(0), "{unpacked:?}");
            text.extend(unpacked.stdout);
        }
        for name in ["current.1", "current"] {
            text.extend(fs::read(dir.join(name)).unwrap());
        }
        let verdict = judge(&text, stamp, count, |_| true);
        assert!(verdict.is_fine(), "{verdict}");
    }
}

/// Rotated files of 60 lines each, whose names say years beginning with `first`.
fn rotated_before(dir: &Path, first: u64) -> u64 {
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(dir).unwrap();
    for i in 0..2 {
        let path = dir.join(format!("@{:016x}00000000.s", first + i));
        fs::write(&path, lines(i * 60..i * 60 + 60)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o744)).unwrap();
    }
    120
}

/// `clock_back_keeps_newest`: names of the next century stand for a clock that was set back.
#[test]
fn a_clock_that_was_set_back_never_makes_it_remove_the_newest() {
    let kept = |first: u64, script: &[&str]| {
        let scratch = Scratch::new();
        let dir = scratch.join("d");
        let had = rotated_before(&dir, first);
        let pipe = Pipe::new(&scratch, "pipe");
        pipe.write(&lines(had..600));
        let script = [script, &["s4096", "n3", "./d"]].concat();
        start(&scratch, &pipe, &script).finish(&pipe);
        (content(&dir).len(), files(&dir).len(), content(&dir))
    };
    let (length, number, text) = kept(0x4000_0001_0000_0000, &[]);
    let (as_usual, number_as_usual, _) = kept(0x4000_0000_3000_0000, &[]);
    assert_eq!((length, number), (as_usual, number_as_usual));
    let verdict = judge(&text, Stamp::None, 600, |_| true);
    let lost: Vec<u64> = (0..600 - verdict.found).collect();
    assert!(lost.len() as u64 > 120, "what was there before is older than what came");
    assert_eq!(verdict, testkit::lines::Verdict { found: verdict.found, lost, ..<_>::default() });
}

/// `endless_line_memory`
#[test]
fn a_line_without_end_needs_no_memory_and_loses_no_byte() {
    const PIECE: usize = 1 << 20;
    let mebibytes = if std::env::var_os("SKYNET_LONG").is_some() { 1024 } else { 64 };
    // 251 is no divisor of anything here: a byte too many or too few is seen.
    let piece = |start: usize| (start..start + PIECE).map(|i| b'A' + (i % 251 % 57) as u8);
    for stamped in [false, true] {
        let scratch = Scratch::new();
        let pipe = Pipe::new(&scratch, "pipe");
        let stamp: &[&str] = if stamped { &["t"] } else { &[] };
        let script = [stamp, &["s16000000", "n1000", "./d"]].concat();
        let mut logger = start(&scratch, &pipe, &script);
        for i in 0..mebibytes {
            pipe.write(&piece(i * PIECE).collect::<Vec<_>>());
        }
        until(60, || pipe.is_empty());
        let most = number(logger.pid(), "status", "VmHWM:");
        assert!(0 < most && most < 16 * 1024, "{most} KiB of memory");
        pipe.write(b"\n");
        logger.finish(&pipe);
        let text = content(&scratch.join("d"));
        let text = &text[if stamped { 26 } else { 0 }..];
        assert_eq!(text.len(), mebibytes * PIECE + 1);
        for i in 0..mebibytes {
            assert!(text[i * PIECE..].iter().copied().zip(piece(i * PIECE)).all(|(a, b)| a == b));
        }
    }
}

/// `two_multilogs`
#[test]
fn a_second_logger_is_refused_and_changes_nothing() {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let mut first = start(&scratch, &pipe, &["./d"]);
    pipe.write(&lines(0..10));
    until(20, || pipe.is_empty());
    let other = Pipe::new(&scratch, "other");
    other.write(b"not in here\n");
    let mut second = start(&scratch, &other, &["./d"]);
    assert_eq!(second.end_within(10).code(), Some(111));
    let text = "multilog: fatal: unable to lock directory ./d: temporary failure\n";
    assert_eq!(messages(&scratch), text);
    assert!(!other.is_empty(), "it took what it could not write");
    pipe.write(&lines(10..20));
    first.finish(&pipe);
    assert_holds(&scratch.join("d"), Stamp::None, 20, |_| true, "beside a second logger");
}

/// `alarm_burst`
#[test]
fn a_burst_of_forced_rotations_loses_no_line() {
    for (script, stamp) in both_ways("./d") {
        let scratch = Scratch::new();
        let pipe = Pipe::new(&scratch, "pipe");
        let mut logger = start(&scratch, &pipe, &script);
        until(20, || scratch.join("d/current").exists());
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| (0..300).for_each(|n| pipe.write(&lines([n]))));
            until(20, || {
                logger.signal(SIGALRM);
                writer.is_finished()
            });
        });
        logger.finish(&pipe);
        assert_holds(&scratch.join("d"), stamp, 300, |_| true, "bursts of ALRM");
        assert!(files(&scratch.join("d")).len() > 3);
    }
}

/// `processor_fails_twice`
#[test]
fn a_processor_that_fails_twice_is_run_again_and_loses_no_line() {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let processor = "!echo x >>../tries; cat; test $(wc -l <../tries) -gt 2";
    let mut logger = start(&scratch, &pipe, &["s20000", processor, "./d"]);
    pipe.write(&lines(0..500));
    logger.finish(&pipe);
    assert_holds(&scratch.join("d"), Stamp::None, 500, |_| true, "a failing processor");
    let tries = fs::read_to_string(scratch.join("tries")).unwrap();
    assert!(tries.len() >= 6, "{tries:?}");
    assert_eq!(messages(&scratch).matches("multilog: warning: ").count(), 2);
}

/// `term_with_partial_line`
#[test]
fn half_a_line_does_not_keep_it_from_ending_and_stays_whole() {
    for (script, stamp) in both_ways("./d") {
        let scratch = Scratch::new();
        let pipe = Pipe::new(&scratch, "pipe");
        let mut logger = start(&scratch, &pipe, &script);
        let text = lines(0..20);
        // Line 19 is long enough to be cut.
        pipe.write(&text[..text.len() - 9]);
        until_idle(logger.pid());
        logger.signal(SIGTERM);
        assert!(logger.end_within(10).success());
        pipe.write(&text[text.len() - 9..]);
        start(&scratch, &pipe, &script).finish(&pipe);
        assert_holds(&scratch.join("d"), stamp, 20, |_| true, "TERM in the middle of a line");
    }
}

/// `nonblocking_stdin`
#[test]
fn a_pipe_that_does_not_block_is_waited_for() {
    use std::os::unix::fs::OpenOptionsExt;
    const O_NONBLOCK: i32 = 0o4000;
    for (script, stamp) in both_ways("./d") {
        let scratch = Scratch::new();
        let pipe = Pipe::new(&scratch, "pipe");
        let end = fs::File::options()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(scratch.join("pipe"))
            .unwrap();
        let mut logger = Logger::read(&mut multilog(&scratch, Suite::Ours, &script), end);
        for n in 0..10 {
            pipe.write(&lines(n * 30..n * 30 + 30));
            until(20, || pipe.is_empty() || logger.ended().is_some());
            until_idle(logger.pid());
        }
        let ticks = processor_ticks(logger.pid()).unwrap();
        assert!(ticks < 50, "{ticks} ticks: it spins");
        logger.finish(&pipe);
        assert_holds(&scratch.join("d"), stamp, 300, |_| true, "a non-blocking pipe");
    }
}

/// `no_fd_leak_to_processor`
#[test]
fn a_processor_has_its_own_descriptors_and_no_signal_blocked_or_ignored() {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let see = "!ls /proc/self/fd >../fds; cat /proc/self/status >../status; cat";
    let mut logger = start(&scratch, &pipe, &["./e", see, "./d"]);
    pipe.write(&lines(0..10));
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    logger.signal(SIGALRM);
    until(20, || scratch.join("status").exists());
    until_idle(logger.pid());
    logger.finish(&pipe);
    let seen = fs::read_to_string(scratch.join("fds")).unwrap();
    // ls has the folder that it reads as its first free one: 3.
    assert_eq!(seen, "0\n1\n2\n3\n4\n5\n");
    let status = fs::read_to_string(scratch.join("status")).unwrap();
    for key in ["SigBlk:", "SigIgn:", "SigPnd:", "ShdPnd:"] {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        assert_eq!(line.trim(), "0000000000000000", "{key}");
    }
}

#[test]
fn nobody_reading_its_messages_does_not_end_it() {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = multilog(&scratch, Suite::Ours, &["e", "./d"]);
    command.stderr(writer);
    let mut logger = Logger::read(&mut command, pipe.reader());
    pipe.write(&lines(0..100));
    until(20, || pipe.is_empty());
    logger.finish(&pipe);
    assert_holds(&scratch.join("d"), Stamp::None, 100, |_| true, "without a reader of its alerts");
}

#[test]
fn input_that_cannot_be_read_is_told_and_what_was_read_is_kept() {
    let fails = &["read:error=EIO:when=2+"][..];
    for (script, stamp, input, rules, count, why) in [
        (&["t", "./d"][..], Stamp::Tai64n, "file", fails, 5, "input/output error"),
        (&["./d"], Stamp::None, "file", fails, 5, "input/output error"),
        (&["./d"], Stamp::None, "directory", &[], 0, "is a directory"),
    ] {
        let scratch = Scratch::new();
        fs::write(scratch.join("file"), lines(0..5)).unwrap();
        fs::create_dir(scratch.join("directory")).unwrap();
        let input = fs::File::open(scratch.join(input)).unwrap();
        let mut command = injected(&scratch, rules, Suite::Ours, script);
        let status = Logger::read(&mut command, input).end_within(20);
        let wanted = format!("multilog: fatal: unable to read input: {why}\n");
        assert_eq!((status.code(), messages(&scratch)), (Some(111), wanted), "{script:?}");
        let dir = scratch.join("d");
        assert_holds(&dir, stamp, count, |_| true, why);
        let mode = fs::metadata(dir.join("current")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o744, "closed in good order");
    }
}

/// Writes at full speed until told to stop, and tells how many lines it has written.
fn write_until(over: &AtomicBool, written: &AtomicU64, pipe: &Pipe) {
    let mut end = pipe.writer();
    let mut bytes = Vec::new();
    while !over.load(Ordering::Relaxed) {
        bytes.clear();
        let from = written.load(Ordering::Relaxed);
        (from..from + 500).for_each(|n| append(n, &mut bytes));
        end.write_all(&bytes).unwrap();
        written.store(from + 500, Ordering::Relaxed);
    }
}

/// Pages that this process has written to and so has for itself, KiB. Those of its program belong
/// to all that run it.
fn private(pid: i32) -> u64 {
    number(pid, "smaps_rollup", "Anonymous:")
}

#[test]
fn memory_is_small_under_load_and_given_back_and_idle_it_is_never_woken() {
    for (script, stamp) in both_ways("./d") {
        let scratch = Scratch::new();
        let pipe = Pipe::new(&scratch, "pipe");
        let script = [&script[..1], &["s1000000", "n1000", "./d"]].concat();
        let mut logger = start(&scratch, &pipe, &script);
        let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut most = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| write_until(&over, &written, &pipe));
            until(60, || {
                most = most.max(private(logger.pid()));
                written.load(Ordering::Relaxed) > 60_000
            });
            over.store(true, Ordering::Relaxed);
        });
        assert!(0 < most && most <= 256, "{most} KiB under load");
        until(60, || pipe.is_empty());
        // A load's memory is given back a second behind it. What is left is 20 KiB in the median;
        // the kernel begins the stack at a random place, which may cost it a page more or less.
        until(30, || private(logger.pid()) <= 24);
        let switches = || {
            number(logger.pid(), "status", "voluntary_ctxt_switches:")
                + number(logger.pid(), "status", "nonvoluntary_ctxt_switches:")
        };
        // It may have been small all the time, and still look once whether there is more to come.
        let (mut before, mut from) = (switches(), linux::time::monotonic());
        until(60, || {
            let (now, at) = (switches(), linux::time::monotonic());
            if now != before {
                (before, from) = (now, at);
            }
            at > from + 7_000_000_000
        });
        logger.finish(&pipe);
        let count = written.into_inner();
        assert_holds(&scratch.join("d"), stamp, count, |_| true, "under load");
    }
}
