//! History that stays small: what is removed, and the room that is given back.

use crate::conformance::{arrived, event, settled};
use crate::embedded::settings;
use crate::kills::{as_process, calls_of, points};
use crate::random::{check, raw};
use crate::support::{Moved, World, job, open, place};
use rusqlite::Connection;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use testkit::Scratch;
use testkit::wait::holds_within;
use work::embedded::{Keep, Settings};
use work::{
    Applied, Ask, Broker, Change, Clock, Embedded, Ended, Error, Event, JobId, Place, Reader,
    Safety, Store, Wall,
};

const LARGE: usize = 20_000;
const MIB: u64 = 1 << 20;

/// A store with one job that waits, then `count` that are done, each with a large answer.
fn filled(count: usize) -> World {
    let mut world = World::new();
    let delay = Duration::from_secs(1_000_000);
    world.submit(work::NewJob { delay, ..job("waits") });
    for n in 0..count {
        world.submit(job(&n.to_string()));
        let lease = world.taken();
        let output = Some(vec![b'x'; LARGE]);
        world.end(lease, Ended { output, ..Ended::default() });
    }
    world.clock.pass(Duration::from_secs(120));
    world
}

fn clean(store: &mut Store, before: Wall, most: u64) -> Result<u32, Error> {
    let (mut after, mut all) = (JobId(0), 0);
    loop {
        let step = Change::Clean { before, most, after, at_most: 4 };
        let Applied::Cleaned { removed, next, .. } = store.apply(&step)? else {
            panic!("not cleaned")
        };
        all += removed;
        match next {
            Some(next) => after = next,
            None => return Ok(all),
        }
    }
}

fn compact(store: &mut Store) -> Result<usize, Error> {
    let mut steps = 1;
    while let Applied::Compacted { has_more: true } =
        store.apply(&Change::Compact { at_most: 64 })?
    {
        steps += 1;
    }
    Ok(steps)
}

fn number(conn: &Connection, pragma: &str) -> u64 {
    conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).unwrap() as u64
}

fn used(conn: &Connection) -> u64 {
    (number(conn, "page_count") - number(conn, "freelist_count")) * number(conn, "page_size")
}

fn whole(conn: &Connection) {
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

/// Returns the size of the file once all of the log is in it.
fn size(scratch: &Scratch) -> u64 {
    let at = place(scratch).database();
    let conn = Connection::open(&at).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    fs::metadata(at).unwrap().len()
}

#[test]
fn the_first_that_stopped_are_removed_until_the_store_is_as_small_as_it_may_be() {
    let mut world = filled(200);
    let raw = raw(&world.scratch);
    assert!(used(&raw) > 4 * MIB);
    assert_eq!(clean(&mut world.store, Wall(i64::MIN), 8 * MIB).unwrap(), 0, "small enough");
    let removed = clean(&mut world.store, Wall(i64::MIN), 2 * MIB).unwrap();
    assert!(used(&raw) <= 2 * MIB && used(&raw) > MIB, "{}", used(&raw));
    let left: Vec<_> =
        world.reader().jobs(None, None, 999).unwrap().iter().map(|j| j.id.0).collect();
    // The one that waits is older than all of them.
    let expected: Vec<i64> = (i64::from(removed) + 2..=201).rev().chain([1]).collect();
    assert_eq!(left, expected);
    check(&raw, "afterwards");
}

#[test]
fn what_stopped_within_the_last_minute_is_kept_however_full_the_store_is() {
    let mut world = filled(50);
    for n in 0..50 {
        world.submit(job(&format!("young {n}")));
        let lease = world.taken();
        world.end(lease, Ended { output: Some(vec![b'x'; LARGE]), ..Ended::default() });
    }
    assert_eq!(clean(&mut world.store, Wall(i64::MIN), 1).unwrap(), 50);
    assert_eq!(world.reader().jobs(None, None, 999).unwrap().len(), 51);
}

/// Delivers a job of another broker to us, for the first time or again.
#[track_caller]
fn deliver(world: &mut World) -> Applied {
    let output = Some(vec![b'x'; LARGE]);
    let arrive = Change::Arrive {
        job: Box::new(job("from afar")),
        known: None,
        taker: world.taker,
        ask: Ask::Now,
        instance: "q_0".to_owned(),
    };
    let came = world.apply(&arrive);
    if let Applied::Taken(taken) = &came {
        world.end(taken.lease, Ended { output, ..Ended::default() });
    }
    came
}

#[test]
fn what_another_broker_may_send_again_is_known_however_full_the_store_is_and_not_however_old() {
    let mut world = filled(5);
    assert!(matches!(deliver(&mut world), Applied::Taken(_)));
    let id = JobId(7);
    let hours = Duration::from_secs(7200);
    for is_answered in [false, true] {
        world.clock.pass(hours);
        clean(&mut world.store, Wall(i64::MIN), 1).unwrap();
        assert_eq!(world.reader().jobs(None, None, 9).unwrap().len(), 2, "the others went");
        let Applied::Finished { answer, .. } = deliver(&mut world) else { panic!("done again") };
        assert_eq!(answer.is_none(), is_answered);
        world.apply(&Change::Answered(id, 1));
    }
    world.apply(&Change::Settled(vec![id, JobId(99)]));
    clean(&mut world.store, Wall(i64::MIN), 1).unwrap();
    assert_eq!(world.reader().job(id).unwrap(), None);
    // Nobody waits for ever for what never comes again.
    assert!(matches!(deliver(&mut world), Applied::Taken(_)));
    let before = Wall(world.store.now().wall.0 + 1);
    assert_eq!(clean(&mut world.store, before, u64::MAX).unwrap(), 1);
    let owed: u32 =
        raw(&world.scratch).query_row("SELECT count(*) FROM owed", [], |row| row.get(0)).unwrap();
    assert_eq!(owed, 0);
}

/// A clock that was set by hand, or by a machine that has none of its own.
#[test]
fn what_was_recorded_while_the_clock_was_ahead_keeps_nothing_else_and_itself_no_longer_than_that() {
    const YEAR: i64 = 365 * 86_400 * 1_000_000;
    let mut world = World::new();
    let done = |world: &mut World, name: &str| {
        world.submit(job(name));
        let lease = world.taken();
        world.end(lease, Ended::default());
    };
    let before = |world: &World| Wall(world.store.now().wall.0 - 600_000_000);
    let left = |world: &World| {
        let jobs = world.reader().jobs(None, None, 99).unwrap();
        jobs.iter().rev().map(|job| job.identity.clone()).collect::<Vec<_>>()
    };
    done(&mut world, "first");
    world.clock.set_wall(YEAR);
    done(&mut world, "ahead");
    world.clock.set_wall(-YEAR);
    for n in 0..5 {
        done(&mut world, &n.to_string());
    }
    let waits = Duration::from_secs(1_000_000);
    for n in 0..9 {
        world.submit(work::NewJob { delay: waits, ..job(&format!("waits {n}")) });
    }
    world.clock.pass(Duration::from_secs(700));

    // Where it is behind, as it may be before it is set, nothing is known to be ahead, whatever is
    // submitted then.
    world.clock.set_wall(-YEAR);
    let at = before(&world);
    assert_eq!(clean(&mut world.store, at, u64::MAX).unwrap(), 0);
    world.submit(work::NewJob { delay: waits, ..job("waits behind") });
    assert_eq!(clean(&mut world.store, at, u64::MAX).unwrap(), 0);
    world.clock.set_wall(YEAR);
    let young = Wall(world.store.now().wall.0 - 720_000_000);
    assert_eq!(clean(&mut world.store, young, u64::MAX).unwrap(), 0, "nothing is older for that");

    let at = before(&world);
    assert_eq!(clean(&mut world.store, at, u64::MAX).unwrap(), 6);
    assert_eq!((left(&world).len(), &*left(&world)[0]), (11, "ahead"));
    world.clock.pass(Duration::from_secs(500));
    let at = before(&world);
    assert_eq!(clean(&mut world.store, at, u64::MAX).unwrap(), 0, "it counts from then on");
    world.clock.pass(Duration::from_secs(200));
    let at = before(&world);
    assert_eq!(clean(&mut world.store, at, u64::MAX).unwrap(), 1);
    assert!(left(&world).iter().all(|name| name.starts_with("waits")));
}

#[test]
fn room_is_given_back_in_steps_and_what_is_left_is_whole() {
    let mut world = filled(300);
    let large = size(&world.scratch);
    let kept: Vec<_> = (280..=301).map(JobId).collect();
    let before = {
        let reader = world.reader();
        let of = |id: &JobId| (reader.job(*id).unwrap(), reader.attempts(*id).unwrap());
        kept.iter().map(of).collect::<Vec<_>>()
    };
    let before_that = before[0].0.as_ref().unwrap().changed;
    clean(&mut world.store, before_that, u64::MAX).unwrap();
    let steps = compact(&mut world.store).unwrap();
    let alone = fs::metadata(place(&world.scratch).database()).unwrap().len();
    assert!(alone < large / 3, "nobody else need write before the file is cut: {alone}");
    let small = size(&world.scratch);
    assert!(small < large / 3, "{small} of {large}");
    assert!(steps > 10, "only {steps} steps");
    let raw = raw(&world.scratch);
    whole(&raw);
    let free = number(&raw, "freelist_count") * number(&raw, "page_size");
    // So much stays for what comes next.
    assert!((MIB - 4096..=MIB + 4096).contains(&free), "{free} bytes are free");
    let reader = world.reader();
    for (id, (job, attempts)) in kept.iter().zip(before) {
        assert_eq!((reader.job(*id).unwrap(), reader.attempts(*id).unwrap()), (job, attempts));
    }
    // And there is room for more.
    world.submit(job("more"));
    assert_eq!(compact(&mut world.store).unwrap(), 1, "nothing is left to do");
}

#[test]
fn a_store_that_was_made_without_it_gets_smaller_too() {
    let world = filled(100);
    let World { scratch, clock, store, .. } = world;
    drop(store);
    let conn = Connection::open(place(&scratch).database()).unwrap();
    conn.execute_batch("PRAGMA auto_vacuum = 0; VACUUM;").unwrap();
    assert_eq!(number(&conn, "auto_vacuum"), 0);
    drop(conn);
    let large = size(&scratch);
    let mut store = open(&scratch, &clock);
    assert_eq!(number(&raw(&scratch), "auto_vacuum"), 2);
    let now = store.now().wall;
    clean(&mut store, now, u64::MAX).unwrap();
    compact(&mut store).unwrap();
    assert!(size(&scratch) < large * 2 / 3);
    whole(&raw(&scratch));
    assert_eq!(Reader::open(&place(&scratch)).unwrap().jobs(None, None, 9).unwrap().len(), 1);
}

#[test]
fn the_queue_keeps_its_store_as_small_as_it_may_be() {
    let (scratch, clock) = (Scratch::new(), Moved::new());
    let keep = Keep { age: None, size: Some(2 * MIB) };
    let mut broker = Embedded::open(&Settings { keep, ..settings(&scratch, &clock) }).unwrap();
    let mut store = open(&scratch, &clock);
    let mut work = |n: usize| {
        store.apply(&Change::Submit(Box::new(job(&n.to_string())))).unwrap();
        broker.ask(Ask::Now, "q_0");
        let delivery = arrived(&mut broker);
        broker.finish(delivery, Ended { output: Some(vec![b'x'; LARGE]), ..Ended::default() });
        settled(&mut broker);
    };
    let raw = raw(&scratch);
    for n in 0..200 {
        work(n);
    }
    assert!(used(&raw) > 3 * MIB, "nothing is so old yet");
    clock.pass(Duration::from_secs(120));
    let mut n = 200;
    let is_small = holds_within(Duration::from_secs(60), || {
        n += 1;
        work(n);
        used(&raw) <= 2 * MIB && number(&raw, "freelist_count") * 2048 <= MIB + (MIB / 4)
    });
    assert!(is_small, "{} used, {} pages free", used(&raw), number(&raw, "freelist_count"));
    whole(&raw);
}

#[test]
fn that_what_may_not_be_removed_is_too_much_is_told_once() {
    let (scratch, clock) = (Scratch::new(), Moved::new());
    let keep = Keep { age: None, size: Some(MIB) };
    let mut broker = Embedded::open(&Settings { keep, ..settings(&scratch, &clock) }).unwrap();
    let mut store = open(&scratch, &clock);
    let waits = Duration::from_secs(1_000_000);
    for n in 0..100 {
        let (delay, item) = (waits, vec![b'x'; LARGE]);
        let new = work::NewJob { delay, item, ..job(&format!("waits {n}")) };
        store.apply(&Change::Submit(Box::new(new))).unwrap();
    }
    let hour = Duration::from_secs(4000);
    let mut told = 0;
    for round in 0..6 {
        clock.pass(hour);
        broker.send(round, job(&round.to_string()));
        event(&mut broker, |event| {
            told += u32::from(matches!(event, Event::Full));
            matches!(event, Event::Sent { ticket, .. } if ticket == round).then_some(())
        });
    }
    assert_eq!(told, 1);
    assert_eq!(Reader::open(&place(&scratch)).unwrap().jobs(None, None, 999).unwrap().len(), 106);
}

/// Run by the tests below, as a process to be killed: removes most of what there is, gives back the
/// room, and does again what could not be done.
#[test]
#[ignore = "run by other tests, as a process to be killed"]
fn a_shrinking() {
    let folder = std::env::var_os("WORK_STORE").expect("named");
    let clock: Arc<dyn Clock> = Moved::new();
    let place = Place::new(folder);
    let open = || Store::open(&place, Arc::clone(&clock), Safety::Power);
    let mut store = open().or_else(|_| open()).or_else(|_| open()).expect("the store");
    let now = store.now().wall;
    let mut again = |step: &mut dyn FnMut(&mut Store) -> Result<(), Error>| {
        let done = (0..5).any(|_| step(&mut store).is_ok());
        assert!(done, "it cannot be done");
    };
    again(&mut |store| clean(store, now, u64::MAX).map(drop));
    again(&mut |store| compact(store).map(drop));
}

/// A store like it for each try.
fn copy(of: &Scratch) -> Scratch {
    let scratch = Scratch::new();
    let to = place(&scratch);
    fs::create_dir(to.folder()).unwrap();
    fs::copy(place(of).database(), to.database()).unwrap();
    scratch
}

/// Jobs that do not go: the one that waits.
fn examine(scratch: &Scratch, context: &str) {
    let clock = Moved::new();
    let mut store = open(scratch, &clock);
    whole(&raw(scratch));
    check(&raw(scratch), context);
    let reader = Reader::open(&place(scratch)).unwrap();
    for job in reader.jobs(None, None, 999).unwrap() {
        assert!(reader.item(job.id).unwrap().is_some(), "{context}: {job:?} has no item");
        let tries = reader.attempts(job.id).unwrap().len();
        assert_eq!(tries, job.tries as usize, "{context}");
    }
    assert!(reader.job(JobId(1)).unwrap().is_some(), "{context}");
    let now = store.now().wall;
    clean(&mut store, now, u64::MAX).unwrap();
    compact(&mut store).unwrap();
    drop(store);
    assert_eq!(reader.jobs(None, None, 999).unwrap().len(), 1, "{context}");
    assert!(size(scratch) < 2 * MIB, "{context}: {}", size(scratch));
}

/// Some jobs, all long done, in one file.
fn old() -> Scratch {
    let World { scratch, store, .. } = filled(120);
    drop(store);
    assert!(size(&scratch) > 2 * MIB);
    scratch
}

#[test]
fn wherever_it_is_killed_while_it_shrinks_the_store_is_whole_and_can_go_on() {
    let old = old();
    let calls = calls_of(&copy(&old), "room::a_shrinking");
    let all: Vec<_> =
        calls.iter().flat_map(|(call, count)| (1..=*count).map(move |n| (call, n))).collect();
    assert!(all.len() > 100, "only {} calls", all.len());
    for point in points(all.len(), 40) {
        let (call, n) = all[point - 1];
        let scratch = copy(&old);
        as_process(&scratch, "room::a_shrinking", &[format!("{call}:signal=KILL:when={n}")]);
        examine(&scratch, &format!("killed at {call} number {n}"));
    }
}

#[test]
fn whichever_call_fails_while_it_shrinks_it_is_done_again() {
    let old = old();
    for (call, count) in calls_of(&copy(&old), "room::a_shrinking") {
        let error = match &*call {
            "pwrite64" | "write" | "ftruncate" | "fallocate" => "ENOSPC",
            "fdatasync" | "fsync" | "pread64" => "EIO",
            _ => continue,
        };
        for point in points(count, 6) {
            let scratch = copy(&old);
            let rule = format!("{call}:error={error}:when={point}");
            let ended = as_process(&scratch, "room::a_shrinking", std::slice::from_ref(&rule));
            let output = fs::read_to_string(scratch.join("output")).unwrap();
            assert!(ended.success(), "{rule}: {output}");
            examine(&scratch, &rule);
        }
    }
}
