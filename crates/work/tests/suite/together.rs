//! Changes of one transaction are what they are in a transaction each, whatever is looked up or
//! written only once for all of them.

use crate::random::{Random, random_change, raw};
use crate::support::{World, job, opened, place};
use machine::time::Mono;
use machine::work::{Backoff, Fault};
use rusqlite::Connection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use testkit::Scratch;
use work::{
    Applied, Ask, Change, Clock, Ended, Lasted, Lease, NewJob, Now, Policy, Refused, Safety, Store,
    TakerId, Wall,
};

/// Two stores see the same time.
#[derive(Default)]
struct Still(AtomicU64);

impl Clock for Still {
    fn now(&self) -> Now {
        let seconds = self.0.load(Ordering::SeqCst);
        Now {
            mono: Mono((1 + seconds) * 1_000_000_000),
            wall: Wall(1_700_000_000_000_000 + seconds as i64 * 1_000_000),
        }
    }

    fn boot(&self) -> String {
        "boot".to_owned()
    }
}

/// All that is recorded, but for the numbers of attempts' rows, which nobody is told.
const RECORDED: [&str; 11] = [
    "SELECT id || '|' || queue || '|' || wfid || '|' || identity || '|' || priority || '|' || state
        || '|' || fault || '|' || count || '|' || wary || '|' || ifnull(due, '-') || '|'
        || ifnull(due_at, '-') || '|' || ifnull(holder, '-') || '|' || lease || '|' || tries || '|'
        || answered || '|' || changed_at || '|' || ifnull((SELECT number FROM attempt a
            WHERE a.id = j.attempt AND a.job = j.id), '-') FROM job j ORDER BY id",
    "SELECT job || '|' || number || '|' || queue || '|' || taker || '|' || instance || '|'
        || begun_at || '|' || ifnull(ended_at, '-') || '|' || ifnull(how, '-') || '|'
        || ifnull(fault, '-') || '|' || ifnull(text, '-') || '|' || ifnull(sum, '-') || '|'
        || ifnull(hex(output), '-') FROM attempt ORDER BY job, number",
    "SELECT id || '|' || lease_until FROM taker ORDER BY id",
    "SELECT name || '|' || ifnull(job, '-') || '|' || ifnull(holder, '-') || '|' || ifnull(life, '-')
        FROM lock ORDER BY name",
    "SELECT id || '|' || name || '|' || state || '|' || fault || '|' || count || '|'
        || ifnull(due, '-') || '|' || changed_at FROM request ORDER BY id",
    "SELECT id || '|' || state || '|' || fault || '|' || count || '|' || ifnull(due, '-')
        FROM dependency ORDER BY id",
    "SELECT name || '|' || priority || '|' || active || '|' || known FROM label ORDER BY name",
    "SELECT job || '|' FROM owed ORDER BY job",
    "SELECT id || '|' || ifnull(job, '-') || '|' || fault || '|' || at FROM dead ORDER BY id",
    "SELECT id || '|' || what || '|' || ifnull(job, '-') || '|' || at FROM act ORDER BY id",
    "SELECT signature || '|' || count FROM fault ORDER BY signature",
];

fn recorded(conn: &Connection) -> Vec<String> {
    let rows = |sql: &&str| {
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<Vec<String>, _>>().unwrap()
    };
    RECORDED.iter().flat_map(rows).collect()
}

/// What items live by more often than the rest, of leases that were given lately.
fn change(random: &mut Random, takers: &[TakerId], leases: &[Lease], jobs: usize) -> Change {
    let late = &leases[leases.len().saturating_sub(6)..];
    let (taker, instance) = (takers[random.below(takers.len())], "i".to_owned());
    match (random.below(12), late.get(random.below(6))) {
        (0..3, Some(lease)) => {
            Change::Begin { lease: *lease, instance, at: Wall(random.below(9) as i64) }
        }
        (3..5, Some(lease)) => {
            let told = (random.below(9) as i64, random.below(9) as i64);
            let lasted = Some(Lasted { begun: Wall(told.0), ended: Wall(told.1) });
            let lasted = lasted.filter(|_| random.below(2) == 0);
            Change::End(*lease, Box::new(Ended { lasted, ..Ended::default() }))
        }
        (5, Some(lease)) => {
            let (fault, output) = (Fault(900), Some(vec![b'2'; 3]));
            Change::End(*lease, Box::new(Ended { fault, output, ..Ended::default() }))
        }
        (6..8, _) => Change::Take { taker, ask: Ask::Ahead, instance },
        (8, _) if random.below(8) == 0 => Change::CloseTaker(taker),
        _ => random_change(random, takers, leases, jobs),
    }
}

struct Side {
    store: Store,
    takers: Vec<TakerId>,
    conn: Connection,
    _scratch: Scratch,
}

impl Side {
    fn new(clock: &Arc<Still>, policy: Policy) -> Self {
        let scratch = Scratch::new();
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let mut store = Store::open(&place(&scratch), clock, Safety::Kill).unwrap();
        let takers = (0..2).map(|_| opened(&mut store, "q", policy)).collect();
        Self { store, takers, conn: raw(&scratch), _scratch: scratch }
    }

    fn apply(&mut self, changes: &[Change]) -> Vec<Result<Applied, Refused>> {
        self.store.apply_all(changes).unwrap()
    }
}

#[test]
fn what_is_changed_together_stands_as_if_it_were_changed_one_by_one() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    // Begun and ended in one, begun in one and ended later, and ended in vain.
    let mut seen = [0; 3];
    for seed in 1..=if long { 400 } else { 12 } {
        let mut random = Random(seed * 0x9e37_79b9);
        // With and without a rest between two tries.
        let rest = Duration::from_secs(seed % 2);
        let backoff = Backoff { first: rest, longest: rest };
        let policy = Policy { lease: Duration::from_secs(30), backoff, ..Policy::default() };
        let clock = Arc::new(Still::default());
        let (mut alone, mut together) = (Side::new(&clock, policy), Side::new(&clock, policy));
        assert_eq!(alone.takers, together.takers);
        let mut takers = alone.takers.clone();
        let (mut leases, mut jobs) = (Vec::new(), 0);
        for group in 0..60 {
            let count = 1 + random.below(16);
            let mut changes: Vec<_> =
                (0..count).map(|_| change(&mut random, &takers, &leases, jobs)).collect();
            if group % 8 == 7 {
                changes.insert(0, Change::OpenTaker { queue: "q".to_owned(), policy });
            }
            let one_by_one: Vec<_> =
                changes.iter().flat_map(|one| alone.apply(std::slice::from_ref(one))).collect();
            let context = || format!("seed {seed}, group {group}: {changes:?}");
            assert_eq!(together.apply(&changes), one_by_one, "{}", context());
            assert_eq!(recorded(&together.conn), recorded(&alone.conn), "{}", context());
            for (change, made) in changes.iter().zip(&one_by_one) {
                match (change, made) {
                    (_, Ok(Applied::Taken(taken))) => leases.push(taken.lease),
                    (_, Ok(Applied::Submitted { .. } | Applied::Requested(_))) => jobs += 1,
                    (_, Ok(Applied::Opened(taker))) => {
                        takers.remove(0);
                        takers.push(*taker);
                    }
                    (Change::End(lease, _), Ok(_)) => {
                        let is_it = |one: &Change| matches!(one, Change::Begin { lease: begun, .. } if begun == lease);
                        seen[usize::from(!changes.iter().any(is_it))] += 1;
                    }
                    (Change::End(..), Err(Refused::NotNow(_))) => seen[2] += 1,
                    _ => {}
                }
            }
            clock.0.fetch_add(random.below(8) as u64, Ordering::SeqCst);
        }
    }
    assert!(seen.iter().all(|times| *times > 20), "each happens: {seen:?}");
}

#[test]
fn of_changes_that_are_made_together_none_is_where_one_of_them_is_refused() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let submit = |name: &str, owner| Change::Submit(Box::new(NewJob { owner, ..job(name) }));
    let open = || Change::OpenTaker { queue: "other".to_owned(), policy: Policy::default() };
    let changes = [submit("b", None), open(), submit("a", Some(8)), submit("c", None)];
    let made = world.store.apply_all_or_none(&changes).unwrap();
    let [Ok(_), Ok(Applied::Opened(taker)), Err(Refused::Named(named)), Ok(_)] = made[..] else {
        panic!("{made:?}")
    };
    assert_eq!(named, id);
    assert_eq!(world.reader().jobs(None, None, 9).unwrap().len(), 1);
    assert!(matches!(world.refused(&Change::Renew(taker)), Refused::Absent(_)));
    let made = world.store.apply_all_or_none(&[submit("b", None), submit("a", None)]).unwrap();
    assert!(matches!(made[..], [Ok(Applied::Submitted { .. }), Ok(Applied::Known(_))]));
    assert_eq!(world.reader().jobs(None, None, 9).unwrap().len(), 2);
}
