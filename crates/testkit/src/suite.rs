//! The original daemontools beside ours.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Whose programs a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// The distribution's daemontools, in /usr/bin; `ORIGINAL_BIN` names another folder.
    Original,
    /// Ours, see [`program`].
    Ours,
}

impl Suite {
    /// Returns the path of one of its programs.
    ///
    /// # Panics
    /// Where it is not there.
    #[must_use]
    pub fn program(self, name: &str) -> PathBuf {
        match self {
            Self::Ours => program(name),
            Self::Original => {
                let folder = std::env::var_os("ORIGINAL_BIN").unwrap_or("/usr/bin".into());
                let path = Path::new(&folder).join(name);
                assert!(path.is_file(), "{}: install the package daemontools", path.display());
                path
            }
        }
    }
}

/// Returns the path of one of our programs, as users run it: a static release build.
///
/// `SKYNET_BIN` names another folder with the programs.
///
/// # Panics
/// Where it was not built; `tests/build` builds all.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/x86_64-unknown-linux-musl/release");
    let path = std::env::var_os("SKYNET_BIN").map_or(built, PathBuf::from).join(name);
    assert!(path.is_file(), "{} is missing: run tests/build first", path.display());
    path
}

/// Builds a program of this tree that users do not get ready-made, such as a participant among the
/// templates and examples, and returns its path.
///
/// # Panics
/// Where it cannot be built.
#[must_use]
pub fn built(package: &str) -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(status.expect("cargo").success(), "{package} cannot be built");
    // A test's program is in `deps`.
    let test = std::env::current_exe().expect("a path");
    test.parent().expect("deps").with_file_name(package)
}
