//! Finds what there is to import in a file or a folder.

use super::ini::{self, Section};
use super::{Found, Kind, Note};
use crate::failure::Failure;
use crate::here::Here;
use crate::tree::text::{self, Text};
use exo::settings::{Broker, BrokerKind};
use std::fs;
use std::path::{Path, PathBuf};

/// The file of a first-generation participant.
const CONFIG_EXO: &str = "config.exo";
/// Files that hold sections.
const INI: [&str; 2] = ["conf", "ini"];
/// Sections that are an older host's own.
const HOST: [&str; 2] = ["skynet", "boss"];

/// Returns all services that a file, or a folder's files, tell of, and in the place of those of a file that is
/// not fit what is wrong with it.
///
/// # Errors
/// It cannot be read, or is a folder without such files.
pub fn services(path: &Path, here: &Here) -> Result<Vec<Result<Found, Failure>>, Failure> {
    let broker = &here.site.broker;
    let stat = fs::metadata(path).map_err(|why| Failure::io("open", path.display(), &why))?;
    if !stat.is_dir() {
        return Ok(fit(of_file(path, broker)));
    }
    let own = path.join(CONFIG_EXO);
    if own.is_file() {
        return Ok(fit(of_file(&own, broker)));
    }
    let mut files = Vec::new();
    let read = |why: std::io::Error| Failure::io("read", path.display(), &why);
    for entry in fs::read_dir(path).map_err(read)? {
        let entry = entry.map_err(read)?.path();
        let is_ini = entry.extension().is_some_and(|end| INI.iter().any(|ini| end == *ini));
        if is_ini && entry.is_file() {
            files.push(entry);
        } else if entry.join(CONFIG_EXO).is_file() {
            files.push(entry.join(CONFIG_EXO));
        }
    }
    files.sort();
    if files.is_empty() {
        let line = format!("{} has no {CONFIG_EXO}, and no file *.conf or *.ini", path.display());
        return Err(Failure::refused(line));
    }
    Ok(files.iter().flat_map(|file| fit(of_file(file, broker))).collect())
}

fn fit(found: Result<Vec<Found>, Failure>) -> Vec<Result<Found, Failure>> {
    match found {
        Ok(found) => found.into_iter().map(Ok).collect(),
        Err(why) => vec![Err(why)],
    }
}

fn of_file(path: &Path, broker: &Broker) -> Result<Vec<Found>, Failure> {
    let Text { text, is_open, .. } = text::read("read", path, path)?;
    let sections = ini::parse(&text)
        .map_err(|(line, why)| Failure::refused(format!("{}:{line}: {why}", path.display())))?;
    let mut found = if path.file_name().is_some_and(|name| name == CONFIG_EXO) {
        vec![of_first_generation(path, sections)]
    } else {
        of_sections(path, sections, broker)
    };
    if found.is_empty() {
        let line = format!("{} has neither a program nor a participant", path.display());
        return Err(Failure::refused(line));
    }
    for found in &mut found {
        found.is_open = is_open;
    }
    Ok(found)
}

/// All keys of config.exo stand before any section.
fn of_first_generation(path: &Path, sections: Vec<Section>) -> Found {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    let mut notes = Vec::new();
    let mut keys = Vec::new();
    for section in sections {
        if section.name.is_empty() {
            keys = section.keys;
        } else {
            notes.push(passed_over(&section));
        }
    }
    let name = ini::find(&keys, "name").map(|key| key.value.clone());
    Found {
        name: name.unwrap_or_else(|| folder.to_string_lossy().into_owned()),
        file: path.to_owned(),
        is_open: false,
        kind: Kind::Participant { keys, sections: Vec::new() },
        notes,
    }
}

fn passed_over(section: &Section) -> Note {
    let text = format!("[{}]: not carried over", section.name);
    Note { line: section.line, text }
}

fn of_sections(path: &Path, sections: Vec<Section>, broker: &Broker) -> Vec<Found> {
    let (mut programs, mut participant, mut own, mut notes) =
        (Vec::new(), None, Vec::new(), Vec::new());
    let mut log_level = None;
    for section in sections {
        if let Some(name) = section.name.strip_prefix("program:") {
            programs.push((name.trim().to_owned(), section));
        } else if section.name == ini::PARTICIPANT {
            participant = Some(section);
        } else if HOST.contains(&section.name.as_str()) || ini::is_supervisor(&section.name) {
            log_level = section.key("log_level").cloned().or(log_level);
            notes.extend(notes_of(&section, broker));
        } else if section.name.is_empty() {
            let why = "not carried over: it stands before any section";
            notes.extend(section.keys.iter().map(|key| Note::of(key, why)));
        } else {
            own.push(section);
        }
    }
    let file = path.to_owned();
    let Some(participant) = participant else {
        // Sections for a participant's code are nobody's.
        notes.extend(own.iter().map(passed_over));
        return of_programs(&file, programs, &notes);
    };
    let mut keys = participant.keys;
    let given = ini::find(&keys, "name").map(|key| key.value.clone());
    let is_named = given.is_some();
    let name = given.unwrap_or_else(|| stem(path));
    let (mut its, mut others): (Vec<_>, Vec<_>) =
        programs.into_iter().partition(|(program, _)| ran(program, &name));
    if its.is_empty() && !is_named {
        // Any of them may have run what nobody has named.
        std::mem::swap(&mut its, &mut others);
    }
    its.sort_by_key(|(program, _)| *program != name);
    let mut its = its.into_iter().map(|(_, section)| section);
    // What starts the old host is no key of the participant.
    let more = its.next().into_iter().flat_map(|section| section.keys);
    keys.extend(more.filter(|key| key.name != "command"));
    notes.extend(its.map(|section| {
        let text = format!(
            "[{}]: taken for one more of {name}, and not carried over: see instances in exo.yaml(5)",
            section.name
        );
        Note { line: section.line, text }
    }));
    keys.extend(log_level);
    let kind = Kind::Participant { keys, sections: own };
    let mut all = vec![Found { name, file: file.clone(), is_open: false, kind, notes }];
    all.extend(of_programs(&file, others, &[]));
    all
}

/// The program of a file with one participant is the one that ran it, under its name, or with a number
/// behind that.
fn ran(program: &str, participant: &str) -> bool {
    let Some(behind) = program.strip_prefix(participant) else { return false };
    let number = behind.strip_prefix(['-', '_', ':']).unwrap_or(behind);
    behind.is_empty() || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn of_programs(file: &Path, programs: Vec<(String, Section)>, notes: &[Note]) -> Vec<Found> {
    let mut notes = notes.to_vec();
    let found = programs.into_iter().map(|(name, section)| Found {
        name,
        file: file.to_owned(),
        is_open: false,
        kind: Kind::Program { keys: section.keys },
        // Once is enough.
        notes: std::mem::take(&mut notes),
    });
    found.collect()
}

fn notes_of(section: &Section, broker: &Broker) -> Vec<Note> {
    if !HOST.contains(&section.name.as_str()) {
        return vec![passed_over(section)];
    }
    let is_used = broker.kind == BrokerKind::RabbitMq;
    let notes = section.keys.iter().filter_map(|key| {
        let text = match key.name.as_str() {
            "log_level" => return None,
            "amqp_host" if is_used => {
                &format!("not carried over: items come from {}, as broker in skynet.yaml says", broker.host)
            }
            "amqp_host" => {
                "no broker is used: items wait in a queue of this machine; for an engine on RabbitMQ say \
                 in skynet.yaml, below broker, where that is"
            }
            // What it is stays where it is.
            "amqp_pwd" if is_used => {
                "not carried over: it belongs into the file that broker.password-file in skynet.yaml names"
            }
            "amqp_user" | "amqp_vhost" if is_used => {
                "not carried over: what counts is broker in skynet.yaml"
            }
            "amqp_pwd" | "amqp_user" | "amqp_vhost" => "not carried over: no broker is used",
            _ => "not carried over: this instance has folders of its own",
        };
        Some(Note::of(key, text))
    });
    notes.collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the path that a key names, which counts from the file's folder.
#[must_use]
pub fn path_of(file: &Path, value: &str) -> PathBuf {
    super::folder_of(file).join(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ran_a_participant_under_its_name_or_with_a_number() {
        for program in ["build", "build2", "build-1", "build_02", "build:3"] {
            assert!(ran(program, "build"), "{program}");
        }
        for program in ["builder-web", "build-", "build-x", "build-1x", "build--1", "buil", "x"] {
            assert!(!ran(program, "build"), "{program}");
        }
    }
}
