//! How long history takes to be read, to be removed, and to give its room back.
//!
//!     cargo run --release -p work --example history [FOLDER [JOBS]]
//!
//! A million jobs, each with an attempt, unless something else is said.

#![allow(clippy::expect_used, clippy::panic)]
// A taker takes what is then taken.
#![allow(clippy::similar_names)]

use linux::time;
use machine::time::Mono;
use machine::work::Fault;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use work::read::{Span, Which};
use work::{
    Applied, Ask, Change, Clock, Ended, JobId, NewJob, Now, Place, Policy, Reader, Safety, Store,
    Wall,
};

/// The machine's clocks; the wall moves on by itself, so that history has days.
#[derive(Default)]
struct Clocks(AtomicI64);

impl Clock for Clocks {
    fn now(&self) -> Now {
        let (seconds, nanos) = time::wall();
        let moved = self.0.fetch_add(400_000_000, Ordering::Relaxed);
        let wall = Wall(seconds * 1_000_000 + i64::from(nanos / 1000) + moved);
        Now { mono: Mono(time::monotonic()), wall }
    }

    fn boot(&self) -> String {
        "this".to_owned()
    }
}

/// Jobs in one commit.
const AT_ONCE: usize = 500;

fn job(n: usize) -> Change {
    Change::Submit(Box::new(NewJob {
        queue: ["sizer", "packer"][n % 2].to_owned(),
        wfid: format!("20261122-0807-{n}"),
        identity: "0_1_0!!".to_owned(),
        item: vec![b'x'; 200],
        ..NewJob::default()
    }))
}

fn ended(n: usize) -> Ended {
    let log = Some("@400000006b04c42f075bcd15".to_owned());
    let output = Some(vec![b'y'; 200]);
    if n.is_multiple_of(50) {
        let text = Some("no such file".to_owned());
        let signature = Some(format!("exit 10: no such file of {}", n % 7));
        return Ended { fault: Fault(10), text, signature, log, output, ..Ended::default() };
    }
    Ended { log, output, ..Ended::default() }
}

fn fill(store: &mut Store, jobs: usize) {
    let takers = ["sizer", "packer"].map(|queue| {
        let opening = Change::OpenTaker { queue: queue.to_owned(), policy: Policy::default() };
        match store.apply(&opening).expect("open") {
            Applied::Opened(taker) => taker,
            other => panic!("{other:?}"),
        }
    });
    for first in (0..jobs).step_by(AT_ONCE) {
        let submits: Vec<_> = (first..first + AT_ONCE).map(job).collect();
        store.apply_all(&submits).expect("submit");
        let takes = (first..first + AT_ONCE).map(|n| {
            let (taker, instance) = (takers[n % 2], "p_0".to_owned());
            Change::Take { taker, ask: Ask::Now, instance }
        });
        let taken = store.apply_all(&takes.collect::<Vec<_>>()).expect("take");
        let ends = taken.into_iter().enumerate().map(|(n, taken)| match taken {
            Ok(Applied::Taken(taken)) => Change::End(taken.lease, Box::new(ended(first + n))),
            other => panic!("{other:?}"),
        });
        store.apply_all(&ends.collect::<Vec<_>>()).expect("end");
    }
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let came = work();
    println!("{what:<60} {:>9.3} s", begun.elapsed().as_secs_f64());
    came
}

fn size(place: &Place) -> u64 {
    std::fs::metadata(place.database()).map(|found| found.len()).unwrap_or_default() >> 20
}

fn read(place: &Place) {
    let reader = Reader::open(place).expect("open");
    for queue in timed("names of the queues", || reader.queues().expect("read")) {
        let mut count = 0_u64;
        timed(&format!("all attempts of {queue}"), || {
            reader.past_attempts(&queue, Span::ALL, |_| count += 1).expect("read");
        });
        timed(&format!("all jobs of {queue} that stopped"), || {
            reader.past_jobs(&queue, Span::ALL, |_, _| count += 1).expect("read");
        });
        println!("{count} rows");
        let mut after = None;
        timed(&format!("all attempts of {queue}, portion by portion"), || {
            loop {
                let portion = reader.entries(&queue, Span::ALL, after, 500).expect("read");
                after = portion.last;
                if after.is_none() {
                    break;
                }
            }
        });
        timed("the last 20 jobs that failed", || {
            reader.listed(Which::Failed, Some(&queue), 20).expect("read")
        });
    }
    timed("the last 20 jobs that failed, of all queues", || {
        reader.listed(Which::Failed, None, 20).expect("read")
    });
    timed("none that is held back", || reader.listed(Which::Hold, None, 20).expect("read"));
    let class = reader.classes().expect("read").remove(0);
    timed("the last 3 of a class", || reader.entries_of_class(&class, 3).expect("read"));
}

/// Repeats a change until nothing is left to do; tells how long the longest took.
fn steps(store: &mut Store, what: &str, mut next: impl FnMut(Option<Applied>) -> Option<Change>) {
    let (mut longest, mut sum, mut count) = (Duration::ZERO, Duration::ZERO, 0_u32);
    let mut came = None;
    while let Some(change) = next(came.take()) {
        let begun = Instant::now();
        came = Some(store.apply(&change).expect("applied"));
        let took = begun.elapsed();
        (longest, sum, count) = (longest.max(took), sum + took, count + 1);
    }
    let (longest, sum) = (longest.as_secs_f64() * 1e3, sum.as_secs_f64());
    println!("{what}: {count} steps, the longest {longest:.1} ms, all of them {sum:.1} s");
}

fn shrink(store: &mut Store, at_most: u32, moved: u32) {
    let before = store.now().wall;
    steps(store, &format!("removing, {at_most} jobs in a step"), |came| {
        let after = match came {
            None => JobId(0),
            Some(Applied::Cleaned { next, .. }) => next?,
            Some(other) => panic!("{other:?}"),
        };
        Some(Change::Clean { before, most: u64::MAX, after, at_most })
    });
    steps(store, &format!("giving back, {moved} pages in a step"), |came| match came {
        Some(Applied::Compacted { has_more: false }) => None,
        _ => Some(Change::Compact { at_most: moved }),
    });
}

/// The largest items that there may be unless more is set.
fn large(folder: &Path, clock: &Arc<Clocks>) {
    let place = Place::new(folder.join("large"));
    let mut store = Store::open(&place, clock.clone(), Safety::Power).expect("open");
    let opening = Change::OpenTaker { queue: "q".to_owned(), policy: Policy::default() };
    let Applied::Opened(taker) = store.apply(&opening).expect("open") else { panic!("no taker") };
    for n in 0..64 {
        let new = NewJob {
            queue: "q".to_owned(),
            identity: n.to_string(),
            item: vec![b'x'; 16 << 20],
            ..NewJob::default()
        };
        store.apply(&Change::Submit(Box::new(new))).expect("submit");
        let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
        let Applied::Taken(taken) = store.apply(&take).expect("take") else { panic!("nothing") };
        store.apply(&Change::End(taken.lease, Box::default())).expect("end");
    }
    println!("64 items of 16 MiB: {} MiB", size(&place));
    shrink(&mut store, 32, 32);
    println!("left: {} MiB", size(&place));
}

fn main() {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let jobs = args.next().map_or(1_000_000, |n| n.to_string_lossy().parse().expect("a number"));
    let folder = folder.join(format!("skynet-history-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("mkdir");
    let (clock, place) = (Arc::new(Clocks::default()), Place::new(folder.join("store")));
    let mut store = Store::open(&place, clock.clone(), Safety::Kill).expect("open");
    timed(&format!("{jobs} jobs submitted, taken and ended"), || fill(&mut store, jobs));
    println!("{} MiB", size(&place));
    read(&place);
    drop(store);
    if std::env::var_os("KEEP").is_some() {
        println!("left as it is in {}", folder.display());
        return;
    }
    let mut store = timed("opened for writing, checked before", || {
        Store::open(&place, clock.clone(), Safety::Power).expect("open")
    });
    shrink(&mut store, 32, 32);
    println!("left: {} MiB", size(&place));
    drop(store);
    large(&folder, &clock);
    std::fs::remove_dir_all(&folder).expect("rmdir");
}
