//! The environment of a participant: a list of its own, nothing that exo happens to have.

use super::Trouble;
use crate::accounts::Person;
use crate::order::Start;
use crate::settings::{ENGINE, Mode, SETTINGS, Settings, VARIABLE, instance_name};
use std::ffi::CString;
use std::ffi::c_char;
use std::os::unix::ffi::OsStringExt;

/// What exo says about a start; the configuration does not.
const OURS: [&str; 7] = [
    "SKYNET_PARTICIPANT",
    "SKYNET_INSTANCE",
    "SKYNET_WFID",
    "SKYNET_ATTEMPT",
    "SKYNET_STAGE",
    SETTINGS,
    ENGINE,
];

/// What is passed on from exo's own environment.
const PASSED_ON: [&str; 2] = ["LANG", "TZ"];

/// What every start of a participant has.
#[derive(Debug)]
pub(super) struct Environment {
    participant: String,
    /// `NAME=VALUE`, no name twice.
    fixed: Vec<CString>,
}

/// What one start has; lives until the program runs.
#[derive(Debug)]
pub(super) struct Variables<'a> {
    fixed: &'a [CString],
    of_start: Vec<CString>,
}

impl Environment {
    /// Makes the part that all starts share. What the configuration has replaces what stands in the
    /// account and what is passed on.
    pub(super) fn new(settings: &Settings, person: &Person) -> Result<Self, Trouble> {
        let mut list: Vec<(String, Vec<u8>)> = Vec::new();
        let mut set = |name: &str, value: &[u8]| {
            list.retain(|(there, _)| there != name);
            list.push((name.to_owned(), value.to_vec()));
        };
        set("PATH", settings.path.as_bytes());
        set("HOME", person.home.to_bytes());
        set("USER", &person.name);
        set("LOGNAME", &person.name);
        set("SHELL", person.shell.to_bytes());
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                set(name, &value.into_vec());
            }
        }
        for (name, value) in &settings.environment {
            if name.is_empty() || name.contains('=') || OURS.contains(&name.as_str()) {
                let what = format!("unable to set {name:?} in the participant's environment");
                return Err(Trouble::plain(what));
            }
            set(name, value.as_bytes());
        }
        set("SKYNET_PARTICIPANT", settings.participant.as_bytes());
        if settings.mode == Mode::PerItem {
            set(ENGINE, settings.engine().as_bytes());
            let config = settings.config.get();
            if !matches!(config, "{}" | "null") {
                set(SETTINGS, config.as_bytes());
            }
        }
        let strings = list.iter().map(|(name, value)| string(name, value));
        let fixed: Vec<CString> = strings.collect::<Option<_>>().ok_or_else(|| {
            Trouble::plain("unable to set the participant's environment: NUL in it".to_owned())
        })?;
        match fixed.iter().find(|string| string.count_bytes() > VARIABLE) {
            Some(long) => Err(Trouble::plain(too_long(long))),
            None => Ok(Self { participant: settings.participant.clone(), fixed }),
        }
    }

    /// Adds what is said about one start.
    pub(super) fn of(&self, start: &Start) -> Variables<'_> {
        let instance = instance_name(&self.participant, start.instance);
        let said = [
            ("SKYNET_INSTANCE", &instance),
            ("SKYNET_WFID", &start.wfid),
            ("SKYNET_ATTEMPT", &start.attempt),
            ("SKYNET_STAGE", &start.stage),
        ];
        let said = said.into_iter().filter(|(_, value)| !value.is_empty());
        let of_start = said.filter_map(|(name, value)| string(name, value.as_bytes())).collect();
        Variables { fixed: &self.fixed, of_start }
    }
}

impl Variables<'_> {
    /// Returns the list that execve(2) takes.
    pub(super) fn pointers(&self) -> Vec<*const c_char> {
        super::launch::pointers(self.fixed.iter().chain(&self.of_start))
    }
}

fn too_long(variable: &CString) -> String {
    let bytes = variable.as_bytes();
    let name = bytes.split(|byte| *byte == b'=').next().unwrap_or_default();
    format!(
        "unable to set {} in the participant's environment: {} bytes with its name; {VARIABLE} are \
         allowed",
        name.escape_ascii(),
        bytes.len(),
    )
}

fn string(name: &str, value: &[u8]) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value].concat()).ok()
}
