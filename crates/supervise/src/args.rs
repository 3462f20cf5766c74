//! The command line: `supervise DIR` as ever, and what svscan and supervise itself add.

use crate::replace::Inherited;
use core::ffi::CStr;
use linux::identity::Boot;
use linux::{fd, message};

/// What supervise was asked to do.
pub(crate) struct Args {
    /// The service directory.
    pub(crate) dir: &'static CStr,
    /// svscan asks: keep the logger too, and come back after `x` while the entry is there.
    pub(crate) paired: bool,
    /// svscan ends with this service: a first life is `o`, not `u`.
    pub(crate) once: bool,
    /// Which boot this is, where svscan has just told us.
    pub(crate) boot: Option<Boot>,
    /// Descriptors that the program we replace held.
    pub(crate) inherited: Inherited,
}

/// svscan's option.
const PAIR: &[u8] = b"--pair";
/// Likewise, behind it.
const ONCE: &[u8] = b"--once";
/// Likewise, see [`Boot::tell`]; HUP does not pass it on.
const BOOT: &[u8] = b"--boot=";
/// Our own, before the rest: see [`crate::replace`].
pub(crate) const RESUME: &[u8] = b"--resume=";

impl Args {
    /// Reads the command line; `Err` is the exit code of a program that has said its word.
    #[inline(never)]
    pub(crate) fn read(args: linux::entry::Args) -> Result<Self, i32> {
        let mut next = 1;
        let mut inherited = Inherited::default();
        let mut paired = false;
        let mut once = false;
        let mut boot = None;
        // An option as the last argument is a directory of that name.
        while let Some(option) = args.get(next).filter(|_| next + 1 < args.len()) {
            match option.to_bytes() {
                PAIR => paired = true,
                ONCE => once = true,
                other => match (other.strip_prefix(RESUME), other.strip_prefix(BOOT)) {
                    (Some(list), _) => inherited = Inherited::parse(list),
                    (_, Some(text)) => boot = Boot::told(text),
                    _ => break,
                },
            }
            next += 1;
        }
        match args.get(next) {
            Some(dir) if args.len() == next + 1 => match dir.to_bytes() {
                b"--help" => Err(tell(b"usage: supervise dir\n")),
                b"--version" => Err(tell(VERSION.as_bytes())),
                _ => Ok(Self { dir, paired, once, boot, inherited }),
            },
            _ => {
                message::plain(crate::NAME, "usage", &[b"supervise dir"]);
                Err(100)
            }
        }
    }
}

const VERSION: &str = concat!("supervise (skynet) ", env!("CARGO_PKG_VERSION"), "\n");

fn tell(text: &[u8]) -> i32 {
    match fd::write(1, text) {
        Ok(_) => 0,
        Err(why) => {
            message::system(crate::NAME, crate::FATAL, &[b"unable to write output"], why);
            111
        }
    }
}
