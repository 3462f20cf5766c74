//! pgrphack: runs a program in a session of its own; see packaging/man/pgrphack.8.
#![no_main]

sys::chain_program!(daemontools::sessions::pgrphack);
