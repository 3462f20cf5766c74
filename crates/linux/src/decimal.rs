//! Decimal numbers, without a heap and without the machinery of formatting.

use core::ffi::c_char;

/// Digits of the largest number.
const DIGITS: usize = 20;

/// A number in decimal digits.
pub struct Decimal {
    /// Its digits stand at the end, before a NUL.
    text: [u8; DIGITS + 1],
    start: usize,
}

impl Decimal {
    /// Writes a number.
    #[must_use]
    pub fn of(number: u64) -> Self {
        let mut text = [0; DIGITS + 1];
        let mut start = DIGITS;
        let mut rest = number;
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return Self { text, start };
            }
        }
    }

    /// Returns the digits, at least one.
    #[must_use]
    pub fn digits(&self) -> &[u8] {
        &self.text[self.start..DIGITS]
    }

    /// Returns where the digits begin: a string with a NUL behind it, as a program's argument is,
    /// good for as long as this number is.
    #[must_use]
    pub fn as_ptr(&self) -> *const c_char {
        self.text[self.start..].as_ptr().cast()
    }
}

/// Reads a number that is nothing but digits; `None` for anything else, and for one that is too
/// large.
#[must_use]
pub fn parse(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_it_was_written() {
        for number in [0, 1, 9, 10, 99, 100, 4_294_967_295, u64::MAX - 1, u64::MAX] {
            assert_eq!(parse(Decimal::of(number).digits()), Some(number));
        }
        assert_eq!(Decimal::of(0).digits(), b"0");
        let number = Decimal::of(1200);
        assert_eq!(number.text[number.start..], *b"1200\0");
        let most = Decimal::of(u64::MAX);
        assert_eq!((most.start, most.text[DIGITS]), (0, 0));
    }

    #[test]
    fn nothing_but_digits_that_fit_is_a_number() {
        assert_eq!(parse(b"007"), Some(7));
        for text in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"1x", b"0x1", b"\xff"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        // One more than fits, and ten times as many.
        assert_eq!(parse(b"18446744073709551616"), None);
        assert_eq!(parse(b"184467440737095516150"), None);
    }
}
