//! The keeper: starts, signals and reaps participants, and has the rights to do so.
//!
//! It reads no byte that a participant or a sender wrote.

mod ahead;
mod cgroups;
mod claim;
mod descriptors;
mod environment;
mod launch;
mod people;
mod places;
mod priority;
mod ready;
mod replace;
mod serve;
mod status;

use crate::accounts::Person;
use crate::settings::{Life, Settings};
use cgroups::{Cgroups, Missing};
use claim::Claim;
pub(crate) use descriptors::are_plenty;
use launch::Launcher;
use people::People;
use places::Control;
use priority::Usual;
use ready::Ready;
use replace::Next;
use serve::Keeper;
use std::ffi::{CStr, OsStr, OsString};
use std::path::Path;
use sys::confine::Confinement;
use sys::linux::errno::Errno;
use sys::linux::fd::{self, Fd};
use sys::linux::file::flags::EBADF;
use sys::linux::process::{self, Fork};
use sys::linux::signal::{self, Set, numbers};
use sys::linux::{file, identity, ids, message, socket};
use sys::privilege;
use sys::program::Program;

const EXO: Program = Program("exo");

/// What a keeper is called while participants may run, by which a worker knows those of another exo.
pub(crate) const NAME: &CStr = c"exo-keeper";

/// What the worker begins with. All descriptors are close-on-exec and do not block; besides them it
/// has 0, 1 and 2.
#[derive(Debug)]
pub struct WorkerEnds {
    /// Orders go out here, reports come in, one a packet: see [`crate::order`]. At its end the
    /// keeper is dead.
    pub keeper: Fd,
    /// The control socket, listening; `None` where it could not be made, which was said.
    pub control: Option<Fd>,
    /// The keeper's pid: every participant, and whatever one of them leaves behind, is a descendant
    /// of this process.
    pub keeper_pid: i32,
    /// User of the participants. Where it is the worker's own, who is at the other end of a socket
    /// is told by whom it descends from, not by the user.
    pub participant_uid: u32,
}

/// Why exo cannot be started.
#[derive(Debug)]
struct Trouble {
    what: OsString,
    why: Option<Errno>,
}

impl Trouble {
    fn plain(what: String) -> Self {
        Self { what: what.into(), why: None }
    }

    fn of(what: String, why: Errno) -> Self {
        Self { what: what.into(), why: Some(why) }
    }

    fn about(what: &str, path: &Path, why: Errno) -> Self {
        let mut whole = OsString::from(what);
        whole.push(" ");
        whole.push(path);
        Self { what: whole, why: Some(why) }
    }

    fn words(&self) -> String {
        let what = self.what.to_string_lossy();
        self.why.map_or_else(|| what.clone().into_owned(), |why| format!("{what}: {why}"))
    }

    fn warn(&self) {
        match self.why {
            Some(why) => EXO.warning(&[&self.what], why),
            None => EXO.warning_plain(&[&self.what]),
        }
    }

    fn say(&self) -> i32 {
        match self.why {
            Some(why) => EXO.fatal(&[&self.what], why),
            None => EXO.fatal_plain(&[&self.what]),
        }
    }
}

/// Runs exo: makes what the worker needs, forks it, in which `worker` is called with its rights
/// dropped, and keeps the participants until it is gone. Returns the exit code.
///
/// To be called with one thread, and with no descriptor open but the standard ones and
/// [`Settings::ready_fd`]: all others are closed.
#[must_use]
pub fn run(settings: Settings, worker: fn(Settings, WorkerEnds) -> i32) -> i32 {
    match begin(settings, worker) {
        Ok(code) => code,
        Err(trouble) => trouble.say(),
    }
}

/// Makes the folder of the store, where it is missing, for the worker, as root does.
///
/// # Errors
/// Why not, in words.
pub(crate) fn make_store(path: &Path, worker: &Person) -> Result<(), String> {
    places::make_store(path, Some(worker)).map_err(|trouble| trouble.words())
}

fn begin(settings: Settings, worker: fn(Settings, WorkerEnds) -> i32) -> Result<i32, Trouble> {
    let (ready, kept) = tidy_up(settings.ready_fd, claim::kept(&settings))?;
    let ready = Ready::new(ready);
    let descriptors = descriptors::raise(settings.instances)?;
    let people = People::find(&settings)?;
    // Before anything that another exo may be using.
    let claim = Claim::take(&settings, kept)?;
    places::make_folders(&settings, &people)?;
    let (claim, control, listening) = make_socket(claim, &settings, &people);
    let confinement = confine(&settings, &people)?;
    let People { worker: person, participant, are_become } = people;
    let participant_uid = participant.uid;
    let launcher = {
        let lock = claim.as_ref().map(Claim::lock);
        Launcher::new(&settings, participant, are_become, confinement, descriptors, lock)?
    };
    let cgroups = if are_become { make_cgroups(&settings, participant_uid != 0) } else { None };
    look_for_children();
    let (ours, theirs) = socket_pair().map_err(unable("make a socket for the worker"))?;
    let signals = take_over().map_err(unable("wait for signals"))?;
    let of_keeper = (settings.instances, settings.mode, settings.times.shutdown, settings.life);
    let keeper_pid = process::pid();
    let pid = match process::fork().map_err(unable("start the worker"))? {
        Fork::Child => {
            become_worker(are_become.then_some(&person));
            drop((ready, claim, control, cgroups, launcher, ours, signals));
            let ends =
                WorkerEnds { keeper: theirs, control: listening, keeper_pid, participant_uid };
            std::process::exit(worker(settings, ends))
        }
        Fork::Parent(pid) => pid,
    };
    drop((settings, theirs, listening));
    message::never_wait();
    process::set_name(NAME);
    let usual = Usual::exceed();
    let (next, ready) =
        Keeper::new((launcher, cgroups), ready, signals, (pid, ours), (usual, of_keeper)).serve();
    if let (Some(control), Some(claim)) = (&control, &claim) {
        control.remove(&claim.folder);
    }
    match next {
        Next::End(code) => {
            claim.into_iter().for_each(Claim::release);
            Ok(code)
        }
        Next::Exo { is_drained } => {
            ready.pass_on();
            claim.iter().for_each(Claim::hand_on);
            descriptors::set(descriptors)?;
            usual.map_or(Ok(()), Usual::resume).map_err(unable("set the nice value"))?;
            Ok(replace::become_next(is_drained))
        }
    }
}

/// Makes the control socket, or says why there is none: all else goes on without.
fn make_socket(
    claim: Result<Claim, Trouble>,
    settings: &Settings,
    people: &People,
) -> (Option<Claim>, Option<Control>, Option<Fd>) {
    let claim = claim.inspect_err(Trouble::warn).ok();
    let made = claim.as_ref().map(|claim| Control::make(&claim.folder, settings, people));
    match made {
        Some(Ok((control, listening))) => (claim, Some(control), Some(listening)),
        Some(Err(trouble)) => {
            trouble.warn();
            (claim, None, None)
        }
        None => (None, None, None),
    }
}

fn unable(what: &'static str) -> impl Fn(Errno) -> Trouble {
    move |why| Trouble::of(format!("unable to {what}"), why)
}

/// Leaves behind what whoever started us may have left open or set, but for these: the descriptor that
/// is told when we are ready, and the lock that the exo before us had. Returns both.
fn tidy_up(ready: Option<i32>, lock: Option<i32>) -> Result<(Option<Fd>, Option<Fd>), Trouble> {
    fd::fill_standard();
    // Nobody may be reading what we say.
    signal::ignore(numbers::SIGPIPE);
    file::set_umask(0o022);
    // What is in our memory is nobody's business, one of our own user included.
    process::forbid_tracing();
    if let Some(ready) = ready {
        let why = if ready > 2 { fd::set_cloexec(ready, true) } else { Err(Errno(EBADF)) };
        let what = || format!("unable to use descriptor {ready} for readiness");
        why.map_err(|why| Trouble::of(what(), why))?;
    }
    let lock = lock.filter(|lock| ready != Some(*lock) && fd::set_cloexec(*lock, true).is_ok());
    let mut kept: Vec<i32> = ready.into_iter().chain(lock).collect();
    kept.sort_unstable();
    let mut first = 3;
    for one in kept {
        if first < one as u32 {
            fd::close_between(first, one as u32 - 1);
        }
        first = one as u32 + 1;
    }
    fd::close_between(first, u32::MAX);
    Ok((ready.map(Fd::from_raw), lock.map(Fd::from_raw)))
}

fn socket_pair() -> sys::linux::errno::Result<(Fd, Fd)> {
    let (ours, theirs) = socket::pair(socket::Kind::Messages)?;
    fd::set_nonblock(ours.raw(), true)?;
    fd::set_nonblock(theirs.raw(), true)?;
    Ok((ours, theirs))
}

/// Becomes the reaper of whatever will be started, and blocks what is read from the descriptor that
/// it returns.
fn take_over() -> sys::linux::errno::Result<Fd> {
    process::become_subreaper()?;
    let wanted = [numbers::SIGTERM, numbers::SIGINT, numbers::SIGHUP, numbers::SIGCHLD];
    let wanted = Set::of(&wanted);
    wanted.block_only();
    wanted.descriptor()
}

/// In the worker, before anything else: gives up every right that it has beyond its user's, or ends.
fn become_worker(person: Option<&Person>) {
    let dropped = match person {
        Some(person) => privilege::become_user(person.uid, person.gid, &person.groups),
        None => ids::drop_capabilities().map_err(privilege::Failure::Capabilities),
    };
    let dropped = dropped.map_err(privilege::Failure::errno);
    if let Err(why) = dropped.and_then(|()| process::gain_no_rights()) {
        process::exit(EXO.fatal(&[OsStr::new("unable to drop the worker's rights")], why));
    }
    process::forbid_tracing();
    process::set_name(c"exo-worker");
    file::set_umask(0o077);
    // The keeper says when it is over: it is told the same, by a terminal for one.
    for number in [numbers::SIGTERM, numbers::SIGINT, numbers::SIGHUP] {
        signal::ignore(number);
    }
    Set::of(&[]).block_only();
}

/// Makes the cgroups of the participants, and kills what an earlier keeper left in them: it may have
/// been killed itself.
fn make_cgroups(settings: &Settings, are_closed: bool) -> Option<Cgroups> {
    match Cgroups::make(settings, are_closed) {
        Ok(mut cgroups) => {
            if cgroups.clear(serve::after(serve::PATIENCE)) {
                cgroups.try_to_make();
            } else {
                EXO.warning_plain(&[OsStr::new("processes of an earlier exo do not die")]);
            }
            Some(cgroups)
        }
        Err(Missing(why)) => {
            let text = format!("no cgroups, so what participants start may outlive exo: {why}");
            EXO.warning_plain(&[OsStr::new(&text)]);
            None
        }
    }
}

/// Says so where nobody can be found who has left its parent: it counts as not there.
fn look_for_children() {
    if let Err(why) = identity::for_each_child(|_| ()) {
        let what = "unable to list processes, so those that a participant leaves behind live on";
        EXO.warning(&[OsStr::new(what)], why);
    }
}

/// Makes the rules for participants, and says what holds where they have the worker's own user. All
/// others are kept from the participants of other services, whose account may be the same; so is one
/// that is only tried: what exo has there is no secret to whoever tries it, and all that works by hand
/// is to work there, too.
fn confine(settings: &Settings, people: &People) -> Result<Option<Confinement>, Trouble> {
    let warn = |what: &str| EXO.warning_plain(&[OsStr::new(what)]);
    if people.are_become && people.participant.uid == 0 {
        warn("the participant runs as root: nothing keeps it from anything");
        return Ok(None);
    }
    if !people.are_one() || settings.life == Life::Session {
        return Confinement::apart().map_err(unable("confine the participant"));
    }
    let mut forbidden = vec![&*settings.store, &settings.spool, &settings.run];
    forbidden.extend(settings.secrets.iter().map(|path| &**path));
    let confinement = Confinement::new(&forbidden, &[&settings.directory]);
    let confinement = confinement.map_err(unable("confine the participant"))?;
    let who = if people.are_become {
        "exo's worker and its participant are one user"
    } else {
        "not started by root: exo and its participant are one user"
    };
    let holds = match &confinement {
        None => "this kernel has no Landlock, so it may open exo's folders and signal exo",
        Some(rules) if !rules.holds_signals() => {
            "Landlock keeps it from exo's folders; it may signal exo (Linux 6.12 would not let it) and \
             connect to the sockets of this user (Linux 7.1 would not let it), where an exo refuses it"
        }
        Some(rules) if !rules.holds_sockets() => {
            "Landlock keeps it from exo's folders and processes; it may connect to the sockets of this \
             user (Linux 7.1 would not let it), where an exo refuses it"
        }
        Some(_) => "Landlock keeps it from exo's folders, sockets and processes",
    };
    warn(&format!("{who}; {holds}"));
    Ok(confinement)
}
