//! tai64nlocal: shows precise stamps as local time; see packaging/man/tai64nlocal.8.
#![no_main]

sys::program!(daemontools::stamps::tai64nlocal);
