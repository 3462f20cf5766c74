//! `skynet install` and `uninstall`, killed at each call that changes something, and on a full disk.

#![allow(clippy::unwrap_used, clippy::panic)]

mod made;
mod site;

use made::{edition, folder, installed};
use site::{Kind, Place, Site};
use std::fs;
use testkit::calls::{self, Call};
use testkit::{Output, program, run_within};

/// System calls that change something.
const CHANGES: &str = "mkdir,mkdirat,openat,open,write,writev,fsync,rename,renameat,renameat2,unlink,\
    unlinkat,symlink,symlinkat,chmod,fchmod,fchmodat,chown,lchown,fchownat,flock,utimensat,rmdir";

/// Runs skynet under strace, with these options.
fn traced(site: &Site, options: &[&str], args: &[&str]) -> Output {
    let skynet = program("skynet");
    let all = ["-f", "-q", "-e"].iter().copied();
    let trace = format!("trace={CHANGES}");
    let all = all.chain([trace.as_str()]).chain(options.iter().copied());
    let all: Vec<&str> =
        all.chain([skynet.to_str().unwrap()]).chain(args.iter().copied()).collect();
    run_within(site::SOON, &mut site.command("strace", &all))
}

/// Returns up to `most` points of a verb at which it can be killed.
fn points(site: &Site, most: usize, args: &[&str]) -> Vec<Call> {
    let trace = site.desk().join("trace");
    let said = traced(site, &["-o", trace.to_str().unwrap()], args);
    assert_eq!(said.code, Some(0), "{said:?}");
    // With -f each line begins with a pid.
    let lines = fs::read_to_string(trace).unwrap();
    let bare = lines.lines().filter_map(|line| line.split_once(' ').map(|(_, rest)| rest.trim()));
    let all = calls::of(&bare.collect::<Vec<_>>().join("\n"));
    assert!(all.len() > 20, "{all:?}");
    if std::env::var_os("SKYNET_LONG").is_some() || all.len() <= most {
        return all;
    }
    (0..most).map(|i| all[i * all.len() / most].clone()).collect()
}

fn kill_at(site: &Site, point: &Call, args: &[&str]) -> bool {
    let rule = format!("inject={}:signal=KILL:when={}", point.0, point.1);
    let said = traced(site, &["-o", "/dev/null", "-e", &rule], args);
    said.code != Some(0)
}

#[test]
fn wherever_install_is_killed_the_old_or_the_new_is_there_and_the_next_goes_on() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = folder(&site, "p", "0");
        site.well(&["install", &dir]);
        let points = points(&site, 16, &["install", &dir]);
        let (mut killed, mut new) = (0, 0);
        for (number, point) in points.iter().enumerate() {
            let before = edition(&site, "p");
            let next = format!("{number}-next");
            folder(&site, "p", &next);
            killed += usize::from(kill_at(&site, point, &["install", &dir]));
            let there = edition(&site, "p");
            assert!(there == before || there == next, "{point:?}: {there}");
            new += usize::from(there == next);
            let again = format!("{number}-again");
            folder(&site, "p", &again);
            site.well(&["install", &dir]);
            assert_eq!((edition(&site, "p"), installed(&site)), (again, vec!["p".to_owned()]));
        }
        println!("{kind:?}: killed at {killed} of {} points, new at {new}", points.len());
        assert!(killed * 2 > points.len() && new < killed, "{killed} killed, {new} new");
    });
}

#[test]
fn wherever_uninstall_is_killed_the_next_goes_on() {
    Site::each(|kind| {
        let site = Site::new(kind);
        let dir = folder(&site, "p", "one");
        site.well(&["install", &dir, "--enable"]);
        let points = points(&site, 10, &["uninstall", "--purge", "p"]);
        let mut killed = 0;
        for point in &points {
            site.well(&["install", &dir, "--enable"]);
            killed += usize::from(kill_at(&site, point, &["uninstall", "--purge", "p"]));
            if installed(&site).contains(&"p".to_owned()) {
                site.well(&["uninstall", "--purge", "p"]);
            }
            // Whatever has lost its directory has lost all else before.
            for left in [site.at(Place::Logs).join("p"), site.at(Place::Run).join("supervise/p")] {
                assert!(!left.exists(), "{point:?}: {} is left", left.display());
            }
            site.well(&["install", &dir]);
            assert_eq!(installed(&site), ["p"], "{point:?}");
        }
        println!("{kind:?}: killed at {killed} of {} points", points.len());
        assert!(killed * 2 > points.len());
    });
}

#[test]
fn on_a_full_disk_nothing_is_installed_and_what_was_there_stays() {
    let site = Site::new(Kind::System);
    let mount = "mkdir -p /etc/skynet/participants && \
        mount -t tmpfs -o size=200k,mode=755 tmpfs /etc/skynet/participants";
    let mounted = run_within(site::SOON, &mut site.command("sh", &["-c", mount]));
    assert_eq!(mounted.code, Some(0), "{mounted:?}");
    let dir = folder(&site, "p", "one");
    site.well(&["install", &dir]);
    for (number, size) in [(1, 150), (2, 30)] {
        // In one file, for which there is no room, and in many that each find some.
        for part in 0..number * 5 {
            fs::write(format!("{dir}/lib/large{part}"), vec![b'x'; size << 10]).unwrap();
        }
        assert!(site.ends(111, &["install", &dir]).contains("out of disk space"));
        assert_eq!(installed(&site), ["p"]);
        assert!(!site.dir("p").join("lib/large0").exists());
        for part in 0..number * 5 {
            fs::remove_file(format!("{dir}/lib/large{part}")).unwrap();
        }
    }
    folder(&site, "p", "two");
    site.well(&["install", &dir]);
    assert_eq!(edition(&site, "p"), "two");
}
