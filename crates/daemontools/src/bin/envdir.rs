//! envdir: runs a program with variables out of a folder; see packaging/man/envdir.8.
#![no_main]

sys::chain_program!(daemontools::variables::envdir);
