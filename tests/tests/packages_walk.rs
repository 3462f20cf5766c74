//! The way from the package to a first participant, typed as packaging/doc/install.md says, on a system
//! that has never seen the project.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod rootfs;

use rootfs::{Packages, Root, tree};
use std::fs;
use testkit::scratch::script;

/// Returns the indented blocks of a page, without the indent.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(tree().join("packaging/doc").join(page)).unwrap();
    let mut all = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(line) => all.last_mut().unwrap().extend([line, "\n"]),
            // An empty line within a program does not end it.
            None if line.is_empty() => *all.last_mut().unwrap() += "\n",
            None => all.push(String::new()),
        }
    }
    let trimmed = all.iter().map(|block| block.trim().to_owned() + "\n");
    trimmed.filter(|block| block != "\n").collect()
}

/// Types a block in a folder; returns what it says.
fn type_in(root: &Root, folder: &str, block: &str) -> String {
    // Who types answers apt's question.
    let block = block.replace("apt install", "apt-get install -qqy");
    root.well(&format!("set -e; cd {folder}; {block}"))
}

#[test]
fn what_the_page_types_leads_from_the_package_to_a_participant_that_outlives_a_restart() {
    let root = Root::new();
    for name in ["skynet", "python3-skynet"] {
        let deb = Packages::find(&Packages::get().first, name, "deb");
        fs::copy(&deb, root.path("/srv").join(deb.file_name().unwrap())).unwrap();
    }
    let blocks = blocks("install.md");
    let [install, new, program, manual, run, package] = blocks.as_slice() else {
        panic!("{blocks:?}")
    };
    let begun = std::time::Instant::now();
    assert!(type_in(&root, "/srv", install).contains("nothing wrong"));
    type_in(&root, "/srv", new);
    script(&root.path("/srv/wordcount/work.py"), program);
    let here = "/srv/wordcount";
    let answer = type_in(&root, here, manual);
    assert!(answer.contains("\"words\""), "{answer}");
    let said = type_in(&root, here, run);
    assert!(said.contains(" words") && said.contains("/etc/group: "), "{said}");
    let history = "skynet history wordcount --json";
    let before = root.well(history);
    // In a reboot's place: all processes of it end, and what a boot empties is empty.
    root.well("skynet halt && rm -rf /run/skynet && skynet boot");
    assert_eq!(root.well(history), before);
    assert!(before.contains("\"wordcount\""), "{before}");
    let again = root.well("skynet submit wordcount --field file=/etc/group --wait --json");
    assert!(again.contains("\"fault\":0"), "{again}");
    // As the page says where it was installed by hand.
    root.well("skynet uninstall --now wordcount");
    type_in(&root, here, package);
    let packaged = root.well("skynet submit wordcount --field file=/etc/group --wait --json");
    assert!(packaged.contains("\"fault\":0"), "{packaged}");
    eprintln!("the machine took {} ms of it", begun.elapsed().as_millis());
}
