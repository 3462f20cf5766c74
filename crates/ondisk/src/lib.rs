//! Names and byte layouts of what the suite keeps on disk.
//!
//! Everything that two programs must agree on stands here once: the files of a `supervise`
//! folder and of a log directory, the status file, the record, the control bytes, TAI64N stamps,
//! environment files.
//! `no_std`, no allocation, no system call: bytes in, values out.
#![no_std]

pub mod checksum;
pub mod control;
pub mod envfile;
pub mod logdir;
pub mod names;
pub mod record;
pub mod spool;
pub mod status;
pub mod tai64n;
