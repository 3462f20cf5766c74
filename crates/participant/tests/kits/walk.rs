//! The walk of packaging/doc/first-participant.md.

use crate::{here, pythons};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use testkit::{Output, Scratch};

/// Returns the lines of a block of code that begins with `first`, without their margin.
fn block(page: &str, first: &str) -> String {
    let lines = page.lines().skip_while(|line| line.trim() != first);
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let code: Vec<&str> = block.map(|line| line.get(4..).unwrap_or_default()).collect();
    assert!(!code.is_empty(), "no {first:?} in the page");
    code.join("\n")
}

/// Runs a command of the page as its reader would.
fn type_in(folder: &Path, interpreter: &Path, command: &str) -> Output {
    let bin = folder.join("bin");
    let _ = fs::remove_dir_all(&bin);
    fs::create_dir(&bin).unwrap();
    symlink(interpreter, bin.join("python3")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    testkit::run(
        Command::new("/bin/sh")
            .args(["-c", command])
            .current_dir(folder)
            .env_clear()
            .env("PATH", path)
            .env("PYTHONPATH", here().join("python"))
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )
}

#[test]
fn the_code_of_the_walk_does_what_it_says() {
    let root = here().join("../..");
    let page = fs::read_to_string(root.join("packaging/doc/first-participant.md")).unwrap();
    for interpreter in pythons() {
        let scratch = Scratch::new();
        let folder = scratch.join("wordcount");
        let template = root.join("services/participants/python");
        let copied = Command::new("cp").arg("-R").args([&template, &folder]).status().unwrap();
        assert!(copied.success());
        // As skynet new calls it.
        fs::rename(folder.join("sizer.py"), folder.join("work.py")).unwrap();

        let code = block(&page, "#!/usr/bin/env python3");
        fs::write(folder.join("work.py"), &code).unwrap();
        let services = "This file  has\nfive words";
        fs::write(folder.join("group"), services).unwrap();
        let good = block(&page, r#"echo '{"fields":{"file":"/etc/group"}}' | ./work.py"#);
        let good = good.replace("/etc/group", "group");
        let said = type_in(&folder, interpreter, &good);
        assert_eq!(said.out(), "{\"fields\":{\"file\":\"group\",\"words\":5}}\n", "{said:?}");

        let bad = r#"echo '{"fields":{"file":"/nowhere"}}' | ./work.py; echo "exit code $?""#;
        let bad = block(&page, bad);
        assert_eq!(type_in(&folder, interpreter, &bad).out(), "exit code 1\n");

        let (head, rest) = code.split_once("    with open").unwrap();
        let (_, tail) = rest.split_once("\n\n").unwrap();
        let code = format!("{head}{}\n{tail}", block(&page, "try:"));
        fs::write(folder.join("work.py"), code).unwrap();
        let said = type_in(&folder, interpreter, &bad);
        assert_eq!(said.out(), "exit code 10\n");
        let (_, behind) = page.split_once("\n## 5. ").unwrap();
        fs::write(folder.join("test"), block(behind, "#!/usr/bin/env python3")).unwrap();
        let tested = type_in(&folder, interpreter, &block(behind, "./test"));
        assert_eq!(tested.code, Some(0), "{tested:?}");
        assert!(tested.err().contains("Ran 2 tests"), "{tested:?}");
        assert!(said.err().ends_with("No such file or directory: '/nowhere'\n"), "{said:?}");
        assert_eq!(type_in(&folder, interpreter, &good).code, Some(0));
    }
}
