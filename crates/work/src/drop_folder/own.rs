//! The folder in a drop folder that is ours alone: what was taken away lies there until it is recorded.

use super::{FOLDER_MODE, TAKEN};
use crate::place::make_folder;
use crate::trouble::Trouble;
use linux::process;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

/// Makes a drop folder where there is none.
pub(super) fn make(path: &Path) -> Result<(), Trouble> {
    // Everybody may put what they like there as soon as it has its name: ours is in it by then.
    make_folder(path, FOLDER_MODE, Some(TAKEN))?;
    let taken = path.join(TAKEN);
    // An exo of before gave the folder its name first, and may have been killed then.
    match DirBuilder::new().mode(0o700).create(&taken) {
        Ok(()) => {
            let synced = File::open(path).and_then(|folder| folder.sync_all());
            synced.map_err(|e| Trouble::io("write", path, e))
        }
        // Whose it is, is looked at each time it is used.
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(Trouble::io("make", &taken, e)),
    }
}

/// Refuses what somebody else put in the place of ours: they could take away what lies there, or lead us
/// to what is none of theirs.
pub(super) fn check(taken: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(taken)?;
    let (mode, is_ours) = (found.mode() & 0o7777, found.uid() == process::euid());
    let why = if !found.is_dir() {
        "it is no folder; move it away, and exo makes its own".to_owned()
    } else if !is_ours {
        format!("it belongs to user {}; move it away, and exo makes its own", found.uid())
    } else if mode & 0o022 != 0 {
        format!("others may write there (mode {mode:04o}); look what is in it, and chmod 0700 it")
    } else {
        return Ok(());
    };
    Err(io::Error::other(why))
}
