//! The store as the queue: the suite of all brokers, and what is its own.

use crate::conformance::{self, Rig, arrived, done, event, send, settled, silent};
use crate::support::{Moved, forgotten, item, job, open, opened, place};
use machine::work::{Backoff, Fault, Limit};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::{Disk, Scratch, until};
use work::embedded::{Keep, Settings};
use work::{
    Applied, Ask, Broker, Change, Clock, DropFolder, Embedded, Ended, Event, JobId, NewJob, Place,
    Policy, Reader, Safety, Steer, Store, Subject, Wall,
};

pub(crate) fn settings(scratch: &Scratch, clock: &Arc<Moved>) -> Settings {
    Settings {
        place: place(scratch),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        safety: Safety::Kill,
        queue: "q".to_owned(),
        policy: Policy::default(),
        drop_folder: None,
        keep: Keep::default(),
        error_class: "E".to_owned(),
    }
}

struct Local {
    scratch: Scratch,
    clock: Arc<Moved>,
}

impl Rig for Local {
    type Broker = Embedded;

    fn open(&self) -> Embedded {
        Embedded::open(&settings(&self.scratch, &self.clock)).unwrap()
    }

    fn kill(&self, broker: Embedded) {
        // It says nothing of what it has in hand, but that it ends; see `kills` for processes.
        drop(broker);
    }

    fn answers(&self) -> Vec<Vec<u8>> {
        let reader = Reader::open(&place(&self.scratch)).unwrap();
        let jobs = reader.jobs(Some("replies"), None, 9999).unwrap();
        jobs.iter().map(|job| reader.item(job.id).unwrap().unwrap()).collect()
    }
}

fn local() -> Local {
    Local { scratch: Scratch::new(), clock: Moved::new() }
}

#[test]
fn the_embedded_queue_does_what_every_broker_must() {
    conformance::run(&local());
}

/// A lease of another ran out: that is looked at once, not with each commit from then on.
#[test]
fn a_silent_taker_is_looked_for_once_and_not_with_each_commit_after_that() {
    let rig = local();
    let mut store = open(&rig.scratch, &rig.clock);
    let other = opened(&mut store, "q", Policy::default());
    let submit = |store: &mut Store, name: &str| {
        store.apply(&Change::Submit(Box::new(job(name)))).unwrap();
    };
    submit(&mut store, "held");
    let (taker, ask, instance) = (other, Ask::Ahead, "q_9".to_owned());
    let taken = store.apply(&Change::Take { taker, ask, instance });
    assert!(matches!(taken, Ok(Applied::Taken(_))), "{taken:?}");
    // We hear who rings it.
    let socket = rig.scratch.join(&format!("store/takers/{}", other.0));
    fs::remove_file(&socket).unwrap();
    let bell = UnixDatagram::bind(&socket).unwrap();
    bell.set_nonblocking(true).unwrap();
    let rings = || std::iter::from_fn(|| bell.recv(&mut [0; 1]).ok()).count();

    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    silent(&mut broker);
    (0..30).for_each(|n| submit(&mut store, &n.to_string()));
    let mut delivery = arrived(&mut broker);
    rings();
    rig.clock.pass(Duration::from_secs(61));
    for _ in 0..25 {
        broker.finish(delivery, done());
        broker.ask(Ask::Now, "q_0");
        settled(&mut broker);
        delivery = arrived(&mut broker);
    }
    let rings = rings();
    assert!((1..=4).contains(&rings), "rung {rings} times");
    broker.finish(delivery, done());
}

#[test]
fn a_sleeping_taker_is_woken_by_another_s_submit_and_its_loop_by_a_descriptor() {
    let rig = local();
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    assert!(broker.next().is_none());
    let mut store = open(&rig.scratch, &rig.clock);
    store.apply(&Change::Submit(Box::new(job("a")))).unwrap();
    // Only the descriptor is waited for.
    let mut ready = [linux::fd::PollFd::readable(broker.wakeup().as_raw_fd())];
    assert_eq!(linux::fd::poll(&mut ready, Some(20_000_000_000)), Ok(1), "not woken");
    let delivery = arrived(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
}

#[test]
fn who_sleeps_for_answers_is_woken_by_the_end_of_an_item() {
    let rig = local();
    let mut broker = rig.open();
    let answers = Settings { queue: "replies".to_owned(), ..settings(&rig.scratch, &rig.clock) };
    let mut reader = Embedded::open(&answers).unwrap();
    reader.ask(Ask::Now, "r_0");
    // It has looked, and found nothing.
    silent(&mut reader);
    send(&mut broker, "a");
    broker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
    let answer = arrived(&mut reader);
    assert_eq!(answer.job().item, b"{}");
    reader.finish(answer, done());
    settled(&mut reader);
}

#[test]
fn a_delay_ends_without_anybody_ringing() {
    let rig = local();
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    broker.send(1, NewJob { delay: Duration::from_millis(300), ..job("a") });
    let begun = Instant::now();
    let delivery = event(&mut broker, |event| match event {
        Event::Arrived(delivery) => Some(delivery),
        _ => None,
    });
    assert!(begun.elapsed() >= Duration::from_millis(250));
    broker.finish(delivery, done());
    settled(&mut broker);
}

#[test]
fn a_failed_item_comes_back_by_itself_after_its_delay() {
    let rig = local();
    let backoff = Backoff { first: Duration::from_millis(200), ..Backoff::default() };
    let policy = Policy { backoff, ..Policy::default() };
    let mut broker =
        Embedded::open(&Settings { policy, ..settings(&rig.scratch, &rig.clock) }).unwrap();
    send(&mut broker, "a");
    for attempt in 1..=3 {
        broker.ask(Ask::Now, "q_0");
        let delivery = arrived(&mut broker);
        assert_eq!(delivery.job().attempt, attempt);
        broker.finish(delivery, Ended { fault: Fault(3), ..done() });
        let expected = if attempt < 3 { Fault(3) } else { Fault::EXHAUSTED };
        assert_eq!(settled(&mut broker).1, expected);
    }
}

#[test]
fn a_taker_that_is_silent_is_overtaken_by_one_that_asks_and_hears_of_it() {
    let rig = local();
    let mut stuck = open(&rig.scratch, &rig.clock);
    let policy = Policy { lease: Duration::from_millis(300), ..Policy::default() };
    let taker = opened(&mut stuck, "q", policy);
    stuck.apply(&Change::Submit(Box::new(job("a")))).unwrap();
    let take = Change::Take { taker, ask: Ask::Ahead, instance: String::new() };
    let Applied::Taken(taken) = stuck.apply(&take).unwrap() else { panic!("nothing") };
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut broker);
    let begin = Change::Begin { lease: taken.lease, instance: String::new(), at: Wall(7) };
    stuck.apply(&begin).unwrap_err();
    broker.finish(delivery, done());
    settled(&mut broker);
}

#[test]
fn a_lease_is_renewed_as_long_as_something_is_in_hand() {
    let rig = local();
    // It is renewed at a third, and a busy machine may take long over that.
    let policy = Policy { lease: Duration::from_secs(3), ..Policy::default() };
    let shorter = Settings { policy, ..settings(&rig.scratch, &rig.clock) };
    let mut broker = Embedded::open(&shorter).unwrap();
    send(&mut broker, "a");
    broker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut broker);
    let mut other = Embedded::open(&shorter).unwrap();
    other.ask(Ask::Now, "q_0");
    let begun = Instant::now();
    until(30, || {
        assert!(other.next().is_none(), "taken away from who works on it");
        begun.elapsed() > Duration::from_secs(7)
    });
    broker.finish(delivery, done());
    settled(&mut broker);
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_and_it_goes_on_by_itself() {
    let scratch = Scratch::new();
    let disk = Disk::mount(&scratch, "size=600k");
    let clock = Moved::new();
    let at = Place::new(scratch.join("disk/store"));
    let settings = Settings { place: at.clone(), ..settings(&scratch, &clock) };
    let mut broker = Embedded::open(&settings).unwrap();
    broker.ask(Ask::Now, "q_0");
    send(&mut broker, "first");
    let delivery = arrived(&mut broker);
    let id = delivery.key().job;
    disk.fill();
    let mut ended = done();
    ended.output = Some(vec![b'1'; 50_000]);
    broker.finish(delivery, ended);
    let what = event(&mut broker, |event| match event {
        Event::Trouble { what, lasting: false } => Some(what),
        other => panic!("{other:?}"),
    });
    assert!(what.contains("work.db") && what.contains("no space left"), "{what}");
    let state = || Reader::open(&at).unwrap().job(id).unwrap().unwrap().subject.state.name();
    assert_eq!(state(), "run");
    disk.free();
    let mut well = false;
    event(&mut broker, |event| match event {
        Event::Well => {
            well = true;
            None
        }
        Event::Settled { fault: Fault::NONE, .. } => Some(()),
        other => panic!("{other:?}"),
    });
    assert_eq!(state(), "stop");
    drop(broker);
}

#[test]
fn what_is_only_at_hand_and_cancelled_is_not_at_hand_any_more() {
    let rig = local();
    let mut broker = rig.open();
    send(&mut broker, "a");
    broker.ask(Ask::Ahead, "q_0");
    let delivery = arrived(&mut broker);
    let key = delivery.key();
    let mut store = open(&rig.scratch, &rig.clock);
    let cancel = Change::Steer(Subject::Job(key.job), Steer::Cancel(Fault::CANCELLED));
    store.apply(&cancel).unwrap();
    let gone = event(&mut broker, |event| match event {
        Event::Overtaken(gone) => Some(gone),
        _ => None,
    });
    assert_eq!(gone, key);
    broker.give_back(delivery);
}

/// Tells whether a cancel by another is heard while files of a full drop folder are left.
fn is_heard_between_files() -> bool {
    const FILES: usize = 2000;
    let rig = local();
    let path = rig.scratch.join("drop");
    let folder = DropFolder::open(&path, "q", 1000);
    let mut store = open(&rig.scratch, &rig.clock);
    store.apply(&Change::Submit(Box::new(job("first")))).unwrap();
    for n in 0..FILES {
        fs::write(path.join(n.to_string()), item(&n.to_string())).unwrap();
    }
    let mut broker = Embedded::open(&Settings {
        drop_folder: Some(folder),
        ..settings(&rig.scratch, &rig.clock)
    })
    .unwrap();
    broker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut broker);
    let id = delivery.key().job;
    store.apply(&Change::Steer(Subject::Job(id), Steer::Cancel(Fault::CANCELLED))).unwrap();
    let files = || fs::read_dir(&path).unwrap().map(|file| file.unwrap().file_name());
    let left = || files().filter(|name| !name.as_encoded_bytes().starts_with(b".")).count();
    let mut after = 0;
    event(&mut broker, |event| {
        after = left();
        matches!(event, Event::Cancelled { .. }).then_some(())
    });
    broker.finish(delivery, done());
    settled(&mut broker);
    after > 0
}

#[test]
fn a_cancel_by_another_is_heard_while_a_full_drop_folder_is_taken() {
    // On a busy machine all may be taken before the cancel is made.
    assert!((0..5).any(|_| is_heard_between_files()), "heard when none was left");
}

#[test]
fn files_in_the_drop_folder_are_taken_when_it_opens_and_when_told() {
    let rig = local();
    let path = rig.scratch.join("drop");
    let folder = DropFolder::open(&path, "q", 1000);
    fs::write(path.join("early"), item("early")).unwrap();
    let mut broker = Embedded::open(&Settings {
        drop_folder: Some(folder),
        ..settings(&rig.scratch, &rig.clock)
    })
    .unwrap();
    broker.ask(Ask::Now, "q_0");
    let early = arrived(&mut broker);
    assert_eq!(early.job().item, item("early"));
    broker.finish(early, done());
    settled(&mut broker);
    broker.ask(Ask::Now, "q_0");
    fs::write(path.join("late"), item("late")).unwrap();
    broker.collect();
    let late = arrived(&mut broker);
    assert_eq!(late.job().item, item("late"));
    broker.finish(late, done());
    settled(&mut broker);
}

/// Takes a taker's name away, and with `all` the folder of all of them.
fn unname(rig: &Local, all: bool) {
    let takers = rig.scratch.join("store/takers");
    if all {
        return fs::remove_dir_all(takers).unwrap();
    }
    for socket in fs::read_dir(takers).unwrap() {
        fs::remove_file(socket.unwrap().path()).unwrap();
    }
}

/// Somebody has the store open before and after; what it submits is taken, and nothing else wakes the
/// broker.
fn lives_again(all: bool) {
    let rig = local();
    let mut broker = rig.open();
    let mut store = open(&rig.scratch, &rig.clock);
    let submit = |store: &mut Store, name: &str| {
        store.apply(&Change::Submit(Box::new(job(name)))).unwrap();
    };
    broker.ask(Ask::Now, "q_0");
    broker.ask(Ask::Now, "q_1");
    silent(&mut broker);
    unname(&rig, all);
    submit(&mut store, "a");
    let first = arrived(&mut broker);
    // It hears who rings at once, as before.
    let asleep = Instant::now();
    submit(&mut store, "b");
    let second = arrived(&mut broker);
    assert!(asleep.elapsed() < Duration::from_secs(5), "it was not rung");
    for delivery in [first, second] {
        broker.finish(delivery, done());
        settled(&mut broker);
    }
    let mode = fs::metadata(rig.scratch.join("store/takers")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn an_idle_taker_whose_socket_was_removed_lives_again() {
    lives_again(false);
}

#[test]
fn an_idle_taker_lives_again_where_the_folder_of_all_was_removed() {
    lives_again(true);
}

#[test]
fn what_a_taker_without_a_name_has_in_hand_is_overtaken_and_done_once_more() {
    let rig = local();
    let mut store = open(&rig.scratch, &rig.clock);
    store.apply(&Change::Submit(Box::new(job("a")))).unwrap();
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    let before = arrived(&mut broker);
    unname(&rig, false);
    // Whoever rings it takes it for dead.
    store.apply(&Change::Submit(Box::new(job("b")))).unwrap();
    let key = before.key();
    event(&mut broker, |event| (matches!(event, Event::Overtaken(it) if it == key)).then_some(()));
    broker.ask(Ask::Now, "q_0");
    broker.ask(Ask::Now, "q_1");
    for delivery in [arrived(&mut broker), arrived(&mut broker)] {
        assert_ne!(delivery.key(), key);
        broker.finish(delivery, done());
        settled(&mut broker);
    }
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    let attempts = reader.attempts(key.job).unwrap();
    assert_eq!(attempts.len(), 2, "{attempts:?}");
}

/// Makes two dead items: one of an old job, as those are whose job failed too often, and one that
/// never was a job.
fn bury_two(scratch: &Scratch, mut store: Store) {
    let bury = Change::Bury {
        queue: "q".to_owned(),
        owner: None,
        fault: Fault::INVALID,
        reason: "of old".to_owned(),
        bytes: Vec::new(),
    };
    store.apply(&bury).unwrap();
    store.apply(&bury).unwrap();
    drop(store);
    let raw = rusqlite::Connection::open(place(scratch).database()).unwrap();
    raw.execute("UPDATE dead SET job = 5, at = 1 WHERE id = 1", []).unwrap();
}

#[test]
fn what_is_older_than_it_is_kept_is_removed_by_itself_and_dead_items_of_jobs_are_not() {
    const DAY: Duration = Duration::from_secs(86_400);
    let rig = local();
    let mut store = open(&rig.scratch, &rig.clock);
    let taker = opened(&mut store, "q", Policy::default());
    let mut live = |name: &str, code: u16| {
        store.apply(&Change::Submit(Box::new(job(name)))).unwrap();
        let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
        let Applied::Taken(taken) = store.apply(&take).unwrap() else { panic!("nothing") };
        let ended = Ended { fault: Fault(code), ..done() };
        store.apply(&Change::End(taken.lease, Box::new(ended))).unwrap();
    };
    // More than one step.
    for n in 0..100 {
        live(&format!("old {n}"), if n == 7 { 10 } else { 0 });
    }
    rig.clock.pass(31 * DAY);
    live("young", 11);
    for n in 0..40 {
        live(&format!("young {n}"), 0);
    }
    bury_two(&rig.scratch, store);
    let at = || settings(&rig.scratch, &rig.clock);
    let keep = |age| Settings { keep: Keep { age, size: None }, ..at() };
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    let left = || {
        let jobs = reader.jobs(None, None, 999).unwrap();
        let classes = reader.classes().unwrap();
        let codes: Vec<u16> = classes.iter().map(|class| class.code.0).collect();
        (jobs.len(), codes)
    };
    let mut broker = Embedded::open(&keep(None)).unwrap();
    send(&mut broker, "waits");
    drop(broker);
    assert_eq!(left(), (142, vec![11, 10]), "none: for ever");
    let broker = Embedded::open(&keep(Some(30 * DAY))).unwrap();
    until(20, || left() == (42, vec![11]));
    assert_eq!(reader.dead(9).unwrap().len(), 2);
    drop(broker);
    rig.clock.pass(31 * DAY);
    let mut broker = Embedded::open(&keep(Some(30 * DAY))).unwrap();
    until(20, || left() == (1, vec![]));
    let dead: Vec<_> = reader.dead(9).unwrap().iter().map(|dead| dead.job).collect();
    assert_eq!(dead, [Some(JobId(5))]);
    // An hour later it looks again, whoever wakes it.
    broker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
    rig.clock.pass(31 * DAY);
    broker.collect();
    broker.flush();
    until(20, || reader.jobs(Some("q"), None, 9).unwrap().is_empty());
}

#[test]
fn what_dies_with_its_taker_is_answered_with_the_class_that_is_set_unless_it_is_forgotten() {
    let rig = local();
    let policy = Policy { limit: Limit { tries: 1, ..Limit::default() }, ..Policy::default() };
    let once = Settings { policy, ..settings(&rig.scratch, &rig.clock) };
    for (name, item) in [("a", item("a")), ("b", forgotten("b"))] {
        let mut broker = Embedded::open(&once).unwrap();
        broker.send(7, NewJob { item, reply_to: Some("replies".to_owned()), ..job(name) });
        broker.ask(Ask::Now, "q_0");
        let in_hand = event(&mut broker, |event| match event {
            Event::Arrived(delivery) => Some(delivery.key().job),
            _ => None,
        });
        rig.kill(broker);
        let reader = Reader::open(&place(&rig.scratch)).unwrap();
        let details = reader.details(in_hand).unwrap().unwrap();
        assert!(details.answered, "it is known of both that nothing is to be sent");
    }
    let answers = rig.answers();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let answer = String::from_utf8(answers[0].clone()).unwrap();
    assert!(answer.contains(r#""error":{"class":"E","#), "{answer}");
}
