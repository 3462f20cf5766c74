//! Random histories of several takers, against rules that hold after each change.

use crate::support::{World, ann, fault, job, opened};
use machine::work::{Fault, Limit, Reach};
use rusqlite::{Connection, OpenFlags};
use std::time::Duration;
use work::{
    Applied, Ask, Asked, Change, DeadId, Ended, Error, JobId, Lease, NewJob, NewRule, Policy,
    RuleId, Steer, Subject, TakerId, Wall,
};

/// Small, seeded and repeatable; the seed is in the message of whatever fails.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// Each row a rule; what it selects breaks it.
const RULES: &[(&str, &str)] = &[
    (
        "an attempt is open exactly while its job is worked on",
        "SELECT id FROM job j WHERE (state IN ('run', 'cancelling')) <>
            (SELECT count(*) FROM attempt a WHERE a.job = j.id AND how IS NULL)",
    ),
    (
        "the open attempt is the holder's",
        "SELECT a.id FROM attempt a JOIN job j ON j.id = a.job
            WHERE how IS NULL AND a.taker <> j.holder",
    ),
    (
        "an attempt is of its job's queue",
        "SELECT a.id FROM attempt a JOIN job j ON j.id = a.job WHERE a.queue IS NOT j.queue",
    ),
    (
        "attempts are numbered",
        "SELECT id FROM job j WHERE tries <>
        (SELECT count(*) FROM attempt a WHERE a.job = j.id)",
    ),
    (
        "a holder is alive",
        "SELECT id FROM job WHERE holder IS NOT NULL
        AND holder NOT IN (SELECT id FROM taker)",
    ),
    (
        "a lock is held by whoever has its job",
        "SELECT name FROM lock l JOIN job j ON j.id = l.job
        WHERE j.holder IS NULL OR j.key <> l.name",
    ),
    (
        "who has a job has its lock",
        "SELECT id FROM job j WHERE key IS NOT NULL
        AND holder IS NOT NULL AND NOT EXISTS (SELECT 1 FROM lock WHERE job = j.id)",
    ),
    (
        "who stopped is done, failed or cancelled",
        "SELECT id FROM job WHERE state = 'stop'
        AND fault BETWEEN 1 AND 9",
    ),
    (
        "who has not stopped has no final fault",
        "SELECT id FROM job WHERE
        state IN ('ready', 'run') AND fault >= 10",
    ),
    (
        "no rule has a job tried again more often than it says",
        "SELECT job FROM act WHERE what = 'requeue'
        AND rule IS NOT NULL GROUP BY job, rule HAVING count(*) > 2",
    ),
    (
        "a dead item's job has failed, and not been taken up since",
        "SELECT d.id FROM dead d JOIN job j ON j.id = d.job WHERE state <> 'stop'",
    ),
    ("no try above the limit", "SELECT id FROM job WHERE count > 4"),
    (
        "only what rests has a delay",
        "SELECT id FROM job WHERE due IS NOT NULL
        AND (state <> 'ready' OR holder IS NOT NULL)",
    ),
];

pub(crate) fn check(conn: &Connection, context: &str) {
    for (rule, sql) in RULES {
        let broken: Vec<i64> =
            conn.prepare_cached(sql).unwrap().query_map([], |row| row.get(0)).map_or_else(
                |e| panic!("{rule}: {e}"),
                |rows| rows.map(|row| row.unwrap_or(-1)).collect(),
            );
        assert!(broken.is_empty(), "{rule}: {broken:?}: {context}");
    }
}

pub(crate) fn raw(scratch: &testkit::Scratch) -> Connection {
    let path = scratch.join("store/work.db");
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

pub(crate) fn random_change(
    random: &mut Random,
    takers: &[TakerId],
    leases: &[Lease],
    jobs: usize,
) -> Change {
    let id = JobId(1 + random.below(jobs.max(1)) as i64);
    let lease = leases.get(random.below(leases.len().max(1))).copied();
    let lease = lease.unwrap_or(Lease { job: id, taker: takers[0], number: 1 });
    let taker = takers[random.below(takers.len())];
    let instance = "i".to_owned();
    match random.below(20) {
        0..3 => {
            let key = (random.below(3) == 0).then(|| "k".to_owned());
            let delay = Duration::from_secs(random.below(2) as u64 * 5);
            let identity = random.below(60).to_string();
            Change::Submit(Box::new(NewJob { key, delay, ..job(&identity) }))
        }
        3..6 => {
            let ask = if random.below(2) == 0 { Ask::Now } else { Ask::Ahead };
            Change::Take { taker, ask, instance }
        }
        6 => Change::Begin { lease, instance, at: Wall(random.below(9) as i64) },
        7 => Change::GiveBack(lease),
        8 => Change::Interrupt(lease, Box::default()),
        9..12 => {
            let code = [0, 0, 1, 7, 10, 42, 900][random.below(7)];
            Change::End(lease, Box::new(Ended { output: Some(vec![b'1']), ..fault(code) }))
        }
        12 => Change::Asked(ann(), Asked::Cancel(id, Fault::CANCELLED)),
        13 => {
            let priority = (random.below(2) == 0).then_some(3);
            Change::Asked(ann(), Asked::Requeue { job: id, reach: Reach::Failed, priority })
        }
        14 => Change::CancelOverdue(lease, Box::default()),
        15 => Change::Sweep(taker),
        16 => {
            let (queue, signature) = ("q".to_owned(), "fault 10".to_owned());
            let (delay, until) = (Duration::from_secs(5), Wall(i64::MAX));
            let rule = NewRule { queue, signature, limit: 2, delay, until };
            Change::Asked(ann(), Asked::SetRule(Box::new(rule)))
        }
        17 => Change::Asked(ann(), Asked::DropRule(RuleId(1 + random.below(9) as i64))),
        18 => Change::Asked(ann(), Asked::Revive(DeadId(1 + random.below(9) as i64))),
        _ => Change::Asked(ann(), Asked::Exhume(DeadId(1 + random.below(9) as i64))),
    }
}

#[test]
fn random_histories_keep_the_rules_and_every_job_can_be_brought_to_an_end() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let (seeds, steps) = if long { (1..=200, 2000) } else { (1..=6, 300) };
    for seed in seeds {
        let mut random = Random(seed * 0x9e37_79b9);
        let policy = Policy { limit: Limit::default(), ..Policy::default() };
        let mut world = World::with(policy);
        let mut takers = vec![world.taker];
        takers.extend((0..2).map(|_| opened(&mut world.store, "q", policy)));
        let raw = raw(&world.scratch);
        let (mut leases, mut jobs) = (Vec::new(), 0);
        for step in 0..steps {
            let change = random_change(&mut random, &takers, &leases, jobs);
            match world.store.apply(&change) {
                Ok(Applied::Taken(taken)) => leases.push(taken.lease),
                Ok(Applied::Submitted { .. }) => jobs += 1,
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(Error::Trouble(trouble)) => panic!("seed {seed}: {change:?}: {trouble}"),
            }
            if random.below(5) == 0 {
                world.clock.pass(Duration::from_secs(random.below(40) as u64));
            }
            check(&raw, &format!("seed {seed}, step {step}: {change:?}"));
        }
        finish(&mut world, &takers);
        let open: u32 = raw
            .query_row("SELECT count(*) FROM job WHERE state <> 'stop'", [], |row| row.get(0))
            .unwrap();
        assert_eq!(open, 0, "seed {seed}");
    }
}

/// All takers die; a new one does all there is.
fn finish(world: &mut World, takers: &[TakerId]) {
    for taker in takers {
        world.apply(&Change::CloseTaker(*taker));
    }
    world.taker = opened(&mut world.store, "q", Policy::default());
    for _ in 0..5 {
        world.clock.pass(Duration::from_secs(3601));
        while let Some(taken) = world.take(Ask::Now) {
            world.end(taken.lease, Ended::default());
        }
    }
}

#[test]
fn of_cancel_and_completion_exactly_one_is_the_outcome_the_same_everywhere() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let mut random = Random(0x1234_5678_9abc_def1);
    let mut world = World::new();
    let mut seen = [0; 2];
    for race in 0..if long { 10_000 } else { 500 } {
        let new = NewJob { reply_to: Some(format!("replies-{race}")), ..job(&race.to_string()) };
        let id = world.submit(new);
        let lease = world.taken();
        let cancel = Change::Steer(Subject::Job(id), Steer::Cancel(Fault::CANCELLED));
        let code = [0, 10][random.below(2)];
        let ended = Ended { output: Some(b"{}".to_vec()), ..fault(code) };
        let end = Change::End(lease, Box::new(ended));
        let changes = if random.below(2) == 0 { [cancel, end] } else { [end, cancel] };
        // In one commit or in two.
        if random.below(2) == 0 {
            let _ = world.store.apply_all(&changes).unwrap();
        } else {
            for change in &changes {
                assert!(!matches!(world.store.apply(change), Err(Error::Trouble(_))));
            }
        }
        let (state, stands, _) = world.state(id);
        assert_eq!(state, "stop");
        let replies = world.reader().jobs(Some(&format!("replies-{race}")), None, 9).unwrap();
        let cancelled = stands == 900;
        assert_eq!(replies.len(), usize::from(!cancelled), "race {race}");
        assert!(cancelled || stands == code, "race {race}: {stands}");
        assert_eq!(world.reader().attempts(id).unwrap().len(), 1);
        seen[usize::from(cancelled)] += 1;
    }
    assert!(seen.iter().all(|n| *n > 50), "both happen: {seen:?}");
}
