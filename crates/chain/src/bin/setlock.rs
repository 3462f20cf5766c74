//! setlock: runs a program with a file locked; see packaging/man/setlock.8.
#![no_std]
#![no_main]

linux::entry!(chain::locks::setlock);
linux::no_std_program!("setlock");
