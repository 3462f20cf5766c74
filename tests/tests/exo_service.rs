//! exo as a service: under our svscan, supervise and multilog.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::{SOON, Site};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use testkit::scratch::{is_supervised, pid_in_status, script};
use testkit::svscan::{Svscan, kill9, svc};
use testkit::until;

/// Prints one line for each item and is done with it.
const PRINTS: &str = "#!/bin/sh\necho \"line of $SKYNET_WFID\"\n";

/// Makes the service directory what the examples are, and scans it.
#[track_caller]
fn scan(site: &Site, exo: &str) -> Svscan {
    let dir = site.join("p");
    let etc = site.join("etc").display().to_string();
    let run = format!("#!/bin/sh\nexec 2>&1\nexport SKYNET_CONFIG={etc}\nexec {exo}\n");
    script(&dir.join("run"), &run);
    fs::create_dir(dir.join("log")).unwrap();
    script(&dir.join("log/run"), "#!/bin/sh\nexec multilog t ./main\n");
    fs::create_dir(site.join("service")).unwrap();
    symlink(&dir, site.join("service/p")).unwrap();
    let svscan = Svscan::start(site.scratch(), "service");
    until(SOON, || is_supervised(&dir));
    site.until(|| site.status().is_some());
    svscan
}

/// Each item was printed at least once, behind a stamp and its tag.
#[track_caller]
fn is_logged(dir: &Path, wfids: &[String]) {
    // A logger that is killed leaves a file of its own behind.
    let all = || {
        let files = fs::read_dir(dir.join("log/main")).unwrap().map(|file| file.unwrap().path());
        let logs = files.filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name == "current" || name.starts_with('@')
        });
        logs.map(|file| fs::read_to_string(file).unwrap_or_default()).collect::<String>()
    };
    let mut missing = String::new();
    let holds = testkit::wait::holds_within(std::time::Duration::from_secs(SOON), || {
        let log = all();
        let mut found: HashMap<&str, usize> = HashMap::new();
        for line in log.lines() {
            let Some((stamp, rest)) = line.split_once(' ') else { continue };
            if let Some((_, text)) = rest.split_once(": line of ") {
                assert!(stamp.starts_with("@4000") && stamp.len() == 25, "{line}");
                *found.entry(text).or_default() += 1;
            }
        }
        let first = wfids.iter().find(|wfid| !found.contains_key(wfid.as_str()));
        missing = first.cloned().unwrap_or_default();
        first.is_none()
    });
    assert!(holds, "{missing} is not in the log:\n{}", all());
}

#[track_caller]
fn does_its_items_through_kills(site: &Site, svscan: Svscan) {
    let dir = site.join("p");
    let mut sender = Sender::new(site);
    let wfids: Vec<String> = (0..60).map(|n| format!("w{n}")).collect();
    for (round, some) in wfids.chunks(10).enumerate() {
        sender.submit(some);
        let so_far = sender.count() as u64;
        let exo = pid_in_status(&dir).unwrap();
        match round {
            1 => kill9(exo),
            2 => svc(svscan.folder(), &["-t", "p"]),
            3 => kill9(pid_in_status(&dir.join("log")).unwrap()),
            4 => svc(svscan.folder(), &["-k", "p"]),
            _ => {}
        }
        site.until(|| progress(&site.join("store")) == (so_far, 0));
        // A round begins with an exo that has begun.
        site.until(|| site.status().is_some());
    }
    adds_up(&sender, &site.join("store"), 3, "a service");
    is_logged(&dir, &wfids);
    svc(svscan.folder(), &["-d", "p"]);
    site.until(|| site.status().is_none());
    until(SOON, || pid_in_status(&dir).is_none());
    assert!(!site.socket().exists(), "the socket is left");
    drop(svscan);
}

#[test]
fn as_a_service_it_does_every_item_whoever_of_it_is_killed() {
    let site = Site::per_item(PRINTS, "instances: 2\n");
    let svscan = scan(&site, "exo");
    does_its_items_through_kills(&site, svscan);
}

#[test]
fn by_setuidgid_as_a_service_it_does_every_item_whoever_of_it_is_killed() {
    let site = Site::per_item(PRINTS, "instances: 2\n");
    for name in ["store", "run", "spool"] {
        fs::create_dir(site.join(name)).unwrap();
    }
    // The store is the worker's, who is `daemon` in a site.
    let chown = std::process::Command::new("chown")
        .args(["-R", "daemon:"])
        .arg(site.scratch().path())
        .status();
    assert!(chown.unwrap().success());
    let own = fs::read_to_string(site.join("etc/skynet.yaml")).unwrap();
    let text = own.replace("user: nobody", "user: daemon");
    fs::write(site.join("etc/skynet.yaml"), text).unwrap();
    let svscan = scan(&site, "setuidgid daemon exo");
    does_its_items_through_kills(&site, svscan);
}
