//! The package on a system that boots: services and participants through boot, reboot, shutdown,
//! upgrade, removal and the death of svscan, under systemd in a container.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod host;
mod machine;
mod rootfs;

use machine::container::Container;
use machine::load::Load;
use machine::{Machine, PACKAGES, turn};
use std::fs;
use testkit::scratch::script;

/// Ends when it is told and may.
const SLOW: &str = "#!/bin/sh\ntrap 'until [ -e /run/go ]; do sleep 0.1; done; exit 0' TERM\n\
                    while :; do sleep 0.1; done\n";

/// Returns what keeps running through an upgrade: each service, participant and logger, svscan.
fn pids(machine: &mut impl Machine) -> String {
    machine.well(
        "cd /etc/skynet/service && /usr/lib/skynet/bin/svstat * */log | sed 's/) .*/)/' && \
         systemctl show -P MainPID skynet",
    )
}

/// Returns the findings of doctor that say this.
fn found(machine: &mut impl Machine, words: &str) -> Vec<String> {
    let output = machine.sh("skynet doctor --json");
    assert!(matches!(output.code, Some(0 | 1)), "{output:?}");
    let said = output.out();
    said.lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}

/// Tells whether doctor finds an error.
#[track_caller]
fn is_well(machine: &mut impl Machine) {
    assert_eq!(found(machine, "\"severity\":\"error\""), Vec::<String>::new());
}

#[test]
fn services_and_participants_come_up_at_boot_and_a_reboot_loses_no_item_and_no_line() {
    let _turn = turn();
    let mut machine = Container::boot();
    assert_eq!(machine.well("systemctl is-active skynet && systemctl --failed -q"), "active\n");
    let mut load = Load::start(&mut machine, 5, 1);
    is_well(&mut machine);
    load.submit(&mut machine, 100);
    load.until_done(&mut machine, Some(20));
    machine.reboot();
    machine.well("systemctl is-active skynet");
    load.until_done(&mut machine, None);
    load.assert_items(&mut machine);
    is_well(&mut machine);
    // With one end each: they were told, had time, and their loggers read it.
    assert!(load.assert_lines(&mut machine).values().all(|ends| *ends == 1));
    machine.power_off();
    assert!(!machine.console().contains("Timed out"), "{}", machine.console());
    for name in &load.counters {
        let log = machine.path(&format!("/var/log/skynet/{name}/current"));
        let text = fs::read_to_string(&log).unwrap();
        let last: Vec<&str> = text.lines().next_back().unwrap().split(' ').collect();
        assert_eq!(last[1], "last", "{name}: {text}");
    }
}

/// Told to end by somebody else, svscan tells systemd, which waits as if it had done so itself, and
/// starts the next one.
#[track_caller]
fn systemd_knows_that_it_ends(machine: &mut Container) {
    let dir = machine.path("/srv/slow");
    fs::create_dir(&dir).unwrap();
    script(&dir.join("run"), SLOW);
    machine.well("skynet install /srv/slow && skynet enable --now slow");
    let pid = machine.well("systemctl show -P MainPID skynet").trim().to_owned();
    machine.well(&format!("kill -TERM {pid}"));
    machine.until("systemctl is-active skynet | grep -x deactivating");
    assert_eq!(machine.well("systemctl show -P MainPID skynet").trim(), pid);
    machine.well("touch /run/go");
    machine.until(&format!(
        "[ $(systemctl show -P MainPID skynet) != {pid} ] && systemctl is-active skynet"
    ));
}

#[test]
fn svscan_that_is_killed_under_its_unit_is_started_again_and_no_service_is_touched() {
    let _turn = turn();
    let mut machine = Container::boot();
    let mut load = Load::start(&mut machine, 5, 1);
    load.submit(&mut machine, 60);
    let services = |machine: &mut Container| {
        let all = pids(machine);
        all.lines().filter(|line| line.contains(": up")).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = services(&mut machine);
    assert!(before.len() > 13, "{before:?}");
    for _ in 0..3 {
        let pid = machine.well("systemctl show -P MainPID skynet").trim().to_owned();
        machine.well(&format!("kill -9 {pid}"));
        machine.until(&format!(
            "pid=$(systemctl show -P MainPID skynet) && [ $pid != 0 ] && [ $pid != {pid} ] && \
             systemctl is-active skynet"
        ));
        assert_eq!(services(&mut machine), before);
    }
    load.until_done(&mut machine, None);
    load.assert_items(&mut machine);
    assert!(load.assert_lines(&mut machine).values().all(|ends| *ends == 0));
    systemd_knows_that_it_ends(&mut machine);
    assert!(load.assert_lines(&mut machine).values().all(|ends| *ends == 1));
    machine.well("systemctl stop skynet");
    machine.until("! pgrep -x 'supervise|multilog|exo-keeper|exo-worker'");
    assert!(load.assert_lines(&mut machine).values().all(|ends| *ends == 2));
}

#[test]
fn an_upgrade_under_load_and_back_interrupts_nothing_and_reaches_every_program() {
    let _turn = turn();
    let mut machine = Container::boot();
    let mut load = Load::start(&mut machine, 100, 5);
    load.submit(&mut machine, 200);
    let before = pids(&mut machine);
    assert!(before.lines().count() > 220, "{before}");
    for (number, done) in [(2, 10), (1, 30)] {
        load.until_done(&mut machine, Some(done));
        machine.well(&format!("dpkg -i {PACKAGES}/{number}/skynet.deb"));
        let installed = machine.well("dpkg-query -W -f '${Version}' skynet");
        assert!(installed.ends_with(&format!("-{number}")), "{installed}");
        machine.until("! ls -l /proc/[0-9]*/exe | grep '/skynet/bin/.* (deleted)'");
        assert_eq!(found(&mut machine, "was replaced or removed"), Vec::<String>::new());
        assert_eq!(pids(&mut machine), before);
    }
    load.submit(&mut machine, 20);
    load.until_done(&mut machine, None);
    load.assert_items(&mut machine);
    assert!(load.assert_lines(&mut machine).values().all(|ends| *ends == 0));
    assert_eq!(pids(&mut machine), before);
    is_well(&mut machine);
    // It goes in order, and what it leaves until it is purged says so.
    machine.well("dpkg -r skynet");
    machine.well("! pgrep -x 'svscan|supervise|multilog|exo-keeper|exo-worker'");
    assert!(load.assert_lines(&mut machine).values().all(|ends| *ends == 1));
    machine.well("dpkg -P skynet");
    machine.well(
        "! getent passwd skynet skynetlog && ! ls -d /var/lib/skynet /var/log/skynet \
         /var/spool/skynet /run/skynet /usr/lib/skynet",
    );
    // What the administrator made stays.
    let left = machine.well("ls /etc/skynet /etc/skynet/participants");
    assert!(left.contains("counter99") && !left.contains("skynet.yaml"), "{left}");
}
