//! A log directory for one test.

use super::super::*;
use std::boxed::Box;
use std::ffi::CString;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::string::{String, ToString};
use std::sync::atomic::{AtomicU32, Ordering};
use std::vec::Vec;
use std::{env, format, fs};

/// A path where nothing is yet; what is made there goes with it.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
    pub(super) name: &'static CStr,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

impl Scratch {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("multilog-test-{}-{n}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        // As a script names it: for the whole life of the program.
        let name = CString::new(path.to_str().unwrap()).unwrap();
        Self { path, name: Box::leak(name.into_boxed_c_str()) }
    }

    /// Opens the folder. A child of another test's thread holds copies of all our descriptors until
    /// it runs its program, and so a lock that was given back just now.
    pub(super) fn open(&self, settings: Settings) -> Folder {
        let end = time::monotonic() + 20 * time::SECOND;
        loop {
            match Folder::open(self.name, settings) {
                Ok(folder) => return folder,
                Err(code) => assert!(time::monotonic() < end, "still {code}"),
            }
        }
    }

    pub(super) fn put(&self, name: &str, content: &[u8], mode: u32) {
        fs::create_dir_all(&self.path).unwrap();
        let path = self.path.join(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(&path).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path.join(name).exists()
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path.join(name)).unwrap()
    }

    pub(super) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path.join(name)).unwrap().permissions().mode() & 0o7777
    }

    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.path).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().to_string()).collect();
        names.sort();
        names
    }

    pub(super) fn rotated(&self) -> Vec<String> {
        let mut names = self.names();
        names.retain(|name| name.starts_with('@'));
        names
    }

    /// All that is kept, in order.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut all: Vec<u8> = self.rotated().iter().flat_map(|name| self.read(name)).collect();
        all.extend(self.read("current"));
        all
    }
}
