//! `skynet label`: whose turn comes first.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::items::act;
use crate::items::report::{About, Report};
use crate::screen::{Column, Table, Tone};
use crate::store;
use clap::{Args, Subcommand};
use exo::control::Request;
use serde_json::json;
use std::fmt::Write;
use work::name;
use work::read::Label as Known;

/// Shows labels of items, and says which come first.
///
/// In each queue, items of the label with the highest priority are taken first, also those that wait
/// already. Items without a label have priority 0; those of labels without one come last.
#[derive(Debug, Args)]
pub struct Label {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows them, in the order in which their items are taken.
    List {
        /// An object a line: label, priority, active, waiting, later, in-hand.
        #[arg(long)]
        json: bool,
    },
    /// Gives one a priority.
    Set {
        /// Its name.
        #[arg(value_name = "LABEL", value_parser = label)]
        label: String,
        /// A whole number, the highest is first.
        #[arg(value_name = "PRIORITY", allow_negative_numbers = true)]
        priority: i32,
        /// An object: name, ok, result or error.
        #[arg(long)]
        json: bool,
    },
    /// Takes priorities back: items of these labels come last.
    Drop {
        /// Their names.
        #[arg(value_name = "LABEL", required = true)]
        labels: Vec<String>,
        /// An object a line: name, ok, result or error.
        #[arg(long)]
        json: bool,
    },
}

impl Label {
    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self.what, What::List { .. })
    }
}

fn label(text: &str) -> Result<String, String> {
    match name::label_flaw(text) {
        Some(flaw) => Err(format!("it {flaw}")),
        None => Ok(text.to_owned()),
    }
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or nobody can change it.
pub fn run(args: &Label, here: &Here) -> Answer {
    match &args.what {
        What::List { json } => list(here, *json),
        What::Set { label, priority, json } => set(label, *priority, here, *json),
        What::Drop { labels, json } => take_back(labels, here, *json),
    }
}

fn set(label: &str, priority: i32, here: &Here, is_json: bool) -> Answer {
    // Who may not is told who may.
    store::read(here)?;
    let mut report = Report::new(here, is_json);
    let about = About { name: Some(format!("label {label}")), ..About::default() };
    let request = |_| Request::LabelSet { label: label.to_owned(), priority };
    match act::one(here, &request)? {
        Ok(_) => report.done(&about, "set", &format!("priority {priority}")),
        Err(why) => report.failed(&about, &why),
    }
    Ok(report.code(false))
}

fn take_back(labels: &[String], here: &Here, is_json: bool) -> Answer {
    let known = labels_of(here)?;
    let all = labels.iter().map(|label| {
        let is_it = |known: &Known| known.name == *label && known.priority.is_some();
        let is_known = !label.is_empty() && known.iter().any(is_it);
        let unknown = format!("no label {label} has a priority; label list shows which do");
        let request = Request::LabelDrop { label: label.clone() };
        (format!("label {label}"), request, (!is_known).then_some(unknown))
    });
    act::take_back(here, is_json, all)
}

fn labels_of(here: &Here) -> Result<Vec<Known>, Failure> {
    Ok(store::read(here)?.map_or(Ok(Vec::new()), |reader| reader.labels())?)
}

fn list(here: &Here, is_json: bool) -> Answer {
    let labels = labels_of(here)?;
    let text = if is_json { as_json(&labels) } else { as_table(&labels, here) };
    here.screen.put(&text)?;
    Ok(0)
}

fn as_json(labels: &[Known]) -> String {
    let mut text = String::new();
    for label in labels {
        let object = json!({
            "label": label.name,
            "priority": label.priority,
            "active": label.active,
            "waiting": label.waiting,
            "later": label.later,
            "in-hand": label.in_hand,
        });
        let _ = writeln!(text, "{object}");
    }
    text
}

fn as_table(labels: &[Known], here: &Here) -> String {
    let columns = [
        Column::text("LABEL"),
        Column::number("PRIORITY"),
        Column::number("WAITING"),
        Column::number("LATER"),
        Column::number("IN HAND"),
    ];
    let mut table = Table::new(&columns);
    for label in labels {
        // What is not active is not taken.
        let tone = if label.active { Tone::Plain } else { Tone::Faint };
        let name = if label.name.is_empty() { "-" } else { &*label.name };
        let priority = label.priority.map_or_else(|| "-".to_owned(), |it| it.to_string());
        let counts = [label.waiting, label.later, label.in_hand].map(|count| count.to_string());
        let cells = [name.to_owned(), priority].into_iter().chain(counts);
        table.add(cells.map(|cell| (cell, tone)));
    }
    table.lines_of("labels", &here.screen)
}
