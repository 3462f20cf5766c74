//! `skynet apply`: reality becomes what is configured.

use crate::apply::{self, Agenda};
use crate::failure::{Answer, code};
use crate::here::Here;
use crate::instance;
use crate::life::Patience;
use crate::links;
use crate::names::Names;
use crate::screen::{Tone, clean};
use clap::Args;
use serde_json::json;
use std::fmt::Write;
use std::path::PathBuf;

/// Makes the instance as it is configured; touches what differs.
///
/// Services that skynet.yaml says are to be enabled are enabled and started, others disabled and
/// stopped. What runs with an older configuration or program than it has now is restarted. Without a
/// name: all.
#[derive(Debug, Args)]
pub struct Apply {
    /// Services by name, or by a pattern with *, ? and [...].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Say what would be done, and do nothing.
    #[arg(long, conflicts_with_all = ["no_wait", "timeout"])]
    dry_run: bool,
    /// With --dry-run, an object a line: name, actions, changed, hindered.
    #[arg(long, requires = "dry_run")]
    json: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// Which services there are cannot be told, or a folder of the instance cannot be made.
pub fn run(args: &Apply, here: &Here) -> Answer {
    here.is_for_owner("apply the configuration of")?;
    let names = Names { names: args.names.clone(), all: false };
    let missing = instance::missing(here);
    if args.dry_run {
        return say(args, &apply::agenda(here, &names)?, &missing, here);
    }
    if !missing.is_empty() {
        instance::make(here)?;
    }
    // Two at the same time would each do half of it.
    let lock = instance::lock(here, "apply")?;
    links::sweep(here)?;
    apply::agenda(here, &names)?.perform(here, &missing, args.patience, lock)
}

fn say(args: &Apply, agenda: &Agenda, missing: &[PathBuf], here: &Here) -> Answer {
    let entries = agenda.entries(here);
    let mut text = String::new();
    for folder in missing.iter().map(|folder| folder.display().to_string()) {
        if args.json {
            let object = json!({
                "name": folder, "actions": ["make it"], "changed": [], "hindered": [],
            });
            let _ = writeln!(text, "{object}");
        } else {
            let _ = writeln!(text, "{}: would make it", clean(&folder));
        }
    }
    for entry in &entries {
        if args.json {
            let object = json!({
                "name": entry.name,
                "actions": entry.actions,
                "changed": entry.changed,
                "hindered": entry.hindered,
            });
            let _ = writeln!(text, "{object}");
            continue;
        }
        let name = clean(&entry.name);
        if !entry.actions.is_empty() {
            let changed = entry.changed.join(", ");
            let changed =
                if changed.is_empty() { changed } else { format!(" (changed: {changed})") };
            let _ = writeln!(text, "{name}: would {}{}", entry.actions.join(", "), clean(&changed));
        }
        for why in &entry.hindered {
            let why = clean(why);
            let _ = writeln!(text, "{name}: {}", here.screen.paint(&why, Tone::Bad));
        }
    }
    if text.is_empty() && !args.json && !agenda.some_are_unknown {
        text.push_str("everything is as it is configured\n");
    }
    here.screen.put(&text)?;
    let is_hindered = entries.iter().any(|entry| !entry.hindered.is_empty());
    Ok(match (is_hindered, agenda.some_are_unknown) {
        (true, _) => code::FAILED,
        (_, true) => code::UNKNOWN,
        _ => 0,
    })
}
