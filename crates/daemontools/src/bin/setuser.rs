//! setuser: runs a program as an account, with its environment and home; see packaging/man/setuser.8.
#![no_main]

sys::chain_program!(daemontools::accounts::setuser);
