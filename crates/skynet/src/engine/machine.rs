//! All processes of an engine: what comes in is for one of them. Performs nothing.

use super::message::{Fei, Message, Wrong};
use super::process::{Action, Process, Start, State, Surroundings};
use super::registry::{self, Registry};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use work::amqp::AHEAD;

/// Most processes that have ended and are kept.
const KEPT: usize = 1000;

/// An engine.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// Which step goes where.
    pub registry: Registry,
    /// Processes by their name.
    pub processes: BTreeMap<String, Process>,
    /// Launches that may come again.
    pub unsure: Unsure,
}

/// Launches that were heeded, of which it is not known whether whoever brought them knows: so many of
/// each key may come again, and what is more is another one that is the same.
#[derive(Clone, Debug, Default)]
pub struct Unsure {
    connection: u64,
    launches: HashMap<String, usize>,
}

impl Unsure {
    /// Begins a connection: whatever was under way when the last one ended comes by it once more.
    fn begin(connection: u64, processes: &BTreeMap<String, Process>) -> Self {
        let mut newest: Vec<&Process> = processes.values().collect();
        newest.sort_unstable_by_key(|process| Reverse(process.at));
        let mut launches = HashMap::new();
        for process in newest.into_iter().take(AHEAD.into()) {
            *launches.entry(process.key.clone()).or_default() += 1;
        }
        Self { connection, launches }
    }

    /// Takes one of a key off; false = there is none.
    fn take(&mut self, key: &str) -> bool {
        let left = self.launches.get_mut(key).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// By a key that no other has: what launched by it is the same message, however often it comes.
    Named,
    /// By a connection, which is known by its number; `again`: it is not the first that brings it.
    By {
        /// Its number.
        connection: u64,
        /// Nobody knows what came of it.
        again: bool,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message came; `key` names it, where it may come twice.
    Told {
        /// What it is called by whoever brought it.
        key: String,
        /// How, which says whether it may have come before: it launches nothing again then.
        came: Came,
        /// It.
        message: Message,
    },
    /// What a process wanted done cannot be.
    Refused {
        /// Which process.
        wfid: String,
        /// What: its number in the outbox.
        number: u64,
        /// Why.
        why: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The process that is another now, and is to be kept before what it wants is done.
    pub process: Option<String>,
    /// Processes that are not kept any more.
    pub gone: Vec<String>,
    /// The registry is another.
    pub registry: bool,
    /// Why nothing came of it.
    pub ignored: Option<String>,
}

/// The moment, and chance.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// In microseconds since 1970.
    pub micros: i64,
    /// Another one each time.
    pub seed: u64,
}

impl Engine {
    /// Decides what comes of an event.
    pub fn step(&mut self, event: Event, now: Now) -> Changed {
        let before = self.registry.clone();
        let done = match event {
            Event::Told { key, came, message } => self.told((key, came), message, now),
            Event::Refused { wfid, number, why } => self.refused(&wfid, number, why, now),
        };
        let registry = self.registry != before;
        match done {
            Ok(wfid) => {
                Changed { process: Some(wfid), gone: self.thin_out(), registry, ignored: None }
            }
            Err(why) => Changed { registry, ignored: Some(why), ..Changed::default() },
        }
    }

    fn told(
        &mut self,
        (key, came): (String, Came),
        message: Message,
        now: Now,
    ) -> Result<String, String> {
        if let Came::By { connection, .. } = came
            && self.unsure.connection != connection
        {
            self.unsure = Unsure::begin(connection, &self.processes);
        }
        match message {
            Message::Launch { tree, fields, wfid } => {
                if let Some(known) = self.launched_before(&key, came) {
                    return Err(format!("it launched {} before", known.wfid));
                }
                let wfid = wfid.unwrap_or_else(|| new_wfid(now));
                flaw(&wfid).map_or(Ok(()), Err)?;
                if self.processes.contains_key(&wfid) {
                    return Err(format!("there is a process {wfid}"));
                }
                let start = Start { wfid: wfid.clone(), key, tree, fields, seed: now.seed };
                let mut around = Surroundings { registry: &mut self.registry, now: now.micros };
                let process = Process::begin(start, &mut around);
                self.processes.insert(wfid.clone(), process);
                Ok(wfid)
            }
            Message::Reply { fei, fields } => self.with(&fei.wfid, now, |process, around| {
                process.replied(&fei, fields, around).then_some(()).ok_or_else(|| late(&fei))
            }),
            Message::Error { fei, fields, error } => {
                self.with(&fei.wfid, now, |process, around| {
                    process
                        .failed(&fei, fields, error, around)
                        .then_some(())
                        .ok_or_else(|| late(&fei))
                })
            }
            Message::Cancel { wfid, expid, flavour } => self.with(&wfid, now, |process, around| {
                let done = process.cancel(expid.as_deref(), flavour, around);
                let place = expid.as_deref().unwrap_or("it");
                done.then_some(()).ok_or_else(|| format!("nothing of {place} runs"))
            }),
        }
    }

    /// Returns the process that this very message has launched.
    fn launched_before(&mut self, key: &str, came: Came) -> Option<&Process> {
        let may_be = match came {
            Came::Named => true,
            Came::By { again, .. } => again && self.unsure.take(key),
        };
        self.processes.values().find(|process| may_be && process.key == key)
    }

    fn with(
        &mut self,
        wfid: &str,
        now: Now,
        then: impl FnOnce(&mut Process, &mut Surroundings<'_>) -> Result<(), String>,
    ) -> Result<String, String> {
        let process = self.processes.get_mut(wfid);
        let process = process.ok_or_else(|| format!("there is no process {wfid}"))?;
        let mut around = Surroundings { registry: &mut self.registry, now: now.micros };
        then(process, &mut around).map_err(|why| format!("{wfid}: {why}"))?;
        Ok(wfid.to_owned())
    }

    fn refused(
        &mut self,
        wfid: &str,
        number: u64,
        why: String,
        now: Now,
    ) -> Result<String, String> {
        self.with(wfid, now, |process, around| {
            let found = process.outbox.iter().find(|(known, _)| *known == number).cloned();
            process.settled(number);
            match found {
                Some((_, Action::Dispatch { fei, item, .. })) => {
                    let fields = fields_of(&item);
                    process.failed(&fei, fields, Wrong::here(why), around);
                }
                // Whoever has it is gone.
                Some((_, Action::Cancel { .. })) | None => {}
            }
            Ok(())
        })
    }

    /// Lets the oldest of those go that have ended and have nothing to be done.
    fn thin_out(&mut self) -> Vec<String> {
        let is_over =
            |process: &&Process| process.state != State::Running && process.outbox.is_empty();
        let mut over: Vec<_> = self.processes.values().filter(is_over).collect();
        let Some(many) = over.len().checked_sub(KEPT) else { return Vec::new() };
        over.sort_by_key(|process| process.ended);
        let gone: Vec<String> = over[..many].iter().map(|process| process.wfid.clone()).collect();
        for wfid in &gone {
            self.processes.remove(wfid);
        }
        gone
    }
}

fn fields_of(item: &serde_json::value::RawValue) -> super::tree::Object {
    match super::message::read(item.get().as_bytes()) {
        Ok(Message::Reply { fields, .. }) => fields,
        _ => super::tree::Object::new(),
    }
}

fn late(fei: &Fei) -> String {
    format!("nobody waits for an answer to {} {}", fei.expid, fei.subid.as_deref().unwrap_or(""))
}

/// Says why a name cannot be a process's, which is a file's name, too.
#[must_use]
pub fn flaw(wfid: &str) -> Option<String> {
    let is_taken = wfid == registry::NAME;
    let why = if is_taken { "is the registry's" } else { work::name::flaw(wfid)? };
    Some(format!("the name of a process, {wfid:?}, {why}"))
}

/// Makes a name as engines make them: when, and two words that nobody else has.
#[must_use]
pub fn new_wfid(now: Now) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 4] = b"aiou";
    let stamp = super::process::stamp(now.micros);
    let when: String = stamp.chars().filter(char::is_ascii_digit).take(12).collect();
    let mut chance = now.seed;
    let mut syllable = || {
        let (consonant, vowel) = (chance & 15, (chance >> 4) & 3);
        chance >>= 6;
        let letters = [CONSONANTS[consonant as usize], VOWELS[vowel as usize]];
        letters.map(char::from)
    };
    let word: String = (0..8).flat_map(|_| syllable()).collect();
    let (day, time) = when.split_at(8.min(when.len()));
    format!("{day}-{time}-{}-{}", &word[..8], &word[8..])
}

#[cfg(test)]
mod tests;
