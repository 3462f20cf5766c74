//! Test doubles and helpers; only ever a dev-dependency.
//!
//! | module | for |
//! |---|---|
//! | [`calls`] | the system calls of a life, each of which may fail or be the last |
//! | [`command`] | running a program with a time limit, its output kept |
//! | [`crash`] | a service that ends at once, and when it was started |
//! | [`disk`] | a tiny file system to fill up |
//! | [`exo`] | exo's side of the talk with a participant |
//! | [`fake`] | a supervise folder that the test itself keeps |
//! | [`keeper`] | a supervise that is injected with faults, killed and started again |
//! | [`lines`] | numbered lines, and the proof that a log has each once and in order |
//! | [`logger`] | a multilog that is fed, injected with faults, killed and started again |
//! | [`page`] | what a page says is to be typed |
//! | [`proxy`] | a TCP proxy that drops, delays, resets and goes silent on command |
//! | [`rabbit`] | a RabbitMQ of the test's own |
//! | [`scratch`] | a folder with service directories; at its end everything that runs in it is killed |
//! | [`skip`] | tests of what is not to be had everywhere |
//! | [`suite`] | the original daemontools beside ours |
//! | [`svscan`] | a svscan that is injected with faults, killed and started again |
//! | [`wait`] | waiting for a condition with a deadline |

// Helpers of tests fail by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// What a helper answers is not always asked for; nor is the fastest way to count bytes.
#![allow(clippy::must_use_candidate, clippy::naive_bytecount)]

pub mod calls;
pub mod cgroups;
pub mod command;
pub mod crash;
pub mod disk;
pub mod exo;
pub mod fake;
pub mod keeper;
pub mod lines;
pub mod logger;
pub mod page;
pub mod proxy;
pub mod rabbit;
pub mod scratch;
pub mod skip;
pub mod suite;
pub mod svscan;
pub mod wait;

pub use command::{Output, call, run, run_within};
pub use disk::Disk;
pub use exo::Exo;
pub use fake::Fake;
pub use keeper::Keeper;
pub use logger::{Logger, Pipe};
pub use proxy::Proxy;
pub use rabbit::Rabbit;
pub use scratch::Scratch;
pub use skip::{skipped, skipped_without_root};
pub use suite::{Suite, program};
pub use svscan::Svscan;
pub use wait::until;
