//! System calls for small programs, on libc alone.
//!
//! The only crate with `unsafe` code: each block names the contract of the call it relies on.
//! Nothing allocates but [`memory`], which has no heap: `supervise` and the logger need none; the
//! programs that do bring [`heap`].
#![no_std]
#![allow(unsafe_code)]

pub mod bytes;
pub mod census;
pub mod chain;
pub mod claim;
pub mod decimal;
pub mod directory;
pub mod entry;
pub mod environment;
pub mod epoll;
pub mod errno;
pub mod fd;
pub mod file;
pub mod folder;
pub mod getopt;
pub mod heap;
pub mod hex;
pub mod home;
pub mod identity;
pub mod ids;
pub mod landlock;
pub mod limit;
pub mod local;
pub mod memfile;
pub mod memory;
pub mod message;
pub mod pipe;
pub mod priority;
pub mod process;
pub mod program;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod time;
pub mod timer;
pub mod title;
pub mod watch;

// A program without std has nobody else to ask for libc: the `libc` crate links it only where no
// other crate of the build asks it for std.
#[cfg_attr(target_feature = "crt-static", link(name = "c", kind = "static", modifiers = "-bundle"))]
#[cfg_attr(not(target_feature = "crt-static"), link(name = "c"))]
unsafe extern "C" {}
