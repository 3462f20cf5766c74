//! What changes how services stand: steps, taken for many services at once.
//!
//! | module | |
//! |---|---|
//! | [`plan`] | what is to be done for one service |
//! | [`care`] | steps that several verbs share |
//! | `walk` | doing it for all of them, with one wait |
//! | `words` | the lines that say how it went |

pub mod care;
pub mod plan;
mod walk;
mod words;

pub use walk::{Guard, Terms, walk};
pub(crate) use words::last_exit;

use crate::failure::{Answer, code, say};
use crate::here::Here;
use crate::names::Names;
use crate::service::{self, Service};
use crate::svscan;
use clap::Args;
use daemontools::observe::{self, Boot, Snapshot};
use daemontools::svpath::Paths;
use plan::{Plan, Task};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::linux::file::flags::{EACCES, EPERM};

/// How long a verb waits.
#[derive(Clone, Copy, Debug, Args)]
pub struct Patience {
    /// Tell the services, and do not wait for the effect.
    #[arg(long)]
    pub no_wait: bool,
    /// Wait no longer than this.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub timeout: Duration,
}

impl Patience {
    /// Returns when it is over, as nanoseconds of the monotonic clock, for a wait that began then.
    #[must_use]
    pub fn deadline(&self, begun: u64) -> u64 {
        begun.saturating_add(u64::try_from(self.timeout.as_nanos()).unwrap_or(u64::MAX))
    }
}

pub(crate) fn time(text: &str) -> Result<Duration, String> {
    work::units::duration(text).map_err(|why| why.to_string())
}

/// How a service stands before anything is done.
pub struct Sight<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its directory without links.
    pub dir: PathBuf,
    /// What its supervise folder says.
    pub snapshot: Snapshot,
    /// Whether a svscan watches the service folder.
    pub has_svscan: bool,
    /// It was not named: it is among all.
    pub is_by_all: bool,
}

impl Sight<'_> {
    /// Tells whether it runs and a supervise keeps it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.snapshot.kept && self.snapshot.is_up()
    }

    /// Tells whether it runs and was told to end: it is to stay down behind that.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        care::is_ending(&self.snapshot)
    }

    /// Tells whether a supervise keeps it, or will: svscan watches and has it.
    #[must_use]
    pub fn is_in_care(&self) -> bool {
        self.snapshot.kept || self.service.is_linked && self.has_svscan
    }
}

/// Looks at one service directory after the other.
pub struct Looker {
    paths: Paths,
    boot: Boot,
}

impl Looker {
    /// Learns which boot this is, once for all.
    #[must_use]
    pub fn new() -> Self {
        Self { paths: paths(), boot: Boot::this() }
    }

    /// Looks at a service directory.
    pub fn look(&mut self, dir: &Path) -> Snapshot {
        let _ = self.paths.set(dir.as_os_str().as_bytes());
        Snapshot::take(&mut self.paths, &self.boot)
    }

    /// What cannot be looked at would pass for a service that is down.
    fn may_look(&mut self, dir: &Path) -> Result<(), String> {
        let set = self.paths.set(dir.as_os_str().as_bytes());
        match set.and_then(|()| observe::is_kept(&mut self.paths)) {
            Err(why) if matches!(why.0, EACCES | EPERM) => Err(words::refused(dir, why)),
            _ => Ok(()),
        }
    }
}

impl Default for Looker {
    fn default() -> Self {
        Self::new()
    }
}

/// Where the files of an instance's services are: in their directories.
#[must_use]
pub fn paths() -> Paths {
    Paths::new(ondisk::names::SUPERVISE.to_bytes())
}

/// Does for each service that was asked for what `plan` says, for all at the same time.
///
/// # Errors
/// Which services there are cannot be told, or none was asked for.
pub fn run(
    names: &Names,
    patience: Patience,
    here: &Here,
    mut plan: impl FnMut(&Sight<'_>) -> Plan,
) -> Answer {
    let picked = names.pick(service::all(here)?)?;
    let services: Vec<_> =
        picked.services.iter().filter(|s| !s.is_own() || names.names.contains(&s.name)).collect();
    let has_svscan = svscan::find(here).is_some();
    let (mut tasks, mut lines) = (Vec::new(), Lines::new(here));
    let mut looker = Looker::new();
    for service in &services {
        let dir = service.real_dir();
        if let Err(why) = looker.may_look(&dir) {
            lines.refused(&service.name, &[why]);
            continue;
        }
        let snapshot = looker.look(&dir);
        let is_by_all = names.all;
        let sight = Sight { service, dir, snapshot, has_svscan, is_by_all };
        match plan(&sight) {
            Plan::Do(steps) => tasks.push(Task::new(service, sight.dir, steps)),
            Plan::Said(text) => lines.done(&service.name, &text),
            Plan::Nothing(text) => lines.nothing(&service.name, &text),
            Plan::Refused(reasons) => lines.refused(&service.name, &reasons),
        }
    }
    walk(here, tasks, patience, Terms::default(), &mut lines)?;
    if services.is_empty() && !picked.some_are_unknown {
        say("warning", "there is no service to do this for");
        return Ok(code::FAILED);
    }
    Ok(picked.code(lines.code()))
}

/// Says how it went for each service, and keeps count.
pub struct Lines<'a> {
    here: &'a Here,
    done: usize,
    nothing: usize,
    failed: usize,
}

impl<'a> Lines<'a> {
    /// Begins with none.
    #[must_use]
    pub fn new(here: &'a Here) -> Self {
        Self { here, done: 0, nothing: 0, failed: 0 }
    }

    /// Tells whether any service was refused or failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed > 0
    }

    /// Returns the exit code: failed too where there was nothing to do for any.
    #[must_use]
    pub fn code(&self) -> i32 {
        let is_idle = self.done == 0 && self.nothing > 0;
        if self.failed > 0 || is_idle { code::FAILED } else { 0 }
    }

    /// It got there, or was there.
    pub fn done(&mut self, name: &str, text: &str) {
        self.done += 1;
        words::put(self.here, name, text);
    }

    /// There was nothing to do for it.
    pub fn nothing(&mut self, name: &str, text: &str) {
        self.nothing += 1;
        words::put(self.here, name, text);
    }

    /// It was not even tried; a line for each reason.
    pub fn refused(&mut self, name: &str, reasons: &[String]) {
        self.failed += 1;
        for reason in reasons {
            words::put_failed(self.here, name, &format!("FAILED: {reason}"));
        }
    }

    /// It did not get there.
    pub fn failed(&mut self, name: &str, text: &str) {
        self.failed += 1;
        words::put_failed(self.here, name, text);
    }

    /// Says something of an instance, which is counted with its service.
    pub fn instance(&self, name: &str, text: &str) {
        words::put(self.here, name, text);
    }
}
