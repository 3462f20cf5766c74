//! Reading a directory: names as the kernel hands them out, in its order.

use crate::errno::{Errno, Result, cvt};
use core::ffi::CStr;
use core::mem::MaybeUninit;

/// Bytes asked of the kernel at once: a few hundred names.
const LEN: usize = 8192;
/// Where the name begins in a `struct linux_dirent64`.
const NAME: usize = 19;

#[repr(align(8))]
struct Entries(MaybeUninit<[u8; LEN]>);

/// Calls `each` with every name but `.` and `..` in the directory behind `fd`, until it answers
/// something; returns that answer.
///
/// # Errors
/// As getdents64(2).
pub fn for_each<T>(fd: i32, mut each: impl FnMut(&CStr) -> Option<T>) -> Result<Option<T>> {
    // Not cleared: pages that no name reaches are never touched.
    let mut entries = Entries(MaybeUninit::uninit());
    loop {
        let buf = entries.0.as_mut_ptr().cast::<u8>();
        // SAFETY: `buf` is valid for writes of LEN bytes and aligned as the kernel's structure is.
        let n = cvt(unsafe { libc::syscall(libc::SYS_getdents64, fd, buf, LEN) })? as usize;
        if n == 0 {
            return Ok(None);
        }
        // SAFETY: the kernel has written the first `n` bytes.
        let mut rest = unsafe { core::slice::from_raw_parts(buf.cast_const(), n) };
        while !rest.is_empty() {
            let (name, len) = first(rest).ok_or(Errno(libc::EIO))?;
            rest = &rest[len..];
            if name == c"." || name == c".." {
                continue;
            }
            if let Some(answer) = each(name) {
                return Ok(Some(answer));
            }
        }
    }
}

/// Returns the name and the length of the first entry.
fn first(entries: &[u8]) -> Option<(&CStr, usize)> {
    let len = usize::from(u16::from_ne_bytes([*entries.get(16)?, *entries.get(17)?]));
    let name = CStr::from_bytes_until_nul(entries.get(NAME..len)?).ok()?;
    Some((name, len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::{self, HERE};

    #[test]
    fn names_are_handed_out_once_each_and_the_answer_comes_back() {
        let dir = file::open(HERE, c"/proc/self", libc::O_RDONLY | libc::O_DIRECTORY, 0).unwrap();
        let mut seen = 0;
        let answer = for_each(dir.raw(), |name| {
            assert!(name != c"." && name != c"..");
            seen += i32::from(name == c"status");
            None::<()>
        });
        assert_eq!((answer, seen), (Ok(None), 1));
        let dir = file::open(HERE, c"/proc/self", libc::O_RDONLY | libc::O_DIRECTORY, 0).unwrap();
        assert_eq!(for_each(dir.raw(), |name| (name == c"fd").then_some(7)), Ok(Some(7)));
        assert_eq!(for_each(-1, |_| None::<()>), Err(Errno(libc::EBADF)));
    }
}
