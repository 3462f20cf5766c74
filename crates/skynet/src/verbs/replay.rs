//! `skynet replay`: a recorded item once more, in the foreground and for nobody.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::items::{self, pick};
use crate::service::{self, Service};
use clap::Args;
use exo::settings::Settings;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use sys::linux::{fd, memfile};

/// Where programs of a participant that root tries are looked for by what starts them.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Gives a recorded item to its participant once more, here.
///
/// What it would answer is written; nothing is recorded and nobody is answered. It runs as whoever
/// asks; where root asks, as the participant's user. The exit code is that of exo local.
#[derive(Debug, Args)]
pub struct Replay {
    /// A job (job-NUMBER), or the process that it belongs to.
    #[arg(value_name = "WFID|JOB")]
    name: String,
    /// Of a process with items of several participants, this one's.
    #[arg(long, value_name = "NAME")]
    participant: Option<String>,
}

/// Runs it.
///
/// # Errors
/// There is no such job, or its participant is not there.
pub fn run(args: &Replay, here: &Here) -> Answer {
    let reader = items::reader(here)?;
    let picked = pick::pick(&reader, std::slice::from_ref(&args.name))?;
    if picked.some_are_unknown {
        return Ok(picked.code());
    }
    let jobs = picked.named.into_iter().flat_map(|named| named.jobs);
    let mut takers = Takers::new(here, args.participant.as_deref())?;
    let (mut found, mut queues) = (Vec::new(), Vec::new());
    for job in jobs {
        match takers.of(&job.queue) {
            Some(taker) => found.push((job, taker)),
            None => queues.push(job.queue),
        }
    }
    // The newest of those that one participant had.
    let Some((job, (service, settings))) = found.pop() else {
        queues.dedup();
        let line = format!("no participant here takes from the queue {}", queues.join(", "));
        return Err(Failure::unknown(line));
    };
    if found.iter().any(|(other, _)| other.queue != job.queue) {
        let line = "it has items of several participants; name the job, or --participant";
        return Err(Failure::usage(line));
    }
    let item = reader.item(job.id)?;
    let item = item.ok_or_else(|| Failure::unknown("its item is not there any more"))?;
    // As its last attempt was begun.
    let attempt = reader.attempt(job.id, None)?;
    let told = match &attempt {
        Some(attempt) => (Some(attempt.number), attempt.stage.as_deref()),
        None => (None, job.stage.as_deref()),
    };
    Err(become_it(here, &service, &settings, told, &item))
}

/// The participants by their queues.
struct Takers {
    services: Vec<Service>,
}

impl Takers {
    fn new(here: &Here, only: Option<&str>) -> Result<Self, Failure> {
        let mut services = service::all(here)?;
        services.retain(|service| {
            service.is_participant && only.is_none_or(|name| service.name == name)
        });
        Ok(Self { services })
    }

    /// Returns who takes from a queue; one that is called like it comes first.
    fn of(&mut self, queue: &str) -> Option<(Service, Settings)> {
        self.services.sort_by_key(|service| service.name != queue);
        for service in &self.services {
            // What is wrong with another participant is of no matter here.
            let Ok(loaded) = service.load() else { continue };
            if loaded.settings.queue == queue {
                return Some((service.clone(), loaded.settings));
            }
        }
        None
    }
}

/// Becomes exo, which runs the participant.
fn become_it(
    here: &Here,
    service: &Service,
    settings: &Settings,
    (attempt, stage): (Option<u32>, Option<&str>),
    item: &[u8],
) -> Failure {
    // On descriptor 0, which stays open when another program is run.
    let item = memfile::sealed(c"item", item).and_then(|item| fd::dup_to(item.raw(), 0));
    if let Err(why) = item {
        return Failure::errno("hand over", "the item", why);
    }
    let exo = here.program("exo");
    let user = settings.user.as_deref().filter(|_| here.uid == 0);
    let mut command = match user {
        Some(user) => {
            let mut command = Command::new(here.program("setuidgid"));
            command.arg(user).arg(&exo).env_clear().env("PATH", path_of(here)).env("HOME", "/");
            command
        }
        None => Command::new(&exo),
    };
    command.args(["local", "--item", "-"]).current_dir(&service.dir);
    if let Some(number) = attempt {
        command.arg(format!("--attempt={number}"));
    }
    if let Some(stage) = stage {
        command.arg(format!("--stage={stage}"));
    }
    let config = here.places().config.as_ref();
    if let Some(config) = config.filter(|config| here.is_system() && config.is_dir()) {
        command.env("SKYNET_CONFIG", config);
    }
    let why = command.exec();
    Failure::io("run", exo.display(), &why)
}

fn path_of(here: &Here) -> OsString {
    let own = here.programs.iter().cloned();
    let all = own.chain(std::env::split_paths(PATH).collect::<Vec<PathBuf>>());
    std::env::join_paths(all).unwrap_or_else(|_| PATH.into())
}
