//! Chain loaders that run before every start of a service: small, without std and without a heap.
//!
//! | module | subject |
//! |---|---|
//! | [`limits`] | softlimit |
//! | [`locks`] | setlock |
//! | [`variables`] | envdir, envini |
#![no_std]

pub mod limits;
pub mod locks;
pub mod variables;
