//! tai64n: puts a precise stamp in front of each line; see packaging/man/tai64n.8.
#![no_main]

sys::program!(daemontools::stamps::tai64n);
