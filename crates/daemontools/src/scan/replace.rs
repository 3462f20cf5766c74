//! USR1: svscan runs the program now on disk in its place. Its children stay its children.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use sys::linux::errno::Errno;
use sys::linux::fd::Fd;
use sys::linux::file::{self, HERE, flags};
use sys::linux::limit::{self, Limit, Resource};
use sys::linux::process;

/// Where svscan was started, and how.
pub(super) struct Origin {
    dir: Option<Fd>,
    argv: Vec<CString>,
    /// `NAME=VALUE` of the variable that was taken out of the environment.
    taken: Option<CString>,
    /// How many descriptors were allowed, where that was changed.
    files: Option<Limit>,
}

impl Origin {
    /// Remembers the current directory and the arguments, and takes all the descriptors that may
    /// be had: each supervise that an earlier svscan left needs one. `taken` is what svscan's next
    /// program finds in its environment again, and nobody else.
    #[must_use]
    pub(super) fn new(args: &[&'static OsStr], taken: Option<(&CStr, &CStr)>) -> Self {
        let own = process::exec_path().map(ToOwned::to_owned);
        let rest = args.iter().filter_map(|arg| CString::new(arg.as_bytes()).ok());
        let dir = file::open(HERE, c".", flags::O_PATH | flags::O_DIRECTORY, 0).ok();
        let taken = taken.and_then(|(name, value)| {
            CString::new([name.to_bytes(), b"=", value.to_bytes()].concat()).ok()
        });
        Self { dir, argv: own.into_iter().chain(rest).collect(), taken, files: raise() }
    }

    /// Gives this process, a child or the next svscan, the limit that we were given.
    pub(super) fn restore_limit(&self) {
        if let Some(files) = self.files {
            // Lowered meanwhile by somebody else: then that holds.
            let _ = limit::set(Resource::OpenFiles, files);
        }
    }

    /// Runs the program now on disk; returns only where that failed, with the reason.
    pub(super) fn replace(&self) -> Errno {
        self.restore_limit();
        let why = self.exec();
        let _ = raise();
        why
    }

    fn exec(&self) -> Errno {
        let (Some(path), Some(dir)) = (self.argv.first(), &self.dir) else {
            return Errno(libc::ENOENT);
        };
        let here = match file::open(HERE, c".", flags::O_PATH | flags::O_DIRECTORY, 0) {
            Ok(here) => here,
            Err(why) => return why,
        };
        if let Err(why) = file::chdir_fd(dir.raw()) {
            return why;
        }
        let argv = self.argv.iter().map(|arg| arg.as_ptr()).chain([std::ptr::null()]);
        let argv: Vec<_> = argv.collect();
        let taken = self.taken.iter().map(|variable| variable.as_ptr());
        let envp = process::variables().map(CStr::as_ptr).chain(taken);
        let envp: Vec<_> = envp.chain([std::ptr::null()]).collect();
        let why = process::exec_with(path, &argv, &envp);
        let _ = file::chdir_fd(here.raw());
        why
    }
}

/// Raises the soft limit of descriptors to the hard one; returns what it was, where it was lower.
fn raise() -> Option<Limit> {
    let files = limit::get(Resource::OpenFiles).ok().filter(|files| files.soft < files.hard)?;
    limit::set(Resource::OpenFiles, Limit { soft: files.hard, ..files }).ok()?;
    Some(files)
}
