//! Services and participants of older systems, as `skynet import` reads them: supervisor's programs,
//! config.exo folders, INI configuration.

pub(crate) mod again;
mod configuration;
mod expand;
pub mod find;
pub mod handler;
pub mod ini;
mod participant;
mod program;

use crate::failure::Failure;
use crate::here::Here;
use crate::screen::clean;
use crate::tree::{Made, Readers};
use exo::config::OWN_FILE;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is made of the file itself.
const RUN: &str = "run";

/// What was found of one service.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The file that says so.
    pub file: PathBuf,
    /// Others may read it.
    pub is_open: bool,
    /// How it is run.
    pub kind: Kind,
    /// What holds for all services of the file, and what was passed over in it.
    pub notes: Vec<Note>,
}

/// How a service is run.
#[derive(Clone, Debug)]
pub enum Kind {
    /// It works on items: its keys, and sections for its own code.
    Participant {
        /// Keys of `[participant]`, of config.exo, and of the program that ran it.
        keys: Vec<ini::Key>,
        /// Sections of its configuration that are for its own code.
        sections: Vec<ini::Section>,
    },
    /// A program that runs for ever.
    Program {
        /// Keys of `[program:NAME]`.
        keys: Vec<ini::Key>,
    },
}

/// What is not carried over, or not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Line of the file.
    pub line: usize,
    /// What.
    pub text: String,
}

impl Note {
    /// Of a key, which is named with its section.
    fn of(key: &ini::Key, text: &str) -> Self {
        Self { line: key.line, text: format!("{}: {text}", place(key)) }
    }

    /// Of a value that Python 2 read otherwise.
    fn of_comment(key: &ini::Key) -> Option<Self> {
        let text = "a blank, ; and what follows belong to the value, as Python 3 reads it; to Python 2 they \
                    were a comment: take them out where they are one";
        ini::had_comment(key).then(|| Self::of(key, text))
    }

    /// Of what is left out, which `what` names, as what is secret: why, or where it goes instead.
    fn left_out(line: usize, what: &str, instead: &str) -> Self {
        Self { line, text: format!("{what} was not carried over: {instead}") }
    }
}

/// Returns the pattern that a participant was installed or imported with.
pub(crate) fn pattern(config: &RawValue) -> Option<String> {
    told(config, "regexp")
}

/// Returns the queue that a participant is told that it has.
pub(crate) fn queue(config: &RawValue) -> Option<String> {
    told(config, "queue")
}

/// Returns a text below `participant` in `config` of exo.yaml.
fn told(config: &RawValue, key: &str) -> Option<String> {
    #[derive(Default, Deserialize)]
    struct Config<'a> {
        #[serde(borrow, default)]
        participant: BTreeMap<String, &'a RawValue>,
    }
    // What has another form is the participant's own affair.
    let config: Config<'_> = serde_json::from_str(config.get()).unwrap_or_default();
    let value = config.participant.get(key)?;
    serde_json::from_str(value.get()).ok().filter(|text: &String| !text.is_empty())
}

/// Says what becomes of `autostart`.
fn autostart(value: &str) -> &'static str {
    if ["false", "no", "off", "0"].contains(&value.to_ascii_lowercase().as_str()) {
        "it stays disabled, as all that is made here"
    } else {
        "nothing is enabled yet: skynet enable"
    }
}

/// Returns how a key is called, with its section.
fn place(key: &ini::Key) -> String {
    match key.section.as_str() {
        "" => key.name.clone(),
        section => format!("[{section}] {}", key.name),
    }
}

/// A directory to be made.
#[derive(Clone, Debug)]
pub struct Directory {
    /// Its files.
    pub files: Vec<Made>,
    /// What is not carried over.
    pub notes: Vec<Note>,
}

impl Found {
    /// Makes the directory of the service.
    ///
    /// # Errors
    /// Something without which it cannot run is missing or cannot be read.
    pub fn directory(&self, here: &Here) -> Result<Directory, Failure> {
        let mut made = match &self.kind {
            Kind::Participant { keys, sections } => {
                participant::directory(self, keys, sections, here)?
            }
            Kind::Program { keys } => program::directory(&self.name, &self.file, keys)?,
        };
        if !self.is_open {
            // Whatever a key is called, its value may be a secret.
            for file in made.files.iter_mut().filter(|file| [OWN_FILE, RUN].contains(&&*file.path))
            {
                file.readers = Readers::Members;
            }
            let who = if here.is_system() { "root and group skynet" } else { "you" };
            let own = format!("{}.conf", self.name);
            let has_own = here.is_system() && made.files.iter().any(|file| file.path == own);
            let but = if has_own {
                format!(", but {own} for root and the participant's user")
            } else {
                String::new()
            };
            let text =
                format!("others may not read this file: what came of it is for {who} alone{but}");
            made.notes.push(Note { line: 1, text });
        }
        made.notes.extend(self.notes.iter().cloned());
        made.notes.sort_by_key(|note| note.line);
        Ok(made)
    }
}

/// Returns a file's folder.
fn folder_of(file: &Path) -> &Path {
    file.parent().unwrap_or(Path::new("."))
}

/// Returns the name of a file for a comment, which it must not end.
fn shown(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    clean(&name).into_owned()
}

/// Returns a text as YAML, which JSON's texts are.
pub(crate) fn yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Returns a text as a word of sh.
fn quoted(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}
