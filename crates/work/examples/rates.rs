//! How fast the store and the embedded queue are here.
//!
//!     cargo run --release -p work --example rates [FOLDER]
//!
//! With `SKYNET_LONG=1` in the environment also with a million jobs finished before.
//!
//! Beside them stands what they cannot be faster than: append 200 bytes and fsync.

#![allow(clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]
// A taker takes what is then taken.
#![allow(clippy::similar_names)]

use linux::time;
use machine::time::Mono;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use work::embedded::{Keep, Settings};
use work::{
    Applied, Ask, Broker, Change, Clock, Embedded, Ended, Event, NewJob, Now, Place, Policy,
    Safety, Store, Wall,
};

struct Clocks;

impl Clock for Clocks {
    fn now(&self) -> Now {
        let (seconds, nanos) = time::wall();
        let wall = Wall(seconds * 1_000_000 + i64::from(nanos / 1000));
        Now { mono: Mono(time::monotonic()), wall }
    }

    fn boot(&self) -> String {
        "this".to_owned()
    }
}

fn job(n: u64) -> NewJob {
    NewJob {
        queue: "q".to_owned(),
        wfid: format!("20261122-0807-{n}"),
        identity: "0_1_0!!".to_owned(),
        item: vec![b'x'; 200],
        ..NewJob::default()
    }
}

fn done() -> Ended {
    Ended { output: Some(vec![b'y'; 200]), ..Ended::default() }
}

fn settings(folder: &Path, safety: Safety) -> Settings {
    Settings {
        place: Place::new(folder),
        clock: Arc::new(Clocks),
        safety,
        queue: "q".to_owned(),
        policy: Policy::default(),
        drop_folder: None,
        keep: Keep::default(),
        error_class: work::item::ERROR_CLASS.to_owned(),
    }
}

/// Waits for the broker's next event.
fn next(broker: &mut Embedded) -> Event {
    use std::os::fd::AsRawFd;
    loop {
        if let Some(event) = broker.next() {
            return event;
        }
        let mut wait = [linux::fd::PollFd::readable(broker.wakeup().as_raw_fd())];
        linux::fd::poll(&mut wait, None).expect("poll");
    }
}

/// When something began, by the wall and by the processor.
struct Begun {
    at: Instant,
    ticks: u64,
}

/// Returns the processor time of this process, user and kernel, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("stat");
    let fields = stat.rsplit(')').next().expect("fields").split_whitespace();
    fields.skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum()
}

impl Begun {
    fn now() -> Self {
        Self { at: Instant::now(), ticks: ticks() }
    }
}

/// What others do on the machine changes the rate, and the processor time of one hardly.
fn report(what: &str, count: u64, begun: &Begun) {
    let rate = count as f64 / begun.at.elapsed().as_secs_f64();
    let each = (ticks() - begun.ticks) as f64 * 10_000.0 / count as f64;
    println!("{what:<60} {rate:>9.0} a second, {each:.0} us of processor each");
}

fn floor(folder: &Path) {
    let mut file = File::create(folder.join("floor")).expect("create");
    let begun = Begun::now();
    for _ in 0..3000 {
        file.write_all(&[b'x'; 200]).expect("write");
        file.sync_data().expect("fsync");
    }
    report("append 200 bytes and fsync", 3000, &begun);
}

fn submit(store: &mut Store, from: u64, count: u64) {
    let all: Vec<_> = (from..from + count).map(|n| Change::Submit(Box::new(job(n)))).collect();
    for some in all.chunks(1000) {
        store.apply_all(some).expect("submit");
    }
}

/// Take and finish by the store alone, one commit each, with so many finished before.
fn changes(folder: &Path, safety: Safety, finished: u64, count: u64) {
    let folder = folder.join(format!("changes {safety:?} {finished}"));
    let mut store = Store::open(&Place::new(folder), Arc::new(Clocks), safety).expect("open");
    let opening = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let Applied::Opened(taker) = store.apply(&opening).expect("open") else { panic!("not opened") };
    let take = || Change::Take { taker, ask: Ask::Now, instance: "q_0".to_owned() };
    for first in (0..finished).step_by(1000) {
        submit(&mut store, first, 1000);
        let takes: Vec<_> = (0..1000).map(|_| take()).collect();
        let taken = store.apply_all(&takes).expect("take");
        let ends = taken.into_iter().map(|taken| match taken {
            Ok(Applied::Taken(taken)) => Change::End(taken.lease, Box::new(done())),
            other => panic!("{other:?}"),
        });
        store.apply_all(&ends.collect::<Vec<_>>()).expect("end");
    }
    submit(&mut store, 1_000_000_000, count);
    let begun = Begun::now();
    for _ in 0..count {
        let Applied::Taken(taken) = store.apply(&take()).expect("take") else { panic!("nothing") };
        store.apply(&Change::End(taken.lease, Box::new(done()))).expect("end");
    }
    let what = format!("{safety:?}: take, then finish: two commits; {finished} finished before");
    report(&what, count, &begun);
}

/// Take and finish beside so many that wait for a key that is locked, and then one of these after the other.
fn keyed(folder: &Path, waiting: u64, count: u64) {
    let folder = folder.join(format!("keyed {waiting}"));
    let mut store = Store::open(&Place::new(folder), Arc::new(Clocks), Safety::Kill).expect("open");
    let opening = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let Applied::Opened(taker) = store.apply(&opening).expect("open") else { panic!("not opened") };
    let mut locked = |change| store.apply(&change).expect("lock");
    let (name, holder) = ("k".to_owned(), "ann".to_owned());
    locked(Change::Lock { name: name.clone(), holder: holder.clone(), life: None });
    let key = Some(name.clone());
    let all = (0..waiting).map(|n| NewJob { key: key.clone(), ..job(n) });
    let all: Vec<_> = all.map(|job| Change::Submit(Box::new(job))).collect();
    let begun = Begun::now();
    for some in all.chunks(1000) {
        store.apply_all(some).expect("submit");
    }
    report(&format!("Kill: submit {waiting} with one key, 1000 a commit"), waiting, &begun);
    submit(&mut store, waiting, count);
    let beside = format!("Kill: take, then finish, beside {waiting} of a locked key");
    let in_line = format!("Kill: take, then finish, of {waiting} of one key");
    for what in [beside, in_line] {
        let begun = Begun::now();
        for _ in 0..count {
            let take = Change::Take { taker, ask: Ask::Now, instance: "q_0".to_owned() };
            let Applied::Taken(taken) = store.apply(&take).expect("take") else { panic!("none") };
            store.apply(&Change::End(taken.lease, Box::new(done()))).expect("end");
        }
        report(&what, count, &begun);
        // Once.
        let _ = store.apply(&Change::Unlock { name: name.clone(), holder: holder.clone() });
    }
}

/// Items that a worker has at hand, as exo has.
const AHEAD: usize = 32;

/// A worker that always has more at hand: outcome, begin and the next lease share a commit, and so
/// do several items.
fn queue(folder: &Path, safety: Safety, instances: usize, count: u64) {
    let folder = folder.join(format!("queue {safety:?} {instances}"));
    let settings = settings(&folder, safety);
    let mut store = Store::open(&settings.place, settings.clock.clone(), safety).expect("open");
    submit(&mut store, 0, count);
    let mut broker = Embedded::open(&settings).expect("open");
    for n in 0..instances {
        for _ in 0..=AHEAD {
            broker.ask(Ask::Ahead, &n.to_string());
        }
    }
    let begun = Begun::now();
    let mut left = count;
    while left > 0 {
        match next(&mut broker) {
            // The work is done at once, also while the last outcome is being made safe.
            Event::Arrived(mut delivery) => {
                let instance = delivery.job().instance.clone();
                broker.begin(&mut delivery, &instance, Clocks.now().wall);
                broker.finish(delivery, done());
                broker.ask(Ask::Ahead, &instance);
            }
            Event::Settled { .. } => left -= 1,
            other => panic!("{other:?}"),
        }
    }
    let what = format!("{safety:?}: embedded queue, {instances} at a time, {AHEAD} looked ahead");
    report(&what, count, &begun);
}

/// From a submit in one handle to its arrival at an idle taker, and until it is settled.
fn latency(folder: &Path, safety: Safety) {
    let settings = settings(&folder.join(format!("latency {safety:?}")), safety);
    let mut store = Store::open(&settings.place, settings.clock.clone(), safety).expect("open");
    let mut broker = Embedded::open(&settings).expect("open");
    let (mut taken, mut settled) = (Vec::new(), Vec::new());
    for n in 0..2000 {
        broker.ask(Ask::Now, "0");
        let begun = Instant::now();
        store.apply(&Change::Submit(Box::new(job(n)))).expect("submit");
        let Event::Arrived(delivery) = next(&mut broker) else { panic!("no delivery") };
        taken.push(begun.elapsed());
        broker.finish(delivery, done());
        assert!(matches!(next(&mut broker), Event::Settled { .. }));
        settled.push(begun.elapsed());
    }
    let percentile = |times: &mut Vec<Duration>, share: usize| {
        times.sort();
        times[times.len() * share / 1000].as_micros()
    };
    for (what, times) in [("taken", &mut taken), ("settled", &mut settled)] {
        let (middle, high) = (percentile(times, 500), percentile(times, 990));
        let what = format!("{safety:?}: submit to {what}, idle");
        println!("{what:<60} {middle:>6} us median, {high} us p99");
    }
}

/// Two processes' worth of handles that write all the time: each gets its turns.
fn fairness(folder: &Path, safety: Safety, writers: u64) {
    let folder = folder.join("fairness");
    let until = Instant::now() + Duration::from_secs(2);
    let run = |n: u64| {
        let place = Place::new(&folder);
        std::thread::spawn(move || {
            let mut store = Store::open(&place, Arc::new(Clocks), safety).expect("open");
            let mut count = 0;
            while Instant::now() < until {
                let change = Change::Submit(Box::new(job((n << 32) + count)));
                store.apply(&change).expect("submit");
                count += 1;
            }
            count
        })
    };
    let all: Vec<_> = (0..writers).map(run).collect();
    let counts: Vec<u64> = all.into_iter().map(|t| t.join().expect("joined")).collect();
    let (least, most) = (counts.iter().min(), counts.iter().max());
    let what = format!("{safety:?}: {writers} writers at once, least and most of 2 s");
    println!("{what:<60} {least:?} {most:?}");
}

fn main() {
    let folder = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("skynet-rates-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("mkdir");
    floor(&folder);
    for safety in [Safety::Power, Safety::Kill] {
        changes(&folder, safety, 0, 4000);
        for instances in [1, 8] {
            queue(&folder, safety, instances, 20_000);
        }
        latency(&folder, safety);
        fairness(&folder, safety, 10);
    }
    changes(&folder, Safety::Kill, 10_000, 4000);
    for waiting in [1000, 100_000] {
        keyed(&folder, waiting, 200);
    }
    if std::env::var_os("SKYNET_LONG").is_some() {
        changes(&folder, Safety::Kill, 1_000_000, 4000);
    }
    std::fs::remove_dir_all(&folder).expect("rmdir");
}
