//! Who reads what we write: a person or a program.

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
