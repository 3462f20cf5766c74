//! The original's small programs beside ours: same script, same output, same exit code.
//!
//! Needs Debian's package `daemontools` and root, as the programs themselves do. What is different
//! on purpose stands in `DIFFERENCES`, each with its reason; a difference that is none any more
//! fails, too.

// A helper of a test may fail as the test itself may.
#![allow(clippy::unwrap_used)]

mod script;
mod small_cases;

use script::{Folder, Outcome};
use small_cases::{CASES, DIFFERENCES, Difference, LOADERS, RUNS};
use std::path::{Path, PathBuf};

fn original(program: &str) -> PathBuf {
    let path = Path::new("/usr/bin").join(program);
    assert!(path.is_file(), "{} is missing: install daemontools", path.display());
    path
}

struct Case {
    program: &'static str,
    /// What stands in `DIFFERENCES`.
    script: String,
    /// What is run.
    whole: String,
}

/// Every case: those of the table, and what any chain loader may be asked to run.
fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (program, script) in CASES {
        let script = (*script).to_owned();
        all.push(Case { program, whole: script.clone(), script });
    }
    for (program, arguments) in LOADERS {
        for run in RUNS {
            let whole = run.replace("LOADER", &format!("\"$0\" {arguments}"));
            all.push(Case {
                program,
                script: (*run).to_owned(),
                whole: format!("mkdir e; {whole}"),
            });
        }
    }
    all
}

fn is_about(difference: &Difference, case: &Case) -> bool {
    difference.programs.contains(&case.program) && difference.script == case.script
}

/// Compares, and says what is not as it should be.
fn judge(case: &Case, ours: &Outcome, theirs: &Outcome) -> Option<String> {
    let name = format!("{}: {}", case.program, case.script);
    let Some(difference) = DIFFERENCES.iter().find(|difference| is_about(difference, case)) else {
        return (ours != theirs)
            .then(|| format!("{name}\n  theirs   {theirs:?}\n  ours     {ours:?}"));
    };
    if ours == theirs {
        return Some(format!("{name}\n  no difference any more: {}", difference.reason));
    }
    let (stdout, stderr, code) = difference.ours;
    let stderr = stderr.replace("PROGRAM", case.program);
    let expected = Outcome { stdout: stdout.to_owned(), stderr, code };
    (*ours != expected).then(|| {
        format!("{name}\n  expected {expected:?}\n  ours     {ours:?}\n  {}", difference.reason)
    })
}

#[test]
fn the_small_programs_answer_as_the_originals_do() {
    assert!(is_root(), "needs root, as setuidgid does");
    let folder = Folder::new();
    let mut wrong = Vec::new();
    for case in cases() {
        let theirs = folder.run(&original(case.program), &case.whole);
        let ours = folder.run(&testkit::program(case.program), &case.whole);
        wrong.extend(judge(&case, &ours, &theirs));
    }
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line == "Uid:\t0\t0\t0\t0")
}

#[test]
fn every_difference_belongs_to_a_case() {
    let cases = cases();
    for difference in DIFFERENCES {
        for program in difference.programs {
            let is_there =
                cases.iter().any(|case| case.program == *program && is_about(difference, case));
            assert!(is_there, "{program}: {}", difference.script);
        }
    }
}
