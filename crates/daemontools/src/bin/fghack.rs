//! fghack: waits for a program that goes to the background; see packaging/man/fghack.8.
#![no_main]

sys::chain_program!(daemontools::sessions::fghack);
