//! Small files that are replaced as a whole, in a folder of our own that has one lock.

use crate::failure::Failure;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use sys::linux::fd::Fd;
use sys::linux::file::{self, HERE, flags};

/// Takes the lock of a folder, as long as what is returned lives; `None` = somebody else has it.
///
/// # Errors
/// As open(2).
pub fn lock(folder: &Path) -> Result<Option<Fd>, Failure> {
    let path = folder.join("lock");
    let c_path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let how = flags::O_RDONLY | flags::O_CREAT | flags::O_NOFOLLOW;
    let lock = file::open(HERE, &c_path, how, 0o600);
    let lock = lock.map_err(|why| Failure::errno("open", path.display(), why))?;
    Ok(file::lock_now(lock.raw()).is_ok().then_some(lock))
}

/// Writes a file of a folder anew, with this mode whatever the umask. `safely`: a power cut does not
/// take it back any more.
///
/// # Errors
/// As write(2); what was there before stays then.
pub fn replace(folder: &Path, name: &str, mode: u32, bytes: &[u8], safely: bool) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    let write = || -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(mode);
        let mut file = options.custom_flags(flags::O_NOFOLLOW).open(&new)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        if safely { file.sync_all() } else { Ok(()) }
    };
    if let Err(why) = write().and_then(|()| fs::rename(&new, folder.join(name))) {
        let _ = fs::remove_file(&new);
        return Err(why);
    }
    // Its name, too.
    if safely { File::open(folder)?.sync_all() } else { Ok(()) }
}
