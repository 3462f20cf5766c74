//! The loop of an engine: hears, lets the machine decide, keeps what it decided, does it.

use super::keep::Folder;
use super::machine::{Engine, Event, Now};
use super::message;
use super::process::{Process, State};
use super::transport::{Heard, Performed, Transport};
use crate::failure::{Failure, warn};
use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::signal::numbers::{SIGINT, SIGPIPE, SIGTERM};
use sys::linux::{signal, time};

/// Longest sleep: who is to wake us may have had no memory for it.
const LONGEST: u64 = 5 * time::SECOND;

/// Signals that end us, read from a descriptor.
///
/// # Errors
/// There is no descriptor left.
pub fn signals() -> Result<Fd, Failure> {
    signal::ignore(SIGPIPE);
    let signals = signal::Set::of(&[SIGTERM, SIGINT]);
    signals.block_only();
    signals.descriptor().map_err(|why| Failure::errno("hear", "signals", why))
}

/// An engine that runs. Only one of an instance at a time: whoever has its lock.
pub struct Server<'a> {
    engine: Engine,
    folder: &'a Folder,
    transport: &'a mut dyn Transport,
    /// What is being done and will be heard of.
    under_way: HashSet<(String, u64)>,
    /// Gets each process that is another now.
    tell: &'a mut dyn FnMut(&Process),
    _lock: Fd,
}

impl<'a> Server<'a> {
    /// Goes on where the one before ended.
    ///
    /// # Errors
    /// What it left cannot be used.
    pub fn begin(
        folder: &'a Folder,
        lock: Fd,
        transport: &'a mut dyn Transport,
        tell: &'a mut dyn FnMut(&Process),
    ) -> Result<Self, Failure> {
        let engine = folder.load()?;
        let under_way = HashSet::new();
        let mut server = Self { engine, folder, transport, under_way, tell, _lock: lock };
        let open: Vec<String> = server.engine.processes.keys().cloned().collect();
        for wfid in open {
            server.act(&wfid)?;
        }
        Ok(server)
    }

    /// Serves until it is told to end, or `is_enough`; tells which: `true` = it is enough.
    ///
    /// # Errors
    /// What it decides cannot be kept, or its queue cannot be used.
    pub fn run(
        &mut self,
        signals: &Fd,
        mut is_enough: impl FnMut(&Engine) -> bool,
    ) -> Result<bool, Failure> {
        loop {
            while let Some(heard) = self.transport.next()? {
                self.hear(heard)?;
            }
            if is_enough(&self.engine) {
                return Ok(true);
            }
            let mut list = [self.transport.interest(), PollFd::readable(signals.raw())];
            fd::poll(&mut list, Some(LONGEST))
                .map_err(|why| Failure::errno("wait for", "messages", why))?;
            if list[1].is_ready() && signal::next(signals).is_some() {
                return Ok(false);
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<(), Failure> {
        match heard {
            Heard::Told { key, came, message } => {
                let ignored = match message::read(&message) {
                    Ok(message) => self.step(Event::Told { key, came, message })?,
                    Err(why) => Some(why),
                };
                if let Some(why) = &ignored {
                    warn(&format!("a message is not heeded: {why}"));
                }
                self.transport.settle(ignored);
                Ok(())
            }
            Heard::Done { wfid, number } => {
                self.under_way.remove(&(wfid.clone(), number));
                if let Some(process) = self.engine.processes.get_mut(&wfid) {
                    process.settled(number);
                    // Done twice it is done once, unless it was long ago.
                    self.folder.keep(process, false)?;
                }
                self.act(&wfid)
            }
            Heard::Refused { wfid, number, why } => {
                self.under_way.remove(&(wfid.clone(), number));
                self.step(Event::Refused { wfid, number, why }).map(drop)
            }
            Heard::Said(line) => {
                warn(&line);
                Ok(())
            }
        }
    }

    /// Decides, keeps it, does it; returns why nothing came of it.
    fn step(&mut self, event: Event) -> Result<Option<String>, Failure> {
        let changed = self.engine.step(event, now());
        if changed.registry {
            self.folder.keep_registry(&self.engine.registry)?;
        }
        for wfid in &changed.gone {
            self.folder.forget(wfid)?;
        }
        if let Some(wfid) = &changed.process
            && let Some(process) = self.engine.processes.get(wfid)
        {
            self.folder.keep(process, true)?;
            (self.tell)(process);
            self.act(wfid)?;
        }
        Ok(changed.ignored)
    }

    /// Does what a process wants done and is not under way.
    fn act(&mut self, wfid: &str) -> Result<(), Failure> {
        let Some(process) = self.engine.processes.get_mut(wfid) else { return Ok(()) };
        let mut over = Vec::new();
        for (number, action) in &process.outbox {
            let name = (wfid.to_owned(), *number);
            if self.under_way.contains(&name) {
                continue;
            }
            match self.transport.perform(wfid, *number, action)? {
                Performed::UnderWay => drop(self.under_way.insert(name)),
                Performed::Done => over.push(*number),
                Performed::Later => {}
            }
        }
        if over.is_empty() {
            return Ok(());
        }
        for number in over {
            process.settled(number);
        }
        self.folder.keep(process, false)
    }
}

/// Tells whether a process is over, and what it wanted is done.
#[must_use]
pub fn is_over(process: &Process) -> bool {
    process.state != State::Running && process.outbox.is_empty()
}

/// Returns the moment, and a number that nobody else has.
#[must_use]
pub fn now() -> Now {
    let (seconds, nanos) = time::wall();
    let micros = seconds * 1_000_000 + i64::from(nanos / 1000);
    // Its keys are the system's chance.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_i64(micros);
    hasher.write_u32(sys::linux::process::pid().cast_unsigned());
    Now { micros, seed: hasher.finish() }
}
