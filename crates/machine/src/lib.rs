//! Decisions of the daemons: event in, actions out; no clock, file, socket or process.
#![no_std]
