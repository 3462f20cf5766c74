//! The way from the package to a first participant, typed as packaging/doc/install.md says, on a system
//! that has never seen the project, with the reboot in it.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod host;
mod machine;
mod rootfs;

use machine::Machine;
use machine::container::Container;
use rootfs::tree;
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
#[track_caller]
fn type_in(machine: &mut Container, folder: &str, block: &str) -> String {
    // Who types answers apt's question.
    let block = block.replace("apt install", "apt-get install -qqy");
    machine.well(&format!("set -e; cd {folder}; {block}"))
}

#[test]
fn what_the_page_types_leads_from_the_package_to_a_participant_that_outlives_a_reboot() {
    let mut machine = Container::boot_bare();
    let machine = &mut machine;
    let blocks = blocks("install.md");
    let [install, new, program, manual, run, reboot, after, package] = blocks.as_slice() else {
        panic!("{blocks:?}")
    };
    let begun = std::time::Instant::now();
    assert!(type_in(machine, "/srv", install).contains("nothing wrong"));
    type_in(machine, "/srv", new);
    script(&machine.path("/srv/wordcount/work.py"), program);
    let here = "/srv/wordcount";
    let answer = type_in(machine, here, manual);
    assert!(answer.contains("\"words\""), "{answer}");
    let said = type_in(machine, here, run);
    assert!(said.contains(" words") && said.contains("/etc/group: "), "{said}");
    let history = "skynet history wordcount --json";
    let before = machine.well(history);
    assert!(before.contains("\"done\":1,"), "{before}");
    assert_eq!(reboot, "reboot\n");
    machine.reboot();
    type_in(machine, "/", after);
    assert_eq!(machine.well(history), before);
    let again = machine.well("skynet submit wordcount --field file=/etc/group --wait --json");
    assert!(again.contains("\"fault\":0"), "{again}");
    // As the page says where it was installed by hand.
    machine.well("skynet uninstall --now wordcount");
    type_in(machine, here, package);
    let packaged = machine.well("skynet submit wordcount --field file=/etc/group --wait --json");
    assert!(packaged.contains("\"fault\":0"), "{packaged}");
    eprintln!("the machine took {} ms of it", begun.elapsed().as_millis());
}
