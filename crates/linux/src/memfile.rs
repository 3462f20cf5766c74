//! Files without a name, in memory.

use crate::errno::{Result, cvt};
use crate::fd::{self, Fd};
use core::ffi::CStr;

/// Makes a file in memory that holds `bytes`, is read from its beginning, and can never be changed
/// by anybody; `name` is what /proc shows for it. Close-on-exec.
///
/// # Errors
/// As `memfd_create(2)`, write(2) and fcntl(2), `F_ADD_SEALS`.
pub fn sealed(name: &CStr, bytes: &[u8]) -> Result<Fd> {
    const SEALS: i32 =
        libc::F_SEAL_SEAL | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_WRITE;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is NUL-terminated.
    let file = Fd::from_raw(cvt(unsafe { libc::memfd_create(name.as_ptr(), flags) })?);
    // At an offset: who reads it begins at 0.
    fd::write_at(file.raw(), bytes, 0)?;
    // SAFETY: F_ADD_SEALS takes an int and touches no memory.
    cvt(unsafe { libc::fcntl(file.raw(), libc::F_ADD_SEALS, SEALS) })?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errno::Errno;
    use crate::file;

    #[test]
    fn what_is_sealed_is_read_from_its_beginning_and_cannot_be_changed() {
        let file = sealed(c"test", b"some bytes").unwrap();
        let mut buf = [0; 64];
        assert_eq!(fd::read(file.raw(), &mut buf), Ok(10));
        assert_eq!(&buf[..10], b"some bytes");
        assert_eq!(fd::write_at(file.raw(), b"x", 0), Err(Errno(libc::EPERM)));
        assert_eq!(fd::write_at(file.raw(), b"x", 10), Err(Errno(libc::EPERM)));
        assert_eq!(file::cut(file.raw(), 0), Err(Errno(libc::EPERM)));
    }
}
