//! What is wrong with an installation, why it matters, and what mends it.
//!
//! | module | looks at |
//! |---|---|
//! | `programs` | the programs, those on disk and those that run |
//! | `people` | users, groups, owners and modes |
//! | `care` | svscan, supervises, supervise folders, services that do not stay up |
//! | `store` | the store, dead items |
//! | `work` | exos that run, drop folders |
//! | `logs` | log directories |
//! | `room` | disks, limits, the clock |
//! | `kernel` | what the kernel has, and what is lost without |

mod care;
mod kernel;
mod logs;
mod people;
mod programs;
mod room;
mod store;
mod work;

use crate::failure::Failure;
use crate::finding::Finding;
use crate::here::Here;
use crate::life::Looker;
use crate::service::{self, Service};
use crate::svscan;
use daemontools::observe::{Boot, Snapshot};
use std::path::PathBuf;

/// A service as it stands.
struct Patient {
    service: Service,
    /// Without links.
    dir: PathBuf,
    snapshot: Snapshot,
}

/// What everybody looks at.
struct Ward<'a> {
    here: &'a Here,
    patients: Vec<Patient>,
    /// Those that watch the service folder.
    svscans: Vec<i32>,
    boot: Boot,
}

impl Ward<'_> {
    /// Returns how many services there are to be.
    fn linked(&self) -> u64 {
        self.patients.iter().filter(|patient| patient.service.is_linked).count() as u64
    }

    fn participants(&self) -> u64 {
        let is_one =
            |patient: &&Patient| patient.service.is_linked && patient.service.is_participant;
        self.patients.iter().filter(is_one).count() as u64
    }
}

/// Looks at everything.
///
/// # Errors
/// Which services there are cannot be told.
pub fn look(here: &Here) -> Result<Vec<Finding>, Failure> {
    let mut looker = Looker::new();
    let patients = service::all(here)?.into_iter().map(|service| {
        let dir = service.real_dir();
        let snapshot = looker.look(&dir);
        Patient { service, dir, snapshot }
    });
    let patients = patients.collect();
    let ward = Ward { here, patients, svscans: svscan::all(here), boot: Boot::this() };
    let mut findings = Vec::new();
    programs::look(&ward, &mut looker, &mut findings);
    people::look(&ward, &mut findings);
    care::look(&ward, &mut findings)?;
    store::look(&ward, &mut findings);
    work::look(&ward, &mut findings);
    logs::look(&ward, &mut findings);
    room::look(&ward, &mut findings);
    kernel::look(&ward, &mut findings);
    Ok(findings)
}
