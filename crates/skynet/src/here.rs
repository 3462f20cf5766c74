//! The instance that this command works for.

use crate::failure::{Failure, warn};
use crate::screen::Screen;
use exo::config::{self, Places};
use std::path::{Path, PathBuf};
use sys::linux::process::euid;

/// The instance: root has the system's, everybody else one of their own.
#[derive(Clone, Debug)]
pub struct Here {
    /// What its configuration says.
    pub site: config::Site,
    /// Who we are.
    pub uid: u32,
    /// The folder of our programs, as far as they lie beside this one.
    pub programs: Option<PathBuf>,
    /// Where answers go.
    pub screen: Screen,
}

impl Here {
    /// Finds it.
    ///
    /// # Errors
    /// Its configuration cannot be used.
    pub fn find(screen: Screen) -> Result<Self, Failure> {
        let site = config::site()?;
        for warning in &site.warnings {
            warn(warning);
        }
        Ok(Self { site, uid: euid(), programs: programs(), screen })
    }

    /// Returns its folders.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.site.places
    }

    /// Tells whether it is the system's.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.uid == 0
    }

    /// Returns the path of one of our programs; its name alone where it is looked for in `$PATH`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let beside = self.programs.as_ref().map(|folder| folder.join(name));
        beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new(name).to_owned())
    }
}

fn programs() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.parent().map(Path::to_owned)
}
