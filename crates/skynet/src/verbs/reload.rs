//! `skynet reload`: services that run take up new code and configuration.

use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Order, Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::names::Names;
use clap::Args;
use daemontools::wait::Goal;

/// Has services that run take up new code and configuration.
///
/// They are stopped and started; those that ended and are about to be started again are started at once.
/// Those that are down stay so. A participant's configuration is read first; where something is
/// wrong with it, the participant runs on as it is. Items that wait are kept.
#[derive(Debug, Args)]
pub struct Reload {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Reload, here: &Here) -> Answer {
    life::run(&args.names, args.patience, here, plan)
}

fn plan(sight: &Sight<'_>) -> Plan {
    let is_due = care::is_due(&sight.snapshot);
    if !sight.is_up() && !is_due {
        return Plan::Nothing("down, nothing to reload".to_owned());
    }
    if let Some(why) = care::missing(sight.service) {
        return Plan::refused(format!("{why}; it runs on as it was"));
    }
    let mut socket = None;
    if sight.service.is_participant {
        match sight.service.load() {
            Ok(loaded) => socket = care::socket_of(&loaded.settings),
            Err(why) => {
                let as_it_was = |why| format!("{why}; it runs on as it was");
                return Plan::Refused(why.lines.into_iter().map(as_it_was).collect());
            }
        }
    }
    // One that ends again and again may have been mended: its supervise would start the old one.
    if is_due || care::is_left_behind(&sight.snapshot, &sight.dir) {
        return Plan::Do(Steps::to("reloaded", "told to start again", care::start(sight)));
    }
    // Both in one write: whatever becomes of us, it starts as soon as it has ended.
    let steps = [Step::Reach(Order::Letters("du"), Goal::Restarted), care::comes_up_behind(socket)];
    Plan::Do(Steps::to("reloaded", "told to start again", steps))
}
