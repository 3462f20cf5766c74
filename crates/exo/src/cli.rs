//! exo's command line.

use crate::ask::{self, Control};
use crate::config::{self, Loaded, Trouble};
use crate::local::{self, Local};
use crate::say::{self, EXO};
use crate::settings::{Life, Settings};
use crate::usage;
use clap::{CommandFactory, Parser, Subcommand};
use log::LevelFilter;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::flags::{EBADF, O_RDONLY};
use sys::linux::signal::{self, numbers::SIGPIPE};
use sys::linux::{fd, file};
use sys::program::{TROUBLE, USAGE};

/// Exit code of `exo check` where something is wrong.
const WRONG: i32 = 1;

/// Runs a participant: fetches work items for it, hands them over one at a time, answers their
/// senders. Without a command: for the service directory that is the current directory.
#[derive(Debug, Parser)]
#[command(
    name = "exo",
    version,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
struct Cli {
    /// Begins as if told to drain: no item is taken until `exo control resume`.
    #[arg(long)]
    drained: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Local(Local),
    Control(Control),
    /// Reads the configuration of service directories and says what is wrong with it.
    ///
    /// Exit codes: 0 nothing, 1 something.
    Check {
        /// Shows what is in force, and where each value comes from.
        #[arg(long)]
        show: bool,
        /// The layout that the store may have: one that is newer than what this program knows is wrong.
        #[arg(long, value_name = "NUMBER")]
        layout: Option<u32>,
        /// Service directories; without any, the current directory.
        dir: Vec<PathBuf>,
    },
    /// Says the number of the newest layout of the store that this program knows.
    ///
    /// It grows from version to version, where it changes at all. Who knows a newer one can do without
    /// this program, but not the other way round.
    Layout,
}

/// Returns what the command line may hold, for whoever completes it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Ran as exo; returns the exit code.
#[must_use]
pub fn run(arguments: &[&'static OsStr]) -> i32 {
    let has_output = fd::copy(1).map(drop) != Err(Errno(EBADF));
    fd::fill_standard();
    EXO.end_on_panic();
    say::start(LevelFilter::Info);
    let words = std::iter::once(OsStr::new("exo")).chain(arguments.iter().copied());
    let cli = Cli::try_parse_from(words);
    if !has_output && !matches!(cli, Ok(Cli { command: None, .. })) {
        refuse_output();
    }
    match cli {
        Ok(Cli { command: None, drained }) => service(drained),
        Ok(Cli { command: Some(Command::Local(args)), .. }) => local::run(&args),
        Ok(Cli { command: Some(Command::Control(args)), .. }) => ask::run(&args),
        Ok(Cli { command: Some(Command::Check { show, layout, dir }), .. }) => {
            knows(layout).max(check(&dir, show))
        }
        Ok(Cli { command: Some(Command::Layout), .. }) => print(&format!("{}\n", work::LAYOUT)),
        Err(why) => answer(&why),
    }
}

/// From now on what is written to descriptor 1 is refused, as where it is closed: in what has taken its
/// place it would vanish.
fn refuse_output() {
    let _ = file::open(file::HERE, c"/dev/null", O_RDONLY, 0)
        .and_then(|nowhere| fd::dup_to(nowhere.raw(), 1));
}

/// `--help` and `--version`, or what is wrong with the arguments.
fn answer(why: &clap::Error) -> i32 {
    let text = why.render().to_string();
    if !why.use_stderr() {
        return print(&text);
    }
    log::error!("{}; see exo --help", usage::words(why));
    USAGE
}

fn print(text: &str) -> i32 {
    match fd::write_all(1, text.as_bytes()) {
        Ok(()) => 0,
        Err(why) => EXO.fatal(&[OsStr::new("unable to write output")], why),
    }
}

/// The service in the current directory.
fn service(is_drained: bool) -> i32 {
    say::never_wait();
    // Nobody may be reading what we say.
    signal::ignore(SIGPIPE);
    let here = match std::env::current_dir() {
        Ok(here) => here,
        Err(why) => {
            let why = Errno(why.raw_os_error().unwrap_or_default());
            log::error!("unable to find the current directory: {why}");
            return TROUBLE;
        }
    };
    match config::load(&here) {
        Ok(loaded) => {
            log::set_max_level(loaded.settings.log_level);
            warn_of(&loaded);
            let life = Life::Service { is_drained };
            crate::run(Settings { life, ..loaded.settings })
        }
        Err(trouble) => {
            complain(&trouble);
            TROUBLE
        }
    }
}

/// Says what is not as it should be.
fn warn_of(loaded: &Loaded) {
    let of_broker = [config::in_clear(&loaded.settings.broker), config::no_limit(loaded)];
    for warning in loaded.warnings.iter().chain(of_broker.iter().flatten()) {
        log::warn!("{warning}");
    }
}

fn complain(trouble: &Trouble) {
    for line in &trouble.lines {
        log::error!("{line}");
    }
}

/// Tells whether a store of this layout is one for this program.
fn knows(layout: Option<u32>) -> i32 {
    let Some(layout) = layout.filter(|layout| *layout > work::LAYOUT) else { return 0 };
    let ours = work::LAYOUT;
    log::error!("the store may have layout {layout}, and this exo knows those up to {ours}");
    WRONG
}

fn check(dirs: &[PathBuf], show: bool) -> i32 {
    let here = [PathBuf::from(".")];
    let dirs = if dirs.is_empty() { &here[..] } else { dirs };
    let codes = dirs.iter().map(|dir| check_one(dir, show)).collect::<Vec<_>>();
    codes.into_iter().max().unwrap_or(0)
}

fn check_one(dir: &Path, show: bool) -> i32 {
    match config::load(dir) {
        Ok(loaded) => {
            warn_of(&loaded);
            if show { print(&config::shown(&loaded)) } else { 0 }
        }
        Err(trouble) => {
            complain(&trouble);
            WRONG
        }
    }
}
