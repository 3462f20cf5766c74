//! `exo control`: asks a running exo by its control socket.

use crate::config::{self, Trouble};
use crate::control::Request;
use clap::{Args, Subcommand};
use log::{error, warn};
use participant::protocol::Flavour;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::program::TROUBLE;
use sys::terminal;

/// Answers come within a second, so that this is generous.
const PATIENCE: Duration = Duration::from_secs(10);
/// It was asked, and said no.
const REFUSED: i32 = 1;
/// Nobody is there to be asked.
pub const DOWN: i32 = 3;

/// Asks the exo of a service directory how it stands, or tells it what to do.
///
/// Prints its answer, a JSON object, on one line. Exit codes: 0 done, 1 refused, 3 it does not run,
/// 100 wrong usage, 111 trouble.
#[derive(Debug, Args)]
pub struct Control {
    /// Service directory; without it, the current directory.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// How it stands: what each instance does, since when, how far it is.
    Status,
    /// Takes no more items until it is told to resume; what is in hand is finished.
    Drain,
    /// Takes items again.
    Resume,
    /// Items of a process are not wanted any more: those that wait, and those in hand.
    Cancel {
        /// Which process.
        wfid: String,
        /// Only the item at this place in it.
        #[arg(long)]
        expid: Option<String>,
        /// cancel: asked to stop; kill: ended at once; timeout: its process waits no longer.
        #[arg(long, value_enum, default_value = "cancel")]
        flavour: FlavourWord,
    },
    /// Jobs of the store are tried again from the start: those that failed, were cancelled, or rest
    /// between two tries.
    Requeue {
        /// Their numbers.
        #[arg(required = true)]
        job: Vec<i64>,
        /// Also those that are done.
        #[arg(long)]
        force: bool,
        /// Their place among those of their label, highest first.
        #[arg(long, value_name = "N", allow_negative_numbers = true)]
        priority: Option<i32>,
    },
    /// Dead items of the store are tried again.
    DeadRequeue {
        /// Their numbers.
        #[arg(required = true)]
        dead: Vec<i64>,
    },
    /// Dead items of the store are removed.
    DeadDrop {
        /// Their numbers.
        #[arg(required = true)]
        dead: Vec<i64>,
    },
}

/// A [`Flavour`] as it is said on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FlavourWord {
    /// Who works on it is asked to stop.
    Cancel,
    /// It is ended at once.
    Kill,
    /// Asked to stop, since its process waits no longer.
    Timeout,
}

impl From<FlavourWord> for Flavour {
    fn from(word: FlavourWord) -> Self {
        match word {
            FlavourWord::Cancel => Self::Cancel,
            FlavourWord::Kill => Self::Kill,
            FlavourWord::Timeout => Self::Timeout,
        }
    }
}

impl What {
    fn request(&self) -> Request {
        match self {
            Self::Status => Request::Status,
            Self::Drain => Request::Drain,
            Self::Resume => Request::Resume,
            Self::Cancel { wfid, expid, flavour } => Request::Cancel {
                wfid: wfid.clone(),
                expid: expid.clone(),
                flavour: (*flavour).into(),
            },
            Self::Requeue { job, force, priority } => {
                Request::Requeue { jobs: job.clone(), force: *force, priority: *priority }
            }
            Self::DeadRequeue { dead } => Request::DeadRequeue { dead: dead.clone() },
            Self::DeadDrop { dead } => Request::DeadDrop { dead: dead.clone() },
        }
    }
}

/// Asks; returns the exit code.
///
/// An exo that runs has its configuration: what is wrong with the files on disk by now keeps nobody from
/// asking, draining or cancelling.
#[must_use]
pub fn run(args: &Control) -> i32 {
    let (socket, trouble) = match config::socket(&args.dir) {
        Ok(found) => found,
        Err(trouble) => return complain(&trouble),
    };
    match ask(&socket, &args.what.request()) {
        Ok(answer) => {
            trouble.lines.iter().for_each(|line| warn!("{line}"));
            let is_done = answer.get("ok").and_then(Value::as_bool).unwrap_or(false);
            if terminal::put_line(1, answer.to_string().as_bytes()).is_err() {
                return TROUBLE;
            }
            if is_done { 0 } else { REFUSED }
        }
        // It may run, and have its socket elsewhere.
        Err(_) if !trouble.lines.is_empty() => complain(&trouble),
        Err((why, code)) => {
            error!("{why}");
            code
        }
    }
}

fn complain(trouble: &Trouble) -> i32 {
    trouble.lines.iter().for_each(|line| error!("{line}"));
    TROUBLE
}

/// Says what went wrong with a control socket, and who may where we may not.
#[must_use]
pub fn unable(verb: &str, path: &Path, why: &std::io::Error) -> String {
    let path = path.display();
    if why.kind() == std::io::ErrorKind::PermissionDenied {
        let who = "root, the worker's user or a member of group skynet may";
        return format!("unable to {verb} {path}: permission denied; {who}");
    }
    format!("unable to {verb} {path}: {why}")
}

/// Asks the exo behind a socket.
///
/// # Errors
/// What went wrong, and the exit code that says so.
pub fn ask(path: &Path, request: &Request) -> Result<Value, (String, i32)> {
    let trouble = |verb: &str, why: std::io::Error| (unable(verb, path, &why), TROUBLE);
    let mut socket = UnixStream::connect(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
            (format!("unable to ask {}: no exo runs there", path.display()), DOWN)
        }
        _ => trouble("ask", why),
    })?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(|why| trouble("ask", why))?;
    socket.write_all(&request.line()).map_err(|why| trouble("ask", why))?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).map_err(|why| trouble("hear", why))?;
    serde_json::from_str(&line).map_err(|why| trouble("understand", why.into()))
}
