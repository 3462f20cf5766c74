//! Has the program carry the templates of participants and what they need, file by file.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What the program calls them, and where they are in the tree.
const TREES: [(&str, &str); 9] = [
    ("PYTHON", "services/participants/python"),
    ("SHELL", "services/participants/shell"),
    ("RUST", "services/participants/rust"),
    ("PACKAGING", "services/packaging"),
    ("PYTHON_PACKAGE", "crates/participant/python/skynet"),
    ("SKYNET_PACKAGE", "crates/participant/python/SkyNET"),
    ("RUOTE_PACKAGE", "crates/participant/python/RuoteAMQP"),
    ("PARTICIPANT", "crates/participant/src"),
    ("LINUX", "crates/linux/src"),
];

/// What work in the tree leaves there.
const LEFT: [&str; 4] = ["__pycache__", "target", "Cargo.lock", "sizer"];

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var_os(name).map(PathBuf::from).unwrap_or_default();
    let root = variable("CARGO_MANIFEST_DIR").join("../..");
    let mut out = String::new();
    for (name, folder) in TREES {
        let folder = root.join(folder);
        let _ = writeln!(out, "pub(crate) const {name}: &[Given] = &[");
        list(&folder, "", &mut out)?;
        out.push_str("];\n");
    }
    fs::write(variable("OUT_DIR").join("given.rs"), out)
}

fn list(folder: &Path, below: &str, out: &mut String) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if LEFT.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{below}{name}");
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{path}/"), out)?;
            continue;
        }
        let is_program = is_program(&entry.path())?;
        let file = entry.path().canonicalize()?;
        println!("cargo::rerun-if-changed={}", file.display());
        let file = file.display().to_string();
        let _ = writeln!(out, "    Given({path:?}, {is_program}, include_str!({file:?})),");
    }
    Ok(())
}

fn is_program(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(path.metadata()?.permissions().mode() & 0o100 != 0)
}
