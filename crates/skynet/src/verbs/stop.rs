//! `skynet stop`: services do not run.

use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Order, Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::names::Names;
use clap::Args;
use daemontools::wait::Goal;

/// Stops services, and waits until they are down.
///
/// One that is enabled starts again at the next boot. What a participant has in hand is finished
/// first, for as long as its shutdown-grace lets it.
#[derive(Debug, Args)]
pub struct Stop {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Stop, here: &Here) -> Answer {
    life::run(&args.names, args.patience, here, |sight| plan(sight, here))
}

fn plan(sight: &Sight<'_>, here: &Here) -> Plan {
    if let Some(refused) = care::needed(sight).or_else(|| care::orphan(sight, here)) {
        return refused;
    }
    if !sight.snapshot.kept || care::is_down(&sight.snapshot) {
        return Plan::Said("already down".to_owned());
    }
    let steps = [Step::Reach(Order::Letters("d"), Goal::Down)];
    Plan::Do(Steps::to("down", "told to stop", steps).or(care::end_by(sight, here)))
}
