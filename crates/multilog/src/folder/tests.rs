//! A folder in a real directory. The clock that the folder is told of is the test's.

mod lost;
mod processors;
mod scratch;

use super::*;
use ondisk::logdir::{CLOSED, OPEN, REWORKED};
use scratch::Scratch;
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

const S: u64 = time::SECOND;

fn small() -> Settings {
    Settings { size: 4096, keep: 4, ..Settings::default() }
}

/// Writes lines into the folder and rotates it where it says so.
fn write(folder: &mut Folder, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        assert!(folder.is_ready());
        let written = folder.put(bytes, S);
        assert!(written > 0);
        bytes = &bytes[written..];
        work(folder, S);
    }
}

/// Does what is due.
fn work(folder: &mut Folder, now: u64) {
    folder.work(now);
    while folder.begin_due(now) {
        folder.work(now);
    }
}

fn check(folder: &mut Folder, now: u64) {
    folder.check(now);
    work(folder, now);
}

fn lines(range: core::ops::Range<u32>) -> Vec<u8> {
    range.flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

fn finish(mut folder: Folder) {
    folder.finish(S);
    assert!(folder.is_finished());
}

#[test]
fn a_folder_is_small() {
    assert!(size_of::<Folder>() < 1024, "{}", size_of::<Folder>());
}

#[test]
fn a_new_directory_has_the_modes_of_the_original_and_one_logger() {
    let scratch = Scratch::new();
    let folder = scratch.open(small());
    assert_eq!(scratch.mode(""), 0o700);
    assert_eq!(scratch.mode("lock"), 0o600);
    assert_eq!(scratch.mode("state"), 0o644);
    assert_eq!(scratch.mode("current"), OPEN);
    assert_eq!(Folder::open(scratch.name, small()).err(), Some(111));
    assert_eq!((folder.len(), folder.deadline(), folder.poll_fds()), (0, None, [-1, -1]));
    finish(folder);
    assert_eq!(scratch.mode("current"), CLOSED);
    assert_eq!(scratch.names(), ["current", "lock", "state"]);
}

#[test]
fn files_end_behind_a_line_and_the_last_ones_are_kept() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(small());
    let all = lines(0..3000);
    write(&mut folder, &all);
    let rotated = scratch.rotated();
    assert_eq!(rotated.len(), 3);
    for name in &rotated {
        assert_eq!(scratch.mode(name), CLOSED);
        let content = scratch.read(name);
        assert!((2096..2096 + 12).contains(&content.len()), "{}", content.len());
        assert!(content.ends_with(b"\n"));
    }
    assert!(all.ends_with(&scratch.content()));
    finish(folder);
}

#[test]
fn a_line_without_an_end_is_cut_at_the_size() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(small());
    write(&mut folder, &[b'x'; 10_000]);
    assert_eq!(scratch.content(), [b'x'; 10_000]);
    assert_eq!(scratch.read(&scratch.rotated()[0]).len(), 4096);
}

#[test]
fn what_an_outage_left_is_put_in_order() {
    // previous, processed (and whether it is closed), current; what becomes of them.
    type Row = (bool, Option<bool>, &'static str, &'static [(&'static str, &'static str)]);
    let rows: [Row; 6] = [
        (true, None, "cur", &[(".u", "prev"), (".u", "cur")]),
        (true, Some(true), "cur", &[(".s", "proc"), (".u", "cur")]),
        (true, Some(false), "cur", &[(".u", "prev"), (".u", "cur")]),
        (false, Some(true), "cur", &[(".s", "proc"), (".u", "cur")]),
        (false, Some(false), "cur", &[(".u", "cur")]),
        (true, None, "", &[(".u", "prev")]),
    ];
    for (previous, processed, current, left) in rows {
        let scratch = Scratch::new();
        scratch.put("current", current.as_bytes(), OPEN);
        if previous {
            scratch.put("previous", b"prev", CLOSED);
        }
        if let Some(closed) = processed {
            scratch.put("processed", b"proc", if closed { CLOSED } else { OPEN });
        }
        scratch.put("state", b"state", OPEN);
        scratch.put("newstate", b"newstate", OPEN);
        scratch.put("reworking", b"half", OPEN);
        let folder = scratch.open(small());
        let found: Vec<_> =
            scratch.rotated().iter().map(|name| (name[25..].into(), scratch.read(name))).collect();
        let wanted: Vec<(String, Vec<u8>)> =
            left.iter().map(|(end, text)| ((*end).into(), text.as_bytes().into())).collect();
        assert_eq!(found, wanted);
        assert_eq!(folder.len(), 0);
        assert_eq!(scratch.read("state"), b"");
        for gone in ["previous", "processed", "newstate", "reworking"] {
            assert!(!scratch.has(gone), "{gone}");
        }
    }
}

#[test]
fn a_clean_current_is_carried_on_with() {
    let scratch = Scratch::new();
    scratch.put("current", b"before\n", CLOSED);
    scratch.put("state", b"state", OPEN);
    let mut folder = scratch.open(small());
    assert_eq!((folder.len(), scratch.mode("current")), (7, OPEN));
    write(&mut folder, b"after\n");
    assert_eq!(scratch.read("current"), b"before\nafter\n");
    assert_eq!(scratch.read("state"), b"state");
    finish(folder);
    // From a logger with a larger size.
    scratch.put("current", &[b'x'; 4096], CLOSED);
    let mut folder = scratch.open(small());
    assert_eq!((scratch.rotated().len(), folder.len()), (0, 4096), "the caller may need it");
    work(&mut folder, S);
    assert_eq!((scratch.rotated().len(), folder.len(), folder.is_ready()), (1, 0, true));
}

#[test]
fn a_rotated_file_that_the_original_left_under_two_names_is_not_doubled() {
    let scratch = Scratch::new();
    scratch.put("current", b"cur\n", OPEN);
    scratch.put("previous", b"prev\n", CLOSED);
    let name = "@400000006b04c8fb12c35a34.s";
    fs::hard_link(scratch.path.join("previous"), scratch.path.join(name)).unwrap();
    let _folder = scratch.open(small());
    assert_eq!(scratch.content(), b"prev\ncur\n");
}

#[test]
fn a_clock_that_was_set_back_never_removes_the_newest() {
    let scratch = Scratch::new();
    for n in 0..3 {
        // In the year 2106.
        scratch.put(&format!("@40000000fffffff{n}3b9ac9ff.s"), b"before\n", CLOSED);
    }
    let mut folder = scratch.open(small());
    write(&mut folder, &lines(0..1200));
    let rotated = scratch.rotated();
    assert_eq!(rotated.len(), 3);
    assert!(lines(0..1200).ends_with(&scratch.content()), "the old ones went first");
    assert!(rotated.iter().all(|name| name.as_str() > "@40000000fffffff2"));
}

#[test]
fn a_limit_for_all_bytes_and_a_full_disk_remove_the_oldest() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(Settings { keep: 100, total: 10_000, ..small() });
    write(&mut folder, &lines(0..3000));
    let sizes = scratch.rotated().iter().map(|name| scratch.read(name).len()).sum::<usize>();
    assert!((3_000..=10_000 - 4096).contains(&sizes), "{sizes}");
    finish(folder);

    let settings = Settings { drop_when_full: true, ..small() };
    let mut folder = scratch.open(settings);
    let before = scratch.rotated();
    folder.failed(Errno(flags::ENOSPC), S);
    assert!(folder.is_ready());
    assert_eq!(scratch.rotated(), before[1..]);
    finish(folder);

    let mut folder = scratch.open(small());
    folder.failed(Errno(flags::ENOSPC), S);
    assert!(!folder.is_ready());
    assert_eq!((scratch.rotated().len(), folder.deadline()), (before.len() - 1, Some(6 * S)));
    work(&mut folder, 6 * S - 1);
    assert!(!folder.is_ready());
    work(&mut folder, 6 * S);
    assert!(folder.is_ready());
    finish(folder);

    for name in scratch.rotated() {
        fs::remove_file(scratch.path.join(name)).unwrap();
    }
    let mut folder = scratch.open(settings);
    folder.failed(Errno(flags::ENOSPC), S);
    assert_eq!(folder.deadline(), Some(6 * S), "nothing is left to remove");
}

#[test]
fn a_file_ends_when_it_is_old_enough() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(Settings { age_ns: 60 * S, ..small() });
    assert_eq!(folder.deadline(), None, "an empty file has no age");
    write(&mut folder, b"line\n");
    assert_eq!(folder.deadline(), Some(61 * S));
    work(&mut folder, 61 * S - 1);
    assert!(scratch.rotated().is_empty());
    work(&mut folder, 61 * S);
    assert_eq!((scratch.rotated().len(), folder.len(), folder.deadline()), (1, 0, None));
    folder.rotate();
    work(&mut folder, 62 * S);
    assert_eq!(scratch.rotated().len(), 1, "an empty file is not rotated");
    finish(folder);

    // Written yesterday, says its time.
    let yesterday = std::time::SystemTime::now() - Duration::from_secs(86_400);
    scratch.put("current", b"yesterday\n", CLOSED);
    fs::remove_file(scratch.path.join(&scratch.rotated()[0])).unwrap();
    fs::File::open(scratch.path.join("current")).unwrap().set_modified(yesterday).unwrap();
    let mut folder = scratch.open(Settings { daily: true, ..small() });
    assert!(folder.deadline().is_some_and(|at| at <= time::monotonic()), "at once");
    work(&mut folder, time::monotonic());
    assert_eq!(scratch.content(), b"yesterday\n");
    assert_eq!((scratch.rotated().len(), folder.len()), (1, 0));
}

#[test]
fn bytes_are_put_on_disk_when_they_have_waited_long_enough() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(Settings { sync_ns: S / 2, ..small() });
    write(&mut folder, b"line\n");
    assert_eq!(folder.deadline(), Some(S + S / 2));
    work(&mut folder, S + S / 2);
    assert_eq!((folder.deadline(), folder.is_ready()), (None, true));
}

#[test]
fn a_file_is_found_by_its_identity_and_cut() {
    let scratch = Scratch::new();
    let mut folder = scratch.open(small());
    write(&mut folder, b"one line\nand a ha");
    let id = folder.id();
    assert_eq!(folder.find(id), Ok(Some(17)));
    folder.cut(id, 9).unwrap();
    write(&mut folder, b"another\n");
    assert_eq!((scratch.content(), folder.len()), (b"one line\nanother\n".to_vec(), 17));
    drop(folder);
    let mut folder = scratch.open(small());
    assert_ne!(folder.id(), id);
    assert_eq!(folder.find(id), Ok(Some(17)), "it has a rotated name now");
    folder.cut(id, 9).unwrap();
    assert_eq!((scratch.content(), folder.len()), (b"one line\n".to_vec(), 0));
    assert_eq!(folder.find((1, 1)), Ok(None));
    assert_eq!(folder.cut((1, 1), 0), Err(Errno(flags::ENOENT)));
}

#[test]
fn no_symlink_and_no_fifo_is_followed() {
    for fifo in [false, true] {
        let scratch = Scratch::new();
        fs::create_dir(&scratch.path).unwrap();
        let current = scratch.path.join("current");
        if fifo {
            let dir = file::open(file::HERE, scratch.name, flags::O_PATH, 0).unwrap();
            file::mkfifo(dir.raw(), c"current", 0o744).unwrap();
        } else {
            std::os::unix::fs::symlink("/etc/passwd", &current).unwrap();
        }
        assert_eq!(Folder::open(scratch.name, small()).err(), Some(111));
    }
}

#[test]
fn nothing_is_written_to_a_file_that_has_another_name() {
    for mode in [CLOSED, OPEN] {
        let (scratch, theirs) = (Scratch::new(), Scratch::new());
        theirs.put("file", b"theirs\n", mode);
        scratch.put("state", b"", OPEN);
        fs::remove_file(scratch.path.join("state")).unwrap();
        for name in ["current", "state", "newstate", "processed"] {
            fs::hard_link(theirs.path.join("file"), scratch.path.join(name)).unwrap();
        }
        let mut folder = scratch.open(Settings { processor: Some(c"cat; cat >&5"), ..small() });
        write(&mut folder, b"ours\n");
        assert_eq!(scratch.read("current"), b"ours\n");
        assert!(scratch.content().starts_with(b"theirs\n"), "it is part of the log");
        for name in ["newstate", "processed"] {
            let _ = fs::remove_file(scratch.path.join(name));
            fs::hard_link(theirs.path.join("file"), scratch.path.join(name)).unwrap();
        }
        processors::rotate_and_wait(&mut folder);
        assert!(scratch.content().ends_with(b"ours\n"));
        assert_eq!((theirs.read("file"), theirs.mode("file")), (b"theirs\n".to_vec(), mode));
    }
}

#[test]
fn no_fifo_in_the_place_of_another_file_is_waited_for() {
    for name in ["previous", "processed", "state", "newstate", "spool.0"] {
        let scratch = Scratch::new();
        scratch.put("current", b"before\n", CLOSED);
        let dir = file::open(file::HERE, scratch.name, flags::O_PATH, 0).unwrap();
        let fifo = std::ffi::CString::new(name).unwrap();
        file::mkfifo(dir.raw(), &fifo, CLOSED).unwrap();
        let mut folder = scratch.open(Settings { processor: Some(c"cat"), ..small() });
        // What was there has got a rotated name, as anything would.
        for name in scratch.rotated().iter().map(String::as_str).chain([name]) {
            let _ = fs::remove_file(scratch.path.join(name));
        }
        file::mkfifo(dir.raw(), &fifo, CLOSED).unwrap();
        folder.rotate();
        work(&mut folder, S);
        if name == "state" {
            assert!(!folder.is_ready(), "it says what is wrong and tries again");
            fs::remove_file(scratch.path.join(name)).unwrap();
            work(&mut folder, 99 * S);
        }
        processors::wait(&mut folder, 100 * S);
        assert!(folder.is_ready() && scratch.content().ends_with(b"before\n"), "{name}");
    }
}

#[test]
fn a_code_of_the_script_ends_the_names_and_all_codes_count() {
    let scratch = Scratch::new();
    for n in 0..3 {
        scratch.put(&format!("@400000003fffffff{n}0000000.s.gz"), b"", CLOSED);
    }
    let code = Code::new(b"done").unwrap();
    let mut folder = scratch.open(Settings { code, ..small() });
    write(&mut folder, b"line\n");
    folder.rotate();
    work(&mut folder, S);
    let rotated = scratch.rotated();
    assert_eq!(rotated.len(), 3);
    assert_eq!((&rotated[0][17..], &rotated[2][25..]), ("10000000.s.gz", ".done"));
}
