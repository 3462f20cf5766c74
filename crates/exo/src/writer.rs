//! Writing the store without an exo: as the worker's user, and nobody else.

use crate::accounts::{self, WORKER};
use crate::config::Site;
use crate::keeper;
use crate::worker::Clocks;
use sys::linux::file;
use sys::linux::process;
use sys::privilege;
use work::{Place, Store};

/// As of the worker: what is made is nobody else's.
const UMASK: u32 = 0o077;

/// Opens the store of a site for writing; makes it where there is none. Root becomes the worker's
/// user first, for good: in a process with one thread.
///
/// # Errors
/// Why not, in words. Rights may be gone by then.
pub fn open(site: &Site) -> Result<Store, String> {
    if process::euid() == 0 {
        let worker = accounts::find(site.worker_user.as_deref().unwrap_or(WORKER))?;
        keeper::make_store(&site.places.store, &worker)?;
        let become_it = privilege::become_user(worker.uid, worker.gid, &worker.groups);
        let why = become_it.map_err(privilege::Failure::errno);
        why.and_then(|()| process::gain_no_rights()).map_err(|why| {
            format!("unable to become {}: {why}", String::from_utf8_lossy(&worker.name))
        })?;
        process::forbid_tracing();
    }
    file::set_umask(UMASK);
    let store = Store::open(&Place::new(&site.places.store), Clocks::of_this_boot()?, site.safety);
    store.map_err(|trouble| trouble.to_string())
}
