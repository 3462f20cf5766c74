//! What is known of one service, for people.

use super::asking::{Exo, Status};
use super::depth::{self, Depth, Part};
use super::lines::Said;
use super::state::State;
use super::words;
use crate::screen::{Column, Screen, Table, Tone, clean};
use crate::wrap::wrapped;
use ondisk::tai64n::Stamp;
use std::fmt::Write;
use sys::linux::time::SECOND;
use work::read::Failure;

/// Where the facts begin.
const INDENT: usize = 14;

/// Returns the page.
#[must_use]
pub fn text(depth: &Depth<'_>, screen: &Screen) -> String {
    let mut out = head(depth, screen);
    for (name, text, tone) in facts(depth) {
        let room = screen.width.map(|width| width.saturating_sub(INDENT));
        let lines = wrapped(&clean(&text), room);
        for (i, line) in lines.iter().enumerate() {
            let name = if i == 0 { name } else { "" };
            let blank = " ".repeat(INDENT - 2 - name.len());
            let _ = writeln!(out, "  {name}{blank}{}", screen.paint(line, tone));
        }
    }
    if !depth.parts.is_empty() {
        out += "\n";
        out += &processes(&depth.parts, screen);
    }
    if !depth.failures.is_empty() {
        section(&mut out, screen, "last failures");
        for failure in &depth.failures {
            put(&mut out, screen, &failed(failure));
        }
    }
    if !depth.last_words.is_empty() {
        section(&mut out, screen, "before its last death it said");
        for said in &depth.last_words {
            put(&mut out, screen, &line(said));
        }
    }
    if !depth.said.is_empty() {
        let is_shared = depth.log.as_ref().is_some_and(|log| log.is_shared);
        let title = if is_shared { "the last lines of svscan's log" } else { "its last lines" };
        section(&mut out, screen, title);
        for said in &depth.said {
            put(&mut out, screen, &line(said));
        }
    }
    out
}

fn section(out: &mut String, screen: &Screen, title: &str) {
    let _ = writeln!(out, "\n  {}", screen.paint(&format!("{title}:"), Tone::Heading));
}

/// Puts a line, broken where it is too long.
fn put(out: &mut String, screen: &Screen, text: &str) {
    let room = screen.width.map(|width| width.saturating_sub(4));
    for (i, line) in wrapped(&clean(text), room).iter().enumerate() {
        let indent = if i == 0 { "    " } else { "      " };
        let _ = writeln!(out, "{indent}{line}");
    }
}

fn head(depth: &Depth<'_>, screen: &Screen) -> String {
    let seen = depth.seen;
    let name = clean(&seen.service.name).into_owned();
    let name = screen.paint(&name, Tone::Heading).into_owned();
    let tone = if seen.state == State::Down && seen.is_enabled {
        Tone::Notable
    } else {
        seen.state.tone()
    };
    let state = screen.paint(seen.state.word(), tone).into_owned();
    let since = seen.since().map(|since| {
        let (length, moment) = (since.seconds_until(depth.now), since.unix_seconds());
        format!(" for {}, since {}", words::span_at_length(length), words::moment(moment))
    });
    let boot = if seen.is_enabled { "enabled" } else { "disabled" };
    format!("{name}: {state}{}; {boot}\n", since.unwrap_or_default())
}

type Fact = (&'static str, String, Tone);

fn facts(depth: &Depth<'_>) -> Vec<Fact> {
    let seen = depth.seen;
    let mut facts: Vec<Fact> = Vec::new();
    let mut add = |name, text: String| facts.push((name, text, Tone::Plain));
    let service = &seen.service;
    add("directory", format!("{} ({})", service.dir.display(), service.origin.word()));
    add("log", log(depth));
    if let Some(restarts) = seen.restarts().filter(|_| seen.now.kept) {
        add("restarts", restarts.to_string());
    }
    if let (Some(exit), Some(died)) = (depth.last_exit().and_then(words::exit), depth.died()) {
        let ago = words::span_at_length(died.seconds_until(depth.now));
        add("last death", format!("{exit}, {ago} ago, at {}", words::moment(died.unix_seconds())));
    }
    if let Some(left) = depth.next_start() {
        add("next start", format!("within {left:.1}s"));
    }
    if let Some(text) = queue(depth) {
        add("queue", text);
    }
    if let Exo::Told(told) = &seen.exo {
        let Status { done, failed, cancelled, .. } = &told.status;
        let counts = format!("{done} done, {failed} failed, {cancelled} cancelled");
        add("work", format!("{counts} since it started"));
    }
    if seen.pid().is_some() {
        let used = seen.usage;
        let processes = if used.processes == 1 { "process" } else { "processes" };
        let (memory, cpu) = (words::size(used.memory), words::cpu(used.cpu));
        add("uses", format!("{memory} in {} {processes}, {cpu} of CPU", used.processes));
    }
    if let Some(trouble) = seen.trouble.as_ref().filter(|trouble| !trouble.is_past) {
        facts.push(("trouble", trouble.text.clone(), Tone::Bad));
    }
    facts.extend(depth.warnings.iter().map(|why| ("warning", why.clone(), Tone::Notable)));
    facts
}

fn log(depth: &Depth<'_>) -> String {
    let logger = match depth.seen.log {
        Some(log) if log.is_up() => {
            let half = log.half.map(|half| half.status);
            let since = half.map(|status| status.since.seconds_until(depth.now));
            format!("logger up for {}", words::span(since.unwrap_or(0)))
        }
        Some(_) => "its logger is down".to_owned(),
        // Whoever may not look into the one folder may not into the other.
        None if depth.seen.refused.is_some() => "whether a logger runs is unknown".to_owned(),
        None => "no logger of its own".to_owned(),
    };
    match &depth.log {
        Some(log) => format!("{} ({logger})", log.folder.display()),
        None => format!("none yet ({logger})"),
    }
}

fn queue(depth: &Depth<'_>) -> Option<String> {
    let queue = depth.seen.queue.as_ref()?;
    let name = depth.seen.queue_name()?;
    let mut text = format!("{name}: {} waiting", queue.waiting);
    if let Some(oldest) = &queue.oldest {
        let submitted = oldest.submitted.0.div_euclid(1_000_000);
        let waited = depth.now.unix_seconds().saturating_sub(submitted).max(0).unsigned_abs();
        let wfid = &oldest.wfid;
        let _ = write!(text, ", the oldest for {} ({wfid})", words::span_at_length(waited));
    }
    if queue.later > 0 {
        let _ = write!(text, "; {} to be tried later", queue.later);
    }
    if let Some(dead) = depth.dead.filter(|dead| *dead > 0) {
        let _ = write!(text, "; {dead} dead");
    }
    Some(text)
}

fn processes(parts: &[Part], screen: &Screen) -> String {
    let mut table = Table::new(&[
        Column::text("  PROCESS"),
        Column::number("PID"),
        Column::number("SINCE"),
        Column::number("MEM"),
        Column::number("CPU"),
        Column::text("WHAT"),
    ]);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    for part in parts {
        let has_process = part.usage.processes > 0;
        let cells = [
            format!("  {}", part.role),
            or_none(part.pid.map(|pid| pid.to_string())),
            or_none(part.age.map(|age| words::span(age / SECOND))),
            or_none(has_process.then(|| words::size(part.usage.memory))),
            or_none(has_process.then(|| words::cpu(part.usage.cpu))),
            part.what.clone(),
        ];
        table.add(cells.map(|cell| (cell, Tone::Plain)));
    }
    table.lines(screen, true)
}

fn moment(stamp: Option<Stamp>) -> String {
    stamp.map(|stamp| words::moment(stamp.unix_seconds()) + "  ").unwrap_or_default()
}

fn failed(failure: &Failure) -> String {
    let mut text = format!(
        "{}{} (job {}, attempt {})",
        moment(depth::at(failure)),
        failure.wfid,
        failure.job.0,
        failure.attempt
    );
    match (failure.code, failure.signal) {
        (_, Some(signal)) => drop(write!(text, ": signal {signal}")),
        (Some(code), None) => drop(write!(text, ": exit {code}")),
        (None, None) => {}
    }
    if let Some(fault) = failure.fault {
        let _ = write!(text, ", fault {}", fault.0);
    }
    if let Some(said) = &failure.text {
        let _ = write!(text, ": {said}");
    }
    text
}

fn line(said: &Said) -> String {
    moment(said.time) + &said.text
}
