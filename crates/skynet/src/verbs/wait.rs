//! `skynet wait`: until services are in a state.

use super::drain;
use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Order, Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::links;
use crate::names::Names;
use crate::svscan;
use clap::{Args, ValueEnum};
use daemontools::wait::Goal;
use exo::control::{Request, Until};
use std::time::Duration;

/// Waits until services are in a state, and changes nothing.
#[derive(Debug, Args)]
pub struct Wait {
    #[command(flatten)]
    names: Names,
    /// Which.
    #[arg(long, value_enum)]
    state: State,
    /// Wait no longer than this.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = life::time)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum State {
    /// It runs.
    #[value(alias = "RUNNING")]
    Up,
    /// It does not run and is not going to.
    #[value(alias = "STOPPED")]
    Down,
    /// It runs and says that it is ready; of a participant, every instance has started.
    Ready,
    /// Of a participant: nothing is in hand, and nothing is ready for it unless it drains.
    Idle,
    /// No supervise keeps it.
    Finished,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Wait, here: &Here) -> Answer {
    let patience = Patience { no_wait: false, timeout: args.timeout };
    life::run(&args.names, patience, here, |sight| plan(sight, args.state, here))
}

fn plan(sight: &Sight<'_>, state: State, here: &Here) -> Plan {
    let goes_up = |word, last| {
        if !sight.is_in_care() {
            let disabled = "neither enabled nor started, nothing will start it";
            let is_linked = sight.service.is_linked;
            return Plan::refused(if is_linked { svscan::advice(here) } else { disabled });
        }
        if let Err(why) = links::make_folders(&sight.dir) {
            return why.into();
        }
        let first = [Goal::Kept, Goal::Up].map(|goal| Step::Reach(Order::None, goal));
        Plan::Do(Steps::to(word, "", first.into_iter().chain(last)))
    };
    let reach = |word, goal| Plan::Do(Steps::to(word, "", [Step::Reach(Order::None, goal)]));
    match state {
        State::Up => goes_up("up", None),
        State::Ready => goes_up("ready", Some(ready(sight))),
        State::Idle => drain::ask(sight, "idle", &[Request::Wait { until: Until::Idle }]),
        State::Down => reach("down", Goal::Down),
        State::Finished => reach("finished", Goal::Finished),
    }
}

fn ready(sight: &Sight<'_>) -> Step {
    match care::socket(sight.service) {
        None => Step::Reach(Order::None, Goal::Ready),
        socket => care::comes_up_behind(socket),
    }
}
