//! `skynet request`: groups of jobs.

use super::job;
use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::moment;
use crate::past::{object, stands, user};
use crate::screen::{self, Column, Table, Tone};
use crate::store;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use work::read::Request;
use work::{JobId, Reader};

/// Jobs that are read at once.
const AT_ONCE: u32 = 500;

/// Shows requests: groups of jobs that were recorded together.
#[derive(Debug, Args)]
pub struct Requests {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
}

/// Lists requests, the newest first.
#[derive(Debug, Args)]
struct List {
    /// At most so many.
    #[arg(short, default_value_t = 20, value_name = "REQUESTS")]
    n: u32,
    /// An object a line.
    #[arg(long)]
    json: bool,
}

/// Shows a request and its jobs.
#[derive(Debug, Args)]
struct Show {
    /// Its name, or its number.
    #[arg(value_name = "REQUEST")]
    name: String,
    /// An object a line: the request, then its jobs.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or there is no such request.
pub fn run(args: &Requests, here: &Here) -> Answer {
    let reader = store::read(here)?;
    match &args.what {
        What::List(list) => put_list(list, reader.as_ref(), here),
        What::Show(show) => put_request(show, reader.as_ref(), here),
    }
}

fn state(request: &Request) -> &'static str {
    stands(request.subject.state, request.subject.fault)
}

fn object_of(request: &Request, [jobs, stopped, failed]: [u64; 3]) -> Value {
    json!({
        "request": request.id.0,
        "name": request.name,
        "source": request.source,
        "label": request.label,
        "user": user(request.owner),
        "state": state(request),
        "fault": request.subject.fault.0,
        "jobs": jobs,
        "stopped": stopped,
        "with-fault": failed,
        "registered": moment::utc(request.registered),
        "changed": moment::utc(request.changed),
    })
}

fn put_list(list: &List, reader: Option<&Reader>, here: &Here) -> Answer {
    let columns = [
        Column::number("REQUEST"),
        Column::text("NAME"),
        Column::text("SOURCE"),
        Column::new("STATE"),
        Column::number("JOBS"),
        Column::number("OPEN"),
        Column::number("FAULTS"),
        Column::new("CHANGED"),
    ];
    let mut table = Table::new(&columns);
    let now = moment::now();
    let requests = reader.map_or(Ok(Vec::new()), |reader| reader.requests(list.n))?;
    for request in &requests {
        let sums = reader.map_or(Ok([0; 3]), |reader| reader.sums_of_request(request.id))?;
        if list.json {
            here.screen.put(&object::line(&object_of(request, sums)))?;
            continue;
        }
        let [jobs, stopped, failed] = sums;
        table.add([
            (request.id.0.to_string(), Tone::Plain),
            (request.name.clone(), Tone::Plain),
            (request.source.clone(), Tone::Faint),
            (state(request).to_owned(), Tone::Plain),
            (jobs.to_string(), Tone::Plain),
            (jobs.saturating_sub(stopped).to_string(), Tone::Plain),
            (failed.to_string(), if failed > 0 { Tone::Bad } else { Tone::Plain }),
            (moment::short(request.changed, now), Tone::Plain),
        ]);
    }
    if !list.json {
        here.screen.put(&table.lines_of("requests", &here.screen))?;
    }
    Ok(0)
}

fn put_request(show: &Show, reader: Option<&Reader>, here: &Here) -> Answer {
    let found = reader.map(|reader| reader.request_called(&show.name)).transpose()?.flatten();
    let (Some(request), Some(reader)) = (found, reader) else {
        return Err(Failure::unknown(format!("no request {} is in the store", show.name)));
    };
    let sums = reader.sums_of_request(request.id)?;
    if show.json {
        here.screen.put(&object::line(&object_of(&request, sums)))?;
    } else {
        here.screen.put(&facts(&request, sums))?;
    }
    let mut after = JobId(0);
    loop {
        let jobs = reader.jobs_of_request(request.id, after, AT_ONCE)?;
        let Some(last) = jobs.last() else { return Ok(0) };
        after = last.id;
        if show.json {
            for job in &jobs {
                here.screen.put(&object::line(&object::of_job(job, None)))?;
            }
        } else {
            here.screen.put(&format!("\n{}", job::table(&jobs, &here.screen)))?;
        }
    }
}

fn facts(request: &Request, [jobs, stopped, failed]: [u64; 3]) -> String {
    let by = user(request.owner).map(|user| format!(" by {user}")).unwrap_or_default();
    screen::facts([
        ("request", request.id.0.to_string()),
        ("name", request.name.clone()),
        ("source", request.source.clone()),
        ("label", request.label.clone()),
        ("state", state(request).to_owned()),
        ("jobs", format!("{jobs}, {} open, {failed} with a fault", jobs.saturating_sub(stopped))),
        ("registered", moment::full(request.registered) + &by),
        ("changed", moment::full(request.changed)),
    ])
}
