//! Who is killed at random under svscan: a participant, a part of exo, a supervise, a logger, svscan,
//! or everything at once.

use crate::host::{SOON, children, name_of};
use std::collections::BTreeMap;
use std::fs;
use testkit::svscan::{Svscan, is_alive, named};
use testkit::{Scratch, until};

/// Somebody who may be killed.
pub(crate) struct Victim {
    name: &'static str,
    /// Against the others.
    often: u32,
    /// Those who go by that name now.
    those: fn(&Scratch) -> Vec<i32>,
}

impl Victim {
    pub(crate) const fn new(
        name: &'static str,
        often: u32,
        those: fn(&Scratch) -> Vec<i32>,
    ) -> Self {
        Self { name, often, those }
    }
}

const PARTICIPANT: &str = "participant";
const SVSCAN: &str = "svscan";
const EVERYTHING: &str = "everything";

/// Those that there are wherever exo is a service.
const EVERYWHERE: [Victim; 7] = [
    Victim::new(PARTICIPANT, 40, participants),
    Victim::new("exo-worker", 20, |scratch| named(scratch, "exo-worker")),
    Victim::new("exo-keeper", 20, keepers),
    Victim::new("supervise", 8, |scratch| named(scratch, "supervise")),
    Victim::new("multilog", 6, |scratch| named(scratch, "multilog")),
    Victim::new(SVSCAN, 3, |_| Vec::new()),
    Victim::new(EVERYTHING, 3, |_| Vec::new()),
];

/// What keepers have started, but for the worker.
fn participants(scratch: &Scratch) -> Vec<i32> {
    let all = named(scratch, "exo-keeper").into_iter().flat_map(children);
    all.filter(|pid| is_alive(*pid) && name_of(*pid) != "exo-worker").collect()
}

/// One that starts a participant has two of its name for a moment.
fn keepers(scratch: &Scratch) -> Vec<i32> {
    let started = participants(scratch);
    let all = named(scratch, "exo-keeper").into_iter();
    all.filter(|pid| !started.contains(pid)).collect()
}

/// What a kill leaves.
pub(crate) enum Left {
    /// svscan, which starts again whatever else was killed.
    Svscan(Svscan),
    /// All but svscan.
    Services,
    /// Not a single process.
    Nothing,
}

/// Kills by dice that fall the same each time.
pub(crate) struct Killer {
    victims: Vec<Victim>,
    dice: u64,
    /// How often each was killed; participants by their service directory.
    pub(crate) killed: BTreeMap<String, usize>,
}

impl Killer {
    /// Of those that are everywhere, and of these.
    pub(crate) fn new(more: impl IntoIterator<Item = Victim>) -> Self {
        let victims = EVERYWHERE.into_iter().chain(more).collect();
        Self { victims, dice: 0x9e37_79b9_7f4a_7c15, killed: BTreeMap::new() }
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 32) as u32 % limit
    }

    /// Returns the next one's place in the list: at first each in turn.
    fn victim(&mut self) -> usize {
        if let Some(spared) = self.spared() {
            return spared;
        }
        let mut thrown = self.below(self.victims.iter().map(|victim| victim.often).sum());
        let at = self.victims.iter().position(|victim| {
            let is_it = thrown < victim.often;
            thrown = thrown.wrapping_sub(victim.often);
            is_it
        });
        at.unwrap_or(0)
    }

    /// Returns the first who was never killed.
    fn spared(&self) -> Option<usize> {
        let was_killed = |victim: &Victim| {
            self.killed.keys().any(|name| name.split(' ').next() == Some(victim.name))
        };
        self.victims.iter().position(|victim| !was_killed(victim))
    }

    /// Tells whether each was killed at least once.
    pub(crate) fn has_spared_none(&self) -> bool {
        self.spared().is_none()
    }

    /// Kills somebody. Whoever is away, because it was killed before, cannot be killed now: then it is
    /// another's turn.
    #[track_caller]
    pub(crate) fn strikes(&mut self, scratch: &Scratch, scan: Svscan) -> Left {
        let mut name = "";
        until(SOON, || {
            let victim = self.victim();
            name = self.victims[victim].name;
            [SVSCAN, EVERYTHING].contains(&name) || self.kills(scratch, victim)
        });
        if name != SVSCAN && name != EVERYTHING {
            return Left::Svscan(scan);
        }
        scan.kill9();
        *self.killed.entry(name.to_owned()).or_default() += 1;
        if name == SVSCAN {
            return Left::Services;
        }
        assert!(scratch.kill_all(), "who was killed is there");
        Left::Nothing
    }

    /// Kills one process of a victim. Returns whether there was one.
    fn kills(&mut self, scratch: &Scratch, victim: usize) -> bool {
        let Victim { name, those, .. } = self.victims[victim];
        let those = those(scratch);
        let Ok(count @ 1..) = u32::try_from(those.len()) else { return false };
        let pid = those[self.below(count) as usize];
        // One that is dead already has none, and cannot be killed.
        let Ok(folder) = fs::read_link(format!("/proc/{pid}/cwd")) else { return false };
        if linux::signal::kill(pid, 9).is_err() {
            return false;
        }
        let folder = folder.file_name().unwrap_or_default().to_string_lossy();
        let name = if name == PARTICIPANT { format!("{name} {folder}") } else { name.to_owned() };
        *self.killed.entry(name).or_default() += 1;
        true
    }
}
