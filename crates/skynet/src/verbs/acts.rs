//! `skynet acts`: who asked for what.

use crate::failure::Answer;
use crate::here::Here;
use crate::items::{self, pick};
use crate::screen::{Column, Table, Tone};
use crate::store;
use clap::Args;
use serde_json::json;
use std::fmt::Write;
use std::time::Duration;
use sys::account;
use sys::linux::local;
use work::read::Act;

/// Shows what was asked for, by whom and when.
///
/// Of cancels, requeues, what was done to dead items, notes, rules and labels.
#[derive(Debug, Args)]
pub struct Acts {
    /// Only of these processes (wfid) or jobs (job-NUMBER), or patterns.
    #[arg(value_name = "WFID|JOB")]
    names: Vec<String>,
    /// The last so many.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    lines: u32,
    /// An object a line: at, uid, by, what, queue, job, wfid, detail, rule.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// The store cannot be read.
pub fn run(args: &Acts, here: &Here) -> Answer {
    let (acts, code) = if args.names.is_empty() {
        let reader = store::read(here)?;
        let mut acts = reader.map_or(Ok(Vec::new()), |reader| reader.last_acts(args.lines))?;
        acts.reverse();
        (acts, 0)
    } else {
        let reader = items::reader(here)?;
        let picked = pick::pick(&reader, &args.names)?;
        let mut acts = Vec::new();
        for job in picked.named.iter().flat_map(|named| &named.jobs) {
            acts.extend(reader.acts(job.id)?);
        }
        acts.sort_by_key(|act| act.at);
        acts.drain(..acts.len().saturating_sub(args.lines as usize));
        (acts, picked.code())
    };
    let text = if args.json { as_json(&acts) } else { as_table(&acts, here) };
    here.screen.put(&text)?;
    Ok(code)
}

/// Returns who it was: the name that was kept, else the one that the id has now.
fn name(act: &Act) -> String {
    let kept = Some(act.by.name.clone()).filter(|name| !name.is_empty());
    let now =
        || account::name_of(act.by.uid).map(|name| String::from_utf8_lossy(&name).into_owned());
    kept.or_else(now).unwrap_or_else(|| act.by.uid.to_string())
}

fn as_json(acts: &[Act]) -> String {
    let mut text = String::new();
    for act in acts {
        let object = json!({
            "at": Duration::from_micros(act.at.0.unsigned_abs()).as_secs_f64(),
            "uid": act.by.uid,
            "by": name(act),
            "what": act.what,
            "queue": act.queue,
            "job": act.job.map(|job| job.0),
            "wfid": act.wfid,
            "detail": act.detail,
            "rule": act.rule.map(|rule| rule.0),
        });
        let _ = writeln!(text, "{object}");
    }
    text
}

fn as_table(acts: &[Act], here: &Here) -> String {
    let heads = ["WHEN", "WHO", "WHAT", "QUEUE"].map(Column::new);
    let rest = [Column::text("JOB"), Column::text("MORE")];
    let mut table = Table::new(&[&heads[..], &rest].concat());
    for act in acts {
        let at = local::at(act.at.0.div_euclid(1_000_000)).unwrap_or_default();
        let at = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
            at.year, at.month, at.day, at.hour, at.minute, at.second
        );
        let job = act.job.map(|job| format!("job-{}", job.0));
        let wfid = act.wfid.clone().filter(|wfid| Some(wfid) != job.as_ref());
        let job = [job, wfid].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let more = act.detail.clone().unwrap_or_default();
        let cells = [at, name(act), act.what.clone(), act.queue.clone(), job, more];
        table.add(cells.map(|cell| (cell, Tone::Plain)));
    }
    table.lines_of("acts", &here.screen)
}
