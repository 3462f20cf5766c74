//! What lies in the service folder, and what svscan makes of it.

use crate::failure::Failure;
use crate::finding::Finding;
use crate::here::Here;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Looks at every entry.
///
/// # Errors
/// The folder is there and cannot be read.
pub fn look(here: &Here) -> Result<Vec<Finding>, Failure> {
    let folder = &here.places().service;
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(Failure::io("read", folder.display(), &why)),
    };
    let mut names: Vec<_> = read.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort_unstable();
    let mut findings = Vec::new();
    let mut seen = BTreeMap::new();
    for name in &names {
        let path = folder.join(name);
        let Some(name) = name.to_str() else {
            let what = "its name is not UTF-8: svscan runs it, and this command cannot name it";
            findings.push(Finding::warning(what).at(&path));
            continue;
        };
        if name.starts_with('.') {
            findings.extend(hidden(&path));
            continue;
        }
        match fs::metadata(&path) {
            Ok(stat) if stat.is_dir() => {
                let id = (stat.dev(), stat.ino());
                if let Some(first) = seen.insert(id, name) {
                    let what = format!("is the same service as {first}; svscan runs it once");
                    findings.push(Finding::warning(what).of(name).at(&path));
                }
                findings.extend(shadowed(here, name, id));
            }
            Ok(_) => {
                let what = "is no directory: svscan passes over it";
                findings.push(Finding::warning(what).at(&path));
            }
            Err(why) => {
                let what = match fs::read_link(&path) {
                    Ok(target) => format!("is a link to {}, where nothing is", target.display()),
                    Err(_) => format!("cannot be looked at: {}", why.kind()),
                };
                let found = Finding::error(what).of(name).at(&path);
                findings.push(found.mended_by(format!("rm {}", path.display())));
            }
        }
    }
    Ok(findings)
}

/// What begins with a dot is passed over.
fn hidden(path: &Path) -> Option<Finding> {
    let what = "svscan passes over names that begin with a dot";
    path.join("run").exists().then(|| Finding::warning(what).at(path))
}

/// Another directory of the same name is installed.
fn shadowed(here: &Here, name: &str, id: (u64, u64)) -> Option<Finding> {
    let installed = here.places().participants.join(name);
    let stat = fs::metadata(&installed).ok().filter(fs::Metadata::is_dir)?;
    if (stat.dev(), stat.ino()) == id {
        return None;
    }
    let path = here.places().service.join(name);
    let what = format!("leads elsewhere than to {}, which is installed", installed.display());
    let mend = format!("ln -sfn {} {}", installed.display(), path.display());
    Some(Finding::warning(what).of(name).at(&path).mended_by(mend))
}
