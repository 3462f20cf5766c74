//! File names in a service directory and in its `supervise` folder.

use core::ffi::CStr;

/// The folder below a service directory that holds the files of this module's second half.
pub const SUPERVISE: &CStr = c"supervise";
/// The logger's service directory, or an executable that is the logger.
pub const LOG: &CStr = c"log";
/// Where it exists, the service is normally down.
pub const DOWN: &CStr = c"down";
/// The program that is the service.
pub const RUN: &CStr = c"run";
/// Runs once before `run` when the service goes up (daemontools-encore).
pub const START: &CStr = c"start";
/// Runs once after the last `run` when the service goes down (daemontools-encore).
pub const STOP: &CStr = c"stop";
/// Told of each start and death (daemontools-encore).
pub const NOTIFY: &CStr = c"notify";
/// Where it exists, the service stays in supervise's session (daemontools-encore).
pub const NO_SETSID: &CStr = c"no-setsid";
/// Its first word names the relative whose way rules in this directory: `encore`.
pub const COMPAT: &CStr = c"compat";
/// Decimal exit codes of `run`, apart by white space, after which it is not started again.
pub const FAILURE_CODES: &CStr = c"failure-codes";

/// Locked (flock) while a supervise keeps this member.
pub const LOCK: &CStr = c"lock";
/// FIFO that takes command bytes, see [`crate::control`].
pub const CONTROL: &CStr = c"control";
/// FIFO that can be opened for writing while a supervise keeps this member.
pub const OK: &CStr = c"ok";
/// The 18 bytes of [`crate::status`].
pub const STATUS: &CStr = c"status";
/// The next status, before it is renamed.
pub const STATUS_NEW: &CStr = c"status.new";
/// The bytes of [`crate::record`].
pub const RECORD: &CStr = c"record";
/// The record of a logger that is a script and so has no folder of its own.
pub const LOG_RECORD: &CStr = c"log.record";
/// FIFO from a service to its logger; it keeps its bytes as long as anyone holds it.
pub const LOG_PIPE: &CStr = c"logpipe";

/// Environment variable that puts the `supervise` folder elsewhere (daemontools-encore).
pub const SUPERVISEDIR: &CStr = c"SUPERVISEDIR";
/// Environment variable that lets a relative's way rule: `encore`.
pub const DAEMONTOOLS_COMPAT: &CStr = c"DAEMONTOOLS_COMPAT";
/// The value of [`DAEMONTOOLS_COMPAT`] and of the file [`COMPAT`].
pub const ENCORE: &CStr = c"encore";

/// Tells whether the content of a file [`COMPAT`] says that encore rules: its first word.
#[must_use]
pub fn says_encore(file: &[u8]) -> bool {
    let mut words = file.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.next() == Some(ENCORE.to_bytes())
}

/// Writes into `out` the name that an absolute `$SUPERVISEDIR` gives the folder of the service
/// directory `cwd`: `base`, then the directory's path with each `/` but the first as `:`. Returns
/// the length without the final NUL, or `None` where `out` is too short.
///
/// Source: daemontools-encore, svc(8), ENVIRONMENT, and what its programs make of it.
pub fn relocated(base: &[u8], cwd: &[u8], out: &mut [u8]) -> Option<usize> {
    let len = base.len() + cwd.len();
    if out.len() <= len {
        return None;
    }
    out[..base.len()].copy_from_slice(base);
    out[base.len()..len].copy_from_slice(cwd);
    for byte in out[base.len()..len].iter_mut().skip(1).filter(|b| **b == b'/') {
        *byte = b':';
    }
    out[len] = 0;
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_says_who_rules() {
        for (file, encore) in [
            (&b"encore"[..], true),
            (b" encore\n", true),
            (b"encore # as on the old machine\n", true),
            (b"encorex", false),
            (b"not encore", false),
            (b"", false),
        ] {
            assert_eq!(says_encore(file), encore);
        }
    }

    #[test]
    fn an_absolute_supervisedir_gets_the_path_with_colons() {
        let mut out = [1; 32];
        assert_eq!(relocated(b"/run/sv", b"/etc/service/web", &mut out), Some(23));
        assert_eq!(&out[..24], b"/run/sv/etc:service:web\0");
        assert_eq!(relocated(b"/run/sv", b"/etc/service/web", &mut [0; 23]), None);
    }
}
