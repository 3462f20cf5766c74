//! The small programs, and the reading of logs; what looks at services and controls them lies in
//! `client`, which can do without std.
//!
//! | module | subject |
//! |---|---|
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
pub mod json;
pub mod logs;
pub mod scan;
pub mod sessions;
pub mod shares;
pub mod show;
pub mod stamps;
pub mod svlog;
pub mod titles;

pub use client::{control, encore_rules, observe, svpath, wait};
