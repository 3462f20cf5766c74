//! What an item costs, by a count that is the same on every machine: the steps that the database
//! takes; and what is read after it was locked.

use super::Store;
use crate::change::{Applied, Ask, Change, Ended, JobId, Lasted, Lease, NewJob, Policy, TakerId};
use crate::clock::{Clock, Now, Wall};
use crate::open::Safety;
use crate::place::Place;
use machine::time::Mono;
use rusqlite::Connection;
use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use testkit::Scratch;

/// Items of one commit, as many as one participant does meanwhile where none waits for the disk.
const TOGETHER: usize = 16;
const COMMITS: usize = 10;
/// Steps of the database for each item: a little more than it needs.
const MOST: u64 = 390;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Now {
        Now { mono: Mono(1_000_000), wall: Wall(1_000_000) }
    }

    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

fn item(number: usize) -> Change {
    Change::Submit(Box::new(NewJob {
        queue: "q".to_owned(),
        wfid: format!("w-{number}"),
        identity: "0_0".to_owned(),
        item: vec![b'x'; 200],
        ..NewJob::default()
    }))
}

fn ended() -> Ended {
    Ended {
        log: Some("@400000006743a5e52f0a1b2c".to_owned()),
        lasted: Some(Lasted { begun: Wall(999_000), ended: Wall(999_500) }),
        cpu_us: Some(20),
        peak_kib: Some(900),
        output: Some(vec![b'y'; 200]),
        ..Ended::default()
    }
}

fn made(store: &mut Store, changes: &[Change]) -> Vec<Applied> {
    store.apply_all(changes).unwrap().into_iter().map(Result::unwrap).collect()
}

fn taken(made: Vec<Applied>) -> impl Iterator<Item = Lease> {
    made.into_iter().filter_map(|made| match made {
        Applied::Taken(taken) => Some(taken.lease),
        _ => None,
    })
}

fn takes(taker: TakerId, ask: Ask, count: usize) -> Vec<Change> {
    (0..count).map(|_| Change::Take { taker, ask, instance: "q_0".to_owned() }).collect()
}

/// A new store, and a taker of its queue `q`.
fn opened(scratch: &Scratch) -> (Store, TakerId) {
    let place = Place::new(scratch.join("store"));
    let mut store = Store::open(&place, Arc::new(Stopped), Safety::Kill).unwrap();
    let open = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let Ok(Applied::Opened(taker)) = store.apply(&open) else { panic!("no taker") };
    (store, taker)
}

/// Counts the steps of the database from now on.
fn count_steps(store: &mut Store) -> Arc<AtomicU64> {
    let steps = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&steps);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        false
    };
    store.conn.as_mut().unwrap().progress_handler(1, Some(count)).unwrap();
    steps
}

#[test]
fn an_item_that_was_looked_ahead_for_costs_no_more_steps_than_it_has_to() {
    let scratch = Scratch::new();
    let (mut store, taker) = opened(&scratch);
    made(&mut store, &(0..200).map(item).collect::<Vec<_>>());
    let mut at_hand: VecDeque<_> = taken(made(&mut store, &takes(taker, Ask::Now, 1))).collect();
    at_hand.extend(taken(made(&mut store, &takes(taker, Ask::Ahead, 2 * TOGETHER))));

    let steps = count_steps(&mut store);
    for _ in 0..COMMITS {
        let mut changes = Vec::new();
        for _ in 0..TOGETHER {
            let done = at_hand.pop_front().unwrap();
            changes.push(Change::End(done, Box::new(ended())));
            changes.push(Change::Begin {
                lease: at_hand[0],
                instance: "q_0".to_owned(),
                at: Wall(1_000_000),
            });
        }
        changes.extend(takes(taker, Ask::Ahead, TOGETHER));
        at_hand.extend(taken(made(&mut store, &changes)));
    }
    let items = COMMITS * TOGETHER;
    assert_eq!(at_hand.len(), 2 * TOGETHER + 1, "each commit takes what it ends");
    let each = steps.load(Ordering::Relaxed) / items as u64;
    assert!(each <= MOST, "{each} steps for an item");
}

/// The steps of the end of a job with a key, where so many of it have stopped and so many wait, each in
/// two queues.
fn end_of_a_keyed_job(stopped: usize, waiting: usize) -> u64 {
    let scratch = Scratch::new();
    let (mut store, taker) = opened(&scratch);
    let keyed = |number: usize, queue: &str| {
        let Change::Submit(job) = item(number) else { panic!("no job") };
        let (queue, key) = (queue.to_owned(), Some("k".to_owned()));
        Change::Submit(Box::new(NewJob { queue, key, ..*job }))
    };
    for number in 0..stopped {
        made(&mut store, &[keyed(number, "q")]);
        let lease = taken(made(&mut store, &takes(taker, Ask::Now, 1))).next().unwrap();
        made(&mut store, &[Change::End(lease, Box::new(ended()))]);
    }
    let number = |number| number + stopped;
    made(&mut store, &(0..=waiting).map(|at| keyed(number(at), "q")).collect::<Vec<_>>());
    made(&mut store, &(0..=waiting).map(|at| keyed(number(at), "r")).collect::<Vec<_>>());
    let lease = taken(made(&mut store, &takes(taker, Ask::Now, 1))).next().unwrap();
    let steps = count_steps(&mut store);
    made(&mut store, &[Change::End(lease, Box::new(ended()))]);
    steps.load(Ordering::Relaxed)
}

#[test]
fn the_end_of_a_job_with_a_key_costs_the_same_however_many_have_the_key() {
    let few = end_of_a_keyed_job(2, 2);
    let many = end_of_a_keyed_job(300, 300);
    assert!(many < few + few / 10, "{few} steps became {many}");
}

/// The steps of four takings where so many wait for a key that is locked: of one without a key, of none,
/// of the next that has the key, and of one behind that which may not be taken.
fn takes_beside_a_line(waiting: usize) -> [u64; 4] {
    let scratch = Scratch::new();
    let (mut store, taker) = opened(&scratch);
    let keyed = |number: usize| {
        let Change::Submit(job) = item(number) else { panic!("no job") };
        Change::Submit(Box::new(NewJob { key: Some("k".to_owned()), ..*job }))
    };
    let all: Vec<_> = (0..=waiting).map(keyed).chain([item(waiting + 1)]).collect();
    all.chunks(1000).for_each(|some| drop(made(&mut store, some)));
    let steps = count_steps(&mut store);
    let next = |store: &mut Store| {
        steps.store(0, Ordering::Relaxed);
        let lease = taken(made(store, &takes(taker, Ask::Now, 1))).next();
        (lease, steps.load(Ordering::Relaxed))
    };
    let number =
        |(lease, steps): (Option<Lease>, u64)| (lease.map_or(0, |lease| lease.job.0), steps);
    let end = |store: &mut Store, job: i64| {
        let mut lease = store.in_hand(taker).unwrap().into_iter().map(|(lease, _)| lease);
        let lease = lease.find(|lease| lease.job.0 == job).unwrap();
        made(store, &[Change::End(lease, Box::new(ended()))]);
    };
    assert_eq!(number(next(&mut store)).0, 1);
    let (keyless, beside) = number(next(&mut store));
    let (none, in_vain) = number(next(&mut store));
    end(&mut store, 1);
    let (second, in_line) = number(next(&mut store));
    end(&mut store, 2);
    let Change::Submit(child) = item(waiting + 2) else { panic!("no job") };
    let (queue, parent) = ("r".to_owned(), Some(JobId(3)));
    made(&mut store, &[Change::Submit(Box::new(NewJob { queue, parent, ..*child }))]);
    let (fourth, behind) = number(next(&mut store));
    assert_eq!([keyless, none, second, fourth], [waiting as i64 + 2, 0, 2, 4]);
    [beside, in_vain, in_line, behind]
}

#[test]
fn a_taking_costs_the_same_however_many_wait_for_a_key_that_is_locked() {
    let few = takes_beside_a_line(10);
    let many = takes_beside_a_line(10_000);
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < few + few / 20, "{few} steps became {many}");
    }
}

#[test]
fn what_is_in_hand_is_read_although_the_store_was_locked_before() {
    let scratch = Scratch::new();
    let (mut store, taker) = opened(&scratch);
    made(&mut store, &[item(0)]);
    let lease = taken(made(&mut store, &takes(taker, Ask::Now, 1))).next().unwrap();

    store.conn = None;
    assert_eq!(store.in_hand(taker).unwrap(), [(lease, None)]);
    store.conn = None;
    let (queue, bytes) = store.item(lease.job).unwrap().unwrap();
    assert_eq!((&*queue, bytes.len()), ("q", 200));
}

#[test]
fn what_is_in_the_log_is_moved_into_the_file_when_there_is_time_for_it() {
    let scratch = Scratch::new();
    let place = Place::new(scratch.join("store"));
    let mut store = Store::open(&place, Arc::new(Stopped), Safety::Kill).unwrap();
    let size = || place.database().metadata().unwrap().len();
    // Whoever begins the log anew has other numbers at its head.
    let head = || fs::read(scratch.join("store/work.db-wal")).unwrap()[16..24].to_vec();
    let before = size();
    for number in 0..super::UNMOVED as usize {
        made(&mut store, &[item(number)]);
        assert_eq!(size(), before, "not while something is made");
        let (is_last, of_before) = (number + 1 == super::UNMOVED as usize, head());
        store.tidy().unwrap();
        assert_eq!((size() > before, head() != of_before), (is_last, is_last), "{number}");
    }
}

/// Whoever reads the table `meta` from now on finds a page that cannot be one.
pub(crate) fn spoil_meta(place: &Place) {
    let other = Connection::open(place.database()).unwrap();
    let spoil = "PRAGMA writable_schema = ON;
        UPDATE sqlite_schema SET rootpage = 1000000 WHERE name = 'meta';
        PRAGMA schema_version = 4711";
    other.execute_batch(spoil).unwrap();
}

/// Changes enough for the log to be moved.
pub(crate) fn make_enough(store: &mut Store) {
    for number in 0..super::UNMOVED as usize {
        made(store, &[item(1000 + number)]);
    }
}

#[test]
fn damage_that_is_met_when_the_log_is_moved_ends_all_writing() {
    let scratch = Scratch::new();
    let (mut store, _) = opened(&scratch);
    make_enough(&mut store);
    spoil_meta(&Place::new(scratch.join("store")));
    let said = store.tidy().unwrap_err();
    assert!(said.is_lasting() && store.damage.is_some(), "{said}");
    store.tidy().unwrap();
}

#[test]
fn what_keeps_the_log_from_being_moved_for_a_while_is_no_trouble() {
    let scratch = Scratch::new();
    let (mut store, _) = opened(&scratch);
    make_enough(&mut store);
    let other = Connection::open(Place::new(scratch.join("store")).database()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.tidy().unwrap();
    other.execute_batch("ROLLBACK").unwrap();
    made(&mut store, &[item(0)]);
}

/// Run by the tests below, under strace, which shows the marks among the calls.
#[test]
#[ignore = "run by another test, under strace"]
fn made_and_flushed() {
    let folder = std::env::var_os("WORK_STORE").expect("named");
    let place = Place::new(folder);
    let mark = |mark: &str| fs::write(place.folder().join("marks"), mark).unwrap();
    let mut store = Store::open(&place, Arc::new(Stopped), Safety::Power).unwrap();
    for round in 0..2 {
        let later = |number: usize| item(100 * round + number);
        // So much that the log would be moved into the file, which flushes it.
        let Change::Submit(mut large) = later(0) else { panic!("no item") };
        large.item = vec![b'x'; 3 << 20];
        assert!(store.apply_all_unflushed(&[Change::Submit(large)]).unwrap()[0].is_ok());
        mark("made");
        mark(if store.flush().is_ok() { "flushed" } else { "failed" });
        assert!(store.apply_all_unflushed(&[later(1)]).unwrap()[0].is_ok());
        mark("made");
        mark(if store.apply_all(&[later(2)]).is_ok() { "flushed" } else { "failed" });
    }
}

/// Returns the marks of [`made_and_flushed`], each with the calls on the log since the one before: `w` for
/// what was written there at once, a capital for what is at its beginning, `f` for a flush.
fn traced(inject: Option<&str>) -> Vec<(String, String)> {
    let scratch = Scratch::new();
    let (folder, trace) = (scratch.join("store"), scratch.join("trace"));
    let mut strace = std::process::Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-s", "16", "--trace=pwrite64,write,fdatasync", "-o"]);
    strace.arg(&trace).args(inject.map(|rule| format!("--inject={rule}")));
    for name in ["work.db-wal", "marks"] {
        strace.arg("-P").arg(folder.join(name));
    }
    strace.arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "store::tests::made_and_flushed", "--ignored"]);
    let ran = strace.env("WORK_STORE", &folder).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let (mut marks, mut calls) = (Vec::new(), String::new());
    for line in fs::read_to_string(&trace).unwrap().lines() {
        if line.contains("/marks>") {
            let mark = line.split('"').nth(1).unwrap().to_owned();
            marks.push((mark, std::mem::take(&mut calls)));
        } else if line.contains("fdatasync(") {
            calls.push('f');
        } else if line.contains(", 0) = ") {
            calls.push('W');
        } else if !calls.ends_with('w') {
            calls.push('w');
        }
    }
    marks
}

#[test]
fn what_may_be_flushed_later_waits_for_no_disk_and_all_else_does() {
    let marks = traced(None);
    assert_eq!(marks.len(), 8, "{marks:?}");
    // What was before the first is how the store is made.
    for (mark, calls) in &marks[1..] {
        // It is flushed behind all that was written.
        // Who begins the log anew flushes its head at once.
        let flushes = calls.replace("Wf", "W").contains('f');
        assert!(!calls.is_empty() && flushes == (mark == "flushed"), "{marks:?}");
        assert!(mark == "made" || calls.ends_with('f'), "{marks:?}");
    }
}

/// The kernel says once that it could not write, and takes it for written from then on.
#[test]
fn what_could_not_be_flushed_is_written_once_more_before_anything_is_made_behind_it() {
    let whole = traced(None);
    for failing in [1, 3] {
        let before = whole[..failing].iter().flat_map(|(_, calls)| calls.chars());
        let flush = before.filter(|call| *call == 'f').count() + 1;
        let marks = traced(Some(&format!("fdatasync:error=EIO:when={flush}")));
        let said = |mark: usize| (&*marks[mark].0, &*marks[mark].1);
        assert_eq!((said(failing).0, marks.len()), ("failed", 8), "{marks:?}");
        let (mark, next) = said(failing + 1);
        let (begin, rest) = next.split_at(next.find('f').expect("flushed"));
        assert_eq!(mark, "made");
        assert_eq!(begin, "Ww", "all of the log, from its beginning: {marks:?}");
        assert!(rest[1..].contains('w'), "what is made comes behind it: {marks:?}");
        assert!(marks[failing + 1..].iter().all(|(mark, _)| mark != "failed"), "{marks:?}");
    }
}
