//! One small run from end to end. What it measures is nobody's business here.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The suites that a table shows when their scanner is on the machine.
const SUITES: [(&str, &str); 4] = [
    ("daemontools", "/usr/bin/svscan"),
    ("daemontools, static", "../../target/bench/daemontools-static/svscan"),
    ("runit", "/usr/bin/runsvdir"),
    ("s6", "/usr/bin/s6-svscan"),
];

#[test]
fn a_row_has_a_figure_for_every_suite_on_the_machine() {
    let probe = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    if !probe.unwrap().status.success() {
        eprintln!("not run: namespaces need root, and a container that allows them");
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tiny = Command::new(here.join("prepare")).arg("tiny").status().unwrap();
    assert!(tiny.success(), "the tiny programs need musl-gcc (package musl-tools)");
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let run = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["up", "--rounds", "1", "--services", "3", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{}: {said}", run.status);
    let table = String::from_utf8(run.stdout).unwrap();
    assert_eq!(table.trim(), std::fs::read_to_string(out.join("benchmarks.md")).unwrap().trim());

    let cells = |start| -> Vec<&str> {
        let line = table.lines().find(|line| line.starts_with(start)).unwrap();
        line.split('|').map(str::trim).collect()
    };
    let (names, figures) = (cells("| measure |"), cells("| bring-up of 3 services, ms |"));
    let here = SUITES.iter().filter(|(_, scanner)| here.join(scanner).exists());
    for name in here.map(|(name, _)| *name).chain(["floor"]) {
        let at = names.iter().position(|cell| *cell == name);
        let figure = figures[at.unwrap_or_else(|| panic!("no {name} in {table}"))];
        assert!(figure.starts_with(|c: char| c.is_ascii_digit()), "{name}: {figure}\n{said}");
    }
}
