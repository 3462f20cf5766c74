//! The same script of exchanges with the participants of each kit.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod examples;
mod older;
mod page;
mod per_item;
mod persistent;
mod python;
mod templates;
mod walk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use testkit::exo::Program;

/// An item whose numbers few programs would write in this way.
const ODD: &str = r#"{"fei":{"wfid":"w-1"}, "n":[-0,1.0,1.50,1E400,123456789012345678901234567890], "fields":{"do":"DO","é":"\ud800","params":{"unit":"MB"}}}"#;

fn odd(task: &str) -> String {
    ODD.replace("DO", task)
}

/// The same with ordinary numbers and texts.
fn plain(task: &str) -> String {
    odd(task).replace("1E400", "1e3").replace("\\ud800", "")
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Ways in which a child that was forked during the work may end, and with which code.
const FORKS: [(&str, i32); 6] =
    [("exit", 5), ("raise", 1), ("return", 0), ("look", 7), ("twice", 9), ("term", 0)];

/// What work may call `sys.exit` with, and the code and the text of the fault that it is.
const EXITS: [(&str, i32, &str); 5] = [
    ("null", 1, "work called sys.exit"),
    ("0", 1, "work called sys.exit"),
    ("5", 5, "work called sys.exit(5)"),
    ("256", 1, "work called sys.exit(256)"),
    ("\"no more\"", 1, "no more"),
];

/// An item by which a child is forked.
fn fork(how: &str) -> String {
    format!(r#"{{"fields":{{"do":"fork","how":"{how}"}}}}"#)
}

/// Every Python 3 in `$PATH`, and those whose paths `$SKYNET_PYTHONS` lists (`:` between them).
fn pythons() -> &'static [PathBuf] {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(look_for_pythons)
}

fn look_for_pythons() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).unwrap_or_default();
    let (path, named) = (variable("PATH"), variable("SKYNET_PYTHONS"));
    let folders = std::env::split_paths(&path);
    let files =
        folders.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let in_path = files.map(|entry| entry.path()).filter(|file| is_python(file));
    let named = std::env::split_paths(&named).filter(|file| !file.as_os_str().is_empty());
    // A name that leads nowhere is no Python; two that lead to the same are one.
    let found: BTreeSet<PathBuf> = in_path.chain(named).filter_map(|file| real(&file)).collect();
    assert!(!found.is_empty(), "no python3 in PATH: install the package python3");
    found.into_iter().collect()
}

fn is_python(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Some(minor) = name.strip_prefix("python3") else { return false };
    minor.trim_start_matches('.').bytes().all(|byte| byte.is_ascii_digit())
}

fn real(file: &Path) -> Option<PathBuf> {
    let ask = "import os, sys; print(os.path.realpath(sys.executable))";
    let said = testkit::run(Command::new(file).args(["-c", ask]));
    (said.code == Some(0)).then(|| PathBuf::from(said.out().trim_end()))
}

fn python(interpreter: &Path, arguments: &[&str]) -> Program {
    let mut command = vec![interpreter.to_str().expect("UTF-8").to_owned()];
    command.extend(["-W", "error", "-X", "dev"].map(str::to_owned));
    command.extend(arguments.iter().map(|&argument| argument.to_owned()));
    let package = here().join("python").to_str().expect("UTF-8").to_owned();
    let environment = vec![
        ("PYTHONPATH".to_owned(), package),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
    ];
    Program { command, environment }
}

/// The participant that does what an item says, in each kit.
fn kits() -> Vec<Program> {
    let built = std::env::current_exe().expect("path").parent().expect("deps").join("../examples");
    let rust = built.join("conform").to_str().expect("UTF-8").to_owned();
    assert!(Path::new(&rust).is_file(), "{rust} is missing: cargo test builds it");
    let mut kits = vec![Program { command: vec![rust], environment: Vec::new() }];
    kits.extend(pythons().iter().map(|interpreter| conform(interpreter)));
    kits
}

/// The one of them that is in Python.
fn conform(interpreter: &Path) -> Program {
    let file = here().join("python/tests/conform.py");
    python(interpreter, &[file.to_str().expect("UTF-8")])
}
