//! Random directories, and random loggers that work while somebody reads.

use super::stamp::leading;
use super::{BEGINNING, Backward, Filter, Folder, Forward, Span};
use ondisk::tai64n::Stamp;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("skynet-logs-{}-{n}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn folder(&self) -> Folder {
        Folder::open(self.0.as_os_str()).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// xorshift: the same numbers in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) % n
    }

    fn is(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

fn rounds(few: u32) -> u32 {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    if long { 40 * few } else { few }
}

fn name(n: i64) -> String {
    let label = Stamp::from_unix(n, 0).to_label();
    String::from_utf8(label.to_vec()).unwrap() + ".s"
}

/// The lines of files one behind the other: what the module promises.
fn lines_of(files: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let mut torn = false;
    for file in files.iter().filter(|file| !file.is_empty()) {
        torn &= leading(file.split(|b| *b == b'\n').next().unwrap()).is_none();
        for line in file.split_inclusive(|b| *b == b'\n') {
            match lines.last_mut().filter(|_| torn) {
                Some(last) => last.extend_from_slice(line),
                None => lines.push(line.to_vec()),
            }
            torn = !line.ends_with(b"\n");
        }
    }
    lines
}

/// Puts together what `next` hands over: whether a line starts, and bytes.
fn joined(mut next: impl FnMut() -> Option<(bool, Vec<u8>)>) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    while let Some((starts, bytes)) = next() {
        assert!(bytes.len() <= super::MOST && !bytes.is_empty());
        if starts {
            lines.push(bytes);
        } else {
            lines.last_mut().unwrap().extend(bytes);
        }
    }
    lines
}

fn forwards(log: &mut Forward) -> Vec<Vec<u8>> {
    joined(|| {
        let more = log.advance() || log.rest();
        more.then(|| (log.line().starts, log.line().bytes.to_vec()))
    })
}

fn random_file(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..random.below(12) {
        if random.is(2) {
            let at = Stamp::from_unix(random.below(100) as i64, 0);
            out.extend_from_slice(&at.to_label());
            out.push(b' ');
        }
        let most = if random.is(8) { 400 } else { 30 };
        let bytes = b"abcdef\0\x1b";
        out.extend((0..random.below(most)).map(|i| bytes[i as usize % bytes.len()]));
        out.push(b'\n');
    }
    if random.is(2) {
        let len = random.below(out.len() as u64 + 1);
        out.truncate(len as usize);
    }
    out
}

fn random_directory(dir: &Path, random: &mut Random) -> Vec<Vec<u8>> {
    let names: Vec<String> = (1..=random.below(6) as i64).map(name).collect();
    let mut names = names.iter().map(String::as_str).collect::<Vec<_>>();
    names.extend(["previous", "current"].into_iter().filter(|_| !random.is(3)));
    names
        .into_iter()
        .map(|name| {
            let file = random_file(random);
            fs::write(dir.join(name), &file).unwrap();
            file
        })
        .collect()
}

#[test]
fn every_line_comes_once_forwards_backwards_and_from_any_turn() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for round in 0..rounds(300) {
        let scratch = Scratch::new();
        let files = random_directory(&scratch.0, &mut random);
        let lines = lines_of(&files);
        let mut log = Forward::new(scratch.folder(), Span::ALWAYS).unwrap();
        assert_eq!(forwards(&mut log), lines, "round {round}, forwards");
        let mut back = Backward::new(scratch.folder()).unwrap();
        let mut reversed = Vec::new();
        while back.find(BEGINNING) {
            back.take();
            let pieces =
                joined(|| back.advance().then(|| (back.line().starts, back.line().bytes.to_vec())));
            assert_eq!(pieces.len(), 1, "round {round}: a line begins once");
            reversed.extend(pieces);
        }
        reversed.reverse();
        assert_eq!(reversed, lines, "round {round}, backwards");
        let turn = random.below(lines.len() as u64 + 1) as usize;
        let mut back = Backward::new(scratch.folder()).unwrap();
        for _ in 0..turn {
            assert!(back.find(BEGINNING));
            back.take();
        }
        let mut log = back.turn_round();
        assert_eq!(forwards(&mut log), lines[lines.len() - turn..], "round {round}, turned");
        assert_eq!(log.troubles(), []);
    }
}

#[test]
fn a_line_says_where_it_stands_and_when_it_was_written() {
    let mut random = Random(0x0ddb_a115_0ddb_a115);
    for _ in 0..200 {
        let scratch = Scratch::new();
        random_directory(&scratch.0, &mut random);
        let mut log = Forward::new(scratch.folder(), Span::ALWAYS).unwrap();
        let mut ahead = Vec::new();
        while log.advance() || log.rest() {
            let line = log.line();
            let name = line.file.to_str().unwrap();
            let file = fs::read(scratch.0.join(name)).unwrap();
            let rest = &file[line.offset as usize..];
            let len = rest.len().min(line.bytes.len());
            assert_eq!(rest[..len], line.bytes[..len], "{name} at {}", line.offset);
            if line.starts {
                assert_eq!(line.time, leading(line.bytes).map(|found| found.stamp));
                ahead.push((name.to_owned(), line.offset, line.time, line.span));
            }
        }
        let mut back = Backward::new(scratch.folder()).unwrap();
        while back.find(BEGINNING) {
            back.take();
            assert!(back.advance());
            let line = back.line();
            let name = line.file.to_str().unwrap().to_owned();
            assert_eq!(ahead.pop(), Some((name, line.offset, line.time, line.span)));
        }
        assert_eq!(ahead, []);
    }
}

/// What is said of a line: where it stands, when it was written, how it begins.
type Said = (String, u64, Span, Vec<u8>);

fn said_forwards(log: &mut Forward) -> Vec<Said> {
    let mut all = Vec::new();
    while log.advance() || log.rest() {
        let line = log.line();
        if line.starts {
            let name = line.file.to_str().unwrap().to_owned();
            all.push((name, line.offset, line.span, line.bytes.to_vec()));
        }
    }
    all
}

fn said_backwards(back: &mut Backward, since: Stamp) -> Vec<Said> {
    let mut all = Vec::new();
    while back.find(since) {
        back.take();
        assert!(back.advance());
        let line = back.line();
        let name = line.file.to_str().unwrap().to_owned();
        all.push((name, line.offset, line.span, line.bytes.to_vec()));
    }
    all.reverse();
    all
}

#[test]
fn a_filter_lets_through_what_it_wants_in_either_direction_and_from_any_turn() {
    const NEEDLE: &[u8] = b"f\0\x1ba";
    let wants =
        |line: &[u8]| line.windows(4).any(|part| part == NEEDLE) && !line.len().is_multiple_of(3);
    let with_needle = Rc::new(Filter::new(wants).with_needle(NEEDLE));
    let without = Rc::new(Filter::new(wants));
    let mut random = Random(0x0f11_7e20_0f11_7e20);
    for round in 0..rounds(300) {
        let scratch = Scratch::new();
        random_directory(&scratch.0, &mut random);
        let mut all = said_forwards(&mut Forward::new(scratch.folder(), Span::ALWAYS).unwrap());
        all.retain(|(.., bytes)| wants(bytes));
        for filter in [&with_needle, &without] {
            let filter = Some(filter.clone());
            let log = Forward::new(scratch.folder(), Span::ALWAYS).unwrap();
            assert_eq!(said_forwards(&mut log.filtered(filter.clone())), all, "round {round}");
            let back = || Backward::new(scratch.folder()).unwrap().filtered(filter.clone());
            assert_eq!(said_backwards(&mut back(), BEGINNING), all, "round {round}, backwards");
            let turn = random.below(all.len() as u64 + 1) as usize;
            let mut back = back();
            for _ in 0..turn {
                assert!(back.find(BEGINNING));
                back.take();
            }
            let turned: Vec<_> = said_forwards(&mut back.turn_round());
            let places = |said: &[Said]| -> Vec<_> {
                said.iter().map(|(name, at, ..)| (name.clone(), *at)).collect()
            };
            assert_eq!(places(&turned), places(&all[all.len() - turn..]), "round {round}, turned");
        }
    }
}

/// Files that a logger wrote in the course of time, some lines without stamp.
fn timely_directory(dir: &Path, random: &mut Random) {
    let mut clock = 0;
    for last in [false, false, true] {
        let mut file = Vec::new();
        for n in 0..random.below(60) {
            if n == 0 || !random.is(4) {
                clock += random.below(3) as i64;
                file.extend_from_slice(&Stamp::from_unix(clock, 0).to_label());
                file.push(b' ');
            }
            let len = if random.is(20) { 500 } else { random.below(20) };
            file.extend((0..len).map(|_| b'x'));
            file.push(b'\n');
        }
        clock += 1;
        let name = if last { "current".to_owned() } else { name(clock) };
        fs::write(dir.join(name), file).unwrap();
        clock += 1;
    }
}

#[test]
fn what_was_written_in_a_stretch_of_time_is_found_without_what_is_around_it() {
    let mut random = Random(0x7173_0f5e_a2c4_0001);
    for round in 0..rounds(100) {
        let scratch = Scratch::new();
        timely_directory(&scratch.0, &mut random);
        let all = said_forwards(&mut Forward::new(scratch.folder(), Span::ALWAYS).unwrap());
        let moment = |random: &mut Random| Stamp::from_unix(random.below(150) as i64, 0);
        let [first, last] = std::array::from_fn(|_| moment(&mut random));
        let (first, last) = (first.min(last), first.max(last));
        let range = Span { first, last };
        let meet = |mut said: Vec<Said>| {
            said.retain(|(_, _, span, _)| span.meets(range));
            said
        };
        let wanted = meet(all);
        let mut log = Forward::new(scratch.folder(), range).unwrap();
        assert_eq!(meet(said_forwards(&mut log)), wanted, "round {round}");
        let mut back = Backward::until(scratch.folder(), last).unwrap();
        assert_eq!(meet(said_backwards(&mut back, first)), wanted, "round {round}, backwards");
    }
}

/// A logger, one system call at a time.
struct Logger {
    dir: PathBuf,
    step: u32,
    /// Rotated files are made by a processor.
    processes: bool,
    /// Moments in names.
    clock: i64,
    /// They may go back.
    jumps: bool,
    lines: u32,
    /// What was written.
    all: Vec<Vec<u8>>,
}

impl Logger {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn append(&mut self, random: &mut Random) {
        use std::io::Write;
        let Ok(mut current) = fs::OpenOptions::new().append(true).open(self.path("current")) else {
            return;
        };
        for _ in 0..random.below(4) {
            self.lines += 1;
            let long = if random.is(20) { 300 } else { 20 };
            let text = format!("{} {}\n", self.lines, "x".repeat(random.below(long) as usize));
            self.all.push(text.clone().into_bytes());
            current.write_all(text.as_bytes()).unwrap();
        }
    }

    /// Makes the next system call of a rotation.
    fn rotate(&mut self, random: &mut Random) {
        let [current, previous, processed] =
            ["current", "previous", "processed"].map(|name| self.path(name));
        let rotated = self.path(&name(self.clock));
        self.step = match (self.step, self.processes) {
            (0, _) => {
                fs::rename(current, previous).unwrap();
                1
            }
            (1, _) => {
                fs::write(current, "").unwrap();
                self.clock +=
                    if self.jumps && random.is(5) { -1000 + random.below(3) as i64 } else { 1000 };
                2
            }
            (2, false) => {
                fs::hard_link(previous, rotated).unwrap();
                3
            }
            (3, false) => {
                fs::remove_file(previous).unwrap();
                0
            }
            (2, true) => {
                fs::write(&processed, fs::read(previous).unwrap()).unwrap();
                3
            }
            (3, true) => {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(processed, fs::Permissions::from_mode(0o744)).unwrap();
                4
            }
            (4, true) => {
                fs::remove_file(previous).unwrap();
                5
            }
            (5, true) => {
                fs::hard_link(processed, rotated).unwrap();
                6
            }
            _ => {
                fs::remove_file(processed).unwrap();
                0
            }
        };
        // No two rotated files have the same name.
        while self.step == 2 && self.path(&name(self.clock)).exists() {
            self.clock += 1;
        }
    }

    /// Replaces a rotated file by one with the same content, as compression does.
    fn rework(&self) {
        let rotated = |path: &PathBuf| path.extension().is_some_and(|end| end == "s");
        let all = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().path());
        for path in all.filter(rotated) {
            fs::write(self.path("reworking"), fs::read(&path).unwrap()).unwrap();
            fs::rename(self.path("reworking"), path).unwrap();
        }
    }
}

/// Somebody who follows, and what was seen.
struct Reader {
    log: Forward,
    seen: Vec<Vec<u8>>,
}

impl Reader {
    /// Reads on, by `most` pieces; `false` = there was no more.
    fn read(&mut self, most: u64) -> bool {
        for _ in 0..most {
            let log = &mut self.log;
            let more = log.advance() || log.go_on() && log.advance();
            if !more {
                return false;
            }
            let line = log.line();
            if line.starts {
                self.seen.push(line.bytes.to_vec());
            } else {
                self.seen.last_mut().unwrap().extend_from_slice(line.bytes);
            }
        }
        true
    }

    fn read_to_the_end(&mut self) {
        // A rotation at a time.
        while self.read(u64::MAX) || self.log.go_on() {}
    }

    fn rest(mut self) -> Vec<Vec<u8>> {
        self.read_to_the_end();
        self.seen
    }
}

/// Lets a logger and a reader do something in turn, by chance.
fn log_and_read(random: &mut Random, dir: &Path, watched: bool) -> (Logger, Reader) {
    fs::write(dir.join("current"), "").unwrap();
    let mut folder = Folder::open(dir.as_os_str()).unwrap();
    if watched {
        folder.watch();
        assert!(folder.raw_watcher().is_some());
    }
    let mut logger = Logger {
        dir: dir.to_owned(),
        step: 0,
        processes: random.is(2),
        clock: 1_000_000,
        jumps: watched && random.is(2),
        lines: 0,
        all: Vec::new(),
    };
    let log = Forward::new(folder, Span::ALWAYS).unwrap();
    let mut reader = Reader { log, seen: Vec::new() };
    for _ in 0..random.below(300) {
        match random.below(8) {
            0..3 => logger.append(random),
            3..6 => logger.rotate(random),
            // Never while a file has two names.
            6 if random.is(5) && logger.step < 3 => logger.rework(),
            _ => {
                let _ = reader.read(random.below(30));
            }
        }
    }
    while logger.step != 0 {
        logger.rotate(random);
    }
    (logger, reader)
}

#[test]
fn whatever_a_logger_does_between_two_looks_each_line_is_followed_once() {
    let mut random = Random(0xfeed_5eed_feed_5eed);
    for round in 0..rounds(200) {
        let scratch = Scratch::new();
        // Half of them are told of nothing.
        let (logger, mut reader) = log_and_read(&mut random, &scratch.0, round % 2 == 0);
        reader.read_to_the_end();
        let (seen, all) = (&reader.seen, &logger.all);
        let differs = seen.iter().zip(all).take_while(|(seen, wanted)| seen == wanted).count();
        let around = |lines: &[Vec<u8>]| {
            let some = lines.iter().skip(differs).take(3);
            some.map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        let how = (logger.processes, logger.jumps);
        assert!(seen == all, "round {round} {how:?}: {:?}, not {:?}", around(seen), around(all));
        assert_eq!(reader.log.troubles(), []);
    }
}

#[test]
fn a_current_that_is_cut_is_read_again_from_the_line_that_was_not_whole() {
    let scratch = Scratch::new();
    let current = scratch.0.join("current");
    fs::write(&current, "one\ntwo with a tail").unwrap();
    let mut log = Forward::new(scratch.folder(), Span::ALWAYS).unwrap();
    let next = |log: &mut Forward| {
        let more = log.advance() || log.go_on() && log.advance();
        more.then(|| String::from_utf8(log.line().bytes.to_vec()).unwrap())
    };
    assert_eq!(next(&mut log).as_deref(), Some("one\n"));
    assert_eq!(next(&mut log), None);
    // A logger that was killed cuts the line off and writes it again, longer or shorter.
    fs::write(&current, "one\n2\nthree and more than there was\n").unwrap();
    assert_eq!(next(&mut log).as_deref(), Some("2\n"));
    assert_eq!(next(&mut log).as_deref(), Some("three and more than there was\n"));
    assert_eq!(next(&mut log), None);
    // Somebody else empties it.
    fs::write(&current, "four\n").unwrap();
    assert_eq!(next(&mut log).as_deref(), Some("four\n"));
    assert_eq!(next(&mut log), None);
}

#[test]
fn a_file_that_gets_another_name_for_the_same_moment_is_read_once() {
    let scratch = Scratch::new();
    let rename = |from: &str, to: &str| {
        let [from, to] = [from, to].map(|end| scratch.0.join(name(1).replace(".s", end)));
        fs::rename(from, to).unwrap();
    };
    fs::write(scratch.0.join(name(1)), "one\n").unwrap();
    fs::write(scratch.0.join("current"), "two\n").unwrap();
    let mut log = Forward::new(scratch.folder(), Span::ALWAYS).unwrap();
    rename(".s", ".s.gz");
    assert!(log.advance());
    assert_eq!(log.line().bytes, b"one\n");
    rename(".s.gz", ".u");
    fs::rename(scratch.0.join("current"), scratch.0.join(name(2))).unwrap();
    fs::write(scratch.0.join("current"), "three\n").unwrap();
    assert_eq!(Reader { log, seen: Vec::new() }.rest(), [b"two\n".to_vec(), b"three\n".to_vec()]);
}

#[test]
fn a_file_that_is_removed_before_it_is_read_is_told() {
    let scratch = Scratch::new();
    for n in 1..4 {
        fs::write(scratch.0.join(name(n)), format!("{n}\n")).unwrap();
    }
    let mut log = Forward::new(scratch.folder(), Span::ALWAYS).unwrap();
    assert!(log.advance());
    fs::remove_file(scratch.0.join(name(2))).unwrap();
    assert!(log.advance());
    assert_eq!(log.line().bytes, b"3\n");
    assert!(!log.advance());
    let said: Vec<String> = log.troubles().iter().map(ToString::to_string).collect();
    assert_eq!(said, [format!("unable to open {}: file does not exist", name(2))]);
}
