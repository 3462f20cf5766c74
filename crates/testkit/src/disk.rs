//! A tiny file system that a test can fill up. Needs root.

use crate::scratch::{SLEEPER, Scratch};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

/// A tmpfs on `disk` in a scratch folder, seen only by this thread and what it starts.
pub struct Disk<'a> {
    scratch: &'a Scratch,
    path: PathBuf,
}

impl<'a> Disk<'a> {
    /// Mounts one with these options of tmpfs, `size=64k` or `nr_inodes=20`.
    ///
    /// # Panics
    /// Where that fails, as without root.
    #[must_use]
    pub fn mount(scratch: &'a Scratch, options: &str) -> Self {
        let path = scratch.join("disk");
        fs::create_dir(&path).expect("mkdir");
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: run the tests as root");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).expect("private");
        mount(Some("tmpfs"), &path, Some("tmpfs"), MsFlags::empty(), Some(options)).expect("mount");
        Self { scratch, path }
    }

    /// Makes a service directory `disk/NAME` with a service that runs until it is killed.
    #[must_use]
    pub fn service(&self, name: &str) -> PathBuf {
        self.scratch.service(&format!("disk/{name}"), SLEEPER)
    }

    /// Writes until not a byte more fits.
    ///
    /// # Panics
    /// Where it fails for another reason.
    pub fn fill(&self) {
        let mut file = fs::File::create(self.path.join("ballast")).expect("create");
        for piece in [&[0; 4096][..], &[0; 1]] {
            while file.write_all(piece).is_ok() {}
        }
    }

    /// Makes files until not one more can be made.
    ///
    /// # Panics
    /// Where there is no room even for their folder.
    pub fn use_up_inodes(&self) {
        fs::create_dir(self.path.join("ballast.d")).expect("mkdir");
        for n in 0.. {
            if fs::File::create(self.path.join(format!("ballast.d/{n}"))).is_err() {
                return;
            }
        }
    }

    /// Gives back what [`Disk::fill`] or [`Disk::use_up_inodes`] took.
    pub fn free(&self) {
        let _ = fs::remove_file(self.path.join("ballast"));
        let _ = fs::remove_dir_all(self.path.join("ballast.d"));
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        // Whose folder is gone cannot be found any more.
        let gone = self.scratch.kill_all();
        let unmounted = umount2(&self.path, MntFlags::MNT_DETACH);
        if !std::thread::panicking() {
            assert!(gone, "processes are left in {}", self.path.display());
            unmounted.expect("umount");
        }
    }
}
