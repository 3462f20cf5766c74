//! `skynet import`: services and participants of older systems.

use crate::failure::{Answer, Failure, code, say};
use crate::here::Here;
use crate::legacy::find;
use crate::legacy::{Found, Note};
use crate::making::{self, Builds, Making};
use crate::screen::{Tone, clean};
use crate::service;
use crate::stage::Installed;
use crate::tree::{self, closed};
use clap::Args;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Installs services and participants of older systems.
///
/// They are supervisor's programs, config.exo folders, and INI configuration with a section [participant].
/// Says what was made, and what could not be carried over, with the line that says so. Nothing is
/// enabled or started, and nothing that is installed is replaced. What is wrong with one file or service is
/// told, and the others are made.
#[derive(Debug, Args)]
pub struct Import {
    /// Files, or folders with them.
    #[arg(required = true, value_name = "FILE")]
    sources: Vec<PathBuf>,
    /// Only say what would be made: all of it is made and checked, and taken away again.
    #[arg(long)]
    dry_run: bool,
}

/// Runs it.
///
/// # Errors
/// The folder of participants cannot be locked, or nobody reads what is said.
pub fn run(args: &Import, here: &Here) -> Answer {
    here.is_for_owner("import services for")?;
    let installed = Installed::lock(here)?;
    let (mut worst, mut made) = (0, BTreeSet::new());
    for source in &args.sources {
        let found = match find::services(source, here) {
            Ok(found) => found,
            Err(why) => {
                worst = worst.max(complain(None, &why));
                continue;
            }
        };
        for found in found {
            let told = match &found {
                Ok(found) if made.contains(&found.name) => {
                    Err(is_there(&found.name, &installed.dir(&found.name)))
                }
                Ok(found) => make(found, &installed, args.dry_run, here),
                Err(why) => Err(why.clone()),
            };
            match told {
                Ok(text) => {
                    made.extend(found.ok().map(|found| found.name));
                    here.screen.put(&text)?;
                }
                Err(why) => {
                    let name = found.as_ref().ok().map(|found| found.name.as_str());
                    worst = worst.max(complain(name, &why));
                }
            }
        }
    }
    Ok(worst)
}

fn complain(name: Option<&str>, why: &Failure) -> i32 {
    for line in &why.lines {
        let line = name.map_or_else(|| line.clone(), |name| format!("{name}: {line}"));
        say("warning", &line);
    }
    code::FAILED
}

fn is_there(name: &str, dir: &Path) -> Failure {
    Failure::refused(format!("{name} is there already, {}", dir.display()))
}

/// Makes one service; returns what to say of it.
fn make(
    found: &Found,
    installed: &Installed,
    dry_run: bool,
    here: &Here,
) -> Result<String, Failure> {
    let name = &found.name;
    if let Some(flaw) = work::name::flaw(name) {
        return Err(Failure::refused(format!("{}: the name {flaw}", found.file.display())));
    }
    if let Some(before) = service::all(here)?.into_iter().find(|service| service.name == *name) {
        return Err(is_there(name, &before.dir));
    }
    let directory = found.directory(here)?;
    let stage = installed.stage(name)?;
    tree::write(&stage.dir, &directory.files)?;
    let shown = &installed.dir(name);
    let making =
        Making { closed: closed(&directory.files), ..Making::new(name, shown, Builds::IfMissing) };
    making::prepare(here, installed, &stage, &making)?;
    let done = if dry_run { "would be made" } else { "made" };
    if !dry_run {
        making::put(here, stage, name)?;
    }
    Ok(told(found, &directory.notes, done, here))
}

fn told(found: &Found, notes: &[Note], done: &str, here: &Here) -> String {
    let file = clean(&found.file.to_string_lossy()).into_owned();
    let mut text = format!("{}: {done} from {file}\n", found.name);
    for note in notes {
        let line = format!("{file}:{}: {}", note.line, clean(&note.text));
        let _ = writeln!(text, "  {}", here.screen.paint(&line, Tone::Notable));
    }
    text
}
