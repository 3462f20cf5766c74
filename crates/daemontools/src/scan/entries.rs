//! The services that svscan knows: by directory, by name, by process, by deadline.

use machine::svscan::{Action, Actions, Entry, Event};
use machine::time::Mono;
use std::collections::{BTreeSet, HashMap};
use std::ffi::{CStr, CString};
use sys::linux::fd::Fd;
use sys::linux::time;

/// Device and inode: a service under another name is the same service.
pub(super) type Id = (u64, u64);

/// A supervise that runs.
pub(super) struct Supervisor {
    /// Its pid.
    pub(super) pid: i32,
    /// Tells its death where it is not our child.
    pub(super) watch: Option<Fd>,
}

/// One service.
pub(super) struct Service {
    /// The last name it was seen under.
    pub(super) name: CString,
    /// Names that stand for it now.
    pub(super) names: usize,
    /// Its supervise, as far as it is known.
    pub(super) supervisor: Option<Supervisor>,
    entry: Entry,
    deadline: Option<Mono>,
}

/// All services.
#[derive(Default)]
pub(super) struct Entries {
    by_id: HashMap<Id, Service>,
    by_name: HashMap<CString, Id>,
    by_pid: HashMap<i32, Id>,
    deadlines: BTreeSet<(Mono, Id)>,
    /// Supervises that are not our children, by what tells their death.
    watches: HashMap<i32, i32>,
    /// Decided, not yet done.
    pub(super) due: Vec<(Id, Action)>,
}

impl Entries {
    /// Notes that `name` stands for the directory `id` now, or for nothing.
    pub(super) fn named(&mut self, name: CString, id: Option<Id>) {
        let before = match id {
            Some(id) => self.by_name.insert(name.clone(), id),
            None => self.by_name.remove(&name),
        };
        if before == id {
            return;
        }
        if let Some(id) = id {
            self.appeared(id, name);
        }
        if let Some(service) = before.and_then(|id| self.by_id.get_mut(&id)) {
            service.names -= 1;
        }
    }

    fn appeared(&mut self, id: Id, name: CString) {
        if let Some(service) = self.by_id.get_mut(&id) {
            service.names += 1;
            service.name = name;
            self.step(id, Event::Appeared);
            return;
        }
        let (entry, first) = Entry::new();
        let service = Service { name, names: 1, supervisor: None, entry, deadline: None };
        self.by_id.insert(id, service);
        self.due.push((id, first));
    }

    /// Tells those that no name stands for any more. To be called when all names were looked at:
    /// a rename is two of them.
    pub(super) fn forget_nameless(&mut self) {
        let nameless = self.by_id.iter().filter(|(_, s)| s.names == 0).map(|(id, _)| *id);
        for id in nameless.collect::<Vec<_>>() {
            self.step(id, Event::Disappeared);
        }
    }

    /// Returns the names that are known.
    pub(super) fn names(&self) -> Vec<CString> {
        self.by_name.keys().cloned().collect()
    }

    /// Tells whether a name stands for a service.
    pub(super) fn has(&self, name: &CStr) -> bool {
        self.by_name.contains_key(name)
    }

    /// Returns one service.
    pub(super) fn get(&self, id: Id) -> Option<&Service> {
        self.by_id.get(&id)
    }

    /// Tells one service what happened.
    pub(super) fn step(&mut self, id: Id, event: Event) {
        let Some(service) = self.by_id.get_mut(&id) else { return };
        let mut actions = Actions::default();
        service.entry.step(event, Mono(time::monotonic()), &mut actions);
        while let Some(action) = actions.pop() {
            self.due.push((id, action));
        }
        let deadline = service.entry.deadline();
        if deadline != service.deadline {
            if let Some(old) = service.deadline {
                self.deadlines.remove(&(old, id));
            }
            if let Some(new) = deadline {
                self.deadlines.insert((new, id));
            }
            service.deadline = deadline;
        }
    }

    /// Tells every service.
    pub(super) fn step_all(&mut self, event: Event) {
        for id in self.by_id.keys().copied().collect::<Vec<_>>() {
            self.step(id, event);
        }
    }

    /// Tells those whose deadline has passed.
    pub(super) fn tick(&mut self) {
        let now = Mono(time::monotonic());
        let past = self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id);
        for id in past.collect::<Vec<_>>() {
            self.step(id, Event::Tick);
        }
    }

    /// Returns the next deadline.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Notes a supervise.
    pub(super) fn supervised(&mut self, id: Id, supervisor: Supervisor) {
        if let Some(service) = self.by_id.get_mut(&id) {
            self.by_pid.insert(supervisor.pid, id);
            if let Some(watch) = &supervisor.watch {
                self.watches.insert(supervisor.pid, watch.raw());
            }
            service.supervisor = Some(supervisor);
        }
    }

    /// Notes that a process is dead; returns the service whose supervise it was.
    pub(super) fn died(&mut self, pid: i32) -> Option<Id> {
        self.watches.remove(&pid);
        let id = self.by_pid.remove(&pid)?;
        self.by_id.get_mut(&id)?.supervisor = None;
        Some(id)
    }

    /// Drops a service of which nothing is left to know.
    pub(super) fn forget(&mut self, id: Id) {
        if let Some(service) = self.by_id.remove(&id) {
            if let Some(at) = service.deadline {
                self.deadlines.remove(&(at, id));
            }
            if service.names > 0 {
                self.by_name.remove(&service.name);
            }
            if service.names > 1 {
                self.by_name.retain(|_, its| *its != id);
            }
        }
    }

    /// Returns all services.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Id, &Service)> {
        self.by_id.iter()
    }

    /// Returns pid and descriptor of each supervise that is not our child.
    pub(super) fn watches(&self) -> impl Iterator<Item = (i32, i32)> {
        self.watches.iter().map(|(pid, watch)| (*pid, *watch))
    }

    /// Tells whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
