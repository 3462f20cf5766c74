//! What can be seen of services, of all at once: nothing is changed, and nobody is waited for who
//! does not answer.
//!
//! | module | |
//! |---|---|
//! | [`processes`] | all processes of the machine, each looked at once |
//! | [`asking`] | asking many exos at the same time |
//! | [`changes`] | being told that services stand otherwise |
//! | [`state`] | how a service stands, and what is wrong with it |
//! | [`overview`] | a line for each |
//! | [`depth`] | all that is known of one |
//! | [`page`] | the same for people |
//! | [`lines`] | what it said last |
//! | [`words`] | times and sizes |

pub mod asking;
pub mod changes;
pub mod depth;
pub mod lines;
pub mod overview;
pub mod page;
pub mod processes;
pub mod state;
pub mod words;

use crate::failure::Failure;
use crate::here::Here;
use crate::service::Service;
use crate::{life, store, svscan};
use asking::{Asking, Exo};
use daemontools::observe::{self, Half, Snapshot};
use daemontools::shares;
use daemontools::svlog::when;
use daemontools::svpath::Paths;
use exo::config::Loader;
use exo::settings::Settings;
use ondisk::names::RECORD;
use ondisk::record::Record;
use ondisk::status::Want;
use ondisk::tai64n::Stamp;
use processes::{Processes, Usage};
use state::{State, Trouble};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::flags::{EACCES, EPERM};
use work::Reader;
use work::read::Queue;

/// Jobs of a queue that are counted where all queues are looked at.
pub const COUNTED: u64 = 10_000;

/// What is seen of a service.
pub struct Seen {
    /// The service.
    pub service: Service,
    /// It starts with the system.
    pub is_enabled: bool,
    /// What its supervise folder says.
    pub now: Snapshot,
    /// What that of its logger says, where it has one.
    pub log: Option<Snapshot>,
    /// Why its supervise folder may not be looked into.
    pub refused: Option<Errno>,
    /// Who may.
    pub who_may: &'static str,
    /// What its exo is told, where it is a participant.
    pub config: Option<Result<Config, String>>,
    /// What its exo says.
    pub exo: Exo,
    /// How its queue stands.
    pub queue: Option<Queue>,
    /// What it uses, with all its processes but supervise and logger.
    pub usage: Usage,
    /// How it stands.
    pub state: State,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
}

/// What an exo is told, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its queue.
    pub queue: String,
    /// How many instances it has.
    pub instances: u16,
    /// Its control socket; `None` = another exoskeleton runs it.
    pub socket: Option<PathBuf>,
}

impl Config {
    fn of(settings: &Settings) -> Self {
        Self {
            queue: settings.queue.clone(),
            instances: settings.instances,
            socket: life::care::socket_of(settings),
        }
    }
}

impl Seen {
    /// Tells whether it runs, or needs no process.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.now.is_up() || self.refused.is_some() && matches!(self.exo, Exo::Told(_))
    }

    /// Returns the pid of the service, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        let is_alive = self.now.life == observe::Life::Certain;
        self.now.half.map(|half| half.status.pid).filter(|pid| is_alive && *pid != 0)
    }

    /// Returns since when it stands as it does.
    #[must_use]
    pub fn since(&self) -> Option<Stamp> {
        self.now.half.map(|half| half.status.since)
    }

    fn seconds(&self, now: Stamp) -> u64 {
        self.since().map_or(0, |since| since.seconds_until(now))
    }

    fn has_socket(&self) -> bool {
        self.socket().is_some()
    }

    fn socket(&self) -> Option<&PathBuf> {
        self.config.as_ref()?.as_ref().ok()?.socket.as_ref()
    }

    fn queue_name(&self) -> Option<&str> {
        self.config.as_ref()?.as_ref().ok().map(|config| &*config.queue)
    }

    fn wants_up(&self) -> bool {
        self.now.half.is_some_and(|half| half.status.want == Want::Up)
    }

    /// Returns starts after the first.
    #[must_use]
    pub fn restarts(&self) -> Option<u64> {
        self.now.record.map(|record| record.restarts)
    }

    /// Returns how many of its instances have an item in hand, and how many there are; `None` = it
    /// is no participant that runs and tells.
    #[must_use]
    pub fn instances(&self) -> Option<(usize, usize)> {
        let Exo::Told(told) = &self.exo else { return None };
        let all = &told.status.instances;
        Some((all.iter().filter(|one| one.is_busy()).count(), all.len()))
    }
}

/// What is seen of some services, and with them.
pub struct Sight {
    /// The services.
    pub services: Vec<Seen>,
    /// All processes.
    pub processes: Processes,
    /// The store; `None` = there is none.
    pub store: Result<Option<Reader>, Failure>,
    /// The svscan of the instance.
    pub svscan: Option<i32>,
    /// When this was.
    pub now: Stamp,
}

/// Looks at services. No more than `at_most` jobs of a queue are counted.
///
/// # Errors
/// Where the configuration is is not known.
pub fn see(here: &Here, services: &[Service], at_most: u64) -> Result<Sight, Failure> {
    let read = shares::all(services, |share: &[Service]| {
        let (mut paths, mut log_paths) = (life::paths(), life::paths());
        share.iter().map(|service| Read::of(service, &mut paths, &mut log_paths)).collect()
    });
    // Half of all processes may be supervises, of which it is known already that they live.
    let all = read.iter().flat_map(|read: &Read| [Some(&read.own), read.log.as_ref()]).flatten();
    let mut supervises: Vec<u32> = all.filter_map(Folder::supervise).collect();
    supervises.sort_unstable();
    let processes = Processes::read(&supervises);
    let loader = here.loader()?;
    let both: Vec<(&Service, Read)> = services.iter().zip(read).collect();
    let mut services = shares::all(&both, |share| {
        share.iter().map(|(service, read)| look_at(service, read, &processes, &loader)).collect()
    });
    let ask = |seen: &Seen| {
        let is_there = seen.now.is_up() || seen.refused.is_some();
        seen.socket().filter(|_| is_there).cloned()
    };
    let asking = Asking::begin(services.iter().map(ask).collect());
    // Services can be looked at all the same where it cannot be read.
    let store = store::read(here).and_then(|reader| {
        reader.as_ref().map(|reader| look_at_queues(&mut services, reader, at_most)).transpose()?;
        Ok(reader)
    });
    let svscans = processes.named(svscan::SVSCAN).map(|process| process.pid.cast_signed());
    let svscan = svscan::find_among(here, svscans);
    let answers = asking.finish();
    let now = when::now();
    for (seen, exo) in services.iter_mut().zip(answers) {
        seen.exo = exo;
        seen.state = state::of(seen, now);
        seen.trouble = state::trouble(seen, seen.state, svscan.is_some(), now);
        if let Some(pid) = seen.pid() {
            seen.usage = processes.usage_of_all(pid);
        }
    }
    Ok(Sight { services, processes, store, svscan, now })
}

/// What the files of a service say, before anybody has seen whether it is true.
struct Read {
    own: Folder,
    log: Option<Folder>,
}

impl Read {
    fn of(service: &Service, paths: &mut Paths, log_paths: &mut Paths) -> Self {
        let own = Folder::read(paths, &service.dir);
        let log = service.dir.join("log");
        let log = log.is_dir().then(|| Folder::read(log_paths, &log));
        Self { own, log }
    }
}

/// What a supervise folder says.
struct Folder {
    dir: PathBuf,
    kept: bool,
    half: Option<Half>,
    record: Option<Record>,
    /// Why we may not look into it.
    refused: Option<Errno>,
}

impl Folder {
    fn read(paths: &mut Paths, dir: &Path) -> Self {
        let kept = paths.set(dir.as_os_str().as_bytes()).and_then(|()| observe::is_kept(paths));
        let refused = kept.err().filter(|why| matches!(why.0, EACCES | EPERM));
        let half = observe::read_status(paths).ok().map(|status| status.service());
        let record = observe::read_record(paths, RECORD);
        Self { dir: dir.to_owned(), kept: kept.unwrap_or(false), half, record, refused }
    }

    fn supervise(&self) -> Option<u32> {
        self.record.filter(|_| self.kept).map(|record| record.supervisor.pid)
    }

    fn snapshot(&self, processes: &Processes) -> Snapshot {
        /// What is written in two steps fits together at the next look.
        const LOOKS: usize = 3;
        let mut now = Snapshot::new(self.kept, self.half, self.record, processes);
        for _ in 1..LOOKS {
            if !now.is_torn {
                break;
            }
            let again = Self::read(&mut life::paths(), &self.dir);
            now = Snapshot::new(again.kept, again.half, again.record, processes);
        }
        now
    }
}

fn look_at(service: &Service, read: &Read, processes: &Processes, loader: &Loader) -> Seen {
    let load = || {
        let first = |trouble: exo::config::Trouble| {
            trouble.lines.into_iter().next().map(|line| line.to_string())
        };
        let read = loader.load(&service.dir);
        read.map(|read| Config::of(&read.settings)).map_err(|why| first(why).unwrap_or_default())
    };
    let refused = read.own.refused;
    let log = read.log.as_ref().filter(|_| refused.is_none());
    Seen {
        is_enabled: service.is_enabled(),
        service: service.clone(),
        now: read.own.snapshot(processes),
        log: log.map(|log| log.snapshot(processes)),
        refused,
        who_may: "root, or its owner,",
        config: service.is_participant.then(load),
        exo: Exo::Absent,
        queue: None,
        usage: Usage::default(),
        state: State::Unknown,
        trouble: None,
    }
}

fn look_at_queues(services: &mut [Seen], reader: &Reader, at_most: u64) -> Result<(), Failure> {
    let names: Vec<&str> = services.iter().filter_map(Seen::queue_name).collect();
    let queues = reader.standings(&names, at_most)?;
    let with_queue = services.iter_mut().filter(|seen| seen.queue_name().is_some());
    for (seen, queue) in with_queue.zip(queues) {
        seen.queue = Some(queue);
    }
    Ok(())
}

#[cfg(test)]
mod renderings;
