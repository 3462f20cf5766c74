//! A file system of names and files, and a logger that writes numbers into it.

use super::super::*;
use ondisk::logdir::is_raw;
use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

/// How many numbers are written in all.
pub(super) const TOTAL: u32 = 18;
const MOST_STEPS: usize = 2000;

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) bytes: Vec<u32>,
    synced: usize,
    mode: u32,
    /// How often it has been through each processor.
    runs: [u32; 2],
}

#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) names: BTreeMap<String, usize>,
    inodes: Vec<Inode>,
    /// Numbers written so far.
    pub(super) written: u32,
    /// Numbers below this one made room, or went with the directory.
    gone: u32,
    names_synced: bool,
    /// So many runs of a processor fail.
    pub(super) bad_runs: u32,
    pub(super) hangs: bool,
    pub(super) stopped: bool,
    /// What the processor counted.
    pub(super) state: u32,
    newstate: u32,
    pub(super) runs: u32,
    /// Goes back with each look.
    clock: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    None,
    KillBefore(usize),
    Fail(usize, Failure),
    FailThenKill(usize, usize, Failure),
    TakeDirectory(usize),
    TakeCurrent(usize),
}

pub(super) struct Logger {
    pub(super) machine: Machine,
    rules: Rules,
    fault: Fault,
    pub(super) calls: usize,
    pub(super) now: Mono,
    /// When the end was asked for.
    pub(super) asked: Mono,
    pub(super) fatal: bool,
    open: Option<usize>,
    lost: bool,
    running: bool,
    reworking: bool,
    /// What the background processor reads.
    source: Inode,
    /// A kill interrupted the processor while it wrote.
    halfway: bool,
}

fn name_of(file: File) -> String {
    match file {
        File::Current => "current".to_string(),
        File::Previous => "previous".to_string(),
        File::Processed => "processed".to_string(),
        File::State => "state".to_string(),
        File::Newstate => "newstate".to_string(),
        File::Reworking => "reworking".to_string(),
        File::Rotated(name) => String::from_utf8_lossy(name.name().as_bytes()).into_owned(),
    }
}

impl World {
    fn make(&mut self, name: &str) -> usize {
        let at = self.inodes.len();
        self.inodes.push(Inode { mode: ondisk::logdir::OPEN, ..Inode::default() });
        self.names.insert(name.to_string(), at);
        at
    }

    fn inode(&mut self, name: &str) -> Option<&mut Inode> {
        let at = *self.names.get(name)?;
        self.inodes.get_mut(at)
    }

    pub(super) fn rotated(&self) -> Vec<(Rotated, &Inode)> {
        let parsed = |(name, at): (&String, &usize)| {
            Some((Rotated::from_name(name.as_bytes())?, &self.inodes[*at]))
        };
        self.names.iter().filter_map(parsed).collect()
    }

    pub(super) fn is_closed(&self, name: &str) -> bool {
        self.names.get(name).is_some_and(|at| ondisk::logdir::is_closed(self.inodes[*at].mode))
    }

    fn content(&self) -> Vec<u32> {
        let mut all: Vec<u32> = Vec::new();
        for (_, inode) in self.rotated() {
            all.extend(&inode.bytes);
        }
        if let Some(at) = self.names.get("current") {
            all.extend(&self.inodes[*at].bytes);
        }
        all
    }

    /// Each number that was written is there once and in order, but for those that made room.
    pub(super) fn check_order(&self) {
        let wanted: Vec<u32> = (self.gone..self.written).collect();
        assert_eq!(self.content(), wanted, "{:?}", self.names);
    }

    /// What was written since somebody took something is there, and nothing is out of order.
    pub(super) fn check_tail(&self) {
        let content = self.content();
        assert!(content.windows(2).all(|pair| pair[0] < pair[1]), "{content:?}");
        let kept: Vec<u32> = content.into_iter().filter(|n| *n >= self.gone).collect();
        assert_eq!(kept, (self.gone..self.written).collect::<Vec<u32>>());
    }

    pub(super) fn check_names(&self, rules: Rules) {
        assert!(self.rotated().len() < rules.keep as usize, "{:?}", self.names);
        for name in self.names.keys() {
            let known = ["current", "state", "lock"].contains(&name.as_str());
            assert!(known || Rotated::from_name(name.as_bytes()).is_some(), "{name}");
        }
    }

    /// At the end of a life.
    pub(super) fn check_all(&self, rules: Rules) {
        assert_eq!(self.written, TOTAL);
        self.check_order();
        self.check_names(rules);
        assert!(self.is_closed("current"));
        for (name, inode) in self.rotated() {
            let safe = name.code == Code::SAFE;
            assert_eq!(safe && rules.processor, inode.runs[0] == 1, "{name:?}");
            assert_eq!(safe && rules.background, inode.runs[1] == 1, "{name:?}");
        }
    }

    /// What a mode says is true at every moment.
    fn check_modes(&self) {
        for (name, at) in &self.names {
            let inode = &self.inodes[*at];
            let closed = ondisk::logdir::is_closed(inode.mode);
            assert!(!closed || inode.synced == inode.bytes.len(), "{name}");
            assert!(inode.runs.iter().all(|runs| *runs <= 1), "{name} processed twice");
        }
    }

    fn remove(&mut self, name: &str, rules: Rules) {
        if !self.names.contains_key(name) {
            return;
        }
        if let Some(rotated) = Rotated::from_name(name.as_bytes()) {
            let synced = self.names_synced || rules.drop_when_full;
            assert!(synced, "{name} is removed before the names are on disk");
            let all = self.rotated();
            assert_eq!(all[0].0, rotated, "not the oldest");
            let needed = all.len() >= rules.keep as usize || rules.total > 0;
            assert!(needed || rules.drop_when_full, "{} are not too many", all.len());
            if let Some(last) = all[0].1.bytes.last() {
                self.gone = self.gone.max(last + 1);
            }
        }
        if name == "previous" && self.names.contains_key("processed") && self.is_closed("processed")
        {
            assert!(self.names_synced, "previous goes before the names are on disk");
        }
        self.names.remove(name);
    }

    fn survey(&mut self) -> Survey {
        self.clock += 1;
        let all = self.rotated();
        Survey {
            count: all.len() as u32,
            oldest: all.first().map(|(name, _)| *name),
            newest: all.last().map(|(name, _)| name.stamp),
            bytes: all.iter().map(|(_, inode)| inode.bytes.len() as u64).sum(),
            now: Stamp::from_unix(1_000_000 - i64::from(self.clock), 0),
        }
    }

    fn rename(&mut self, from: &str, to: &str) -> Answer {
        match self.names.remove(from) {
            Some(at) => {
                self.names.insert(to.to_string(), at);
                self.names_synced = false;
                Answer::Done
            }
            None => Answer::Failed(Failure::Absent),
        }
    }
}

impl Logger {
    pub(super) fn new(rules: Rules, fault: Fault) -> Self {
        Self {
            machine: Machine::new(rules),
            rules,
            fault,
            calls: 0,
            now: Mono(0),
            asked: Mono(0),
            fatal: false,
            open: None,
            lost: false,
            running: false,
            reworking: false,
            source: Inode::default(),
            halfway: false,
        }
    }

    /// Lives until the end has come; false where it was killed or could not start.
    pub(super) fn live(&mut self, world: &mut World) -> bool {
        for _ in 0..MOST_STEPS {
            if self.machine.is_finished() {
                return true;
            }
            if !self.go_on(world) {
                return false;
            }
        }
        panic!("no end: {:?}", self.machine);
    }

    /// Tells whether the end was asked for.
    pub(super) fn is_asked(&self) -> bool {
        self.machine.is_ending()
    }

    pub(super) fn until_ready(&mut self, world: &mut World) {
        while !self.machine.is_ready() {
            let before = world.written;
            assert!(self.step(world) || self.wait(world));
            assert_eq!(world.written, before);
        }
    }

    /// One call, or one thing that happens when there is none to be made.
    pub(super) fn go_on(&mut self, world: &mut World) -> bool {
        if self.step(world) {
            return true;
        }
        if self.fatal || self.is_killed() {
            return false;
        }
        if self.machine.is_finished() {
            return true;
        }
        if self.machine.is_ready() {
            self.write(world);
            return true;
        }
        self.wait(world)
    }

    fn is_killed(&self) -> bool {
        matches!(self.fault, Fault::KillBefore(at) | Fault::FailThenKill(_, at, _) if self.calls > at)
    }

    /// Makes the next call, if there is one.
    fn step(&mut self, world: &mut World) -> bool {
        let Some(call) = self.machine.next(self.now) else { return false };
        let number = self.calls;
        self.calls += 1;
        if self.is_killed() {
            return false;
        }
        match self.fault {
            Fault::TakeDirectory(at) if at == number => {
                world.names.clear();
                (self.lost, world.gone) = (true, world.written);
            }
            Fault::TakeCurrent(at) if at == number => {
                world.names.remove("current");
                world.gone = world.written;
            }
            _ => {}
        }
        let answer = match self.fault {
            Fault::Fail(at, failure) if at == number => Answer::Failed(failure),
            Fault::FailThenKill(at, _, failure) if number >= at => Answer::Failed(failure),
            _ => self.perform(call, world),
        };
        world.check_modes();
        match self.machine.answer(answer, self.now) {
            Verdict::Fatal => self.fatal = true,
            Verdict::Pausing | Verdict::Dropping => {
                assert!(matches!(answer, Answer::Failed(_)));
            }
            Verdict::Fine | Verdict::Exhausted => {}
        }
        !self.fatal
    }

    /// Numbers go into the open file, and nowhere else.
    fn write(&mut self, world: &mut World) {
        let at = self.open.expect("a ready directory has an open file");
        self.machine.check();
        while let Some(call) = self.machine.next(self.now) {
            let answer = self.perform(call, world);
            self.machine.answer(answer, self.now);
            if !self.machine.is_ready() && !matches!(call, Call::LookDirectory) {
                return;
            }
        }
        if !self.machine.is_ready() {
            return;
        }
        if world.written == TOTAL && (self.reworking || self.machine.deadline().is_some()) {
            // The background's work is seen to its end.
            self.wait(world);
            return;
        }
        if world.written == TOTAL {
            self.asked = self.now;
            self.machine.finish(self.now);
            return;
        }
        let inode = &mut world.inodes[at];
        assert!(!ondisk::logdir::is_closed(inode.mode), "written to while closed");
        inode.bytes.push(world.written);
        world.written += 1;
        if inode.bytes.len() as u64 >= self.rules.size {
            self.machine.rotate();
        }
    }

    /// A processor ends, or time passes.
    fn wait(&mut self, world: &mut World) -> bool {
        if world.hangs && (self.running || self.reworking) {
            self.machine.finish(self.now);
        } else if self.running || self.reworking {
            return self.run(world);
        }
        let Some(deadline) = self.machine.deadline() else {
            panic!("nothing to wait for: {:?}", self.machine)
        };
        assert!(deadline >= self.now, "{:?}", self.machine);
        self.now = deadline;
        true
    }

    /// A processor writes one half, then the other, then ends; a kill may come in between.
    fn run(&mut self, world: &mut World) -> bool {
        self.calls += 1;
        if self.is_killed() {
            return false;
        }
        let (from, to, which) = if self.running {
            (world.inode("previous").cloned(), "processed", 0)
        } else {
            (Some(self.source.clone()), "reworking", 1)
        };
        let well = world.bad_runs == 0;
        if let (Some(old), Some(new)) = (from, world.inode(to)) {
            let len = if self.halfway && well { old.bytes.len() } else { old.bytes.len() / 2 };
            new.bytes = old.bytes[..len].to_vec();
            new.runs = old.runs;
            new.runs[which] += 1;
        }
        self.halfway = !self.halfway;
        if self.halfway {
            return true;
        }
        world.bad_runs = world.bad_runs.saturating_sub(1);
        if which == 0 {
            self.running = false;
            if well {
                world.runs += 1;
                world.newstate = world.state + 1;
            }
            self.machine.processed(well, self.now);
        } else {
            self.reworking = false;
            self.machine.reworked(well, self.now);
        }
        true
    }

    fn perform(&mut self, call: Call, world: &mut World) -> Answer {
        if self.lost && !matches!(call, Call::Enter | Call::LookDirectory | Call::Stop) {
            return perform_in_nothing(call, world);
        }
        match call {
            Call::Enter => {
                (self.lost, self.open) = (false, None);
                Answer::Done
            }
            Call::LookDirectory if self.lost => Answer::Found(Found::Lost),
            Call::LookDirectory => Answer::Found(Found::Same),
            Call::LookOpen if world.names.get("current").copied() != self.open => {
                Answer::Found(Found::Lost)
            }
            Call::LookOpen => Answer::Found(Found::Same),
            Call::Look(file) => Answer::Seen(world.inode(&name_of(file)).map(|inode| Seen {
                closed: ondisk::logdir::is_closed(inode.mode),
                empty: inode.bytes.is_empty(),
            })),
            Call::FindTwin(_) => Answer::Twin(false),
            Call::Survey => Answer::Surveyed(world.survey()),
            Call::FindRaw => Answer::Raw(
                world
                    .rotated()
                    .into_iter()
                    .find(|(name, inode)| name.code == Code::SAFE && is_raw(inode.mode))
                    .map(|(name, _)| name),
            ),
            Call::Remove(file) => {
                world.remove(&name_of(file), self.rules);
                Answer::Done
            }
            Call::Name(file, name) => {
                let to = name_of(File::Rotated(name));
                let last = world.rotated().last().map(|(name, _)| *name);
                assert!(last.is_none_or(|last| last.stamp < name.stamp), "{to} is not the last");
                world.rename(&name_of(file), &to)
            }
            Call::Replace(name) => world.rename("reworking", &name_of(File::Rotated(name))),
            Call::SetAside => {
                assert!(!world.names.contains_key("previous"));
                world.rename("current", "previous")
            }
            Call::SyncDirectory => {
                world.names_synced = true;
                Answer::Done
            }
            Call::Stop => {
                (self.running, self.reworking, world.stopped) = (false, false, true);
                world.names.remove("reworking");
                Answer::Done
            }
            call => self.perform_on_content(call, world),
        }
    }

    fn perform_on_content(&mut self, call: Call, world: &mut World) -> Answer {
        match call {
            Call::MakeState => {
                world.make("state");
                world.state = 0;
            }
            Call::KeepState => {
                if world.rename("newstate", "state") == Answer::Done {
                    world.state = world.newstate;
                }
            }
            Call::OpenCurrent => {
                let there = world.names.get("current").copied();
                self.open = Some(there.unwrap_or_else(|| world.make("current")));
            }
            Call::SetOpen | Call::CloseCurrent | Call::SyncCurrent => {
                let Some(at) = self.open else { panic!("{call:?} without an open file") };
                let inode = &mut world.inodes[at];
                match call {
                    Call::SetOpen => inode.mode = ondisk::logdir::OPEN,
                    Call::CloseCurrent => inode.mode = ondisk::logdir::CLOSED,
                    _ => inode.synced = inode.bytes.len(),
                }
            }
            Call::Process => {
                if !world.names.contains_key("previous") {
                    return Answer::Failed(Failure::Absent);
                }
                world.make("processed");
                world.make("newstate");
                (self.running, self.halfway) = (true, false);
            }
            Call::Rework(name) => {
                match world.inode(&name_of(File::Rotated(name))) {
                    Some(inode) => self.source = inode.clone(),
                    None => return Answer::Failed(Failure::Absent),
                }
                world.make("reworking");
                (self.reworking, self.halfway) = (true, false);
            }
            Call::Sync(file) => match world.inode(&name_of(file)) {
                Some(inode) => inode.synced = inode.bytes.len(),
                None if file == File::Reworking => return Answer::Failed(Failure::Absent),
                None => {
                    world.make(&name_of(file));
                }
            },
            Call::Mark(file) => match world.inode(&name_of(file)) {
                Some(inode) if file == File::Reworking => inode.mode = ondisk::logdir::REWORKED,
                Some(inode) => inode.mode = ondisk::logdir::CLOSED,
                None => return Answer::Failed(Failure::Absent),
            },
            call => panic!("{call:?} is performed elsewhere"),
        }
        Answer::Done
    }
}

/// In a directory that was removed, calls on open files work as ever and all others find nothing.
fn perform_in_nothing(call: Call, world: &mut World) -> Answer {
    match call {
        Call::SyncCurrent | Call::CloseCurrent | Call::SyncDirectory => Answer::Done,
        Call::Remove(_) | Call::KeepState => Answer::Done,
        Call::Look(_) => Answer::Seen(None),
        Call::LookOpen => Answer::Found(Found::Lost),
        Call::Survey => Answer::Surveyed(world.survey()),
        Call::FindRaw => Answer::Raw(None),
        _ => Answer::Failed(Failure::Absent),
    }
}
