//! exo as a service: under our svscan, supervise and multilog.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod history;
mod host;

use history::{Sender, adds_up, progress};
use host::{SOON, Site};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use testkit::scratch::{is_supervised, pid_in_status, script};
use testkit::svscan::{self, Svscan, kill9, svc};
use testkit::{program, until};

/// Prints one line for each item and is done with it.
const PRINTS: &str = "#!/bin/sh\necho \"line of $SKYNET_WFID\"\n";

/// What runs svscan where another file is /etc/passwd.
const WITH_ACCOUNTS: [&str; 6] =
    ["unshare", "-m", "sh", "-c", "mount --bind \"$0\" /etc/passwd && exec \"$@\"", ""];

/// A user whom no machine has.
const SOMEBODY: u32 = 54_321;

/// Makes the service directory what the examples are, and scans it by `svscan`.
#[track_caller]
fn scan(site: &Site, run: &str, svscan: impl FnOnce() -> Command) -> Svscan {
    let dir = site.join("p");
    script(&dir.join("run"), &format!("#!/bin/sh\nexec 2>&1\n{run}\n"));
    fs::create_dir(dir.join("log")).unwrap();
    script(&dir.join("log/run"), "#!/bin/sh\nexec multilog t ./main\n");
    fs::create_dir(site.join("service")).unwrap();
    symlink(&dir, site.join("service/p")).unwrap();
    let svscan = Svscan::spawn(&site.join("service"), &mut svscan());
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
    let etc = site.join("etc").display().to_string();
    let run = format!("export SKYNET_CONFIG={etc}\nexec exo");
    let svscan = scan(&site, &run, || svscan::svscan(site.scratch(), &[], &[], "service"));
    does_its_items_through_kills(&site, svscan);
}

/// The directory is one as setuidgid(8) has had them for long, its svscan root's, with root's `HOME`
/// and the folder of root's session; nothing is configured or made for exo.
#[test]
fn by_setuidgid_as_a_service_it_does_every_item_whoever_of_it_is_killed() {
    let site = Site::per_item(PRINTS, "instances: 2\n");
    let home = site.join("home");
    fs::create_dir(&home).unwrap();
    chown(&home, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    for (name, place) in [("store", ""), ("run", "/run"), ("spool", "/spool")] {
        let place = format!("{}/.local/state/skynet{place}", home.display());
        symlink(place, site.join(name)).unwrap();
    }
    let account = format!("somebody:x:{SOMEBODY}:{SOMEBODY}::{}:/bin/sh\n", home.display());
    let accounts = site.join("passwd");
    fs::write(&accounts, fs::read_to_string("/etc/passwd").unwrap() + &account).unwrap();
    let of_root = site.join("session");
    fs::create_dir(&of_root).unwrap();
    fs::set_permissions(&of_root, fs::Permissions::from_mode(0o700)).unwrap();
    let svscan = scan(&site, "exec setuidgid somebody exo", || {
        let mut wrapper = WITH_ACCOUNTS;
        let accounts = accounts.display().to_string();
        wrapper[5] = &accounts;
        let mut command = svscan::svscan(site.scratch(), &wrapper, &[], "service");
        for name in ["SKYNET_CONFIG", "XDG_CONFIG_HOME", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.env("HOME", "/root").env("XDG_RUNTIME_DIR", &of_root);
        command
    });
    does_its_items_through_kills(&site, svscan);
}

#[test]
fn a_user_without_a_home_is_told_what_to_set() {
    let site = Site::per_item(PRINTS, "");
    for home in [Some("/root"), None] {
        let mut command = Command::new(program("setuidgid"));
        command.args([OsStr::new("nobody"), program("exo").as_os_str()]);
        command.current_dir(site.join("p")).env_clear().envs(home.map(|home| ("HOME", home)));
        let out = command.output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(111), "{said}");
        for words in ["store: is not known", "set HOME or XDG_STATE_HOME, or store in"] {
            assert!(said.contains(words), "{said}");
        }
    }
}

#[test]
fn a_store_of_another_user_is_told_with_whose_it_is_and_whose_it_must_be() {
    let site = Site::per_item(PRINTS, "");
    let store = site.join("store");
    fs::create_dir(&store).unwrap();
    chown(&store, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let mut command = Command::new("timeout");
    command.arg("20").arg(program("exo"));
    site.prepare(&mut command);
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let store = store.display();
    let wanted = format!(
        "unable to make {store}/takers: permission denied; {store} belongs to user {SOMEBODY}, and \
         must belong to exo's worker, user 1"
    );
    assert!(out.status.code() == Some(111) && said.contains(&wanted), "{said}");
}
