//! Telling whoever started us that we are ready: systemd's way and daemontools-encore's and s6's.

use super::EXO;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt;
use sys::linux::fd::{self, Fd, PollFd};
use sys::linux::file::flags::O_WRONLY;
use sys::linux::file::{self, HERE};
use sys::linux::socket;

/// How to tell, once.
#[derive(Debug)]
pub(super) struct Ready {
    /// Gets a newline and is closed.
    descriptor: Option<Fd>,
    /// Its number.
    number: Option<i32>,
    /// Gets `READY=1`; the path begins with NUL for a bare name, which is written with `@`.
    socket: Option<Vec<u8>>,
}

impl Ready {
    /// Takes what our environment and the settings say.
    pub(super) fn new(descriptor: Option<Fd>) -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").map(OsStringExt::into_vec);
        let socket = socket.filter(|path| matches!(path.first(), Some(b'/' | b'@')));
        let number = descriptor.as_ref().map(Fd::raw);
        Self { descriptor, number, socket: socket.map(with_bare_name) }
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
        if let Some(path) = self.socket.take() {
            let _ = socket::tell(&path, b"READY=1\n");
        }
        if let Some(descriptor) = self.descriptor.take() {
            let mut room = [PollFd::writable(descriptor.raw())];
            if fd::poll(&mut room, Some(0)).is_ok_and(|ready| ready > 0) {
                let _ = fd::write(descriptor.raw(), b"\n");
            }
        }
    }
}

fn with_bare_name(mut path: Vec<u8>) -> Vec<u8> {
    if let Some(first @ b'@') = path.first_mut() {
        *first = 0;
    }
    path
}
