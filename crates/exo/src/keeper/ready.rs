//! Telling whoever started us that we are ready: systemd's way and daemontools-encore's and s6's.

use super::EXO;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::O_WRONLY;
use sys::linux::file::{self, HERE};
use sys::listener::Listener;

/// How to tell, once.
#[derive(Debug)]
pub(super) struct Ready {
    /// Gets a newline and is closed.
    descriptor: Option<Fd>,
    /// Its number.
    number: Option<i32>,
    /// Systemd's way.
    listener: Option<Listener>,
}

impl Ready {
    /// Takes what our environment and the settings say.
    pub(super) fn new(descriptor: Option<Fd>) -> Self {
        let value = std::env::var_os(Listener::VARIABLE);
        let listener = value.and_then(|value| Listener::of(value.as_bytes()));
        let number = descriptor.as_ref().map(Fd::raw);
        Self { descriptor, number, listener }
    }

    /// Leaves the descriptor to the exo that takes our place, which expects one: where it was told,
    /// one that tells nobody.
    pub(super) fn pass_on(self) {
        let Some(number) = self.number else { return };
        let null = || file::open(HERE, c"/dev/null", O_WRONLY, 0);
        let passed = match self.descriptor {
            Some(descriptor) => fd::set_cloexec(descriptor.into_raw(), false),
            None => null().and_then(|null| fd::dup_to(null.raw(), number)),
        };
        if let Err(why) = passed {
            EXO.warning(&[OsStr::new("unable to pass on the descriptor for readiness")], why);
        }
    }

    /// Tells it. Whoever does not listen is not waited for.
    pub(super) fn tell(&mut self) {
        if let Some(listener) = self.listener.take() {
            listener.ready();
        }
        if let Some(descriptor) = self.descriptor.take() {
            let mut room = [PollFd::writable(descriptor.raw())];
            if fd::poll(&mut room, Some(0)).is_ok_and(|ready| ready > 0) {
                let _ = fd::write(descriptor.raw(), b"\n");
            }
        }
    }
}
