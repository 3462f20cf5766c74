//! Folders of files: those that this program carries, those that it makes, those that it copies.

pub mod copy;
pub mod given;
pub mod text;

use crate::failure::Failure;
use std::borrow::Cow;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Mode of folders and programs, and of files.
const PROGRAM: u32 = 0o755;
const PLAIN: u32 = 0o644;
/// What is left of it where nobody else reads.
const OWN: u32 = 0o700;

/// Who reads a file besides its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    All,
    /// Where root installs, group `skynet`, which asks and looks; nobody else.
    Members,
    /// Where root installs, the group of the participant's user; nobody else.
    Participant,
    /// Nobody.
    Owner,
}

/// A file to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where, below its folder.
    pub path: String,
    /// It can be run.
    pub is_program: bool,
    /// Who reads it.
    pub readers: Readers,
    /// What is in it.
    pub text: Cow<'static, str>,
}

impl Made {
    /// A file.
    #[must_use]
    pub fn plain(path: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.to_owned(), is_program: false, readers: Readers::All, text: text.into() }
    }

    /// A program.
    #[must_use]
    pub fn program(path: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.to_owned(), is_program: true, readers: Readers::All, text: text.into() }
    }

    /// The same for these.
    #[must_use]
    pub fn read_by(self, readers: Readers) -> Self {
        Self { readers, ..self }
    }
}

/// A file that is not for all, and whom it is for.
pub type Closed = (String, Readers);

/// Returns which of some files are not for all.
#[must_use]
pub fn closed(files: &[Made]) -> Vec<Closed> {
    let closed = files.iter().filter(|file| file.readers != Readers::All);
    closed.map(|file| (file.path.clone(), file.readers)).collect()
}

/// Writes files below a folder that is there, where nobody else can write; none of them is there yet.
/// What is not for all is its owner's alone, until others are let in.
///
/// # Errors
/// As open(2) and write(2).
pub fn write(folder: &Path, files: &[Made]) -> Result<(), Failure> {
    for file in files {
        let path = folder.join(&file.path);
        let above = path.parent().unwrap_or(folder);
        let mode = if file.is_program { PROGRAM } else { PLAIN };
        let mode = if file.readers == Readers::All { mode } else { mode & OWN };
        let written =
            DirBuilder::new().recursive(true).mode(PROGRAM).create(above).and_then(|()| {
                let mut out =
                    OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)?;
                out.write_all(file.text.as_bytes())?;
                out.sync_all()?;
                File::open(above)?.sync_all()
            });
        written.map_err(|why| Failure::io("write", path.display(), &why))?;
    }
    Ok(())
}
