//! What went wrong with an item.

use crate::item::Item;
use std::error::Error;
use std::fmt::Write as _;
use std::panic::Location;

/// Code where nothing else is said: the item is tried again.
pub(crate) const RETRY: u16 = 1;
/// The same for a fault that stays.
pub(crate) const FINAL: u16 = 10;

/// The work on an item failed.
///
/// Made by [`Fault::retry`] and [`Fault::finally`], and by `?` from any error: then its code is 1
/// and its text that of the error and of what it came from.
#[derive(Debug)]
pub struct Fault {
    pub(crate) code: u16,
    pub(crate) text: String,
    pub(crate) trace: Vec<String>,
    pub(crate) item: Option<Box<Item>>,
}

impl Fault {
    /// Returns one after which the item is tried again, code 1.
    #[must_use]
    #[track_caller]
    pub fn retry(text: impl Into<String>) -> Self {
        Self::new(RETRY, text.into())
    }

    /// Returns one after which the item is not tried again, code 10.
    #[must_use]
    #[track_caller]
    pub fn finally(text: impl Into<String>) -> Self {
        Self::new(FINAL, text.into())
    }

    /// Gives it another code: 1 to 9 to be tried again, 10 to 899 final. In per-item mode, where
    /// the code is the exit code, those above 255 become 255.
    #[must_use]
    pub fn with_code(mut self, code: u16) -> Self {
        self.code = code.clamp(1, 899);
        self
    }

    /// Returns its code.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// Returns its text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Has the item go back as it is by now, and not as it came.
    #[must_use]
    pub fn with_item(mut self, item: Item) -> Self {
        self.item = Some(Box::new(item));
        self
    }

    #[track_caller]
    fn new(code: u16, text: String) -> Self {
        let at = Location::caller();
        let trace = vec![format!("{}:{}", at.file(), at.line())];
        Self { code, text, trace, item: None }
    }
}

impl<E: Error> From<E> for Fault {
    #[track_caller]
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Many an error says what its cause says, too.
            let said = error.to_string();
            if !text.ends_with(&said) {
                let _ = write!(text, ": {said}");
            }
            cause = error.source();
        }
        Self::new(RETRY, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<u32, Fault> {
        Ok(text.parse::<u32>()?)
    }

    #[test]
    fn an_error_becomes_a_fault_that_tells_where_it_was_met() {
        let fault = parse("x").unwrap_err();
        assert_eq!((fault.code, &*fault.text), (1, "invalid digit found in string"));
        let here = file!();
        assert!(fault.trace[0].starts_with(&format!("{here}:")), "{:?}", fault.trace);
    }

    #[test]
    fn a_code_is_always_one_of_a_failure() {
        assert_eq!(Fault::retry("x").with_code(0).code, 1);
        assert_eq!(Fault::finally("x").with_code(12).code, 12);
        assert_eq!(Fault::finally("x").with_code(900).code, 899);
    }
}
