//! `skynet log`: what services say.

use crate::failure::{Answer, Failure, code, warn};
use crate::here::Here;
use crate::logs::filter::Asked;
use crate::logs::place;
use crate::logs::show::{Form, Show, Shown};
use crate::names::Names;
use crate::service::{self, Service};
use clap::Args;
use daemontools::logs::deliver::{self, Wanted};
use daemontools::logs::{BEGINNING, END, Folder, Span};
use daemontools::svlog::show::Style;
use daemontools::svlog::when;
use ondisk::tai64n::Stamp;
use sys::linux::errno::Errno;
use sys::linux::file::flags::{ENOENT, EPIPE};
use sys::linux::limit::{self, Limit, Resource};

/// Lines that are shown where nobody said how many.
const FEW: usize = 10;

/// Shows what services said, several merged by time.
///
/// All files of their logs count.
/// Without a name, of all services. On a terminal and with --follow, the last ten lines, unless a
/// number, a time or a wfid is given.
#[derive(Debug, Args)]
pub struct Log {
    #[command(flatten)]
    names: Names,
    /// Go on with what comes, across rotations.
    #[arg(short, long, conflicts_with_all = ["reverse", "until"])]
    follow: bool,
    /// The last so many lines, or all.
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = count)]
    lines: Option<Count>,
    /// Newest first.
    #[arg(short, long)]
    reverse: bool,
    /// From this moment on: 10m (ago), 22:54, "2026-11-23 22:54", 2026-11-23T22:54:29Z.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Stamp>,
    /// Up to this moment.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Stamp>,
    /// Only what was printed while an item of this process was in hand.
    #[arg(long)]
    wfid: Option<String>,
    /// Only what this instance printed: its name or its number.
    #[arg(long)]
    instance: Option<String>,
    /// Only lines whose text matches this regular expression.
    #[arg(short, long, value_name = "REGEX")]
    grep: Option<String>,
    /// Upper and lower case are the same.
    #[arg(short, long, requires = "grep")]
    ignore_case: bool,
    /// Only lines whose text does not match.
    #[arg(short = 'v', long, requires = "grep")]
    invert_match: bool,
    /// Times in UTC.
    #[arg(long, conflicts_with_all = ["raw", "json"])]
    utc: bool,
    /// Lines as they are in the files.
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// An object a line: time, service, instance, wfid, attempt, continued, text.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug)]
enum Count {
    All,
    Last(usize),
}

fn count(text: &str) -> Result<Count, String> {
    match text.parse() {
        Ok(number) => Ok(Count::Last(number)),
        Err(_) if text == "all" => Ok(Count::All),
        Err(_) => Err("neither a number nor all".to_owned()),
    }
}

fn moment(text: &str) -> Result<Stamp, String> {
    let wrong =
        || "not a time; write 2h, 12:30, 2026-11-26 or \"2026-11-26 12:30\", say".to_owned();
    when::read(text.as_bytes(), when::now()).ok_or_else(wrong)
}

impl Log {
    fn asked(&self) -> Result<Asked, Failure> {
        let mut asked = Asked::default();
        if let Some(wfid) = &self.wfid {
            asked.wfid(wfid);
        }
        if let Some(instance) = &self.instance {
            asked.instance(instance);
        }
        if let Some(pattern) = &self.grep {
            asked.grep(pattern, self.ignore_case, self.invert_match)?;
        }
        Ok(asked)
    }

    fn wanted(&self, is_terminal: bool) -> Wanted {
        let first = self.since.unwrap_or(BEGINNING);
        let range = Span { first, last: self.until.unwrap_or(END) };
        let is_open = range == Span::ALWAYS && self.wfid.is_none();
        let count = match self.lines {
            Some(Count::Last(count)) => Some(count),
            None if is_open && (self.follow || is_terminal) => Some(FEW),
            None | Some(Count::All) => None,
        };
        Wanted { follow: self.follow, reverse: self.reverse, count, range }
    }

    fn form(&self) -> Form {
        match (self.raw, self.json, self.utc) {
            (true, ..) => Form::Raw,
            (_, true, _) => Form::Json,
            (_, _, true) => Form::Text(Style::Utc),
            _ => Form::Text(Style::Local),
        }
    }
}

/// Runs it.
///
/// # Errors
/// Which services there are cannot be told, or the output cannot be written.
pub fn run(args: &Log, here: &Here) -> Answer {
    let asked = args.asked()?;
    let wanted = args.wanted(here.screen.width.is_some());
    let picked = args.names.pick_or_all(service::all(here)?)?;
    allow_many_files();
    let (logs, shown, code) = open_all(args, &picked.services, &asked, here);
    if logs.is_empty() {
        if code == 0 && !picked.some_are_unknown {
            warn("no service has such a log");
            return Ok(code::FAILED);
        }
        return Ok(picked.code(code));
    }
    let mut show = Show::new(args.form(), here.screen, shown, asked.is_some());
    match deliver::run(&wanted, logs, &mut show) {
        // Whoever read has seen enough.
        Ok(()) | Err(Errno(EPIPE)) if show.has_trouble() => Ok(picked.code(code::FAILED)),
        Ok(()) | Err(Errno(EPIPE)) => Ok(picked.code(code)),
        Err(why) => Err(Failure::errno("write", "output", why)),
    }
}

/// Opens the logs, and says which cannot be shown; returns the exit code for that, too.
fn open_all(
    args: &Log,
    services: &[Service],
    asked: &Asked,
    here: &Here,
) -> (Vec<deliver::Log>, Vec<Shown>, i32) {
    let is_named = |service: &Service| args.names.names.contains(&service.name);
    let mut code = 0;
    let (mut logs, mut shown) = (Vec::new(), Vec::new());
    for service in services.iter().filter(|service| !service.is_own() || is_named(service)) {
        match open(service, asked, here) {
            Ok((folder, its)) => {
                logs.push((folder, asked.filter(service.is_participant)));
                shown.push(its);
            }
            // Of what was not named itself only that is told which hides something.
            Err(missing) if missing.hides || is_named(service) => {
                warn(&missing.why);
                code = code::FAILED;
            }
            Err(_) => {}
        }
    }
    (logs, shown, code)
}

/// Why nothing is shown of a service.
struct Missing {
    why: String,
    /// There is something that may have been asked for.
    hides: bool,
}

fn open(service: &Service, asked: &Asked, here: &Here) -> Result<(Folder, Shown), Missing> {
    let (name, is_participant) = (service.name.clone(), service.is_participant);
    if asked.is_by_tag() && !is_participant {
        let why = format!("{name} is no participant: nothing says whose its lines are");
        return Err(Missing { why, hides: false });
    }
    let Some(dir) = place::find(here, service, &service.dir) else {
        return Err(Missing { why: place::no_logger(service), hides: asked.is_by_tag() });
    };
    match Folder::open(dir.as_os_str()) {
        Ok(folder) => Ok((folder, Shown { name, dir, is_participant })),
        Err(why) => {
            let hides = why != Errno(ENOENT);
            Err(Missing { why: place::unreadable(service, &dir, why), hides })
        }
    }
}

/// Each log takes a few descriptors.
fn allow_many_files() {
    if let Ok(limit) = limit::get(Resource::OpenFiles) {
        // Where more are not to be had, what cannot be opened is told.
        let _ = limit::set(Resource::OpenFiles, Limit { soft: limit.hard, ..limit });
    }
}
