//! svscanboot, with programs in the places of svc, svscan and readproctitle that tell how they
//! were called: it must never reach the services of the machine that runs the tests.

// A helper of a test may fail as the test itself may.
#![allow(clippy::unwrap_used)]

mod script;

use script::{Folder, Outcome};
use testkit::program;

const STUBS: &str = r#"
mkdir bin
printf '#!/bin/sh\necho "svc $*" >>%s\n' "$PWD/log" >bin/svc
printf '#!/bin/sh\nenv | grep -v PWD | sort >%s; echo "svscan $*"; echo trouble >&2\n' "$PWD/env" \
    >bin/svscan
printf '#!/bin/sh\nfor last; do :; done; echo "$1 $2 $# ${#last}" >>%s; cat >>%s\n' \
    "$PWD/log" "$PWD/log" >bin/readproctitle
chmod 755 bin/*
sed "s|^PATH=.*|PATH=$PWD/bin:/usr/bin:/bin|; s|/etc/service|$PWD/etc|; s|\\([ =]\\)/service|\\1$PWD/root|g" \
    "$0" >boot
chmod 755 boot
"#;

fn run(script: &str) -> Outcome {
    let boot = program("svscanboot").canonicalize().unwrap();
    let show = "sed \"s|$PWD/||g\" log";
    Folder::new().run(&boot, &format!("{STUBS}\n{script}\n{show}"))
}

fn log_of(folder: &str, left: &str) -> String {
    format!("svc -dx {left}\nservice errors: 3 400\nsvscan {folder}\ntrouble\n")
}

#[test]
fn the_folder_of_the_argument_is_scanned_and_what_was_left_there_is_ended() {
    for name in ["sv", "sv/"] {
        let script = format!("SECRET=1 ./boot {name}");
        let outcome = run(&format!("mkdir -p sv/a/log sv/b; {script} </dev/zero"));
        let expected = log_of("sv", "sv/a sv/b sv/a/log");
        assert_eq!(outcome, Outcome { stdout: expected, stderr: String::new(), code: 0 });
    }
}

#[test]
fn without_an_argument_debians_folder_comes_before_upstreams() {
    let outcome = run("mkdir -p root/a etc/b; ./boot");
    assert_eq!(outcome.stdout, log_of("etc", "etc/b etc/*/log"));
    let outcome = run("mkdir -p root/a; ./boot");
    assert_eq!(outcome.stdout, log_of("root", "root/a root/*/log"));
    let outcome = run("./boot");
    assert_eq!(outcome.stdout, log_of("etc", "etc/* etc/*/log"));
}

#[test]
fn services_get_the_path_the_way_that_rules_and_where_supervise_folders_are() {
    let path = "PATH=bin:/usr/bin:/bin\n";
    let show = "sed \"s|$PWD/||g\" env; : >log";
    let outcome = run(&format!("SECRET=1 ./boot sv; {show}"));
    assert_eq!(outcome.stdout, path);
    let outcome = run(&format!("DAEMONTOOLS_COMPAT=encore ./boot sv; {show}"));
    assert_eq!(outcome.stdout, format!("DAEMONTOOLS_COMPAT=encore\n{path}"));
    let outcome = run(&format!("SUPERVISEDIR=/run/sv ./boot sv; {show}"));
    assert_eq!(outcome.stdout, format!("{path}SUPERVISEDIR=/run/sv\n"));
}
