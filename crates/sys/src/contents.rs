//! The contents of files, at few system calls each.

use linux::errno::Result;
use linux::{fd, file};
use std::ffi::CStr;

/// Bytes read at first; enough for most files that configure something.
const FIRST: usize = 4096;

/// Reads a file below the open directory `dir` into `out`, which is emptied first; `flags` as for
/// open(2), read-only anyway.
///
/// # Errors
/// As open(2) and read(2).
pub fn read(dir: i32, name: &CStr, flags: i32, out: &mut Vec<u8>) -> Result<()> {
    let file = file::open(dir, name, flags, 0)?;
    read_open(file.raw(), out)
}

/// Reads what is left of an open file into `out`, which is emptied first.
///
/// # Errors
/// As read(2).
pub fn read_open(fd: i32, out: &mut Vec<u8>) -> Result<()> {
    out.resize(out.capacity().max(FIRST), 0);
    let mut len = 0;
    loop {
        if len == out.len() {
            out.resize(len * 2, 0);
        }
        match fd::read(fd, &mut out[len..])? {
            0 => break,
            n => len += n,
        }
    }
    out.truncate(len);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux::file::HERE;

    #[test]
    fn a_file_of_any_length_is_read_whole() {
        let dir = std::env::temp_dir().join(format!("skynet-contents-{}", std::process::id()));
        let name = std::ffi::CString::new(dir.as_os_str().as_encoded_bytes()).unwrap();
        let mut out = Vec::new();
        for len in [0, 1, FIRST - 1, FIRST, FIRST + 1, 5 * FIRST] {
            let bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
            std::fs::write(&dir, &bytes).unwrap();
            read(HERE, &name, 0, &mut out).unwrap();
            assert_eq!(out, bytes);
        }
        std::fs::remove_file(&dir).unwrap();
        assert!(read(HERE, &name, 0, &mut out).is_err());
    }
}
