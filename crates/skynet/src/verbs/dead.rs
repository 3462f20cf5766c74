//! `skynet dead`: items that nobody could work on.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::items::dead::{self, Ids};
use crate::json_text;
use crate::moment;
use crate::past::{object, queues, user};
use crate::screen::{Column, Table, Tone, facts};
use crate::store;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write;
use work::read::Dead;
use work::{DeadId, Reader};

/// Shows what nobody could work on; tries it again, or drops it.
///
/// Dead items are what was no item, and items that failed as often as they may.
#[derive(Debug, Args)]
pub struct DeadItems {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
    /// Has them tried again: as the jobs that they were, or as new ones where these are gone.
    Requeue(Ids),
    /// Takes them away for good.
    Drop(Ids),
}

/// Lists dead items, the newest first.
#[derive(Debug, Args)]
struct List {
    /// Only of these participants.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// At most so many, of each participant that is named.
    #[arg(short, default_value_t = 20, value_name = "ITEMS")]
    n: u32,
    /// An object a line.
    #[arg(long)]
    json: bool,
}

/// Shows a dead item: the reason, and its bytes.
#[derive(Debug, Args)]
struct Show {
    /// Its number.
    #[arg(value_name = "ID")]
    id: i64,
    /// The bytes alone, as they came.
    #[arg(long, conflicts_with = "json")]
    item: bool,
    /// One object.
    #[arg(long)]
    json: bool,
}

impl DeadItems {
    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self.what, What::List(_) | What::Show(_))
    }
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or there is no such item.
pub fn run(args: &DeadItems, here: &Here) -> Answer {
    match &args.what {
        What::List(list) => put_list(list, store::read(here)?.as_ref(), here),
        What::Show(show) => put_item(show, store::read(here)?.as_ref(), here),
        What::Requeue(ids) => dead::requeue(ids, here),
        What::Drop(ids) => dead::drop(ids, here),
    }
}

fn put_list(list: &List, reader: Option<&Reader>, here: &Here) -> Answer {
    let mut code = 0;
    let known = queues::known(reader)?;
    let mut wanted = vec![None];
    if !list.names.is_empty() {
        // What could not be recorded as a job has a queue that may have none.
        let picked = queues::pick(&list.names, &known, here)?;
        code = picked.code(&known);
        wanted = picked.queues.into_iter().map(Some).collect();
    }
    let mut dead = Vec::new();
    for queue in &wanted {
        if let Some(reader) = reader {
            dead.extend(reader.dead_heads(queue.as_deref(), list.n)?);
        }
    }
    if list.json {
        for dead in &dead {
            here.screen.put(&object::line(&object_of(dead)))?;
        }
        return Ok(code);
    }
    let columns = [
        Column::number("DEAD"),
        Column::new("SINCE"),
        Column::text("PARTICIPANT"),
        Column::number("JOB"),
        Column::number("FAULT"),
        Column::number("BYTES"),
        Column::text("REASON"),
    ];
    let mut table = Table::new(&columns);
    let now = moment::now();
    for dead in &dead {
        table.add([
            (dead.id.0.to_string(), Tone::Plain),
            (moment::short(dead.at, now), Tone::Plain),
            (dead.queue.clone(), Tone::Plain),
            (dead.job.map(|job| job.0.to_string()).unwrap_or_default(), Tone::Plain),
            (dead.fault.0.to_string(), Tone::Plain),
            (dead.size.to_string(), Tone::Plain),
            (dead.reason.clone(), Tone::Plain),
        ]);
    }
    here.screen.put(&table.lines_of("dead items", &here.screen))?;
    Ok(code)
}

fn object_of(dead: &Dead) -> Value {
    json!({
        "dead": dead.id.0,
        "participant": dead.queue,
        "job": dead.job.map(|job| job.0),
        "user": user(dead.owner),
        "fault": dead.fault.0,
        "reason": dead.reason,
        "since": moment::utc(dead.at),
        "size": dead.size,
    })
}

fn put_item(show: &Show, reader: Option<&Reader>, here: &Here) -> Answer {
    let found = reader.map(|reader| reader.dead_item(DeadId(show.id))).transpose()?.flatten();
    let Some(dead) = found else {
        return Err(Failure::unknown(dead::none(show.id)));
    };
    if show.item {
        here.screen.put_bytes(&dead.bytes)?;
    } else if show.json {
        let mut object = object_of(&dead);
        object["item"] = Value::from(String::from_utf8_lossy(&dead.bytes));
        here.screen.put(&object::line(&object))?;
    } else {
        here.screen.put(&in_depth(&dead))?;
    }
    Ok(0)
}

fn in_depth(dead: &Dead) -> String {
    let by = user(dead.owner).map(|user| format!(" by {user}")).unwrap_or_default();
    let mut out = facts([
        ("dead", dead.id.0.to_string()),
        ("participant", dead.queue.clone()),
        ("job", dead.job.map(|job| job.0.to_string()).unwrap_or_default()),
        ("fault", dead.fault.0.to_string()),
        ("reason", dead.reason.clone()),
        ("since", moment::full(dead.at)),
        ("item", format!("{} bytes{by}", dead.size)),
    ]);
    out.push('\n');
    for line in json_text::lines(&dead.bytes) {
        let _ = writeln!(out, "{line}");
    }
    out
}
