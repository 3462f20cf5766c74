//! How many descriptors exo may have open, and what it runs.
//!
//! Each instance takes some of the worker's; the soft limit that programs are started with is for
//! such as still wait with select(2).

use super::{Trouble, unable};
use sys::linux::limit::{self, Limit, Resource};

/// What an instance takes in the worker: output, errors, an item's way in and its answer's way out.
const EACH: u64 = 4;
/// What there is besides: the store, the drop folder, the keeper, whoever asks, a start that is made.
const OWN: u64 = 64;

/// Raises what this process may have open to what it may raise it to; returns what held before.
///
/// # Errors
/// Where that is not enough for so many instances.
pub(super) fn raise(instances: u16) -> Result<Limit, Trouble> {
    let before =
        limit::get(Resource::OpenFiles).map_err(unable("read the limit of descriptors"))?;
    let needed = OWN + EACH * u64::from(instances);
    if needed > before.hard {
        return Err(Trouble::plain(format!(
            "unable to run {instances} instances: they take {needed} descriptors and the hard limit \
             is {}; raise that (ulimit -Hn, LimitNOFILE= of a unit) or lower instances",
            before.hard
        )));
    }
    set(Limit { soft: before.hard, ..before })?;
    Ok(before)
}

/// Tells whether each instance may also have what a start needs that is yet to come, both ends of it.
#[must_use]
pub(crate) fn are_plenty(instances: u16) -> bool {
    let needed = OWN + 3 * EACH * u64::from(instances);
    limit::get(Resource::OpenFiles).is_ok_and(|limit| needed <= limit.soft)
}

/// Sets what this process may have open, and what it will run.
///
/// # Errors
/// As setrlimit(2).
pub(super) fn set(limit: Limit) -> Result<(), Trouble> {
    limit::set(Resource::OpenFiles, limit).map_err(unable("set the limit of descriptors"))
}
