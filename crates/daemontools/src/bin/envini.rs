//! envini: runs a program with variables out of a file; see packaging/man/envini.8.
#![no_main]

sys::chain_program!(daemontools::variables::envini);
