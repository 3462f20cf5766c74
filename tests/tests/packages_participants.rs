//! Participants as packages: made by the script that `skynet new` gives, in each language and format;
//! they come, change and go by the package manager alone.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod rootfs;

use rootfs::{LONG, Packages, Root, SOON};
use std::path::PathBuf;
use std::process::Command;
use testkit::{run_within, until};

/// Gives a participant an item and returns the answer.
fn answer(root: &Root, name: &str) -> String {
    root.well(&format!("skynet submit {name} --field file=/etc/hostname --wait --json"))
}

/// It, its log, an upgrade, its end; by either format.
fn a_packaged_participant_lives(root: &Root, upgrade: impl Fn(&Root), remove: impl Fn(&Root)) {
    for verb in ["uninstall", "rebuild"] {
        let output = root.sh(&format!("skynet {verb} counting"));
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!((output.out() + &output.err()).contains("belongs to a package"), "{output:?}");
    }
    root.well("skynet enable --now counting");
    assert!(!answer(root, "counting").contains("anew"));
    assert!(root.well("skynet log counting").contains("job-1"));
    let found = root.sh("skynet doctor --json");
    assert!(!found.out().contains(r#""severity":"error""#), "{found:?}");
    let life = "od -An -tx1 /run/skynet/supervise/counting/status";
    let before = root.well(life);
    upgrade(root);
    until(SOON, || answer(root, "counting").contains("anew"));
    assert_eq!(root.well(life), before);
    stays_down_without_a_word_in_its_folder(root);
    remove(root);
    until(SOON, || !root.well("ps -e -o args=").contains("counting"));
    root.well("! test -e /usr/lib/skynet/participants/counting");
    root.well("! test -L /etc/skynet/service/counting && ! test -e /etc/skynet/down/counting");
}

/// `disable` and `enable` leave what a package has as the package has it.
fn stays_down_without_a_word_in_its_folder(root: &Root) {
    let packaged = "find /usr/lib/skynet/participants -printf '%p %y %T@ %l\n' | sort";
    let before = root.well(packaged);
    root.well("skynet disable counting && test -f /etc/skynet/down/counting");
    root.well("skynet halt && skynet boot && skynet status --json counting | grep -q '\"down\"'");
    root.well("skynet enable --now counting && ! test -e /etc/skynet/down/counting");
    root.well("skynet disable --now counting && skynet start counting");
    assert_eq!(root.well(packaged), before);
    root.well("test -f /etc/skynet/down/counting");
}

/// Has the script make a package on this machine: its author has the tools, this root has not.
fn made(root: &Root, change: &str, version: &str, format: &str) -> PathBuf {
    let folder = root.path("/srv/counting");
    let script = format!("{change} ./package {version} {format}");
    let mut command = Command::new("sh");
    let output = run_within(LONG, command.args(["-c", &script]).current_dir(&folder));
    assert_eq!(output.code, Some(0), "{output:?}");
    folder.join(output.out().lines().next_back().unwrap())
}

/// The same of a .deb, by its name in the root.
fn deb(root: &Root, change: &str, version: &str) -> String {
    let path = made(root, change, version, "deb");
    format!("/srv/counting/{}", path.file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_file_that_is_closed_to_others_goes_into_no_package() {
    let scratch = testkit::Scratch::new();
    let run = |words: &str| {
        let mut command = Command::new("sh");
        run_within(LONG, command.args(["-c", words]).current_dir(scratch.path()))
    };
    let skynet = testkit::program("skynet");
    let new = run(&format!("{} new counting --language shell", skynet.display()));
    assert_eq!(new.code, Some(0), "{new:?}");
    let made = run("cd counting && (umask 077; echo hush >secret) && ./package 1.0 deb");
    assert_eq!(made.code, Some(111), "{made:?}");
    assert!(made.err().contains("others may not read: secret"), "{made:?}");
    // What is left out is no matter.
    let left =
        r#"cd counting && sed -i "s/^left='/left='.\/secret /" package && ./package 1.0 deb"#;
    let made = run(left);
    assert_eq!(made.code, Some(0), "{made:?}");
    let listed = run("dpkg-deb -c counting/*.deb").out();
    assert!(listed.contains("counting/exo.yaml") && !listed.contains("secret"), "{listed}");
}

/// Adds what is seen in an answer.
const ANEW: &str = r"sed -i 's/^\( *\)item.fields.size = .*/&\n\1item.fields.anew = True/' work.py \
                    && grep -q anew work.py";

#[test]
fn a_participant_s_deb_comes_is_taken_up_anew_and_goes() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet", "python3-skynet"]);
    let deb = |version: &str| {
        format!(
            "./package {version} deb && apt-get install -qqy \
             /srv/counting/skynet-participant-counting_{version}_all.deb"
        )
    };
    let new = "cd /srv && skynet new counting --language python && cd counting &&";
    root.well(&format!("{new} {}", deb("1.0")));
    let python = "pgrep -f ./work.py";
    a_packaged_participant_lives(
        &root,
        |root| {
            root.well(&format!("cd /srv/counting && {ANEW} && {}", deb("1.1")));
            until(SOON, || answer(root, "counting").contains("anew"));
            // What it imports is upgraded, too.
            let pid = root.well(python);
            root.install(&Packages::get().second, &["python3-skynet"]);
            until(SOON, || root.sh(python).out() != pid && root.sh(python).code == Some(0));
        },
        |root| drop(root.well("apt-get remove -qqy skynet-participant-counting")),
    );
}

#[test]
fn a_participant_s_rpm_comes_is_taken_up_anew_and_goes() {
    let root = Root::new();
    let first = &Packages::get().first;
    let both = ["skynet", "python3-skynet"].map(|name| Packages::find(first, name, "rpm"));
    root.rpm(&["--initdb"], &[]);
    root.rpm(&["-i", "--nodeps"], &both);
    root.well("skynet boot && cd /srv && skynet new counting --language python");
    root.rpm(&["-i", "--nodeps"], &[made(&root, "", "1.0", "rpm")]);
    a_packaged_participant_lives(
        &root,
        |root| {
            drop(root.rpm(&["-U", "--nodeps"], &[made(root, &format!("{ANEW} &&"), "1.1", "rpm")]));
        },
        |root| drop(root.rpm(&["-e", "--nodeps", "skynet-participant-counting"], &[])),
    );
}

/// A participant in this language, as .debs; `change` of its code has what is seen in an answer.
fn a_deb_in(language: &str, change: &str) {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.well(&format!("cd /srv && skynet new counting --language {language}"));
    root.well(&format!("apt-get install -qqy {}", deb(&root, "", "1.0")));
    a_packaged_participant_lives(
        &root,
        |root| {
            let new = deb(root, &format!("{change} &&"), "1.1");
            drop(root.well(&format!("apt-get install -qqy {new}")));
        },
        |root| drop(root.well("apt-get remove -qqy skynet-participant-counting")),
    );
}

#[test]
fn a_participant_in_shell_is_a_deb_that_is_taken_up_anew_and_goes() {
    a_deb_in("shell", r#"sed -i 's/&"size":/\&"anew":1,"size":/' work && grep -q anew work"#);
}

#[test]
fn a_participant_in_rust_is_built_for_its_deb_and_goes_on_anew() {
    a_deb_in(
        "rust",
        r#"sed -i 's/^\( *\)item.set_field("size".*/&\n\1item.set_field("anew", \&true)?;/' \
           src/main.rs && grep -q anew src/main.rs"#,
    );
}

#[test]
fn what_a_participant_s_packages_hold_is_what_it_needs_to_run_and_no_more() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.well(
        "cd /srv && skynet new counting --language rust && mkdir counting/supervise counting/.git",
    );
    let fields = ["-W", "--showformat=${Architecture} ${Depends}"];
    let path = made(&root, "", "1.0", "deb");
    let output = run_within(SOON, Command::new("dpkg-deb").args(fields).arg(&path));
    let said = output.out();
    assert!(said.starts_with("amd64 skynet, libc6 (>= 2."), "{said}");
    let listed = run_within(SOON, Command::new("dpkg-deb").arg("-c").arg(&path)).out();
    let path = made(&root, "", "1.0", "rpm");
    let all = run_within(SOON, Command::new("rpm").args(["-qpl", "--requires"]).arg(&path)).out();
    assert!(all.contains("libc.so.6") && all.contains("\nskynet\n"), "{all}");
    for listed in [listed, all] {
        for there in ["work", "exo.yaml", "run", "log/run", "down", "supervise", "log/main"] {
            assert!(
                listed.contains(&format!("participants/counting/{there}")),
                "{there}: {listed}"
            );
        }
        for not in ["src", "crates", "Cargo", "target", "package", "build", ".git", "tests"] {
            assert!(!listed.contains(&format!("participants/counting/{not}")), "{not}: {listed}");
        }
    }
}
