//! svscan's command line: `svscan [dir [log-service]]`, and our long options in front.

use super::SVSCAN;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What svscan was asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// The folder to scan; `None` = the current one.
    pub dir: Option<&'static OsStr>,
    /// The service that gets svscan's own output (daemontools-encore).
    pub log_service: Option<&'static OsStr>,
    /// Ends with this service, and with its exit code.
    pub exit_with: Option<&'static OsStr>,
    /// Services whose directories others may write to.
    pub trusted: Vec<OsString>,
}

/// The synopsis.
const USAGE: &str = "svscan [--exit-with NAME] [--allow-writable NAME]... [dir [log-service]]";

impl Args {
    /// Reads the command line; `Err` is the exit code of a program that has said its word.
    ///
    /// daemontools looks at no argument but the first and knows no option: an argument that begins
    /// with `--` and is none of ours is a folder, as ever.
    ///
    /// # Errors
    /// 100 for wrong usage, 0 for `--help` and `--version`.
    pub fn read(args: &[&'static OsStr]) -> Result<Self, i32> {
        if let Some(code) = SVSCAN.standard(args, USAGE) {
            return Err(code);
        }
        let mut all = Self::default();
        let mut rest = args;
        while let Some((option, behind)) = rest.split_first() {
            let (name, value, behind) = match split(option) {
                (name, Some(value)) => (name, Some(value), behind),
                (name, None) => (name, behind.first().copied(), behind.get(1..).unwrap_or(&[])),
            };
            match (name, value) {
                (b"--exit-with", Some(value)) if is_entry(value) => all.exit_with = Some(value),
                (b"--exit-with", Some(value)) => {
                    let why = ": not the name of a service in the folder".as_ref();
                    // Said like a fatal error, but it is the caller's.
                    let _ = SVSCAN.fatal_plain(&["unable to end with ".as_ref(), value, why]);
                    return Err(sys::program::USAGE);
                }
                (b"--allow-writable", Some(value)) => all.trusted.push(value.to_owned()),
                (b"--exit-with" | b"--allow-writable", None) => return Err(SVSCAN.usage(USAGE)),
                _ => break,
            }
            rest = behind;
        }
        all.dir = rest.first().copied();
        all.log_service = rest.get(1).copied();
        Ok(all)
    }
}

/// Tells whether svscan could ever keep a service of this name.
fn is_entry(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && !bytes.starts_with(b".") && !bytes.contains(&b'/')
}

/// Splits `--name=value`.
fn split(option: &'static OsStr) -> (&'static [u8], Option<&'static OsStr>) {
    let bytes = option.as_bytes();
    match bytes.iter().position(|b| *b == b'=') {
        Some(at) => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]))),
        None => (bytes, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&'static str]) -> Result<Args, i32> {
        Args::read(&args.iter().map(|a| OsStr::new(*a)).collect::<Vec<_>>())
    }

    #[test]
    fn options_come_first_and_what_is_unknown_is_a_folder() {
        let none = Args::default();
        assert_eq!(read(&[]), Ok(Args::default()));
        let dir = Some(OsStr::new("dir"));
        let log = Some(OsStr::new("log"));
        assert_eq!(read(&["dir", "log", "x"]), Ok(Args { dir, log_service: log, ..none }));
        let exit_with = Some(OsStr::new("web"));
        for args in [&["--exit-with", "web", "dir"][..], &["--exit-with=web", "dir"]] {
            assert_eq!(read(args), Ok(Args { dir, exit_with, ..Args::default() }));
        }
        let odd = Some(OsStr::new("--odd"));
        assert_eq!(read(&["--odd"]), Ok(Args { dir: odd, ..Args::default() }));
        let trusted = vec!["a".into(), "b".into()];
        let args = ["--allow-writable", "a", "--allow-writable=b"];
        assert_eq!(read(&args), Ok(Args { trusted, ..Args::default() }));
        assert_eq!(read(&["--exit-with"]), Err(100));
    }

    #[test]
    fn a_name_that_no_service_can_have_is_wrong_usage() {
        for name in ["../x", "a/b", "web/", "/", ".hidden", ".", ""] {
            assert_eq!(read(&["--exit-with", name, "dir"]), Err(100), "{name}");
        }
    }
}
