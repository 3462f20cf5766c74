//! Where things are, system-wide and for an ordinary user.

use super::problem::Trouble;
use std::env;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::linux::process::euid;

/// Folders that hold unless the configuration names others; empty where none is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// That of skynet.yaml and conf.d.
    pub(super) config: Option<PathBuf>,
    /// Whether somebody asked for this one.
    pub(super) config_is_named: bool,
    pub(super) store: PathBuf,
    pub(super) spool: PathBuf,
    pub(super) run: PathBuf,
}

impl Places {
    /// Finds them for whoever runs this.
    ///
    /// `SKYNET_CONFIG` counts for root as well: exo is started with the environment of its service,
    /// and whoever decides that decides what is run. The folder's owners are looked at all the same.
    pub(super) fn here() -> Result<Self, Trouble> {
        let mut places = if euid() == 0 { Self::of_system() } else { Self::of_user(variable) };
        if let Some(named) = variable("SKYNET_CONFIG") {
            if !named.is_absolute() {
                let why = format!("SKYNET_CONFIG, {}, must begin with a slash", named.display());
                return Err(Trouble::plain(why));
            }
            places.config = Some(named);
            places.config_is_named = true;
        }
        Ok(places)
    }

    pub(super) fn of_system() -> Self {
        Self {
            config: Some("/etc/skynet".into()),
            config_is_named: false,
            store: "/var/lib/skynet".into(),
            spool: "/var/spool/skynet".into(),
            run: "/run/skynet".into(),
        }
    }

    /// Source: the XDG base directory specification; a folder that is not absolute counts as none.
    fn of_user(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let home = variable("HOME").filter(|home| home.is_absolute());
        let base = |name: &str, below: &str| {
            let set = variable(name).filter(|folder| folder.is_absolute());
            set.or_else(|| Some(home.as_ref()?.join(below))).map(|base| base.join("skynet"))
        };
        let state = base("XDG_STATE_HOME", ".local/state");
        let run = variable("XDG_RUNTIME_DIR").filter(|folder| folder.is_absolute());
        let run = run.or_else(session_folder).map(|run| run.join("skynet"));
        let run = run.or_else(|| Some(state.as_ref()?.join("run")));
        Self {
            config: base("XDG_CONFIG_HOME", ".config"),
            config_is_named: false,
            spool: state.as_ref().map(|state| state.join("spool")).unwrap_or_default(),
            store: state.unwrap_or_default(),
            run: run.unwrap_or_default(),
        }
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// What a session manager makes for this user, also where the variable did not come through.
fn session_folder() -> Option<PathBuf> {
    let folder = Path::new("/run/user").join(euid().to_string());
    let is_ours = folder.metadata().is_ok_and(|stat| stat.is_dir() && stat.uid() == euid());
    is_ours.then_some(folder)
}

#[cfg(test)]
impl Places {
    pub(super) fn scratch(folder: &Path) -> Self {
        Self {
            config: Some(folder.join("etc")),
            config_is_named: false,
            store: folder.join("store"),
            spool: folder.join("spool"),
            run: folder.join("run"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(set: &'static [(&str, &str)]) -> Places {
        Places::of_user(|name| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn a_user_s_folders_are_where_xdg_says() {
        let places = user(&[
            ("HOME", "/u"),
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_STATE_HOME", "/s"),
            ("XDG_RUNTIME_DIR", "/r"),
        ]);
        let wanted = ["/c/skynet", "/s/skynet", "/s/skynet/spool", "/r/skynet"].map(PathBuf::from);
        let config = places.config.unwrap();
        assert_eq!([config, places.store, places.spool, places.run], wanted);
    }

    #[test]
    fn without_xdg_they_are_below_home_and_relative_ones_do_not_count() {
        let places = user(&[("HOME", "/u"), ("XDG_STATE_HOME", "s"), ("XDG_RUNTIME_DIR", "/r")]);
        assert_eq!(places.config, Some("/u/.config/skynet".into()));
        assert_eq!(places.store, Path::new("/u/.local/state/skynet"));
    }

    #[test]
    fn without_a_home_nothing_is_guessed() {
        let places = user(&[("XDG_RUNTIME_DIR", "/r")]);
        assert_eq!((places.config, places.store), (None, PathBuf::new()));
        assert_eq!(places.run, Path::new("/r/skynet"));
    }
}
