//! A program of a service directory, as execve(2) will take it.

use crate::finding::Finding;
use crate::here::Here;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use sys::account;
use sys::linux::fd;
use sys::linux::file::{self, HERE, flags};

/// Bytes of a script that are read.
const MOST: usize = 64 << 10;

/// Programs whose first argument is an account.
const TAKE_ACCOUNT: [&str; 3] = ["setuidgid", "setuser", "envuidgid"];

/// Looks at a program that must be there.
#[must_use]
pub fn look(here: &Here, path: &Path, service: &str) -> Vec<Finding> {
    let error = |what: &str| vec![Finding::error(what).of(service).at(path)];
    let chmod = || format!("chmod +x {}", path.display());
    match fs::metadata(path) {
        Err(_) if fs::symlink_metadata(path).is_ok() => {
            return error("is a link that leads nowhere");
        }
        Err(_) => return error("is missing: there is nothing to run"),
        Ok(stat) if stat.is_dir() => return error("is a directory, not a program"),
        Ok(stat) if !stat.is_file() => return error("is no regular file, so it cannot be run"),
        Ok(_) => {}
    }
    let c_path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let mut findings = Vec::new();
    if !file::is_executable(HERE, &c_path) {
        let found = Finding::error("is not executable").of(service).at(path);
        findings.push(found.mended_by(chmod()));
    }
    match read(&c_path) {
        Some(bytes) => {
            let found = text(path, &bytes, here.is_system()).into_iter();
            findings.extend(found.map(|found| found.of(service).at(path)));
        }
        None if findings.is_empty() => {
            let found = Finding::warning("cannot be read, so it is not known what it does");
            findings.push(found.of(service).at(path));
        }
        None => {}
    }
    findings
}

/// Looks at a program that counts if its owner may execute it, and is passed over otherwise.
#[must_use]
pub fn optional(path: &Path, service: &str) -> Option<Finding> {
    let c_path = CString::new(path.as_os_str().as_bytes()).ok()?;
    let stat = file::stat(HERE, &c_path, true).ok()?;
    if stat.is_program() || stat.is_dir() && path.ends_with("log") {
        return None;
    }
    let what = "is passed over: its owner may not execute it";
    let found = Finding::warning(what).of(service).at(path);
    Some(found.mended_by(format!("chmod +x {}", path.display())))
}

fn read(path: &CString) -> Option<Vec<u8>> {
    let how = flags::O_RDONLY | flags::O_NONBLOCK;
    let (opened, _) = file::open_regular(HERE, path, how, 0).ok()?;
    let mut bytes = vec![0; MOST];
    let len = fd::read_at(opened.raw(), &mut bytes, 0).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

/// Looks at what it says. Accounts count where root runs it.
fn text(path: &Path, bytes: &[u8], is_root: bool) -> Vec<Finding> {
    if bytes.is_empty() {
        return vec![Finding::error("is empty: the system cannot run it")];
    }
    if bytes.starts_with(b"\x7fELF") {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    let Some(command) = text.split('\n').next().and_then(|line| line.strip_prefix("#!")) else {
        let why = if bytes.starts_with(b"\xef\xbb\xbf#!") {
            "a byte-order mark stands before #!: the system cannot run it"
        } else {
            "begins with neither #! nor as a binary does: the system cannot run it"
        };
        return vec![Finding::error(why).in_line(1, 1, first).mended_by("#!/bin/sh as first line")];
    };
    let mut findings = Vec::new();
    let mut lines = text.split('\n').enumerate();
    let without_returns = || format!("sed -i 's/\\r$//' {}", path.display());
    if command.ends_with('\r') {
        let what =
            "its first line ends in CR LF: the system looks for a program whose name ends in CR";
        let found = Finding::error(what).in_line(1, first.chars().count() + 1, first);
        findings.push(found.mended_by(without_returns()));
    } else {
        findings.extend(interpreter(command, first));
        if let Some((i, line)) = lines.find(|(_, line)| line.ends_with('\r')) {
            let what = "lines end in CR LF, and the CR is taken for a part of the last word";
            let found = Finding::warning(what).in_line(i + 1, line.chars().count(), line);
            findings.push(found.mended_by(without_returns()));
        }
    }
    if is_root {
        findings.extend(text.split('\n').enumerate().filter_map(|(i, line)| account(i + 1, line)));
    }
    findings
}

fn interpreter(command: &str, line: &str) -> Option<Finding> {
    let blanks = command.len() - command.trim_start().len();
    let word = command.split_whitespace().next();
    let what = match word {
        None => "names no program behind #!".to_owned(),
        Some(word) => match fs::metadata(word) {
            Ok(stat) if stat.is_file() => return None,
            _ => format!("there is no program {word} to run it with"),
        },
    };
    Some(Finding::error(what).in_line(1, 3 + blanks, line))
}

/// Looks for an account that is not there.
fn account(number: usize, line: &str) -> Option<Finding> {
    if line.trim_start().starts_with('#') {
        return None;
    }
    let mut words = words(line).skip_while(|(_, word)| {
        !TAKE_ACCOUNT.contains(&word.rsplit('/').next().unwrap_or_default())
    });
    words.next()?;
    let (column, name) = words.find(|(_, word)| !word.starts_with('-'))?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.chars().all(is_plain) || account::find(name.as_bytes()).is_some() {
        return None;
    }
    let found = Finding::error(format!("there is no account {name}"));
    Some(found.in_line(number, column, line).mended_by(format!("useradd --system {name}")))
}

/// Returns the words of a line, each with the column of its first character.
fn words(line: &str) -> impl Iterator<Item = (usize, &str)> {
    line.split_whitespace().map(move |word| {
        let begin = word.as_ptr() as usize - line.as_ptr() as usize;
        (line[..begin].chars().count() + 1, word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script, line and column of what is wrong with it, and what that is.
    type Row = (&'static [u8], [Option<usize>; 2], &'static str);

    fn found(script: &[u8]) -> Vec<(Option<usize>, Option<usize>, String)> {
        text(Path::new("/d/run"), script, true)
            .into_iter()
            .map(|f| (f.line, f.column, f.what))
            .collect()
    }

    #[test]
    fn good_programs_pass() {
        for script in [
            &b"#!/bin/sh\nexec sleep 1\n"[..],
            b"#! /bin/sh -e\n# setuidgid nobody-there x\nexec setuidgid root x\n",
            b"\x7fELF\x02\x01",
            b"#!/bin/sh\nexec setuidgid \"$USER\" x\nexec setuidgid\n",
        ] {
            assert_eq!(found(script), [], "{}", String::from_utf8_lossy(script));
        }
    }

    #[test]
    fn what_the_system_cannot_run_is_told_with_its_place() {
        let rows: [Row; 8] = [
            (b"", [None, None], "is empty"),
            (b"echo hello\n", [Some(1), Some(1)], "neither #!"),
            (b"\xef\xbb\xbf#!/bin/sh\n", [Some(1), Some(1)], "byte-order mark"),
            (b"#!/bin/sh\r\nexec x\r\n", [Some(1), Some(10)], "CR LF"),
            (b"#!/bin/sh\nexec x\r\n", [Some(2), Some(7)], "CR LF"),
            (b"#! /no/such/sh\n", [Some(1), Some(4)], "no program /no/such/sh"),
            (b"#!\n", [Some(1), Some(3)], "names no program"),
            (b"#!/bin/sh\nexec /x/setuidgid -s n0-one a\n", [Some(2), Some(22)], "account n0-one"),
        ];
        for (script, place, what) in rows {
            let all = found(script);
            assert_eq!(all.len(), 1, "{all:?}");
            assert_eq!([all[0].0, all[0].1], place, "{all:?}");
            assert!(all[0].2.contains(what), "{all:?}");
        }
    }

    #[test]
    fn accounts_matter_where_root_runs_it() {
        assert_eq!(text(Path::new("/d/run"), b"#!/bin/sh\nexec setuidgid n0-one a\n", false), []);
    }
}
