//! `skynet failure`: failures with the same cause.

use crate::failure::Answer;
use crate::here::Here;
use crate::items::note::{self, Note};
use crate::moment;
use crate::past::{classes, end_words, object, queues};
use crate::screen::{Column, Table, Tone, clean, facts};
use crate::store;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write;
use work::Reader;
use work::read::{Class, Entry};

/// Lines of a trace that are shown, from its end.
const FRAMES: usize = 12;

/// Shows failures with the same cause.
#[derive(Debug, Args)]
pub struct Failures {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
    Note(Note),
}

/// Lists failures by their signature, the one that was last first.
#[derive(Debug, Args)]
struct List {
    /// Only of these participants.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// An object a line.
    #[arg(long)]
    json: bool,
}

/// Shows one class of failures: its last jobs, what they said, and where that stands in the log.
#[derive(Debug, Args)]
struct Show {
    /// The word in the first column of the list, the signature, or a piece of it.
    #[arg(value_name = "FAILURE")]
    name: String,
    /// So many of its last jobs.
    #[arg(short, default_value_t = 3, value_name = "JOBS")]
    n: u32,
    /// One object: the class, and its jobs.
    #[arg(long)]
    json: bool,
}

impl Failures {
    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self.what, What::List(_) | What::Show(_))
    }
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or there is no such failure.
pub fn run(args: &Failures, here: &Here) -> Answer {
    let reader = store::read(here)?;
    let classes = reader.as_ref().map(Reader::classes).transpose()?.unwrap_or_default();
    match &args.what {
        What::List(list) => put_list(list, &classes, reader.as_ref(), here),
        What::Note(note) => note::put(note, classes::find(&classes, &note.name)?, here),
        What::Show(show) => {
            let class = classes::find(&classes, &show.name)?;
            let entries = match &reader {
                Some(reader) => reader.entries_of_class(class, show.n)?,
                None => Vec::new(),
            };
            let text = if show.json {
                as_object(class, &entries)
            } else {
                in_depth(class, &entries, reader.as_ref(), here)
            };
            here.screen.put(&text)?;
            Ok(0)
        }
    }
}

fn put_list(list: &List, all: &[Class], reader: Option<&Reader>, here: &Here) -> Answer {
    let mut code = 0;
    let mut classes: Vec<&Class> = all.iter().collect();
    if !list.names.is_empty() {
        let known = queues::known(reader)?;
        let picked = queues::pick(&list.names, &known, here)?;
        code = picked.code(&known);
        classes.retain(|class| picked.queues.contains(&class.queue));
    }
    if list.json {
        for class in classes {
            here.screen.put(&object::line(&object_of(class)))?;
        }
        return Ok(code);
    }
    let numbers = [Column::new("FAILURE"), Column::number("COUNT")];
    let times = [Column::new("FIRST"), Column::new("LAST")];
    let rest =
        [Column::text("PARTICIPANT"), Column::number("CODE"), Column::end_of_text("SIGNATURE")];
    let mut table = Table::new(&[&numbers[..], &times, &rest].concat());
    let now = moment::now();
    for class in &classes {
        table.add([
            (classes::id(class), Tone::Plain),
            (class.count.to_string(), Tone::Plain),
            (moment::short(class.first, now), Tone::Faint),
            (moment::short(class.last, now), Tone::Plain),
            (class.queue.clone(), Tone::Plain),
            (class.code.0.to_string(), Tone::Plain),
            (class.signature.clone(), Tone::Plain),
        ]);
    }
    here.screen.put(&table.lines_of("failures", &here.screen))?;
    Ok(code)
}

fn object_of(class: &Class) -> serde_json::Value {
    json!({
        "failure": classes::id(class),
        "participant": class.queue,
        "signature": class.signature,
        "code": class.code.0,
        "text": class.text,
        "count": class.count,
        "first": moment::utc(class.first),
        "last": moment::utc(class.last),
        "owner": class.owner,
        "bug": class.bug,
    })
}

fn as_object(class: &Class, entries: &[Entry]) -> String {
    let mut object = object_of(class);
    let entries: Vec<_> = entries.iter().map(object::of_entry).collect();
    object["attempts"] = json!(entries);
    object::line(&object)
}

fn in_depth(class: &Class, entries: &[Entry], reader: Option<&Reader>, here: &Here) -> String {
    let mut out = facts([
        ("failure", classes::id(class)),
        ("participant", class.queue.clone()),
        ("signature", class.signature.clone()),
        ("code", class.code.0.to_string()),
        ("text", class.text.clone()),
        ("count", class.count.to_string()),
        ("first", moment::full(class.first)),
        ("last", moment::full(class.last)),
        ("owner", class.owner.clone().unwrap_or_default()),
        ("bug", class.bug.clone().unwrap_or_default()),
    ]);
    for entry in entries {
        out.push('\n');
        of_entry(entry, reader, here, &mut out);
    }
    out
}

fn of_entry(entry: &Entry, reader: Option<&Reader>, here: &Here, out: &mut String) {
    let attempt = &entry.attempt;
    let ended = attempt.ended.unwrap_or(attempt.begun);
    let head = format!(
        "{}  {}, job {}, attempt {}",
        moment::full(ended),
        clean(&entry.wfid),
        entry.job.0,
        attempt.number
    );
    let _ = writeln!(out, "{}", here.screen.paint(&head, Tone::Heading));
    let took = moment::span(moment::between(attempt.begun, ended));
    let how = end_words(attempt.how.as_deref(), attempt.fault);
    let _ = writeln!(out, "  {how} after {took}, by {}", clean(&attempt.instance));
    if let Some(text) = &attempt.text {
        let _ = writeln!(out, "  {}", clean(text));
    }
    let output = reader.map(|reader| reader.output(entry.job, attempt.number));
    // An answer that is damaged has no trace; that is told where the job is shown.
    if let Some(Ok(Some(output))) = output {
        let trace = trace(&output);
        let first = trace.len().saturating_sub(FRAMES);
        for line in trace.iter().skip(first).flat_map(|line| line.lines()) {
            let _ = writeln!(out, "    {}", here.screen.paint(&clean(line), Tone::Faint));
        }
    }
    if let Some(log) = &attempt.log {
        let _ = writeln!(out, "  its log begins at {}", clean(log));
    }
}

/// Returns the trace of the error in an answer.
fn trace(output: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Item {
        error: Error,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        trace: Vec<String>,
    }
    serde_json::from_slice::<Item>(output).map(|item| item.error.trace).unwrap_or_default()
}
