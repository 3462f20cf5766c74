//! How a service stands, in one word, and what is wrong with it, in a few.

use super::Seen;
use super::asking::Exo;
use super::words;
use crate::screen::Tone;
use daemontools::observe::Life;
use ondisk::record::{Exit, Phase};
use ondisk::status::Want;
use ondisk::tai64n::Stamp;

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Up,
    /// It runs, and exo does not answer yet; or its `start` runs.
    Starting,
    /// It runs, and takes no more items.
    Draining,
    /// It runs, stopped by a signal.
    Paused,
    /// It was told to end; or its `stop` runs.
    Stopping,
    /// It has done what it had to, and needs no process.
    Started,
    /// It has ended, and is started again.
    Retrying,
    /// It has ended, and is not started again.
    Failed,
    /// It does not run.
    Down,
    /// It runs, and no supervise keeps it.
    Orphaned,
    /// We may not look.
    Unknown,
}

impl State {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Starting => "starting",
            Self::Draining => "draining",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Started => "started",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
            Self::Down => "down",
            Self::Orphaned => "orphaned",
            Self::Unknown => "unknown",
        }
    }

    /// Returns how it looks.
    #[must_use]
    pub const fn tone(self) -> Tone {
        match self {
            Self::Up | Self::Started => Tone::Good,
            Self::Starting | Self::Draining | Self::Paused | Self::Stopping | Self::Unknown => {
                Tone::Notable
            }
            Self::Retrying | Self::Failed | Self::Orphaned => Tone::Bad,
            Self::Down => Tone::Faint,
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// In a few words.
    pub text: String,
    /// It is over: the service runs again.
    pub is_past: bool,
}

/// An exo opens its control socket within this many seconds of its start.
const BEGINS: u64 = 5;

/// Returns how a service stands.
#[must_use]
pub fn of(seen: &Seen, now: Stamp) -> State {
    if seen.refused.is_some() {
        return if matches!(seen.exo, Exo::Told(_)) { working(seen, now) } else { State::Unknown };
    }
    let snapshot = &seen.now;
    if !snapshot.kept {
        return if snapshot.life == Life::Certain { State::Orphaned } else { State::Down };
    }
    match snapshot.phase() {
        Some(Phase::Running) if snapshot.life == Life::Certain => running(seen, now),
        Some(Phase::Starting) => State::Starting,
        Some(Phase::Started) => State::Started,
        Some(Phase::Stopping) => State::Stopping,
        Some(Phase::Due) => State::Retrying,
        Some(Phase::Failed) => State::Failed,
        Some(Phase::Running | Phase::Down) | None => State::Down,
    }
}

fn running(seen: &Seen, now: Stamp) -> State {
    let status = seen.now.half.map(|half| half.status);
    let record = seen.now.record;
    if status.is_some_and(|status| status.paused) {
        State::Paused
    } else if record.is_some_and(|record| record.stopping)
        || status.is_some_and(|status| status.want == Want::Down)
    {
        State::Stopping
    } else {
        working(seen, now)
    }
}

fn working(seen: &Seen, now: Stamp) -> State {
    match &seen.exo {
        Exo::Told(told) => match &*told.status.state {
            "draining" => State::Draining,
            "stopping" => State::Stopping,
            _ => {
                let all = &told.status.instances;
                let starts = !all.is_empty() && all.iter().all(|one| one.state == "starting");
                if starts { State::Starting } else { State::Up }
            }
        },
        Exo::Absent if seen.has_socket() && seen.seconds(now) < BEGINS => State::Starting,
        _ => State::Up,
    }
}

/// Returns what is wrong with a service; the worst first, and only that.
#[must_use]
pub fn trouble(seen: &Seen, state: State, has_svscan: bool, now: Stamp) -> Option<Trouble> {
    let is = |text: String| Some(Trouble { text, is_past: false });
    if let Some(why) = seen.refused.filter(|_| state == State::Unknown) {
        return is(format!("{why}; {} may look", seen.who_may));
    }
    match state {
        State::Orphaned => return is("no supervise keeps it".into()),
        State::Down if seen.service.is_linked && has_svscan && !seen.now.kept => {
            return is("no supervise keeps it".into());
        }
        _ => {}
    }
    if let Some(why) = seen.config.as_ref().and_then(|config| config.as_ref().err()) {
        return is(why.clone());
    }
    if seen.is_up()
        && let Some(text) = of_exo(seen, state)
    {
        return is(text);
    }
    let record = seen.now.record;
    let exit = record.map_or(Exit::None, |record| record.last_exit);
    let died = record.and_then(|record| record.died);
    let ago = died.map(|died| format!(", {} ago", words::span(died.seconds_until(now))));
    let said = words::exit(exit).map(|text| text + &ago.unwrap_or_default());
    match state {
        State::Retrying | State::Failed => return is(said.unwrap_or_default()),
        State::Down if seen.wants_up() => return is(said.unwrap_or_default()),
        _ => {}
    }
    if seen.now.kept && seen.log.is_some_and(|log| !log.is_up()) {
        return is("its logger is down".into());
    }
    // To end by TERM, or with 0, is how services are ended.
    let is_well = matches!(exit, Exit::None | Exit::Unknown | Exit::Code(0) | Exit::Signal(15));
    said.filter(|_| !is_well).map(|text| Trouble { text, is_past: true })
}

fn of_exo(seen: &Seen, state: State) -> Option<String> {
    match &seen.exo {
        Exo::Absent if seen.has_socket() && state != State::Starting => {
            Some("exo has no control socket".into())
        }
        Exo::Absent => None,
        Exo::Silent => Some("exo does not answer".into()),
        Exo::Refused(why) => Some(why.clone()),
        Exo::Told(told) => told.status.trouble.clone().or_else(|| {
            let failed = |one: &super::asking::Instance| {
                let ended = one.next_start.map(|_| "its program ended");
                let why = one.start_failure.as_deref().or(ended)?;
                Some(format!("{}: {why}", one.name))
            };
            told.status.instances.iter().find_map(failed)
        }),
    }
}
