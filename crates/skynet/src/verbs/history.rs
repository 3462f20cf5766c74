//! `skynet history`: what participants did, and what happened to a process.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::moment;
use crate::past::object::{self, seconds};
use crate::past::tally::{Counts, Day, Tally, tally};
use crate::past::whole::{self, Items, Whole};
use crate::past::{When, path, queues};
use crate::screen::{Column, Table, Tone, clean};
use crate::store;
use clap::Args;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use work::Reader;

/// Shows what participants did, or the path of a process.
///
/// It tells how many items are done, failed and cancelled, how long attempts took, and, of those that
/// are named, each day and the failures by their signature.
///
/// Of a process instead of a participant it shows the path across participants: everything that
/// happened to it, in the order of time.
#[derive(Debug, Args)]
pub struct History {
    /// Participants by name, or by a pattern with *, ? and [...]; or the one process that no
    /// participant is called like.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// The path of this process.
    #[arg(long, value_name = "WFID", conflicts_with_all = ["names", "since", "until"])]
    wfid: Option<String>,
    #[command(flatten)]
    when: When,
    /// Of a process: items as they came and as they went, too.
    #[arg(long)]
    items: bool,
    /// An object a line, for each participant or for each job of the process.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// The store cannot be read.
pub fn run(args: &History, here: &Here) -> Answer {
    let reader = store::read(here)?;
    if let Some(wfid) = &args.wfid {
        return match path_of(wfid, reader.as_ref(), args)? {
            Some(jobs) => put_path(wfid, &jobs, args, here),
            None => Err(Failure::unknown(format!("no process {wfid} has a job here"))),
        };
    }
    let known = queues::known(reader.as_ref())?;
    if args.names.is_empty() {
        refuse_items(args)?;
        put_all(&known, reader.as_ref(), args, here)?;
        return Ok(0);
    }
    let picked = queues::pick(&args.names, &known, here)?;
    if let ([name], true) = (args.names.as_slice(), picked.queues.is_empty())
        && let Some(jobs) = path_of(name, reader.as_ref(), args)?
    {
        return put_path(name, &jobs, args, here);
    }
    refuse_items(args)?;
    let code = picked.code(&known);
    put_each(&picked.queues, reader.as_ref(), args, here)?;
    Ok(code)
}

fn refuse_items(args: &History) -> Result<(), Failure> {
    if args.items {
        return Err(Failure::usage("--items is for the path of a process: name one with --wfid"));
    }
    Ok(())
}

fn path_of(
    wfid: &str,
    reader: Option<&Reader>,
    args: &History,
) -> Result<Option<Vec<Whole>>, Failure> {
    let Some(reader) = reader else { return Ok(None) };
    let items = if args.items { Items::With } else { Items::Without };
    let mut jobs = Vec::new();
    for job in reader.jobs_of(wfid)? {
        jobs.extend(whole::read(reader, job, items)?);
    }
    Ok((!jobs.is_empty()).then_some(jobs))
}

fn put_path(wfid: &str, jobs: &[Whole], args: &History, here: &Here) -> Answer {
    if args.json {
        for job in jobs {
            here.screen.put(&job.line())?;
        }
    } else {
        here.screen.put(&path::text(wfid, jobs, &here.screen))?;
    }
    Ok(0)
}

fn sum_up(queue: &str, reader: Option<&Reader>, args: &History) -> Result<Tally, Failure> {
    reader.map_or_else(|| Ok(Tally::default()), |reader| tally(reader, queue, args.when.span()))
}

/// A line for each participant.
fn put_all(
    queues: &[String],
    reader: Option<&Reader>,
    args: &History,
    here: &Here,
) -> Result<(), Failure> {
    let mut table = counts_table("PARTICIPANT");
    for queue in queues {
        let tally = sum_up(queue, reader, args)?;
        if args.json {
            here.screen.put(&line(queue, &tally))?;
        } else {
            add_counts(&mut table, queue, tally.counts, Tally::shown(&tally.times));
        }
    }
    if args.json {
        return Ok(());
    }
    here.screen.put(&table.lines_of("history", &here.screen))
}

/// Each participant in depth.
fn put_each(
    queues: &[String],
    reader: Option<&Reader>,
    args: &History,
    here: &Here,
) -> Result<(), Failure> {
    for (i, queue) in queues.iter().enumerate() {
        let tally = sum_up(queue, reader, args)?;
        let text = if args.json {
            line(queue, &tally)
        } else {
            let gap = if i > 0 { "\n" } else { "" };
            gap.to_owned() + &in_depth(queue, &tally, args, here)
        };
        here.screen.put(&text)?;
    }
    Ok(())
}

fn in_depth(queue: &str, tally: &Tally, args: &History, here: &Here) -> String {
    let counts = tally.counts;
    let mut out = format!("{}{}", clean(queue), args.when.words());
    out = here.screen.paint(&out, Tone::Heading).into_owned();
    let _ = write!(
        out,
        "\n  jobs: {} done, {} failed, {} cancelled\n  attempts: {}",
        counts.done, counts.failed, counts.cancelled, counts.attempts
    );
    for (count, word) in [
        (counts.retried, "with a fault below 10"),
        (counts.lost, "lost"),
        (counts.interrupted, "interrupted"),
    ] {
        if count > 0 {
            let _ = write!(out, ", {count} {word}");
        }
    }
    out.push('\n');
    let times = Tally::shown(&tally.times).map(span);
    if let [Some(half), Some(most), Some(longest)] = times {
        let _ = writeln!(out, "  they took: p50 {half}, p95 {most}, longest {longest}");
    }
    if !tally.days.is_empty() {
        let mut table = counts_table("DAY");
        for (day, Day { counts, times }) in &tally.days {
            add_counts(&mut table, day, *counts, *times);
        }
        out.push('\n');
        out.push_str(&table.lines(&here.screen, true));
    }
    if !tally.failures.is_empty() {
        let columns = [Column::number("FAILURES"), Column::new("LAST"), Column::number("CODE")];
        let columns: Vec<_> =
            columns.into_iter().chain([Column::end_of_text("SIGNATURE")]).collect();
        let mut table = Table::new(&columns);
        let now = moment::now();
        for (signature, failures) in tally.failures() {
            table.add([
                (failures.count.to_string(), Tone::Plain),
                (moment::short(failures.last, now), Tone::Plain),
                (failures.code.0.to_string(), Tone::Plain),
                (signature.to_owned(), Tone::Plain),
            ]);
        }
        out.push('\n');
        out.push_str(&table.lines(&here.screen, true));
    }
    out
}

fn span(micros: Option<u64>) -> Option<String> {
    micros.map(moment::span)
}

fn counts_table(first: &'static str) -> Table {
    let heads = ["DONE", "FAILED", "CANCELLED", "ATTEMPTS", "P50", "P95", "LONGEST"];
    let numbers = heads.map(Column::number);
    Table::new(&[Column::text(first)].into_iter().chain(numbers).collect::<Vec<_>>())
}

fn add_counts(table: &mut Table, name: &str, counts: Counts, times: [Option<u64>; 3]) {
    let bad = |count: u64| if count > 0 { Tone::Bad } else { Tone::Plain };
    let mut cells = vec![
        (name.to_owned(), Tone::Plain),
        (counts.done.to_string(), Tone::Plain),
        (counts.failed.to_string(), bad(counts.failed)),
        (counts.cancelled.to_string(), Tone::Plain),
        (counts.attempts.to_string(), Tone::Plain),
    ];
    cells.extend(times.map(|micros| (span(micros).unwrap_or_default(), Tone::Plain)));
    table.add(cells);
}

fn line(queue: &str, tally: &Tally) -> String {
    let mut object = Map::new();
    object.insert("participant".to_owned(), queue.into());
    fill(&mut object, tally.counts, Tally::shown(&tally.times));
    let days = tally.days.iter().map(|(day, Day { counts, times })| {
        let mut object = Map::new();
        object.insert("day".to_owned(), day.as_str().into());
        fill(&mut object, *counts, *times);
        Value::from(object)
    });
    object.insert("days".to_owned(), days.collect());
    let failures = tally.failures().into_iter().map(|(signature, failures)| {
        json!({
            "signature": signature,
            "count": failures.count,
            "code": failures.code.0,
            "last": moment::utc(failures.last),
        })
    });
    object.insert("failures".to_owned(), failures.collect());
    object::line(&object)
}

fn fill(object: &mut Map<String, Value>, counts: Counts, times: [Option<u64>; 3]) {
    let Counts { done, failed, cancelled, attempts, retried, interrupted, lost } = counts;
    let counts = [
        ("done", done),
        ("failed", failed),
        ("cancelled", cancelled),
        ("attempts", attempts),
        ("retried", retried),
        ("interrupted", interrupted),
        ("lost", lost),
    ];
    object.extend(counts.map(|(key, count)| (key.to_owned(), count.into())));
    let times = ["p50", "p95", "longest"].into_iter().zip(times);
    object.extend(times.map(|(key, micros)| (key.to_owned(), micros.map(seconds).into())));
}
