//! `skynet rule`: what is tried again by itself.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::items::act;
use crate::screen::{Column, Table, Tone};
use crate::store;
use clap::{Args, Subcommand};
use exo::control::Request;
use serde_json::json;
use std::fmt::Write;
use sys::linux::{local, time};
use work::read::Rule as Known;
use work::units::Span;

/// Shows and drops rules by which what fails is tried again.
///
/// They are for jobs that fail in a certain way; requeue --auto makes them.
#[derive(Debug, Args)]
pub struct Rule {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Shows them: what each is for, how often it was used, when it ends.
    List {
        /// An object a line: rule, queue, signature, limit, delay, until, used, uid, by, made.
        #[arg(long)]
        json: bool,
    },
    /// Takes them back.
    Drop {
        /// Their numbers.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<i64>,
        /// An object a line: name, ok, result or error.
        #[arg(long)]
        json: bool,
    },
}

impl Rule {
    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self.what, What::List { .. })
    }
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or nobody can change it.
pub fn run(args: &Rule, here: &Here) -> Answer {
    match &args.what {
        What::List { json } => list(here, *json),
        What::Drop { ids, json } => take_back(ids, here, *json),
    }
}

fn take_back(ids: &[i64], here: &Here, is_json: bool) -> Answer {
    let known = rules(here)?;
    let all = ids.iter().map(|id| {
        let is_known = known.iter().any(|rule| rule.id.0 == *id);
        let unknown = format!("no rule {id}; rule list shows which there are");
        (format!("rule {id}"), Request::RuleDrop { rule: *id }, (!is_known).then_some(unknown))
    });
    act::take_back(here, is_json, all)
}

fn rules(here: &Here) -> Result<Vec<Known>, Failure> {
    Ok(store::read(here)?.map_or(Ok(Vec::new()), |reader| reader.rules())?)
}

fn list(here: &Here, is_json: bool) -> Answer {
    let rules = rules(here)?;
    let text = if is_json { as_json(&rules) } else { as_table(&rules, here) };
    here.screen.put(&text)?;
    Ok(0)
}

fn as_json(rules: &[Known]) -> String {
    let mut text = String::new();
    for rule in rules {
        let object = json!({
            "rule": rule.id.0,
            "queue": rule.queue,
            "signature": rule.signature,
            "limit": rule.limit,
            "delay": rule.delay.as_secs_f64(),
            "until": rule.until.0 / 1_000_000,
            "used": rule.used,
            "uid": rule.by.uid,
            "by": rule.by.name,
            "made": rule.made.0 / 1_000_000,
        });
        let _ = writeln!(text, "{object}");
    }
    text
}

fn as_table(rules: &[Known], here: &Here) -> String {
    let columns = [
        Column::number("RULE"),
        Column::new("QUEUE"),
        Column::number("USED"),
        Column::number("LIMIT"),
        Column::new("DELAY"),
        Column::new("UNTIL"),
        Column::new("BY"),
        Column::end_of_text("SIGNATURE"),
    ];
    let mut table = Table::new(&columns);
    let now = time::wall().0;
    for rule in rules {
        let until = rule.until.0 / 1_000_000;
        let tone = if until <= now { Tone::Faint } else { Tone::Plain };
        let by =
            if rule.by.name.is_empty() { rule.by.uid.to_string() } else { rule.by.name.clone() };
        table.add([
            (rule.id.0.to_string(), tone),
            (rule.queue.clone(), tone),
            (rule.used.to_string(), tone),
            (rule.limit.to_string(), tone),
            (Span(rule.delay).to_string(), tone),
            (date(until), tone),
            (by, tone),
            (rule.signature.clone(), tone),
        ]);
    }
    table.lines_of("rules", &here.screen)
}

/// Returns a moment in local time.
fn date(unix: i64) -> String {
    let Some(at) = local::at(unix) else { return unix.to_string() };
    format!("{:04}-{:02}-{:02} {:02}:{:02}", at.year, at.month, at.day, at.hour, at.minute)
}
