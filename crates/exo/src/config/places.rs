//! Where things are, system-wide and for an ordinary user.

use super::problem::Trouble;
use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use sys::account;
use sys::linux::process::euid;

/// Whose instance is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whose {
    /// The caller's: root has the system's, everybody else one of their own.
    #[default]
    Callers,
    /// The system's, whoever asks.
    System,
}

/// Folders that hold unless the configuration names others; empty where none is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// That of skynet.yaml and conf.d.
    pub config: Option<PathBuf>,
    /// Whether somebody asked for this one.
    pub(super) config_is_named: bool,
    /// Of the store.
    pub store: PathBuf,
    /// Of the drop folders.
    pub spool: PathBuf,
    /// Of the control sockets and supervise folders.
    pub run: PathBuf,
    /// Participants that people installed.
    pub participants: PathBuf,
    /// Participants that packages installed; empty for an ordinary user.
    pub packaged: PathBuf,
    /// Enabled services, as links: what svscan scans.
    pub service: PathBuf,
    /// Log directories.
    pub logs: PathBuf,
    /// What the notifier keeps.
    pub notice: PathBuf,
}

impl Places {
    /// Finds those of an instance.
    ///
    /// `SKYNET_CONFIG` counts for root as well: exo is started with the environment of its service,
    /// and whoever decides that decides what is run. The folder's owners are looked at all the same.
    pub(super) fn of(whose: Whose) -> Result<Self, Trouble> {
        if whose == Whose::System && euid() != 0 {
            // What a user has set is for an instance of their own.
            return Ok(Self::of_system());
        }
        let mut places = if euid() == 0 {
            Self::of_system()
        } else {
            Self::of_user(variable, own_home().as_deref(), runtime(variable("XDG_RUNTIME_DIR")))
        };
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
            participants: "/etc/skynet/participants".into(),
            packaged: "/usr/lib/skynet/participants".into(),
            service: "/etc/skynet/service".into(),
            logs: "/var/log/skynet".into(),
            // Beside the store, whose folder belongs to exo's workers.
            notice: "/var/lib/skynet-notice".into(),
        }
    }

    /// Source: the XDG base directory specification; a folder that is not absolute counts as none.
    fn of_user(
        variable: impl Fn(&str) -> Option<PathBuf>,
        home: Option<&Path>,
        runtime: Option<PathBuf>,
    ) -> Self {
        let base = |name: &str, below: &str| {
            let set = variable(name).filter(|folder| folder.is_absolute());
            set.or_else(|| Some(home?.join(below))).map(|base| base.join("skynet"))
        };
        let state = base("XDG_STATE_HOME", ".local/state");
        let run = runtime.map(|runtime| runtime.join("skynet"));
        let run = run.or_else(|| Some(state.as_ref()?.join("run")));
        let below = |folder: &Option<PathBuf>, name: &str| {
            folder.as_ref().map(|folder| folder.join(name)).unwrap_or_default()
        };
        Self {
            config: base("XDG_CONFIG_HOME", ".config"),
            config_is_named: false,
            spool: below(&state, "spool"),
            participants: below(&base("XDG_DATA_HOME", ".local/share"), "participants"),
            packaged: PathBuf::new(),
            service: below(&state, "service"),
            logs: below(&state, "log"),
            notice: below(&state, "notice"),
            store: state.unwrap_or_default(),
            run: run.unwrap_or_default(),
        }
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The caller's home: what `HOME` says where that is a folder of their own, or what their account
/// says. A service that `setuidgid` starts has the `HOME` of root's svscan. Who has no folder of their
/// own has what `HOME` says, unless they may not even enter it.
fn own_home() -> Option<PathBuf> {
    let named = variable("HOME").filter(|home| home.is_absolute());
    let own = named.clone().filter(|home| is_own(home)).or_else(home_of_account);
    own.or_else(|| named.filter(|home| !is_closed(home)))
}

fn home_of_account() -> Option<PathBuf> {
    let name = account::name_of(euid())?;
    let (_, login) = account::find_login(&name)?;
    Some(PathBuf::from(OsString::from_vec(login.home.into_bytes()))).filter(|home| is_own(home))
}

/// Tells whether a folder is the caller's, who may also enter it.
fn is_own(folder: &Path) -> bool {
    folder.is_absolute() && folder.join(".").metadata().is_ok_and(|stat| stat.uid() == euid())
}

fn is_closed(folder: &Path) -> bool {
    let why = folder.join(".").metadata().err();
    why.is_some_and(|why| why.kind() == ErrorKind::PermissionDenied)
}

/// The folder for what is gone after a boot: the one that `XDG_RUNTIME_DIR` names, or that a session
/// manager made for this user, also where the variable did not come through. A service that
/// `setuidgid` starts has that of root's svscan: what the caller may not enter, or is another user's
/// session, which may be over, does not count.
fn runtime(named: Option<PathBuf>) -> Option<PathBuf> {
    let sessions = Path::new("/run/user");
    let own = sessions.join(euid().to_string());
    let is_another_s = |folder: &Path| folder.starts_with(sessions) && !folder.starts_with(&own);
    let named = named.filter(|folder| folder.is_absolute());
    let named = named.filter(|folder| !is_another_s(folder) && !is_closed(folder));
    named.or_else(|| {
        let is_ours = own.metadata().is_ok_and(|stat| stat.is_dir() && stat.uid() == euid());
        is_ours.then_some(own)
    })
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
            participants: folder.join("participants"),
            packaged: folder.join("packaged"),
            service: folder.join("service"),
            logs: folder.join("log"),
            notice: folder.join("notice"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(home: Option<&str>, set: &'static [(&str, &str)]) -> Places {
        let variable = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into());
        Places::of_user(variable, home.map(Path::new), variable("XDG_RUNTIME_DIR"))
    }

    #[test]
    fn a_user_s_folders_are_where_xdg_says() {
        let set = &[
            ("XDG_CONFIG_HOME", "/c"),
            ("XDG_STATE_HOME", "/s"),
            ("XDG_DATA_HOME", "/d"),
            ("XDG_RUNTIME_DIR", "/r"),
        ];
        let places = user(Some("/u"), set);
        let more = ["/d/skynet/participants", "", "/s/skynet/service", "/s/skynet/log"];
        let have = [&places.participants, &places.packaged, &places.service, &places.logs];
        assert_eq!(have, more.map(Path::new));
        let wanted = ["/c/skynet", "/s/skynet", "/s/skynet/spool", "/r/skynet"].map(PathBuf::from);
        let config = places.config.unwrap();
        assert_eq!([config, places.store, places.spool, places.run], wanted);
    }

    #[test]
    fn without_xdg_they_are_below_home_and_relative_ones_do_not_count() {
        let places = user(Some("/u"), &[("XDG_STATE_HOME", "s"), ("XDG_RUNTIME_DIR", "/r")]);
        assert_eq!(places.config, Some("/u/.config/skynet".into()));
        assert_eq!(places.store, Path::new("/u/.local/state/skynet"));
    }

    #[test]
    fn without_a_home_nothing_is_guessed() {
        let places = user(None, &[("XDG_RUNTIME_DIR", "/r")]);
        assert_eq!((places.config, places.store), (None, PathBuf::new()));
        assert_eq!(places.run, Path::new("/r/skynet"));
    }

    #[test]
    fn another_user_s_session_is_no_place_to_run_in_even_once_it_is_over() {
        let another = PathBuf::from(format!("/run/user/{}", euid() + 54_321));
        let own = PathBuf::from(format!("/run/user/{}", euid()));
        for (named, is_taken) in [
            ("/r".into(), true),
            ("r".into(), false),
            (another.clone(), false),
            (another.join("x"), false),
            (own.join("x"), true),
        ] {
            let found = runtime(Some(named.clone()));
            assert_eq!(found.as_ref() == Some(&named), is_taken, "{}", named.display());
        }
    }
}
