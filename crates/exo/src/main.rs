//! exo: runs a participant.
#![no_main]

sys::program!(exo::cli::run);
