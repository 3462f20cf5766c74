//! svlog: the lines of log directories, in order, with their time; also those still to come.
//!
//! | module | subject |
//! |---|---|
//! | [`args`] | the command line |
//! | [`when`] | moments as people write them |
//! | [`place`] | which directory is meant, and its short name |
//! | [`show`] | a line as it is shown |
//! | [`merge`] | several directories, by time |

pub mod args;
pub mod merge;
pub mod place;
pub mod show;
pub mod when;

use crate::logs::folder::Leads;
use crate::logs::{BEGINNING, Backward, Folder, Forward, Span, Trouble, Why, follow};
use args::Request;
use merge::{Ahead, Back};
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
    let mut run = Run { show: Show::new(request.style), trouble: false, missing: Vec::new() };
    let places = places(&request);
    let all_found = places.len() == request.dirs.len();
    if places.is_empty() {
        return TROUBLE;
    }
    run.show.name_them(&places, request.nameless);
    match run.perform(&request, places) {
        // Whoever read has seen enough.
        Ok(()) | Err(Errno(libc::EPIPE)) if all_found && !run.trouble => 0,
        Ok(()) | Err(Errno(libc::EPIPE)) => TROUBLE,
        Err(why) => SVLOG.fatal(&["unable to write output".as_ref()], why),
    }
}

/// Opens the directories; says which cannot be read.
fn places(request: &Request) -> Vec<Place> {
    let open = |dir: &&'static OsStr| match place::find(dir) {
        Ok(mut place) => {
            if request.follow {
                place.folder.watch();
            }
            Some(place)
        }
        Err(trouble) => {
            trouble.say(dir);
            None
        }
    };
    request.dirs.iter().filter_map(open).collect()
}

/// One run of the program.
struct Run {
    show: Show,
    /// Something could not be read.
    trouble: bool,
    /// Directories that were removed, and are waited for.
    missing: Vec<OsString>,
}

/// `Err`: the output cannot be written.
type Done = Result<(), Errno>;

impl Run {
    fn perform(&mut self, request: &Request, places: Vec<Place>) -> Done {
        let folders = places.into_iter().map(|place| place.folder);
        let range = Span { first: request.since, last: request.until };
        let Some(count) = request.count else {
            if request.reverse {
                let back = self.open(folders, Backward::new);
                return self.newest_first(Back::new(back, range), usize::MAX);
            }
            let logs = self.open(folders, |folder| Forward::new(folder, range.first));
            return self.oldest_first(Ahead::new(logs, range), request.follow);
        };
        let mut back = Back::new(self.open(folders, Backward::new), range);
        if request.reverse {
            return self.newest_first(back, count);
        }
        if request.follow {
            back.skip_unfinished();
        }
        let ahead = back.turn_round(count, request.follow);
        self.oldest_first(ahead, request.follow)
    }

    fn open<T>(
        &mut self,
        folders: impl Iterator<Item = Folder>,
        new: impl Fn(Folder) -> Result<T, Trouble>,
    ) -> Vec<(usize, T)> {
        let opened: Vec<_> =
            folders.map(|folder| (folder.path().to_owned(), new(folder))).collect();
        let mut all = Vec::new();
        for (i, (path, log)) in opened.into_iter().enumerate() {
            match log {
                Ok(log) => all.push((i, log)),
                Err(trouble) => self.warn(&path, &trouble),
            }
        }
        all
    }

    fn newest_first(&mut self, mut back: Back, count: usize) -> Done {
        for _ in 0..count {
            let Some(i) = back.take() else { break };
            let (name, log) = &mut back.logs[i];
            while log.advance() {
                self.show.line(*name, &log.line());
                self.show.flush_if_full()?;
            }
            self.show.end_line();
            self.warn_of(log.folder().path().to_owned().as_os_str(), log.troubles());
        }
        for (_, log) in &mut back.logs {
            self.warn_of(log.folder().path().to_owned().as_os_str(), log.troubles());
        }
        self.show.flush()
    }

    fn oldest_first(&mut self, mut ahead: Ahead, follow: bool) -> Done {
        loop {
            while let Some(i) = ahead.advance(!follow) {
                self.show.line(ahead.names[i], &ahead.logs[i].line());
                self.show.flush_if_full()?;
            }
            self.show.flush()?;
            for log in &mut ahead.logs {
                self.warn_of(log.folder().path().to_owned().as_os_str(), log.troubles());
            }
            if !follow || ahead.logs.is_empty() {
                return Ok(());
            }
            let more = ahead.go_on() || self.rejoin(&mut ahead)?;
            if !more && follow::wait(&mut ahead.logs, 1) {
                return Ok(());
            }
        }
    }

    /// Goes on with directories that were made anew, and says which were removed. `true` = some
    /// were.
    fn rejoin(&mut self, ahead: &mut Ahead) -> Result<bool, Errno> {
        let mut any = false;
        for i in 0..ahead.logs.len() {
            let leads = ahead.logs[i].folder().path_leads();
            if matches!(leads, Leads::Here | Leads::Away) {
                continue;
            }
            while ahead.logs[i].rest() {
                self.show.line(ahead.names[i], &ahead.logs[i].line());
            }
            self.show.flush()?;
            let path = ahead.logs[i].folder().path().to_owned();
            if leads == Leads::Nowhere && !self.missing.contains(&path) {
                SVLOG.warning(&["unable to follow ".as_ref(), &path], Errno(libc::ENOENT));
                self.missing.push(path);
                continue;
            }
            // Where it cannot be read yet, one looks again.
            if let Ok(mut folder) = Folder::open(&path) {
                folder.watch();
                if let Ok(log) = Forward::new(folder, BEGINNING) {
                    ahead.logs[i] = log;
                    any = true;
                    self.missing.retain(|missing| *missing != path);
                }
            }
        }
        Ok(any)
    }

    fn warn_of(&mut self, path: &OsStr, troubles: Vec<Trouble>) {
        for trouble in troubles {
            self.warn(path, &trouble);
        }
    }

    fn warn(&mut self, path: &OsStr, trouble: &Trouble) {
        self.trouble = true;
        let file = OsStr::from_bytes(trouble.file.as_bytes());
        let slash = if file.is_empty() { "" } else { "/" };
        let [verb, space, slash] = [trouble.verb, " ", slash].map(OsStr::new);
        let parts = ["unable to ".as_ref(), verb, space, path, slash, file];
        match trouble.why {
            Some(Why::System(why)) => SVLOG.warning(&parts, why),
            Some(why @ Why::Damaged) => {
                let why = format!(": {why}");
                SVLOG.warning_plain(&[&parts[..], &[why.as_ref()]].concat());
            }
            None => SVLOG.warning_plain(&parts),
        }
    }
}
