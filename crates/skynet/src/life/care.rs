//! Steps that several verbs share.

use super::Sight;
use super::plan::{Order, Plan, Step};
use crate::here::Here;
use crate::links;
use crate::lint::participant;
use crate::look::asking;
use crate::screen::clean;
use crate::service::{OWN_LOG, Service};
use crate::svscan;
use daemontools::observe::{Life, Snapshot};
use daemontools::wait::Goal;
use exo::control::{Request, Until};
use exo::settings::Settings;
use ondisk::record::Phase;
use ondisk::status::Want;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Returns the steps by which a service comes into a supervise's care, in which it is down or as
/// its file `down` says. Where it is not enabled, it is linked behind such a file.
///
/// # Errors
/// Why that cannot be.
pub fn take_in(sight: &Sight<'_>, here: &Here) -> Result<Vec<Step>, Plan> {
    if sight.snapshot.kept {
        return Ok(Vec::new());
    }
    here.is_for_owner("start services of")?;
    if !sight.has_svscan {
        return Err(Plan::refused(svscan::advice(here)));
    }
    if sight.service.is_linked {
        links::make_folders(&sight.dir)?;
    } else {
        links::bar(sight.service)?;
        links::put(here, sight.service)?;
    }
    Ok(vec![Step::Reach(Order::None, Goal::Kept)])
}

/// Tells whether its supervise is still in a directory that was replaced since.
#[must_use]
pub fn is_left_behind(snapshot: &Snapshot, dir: &Path) -> bool {
    let Some(record) = snapshot.record.filter(|_| snapshot.kept) else { return false };
    let id = |path: &Path| fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
    let its = id(&Path::new("/proc").join(record.supervisor.pid.to_string()).join("cwd"));
    its.is_some() && its != id(dir)
}

/// Tells whether a service runs and was told to end: it is to stay down behind that.
#[must_use]
pub fn is_ending(snapshot: &Snapshot) -> bool {
    let is_unwanted = snapshot.half.is_some_and(|half| half.status.want == Want::Down);
    snapshot.kept && snapshot.is_up() && is_unwanted
}

/// Returns the steps that start a service in a supervise's care; in that of a new one, where its
/// directory was replaced. One that ends just now is started behind that.
#[must_use]
pub fn start(sight: &Sight<'_>) -> Vec<Step> {
    if is_left_behind(&sight.snapshot, &sight.dir) && sight.service.is_linked {
        return start_anew(sight.service);
    }
    let goal = if sight.is_ending() { Goal::Restarted } else { Goal::Up };
    vec![Step::Reach(Order::Letters("u"), goal), comes_up(sight.service)]
}

/// Returns the steps that start a service in the care of a new supervise, in the directory that is
/// there now. It must be linked.
#[must_use]
pub fn start_anew(service: &Service) -> Vec<Step> {
    let up = [Step::Reach(Order::Letters("u"), Goal::Up), comes_up(service)];
    // Only then: svscan waits for seconds before it starts another by itself.
    let anew = [Step::Link, Step::Reach(Order::None, Goal::Kept)];
    end().into_iter().chain(anew).chain(up).collect()
}

/// Returns the step in which a service that was started shows that it stays.
#[must_use]
pub fn comes_up(service: &Service) -> Step {
    comes_up_behind(socket(service))
}

/// Returns the same of one whose control socket is known; `None` = it has none that can be asked.
#[must_use]
pub fn comes_up_behind(socket: Option<PathBuf>) -> Step {
    match socket {
        Some(socket) => Step::Ask(socket, Request::Wait { until: Until::Started }),
        None => Step::Stays,
    }
}

/// Returns the steps that end a supervise with all that it keeps.
#[must_use]
pub fn end() -> Vec<Step> {
    vec![Step::Reach(Order::End, Goal::Finished), Step::LoggerEnds]
}

/// Refuses to take away what services without a logger of their own write to, while there are any:
/// they would stand still as soon as their pipe is full.
#[must_use]
pub fn needed(sight: &Sight<'_>) -> Option<Plan> {
    let name = &sight.service.name;
    let is_needed = name == OWN_LOG && sight.has_svscan;
    is_needed.then(|| {
        Plan::refused(format!(
            "services without a logger write to it and would stand still; skynet restart {name} \
             starts it anew, skynet halt ends all"
        ))
    })
}

/// Says how to end a service that does not end by itself.
#[must_use]
pub fn end_by(sight: &Sight<'_>, here: &Here) -> String {
    format!("end it by {} -k {}", here.typed("svc"), clean(&sight.dir.to_string_lossy()))
}

/// Tells why a participant would come up and never work: its program, or its code, is not there.
#[must_use]
pub fn missing(service: &Service) -> Option<String> {
    let loaded = service.is_participant.then(|| service.load().ok())??;
    let why = participant::missing(&loaded)?;
    Some(format!("{why}; put it there, or install it again"))
}

/// Returns the control socket of the exo that a service is; `None` = it is none that can be asked.
#[must_use]
pub fn socket(service: &Service) -> Option<PathBuf> {
    socket_of(&service.is_participant.then(|| service.load().ok())??.settings)
}

/// Returns the same where its configuration was read already.
#[must_use]
pub fn socket_of(settings: &Settings) -> Option<PathBuf> {
    settings.exoskeleton.is_none().then(|| settings.socket())
}

/// Tells whether a service is down and is going to stay so.
#[must_use]
pub fn is_down(snapshot: &Snapshot) -> bool {
    let wants_up = snapshot.half.is_some_and(|half| half.status.want == Want::Up);
    match snapshot.phase() {
        Some(Phase::Failed) => true,
        Some(Phase::Down) | None => !wants_up,
        _ => false,
    }
}

/// Tells whether a service does not run and is going to: it ended, and is started again.
#[must_use]
pub fn is_due(snapshot: &Snapshot) -> bool {
    snapshot.kept && !snapshot.is_up() && !is_down(snapshot)
}

/// Tells whether a service runs that no supervise keeps, and says so.
#[must_use]
pub fn orphan(sight: &Sight<'_>, here: &Here) -> Option<Plan> {
    if sight.snapshot.kept || sight.snapshot.life != Life::Certain {
        return None;
    }
    let pid = sight.snapshot.half.map_or(0, |half| half.status.pid);
    let advice = if sight.has_svscan { "try again in a few seconds" } else { svscan::advice(here) };
    Some(Plan::refused(format!("it runs, pid {pid}, and no supervise keeps it; {advice}")))
}

/// Says that a service runs already, and what to do where it takes no items all the same.
#[must_use]
pub fn already_up(sight: &Sight<'_>) -> String {
    let pid = sight.snapshot.half.map(|half| half.status.pid).filter(|pid| *pid != 0);
    let up = pid.map_or_else(|| "already up".to_owned(), |pid| format!("already up, pid {pid}"));
    let name = &sight.service.name;
    let idle = socket(sight.service).and_then(|socket| asking::takes_none(socket, name));
    idle.map_or(up.clone(), |why| format!("{up}; it {why}"))
}
