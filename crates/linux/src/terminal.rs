//! Who reads what we write: a person or a program.

/// Tells whether a descriptor is a terminal.
#[must_use]
pub fn is_terminal(fd: i32) -> bool {
    // SAFETY: isatty takes an int; what it asks the kernel for it keeps to itself.
    unsafe { libc::isatty(fd) == 1 }
}
