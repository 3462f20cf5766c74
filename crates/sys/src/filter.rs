//! Running a program that turns one file into another.

use linux::errno::{Errno, Result};
use linux::limit::{self, Limit, Resource};
use linux::process::{self, Ended, Fork, Waited};
use linux::{fd, signal};
use std::ffi::{CStr, c_char};

/// Runs the first of `paths` that there is with the arguments `words` (its name first) and an empty
/// environment, `from` as descriptor 0 and `to` as 1, and waits for its end. It says nothing on
/// descriptor 2, and writes no more than `most` bytes: the signal XFSZ ends it there. For programs
/// with one thread.
///
/// # Errors
/// As fork(2); `ENOENT` where none of the paths can be run.
pub fn run(paths: &[&CStr], words: &[&CStr], [from, to]: [i32; 2], most: u64) -> Result<Ended> {
    /// No program exits with it that is run here.
    const NOT_RUN: i32 = 127;
    let mut argv: Vec<*const c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    let Fork::Parent(pid) = process::fork()? else {
        if limit_files(most).is_ok() {
            become_program(paths, &argv, from, to);
        }
        process::exit(NOT_RUN)
    };
    match process::wait(pid, true) {
        Waited::Ended(_, Ended::Code(NOT_RUN)) => Err(Errno(libc::ENOENT)),
        Waited::Ended(_, ended) => Ok(ended),
        Waited::Alive | Waited::NoChild => Err(Errno(libc::ECHILD)),
    }
}

fn limit_files(most: u64) -> Result<()> {
    let before = limit::get(Resource::FileSize)?;
    limit::set(Resource::FileSize, Limit { soft: most.min(before.soft), ..before })
}

/// The child; returns where nothing could be run.
fn become_program(paths: &[&CStr], argv: &[*const c_char], from: i32, to: i32) {
    signal::reset_all();
    // Both may stand where a standard descriptor belongs.
    let (Ok(from), Ok(to)) = (fd::copy(from), fd::copy(to)) else { return };
    let null = linux::file::open(linux::file::HERE, c"/dev/null", libc::O_WRONLY, 0);
    let Ok(null) = null.and_then(fd::beyond_standard) else { return };
    for (fd, standard) in [(&from, 0), (&to, 1), (&null, 2)] {
        if fd::dup_to(fd.raw(), standard).is_err() {
            return;
        }
    }
    for path in paths {
        let _ = process::exec_with(path, argv, &[std::ptr::null()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linux::file::{self, HERE};

    #[test]
    fn a_program_reads_one_file_and_writes_the_other() {
        let new = || file::open(HERE, c"/tmp", libc::O_TMPFILE | libc::O_RDWR, 0o600).unwrap();
        let (from, to) = (new(), new());
        fd::write_at(from.raw(), b"abc", 0).unwrap();
        let paths = [c"/nowhere/tr", c"/usr/bin/tr", c"/bin/tr"];
        let words = [c"tr", c"a-c", c"x-z"];
        let ends = [from.raw(), to.raw()];
        assert_eq!(run(&paths, &words, ends, 99), Ok(Ended::Code(0)));
        let mut out = [0; 8];
        assert_eq!(fd::read_at(to.raw(), &mut out, 0), Ok(3));
        assert_eq!(&out[..3], b"xyz");
        assert_eq!(run(&[c"/nowhere/tr"], &words, ends, 99), Err(Errno(libc::ENOENT)));
        let (from, to) = (new(), new());
        fd::write_at(from.raw(), b"abcabc", 0).unwrap();
        let ended = run(&paths, &words, [from.raw(), to.raw()], 4);
        assert_eq!(ended, Ok(Ended::Signal(libc::SIGXFSZ)));
        assert!(file::stat_fd(to.raw()).unwrap().size() <= 4);
    }
}
