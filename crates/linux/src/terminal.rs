//! Who reads what we write: a person or a program.

use crate::errno::{Result, cvt};
use core::mem::MaybeUninit;

/// Tells whether a descriptor is a terminal.
#[must_use]
pub fn is_terminal(fd: i32) -> bool {
    // SAFETY: isatty takes an int; what it asks the kernel for it keeps to itself.
    unsafe { libc::isatty(fd) == 1 }
}

/// Returns how many columns a terminal has; `None` where it is none or does not say.
#[must_use]
pub fn columns(fd: i32) -> Option<u16> {
    size(fd).map(|(columns, _)| columns)
}

/// Returns how many columns and lines a terminal has; `None` where it is none or does not say.
#[must_use]
pub fn size(fd: i32) -> Option<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `size` is valid for writes and of the type that TIOCGWINSZ writes.
    let done = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) } == 0;
    (done && size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// How a terminal is set.
#[derive(Clone, Copy)]
pub struct Mode(libc::termios);

impl Mode {
    /// Asks how a terminal is set.
    ///
    /// # Errors
    /// `ENOTTY` where it is none.
    pub fn of(fd: i32) -> Result<Self> {
        let mut mode = MaybeUninit::<libc::termios>::uninit();
        // SAFETY: `mode` is valid for writes, and filled in where the call succeeds.
        cvt(unsafe { libc::tcgetattr(fd, mode.as_mut_ptr()) })?;
        // SAFETY: it succeeded.
        Ok(Self(unsafe { mode.assume_init() }))
    }

    /// Returns the same without echo, and with each key handed over as it is pressed; those that
    /// send signals still do.
    #[must_use]
    pub fn by_key(mut self) -> Self {
        self.0.c_lflag &= !(libc::ICANON | libc::ECHO);
        self.0.c_cc[libc::VMIN] = 1;
        self.0.c_cc[libc::VTIME] = 0;
        self
    }

    /// Sets a terminal like this, once all that was written to it is out. Whoever is in the
    /// background is stopped by SIGTTOU, unless that is blocked.
    ///
    /// # Errors
    /// As tcsetattr(3).
    pub fn set(&self, fd: i32) -> Result<()> {
        // SAFETY: the structure is whole; tcsetattr only reads it.
        cvt(unsafe { libc::tcsetattr(fd, libc::TCSADRAIN, &raw const self.0) })?;
        Ok(())
    }
}
