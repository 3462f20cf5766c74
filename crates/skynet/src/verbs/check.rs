//! `skynet check`: what is wrong with configuration and service directories.

use crate::failure::{Answer, Failure, code};
use crate::finding::{self, Finding};
use crate::here::Here;
use crate::lint::{directory, folder, participant, queues, site};
use crate::names::{Names, Picked};
use crate::screen::Screen;
use crate::service::{self, Origin, Service};
use clap::Args;
use exo::config::{self, OWN_FILE, Whose};
use std::fs;
use std::path::{Path, PathBuf};

/// Says what is wrong with configuration and service directories.
///
/// It changes nothing.
/// Without an argument: the site's files, every service, and what lies in the service folder.
/// Exit codes: 0 no error, 1 some; with --strict warnings count, too.
#[derive(Debug, Args)]
pub struct Check {
    /// Services by name or pattern, service directories, or configuration files.
    #[arg(value_name = "NAME|DIR|FILE")]
    what: Vec<String>,
    /// Warnings count as errors do.
    #[arg(long)]
    strict: bool,
    /// An object a line: severity, service, path, line, column, what, why, mend.
    #[arg(long)]
    json: bool,
}

/// What was asked for.
#[derive(Default)]
struct Targets {
    services: Vec<Service>,
    files: Vec<PathBuf>,
    names: Names,
}

/// Runs it.
///
/// # Errors
/// Something that was named is not there, or a folder cannot be read.
pub fn run(args: &Check, here: &Here) -> Answer {
    let all = service::all(here)?;
    let mut targets = targets(args, &all)?;
    let mut findings: Vec<Finding> = Vec::new();
    if args.what.is_empty() {
        findings.extend(here.site.warnings.iter().map(|text| Finding::warning(text.clone())));
        findings.extend(site::password(here));
        findings.extend(site::in_clear(here));
        findings.extend(site::services(here, &all));
        findings.extend(folder::look(here)?);
        targets.services.extend(all.iter().cloned());
    }
    let mut picked = Picked::default();
    if !targets.names.names.is_empty() {
        picked = targets.names.pick(all)?;
        targets.services.append(&mut picked.services);
    }
    findings.extend(targets.files.iter().flat_map(|path| site::file(path)));
    let mut participants = Vec::new();
    for service in &targets.services {
        findings.extend(directory::look(here, service));
        if service.is_participant {
            let (loaded, found) = participant::look(here, service);
            findings.extend(found);
            participants.extend(loaded.map(|loaded| (service.name.clone(), loaded)));
        }
    }
    findings.extend(queues::look(&participants, here.is_system()));
    if picked.some_are_unknown && targets.services.is_empty() && targets.files.is_empty() {
        return Ok(code::UNKNOWN);
    }
    let looked_at = [(targets.services.len(), "service"), (targets.files.len(), "file")];
    let summary = format!("checked {}", finding::counted(&looked_at));
    let code = finding::show(&findings, &here.screen, args.json, args.strict, summary.trim_end())?;
    Ok(picked.code(code))
}

/// Says what is wrong with the site's files, where that keeps everything else from being read.
///
/// # Errors
/// As write(2).
pub fn without_site(args: &Check, whose: Whose, screen: &Screen, failure: Failure) -> Answer {
    let findings: Vec<Finding> = match config::site(whose) {
        Err(trouble) => trouble.lines.into_iter().map(Finding::from).collect(),
        Ok(_) => return Err(failure),
    };
    let summary = "checked the site's files; services are looked at once these can be read";
    finding::show(&findings, screen, args.json, args.strict, summary)
}

fn targets(args: &Check, all: &[Service]) -> Result<Targets, Failure> {
    let mut targets = Targets::default();
    for what in &args.what {
        let path = Path::new(what);
        let is_service = all.iter().any(|service| service.name == *what);
        let is_path = what.contains('/') || matches!(what.as_str(), "." | "..");
        if is_service || !is_path && !path.exists() {
            targets.names.names.push(what.clone());
            continue;
        }
        let real = path.canonicalize().map_err(|why| Failure::io("open", what, &why))?;
        let is_site_file = real.extension().is_some_and(|end| end == "yaml" || end == "yml")
            && real.file_name().is_some_and(|name| name != OWN_FILE);
        if real.is_dir() {
            targets.services.push(at(real, all));
        } else if is_site_file {
            targets.files.push(real);
        } else {
            targets.services.push(at(real.parent().unwrap_or(&real).to_owned(), all));
        }
    }
    Ok(targets)
}

/// Returns the service whose directory this is, whether this instance has it or not.
fn at(dir: PathBuf, all: &[Service]) -> Service {
    if let Some(service) = all.iter().find(|service| service.real_dir() == dir) {
        return service.clone();
    }
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    Service {
        name: name.unwrap_or_else(|| "/".to_owned()),
        is_participant: fs::symlink_metadata(dir.join(OWN_FILE)).is_ok(),
        dir,
        origin: Origin::Elsewhere,
        is_linked: false,
        whose: all.first().map_or(Whose::Callers, |service| service.whose),
        is_lenient: false,
    }
}
