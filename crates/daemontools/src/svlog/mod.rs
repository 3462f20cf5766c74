//! svlog: the lines of log directories, in order, with their time; also those still to come.
//!
//! | module | subject |
//! |---|---|
//! | [`args`] | the command line |
//! | [`when`] | moments as people write them |
//! | [`place`] | which directory is meant, and its short name |
//! | [`show`] | a line as it is shown |

pub mod args;
pub mod place;
pub mod show;
pub mod when;

use crate::logs::deliver::{self, Sink};
use crate::logs::{Line, Trouble, Why};
use args::Request;
use place::Place;
use show::Show;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use sys::linux::errno::Errno;
use sys::linux::fd;
use sys::program::{Program, TROUBLE};

/// How it speaks.
pub const SVLOG: Program = Program("svlog");
/// `--help` and the line for wrong usage.
pub const USAGE_TEXT: &str = "svlog [-fhr] [-n LINES] [--since TIME] [--until TIME] \
    [--raw|--utc|--local] dir ...";

/// The program svlog.
#[must_use]
pub fn run(words: &[&'static OsStr]) -> i32 {
    // No directory of ours must get number 1.
    fd::fill_standard();
    if let Some(code) = SVLOG.standard(words, USAGE_TEXT) {
        return code;
    }
    let request = match args::parse(words) {
        Ok(request) => request,
        Err(code) => return code,
    };
    let places = places(&request);
    let all_found = places.len() == request.dirs.len();
    if places.is_empty() {
        return TROUBLE;
    }
    let mut show = Show::new(request.style);
    show.name_them(&places, request.nameless);
    let paths = places.iter().map(|place| place.folder.path().to_owned()).collect();
    let mut run = Run { show, trouble: false, paths };
    let logs = places.into_iter().map(|place| (place.folder, None)).collect();
    match deliver::run(&request.wanted, logs, &mut run) {
        // Whoever read has seen enough.
        Ok(()) | Err(Errno(libc::EPIPE)) if all_found && !run.trouble => 0,
        Ok(()) | Err(Errno(libc::EPIPE)) => TROUBLE,
        Err(why) => SVLOG.fatal(&["unable to write output".as_ref()], why),
    }
}

/// Opens the directories; says which cannot be read.
fn places(request: &Request) -> Vec<Place> {
    let open = |dir: &&'static OsStr| place::find(dir).map_err(|why| why.say(dir)).ok();
    request.dirs.iter().filter_map(open).collect()
}

/// One run of the program.
struct Run {
    show: Show,
    /// Something could not be read.
    trouble: bool,
    /// The directories.
    paths: Vec<OsString>,
}

impl Sink for Run {
    fn line(&mut self, i: usize, line: &Line<'_>) {
        self.show.line(i, line);
    }

    fn end_line(&mut self) {
        self.show.end_line();
    }

    fn flush_if_full(&mut self) -> Result<(), Errno> {
        self.show.flush_if_full()
    }

    fn flush(&mut self) -> Result<(), Errno> {
        self.show.flush()
    }

    fn trouble(&mut self, i: usize, trouble: &Trouble) {
        self.trouble = true;
        let file = OsStr::from_bytes(trouble.file.as_bytes());
        let slash = if file.is_empty() { "" } else { "/" };
        let [verb, space, slash] = [trouble.verb, " ", slash].map(OsStr::new);
        let parts = ["unable to ".as_ref(), verb, space, &self.paths[i], slash, file];
        match trouble.why {
            Some(Why::System(why)) => SVLOG.warning(&parts, why),
            Some(why @ Why::Damaged) => {
                let why = format!(": {why}");
                SVLOG.warning_plain(&[&parts[..], &[why.as_ref()]].concat());
            }
            None => SVLOG.warning_plain(&parts),
        }
    }

    fn removed(&mut self, i: usize) {
        SVLOG.warning(&["unable to follow ".as_ref(), &self.paths[i]], Errno(libc::ENOENT));
    }
}
