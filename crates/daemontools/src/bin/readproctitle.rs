//! readproctitle: shows what it reads where ps shows arguments; see packaging/man/readproctitle.8.
#![no_main]

sys::linux::title_entry!(daemontools::titles::readproctitle);
