//! Arrows point down only: programs, loops, decisions, bytes.

#![allow(clippy::expect_used, clippy::panic)]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A crate and what it may need, of ours and of others, in a build that users run.
struct Layer {
    name: &'static str,
    may_need: &'static [&'static str],
    no_std: bool,
}

const fn layer(name: &'static str, may_need: &'static [&'static str]) -> Layer {
    Layer { name, may_need, no_std: false }
}

const fn bare(name: &'static str, may_need: &'static [&'static str]) -> Layer {
    Layer { name, may_need, no_std: true }
}

/// The whole picture, lowest first. A crate may stand here before it exists.
const LAYERS: &[Layer] = &[
    bare("ondisk", &[]),
    bare("machine", &["ondisk"]),
    bare("linux", &["libc"]),
    layer("sys", &["linux", "nix", "signal-hook", "libc", "landlock", "seccompiler", "caps"]),
    bare("supervise", &["machine", "ondisk", "linux"]),
    bare("chain", &["ondisk", "linux"]),
    // libc for its constants; the calls are in `linux`.
    bare("client", &["ondisk", "linux", "libc"]),
    bare("multilog", &["machine", "ondisk", "linux"]),
    // libc for its constants here, too. memchr reads logs.
    layer("daemontools", &["client", "machine", "ondisk", "sys", "libc", "memchr"]),
    // libc for its constants here, too; linux for passwords, which are overwritten; futures-core for the trait that lapin's consumers have,
    // futures-io for that of its streams, rustls-pki-types for whom a certificate is to name.
    layer(
        "work",
        &[
            "linux",
            "machine",
            "rusqlite",
            "lapin",
            "tokio",
            "futures-core",
            "futures-io",
            "rustls-pki-types",
            "serde",
            "serde_json",
            "thiserror",
            "libc",
        ],
    ),
    // Below exo, which speaks its protocol. `linux` for descriptor 3, which std opens for nobody.
    layer("participant", &["linux", "serde", "serde_json"]),
    // A template of a participant and an example of one: what any author may need.
    layer("sizer", &["participant", "serde"]),
    layer("word-index", &["participant"]),
    layer(
        "exo",
        &[
            "participant",
            "work",
            "machine",
            "ondisk",
            "sys",
            "serde",
            "serde-saphyr",
            "serde_json",
            "clap",
            "log",
            "fern",
            "anyhow",
            "thiserror",
        ],
    ),
    layer(
        "skynet",
        // exo for its configuration and the words of its control socket; machine for what the
        // notifier, a daemon, decides.
        &[
            "exo",
            "participant",
            "work",
            "daemontools",
            "machine",
            "ondisk",
            "sys",
            "serde",
            "serde_json",
            "clap",
            "clap_complete",
            "log",
            "anstyle",
            "glob",
            "regex-lite",
            "strsim",
            "unicode-width",
        ],
    ),
    // participant and serde_json: its double of exo speaks the protocol.
    layer(
        "testkit",
        &["ondisk", "linux", "sys", "libc", "nix", "tempfile", "participant", "serde_json"],
    ),
    layer(
        "bench",
        &[
            "libc",
            "linux",
            "machine",
            "nix",
            "ondisk",
            "participant",
            "rusqlite",
            "testkit",
            "work",
        ],
    ),
    layer("tests", &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packages() -> Vec<Value> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).expect("cargo writes JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is a string in {value}"))
}

fn layer_of(name: &str) -> &'static Layer {
    LAYERS
        .iter()
        .find(|layer| layer.name == name)
        .unwrap_or_else(|| panic!("crate {name} has no place in the table of this test"))
}

/// Yields name and kind (`normal`, `dev`, `build`) of each dependency.
fn dependencies(package: &Value) -> impl Iterator<Item = (&str, &str)> {
    package["dependencies"]
        .as_array()
        .expect("a list of dependencies")
        .iter()
        .map(|d| (text(d, "name"), d["kind"].as_str().unwrap_or("normal")))
}

#[test]
fn every_crate_needs_only_what_lies_below_it() {
    for package in packages() {
        let layer = layer_of(text(&package, "name"));
        for (needed, kind) in dependencies(&package) {
            assert!(
                kind == "dev" || layer.may_need.contains(&needed),
                "{} may not need {needed} ({kind})",
                layer.name
            );
        }
    }
}

#[test]
fn the_table_itself_has_no_arrow_upwards() {
    for (i, layer) in LAYERS.iter().enumerate() {
        for needed in layer.may_need {
            let above = LAYERS[i..].iter().any(|other| other.name == *needed);
            assert!(!above, "{} needs {needed}, which is not below it", layer.name);
        }
    }
}

#[test]
fn testkit_is_only_ever_a_dev_dependency() {
    // The benchmarks are no program that anybody installs.
    for package in packages().iter().filter(|package| package["name"] != "bench") {
        for (needed, kind) in dependencies(package) {
            let name = text(package, "name");
            assert!(needed != "testkit" || kind == "dev", "{name} needs testkit ({kind})");
        }
    }
}

#[test]
fn the_lower_crates_and_the_programs_per_service_are_without_std() {
    for package in packages() {
        let layer = layer_of(text(&package, "name"));
        for target in package["targets"].as_array().expect("a list of targets") {
            let kind = target["kind"][0].as_str().unwrap_or("");
            if layer.no_std && matches!(kind, "lib" | "bin") {
                let path = text(target, "src_path");
                let source = std::fs::read_to_string(path).expect("the crate's source");
                assert!(source.lines().any(|line| line == "#![no_std]"), "{path} needs no_std");
            }
        }
    }
}
