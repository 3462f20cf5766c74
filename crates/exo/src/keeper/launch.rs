//! A start of the participant: everything is prepared here, so that the child makes nothing but
//! system calls until it runs its program.
//!
//! The child is a plain copy of the keeper, which is small and goes on meanwhile: whoever shares
//! another's memory until then makes it wait, for as long as others keep the child from going on.
//!
//! A child can be made while the one before it runs, too: it waits at a gate before it gives up its
//! rights, so that nobody of its user can stop it, signal it, or lower its limits.

use super::Trouble;
use super::ahead::{self, Ahead};
use super::cgroups::{Cgroups, Seat};
use super::environment::Environment;
use super::priority::Usual;
use super::status::{self, Status, Teller};
use crate::accounts::Person;
use crate::order::{DESCRIPTORS, Start, Step};
use crate::settings::{Limits, Settings};
use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use sys::confine::Confinement;
use sys::linux::errno::{Errno, Result};
use sys::linux::fd::{self, Fd};
use sys::linux::file::HERE;
use sys::linux::file::flags::{EACCES, ENOENT, ENOTDIR, EPERM};
use sys::linux::limit::{self, Limit, Resource};
use sys::linux::process::{self, Fork};
use sys::linux::signal::{Ignored, Set};
use sys::linux::{file, ids};
use sys::privilege;

/// Whatever is the same for every start.
#[derive(Debug)]
pub(super) struct Launcher {
    /// What may be the program, the first that can be run is.
    programs: Vec<CString>,
    arguments: Vec<CString>,
    environment: Environment,
    directory: CString,
    limits: Vec<(Resource, Limit)>,
    umask: u32,
    /// Whom it becomes, and room to read that back; `None` = it stays who we are.
    person: Option<(Person, Vec<u32>)>,
    confinement: Option<Confinement>,
    /// How often its rules were made anew.
    rules: u64,
    keeper: i32,
    /// The descriptor of the keeper's claim.
    claim: Option<i32>,
    /// What the keeper ignores, as whoever started it may have wanted.
    ignored: Ignored,
    /// The nice value of all others, where the keeper goes before them.
    pub(super) usual: Option<Usual>,
}

impl Launcher {
    /// Prepares what can be prepared.
    pub(super) fn new(
        settings: &Settings,
        participant: Person,
        is_become: bool,
        confinement: Option<Confinement>,
        descriptors: Limit,
        claim: Option<i32>,
    ) -> std::result::Result<Self, Trouble> {
        let nothing = || Trouble::plain("unable to run the participant: no command".to_owned());
        let first = settings.command.first().ok_or_else(nothing)?;
        let directory = CString::new(settings.directory.as_os_str().as_bytes());
        let directory = directory
            .map_err(|_| Trouble::about("unable to run in", &settings.directory, Errno(ENOENT)))?;
        let environment = Environment::new(settings, &participant)?;
        let room = vec![0; participant.groups.len() + 1];
        Ok(Self {
            programs: programs(first, &settings.path),
            arguments: settings.command.clone(),
            environment,
            directory,
            limits: limits(&settings.limits, descriptors),
            umask: settings.umask,
            person: is_become.then_some((participant, room)),
            confinement,
            rules: 0,
            keeper: process::pid(),
            claim,
            ignored: Ignored::now(),
            usual: None,
        })
    }

    /// Makes the rules for participants anew where that is needed. Returns which they are, by number.
    pub(super) fn renew(&mut self) -> u64 {
        // Where that fails: the older ones forbid what is to be forbidden, too.
        let is_renewed = self.confinement.as_mut().is_some_and(|it| it.renew().unwrap_or(false));
        self.rules += u64::from(is_renewed);
        self.rules
    }

    /// Begins a start of the participant: returns the child's pid, and where it says how it goes.
    /// `descriptors`, all of them beyond those that it will have, become its 0 to 3.
    pub(super) fn start(
        &mut self,
        start: &Start,
        descriptors: [i32; DESCRIPTORS],
        cgroups: Option<(&mut Cgroups, Seat)>,
    ) -> Result<(i32, Status)> {
        let lock = cgroups.as_ref().map(|(cgroups, _)| cgroups.lock());
        self.launch(start, descriptors, (lock, None), || match cgroups {
            Some((cgroups, seat)) => cgroups.fork(seat),
            None => Ok((process::fork()?, None)),
        })
    }

    /// Makes the child of a start that waits at its gate.
    ///
    /// # Errors
    /// Where it cannot be made in its cgroup, for one: to move there takes what it is to save.
    pub(super) fn make_ahead(
        &mut self,
        start: &Start,
        descriptors: [i32; DESCRIPTORS],
        (cgroups, seat): (&mut Cgroups, Seat),
    ) -> Result<Ahead> {
        let rules = self.renew();
        let (gate, go) = fd::pipe()?;
        let gate = fd::move_beyond(gate, DESCRIPTORS as i32)?;
        let lock = Some(cgroups.lock());
        let (pid, status) = self.launch(start, descriptors, (lock, Some(gate)), || {
            Ok((cgroups.fork_into(seat)?, None))
        })?;
        Ok(Ahead { pid, seat, status, rules, go })
    }

    fn launch(
        &mut self,
        start: &Start,
        descriptors: [i32; DESCRIPTORS],
        (lock, gate): (Option<i32>, Option<Fd>),
        fork: impl FnOnce() -> Result<(Fork, Option<Fd>)>,
    ) -> Result<(i32, Status)> {
        let variables = self.environment.of(start);
        let variables = variables.pointers();
        let arguments = pointers(self.arguments.iter());
        let child = Child {
            programs: &self.programs,
            arguments: &arguments,
            variables: &variables,
            directory: &self.directory,
            limits: &self.limits,
            umask: self.umask,
            person: self.person.as_mut().map(|(person, room)| (&*person, room.as_mut_slice())),
            confinement: self.confinement.as_ref(),
            keeper: self.keeper,
            ignored: self.ignored,
            usual: self.usual,
            descriptors,
            locks: [lock, self.claim],
            door: None,
            gate,
        };
        child.launch(fork)
    }
}

/// What one child needs, all of it borrowed.
struct Child<'a> {
    programs: &'a [CString],
    arguments: &'a [*const c_char],
    variables: &'a [*const c_char],
    directory: &'a CStr,
    limits: &'a [(Resource, Limit)],
    umask: u32,
    person: Option<(&'a Person, &'a mut [u32])>,
    confinement: Option<&'a Confinement>,
    keeper: i32,
    ignored: Ignored,
    usual: Option<Usual>,
    descriptors: [i32; DESCRIPTORS],
    /// What it must not keep for a moment: the next keeper waits for them.
    locks: [Option<i32>; 2],
    /// By which it enters its cgroup, where it was not made in it.
    door: Option<Fd>,
    /// Where it waits with all its rights.
    gate: Option<Fd>,
}

impl Child<'_> {
    fn launch(
        mut self,
        fork: impl FnOnce() -> Result<(Fork, Option<Fd>)>,
    ) -> Result<(i32, Status)> {
        let (status, mut teller) = status::pair()?;
        let (made, door) = fork()?;
        if let Fork::Parent(pid) = made {
            return Ok((pid, status));
        }
        self.door = door;
        let why = match self.prepare(&mut teller) {
            Ok(()) => self.run(&mut teller),
            Err(why) => why,
        };
        teller.fail(why);
        process::exit(111)
    }

    /// In the child. The order counts: what needs rights, then the rights go, and only then is
    /// anything touched that is the participant's.
    fn prepare(&mut self, teller: &mut Teller) -> Result<()> {
        // A fresh child leads no group, so this cannot fail.
        let _ = process::setsid();
        self.ignored.reset();
        for lock in self.locks.into_iter().flatten() {
            fd::close_between(lock as u32, lock as u32);
        }
        if let Some(door) = &self.door {
            fd::write_all(door.raw(), b"0")?;
        }
        for (from, to) in self.descriptors.into_iter().zip(0..) {
            fd::dup_to(from, to)?;
        }
        fd::close_on_exec_from(DESCRIPTORS as u32);
        teller.begin(Step::Limits);
        self.usual.map_or(Ok(()), Usual::resume)?;
        for (resource, limit) in self.limits {
            limit::set(*resource, *limit)?;
        }
        file::set_umask(self.umask);
        if let Some(gate) = &self.gate {
            process::die_with(self.keeper)?;
            ahead::wait_at(gate, [teller.raw(), self.confinement.map_or(-1, Confinement::raw)]);
        }
        teller.begin(Step::User);
        match &mut self.person {
            Some((person, room)) => {
                privilege::become_user_with(person.uid, person.gid, &person.groups, room)
                    .map_err(privilege::Failure::errno)?;
            }
            None => ids::drop_capabilities()?,
        }
        teller.begin(Step::Confine);
        process::gain_no_rights()?;
        // Behind the change of the user, which would undo it.
        process::die_with(self.keeper)?;
        if let Some(confinement) = self.confinement {
            confinement.enter()?;
        }
        teller.begin(Step::Directory);
        file::chdir(self.directory)?;
        teller.begin(Step::Run);
        // Last: until here no signal can reach code that is not ours.
        Set::of(&[]).block_only();
        Ok(())
    }

    /// Returns why no program was run: that it may not is worth more than that it is not there.
    fn run(&self, teller: &mut Teller) -> Errno {
        let (mut kept, mut is_there) = (Errno(ENOENT), false);
        for path in self.programs {
            match process::exec_with(path, self.arguments, self.variables) {
                // Of what runs it, too; who may look at all of its way is only here.
                Errno(ENOENT | ENOTDIR) => is_there |= file::stat(HERE, path, true).is_ok(),
                why @ Errno(EACCES | EPERM) => kept = why,
                why => return why,
            }
        }
        if is_there && kept == Errno(ENOENT) {
            teller.begin(Step::Interpreter);
        }
        kept
    }
}

/// Returns where the program may be: itself where it has a slash, else in each folder of `path`, of
/// which an empty one is the participant's directory.
fn programs(name: &CStr, path: &str) -> Vec<CString> {
    if name.to_bytes().contains(&b'/') {
        return vec![name.to_owned()];
    }
    let folders = path.split(':').map(|folder| if folder.is_empty() { "." } else { folder });
    let paths = folders.map(|folder| [folder.as_bytes(), b"/", name.to_bytes()].concat());
    paths.filter_map(|path| CString::new(path).ok()).collect()
}

/// Returns what to set; `descriptors`: what holds where nothing is said.
fn limits(limits: &Limits, descriptors: Limit) -> Vec<(Resource, Limit)> {
    let all = [
        (Resource::Processes, limits.processes),
        (Resource::AddressSpace, limits.memory),
        (Resource::FileSize, limits.file_size),
        (Resource::Core, limits.core),
        (Resource::CpuSeconds, limits.cpu_seconds),
    ];
    let both = |value| Limit { soft: value, hard: value };
    let files = (Resource::OpenFiles, limits.files.map_or(descriptors, both));
    let set = all.into_iter().filter_map(|(resource, value)| Some((resource, both(value?))));
    set.chain([files]).collect()
}

/// Returns the strings' addresses, a null pointer behind them.
pub(super) fn pointers<'a>(strings: impl Iterator<Item = &'a CString>) -> Vec<*const c_char> {
    strings.map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_in_the_path_unless_it_has_a_slash() {
        let rows: [(&CStr, &str, &[&CStr]); 4] = [
            (c"./run", "/bin", &[c"./run"]),
            (c"run", "/bin:/usr/bin", &[c"/bin/run", c"/usr/bin/run"]),
            (c"run", ":/bin", &[c"./run", c"/bin/run"]),
            (c"run", "", &[c"./run"]),
        ];
        for (name, path, wanted) in rows {
            assert_eq!(programs(name, path), wanted, "{name:?} in {path:?}");
        }
    }
}
