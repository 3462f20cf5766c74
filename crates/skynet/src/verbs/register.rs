//! `skynet register`: the engine is told which steps are whose.

use crate::engine::registry;
use crate::engine::send;
use crate::failure::{Answer, Failure, warn};
use crate::here::Here;
use crate::items::report::{About, Report};
use crate::legacy::pattern;
use crate::names::Names;
use crate::service;
use clap::Args;
use exo::settings::BrokerKind;
use work::wire;

/// Tells the engine which steps of processes go to which participant.
///
/// A participant is registered by the pattern that is given, or that it was installed with (`regexp`
/// below `participant` in its `config`), or by its name. A pattern is a regular expression for the
/// whole name of a step. There is no answer from an engine; a pattern that is none is found here. Over
/// RabbitMQ, where an engine may know more of them than skynet's own, that is only warned of.
#[derive(Debug, Args)]
pub struct Register {
    #[command(flatten)]
    which: Which,
    /// The engine is to forget it.
    #[arg(long)]
    remove: bool,
}

/// Has the engine forget participants, as register --remove does.
#[derive(Debug, Args)]
pub struct Unregister {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    names: Names,
    /// The steps whose names look like this, as in built_.*; for one participant.
    #[arg(long, value_name = "REGEXP", conflicts_with = "all")]
    pattern: Option<String>,
    /// The queue of participants that are installed on another machine; NAME is then the pattern.
    #[arg(long, value_name = "QUEUE", conflicts_with_all = ["all", "pattern"])]
    queue: Option<String>,
    /// An object a line: queue, name, ok, result or error.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// There is no such participant, or the engine's queue cannot be used.
pub fn run(args: &Register, here: &Here) -> Answer {
    tell(&args.which, args.remove, here)
}

/// Runs `skynet unregister`.
///
/// # Errors
/// As those of [`run`].
pub fn run_unregister(args: &Unregister, here: &Here) -> Answer {
    tell(&args.which, true, here)
}

/// Tells whether a pattern has what Ruby has more than others; a plain mistake is one there, too.
fn is_of_ruby(pattern: &str) -> bool {
    pattern.contains("(?") || pattern.contains('\\')
}

fn tell(args: &Which, remove: bool, here: &Here) -> Answer {
    here.is_for_owner("register participants of")?;
    let (pairs, some_are_unknown) = pairs(args, here)?;
    let broker = here.site.broker.kind;
    for (pattern, queue) in &pairs {
        if let Some(flaw) = broker.queue_flaw(queue) {
            return Err(Failure::usage(format!("the name of a queue, {queue:?}, {flaw}")));
        }
        match registry::flaw(pattern) {
            None => {}
            // Ruby's expressions look around, for example, and have classes of their own.
            Some(why) if broker == BrokerKind::RabbitMq && is_of_ruby(pattern) => warn(&format!(
                "{pattern:?} is sent as it is; skynet's own engine does not understand it: {why}"
            )),
            Some(why) => return Err(Failure::usage(format!("{pattern:?} is no pattern: {why}"))),
        }
    }
    let message = if remove { wire::unregister } else { wire::register };
    let told = pairs.iter().map(|(name, queue)| message(name, queue));
    send::send(here, told.collect())?;
    let mut report = Report::new(here, args.json);
    let (result, words) = if remove {
        ("unregistered", "the engine is told to forget it")
    } else {
        ("registered", "the engine is told")
    };
    for (pattern, queue) in pairs {
        let text = format!("{words}, queue {queue}");
        let about = About { name: Some(pattern), queue: Some(queue), ..About::default() };
        report.done(&about, result, &text);
    }
    Ok(report.code(some_are_unknown))
}

/// Returns patterns and queues, and whether some names are unknown.
fn pairs(args: &Which, here: &Here) -> Result<(Vec<(String, String)>, bool), Failure> {
    if let Some(queue) = &args.queue {
        let names = args.names.names.iter();
        let pairs: Vec<_> = names.map(|name| (name.clone(), queue.clone())).collect();
        if pairs.is_empty() {
            return Err(Failure::usage("which steps? Give their name or pattern"));
        }
        return Ok((pairs, false));
    }
    let picked = args.names.pick(service::all(here)?)?;
    let participants = picked.services.iter().filter(|service| service.is_participant);
    let mut pairs = Vec::new();
    for service in participants {
        let settings = service.load()?.settings;
        let pattern = args.pattern.clone().or_else(|| pattern(&settings.config));
        pairs.push((pattern.unwrap_or_else(|| service.name.clone()), settings.queue));
    }
    match (&args.pattern, pairs.len()) {
        (Some(_), 2..) => Err(Failure::usage("a pattern is for one participant")),
        _ => Ok((pairs, picked.some_are_unknown)),
    }
}
