//! envuidgid: tells a program an account's ids; see packaging/man/envuidgid.8.
#![no_main]

sys::chain_program!(daemontools::accounts::envuidgid);
