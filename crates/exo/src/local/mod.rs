//! `exo local`: items for a participant in a scratch folder, without anything to set up.
//!
//! A real exo runs there with a store of its own; what it would answer is printed.

mod change;
mod input;
mod session;

use crate::config::{self, Loaded};
use crate::settings::{Mode, Settings};
use change::Changes;
use clap::{Args, value_parser};
use input::{Input, Standard};
use log::{error, warn};
use session::{Early, Session};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::process;
use sys::linux::signal::{Set, numbers};
use sys::program::{TROUBLE, USAGE};

/// Some items failed.
pub const FAILED: i32 = 1;

/// Returns the signals that end it, the end of its terminal among them.
fn told_to_end() -> Set {
    Set::of(&[numbers::SIGINT, numbers::SIGTERM, numbers::SIGHUP])
}

/// Gives a participant items, prints its log (on standard error) and its answers (on standard
/// output, one a line, in the order of the items).
///
/// The participant is the one of the service directory that is the current directory, or the
/// COMMAND. Without items it gets what comes on standard input, or an empty one. Nothing is set up,
/// and nothing stays.
///
/// Exit codes: 0 all items are done, 1 some are not, 100 wrong usage, 111 trouble.
#[derive(Debug, Args)]
pub struct Local {
    /// An item: JSON, or the name of a file that holds one item, or one a line; `-` is standard
    /// input.
    #[arg(short, long, value_name = "ITEM")]
    item: Vec<OsString>,
    /// One process for each item, or one for all of them.
    #[arg(short, long, value_enum)]
    mode: Option<ModeWord>,
    /// Copies of the participant.
    #[arg(short = 'n', long, value_name = "N", value_parser = value_parser!(u16).range(1..=1000))]
    instances: Option<u16>,
    /// How often an item is tried.
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1_000_000))]
    tries: u32,
    /// How far an earlier attempt came, as the participant would be told.
    #[arg(long)]
    stage: Option<String>,
    /// Number of the first attempt, as the participant would be told.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1_000_000))]
    attempt: Option<u32>,
    /// Gives it the item of this job of the system's store once more, with the number and the stage of
    /// that attempt, or of the last one.
    #[arg(long, value_name = "JOB[/ATTEMPT]", conflicts_with = "item", value_parser = recorded)]
    replay: Option<Recorded>,
    /// Folder of the store that `--replay` reads, where it is not the configured one.
    #[arg(long, value_name = "FOLDER")]
    store: Option<PathBuf>,
    /// Runs again whenever a file of the directory or one with items changes, with the configuration
    /// and the items as they are then, until Ctrl-C. A run under way is ended by that where the file is
    /// the program's; what else changes meanwhile may be the participant's doing and is told. A
    /// participant that cannot be started is said, and waits for the next change.
    #[arg(short, long)]
    watch: bool,
    /// Program and arguments, run without a shell.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What was recorded: a job, and which attempt at it; `None` = the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recorded {
    job: i64,
    attempt: Option<u32>,
}

fn recorded(word: &str) -> Result<Recorded, String> {
    let (job, attempt) = match word.split_once('/') {
        Some((job, attempt)) => (job, Some(attempt)),
        None => (word, None),
    };
    let attempt = attempt.map(str::parse).transpose();
    match (job.parse(), attempt) {
        (Ok(job), Ok(attempt)) => Ok(Recorded { job, attempt }),
        _ => Err("the number of a job, and of an attempt behind a slash, as in 17 or 17/2".into()),
    }
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum ModeWord {
    PerItem,
    Persistent,
}

impl From<ModeWord> for Mode {
    fn from(word: ModeWord) -> Self {
        match word {
            ModeWord::PerItem => Self::PerItem,
            ModeWord::Persistent => Self::Persistent,
        }
    }
}

/// Runs it in the current directory; returns the exit code.
#[must_use]
pub fn run(args: &Local) -> i32 {
    match std::env::current_dir() {
        Ok(here) => run_in(args, &here),
        Err(why) => {
            error!("unable to find the current directory: {why}");
            TROUBLE
        }
    }
}

/// Runs it for the service directory `dir`; names of files with items count from the current one.
#[must_use]
pub fn run_in(args: &Local, dir: &Path) -> i32 {
    let mut standard = Standard::default();
    // clap does not ask for what another argument that is there excludes.
    if args.store.is_some() && args.replay.is_none() {
        error!("--store is of use with --replay only");
        return USAGE;
    }
    if args.watch {
        return watch(args, dir, &mut standard);
    }
    match read(args, dir, &mut standard) {
        Ok((settings, input)) => match once(&settings, &input, None) {
            Ok(code) => code.unwrap_or(FAILED),
            Err(code) => code,
        },
        Err(code) => code,
    }
}

/// Reads configuration and items; says what is wrong with them, the exit code in hand.
fn read(args: &Local, dir: &Path, standard: &mut Standard) -> Result<(Settings, Input), i32> {
    let told = |(lines, code): Complaint| {
        for line in lines {
            error!("{line}");
        }
        code
    };
    let settings = settings(args, dir).map_err(told)?;
    let input = Input::read(args, &settings, standard);
    let input = input.map_err(|why| told((vec![why], TROUBLE)))?;
    Ok((settings, input))
}

/// Runs again after each change, with the configuration and the items as they are then.
fn watch(args: &Local, dir: &Path, standard: &mut Standard) -> i32 {
    let unable = |why| {
        error!("unable to watch {}: {why}", dir.display());
        TROUBLE
    };
    let mut changes = match Changes::new(dir, input::files(args)) {
        Ok(changes) => changes,
        Err(why) => return unable(why),
    };
    loop {
        if let Err(why) = changes.look() {
            return unable(why);
        }
        let code = match read(args, dir, standard) {
            Ok((settings, input)) => {
                changes.begin(&settings);
                let code = once(&settings, &input, Some(&mut changes));
                match changes.end() {
                    Ok(others) => others.iter().for_each(|line| say(line)),
                    Err(why) => return unable(why),
                }
                match code {
                    Ok(code) => code,
                    Err(code) => return code,
                }
            }
            // No change of a file mends that.
            Err(USAGE) => return USAGE,
            Err(code) => Some(code),
        };
        match code {
            Some(code) => say(&format!("exo: exit code {code}; waiting for a change")),
            None => say("exo: a file has changed; what is in hand is ended, and begun anew"),
        }
        if !changes.wait() {
            return 0;
        }
    }
}

/// Runs all items once; `None` where something changed before they were done, `Err` where it was told
/// to end before, or nobody takes its answers. What else goes wrong may be mended, and is an outcome.
fn once(
    settings: &Settings,
    input: &Input,
    changes: Option<&mut Changes>,
) -> Result<Option<i32>, i32> {
    match Session::begin(settings, input).and_then(|session| session.finish(changes)) {
        Ok(code) => Ok(Some(code)),
        Err(Early::Changed) => Ok(None),
        Err(Early::Told) => Err(FAILED),
        Err(Early::Failed(why)) => {
            error!("{why}");
            Ok(Some(TROUBLE))
        }
        Err(Early::Unread(why)) => {
            error!("{why}");
            Err(TROUBLE)
        }
    }
}

/// Says something to whoever sits there, if anybody does.
fn say(text: &str) {
    let _ = sys::terminal::put_line(2, text.as_bytes());
}

type Complaint = (Vec<String>, i32);

fn settings(args: &Local, dir: &Path) -> Result<Settings, Complaint> {
    let mut settings = if args.command.is_empty() {
        match config::load_for_caller(dir) {
            Ok(Loaded { settings, .. }) => settings,
            Err(trouble) => {
                let mut lines: Vec<String> =
                    trouble.lines.iter().map(config::Line::to_string).collect();
                if !dir.join(config::OWN_FILE).exists() {
                    lines.push("without an exo.yaml name a command: exo local ./program".into());
                }
                return Err((lines, TROUBLE));
            }
        }
    } else {
        of_command(&args.command)?
    };
    dir.clone_into(&mut settings.directory);
    settings.tries = args.tries;
    // Here its queue is one of this machine.
    if work::name::flaw(&settings.queue).is_some() {
        settings.queue.clone_from(&settings.participant);
    }
    // All of it is the caller's own: as whoever that is.
    let caller = (process::euid() == 0).then(|| "root".to_owned());
    settings.user.clone_from(&caller);
    settings.worker_user = caller;
    if let Some(mode) = args.mode {
        settings.mode = mode.into();
    }
    if let Some(instances) = args.instances {
        settings.instances = instances;
    }
    Ok(settings)
}

/// Makes the settings of a program that has no configuration.
fn of_command(command: &[OsString]) -> Result<Settings, Complaint> {
    let words: Vec<String> = command
        .iter()
        .map(|word| word.to_str().map(|word| serde_json::Value::from(word).to_string()))
        .collect::<Option<_>>()
        .ok_or_else(|| (vec!["the command is not UTF-8".to_owned()], USAGE))?;
    // JSON strings are YAML strings.
    let text = format!("command: [{}]\n", words.join(", "));
    let mut settings = config::read_text(text.as_bytes(), &name_of(&command[0]))
        .map_err(|problems| (problems.iter().map(ToString::to_string).collect(), USAGE))?;
    // It is the caller's own program, with what the caller's shell knows.
    settings.environment = std::env::vars_os().filter_map(variable).collect();
    if let Some(path) = std::env::var_os("PATH") {
        settings.path = String::from_utf8_lossy(path.as_bytes()).into_owned();
    }
    Ok(settings)
}

/// Returns a variable that a participant may have; one that is not UTF-8 it cannot, which is said.
fn variable((name, value): (OsString, OsString)) -> Option<(String, String)> {
    match (name.into_string(), value.into_string()) {
        (Ok(name), _) if name.starts_with("SKYNET_") => None,
        (Ok(name), Ok(value)) => Some((name, value)),
        (Ok(name), Err(_)) => {
            warn!("the variable {name} is not UTF-8; the participant runs without it");
            None
        }
        (Err(_), _) => None,
    }
}

/// Returns the name of a program as the name of a participant.
fn name_of(program: &OsStr) -> String {
    let name = Path::new(program).file_stem().unwrap_or_default().to_string_lossy();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = name.chars().filter(|c| is_name(*c)).take(64).collect();
    if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { name } else { "local".to_owned() }
}
