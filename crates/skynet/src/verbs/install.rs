//! `skynet install`: a directory of one's own becomes a service.

use super::{enable, restart};
use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::life::{self, Looker, Patience, care};
use crate::making::{self, Builds, Making};
use crate::names::Names;
use crate::screen::clean;
use crate::service::Service;
use crate::source::{Said, Source};
use crate::stage::Installed;
use clap::Args;
use std::path::PathBuf;

/// Installs a participant, or another service, from a directory.
///
/// The directory is copied, checked, and put in its place in one step. What it replaces runs on as it
/// was until it is restarted. Where exo.yaml has a build and the program is missing, it is built.
///
/// Python code with a class `ParticipantHandler`, as `SkyNET`'s participants are, is installed likewise: the
/// file, or a directory with it and without exo.yaml.
#[derive(Debug, Args)]
pub struct Install {
    /// The directory, or the code.
    #[arg(required_unless_present = "code")]
    dir: Option<PathBuf>,
    /// What it is to be called; without it, as exo.yaml, its directory or its file says.
    #[arg(value_name = "AS", conflicts_with = "named")]
    name: Option<String>,
    /// The same.
    #[arg(short, long = "name", value_name = "NAME")]
    named: Option<String>,
    /// The code, as the older command had it.
    #[arg(short = 'p', value_name = "FILE", hide = true, conflicts_with = "dir")]
    code: Option<PathBuf>,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    next: Next,
}

/// What comes behind an installation.
#[derive(Clone, Copy, Debug, Args)]
pub struct Next {
    /// Have it start at each boot.
    #[arg(long)]
    enable: bool,
    /// Start it, or restart the one that it replaces.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// The directory cannot be used or copied, or the name belongs to something else.
pub fn run(args: &Install, here: &Here) -> Answer {
    here.is_for_owner("install services for")?;
    let Some(path) = args.dir.as_ref().or(args.code.as_ref()) else {
        return Err(Failure::usage("install what?"));
    };
    let source = Source::open(path, here)?;
    let called = args.name.as_ref().or(args.named.as_ref());
    let said = args.said.called(called);
    let name = called.cloned().or_else(|| args.said.name()).unwrap_or_else(|| source.name());
    if let Some(flaw) = work::name::flaw(&name) {
        return Err(Failure::usage(format!("the name \"{}\" {flaw}", clean(&name))));
    }
    let installed = Installed::lock(here)?;
    let before = making::may_have(&name, here)?;
    let stage = installed.stage(&name)?;
    let filled = source.fill(&stage, &name, path, &said)?;
    let making = Making {
        own_file: filled.own_file,
        closed: filled.closed,
        ..Making::new(&name, path, Builds::IfMissing)
    };
    making::prepare(here, &installed, &stage, &making)?;
    making::put(here, stage, &name)?;
    drop(installed);
    args.next.follow(&name, before.as_ref(), "installed", here)
}

impl Next {
    /// Says what was done to a directory, and enables and starts its service as it was asked for.
    ///
    /// # Errors
    /// As [`life::run`].
    pub fn follow(&self, name: &str, before: Option<&Service>, done: &str, here: &Here) -> Answer {
        let snapshot = before.map(|before| Looker::new().look(&before.real_dir()));
        let goes_on = match snapshot.filter(|_| !self.now) {
            Some(snapshot) if snapshot.is_up() => "; it runs on as it was until: ",
            Some(snapshot) if care::is_due(&snapshot) => "; it is started as it was until: ",
            _ => "",
        };
        let advice = if goes_on.is_empty() {
            String::new()
        } else {
            format!("{goes_on}skynet restart {name}")
        };
        let line = format!("{name}: {done}{advice}\n");
        here.screen.put(&line)?;
        let names = Names { names: vec![name.to_owned()], all: false };
        if self.enable {
            let code = life::run(&names, self.patience, here, |sight| {
                enable::plan(sight, here).unwrap_or_else(|why| why)
            })?;
            if code != 0 {
                return Ok(code);
            }
        }
        if self.now {
            return life::run(&names, self.patience, here, |sight| restart::plan(sight, here));
        }
        Ok(0)
    }
}
