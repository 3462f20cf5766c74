//! What the logger's own actions do, on the real program; and daemontools-encore's.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use testkit::keeper::processor_ticks;
use testkit::lines::{Stamp, assert_holds, content, judge, lines};
use testkit::logger::{injected, messages, multilog, under, until_idle};
use testkit::{Disk, Logger, Pipe, Scratch, Suite, run, until};

const SIGALRM: i32 = 14;
const SIGTERM: i32 = 15;

/// A folder, a pipe, and a logger of this script that reads from it.
fn start(script: &[&str]) -> (Scratch, Pipe, Logger) {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let logger = again(&scratch, &pipe, script);
    (scratch, pipe, logger)
}

fn again(scratch: &Scratch, pipe: &Pipe, script: &[&str]) -> Logger {
    Logger::read(&mut multilog(scratch, Suite::Ours, script), pipe.reader())
}

/// What a logger of this script makes of the text, in directory `d`.
fn logged(script: &[&str], text: &[u8]) -> Vec<u8> {
    let (scratch, pipe, mut logger) = start(&[script, &["./d"]].concat());
    pipe.write(text);
    logger.finish(&pipe);
    content(&scratch.join("d"))
}

fn rotated(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().as_encoded_bytes().starts_with(b"@"));
    paths.sort();
    paths
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o7777)
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}

/// Tells whether there are rotated files and each has been through the background processor.
fn all_reworked(dir: &Path) -> bool {
    let files = rotated(dir);
    !files.is_empty() && files.iter().all(|path| mode(path) == 0o755)
}

/// The log with its compressed files as they were before; a file compressed twice stays strange.
fn unpacked(dir: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    for path in rotated(dir) {
        if mode(&path) == 0o755 {
            let output = run(Command::new("gzip").arg("-dc").arg(&path));
            assert_eq!(output.code, Some(0), "{}: {output:?}", path.display());
            text.extend_from_slice(&output.stdout);
        } else {
            text.extend_from_slice(&fs::read(&path).unwrap());
        }
    }
    text.extend_from_slice(&fs::read(dir.join("current")).unwrap());
    text
}

#[track_caller]
fn assert_unpacked(dir: &Path, count: u64) {
    let verdict = judge(&unpacked(dir), Stamp::None, count, |_| true);
    assert!(verdict.is_fine(), "{verdict}");
}

#[test]
fn iso_stamps_are_utc_with_microseconds_wherever_the_machine_is() {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let mut command = multilog(&scratch, Suite::Ours, &[":iso", "./d"]);
    let mut logger = Logger::read(command.env("TZ", "Asia/Kathmandu"), pipe.reader());
    pipe.write(&lines(0..3));
    logger.finish(&pipe);
    let after = now();
    assert_holds(&scratch.join("d"), Stamp::Iso, 3, |_| true, "iso");
    let text = String::from_utf8(content(&scratch.join("d"))).unwrap();
    let stamp = &text[..27];
    // Somebody else's reading of the same stamp.
    let read = run(Command::new("date").args(["-u", "-d", stamp, "+%s"]));
    let seconds: u64 = read.out().trim().parse().unwrap();
    assert!((before..=after).contains(&seconds), "{stamp}: {before} to {after}");
}

/// `tag_forgery`
#[test]
fn nothing_that_is_printed_makes_a_line_without_the_prefix() {
    let long = "x".repeat(5000);
    let text = format!(
        "plain\n\rother: forged\nother: forged\n@400000006b04c42f075bcd15 other: forged\n\
         a\rother: b\x0bc\x0cd\u{85}e\u{2028}f\0g\n\n{long}other: forged\n{long}\nlast"
    );
    for stamp in [None, Some("t"), Some(":iso"), Some("T")] {
        let script: Vec<&str> = stamp.into_iter().chain([":prefix=web: "]).collect();
        let out = logged(&script, format!("{text}\n").as_bytes());
        let found: Vec<&[u8]> =
            out.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let wanted: Vec<&[u8]> = text.as_bytes().split(|byte| *byte == b'\n').collect();
        assert_eq!(found.len(), wanted.len(), "{stamp:?}");
        for (line, wanted) in found.iter().zip(wanted) {
            let lead = match stamp {
                None => 0,
                Some("T") => 18,
                Some(":iso") => 28,
                Some(_) => 26,
            };
            let rest = line[lead..].strip_prefix(b"web: ");
            assert!(rest == Some(wanted), "{stamp:?}: {:?}", String::from_utf8_lossy(line));
        }
    }
}

#[test]
fn all_files_together_take_no_more_than_the_total() {
    let (scratch, pipe, mut logger) = start(&["s4096", "n1000", ":total=16KiB", "./d"]);
    let dir = scratch.join("d");
    for n in 0..40 {
        pipe.write(&lines(n * 50..(n + 1) * 50));
        until(20, || pipe.is_empty());
        until_idle(logger.pid());
        let all = rotated(&dir).iter().map(|path| size(path)).sum::<u64>();
        assert!(all + size(&dir.join("current")) <= 16 << 10, "{all}");
    }
    logger.finish(&pipe);
    assert!(rotated(&dir).len() >= 2, "room is used");
    assert!(lines(0..2000).ends_with(&content(&dir)), "the newest are kept");
}

#[test]
fn a_file_is_rotated_when_its_first_line_is_old_without_any_input() {
    for script in [&[":age=1s", "./d"][..], &["t", ":age=1s", "./d"]] {
        let (scratch, pipe, mut logger) = start(script);
        let dir = scratch.join("d");
        pipe.write(&lines(0..3));
        until(20, || rotated(&dir).len() == 1);
        assert_eq!((size(&dir.join("current")), mode(&rotated(&dir)[0])), (0, 0o744));
        // An empty one has no age, and nobody is woken because of it.
        until_idle(logger.pid());
        logger.finish(&pipe);
        assert_eq!(rotated(&dir).len(), 1);
    }
}

/// The clock stays as it is: what was written yesterday is closed today. That midnight itself is
/// waited for is shown where `machine` tests `Age`.
#[test]
fn a_file_of_yesterday_is_closed_at_the_start_without_a_line_of_today() {
    let scratch = Scratch::new();
    let dir = scratch.join("d");
    fs::create_dir(&dir).unwrap();
    let current = dir.join("current");
    fs::write(&current, lines(0..3)).unwrap();
    fs::set_permissions(&current, fs::Permissions::from_mode(0o744)).unwrap();
    let yesterday = SystemTime::now() - std::time::Duration::from_secs(86_400);
    fs::File::options().write(true).open(&current).unwrap().set_modified(yesterday).unwrap();
    let pipe = Pipe::new(&scratch, "pipe");
    let mut logger = again(&scratch, &pipe, &[":daily", "./d"]);
    until(20, || rotated(&dir).len() == 1 && size(&current) == 0);
    pipe.write(&lines(3..5));
    logger.finish(&pipe);
    assert_eq!(fs::read(&rotated(&dir)[0]).unwrap(), lines(0..3));
    assert_holds(&dir, Stamp::None, 5, |_| true, "daily");
}

/// As a machine that was off for three days finds it: rotated files of the days before, and what was
/// being written, of that mode.
fn left_three_days_ago(scratch: &Scratch, current_mode: u32) -> PathBuf {
    let dir = scratch.join("d");
    fs::create_dir(&dir).unwrap();
    let now = SystemTime::now();
    let files = [(lines(0..2), Some(5), 0o744), (lines(2..4), Some(4), 0o744)];
    for (text, days, file_mode) in files.into_iter().chain([(lines(4..6), None, current_mode)]) {
        let written = now - std::time::Duration::from_secs(86_400 * days.unwrap_or(3));
        let unix = written.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        // A label counts from 2^62; TAI is ten seconds ahead.
        let label = format!("@{:016x}00000000.s", (1_u64 << 62) + 10 + unix);
        let path = dir.join(days.map_or("current".into(), |_| label));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(file_mode)).unwrap();
        fs::File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
    }
    dir
}

#[test]
fn after_days_of_downtime_what_was_written_before_is_closed_once_at_the_start() {
    for action in [":daily", ":age=1h"] {
        for (current_mode, closed) in [(0o744, "s"), (0o644, "u")] {
            let scratch = Scratch::new();
            let dir = left_three_days_ago(&scratch, current_mode);
            let pipe = Pipe::new(&scratch, "pipe");
            // Also the third finds nothing more to close.
            for n in 0..3 {
                let mut logger = again(&scratch, &pipe, &[action, "./d"]);
                until(20, || rotated(&dir).len() == 3 && dir.join("current").exists());
                pipe.write(&lines(6 + n..7 + n));
                until(20, || pipe.is_empty());
                until_idle(logger.pid());
                logger.finish(&pipe);
            }
            let context = format!("{action} {current_mode:o}");
            let all = rotated(&dir);
            assert_eq!(all.len(), 3, "{context}: {all:?}");
            assert!(all[2].to_string_lossy().ends_with(closed), "{context}: {all:?}");
            assert_eq!(fs::read(&all[2]).unwrap(), lines(4..6), "{context}");
            assert_eq!(fs::read(dir.join("current")).unwrap(), lines(6..9), "{context}");
        }
    }
}

#[test]
fn rotated_files_are_compressed_and_then_the_logger_sleeps() {
    let (scratch, pipe, mut logger) = start(&["s4096", "n1000", ":then=gzip -c", "./d"]);
    let dir = scratch.join("d");
    pipe.write(&lines(0..500));
    until(20, || pipe.is_empty());
    // No more input comes: the end of each run alone leads to the next.
    until(30, || all_reworked(&dir));
    until_idle(logger.pid());
    let ticks = processor_ticks(logger.pid()).unwrap();
    until_idle(logger.pid());
    assert!(processor_ticks(logger.pid()).unwrap() - ticks <= 4, "it spins");
    logger.finish(&pipe);
    assert!(!dir.join("reworking").exists());
    assert_unpacked(&dir, 500);
}

/// The file is mostly a hole behind its first block, so that it takes no room.
#[test]
fn files_of_more_than_four_gibibytes_are_carried_on_with_and_end_at_their_size() {
    const SIZE: u64 = 5 << 30;
    for (words, stamp) in [(&[][..], Stamp::None), (&["t"], Stamp::Tai64n)] {
        let scratch = Scratch::new();
        let dir = scratch.join("d");
        fs::create_dir(&dir).unwrap();
        let current = dir.join("current");
        fs::write(&current, vec![b'x'; 8192]).unwrap();
        let file = fs::File::options().write(true).open(&current).unwrap();
        file.set_len(SIZE - 5000).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o744)).unwrap();
        let pipe = Pipe::new(&scratch, "pipe");
        let most = format!("s{SIZE}");
        let mut logger = again(&scratch, &pipe, &[words, &[&most, "./d"]].concat());
        pipe.write(&lines(0..200));
        logger.finish(&pipe);
        let all = rotated(&dir);
        assert_eq!(all.len(), 1, "{}", messages(&scratch));
        let len = size(&all[0]);
        assert!((SIZE - 2000..=SIZE).contains(&len), "{len}");
        let mut text = Vec::new();
        let mut file = fs::File::open(&all[0]).unwrap();
        file.seek(SeekFrom::Start(SIZE - 5000)).unwrap();
        file.read_to_end(&mut text).unwrap();
        text.extend(fs::read(&current).unwrap());
        let verdict = judge(&text, stamp, 200, |_| true);
        assert!(verdict.is_fine(), "{verdict}");
    }
}

/// A background processor that waits until the file `go` is there.
const WAITING: &str = ":then=until test -e ../go; do sleep 0.05; done; exec gzip -c";

#[test]
fn logging_goes_on_while_the_background_processor_runs_and_alrm_and_term_are_obeyed() {
    let script = ["s4096", "n1000", WAITING, "./d"];
    let (scratch, pipe, mut logger) = start(&script);
    let dir = scratch.join("d");
    pipe.write(&lines(0..100));
    until(20, || dir.join("reworking").exists());
    pipe.write(&lines(100..400));
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    let files = rotated(&dir).len();
    assert!(files > 2, "{files}");
    logger.signal(SIGALRM);
    until(20, || rotated(&dir).len() == files + 1);
    logger.signal(SIGTERM);
    assert!(logger.end_within(15).success());
    assert!(rotated(&dir).iter().all(|path| mode(path) == 0o744));
    assert!(!dir.join("reworking").exists());
    fs::write(scratch.join("go"), "").unwrap();
    let mut logger = again(&scratch, &pipe, &script);
    until(30, || all_reworked(&dir));
    logger.finish(&pipe);
    assert_unpacked(&dir, 400);
}

#[test]
fn a_logger_killed_while_files_are_compressed_compresses_each_once() {
    let script = ["s4096", "n1000", WAITING, "./d"];
    let (scratch, pipe, logger) = start(&script);
    let dir = scratch.join("d");
    pipe.write(&lines(0..300));
    until(20, || pipe.is_empty() && dir.join("reworking").exists());
    logger.kill9();
    fs::write(scratch.join("go"), "").unwrap();
    for _ in 0..5 {
        let logger = again(&scratch, &pipe, &script);
        until(20, || rotated(&dir).iter().any(|path| mode(path) == 0o755));
        logger.kill9();
    }
    let mut logger = again(&scratch, &pipe, &script);
    let is_left = |path: &PathBuf| mode(path) == 0o744;
    until(30, || !rotated(&dir).iter().any(is_left) && !dir.join("reworking").exists());
    logger.finish(&pipe);
    assert_unpacked(&dir, 300);
}

/// The spool knows a file by its inode, which a processor changes.
#[test]
fn a_logger_killed_after_its_rotated_file_was_replaced_doubles_no_line() {
    for rotation in [":then=cat", "!cat"] {
        let script = ["t", "s1000000", rotation, "./d"];
        let (scratch, pipe, logger) = start(&script);
        let dir = scratch.join("d");
        pipe.write(&lines(0..50));
        until(20, || pipe.is_empty());
        until_idle(logger.pid());
        logger.signal(SIGALRM);
        until(20, || rotated(&dir).len() == 1 && size(&dir.join("current")) == 0);
        until_idle(logger.pid());
        logger.kill9();
        let mut logger = again(&scratch, &pipe, &script);
        pipe.write(&lines(50..60));
        logger.finish(&pipe);
        assert_holds(&dir, Stamp::Tai64n, 60, |_| true, rotation);
    }
}

/// As behind a power cut, where lengths may be on disk and content not.
#[test]
fn a_log_that_is_longer_than_its_spool_explains_costs_no_later_line() {
    for script in [&["t", "s1000000", "./d"][..], &["t", "s1000000", "./d", "./e"]] {
        let (scratch, pipe, logger) = start(script);
        pipe.write(&lines(0..50));
        until(20, || pipe.is_empty());
        until_idle(logger.pid());
        logger.kill9();
        let current = fs::OpenOptions::new().append(true).open(scratch.join("d/current"));
        current.unwrap().write_all(&[0; 700]).unwrap();
        let mut logger = again(&scratch, &pipe, script);
        pipe.write(&lines(50..100));
        until(20, || pipe.is_empty());
        until_idle(logger.pid());
        // What it noted since is true: a kill as always.
        logger.kill9();
        logger = again(&scratch, &pipe, script);
        pipe.write(&lines(100..150));
        logger.finish(&pipe);
        let mut text = content(&scratch.join("d"));
        let len = text.len();
        text.retain(|byte| *byte != 0);
        assert_eq!(len - text.len(), 700);
        let verdict = judge(&text, Stamp::Tai64n, 150, |_| true);
        assert!(verdict.is_fine(), "{verdict}");
    }
}

#[test]
fn a_spool_whose_directory_was_removed_is_kept_in_the_new_one() {
    let script = ["t", "s1000000", "./d", "./e"];
    let (scratch, pipe, logger) = start(&script);
    pipe.write(&lines(0..1));
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    fs::rename(scratch.join("d"), scratch.join("moved")).unwrap();
    let mut next = 1;
    until(20, || {
        pipe.write(&lines([next]));
        next += 1;
        size(&scratch.join("d/spool.0")) + size(&scratch.join("d/spool.1")) > 0
    });
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    logger.kill9();
    let mut logger = again(&scratch, &pipe, &script);
    pipe.write(&lines(next..next + 10));
    logger.finish(&pipe);
    let text = [content(&scratch.join("moved")), content(&scratch.join("d"))].concat();
    let verdict = judge(&text, Stamp::Tai64n, next + 10, |_| true);
    assert!(verdict.is_fine(), "{verdict}");
    assert_holds(&scratch.join("e"), Stamp::Tai64n, next + 10, |_| true, "the other");
}

/// The other directory's logger was killed in the middle of a line.
#[test]
fn a_spool_in_a_directory_that_comes_in_the_place_of_another_is_kept() {
    let script = ["t", "./d"];
    let (scratch, pipe, logger) = start(&script);
    pipe.write(b"half a line");
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    logger.kill9();
    let path = |name| scratch.join(name);
    let [spool] = ["spool.0", "spool.1"]
        .map(|name| path("d").join(name))
        .into_iter()
        .filter(|path| size(path) > 8192)
        .collect::<Vec<_>>()
        .try_into()
        .unwrap();
    let left = fs::read(&spool).unwrap();
    assert!(left.ends_with(b"half a line"));
    fs::rename(path("d"), path("theirs")).unwrap();
    let theirs = path("theirs").join(spool.file_name().unwrap());

    let pipe = Pipe::new(&scratch, "another");
    let logger = again(&scratch, &pipe, &script);
    pipe.write(&lines(0..1));
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    fs::rename(path("d"), path("moved")).unwrap();
    fs::rename(path("theirs"), path("d")).unwrap();
    let mut next = 1;
    until(20, || {
        pipe.write(&lines([next]));
        next += 1;
        messages(&scratch).contains("./d has what a killed multilog had not written")
    });
    let kept = path("d").join(theirs.file_name().unwrap()).with_added_extension("kept");
    assert!(fs::read(kept).unwrap() == left);
    logger.kill9();
    let mut logger = again(&scratch, &pipe, &script);
    logger.finish(&pipe);
    let text = [content(&path("moved")), content(&path("d"))].concat();
    let verdict = judge(&text, Stamp::Tai64n, next, |_| true);
    assert!(verdict.is_fine(), "{verdict}");
}

#[test]
fn where_no_splice_is_to_be_had_that_is_said_once_and_logging_goes_on() {
    for (script, stamp) in
        [(&["s4096", "n99", "./d"][..], Stamp::None), (&["t", "./d"], Stamp::Tai64n)]
    {
        let scratch = Scratch::new();
        let pipe = Pipe::new(&scratch, "pipe");
        let mut command = injected(&scratch, &["splice:error=EINVAL"], Suite::Ours, script);
        let mut logger = Logger::read(&mut command, pipe.reader());
        for n in 0..5 {
            pipe.write(&lines(100 * n..100 * (n + 1)));
            until(20, || pipe.is_empty());
        }
        logger.finish(&pipe);
        assert_holds(&scratch.join("d"), stamp, 500, |_| true, "memory");
        assert_eq!(
            messages(&scratch),
            "multilog: warning: unable to splice into ./d, kill -9 may lose lines: \
             invalid argument\n"
        );
        assert!(!scratch.join("d/spool.0").exists());
    }
}

#[test]
fn a_background_processor_that_fails_is_told_and_run_again_and_nothing_is_lost() {
    let command = ":then=test -e ../go || { echo half; exit 1; }; exec gzip -c";
    let (scratch, pipe, mut logger) = start(&["s4096", "n1000", command, "./d"]);
    let dir = scratch.join("d");
    pipe.write(&lines(0..200));
    until(20, || messages(&scratch).contains("multilog: warning: "));
    assert!(rotated(&dir).iter().all(|path| mode(path) == 0o744));
    fs::write(scratch.join("go"), "").unwrap();
    until(30, || all_reworked(&dir));
    logger.finish(&pipe);
    assert_unpacked(&dir, 200);
}

#[test]
fn on_a_full_disk_the_oldest_file_makes_room_where_that_is_asked_for() {
    for stamp in [&[][..], &["t"]] {
        let scratch = Scratch::new();
        let _disk = Disk::mount(&scratch, "size=400k");
        let pipe = Pipe::new(&scratch, "pipe");
        let script = [stamp, &["s16384", "n1000", ":full=drop", "./disk/d"]].concat();
        let mut logger = again(&scratch, &pipe, &script);
        let begun = Instant::now();
        // At once: it pauses for nothing that it can help itself.
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| pipe.write(&lines(0..20_000)));
            until(20, || writer.is_finished() && pipe.is_empty());
        });
        logger.finish(&pipe);
        // The first, and one more in five seconds.
        let told = messages(&scratch).matches("removing the oldest file").count() as u64;
        assert!((1..=1 + begun.elapsed().as_secs() / 5).contains(&told), "{}", messages(&scratch));
        let kind = if stamp.is_empty() { Stamp::None } else { Stamp::Tai64n };
        let verdict = judge(&content(&scratch.join("disk/d")), kind, 20_000, |_| true);
        let gone = 20_000 - verdict.found;
        assert!(gone > 0 && verdict.found > 500, "{verdict}");
        assert_eq!(verdict.lost, (0..gone).collect::<Vec<_>>(), "only the oldest: {verdict}");
        assert!(verdict.doubled.is_empty() && verdict.misplaced.is_empty(), "{verdict}");
    }
}

#[test]
fn what_was_written_is_put_on_disk_at_intervals_and_never_for_each_line() {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let trace = scratch.join("trace");
    let wrapper = ["strace", "-D", "-q", "-I", "2", "-e", "trace=fsync,fdatasync", "-o", "trace"];
    let script = [":sync=200ms", "./d"];
    let mut command = under(&scratch, &wrapper, Suite::Ours, &script);
    let mut logger = Logger::read(&mut command, pipe.reader());
    until(20, || scratch.join("d/current").exists());
    until_idle(logger.pid());
    let syncs = || fs::read_to_string(&trace).unwrap_or_default().matches("sync(").count();
    let before = syncs();
    for n in 0..2000 {
        pipe.write(&lines([n]));
    }
    // The last line is followed by no other: the time alone brings it to the disk.
    until(20, || pipe.is_empty() && syncs() > before);
    until_idle(logger.pid());
    assert!(syncs() - before < 500, "{} for 2,000 lines", syncs() - before);
    logger.finish(&pipe);
    assert_holds(&scratch.join("d"), Stamp::None, 2000, |_| true, "sync");
}

#[test]
fn a_spool_is_kept_unless_exactness_is_not_asked_for() {
    for (exact, files) in [(":exact=yes", 1), (":exact=no", 0)] {
        let (scratch, pipe, mut logger) = start(&["t", exact, "./d"]);
        pipe.write(&lines(0..5));
        until(20, || pipe.is_empty());
        until_idle(logger.pid());
        let spools = ["spool.0", "spool.1"].map(|name| scratch.join("d").join(name));
        assert_eq!(spools.iter().any(|path| path.exists()), files > 0, "{exact}");
        logger.finish(&pipe);
        assert_holds(&scratch.join("d"), Stamp::Tai64n, 5, |_| true, exact);
    }
}

#[test]
fn an_action_of_ours_that_makes_no_sense_is_refused_before_anything_is_made() {
    for (action, why) in [
        (":nonsense", "there is no such action"),
        (":total=5", "no size such as 512KiB, 100MiB or 2GiB"),
        (":age=5", "no time such as 500ms, 10s, 5m, 2h, 1d or 1w"),
        (":sync", "needs a value"),
        (":then= # gzip -c", "needs a value"),
        (":daily=1", "takes no value"),
        (":full=x", "must be wait or drop"),
        (":exact=maybe", "must be yes or no"),
        (":iso", "must be the first action"),
        ("wu", "must be 1 to 16 bytes without a slash, and not u"),
    ] {
        let scratch = Scratch::new();
        let mut command = multilog(&scratch, Suite::Ours, &["e", "./d", action]);
        let status = Logger::start(&mut command).end_within(20);
        let wanted = format!("multilog: fatal: unable to read action {action}: {why}\n");
        assert_eq!((status.code(), messages(&scratch)), (Some(100), wanted));
        assert!(!scratch.join("d").exists());
    }
}

#[test]
fn encore_s_letters_do_what_they_do_there() {
    let out = String::from_utf8(logged(&["T"], b"line\n")).unwrap();
    let (stamp, rest) = out.split_once(' ').unwrap();
    let (seconds, micros) = stamp.split_once('.').unwrap();
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(seconds.len() == 10 && micros.len() == 6 && rest == "line\n", "{out}");
    assert!(is_number(seconds) && is_number(micros), "{out}");

    let text = b"abc\na?c\naxyc\nb*\nbbb\n";
    assert_eq!(logged(&["F", "-*", "+a?c"], text), b"abc\na?c\n");
    assert_eq!(logged(&["F", "-[!a]*"], text), b"abc\na?c\naxyc\n");
    assert_eq!(logged(&["F", "-*", "S", "+a?c"], text), b"a?c\n");

    let (scratch, pipe, mut logger) = start(&["wdone", "./d"]);
    pipe.write(&lines(0..3));
    until(20, || pipe.is_empty());
    until_idle(logger.pid());
    logger.signal(SIGALRM);
    let dir = scratch.join("d");
    until(20, || rotated(&dir).len() == 1);
    assert!(rotated(&dir)[0].as_os_str().as_encoded_bytes().ends_with(b".done"));
    logger.finish(&pipe);
}
