//! What the store cannot do for a while, and what rests, without a connection.

use super::lines::Of;
use super::thread::{Answer, Thread};
use super::{Queue, Server, Settings};
use crate::broker::{Event, Then};
use crate::change::{
    Applied, Ask, Asked, By, Change, Ended, JobId, Lease, NewJob, Policy, Steer, Subject,
};
use crate::clock::{Clock, Now, Wall};
use crate::embedded::thread::AGAIN;
use crate::embedded::{Keep, open_taker};
use crate::open::Safety;
use crate::outbox;
use crate::place::Place;
use crate::store::Store;
use crate::store::tests::{make_enough, spoil_meta};
use crate::unrecorded::Unrecorded;
use crate::wire::Cancel;
use machine::time::Mono;
use machine::work::{Fault, Reach};
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;
use testkit::Scratch;
use tokio::runtime::Runtime;

/// A clock that stands still until it is moved on.
struct Moved(AtomicU64);

impl Clock for Moved {
    fn now(&self) -> Now {
        Now { mono: Mono(self.0.load(Ordering::SeqCst)), wall: Wall(1_000_000) }
    }

    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

struct Fixture {
    thread: Thread,
    clock: Arc<Moved>,
    place: Place,
    /// What there is to run on beside it: nothing does.
    runtime: Runtime,
    _scratch: Scratch,
}

fn settings(place: &Place, clock: Arc<dyn Clock>) -> Settings {
    let server = Server {
        host: "127.0.0.1".to_owned(),
        port: 1,
        vhost: "/".to_owned(),
        user: "boss".to_owned(),
        password_file: PathBuf::new(),
        tls: false,
        ca: None,
    };
    let queue = Queue {
        name: "q".to_owned(),
        is_quorum: false,
        delivery_limit: None,
        dead_letter_exchange: None,
    };
    Settings {
        place: place.clone(),
        clock,
        safety: Safety::Kill,
        policy: Policy { is_remote: true, ..Policy::default() },
        keep: Keep::default(),
        server,
        queue,
        reply_queue: "replies".to_owned(),
        item_limit: crate::item::LARGEST,
        error_class: "E".to_owned(),
        air: None,
    }
}

impl Fixture {
    fn new() -> Self {
        Self::with(Safety::Kill, crate::item::LARGEST)
    }

    fn with(safety: Safety, largest: usize) -> Self {
        let scratch = Scratch::new();
        let place = Place::new(scratch.join("store"));
        let clock = Arc::new(Moved(AtomicU64::new(1_000_000_000)));
        let shown: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let mut settings = Settings { safety, ..settings(&place, Arc::clone(&shown)) };
        settings.policy.largest = largest;
        let mut store = Store::open(&place, shown, safety).unwrap();
        let (taker, bell) = open_taker(&mut store, &place, "q", (settings.policy, "E")).unwrap();
        let (outbox, _) = outbox::pair().unwrap();
        let (to_self, inputs) = channel();
        let runtime = super::runtime().unwrap();
        let entered = runtime.enter();
        let own = (store, taker, outbox, Unrecorded::default());
        let thread = Thread::new(settings, own, bell, to_self, inputs);
        drop(entered);
        Self { thread, clock, place, runtime, _scratch: scratch }
    }

    /// A message came, and somebody asks for it.
    fn comes(&mut self, name: &str) -> u64 {
        let job = NewJob {
            queue: "q".to_owned(),
            wfid: "w".to_owned(),
            identity: name.to_owned(),
            item: br#"{"fei":{"wfid":"w"},"fields":{}}"#.to_vec(),
            ..NewJob::default()
        };
        self.thread.asks.push_back((Ask::Now, "q_0".to_owned()));
        self.thread.lines.had(Of::New(Box::new(job)))
    }

    /// Returns what has arrived.
    fn arrived(&mut self) -> Vec<Lease> {
        let news = std::mem::take(&mut self.thread.news).into_iter();
        let arrived = news.filter_map(|event| match event {
            Event::Arrived(delivery) => Some(delivery.key()),
            _ => None,
        });
        arrived.collect()
    }

    fn hold(&mut self, name: &str) -> Lease {
        self.comes(name);
        self.thread.work().unwrap();
        self.arrived()[0]
    }

    /// An item in hand has ended by a fault.
    fn ends(&mut self, key: Lease, fault: u16) {
        let ended = Ended { fault: Fault(fault), ..Ended::default() };
        let end = Change::End(key, Box::new(ended));
        self.thread.changes.push_back((end, Answer::Wished(Then::Settle(key))));
    }

    fn elsewhere(&self) -> Connection {
        Connection::open(self.place.database()).unwrap()
    }

    /// What is to be done cannot be written, as where the disk is full, and is later.
    fn writes_at_the_second_try(&mut self) {
        let other = self.elsewhere();
        let trigger = "CREATE TRIGGER full BEFORE UPDATE ON job
            BEGIN SELECT RAISE(ABORT, 'full'); END";
        other.execute_batch(trigger).unwrap();
        let trouble = self.thread.work().unwrap_err();
        self.thread.stop(&trouble);
        assert!(!self.thread.lasting);
        other.execute_batch("DROP TRIGGER full").unwrap();
        self.thread.again_at = None;
        self.thread.work().unwrap();
    }
}

#[test]
fn a_cancel_that_could_not_be_written_is_later() {
    let mut own = Fixture::new();
    let lease = own.hold("a");
    let cancel = Cancel { wfid: "w".to_owned(), item: None, sent: None, why: Fault::KILLED };
    assert!(own.thread.cancel(&cancel, Duration::ZERO));
    own.writes_at_the_second_try();
    let told = |event: &Event| matches!(event, Event::Cancelled { key, why } if (*key, *why) == (lease, Fault::KILLED));
    assert!(own.thread.news.iter().any(told), "{:?}", own.thread.news);
}

/// Waits for a moment.
fn hear(own: &mut Fixture) {
    own.thread.again_at = Some(own.thread.store.now().mono);
    own.thread.hear();
}

#[test]
fn the_log_is_moved_where_nothing_is_in_hand() {
    let mut own = Fixture::new();
    let held = own.hold("a");
    let size = |own: &Fixture| own.place.database().metadata().unwrap().len();
    make_enough(&mut own.thread.store);
    let before = size(&own);
    hear(&mut own);
    assert_eq!(size(&own), before, "not while something is in hand");
    own.thread.held.remove(&held);
    hear(&mut own);
    assert!(size(&own) > before);
}

#[test]
fn damage_that_is_met_when_the_log_is_moved_stops_all_at_once() {
    let mut own = Fixture::new();
    make_enough(&mut own.thread.store);
    spoil_meta(&own.place);
    hear(&mut own);
    assert!(own.thread.lasting);
}

#[test]
fn what_was_cancelled_before_it_came_stops_also_where_that_could_not_be_written_at_once() {
    let mut own = Fixture::new();
    let now = own.thread.store.now().mono;
    own.thread.early.keep_for("w", "a!!1", Fault::KILLED, now);
    own.comes("a!!1");
    own.thread.work().unwrap();
    assert_eq!(own.arrived(), []);
    own.writes_at_the_second_try();
    let unwanted = |event: &Event| matches!(event, Event::Unwanted { why: Fault::KILLED, .. });
    assert!(own.thread.news.iter().any(unwanted), "{:?}", own.thread.news);
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let stopped: (String, u16) =
        own.elsewhere().query_row("SELECT state, fault FROM job", [], read).unwrap();
    assert_eq!(stopped, ("stop".to_owned(), Fault::KILLED.0));
}

#[test]
fn what_cannot_be_read_after_a_commit_keeps_back_nothing_else_and_is_answered_later() {
    let mut own = Fixture::new();
    let failed = own.hold("a");
    own.ends(failed, 11);
    own.comes("b");
    let (batch, answers) = own.thread.batch(own.thread.store.now().mono);
    let made = own.thread.store.apply_all(&batch).unwrap();
    let other = own.elsewhere();
    other.execute_batch("ALTER TABLE attempt RENAME TO hidden").unwrap();
    let trouble = own.thread.answer_all(batch, answers, made).unwrap_err();
    assert!(!trouble.is_lasting(), "{trouble}");
    let settled = |event: &Event| matches!(event, Event::Settled { key, .. } if *key == failed);
    assert!(own.thread.news.iter().any(settled), "{:?}", own.thread.news);
    assert_eq!(own.arrived().len(), 1, "the next item");

    other.execute_batch("ALTER TABLE hidden RENAME TO attempt").unwrap();
    own.thread.asks.push_back((Ask::Now, "q_0".to_owned()));
    own.thread.work().unwrap();
    assert!(own.thread.outgoing.has_answer_of(failed.job));
    assert_eq!(own.thread.asks.len(), 1, "it is done already");
}

#[test]
fn what_rests_is_tried_when_its_delay_ends_and_not_before_also_over_another_connection() {
    let mut own = Fixture::new();
    let failed = own.hold("a");
    own.ends(failed, 3);
    own.thread.work().unwrap();
    let due = own.thread.lines.next_due().unwrap();
    let now = own.thread.store.now().mono;
    assert!(due > now.after(AGAIN), "it rests for longer than what is looked for in vain");

    own.thread.lines.begin(None, now);
    own.comes("a");
    own.thread.work().unwrap();
    assert_eq!(own.thread.lines.next_due(), Some(due));
    assert!(!own.thread.sweep, "nobody has it who may be dead");
    own.clock.0.store(due.0, Ordering::SeqCst);
    own.thread.work().unwrap();
    assert_eq!(own.arrived().len(), 1);
}

#[test]
fn what_another_has_in_hand_is_looked_for_soon_and_who_has_it_too() {
    let mut own = Fixture::new();
    let held = own.hold("a");
    // It is another's from now on.
    own.thread.held.remove(&held);
    own.comes("a");
    own.thread.work().unwrap();
    let now = own.thread.store.now().mono;
    assert_eq!(own.thread.lines.next_due(), Some(now.after(AGAIN)));
    assert!(own.thread.sweep);
}

#[test]
fn what_is_answered_when_another_does_it_anew_goes_back_to_the_broker() {
    let mut own = Fixture::new();
    let lease = own.hold("a");
    own.ends(lease, 11);
    own.thread.work().unwrap();
    let job = lease.job;
    assert!(own.thread.outgoing.has_answer_of(job));
    let clock: Arc<dyn Clock> = Arc::clone(&own.clock) as _;
    let mut store = Store::open(&own.place, clock, Safety::Kill).unwrap();
    let policy = Policy { is_remote: true, ..Policy::default() };
    let (taker, _bell) = open_taker(&mut store, &own.place, "q", (policy, "E")).unwrap();
    let again = Asked::Requeue { job, reach: Reach::Failed, priority: None };
    store.apply(&Change::Asked(By::default(), again)).unwrap();
    let new = NewJob { queue: "q".to_owned(), ..NewJob::default() };
    let (new, known, instance) = (Box::new(new), Some(job), "r_0".to_owned());
    let arrive = Change::Arrive { job: new, known, taker, ask: Ask::Now, instance };
    assert!(matches!(store.apply(&arrive), Ok(Applied::Taken(_))));
    // The broker has confirmed it meanwhile.
    own.thread.withdraw_answer(job);
    own.thread.changes.push_back((Change::Answered(job, 1), Answer::Answered(job)));
    assert_eq!(own.thread.lines.of_job(job).len(), 1);
    own.thread.work().unwrap();
    assert_eq!(own.thread.lines.of_job(job), [0; 0]);
}

#[test]
fn who_lost_its_name_has_it_again_and_whom_somebody_took_for_dead_lives_again() {
    let mut own = Fixture::new();
    let on = own.runtime.handle().clone();
    let _entered = on.enter();
    let (lease, before) = (own.hold("a"), own.thread.taker);
    own.thread.live_on().unwrap();
    let takers = own.place.takers();
    let clock: Arc<dyn Clock> = Arc::clone(&own.clock) as _;
    let mut other = Store::open(&own.place, clock, Safety::Kill).unwrap();
    for is_over in [false, true] {
        fs::remove_dir_all(&takers).unwrap();
        if is_over {
            let cancel = Change::Steer(Subject::Job(lease.job), Steer::Cancel(Fault::KILLED));
            other.apply(&cancel).unwrap();
            fs::remove_dir_all(&takers).unwrap();
        }
        fs::write(&takers, "").unwrap();
        own.thread.standing.look_at = Mono(0);
        for _ in 0..2 {
            own.thread.live_on().unwrap_err();
        }
        fs::remove_file(&takers).unwrap();
        own.thread.live_on().unwrap();
        assert_eq!(own.thread.taker != before, is_over);
        assert!(own.thread.store.is_named(own.thread.taker));
        own.thread.news.clear();
        own.thread.work().unwrap();
        let told = &own.thread.news;
        let overtaken = told.iter().filter(|it| matches!(it, Event::Overtaken(it) if *it == lease));
        assert_eq!(overtaken.count(), usize::from(is_over), "{told:?}");
    }
}

/// An item that is longer than they may be here ends as it comes, and its sender is answered.
#[test]
fn what_ends_as_it_comes_is_flushed_before_anybody_is_answered_and_waits_where_that_fails() {
    let mut own = Fixture::with(Safety::Power, 10);
    own.thread.work().unwrap();
    own.comes("a");
    let log = own.place.log();
    let hidden = log.with_file_name("hidden");
    fs::rename(&log, &hidden).unwrap();
    symlink(&log, &log).unwrap();
    own.thread.work().unwrap_err();
    fs::remove_file(&log).unwrap();
    fs::rename(&hidden, &log).unwrap();
    assert!(!own.thread.outgoing.has_answer_of(JobId(1)), "nobody is answered");
    own.thread.work().unwrap();
    assert_eq!(own.thread.flush_at, None);
    assert!(own.thread.outgoing.has_answer_of(JobId(1)));
}

#[test]
fn a_begin_is_flushed_with_the_end_or_by_itself_where_that_does_not_come_soon() {
    let mut own = Fixture::with(Safety::Power, crate::item::LARGEST);
    let pass = |own: &Fixture, nanos| own.clock.0.fetch_add(nanos, Ordering::SeqCst);
    // What is old is looked for once at the start.
    own.thread.work().unwrap();
    let first = own.hold("a");
    assert!(own.thread.flush_at.is_some());
    own.ends(first, 0);
    own.thread.work().unwrap();
    assert_eq!(own.thread.flush_at, None, "with its end");

    own.hold("b");
    let due = own.thread.flush_at.unwrap();
    pass(&own, 1_000_000);
    own.hold("c");
    assert_eq!(own.thread.flush_at, Some(due), "that of the first");
    assert_eq!(own.thread.deadline(own.thread.store.now().mono), Some(due), "it wakes for it");
    // Where it cannot be flushed, it is later.
    let log = own.place.log();
    let hidden = log.with_file_name("hidden");
    fs::rename(&log, &hidden).unwrap();
    symlink(&log, &log).unwrap();
    own.thread.work().unwrap();
    pass(&own, 5_000_000);
    own.thread.work().unwrap_err();
    assert_eq!(own.thread.flush_at, Some(due));
    fs::remove_file(&log).unwrap();
    fs::rename(&hidden, &log).unwrap();
    own.thread.work().unwrap();
    assert_eq!(own.thread.flush_at, None);
}
