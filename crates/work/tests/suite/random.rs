//! Random histories of several takers, against rules that hold after each change.

use crate::support::{World, ann, fault, job, opened};
use machine::work::{Fault, Limit, Reach};
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::time::Duration;
use work::{
    Applied, Ask, Asked, Change, DeadId, DependencyId, Ended, Entry, Error, JobId, Lease, NewJob,
    NewRequest, NewRule, Policy, RequestId, RuleId, Steer, Subject, TakerId, Wall,
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
        "of those who wait for a key the first of a label and queue is in front, and nobody else",
        "SELECT id FROM job j WHERE state = 'ready' AND holder IS NULL AND due IS NULL
        AND (behind IS NOT NULL) <> EXISTS (SELECT 1 FROM job f
            WHERE f.key = j.key AND f.queue = j.queue AND f.label = j.label
            AND f.state = 'ready' AND f.holder IS NULL AND f.due IS NULL
            AND (f.priority > j.priority OR f.priority = j.priority AND f.id < j.id))",
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
    (
        "an answer is of a job that was tried as often as it says, by the name of that",
        "SELECT a.id FROM job a JOIN job j ON j.id = a.answer_to
            WHERE a.identity NOT IN (SELECT j.identity || '#' || t.number FROM attempt t
                WHERE t.job = j.id AND t.how IS NOT NULL)
            OR a.wfid <> iif(j.wfid = '', 'job-' || j.id, j.wfid)",
    ),
    (
        "who asked for what is done has its answer, whatever else is called so",
        "SELECT id FROM job j WHERE reply_to IS NOT NULL AND state = 'stop' AND fault = 0
            AND (NOT answered OR NOT EXISTS (SELECT 1 FROM job a WHERE a.answer_to = j.id
                AND a.queue = j.reply_to AND a.identity = j.identity || '#' || j.tries))",
    ),
    ("no try above the limit", "SELECT id FROM job WHERE count > 4"),
    (
        "only what rests, or is kept back, has a delay",
        "SELECT id FROM job WHERE due IS NOT NULL
        AND (state NOT IN ('ready', 'new', 'hold') OR holder IS NOT NULL)",
    ),
    (
        "a request that has jobs has stopped exactly when all of them have",
        "SELECT id FROM request r WHERE EXISTS (SELECT 1 FROM job WHERE request = r.id)
        AND (state = 'stop') <> NOT EXISTS (SELECT 1 FROM job WHERE request = r.id
            AND state <> 'stop')",
    ),
    (
        "what is ready or runs has jobs",
        "SELECT id FROM request r WHERE state IN ('ready', 'run', 'cancelling')
        AND NOT EXISTS (SELECT 1 FROM job WHERE request = r.id)",
    ),
    (
        "a request runs while a job of it is in somebody's hand",
        "SELECT j.id FROM job j JOIN request r ON r.id = j.request
        WHERE j.holder IS NOT NULL AND r.state NOT IN ('run', 'cancelling')",
    ),
    (
        "a request is there while a job of it is",
        "SELECT id FROM job WHERE request IS NOT NULL
        AND request NOT IN (SELECT id FROM request)",
    ),
    (
        "what is to be parsed, or seen to, rests after a try in vain, and nothing else does",
        "SELECT id FROM request WHERE due IS NOT NULL AND (state <> 'new' OR fault = 0)
        UNION ALL SELECT id FROM dependency WHERE due IS NOT NULL AND (state <> 'ready' OR fault = 0)",
    ),
    (
        "of requests and dependencies what stopped is done, failed or cancelled, and nothing else is",
        "SELECT id FROM request WHERE state = 'stop' AND fault BETWEEN 1 AND 9
            OR state NOT IN ('stop', 'cancelling') AND fault >= 10
        UNION ALL SELECT id FROM dependency WHERE state = 'stop' AND fault BETWEEN 1 AND 9
            OR state NOT IN ('stop', 'cancelling') AND fault >= 10",
    ),
    (
        "who has a lock for as long as it lives, lives",
        "SELECT life FROM lock WHERE life IS NOT NULL AND life NOT IN (SELECT id FROM taker)",
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
    // One that was given lately may still hold.
    let some =
        if random.below(4) == 0 { leases } else { &leases[leases.len().saturating_sub(5)..] };
    let lease = some.get(random.below(some.len().max(1))).copied();
    let lease = lease.unwrap_or(Lease { job: id, taker: takers[0], number: 1 });
    let taker = takers[random.below(takers.len())];
    let instance = "i".to_owned();
    match random.below(40) {
        0..3 => Change::Submit(Box::new(random_job(random, id))),
        3..6 => {
            let ask = if random.below(2) == 0 { Ask::Now } else { Ask::Ahead };
            Change::Take { taker, ask, instance }
        }
        6 => Change::Begin { lease, instance, at: Wall(random.below(9) as i64) },
        7 => Change::GiveBack(lease),
        8 => Change::Interrupt(lease, Box::default()),
        9..12 | 24..28 => {
            let code = [0, 0, 1, 7, 10, 42, 900][random.below(7)];
            Change::End(lease, Box::new(Ended { output: Some(vec![b'1']), ..fault(code) }))
        }
        12 => {
            let job = if random.below(2) == 0 { id } else { lease.job };
            Change::Asked(ann(), Asked::Cancel(job, Fault::CANCELLED))
        }
        13 => {
            let priority = (random.below(2) == 0).then_some(3);
            Change::Asked(ann(), Asked::Requeue { job: id, reach: Reach::Failed, priority })
        }
        14 | 28..30 => Change::CancelOverdue(lease, Box::default()),
        15 => Change::Sweep(taker),
        16 => {
            let (queue, signature) = ("q".to_owned(), "fault 10".to_owned());
            let (delay, until) = (Duration::from_secs(5), Wall(i64::MAX));
            let rule = NewRule { queue, signature, limit: 2, delay, until };
            Change::Asked(ann(), Asked::SetRule(Box::new(rule)))
        }
        17 => Change::Asked(ann(), Asked::DropRule(RuleId(1 + random.below(9) as i64))),
        18 => Change::Asked(ann(), Asked::Revive(DeadId(1 + random.below(9) as i64))),
        19 => Change::Asked(ann(), Asked::Exhume(DeadId(1 + random.below(9) as i64))),
        20 => Change::Stage { lease, stage: (random.below(2) == 0).then(|| "half".to_owned()) },
        21..23 => {
            let job = Box::new(random_job(random, id));
            let ask = if random.below(2) == 0 { Ask::Now } else { Ask::Ahead };
            Change::Arrive { job, known: None, taker, ask, instance }
        }
        23 => {
            let before = Wall(if random.below(4) == 0 { i64::MAX } else { 0 });
            Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 20 }
        }
        _ => random_group(random, taker, id),
    }
}

fn random_job(random: &mut Random, parent: JobId) -> NewJob {
    let identity = random.below(60).to_string();
    NewJob {
        key: (random.below(3) == 0).then(|| "k".to_owned()),
        delay: Duration::from_secs(random.below(2) as u64 * 5),
        parent: (random.below(6) == 0).then_some(parent),
        dependency: (random.below(6) == 0).then(|| DependencyId(1 + random.below(3) as i64)),
        label: ["", "", "l", "m"][random.below(4)].to_owned(),
        entry: [Entry::Ready, Entry::Ready, Entry::New, Entry::Hold][random.below(4)],
        ..job(&identity)
    }
}

fn random_jobs(random: &mut Random, parent: JobId) -> Vec<NewJob> {
    (0..random.below(3)).map(|_| random_job(random, parent)).collect()
}

/// What is done to requests, dependencies, labels and locks.
fn random_group(random: &mut Random, taker: TakerId, job: JobId) -> Change {
    let request = RequestId(1 + random.below(6) as i64);
    let dependency = DependencyId(1 + random.below(3) as i64);
    let (name, holder) = ("k".to_owned(), ["ann", "bob"][random.below(2)].to_owned());
    match random.below(12) {
        0..2 => Change::Request(Box::new(NewRequest {
            name: random.below(12).to_string(),
            label: ["", "l"][random.below(2)].to_owned(),
            jobs: random_jobs(random, job),
            held: random.below(3) == 0,
            ..NewRequest::default()
        })),
        2 => Change::Expand { request, jobs: random_jobs(random, job) },
        3 => Change::Unparsed { request, fault: Fault([3, 3, 3, 12, 0][random.below(5)]) },
        4..7 => {
            let subject = match random.below(4) {
                0 => Subject::Job(job),
                1 => Subject::Dependency(dependency),
                _ => Subject::Request(request),
            };
            Change::Steer(subject, random_steer(random))
        }
        7 => Change::Need {
            kind: "kind".to_owned(),
            name: random.below(3).to_string(),
            component: String::new(),
            checker: None,
        },
        8 => Change::Resolve(dependency, Fault([0, 0, 3, 3, 12, 900][random.below(6)])),
        9 => {
            let name = ["l", "m"][random.below(2)].to_owned();
            Change::SetLabel { name, priority: random.below(3) as i32, active: random.below(3) > 0 }
        }
        10 => Change::Lock { name, holder, life: (random.below(2) == 0).then_some(taker) },
        _ => Change::Unlock { name, holder },
    }
}

fn random_steer(random: &mut Random) -> Steer {
    match random.below(8) {
        0 => Steer::Accept,
        1 => Steer::Hold,
        2 => Steer::Release,
        3 => Steer::Cancel(Fault::CANCELLED),
        4 => Steer::Cancel(Fault::KILLED),
        5 => Steer::Cancel(Fault(3)),
        6 => Steer::Requeue(Reach::Any),
        _ => Steer::Requeue(Reach::Failed),
    }
}

#[test]
fn random_histories_keep_the_rules_and_every_job_can_be_brought_to_an_end() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let (seeds, steps) = if long { (1..=200, 2000) } else { (1..=10, 600) };
    let mut made = BTreeMap::new();
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
            let applied = world.store.apply(&change);
            *made.entry(kind(&change)).or_insert(0) += u32::from(applied.is_ok());
            match applied {
                Ok(Applied::Taken(taken)) => leases.push(taken.lease),
                Ok(Applied::Submitted { .. } | Applied::Requested(_)) => jobs += 1,
                Ok(_) | Err(Error::Refused(_)) => {}
                Err(Error::Trouble(trouble)) => panic!("seed {seed}: {change:?}: {trouble}"),
            }
            if random.below(5) == 0 {
                world.clock.pass(Duration::from_secs(random.below(40) as u64));
            }
            check(&raw, &format!("seed {seed}, step {step}: {change:?}"));
            if random.below(60) == 0 {
                // A life ends with all that it has, and another begins.
                let taker = random.below(takers.len());
                world.apply(&Change::CloseTaker(takers[taker]));
                check(&raw, &format!("seed {seed}, step {step}: a life ended"));
                takers[taker] = opened(&mut world.store, "q", policy);
            }
        }
        finish(&mut world, &takers);
        for table in ["job", "request", "dependency"] {
            let open = format!("SELECT count(*) FROM {table} WHERE state <> 'stop'");
            let open: u32 = raw.query_row(&open, [], |row| row.get(0)).unwrap();
            assert_eq!(open, 0, "{table}, seed {seed}");
        }
        let (before, after) = (Wall(i64::MAX), JobId(0));
        for _ in 0..3 {
            world.apply(&Change::Clean { before, most: u64::MAX, after, at_most: 100_000 });
        }
        let left = "SELECT (SELECT count(*) FROM job) + (SELECT count(*) FROM request)";
        let left: u32 = raw.query_row(left, [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0, "seed {seed}");
    }
    assert!(made.len() == KINDS && made.values().all(|n| *n > 0), "each happens: {made:?}");
}

/// Kinds of changes that are made at random.
const KINDS: usize = 21;

fn kind(change: &Change) -> String {
    let text = format!("{change:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_owned()
}

/// What keeps jobs back goes: what is held is accepted, what is waited for comes, what is to be parsed
/// is nothing.
fn release(world: &mut World) {
    let mut changes = Vec::new();
    for name in ["l", "m"] {
        changes.push(Change::SetLabel { name: name.to_owned(), priority: 0, active: true });
    }
    for holder in ["ann", "bob"] {
        changes.push(Change::Unlock { name: "k".to_owned(), holder: holder.to_owned() });
    }
    for id in 1..4 {
        let subject = Subject::Dependency(DependencyId(id));
        changes.push(Change::Steer(subject, Steer::Requeue(Reach::Failed)));
        changes.push(Change::Resolve(DependencyId(id), Fault::NONE));
    }
    let reader = world.reader();
    let requests = reader.requests(9999).unwrap().into_iter().map(|request| request.id);
    let jobs = reader.jobs(None, None, 9999).unwrap().into_iter().map(|job| job.id);
    let subjects = requests.map(Subject::Request).chain(jobs.map(Subject::Job));
    for subject in subjects {
        changes.push(Change::Steer(subject, Steer::Release));
        changes.push(Change::Steer(subject, Steer::Accept));
        if let Subject::Request(request) = subject {
            changes.push(Change::Expand { request, jobs: Vec::new() });
        }
    }
    // Many of them need nothing of that.
    let _ = world.store.apply_all(&changes).unwrap();
}

/// All takers die; a new one does all there is.
fn finish(world: &mut World, takers: &[TakerId]) {
    for taker in takers {
        world.apply(&Change::CloseTaker(*taker));
    }
    world.taker = opened(&mut world.store, "q", Policy::default());
    release(world);
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
