//! The original's multilog beside ours: same input and script, same files, messages and exit code.
//!
//! Needs Debian's package `daemontools`, and root. What is different on purpose stands in
//! `DIFFERENCES`, each with its reason; a difference that is none any more fails, too.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod log_cases;
mod script;

use log_cases::{CASES, DIFFERENCES, Difference, PRELUDE};
use script::{Folder, Outcome};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::logger::listing;
use testkit::{Logger, Pipe, Scratch, Suite};

/// Most of them wait.
const AT_ONCE: usize = 6;

/// Compares, and says what is not as it should be.
fn judge(script: &str, theirs: &Outcome, ours: &Outcome) -> Option<String> {
    let Some(Difference { ours: known, reason, .. }) =
        DIFFERENCES.iter().find(|difference| difference.script == script)
    else {
        return (ours != theirs)
            .then(|| format!("{script}\n  theirs   {theirs:?}\n  ours     {ours:?}"));
    };
    if ours == theirs {
        return Some(format!("{script}\n  no difference any more: {reason}"));
    }
    let (stdout, stderr, code) = (known.0.to_owned(), known.1.to_owned(), known.2);
    let expected = Outcome { stdout, stderr, code };
    (*ours != expected)
        .then(|| format!("{script}\n  expected {expected:?}\n  ours     {ours:?}\n  {reason}"))
}

/// Does `each` for every number below `count`, a few at a time, and fails with all complaints.
#[track_caller]
fn many(count: usize, each: impl Fn(usize, &Folder) -> Option<String> + Sync) {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let folder = Folder::new();
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        break;
                    }
                    // One that does not end is a complaint like others.
                    let each = std::panic::AssertUnwindSafe(|| each(i, &folder));
                    let complaint = std::panic::catch_unwind(each)
                        .unwrap_or_else(|_| Some(format!("number {i} came to no end, see above")));
                    wrong.lock().expect("no panic here").extend(complaint);
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic here");
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn multilog_does_what_the_original_does() {
    let [theirs, ours] = [Suite::Original, Suite::Ours].map(|suite| suite.program("multilog"));
    many(CASES.len(), |i, folder| {
        let whole = format!("{PRELUDE}{}", CASES[i]);
        let outcome = |program: &Path| folder.run(program, &whole);
        let theirs = outcome(&theirs);
        // A case that does not come to its point compares nothing.
        assert!(!theirs.stdout.contains("never: "), "{}: {theirs:?}", CASES[i]);
        judge(CASES[i], &theirs, &outcome(&ours))
    });
}

#[test]
fn every_difference_belongs_to_a_case_and_has_a_reason() {
    for difference in DIFFERENCES {
        assert!(CASES.contains(&difference.script), "{}", difference.script);
        assert!(!difference.reason.is_empty(), "{}", difference.script);
    }
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }

    fn text(&mut self, letters: &[u8], longest: u64) -> Vec<u8> {
        let len = self.below(longest + 1);
        (0..len).map(|_| letters[self.below(letters.len() as u64) as usize]).collect()
    }
}

fn seed() -> u64 {
    std::env::var("SKYNET_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_260_101)
}

/// Runs multilog in a fresh folder on this input and returns what is in each `N/current`.
fn logged(suite: Suite, script: &[Vec<u8>], logs: usize, input: &[u8]) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let mut child = Command::new(suite.program("multilog"))
        .args(script.iter().map(|word| std::ffi::OsStr::from_bytes(word)))
        .current_dir(scratch.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("multilog");
    child.stdin.take().expect("a pipe").write_all(input).expect("write");
    assert!(child.wait().expect("wait").success());
    (0..logs).map(|i| fs::read(scratch.join(&format!("{i}/current"))).expect("read")).collect()
}

/// Twenty scripts in one, each into a directory of its own, on sixty lines.
fn random_scripts(random: &mut Random, letters: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut script = vec![b"s16000000".to_vec()];
    for i in 0..20 {
        script.push(if random.below(2) == 0 { b"-*".to_vec() } else { b"+*".to_vec() });
        for _ in 0..=random.below(3) {
            let mut action = if random.below(3) == 0 { b"-".to_vec() } else { b"+".to_vec() };
            action.extend(random.text(&[letters, b"**"].concat(), 7));
            script.push(action);
        }
        script.push(format!("./{i}").into_bytes());
    }
    let mut input = Vec::new();
    for _ in 0..60 {
        input.extend(random.text(letters, 12));
        input.push(b'\n');
    }
    // Beyond the thousand bytes that patterns see.
    for len in [999, 1000, 1001] {
        input.extend(vec![letters[0]; len]);
        input.extend(random.text(letters, 3));
        input.push(b'\n');
    }
    (script, input)
}

#[test]
fn random_patterns_select_the_same_lines_as_with_the_original() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    many(if long { 2000 } else { 50 }, |i, _| {
        let seed = seed() + i as u64;
        // Seeds that are near must not begin alike.
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let letters: &[u8] = [&b"ab"[..], b"abc", b"a b:", b"a*", b"\x00a\xff"][i % 5];
        // A word of a command line has no NUL; lines may.
        let (script, input) = random_scripts(&mut random, letters);
        let script: Vec<Vec<u8>> = script
            .into_iter()
            .map(|word| word.into_iter().map(|b| if b == 0 { b'b' } else { b }).collect())
            .collect();
        let theirs = logged(Suite::Original, &script, 20, &input);
        let ours = logged(Suite::Ours, &script, 20, &input);
        let at = theirs.iter().zip(&ours).position(|(theirs, ours)| theirs != ours)?;
        let words: Vec<_> = script.iter().map(|word| String::from_utf8_lossy(word)).collect();
        Some(format!("SKYNET_SEED={seed}: directory {at} of {words:?} on {input:?}"))
    });
}

/// Tells where a file that was begun with `rest` ends, by the manual: behind the first line that
/// ends within 2000 bytes of the size, or at the size; `None` = it does not.
///
/// The original looks for that line in each of its buffers from the end, so that the exact place
/// depends on how its input came in pieces.
fn end_of_file(rest: &[u8], size: usize) -> Option<usize> {
    let near = rest.iter().enumerate().skip(size - 2001).take(2001);
    let line = near.filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).next();
    line.or((rest.len() >= size).then_some(size))
}

/// Lines of random lengths, so that files end at random places.
#[test]
fn random_lines_end_files_where_the_manual_says_and_all_together_are_what_the_original_wrote() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    many(if long { 1000 } else { 20 }, |i, _| {
        let seed = seed() + i as u64;
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let longest = [5, 80, 700, 2500, 9000][i % 5];
        let mut input = Vec::new();
        while input.len() < 60_000 {
            let len = random.below(longest + 1);
            input.extend((0..len).map(|j| b'a' + ((j + len) % 26) as u8));
            input.push(b'\n');
        }
        input.truncate(60_000 - random.below(2) as usize);
        let words = [["n50", "s4096", "./d"], ["t", "n50", "./d"], ["-*", "+*m*", "./d"]][i % 3];
        let files = |suite: Suite| {
            let scratch = Scratch::new();
            let input_file = scratch.join("input");
            fs::write(&input_file, &input).expect("write");
            let mut command = testkit::logger::multilog(&scratch, suite, &words);
            command.stdin(fs::File::open(&input_file).expect("open"));
            assert!(command.status().expect("multilog").success());
            let dir = scratch.join("d");
            let raw: Vec<_> = testkit::lines::files(&dir)
                .iter()
                .map(|path| fs::read(path).expect("read"))
                .collect();
            let contents: Vec<_> =
                raw.iter().map(|text| unstamped(text, words[0] == "t")).collect();
            (raw, contents)
        };
        let (theirs, ours) = (files(Suite::Original), files(Suite::Ours));
        let size = if words.contains(&"s4096") { 4096 } else { 99_999 };
        let whole = ours.0.concat();
        let mut from = 0;
        for file in &ours.0[..ours.0.len() - 1] {
            if end_of_file(&whole[from..], size) != Some(file.len()) {
                return Some(format!(
                    "SKYNET_SEED={seed}: {words:?}: a file ends {from}+{}",
                    file.len()
                ));
            }
            from += file.len();
        }
        let ends = end_of_file(&whole[from..], size);
        (theirs.1.concat() != ours.1.concat() || ends.is_some_and(|at| from + at < whole.len()))
            .then(|| format!("SKYNET_SEED={seed}: {words:?}: not the same content, or {ends:?}"))
    });
}

/// Writes a line, the next when it has been taken. The original looks for the end of a file in what
/// it has read at once; line by line that is the line.
fn line_by_line(pipe: &Pipe, input: &[u8]) {
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        pipe.write(line);
        let taken = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !pipe.is_empty() {
            assert!(std::time::Instant::now() < taken, "a line is not taken");
            std::thread::yield_now();
        }
    }
}

/// Where only one line is there at a time, the original has no choice either.
#[test]
fn random_lines_one_at_a_time_are_cut_into_the_same_files_as_with_the_original() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    many(if long { 1000 } else { 20 }, |i, _| {
        let seed = seed() + i as u64;
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let longest = [5, 80, 700, 2500, 9000][i % 5];
        let mut input = Vec::new();
        while input.len() < 60_000 {
            let len = random.below(longest + 1);
            input.extend((0..len).map(|j| b'a' + ((j + len) % 26) as u8));
            input.push(b'\n');
        }
        input.truncate(60_000 - random.below(2) as usize);
        let words = [["n50", "s4096", "./d"], ["t", "n50", "./d"], ["-*", "+*m*", "./d"]][i % 3];
        let files = |suite: Suite| {
            let scratch = Scratch::new();
            let pipe = Pipe::new(&scratch, "pipe");
            let mut command = testkit::logger::multilog(&scratch, suite, &words);
            let mut logger = Logger::read(&mut command, pipe.reader());
            line_by_line(&pipe, &input);
            drop(pipe);
            assert!(logger.end_within(20).success());
            let dir = scratch.join("d");
            let contents: Vec<_> = testkit::lines::files(&dir)
                .iter()
                .map(|path| unstamped(&fs::read(path).expect("read"), words[0] == "t"))
                .collect();
            (listing(&dir), contents)
        };
        let (theirs, ours) = (files(Suite::Original), files(Suite::Ours));
        (theirs != ours)
            .then(|| format!("SKYNET_SEED={seed}: {words:?}:\n{:?}\n{:?}", theirs.0, ours.0))
    });
}

/// Masks the stamp of each line; a piece of a line has none.
fn unstamped(text: &[u8], stamped: bool) -> Vec<u8> {
    if !stamped {
        return text.to_vec();
    }
    let mut out = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let has_stamp = line.len() > 26 && line[0] == b'@' && line[25] == b' ';
        out.extend_from_slice(if has_stamp { &line[25..] } else { line });
    }
    out
}

/// What an earlier multilog may have left of one file.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    Open,
    Closed,
    Empty,
}

impl Left {
    const ALL: [Self; 4] = [Self::Nothing, Self::Open, Self::Closed, Self::Empty];

    fn leave(self, path: &Path, text: &str) {
        let (text, mode) = match self {
            Self::Nothing => return,
            Self::Open => (text, 0o644),
            Self::Closed => (text, 0o744),
            Self::Empty => ("", 0o644),
        };
        fs::write(path, text).expect("write");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
}

/// Names, modes and sizes; contents and messages; the exit code.
type Recovered = (Vec<String>, Vec<String>, Option<i32>);

/// One start: what is left of `current`, `previous`, `processed`, with a processor or without.
fn recovered(suite: Suite, left: [Left; 3], processor: bool) -> Recovered {
    let scratch = Scratch::new();
    let dir = scratch.join("d");
    fs::create_dir(&dir).expect("mkdir");
    for (left, name) in left.iter().zip(["current", "previous", "processed"]) {
        left.leave(&dir.join(name), &format!("{name} one\n{name} tw"));
    }
    if processor {
        fs::write(dir.join("state"), "old\n").expect("write");
        fs::write(dir.join("newstate"), "new\n").expect("write");
    }
    fs::write(scratch.join("input"), "a\nb\n").expect("write");
    let processor: &[&str] = if processor { &["!tr a-z A-Z; cat <&4 >&5"] } else { &[] };
    let script = [processor, &["./d"]].concat();
    let mut command = testkit::logger::multilog(&scratch, suite, &script);
    command.stdin(fs::File::open(scratch.join("input")).expect("open"));
    let code = command.status().expect("multilog").code();
    let mut contents = Vec::new();
    for path in testkit::lines::files(&dir).iter().chain([&dir.join("state")]) {
        contents.push(String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned());
    }
    contents.push(testkit::logger::messages(&scratch));
    (listing(&dir), contents, code)
}

/// What is expected of ours where the original does something that we do not copy.
///
/// An empty `current` that was not closed gets no rotated name: the empty files would push out
/// real ones. Beside a closed `current` the original leaves the rest of a rotation lying until the
/// next one overwrites it; ours brings the rotation to its end.
fn otherwise(left: [Left; 3], processor: bool, theirs: &Recovered) -> Recovered {
    let (mut files, mut contents, code) = theirs.clone();
    match left[0] {
        Left::Nothing | Left::Open => {}
        Left::Empty => {
            let at = files.iter().rposition(|file| file == "@u 644 0").expect("an empty .u");
            files.remove(at);
            contents.remove(at);
        }
        Left::Closed => {
            let state = if matches!(left[2], Left::Closed) { "new\n" } else { "old\n" };
            let (file, content) = match (left[1], left[2]) {
                (_, Left::Closed) => ("@s 744 26", "processed one\nprocessed tw"),
                (Left::Closed, _) if processor => ("@s 744 24", "PREVIOUS ONE\nPREVIOUS TW"),
                (Left::Closed, _) => ("@s 744 24", "previous one\nprevious tw"),
                (Left::Open, _) => ("@u 644 24", "previous one\nprevious tw"),
                (Left::Empty, _) => ("@u 644 0", ""),
                (Left::Nothing, _) => ("", ""),
            };
            let current = "current one\ncurrent twa\nb\n";
            let state = if processor { ("state 644 4", state) } else { ("", "") };
            files = [file, "current 744 26", "lock 600 0", state.0]
                .into_iter()
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect();
            let rotated = (!file.is_empty()).then_some(content);
            contents =
                rotated.into_iter().chain([current, state.1, ""]).map(str::to_owned).collect();
        }
    }
    (files, contents, code)
}

#[test]
fn whatever_an_earlier_multilog_left_becomes_what_the_original_makes_of_it_or_better() {
    let all = Left::ALL;
    let count = all.len().pow(3) * 2;
    many(count, |i, _| {
        let left = [all[i / 2 % 4], all[i / 8 % 4], all[i / 32 % 4]];
        let with = i % 2 == 1;
        let [theirs, ours] =
            [Suite::Original, Suite::Ours].map(|suite| recovered(suite, left, with));
        let expected = otherwise(left, with, &theirs);
        (expected != ours).then(|| {
            format!("{left:?}, processor {with}:\n  expected {expected:?}\n  ours     {ours:?}")
        })
    });
}
