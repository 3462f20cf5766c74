//! The folder in which everybody may leave an item.

use crate::conformance::{arrived, done, event, send, settled};
use crate::embedded::settings;
use crate::support::{Moved, World, item, job, place};
use linux::watch::{self, Watcher};
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::Scratch;
use work::embedded::Settings;
use work::{Ask, Broker, Collected, DropFolder, Embedded, Event, NewJob, Reader, Unread};

const LIMIT: usize = 100;

fn folder(scratch: &Scratch) -> (DropFolder, PathBuf) {
    let path = scratch.join("drop");
    (DropFolder::open(&path, "q", LIMIT), path)
}

#[test]
fn a_file_becomes_a_job_of_its_owner_and_is_gone() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o3733);
    fs::write(path.join("mine"), item("a")).unwrap();
    chown(path.join("mine"), Some(54_321), None).unwrap();
    fs::write(path.join(".unfinished"), item("b")).unwrap();
    let collected = folder.collect(&mut world.store).unwrap();
    assert_eq!(collected, Collected { submitted: 1, ..Collected::default() });
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!((taken.item, taken.owner, &*taken.wfid), (item("a"), Some(54_321), "w"));
    assert!(!path.join("mine").exists() && path.join(".unfinished").exists());
}

#[test]
fn a_file_is_opened_once_so_that_what_was_seen_to_be_readable_is_what_is_read() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    let watcher = Watcher::new().unwrap();
    for each in [path.clone(), path.join(".taken")] {
        let each = CString::new(each.as_os_str().as_bytes()).unwrap();
        // The same twice in a row is reported once.
        watcher.add(&each, watch::OPENED | watch::READER_CLOSED).unwrap();
    }
    for (name, bytes) in [("good", item("a")), ("bad", b"nonsense".to_vec())] {
        fs::write(path.join(format!(".{name}")), bytes).unwrap();
        fs::rename(path.join(format!(".{name}")), path.join(name)).unwrap();
    }
    watcher.reports(|_| {});
    folder.collect(&mut world.store).unwrap();
    let mut opened = Vec::new();
    watcher.reports(|report| {
        if report.what & watch::OPENED != 0 {
            opened.push(String::from_utf8_lossy(report.name).into_owned());
        }
    });
    // The folders themselves are opened, too.
    opened.retain(|name| name.ends_with("good") || name.ends_with("bad"));
    opened.sort();
    assert_eq!(opened, ["bad", "good"]);
}

#[test]
fn an_item_without_a_name_is_named_by_its_file() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
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
    let (mut folder, path) = folder(&world.scratch);
    fs::write(path.join("bad"), b"nonsense").unwrap();
    fs::write(path.join("long"), format!("{{\"fields\":{{\"x\":\"{}\"}}}}", "y".repeat(LIMIT)))
        .unwrap();
    assert_eq!(folder.first_why(), None);
    let collected = folder.collect(&mut world.store).unwrap();
    assert_eq!(collected, Collected { buried: 2, ..Collected::default() });
    let first = world.reader().dead(9).unwrap().remove(1).reason;
    assert_eq!((folder.first_why(), folder.first_why()), (Some(first), None));
    let mut dead = world.reader().dead(9).unwrap();
    dead.sort_by(|a, b| a.reason.cmp(&b.reason));
    assert_eq!(dead[0].bytes, b"nonsense");
    assert!(dead[0].reason.contains("an object is expected"), "{}", dead[0].reason);
    assert_eq!(dead[1].reason, "the item has 119 bytes; 100 are allowed");
}

#[test]
fn what_was_moved_away_and_not_yet_removed_is_not_recorded_twice() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
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
fn an_item_that_has_the_name_of_another_is_a_dead_item_and_says_so() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    world.submit(NewJob { identity: "a!!".to_owned(), owner: Some(7), ..job("a") });
    fs::write(path.join("his"), item("a")).unwrap();
    let expected = Collected { buried: 1, ..Collected::default() };
    assert_eq!(folder.collect(&mut world.store).unwrap(), expected);
    let [dead] = &world.reader().dead(9).unwrap()[..] else { panic!("not one dead item") };
    assert_eq!((dead.owner, &dead.bytes), (Some(0), &item("a")));
    assert!(dead.reason.starts_with("job 1 has its name"), "{}", dead.reason);
}

#[test]
fn an_item_that_is_named_as_a_job_without_a_name_is_a_dead_item_and_says_so() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    world.submit(NewJob { wfid: String::new(), ..job("dropped") });
    for (name, collected) in [
        ("job-1", Collected { buried: 1, ..Collected::default() }),
        ("job-x", Collected { submitted: 1, ..Collected::default() }),
    ] {
        let item = format!(r#"{{"fei":{{"wfid":"{name}","expid":"0"}},"fields":{{}}}}"#);
        fs::write(path.join("his"), item).unwrap();
        assert_eq!(folder.collect(&mut world.store).unwrap(), collected, "{name}");
    }
    let reader = world.reader();
    assert_eq!(reader.jobs_of("job-1").unwrap().len(), 1);
    let [dead] = &reader.dead(9).unwrap()[..] else { panic!("not one dead item") };
    assert_eq!(dead.reason, "the process job-1 is a job without a name");
}

#[test]
fn links_folders_and_pipes_harm_nothing() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    let secret = world.scratch.join("secret");
    fs::write(&secret, item("secret")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&secret, path.join("symlink")).unwrap();
    fs::hard_link(&secret, path.join("hardlink")).unwrap();
    fs::create_dir_all(path.join("full/of")).unwrap();
    fs::create_dir(path.join("empty")).unwrap();
    let fifo = path.join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::write(path.join("good"), item("good")).unwrap();
    let collected = folder.collect(&mut world.store).unwrap();
    assert_eq!(collected, Collected { submitted: 1, buried: 4, odd: 1, ..Collected::default() });
    assert_eq!(fs::read(&secret).unwrap(), item("secret"));
    let mut told: Vec<_> = world.reader().dead(99).unwrap();
    told.sort_by(|a, b| a.reason.cmp(&b.reason));
    for (dead, name) in told.iter().zip(["empty", "fifo", "hardlink", "symlink"]) {
        assert_eq!(dead.reason, format!("{name} is no plain file, or has a second name"));
        assert_eq!((dead.owner, &*dead.bytes), (Some(0), &b""[..]));
    }
    assert_eq!(told.len(), 4);
    let left: Vec<_> = fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(world.take(Ask::Now).unwrap().identity, "good!!");
    assert_eq!(world.take(Ask::Now), None);
}

/// Everybody may put what they like into the folder as soon as it has its name.
#[test]
fn a_drop_folder_never_has_its_name_without_the_folder_that_is_ours_alone() {
    let scratch = Scratch::new();
    for n in 0..50 {
        let path = scratch.join(&n.to_string());
        let watched = path.clone();
        let watcher = std::thread::spawn(move || {
            while fs::symlink_metadata(&watched).is_err() {}
            fs::symlink_metadata(watched.join(".taken")).is_ok()
        });
        let _ = DropFolder::open(&path, "q", LIMIT);
        assert!(watcher.join().unwrap(), "{n}");
        let modes = ["", ".taken"]
            .map(|name| fs::symlink_metadata(path.join(name)).unwrap().mode() & 0o7777);
        assert_eq!(modes, [0o3733, 0o700]);
    }
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 50, "nothing is left over");
}

/// What is told, and who is to blame for it.
type Put<'a> = (&'a str, &'a dyn Fn(&Path));

/// An exo of before made the folder first, and may have been killed then.
#[test]
fn a_drop_folder_that_lacks_ours_gets_it_and_what_somebody_else_put_there_is_never_used() {
    let mut world = World::new();
    let of_other = world.scratch.join("other's");
    fs::create_dir(&of_other).unwrap();
    fs::write(of_other.join("1.2.3.x"), item("not dropped")).unwrap();
    let made = |path: &Path, mode: u32| {
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let rows: [Put<'_>; 4] = [
        ("it is no folder; move it away", &|path| symlink(&of_other, path).unwrap()),
        ("it is no folder; move it away", &|path| fs::write(path, "").unwrap()),
        ("it belongs to user 54321; move it away", &|path| {
            made(path, 0o777);
            chown(path, Some(WORKER), None).unwrap();
        }),
        ("others may write there (mode 0777)", &|path| made(path, 0o777)),
    ];
    for (n, (why, put)) in rows.into_iter().enumerate() {
        let path = world.scratch.join(&n.to_string());
        let taken = path.join(".taken");
        made(&path, 0o3733);
        put(&taken);
        let mut folder = DropFolder::open(&path, "q", LIMIT);
        fs::write(path.join("good"), item(&n.to_string())).unwrap();
        // It is the same where ours was there and is gone.
        for away in ["first", "second"] {
            let told = folder.collect(&mut world.store).unwrap_err().to_string();
            assert!(told.contains(&format!("use {}: {why}", taken.display())), "{told}");
            fs::rename(&taken, path.join(format!(".{away}"))).unwrap();
            let submitted = folder.collect(&mut world.store).unwrap().submitted;
            assert_eq!(submitted, usize::from(away == "first"));
            let found = fs::symlink_metadata(&taken).unwrap();
            assert_eq!((found.is_dir(), found.mode() & 0o777, found.uid()), (true, 0o700, 0));
            fs::remove_dir(&taken).unwrap();
            put(&taken);
        }
    }
    assert_eq!(fs::read_dir(of_other).unwrap().count(), 1);
    assert_eq!(world.reader().jobs(None, None, 9).unwrap().len(), 4);
}

/// A user can exchange a file for a folder between the look and the move.
#[test]
fn folders_that_were_moved_in_the_place_of_files_end_no_look() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    fs::create_dir_all(path.join(".taken/1.2.3.full/of")).unwrap();
    fs::create_dir(path.join(".taken/1.2.3.empty")).unwrap();
    for name in ["a", "b"] {
        fs::write(path.join("good"), item(name)).unwrap();
        let buried = usize::from(name == "a");
        let expected = Collected { submitted: 1, buried, odd: 1, ..Collected::default() };
        assert_eq!(folder.collect(&mut world.store).unwrap(), expected);
    }
    let [dead] = &world.reader().dead(9).unwrap()[..] else { panic!("not one dead item") };
    assert_eq!(dead.reason, "1.2.3.empty is no plain file, or has a second name");
    assert!(path.join(".taken/1.2.3.full/of").exists());
}

#[test]
fn a_flood_is_taken_in_portions_and_nothing_of_it_is_lost() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
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

#[test]
fn a_flood_of_links_folders_and_unfinished_files_is_looked_at_in_portions() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    for n in 0..100 {
        symlink("nowhere", path.join(format!("link {n}"))).unwrap();
        // These stay where they are.
        fs::create_dir_all(path.join(format!("full {n}/of"))).unwrap();
        fs::write(path.join(format!(".unfinished {n}")), "{").unwrap();
    }
    fs::write(path.join("good"), item("good")).unwrap();
    for look in 0..2 {
        let (mut portions, mut odd, mut buried, mut submitted) = (1, 0, 0, 0);
        loop {
            let portion = folder.collect(&mut world.store).unwrap();
            assert!(portion.odd + portion.buried <= 64, "{portion:?}");
            (odd, buried) = (odd + portion.odd, buried + portion.buried);
            submitted += portion.submitted;
            if !portion.more {
                break;
            }
            portions += 1;
        }
        assert!(portions >= 4 - look && portions <= 6, "{portions}");
        let all = if look == 0 { (100, 100, 1) } else { (100, 0, 0) };
        assert_eq!((odd, buried, submitted), all);
    }
}

fn envelope(more: &str) -> String {
    let item = String::from_utf8(item("a")).unwrap();
    format!(r#"{{"skynet":1,"item":{item}{more}}}"#)
}

#[test]
fn an_envelope_says_how_its_item_is_treated_and_who_is_answered() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    let more = r#","reply-to":"replies","priority":5,"delay":"10s","label":"l","key":"k""#;
    fs::write(path.join("x"), envelope(more)).unwrap();
    assert_eq!(folder.collect(&mut world.store).unwrap().submitted, 1);
    let job = world.reader().jobs(None, None, 9).unwrap().remove(0);
    assert_eq!((&*job.label, job.priority, job.owner), ("l", 5, Some(0)));
    assert_eq!(world.take(Ask::Now), None, "not before its time");
    world.clock.pass(Duration::from_secs(11));
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!((taken.item, &*taken.wfid), (item("a"), "w"));
    assert_eq!(world.reader().lock_holder("k").unwrap().as_deref(), Some("job 1"));
    world.end(taken.lease, work::Ended::default());
    let answer = world.reader().jobs(Some("replies"), None, 9).unwrap().remove(0);
    assert_eq!(world.reader().item(answer.id).unwrap(), Some(item("a")));
}

#[test]
fn an_envelope_that_says_what_it_may_not_is_a_dead_item_with_the_reason() {
    let mut world = World::new();
    let (mut folder, path) = folder(&world.scratch);
    for (more, reason) in [
        (r#","prio":1"#, "in its envelope: unknown field `prio`"),
        (r#","reply-to":"../x""#, "the name of a queue, \"../x\", begins with a dot"),
    ] {
        fs::write(path.join("x"), envelope(more)).unwrap();
        assert_eq!(folder.collect(&mut world.store).unwrap().buried, 1);
        let dead = world.reader().dead(1).unwrap().remove(0);
        assert!(dead.reason.contains(reason), "{}", dead.reason);
    }
    // The envelope takes no room from its item.
    let pad = |n: usize| format!(r#"{{"fields":{{"x":"{}"}}}}"#, "y".repeat(n - 19));
    for (bytes, submitted) in [(LIMIT, 1), (LIMIT + 1, 0)] {
        let text = format!(r#"{{"skynet":1,"item":{},"label":"{}"}}"#, pad(bytes), "l".repeat(64));
        fs::write(path.join("x"), text).unwrap();
        assert_eq!(folder.collect(&mut world.store).unwrap().submitted, submitted);
    }
}

#[test]
fn who_makes_up_a_label_for_each_item_is_told_to_stop() {
    let mut world = World::new();
    let submit = |n: usize| {
        let label = format!("l {n}");
        work::Change::Submit(Box::new(NewJob { label, ..job(&n.to_string()) }))
    };
    for n in 0..1000 {
        world.apply(&submit(n));
    }
    assert!(world.refused(&submit(1000)).to_string().contains("too many labels"));
    world.apply(&work::Change::SetLabel { name: "l 1000".to_owned(), priority: 1, active: true });
    world.apply(&submit(1000));
    assert_eq!(world.take(Ask::Now).unwrap().identity, "1000");
    assert_eq!(world.take(Ask::Now).unwrap().identity, "0");
}

/// Opens a queue that has this drop folder.
fn opened(scratch: &Scratch, folder: DropFolder) -> Embedded {
    let settings = Settings { drop_folder: Some(folder), ..settings(scratch, &Moved::new()) };
    Embedded::open(&settings).unwrap()
}

#[test]
fn that_dead_items_go_for_others_is_told_once() {
    let scratch = Scratch::new();
    let (folder, path) = folder(&scratch);
    drop(crate::support::open(&scratch, &Moved::new()));
    // Before anybody uses the store: this goes past its locks.
    let raw = rusqlite::Connection::open(place(&scratch).database()).unwrap();
    let owner = fs::metadata(&path).unwrap().uid();
    raw.execute(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 999)
            INSERT INTO dead (queue, owner, fault, reason, at, sum, bytes)
            SELECT 'q', ?1, 10, 'no item', 1, 0, x'' FROM n",
        [owner],
    )
    .unwrap();
    let mut broker = opened(&scratch, folder);
    let (mut buried, mut crowded) = (0, 0);
    for n in 0..4 {
        fs::write(path.join(n.to_string()), "no item").unwrap();
        broker.collect();
        broker.flush();
        testkit::until(20, || {
            while let Some(event) = broker.next() {
                match event {
                    Event::Buried { count, why } => {
                        buried += count;
                        assert_eq!(why, "not a work item: an object is expected");
                    }
                    Event::Crowded => crowded += 1,
                    other => panic!("{other:?}"),
                }
            }
            buried == n + 1
        });
    }
    // What else there is to tell comes before the answer to this.
    broker.send(7, job("last"));
    event(&mut broker, |event| {
        crowded += usize::from(matches!(event, Event::Crowded));
        matches!(event, Event::Sent { .. }).then_some(())
    });
    let left = "SELECT count(*) FROM dead";
    assert_eq!(raw.query_row(left, [], |row| row.get::<_, u32>(0)).unwrap(), 1000);
    assert_eq!(crowded, 1);
}

/// Run by the test below as a user who may not read every file.
#[test]
#[ignore = "run by another test, as another user"]
fn works_although_a_file_cannot_be_read() {
    let scratch = Scratch::new();
    let folder = PathBuf::from(std::env::var_os("WORK_DROPS").expect("named"));
    let mut broker = opened(&scratch, DropFolder::open(&folder, "q", LIMIT));
    let mut unread = event(&mut broker, |event| match event {
        Event::Unread(file) => Some(file),
        _ => None,
    });
    assert!(std::mem::take(&mut unread.why).contains("access denied"));
    let (path, why) = (folder.join("secret"), String::new());
    assert_eq!(unread, Unread { path, owner: 0, why, mode: "g+r" });
    for name in ["good", "next"] {
        broker.ask(Ask::Now, "q_0");
        // That it cannot be read is not told again.
        let taken = arrived(&mut broker);
        assert_eq!(taken.job().item, item(name));
        broker.finish(taken, done());
        settled(&mut broker);
        fs::write(folder.join("next"), item("next")).unwrap();
        broker.collect();
    }
    assert_eq!(Reader::open(&place(&scratch)).unwrap().dead(9).unwrap(), []);
}

/// Run by the test below as a user who may not read every file.
#[test]
#[ignore = "run by another test, as another user"]
fn buries_what_cannot_be_read_any_more() {
    let scratch = Scratch::new();
    let folder = PathBuf::from(std::env::var_os("WORK_DROPS").expect("named"));
    let mut broker = opened(&scratch, DropFolder::open(&folder, "q", LIMIT));
    let (count, why) = event(&mut broker, |event| match event {
        Event::Buried { count, why } => Some((count, why)),
        Event::Unread(file) => panic!("{file:?} waits where nobody can change it"),
        _ => None,
    });
    assert_eq!(count, 1);
    assert!(why.starts_with("it could not be read once it was taken: "), "{why}");
    broker.ask(Ask::Now, "q_0");
    assert_eq!(arrived(&mut broker).job().item, item("good"));
    let dead = Reader::open(&place(&scratch)).unwrap().dead(9).unwrap();
    assert!(matches!(&dead[..], [one] if one.owner == Some(0) && one.reason == why), "{dead:?}");
    assert_eq!(fs::read_dir(folder.join(".taken")).unwrap().count(), 0);
}

/// Runs by the user who may not read every file, on the folder `path`, what needs that.
#[track_caller]
fn as_worker(scratch: &Scratch, path: &Path, test: &str, expected: &str) {
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // The worker may not reach where it was built.
    let program = scratch.join("program");
    let built = std::env::current_exe().unwrap();
    assert!(Command::new("cp").arg(built).arg(&program).status().unwrap().success());
    let mut command = Command::new(program);
    command.args(["--exact", &format!("drops::{test}"), "--ignored"]);
    command.env("WORK_DROPS", path).env("WORK_EXPECTED", expected);
    command.env("RUST_BACKTRACE", "0").current_dir("/");
    let ran = testkit::run(command.uid(WORKER).gid(WORKER));
    assert!(ran.code == Some(0) && ran.out().contains("1 passed"), "{ran:?}");
}

/// User id of the worker there.
const WORKER: u32 = 54_321;

/// Makes a drop folder that belongs to the worker, and an item of root's in it.
fn folder_of_worker(scratch: &Scratch) -> PathBuf {
    let (_, path) = folder(scratch);
    for of_worker in [path.clone(), path.join(".taken")] {
        chown(of_worker, Some(WORKER), Some(WORKER)).unwrap();
    }
    fs::write(path.join("good"), item("good")).unwrap();
    fs::set_permissions(path.join("good"), fs::Permissions::from_mode(0o644)).unwrap();
    path
}

/// Its owner put another file in the place of the one that was opened, and can reach neither.
#[test]
fn a_file_that_cannot_be_read_once_it_was_taken_becomes_a_dead_item() {
    let scratch = Scratch::new();
    let path = folder_of_worker(&scratch);
    let taken = path.join(".taken/1.2.3.secret");
    fs::write(&taken, item("secret")).unwrap();
    fs::set_permissions(taken, fs::Permissions::from_mode(0o600)).unwrap();
    as_worker(&scratch, &path, "buries_what_cannot_be_read_any_more", "");
}

#[test]
fn a_file_that_cannot_be_read_stays_is_told_once_and_all_else_goes_on() {
    let scratch = Scratch::new();
    let path = folder_of_worker(&scratch);
    fs::write(path.join("secret"), item("secret")).unwrap();
    fs::set_permissions(path.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    as_worker(&scratch, &path, "works_although_a_file_cannot_be_read", "");
    assert_eq!(fs::read(path.join("secret")).unwrap(), item("secret"));
    assert_eq!(fs::read_dir(path.join(".taken")).unwrap().count(), 0);
}

/// Run by the test below as a user who may not do everything.
#[test]
#[ignore = "run by another test, as another user"]
fn says_why_it_cannot_take_what_is_left() {
    let mut world = World::new();
    let path = PathBuf::from(std::env::var_os("WORK_DROPS").expect("named"));
    let expected = std::env::var("WORK_EXPECTED").expect("named");
    let mut folder = DropFolder::open(&path, "q", LIMIT);
    let why = folder.collect(&mut world.store).unwrap_err().to_string();
    assert!(why.starts_with(&expected), "{why} instead of {expected}");
    let remedy =
        "; the folder, mode 3733, and .taken in it, mode 0700, must belong to exo's worker";
    assert!(why.ends_with(remedy), "{why}");
}

/// What cannot be done, on what below the folder, and how it comes to that.
type Row<'a> = (&'a str, &'a str, &'a dyn Fn(&Path));

#[test]
fn a_drop_folder_that_cannot_be_used_is_named_with_what_to_do() {
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let rows: [Row<'_>; 6] = [
        ("read", "", &|path| chown(path, Some(0), None).unwrap()),
        // Where all may list and write, each may still move no more than what is their own.
        ("move", "/good", &|path| {
            chown(path, Some(0), None).unwrap();
            mode(path, 0o3777);
        }),
        ("move", "/good", &|path| mode(path, 0o3533)),
        ("read", "", &|path| mode(path, 0o3333)),
        ("move", "/good", &|path| mode(&path.join(".taken"), 0o500)),
        ("remove", "/.taken/1.2.3.old", &|path| {
            fs::rename(path.join("good"), path.join(".taken/1.2.3.old")).unwrap();
            mode(&path.join(".taken"), 0o500);
        }),
    ];
    for (verb, what, spoil) in rows {
        let scratch = Scratch::new();
        let path = folder_of_worker(&scratch);
        spoil(&path);
        let drops = path.display();
        let expected =
            format!("unable to take what is left in {drops}: unable to {verb} {drops}{what}: ");
        as_worker(&scratch, &path, "says_why_it_cannot_take_what_is_left", &expected);
    }
}

#[test]
fn a_drop_folder_that_is_gone_holds_up_nothing_and_is_used_again_when_it_is_back() {
    let scratch = Scratch::new();
    let (gone, path) = folder(&scratch);
    let mut broker = opened(&scratch, gone);
    broker.ask(Ask::Now, "q_0");
    send(&mut broker, "first");
    let first = arrived(&mut broker);
    fs::remove_dir_all(&path).unwrap();
    broker.collect();
    let what = event(&mut broker, |event| match event {
        Event::Trouble { what, lasting: false } => Some(what),
        other => panic!("{other:?}"),
    });
    assert!(what.contains("drop/.taken") && what.contains("; start exo again"), "{what}");
    broker.finish(first, done());
    settled(&mut broker);
    folder(&scratch);
    fs::write(path.join("late"), item("late")).unwrap();
    event(&mut broker, |event| matches!(event, Event::Well).then_some(()));
    broker.ask(Ask::Now, "q_0");
    assert_eq!(arrived(&mut broker).job().item, item("late"));
}
