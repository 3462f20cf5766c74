//! `skynet drain`: participants take no more items.

use crate::failure::Answer;
use crate::here::Here;
use crate::life::plan::{Plan, Step, Steps};
use crate::life::{self, Patience, Sight, care};
use crate::names::Names;
use clap::Args;
use exo::control::{Request, Until};

/// Has participants finish what is in hand, and take nothing more.
///
/// What waits goes on waiting.
/// It lasts until they are told to resume, or are started anew.
#[derive(Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    names: Names,
    /// Wait until nothing is in hand any more.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Drain, here: &Here) -> Answer {
    let (word, last) = if args.wait {
        ("drained", Request::Wait { until: Until::Idle })
    } else {
        ("draining", Request::Status)
    };
    let requests = [Request::Drain, last];
    life::run(&args.names, args.patience, here, |sight| ask(sight, word, &requests))
}

/// Plans to ask the exo of a participant.
pub(super) fn ask(sight: &Sight<'_>, word: &'static str, requests: &[Request]) -> Plan {
    if !sight.service.is_participant {
        let text = "no participant, takes no items".to_owned();
        return if sight.is_by_all { Plan::Nothing(text) } else { Plan::refused(text) };
    }
    if !sight.is_up() {
        let text = "down, takes no items".to_owned();
        return if sight.is_by_all { Plan::Nothing(text) } else { Plan::refused(text) };
    }
    let settings = match sight.service.load() {
        Ok(loaded) => loaded.settings,
        Err(why) => return why.into(),
    };
    let Some(socket) = care::socket_of(&settings) else {
        return Plan::refused("another exoskeleton runs it, which cannot be asked");
    };
    let steps = requests.iter().map(|request| Step::Ask(socket.clone(), request.clone()));
    Plan::Do(Steps::to(word, "told", steps))
}
