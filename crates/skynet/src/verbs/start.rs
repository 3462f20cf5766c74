//! `skynet start`: services run.

use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Plan, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::names::Names;
use clap::Args;

/// Starts services, and waits until they are up.
///
/// One that is disabled is started, too, if it is named; it does not start at the next boot.
#[derive(Debug, Args)]
pub struct Start {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Start, here: &Here) -> Answer {
    life::run(&args.names, args.patience, here, |sight| plan(sight, here))
}

pub(super) fn plan(sight: &Sight<'_>, here: &Here) -> Plan {
    if sight.is_up() && !sight.is_ending() {
        return Plan::Said(care::already_up(sight));
    }
    if sight.is_by_all && !sight.service.is_enabled() {
        return Plan::Nothing("disabled, left alone; name it to start it".to_owned());
    }
    if let Some(why) = care::missing(sight.service) {
        return Plan::refused(why);
    }
    match care::take_in(sight, here) {
        Ok(steps) => {
            let steps = steps.into_iter().chain(care::start(sight));
            Plan::Do(Steps::to("up", "told to start", steps))
        }
        Err(why) => why,
    }
}
