//! envini: runs a program with variables out of a file; see packaging/man/envini.8.
#![no_std]
#![no_main]

linux::entry!(chain::variables::envini);
linux::no_std_program!("envini");
