//! The store of the instance, for reading.

use crate::failure::Failure;
use crate::here::Here;
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use sys::account;
use sys::linux::file::{self, HERE};
use work::{Place, Reader};

/// Group that may read a system's store.
const READERS: &str = "skynet";

/// Opens the store for reading; `None` where no participant has worked yet, so that there is none.
///
/// # Errors
/// It may not be read, which tells who may; or it cannot be used.
pub fn read(here: &Here) -> Result<Option<Reader>, Failure> {
    let place = Place::new(&here.places().store);
    let path = place.database();
    match fs::symlink_metadata(&path) {
        // Whoever makes one was stopped on the way, and goes on with the next start.
        Ok(found) if found.is_file() && place.is_unused() => return Ok(None),
        Ok(found) if found.is_file() => {}
        Ok(_) => {
            let line = format!("unable to use {}: not a regular file", path.display());
            return Err(Failure::trouble(line));
        }
        Err(why) if why.kind() == ErrorKind::NotFound => {
            // Where its log is left, that tells that it is lost.
            return if place.is_unused() { Ok(None) } else { Ok(Some(Reader::open(&place)?)) };
        }
        Err(why) if why.kind() == ErrorKind::PermissionDenied => return Err(denied(&place)),
        Err(why) => return Err(Failure::io("examine", path.display(), &why)),
    }
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    if !file::is_readable(HERE, &name) {
        return Err(denied(&place));
    }
    Ok(Some(Reader::open(&place)?))
}

/// Says who may read it.
fn denied(place: &Place) -> Failure {
    let whose = fs::metadata(place.folder()).ok();
    let owner = whose.as_ref().map(MetadataExt::uid).filter(|uid| *uid != 0);
    let owner = owner.map(|uid| match account::name_of(uid) {
        Some(name) => format!("user {}", String::from_utf8_lossy(&name)),
        None => format!("user {uid}"),
    });
    let readers = whose.map(|whose| whose.gid());
    let is_shared = readers.is_some() && readers == account::find_group(READERS.as_bytes());
    let readers = is_shared.then(|| format!("members of group {READERS}"));
    let who = [Some("root".to_owned()), owner, readers].into_iter().flatten().collect::<Vec<_>>();
    let who = match who.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => who.concat(),
    };
    let path = place.database();
    Failure::trouble(format!("unable to read {}: access denied; {who} may", path.display()))
}
