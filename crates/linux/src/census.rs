//! The processes that there are, and what they use: /proc, a file for each.

use crate::decimal::{self, Decimal};
use crate::errno::{Errno, Result};
use crate::fd::{self, Fd};
use crate::file;
use crate::time::SECOND;
use core::ffi::CStr;

/// A process at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Who is told of its end.
    pub parent: u32,
    /// The letter of its state: `Z` and `X` are dead.
    pub state: u8,
    /// Its name, with NULs behind it.
    name: [u8; 16],
    /// When it was started, in clock ticks since the boot.
    pub started: u64,
    /// Ticks that it has computed, its threads included, children that it had not.
    pub ticks: u64,
    /// Pages in memory, those that it shares included.
    pub pages: u64,
}

impl Process {
    /// Returns its name, which whoever runs it chose.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Tells whether it does not just wait to be reaped.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    /// Reads `/proc/PID/stat`. The name may hold blanks and brackets; it ends at the last `)`.
    fn read(pid: u32, line: &[u8]) -> Option<Self> {
        let begin = line.iter().position(|byte| *byte == b'(')? + 1;
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let mut name = [0; 16];
        let said = line.get(begin..end)?;
        let len = said.len().min(name.len());
        name[..len].copy_from_slice(&said[..len]);
        let mut process = Self { pid, parent: 0, state: 0, name, started: 0, ticks: 0, pages: 0 };
        let fields = line[end + 1..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        for (number, field) in (3_u32..).zip(fields) {
            match number {
                3 => process.state = *field.first()?,
                4 => process.parent = u32::try_from(decimal::parse(field)?).ok()?,
                14 | 15 => process.ticks = process.ticks.checked_add(decimal::parse(field)?)?,
                22 => process.started = decimal::parse(field)?,
                24 => {
                    process.pages = decimal::parse(field)?;
                    return Some(process);
                }
                _ => {}
            }
        }
        None
    }
}

/// /proc, held open.
#[derive(Debug)]
pub struct Census(Fd);

impl Census {
    /// Opens it.
    ///
    /// # Errors
    /// As open(2).
    pub fn open() -> Result<Self> {
        file::open(file::HERE, c"/proc", libc::O_RDONLY | libc::O_DIRECTORY, 0).map(Self)
    }

    /// Calls `each` with the pid of every process; once for each opening.
    ///
    /// # Errors
    /// As getdents(2).
    pub fn for_each(&self, mut each: impl FnMut(u32)) -> Result<()> {
        crate::directory::for_each(self.0.raw(), |name| {
            let pid = decimal::parse(name.to_bytes()).and_then(|pid| u32::try_from(pid).ok());
            pid.into_iter().for_each(&mut each);
            None::<()>
        })?;
        Ok(())
    }

    /// Looks at a process.
    ///
    /// # Errors
    /// `ENOENT` where there is no such process; `EINVAL` where /proc says something else.
    pub fn look(&self, pid: u32) -> Result<Process> {
        let mut line = [0; 512];
        let len = self.read(pid, b"/stat", &mut line)?;
        Process::read(pid, &line[..len]).ok_or(Errno(libc::EINVAL))
    }

    /// Returns how many pages a process has in memory, counted one by one. [`Process::pages`] may be
    /// behind by dozens for each processor, which is all that a small process has.
    ///
    /// # Errors
    /// As [`Census::look`].
    pub fn pages(&self, pid: u32) -> Result<u64> {
        let mut line = [0; 128];
        let len = self.read(pid, b"/statm", &mut line)?;
        let pages = line[..len].split(|byte| *byte == b' ').nth(1).and_then(decimal::parse);
        pages.ok_or(Errno(libc::EINVAL))
    }

    /// Reads the begin of a file of a process.
    fn read(&self, pid: u32, name: &[u8], line: &mut [u8]) -> Result<usize> {
        let mut path = [0; 24];
        let number = Decimal::of(u64::from(pid));
        let digits = number.digits();
        path[..digits.len()].copy_from_slice(digits);
        path[digits.len()..digits.len() + name.len()].copy_from_slice(name);
        let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno(libc::EINVAL))?;
        let file = file::open(self.0.raw(), path, libc::O_RDONLY, 0)?;
        match fd::read(file.raw(), line) {
            // It ended between the two calls.
            Err(Errno(libc::ESRCH)) => Err(Errno(libc::ENOENT)),
            len => len,
        }
    }
}

fn setting(name: i32, usual: u64) -> u64 {
    // SAFETY: sysconf takes an int and touches no memory.
    let value = unsafe { libc::sysconf(name) };
    u64::try_from(value).ok().filter(|value| *value > 0).unwrap_or(usual)
}

/// Returns the length of a clock tick in nanoseconds.
#[must_use]
pub fn tick() -> u64 {
    SECOND / setting(libc::_SC_CLK_TCK, 100)
}

/// Returns the bytes of a page.
#[must_use]
pub fn page() -> u64 {
    setting(libc::_SC_PAGESIZE, 4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process;

    #[test]
    fn we_are_among_the_processes_and_use_something() {
        let census = Census::open().unwrap();
        let own = process::pid() as u32;
        let mut times = 0;
        census.for_each(|pid| times += u32::from(pid == own)).unwrap();
        assert_eq!(times, 1);
        let found = census.look(own).unwrap();
        assert_eq!((found.pid, found.parent), (own, process::parent() as u32));
        assert!(found.is_alive() && found.pages > 0 && !found.name().is_empty());
        assert_eq!(census.look(u32::MAX), Err(Errno(libc::ENOENT)));
        assert!(census.pages(own).unwrap() > 0);
        assert_eq!(census.pages(u32::MAX), Err(Errno(libc::ENOENT)));
    }

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let tail = b" S 7 3 4 5 6 7 8 9 10 11 20 22 14 15 16 17 18 19 4711 20 99 1";
        for name in [&b"sh"[..], b"a b", b"a) (1 2", b")", b"0123456789abcdef"] {
            let mut line = [0; 128];
            let mut len = 0;
            for part in [b"5 (", name, b")", tail] {
                line[len..len + part.len()].copy_from_slice(part);
                len += part.len();
            }
            let found = Process::read(5, &line[..len]).unwrap();
            assert_eq!(found.name(), name);
            assert_eq!((found.parent, found.state, found.ticks), (7, b'S', 42));
            assert_eq!((found.started, found.pages), (4711, 99));
            assert_eq!(Process::read(5, &line[..len - 6]), None);
        }
        assert_eq!(Process::read(5, b""), None);
        assert_eq!(Process::read(5, b")("), None);
    }
}
