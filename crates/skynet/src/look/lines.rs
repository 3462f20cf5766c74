//! What a service said last.

use crate::here::Here;
use crate::logs::place;
use crate::service::{OWN_LOG, Service};
use daemontools::logs::stamp::leading;
use daemontools::logs::{BEGINNING, Backward, Folder};
use ondisk::tai64n::Stamp;
use std::path::{Path, PathBuf};

/// A line is shown as far as this.
const LONGEST: usize = 4096;
/// So many lines are looked through for those that are old enough.
const PASSED: usize = 20_000;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// When.
    pub time: Option<Stamp>,
    /// Without the stamp, control bytes and all.
    pub text: String,
}

/// Where a service's lines are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The log directory.
    pub folder: PathBuf,
    /// Others' lines are there, too: it has no logger.
    pub is_shared: bool,
}

/// Finds the log of a service whose directory is `dir`; `None` = there is none yet.
#[must_use]
pub fn log_of(here: &Here, service: &Service, dir: &Path) -> Option<Log> {
    let own = place::find(here, service, dir);
    let is_shared = own.is_none();
    let folder = own.unwrap_or_else(|| here.places().logs.join(OWN_LOG));
    folder.join("current").exists().then_some(Log { folder, is_shared })
}

/// Returns the last lines of a log, oldest first; of those that were written until `until`.
///
/// # Errors
/// It cannot be read.
pub fn last(folder: &Path, until: Option<Stamp>, most: usize) -> Result<Vec<Said>, String> {
    let unable = |why: String| format!("unable to read {}: {why}", folder.display());
    let opened = Folder::open(folder.as_os_str()).map_err(|why| unable(why.to_string()))?;
    let mut back = Backward::new(opened).map_err(|why| unable(why.to_string()))?;
    let mut found = Vec::new();
    let mut passed = 0;
    while found.len() < most && passed < PASSED && back.find(BEGINNING) {
        let is_later = |until: Stamp| back.span().is_some_and(|span| span.first > until);
        let is_later = until.is_some_and(is_later);
        back.take();
        passed += 1;
        if !is_later && back.advance() {
            found.push(said(back.line().bytes));
        }
    }
    found.reverse();
    Ok(found)
}

fn said(line: &[u8]) -> Said {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let (time, text) = match leading(line) {
        Some(found) => (Some(found.stamp), line.get(found.len + 1..).unwrap_or_default()),
        None => (None, line),
    };
    let text = String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into_owned();
    Said { time, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(folder: &Path, until: Option<Stamp>, most: usize) -> Vec<String> {
        last(folder, until, most).unwrap().into_iter().map(|said| said.text).collect()
    }

    #[test]
    fn the_last_lines_are_those_before_a_moment_where_one_is_given() {
        let scratch = testkit::Scratch::new();
        let at = |second| Stamp::from_unix(1_800_000_000 + second, 0);
        let line = |second: i64| {
            let label = String::from_utf8(at(second).to_label().to_vec()).unwrap();
            format!("{label} line {second}\n")
        };
        let lines: String = (0..9).map(line).collect();
        std::fs::write(scratch.join("current"), lines + "bare\n").unwrap();
        assert_eq!(texts(scratch.path(), None, 2), ["line 8", "bare"]);
        assert_eq!(texts(scratch.path(), Some(at(4)), 3), ["line 2", "line 3", "line 4"]);
        assert_eq!(texts(scratch.path(), Some(at(-1)), 3), [""; 0]);
        assert_eq!(last(scratch.path(), None, 99).unwrap()[1].time, Some(at(1)));
        assert!(last(&scratch.join("none"), None, 1).unwrap_err().contains("file does not exist"));
    }
}
