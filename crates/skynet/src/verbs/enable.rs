//! `skynet enable`: services start with the system.

use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Order, Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::links;
use crate::names::Names;
use crate::svscan;
use clap::Args;
use daemontools::wait::Goal;

/// Has services start at each boot; --now starts them, too.
#[derive(Debug, Args)]
pub struct Enable {
    #[command(flatten)]
    names: Names,
    /// Start them, too.
    #[arg(long, alias = "apply")]
    now: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Enable, here: &Here) -> Answer {
    here.is_for_owner("enable services of")?;
    life::run(&args.names, args.patience, here, |sight| {
        let plan = if args.now { plan_now(sight, here) } else { plan(sight, here) };
        plan.unwrap_or_else(|why| why)
    })
}

pub(super) fn plan(sight: &Sight<'_>, here: &Here) -> Result<Plan, Plan> {
    let service = sight.service;
    if service.is_enabled() {
        return Ok(Plan::Said("already enabled".to_owned()));
    }
    if !service.is_linked && sight.has_svscan {
        // svscan starts it at once unless there is a file down, which supervise reads at its start.
        links::bar(service)?;
        links::put(here, service)?;
        let steps = [Step::Reach(Order::None, Goal::Kept), Step::Unbar];
        return Ok(Plan::Do(Steps::to("enabled", "enabled", steps)));
    }
    links::unbar(service)?;
    if !service.is_linked {
        links::put(here, service)?;
    }
    Ok(Plan::Said("enabled".to_owned()))
}

fn plan_now(sight: &Sight<'_>, here: &Here) -> Result<Plan, Plan> {
    let service = sight.service;
    if let Some(why) = care::missing(service) {
        return Err(Plan::refused(why));
    }
    let was_enabled = service.is_enabled();
    links::unbar(service)?;
    if !service.is_linked {
        links::put(here, service)?;
    }
    if sight.is_up() && !sight.is_ending() {
        let word = if was_enabled { "already enabled" } else { "enabled" };
        return Ok(Plan::Said(format!("{word}, {}", care::already_up(sight))));
    }
    let mut steps = Vec::new();
    if !sight.snapshot.kept {
        if !sight.has_svscan {
            return Err(Plan::refused(format!("enabled, not started: {}", svscan::advice(here))));
        }
        links::make_folders(&sight.dir)?;
        steps.push(Step::Reach(Order::None, Goal::Kept));
    }
    steps.extend(care::start(sight));
    let word = if was_enabled { "up" } else { "enabled and up" };
    Ok(Plan::Do(Steps::to(word, "enabled and told to start", steps)))
}
