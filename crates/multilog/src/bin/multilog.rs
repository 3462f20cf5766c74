//! multilog: writes lines into log directories that stay bounded, and loses none.
#![no_std]
#![no_main]

linux::no_std_program!("multilog");
linux::entry!(multilog::start::multilog);
