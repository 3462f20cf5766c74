//! What goes with a notice: the last lines of a log, the items in hand; and which items are dead.
//!
//! Read by a process of its own, which as root becomes the user of exo's workers first: what it
//! reads was written by others, and may take its time.

use super::child::{Hear, Running};
use super::trouble::{Dead, Item};
use crate::here::Here;
use daemontools::logs::{BEGINNING, Backward, Folder};
use daemontools::svlog::place;
use ondisk::tai64n::Stamp;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::Command;
use work::{DeadId, Place, Reader, Wall};

/// The word by which `skynet notice` becomes the process that reads.
pub const WORD: &str = "gather";
/// Bytes of the longest answer.
pub const MOST: usize = 1 << 20;
/// Bytes of a line that are shown.
const LINE: usize = 1000;
/// Lines behind the moment in question that are passed over.
const LATER: usize = 10_000;
/// Dead items that are told of at once; there may be more.
pub const DEAD_AT_ONCE: u32 = 100;
/// Items in hand that are told.
const HELD: u32 = 8;

/// What is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Question {
    /// The last lines of a log.
    pub log: Option<Lines>,
    /// What was in hand.
    pub held: Option<Hands>,
    /// Which items are dead.
    pub dead: Option<Graveyard>,
}

/// Which lines.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lines {
    /// The service directory.
    pub dir: PathBuf,
    /// The log of all that have no logger.
    pub common: PathBuf,
    /// So many.
    pub count: usize,
    /// None behind this moment: seconds since 1970, and nanoseconds.
    pub until: (i64, u32),
}

/// Whose items.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hands {
    /// The folder of the store.
    pub store: PathBuf,
    /// The queue.
    pub queue: String,
    /// When, in microseconds since 1970.
    pub when: i64,
}

/// Dead items of all queues.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Graveyard {
    /// The folder of the store.
    pub store: PathBuf,
    /// Those behind this one; `None` = none, only how far they are numbered.
    pub after: Option<i64>,
}

/// What is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Lines, the oldest first.
    pub log: Vec<String>,
    /// Where they are from, or why there are none.
    pub log_from: String,
    /// What was in hand.
    pub items: Vec<Item>,
    /// Dead items.
    pub dead: Vec<Dead>,
    /// Number of the last one; `None` = not known.
    pub last_dead: Option<i64>,
    /// Why the store could not be asked.
    pub store_trouble: Option<String>,
}

/// Asks.
///
/// # Errors
/// The process cannot be started.
pub fn ask(here: &Here, question: &Question) -> io::Result<Running> {
    let own = std::env::current_exe()?;
    let mut command = as_user(here, None, own.as_os_str());
    command.args(["notice", WORD]);
    Running::start(&mut command, &serde_json::to_vec(question)?, Hear::Output, MOST)
}

/// Returns the command that runs a program as a user where we are root; `None` = as the user of
/// exo's workers. Its environment is empty but for a plain `$PATH`, and a user's own home.
#[must_use]
pub fn as_user(here: &Here, user: Option<&str>, program: &OsStr) -> Command {
    let mut command;
    if here.uid == 0 {
        let usual = here.site.worker_user.as_deref().unwrap_or("skynet");
        command = Command::new(here.program("setuidgid"));
        command.args(["-s", user.unwrap_or(usual)]).arg(program);
        command.env_clear();
    } else {
        command = Command::new(program);
        command.env_clear();
        if let Some(home) = std::env::var_os("HOME") {
            command.env("HOME", home);
        }
    }
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    command
}

/// Answers the question on descriptor 0, on descriptor 1; returns the exit code.
///
/// # Errors
/// It is not understood, or nobody hears the answer.
pub fn serve() -> io::Result<()> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST as u64).read_to_end(&mut bytes)?;
    let question: Question = serde_json::from_slice(&bytes)?;
    let answer = serde_json::to_vec(&answer(&question))?;
    let mut out = io::stdout().lock();
    out.write_all(&answer)?;
    out.flush()
}

fn answer(question: &Question) -> Answer {
    let mut answer = Answer::default();
    if let Some(lines) = &question.log {
        match log(lines) {
            Ok((from, log)) => (answer.log_from, answer.log) = (from, log),
            Err(why) => answer.log_from = why,
        }
    }
    let mut store_trouble = None;
    if let Some(hands) = &question.held {
        match held(hands) {
            Ok(items) => answer.items = items,
            Err(why) => store_trouble = Some(why.to_string()),
        }
    }
    if let Some(graveyard) = &question.dead {
        match dead(graveyard) {
            Ok((last, dead)) => (answer.last_dead, answer.dead) = (Some(last), dead),
            Err(why) => store_trouble = Some(why.to_string()),
        }
    }
    answer.store_trouble = store_trouble;
    answer
}

/// Reads the last lines of a log; returns where they are from, too.
fn log(lines: &Lines) -> Result<(String, Vec<String>), String> {
    let has_logger = lines.dir.join("log").exists() || lines.dir.ends_with("log");
    let dir = if has_logger { &lines.dir } else { &lines.common };
    let unable = |why: &str| format!("nowhere: the log of {} cannot be read: {why}", dir.display());
    let folder: Folder = match place::find(dir.as_os_str()) {
        Ok(place) => place.folder,
        Err(place::NotFound::System(why)) => return Err(unable(&why.to_string())),
        Err(place::NotFound::Unreadable(trouble)) => return Err(unable(&trouble.to_string())),
        Err(place::NotFound::Elsewhere) => return Err(unable("it is not in log/main")),
    };
    let from = String::from_utf8_lossy(folder.path().as_encoded_bytes()).into_owned();
    let mut back = Backward::new(folder).map_err(|why| unable(&why.to_string()))?;
    back.skip_unfinished();
    let until = Stamp::from_unix(lines.until.0, lines.until.1);
    let (mut found, mut later) = (Vec::new(), 0);
    while found.len() < lines.count && back.find(BEGINNING) {
        let is_later = back.span().is_some_and(|span| span.first > until);
        back.take();
        if is_later && later < LATER {
            later += 1;
            continue;
        }
        if back.advance() {
            let bytes = back.line().bytes;
            let end = bytes.len().min(LINE);
            let text = String::from_utf8_lossy(&bytes[..end]);
            found.push(text.trim_end_matches('\n').to_owned());
        }
    }
    found.reverse();
    Ok((from, found))
}

fn open(store: &PathBuf) -> Result<Option<Reader>, work::Trouble> {
    let place = Place::new(store);
    // No participant has run yet, or the first is about to make it.
    if place.is_unused() {
        return Ok(None);
    }
    Reader::open(&place).map(Some)
}

fn held(hands: &Hands) -> Result<Vec<Item>, work::Trouble> {
    let Some(reader) = open(&hands.store)? else { return Ok(Vec::new()) };
    let held = reader.held(&hands.queue, Wall(hands.when), HELD)?;
    let item = |held: work::read::Held| Item {
        wfid: held.wfid,
        job: Some(held.job.0),
        attempt: Some(held.attempt),
        instance: Some(held.instance),
    };
    Ok(held.into_iter().map(item).collect())
}

fn dead(graveyard: &Graveyard) -> Result<(i64, Vec<Dead>), work::Trouble> {
    let Some(reader) = open(&graveyard.store)? else { return Ok((0, Vec::new())) };
    let Some(after) = graveyard.after else { return Ok((reader.last_dead()?.0, Vec::new())) };
    let found = reader.dead_after(DeadId(after), DEAD_AT_ONCE)?;
    let dead: Vec<Dead> = found.into_iter().map(of).collect();
    Ok((told(after, &dead, reader.last_dead()?.0), dead))
}

/// Returns how far dead items are told of. `last` was asked for behind them: what was buried meanwhile
/// is told of at the next look. A store that was put back from a copy counts from there.
fn told(after: i64, dead: &[Dead], last: i64) -> i64 {
    dead.last().map_or_else(|| after.min(last), |dead| dead.id)
}

fn of(one: work::read::PutAway) -> Dead {
    let micros = one.at.0;
    Dead {
        id: one.id.0,
        queue: one.queue,
        job: one.job.map(|job| job.0),
        wfid: one.wfid,
        fault: one.fault.0,
        reason: one.reason,
        signature: one.signature,
        at: (micros.div_euclid(1_000_000), (micros.rem_euclid(1_000_000) * 1000) as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_buried_while_nothing_is_found_is_told_of_at_the_next_look() {
        assert_eq!(told(7, &[], 7), 7);
        assert_eq!(told(7, &[], 8), 7);
        assert_eq!(told(7, &[], 3), 3, "the store was put back from a copy");
        let dead = Dead { id: 9, ..Dead::default() };
        assert_eq!(told(7, &[dead], 10), 9);
    }
}
