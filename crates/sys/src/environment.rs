//! The environment of the program that is run next.

use linux::process;
use std::borrow::Cow;
use std::ffi::{CStr, CString, c_char};

/// A list of `NAME=VALUE` strings, at first this process's own.
pub struct Environment(Vec<Cow<'static, CStr>>);

impl Environment {
    /// Returns the environment of this process.
    #[must_use]
    pub fn own() -> Self {
        let mut strings = Vec::with_capacity(64);
        strings.extend(process::variables().map(Cow::Borrowed));
        Self(strings)
    }

    /// Gives `name` the value `value` and removes every other value that it has. Both end at a NUL.
    ///
    /// As in the original, a `=` in `name` ends the name and begins the value.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.replace([name, b"=", value].concat());
    }

    /// Removes `name`, however often it is there.
    ///
    /// As in the original, with a `=` in `name` it is set to what follows.
    pub fn unset(&mut self, name: &[u8]) {
        self.replace(name.to_vec());
    }

    fn replace(&mut self, string: Vec<u8>) {
        let string = match CString::new(string) {
            Ok(string) => string,
            Err(e) => {
                let end = e.nul_position();
                let mut bytes = e.into_vec();
                bytes.truncate(end);
                CString::new(bytes).unwrap_or_default()
            }
        };
        let bytes = string.as_bytes();
        let split = bytes.iter().position(|b| *b == b'=').unwrap_or(bytes.len());
        let name = &bytes[..split];
        let mut i = 0;
        while i < self.0.len() {
            let other = self.0[i].to_bytes();
            if other.len() > split && other[split] == b'=' && &other[..split] == name {
                // The order is the original's: the last one takes the place.
                self.0.swap_remove(i);
            } else {
                i += 1;
            }
        }
        if split < bytes.len() {
            self.0.push(Cow::Owned(string));
        }
    }

    /// Returns the list that [`process::exec_with`] takes; it lives as long as this.
    #[must_use]
    pub fn pointers(&self) -> Vec<*const c_char> {
        let mut pointers = Vec::with_capacity(self.0.len() + 1);
        pointers.extend(self.0.iter().map(|string| string.as_ptr()));
        pointers.push(std::ptr::null());
        pointers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(before: &[&'static CStr], change: impl Fn(&mut Environment)) -> Vec<String> {
        let mut environment = Environment(before.iter().map(|s| Cow::Borrowed(*s)).collect());
        change(&mut environment);
        environment.0.iter().map(|s| s.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_set_variable_has_one_value_and_stands_last() {
        let before = [c"A=1", c"AA=2", c"B=3", c"A=4"];
        assert_eq!(after(&before, |e| e.set(b"A", b"9")), ["B=3", "AA=2", "A=9"]);
        assert_eq!(after(&before, |e| e.set(b"C", b"")), ["A=1", "AA=2", "B=3", "A=4", "C="]);
        assert_eq!(after(&before, |e| e.set(b"C", b"x\0y"))[4], "C=x");
    }

    #[test]
    fn an_unset_variable_is_gone_for_good() {
        let before = [c"A=1", c"AA=2", c"A=4", c"A"];
        assert_eq!(after(&before, |e| e.unset(b"A")), ["A", "AA=2"]);
        assert_eq!(after(&before, |e| e.unset(b"X")).len(), 4);
    }

    #[test]
    fn an_equals_sign_in_a_name_ends_it() {
        assert_eq!(after(&[c"A=1"], |e| e.set(b"A=B", b"2")), ["A=B=2"]);
        assert_eq!(after(&[c"A=1"], |e| e.unset(b"A=B")), ["A=B"]);
    }

    #[test]
    fn the_list_ends_with_a_null_pointer() {
        let own = Environment::own().pointers();
        assert_eq!(own.iter().position(|p| p.is_null()), Some(own.len() - 1));
        assert_eq!(own.len() - 1, process::variables().count());
    }
}
