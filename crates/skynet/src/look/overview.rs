//! A line for each service, and one for all of them.

use super::asking::Exo;
use super::processes::Usage;
use super::state::State;
use super::{COUNTED, Seen, Sight, words};
use crate::screen::{Column, Screen, Table, Tone, cut};
use daemontools::json::iso8601;
use ondisk::tai64n::Stamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Whatever has no value.
const NONE: &str = "-";

const COLUMNS: [Column; 11] = [
    Column::text("NAME"),
    Column::new("STATE"),
    Column::number("SINCE"),
    Column::number("PID"),
    Column::number("BUSY"),
    Column::number("RST"),
    Column::number("QUEUE"),
    Column::number("WAIT"),
    Column::number("MEM"),
    Column::number("CPU"),
    Column::text("LAST TROUBLE"),
];

/// Returns the table; `cpu` says what stands in the column of that name.
#[must_use]
pub fn table<'a>(
    sight: &Sight,
    services: impl Iterator<Item = &'a Seen>,
    cpu: impl Fn(&Seen) -> String,
) -> Table {
    let mut table = Table::new(&COLUMNS).dense();
    for seen in services {
        table.add(row(seen, sight.now, cpu(seen)));
    }
    table
}

fn row(seen: &Seen, now: Stamp, cpu: String) -> [(String, Tone); 11] {
    let is_off = seen.state == State::Down && !seen.is_enabled;
    let name = if is_off { Tone::Faint } else { Tone::Plain };
    let is_missed = seen.state == State::Down && seen.is_enabled;
    let state = if is_missed { Tone::Notable } else { seen.state.tone() };
    let or_none = |text: Option<String>| (text.unwrap_or_else(|| NONE.into()), Tone::Plain);
    let has_process = seen.pid().is_some();
    let restarts = seen.restarts().filter(|_| seen.now.kept);
    let trouble = seen.trouble.as_ref();
    let tone = trouble.map_or(Tone::Faint, |it| if it.is_past { Tone::Faint } else { Tone::Bad });
    let trouble = trouble.map_or_else(|| NONE.into(), |trouble| trouble.text.clone());
    [
        (seen.service.name.clone(), name),
        (seen.state.word().into(), state),
        or_none(seen.since().map(|since| words::span(since.seconds_until(now)))),
        or_none(seen.pid().map(|pid| pid.to_string())),
        or_none(busy(seen)),
        or_none(restarts.map(|restarts| restarts.to_string())),
        or_none(waiting(seen)),
        or_none(waits_for(seen, now).map(words::span)),
        or_none(has_process.then(|| words::size(seen.usage.memory))),
        or_none(has_process.then_some(cpu)),
        (trouble, tone),
    ]
}

fn busy(seen: &Seen) -> Option<String> {
    match &seen.exo {
        Exo::Silent | Exo::Refused(_) => Some("?".into()),
        _ => seen.instances().map(|(busy, all)| format!("{busy}/{all}")),
    }
}

fn waiting(seen: &Seen) -> Option<String> {
    let waiting = seen.queue.as_ref()?.waiting;
    Some(if waiting < COUNTED { waiting.to_string() } else { format!("{}k+", COUNTED / 1000) })
}

/// Returns how many seconds the oldest item has waited.
fn waits_for(seen: &Seen, now: Stamp) -> Option<u64> {
    let since = seen.queue.as_ref()?.oldest.as_ref()?.submitted;
    Some(now.unix_seconds().saturating_sub(since.0.div_euclid(1_000_000)).max(0).unsigned_abs())
}

/// Returns the line below the table, which fits the screen; `advice` is for where no svscan runs.
#[must_use]
pub fn totals(sight: &Sight, screen: &Screen, advice: &str) -> String {
    let all = &sight.services;
    let count = |what: &dyn Fn(&&Seen) -> bool| all.iter().filter(what).count();
    let up = count(&|seen| seen.is_up());
    let unknown = count(&|seen| seen.state == State::Unknown);
    let is_troubled = |seen: &&Seen| seen.trouble.as_ref().is_some_and(|it| !it.is_past);
    let troubled = count(&|seen| seen.state != State::Unknown && is_troubled(seen));
    let (busy, instances) = all.iter().filter_map(Seen::instances).fold((0, 0), add);
    // Participants may share a queue.
    let queues =
        all.iter().filter_map(|seen| Some((seen.queue_name()?, seen.queue.as_ref()?.waiting)));
    let queues: BTreeMap<&str, u64> = queues.collect();
    let waiting: u64 = queues.values().sum();
    let more = if queues.values().any(|waiting| *waiting >= COUNTED) { "+" } else { "" };
    let used = all.iter().fold(Usage::default(), |sum, seen| sum.and(seen.usage));
    let services = if all.len() == 1 { "service" } else { "services" };
    let mut line = format!("{} {services}: {up} up", all.len());
    if up + unknown < all.len() {
        let _ = write!(line, ", {} not up", all.len() - up - unknown);
    }
    if unknown > 0 {
        let _ = write!(line, ", {unknown} unknown");
    }
    if troubled > 0 {
        let _ = write!(line, ", {troubled} in trouble");
    }
    if instances > 0 {
        let _ = write!(line, "; busy {busy}/{instances}, {waiting}{more} waiting");
    }
    let _ = write!(line, "; {}, {}", words::size(used.memory), words::cpu(used.cpu));
    let scan = match sight.svscan {
        Some(pid) => format!("; svscan {pid}"),
        None => format!("; {advice}"),
    };
    let has_room = screen.width.is_none_or(|room| line.len() + scan.len() <= room);
    if has_room || sight.svscan.is_none() {
        line += &scan;
    }
    let line = screen.width.map_or(line.clone(), |room| cut(&line, room).into_owned());
    let tone = if sight.svscan.is_none() { Tone::Bad } else { Tone::Heading };
    screen.paint(&line, tone).into_owned() + "\n"
}

fn add(a: (usize, usize), b: (usize, usize)) -> (usize, usize) {
    (a.0 + b.0, a.1 + b.1)
}

/// Returns the table, and the line below it.
#[must_use]
pub fn text(sight: &Sight, screen: &Screen, advice: &str) -> String {
    let totals = totals(sight, screen, advice);
    if sight.services.is_empty() {
        return totals;
    }
    let table = table(sight, sight.services.iter(), |seen| words::cpu(seen.usage.cpu));
    table.lines(screen, true) + &totals
}

/// Returns an object a line.
#[must_use]
pub fn as_json(sight: &Sight) -> String {
    let mut text = String::new();
    for seen in &sight.services {
        let _ = writeln!(text, "{}", object(seen, sight.now));
    }
    text
}

/// Returns what is known of a service without looking deeper.
#[must_use]
pub fn object(seen: &Seen, now: Stamp) -> Value {
    let queue = seen.queue.as_ref();
    let instances = seen.instances();
    let since = seen.since();
    let has_process = seen.pid().is_some();
    let oldest = queue.and_then(|queue| queue.oldest.as_ref());
    json!({
        "name": seen.service.name,
        "state": seen.state.word(),
        "up": seen.is_up(),
        "enabled": seen.is_enabled,
        "participant": seen.service.is_participant,
        "pid": seen.pid(),
        "since": since.and_then(iso8601),
        "seconds": since.map(|since| since.seconds_until(now)),
        "restarts": seen.restarts(),
        "busy": instances.map(|(busy, _)| busy),
        "instances": instances.map(|(_, all)| all),
        "waiting": queue.map(|queue| queue.waiting),
        "waiting_is_more": queue.map(|queue| queue.waiting >= COUNTED),
        "oldest_seconds": oldest.and(waits_for(seen, now)),
        "memory": has_process.then_some(seen.usage.memory),
        "cpu": has_process.then(|| Duration::from_nanos(seen.usage.cpu).as_secs_f64()),
        "trouble": seen.trouble.as_ref().map(|trouble| &trouble.text),
        "trouble_is_past": seen.trouble.as_ref().map(|trouble| trouble.is_past),
    })
}
