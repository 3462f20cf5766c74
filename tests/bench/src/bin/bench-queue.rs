//! Who submits, as the account that keeps the store:
//!
//!     bench-queue fill STORE QUEUE COUNT     puts so many items there
//!     bench-queue finish STORE QUEUE COUNT   and these are finished
//!     bench-queue ask STORE QUEUE COUNT      submits one, waits for its answer, and so on; says
//!                                            how long each took, in milliseconds

use linux::fd::{self, PollFd};
use linux::time::{SECOND, monotonic, wall};
use machine::time::Mono;
use std::error::Error;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;
use work::embedded::Settings;
use work::{
    Applied, Ask, Broker, Change, Clock, Embedded, Ended, Event, NewJob, Now, Place, Policy,
    Safety, Store, TakerId, Wall,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Changes in one transaction.
const AT_ONCE: u64 = 256;
/// Where answers go.
const ANSWERS: &str = "answers";
/// Between an answer and the next question, so that everybody is idle.
const PAUSE: Duration = Duration::from_millis(3);
/// Nobody waits longer for an answer.
const PATIENCE: u64 = 10 * SECOND;

/// The clocks of this machine.
struct Clocks;

impl Clock for Clocks {
    fn now(&self) -> Now {
        let (seconds, nanos) = wall();
        let wall = Wall(seconds * 1_000_000 + i64::from(nanos / 1000));
        Now { mono: Mono(monotonic()), wall }
    }

    fn boot(&self) -> String {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .map(|id| id.trim().to_owned())
            .unwrap_or_default()
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, store, queue, count] = args.as_slice() else {
        return Err("usage: bench-queue fill|finish|ask STORE QUEUE COUNT".into());
    };
    let (place, count) = (Place::new(store), count.parse()?);
    match mode.as_str() {
        "fill" => fill(&mut open(&place, Safety::Kill)?, queue, "new", count),
        "finish" => finish(&mut open(&place, Safety::Kill)?, queue, count),
        "ask" => ask(&place, queue, count),
        _ => Err("no such mode".into()),
    }
}

fn open(place: &Place, safety: Safety) -> Result<Store> {
    Ok(Store::open(place, Arc::new(Clocks), safety)?)
}

/// An item of about 200 bytes.
fn item(queue: &str, wfid: &str, number: u64) -> Result<NewJob> {
    let text = format!(
        r#"{{"fei":{{"engine_id":"engine","wfid":"{wfid}-{number:08}","expid":"0_0","subid":"5"}},"participant_name":"{queue}","fields":{{"number":{number},"text":"{}"}}}}"#,
        "x".repeat(60)
    );
    Ok(NewJob::from_item(queue, text.into_bytes(), 1 << 20, "")?)
}

fn fill(store: &mut Store, queue: &str, wfid: &str, count: u64) -> Result<()> {
    for first in (0..count).step_by(AT_ONCE as usize) {
        let jobs = (first..count.min(first + AT_ONCE)).map(|n| item(queue, wfid, n));
        let jobs = jobs.map(|job| Ok(Change::Submit(Box::new(job?))));
        for made in store.apply_all(&jobs.collect::<Result<Vec<_>>>()?)? {
            made?;
        }
    }
    Ok(())
}

fn finish(store: &mut Store, queue: &str, count: u64) -> Result<()> {
    let opening = Change::OpenTaker { queue: queue.to_owned(), policy: Policy::default() };
    let Applied::Opened(taker) = store.apply(&opening)? else { return Err("no taker".into()) };
    for first in (0..count).step_by(AT_ONCE as usize) {
        finish_some(store, queue, taker, first..count.min(first + AT_ONCE))?;
    }
    store.apply(&Change::CloseTaker(taker))?;
    Ok(())
}

fn finish_some(
    store: &mut Store,
    queue: &str,
    taker: TakerId,
    numbers: std::ops::Range<u64>,
) -> Result<()> {
    let mut changes = Vec::new();
    for number in numbers.clone() {
        changes.push(Change::Submit(Box::new(item(queue, "old", number)?)));
    }
    let take = Change::Take { taker, ask: Ask::Now, instance: format!("{queue}_0") };
    changes.extend(numbers.map(|_| take.clone()));
    let mut ends = Vec::new();
    for made in store.apply_all(&changes)? {
        if let Applied::Taken(taken) = made? {
            let output = Some(taken.item);
            ends.push(Change::End(taken.lease, Box::new(Ended { output, ..Ended::default() })));
        }
    }
    for made in store.apply_all(&ends)? {
        made?;
    }
    Ok(())
}

fn ask(place: &Place, queue: &str, count: u64) -> Result<()> {
    let mut store = open(place, Safety::Power)?;
    let mut answers = Embedded::open(&Settings {
        place: place.clone(),
        clock: Arc::new(Clocks),
        safety: Safety::Power,
        queue: ANSWERS.to_owned(),
        policy: Policy::default(),
        drop_folder: None,
        keep: work::embedded::Keep::default(),
        error_class: work::item::ERROR_CLASS.to_owned(),
    })?;
    for number in 0..count {
        answers.ask(Ask::Now, "asker");
        std::thread::sleep(PAUSE);
        let job = NewJob { reply_to: Some(ANSWERS.to_owned()), ..item(queue, "ask", number)? };
        let asked = monotonic();
        store.apply(&Change::Submit(Box::new(job)))?;
        let delivery = loop {
            if let Event::Arrived(delivery) = hear(&mut answers)? {
                break delivery;
            }
        };
        println!("{}", Duration::from_nanos(monotonic() - asked).as_secs_f64() * 1e3);
        answers.finish(delivery, Ended { forget: true, ..Ended::default() });
        while !matches!(hear(&mut answers)?, Event::Settled { .. }) {}
    }
    Ok(())
}

fn hear(broker: &mut Embedded) -> Result<Event> {
    let until = monotonic() + PATIENCE;
    loop {
        if let Some(event) = broker.next() {
            return Ok(event);
        }
        let left = until.checked_sub(monotonic()).ok_or("no answer came")?;
        let mut wait = [PollFd::readable(broker.wakeup().as_raw_fd())];
        fd::poll(&mut wait, Some(left)).map_err(linux::errno::Errno::text)?;
    }
}
