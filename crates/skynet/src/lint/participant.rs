//! What exo runs, and as whom.

use crate::finding::Finding;
use crate::here::Here;
use crate::legacy::ini;
use crate::legacy::{pattern, queue};
use crate::service::Service;
use exo::config::{self, Loaded, OWN_FILE};
use exo::settings::Settings;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use sys::account;

/// Permission bits that let the group and others write.
const WRITE: [u32; 2] = [0o020, 0o002];
/// What runs scripts, whatever version stands behind the name.
const INTERPRETERS: [&str; 7] = ["python", "sh", "bash", "dash", "perl", "ruby", "node"];
/// How names of scripts end.
const ENDINGS: [&str; 5] = ["py", "sh", "pl", "rb", "js"];
/// In such a folder names belong to their owners.
const STICKY: u32 = 0o1000;

/// Reads the configuration of a participant; what can be used is returned beside what was found.
#[must_use]
pub fn look(here: &Here, service: &Service) -> (Option<Loaded>, Vec<Finding>) {
    let name = &service.name;
    let loaded = match config::load(&service.dir) {
        Ok(loaded) => loaded,
        Err(trouble) => {
            let lines = trouble.lines.into_iter();
            return (None, lines.map(|line| Finding::from(line).of(name)).collect());
        }
    };
    let warnings = loaded.warnings.iter().map(|text| Finding::warning(text.clone()).of(name));
    let mut findings: Vec<Finding> = warnings.collect();
    // What the site's files say is told once, of the site.
    let told = config::in_clear(&loaded.settings.broker)
        .filter(|told| config::in_clear(&here.site.broker).as_ref() != Some(told));
    findings.extend(told.map(|told| Finding::warning(format!("broker: {told}")).of(name)));
    findings.extend(config::no_limit(&loaded).map(|told| Finding::warning(told).of(name)));
    let origin = loaded.origins.get("command");
    match program(&loaded) {
        Ok(Some(path)) => {
            let writable = if here.is_system() { writable(&loaded, &path) } else { None };
            findings.extend(writable.map(|found| found.of(name)));
        }
        Ok(None) => {}
        Err(why) => {
            let found = Finding::error(format!("command: {why}")).of(name);
            findings.push(found.set_at(origin));
        }
    }
    findings.extend(disagreements(service, &loaded));
    findings.extend(other_queue(&loaded).map(|found| found.of(name)));
    (Some(loaded), findings)
}

/// Says where the configuration of an older handler, beside its code, names another queue or pattern
/// than its exo.yaml, which counts. What exo.yaml says itself was decided, at install or later.
fn disagreements(service: &Service, loaded: &Loaded) -> Vec<Finding> {
    let settings = &loaded.settings;
    let name = &settings.participant;
    let path = service.dir.join(format!("{name}.conf"));
    // What is not there says nothing.
    let own = ini::readable(&fs::read_to_string(&path).unwrap_or_default());
    let is_set = |key: &str| loaded.origins.contains_key(key);
    let pattern = pattern(&settings.config);
    let is_pattern_set = pattern.is_some();
    let pattern = pattern.unwrap_or_else(|| name.clone());
    let ours = [
        ("name", name, is_set("participant")),
        ("queue", &settings.queue, is_set("queue")),
        ("regexp", &pattern, is_pattern_set),
    ];
    let differs = ours.into_iter().filter_map(|(key, ours, is_decided)| {
        let theirs = ini::of_participant(&own, key)?;
        let value = theirs.value.trim();
        (value != ours).then(|| {
            let place = format!("{}:{}", path.display(), theirs.line);
            let what = format!("{place}: [{}] {key} is {value}, and {ours}", theirs.section);
            let found = if is_decided {
                Finding::note(format!("{what} counts, as {OWN_FILE} says"))
            } else {
                let mend = "say the same there and in exo.yaml";
                Finding::warning(format!("{what} counts")).mended_by(mend)
            };
            found.of(&service.name)
        })
    });
    differs.collect()
}

/// Says where an older handler is told another queue than the one that its items come from.
fn other_queue(loaded: &Loaded) -> Option<Finding> {
    let settings = &loaded.settings;
    let told = queue(&settings.config).filter(|told| *told != settings.queue)?;
    let what = format!("config.participant.queue is {told}, and queue, {}, counts", settings.queue);
    let found = Finding::warning(what).set_at(loaded.origins.get("config"));
    Some(found.mended_by("say the same in both places"))
}

/// Returns why a participant cannot work: its program, or the code that this is given, is not there.
#[must_use]
pub fn missing(loaded: &Loaded) -> Option<String> {
    program(loaded).err()
}

/// Finds the program as it will be found; `None` where another exoskeleton sees to that.
fn program(loaded: &Loaded) -> Result<Option<PathBuf>, String> {
    let found = executable(loaded)?;
    if let Some(code) = found.as_ref().and_then(|_| code(&loaded.settings)) {
        return Err(format!("there is no file {}", code.display()));
    }
    Ok(found)
}

/// Returns the code that an interpreter is given, if it is not there: the first word with the ending
/// of a script.
fn code(settings: &Settings) -> Option<PathBuf> {
    let mut words =
        settings.command.iter().map(|word| Path::new(OsStr::from_bytes(word.to_bytes())));
    let interpreter = words.next()?.file_name()?.to_string_lossy();
    if !INTERPRETERS.iter().any(|name| interpreter.starts_with(name)) {
        return None;
    }
    let is_code = |word: &&Path| {
        word.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
    };
    let code = settings.directory.join(words.find(is_code)?);
    (!code.exists()).then_some(code)
}

/// Finds the executable file.
fn executable(loaded: &Loaded) -> Result<Option<PathBuf>, String> {
    let settings = &loaded.settings;
    let Some(first) = settings.command.first() else { return Ok(None) };
    let first = Path::new(OsStr::from_bytes(first.to_bytes()));
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|s| s.is_file() && s.permissions().mode() & 0o111 != 0)
    };
    if first.as_os_str().as_bytes().contains(&b'/') {
        let path = settings.directory.join(first.strip_prefix(".").unwrap_or(first));
        return if is_program(&path) {
            Ok(Some(path))
        } else if path.exists() {
            Err(format!("{} is not executable: chmod +x {0}", path.display()))
        } else {
            Err(format!("there is no program {}", path.display()))
        };
    }
    let mut found = settings.path.split(':').map(|folder| Path::new(folder).join(first));
    let near = || {
        let is_here = settings.directory.join(first).exists();
        if is_here { format!("; did you mean ./{}?", first.display()) } else { String::new() }
    };
    let none =
        || format!("there is no program {} in path, {}{}", first.display(), settings.path, near());
    found.find(is_program).map(Some).ok_or_else(none)
}

/// Whoever can change the program, or a folder on the way to it, decides what runs next: that is not
/// to be the participant, whom an item may have led astray.
fn writable(loaded: &Loaded, program: &Path) -> Option<Finding> {
    let user = loaded.settings.user.as_deref()?;
    let ids = account::find(user.as_bytes()).filter(|ids| ids.uid != 0)?;
    let groups = account::groups(user.as_bytes(), &ids);
    let real = program.canonicalize().ok()?;
    let may_write = |path: &&Path| {
        let Ok(stat) = fs::metadata(path) else { return false };
        let [group, others] = WRITE.map(|bit| stat.mode() & bit != 0);
        let is_guarded = stat.is_dir() && stat.mode() & STICKY != 0;
        // What it owns it can make writable.
        stat.uid() == ids.uid || !is_guarded && (others || group && groups.contains(&stat.gid()))
    };
    let path = real.ancestors().find(may_write)?;
    let what = format!("can be changed by {user}, as whom the participant runs");
    let found = Finding::error(what).at(path);
    let why = "a participant that an item has led astray could make itself stay so";
    let mend = format!("chown root {0} && chmod go-w {0}", path.display());
    Some(found.because(why).mended_by(mend))
}
