//! softlimit: runs a program with other resource limits; see packaging/man/softlimit.8.
#![no_std]
#![no_main]

linux::entry!(chain::limits::softlimit);
linux::no_std_program!("softlimit");
