//! `skynet disable`: services do not start with the system.

use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Order, Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::links;
use crate::names::Names;
use clap::Args;
use daemontools::wait::Goal;

/// Has services not start at boot; --now stops them, too.
#[derive(Debug, Args)]
pub struct Disable {
    #[command(flatten)]
    names: Names,
    /// Stop them, too.
    #[arg(long, alias = "apply")]
    now: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Disable, here: &Here) -> Answer {
    here.is_for_owner("disable services of")?;
    life::run(&args.names, args.patience, here, |sight| {
        plan(sight, args.now, here).unwrap_or_else(|why| why)
    })
}

fn plan(sight: &Sight<'_>, now: bool, here: &Here) -> Result<Plan, Plan> {
    if let Some(needed) = care::needed(sight) {
        return Err(needed);
    }
    let service = sight.service;
    let runs = sight.snapshot.kept && !care::is_down(&sight.snapshot);
    if let Some(orphan) = care::orphan(sight, here).filter(|_| now) {
        return Err(orphan);
    }
    let was_enabled = service.is_enabled();
    let word = if was_enabled { "disabled" } else { "already disabled" };
    if runs && !now {
        links::bar(service)?;
        return Ok(Plan::Said(format!("{word}, runs on until it is stopped")));
    }
    if !links::is_ours(service) {
        // Without its entry nobody would know of it any more.
        links::bar(service)?;
        if !runs {
            return Ok(Plan::Said(word.to_owned()));
        }
        let steps = [Step::Reach(Order::Letters("d"), Goal::Down)];
        let steps = Steps::to("disabled and down", "disabled and told to stop", steps);
        return Ok(Plan::Do(steps.or(care::end_by(sight, here))));
    }
    if service.is_linked {
        // Before its supervise ends, so that svscan starts no other.
        links::take_away(here, service)?;
    }
    if !sight.snapshot.kept {
        return Ok(Plan::Said(word.to_owned()));
    }
    let words = if runs {
        ("disabled and down", "disabled and told to stop")
    } else {
        ("disabled", "disabled")
    };
    let steps = Steps::to(words.0, words.1, care::end());
    Ok(Plan::Do(if runs { steps.or(care::end_by(sight, here)) } else { steps }))
}
