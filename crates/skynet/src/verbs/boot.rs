//! `skynet boot`: the instance's svscan runs.

use crate::failure::{Answer, Failure, code};
use crate::here::Here;
use crate::life::plan::{Order, Step, Steps, Task};
use crate::life::{Guard, Lines, Looker, Patience, Terms, care, walk};
use crate::service::{self, Service};
use crate::{instance, links, svscan};
use clap::Args;
use daemontools::wait::Goal;
use std::os::unix::process::CommandExt;
use std::process::Command;
use sys::linux::fd::Fd;
use sys::linux::process;
use sys::listener::Listener;

/// Starts the instance: svscan, and every service that is enabled.
///
/// Makes the folders that it needs. The init system starts the system's, by boot --foreground.
#[derive(Debug, Args)]
pub struct Boot {
    /// Become svscan, and stay in the foreground.
    #[arg(long, conflicts_with_all = ["no_wait", "timeout"])]
    foreground: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// A folder cannot be made, or svscan cannot be started.
pub fn run(args: &Boot, here: &Here) -> Answer {
    here.is_for_owner("boot")?;
    if svscan::is_left_to_init(here) && !args.foreground {
        let advice = "the init system starts this instance: systemctl start skynet";
        return Err(Failure::refused(advice));
    }
    instance::make(here)?;
    // Until svscan can be found among the processes, nobody else starts one.
    let lock = instance::lock(here, "boot")?;
    let coming = || svscan::coming(here).filter(|_| args.foreground);
    if let Some(pid) = svscan::find(here).or_else(coming) {
        let mut lines = Lines::new(here);
        lines.done(svscan::SVSCAN, &format!("already runs, pid {pid}"));
        return Ok(if args.foreground { code::FAILED } else { 0 });
    }
    let services: Vec<_> = service::all(here)?.into_iter().filter(|s| s.is_linked).collect();
    for service in &services {
        links::make_folders(&service.dir)?;
    }
    if args.foreground {
        let mut command = Command::new(here.program(svscan::SVSCAN));
        instance::furnish(&mut command, here);
        if let Some(listener) = std::env::var_os(Listener::VARIABLE) {
            command.env(Listener::VARIABLE, listener);
        }
        let why = command.current_dir(&here.places().service).exec();
        return Err(Failure::io("run", svscan::SVSCAN, &why));
    }
    // One that was started by a boot which was killed then is as good.
    let pid = svscan::coming(here).map_or_else(|| start(here), Ok)?;
    greet(here, &services, pid, args.patience, lock)
}

fn start(here: &Here) -> Result<i32, Failure> {
    let mut command = Command::new(here.program(svscan::BEFORE));
    command.arg(here.program(svscan::SVSCAN));
    let child = instance::furnish(&mut command, here).spawn();
    let child = child.map_err(|why| Failure::io("run", svscan::BEFORE, &why))?;
    Ok(child.id().cast_signed())
}

/// Waits until what is enabled is up; gives the lock back as soon as svscan can be found.
fn greet(here: &Here, services: &[Service], pid: i32, patience: Patience, lock: Fd) -> Answer {
    let pidfd = process::pidfd(pid).map_err(|why| Failure::errno("watch", "svscan", why))?;
    let log = here.places().logs.join(service::OWN_LOG).join("current");
    let guard = Guard { pidfd, why: format!("svscan has ended; see {}", log.display()) };
    let mut lines = Lines::new(here);
    let task = |service, steps| {
        let service: &Service = service;
        let dir = service.real_dir();
        Task::new(service, dir, steps)
    };
    // Whatever --no-wait says: once it keeps its services, svscan can be found.
    let kept = || Steps::quietly("supervised", "", [Step::Reach(Order::None, Goal::Kept)]);
    let (own, others): (Vec<_>, Vec<_>) = services.iter().partition(|service| service.is_own());
    let others: Vec<_> = others.into_iter().filter(|service| service.is_enabled()).collect();
    let first = own.iter().chain(&others).map(|service| task(service, kept())).collect();
    let terms = || Terms { guard: Some(&guard), lock: None };
    walk(here, first, Patience { no_wait: false, ..patience }, terms(), &mut lines)?;
    drop(lock);
    if !lines.has_failed() {
        lines.done(svscan::SVSCAN, &format!("runs, pid {pid}"));
    }
    let mut tasks = Vec::new();
    let mut looker = Looker::new();
    for service in others {
        let up = Step::Reach(Order::None, Goal::Up);
        let task = task(service, Steps::to("up", "starts", [up, care::comes_up(service)]));
        let snapshot = looker.look(&task.dir);
        if snapshot.kept && care::is_down(&snapshot) {
            // It was stopped, its supervise was killed, and the next one keeps to that.
            lines.done(&service.name, "down, as it was told");
        } else if snapshot.kept {
            tasks.push(task);
        }
    }
    walk(here, tasks, patience, terms(), &mut lines)?;
    Ok(lines.code())
}
