//! The package's scripts of init systems, each run by the init system that it is for, and the container's
//! entry point as the first process of its namespace.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod rootfs;

use rootfs::{Packages, Root, SOON};
use std::fs;
use testkit::scratch::script;
use testkit::until;

/// Says that it is up and that it ends.
const TALKER: &str = "#!/bin/sh\ntrap 'echo the last line; exit 0' TERM\necho up\n\
                      while :; do sleep 0.1 & wait $!; done\n";
/// Leaves orphans, and goes on.
const FORKER: &str = "#!/bin/sh\nfor i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i & exit 0); done\n\
                      echo left >done\nexec sleep 1000000\n";
/// Start and process of the service.
const LIFE: &str = "od -An -tx1 /run/skynet/supervise/talker/status";

/// Nothing is started while an image is made, or while somebody prepares another way of starting.
fn install_quietly(root: &Root) {
    script(&root.path("usr/sbin/policy-rc.d"), "#!/bin/sh\nexit 101\n");
    root.install(&Packages::get().first, &["skynet"]);
    assert!(!runs(root, "svscan"));
}

fn runs(root: &Root, program: &str) -> bool {
    root.well("ps -e -o comm=").lines().any(|line| line == program)
}

/// Puts a service and its logger into the instance, to start with it.
fn service(root: &Root, name: &str, run: &str) {
    let dir = root.path(&format!("/srv/{name}"));
    fs::create_dir_all(dir.join("log")).unwrap();
    script(&dir.join("run"), run);
    script(&dir.join("log/run"), "#!/bin/sh\nexec setuidgid skynetlog multilog t ./main\n");
    root.well(&format!("skynet install /srv/{name} && skynet enable {name}"));
}

/// In front of a command: it runs where the first process that has this name is, in its namespace.
fn beside(program: &str) -> String {
    format!("nsenter -t $(pgrep -ox {program}) --mount --pid --root --wdns=/ -- ")
}

fn is_up(root: &Root, beside: &str) -> bool {
    let told = root.sh(&format!("{beside}skynet status --json talker"));
    told.out().contains("\"state\":\"up\"")
}

/// The last line that the service said, which its logger wrote before it ended.
fn said_its_last_line(root: &Root) -> bool {
    root.well("tail -n 1 /var/log/skynet/talker/current").ends_with(" the last line\n")
}

/// Kills svscan, and waits for the next one, which has the service as it was.
fn svscan_is_started_anew(root: &Root, beside: &str) {
    let (life, first) = (root.well(LIFE), root.well("pgrep -x svscan"));
    root.well("kill -KILL $(pgrep -x svscan)");
    until(SOON, || {
        let now = root.sh("pgrep -x svscan").out();
        now != first && now.lines().count() == 1
    });
    until(SOON, || is_up(root, beside));
    assert_eq!(root.well(LIFE), life);
}

/// All that the instance had is over, in order.
fn has_ended(root: &Root) {
    for program in ["svscan", "supervise", "multilog"] {
        assert!(!runs(root, program), "{program}");
    }
    assert!(said_its_last_line(root));
}

#[test]
fn under_openrc_it_starts_reloads_comes_back_and_ends_in_order() {
    let root = Root::having("openrc");
    install_quietly(&root);
    service(&root, "talker", TALKER);
    // As the script says: in the place of sysvinit's.
    root.well("cp /usr/share/doc/skynet/examples/skynet.openrc /etc/init.d/skynet");
    root.well("chmod 755 /etc/init.d/skynet");
    // What OpenRC makes at a boot.
    root.well(
        "mkdir /run/openrc && cd /run/openrc && touch softlevel && mkdir exclusive starting started \
         stopping inactive wasinactive failed options daemons hotplugged scheduled tmp",
    );
    assert_eq!(root.sh("rc-service skynet status").code, Some(3));
    root.well("rc-service skynet start");
    until(SOON, || is_up(&root, ""));
    root.well("rc-service skynet status");
    svscan_is_started_anew(&root, "");
    root.well("rc-service skynet reload");
    root.well("rc-service skynet stop");
    has_ended(&root);
    assert_eq!(root.sh("rc-service skynet status").code, Some(3));
}

#[test]
fn the_script_of_sysvinit_starts_tells_restarts_reloads_and_ends_in_order() {
    let root = Root::new();
    install_quietly(&root);
    service(&root, "talker", TALKER);
    assert_eq!(root.sh("service skynet status").code, Some(3));
    root.well("service skynet start");
    assert!(is_up(&root, ""));
    let life = root.well(LIFE);
    // What runs already stays as it is.
    root.well("service skynet start && service skynet reload && service skynet force-reload");
    root.well("service skynet status");
    assert_eq!(root.well(LIFE), life);
    root.well("service skynet restart");
    assert!(is_up(&root, ""));
    assert_ne!(root.well(LIFE), life);
    root.well("service skynet stop");
    has_ended(&root);
    root.well("service skynet stop");
    assert_eq!(root.sh("service skynet nonsense").code, Some(2));
}

/// sysvinit itself, with nothing in its inittab but what README.md says.
#[test]
fn by_inittab_svscan_comes_back_and_the_runlevel_s_end_ends_it_in_order() {
    let root = Root::having("sysvinit-core");
    install_quietly(&root);
    service(&root, "talker", TALKER);
    let readme = fs::read_to_string(rootfs::tree().join("packaging/README.md")).unwrap();
    let line = readme.split('`').find(|word| word.starts_with("SK:")).unwrap();
    let stop = "ls /etc/rc0.d | grep -x 'K..skynet'";
    root.well(&format!("update-rc.d skynet disable && {stop}"));
    let levels =
        "id:2:initdefault:\nl2:2:wait:/etc/init.d/rc 2\nl1:1:wait:/etc/init.d/skynet stop\n";
    fs::write(root.path("etc/inittab"), format!("{levels}{line}\n")).unwrap();
    let init = beside("init");
    root.well("rm -f /etc/rc2.d/* && unshare --propagation unchanged --pid --fork --mount-proc --kill-child /sbin/init >/dev/null 2>&1 </dev/null &");
    until(SOON, || is_up(&root, &init));
    svscan_is_started_anew(&root, &init);
    root.well(&format!("{init}telinit 1"));
    until(SOON, || !runs(&root, "supervise") && !runs(&root, "svscan"));
    has_ended(&root);
}

#[test]
fn the_entry_point_of_the_container_file_reaps_and_ends_in_order_on_its_stop_signal() {
    let root = Root::new();
    install_quietly(&root);
    service(&root, "talker", TALKER);
    service(&root, "forker", FORKER);
    fs::create_dir(root.path("/srv/echo")).unwrap();
    script(&root.path("/srv/echo/work"), "#!/bin/sh\necho done\n");
    fs::write(root.path("/srv/echo/exo.yaml"), "command: ./work\n").unwrap();
    root.well("skynet install /srv/echo && skynet enable echo");
    let file = root.well("cat /usr/share/doc/skynet/examples/Containerfile");
    let word = |name: &str| file.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
    let entry = word("ENTRYPOINT").replace(['[', ']', ',', '"'], " ");
    assert_eq!(word("STOPSIGNAL"), "SIGTERM");
    root.well(&format!(
        "(unshare --propagation unchanged --pid --fork --mount-proc --kill-child {entry}; echo $? >/tmp/code) \
         >/dev/null 2>&1 </dev/null &"
    ));
    let inside = beside("svscan");
    until(SOON, || root.sh("pgrep -x svscan").code == Some(0));
    until(SOON, || is_up(&root, &inside));
    assert_eq!(root.well(&format!("{inside}cat /proc/1/comm")), "svscan\n");
    let answer =
        root.well(&format!(r#"{inside}skynet submit echo '{{"fields":{{}}}}' --wait --json"#));
    assert!(answer.contains("\"fault\":0"), "{answer}");
    // What was left behind is reaped by the first process.
    until(SOON, || root.path("/etc/skynet/participants/forker/done").exists());
    until(SOON, || !root.well("ps -e -o stat=,args=").contains("sleep 0.0"));
    let all = || root.well(&format!("{inside}ps -e -o stat=,comm="));
    until(SOON, || !all().lines().any(|line| line.starts_with('Z')));
    root.well("kill -TERM $(pgrep -x svscan)");
    until(SOON, || root.path("/tmp/code").exists());
    until(SOON, || root.well("cat /tmp/code") == "0\n");
    has_ended(&root);
}
