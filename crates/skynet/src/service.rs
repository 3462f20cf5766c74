//! What is installed and what is enabled.

use crate::failure::Failure;
use crate::here::Here;
use exo::config::{self, Loaded, Loader, OWN_FILE, Whose};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::linux::process::euid;

/// The service that keeps what svscan, and everything without a logger, says.
pub const OWN_LOG: &str = "skynet-log";

/// The service that tells of trouble.
pub const OWN_NOTICE: &str = "skynet-notice";

/// Who put a service there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody by hand, or by this command.
    ByHand,
    /// A package: it is the package manager's to change.
    Package,
    /// It lies in the service folder itself, or is a link to somewhere else.
    Elsewhere,
}

impl Origin {
    /// Returns the word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::ByHand => "by-hand",
            Self::Package => "package",
            Self::Elsewhere => "elsewhere",
        }
    }
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its directory, not by way of the service folder's link where it is installed.
    pub dir: PathBuf,
    /// Who put it there.
    pub origin: Origin,
    /// The service folder has it: svscan has it supervised.
    pub is_linked: bool,
    /// It has work items: there is a configuration of exo's.
    pub is_participant: bool,
    /// Of whose instance it is.
    pub whose: Whose,
    /// Of the site's files counts what can be read.
    pub is_lenient: bool,
}

impl Service {
    /// Tells whether it starts with the system.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.is_linked && !self.dir.join("down").exists()
    }

    /// Tells whether it is a part of the instance itself, and not meant where all are.
    #[must_use]
    pub fn is_own(&self) -> bool {
        [OWN_LOG, OWN_NOTICE].contains(&self.name.as_str())
    }

    /// Returns its directory without links, by which its files are found whatever becomes of these.
    #[must_use]
    pub fn real_dir(&self) -> PathBuf {
        self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone())
    }

    /// Reads its exo's configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(&self) -> Result<Loaded, Failure> {
        if self.is_lenient {
            return Ok(Loader::lenient(self.whose)?.load(&self.dir)?);
        }
        if self.whose == Whose::System && euid() != 0 {
            // Its accounts are settled by root.
            return Ok(config::read(&self.dir, self.whose)?);
        }
        Ok(config::load(&self.dir)?)
    }
}

/// Lists all services in the order of their names.
///
/// # Errors
/// A folder that is there cannot be read.
pub fn all(here: &Here) -> Result<Vec<Service>, Failure> {
    let places = here.places();
    // Each with what tells whether two paths lead to the same directory.
    let mut all: BTreeMap<String, (Service, Id)> = BTreeMap::new();
    // Later ones win: what was installed by hand stands before a package's.
    for (folder, origin) in
        [(&places.packaged, Origin::Package), (&places.participants, Origin::ByHand)]
    {
        for name in names(folder)? {
            let dir = folder.join(&name);
            if let Some(id) = directory(&dir) {
                all.insert(name.clone(), (found(here, name, dir, origin), id));
            }
        }
    }
    for name in names(&places.service)? {
        let link = places.service.join(&name);
        let Some(id) = directory(&link) else { continue };
        if let Some((service, _)) = all.get_mut(&name).filter(|(_, own)| *own == id) {
            service.is_linked = true;
        } else {
            let service = found(here, name.clone(), link, Origin::Elsewhere);
            all.insert(name, (Service { is_linked: true, ..service }, id));
        }
    }
    Ok(all.into_values().map(|(service, _)| service).collect())
}

/// Device and inode.
type Id = (u64, u64);

/// Returns what tells a directory from all others; `None` = there is none.
fn directory(path: &Path) -> Option<Id> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((found.dev(), found.ino()))
}

fn found(here: &Here, name: String, dir: PathBuf, origin: Origin) -> Service {
    let is_participant = dir.join(OWN_FILE).exists();
    let (whose, is_lenient) = (here.whose, here.is_lenient);
    Service { name, dir, origin, is_linked: false, is_participant, whose, is_lenient }
}

/// Lists what a folder has; what svscan passes over is passed over here, too.
///
/// # Errors
/// A folder that is there cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    if folder.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(Failure::io("read", folder.display(), &why)),
    };
    let names = read.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| !name.starts_with('.')).collect())
}
