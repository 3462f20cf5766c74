//! `skynet job`: work items and how they stand.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::json_text;
use crate::moment;
use crate::past::whole::{self, Items, Whole, asked};
use crate::past::{end_words, object, queues, state_word};
use crate::screen::{Column, Screen, Table, Tone, clean, facts};
use crate::store;
use clap::{Args, Subcommand, ValueEnum};
use std::fmt::Write;
use work::read::{Job, Which};
use work::{JobId, Reader};

/// Lines of an item that are shown.
const LINES: usize = 100;

/// Shows jobs: work items in the store, and how they stand.
#[derive(Debug, Args)]
pub struct Jobs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Show(Show),
}

/// Lists jobs, the newest first; of those in a state that is an end, the one that ended last.
#[derive(Debug, Args)]
struct List {
    /// Only of these participants.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Only those in this state.
    #[arg(long, value_enum, default_value_t = State::All)]
    state: State,
    /// At most so many, of each participant that is named.
    #[arg(short, default_value_t = 20, value_name = "JOBS")]
    n: u32,
    /// An object a line.
    #[arg(long)]
    json: bool,
}

/// Shows a job: what it is, why it waits, its attempts, and its item.
#[derive(Debug, Args)]
struct Show {
    /// A job (its number, or job-NUMBER), or a process, all of whose jobs are shown.
    #[arg(value_name = "JOB|WFID")]
    name: String,
    /// The item alone, byte for byte; of a process that has one job.
    #[arg(long, conflicts_with = "json")]
    item: bool,
    /// An object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    All,
    Hold,
    New,
    Ready,
    Run,
    Cancelling,
    Done,
    Failed,
    Cancelled,
}

impl State {
    const fn which(self) -> Which {
        match self {
            Self::All => Which::All,
            Self::Hold => Which::Hold,
            Self::New => Which::New,
            Self::Ready => Which::Ready,
            Self::Run => Which::Run,
            Self::Cancelling => Which::Cancelling,
            Self::Done => Which::Done,
            Self::Failed => Which::Failed,
            Self::Cancelled => Which::Cancelled,
        }
    }
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or there is no such job.
pub fn run(args: &Jobs, here: &Here) -> Answer {
    let reader = store::read(here)?;
    match &args.what {
        What::List(list) => put_list(list, reader.as_ref(), here),
        What::Show(show) => put_jobs(show, reader.as_ref(), here),
    }
}

fn put_list(list: &List, reader: Option<&Reader>, here: &Here) -> Answer {
    let (mut jobs, mut code) = (Vec::new(), 0);
    let which = list.state.which();
    if list.names.is_empty() {
        if let Some(reader) = reader {
            jobs = reader.listed(which, None, list.n)?;
        }
    } else {
        let known = queues::known(reader)?;
        let picked = queues::pick(&list.names, &known, here)?;
        code = picked.code(&known);
        for queue in &picked.queues {
            if let Some(reader) = reader {
                jobs.extend(reader.listed(which, Some(queue), list.n)?);
            }
        }
    }
    if list.json {
        for job in &jobs {
            here.screen.put(&object::line(&object::of_job(job, None)))?;
        }
    } else {
        here.screen.put(&table(&jobs, &here.screen))?;
    }
    Ok(code)
}

/// Returns jobs in a table.
pub(super) fn table(jobs: &[Job], screen: &Screen) -> String {
    let columns = [
        Column::number("JOB"),
        Column::text("PARTICIPANT"),
        Column::text("WFID"),
        Column::new("STATE"),
        Column::number("FAULT"),
        Column::number("TRIES"),
        Column::new("CHANGED"),
    ];
    let mut table = Table::new(&columns);
    let now = moment::now();
    for job in jobs {
        let state = state_word(job);
        let tone = match state {
            "done" => Tone::Good,
            "failed" => Tone::Bad,
            "ready" => Tone::Plain,
            _ => Tone::Notable,
        };
        let fault = job.subject.fault.0;
        table.add([
            (job.id.0.to_string(), Tone::Plain),
            (job.queue.clone(), Tone::Plain),
            (job.wfid.clone(), Tone::Plain),
            (state.to_owned(), tone),
            (if fault == 0 { String::new() } else { fault.to_string() }, tone),
            (job.tries.to_string(), Tone::Plain),
            (moment::short(job.changed, now), Tone::Plain),
        ]);
    }
    table.lines_of("jobs", screen)
}

/// Finds the jobs of a name: a number as the list has it, `job-NUMBER`, or a process.
fn find(name: &str, reader: Option<&Reader>) -> Result<Vec<Job>, Failure> {
    let unknown = || Failure::unknown(format!("no job, and no process, {name} is in the store"));
    let reader = reader.ok_or_else(unknown)?;
    if let Some(number) = JobId::of_process(name).or_else(|| name.parse().ok().map(JobId))
        && let Some(job) = reader.job(number)?
    {
        return Ok(vec![job]);
    }
    let jobs = reader.jobs_of(name)?;
    if jobs.is_empty() { Err(unknown()) } else { Ok(jobs) }
}

fn put_jobs(show: &Show, reader: Option<&Reader>, here: &Here) -> Answer {
    let jobs = find(&show.name, reader)?;
    let Some(reader) = reader else { return Ok(0) };
    if show.item {
        let [job] = jobs.as_slice() else {
            let line = format!("{} has {} jobs; name one by its number", show.name, jobs.len());
            return Err(Failure::refused(line));
        };
        let item = reader.item(job.id)?.unwrap_or_default();
        here.screen.put_bytes(&item)?;
        return Ok(0);
    }
    for (i, job) in jobs.into_iter().enumerate() {
        let Some(whole) = whole::read(reader, job, Items::With)? else { continue };
        let text = if show.json {
            whole.line()
        } else {
            let gap = if i > 0 { "\n" } else { "" };
            gap.to_owned() + &in_depth(&whole, &here.screen)
        };
        here.screen.put(&text)?;
    }
    Ok(0)
}

fn in_depth(whole: &Whole, screen: &Screen) -> String {
    let mut out = facts(whole.facts());
    for flaw in &whole.flaws {
        let _ = writeln!(out, "{:<12} {}", "damaged", screen.paint(&clean(flaw), Tone::Bad));
    }
    if !whole.attempts.is_empty() {
        out.push('\n');
        out.push_str(&attempts(whole, screen));
        for attempt in &whole.attempts {
            let text = attempt.text.clone();
            let log = attempt.log.as_ref().map(|log| format!("log {log}"));
            let said: Vec<String> = text.into_iter().chain(log).collect();
            if !said.is_empty() {
                let _ = writeln!(out, "attempt {}: {}", attempt.number, clean(&said.join("; ")));
            }
        }
    }
    if !whole.acts.is_empty() {
        out.push('\n');
    }
    for act in &whole.acts {
        let _ = writeln!(out, "{}  {}", moment::full(act.at), clean(&asked(act)));
    }
    if let Some(item) = &whole.item {
        out.push('\n');
        let lines = json_text::lines(item);
        for line in lines.iter().take(LINES) {
            let _ = writeln!(out, "{line}");
        }
        if lines.len() > LINES {
            let left = lines.len() - LINES;
            let id = whole.job.id.0;
            let _ = writeln!(out, "... and {left} lines more: skynet job show --item {id}");
        }
    }
    out
}

fn attempts(whole: &Whole, screen: &Screen) -> String {
    let columns = [
        Column::number("ATTEMPT"),
        Column::text("INSTANCE"),
        Column::new("BEGUN"),
        Column::number("TOOK"),
        Column::text("END"),
        Column::number("CPU"),
        Column::number("KIB"),
    ];
    let mut table = Table::new(&columns);
    let now = moment::now();
    for attempt in &whole.attempts {
        let took = moment::span(moment::between(attempt.begun, attempt.ended.unwrap_or(now)));
        let cpu = attempt.cpu_us.map(|us| moment::span(us.unsigned_abs()));
        table.add([
            (attempt.number.to_string(), Tone::Plain),
            (attempt.instance.clone(), Tone::Plain),
            (moment::short(attempt.begun, now), Tone::Plain),
            (took, Tone::Plain),
            (end_words(attempt.how.as_deref(), attempt.fault), Tone::Plain),
            (cpu.unwrap_or_default(), Tone::Plain),
            (attempt.peak_kib.map(|kib| kib.to_string()).unwrap_or_default(), Tone::Plain),
        ]);
    }
    table.lines(screen, true)
}
