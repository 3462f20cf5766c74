//! Files that are not what they should be.

use crate::random::check;
use crate::support::{Moved, World, fault, job, opened, place};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use testkit::Scratch;
use work::{
    Ask, Change, Clock, Ended, JobId, NewJob, Place, Policy, Reader, Safety, Store, Trouble,
};

fn try_open(at: &Place, clock: &Arc<Moved>) -> Result<Store, Trouble> {
    Store::open(at, Arc::clone(clock) as Arc<dyn Clock>, Safety::Kill)
}

/// A store with some of everything in it, all of it in `work.db`.
fn filled() -> (Scratch, Arc<Moved>) {
    let mut world = World::new();
    for n in 0..40 {
        let long = "x".repeat(n * 50);
        let item = format!("{{\"fields\":{{\"x\":\"{long}\"}}}}").into_bytes();
        world.submit(NewJob { item, key: Some(n.to_string()), ..job(&n.to_string()) });
    }
    for code in [0, 0, 0, 1, 10, 11, 0] {
        let lease = world.taken();
        world.end(lease, Ended { output: Some(vec![b'o'; 3000]), ..fault(code) });
    }
    world.taken();
    world.take(Ask::Ahead);
    let World { scratch, clock, store, .. } = world;
    drop(store);
    let conn = Connection::open(place(&scratch).database()).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    (scratch, clock)
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // The index of the log is made anew by whoever comes first.
        if entry.file_type().unwrap().is_file() && !name.ends_with("-shm") {
            let bytes = fs::read(entry.path()).unwrap();
            if !bytes.is_empty() {
                all.insert(name, bytes);
            }
        }
    }
    all
}

#[test]
fn a_copy_made_by_sqlite_while_it_was_used_takes_the_place_of_a_damaged_store() {
    let mut world = World::new();
    for name in ["done", "in hand", "waits"] {
        world.submit(job(name));
    }
    let lease = world.taken();
    world.end(lease, Ended::default());
    let lease = world.taken();
    let (at, copy) = (place(&world.scratch), world.scratch.join("copy.db"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let reading = Connection::open_with_flags(at.database(), flags).unwrap();
    reading.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    drop(reading);
    world.end(lease, Ended::default());
    let World { scratch: _scratch, clock, store, .. } = world;
    drop(store);
    for end in ["", "-wal", "-shm"] {
        let file = format!("{}{end}", at.database().display());
        fs::write(file, b"what is left of it").unwrap();
    }
    assert!(try_open(&at, &clock).is_err());
    for end in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", at.database().display())).unwrap();
    }
    fs::rename(&copy, at.database()).unwrap();
    let mut store = try_open(&at, &clock).unwrap();
    opened(&mut store, "q", Policy::default());
    let mut jobs = Reader::open(&at).unwrap().jobs(Some("q"), None, 9).unwrap();
    jobs.sort_by_key(|job| job.id);
    let states: Vec<_> = jobs.iter().map(|job| job.subject.state.name()).collect();
    assert_eq!(states, ["stop", "ready", "ready"]);
}

type Spoil = Box<dyn Fn(&Path)>;

#[test]
fn a_foreign_a_newer_and_a_cut_file_are_refused_by_name_and_left_as_they_are() {
    let sql = |sql: &'static str| {
        move |path: &Path| Connection::open(path).unwrap().execute_batch(sql).unwrap()
    };
    let cases: [(&str, Spoil); 5] = [
        ("not a store of skynet", Box::new(sql("PRAGMA application_id = 7"))),
        ("made by a newer skynet (version 999", Box::new(sql("PRAGMA user_version = 999"))),
        ("not a store of skynet", Box::new(|path| fs::write(path, "hello ".repeat(999)).unwrap())),
        (
            "damaged",
            Box::new(|path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            }),
        ),
        (
            "damaged",
            Box::new(|path| {
                let mut bytes = fs::read(path).unwrap();
                let at = bytes.len() - 3 * 4096;
                bytes[at..at + 4096].fill(0xa5);
                fs::write(path, bytes).unwrap();
            }),
        ),
    ];
    for (reason, spoil) in cases {
        let (scratch, clock) = filled();
        let at = place(&scratch);
        spoil(&at.database());
        let before = files(at.folder());
        let said = try_open(&at, &clock).expect_err("refused").to_string();
        assert!(said.contains(reason) && said.contains("store/work.db"), "{said}");
        let after = files(at.folder());
        assert!(after == before, "{reason}: {:?} were {:?}", after.keys(), before.keys());
        if reason != "damaged" {
            let said = Reader::open(&at).expect_err("refused").to_string();
            assert!(said.contains(reason), "{said}");
        }
    }
}

#[test]
fn what_is_no_file_is_refused_by_name_and_nobody_waits_for_it() {
    for (name, make) in [("work.db", "mkfifo"), ("work.db", "mkdir"), ("work.db-wal", "mkfifo")] {
        let (scratch, clock) = filled();
        let at = place(&scratch);
        let path = at.folder().join(name);
        fs::rename(&path, scratch.join("away")).unwrap_or_default();
        assert!(std::process::Command::new(make).arg(&path).status().unwrap().success());
        for said in [
            try_open(&at, &clock).expect_err("refused").to_string(),
            Reader::open(&at).expect_err("refused").to_string(),
        ] {
            assert!(said.contains("not a store of skynet") && said.contains(name), "{said}");
        }
    }
}

#[test]
fn an_empty_file_is_a_store_that_nobody_has_made_yet() {
    let scratch = Scratch::new();
    let at = place(&scratch);
    fs::create_dir(at.folder()).unwrap();
    fs::write(at.database(), "").unwrap();
    drop(try_open(&at, &Moved::new()).unwrap());
    assert_eq!(Reader::open(&at).unwrap().counts().unwrap(), []);
}

#[test]
fn a_cut_or_a_missing_file_of_a_store_that_was_used_begins_no_new_one_and_its_log_stays() {
    let cut = |len: u64| {
        move |path: &Path| fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap()
    };
    let cases: [(&str, Spoil); 4] = [
        ("work.db: the file is empty, though", Box::new(cut(0))),
        ("work.db: not a store of skynet", Box::new(cut(1))),
        ("work.db: not a store of skynet", Box::new(cut(511))),
        ("work.db: the file is missing, though", Box::new(|path| fs::remove_file(path).unwrap())),
    ];
    for (reason, spoil) in cases {
        let mut world = World::new();
        world.submit(job("a"));
        let World { scratch, clock, store, .. } = world;
        drop(store);
        let at = place(&scratch);
        spoil(&at.database());
        let before = files(at.folder());
        assert!(before.contains_key("work.db-wal"));
        for trouble in [try_open(&at, &clock).err(), Reader::open(&at).err()] {
            let trouble = trouble.expect("refused");
            let said = trouble.to_string();
            assert!(said.contains(reason) && trouble.is_lasting(), "{said}");
            assert!(files(at.folder()) == before, "{reason}");
        }
        // As it is told to.
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", at.database().display()));
        }
        drop(try_open(&at, &clock).unwrap());
    }
}

/// What is done to a store's files behind the back of whoever has it open.
type Deed = fn(&Path);

#[test]
fn a_store_that_was_replaced_or_removed_while_it_is_open_is_written_no_more_and_the_new_one_is_left_alone()
 {
    let deeds: [Deed; 3] = [
        |folder| fs::remove_file(folder.join("work.db")).unwrap(),
        |folder| fs::rename(folder, folder.with_file_name("moved")).unwrap(),
        |folder| {
            // As from a copy, under another name first.
            fs::copy(folder.join("work.db"), folder.join("copy")).unwrap();
            fs::rename(folder.join("copy"), folder.join("work.db")).unwrap();
        },
    ];
    for (number, deed) in deeds.into_iter().enumerate() {
        let mut world = World::new();
        world.submit(job("before"));
        let folder = place(&world.scratch).folder().to_owned();
        deed(&folder);
        let before = fs::read(folder.join("work.db")).ok();
        for _ in 0..2 {
            let submit = Change::Submit(Box::new(job("after")));
            let Err(work::Error::Trouble(why)) = world.store.apply(&submit) else {
                panic!("{number}: it went on");
            };
            assert!(why.is_lasting() && why.to_string().contains("replaced or removed"), "{why}");
        }
        assert_eq!(fs::read(folder.join("work.db")).ok(), before, "{number}");
    }
}

#[test]
fn an_empty_file_that_somebody_took_items_from_is_no_new_store() {
    let (scratch, clock) = filled();
    let at = place(&scratch);
    assert!(!files(at.folder()).contains_key("work.db-wal"));
    fs::write(at.database(), "").unwrap();
    let said = try_open(&at, &clock).expect_err("refused").to_string();
    assert!(said.contains("work.db: the file is empty, though it was in use"), "{said}");
    assert_eq!(fs::read(at.database()).unwrap(), b"");
    fs::remove_file(at.database()).unwrap();
    drop(try_open(&at, &clock).unwrap());
}

/// Everything that can be asked.
pub(crate) fn everything(at: &Place) -> Result<Vec<String>, Trouble> {
    let reader = Reader::open(at)?;
    let mut all = Vec::new();
    for job in reader.jobs(None, None, 9999)? {
        all.push(format!("{:?}", reader.item(job.id)?));
        all.push(format!("{:?}", reader.attempts(job.id)?));
        all.push(format!("{job:?}"));
    }
    all.push(format!("{:?} {:?} {:?}", reader.counts()?, reader.dead(99)?, reader.classes()?));
    Ok(all)
}

/// Takes and finishes whatever there is.
fn drain(store: &mut Store) -> Result<(), work::Error> {
    let opening = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let work::Applied::Opened(taker) = store.apply(&opening)? else { panic!("no taker") };
    let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
    while let work::Applied::Taken(taken) = store.apply(&take)? {
        store.apply(&Change::End(taken.lease, Box::default()))?;
    }
    Ok(())
}

#[test]
fn of_flipped_bytes_each_is_refused_or_harmless_and_no_item_is_ever_another() {
    let flips = if std::env::var_os("SKYNET_LONG").is_some() { 1000 } else { 60 };
    let (scratch, clock) = filled();
    let at = place(&scratch);
    let good = fs::read(at.database()).unwrap();
    let items: Vec<_> = {
        let reader = Reader::open(&at).unwrap();
        (1..=40).map(|id| reader.item(JobId(id)).unwrap()).collect()
    };
    let mut refused = 0;
    for n in 0..flips {
        // Spread over the file, and over the bits.
        let position = (n * 7919 + n * n * 31) % good.len();
        let mut bytes = good.clone();
        bytes[position] ^= 1 << (n % 8);
        let copy = Place::new(scratch.join("copy"));
        let _ = fs::remove_dir_all(copy.folder());
        fs::create_dir(copy.folder()).unwrap();
        fs::write(copy.database(), &bytes).unwrap();
        let context = format!("byte {position}");
        match try_open(&copy, &clock) {
            Err(trouble) => {
                refused += 1;
                assert!(trouble.is_lasting(), "{context}: {trouble}");
                assert!(trouble.to_string().contains("copy/work.db"), "{context}: {trouble}");
                assert_eq!(fs::read(copy.database()).unwrap(), bytes, "{context}");
            }
            Ok(mut store) => {
                // Not noticed at the door: a number in a row, a letter in a text, a blob, or
                // nothing at all. Whatever it is, no item is another, and the rules hold.
                for (id, item) in items.iter().enumerate() {
                    let found = Reader::open(&copy).unwrap().item(JobId(id as i64 + 1));
                    assert!(
                        found.as_ref().is_ok_and(|found| found == item)
                            || found.is_err_and(|e| e.is_lasting()),
                        "{context}: an item is another"
                    );
                }
                let said = everything(&copy).err().into_iter().map(work::Error::Trouble);
                for error in said.chain(drain(&mut store).err()) {
                    let named = error.to_string().contains("copy/work.db");
                    assert!(named, "{context}: {error}");
                }
                let conn = Connection::open(copy.database()).unwrap();
                check(&conn, &context);
            }
        }
    }
    assert!(refused > flips / 20, "only {refused} of {flips} were refused");
}

fn spoil(world: &World, sql: &str) {
    Connection::open(place(&world.scratch).database()).unwrap().execute_batch(sql).unwrap();
}

/// Returns the answers that were sent, the newest first.
fn replies(world: &World) -> Vec<String> {
    let reader = world.reader();
    let jobs = reader.jobs(Some("replies"), None, 99).unwrap();
    let item = |job: &work::read::Job| reader.item(job.id).unwrap().unwrap();
    jobs.iter().map(|job| String::from_utf8(item(job)).unwrap()).collect()
}

fn asked(name: &str) -> NewJob {
    NewJob { reply_to: Some("replies".to_owned()), ..job(name) }
}

#[test]
fn a_job_whose_item_is_spoilt_ends_alone_and_its_sender_and_the_dead_items_tell() {
    for ask in [Ask::Now, Ask::Ahead] {
        let mut world = World::new();
        world.classed();
        let id = world.submit(asked("a"));
        let gone = world.submit(asked("b"));
        world.submit(job("c"));
        spoil(
            &world,
            "UPDATE item SET bytes = x'0041' WHERE job = 1; DELETE FROM item WHERE job = 2",
        );
        let next = world.take(ask).expect("what is whole").identity;
        assert_eq!(next, "c");
        for id in [id, gone] {
            assert_eq!(world.state(id), ("stop", 10, 1));
        }
        let dead = world.reader().dead(9).unwrap();
        assert_eq!((dead[1].job, &*dead[1].bytes), (Some(id), &b"\0A"[..]));
        assert_eq!((dead[0].job, &*dead[0].bytes), (Some(gone), &b""[..]));
        assert!(dead.iter().all(|dead| dead.reason.contains("damaged")), "{dead:?}");
        let reader = world.reader();
        assert_eq!(reader.last_dead().unwrap(), dead[0].id);
        let behind = reader.dead_after(dead[1].id, 9).unwrap();
        assert_eq!((behind.len(), behind[0].id, behind[0].job), (1, dead[0].id, Some(gone)));
        assert_eq!(reader.dead_after(dead[0].id, 9).unwrap(), []);
        let replies = replies(&world);
        assert!(replies[1].contains(r#""expid":"a""#), "{replies:?}");
        let error = r#""error":{"class":"E","#;
        assert!(replies.iter().all(|reply| reply.contains(error)), "{replies:?}");
        world.submit(job("d"));
    }
}

#[test]
fn an_item_that_is_spoilt_while_it_is_worked_on_stops_nothing_either() {
    let mut world = World::new();
    for code in [0, 10, 3] {
        world.submit(asked(&code.to_string()));
        let lease = world.taken();
        spoil(&world, &format!("UPDATE item SET bytes = x'00' WHERE job = {}", lease.job.0));
        world.end(lease, fault(code));
        let expected = if code == 3 { "ready" } else { "stop" };
        assert_eq!(world.state(lease.job).0, expected);
        if code != 3 {
            assert!(replies(&world)[0].contains("damaged"), "{:?}", replies(&world));
        }
    }
    world.submit(job("e"));
}

#[test]
fn an_answer_that_is_spoilt_is_answered_with_an_error() {
    let mut world = World::new();
    world.classed();
    let (taker, instance) = (world.taker, String::new());
    let arrive =
        Change::Arrive { job: Box::new(job("a")), known: None, taker, ask: Ask::Now, instance };
    let work::Applied::Taken(taken) = world.apply(&arrive) else { panic!("not taken") };
    world.end(taken.lease, Ended { output: Some(b"{}".to_vec()), ..Ended::default() });
    spoil(&world, "UPDATE attempt SET output = x'7b20'");
    let again = world.apply(&arrive);
    let work::Applied::Finished { answer: Some(answer), .. } = again else { panic!("{again:?}") };
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.contains("\"expid\":\"a\"") && answer.contains("damaged"), "{answer}");
    assert!(answer.contains(r#""class":"E""#), "{answer}");
}
