//! Packages where things are not as they should be: accounts of others, services that do not end, folders
//! that cannot go, a store that is too new. What is the administrator's stays, and nothing gets stuck.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod rootfs;

use rootfs::{Packages, Root, SOON};
use testkit::{Output, until};

/// Installs a package of this folder by dpkg alone, whatever comes of it.
fn dpkg(root: &Root, folder: &std::path::Path, words: &str) -> Output {
    let deb = Packages::find(folder, "skynet", "deb");
    std::fs::copy(deb, root.path("/tmp/skynet.deb")).unwrap();
    root.sh(&format!("dpkg {words} /tmp/skynet.deb 2>&1"))
}

/// A service that cannot be started.
fn broken(root: &Root) {
    let dir = root.path("/srv/broken");
    std::fs::create_dir_all(&dir).unwrap();
    testkit::scratch::script(&dir.join("run"), "#!/nowhere\n");
    root.well("skynet install /srv/broken && skynet enable broken");
    assert_eq!(root.sh("skynet start broken").code, Some(1));
}

/// It runs nothing of ours.
fn is_quiet(root: &Root) -> bool {
    let all = root.well("ps -e -o comm=");
    !["svscan", "supervise", "multilog"].iter().any(|name| all.contains(name))
}

#[test]
fn an_account_that_is_a_person_s_is_neither_taken_nor_removed() {
    let root = Root::new();
    root.well("useradd -m -u 1000 skynet");
    let output = dpkg(&root, &Packages::get().first, "-i");
    assert!(output.code != Some(0) && output.out().contains("is a person's"), "{output:?}");
    root.well("dpkg -P skynet && id skynet && test -d /home/skynet");
    assert_eq!(root.well("stat -c %u /home/skynet"), "1000\n");
}

#[test]
fn a_system_account_that_was_there_before_outlives_the_package() {
    let root = Root::new();
    root.well("useradd --system -d /srv -c 'by hand' skynet");
    root.install(&Packages::get().first, &["skynet"]);
    assert!(root.well("skynet status").contains("1 up"));
    root.well("dpkg -P skynet && getent passwd skynet && ! id skynetlog");
}

#[test]
fn what_was_removed_runs_again_once_it_is_installed_again() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.well("dpkg -r skynet");
    assert!(is_quiet(&root));
    root.install(&Packages::get().first, &["skynet"]);
    assert!(root.well("skynet status").contains("1 up"));
}

#[test]
fn a_service_that_does_not_come_up_or_does_not_end_keeps_no_package_back() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    broken(&root);
    root.service("stubborn", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n");
    // As long as a person would wait is too long for a test.
    root.well("sed -i 's/^limit=.*/limit=3/' /usr/lib/skynet/setup");
    root.well("dpkg -r skynet");
    until(SOON, || is_quiet(&root) && !root.well("ps -e -o args=").contains("sleep 0.1"));
    root.install(&Packages::get().first, &["skynet"]);
    assert!(root.well("ps -e -o comm=").contains("svscan"));
    root.well("sed -i 's/^limit=.*/limit=3/' /usr/lib/skynet/setup && dpkg -P skynet");
}

#[test]
fn a_broken_file_of_configuration_keeps_neither_svscan_from_starting_nor_a_package_on_the_machine()
{
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.service("talker", "#!/bin/sh\nwhile :; do echo talk; sleep 0.1; done\n");
    root.well("echo 'keeep: 3' >>/etc/skynet/skynet.yaml && service skynet stop");
    assert!(is_quiet(&root));
    root.well("service skynet start");
    until(SOON, || root.sh("skynet status talker").out().contains("up "));
    root.well("dpkg -r skynet");
    assert!(is_quiet(&root));
    root.well("dpkg -P skynet");
}

#[test]
fn a_state_folder_that_is_a_mount_point_is_emptied_and_left_and_a_second_purge_finds_nothing() {
    let root = Root::new();
    root.well("mkdir /var/lib/skynet && mount -t tmpfs none /var/lib/skynet");
    root.install(&Packages::get().first, &["skynet"]);
    root.well("touch /var/lib/skynet/left");
    let output = root.sh("dpkg -P skynet 2>&1");
    assert!(output.code == Some(0) && output.out().contains("/var/lib/skynet stays"), "{output:?}");
    assert_eq!(root.well("ls -A /var/lib/skynet"), "");
    root.well("dpkg -P skynet");
}

#[test]
fn a_participant_whose_package_went_after_skynet_leaves_no_link() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    let link = "/etc/skynet/service/gone";
    root.well(&format!(
        "ln -s /usr/lib/skynet/participants/gone {link} && dpkg -r skynet && test -L {link}"
    ));
    root.well(&format!("dpkg -P skynet && ! test -L {link} && ! test -e /etc/skynet"));
}

/// As a version would say that has one layout more.
const NEWER: &str = "cd /usr/lib/skynet/bin && mv exo exo.real && printf '%s\\n' '#!/bin/sh' \
                     'if [ \"$1\" = layout ]; then echo 99; else exec /usr/lib/skynet/bin/exo.real \"$@\"; fi' \
                     >exo && chmod 755 exo";

#[test]
fn a_version_that_is_too_old_for_the_store_is_not_installed_and_all_runs_on() {
    let root = Root::new();
    root.install(&Packages::get().second, &["skynet"]);
    root.well(NEWER);
    let before = root.well("pgrep -x svscan; dpkg-query -W skynet");
    let output = dpkg(&root, &Packages::get().first, "-i");
    assert!(output.code != Some(0) && output.out().contains("layout 99"), "{output:?}");
    assert_eq!(root.well("pgrep -x svscan; dpkg-query -W skynet"), before);
    root.well("skynet status && dpkg --audit");
    // Nothing keeps back one that knows as much.
    root.well("cd /usr/lib/skynet/bin && mv exo.real exo");
    assert_eq!(dpkg(&root, &Packages::get().first, "-i").code, Some(0));
}

#[test]
fn a_removal_in_a_root_that_is_only_being_made_ends_nothing_of_another_s() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    root.service("talker", "#!/bin/sh\nwhile :; do echo talk; sleep 0.1; done\n");
    let life = "od -An -tx1 /run/skynet/supervise/talker/status; pgrep -o svscan";
    let before = root.well(life);
    // A root in the root, with the same /run, in which the package is and nothing was started.
    root.well(
        "mkdir -p /inner && cp -a /bin /sbin /lib /lib64 /etc /usr /var /inner/ && \
         mkdir -p /inner/proc /inner/run /inner/tmp /inner/srv /inner/dev && cp -a /srv/talker /inner/srv/ && \
         mount --bind /run /inner/run && mount --bind /dev /inner/dev && mount -t proc proc /inner/proc",
    );
    root.well("chroot /inner dpkg -P skynet");
    assert_eq!(root.well(life), before);
    root.well("skynet status talker && test -d /inner/etc/skynet");
}

#[test]
fn the_script_of_sysvinit_is_root_s_and_a_service_that_fails_is_no_fault_of_its_start() {
    let root = Root::new();
    root.install(&Packages::get().first, &["skynet"]);
    broken(&root);
    root.well("useradd -m ann");
    for verb in ["start", "stop", "status"] {
        let output = root.sh(&format!("su ann -c '/etc/init.d/skynet {verb}'"));
        assert_eq!(output.code, Some(4), "{verb}: {output:?}");
    }
    root.well("test ! -e ~ann/.config && service skynet status");
    root.well("service skynet stop");
    assert_eq!(root.sh("service skynet status").code, Some(3));
    root.well("service skynet start && service skynet status");
}
