//! Services and participants of older systems, as `skynet import` reads them: supervisor's programs,
//! config.exo folders, INI configuration.

pub mod find;
pub mod handler;
pub mod ini;
mod participant;
mod program;

use crate::failure::Failure;
use crate::screen::clean;
use crate::tree::Made;
use std::borrow::Cow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What was found of one service.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The file that says so.
    pub file: PathBuf,
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
        /// Sections for its own code.
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
    fn of(key: &ini::Key, text: &str) -> Self {
        Self { line: key.line, text: format!("{}: {text}", key.name) }
    }

    /// Of something secret in the value of a key.
    fn secret(key: &ini::Key, name: &str) -> Self {
        let text = format!(
            "{name} was not carried over: what is installed can be read by everybody; put it where \
             nobody else reads it"
        );
        Self { line: key.line, text }
    }
}

/// Says so where others may not read a file: what comes of it they may.
fn opened(file: &Path) -> Option<Note> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode();
    let text = "others may not read this file, and everybody can read what came of it";
    (mode & 0o004 == 0).then(|| Note { line: 1, text: text.to_owned() })
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
    pub fn directory(&self) -> Result<Directory, Failure> {
        let mut made = match &self.kind {
            Kind::Participant { keys, sections } => participant::directory(self, keys, sections)?,
            Kind::Program { keys } => program::directory(&self.name, &self.file, keys)?,
        };
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
