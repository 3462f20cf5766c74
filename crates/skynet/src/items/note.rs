//! Whose matter a class of faults is.

use super::act;
use super::report::{About, Report};
use crate::failure::{Answer, Failure};
use crate::here::Here;
use clap::Args;
use exo::control::Request;
use work::read::Class;

/// It is to be said in a question.
const LONGEST: usize = 500;

/// Says who sees to a class of failures, and where it is written down.
#[derive(Debug, Args)]
pub struct Note {
    /// The word in the first column of the list, the signature, or a piece of it.
    #[arg(value_name = "FAILURE")]
    pub name: String,
    /// Who sees to it; an empty one takes it back.
    #[arg(long, required_unless_present = "bug")]
    owner: Option<String>,
    /// Where it is written down; an empty one takes it back.
    #[arg(long)]
    bug: Option<String>,
    /// An object: queue, name, ok, result or error.
    #[arg(long)]
    json: bool,
}

/// Says it of this class.
///
/// # Errors
/// Nobody can change the store.
pub fn put(args: &Note, class: &Class, here: &Here) -> Answer {
    if [&args.owner, &args.bug].into_iter().flatten().any(|text| text.len() > LONGEST) {
        return Err(Failure::usage(format!("a note has {LONGEST} bytes at most")));
    }
    let request = |_| Request::Note {
        queue: class.queue.clone(),
        signature: class.signature.clone(),
        owner: args.owner.clone(),
        bug: args.bug.clone(),
    };
    let mut report = Report::new(here, args.json);
    let name = format!("{} {}", class.queue, class.signature);
    let (queue, name) = (Some(class.queue.clone()), Some(name));
    let about = About { queue, name, ..About::default() };
    match act::one(here, &request)? {
        Ok(_) => report.done(&about, "noted", "noted"),
        Err(why) => report.failed(&about, &why),
    }
    Ok(report.code(false))
}
