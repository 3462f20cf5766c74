//! The environment of the program that is run next.

use crate::errno::{Errno, Result};
use crate::memory::{self, Space};
use crate::process;
use core::ffi::{CStr, c_char};

/// Strings more than this process has that there is room for at first.
const SPARE: usize = 64;

/// A list of `NAME=VALUE` strings, at first this process's own.
pub struct Environment {
    /// The strings, and behind them a null pointer; each lives as long as the process.
    list: &'static mut [*const c_char],
    len: usize,
    space: Space,
    /// The first trouble; from then on the list is not what it should be.
    trouble: Option<Errno>,
}

impl Environment {
    /// Returns the environment of this process.
    #[must_use]
    pub fn own() -> Self {
        Self::of(process::variables)
    }

    fn of<I: Iterator<Item = &'static CStr>>(strings: impl Fn() -> I) -> Self {
        let space = Space::default();
        let mut new = Self { list: &mut [], len: 0, space, trouble: None };
        match memory::pointers(strings().count() + SPARE) {
            Ok(list) => new.list = list,
            Err(why) => new.trouble = Some(why),
        }
        for (place, string) in new.list.iter_mut().zip(strings()) {
            *place = string.as_ptr();
            new.len += 1;
        }
        new
    }

    /// Gives `name` the value `value` and removes every other value that it has. Both end at a NUL.
    ///
    /// As in the original, a `=` in `name` ends the name and begins the value.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.put(&[name, b"=", value]);
    }

    /// Puts the string that `parts` make up in the place of all that have its name. It ends at a
    /// NUL; without a `=` it is the name of a variable that is removed.
    pub fn put(&mut self, parts: &[&[u8]]) {
        if let Err(why) = self.try_put(parts) {
            self.trouble.get_or_insert(why);
        }
    }

    fn try_put(&mut self, parts: &[&[u8]]) -> Result<()> {
        let whole: usize = parts.iter().map(|part| part.len()).sum();
        let room = self.space.room(0, whole + 1)?;
        let mut at = 0;
        for part in parts {
            room[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        room[whole] = 0;
        let string = CStr::from_bytes_until_nul(room).map_err(|_| Errno(libc::EINVAL))?.to_bytes();
        let end = string.len();
        let split = string.iter().position(|b| *b == b'=').unwrap_or(end);
        self.remove(split);
        if split == end {
            return Ok(());
        }
        if self.len + 1 >= self.list.len() {
            let more = memory::pointers(2 * (self.len + SPARE))?;
            more[..self.len].copy_from_slice(&self.list[..self.len]);
            self.list = more;
        }
        self.list[self.len] = self.space.take(end + 1).as_ptr().cast();
        self.len += 1;
        Ok(())
    }

    /// Removes each variable whose name is the first `len` bytes of the free space.
    fn remove(&mut self, len: usize) {
        let Ok(room) = self.space.room(0, len) else { return };
        let name = &room[..len];
        let mut i = 0;
        while i < self.len {
            // SAFETY: whatever stands in the list is a NUL-terminated string that stays.
            let other = unsafe { CStr::from_ptr(self.list[i]) }.to_bytes();
            if other.len() > len && other[len] == b'=' && other.starts_with(name) {
                // The order is the original's: the last one takes the place.
                self.len -= 1;
                self.list[i] = self.list[self.len];
                self.list[self.len] = core::ptr::null();
            } else {
                i += 1;
            }
        }
    }

    /// Returns the list that [`process::exec_with`] takes.
    ///
    /// # Errors
    /// `ENOMEM` where the system had no memory for a change.
    pub fn pointers(&self) -> Result<&[*const c_char]> {
        self.trouble.map_or_else(|| Ok(&self.list[..=self.len]), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[&'static CStr], change: impl Fn(&mut Environment), after: &[&CStr]) {
        let mut environment = Environment::of(|| before.iter().copied());
        change(&mut environment);
        let list = environment.pointers().unwrap();
        assert_eq!(list.len(), after.len() + 1);
        for (string, wanted) in list.iter().zip(after) {
            // SAFETY: all but the last pointer are strings.
            assert_eq!(unsafe { CStr::from_ptr(*string) }, *wanted);
        }
    }

    #[test]
    fn a_set_variable_has_one_value_and_stands_last() {
        let before = [c"A=1", c"AA=2", c"B=3", c"A=4"];
        check(&before, |e| e.set(b"A", b"9"), &[c"B=3", c"AA=2", c"A=9"]);
        check(&before, |e| e.set(b"C", b""), &[c"A=1", c"AA=2", c"B=3", c"A=4", c"C="]);
        check(&before[..1], |e| e.set(b"C", b"x\0y"), &[c"A=1", c"C=x"]);
    }

    #[test]
    fn an_unset_variable_is_gone_for_good() {
        let before = [c"A=1", c"AA=2", c"A=4", c"A"];
        check(&before, |e| e.put(&[b"A"]), &[c"A", c"AA=2"]);
        check(&before, |e| e.put(&[b"X"]), &before);
    }

    #[test]
    fn an_equals_sign_in_a_name_ends_it() {
        check(&[c"A=1"], |e| e.set(b"A=B", b"2"), &[c"A=B=2"]);
        check(&[c"A=1"], |e| e.put(&[b"A=", b"B"]), &[c"A=B"]);
    }

    #[test]
    fn the_list_ends_with_a_null_pointer_however_long_it_grows() {
        let mut environment = Environment::own();
        let own = process::variables().count();
        for i in 0..999_u16 {
            environment.set(&[128 + (i % 100) as u8, 128 + (i / 100) as u8], b"1");
        }
        let list = environment.pointers().unwrap();
        assert_eq!(list.iter().position(|p| p.is_null()), Some(list.len() - 1));
        assert_eq!(list.len() - 1, own + 999);
    }
}
