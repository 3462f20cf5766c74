//! Test doubles and helpers; only ever a dev-dependency.

use std::path::{Path, PathBuf};

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
