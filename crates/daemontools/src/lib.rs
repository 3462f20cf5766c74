//! The client library behind svc, svok, svstat, svup and svlog, and the other small programs.
//!
//! | module | subject |
//! |---|---|
//! | [`svpath`] | where the files of a service directory are |
//! | [`observe`] | what they say, and whether it is true |
//! | [`control`] | sending commands |
//! | [`wait`] | waiting for their effect |
//! | [`show`] | svstat's lines |
//! | [`json`] | svstat's objects |
//! | [`shares`] | looking at many services side by side |
//! | [`scan`] | svscan |
//! | [`accounts`] | setuidgid, setuser, envuidgid |
//! | [`sessions`] | pgrphack, fghack |
//! | [`titles`] | readproctitle |
//! | [`stamps`] | tai64n, tai64nlocal |
//! | [`logs`] | reading log directories |
//! | [`svlog`] | svlog |

pub mod accounts;
pub mod control;
pub mod json;
pub mod logs;
pub mod observe;
pub mod scan;
pub mod sessions;
pub mod shares;
pub mod show;
pub mod stamps;
pub mod svlog;
pub mod svpath;
pub mod titles;
pub mod wait;

/// Tells whether daemontools-encore's way rules by the environment (`DAEMONTOOLS_COMPAT=encore`).
#[must_use]
pub fn encore_rules() -> bool {
    use ondisk::names::{DAEMONTOOLS_COMPAT, ENCORE};
    sys::linux::process::variable(DAEMONTOOLS_COMPAT).is_some_and(|value| value == ENCORE)
}
