//! The keeper in a process of its own, with a worker that does what each test tells it.
//!
//! As root: accounts are changed and system calls traced. The program is the example `keeper`, which
//! `cargo test` builds; for this file alone, `cargo build -p exo --example keeper` does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod ahead;
mod boot;
mod deaths;
mod exo;
mod frozen;
mod places;
mod rights;
mod talk;
