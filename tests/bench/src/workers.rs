//! Who works off items on one machine: exo, huey on `SQLite`, a plain loop on `SQLite`, and the least
//! that it can cost.

use crate::peer::{Folders, Peer};
use std::path::Path;

/// exo, with participants in Rust.
pub(crate) const EXO: &str = "exo";
/// huey with one worker.
pub(crate) const HUEY: &str = "huey";
/// huey with two.
pub(crate) const HUEY_2: &str = "huey, 2 workers";
/// Take and finish by SQL, one process, nothing else.
pub(crate) const SQLITE: &str = "SQLite";
/// What none of them can be faster than.
pub(crate) const FLOOR: &str = "floor";

/// Returns those that are on this machine, ours first, the floor last.
pub(crate) fn installed(folders: &Folders) -> Vec<Peer> {
    let huey = folders.built.join("huey/bin");
    let has = |program: &'static str| move |peer: &Peer| peer.command(program).is_some();
    let mut all = Vec::new();
    all.extend(Some(Peer::worker(EXO, &folders.ours)).filter(has("exo")));
    for name in [HUEY, HUEY_2] {
        all.extend(Some(Peer::worker(name, &huey)).filter(has("python3")));
    }
    all.extend([SQLITE, FLOOR].map(|name| Peer::worker(name, Path::new("/bin"))));
    all
}
