//! Takers: leases, deaths, overtaking.

use crate::support::{Moved, World, fault, job, open, opened};
use crate::waits::why;
use machine::work::{Fault, Limit};
use std::time::Duration;
use testkit::Scratch;
use work::read::Waiting;
use work::{Applied, Ask, Change, Ended, JobId, NewJob, Policy, Refused, Steer, Subject, Wall};

#[test]
fn a_taker_that_says_nothing_for_its_lease_is_overtaken_and_what_it_says_later_is_refused() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let slow = world.taken();
    let other = opened(&mut world.store, "q", Policy::default());
    world.clock.pass(Duration::from_secs(61));
    world.apply(&Change::Sweep(other));
    assert_eq!(world.state(id), ("ready", 2, 1), "lost, and counted");
    world.clock.pass(Duration::from_secs(3601));
    world.taker = other;
    let again = world.take(Ask::Now).unwrap();
    assert_eq!(again.attempt, 2);
    let late = Change::End(slow, Box::default());
    assert_eq!(world.refused(&late), Refused::Overtaken);
    assert_eq!(world.state(id), ("run", 2, 1));
    world.end(again.lease, Ended::default());
    let attempts = world.reader().attempts(id).unwrap();
    let how: Vec<_> = attempts.iter().map(|a| a.how.as_deref().unwrap()).collect();
    assert_eq!(how, ["lost", "ended"]);
}

#[test]
fn a_taker_that_renews_its_lease_keeps_what_it_has_for_ever() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let lease = world.taken();
    let other = opened(&mut world.store, "q", Policy::default());
    for _ in 0..10 {
        world.clock.pass(Duration::from_secs(40));
        let renew = Change::Renew(world.taker);
        world.apply(&renew);
        world.apply(&Change::Sweep(other));
        world.clock.set_wall(3_600_000_000);
    }
    assert_eq!(world.state(id), ("run", 0, 0), "and no wall clock takes it away");
    world.end(lease, Ended::default());
}

#[test]
fn a_dead_taker_s_jobs_are_ready_as_soon_as_the_next_one_opens() {
    let (scratch, clock) = (Scratch::new(), Moved::new());
    let mut dead = open(&scratch, &clock);
    let taker = opened(&mut dead, "q", Policy::default());
    for name in ["a", "b"] {
        dead.apply(&Change::Submit(Box::new(job(name)))).unwrap();
    }
    for ask in [Ask::Now, Ask::Ahead] {
        let take = Change::Take { taker, ask, instance: String::new() };
        assert!(matches!(dead.apply(&take), Ok(Applied::Taken(_))));
    }
    // As its process would: it closes its sockets and says nothing.
    drop(dead);
    let mut store = open(&scratch, &clock);
    let taker = opened(&mut store, "q", Policy::default());
    let mut world = World { scratch, clock, store, taker };
    let ahead = world.take(Ask::Now).expect("what was only looked ahead at, at once");
    assert_eq!((&*ahead.identity, ahead.attempt), ("b", 1));
    world.clock.pass(Duration::from_secs(20));
    let lost = world.take(Ask::Now).expect("what was worked on, after its delay");
    assert_eq!((&*lost.identity, lost.attempt), ("a", 2));
}

#[test]
fn an_item_that_kills_its_taker_each_time_ends_as_a_dead_item_after_the_limit() {
    let (scratch, clock) = (Scratch::new(), Moved::new());
    let limit = Limit { tries: 3, ..Limit::default() };
    let policy = Policy { limit, ..Policy::default() };
    let mut store = open(&scratch, &clock);
    let new = NewJob { reply_to: Some("replies".to_owned()), ..job("poison") };
    let Applied::Submitted { job: id, .. } = store.apply(&Change::Submit(Box::new(new))).unwrap()
    else {
        panic!("not submitted")
    };
    let mut lives = 0;
    loop {
        let taker = opened(&mut store, "q", policy);
        clock.pass(Duration::from_secs(3601));
        let ahead = Change::Take { taker, ask: Ask::Ahead, instance: String::new() };
        let now = Change::Take { taker, ask: Ask::Now, instance: String::new() };
        let got = |applied| matches!(applied, Applied::Taken(_));
        // Looks ahead first wherever it may, as a busy exo would.
        if !got(store.apply(&ahead).unwrap()) && !got(store.apply(&now).unwrap()) {
            break;
        }
        lives += 1;
        drop(store);
        store = open(&scratch, &clock);
    }
    assert_eq!(lives, 3, "no more tries than the limit, the one nobody saw begin included");
    let reader = work::Reader::open(&crate::support::place(&scratch)).unwrap();
    assert_eq!(reader.job(id).unwrap().unwrap().subject.fault, Fault::EXHAUSTED);
    assert_eq!(reader.dead(9).unwrap().len(), 1);
    let replies = reader.jobs(Some("replies"), None, 9).unwrap();
    let answer = String::from_utf8(reader.item(replies[0].id).unwrap().unwrap()).unwrap();
    assert!(answer.contains("\"error\":{") && answer.contains("\"expid\":\"poison\""), "{answer}");
}

#[test]
fn what_was_tried_in_vain_or_may_have_been_begun_is_only_for_who_begins_it_at_once() {
    let mut world = World::new();
    world.submit(job("in vain"));
    let lease = world.taken();
    world.end(lease, fault(3));
    world.submit(job("fresh"));
    world.clock.pass(Duration::from_secs(3601));
    assert_eq!(world.take(Ask::Ahead).unwrap().identity, "fresh");
    assert_eq!(world.take(Ask::Ahead), None);
    // Nobody knows whether its taker had begun it.
    let dead = world.taker;
    world.taker = opened(&mut world.store, "q", Policy::default());
    world.apply(&Change::CloseTaker(dead));
    assert_eq!(world.take(Ask::Ahead), None);
    let names = [world.take(Ask::Now), world.take(Ask::Now)].map(|taken| taken.unwrap().identity);
    assert_eq!(names, ["in vain", "fresh"]);
}

#[test]
fn a_message_that_was_tried_in_vain_is_only_for_who_begins_it_at_once() {
    let mut world = World::new();
    let deliver = |world: &mut World, ask| {
        let (taker, instance) = (world.taker, "q_0".to_owned());
        let job = Box::new(job("a"));
        world.apply(&Change::Arrive { job, known: None, taker, ask, instance })
    };
    let Applied::Taken(taken) = deliver(&mut world, Ask::Now) else { panic!("not taken") };
    let id = taken.lease.job;
    let Applied::Ended { retry, .. } = world.end(taken.lease, fault(3)) else { panic!("no end") };
    let rests = Applied::Elsewhere { job: id, until: retry };
    assert_eq!(deliver(&mut world, Ask::Now), rests);
    world.clock.pass(Duration::from_secs(3601));
    assert_eq!(deliver(&mut world, Ask::Ahead), Applied::Vain(id));
    let Applied::Taken(taken) = deliver(&mut world, Ask::Now) else { panic!("not taken") };
    assert_eq!((taken.lease.job, taken.attempt), (id, 2));
}

#[test]
fn a_job_cancelled_in_the_hand_cannot_be_begun() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let lease = world.take(Ask::Ahead).unwrap().lease;
    world.apply(&Change::Steer(Subject::Job(id), Steer::Cancel(Fault::CANCELLED)));
    let begin = Change::Begin { lease, instance: String::new(), at: Wall(7) };
    assert_eq!(world.refused(&begin), Refused::Overtaken);
    assert_eq!(world.reader().attempts(id).unwrap(), []);
}

#[test]
fn a_taker_that_is_closed_is_forgotten_and_what_it_had_is_lost() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    world.taken();
    let taker = world.taker;
    world.apply(&Change::CloseTaker(taker));
    assert_eq!(world.state(id), ("ready", 2, 1));
    let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
    assert_eq!(world.refused(&take), Refused::Absent("taker"));
    let sockets = std::fs::read_dir(world.scratch.join("store/takers")).unwrap().count();
    assert_eq!(sockets, 0);
}

#[test]
fn several_changes_are_one_commit_and_a_refused_one_spares_the_others() {
    let mut world = World::new();
    let first = world.submit(job("a"));
    let lease = world.taken();
    let stranger = Change::Answered(JobId(99), 1);
    let end = Change::End(lease, Box::new(fault(11)));
    let submit = Change::Submit(Box::new(job("b")));
    let all = world.store.apply_all(&[stranger, end.clone(), end, submit]).unwrap();
    assert!(
        matches!(
            &all[..],
            [
                Err(Refused::Absent("job")),
                Ok(Applied::Ended { .. }),
                Err(Refused::Overtaken),
                Ok(Applied::Submitted { .. })
            ]
        ),
        "{all:?}"
    );
    assert_eq!(world.state(first), ("stop", 11, 1));
}

fn of(name: &str, bytes: usize) -> NewJob {
    let item = format!(r#"{{"x":"{}"}}"#, "x".repeat(bytes)).into_bytes();
    NewJob { item, ..job(name) }
}

#[test]
fn while_a_large_item_waits_for_room_small_ones_of_every_label_pass() {
    let mut world = World::new();
    let low = |job: NewJob| NewJob { label: "low".to_owned(), ..job };
    for job in [of("a", 9 << 20), of("b", 9 << 20), low(of("c", 2 << 20)), low(job("d"))] {
        world.submit(job);
    }
    let first = world.take(Ask::Now).expect("the first");
    assert_eq!(first.identity, "a");
    assert_eq!(world.take(Ask::Ahead), None, "whoever has it may never come to what waits");
    let small = world.take(Ask::Now).map(|taken| taken.identity);
    assert_eq!(small.as_deref(), Some("d"), "of another label");
    assert_eq!(world.take(Ask::Now), None, "a larger one would take the room");
    world.end(first.lease, Ended::default());
    let next = world.take(Ask::Now).map(|taken| taken.identity);
    assert_eq!(next.as_deref(), Some("b"), "which waited for the room");
}

#[test]
fn large_items_in_hand_have_a_limit_together_and_small_ones_pass() {
    let mut world = World::new();
    let large = |name: &str| of(name, 9 << 20);
    for job in [large("a"), large("b"), job("c")] {
        world.submit(job);
    }
    let mut other = opened(&mut world.store, "q", Policy::default());
    assert_eq!(world.take(Ask::Ahead), None, "it would not be at hand");
    let first = world.take(Ask::Now).expect("the first");
    let small = world.take(Ask::Now).map(|taken| taken.identity);
    assert_eq!(small.as_deref(), Some("c"), "for which there is room");
    assert_eq!(world.take(Ask::Now), None);
    let second = JobId(2);
    assert_eq!(why(&world, second), Waiting::Nothing, "another taker could have it");
    // Another taker has memory of its own.
    std::mem::swap(&mut world.taker, &mut other);
    let second = world.take(Ask::Now).expect("the second");
    assert_eq!((&*first.identity, &*second.identity), ("a", "b"));
    for job in [of("d", 2 << 20), of("e", 5 << 20)] {
        world.submit(job);
    }
    assert_eq!(world.take(Ask::Now).map(|taken| taken.identity).as_deref(), Some("d"));
    assert_eq!(world.take(Ask::Now), None);
    let last = JobId(5);
    assert_eq!(why(&world, last), Waiting::Nothing, "the first has room for it");
    let tight = world.submit(of("f", 8 << 20));
    assert_eq!(why(&world, tight), Waiting::Room);
    world.end(second.lease, Ended::default());
    assert_eq!(world.take(Ask::Now).map(|taken| taken.identity).as_deref(), Some("e"));
}

/// Of two deliveries of one job the other exo had the first, and handed it back.
#[test]
fn a_delivery_of_a_job_that_another_removed_is_refused_and_all_else_is_done() {
    let mut world = World::new();
    let mut elsewhere = open(&world.scratch, &world.clock);
    let other = opened(&mut elsewhere, "q", Policy::default());
    let arrive = |name: &str, known, taker, ask| Change::Arrive {
        job: Box::new(job(name)),
        known,
        taker,
        ask,
        instance: "q_0".to_owned(),
    };
    let first = elsewhere.apply(&arrive("a", None, other, Ask::Ahead)).unwrap();
    let Applied::Taken(taken) = first else { panic!("{first:?}") };
    let id = taken.lease.job;
    let again = arrive("a", None, world.taker, Ask::Now);
    assert_eq!(world.apply(&again), Applied::Elsewhere { job: id, until: None });
    elsewhere.apply(&Change::HandBack(taken.lease)).unwrap();
    assert_eq!(world.reader().job(id).unwrap(), None);

    let batch =
        [arrive("a", Some(id), world.taker, Ask::Now), arrive("b", None, world.taker, Ask::Now)];
    let made = world.store.apply_all(&batch).unwrap();
    assert!(
        matches!(
            &made[..],
            [Err(Refused::Absent("job")), Ok(Applied::Taken(taken))] if taken.identity == "b"
        ),
        "{made:?}"
    );
    // The whole message comes anew.
    assert!(matches!(world.apply(&again), Applied::Taken(taken) if taken.identity == "a"));
}
