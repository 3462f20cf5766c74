//! readproctitle: showing what it reads where `ps` shows arguments.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use sys::linux::fd;
use sys::linux::title::Title;
use sys::program::{Program, TROUBLE, USAGE};

/// The shortest last argument that is of use, and how many of its dots stay in front.
const SHORTEST: usize = 5;
const DOTS: usize = 3;

/// The program readproctitle: says nothing about its troubles, since it is where others speak.
#[must_use]
pub fn readproctitle(count: usize, title: Option<Title>) -> i32 {
    let Some(mut title) = title else { return USAGE };
    if count == 1 {
        let only = OsStr::from_bytes(title.bytes());
        let usage = "readproctitle [ arg ... ] dots";
        if let Some(code) = Program("readproctitle").standard(&[only], usage) {
            return code;
        }
    }
    if title.len() < SHORTEST {
        return USAGE;
    }
    title.fill(b'.');
    let mut buf = [0; 1024];
    loop {
        match fd::read(0, &mut buf) {
            Ok(0) => return 0,
            Ok(n) => title.push(DOTS, without_nuls(&mut buf[..n])),
            Err(_) => return TROUBLE,
        }
    }
}

/// Moves the other bytes to the front: a NUL would end what `ps` shows.
fn without_nuls(bytes: &mut [u8]) -> &[u8] {
    let mut kept = 0;
    for i in 0..bytes.len() {
        if bytes[i] != 0 {
            bytes[kept] = bytes[i];
            kept += 1;
        }
    }
    &bytes[..kept]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nuls_are_dropped() {
        assert_eq!(without_nuls(&mut *b"\0a\0\0bc\0".to_owned().as_mut()), b"abc");
        assert_eq!(without_nuls(&mut []), b"");
    }
}
