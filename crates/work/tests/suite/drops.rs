//! The folder in which everybody may leave an item.

use crate::support::{World, item};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::PathBuf;
use testkit::Scratch;
use work::{Collected, DropFolder};

const LIMIT: usize = 100;

fn folder(scratch: &Scratch) -> (DropFolder, PathBuf) {
    let path = scratch.join("drop");
    (DropFolder::open(&path, "q", LIMIT).unwrap(), path)
}

#[test]
fn a_file_becomes_a_job_of_its_owner_and_is_gone() {
    let mut world = World::new();
    let (folder, path) = folder(&world.scratch);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o3733);
    fs::write(path.join("mine"), item("a")).unwrap();
    chown(path.join("mine"), Some(54_321), None).unwrap();
    fs::write(path.join(".unfinished"), item("b")).unwrap();
    let collected = folder.collect(&mut world.store).unwrap();
    assert_eq!(collected, Collected { submitted: 1, ..Collected::default() });
    let taken = world.take(work::Ask::Now).unwrap();
    assert_eq!((taken.item, taken.owner, &*taken.wfid), (item("a"), Some(54_321), "w"));
    assert!(!path.join("mine").exists() && path.join(".unfinished").exists());
}

#[test]
fn an_item_without_a_name_is_named_by_its_file() {
    let mut world = World::new();
    let (folder, path) = folder(&world.scratch);
    for _ in 0..2 {
        fs::write(path.join("x"), b"{\"fields\":{}}").unwrap();
        let collected = folder.collect(&mut world.store).unwrap();
        assert_eq!(collected.submitted, 1, "dropped again it is another");
    }
    let jobs = world.reader().jobs(None, None, 9).unwrap();
    assert!(jobs.iter().all(|job| job.identity.starts_with("drop!")), "{jobs:?}");
}

#[test]
fn what_is_no_item_or_too_long_is_a_dead_item_with_the_reason() {
    let mut world = World::new();
    let (folder, path) = folder(&world.scratch);
    fs::write(path.join("bad"), b"nonsense").unwrap();
    fs::write(path.join("long"), format!("{{\"fields\":{{\"x\":\"{}\"}}}}", "y".repeat(LIMIT)))
        .unwrap();
    let collected = folder.collect(&mut world.store).unwrap();
    assert_eq!(collected, Collected { buried: 2, ..Collected::default() });
    let mut dead = world.reader().dead(9).unwrap();
    dead.sort_by(|a, b| a.reason.cmp(&b.reason));
    assert_eq!(dead[0].bytes, b"nonsense");
    assert!(dead[0].reason.contains("an object is expected"), "{}", dead[0].reason);
    assert_eq!(dead[1].reason, "the item has 119 bytes; 100 are allowed");
}

#[test]
fn what_was_moved_away_and_not_yet_removed_is_not_recorded_twice() {
    let mut world = World::new();
    let (folder, path) = folder(&world.scratch);
    let left = path.join(".taken/77.1.2.x");
    for expected in [
        Collected { submitted: 1, ..Collected::default() },
        Collected { known: 1, ..Collected::default() },
    ] {
        fs::write(&left, b"{\"fields\":{}}").unwrap();
        assert_eq!(folder.collect(&mut world.store).unwrap(), expected);
        assert!(!left.exists());
    }
}

#[test]
fn links_folders_and_pipes_harm_nothing() {
    let mut world = World::new();
    let (folder, path) = folder(&world.scratch);
    let secret = world.scratch.join("secret");
    fs::write(&secret, item("secret")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&secret, path.join("symlink")).unwrap();
    fs::hard_link(&secret, path.join("hardlink")).unwrap();
    fs::create_dir_all(path.join("full/of")).unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    let fifo = path.join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::write(path.join("good"), item("good")).unwrap();
    let collected = folder.collect(&mut world.store).unwrap();
    assert_eq!(collected, Collected { submitted: 1, odd: 5, ..Collected::default() });
    assert_eq!(fs::read(&secret).unwrap(), item("secret"));
    let left: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(world.take(work::Ask::Now).unwrap().identity, "good!!");
    assert_eq!(world.take(work::Ask::Now), None);
}

#[test]
fn a_flood_is_taken_in_portions_and_nothing_of_it_is_lost() {
    let mut world = World::new();
    let (folder, path) = folder(&world.scratch);
    for n in 0..150 {
        fs::write(path.join(n.to_string()), item(&n.to_string())).unwrap();
    }
    let mut portions = 0;
    while folder.collect(&mut world.store).unwrap().more {
        portions += 1;
    }
    assert!(portions >= 2, "{portions}");
    assert_eq!(world.reader().jobs(None, None, 999).unwrap().len(), 150);
}
