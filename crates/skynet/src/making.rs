//! What makes a copied or written directory one that can be installed: checked, built, linked.

use crate::builder;
use crate::failure::{Failure, warn};
use crate::here::Here;
use crate::instance;
use crate::screen::clean;
use crate::service::{self, Origin, Service};
use crate::stage::{Installed, Stage};
use crate::tree::{self, Closed, Readers, given};
use exo::GROUP;
use exo::config::{self, Loaded, OWN_FILE};
use exo::settings::Settings;
use ondisk::names::{DOWN, LOG, RUN, SUPERVISE};
use std::ffi::{CStr, OsStr};
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, fchown, symlink};
use std::path::{Path, PathBuf};
use sys::account;

/// When a participant is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builds {
    /// Where its program is missing.
    IfMissing,
    /// In any case.
    Always,
}

/// A directory on its way.
#[derive(Clone, Debug)]
pub struct Making<'a> {
    /// What it is to be called.
    pub name: &'a str,
    /// What messages call the directory.
    pub shown: &'a Path,
    /// When it is built.
    pub builds: Builds,
    /// What messages call its exo.yaml, where that is not in the directory that they name.
    pub own_file: Option<String>,
    /// Which of its files are not for all; so far their owner alone reads them.
    pub closed: Vec<Closed>,
}

impl<'a> Making<'a> {
    /// One whose files are all as they are to be.
    #[must_use]
    pub fn new(name: &'a str, shown: &'a Path, builds: Builds) -> Self {
        Self { name, shown, builds, own_file: None, closed: Vec::new() }
    }
}

/// Returns the service that has a name, if it may be replaced.
///
/// # Errors
/// The name belongs to a package, or to what lies elsewhere.
pub fn may_have(name: &str, here: &Here) -> Result<Option<Service>, Failure> {
    let before = service::all(here)?.into_iter().find(|service| service.name == name);
    match before.as_ref().map(|service| service.origin) {
        None | Some(Origin::ByHand) => Ok(before),
        Some(origin) => Err(Failure::refused(format!("{name} {}", not_ours(origin)))),
    }
}

/// Says why a service of this origin is left alone.
#[must_use]
pub fn not_ours(origin: Origin) -> &'static str {
    match origin {
        Origin::ByHand => "was installed by hand",
        Origin::Package => "belongs to a package; use the package manager, or another name",
        Origin::Elsewhere => {
            "lies in the service folder itself, or is linked from elsewhere; it was not installed"
        }
    }
}

/// Makes what is staged fit to be put in its place.
///
/// # Errors
/// Everything that is wrong with it.
pub fn prepare(
    here: &Here,
    installed: &Installed,
    stage: &Stage<'_>,
    making: &Making<'_>,
) -> Result<(), Failure> {
    let is_participant = is_file(&stage.dir, OsStr::new(OWN_FILE));
    if is_participant {
        let there = |path: &str| fs::symlink_metadata(stage.dir.join(path)).is_ok();
        let has_log = there("log");
        let missing = given::runs().into_iter();
        let missing = missing
            .filter(|file| !(file.path == "run" && there("run") || file.path != "run" && has_log));
        tree::write(&stage.dir, &missing.collect::<Vec<_>>())?;
    }
    look_at_run(stage, making)?;
    let mut user = None;
    if is_participant {
        let settings = check(stage, making)?;
        let is_missing = program(&settings, stage).is_some_and(|program| !program.exists());
        if making.builds == Builds::Always && settings.build.is_empty() {
            let line = "its exo.yaml has no build, so there is nothing to build";
            return Err(Failure::refused(line));
        }
        if making.builds == Builds::Always || is_missing && !settings.build.is_empty() {
            builder::build(here, installed, stage, making.name, &settings)?;
        }
        look_at_program(here, &settings, stage, making)?;
        user = settings.user;
    }
    if here.is_system() {
        let_in(stage, making, user.as_deref())?;
    }
    furnish(here, stage, making.name)
}

/// Puts what is fit in its place, and makes the folder of its log first, where that is missing: whatever
/// runs there can log, and what does not get there leaves none.
///
/// # Errors
/// As [`Stage::put`]; the folder cannot be made.
pub fn put(here: &Here, stage: Stage<'_>, service: &str) -> Result<(), Failure> {
    if !stage.dir.join(name(LOG)).is_dir() {
        return stage.put();
    }
    let (log, dir) = (here.places().logs.join(service), stage.before());
    let is_new = fs::symlink_metadata(&log).is_err();
    let done = instance::make_log(here, service).and_then(|_| stage.put());
    if done.is_err() && is_new && !dir.exists() {
        let _ = fs::remove_dir(&log);
    }
    done
}

/// Gives files that are not for all to the group that may read them.
fn let_in(stage: &Stage<'_>, making: &Making<'_>, user: Option<&str>) -> Result<(), Failure> {
    for (path, readers) in &making.closed {
        let group = match readers {
            Readers::All | Readers::Owner => None,
            Readers::Members => account::find_group(GROUP),
            Readers::Participant => {
                user.and_then(|user| account::find(user.as_bytes())).map(|ids| ids.gid)
            }
        };
        let path = stage.dir.join(path);
        let done = File::open(&path).and_then(|file| {
            fchown(&file, None, group)?;
            let mode = file.metadata()?.permissions().mode();
            // As its owner, but for writing.
            let bits = if group.is_some() { (mode & 0o500) >> 3 } else { 0 };
            file.set_permissions(Permissions::from_mode(mode | bits))?;
            file.sync_all()
        });
        done.map_err(|why| Failure::io("let others read", path.display(), &why))?;
    }
    Ok(())
}

fn name(of: &CStr) -> &OsStr {
    OsStr::from_bytes(of.to_bytes())
}

fn is_file(dir: &Path, name: &OsStr) -> bool {
    dir.join(name).is_file()
}

fn look_at_run(stage: &Stage<'_>, making: &Making<'_>) -> Result<(), Failure> {
    let shown = making.shown.display();
    let run = stage.dir.join(name(RUN));
    if !run.is_file() {
        let line = format!("{shown} has neither {OWN_FILE} nor run: there is nothing to run");
        return Err(Failure::refused(line));
    }
    for path in ["run", "log/run"] {
        let stat = fs::metadata(stage.dir.join(path));
        if stat.is_ok_and(|stat| stat.permissions().mode() & 0o100 == 0) {
            let line = format!("{shown}/{path} is no program; chmod +x {shown}/{path}");
            return Err(Failure::refused(line));
        }
    }
    Ok(())
}

/// Reads its configuration as exo will.
fn check(stage: &Stage<'_>, making: &Making<'_>) -> Result<Settings, Failure> {
    // Where it is now is nobody's business.
    let dir = stage.dir.canonicalize().unwrap_or_else(|_| stage.dir.clone());
    let shown = making.shown.to_string_lossy();
    let renamed = |mut line: String| {
        if let Some(own_file) = &making.own_file {
            line = line.replace(&*dir.join(OWN_FILE).to_string_lossy(), own_file);
        }
        line.replace(&*dir.to_string_lossy(), &shown)
    };
    let Loaded { settings, warnings, .. } = config::load(&stage.dir).map_err(|trouble| {
        let lines = trouble.lines.iter().map(|line| renamed(line.to_string())).collect();
        Failure { lines, ..Failure::refused("") }
    })?;
    for warning in warnings {
        warn(&renamed(warning));
    }
    if settings.participant != making.name {
        let (its, name) = (&settings.participant, clean(making.name));
        let line = format!(
            "{}/{OWN_FILE} calls the participant {its}: install it as {its}, or take the line \
             participant out to call it {name}",
            making.shown.display()
        );
        return Err(Failure::refused(line));
    }
    Ok(settings)
}

/// Returns the program of a participant, where it is a file of the directory.
fn program(settings: &Settings, stage: &Stage<'_>) -> Option<PathBuf> {
    let program = Path::new(OsStr::from_bytes(settings.command.first()?.to_bytes()));
    let is_in_it =
        program.is_relative() && program.components().count() > 1 || program.starts_with("./");
    is_in_it.then(|| stage.dir.join(program))
}

fn look_at_program(
    here: &Here,
    settings: &Settings,
    stage: &Stage<'_>,
    making: &Making<'_>,
) -> Result<(), Failure> {
    let Some(program) = program(settings, stage) else { return Ok(()) };
    let below = program.strip_prefix(&stage.dir).unwrap_or(&program);
    let shown = making.shown.join(below.strip_prefix(".").unwrap_or(below));
    let refuse = |why: &str| Err(Failure::refused(format!("{} {why}", shown.display())));
    let Ok(stat) = fs::metadata(&program) else {
        return refuse("is not there, and exo.yaml has it as command; make it first");
    };
    let user = settings.user.as_deref().filter(|user| here.is_system() && *user != "root");
    let needed = if user.is_some() { 0o005 } else { 0o500 };
    let has = |path: &Path, bits: u32| {
        fs::metadata(path).is_ok_and(|stat| stat.permissions().mode() & bits == bits)
    };
    let mut folders = program.ancestors().skip(1).take_while(|path| *path != stage.dir);
    if !stat.is_file() || !has(&program, needed) || !folders.all(|path| has(path, needed & 0o111)) {
        let who = user.unwrap_or("its owner");
        return refuse(&format!("cannot be run by {who}; chmod a+rx it, and the folders above it"));
    }
    Ok(())
}

/// Links the supervise folders and the log to where they are kept.
fn furnish(here: &Here, stage: &Stage<'_>, service: &str) -> Result<(), Failure> {
    let places = here.places();
    let supervise = places.run.join(name(SUPERVISE));
    let link = |target: &Path, below: &str| {
        let path = stage.dir.join(below);
        symlink(target, &path).map_err(|why| Failure::io("make", path.display(), &why))
    };
    link(&supervise.join(service), "supervise")?;
    if stage.dir.join(name(LOG)).is_dir() {
        // Its folder is made last; that it cannot be is told before anything long is done.
        instance::log_owner(here)?;
        link(&supervise.join(format!("{service}.log")), "log/supervise")?;
        link(&places.logs.join(service), "log/main")?;
    }
    // It is enabled, or not, as the one that it replaces.
    let down = name(DOWN);
    if places.participants.join(service).join(down).exists() {
        let path = stage.dir.join(down);
        fs::write(&path, "").map_err(|why| Failure::io("write", path.display(), &why))?;
    }
    Ok(())
}
