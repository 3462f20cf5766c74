//! `skynet manual`: a participant tried in the foreground.

use crate::failure::{Answer, Failure, warn};
use crate::here::Here;
use crate::life::Looker;
use crate::names::nearest;
use crate::screen::clean;
use crate::service;
use clap::Args;
use exo::config::OWN_FILE;
use exo::local::{self, Local};
use std::path::{Path, PathBuf};

/// Tries a participant here, with items of its own.
///
/// In the foreground: it is exo local, for a participant by name.
/// Prints the participant's log on standard error and its answers on standard output. It runs as
/// whoever calls, in a scratch folder with a queue of its own; nothing stays. Exit codes: 0 all items
/// are done, 1 some are not.
#[derive(Debug, Args)]
pub struct Manual {
    /// A participant by name, or a folder by a path with a slash in it, or a dot.
    #[arg(value_name = "NAME")]
    participant: PathBuf,
    #[command(flatten)]
    local: Local,
}

/// Runs it.
///
/// # Errors
/// There is no such participant.
pub fn run(args: &Manual, here: &Here) -> Answer {
    let dir = if is_path(&args.participant) {
        let path = &args.participant;
        path.canonicalize().map_err(|why| Failure::io("open", path.display(), &why))?
    } else {
        installed(&args.participant.to_string_lossy(), here)?
    };
    Ok(local::run_in(&args.local, &dir))
}

fn is_path(word: &Path) -> bool {
    word.as_os_str() == "." || word.to_string_lossy().contains('/')
}

fn installed(name: &str, here: &Here) -> Result<PathBuf, Failure> {
    let all = service::all(here)?;
    let Some(service) = all.iter().find(|service| service.name == name) else {
        let near = nearest(name, all.iter().map(|service| service.name.as_str()));
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        let folder = if Path::new(name).join(OWN_FILE).exists() {
            format!("; for the folder here: ./{name}")
        } else {
            String::new()
        };
        return Err(Failure::unknown(format!("no service {}{near}{folder}", clean(name))));
    };
    if !service.is_participant {
        return Err(Failure::refused(format!("{name} is no participant: it has no {OWN_FILE}")));
    }
    let dir = service.real_dir();
    if Looker::new().look(&dir).is_up() {
        warn(&format!(
            "{name} runs as a service, too; this trial has items and a queue of its own"
        ));
    }
    Ok(dir)
}
