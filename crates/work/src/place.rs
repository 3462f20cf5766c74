//! The folder that a store lives in: names and modes.

use crate::trouble::Trouble;
use linux::process;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Group `skynet` reads, nobody else does anything.
const FOLDER_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
/// Until it has the other.
const BORN: u32 = 0o600;
/// Whoever can ring a taker can keep it busy.
const TAKERS_MODE: u32 = 0o700;

/// The folder of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// Names the folder; nothing is made.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the path of the database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.folder.join("work.db")
    }

    /// Tells whether nothing is stored here yet: what there is of the files of a store is empty.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        let is_empty = |path| {
            fs::metadata(path)
                .map_or_else(|e| e.kind() == ErrorKind::NotFound, |found| found.len() == 0)
        };
        is_empty(self.database()) && is_empty(self.log())
    }

    /// What was changed last, and is not in the database yet.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("work.db-wal")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.folder.join("work.lock")
    }

    pub(crate) fn turn(&self) -> PathBuf {
        self.folder.join("work.turn")
    }

    pub(crate) fn takers(&self) -> PathBuf {
        self.folder.join("takers")
    }

    /// Makes what is missing, with its modes whatever the umask. What is there keeps its own.
    pub(crate) fn make(&self) -> Result<(), Trouble> {
        make_folder(&self.folder, FOLDER_MODE, None)?;
        make_folder(&self.takers(), TAKERS_MODE, None).map_err(|why| self.tell_owner(why))
    }

    /// Adds whose the folder is, where that is why nothing may be made in it.
    fn tell_owner(&self, why: Trouble) -> Trouble {
        let owner = fs::metadata(&self.folder).map(|folder| folder.uid());
        match (why, owner) {
            (Trouble::Io { verb, path, source }, Ok(owner))
                if source.kind() == ErrorKind::PermissionDenied && owner != process::euid() =>
            {
                let text = format!(
                    "permission denied; {} belongs to user {owner}, and must belong to exo's worker, user {}",
                    self.folder.display(),
                    process::euid()
                );
                Trouble::Io { verb, path, source: io::Error::new(source.kind(), text) }
            }
            (why, _) => why,
        }
    }
}

/// Tells files apart whatever their names: device and inode.
pub(crate) type Identity = (u64, u64);

/// Returns what has a name.
pub(crate) fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Makes a folder with this mode where there is none, and in it one that is ours alone, where that has
/// a name. It gets its own name last: killed on the way, the next life finds none, and not one that
/// nobody may use, or in which others were faster.
pub(crate) fn make_folder(path: &Path, mode: u32, inside: Option<&str>) -> Result<(), Trouble> {
    if path.is_dir() {
        return Ok(());
    }
    let mut new = OsString::from(".");
    new.push(path.file_name().unwrap_or_default());
    new.push(".new");
    let new = path.with_file_name(new);
    // Where it is there, it is of a life that was killed, or of another that begins right now.
    let done = make_private(&new);
    let done = done.and_then(|()| inside.map_or(Ok(()), |name| make_inside(&new, name)));
    let done = done.and_then(|()| fs::set_permissions(&new, Permissions::from_mode(mode)));
    // What is not empty is not replaced.
    if let Err(e) = done.and_then(|()| fs::rename(&new, path)) {
        if !path.is_dir() {
            return Err(Trouble::io("make", path, e));
        }
        // Another was faster.
        let _ = inside.map(|name| fs::remove_dir(new.join(name)));
        let _ = fs::remove_dir(&new);
    }
    // Its name too must survive a power cut; what is in it is SQLite's to see to.
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    let above = File::open(above.unwrap_or(Path::new(".")));
    let synced = above.and_then(|above| above.sync_all());
    synced.map_err(|e| Trouble::io("write the folder of", path, e))
}

fn make_private(path: &Path) -> io::Result<()> {
    let done = DirBuilder::new().mode(0o700).create(path);
    done.or_else(|e| if path.is_dir() { Ok(()) } else { Err(e) })
}

fn make_inside(folder: &Path, name: &str) -> io::Result<()> {
    make_private(&folder.join(name))?;
    // No power cut may leave the folder without it.
    File::open(folder)?.sync_all()
}

/// Gives a file the mode that it is to have, where an earlier life was killed at making it.
pub(crate) fn mend_mode(path: &Path, found: &fs::Metadata) -> Result<(), Trouble> {
    if found.len() > 0 || found.permissions().mode() & 0o777 != BORN {
        return Ok(());
    }
    let set = fs::set_permissions(path, Permissions::from_mode(FILE_MODE));
    set.map_err(|e| Trouble::io("set the mode of", path, e))
}

/// Opens a file for reading and writing and makes it, empty, where there is none.
pub(crate) fn open_file(path: &Path) -> Result<File, Trouble> {
    let open = |options: &mut OpenOptions| options.read(true).write(true).mode(BORN).open(path);
    match open(OpenOptions::new().create_new(true)) {
        Ok(file) => {
            let set = file.set_permissions(Permissions::from_mode(FILE_MODE));
            set.map_err(|e| Trouble::io("set the mode of", path, e))?;
            Ok(file)
        }
        Err(_) => open(&mut OpenOptions::new()).map_err(|e| Trouble::io("open", path, e)),
    }
}
