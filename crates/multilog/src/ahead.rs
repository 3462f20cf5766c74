//! Looking at what lies ahead in a pipe without taking it.

use linux::errno::Result;
use linux::{bytes, fd, pipe};

/// Most bytes that are looked at: a page is more than the stack should grow by.
pub const MOST: usize = 2048;

/// What lies ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// Bytes up to and with the first newline, or all that could be seen.
    pub len: usize,
    /// Whether there is a newline among them.
    pub has_newline: bool,
}

/// Looks for the next newline within the next `most` bytes of a pipe.
///
/// # Errors
/// `EAGAIN` where the pipe is empty; else as pipe2(2) and tee(2).
#[inline(never)]
pub fn look(from: i32, most: usize) -> Result<Ahead> {
    let (look, copy) = fd::pipe()?;
    let len = pipe::tee(from, copy.raw(), most.min(MOST))?;
    let mut bytes = [0; MOST];
    let mut seen = 0;
    while seen < len {
        match fd::read(look.raw(), &mut bytes[seen..len])? {
            0 => break,
            n => seen += n,
        }
    }
    Ok(match bytes::find(b'\n', &bytes[..seen]) {
        Some(at) => Ahead { len: at + 1, has_newline: true },
        None => Ahead { len: seen, has_newline: false },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_newline_is_found_and_nothing_taken() {
        let (out, end) = fd::pipe().unwrap_or_else(|_| panic!("no pipe"));
        fd::set_nonblock(out.raw(), true).ok();
        assert!(look(out.raw(), 10).is_err());
        fd::write_all(end.raw(), b"one\ntwo").ok();
        for _ in 0..2 {
            assert_eq!(look(out.raw(), 99), Ok(Ahead { len: 4, has_newline: true }));
            assert_eq!(look(out.raw(), 3), Ok(Ahead { len: 3, has_newline: false }));
        }
        assert_eq!(fd::read(out.raw(), &mut [0; 4]), Ok(4));
        assert_eq!(look(out.raw(), 99), Ok(Ahead { len: 3, has_newline: false }));
        drop(end);
        fd::read(out.raw(), &mut [0; 4]).ok();
        assert_eq!(look(out.raw(), 99), Ok(Ahead { len: 0, has_newline: false }));
    }
}
