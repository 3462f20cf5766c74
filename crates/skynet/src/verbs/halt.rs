//! `skynet halt`: nothing of the instance runs.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::life::plan::{Order, Step, Steps, Task};
use crate::life::{Lines, Looker, Patience, Terms, walk};
use crate::{instance, service, svscan};
use clap::Args;
use daemontools::wait::Goal;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::{process, signal, time};

/// Ends the instance: every service, then its logger, then svscan.
///
/// What is enabled starts again with skynet boot.
#[derive(Debug, Args)]
pub struct Halt {
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// svscan cannot be told.
pub fn run(args: &Halt, here: &Here) -> Answer {
    here.is_for_owner("halt")?;
    if svscan::is_left_to_init(here) && svscan::find(here).is_some() {
        let advice = "the init system would start this instance again: systemctl stop skynet";
        return Err(Failure::refused(advice));
    }
    // Without the folder it never ran, or not since the machine started: nobody else boots it either.
    let _lock = here.places().run.exists().then(|| instance::lock(here, "halt")).transpose()?;
    let begun = time::monotonic();
    let mut lines = Lines::new(here);
    // One that is only coming may end without a look at what is there.
    let found = svscan::find(here);
    let svscan = match found.or_else(|| svscan::coming(here)) {
        Some(pid) => Some((pid, open(here, pid)?)),
        None => None,
    };
    let services = service::all(here)?;
    let order = if found.is_some() { Order::None } else { Order::End };
    let mut tasks = Vec::new();
    let mut looker = Looker::new();
    for service in &services {
        let dir = service.real_dir();
        // svscan ends its own log last, and that without a word.
        let is_silent = service.is_own() && found.is_some();
        if !is_silent && looker.look(&dir).kept {
            // Only svscan's own services end with it.
            let order = if service.is_linked { order } else { Order::End };
            let first = Step::Reach(order, Goal::Finished);
            let steps = Steps::to("down", "told to end", [first, Step::LoggerEnds]);
            tasks.push(Task::new(service, dir, steps));
        }
    }
    if svscan.is_none() && tasks.is_empty() {
        lines.done(svscan::SVSCAN, "already down");
        return Ok(0);
    }
    if let Some((_, pidfd)) = &svscan {
        process::pidfd_kill(pidfd.raw(), signal::numbers::SIGTERM)
            .map_err(|why| Failure::errno("end", svscan::SVSCAN, why))?;
    }
    walk(here, tasks, args.patience, Terms::default(), &mut lines)?;
    if let Some((_, pidfd)) = svscan {
        last(&pidfd, begun, args.patience, &mut lines)?;
    }
    Ok(lines.code())
}

fn open(here: &Here, pid: i32) -> Result<Fd, Failure> {
    let gone = || Failure::refused("svscan ended by itself; try again");
    let pidfd = process::pidfd(pid).map_err(|_| gone())?;
    // Looked for again behind the descriptor: now it cannot be another process any more.
    let is_it = svscan::find(here).or_else(|| svscan::coming(here)) == Some(pid);
    if is_it { Ok(pidfd) } else { Err(gone()) }
}

/// Waits for the end of svscan.
fn last(pidfd: &Fd, begun: u64, patience: Patience, lines: &mut Lines<'_>) -> Result<(), Failure> {
    if patience.no_wait {
        lines.done(svscan::SVSCAN, "told to end");
        return Ok(());
    }
    let deadline = patience.deadline(begun);
    loop {
        let left = deadline.saturating_sub(time::monotonic());
        let ended = fd::poll(&mut [PollFd::readable(pidfd.raw())], Some(left));
        if ended.map_err(|why| Failure::errno("wait for", svscan::SVSCAN, why))? > 0 {
            let after = std::time::Duration::from_nanos(time::monotonic().saturating_sub(begun));
            lines.done(svscan::SVSCAN, &format!("down after {:.2} s", after.as_secs_f64()));
            return Ok(());
        }
        if left == 0 {
            let limit = work::units::Span(patience.timeout);
            lines.failed(svscan::SVSCAN, &format!("FAILED: not down within {limit}"));
            return Ok(());
        }
    }
}
