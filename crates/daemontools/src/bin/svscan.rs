//! svscan: keeps a collection of services running.
#![no_main]

sys::program!(daemontools::scan::run);
