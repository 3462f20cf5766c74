//! Folders of files: those that this program carries, those that it makes, those that it copies.

pub mod copy;
pub mod given;

use crate::failure::Failure;
use std::borrow::Cow;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Mode of folders and programs, and of files.
const PROGRAM: u32 = 0o755;
const PLAIN: u32 = 0o644;

/// A file to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// Where, below its folder.
    pub path: String,
    /// It can be run.
    pub is_program: bool,
    /// What is in it.
    pub text: Cow<'static, str>,
}

impl Made {
    /// A file.
    #[must_use]
    pub fn plain(path: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.to_owned(), is_program: false, text: text.into() }
    }

    /// A program.
    #[must_use]
    pub fn program(path: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self { path: path.to_owned(), is_program: true, text: text.into() }
    }
}

/// Writes files below a folder that is there, where nobody else can write; none of them is there yet.
///
/// # Errors
/// As open(2) and write(2).
pub fn write(folder: &Path, files: &[Made]) -> Result<(), Failure> {
    for file in files {
        let path = folder.join(&file.path);
        let above = path.parent().unwrap_or(folder);
        let mode = if file.is_program { PROGRAM } else { PLAIN };
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
