//! Why something could not be done that was right to ask for.

use linux::errno::Errno;
use rusqlite::ErrorCode;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The machine's trouble, not the asker's: nothing has changed, later it may go.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// A file or folder.
    Io {
        /// What was attempted, after "unable to".
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was left in a drop folder cannot be taken; all else goes on.
    Drops {
        /// The folder.
        folder: PathBuf,
        /// What was attempted, after "unable to".
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is not what it was when it was written. Nothing more is written to it.
    Damaged {
        /// The database.
        path: PathBuf,
        /// What the check found first.
        what: String,
    },
    /// The file is gone, or empty, though it was a store. Nothing is made in its place.
    Lost {
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        how: &'static str,
        /// Its log is there.
        has_log: bool,
    },
    /// The file that is open has its name no more: what would be written nobody would find.
    Replaced {
        /// The database.
        path: PathBuf,
    },
    /// One item or answer is not what it was when it was written. All others can be used.
    Spoilt {
        /// The database.
        path: PathBuf,
        /// Which.
        what: String,
    },
    /// The file was not made by skynet.
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by a skynet that knew less, and whoever may write it has not brought it up
    /// to date yet: what was asked is not in it.
    Older {
        /// The file.
        path: PathBuf,
    },
    /// The file was made by a skynet that knows more than this one.
    Newer {
        /// The database.
        path: PathBuf,
        /// Version of its tables.
        found: u32,
        /// Highest version this program knows.
        known: u32,
    },
    /// There is no room for the change.
    Full {
        /// The database.
        path: PathBuf,
    },
    /// The database is locked, though it is our turn: nothing was written.
    Locked {
        /// The database.
        path: PathBuf,
        /// Why not, in its own words.
        what: String,
    },
    /// Anything else that the database could not do.
    Database {
        /// The database.
        path: PathBuf,
        /// Why not, in its own words.
        what: String,
    },
}

impl Trouble {
    pub(crate) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { verb, path: path.to_owned(), source }
    }

    pub(crate) fn database(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, what) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, what },
            Some(ErrorCode::NotADatabase) => Self::NotOurs { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::FileLockingProtocolFailed) => {
                Self::Locked { path, what }
            }
            // A value that is not of the kind that we write.
            None if is_of_wrong_kind(error) => Self::Damaged { path, what },
            _ => Self::Database { path, what },
        }
    }

    /// Tells whether trying again is in vain until somebody has mended the file.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Lost { .. }
                | Self::Replaced { .. }
                | Self::Spoilt { .. }
                | Self::NotOurs { .. }
                | Self::Newer { .. }
        )
    }
}

const fn is_of_wrong_kind(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
            | Error::InvalidColumnType(..)
    )
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { verb, path, source } => {
                write!(f, "unable to {verb} {}: {}", path.display(), reason(source))
            }
            Self::Drops { folder, verb, path, source } => write!(
                f,
                "unable to take what is left in {}: unable to {verb} {}: {}{}",
                folder.display(),
                path.display(),
                reason(source),
                remedy(source)
            ),
            Self::Damaged { path, what } => write!(
                f,
                "unable to use {}: the file is damaged: {what}; put a copy in its place, or move it away to start anew",
                path.display()
            ),
            Self::Lost { path, how, has_log: true } => write!(
                f,
                "unable to use {0}: the file {how}, though {0}-wal holds what was written last; put the file back, or move both away, and put a copy in their place or start anew",
                path.display()
            ),
            Self::Lost { path, how, has_log: false } => write!(
                f,
                "unable to use {}: the file {how}, though it was in use; put a copy in its place, or move it away to start anew",
                path.display()
            ),
            Self::Replaced { path } => write!(
                f,
                "unable to use {}: it was replaced or removed while it was open; what is there now is used by whoever starts anew",
                path.display()
            ),
            Self::Spoilt { path, what } => {
                write!(f, "unable to use {what} in {}: it is damaged", path.display())
            }
            Self::NotOurs { path } => {
                write!(f, "unable to use {}: not a store of skynet", path.display())
            }
            Self::Older { path } => write!(
                f,
                "unable to use {}: made by an older skynet; the next exo that starts brings it up to date",
                path.display()
            ),
            Self::Newer { path, found, known } => write!(
                f,
                "unable to use {}: made by a newer skynet (version {found}, this one knows {known})",
                path.display()
            ),
            Self::Full { path } => {
                write!(f, "unable to write {}: no space left on device", path.display())
            }
            Self::Locked { path, what } | Self::Database { path, what } => {
                write!(f, "unable to use {}: {what}", path.display())
            }
        }
    }
}

/// Returns why not, as all programs of the suite say it; where they have no words for it, in those of the
/// system.
pub(crate) fn reason(why: &io::Error) -> String {
    let known = why.raw_os_error().and_then(|number| Errno(number).known());
    known.map_or_else(|| without_number(&why.to_string()).to_owned(), str::to_owned)
}

/// Returns words of the system without the number that the standard library puts behind them.
pub(crate) fn without_number(words: &str) -> &str {
    let (before, number) = words.rsplit_once(" (os error ").unwrap_or((words, ""));
    let number = number.strip_suffix(')').unwrap_or_default();
    if number.parse::<i32>().is_ok() { before } else { words }
}

/// Returns what to do about a drop folder, where the reason alone does not say it.
fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        ErrorKind::NotFound => "; start exo again, which makes the folder, or put it back",
        ErrorKind::NotADirectory => "; move away what is in the folder's place",
        ErrorKind::PermissionDenied => {
            "; the folder, mode 3733, and .taken in it, mode 0700, must belong to exo's worker"
        }
        _ => "",
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Drops { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_not_is_said_in_the_words_of_the_suite_or_the_system_s_and_without_a_number() {
        for (number, wanted) in [
            (libc::ENOENT, "file does not exist"),
            (libc::EACCES, "access denied"),
            (libc::ECONNREFUSED, "Connection refused"),
        ] {
            let source = io::Error::from_raw_os_error(number);
            assert_eq!(reason(&source), wanted);
            let trouble = Trouble::io("open", Path::new("/x"), source);
            assert_eq!(trouble.to_string(), format!("unable to open /x: {wanted}"));
        }
        assert_eq!(reason(&io::Error::other("of our own")), "of our own");
        for (words, wanted) in [
            ("IO error: Connection refused (os error 111)", "IO error: Connection refused"),
            ("no (os error x)", "no (os error x)"),
            ("no (os error 1) but", "no (os error 1) but"),
        ] {
            assert_eq!(without_number(words), wanted);
        }
    }
}
