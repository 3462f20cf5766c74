//! `skynet list`: names, for people and for scripts.

use crate::failure::Answer;
use crate::here::Here;
use crate::names::Names;
use crate::screen::{Column, Table, Tone};
use crate::service::{self, Service};
use clap::Args;
use serde_json::json;
use std::fmt::Write;

/// Lists services.
///
/// Without an option, a line for each: its name, whether it is enabled, who put it there, and its
/// directory. With --enabled, --disabled or --names only names, for scripts.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    names: Names,
    /// Only names of those that start with the system.
    #[arg(long)]
    enabled: bool,
    /// Only names of those that do not.
    #[arg(long, conflicts_with = "enabled")]
    disabled: bool,
    /// Only names.
    #[arg(long)]
    names_only: bool,
    /// An object a line: name, enabled, participant, origin, directory.
    #[arg(long)]
    json: bool,
}

impl List {
    fn wants(&self, service: &Service) -> bool {
        match (self.enabled, self.disabled) {
            (false, false) => true,
            (enabled, _) => service.is_enabled() == enabled,
        }
    }
}

/// Runs it.
///
/// # Errors
/// A folder cannot be read.
pub fn run(args: &List, here: &Here) -> Answer {
    let picked = args.names.pick_or_all(service::all(here)?)?;
    let wanted = picked.services.iter().filter(|service| args.wants(service));
    let text = if args.json {
        as_json(wanted)
    } else if args.enabled || args.disabled || args.names_only {
        wanted.fold(String::new(), |text, service| text + &service.name + "\n")
    } else {
        as_table(wanted, here)
    };
    here.screen.put(&text)?;
    Ok(picked.code(0))
}

fn as_json<'a>(services: impl Iterator<Item = &'a Service>) -> String {
    let mut text = String::new();
    for service in services {
        let object = json!({
            "name": service.name,
            "enabled": service.is_enabled(),
            "participant": service.is_participant,
            "origin": service.origin.word(),
            "directory": service.dir.to_string_lossy(),
        });
        let _ = writeln!(text, "{object}");
    }
    text
}

fn as_table<'a>(services: impl Iterator<Item = &'a Service>, here: &Here) -> String {
    let columns =
        ["NAME", "BOOT", "ORIGIN"].map(Column::new).into_iter().chain([Column::text("DIRECTORY")]);
    let mut table = Table::new(&columns.collect::<Vec<_>>());
    for service in services {
        let (boot, tone) =
            if service.is_enabled() { ("enabled", Tone::Good) } else { ("disabled", Tone::Faint) };
        table.add([
            (service.name.as_str(), Tone::Plain),
            (boot, tone),
            (service.origin.word(), Tone::Plain),
            (&service.dir.to_string_lossy(), Tone::Faint),
        ]);
    }
    table.lines_of("services", &here.screen)
}
