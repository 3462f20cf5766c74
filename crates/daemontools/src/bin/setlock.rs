//! setlock: runs a program with a file locked; see packaging/man/setlock.8.
#![no_main]

sys::chain_program!(daemontools::locks::setlock);
