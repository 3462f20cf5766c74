//! `skynet engine`: a stand-in for a process engine.

use super::launch::{self, Start};
use crate::engine::follow::{Followed, follow};
use crate::engine::keep::{self, Folder};
use crate::engine::message;
use crate::engine::process::{Outcome, Process, State};
use crate::engine::serve::{self, Server};
use crate::engine::show::{self, Progress};
use crate::engine::{machine, send, transport};
use crate::failure::{Answer, Failure, code, warn};
use crate::here::Here;
use crate::names::nearest;
use clap::{Args, Subcommand};
use exo::ask::FlavourWord;
use participant::protocol::Flavour;
use std::fmt::Write;

/// Runs processes over participants: for trials and tests.
///
/// It stands in for the engine that hands out the steps of processes elsewhere.
#[derive(Debug, Args)]
pub struct Engine {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Serves until it is told to end: begins processes that are launched, hands out their steps.
    Serve {
        /// An object a line: wfid, expid, step, queue, state, at, seconds, result, error.
        #[arg(long)]
        json: bool,
    },
    /// Begins a process and stays until it is over; its last fields are the answer.
    Run {
        #[command(flatten)]
        start: Start,
        /// An object a line for each step, then one for the process, with its fields.
        #[arg(long)]
        json: bool,
    },
    /// Lists processes, newest last.
    #[command(visible_alias = "ls")]
    List {
        /// Only those that are not over.
        #[arg(long)]
        running: bool,
        /// An object a line: wfid, process, state, at, seconds, running, error.
        #[arg(long)]
        json: bool,
    },
    /// Shows the steps that a process came by.
    Path {
        /// The process.
        wfid: String,
        /// An object a line: wfid, expid, step, queue, state, at, seconds, result, error.
        #[arg(long)]
        json: bool,
    },
    /// Cancels a process, or one place in it, after which the process goes on.
    Cancel {
        /// The process.
        wfid: String,
        /// The place.
        #[arg(long)]
        expid: Option<String>,
        /// Why, and how much of a hurry.
        #[arg(long, value_enum, default_value = "cancel")]
        flavour: FlavourWord,
    },
}

impl Engine {
    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self.what, What::List { .. } | What::Path { .. })
    }
}

/// Runs it.
///
/// # Errors
/// The engine's folder or its queue cannot be used, or there is no such process.
pub fn run(args: &Engine, here: &Here) -> Answer {
    here.is_for_members("look at processes")?;
    match &args.what {
        What::Serve { json } => serve(here, *json),
        What::Run { start, json } => one(here, start, *json),
        What::List { running, json } => list(here, *running, *json),
        What::Path { wfid, json } => path(here, wfid, *json),
        What::Cancel { wfid, expid, flavour } => {
            cancel(here, wfid, expid.as_deref(), (*flavour).into())
        }
    }
}

fn serve(here: &Here, is_json: bool) -> Answer {
    here.is_for_owner("run an engine for")?;
    let signals = serve::signals()?;
    let mut transport = transport::open(here)?;
    let folder = Folder::of(here);
    folder.make()?;
    let Some(lock) = folder.lock()? else {
        return Err(Failure::refused("another engine of this instance runs"));
    };
    let mut progress = Progress::new(is_json);
    let mut tell = |process: &Process| {
        // Nobody need be reading, and what was begun goes on.
        let _ = here.screen.put(&progress.of(process));
    };
    let mut server = Server::begin(&folder, lock, &mut *transport, &mut tell)?;
    server.run(&signals, |_| false)?;
    Ok(0)
}

fn one(here: &Here, start: &Start, is_json: bool) -> Answer {
    here.is_for_owner("run processes on")?;
    let wfid = machine::new_wfid(serve::now());
    let message = launch::message(start, &[], Some(&wfid), true)?;
    // What this engine does not understand is told now, not waited for.
    message::read(&message).map_err(Failure::refused)?;
    send::send(here, vec![message])?;
    let mut progress = Progress::new(is_json);
    let mut is_told = false;
    let tell = |process: &Process| {
        if !is_told {
            let lines = progress.of(process);
            is_told = process.state != State::Running;
            // Nobody need be reading, and the process goes on.
            if is_json {
                let _ = here.screen.put(&lines);
            } else {
                let _ = std::io::Write::write_all(&mut std::io::stderr(), lines.as_bytes());
            }
        }
    };
    match follow(here, &wfid, tell, |process| process.state != State::Running)? {
        Followed::Over(process) => {
            let fields = serde_json::to_string(&process.fields).unwrap_or_default();
            let line = if is_json {
                format!("{{\"wfid\":\"{wfid}\",\"fields\":{fields}}}\n")
            } else {
                fields + "\n"
            };
            here.screen.put(&line)?;
            Ok(if process.state == State::Done { 0 } else { code::FAILED })
        }
        Followed::Left => {
            warn(&format!("{wfid} is not over; it goes on with: skynet engine serve"));
            Ok(code::FAILED)
        }
    }
}

fn list(here: &Here, only_running: bool, is_json: bool) -> Answer {
    keep::become_owner(here)?;
    let folder = Folder::of(here);
    let (mut all, mut code) = (Vec::new(), 0);
    for wfid in folder.names()? {
        match folder.process(&wfid) {
            Ok(process) => all.extend(process),
            Err(failure) => {
                failure.lines.iter().for_each(|line| warn(line));
                code = failure.code;
            }
        }
    }
    all.retain(|process| !only_running || process.state == State::Running);
    all.sort_by_key(|process| process.at);
    let mut out = String::new();
    if is_json {
        for process in &all {
            let _ = writeln!(out, "{}", show::object(process));
        }
    } else {
        out = show::list(&all, &here.screen);
    }
    here.screen.put(&out)?;
    Ok(code)
}

/// Finds a process; says which was probably meant where there is none.
fn find(folder: &Folder, wfid: &str) -> Result<Process, Failure> {
    let known = match machine::flaw(wfid) {
        None => folder.process(wfid)?,
        Some(_) => None,
    };
    known.map_or_else(
        || {
            let names = folder.names()?;
            let near = nearest(wfid, names.iter().map(String::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Err(Failure::unknown(format!("no process {wfid}{near}")))
        },
        Ok,
    )
}

fn path(here: &Here, wfid: &str, is_json: bool) -> Answer {
    keep::become_owner(here)?;
    let process = find(&Folder::of(here), wfid)?;
    let mut out = String::new();
    if is_json {
        for visit in &process.path {
            let _ = writeln!(out, "{}", show::visit_object(wfid, visit));
        }
    } else {
        out = show::path(&process, &here.screen);
    }
    here.screen.put(&out)?;
    Ok(0)
}

fn cancel(here: &Here, wfid: &str, expid: Option<&str>, flavour: Flavour) -> Answer {
    here.is_for_owner("cancel processes of")?;
    keep::become_owner(here)?;
    let process = find(&Folder::of(here), wfid)?;
    let place = expid.map_or_else(String::new, |expid| format!(" at {expid}"));
    let runs = |process: &Process| {
        let is_meant = |at: &str| expid.is_none_or(|expid| is_below(at, expid));
        process.state == State::Running && process.running().any(|visit| is_meant(&visit.expid))
    };
    if !runs(&process) {
        return Err(Failure::refused(format!("nothing of {wfid}{place} runs")));
    }
    send::send(here, vec![message::cancel(wfid, expid, flavour)])?;
    let before = process.path.len();
    let Followed::Over(process) = follow(here, wfid, |_| {}, |process| !runs(process))? else {
        warn(&format!("{wfid} is cancelled when an engine runs: skynet engine serve"));
        return Ok(code::FAILED);
    };
    let was_cancelled = |at: &usize| process.path[*at].outcome == Outcome::Cancelled;
    let is_cancelled = match expid {
        None => process.state == State::Cancelled,
        Some(_) => (0..before).any(|at| was_cancelled(&at)),
    };
    if !is_cancelled {
        return Err(Failure::refused(format!("{wfid}{place} was over before it heard of it")));
    }
    let line = format!("{wfid}{place}: {}\n", show::ended_by(flavour));
    here.screen.put(&line)?;
    Ok(0)
}

/// Tells whether a place is this one or below it.
fn is_below(at: &str, this: &str) -> bool {
    at == this || at.strip_prefix(this).is_some_and(|rest| rest.starts_with('_'))
}
