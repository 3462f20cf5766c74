//! Bytes as hex digits.

/// Returns the two digits of a byte, in lower case.
#[must_use]
pub fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| b"0123456789abcdef"[usize::from(digit)])
}

/// Reads digits of either case into all of `out`; `None` where they are not just as many, or
/// something else.
pub fn read<'a>(
    mut digits: impl Iterator<Item = u8>,
    out: impl Iterator<Item = &'a mut u8>,
) -> Option<()> {
    let mut digit = || char::from(digits.next()?).to_digit(16);
    for byte in out {
        *byte = (digit()? << 4 | digit()?) as u8;
    }
    digits.next().is_none().then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_were_written() {
        for byte in 0..=255 {
            let mut back = [1];
            assert_eq!(read(digits(byte).into_iter(), back.iter_mut()), Some(()));
            assert_eq!(back, [byte]);
        }
        assert_eq!(digits(0x0f), *b"0f");
    }

    #[test]
    fn nothing_but_digits_that_fill_it_is_read() {
        let read = |text: &[u8]| read(text.iter().copied(), [0; 2].iter_mut()).is_some();
        assert!(read(b"00ff") && read(b"00FF"));
        for text in [&b""[..], b"0", b"00f", b"00fff", b"00fg", b"00f ", b"00f\xff"] {
            assert!(!read(text), "{text:?}");
        }
    }
}
