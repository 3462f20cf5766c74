//! `tests/check` finds what it says it finds.

#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn check(argument: &Path) -> Output {
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("check");
    Command::new(check).arg(argument).output().expect("tests/check runs")
}

/// Makes a tree of its own for one check; an earlier run's is thrown away.
fn tree(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("check").join(name);
    let _ = fs::remove_dir_all(&root);
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
        fs::write(path, text).expect("the file is written");
    }
    root
}

/// Asserts that a tree with this one file gets exactly this finding.
#[track_caller]
fn finds(path: &str, content: &str, line: usize, rule: &str) {
    let name = format!("{rule}-{line}-{}", path.replace('/', "-"));
    let root = tree(&name, &[(path, content)]);
    let out = check(&root);
    let said = String::from_utf8_lossy(&out.stdout);
    let start = format!("{path}:{line}: {rule}: ");
    assert!(said.starts_with(&start), "wanted {start}..., got: {said}");
    assert_eq!(said.lines().count(), 1, "more than one finding: {said}");
    assert_eq!(out.status.code(), Some(1));
}

#[track_caller]
fn passes(name: &str, files: &[(&str, &str)]) {
    let out = check(&tree(name, files));
    assert_eq!(String::from_utf8_lossy(&out.stdout), "");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
}

fn function(name: &str, lines: usize) -> String {
    format!("fn {name}() {{\n{}}}\n", "    f();\n".repeat(lines - 2))
}

#[test]
fn a_rule_without_a_bad_sample_here_is_no_rule() {
    let samples = include_str!("check_itself.rs");
    let out = check(Path::new("--rules"));
    let rules = String::from_utf8_lossy(&out.stdout);
    assert!(rules.lines().count() >= 12);
    for rule in rules.lines().filter_map(|line| line.split_once(": ")) {
        assert!(samples.contains(&format!(", \"{}\");", rule.0)), "no sample for {}", rule.0);
    }
}

#[test]
fn files_and_functions_that_make_the_reader_scroll_are_found() {
    let path = "crates/sys/src/lib.rs";
    finds(path, &"//\n".repeat(601), 601, "long-file");
    passes("600-lines", &[(path, &"//\n".repeat(600))]);

    finds(path, &format!("\n{}", function("long", 61)), 2, "long-function");
    finds(path, &function("step", 121), 1, "long-function");
    let fine = function("short", 60) + &function("step", 120);
    passes("60-lines", &[(path, &fine)]);
}

#[test]
fn braces_in_literals_and_comments_end_no_function() {
    let filler = "    f();\n".repeat(56);
    let code = format!(
        "fn long<'a>(s: &'a [u8; 2]) {{\n    f('}}', b'}}', '\\'', \"}}\\\"}}\");\n    // }}\n    \
         /* }} /* }} */ }} */\n    f(r#\"\"}}\"#);\n{filler}}}\n"
    );
    finds("crates/sys/src/braces.rs", &code, 1, "long-function");
}

#[test]
fn unsafe_code_outside_its_crate_is_found() {
    let code = "fn f() {\n    unsafe { g() }\n}\n";
    finds("crates/sys/src/lib.rs", code, 2, "unsafe");
    finds("crates/supervise/src/life.rs", "#[allow(unsafe_code)]\nfn f() {}\n", 1, "unsafe");
    passes("unsafe-linux", &[("crates/linux/src/fd.rs", code)]);
    let uses = "//! Nothing unsafe.\nlinux::entry!(run);\nlinux::no_std_program!(\"unsafe\");\n";
    passes("unsafe-macros", &[("crates/supervise/src/start.rs", uses)]);
}

#[test]
fn unfinished_code_and_sleeps_are_found() {
    finds("crates/sys/src/lib.rs", "fn f() {\n    todo!()\n}\n", 2, "unfinished");
    finds("crates/sys/src/a.rs", "fn f() {\n    unimplemented!()\n}\n", 2, "unfinished");
    finds("tests/tests/life.rs", "fn f() {\n    dbg!(1);\n}\n", 2, "unfinished");
    finds("tests/tests/a.rs", "fn f() {\n    std::thread::sleep(d);\n}\n", 2, "sleep");
    finds("crates/sys/src/b.rs", "fn f() {\n    libc::nanosleep(&a, b);\n}\n", 2, "sleep");
    finds("tests/tests/c.rs", "use std::thread::sleep;\n", 1, "sleep");
    finds("crates/testkit/src/scratch.rs", "use std::thread::sleep;\n", 1, "sleep");
    passes("sleep-in-wait", &[("crates/testkit/src/wait.rs", "fn f() {\n    sleep(d);\n}\n")]);
    passes(
        "sleep-in-a-script",
        &[("tests/tests/d.rs", "const RUN: &str = \"sleep(1); todo!()\";\n")],
    );
}

#[test]
fn a_panic_in_waiting_is_found_outside_tests() {
    let code = "fn f() {\n    g()\n        .unwrap();\n}\n";
    for name in ["ondisk", "machine", "linux", "sys", "supervise", "client", "daemontools"] {
        finds(&format!("crates/{name}/src/lib.rs"), code, 3, "unwrap");
    }
    finds("crates/sys/src/b.rs", "fn f() {\n    g().expect(\"\");\n}\n", 2, "unwrap");
    let after = "#[cfg(test)]\nmod tests {\n    fn f() {\n        g().unwrap();\n    }\n}\n\
                 fn h() {\n    g().unwrap();\n}\n";
    finds("crates/sys/src/c.rs", after, 8, "unwrap");
    let tests = after.split("fn h").next().expect("the tests");
    let fallback = "fn f() {\n    g().unwrap_or(1);\n}\n";
    passes(
        "unwrap-in-tests",
        &[
            ("crates/sys/src/lib.rs", tests),
            ("crates/sys/src/fallback.rs", fallback),
            ("crates/sys/src/getopt/tests.rs", code),
            ("crates/daemontools/tests/svc.rs", code),
            ("tests/tests/life.rs", code),
        ],
    );
}

#[test]
fn an_ignored_test_without_a_reason_is_found() {
    finds("tests/tests/a.rs", "#[test]\n#[ignore]\nfn f() {}\n", 2, "ignore");
    finds("tests/tests/b.rs", "#[test]\n#[ignore = \"\"]\nfn f() {}\n", 2, "ignore");
    passes(
        "ignore-why",
        &[("tests/tests/c.rs", "#[test]\n#[ignore = \"needs root\"]\nfn f() {}\n")],
    );
}

#[test]
fn names_that_name_nothing_are_found() {
    finds("crates/sys/src/lib.rs", "\npub mod util;\n", 2, "vague-name");
    finds("crates/sys/src/common.rs", "\n", 1, "vague-name");
    finds("crates/core/Cargo.toml", "\n", 1, "vague-name");
    passes("core-the-library", &[("crates/sys/src/lib.rs", "use core::ffi::CStr;\n")]);
}

#[test]
fn a_second_place_that_knows_a_layout_is_found() {
    let path = "const STATUS: &CStr = c\"supervise/status\";\n";
    finds("crates/daemontools/src/lib.rs", path, 1, "layout");
    finds("crates/sys/src/a.rs", "const A: &[u8] = b\"web/supervise/lock\\0\";\n", 1, "layout");
    finds("crates/sys/src/b.rs", "const A: &str = \"SUPERVISEDIR\";\n", 1, "layout");
    finds("crates/sys/src/c.rs", "fn f() {\n    pid.to_le_bytes();\n}\n", 2, "layout");
    finds("crates/sys/src/d.rs", "const A: u64 = 4_611_686_018_427_387_914;\n", 1, "layout");
    finds("crates/sys/src/e.rs", "const A: &str = \"/srv/web/supervise/ok\";\n", 1, "layout");
    let message = "const A: &str = \"unable to open supervise/status: \";\n\
                   const B: &str = \"/log/supervise/lock\";\n";
    passes(
        "layout-in-its-place",
        &[
            ("crates/ondisk/src/names.rs", path),
            ("crates/daemontools/src/lib.rs", message),
            ("tests/tests/life.rs", path),
        ],
    );
}

#[test]
fn words_of_one_machine_are_found() {
    // In pieces: this file is checked too.
    let root = concat!("/ro", "ot/");
    finds("README.md", &format!("\ncd {root}skynet\n"), 2, "words");
    finds("examples/run", concat!("#!/bin/sh\n. /wo", "rk/env\n"), 2, "words");
    finds("packaging/doc/a.md", concat!("https://index.crates", ".io/\n"), 1, "words");
    finds("packaging/doc/b.md", concat!("http://10", ".1.2.3/debian\n"), 1, "words");
    let lock = "[[package]]\nname = \"a\"\nsource = \"sparse+https://elsewhere/\"\n";
    finds("Cargo.lock", lock, 3, "words");
    let lock = "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
    passes("words", &[("Cargo.lock", lock), ("README.md", "crates/work/src, chroot/root\n")]);
}

#[test]
fn python_that_3_9_cannot_read_is_found_where_users_run_it() {
    let new = "#!/usr/bin/env python3\nmatch item:\n    case 1:\n        pass\n";
    finds("crates/participant/python/skynet/a.py", new, 4, "old-python");
    finds("services/participants/python/test", new, 4, "old-python");
    finds("examples/a/work.py", "def f(:\n", 1, "old-python");
    let newest = "try:\n    pass\nexcept* OSError:\n    pass\n";
    finds("examples/a/b.py", newest, 4, "old-python");
    let fine = "if (n := 1) and not print(\"match\"):\n    pass\n";
    passes(
        "python",
        &[("examples/a/c.py", fine), ("examples/a/run", "#!/bin/sh\nfi\n"), ("tests/d.py", new)],
    );
}

const PAGE: &str = ".TH SVC 8 2025-01-01 skynet \"daemontools programs\"\n.SH NAME\n\
                    svc \\- control services\n.SH SYNOPSIS\n.B svc\n";

#[test]
fn a_program_without_a_page_and_a_bad_page_are_found() {
    finds("crates/daemontools/src/bin/svok.rs", "\n", 1, "man-page");
    finds("crates/supervise/src/main.rs", "\n", 1, "man-page");
    let program = ("crates/daemontools/src/bin/svc.rs", "\n");
    passes("paged", &[program, ("packaging/man/svc.8", PAGE)]);
    finds("packaging/man/svc.8", &format!("{PAGE}.B \"open\n.NOSUCH 1\n"), 7, "man-lint");
}
