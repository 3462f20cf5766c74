//! Dead items that are tried again, or go.

use super::act;
use super::report::{About, Report};
use crate::failure::Answer;
use crate::here::Here;
use clap::Args;
use exo::control::Request;

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
    let came = act::others(here, &ids, request)?;
    for id in &ids {
        let about = |job| About { dead: Some(*id), job, ..About::default() };
        match came.get(id) {
            Some(Ok(job)) => report.done(&about(*job), result, text),
            Some(Err(why)) => report.failed(&about(None), why),
            None => report.failed(&about(None), "nothing is known of it"),
        }
    }
    Ok(report.code(false))
}
