//! Which services are to be enabled, as the site's files say.

use super::draft::MOST;
use super::keys;
use super::problem::{Origin, Problem, shortened};
use super::tree::Entry;
use super::values::Field;
use std::collections::BTreeMap;
use std::path::Path;

/// Keys of a service.
const KEYS: [&str; 1] = ["enabled"];

/// Bytes of the longest name of a file.
const LONGEST: usize = 255;

/// What the site says of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// It is to be enabled and run; or not to be.
    pub enabled: bool,
    /// Where that is said.
    pub origin: Origin,
}

/// Lays the mapping below `services` over what is known; returns what is wrong with it.
pub(super) fn lay(
    field: Field<'_>,
    path: &Path,
    services: &mut BTreeMap<String, Wanted>,
) -> Vec<Problem> {
    let entries = match field.entries() {
        Ok(entries) => entries,
        Err(why) => return vec![why],
    };
    let mut problems = Vec::new();
    for entry in entries {
        if problems.len() >= MOST {
            break;
        }
        match read(entry, path) {
            Ok(wanted) => drop(services.insert(entry.key.clone(), wanted)),
            Err(why) => problems.push(why.below(field.key)),
        }
    }
    problems
}

fn read(entry: &Entry, path: &Path) -> Result<Wanted, Problem> {
    let name = entry.key.as_str();
    if let Some(flaw) = flaw(name) {
        return Err(Problem::new(entry.at, "", format!("\"{}\" {flaw}", shortened(name))));
    }
    let origin = Origin { path: path.to_owned(), line: entry.at.line };
    let mut enabled = None;
    for below in (Field { key: name, node: &entry.value }).entries()? {
        let key = format!("{name}.{}", below.key);
        if below.key != KEYS[0] {
            return Err(Problem::new(below.at, key, keys::nearest(&below.key, &KEYS)));
        }
        enabled = Some(Field { key: &key, node: &below.value }.truth()?);
    }
    match enabled {
        Some(enabled) => Ok(Wanted { enabled, origin }),
        None => {
            Err(Problem::new(entry.at, name, "\"enabled: true\" or \"enabled: false\" is missing"))
        }
    }
}

/// Says why nothing that svscan looks at can have this name.
fn flaw(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.starts_with('.') {
        Some("is no name of a service: svscan passes over what begins with a dot")
    } else if name.contains('/') || name.chars().any(char::is_control) || name.len() > LONGEST {
        Some("is no name of a service: it is that of a directory")
    } else {
        None
    }
}
