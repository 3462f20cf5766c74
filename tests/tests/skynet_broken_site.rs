//! An instance whose site's file is broken: it is looked at and stopped all the same, and nothing else.

#![allow(clippy::unwrap_used, clippy::panic)]

mod items;
mod site;

use items::{QUICK, WORK, stands, submit};
use site::{Kind, Place, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// What starts or changes something.
const CHANGES: &[&[&str]] = &[
    &["start", "p"],
    &["restart", "p"],
    &["dead", "drop", "1"],
    &["rule", "drop", "1"],
    &["label", "set", "l", "1"],
    &["failure", "note", "x", "--owner", "y"],
    &["enable", "p"],
    &["disable", "p"],
    &["apply"],
    &["submit", "p", "{\"fields\":{}}"],
    &["uninstall", "p"],
];

/// The site's file, as the test reaches it.
fn file(site: &Site) -> PathBuf {
    site.at(Place::Config).join("skynet.yaml")
}

/// Writes the site's file: where sockets are, and then this.
fn configure(site: &Site, rest: &str) {
    let run = site.inside(Place::Run).with_file_name("moved");
    site.folder(file(site).parent().unwrap());
    fs::write(file(site), format!("run: {}\n{rest}", run.display())).unwrap();
    site.own_all(&file(site));
}

/// Runs a verb, which must end well and say once what is wrong with the file; returns what it writes.
#[track_caller]
fn goes_on(site: &Site, problem: &str, args: &[&str]) -> String {
    let said = site.skynet(args);
    let path = site.inside(Place::Config).join("skynet.yaml");
    let wanted = format!("skynet: warning: unable to read {}: {problem}", path.display());
    let err = said.err();
    assert_eq!((said.code, err.lines().count()), (Some(0), 1), "{args:?}: {said:?}");
    assert!(err.starts_with(&wanted) && err.ends_with(", see skynet check\n"), "{args:?}: {err}");
    said.out()
}

/// What is in the store is shown, whatever is wrong with the file.
fn the_store_is_read(site: &Site, goes_on: &dyn Fn(&[&str]) -> String) {
    assert!(goes_on(&["job", "list"]).contains("slow"));
    assert!(goes_on(&["job", "show", "slow"]).contains("slow"));
    assert!(goes_on(&["cat", "p"]).contains("instances: 2"));
    for args in [
        &["history"][..],
        &["request", "list"],
        &["acts"],
        &["export"],
        &["failure", "list"],
        &["dead", "list"],
        &["rule", "list"],
        &["label", "list"],
        &["engine", "list"],
    ] {
        goes_on(args);
    }
    // It says besides that nobody is to be told.
    assert_eq!(site.skynet(&["notice", "list"]).code, Some(0));
}

#[test]
fn while_the_site_s_file_is_broken_services_are_looked_at_and_stopped_and_nothing_is_changed() {
    Site::each(|kind| {
        let site = Site::new(kind);
        configure(&site, "");
        site.well(&["boot"]);
        site.participant("p", &format!("{QUICK}instances: 2\n"), WORK);
        site.well(&["enable", "--now", "p"]);
        submit(&site, "slow", "wait");
        site.until(|| stands(&site, "slow").0 == "run");

        configure(&site, "keep: 30d\nstroe: /x\nkeeep: 1\n");
        let problem = "line 3, column 1: stroe: unknown key; did you mean store?, and 1 more; ";
        let goes_on = |args: &[&str]| goes_on(&site, problem, args);
        assert!(goes_on(&["list"]).contains("p "));
        // Its exo is asked where the file says that its socket is.
        assert!(goes_on(&["status", "p"]).contains("slow"));
        assert!(goes_on(&["status"]).contains('p'));
        goes_on(&["log", "skynet-log"]);
        the_store_is_read(&site, &goes_on);
        goes_on(&["wait", "--state", "ready", "p"]);
        goes_on(&["cancel", "slow"]);
        assert_eq!(stands(&site, "slow"), ("stop", 900));
        assert!(goes_on(&["drain", "--wait", "p"]).contains("p: drained after "));
        assert!(goes_on(&["resume", "p"]).starts_with("p: resumed"));
        for args in CHANGES {
            let said = site.skynet(args);
            assert_eq!((said.code, said.out()), (Some(111), String::new()), "{args:?}: {said:?}");
            assert!(said.err().contains("fatal: ") && said.err().contains("stroe: "), "{said:?}");
        }
        assert!(goes_on(&["stop", "p"]).starts_with("p: down after "));
        configure(&site, "");
        site.well(&["start", "p"]);
        // No YAML at all; what is whole before that counts.
        configure(&site, "services: {p: [\n");
        let problem = "line 2, column 15: services.p: unclosed bracket";
        let goes_on = |args: &[&str]| self::goes_on(&site, problem, args);
        assert!(goes_on(&["drain", "--wait", "p"]).contains("p: drained after "));
        let out = goes_on(&["halt"]);
        assert!(out.contains("p: down after ") && out.contains("svscan: down after "), "{out}");
        assert_eq!(site.pids("svscan"), [0; 0]);
        // What has nothing to do with it starts with the machine.
        configure(&site, "");
        site.sleeper("web");
        site.well(&["enable", "web"]);
        configure(&site, "stroe: /x\n");
        let said = site.skynet(&["boot", "--no-wait"]);
        assert!(said.err().contains("stroe: unknown key"), "{said:?}");
        site.until(|| site.skynet(&["status", "web"]).out().contains("up "));
        assert!(!site.skynet(&["status", "p"]).out().contains("idle"));
    });
}

#[test]
fn what_others_may_write_is_none_of_root_s_configuration_even_to_look() {
    let site = Site::booted(Kind::System);
    site.sleeper("web");
    site.well(&["start", "web"]);
    configure(&site, "");
    fs::set_permissions(file(&site), fs::Permissions::from_mode(0o666)).unwrap();
    let out = goes_on(&site, "not trusted: ", &["stop", "web"]);
    assert!(out.starts_with("web: down after "), "{out}");
    // The lock of the instance lies in the run folder: not in the one of the file.
    goes_on(&site, "not trusted: ", &["halt"]);
    assert!(!site.at(Place::Run).with_file_name("moved").exists());
}
