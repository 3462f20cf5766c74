//! svlog: shows what loggers have written; see packaging/man/svlog.8.
#![no_main]

sys::program!(daemontools::svlog::run);
