//! What the store cannot do for a while.

use super::{AGAIN, Answer, Thread};
use crate::broker::{Event, Then};
use crate::change::{Ask, Change, Lease, NewJob, Policy, Steer, Subject};
use crate::clock::{Clock, Now, Wall};
use crate::embedded::{Keep, Settings, Shared, open_taker};
use crate::open::Safety;
use crate::outbox::{self, Inbox};
use crate::place::Place;
use crate::store::Store;
use crate::store::tests::{make_enough, spoil_meta};
use machine::time::Mono;
use machine::work::Fault;
use rusqlite::Connection;
use std::fs;
use std::sync::Arc;
use std::time::Instant;
use testkit::Scratch;

struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Now {
        let nanos = u64::try_from(self.0.elapsed().as_nanos()).unwrap();
        Now { mono: Mono(1_000_000_000 + nanos), wall: Wall(1_000_000) }
    }

    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

struct Fixture {
    thread: Thread,
    inbox: Inbox,
    settings: Settings,
    _scratch: Scratch,
}

impl Fixture {
    fn new() -> Self {
        let scratch = Scratch::new();
        let clock: Arc<dyn Clock> = Arc::new(Running(Instant::now()));
        let settings = Settings {
            place: Place::new(scratch.join("store")),
            clock: Arc::clone(&clock),
            safety: Safety::Kill,
            queue: "q".to_owned(),
            policy: Policy::default(),
            drop_folder: None,
            keep: Keep::default(),
            error_class: "E".to_owned(),
        };
        let mut store = Store::open(&settings.place, clock, Safety::Kill).unwrap();
        let opened = open_taker(&mut store, &settings.place, "q", (settings.policy, "E")).unwrap();
        let (outbox, inbox) = outbox::pair().unwrap();
        let thread = Thread::new(Arc::new(Shared::default()), store, opened, outbox, &settings);
        Self { thread, inbox, settings, _scratch: scratch }
    }

    /// Submits items and takes them.
    fn hold(&mut self, count: usize) -> Vec<Lease> {
        for number in 0..count {
            let (wfid, identity) = (format!("w-{number}"), "0_0".to_owned());
            let queue = "q".to_owned();
            let job = NewJob { queue, wfid, identity, item: vec![b'x'], ..NewJob::default() };
            self.thread.store.apply(&Change::Submit(Box::new(job))).unwrap();
            self.thread.asks.push_back((Ask::Now, "q_0".to_owned()));
        }
        self.thread.look = true;
        self.thread.work().unwrap();
        self.thread.publish();
        let arrived = std::iter::from_fn(|| self.inbox.next());
        let leases: Vec<_> = arrived
            .filter_map(|event| match event {
                Event::Arrived(delivery) => Some(delivery.taken.lease),
                _ => None,
            })
            .collect();
        assert_eq!(leases.len(), count);
        leases
    }

    fn elsewhere(&self) -> Connection {
        Connection::open(self.settings.place.database()).unwrap()
    }
}

#[test]
fn what_is_in_hand_is_not_overtaken_because_the_store_was_locked() {
    let mut own = Fixture::new();
    own.hold(1);
    let other = own.elsewhere();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    own.thread.store.apply(&Change::Renew(own.thread.taker)).unwrap_err();
    other.execute_batch("ROLLBACK").unwrap();

    own.thread.rung = true;
    own.thread.hear_of_cancels().unwrap();
    assert!(own.thread.news.is_empty(), "{:?}", own.thread.news);
    assert_eq!(own.thread.held.len(), 1);
}

fn submit(store: &mut Store, name: &str) {
    let queue = "q".to_owned();
    let job = NewJob { queue, wfid: name.to_owned(), item: vec![b'x'], ..NewJob::default() };
    store.apply(&Change::Submit(Box::new(job))).unwrap();
}

/// A file where the folder of all takers should be.
fn hide(own: &Fixture) {
    let takers = own.settings.place.takers();
    fs::remove_dir_all(&takers).unwrap();
    fs::write(&takers, "").unwrap();
}

/// A look at the socket's name in vain, and what is in its way is gone then.
fn looks_in_vain(own: &mut Fixture) {
    own.thread.standing.look_at = Mono(0);
    for _ in 0..2 {
        let why = own.thread.live_on().unwrap_err().to_string();
        assert!(why.contains("takers"), "{why}");
    }
    fs::remove_file(own.settings.place.takers()).unwrap();
    let before = own.thread.taker;
    own.thread.again_at = Some(own.thread.store.now().mono.after(AGAIN));
    own.thread.live_on().unwrap();
    let is_named = own.thread.store.is_named(before);
    assert!(own.thread.taker == before && !is_named, "it waits before it tries again");
    own.thread.again_at = None;
}

#[test]
fn a_taker_that_lost_its_name_has_it_again_and_loses_nothing_where_nobody_took_it_for_dead() {
    let mut own = Fixture::new();
    let (lease, before) = (own.hold(1)[0], own.thread.taker);
    own.thread.live_on().unwrap();
    hide(&own);
    own.thread.live_on().unwrap();
    assert!(own.thread.look || !own.thread.rung, "not at each turn");
    // What it has done by then counts.
    let settle = Answer::Wished(Then::Settle(lease));
    own.thread.changes.push_back((Change::End(lease, Box::default()), settle));
    looks_in_vain(&mut own);
    own.thread.live_on().unwrap();
    assert_eq!(own.thread.taker, before);
    own.thread.work().unwrap();
    let told = &own.thread.news;
    assert!(matches!(told[..], [Event::Settled { key, .. }] if key == lease), "{told:?}");
    // It can be rung, by whoever looked before, too.
    let clock = Arc::clone(&own.settings.clock);
    let mut other = Store::open(&own.settings.place, clock, Safety::Kill).unwrap();
    submit(&mut other, "other");
    assert!(own.thread.bell.hush().unwrap());
}

#[test]
fn who_was_taken_for_dead_lives_again_as_soon_as_that_can_be() {
    let mut own = Fixture::new();
    let (lease, before) = (own.hold(1)[0], own.thread.taker);
    own.thread.live_on().unwrap();
    let clock = Arc::clone(&own.settings.clock);
    let mut other = Store::open(&own.settings.place, clock, Safety::Kill).unwrap();
    fs::remove_dir_all(own.settings.place.takers()).unwrap();
    submit(&mut other, "other");
    hide(&own);
    looks_in_vain(&mut own);
    own.thread.live_on().unwrap();
    assert_ne!(own.thread.taker, before);
    own.thread.work().unwrap();
    let told = &own.thread.news;
    assert!(matches!(told[..], [Event::Overtaken(it)] if it == lease), "{told:?}");
    let rows: i64 =
        own.elsewhere().query_row("SELECT count(*) FROM taker", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    assert!(own.thread.store.is_named(own.thread.taker));
}

#[test]
fn who_is_idle_finds_out_that_the_store_was_replaced() {
    let mut own = Fixture::new();
    own.thread.live_on().unwrap();
    let database = own.settings.place.database();
    let copy = database.with_file_name("copy");
    fs::copy(&database, &copy).unwrap();
    fs::rename(&copy, &database).unwrap();
    own.thread.live_on().unwrap();
    own.thread.standing.look_at = Mono(0);
    let why = own.thread.live_on().unwrap_err();
    assert!(why.is_lasting() && why.to_string().contains("replaced"), "{why}");
}

#[test]
fn a_cancel_that_could_not_be_read_is_told_as_soon_as_it_can() {
    let mut own = Fixture::new();
    let lease = own.hold(1)[0];
    let why = Fault::CANCELLED;
    let cancel = Change::Steer(Subject::Job(lease.job), Steer::Cancel(why));
    own.thread.store.apply(&cancel).unwrap();
    let other = own.elsewhere();
    own.thread.rung = true;
    other.execute_batch("ALTER TABLE job RENAME TO hidden").unwrap();
    let trouble = own.thread.work().unwrap_err();
    own.thread.stop(&trouble);
    assert!(!own.thread.lasting && own.thread.is_idle(), "it rests before it tries again");
    other.execute_batch("ALTER TABLE hidden RENAME TO job").unwrap();

    own.thread.news.clear();
    own.thread.again_at = None;
    own.thread.work().unwrap();
    let told = |event: &Event| matches!(event, Event::Cancelled { key, .. } if *key == lease);
    assert!(own.thread.news.iter().any(told), "{:?}", own.thread.news);
}

#[test]
fn an_end_that_does_not_fit_takes_no_other_along_when_all_ends() {
    let mut own = Fixture::new();
    let leases = own.hold(3);
    let other = own.elsewhere();
    let trigger = "CREATE TRIGGER full BEFORE UPDATE ON job WHEN old.id = 1
        BEGIN SELECT RAISE(ABORT, 'full'); END";
    other.execute_batch(trigger).unwrap();
    for lease in leases {
        let end = Change::End(lease, Box::default());
        own.thread.changes.push_back((end, Answer::Wished(Then::Settle(lease))));
    }
    own.thread.close();
    let left: Vec<_> = own.thread.held.keys().map(|lease| lease.job.0).collect();
    assert_eq!(left, [1]);
}

/// Rests for a moment.
fn rest(own: &mut Fixture) {
    own.thread.again_at = Some(own.thread.store.now().mono);
    own.thread.rest();
}

#[test]
fn the_log_is_moved_where_nothing_is_in_hand() {
    let mut own = Fixture::new();
    let lease = own.hold(1)[0];
    let size = |own: &Fixture| own.settings.place.database().metadata().unwrap().len();
    make_enough(&mut own.thread.store);
    let before = size(&own);
    rest(&mut own);
    assert_eq!(size(&own), before, "not while something is in hand");
    let end = Change::End(lease, Box::default());
    own.thread.changes.push_back((end, Answer::Wished(Then::Settle(lease))));
    own.thread.again_at = None;
    own.thread.work().unwrap();
    rest(&mut own);
    assert!(size(&own) > before);
}

#[test]
fn damage_that_is_met_when_the_log_is_moved_is_told_at_once() {
    let mut own = Fixture::new();
    make_enough(&mut own.thread.store);
    spoil_meta(&own.settings.place);
    own.thread.tidy();
    assert!(own.thread.lasting);
    let told = own.inbox.next();
    assert!(matches!(&told, Some(Event::Trouble { .. })), "{told:?}");
}
