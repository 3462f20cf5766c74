//! Every line is there once and in order, whenever the logger is killed, stopped, told to end, or
//! fails in a call, as long as somebody holds the pipe.
//!
//! A life of the logger is traced once; then it is lived again for each system call of it, with a
//! KILL at that call or a failure of it, and a second logger finds what the first left.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::lines::{Stamp, assert_holds, lines};
use testkit::logger::{injected, messages, multilog, under};
use testkit::wait::holds_within;
use testkit::{Disk, Logger, Pipe, Scratch, Suite, until};

const SIGKILL: i32 = 9;
const SIGALRM: i32 = 14;
const SIGTERM: i32 = 15;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// Points that are tried in each life when `SKYNET_LONG` does not ask for all.
const SPREAD: usize = 16;
const AT_ONCE: usize = 4;
/// Lives with a failing call mostly wait: five seconds, then once more.
const WAITING_AT_ONCE: usize = 40;

fn is_long() -> bool {
    std::env::var_os("SKYNET_LONG").is_some()
}

/// A directory, and which of the lines belong in it.
type Log = (&'static str, fn(u64) -> bool);

/// A script, what its directories should hold, and what is there before it starts.
#[derive(Clone, Copy)]
struct Life {
    name: &'static str,
    script: &'static [&'static str],
    stamp: Stamp,
    logs: &'static [Log],
    /// How many lines there are.
    count: u64,
    /// Makes what an earlier logger left; returns how many of the lines are in it.
    before: fn(&Scratch) -> u64,
}

fn all(_: u64) -> bool {
    true
}

/// What `-*`, `+*5 *` selects: numbers whose first 5 is their last digit. The filling has no digits.
fn fives(n: u64) -> bool {
    let digits = n.to_string();
    digits.find('5') == Some(digits.len() - 1)
}

fn no_fives(n: u64) -> bool {
    !fives(n)
}

fn nothing(_: &Scratch) -> u64 {
    0
}

/// Lines that fill 40 KiB: the pipe takes them all, and ten files are rotated.
const MANY: u64 = 600;

const PLAIN: Life = Life {
    name: "plain",
    script: &["s4096", "n1000", "./d"],
    stamp: Stamp::None,
    logs: &[("d", all)],
    count: MANY,
    before: nothing,
};

const LIVES: &[Life] = &[
    PLAIN,
    Life { name: "stamps", script: &["t", "s4096", "n1000", "./d"], stamp: Stamp::Tai64n, ..PLAIN },
    Life {
        name: "selection",
        script: &["s4096", "n1000", "-*", "+*5 *", "./d", "+*", "-*5 *", "./e"],
        logs: &[("d", fives), ("e", no_fives)],
        ..PLAIN
    },
    Life {
        name: "two directories",
        script: &["t", "s4096", "n1000", "./d", "s5000", "./e"],
        stamp: Stamp::Tai64n,
        logs: &[("d", all), ("e", all)],
        ..PLAIN
    },
    Life {
        name: "processor",
        script: &["s16384", "n1000", "!cat; (cat <&4; echo x) >&5", "./d"],
        ..PLAIN
    },
    Life {
        name: "stamps and processors",
        script: &["t", "s16384", "n1000", "!cat", ":then=cat", "./d"],
        stamp: Stamp::Tai64n,
        ..PLAIN
    },
    Life {
        name: "recovery",
        script: &["s4096", "n1000", "!cat", "./d"],
        before: left_by_an_outage,
        ..PLAIN
    },
    Life { name: "recovery without a processor", before: left_in_the_middle, ..PLAIN },
];

/// A directory as a machine that went down leaves it: in the middle of a processor's run, and of a
/// line.
fn left_by_an_outage(scratch: &Scratch) -> u64 {
    let dir = scratch.join("d");
    fs::create_dir(&dir).unwrap();
    // A processor that was cut short has to do it all again.
    write(&dir.join("previous"), &lines(0..50), 0o744);
    write(&dir.join("processed"), &lines(0..20), 0o644);
    fs::write(dir.join("newstate"), "half").unwrap();
    write(&dir.join("current"), &lines(50..60), 0o644);
    60
}

/// The same between two steps of a rotation: `previous` has its new name already.
fn left_in_the_middle(scratch: &Scratch) -> u64 {
    let dir = scratch.join("d");
    fs::create_dir(&dir).unwrap();
    write(&dir.join("previous"), &lines(0..50), 0o744);
    fs::hard_link(dir.join("previous"), dir.join("@400000006b04cbc40dd18384.s")).unwrap();
    write(&dir.join("current"), &lines(50..60), 0o644);
    60
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder with a pipe that has all lines in it which no earlier logger had.
fn prepared(life: &Life) -> (Scratch, Pipe) {
    let scratch = Scratch::new();
    let had = (life.before)(&scratch);
    let pipe = Pipe::new(&scratch, "pipe");
    pipe.write(&lines(had..life.count));
    (scratch, pipe)
}

/// Lives until the pipe is empty, is told to rotate, and then to end. Returns `true` where it came
/// to a proper end.
fn live(logger: &mut Logger, pipe: &Pipe) -> bool {
    let mut over = false;
    until(60, || {
        over = logger.ended().is_some();
        over || pipe.is_empty()
    });
    if !over {
        logger.signal(SIGALRM);
    }
    // Once more where nothing comes of it: that one TERM is enough is for the storms to show.
    until(60, || {
        logger.signal(SIGTERM);
        holds_within(Duration::from_secs(2), || logger.ended().is_some())
    });
    logger.ended().is_some_and(|status| status.success())
}

/// Tells whether nobody writes to a log directory. A processor that a killed logger was about to
/// run has the lock until it is run.
fn is_free(dir: &Path) -> bool {
    let Ok(lock) = fs::File::open(dir.join("lock")) else { return true };
    // Closing alone would leave it to any process that another test makes just now.
    lock.try_lock().is_ok() && lock.unlock().is_ok()
}

/// The next logger reads to the end of the pipe; then all must be there.
fn settle(life: &Life, scratch: &Scratch, pipe: Pipe, context: &str) {
    until(20, || life.logs.iter().all(|(dir, _)| is_free(&scratch.join(dir))));
    let end = pipe.reader();
    let mut next = Logger::read(&mut multilog(scratch, Suite::Ours, life.script), end);
    drop(pipe);
    let status = next.end_within(60);
    let context = format!("{}: {context}", life.name);
    assert!(status.success(), "{context}: {status:?}: {}", messages(scratch));
    for (dir, wanted) in life.logs {
        assert_holds(&scratch.join(dir), life.stamp, life.count, wanted, &context);
        for name in ["previous", "processed", "newstate"] {
            let left = scratch.join(dir).join(name);
            assert!(!left.exists(), "{context}: {} is left", left.display());
        }
    }
}

/// A system call of a life: its name, and how many of that name there were, it included.
type Point = (String, usize);

/// Returns the system calls of a life that nobody disturbs.
fn points(life: &Life) -> Vec<Point> {
    let (scratch, pipe) = prepared(life);
    let trace: PathBuf = scratch.join("trace");
    let wrapper = ["strace", "-D", "-q", "-I", "2", "-o", trace.to_str().unwrap()];
    let mut command = under(&scratch, &wrapper, Suite::Ours, life.script);
    let mut logger = Logger::read(&mut command, pipe.reader());
    assert!(live(&mut logger, &pipe), "{}: {}", life.name, messages(&scratch));
    let calls = || fs::read_to_string(&trace).unwrap_or_default();
    until(10, || calls().contains("exit_group"));
    let calls = calls();
    settle(life, &scratch, pipe, "undisturbed");
    let mut seen = HashMap::new();
    let names = calls.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let count = |name: String| {
        let count: &mut usize = seen.entry(name.clone()).or_default();
        *count += 1;
        (name, *count)
    };
    let name = |line: &str| line.split_once('(').map(|(name, _)| name.to_string());
    names.filter_map(name).map(count).collect()
}

/// Tries each of `points`, or a spread of them, a few at a time; returns how many were reached.
#[track_caller]
fn sweep(
    points: &[Point],
    (tried, lanes): (usize, usize),
    attempt: impl Fn(&Point) -> bool + Sync,
) -> usize {
    let tried = if is_long() { points.len() } else { tried.min(points.len()) };
    let (next, reached) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= tried {
                        break;
                    }
                    let point = &points[i * points.len() / tried];
                    let attempt = std::panic::AssertUnwindSafe(|| attempt(point));
                    match std::panic::catch_unwind(attempt) {
                        Ok(true) => _ = reached.fetch_add(1, Ordering::Relaxed),
                        Ok(false) => {}
                        Err(_) => failed.lock().unwrap().push(point.clone()),
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {tried} points are bad: {failed:?}", failed.len());
    reached.into_inner()
}

/// Kills a life at this call. Returns `false` where it ended before.
fn killed_at(life: &Life, point: &Point) -> bool {
    let (scratch, pipe) = prepared(life);
    let rule = format!("{}:signal=KILL:when={}", point.0, point.1);
    let mut command = injected(&scratch, &[&rule], Suite::Ours, life.script);
    let mut logger = Logger::read(&mut command, pipe.reader());
    let lived = live(&mut logger, &pipe);
    settle(life, &scratch, pipe, &format!("killed at {point:?}"));
    !lived
}

#[track_caller]
fn no_kill_loses(name: &str) {
    let life = LIVES.iter().find(|life| life.name == name).expect("a life of that name");
    let points = points(life);
    assert!(points.len() > 30, "{} system calls are no life", points.len());
    let tried = if is_long() { points.len() } else { SPREAD.min(points.len()) };
    let reached = sweep(&points, (SPREAD, AT_ONCE), |point| killed_at(life, point));
    // Lives differ by a few calls: a wait more or less.
    assert!(reached * 10 >= tried * 7, "killed only at {reached} of {tried} points");
}

/// `kill9_at_every_syscall`
#[test]
fn wherever_a_plain_logger_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("plain");
}

#[test]
fn wherever_a_stamping_logger_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("stamps");
}

#[test]
fn wherever_a_selecting_logger_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("selection");
}

#[test]
fn wherever_a_logger_with_two_directories_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("two directories");
}

/// `kill9_while_processor_runs`
#[test]
fn wherever_a_logger_with_a_processor_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("processor");
}

#[test]
fn wherever_a_stamping_logger_with_processors_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("stamps and processors");
}

/// `kill9_in_recovery`
#[test]
fn wherever_a_recovery_is_killed_no_line_is_lost_or_doubled() {
    no_kill_loses("recovery");
    no_kill_loses("recovery without a processor");
}

/// Calls that put right what a kill left.
const MENDING: &[&str] = &[
    "openat",
    "newfstatat",
    "fstat",
    "pread64",
    "ftruncate",
    "rename",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "fchmod",
    "fsync",
    "pwrite64",
    "splice",
    "write",
];

/// Killed twice: the second time while it puts right what the first left.
#[test]
fn a_recovery_that_is_killed_itself_loses_and_doubles_no_line() {
    for (number, name) in ["plain", "stamps", "processor"].iter().enumerate() {
        let life = LIVES.iter().find(|life| life.name == *name).unwrap();
        let points = points(life);
        let late = &points[points.len() / 8..];
        let tried = if is_long() { 600 } else { 15 };
        let pairs: Vec<Point> =
            (0..tried).map(|i| (late[i * late.len() / tried].0.clone(), i)).collect();
        sweep(&pairs, (tried, AT_ONCE), |(_, i)| {
            let first = &late[i * late.len() / tried];
            let second = (MENDING[(i + number) % MENDING.len()], 1 + i % 4);
            let (scratch, pipe) = prepared(life);
            for (call, when) in [(first.0.as_str(), first.1), second] {
                let rule = format!("{call}:signal=KILL:when={when}");
                let mut command = injected(&scratch, &[&rule], Suite::Ours, life.script);
                live(&mut Logger::read(&mut command, pipe.reader()), &pipe);
            }
            settle(life, &scratch, pipe, &format!("killed at {first:?}, then at {second:?}"));
            true
        });
    }
}

/// What a call may answer when the machine is in trouble.
fn troubles(call: &str) -> &'static [&'static str] {
    match call {
        "write" | "pwrite64" | "writev" | "splice" | "link" | "linkat" | "rename" | "renameat"
        | "renameat2" | "mkdir" | "mkdirat" | "ftruncate" | "fallocate" => &["ENOSPC", "EIO"],
        "open" | "openat" | "pipe2" | "dup3" | "fcntl" | "eventfd2" | "signalfd4"
        | "timerfd_create" | "epoll_create1" => &["EMFILE", "EIO"],
        "epoll_ctl" => &["ENOMEM", "ENOSPC"],
        "timerfd_settime" => &["EINVAL"],
        "fork" | "vfork" | "clone" | "clone3" => &["EAGAIN", "ENOMEM"],
        "mmap" | "munmap" | "brk" | "mprotect" => &["ENOMEM"],
        "poll" | "ppoll" | "epoll_wait" | "epoll_pwait" | "wait4" | "waitid" | "nanosleep"
        | "clock_nanosleep" => &["EINTR"],
        "read" | "pread64" | "readv" | "tee" => &["EINTR", "EIO"],
        "fsync" | "fdatasync" | "unlink" | "unlinkat" | "chmod" | "fchmod" | "fchmodat"
        | "getdents64" | "stat" | "fstat" | "lstat" | "newfstatat" | "statx" | "flock"
        | "chdir" | "fchdir" | "lseek" | "close" => &["EIO"],
        _ => &[],
    }
}

/// A call of a life fails once. A logger that refuses to start (exit 111) has lost nothing: the
/// next finds all. Returns whether the failure came about.
fn failed_at(life: &Life, point: &Point) -> bool {
    for trouble in troubles(&point.0) {
        let (scratch, pipe) = prepared(life);
        let rule = format!("{}:error={trouble}:when={}", point.0, point.1);
        let mut command = injected(&scratch, &[&rule], Suite::Ours, life.script);
        let mut logger = Logger::read(&mut command, pipe.reader());
        // Whether it ends by itself or as told: what counts is what is there afterwards.
        live(&mut logger, &pipe);
        assert!(
            logger.ended().is_some_and(|status| matches!(status.code(), Some(0 | 111))),
            "{}: {point:?} {trouble}: {:?}",
            life.name,
            logger.ended()
        );
        settle(life, &scratch, pipe, &format!("{point:?} answered {trouble}"));
    }
    true
}

#[track_caller]
fn no_failure_loses(name: &str) {
    let life = LIVES.iter().find(|life| life.name == name).expect("a life of that name");
    let mut points = points(life);
    // Before it runs there is only the loader; a failed call of that is not ours to mend.
    let first = points.iter().position(|point| point.0 == "flock").unwrap_or(0);
    points.drain(..first);
    points.retain(|point| !troubles(&point.0).is_empty());
    // Each kind of call at its first time and well under way.
    if !is_long() {
        let mut seen = HashMap::new();
        for (i, point) in points.iter().enumerate() {
            seen.entry(point.0.clone()).or_insert_with(Vec::new).push(i);
        }
        let mut few: Vec<usize> = Vec::new();
        for all in seen.values() {
            few.extend([all[0], all[all.len() * 2 / 3]]);
        }
        few.sort_unstable();
        few.dedup();
        points = few.into_iter().map(|i| points[i].clone()).collect();
    }
    let all = points.len();
    sweep(&points, (all, WAITING_AT_ONCE), |point| failed_at(life, point));
}

/// `error_at_every_syscall`
#[test]
fn whichever_call_of_a_plain_logger_fails_no_line_is_lost_or_doubled() {
    no_failure_loses("plain");
}

#[test]
fn whichever_call_of_a_stamping_logger_fails_no_line_is_lost_or_doubled() {
    no_failure_loses("stamps");
}

#[test]
fn whichever_call_of_a_logger_with_a_processor_fails_no_line_is_lost_or_doubled() {
    no_failure_loses("processor");
}

/// The disk is full at a different place each time; the logger is killed there, and so is the next.
#[test]
fn wherever_a_logger_is_killed_on_a_full_disk_no_line_is_lost_or_doubled() {
    let scripts: [(&[&str], Stamp); 2] = [
        (&["s4096", "n1000", "./disk/d"], Stamp::None),
        (&["t", "s4096", "n1000", "./disk/d"], Stamp::Tai64n),
    ];
    for (script, stamp) in scripts {
        let life = Life { name: "full disk", script, stamp, logs: &[("disk/d", all)], ..PLAIN };
        let tries = if is_long() { 60 } else { 5 };
        for round in 0..tries {
            let (scratch, pipe) = prepared(&life);
            let disk = Disk::mount(&scratch, "size=400k");
            let room = 8192 + 36_000 * round / tries;
            fs::write(scratch.join("disk/ballast"), vec![0; 400 * 1024 - room]).unwrap();
            for _ in 0..2 {
                let said = messages(&scratch).len();
                let end = pipe.reader();
                let mut logger = Logger::read(&mut multilog(&scratch, Suite::Ours, script), end);
                until(30, || {
                    let news = messages(&scratch).split_off(said);
                    logger.ended().is_some() || news.contains("out of disk space")
                });
                logger.kill9();
            }
            disk.free();
            settle(&life, &scratch, pipe, &format!("killed on a disk with room for {room}"));
        }
    }
}

/// Numbers that look random and are the same for a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

/// Writes lines at full speed until that is over; returns how many.
fn talk(pipe: &Pipe, over: &AtomicBool) -> u64 {
    let (mut n, mut end) = (0, pipe.writer());
    while !over.load(Ordering::Relaxed) {
        end.write_all(&lines(n..n + 50)).unwrap();
        n += 50;
    }
    n
}

/// Ends [`talk`], also where the test fails: it may wait for room then.
struct Over<'a>(&'a AtomicBool, &'a Pipe);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if std::thread::panicking() && !self.1.is_empty() {
            let _ = self.1.reader().read(&mut [0; 1 << 14]);
        }
    }
}

/// A writer at full speed while the logger is killed, told to end, stopped and made to rotate at
/// random moments, `rounds` lives in all.
fn storm(life: &Life, rounds: usize, ways: &[i32], seed: u64) {
    let scratch = Scratch::new();
    let pipe = Pipe::new(&scratch, "pipe");
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let over = AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        let guard = Over(&over, &pipe);
        let writer = scope.spawn(|| talk(&pipe, &over));
        for _ in 0..rounds {
            let mut command = multilog(&scratch, Suite::Ours, life.script);
            let mut logger = Logger::read(&mut command, pipe.reader());
            let way = ways[random.below(ways.len() as u64) as usize];
            for _ in 0..random.below(3) {
                logger.until_it_heeds_signals();
                pause(&mut random, &mut logger);
                logger.signal(SIGALRM);
            }
            if way != SIGKILL {
                logger.until_it_heeds_signals();
            }
            pause(&mut random, &mut logger);
            logger.signal(way);
            if way == SIGSTOP {
                pause(&mut random, &mut logger);
                logger.signal(SIGTERM);
                logger.signal(SIGCONT);
            }
            let ended = logger.end_within(60);
            let killed = ended.signal() == Some(SIGKILL);
            let context = format!("seed {seed}, {way}: {ended:?}: {}", messages(&scratch));
            assert!(ended.success() || killed, "{context}");
        }
        drop(guard);
        // The writer may wait for room.
        let mut command = multilog(&scratch, Suite::Ours, life.script);
        let mut logger = Logger::read(&mut command, pipe.reader());
        let count = writer.join().unwrap();
        logger.finish(&pipe);
        count
    });
    settle(&Life { count, ..*life }, &scratch, pipe, &format!("storm, seed {seed}"));
}

/// Waits up to 8 ms, or until the logger has ended.
fn pause(random: &mut Random, logger: &mut Logger) {
    let moment = Duration::from_micros(random.below(8_000));
    let _ = holds_within(moment, || logger.ended().is_some());
}

const STORM: Life = Life { name: "storm", script: &["s100000", "n100000", "./d"], ..PLAIN };

const STAMPED_STORM: Life = Life {
    name: "storm with stamps and selection",
    script: &["t", "s100000", "n100000", "-*", "+* *5 *", "./d", "+*", "-* *5 *", "./e"],
    stamp: Stamp::Tai64n,
    logs: &[("d", fives), ("e", no_fives)],
    ..PLAIN
};

fn storms(ways: &[i32]) {
    let (rounds, seeds) = if is_long() { (500, 1..11) } else { (40, 1..2) };
    for seed in seeds {
        storm(&STORM, rounds, ways, seed);
        storm(&STAMPED_STORM, rounds, ways, seed);
    }
}

/// `kill9_restart_zero_loss`
#[test]
fn a_logger_that_is_killed_again_and_again_at_full_speed_loses_and_doubles_no_line() {
    storms(&[SIGKILL]);
}

/// `term_restart_zero_loss`, `logger_term_restarts_no_loss`, `alarm_burst`
#[test]
fn a_logger_that_is_told_to_end_again_and_again_at_full_speed_loses_and_doubles_no_line() {
    storms(&[SIGTERM, SIGSTOP]);
}
