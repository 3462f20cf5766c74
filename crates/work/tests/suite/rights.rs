//! Who may open what.

use crate::support::{Moved, World, job, open, place};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use testkit::Scratch;
use work::{Change, Reader, Trouble};

#[test]
fn the_folder_is_open_to_its_group_for_reading_and_to_nobody_else_whatever_the_umask() {
    let mut world = World::new();
    world.submit(job("a"));
    let mode = |name: &str| {
        let path = world.scratch.join("store").join(name);
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    };
    assert_eq!(mode(""), 0o750);
    assert_eq!(mode("takers"), 0o700);
    for file in ["work.db", "work.db-wal", "work.db-shm", "work.lock", "work.turn"] {
        assert_eq!(mode(file), 0o640, "{file}");
    }
}

#[test]
fn what_a_killed_life_left_half_made_is_finished_by_the_next() {
    let (scratch, clock) = (Scratch::new(), Moved::new());
    let set = |name: &str, mode| {
        fs::set_permissions(scratch.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let mode = |name: &str| fs::metadata(scratch.join(name)).unwrap().permissions().mode() & 0o777;
    fs::create_dir(scratch.join(".store.new")).unwrap();
    set(".store.new", 0o700);
    drop(open(&scratch, &clock));
    assert!(!scratch.join(".store.new").exists());
    assert_eq!(mode("store"), 0o750);
    for file in ["work.db", "work.db-wal", "work.db-shm", "work.lock"] {
        fs::remove_file(scratch.join("store").join(file)).unwrap();
    }
    fs::write(scratch.join("store/work.db"), "").unwrap();
    set("store/work.db", 0o600);
    drop(open(&scratch, &clock));
    assert_eq!(mode("store/work.db"), 0o640);
    // One that its owner has closed stays closed.
    set("store/work.db", 0o600);
    drop(open(&scratch, &clock));
    assert_eq!(mode("store/work.db"), 0o600);
}

/// Run by the test below as another user.
#[test]
#[ignore = "run by another test, as another user"]
fn reads_the_store_named_in_the_environment() {
    let folder = std::env::var_os("WORK_STORE").expect("named");
    let place = work::Place::new(folder);
    let reader = Reader::open(&place).expect("readable");
    assert_eq!(reader.jobs(None, None, 9).expect("read").len(), 1);
    fs::File::options().write(true).open(place.database()).expect_err("not writable");
}

#[test]
fn a_member_of_the_group_reads_also_while_nobody_writes_and_others_do_not() {
    const GROUP: u32 = 54_321;
    for closed in [false, true] {
        let mut world = World::new();
        world.submit(job("a"));
        for name in ["", "work.db", "work.db-wal", "work.db-shm"] {
            let path = world.scratch.join("store").join(name);
            std::os::unix::fs::chown(path, None, Some(GROUP)).unwrap();
        }
        let World { scratch, clock, store, .. } = world;
        let store = (!closed).then_some(store);
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ran_by = |group: u32| {
            let program = std::env::current_exe().unwrap();
            // Others may not reach where it was built.
            let copy = scratch.join("program");
            // By another process: a test beside this one may start a child while we would have
            // it open for writing, and what is open so cannot be run.
            let copied = Command::new("cp").arg(program).arg(&copy).status().unwrap();
            assert!(copied.success());
            let mut command = Command::new(copy);
            command.args(["--exact", "rights::reads_the_store_named_in_the_environment"]);
            command.arg("--ignored").env("WORK_STORE", place(&scratch).folder());
            testkit::run(command.uid(54_321).gid(group).current_dir("/"))
        };
        let member = ran_by(GROUP);
        assert_eq!(member.code, Some(0), "closed {closed}: {member:?}");
        let stranger = ran_by(GROUP + 1);
        assert_eq!(stranger.code, Some(101), "closed {closed}: {stranger:?}");
        drop((store, clock));
    }
}

#[test]
fn a_reader_cannot_write_and_changes_are_seen_by_it_at_once() {
    let mut world = World::new();
    let reader = world.reader();
    let id = world.submit(job("a"));
    assert!(reader.job(id).unwrap().is_some());
    let lease = world.taken();
    world.apply(&Change::Interrupt(lease, Box::default()));
    assert_eq!(reader.attempts(id).unwrap().len(), 1);
    // The same way of opening, with nothing of ours in between.
    let raw = crate::random::raw(&world.scratch);
    raw.execute("DELETE FROM job", []).expect_err("read only");
}

#[test]
fn a_store_that_is_not_there_cannot_be_read_and_is_not_made() {
    let scratch = Scratch::new();
    let refused = Reader::open(&place(&scratch)).unwrap_err();
    assert!(matches!(refused, Trouble::Database { .. }), "{refused}");
    assert!(refused.to_string().contains("store/work.db"), "{refused}");
    assert!(!scratch.join("store").exists());
}
