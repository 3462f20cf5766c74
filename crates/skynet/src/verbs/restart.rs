//! `skynet restart`: services run anew.

use super::start;
use crate::failure::{Answer, warn};
use crate::here::Here;
use crate::life::plan::{Order, Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::names::Names;
use clap::Args;
use daemontools::wait::Goal;

/// Ends services and starts them again; starts those that are down.
#[derive(Debug, Args)]
pub struct Restart {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Restart, here: &Here) -> Answer {
    life::run(&args.names, args.patience, here, |sight| plan(sight, here))
}

pub(super) fn plan(sight: &Sight<'_>, here: &Here) -> Plan {
    if !sight.is_up() {
        return start::plan(sight, here);
    }
    // Nothing is checked: it is restarted all the same.
    if let Some(why) = care::missing(sight.service) {
        warn(&format!("{}: {why}", sight.service.name));
    }
    if care::is_left_behind(&sight.snapshot, &sight.dir) {
        return Plan::Do(Steps::to("restarted", "told to restart", care::start(sight)));
    }
    // Both in one write: supervise starts it as soon as it has ended.
    let steps = [Step::Reach(Order::Letters("du"), Goal::Restarted), care::comes_up(sight.service)];
    Plan::Do(Steps::to("restarted", "told to restart", steps))
}
