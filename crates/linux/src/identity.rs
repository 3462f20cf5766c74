//! Which process a pid means: start times and the boot they count from.

use crate::census::tick;
use crate::decimal::{self, Decimal};
use crate::errno::{Errno, OrLasting, Result};
use crate::fd;
use crate::file::{self, HERE};
use crate::time::{self, SECOND};
use crate::{hex, process};
use core::ffi::CStr;

/// Returns when process `pid` was started, in clock ticks since boot.
///
/// # Errors
/// `ENOENT` where there is no such process; `EINVAL` where /proc says something else.
fn start_ticks(pid: u32) -> Result<u64> {
    let mut path = [0; 24];
    // The line's first fields fit; the name in it has 16 bytes at the most.
    let mut line = [0; 512];
    let n = read_file(proc_path(pid, b"/stat", &mut path)?, &mut line)?;
    parse_start(&line[..n]).ok_or(Errno(libc::EINVAL))
}

/// Finds field 22.
fn parse_start(line: &[u8]) -> Option<u64> {
    field(line, 22)
}

/// Reads field `n`, from 3 on, which is a number. Field 2 is a name that may hold blanks and
/// brackets; it ends at the last `)`.
fn field(line: &[u8], n: usize) -> Option<u64> {
    let name_end = line.iter().rposition(|b| *b == b')')?;
    let mut fields = line[name_end + 1..].split(|b| *b == b' ').filter(|f| !f.is_empty());
    decimal::parse(fields.nth(n.checked_sub(3)?)?)
}

/// Returns the parent of process `pid`.
///
/// # Errors
/// `ENOENT` where there is no such process; `EINVAL` where /proc says something else.
pub fn parent(pid: u32) -> Result<u32> {
    let mut path = [0; 24];
    let mut line = [0; 512];
    let n = read_file(proc_path(pid, b"/stat", &mut path)?, &mut line)?;
    let parent = field(&line[..n], 4).ok_or(Errno(libc::EINVAL))?;
    u32::try_from(parent).map_err(|_| Errno(libc::EINVAL))
}

/// Tells whether process `pid` descends from `ancestor`, or is it. A dead parent's children belong
/// to the next reaper above, so that of a reaper's descendants this is true for as long as it lives.
///
/// # Errors
/// As [`parent`]: a process of the row died meanwhile, or /proc is not there.
pub fn descends_from(pid: u32, ancestor: u32) -> Result<bool> {
    // A row can be as long as the system has processes; none goes in a circle for ever.
    let mut pid = pid;
    while pid > 1 && pid != ancestor {
        pid = parent(pid)?;
    }
    Ok(pid == ancestor)
}

/// Tells whether `is_it` is true of process `pid` or of one above it; it is asked with pid and name,
/// which is cut to 15 bytes.
///
/// # Errors
/// As [`descends_from`], and those of `is_it`.
pub fn is_below(pid: u32, mut is_it: impl FnMut(u32, &[u8]) -> Result<bool>) -> Result<bool> {
    let mut pid = pid;
    while pid > 1 {
        let (mut path, mut line) = ([0; 24], [0; 512]);
        let n = read_file(proc_path(pid, b"/stat", &mut path)?, &mut line)?;
        let (name, parent) = parse_above(&line[..n]).ok_or(Errno(libc::EINVAL))?;
        if is_it(pid, name)? {
            return Ok(true);
        }
        pid = parent;
    }
    Ok(false)
}

/// Returns name and parent.
fn parse_above(line: &[u8]) -> Option<(&[u8], u32)> {
    let [begin, end] =
        [line.iter().position(|b| *b == b'(')?, line.iter().rposition(|b| *b == b')')?];
    Some((line.get(begin + 1..end)?, u32::try_from(field(line, 4)?).ok()?))
}

/// Returns with whose rights process `pid` acts.
///
/// # Errors
/// `ENOENT` where there is no such process; `EINVAL` where /proc says something else.
pub fn user(pid: u32) -> Result<u32> {
    let (mut path, mut text) = ([0; 24], [0; 512]);
    // The owner of the folder would be root where nobody may trace it.
    let n = read_file(proc_path(pid, b"/status", &mut path)?, &mut text)?;
    parse_user(&text[..n]).ok_or(Errno(libc::EINVAL))
}

/// Reads the second number of `Uid:`.
fn parse_user(text: &[u8]) -> Option<u32> {
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"Uid:\t"))?;
    u32::try_from(decimal::parse(line.split(|b| *b == b'\t').nth(1)?)?).ok()
}

/// Calls `each` with the pid of every child of this process, dead ones that are not reaped included:
/// from the kernel's own lists where it keeps them, else by looking at every process.
///
/// # Errors
/// Where /proc cannot be read.
pub fn for_each_child(mut each: impl FnMut(i32)) -> Result<()> {
    if listed_children(&mut each)? { Ok(()) } else { children_of_all(&mut each) }
}

/// Tells whether the kernel keeps lists: one for each thread.
fn listed_children(each: &mut impl FnMut(i32)) -> Result<bool> {
    let threads = file::open(HERE, c"/proc/self/task", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let missing = crate::directory::for_each(threads.raw(), |name| {
        let thread = decimal::parse(name.to_bytes())?;
        let mut path = [0; 48];
        let path =
            numbered_path(b"/proc/self/task/", thread as u32, b"/children", &mut path).ok()?;
        let list = file::open(HERE, path, libc::O_RDONLY, 0);
        let read = list.and_then(|list| for_each_number(list.raw(), |pid| each(pid as i32)));
        read.is_err().then_some(())
    })?;
    Ok(missing.is_none())
}

fn children_of_all(each: &mut impl FnMut(i32)) -> Result<()> {
    let own = process::pid() as u32;
    let all = file::open(HERE, c"/proc", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
    let end = crate::directory::for_each(all.raw(), |name| {
        let pid = decimal::parse(name.to_bytes()).and_then(|pid| u32::try_from(pid).ok())?;
        if parent(pid) == Ok(own) {
            each(pid as i32);
        }
        None::<()>
    });
    end.map(|_| ())
}

/// Calls `each` with every number of a file that holds nothing but numbers, a blank behind each.
fn for_each_number(fd: i32, mut each: impl FnMut(u64)) -> Result<()> {
    let mut buf = [0; 512];
    let mut number = None;
    loop {
        let n = fd::read(fd, &mut buf)?;
        for byte in &buf[..n] {
            if byte.is_ascii_digit() {
                let digit = u64::from(byte - b'0');
                number = Some(number.unwrap_or(0_u64).wrapping_mul(10).wrapping_add(digit));
            } else if let Some(number) = number.take() {
                each(number);
            }
        }
        if n == 0 {
            number.take().into_iter().for_each(each);
            return Ok(());
        }
    }
}

/// Writes `/proc/PID` and `tail` into `out` and returns the path.
///
/// # Errors
/// `ENAMETOOLONG` where `out` is too short.
pub fn proc_path<'a>(pid: u32, tail: &[u8], out: &'a mut [u8]) -> Result<&'a CStr> {
    numbered_path(b"/proc/", pid, tail, out)
}

/// Writes the path by which descriptor `fd` of this process can be opened anew into `out`.
///
/// # Errors
/// `ENAMETOOLONG` where `out` is too short.
pub fn fd_path(fd: i32, out: &mut [u8]) -> Result<&CStr> {
    numbered_path(b"/proc/self/fd/", fd as u32, b"", out)
}

fn numbered_path<'a>(head: &[u8], number: u32, tail: &[u8], out: &'a mut [u8]) -> Result<&'a CStr> {
    let number = Decimal::of(u64::from(number));
    let mut len = 0;
    for part in [head, number.digits(), tail, b"\0"] {
        let room = out.get_mut(len..len + part.len()).ok_or(Errno(libc::ENAMETOOLONG))?;
        room.copy_from_slice(part);
        len += part.len();
    }
    CStr::from_bytes_until_nul(out).map_err(|_| Errno(libc::EINVAL))
}

/// The boot that this process sees: what pids belong to, and the kernel's own clock, by which
/// processes know each other's start times also from one time namespace to another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's boot id, mixed with the start of pid 1, so that a container started again under
    /// the same kernel counts as another boot. All zero where /proc is missing, see
    /// [`Boot::is_known`].
    pub id: [u8; 16],
    /// How far our `CLOCK_BOOTTIME` and the times in /proc are ahead of the kernel's, in
    /// nanoseconds.
    ahead: i64,
}

impl Boot {
    /// Digits of [`Boot::tell`].
    pub const TOLD: usize = 2 * (16 + 8 + 8 + 4);

    /// Asks which boot this is.
    ///
    /// Two time namespaces that are apart by other than whole clock ticks may see two boots.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`, `EIO`: another time it may be had.
    pub fn this() -> Result<Self> {
        let mut text = [0; 36];
        let mut boot = Self::default();
        let read = read_file(c"/proc/sys/kernel/random/boot_id", &mut text);
        let Some(n) = read.or_lasting()? else { return Ok(boot) };
        let digits = text[..n].iter().copied().filter(|byte| *byte != b'-');
        if hex::read(digits, boot.id.iter_mut()).is_none() {
            return Ok(Self::default());
        }
        // Kernels without time namespaces have no such file.
        let mut text = [0; 128];
        let read = read_file(c"/proc/self/timens_offsets", &mut text).or_lasting()?;
        boot.ahead = read.and_then(|n| parse_ahead(&text[..n])).unwrap_or(0);
        let first = boot.started(1).or_lasting()?.unwrap_or(0) / tick();
        for (byte, first) in boot.id.iter_mut().zip(first.to_le_bytes()) {
            *byte ^= first;
        }
        Ok(boot)
    }

    /// Tells whether there is anything to know pids by; else nothing can be taken back.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.id != [0; 16]
    }

    /// Returns this moment by the kernel's clock, in nanoseconds since the boot.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.of_kernel(time::boottime())
    }

    /// Returns by the same clock when process `pid` was started, or a moment up to a tick earlier.
    ///
    /// # Errors
    /// `ENOENT` where there is no such process; `EINVAL` where /proc says something else.
    pub fn started(&self, pid: u32) -> Result<u64> {
        Ok(self.of_ticks(start_ticks(pid)?))
    }

    /// Returns by the same clock the moment that /proc tells as so many ticks since the boot.
    #[must_use]
    pub fn of_ticks(&self, ticks: u64) -> u64 {
        self.of_kernel(ticks.saturating_mul(tick()))
    }

    /// Returns it as a text for a child that is run now, which need not ask itself: the bytes of id,
    /// lead, moment and our pid in hex digits.
    #[must_use]
    pub fn tell(&self) -> [u8; Self::TOLD] {
        let [ahead, now] = [self.ahead.to_le_bytes(), self.now().to_le_bytes()];
        let bytes = self.id.into_iter().chain(ahead).chain(now).chain(process::pid().to_le_bytes());
        let mut text = [0; Self::TOLD];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&hex::digits(byte));
        }
        text
    }

    /// Reads such a text, if our parent told it within the last second by our clock. One that was
    /// copied, or that came through a program with other clocks or pids, would make strangers of our
    /// processes, and ours of strangers.
    #[must_use]
    pub fn told(text: &[u8]) -> Option<Self> {
        Self::told_by(process::parent(), text)
    }

    fn told_by(parent: i32, text: &[u8]) -> Option<Self> {
        let mut boot = Self::default();
        let ([mut ahead, mut at], mut by) = ([[0; 8]; 2], [0; 4]);
        let bytes = boot.id.iter_mut().chain(&mut ahead).chain(&mut at).chain(&mut by);
        hex::read(text.iter().copied(), bytes)?;
        boot.ahead = i64::from_le_bytes(ahead);
        let age = boot.now().checked_sub(u64::from_le_bytes(at))?;
        (age < SECOND && i32::from_le_bytes(by) == parent).then_some(boot)
    }

    fn of_kernel(&self, ours: u64) -> u64 {
        ours.saturating_add_signed(self.ahead.saturating_neg())
    }
}

/// Reads the second line, `boottime SECONDS NANOSECONDS`.
fn parse_ahead(text: &[u8]) -> Option<i64> {
    let line = text.split(|b| *b == b'\n').nth(1)?;
    let mut fields = line.split(|b| *b == b' ').filter(|field| !field.is_empty()).skip(1);
    let [seconds, nanos] = [fields.next()?, fields.next()?];
    let (digits, sign) = seconds.strip_prefix(b"-").map_or((seconds, 1), |digits| (digits, -1));
    let seconds = i64::try_from(decimal::parse(digits)?.checked_mul(SECOND)?).ok()? * sign;
    seconds.checked_add(i64::try_from(decimal::parse(nanos)?).ok()?)
}

fn read_file(path: &CStr, buf: &mut [u8]) -> Result<usize> {
    let file = file::open(HERE, path, libc::O_RDONLY, 0)?;
    fd::read(file.raw(), buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let tail = b" S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in [&b"7 (sh)"[..], b"7 (a b)", b"7 (a) (1 2)", b"7 ())"] {
            let mut line = [0; 100];
            line[..name.len()].copy_from_slice(name);
            line[name.len()..name.len() + tail.len()].copy_from_slice(tail);
            assert_eq!(parse_start(&line[..name.len() + tail.len()]), Some(4711));
        }
        assert_eq!(parse_start(b""), None);
        assert_eq!(parse_start(b"7 (sh) S 1"), None);
        assert_eq!(parse_start(b"7 (sh) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"), None);
    }

    #[test]
    fn whoever_we_started_descends_from_us_and_we_not_from_them() {
        let own = process::pid() as u32;
        assert_eq!(descends_from(own, own), Ok(true));
        assert_eq!(descends_from(own, parent(own).unwrap()), Ok(true));
        assert_eq!(descends_from(1, own), Ok(false));
        assert_eq!(descends_from(parent(own).unwrap(), own), Ok(false));
        assert_eq!(descends_from(u32::MAX, own), Err(Errno(libc::ENOENT)));
    }

    #[test]
    fn those_above_a_process_are_told_by_number_and_name() {
        let own = process::pid() as u32;
        let (mut above, mut is_named) = ([0; 2], false);
        let answer = is_below(own, |pid, name| {
            let mut text = [0; 17];
            let mut path = [0; 24];
            let n = read_file(proc_path(pid, b"/comm", &mut path)?, &mut text)?;
            is_named = text[..n].strip_suffix(b"\n") == Some(name);
            above.rotate_left(1);
            above[1] = pid;
            Ok(pid != own)
        });
        let above_us = parent(own).unwrap();
        assert_eq!((answer, above, is_named), (Ok(true), [own, above_us], true));
        assert_eq!(is_below(own, |_, _| Ok(false)), Ok(false));
        assert_eq!(is_below(own, |_, _| Err(Errno(libc::EPERM))), Err(Errno(libc::EPERM)));
        assert_eq!(is_below(u32::MAX, |_, _| Ok(true)), Err(Errno(libc::ENOENT)));
        assert_eq!(parse_above(b"7 (a) b (1 2) S 41 7"), Some((&b"a) b (1 2"[..], 41)));
        assert_eq!(parse_above(b"7 )a( S 41"), None);
    }

    #[test]
    fn the_user_of_a_process_is_who_it_acts_as() {
        assert_eq!(user(process::pid() as u32), Ok(process::euid()));
        assert_eq!(user(u32::MAX), Err(Errno(libc::ENOENT)));
        let text = b"Name:\tUid:\nUmask:\t0022\nUid:\t7\t8\t9\t10\nGid:\t1\t1\t1\t1\n";
        assert_eq!((parse_user(text), parse_user(b"Name:\tx\n")), (Some(8), None));
    }

    #[test]
    fn a_child_is_found_among_all_processes() {
        let (from, to) = fd::pipe().unwrap();
        let pid = match process::fork().unwrap() {
            process::Fork::Parent(pid) => pid,
            process::Fork::Child => {
                drop(to);
                let _ = fd::read(from.raw(), &mut [0]);
                process::exit(0)
            }
        };
        // Where others of this process end children meanwhile, the kernel's list may lack some.
        let mut is_found = false;
        for _ in 0..100 {
            let (mut listed, mut looked_at, mut found) = (0, 0, 0);
            let lists = listed_children(&mut |child| listed += i32::from(child == pid)).unwrap();
            children_of_all(&mut |child| looked_at += i32::from(child == pid)).unwrap();
            for_each_child(|child| found += i32::from(child == pid)).unwrap();
            is_found |= (listed, looked_at, found) == (i32::from(lists), 1, 1);
        }
        drop(to);
        let _ = process::wait(pid, true);
        assert!(is_found);
    }

    #[test]
    fn numbers_are_read_across_the_pieces_that_a_file_comes_in() {
        let (from, to) = fd::pipe().unwrap();
        for _ in 0..200 {
            fd::write_all(to.raw(), b"1234567 ").unwrap();
        }
        fd::write_all(to.raw(), b"89").unwrap();
        drop(to);
        let (mut count, mut last) = (0, 0);
        for_each_number(from.raw(), |number| {
            assert!(number == 1_234_567 || count == 200);
            (count, last) = (count + 1, number);
        })
        .unwrap();
        assert_eq!((count, last), (201, 89));
    }

    #[test]
    fn our_own_start_lies_in_the_past_of_this_boot() {
        let boot = Boot::this().unwrap();
        assert!(boot.is_known());
        assert!(boot.started(process::pid() as u32).unwrap() <= boot.now());
        assert_eq!(boot.started(u32::MAX), Err(Errno(libc::ENOENT)));
        assert!(!Boot::default().is_known());
    }

    #[test]
    fn a_child_believes_what_its_parent_has_just_told_it() {
        let ours = process::pid();
        for ahead in [0, 5_000_000_000, -5] {
            let boot = Boot { id: *b"\x00\xff0123456789abcd", ahead };
            let text = boot.tell();
            assert_eq!(Boot::told_by(ours, &text), Some(boot));
            // Not what somebody else told, or another clock shows to be old or of the future.
            assert_eq!(Boot::told(&text), None);
            for later in [SECOND as i64, -60 * SECOND as i64] {
                let mut text = text;
                let moment = boot.now().saturating_add_signed(-later).to_le_bytes();
                for (pair, byte) in text[48..64].chunks_exact_mut(2).zip(moment) {
                    pair.copy_from_slice(&hex::digits(byte));
                }
                assert_eq!(Boot::told_by(ours, &text), None);
            }
            assert_eq!(Boot::told_by(ours, &text[2..]), None);
            assert_eq!(Boot::told_by(ours, b""), None);
        }
    }

    #[test]
    fn the_clock_of_a_time_namespace_is_turned_into_the_kernel_s() {
        for (text, ahead) in [
            (&b"monotonic           7         7\nboottime            0         0\n"[..], Some(0)),
            (b"monotonic 7 7\nboottime      1000000         5\n", Some(1_000_000_000_000_005)),
            (b"monotonic 7 7\nboottime           -2 250000000\n", Some(-1_750_000_000)),
            (b"", None),
            (b"monotonic 1 1\n", None),
            (b"monotonic 1 1\nboottime x 1\n", None),
            (b"monotonic 1 1\nboottime 1\n", None),
        ] {
            assert_eq!(parse_ahead(text), ahead);
        }
        let boot = Boot { id: [1; 16], ahead: 40 };
        assert_eq!([boot.of_kernel(100), boot.of_kernel(30)], [60, 0]);
        assert_eq!(Boot { ahead: -40, ..boot }.of_kernel(100), 140);
    }
}
