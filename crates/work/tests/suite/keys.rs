//! Who waits for a key: which job is taken next, against the plain words of that.

use crate::random::{Random, check, random_change, raw};
use crate::support::{self, Moved, World, open, opened};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::Scratch;
use work::{Applied, Ask, Change, Clock, Error, JobId, Lease, NewJob, Policy, TakerId};

/// What of a queue could be taken if no lock was anybody's, in the order of taking.
const FIT: &str = "SELECT j.id, j.key FROM job j JOIN label l ON l.id = j.label
    WHERE queue = ?1 AND state = 'ready' AND holder IS NULL AND (due IS NULL OR due <= ?2)
        AND l.active = 1 AND (?3 OR wary = 0 AND count = 0)
        AND (request IS NULL OR EXISTS (SELECT 1 FROM request r
            WHERE r.id = j.request AND r.fault = 0 AND r.state IN ('ready', 'run')))
        AND (dependency IS NULL OR EXISTS (SELECT 1 FROM dependency d
            WHERE d.id = j.dependency AND d.fault = 0 AND d.state = 'stop'))
        AND NOT EXISTS (SELECT 1 FROM job c WHERE c.parent = j.id AND c.state <> 'stop')
    ORDER BY l.known DESC, l.priority DESC, l.id, j.priority DESC, j.id";

/// Returns what so many takings come to, one after the other.
fn next_in_words(raw: &Connection, queue: &str, now: u64, ask: Ask, count: usize) -> Vec<i64> {
    let mut locks = raw.prepare_cached("SELECT name FROM lock").unwrap();
    let locked = locks.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut locked: BTreeSet<String> = locked.map(Result::unwrap).collect();
    let mut fit = raw.prepare_cached(FIT).unwrap();
    let params = rusqlite::params![queue, now.cast_signed(), ask == Ask::Now];
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?));
    let fit = fit.query_map(params, read).unwrap().map(Result::unwrap);
    // Whose lock is somebody's when it is come to has it locked until the end.
    let free = fit.filter(|(_, key)| key.as_ref().is_none_or(|key| locked.insert(key.clone())));
    free.map(|(id, _): (i64, _)| id).take(count).collect()
}

/// Has a job wait for one of several keys, in one of two queues.
fn keyed(random: &mut Random, job: NewJob) -> NewJob {
    let keys = [None, Some("k"), Some("k"), Some("l"), Some("m")];
    NewJob {
        queue: ["q", "q", "r"][random.below(3)].to_owned(),
        key: keys[random.below(keys.len())].map(str::to_owned),
        priority: random.below(3) as i32 - 1,
        ..job
    }
}

/// What happens to a store, with more keys, queues and priorities than elsewhere.
fn change(random: &mut Random, takers: &[TakerId], leases: &[Lease], jobs: usize) -> Change {
    let job = JobId(1 + random.below(jobs.max(1)) as i64);
    match random.below(16) {
        0 => Change::Prioritise { job, priority: random.below(3) as i32 - 1 },
        1 if !leases.is_empty() => Change::HandBack(leases[random.below(leases.len())]),
        2..5 => {
            let name = format!("more {}", random.below(10_000));
            Change::Submit(Box::new(keyed(random, support::job(&name))))
        }
        5..7 if !leases.is_empty() => {
            let ended = support::fault([0, 0, 1, 10][random.below(4)]);
            Change::End(leases[random.below(leases.len())], Box::new(ended))
        }
        _ => match random_change(random, takers, leases, jobs) {
            Change::Submit(job) => Change::Submit(Box::new(keyed(random, *job))),
            Change::Request(mut request) => {
                let jobs = request.jobs.into_iter();
                request.jobs = jobs.map(|job| keyed(random, job)).collect();
                Change::Request(request)
            }
            other => other,
        },
    }
}

/// Takes up to three jobs in one commit: those, and in the order, that the words say. Returns their leases.
fn take(
    world: &mut World,
    raw: &Connection,
    taker: (TakerId, &str),
    random: &mut Random,
) -> Vec<Lease> {
    let (taker, queue) = taker;
    let ask = [Ask::Now, Ask::Ahead][random.below(2)];
    let count = 1 + random.below(3);
    let in_words = next_in_words(raw, queue, world.clock.now().mono.0, ask, count);
    let takes = vec![Change::Take { taker, ask, instance: "i".to_owned() }; count];
    let applied = world.store.apply_all(&takes).unwrap();
    let lease = |applied| match applied {
        Ok(Applied::Taken(taken)) => Some(taken.lease),
        Ok(Applied::Nothing { .. }) => None,
        other => panic!("{other:?}"),
    };
    let leases: Vec<Lease> = applied.into_iter().filter_map(lease).collect();
    let taken: Vec<i64> = leases.iter().map(|lease| lease.job.0).collect();
    assert_eq!(taken, in_words, "{ask:?} of {queue}");
    leases
}

#[test]
fn of_those_who_wait_for_keys_the_one_is_taken_that_the_words_say() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let (seeds, steps) = if long { (1..=200, 2000) } else { (1..=6, 500) };
    let (mut taken, mut from_behind) = (0, 0);
    for seed in seeds {
        let mut random = Random(seed * 0x9e37_79b9);
        let (scratch, clock) = (Scratch::new(), Moved::new());
        // The clock of a later boot stands still but for what is passed by hand.
        clock.reboot();
        let mut store = open(&scratch, &clock);
        let policy = Policy::default();
        let queues = ["q", "q", "r"];
        let mut takers = queues.map(|queue| opened(&mut store, queue, policy));
        let mut world = World { scratch, clock, store, taker: takers[0] };
        let raw = raw(&world.scratch);
        let (mut leases, mut jobs) = (Vec::new(), 0);
        for step in 0..steps {
            let change = change(&mut random, &takers, &leases, jobs);
            if matches!(change, Change::HandBack(lease) if is_of_request(&raw, lease.job)) {
                // What comes from another broker is of none.
                continue;
            }
            match world.store.apply(&change) {
                Ok(Applied::Taken(taken)) => leases.push(taken.lease),
                Ok(Applied::Submitted { .. } | Applied::Requested(_)) => jobs += 1,
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(Error::Trouble(trouble)) => panic!("seed {seed}: {change:?}: {trouble}"),
            }
            check(&raw, &format!("seed {seed}, step {step}: {change:?}"));
            if random.below(5) == 0 {
                world.clock.pass(Duration::from_secs(random.below(40) as u64));
            }
            let at = random.below(takers.len());
            if random.below(3) == 0 {
                let behind: BTreeSet<i64> = behind(&raw);
                let now = take(&mut world, &raw, (takers[at], queues[at]), &mut random);
                check(&raw, &format!("seed {seed}, step {step}: taken {now:?}"));
                taken += now.len();
                from_behind += now.iter().filter(|lease| behind.contains(&lease.job.0)).count();
                leases.extend(now);
            }
            if random.below(60) == 0 {
                world.apply(&Change::CloseTaker(takers[at]));
                check(&raw, &format!("seed {seed}, step {step}: a life ended"));
                takers[at] = opened(&mut world.store, queues[at], policy);
            }
        }
    }
    assert!(taken > 300 && from_behind > 10, "{taken}, {from_behind} from behind another");
}

fn is_of_request(raw: &Connection, job: JobId) -> bool {
    let sql = "SELECT 1 FROM job WHERE id = ?1 AND request IS NOT NULL";
    raw.prepare_cached(sql).unwrap().exists([job.0]).unwrap()
}

/// Returns who is behind another.
fn behind(raw: &Connection) -> BTreeSet<i64> {
    let mut behind = raw.prepare_cached("SELECT id FROM job WHERE behind = 1").unwrap();
    behind.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn lines_that_an_exo_of_before_has_left_wrong_are_right_for_the_next_that_opens_the_queue() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.submit(NewJob { key: Some("k".to_owned()), ..support::job(name) });
    }
    let raw = Connection::open(support::place(&world.scratch).database()).unwrap();
    assert_eq!(behind(&raw), BTreeSet::from([2, 3]));
    // As it ends the first, with no word of who is next, and takes a new one in.
    raw.execute_batch("UPDATE job SET state = 'stop' WHERE id = 1").unwrap();
    let id = world.submit(support::job("d"));
    raw.execute("UPDATE job SET key = 'k' WHERE id = ?1", [id.0]).unwrap();
    assert_eq!(behind(&raw), BTreeSet::from([2, 3]));
    opened(&mut world.store, "q", Policy::default());
    assert_eq!(behind(&raw), BTreeSet::from([3, id.0]));
    assert_eq!(world.taken().job, JobId(2));
}
