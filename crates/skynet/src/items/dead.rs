//! Dead items that are tried again, or go.

use super::act;
use super::report::{About, Report};
use crate::failure::{Answer, warn};
use crate::here::Here;
use crate::store;
use clap::Args;
use exo::control::Request;
use work::DeadId;

/// Which ones.
#[derive(Debug, Args)]
pub struct Ids {
    /// Their numbers.
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
    /// An object a line: dead, job, ok, result or error.
    #[arg(long)]
    json: bool,
}

/// Has them tried again.
///
/// # Errors
/// Nobody can change the store.
pub fn requeue(ids: &Ids, here: &Here) -> Answer {
    each(ids, here, ("ready", "ready again"), &|dead| Request::DeadRequeue { dead })
}

/// Takes them away.
///
/// # Errors
/// Nobody can change the store.
pub fn drop(ids: &Ids, here: &Here) -> Answer {
    each(ids, here, ("gone", "gone"), &|dead| Request::DeadDrop { dead })
}

fn each(
    Ids { ids, json }: &Ids,
    here: &Here,
    (result, text): (&str, &str),
    request: &dyn Fn(Vec<i64>) -> Request,
) -> Answer {
    let mut report = Report::new(here, *json);
    let mut ids = ids.clone();
    ids.sort_unstable();
    ids.dedup();
    let reader = store::read(here)?;
    let asked = ids.len();
    ids.retain(|id| {
        // One that is damaged is there, too.
        let found = reader.as_ref().map(|reader| reader.dead_item(DeadId(*id)));
        let is_there = !matches!(found, None | Some(Ok(None)));
        if !is_there {
            warn(&none(*id));
        }
        is_there
    });
    let some_are_unknown = ids.len() < asked;
    let came = act::others(here, &ids, request)?;
    for id in &ids {
        let about = |job| About { dead: Some(*id), job, ..About::default() };
        match came.get(id) {
            Some(Ok(job)) => report.done(&about(*job), result, text),
            Some(Err(why)) => report.failed(&about(None), why),
            None => report.failed(&about(None), "nothing is known of it"),
        }
    }
    Ok(report.code(some_are_unknown))
}

/// Returns what is said of a number that no dead item has.
#[must_use]
pub fn none(id: i64) -> String {
    format!("no dead item {id} is in the store")
}
