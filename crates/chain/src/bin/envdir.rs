//! envdir: runs a program with variables out of a folder; see packaging/man/envdir.8.
#![no_std]
#![no_main]

linux::entry!(chain::variables::envdir);
linux::no_std_program!("envdir");
