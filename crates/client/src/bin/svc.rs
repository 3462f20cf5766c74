//! svc: sends commands to supervises, and waits for their effect where asked to.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::vec::Vec;
use client::control::{self, Commands, Refusal, Sent};
use client::encore_rules;
use client::svpath::Paths;
use client::wait::{Goal, Unwatched, Verdict, Waiting};
use core::ffi::CStr;
use linux::decimal;
use linux::entry::Args;
use linux::errno::Errno;
use linux::getopt::Options;
use linux::heap::Heap;
use linux::program::{Program, TROUBLE, USAGE};
use linux::{fd, message, signal, time};

linux::entry!(run);
linux::no_std_program!("svc");

#[global_allocator]
static HEAP: Heap = Heap::new();

const SVC: Program = Program("svc");
/// Not yet, and the time is over.
const TIMED_OUT: i32 = 99;
/// It cannot come any more.
const IMPOSSIBLE: i32 = 1;
/// How long a full control pipe is waited for without `--timeout`, in nanoseconds.
const PATIENCE: u64 = 5 * time::SECOND;

const LETTERS: &str = "udopchaitkxq12w+=Ll";
const LETTERS_0_76: &str = "svc options: u up, d down, o once, x exit, p pause, c continue, h hup, \
    a alarm, i interrupt, t term, k kill";
const LETTERS_ENCORE: &str = "svc options: + kill process group, = kill parent process, \
    L kill log, l kill main, u up, d down, o once, x exit, p pause, c continue, h hup, a alarm, \
    i interrupt, t term, k kill, q quit, 1 SIGUSR1, 2 SIGUSR2, w SIGWINCH";
const HELP: &str = "svc [--wait=up|ready|down|finished|restarted] [--timeout MS] \
    [-udopchaitkxq12w+=Ll] dir ...";

/// What the command line asks for.
#[derive(Default)]
struct Request {
    commands: Commands,
    goal: Option<Goal>,
    /// `--timeout`, in nanoseconds.
    timeout: Option<u64>,
    dirs: Vec<&'static [u8]>,
}

fn run(args: Args) -> i32 {
    // A warning must not land in a control pipe that got number 2.
    fd::fill_standard();
    // A supervise that ends under our write is a warning, not our end.
    signal::ignore(libc::SIGPIPE);
    if let Some(code) = SVC.standard(args, HELP) {
        return code;
    }
    match parse(args) {
        Ok(request) => perform(&request),
        Err(code) => code,
    }
}

fn parse(args: Args) -> Result<Request, i32> {
    let mut request = Request::default();
    let mut words = (1..args.len()).filter_map(|i| args.get(i)).map(CStr::to_bytes).peekable();
    while let Some(word) = words.next_if(|word| word.len() > 1 && word[0] == b'-') {
        if word == b"--" {
            break;
        }
        if word.starts_with(b"--") {
            long(&mut request, word, &mut words)?;
        } else {
            letters(&mut request.commands, word)?;
        }
    }
    request.dirs = words.collect();
    Ok(request)
}

fn letters(commands: &mut Commands, word: &'static [u8]) -> Result<(), i32> {
    let mut options = Options::new(0, LETTERS);
    while let Some(option) = options.next(SVC, |i| (i == 0).then_some(word)) {
        if option.ok().and_then(|(letter, _)| commands.add(letter)).is_none() {
            let text = if encore_rules() { LETTERS_ENCORE } else { LETTERS_0_76 };
            message::Line::default().with(text.as_bytes()).send();
            return Err(USAGE);
        }
    }
    Ok(())
}

/// Reads the option `word`, whose value may be the next of `words`.
fn long(
    request: &mut Request,
    word: &[u8],
    words: &mut impl Iterator<Item = &'static [u8]>,
) -> Result<(), i32> {
    let wrong = |parts: &[&[u8]]| {
        // Said like a fatal error, but it is the caller's.
        let _ = SVC.fatal_plain(parts);
        Err(USAGE)
    };
    if let Some(goal) = word.strip_prefix(b"--wait=") {
        let Some(known) = Goal::from_word(goal) else {
            let known = b": not one of up, ready, down, finished, restarted";
            return wrong(&[b"unable to wait for ", goal, known]);
        };
        request.goal = Some(known);
        return Ok(());
    }
    let value = if word == b"--timeout" {
        let Some(value) = words.next() else {
            return wrong(&[b"--timeout needs a number of milliseconds"]);
        };
        value
    } else if let Some(value) = word.strip_prefix(b"--timeout=") {
        value
    } else {
        return wrong(&[b"unknown option ", word]);
    };
    // 2^64 nanoseconds are 584 years.
    let Some(nanos) = decimal::parse(value).and_then(|ms| ms.checked_mul(1_000_000)) else {
        let why = b": not a number of milliseconds";
        return wrong(&[b"unable to use time limit ", value, why]);
    };
    request.timeout = Some(nanos);
    Ok(())
}

fn perform(request: &Request) -> i32 {
    let deadline = request.timeout.map(|limit| time::monotonic().saturating_add(limit));
    let mut paths = Paths::from_environment();
    let Some(goal) = request.goal else {
        send(request, &request.dirs, deadline, &mut paths);
        return 0;
    };
    let aim = (goal, request.commands.asks_to_start());
    let mut waiting = match Waiting::new() {
        Ok(waiting) => waiting,
        Err(why) => return SVC.fatal(&[b"unable to watch for changes"], why),
    };
    let mut code = 0;
    let mut watched = Vec::with_capacity(request.dirs.len());
    for &dir in &request.dirs {
        match waiting.add(dir, aim, &mut paths) {
            Ok(_) => watched.push(dir),
            Err(trouble) => {
                match trouble {
                    Unwatched::Chdir(why) => warn(dir, Refusal::Chdir(why)),
                    Unwatched::System(why) => SVC.warning(&[b"unable to watch ", dir], why),
                }
                code = TROUBLE;
            }
        }
    }
    if !request.commands.is_empty() && send(request, &watched, deadline, &mut paths) {
        code = TROUBLE;
    }
    let waited = waiting.finish(&mut paths, deadline, |dir, goal, verdict| {
        code = worse(code, judged(dir, goal, verdict));
    });
    match waited {
        Ok(()) => code,
        Err(why) => SVC.fatal(&[b"unable to wait"], why),
    }
}

/// Of several services the one in the worst state gives the exit code.
fn worse(a: i32, b: i32) -> i32 {
    [TROUBLE, IMPOSSIBLE, TIMED_OUT].into_iter().find(|code| *code == a || *code == b).unwrap_or(0)
}

fn judged(dir: &[u8], goal: Goal, verdict: Verdict) -> i32 {
    let goal = goal.word().as_bytes();
    match verdict {
        Verdict::Reached => 0,
        Verdict::Pending => {
            let late = b" in time";
            SVC.warning_plain(&[dir, b" is not ", goal, late]);
            TIMED_OUT
        }
        Verdict::Impossible(why) => {
            let cannot = b" cannot become ";
            SVC.warning_plain(&[dir, cannot, goal, b": ", why.as_bytes()]);
            IMPOSSIBLE
        }
    }
}

/// Sends the commands to each directory and tells whether there was trouble beyond a supervise
/// that does not run: whoever waits learns that as a verdict.
fn send(request: &Request, dirs: &[&[u8]], deadline: Option<u64>, paths: &mut Paths) -> bool {
    let bytes = request.commands.bytes();
    let mut trouble = false;
    let mut refused = |dir: &[u8], why: Refusal| {
        // Where nothing is left of a supervise there is no control either.
        let absent = matches!(why, Refusal::NotRunning | Refusal::Open(Errno(libc::ENOENT)));
        trouble |= !absent;
        warn(dir, why);
    };
    let mut full = Vec::new();
    for &dir in dirs {
        match paths.set(dir).map_err(Refusal::Chdir).and_then(|()| control::send(paths, &bytes)) {
            Ok(Sent::Done) => {}
            Ok(Sent::Full(control)) => full.push((dir, control)),
            Err(why) => refused(dir, why),
        }
    }
    if !full.is_empty() {
        let patience = || time::monotonic().saturating_add(PATIENCE);
        let deadline = deadline.unwrap_or_else(patience);
        control::finish(full, &bytes, Some(deadline), |dir, how| {
            if let Err(why) = how {
                refused(dir, why);
            }
        });
    }
    trouble
}

fn warn(dir: &[u8], refusal: Refusal) {
    let control = |why: &str| {
        SVC.warning_plain(&[b"unable to control ", dir, b": ", why.as_bytes()]);
    };
    match refusal {
        Refusal::Chdir(why) => SVC.warning(&[b"unable to chdir to ", dir], why),
        Refusal::NotRunning => control("supervise not running"),
        Refusal::Open(why) => SVC.warning(&[b"unable to control ", dir], why),
        Refusal::NotFifo => control("supervise/control is not a FIFO"),
        Refusal::Untrusted => control("supervise is a symbolic link that others can change"),
        Refusal::Write(why) => SVC.warning(&[b"error writing commands to ", dir], why),
        Refusal::Full => control("control pipe is full"),
    }
}
