//! setuidgid: runs a program under an account's ids; see packaging/man/setuidgid.8.
#![no_main]

sys::chain_program!(daemontools::accounts::setuidgid);
