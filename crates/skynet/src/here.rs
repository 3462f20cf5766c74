//! The instance that this command works for.

use crate::failure::{Failure, warn};
use crate::screen::Screen;
use exo::GROUP;
use exo::config::{self, Loader, Places, Whose};
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use sys::account;
use sys::linux::ids;
use sys::linux::process::euid;

/// So many groups a process may have.
const GROUPS: usize = 65_536;

/// The instance: root has the system's, everybody else one of their own.
#[derive(Clone, Debug)]
pub struct Here {
    /// What its configuration says.
    pub site: config::Site,
    /// Whose it is.
    pub whose: Whose,
    /// Something is wrong with its configuration, which counts as far as it goes.
    pub is_lenient: bool,
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
    pub fn find(whose: Whose, screen: Screen) -> Result<Self, Failure> {
        let site = config::site(whose)?;
        Ok(Self::with(site, whose, screen))
    }

    /// The same for whoever only looks, stops something or boots: what is wrong with the site's files is said,
    /// and the rest of them holds.
    ///
    /// # Errors
    /// Where its folders are is not known.
    pub fn find_leniently(whose: Whose, screen: Screen) -> Result<Self, Failure> {
        let (site, trouble) = config::site_as_far_as_it_goes(whose)?;
        let here = Self::with(site, whose, screen);
        let Some(first) = trouble.lines.first() else { return Ok(here) };
        let more = match trouble.lines.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        warn(&format!("{first}{more}; going on with what can be read, see skynet check"));
        Ok(Self { is_lenient: true, ..here })
    }

    fn with(site: config::Site, whose: Whose, screen: Screen) -> Self {
        for warning in &site.warnings {
            warn(warning);
        }
        Self { site, whose, is_lenient: false, uid: euid(), programs: programs(), screen }
    }

    /// Returns what reads the configurations of participants.
    ///
    /// # Errors
    /// Where the site's files are is not known.
    pub fn loader(&self) -> Result<Loader, Failure> {
        let loader = if self.is_lenient { Loader::lenient } else { Loader::new };
        Ok(loader(self.whose)?)
    }

    /// Returns its folders.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.site.places
    }

    /// Tells whether it is the system's.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.uid == 0 || self.whose == Whose::System
    }

    /// Returns the user whose it is: root's, where it is the system's.
    #[must_use]
    pub fn owner(&self) -> u32 {
        if self.is_system() { 0 } else { self.uid }
    }

    /// Returns how whoever reads this runs a verb that is for the owner of the instance.
    #[must_use]
    pub fn command(&self, verb: &str) -> String {
        let sudo = if self.uid == self.owner() { "" } else { "sudo " };
        format!("{sudo}skynet {verb}")
    }

    /// Refuses what its owner alone may do.
    ///
    /// # Errors
    /// We are somebody else.
    pub fn is_for_owner(&self, what: &str) -> Result<(), Failure> {
        if self.uid == self.owner() {
            return Ok(());
        }
        let advice = "it is root's; run this as root, by sudo for one";
        Err(Failure::refused(format!("unable to {what} the system's instance: {advice}")))
    }

    /// Refuses what is for its owner and for members of group `skynet`.
    ///
    /// # Errors
    /// We are somebody else.
    pub fn is_for_members(&self, what: &str) -> Result<(), Failure> {
        if self.uid == self.owner() || is_member() {
            return Ok(());
        }
        let who = "root or a member of group skynet may";
        Err(Failure::refused(format!("unable to {what} of the system's instance: {who}")))
    }

    /// Returns what to type for one of our programs: its name where `$PATH` has one of that name.
    #[must_use]
    pub fn typed(&self, name: &str) -> String {
        let path = if in_path(name).is_some() { name.into() } else { self.program(name) };
        path.display().to_string()
    }

    /// Returns the path of one of our programs; its name alone where it is looked for in `$PATH`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        let beside = self.programs.as_ref().map(|folder| folder.join(name));
        beside.filter(|path| path.is_file()).unwrap_or_else(|| Path::new(name).to_owned())
    }
}

/// Returns the path of the program that `$PATH` has by this name.
#[must_use]
pub fn in_path(name: &str) -> Option<PathBuf> {
    let is_program = |stat: Metadata| stat.is_file() && stat.permissions().mode() & 0o111 != 0;
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(name));
    paths.find(|path| fs::metadata(path).is_ok_and(is_program))
}

/// Tells whether group `skynet` is one of ours: as the kernel has it, not as it is written down.
fn is_member() -> bool {
    let Some(group) = account::find_group(GROUP) else { return false };
    let mut room = vec![0; GROUPS];
    let is_first = ids::gids().is_ok_and(|[_, effective, _]| effective == group);
    is_first || ids::groups(&mut room).is_ok_and(|groups| groups.contains(&group))
}

fn programs() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.parent().map(Path::to_owned)
}
