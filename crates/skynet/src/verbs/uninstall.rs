//! `skynet uninstall`: services that were installed by hand are no more.

use crate::failure::{Answer, Failure, code, warn};
use crate::here::Here;
use crate::life::plan::{Plan, Steps, Task};
use crate::life::{self, Lines, Looker, Patience, Sight, Terms, care, walk};
use crate::links;
use crate::making::not_ours;
use crate::names::Names;
use crate::service::{self, Origin, Service};
use crate::stage::Installed;
use crate::svscan;
use clap::Args;
use exo::ask;
use exo::control::Request;
use ondisk::names::SUPERVISE;
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Removes services that were installed by hand.
///
/// Their directories go, too.
/// Their logs stay unless --purge is given, and so do the items that wait for them, and their history.
/// One that runs is left alone unless --now is given, and one with items in hand unless --force is.
#[derive(Debug, Args)]
pub struct Uninstall {
    #[command(flatten)]
    names: Names,
    /// Remove their logs, too.
    #[arg(long)]
    purge: bool,
    /// Stop those that run first.
    #[arg(long)]
    now: bool,
    /// As --now, also where items are in hand: these are finished first, for as long as
    /// shutdown-grace lets them.
    #[arg(long)]
    force: bool,
    /// Wait no longer than this for them to end.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = life::time)]
    timeout: std::time::Duration,
}

/// Runs it.
///
/// # Errors
/// None was asked for, or which services there are cannot be told.
pub fn run(args: &Uninstall, here: &Here) -> Answer {
    here.is_for_owner("uninstall services of")?;
    let mut picked = args.names.pick(service::all(here)?)?;
    picked.services.retain(|service| !args.names.all || service.origin == Origin::ByHand);
    if args.names.all && picked.services.is_empty() {
        warn("nothing to uninstall: nothing was installed by hand");
        return Ok(code::FAILED);
    }
    let has_svscan = svscan::find(here).is_some();
    let (mut lines, mut looker) = (Lines::new(here), Looker::new());
    let (mut going, mut tasks) = (Vec::new(), Vec::new());
    for service in &picked.services {
        let dir = service.real_dir();
        let snapshot = looker.look(&dir);
        let sight = Sight { service, dir, snapshot, has_svscan, is_by_all: args.names.all };
        match begin(args, &sight, here) {
            Ok(steps) => {
                going.push((service, sight.dir.clone()));
                tasks.extend(steps.map(|steps| Task::new(service, sight.dir, steps)));
            }
            Err(reasons) => lines.refused(&service.name, &reasons),
        }
    }
    let patience = Patience { no_wait: false, timeout: args.timeout };
    walk(here, tasks, patience, Terms::default(), &mut lines)?;
    for (service, dir) in going {
        // Of one that has not ended the walk has told.
        if !looker.look(&dir).kept {
            match remove(args, service, here) {
                Ok(text) => lines.done(&service.name, &text),
                Err(why) => lines.refused(&service.name, &why.lines),
            }
        }
    }
    Ok(picked.code(lines.code()))
}

/// Has svscan forget a service, and returns how it is ended; `None` = it has ended.
fn begin(args: &Uninstall, sight: &Sight<'_>, here: &Here) -> Result<Option<Steps>, Vec<String>> {
    let service = sight.service;
    if service.origin != Origin::ByHand {
        return Err(vec![not_ours(service.origin).to_owned()]);
    }
    if let Some(Plan::Refused(reasons)) = care::orphan(sight, here) {
        return Err(reasons);
    }
    if sight.snapshot.kept && !care::is_down(&sight.snapshot) && !args.force {
        if !args.now {
            let name = &service.name;
            return Err(vec![format!("it runs; first skynet stop {name}, or use --now")]);
        }
        look_at_hands(service)?;
    }
    if service.is_linked {
        links::take_away(here, service).map_err(|why| why.lines)?;
    }
    let advice = || {
        // Its link stays away: with it svscan would start it again as soon as it has ended.
        let gone = if service.is_linked { "it is disabled, and nothing else" } else { "nothing" };
        let end_by = care::end_by(sight, here);
        format!("{gone} is removed; {end_by}, or wait, and uninstall it again")
    };
    let steps = || Steps::quietly("down", advice(), care::end());
    Ok(sight.snapshot.kept.then(steps))
}

/// Refuses where items are in hand, or where that cannot be told.
fn look_at_hands(service: &Service) -> Result<(), Vec<String>> {
    let Some(socket) = care::socket(service) else { return Ok(()) };
    let advice = format!("first skynet drain --wait {}, or use --force", service.name);
    let status = match ask::ask(&socket, &Request::Status) {
        Ok(answer) => answer.get("status").cloned().unwrap_or_default(),
        Err((_, ask::DOWN)) => return Ok(()),
        Err((why, _)) => return Err(vec![format!("{why}; {advice}")]),
    };
    let instances = status.get("instances").and_then(Value::as_array);
    let is_busy = |instance: &&Value| instance.get("wfid").is_some();
    match instances.map_or(0, |all| all.iter().filter(is_busy).count()) {
        0 => Ok(()),
        1 => Err(vec![format!("an item is in hand; {advice}")]),
        n => Err(vec![format!("{n} items are in hand; {advice}")]),
    }
}

/// Removes what was installed; returns what to say.
fn remove(args: &Uninstall, service: &Service, here: &Here) -> Result<String, Failure> {
    let places = here.places();
    let installed = Installed::lock(here)?;
    let supervise = places.run.join(OsStr::from_bytes(SUPERVISE.to_bytes()));
    for name in [service.name.clone(), format!("{}.log", service.name)] {
        gone(&supervise.join(name))?;
    }
    let log = places.logs.join(&service.name);
    if args.purge {
        gone(&log)?;
    }
    // Its directory last: as long as that is there, a kill leaves something to be uninstalled again.
    installed.remove(&service.name)?;
    if log.exists() {
        return Ok(format!("uninstalled; its log stays, {}", log.display()));
    }
    Ok("uninstalled".to_owned())
}

fn gone(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(why) if why.kind() != ErrorKind::NotFound => {
            Err(Failure::io("remove", folder.display(), &why))
        }
        _ => Ok(()),
    }
}
