//! All processes of the machine, each looked at once.

use daemontools::observe::{self, Boot, Living};
use daemontools::shares;
use ondisk::record::{Identity, Record};
use sys::linux::census::{self, Census, Process};

/// What there is at a moment.
#[derive(Default)]
pub struct Processes {
    /// In the order of their pids.
    all: Vec<Process>,
    /// Parents and their children, in this order.
    families: Vec<(u32, u32)>,
    boot: Boot,
}

/// What some processes use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many they are.
    pub processes: u32,
    /// Bytes in memory; what two of them share counts twice.
    pub memory: u64,
    /// Nanoseconds that they have computed.
    pub cpu: u64,
}

impl Usage {
    fn of(process: &Process) -> Self {
        Self {
            processes: 1,
            memory: process.pages.saturating_mul(census::page()),
            cpu: process.ticks.saturating_mul(census::tick()),
        }
    }

    /// Returns both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            processes: self.processes + other.processes,
            memory: self.memory.saturating_add(other.memory),
            cpu: self.cpu.saturating_add(other.cpu),
        }
    }
}

impl Processes {
    /// Looks at all of them but those in `except`, which is sorted; these are looked at when they
    /// are asked for.
    #[must_use]
    pub fn read(except: &[u32]) -> Self {
        let boot = Boot::this();
        let Ok(census) = Census::open() else { return Self { boot, ..Self::default() } };
        let mut pids = Vec::new();
        // What cannot be listed is asked for one by one.
        let _ = census.for_each(|pid| pids.push(pid));
        pids.retain(|pid| except.binary_search(pid).is_err());
        let look = |pids: &[u32]| pids.iter().filter_map(|pid| census.look(*pid).ok()).collect();
        let mut all = shares::all(&pids, look);
        all.sort_unstable_by_key(|process| process.pid);
        let mut families: Vec<_> = all.iter().map(|p| (p.parent, p.pid)).collect();
        families.sort_unstable();
        Self { all, families, boot }
    }

    /// Returns one of them.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Process> {
        self.all.binary_search_by_key(&pid, |process| process.pid).ok().map(|at| &self.all[at])
    }

    /// Returns those of a name.
    pub fn named(&self, name: &'static str) -> impl Iterator<Item = &Process> {
        self.all.iter().filter(move |process| process.name() == name.as_bytes())
    }

    /// Returns the children of a process that are alive, in the order of their pids.
    pub fn children(&self, pid: u32) -> impl Iterator<Item = &Process> {
        let from = self.families.partition_point(|(parent, _)| *parent < pid);
        let of = self.families[from..].iter().take_while(move |(parent, _)| *parent == pid);
        of.filter_map(|(_, child)| self.get(*child)).filter(|child| child.is_alive())
    }

    /// Returns any process.
    #[must_use]
    pub fn look(&self, pid: u32) -> Option<Process> {
        self.get(pid).copied().or_else(|| Census::open().ok()?.look(pid).ok())
    }

    /// Returns what a process uses.
    #[must_use]
    pub fn usage(&self, pid: u32) -> Usage {
        self.look(pid).as_ref().map(Usage::of).unwrap_or_default()
    }

    /// Returns what a process uses, its memory counted, which takes a look of its own.
    #[must_use]
    pub fn counted(&self, pid: u32) -> Usage {
        let usage = self.usage(pid);
        match Census::open().and_then(|census| census.pages(pid)) {
            Ok(pages) => Usage { memory: pages.saturating_mul(census::page()), ..usage },
            Err(_) => usage,
        }
    }

    /// The same of a process and all its descendants.
    #[must_use]
    pub fn counted_of_all(&self, pid: u32) -> Usage {
        self.family(pid).into_iter().fold(Usage::default(), |sum, pid| sum.and(self.counted(pid)))
    }

    /// Returns what a process and all its descendants use.
    #[must_use]
    pub fn usage_of_all(&self, pid: u32) -> Usage {
        self.family(pid).into_iter().fold(Usage::default(), |sum, pid| sum.and(self.usage(pid)))
    }

    /// Returns a process and its descendants.
    #[must_use]
    pub fn family(&self, pid: u32) -> Vec<u32> {
        let mut found = vec![pid];
        let mut next = 0;
        // Of two looks at different moments a circle could be made.
        while next < found.len() && found.len() <= self.all.len() {
            let children: Vec<u32> = self.children(found[next]).map(|child| child.pid).collect();
            found.extend(children);
            next += 1;
        }
        found
    }

    /// Returns the nanoseconds since a process was started.
    #[must_use]
    pub fn age(&self, process: &Process) -> u64 {
        sys::linux::time::boottime().saturating_sub(process.started.saturating_mul(census::tick()))
    }
}

impl Living for Processes {
    fn is_alive(&self, pid: u32) -> bool {
        // One that is not there may have been started since.
        self.get(pid).map_or_else(|| observe::is_alive(pid), Process::is_alive)
    }

    fn has(&self, record: &Record, who: &Identity) -> bool {
        if who.pid == 0 {
            return false;
        }
        match self.get(who.pid) {
            Some(process) => self.boot.is(record, who, process),
            None => self.boot.has(record, who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, pages: u64) -> Process {
        // Of a name and a start that do not matter here.
        let mut process = Census::open().unwrap().look(1).unwrap();
        (process.pid, process.parent, process.pages, process.ticks) = (pid, parent, pages, 1);
        process
    }

    fn of(all: Vec<Process>) -> Processes {
        let mut families: Vec<_> = all.iter().map(|p| (p.parent, p.pid)).collect();
        families.sort_unstable();
        Processes { all, families, boot: Boot::default() }
    }

    #[test]
    fn a_family_is_a_process_and_whatever_descends_from_it() {
        let all = of(vec![
            process(2, 1, 1),
            process(3, 2, 10),
            process(5, 3, 100),
            process(7, 2, 1000),
            process(9, 8, 5),
        ]);
        assert_eq!(all.family(2), [2, 3, 7, 5]);
        assert_eq!(all.family(9), [9]);
        let used = all.usage_of_all(2);
        assert_eq!((used.processes, used.memory), (4, 1111 * census::page()));
        assert_eq!(all.usage_of_all(u32::MAX), Usage::default());
    }

    #[test]
    fn two_that_are_each_other_s_parent_end_the_search() {
        let all = of(vec![process(2, 3, 1), process(3, 2, 1)]);
        assert!(all.family(2).len() <= 4);
    }

    #[test]
    fn we_are_among_them_and_alive() {
        let own = std::process::id();
        let all = Processes::read(&[]);
        assert!(all.is_alive(own) && all.counted(own).memory > 0);
        let others = Processes::read(&[own]);
        assert!(others.get(own).is_none() && others.look(own).is_some_and(|it| it.is_alive()));
        let parent = all.get(own).unwrap().parent;
        assert!(all.family(parent).contains(&own));
    }
}
