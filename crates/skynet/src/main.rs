//! skynet: one command for people.
#![no_main]

sys::program!(skynet::cli::run);
