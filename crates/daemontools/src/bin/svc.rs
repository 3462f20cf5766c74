//! svc: sends commands to supervises, and waits for their effect where asked to.
#![no_main]

use daemontools::control::{self, Commands, Refusal, Sent};
use daemontools::encore_rules;
use daemontools::svpath::Paths;
use daemontools::wait::{Goal, Unwatched, Verdict, Waiting};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use sys::getopt::Options;
use sys::linux::errno::Errno;
use sys::linux::{fd, message, signal, time};
use sys::program::{Program, TROUBLE, USAGE};

sys::program!(run);

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
struct Request<'a> {
    commands: Commands,
    goal: Option<Goal>,
    /// `--timeout`, in nanoseconds.
    timeout: Option<u64>,
    dirs: &'a [&'static OsStr],
}

fn run(args: &[&'static OsStr]) -> i32 {
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

fn parse<'a>(args: &'a [&'static OsStr]) -> Result<Request<'a>, i32> {
    let mut request = Request { dirs: args, ..Request::default() };
    while let [first, rest @ ..] = request.dirs {
        let arg = first.as_bytes();
        if arg == b"--" {
            request.dirs = rest;
            break;
        }
        if arg.len() < 2 || arg[0] != b'-' {
            break;
        }
        let one = &request.dirs[..1];
        request.dirs = rest;
        if arg.starts_with(b"--") {
            long(&mut request, first)?;
        } else {
            letters(&mut request.commands, one)?;
        }
    }
    Ok(request)
}

fn letters(commands: &mut Commands, arg: &[&'static OsStr]) -> Result<(), i32> {
    let mut options = Options::new(arg, LETTERS);
    while let Some(option) = options.next(SVC) {
        if option.ok().and_then(|(letter, _)| commands.add(letter)).is_none() {
            let text = if encore_rules() { LETTERS_ENCORE } else { LETTERS_0_76 };
            message::Line::default().with(text.as_bytes()).send();
            return Err(USAGE);
        }
    }
    Ok(())
}

fn long(request: &mut Request<'_>, arg: &'static OsStr) -> Result<(), i32> {
    let wrong = |parts: &[&OsStr]| {
        // Said like a fatal error, but it is the caller's.
        let _ = SVC.fatal_plain(parts);
        Err(USAGE)
    };
    let bytes = arg.as_bytes();
    if let Some(word) = bytes.strip_prefix(b"--wait=") {
        let word = OsStr::from_bytes(word);
        let Some(goal) = Goal::from_word(word) else {
            let known = ": not one of up, ready, down, finished, restarted".as_ref();
            return wrong(&["unable to wait for ".as_ref(), word, known]);
        };
        request.goal = Some(goal);
        return Ok(());
    }
    let value = if bytes == b"--timeout" {
        let Some((value, rest)) = request.dirs.split_first() else {
            return wrong(&["--timeout needs a number of milliseconds".as_ref()]);
        };
        request.dirs = rest;
        value.as_bytes()
    } else if let Some(value) = bytes.strip_prefix(b"--timeout=") {
        value
    } else {
        return wrong(&["unknown option ".as_ref(), arg]);
    };
    // 2^64 nanoseconds are 584 years.
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
    let Some(nanos) = number.and_then(|ms| ms.checked_mul(1_000_000)) else {
        let why = ": not a number of milliseconds".as_ref();
        return wrong(&["unable to use time limit ".as_ref(), OsStr::from_bytes(value), why]);
    };
    request.timeout = Some(nanos);
    Ok(())
}

fn perform(request: &Request<'_>) -> i32 {
    let deadline = request.timeout.map(|limit| time::monotonic().saturating_add(limit));
    let mut paths = Paths::from_environment();
    let Some(goal) = request.goal else {
        send(request, request.dirs, deadline, &mut paths);
        return 0;
    };
    let aim = (goal, request.commands.asks_to_start());
    let mut waiting = match Waiting::new() {
        Ok(waiting) => waiting,
        Err(why) => return SVC.fatal(&["unable to watch for changes".as_ref()], why),
    };
    let mut code = 0;
    let mut watched = Vec::with_capacity(request.dirs.len());
    for dir in request.dirs {
        match waiting.add(dir, aim, &mut paths) {
            Ok(_) => watched.push(*dir),
            Err(trouble) => {
                match trouble {
                    Unwatched::Chdir(why) => warn(dir, Refusal::Chdir(why)),
                    Unwatched::System(why) => SVC.warning(&["unable to watch ".as_ref(), dir], why),
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
        Err(why) => SVC.fatal(&["unable to wait".as_ref()], why),
    }
}

/// Of several services the one in the worst state gives the exit code.
fn worse(a: i32, b: i32) -> i32 {
    [TROUBLE, IMPOSSIBLE, TIMED_OUT].into_iter().find(|code| *code == a || *code == b).unwrap_or(0)
}

fn judged(dir: &OsStr, goal: Goal, verdict: Verdict) -> i32 {
    let goal: &OsStr = goal.word().as_ref();
    match verdict {
        Verdict::Reached => 0,
        Verdict::Pending => {
            let late = " in time".as_ref();
            SVC.warning_plain(&[dir, " is not ".as_ref(), goal, late]);
            TIMED_OUT
        }
        Verdict::Impossible(why) => {
            let cannot = " cannot become ".as_ref();
            SVC.warning_plain(&[dir, cannot, goal, ": ".as_ref(), why.as_ref()]);
            IMPOSSIBLE
        }
    }
}

/// Sends the commands to each directory and tells whether there was trouble beyond a supervise
/// that does not run: whoever waits learns that as a verdict.
fn send(request: &Request<'_>, dirs: &[&OsStr], deadline: Option<u64>, paths: &mut Paths) -> bool {
    let bytes = request.commands.bytes();
    let mut trouble = false;
    let mut refused = |dir: &OsStr, why: Refusal| {
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

fn warn(dir: &OsStr, refusal: Refusal) {
    let control = |why: &str| {
        SVC.warning_plain(&["unable to control ".as_ref(), dir, ": ".as_ref(), why.as_ref()]);
    };
    match refusal {
        Refusal::Chdir(why) => SVC.warning(&["unable to chdir to ".as_ref(), dir], why),
        Refusal::NotRunning => control("supervise not running"),
        Refusal::Open(why) => SVC.warning(&["unable to control ".as_ref(), dir], why),
        Refusal::NotFifo => control("supervise/control is not a FIFO"),
        Refusal::Untrusted => control("supervise is a symbolic link that others can change"),
        Refusal::Write(why) => SVC.warning(&["error writing commands to ".as_ref(), dir], why),
        Refusal::Full => control("control pipe is full"),
    }
}
