//! The configuration: defaults, the site's files, the participant's own file; later ones win.
//!
//! Read strictly, before any right is dropped. What is wrong is told with file, line, column and
//! key, everything at once.

mod broker;
mod draft;
mod effective;
mod json;
mod keys;
pub mod notice;
mod places;
mod problem;
mod services;
#[cfg(test)]
mod tests;
mod tree;
mod values;

/// The YAML of configurations, for what else is read like one.
pub mod yaml {
    pub use super::json::write as json;
    pub use super::keys::nearest;
    pub use super::tree::{Entry, Kind, Node, parse};
}

pub use broker::{in_clear, no_limit};
pub use effective::{digest, json as effective, shown};
pub use places::{Places, Whose};
pub use problem::{At, Line, Origin, Problem, Trouble};
pub use services::Wanted;

use crate::accounts;
use crate::settings::{Broker, Settings};
use draft::Draft;
use keys::Scope;
use notice::Notice;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use sys::account;
use sys::linux::errno::{self, Errno};
use sys::linux::file::flags::ENOENT;
use sys::linux::process::euid;
use sys::linux::{directory, fd};
use sys::trusted::{self, Opened};
use work::Safety;

/// The participant's own file, in the service directory.
pub const OWN_FILE: &str = "exo.yaml";

/// The site's file, in the configuration's folder.
const SITE_FILE: &str = "skynet.yaml";

/// The folder of the site's further files, beside it.
const SITE_FOLDER: &str = "conf.d";

/// Bytes of the largest file that is read.
const LARGEST: usize = 1 << 20;

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// Where each value comes from that is no default; keys below others behind a dot.
    pub origins: BTreeMap<String, Origin>,
    /// What is not as it should be, one line each.
    pub warnings: Vec<String>,
}

/// Reads the configuration of the service directory `dir`.
///
/// # Errors
/// [`Trouble`]: a file that is missing, cannot be read, can be changed by others (where root
/// reads it), or says something that cannot be; everything that is found in one go.
pub fn load(dir: &Path) -> Result<Loaded, Trouble> {
    let mut loaded = load_for_caller(dir)?;
    accounts(&mut loaded.settings, &loaded.origins, &mut loaded.warnings)?;
    Ok(loaded)
}

/// As [`load`], where all runs as the caller: the accounts that it names need not be there.
///
/// # Errors
/// As [`load`].
pub fn load_for_caller(dir: &Path) -> Result<Loaded, Trouble> {
    read(dir, Whose::Callers)
}

/// As [`load`], for whoever only looks at it: the accounts that it names need not be there.
///
/// # Errors
/// As [`load`].
pub fn read(dir: &Path, whose: Whose) -> Result<Loaded, Trouble> {
    Loader::new(whose)?.load(dir)
}

/// Reads the configurations of many participants: the site's files once for all of them.
pub struct Loader {
    site: Draft,
    reading: Reading,
}

impl Loader {
    /// Reads the files of an instance's site.
    ///
    /// # Errors
    /// Where they are is not known.
    pub fn new(whose: Whose) -> Result<Self, Trouble> {
        Reading::default().site(whose).map(|(_, site, reading)| Self { site, reading })
    }

    /// The same for whoever only looks, or stops something: what is wrong with these files hinders
    /// nobody, see [`site_as_far_as_it_goes`].
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn lenient(whose: Whose) -> Result<Self, Trouble> {
        let (_, site, reading) = Reading::lenient().site(whose)?;
        // It was told where the site was read; a participant's own file is read strictly.
        let reading = Reading { warnings: reading.warnings, ..Reading::default() };
        Ok(Self { site, reading })
    }

    /// Reads the configuration of the service directory `dir`; the accounts that it names need not
    /// be there.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self, dir: &Path) -> Result<Loaded, Trouble> {
        let directory = whole_name(dir)?;
        let mut reading = self.reading.clone();
        let mut draft = self.site.of(&directory);
        let own = directory.join(OWN_FILE);
        reading.lay(&mut draft, &own, Scope::Own);
        if !reading.trouble.lines.is_empty() {
            return Err(reading.trouble);
        }
        let (settings, origins) =
            draft.finish().map_err(|problems| Trouble::in_file(&own, b"", problems))?;
        let mut warnings = reading.warnings;
        warnings.extend(broker::too_long(&settings));
        warnings.extend(broker::rests_too_long(&settings));
        warnings.extend(broker::taken_out(&settings));
        Ok(Loaded { settings, origins, warnings })
    }
}

/// Finds the control socket of the service directory `dir`, for whoever asks an exo that runs already:
/// what is wrong by now with the files counts as not written. Returns also what that is.
///
/// # Errors
/// Where the socket is cannot be told.
pub fn socket(dir: &Path) -> Result<(PathBuf, Trouble), Trouble> {
    let directory = whole_name(dir)?;
    let (_, site, mut reading) = Reading::lenient().site(Whose::Callers)?;
    let mut draft = site.of(&directory);
    let own = directory.join(OWN_FILE);
    reading.lay(&mut draft, &own, Scope::Own);
    match draft.socket() {
        Ok(socket) => Ok((socket, reading.trouble)),
        // What is wrong with the files comes first.
        Err(_) if !reading.trouble.lines.is_empty() => Err(reading.trouble),
        Err(problems) => Err(Trouble::in_file(&own, b"", problems)),
    }
}

fn whole_name(dir: &Path) -> Result<PathBuf, Trouble> {
    dir.canonicalize().map_err(|why| {
        let why = why.raw_os_error().map_or_else(|| why.to_string(), |n| Errno(n).to_string());
        Trouble::plain(format!("unable to open {}: {why}", dir.display()))
    })
}

/// What the site's files say of the site.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its folders, as they are configured.
    pub places: Places,
    /// What changes of the store survive.
    pub safety: Safety,
    /// Where items come from, unless a participant says something else.
    pub broker: Broker,
    /// Account that exo's workers run as where root starts them; `None` = the usual one.
    pub worker_user: Option<String>,
    /// What answers name as the class of an error, unless a participant says something else.
    pub error_class: String,
    /// Which services are to be enabled, and which are not to be.
    pub services: BTreeMap<String, Wanted>,
    /// Who is told of trouble.
    pub notice: Notice,
    /// What is not as it should be, one line each.
    pub warnings: Vec<String>,
}

/// Reads the files of an instance's site alone.
///
/// # Errors
/// As [`load`].
pub fn site(whose: Whose) -> Result<Site, Trouble> {
    let (site, trouble) = finish_site(Reading::default().site(whose)?)?;
    if trouble.lines.is_empty() { Ok(site) } else { Err(trouble) }
}

/// Reads the same for whoever only looks, or stops something: of what is wrong with a file the rest
/// of it holds, and a file that root does not trust is none. Returns also what is wrong.
///
/// # Errors
/// Where the folders are is not known.
pub fn site_as_far_as_it_goes(whose: Whose) -> Result<(Site, Trouble), Trouble> {
    finish_site(Reading::lenient().site(whose)?)
}

fn finish_site(read: (Places, Draft, Reading)) -> Result<(Site, Trouble), Trouble> {
    let (mut places, mut draft, Reading { trouble, warnings, .. }) = read;
    let services = std::mem::take(&mut draft.services);
    let notice = std::mem::take(&mut draft.notice);
    let settings = match draft.finish_site() {
        Ok(settings) => settings,
        // What is wrong with the files comes first.
        Err(_) if !trouble.lines.is_empty() => return Err(trouble),
        Err(problems) => return Err(Trouble::in_file(Path::new(SITE_FILE), b"", problems)),
    };
    places.store = settings.store;
    places.spool = settings.spool;
    places.run = settings.run;
    let (safety, worker_user, broker) = (settings.safety, settings.worker_user, settings.broker);
    let error_class = settings.error_class;
    let site =
        Site { places, safety, broker, worker_user, error_class, services, notice, warnings };
    Ok((site, trouble))
}

/// Reads one file as one of the site's; returns what is not as it should be.
///
/// # Errors
/// As [`load`].
pub fn check_site_file(path: &Path) -> Result<Vec<String>, Trouble> {
    let mut reading = Reading::default();
    let mut draft = Draft::new(&Places::of(Whose::Callers)?, Path::new("/"));
    reading.lay(&mut draft, path, Scope::Site);
    if reading.trouble.lines.is_empty() { Ok(reading.warnings) } else { Err(reading.trouble) }
}

/// Reads the text of a file as if it were a participant's own, with nothing but the defaults below
/// it; the participant is called `name` unless it says otherwise.
///
/// # Errors
/// Everything that is wrong with it.
pub fn read_text(bytes: &[u8], name: &str) -> Result<Settings, Vec<Problem>> {
    let directory = Path::new("/etc/skynet/participants").join(name);
    let mut draft = Draft::new(&Places::of_system(), &directory);
    let entries = tree::parse(bytes).map_err(|problem| vec![problem])?;
    let problems = draft.lay(&entries, Scope::Own, Path::new(OWN_FILE));
    if problems.is_empty() { draft.finish().map(|(settings, _)| settings) } else { Err(problems) }
}

/// Files being read, and what came of it.
#[derive(Clone, Default)]
struct Reading {
    trouble: Trouble,
    warnings: Vec<String>,
    /// What is wrong does not keep the rest from being used.
    is_lenient: bool,
}

impl Reading {
    fn lenient() -> Self {
        Self { is_lenient: true, ..Self::default() }
    }

    /// Reads the files of a site.
    fn site(mut self, whose: Whose) -> Result<(Places, Draft, Self), Trouble> {
        let places = Places::of(whose)?;
        let mut draft = Draft::new(&places, Path::new("/"));
        for path in self.site_files(&places) {
            self.lay(&mut draft, &path, Scope::Site);
        }
        Ok((places, draft, self))
    }

    /// Lists the site's files that are there, in their order.
    fn site_files(&mut self, places: &Places) -> Vec<PathBuf> {
        let Some(folder) = &places.config else { return Vec::new() };
        if places.config_is_named
            && let Err(why) = trusted::open_folder(folder)
        {
            self.trouble.lines.extend(Trouble::reading(folder, why).lines);
            return Vec::new();
        }
        let mut files = Vec::new();
        let first = folder.join(SITE_FILE);
        // A link that leads nowhere is there, too, and is a mistake.
        if first.symlink_metadata().is_ok() {
            files.push(first);
        }
        let more = folder.join(SITE_FOLDER);
        match self.names(&more) {
            Ok(names) => files.extend(names.into_iter().map(|name| more.join(name))),
            Err(Errno(ENOENT)) => {}
            Err(why) => self.trouble.lines.extend(Trouble::reading(&more, why).lines),
        }
        files
    }

    /// Lists the names of `*.yaml` in a folder in the order of their bytes.
    fn names(&mut self, folder: &Path) -> errno::Result<Vec<OsString>> {
        let Opened { fd, flaw } = trusted::open_folder(folder)?;
        if flaw.is_some_and(|flaw| !self.obeys(folder, &flaw)) {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        directory::for_each(fd.raw(), |name| {
            let name = name.to_bytes();
            if name.ends_with(b".yaml") && !name.starts_with(b".") {
                names.push(OsString::from_vec(name.to_vec()));
            }
            None::<()>
        })?;
        names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(names)
    }

    /// Reads a file and lays it over what is known.
    fn lay(&mut self, draft: &mut Draft, path: &Path, scope: Scope) {
        let bytes = match self.read(path) {
            Ok(bytes) => bytes,
            Err(trouble) => return self.trouble.lines.extend(trouble.lines),
        };
        let problems = match tree::parse_beginning(&bytes) {
            (_, Some(problem)) if !self.is_lenient => vec![problem],
            (entries, problem) => {
                let mut problems = draft.lay(&entries, scope, path);
                problems.extend(problem);
                problems
            }
        };
        self.trouble.lines.extend(Trouble::in_file(path, &bytes, problems).lines);
    }

    fn read(&mut self, path: &Path) -> Result<Vec<u8>, Trouble> {
        let opened = trusted::open_file(path).map_err(|why| match why {
            Errno(sys::linux::file::flags::EINVAL) => Trouble::reading(path, "not a regular file"),
            why => Trouble::reading(path, why),
        })?;
        if opened.flaw.as_ref().is_some_and(|flaw| !self.obeys(path, flaw)) {
            // That is told already.
            return Err(Trouble::default());
        }
        let mut bytes = vec![0; LARGEST + 1];
        let len = fd::read_at(opened.fd.raw(), &mut bytes, 0)
            .map_err(|why| Trouble::reading(path, why))?;
        if len > LARGEST {
            return Err(Trouble::reading(path, "larger than 1MiB"));
        }
        bytes.truncate(len);
        Ok(bytes)
    }

    /// Root obeys nobody else, and others are warned. Tells whether it is to be read all the same, if
    /// only so that everything that is wrong is told at once.
    fn obeys(&mut self, path: &Path, flaw: &trusted::Flaw) -> bool {
        if euid() == 0 {
            self.trouble.lines.extend(Trouble::reading(path, format!("not trusted: {flaw}")).lines);
            return !self.is_lenient;
        }
        self.warnings.push(format!("{} is read all the same: {flaw}", path.display()));
        true
    }
}

/// Settles who runs: only root can change it, and then everybody has an account.
fn accounts(
    settings: &mut Settings,
    origins: &BTreeMap<String, Origin>,
    warnings: &mut Vec<String>,
) -> Result<(), Trouble> {
    let from = |key: &str| origins.get(key).map_or_else(|| "default".to_owned(), Origin::to_string);
    let own = euid();
    let mut refused = Trouble::default();
    let mut people = Vec::new();
    for (key, user, usual) in [
        ("user", &mut settings.user, "nobody"),
        ("worker-user", &mut settings.worker_user, "skynet"),
    ] {
        if own == 0 {
            let name = user.get_or_insert_with(|| usual.to_owned());
            match accounts::find(name) {
                Ok(person) => people.push(person),
                Err(why) => {
                    refused.lines.push(Line::plain(format!("{why} ({key}: {})", from(key))));
                }
            }
        } else if let Some(name) = user.take()
            && account::find(name.as_bytes()).is_none_or(|ids| ids.uid != own)
        {
            let from = from(key);
            warnings
                .push(format!("{key} {name} ({from}) is not taken: only root can change users"));
        }
    }
    if let [participant, worker] = &*people
        && let Err(why) = accounts::keep_apart(participant, worker)
    {
        refused.lines.push(Line::plain(format!("{why} (user: {})", from("user"))));
    }
    if settings.user.is_some() && settings.user == settings.worker_user {
        let name = settings.user.as_deref().unwrap_or_default();
        let line =
            format!("user and worker-user are both {name}: the participant can write the store");
        warnings.push(line);
    }
    if refused.lines.is_empty() { Ok(()) } else { Err(refused) }
}
