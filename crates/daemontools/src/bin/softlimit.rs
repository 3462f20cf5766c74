//! softlimit: runs a program with other resource limits; see packaging/man/softlimit.8.
#![no_main]

sys::chain_program!(daemontools::limits::softlimit);
