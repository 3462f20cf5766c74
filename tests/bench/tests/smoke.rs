//! One small run from end to end. What it measures is nobody's business here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The suites that a table shows when their scanner is on the machine.
const SUITES: [(&str, &str); 4] = [
    ("daemontools", "/usr/bin/svscan"),
    ("daemontools, static", "../../target/bench/daemontools-static/svscan"),
    ("runit", "/usr/bin/runsvdir"),
    ("s6", "/usr/bin/s6-svscan"),
];

/// The loggers, and a limit.
const LOGGERS: [(&str, &str); 5] = [
    ("multilog", "/usr/bin/multilog"),
    ("multilog, static", "../../target/bench/daemontools-static/multilog"),
    ("svlogd", "/usr/bin/svlogd"),
    ("s6-log", "/usr/bin/s6-log"),
    ("cat >file", "/bin/cat"),
];

/// Who works off items.
const WORKERS: [(&str, &str); 3] = [
    ("exo", "../../target/x86_64-unknown-linux-musl/release/exo"),
    ("SQLite", "/bin/sh"),
    ("floor", "/bin/sh"),
];

/// Who looks at services.
const LOOKERS: [(&str, &str); 3] = [
    ("skynet", "../../target/x86_64-unknown-linux-musl/release/skynet"),
    ("svstat", "/usr/bin/svstat"),
    ("supervisorctl", "../../target/bench/supervisor/bin/supervisorctl"),
];

#[test]
fn a_row_of_looking_has_a_figure_for_all_that_look_at_services_on_the_machine() {
    let Some((table, said)) = table_of("overview", "benchmarks-look.md") else { return };
    figures_are_there(&table, &said, "| the state of 3 services, ms |", &LOOKERS);
}

#[test]
fn a_row_of_the_logger_has_a_figure_for_every_logger_on_the_machine() {
    let Some((table, said)) = table_of("logger-single", "benchmarks-logger.md") else { return };
    figures_are_there(&table, &said, "| processor time of a line that comes alone, µs |", &LOGGERS);
}

#[test]
fn a_row_of_the_queue_has_a_figure_for_all_that_work_on_the_machine() {
    let before = cgroups();
    let Some((table, said)) = table_of("queue-item", "benchmarks-queue.md") else { return };
    // The exos are killed, and take none of theirs away.
    assert_eq!(cgroups().difference(&before).collect::<Vec<_>>(), [""; 0]);
    let title = "| items a second, power-safe, a process for each |";
    figures_are_there(&table, &said, title, &WORKERS);
}

#[test]
fn the_row_of_the_kits_has_a_figure_of_each_and_the_table_says_what_the_others_are() {
    let Some((table, said)) = table_of("queue-kits", "benchmarks-queue.md") else { return };
    for kit in ["crate", "Python package"] {
        let title = format!("| items a second, power-safe, one participant by the {kit} |");
        figures_are_there(&table, &said, &title, &WORKERS[..1]);
    }
    assert!(table.contains("\n\nThe participant that stays is a bare loop in Rust"), "{table}");
}

#[test]
fn a_row_has_a_figure_for_every_suite_on_the_machine() {
    let Some((table, said)) = table_of("up", "benchmarks.md") else { return };
    let suites = [&SUITES[..], &[("floor", "/bin/sh")]].concat();
    figures_are_there(&table, &said, "| bring-up of 3 services, ms |", &suites);
}

/// Finds the cgroups that exos of a bench have here.
fn cgroups() -> BTreeSet<String> {
    let all = testkit::cgroups::own().and_then(|own| std::fs::read_dir(own).ok());
    let names = all.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("exo.noop")).collect()
}

/// Runs a row once; returns the table and what was said meanwhile. `None` where that is not
/// possible here.
fn table_of(row: &str, name: &str) -> Option<(String, String)> {
    // Rows of the queue measure on one folder of the disk.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let probe = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).output();
    if !probe.unwrap().status.success() {
        eprintln!("not run: namespaces need root, and a container that allows them");
        return None;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tiny = Command::new(here.join("prepare")).arg("tiny").status().unwrap();
    assert!(tiny.success(), "the tiny programs need musl-gcc (package musl-tools)");
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let run = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args([row, "--rounds", "1", "--services", "3", "--out"])
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{}: {said}", run.status);
    let table = String::from_utf8(run.stdout).unwrap();
    assert_eq!(table.trim(), std::fs::read_to_string(out.join(name)).unwrap().trim());
    Some((table, said))
}

/// Looks for a figure of each that is installed, in the line that starts so.
fn figures_are_there(table: &str, said: &str, line: &str, all: &[(&str, &str)]) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cells = |start| -> Vec<&str> {
        let line = table.lines().find(|line| line.starts_with(start)).unwrap();
        line.split('|').map(str::trim).collect()
    };
    let (names, figures) = (cells("| measure |"), cells(line));
    for (name, _) in all.iter().filter(|(_, program)| here.join(program).exists()) {
        let at = names.iter().position(|cell| cell == name);
        let figure = figures[at.unwrap_or_else(|| panic!("no {name} in {table}"))];
        assert!(figure.starts_with(|c: char| c.is_ascii_digit()), "{name}: {figure}\n{said}");
    }
}
