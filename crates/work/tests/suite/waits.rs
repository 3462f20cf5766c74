//! What a ready job waits for, and in which order jobs are taken.

use crate::support::{Moved, World, fault, job, open, opened};
use machine::work::Fault;
use std::sync::Arc;
use std::time::Duration;
use testkit::Scratch;
use work::read::Waiting;
use work::{
    Applied, Ask, Change, DependencyId, Ended, JobId, NewJob, NewRequest, Policy, Refused, Steer,
    Subject,
};

pub(crate) fn why(world: &World, job: JobId) -> Waiting {
    world.reader().why_waiting(job).unwrap().expect("the job")
}

fn label(name: &str, priority: i32, active: bool) -> Change {
    Change::SetLabel { name: name.to_owned(), priority, active }
}

#[test]
fn the_order_is_label_then_priority_then_age_and_unknown_labels_come_last() {
    let mut world = World::new();
    world.apply(&label("urgent", 10, true));
    world.apply(&label("idle", -10, true));
    let with = |name: &str, label: &str, priority| NewJob {
        label: label.to_owned(),
        priority,
        ..job(name)
    };
    let typo = Change::Submit(Box::new(with("8", "urgnet", 99)));
    let Applied::Submitted { label_unknown, .. } = world.apply(&typo) else { panic!("refused") };
    assert!(label_unknown, "a typo does not jump the queue, and is told");
    for new in [
        with("7", "idle", 5),
        with("5", "", 0),
        with("6", "", 0),
        with("4", "", 1),
        with("3", "urgent", -1),
        with("2", "urgent", 0),
    ] {
        world.submit(new);
    }
    let low = world.submit(with("1", "urgent", -5));
    world.apply(&Change::Prioritise { job: low, priority: 9 });
    let order: Vec<_> =
        std::iter::from_fn(|| world.take(Ask::Now)).map(|taken| taken.identity).collect();
    assert_eq!(order, ["1", "2", "3", "4", "5", "6", "7", "8"]);
}

#[test]
fn a_label_that_is_not_active_holds_its_jobs_back() {
    let mut world = World::new();
    world.apply(&label("l", 0, false));
    let id = world.submit(NewJob { label: "l".to_owned(), ..job("a") });
    assert_eq!((world.take(Ask::Now), why(&world, id)), (None, Waiting::Label));
    world.apply(&label("l", 0, true));
    assert_eq!(why(&world, id), Waiting::Nothing);
    world.taken();
    assert_eq!(why(&world, id), Waiting::NotReady);
}

#[test]
fn a_delay_is_waited_for_whatever_the_wall_clock_does() {
    let mut world = World::new();
    let id = world.submit(NewJob { delay: Duration::from_secs(60), ..job("a") });
    world.clock.set_wall(3_600_000_000);
    assert_eq!((world.take(Ask::Now), why(&world, id)), (None, Waiting::Delay));
    world.clock.set_wall(-7_200_000_000);
    world.clock.pass(Duration::from_secs(59));
    assert_eq!(world.take(Ask::Now), None);
    world.clock.pass(Duration::from_secs(2));
    assert!(world.take(Ask::Now).is_some());
}

#[test]
fn a_delay_goes_on_after_a_start_of_the_machine() {
    let (scratch, clock) = (Scratch::new(), Moved::new());
    let mut store = open(&scratch, &clock);
    for (name, seconds) in [("a", 60), ("b", 6000)] {
        let delay = Duration::from_secs(seconds);
        let new = NewJob { delay, ..job(name) };
        store.apply(&Change::Submit(Box::new(new))).unwrap();
    }
    drop(store);
    clock.reboot();
    clock.pass(Duration::from_secs(120));
    let mut store = open(&scratch, &clock);
    let taker = opened(&mut store, "q", Policy::default());
    let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
    let taken = store.apply(&take).unwrap();
    assert!(matches!(&taken, Applied::Taken(t) if t.identity == "a"), "{taken:?}");
    let Applied::Nothing { next: Some(next) } = store.apply(&take).unwrap() else {
        panic!("taken too early")
    };
    let left = Duration::from_nanos(next.nanos_from(store.now().mono));
    assert!(left > Duration::from_secs(5800) && left < Duration::from_secs(5900), "{left:?}");
    drop(Arc::clone(&clock));
}

#[test]
fn a_dependency_is_waited_for_and_found_again_by_its_name() {
    let mut world = World::new();
    let need = Change::Need {
        kind: "image".to_owned(),
        name: "4711".to_owned(),
        component: String::new(),
        checker: None,
    };
    let Applied::Needed { dependency, ended: None } = world.apply(&need) else { panic!("ended") };
    let id = world.submit(NewJob { dependency: Some(dependency), ..job("a") });
    assert_eq!((world.take(Ask::Now), why(&world, id)), (None, Waiting::Dependency));
    world.apply(&Change::Resolve(dependency, Fault(30)));
    assert_eq!(world.take(Ask::Now), None, "it failed");
    let again = world.apply(&need);
    assert_eq!(again, Applied::Needed { dependency, ended: Some(Fault(30)) });
    let requeue = Steer::Requeue(machine::work::Reach::Failed);
    world.apply(&Change::Steer(Subject::Dependency(dependency), requeue));
    world.apply(&Change::Resolve(dependency, Fault::NONE));
    assert!(world.take(Ask::Now).is_some());
    let strange = NewJob { dependency: Some(DependencyId(99)), ..job("b") };
    let refused = world.refused(&Change::Submit(Box::new(strange)));
    assert_eq!(refused, Refused::Absent("dependency"));
}

#[test]
fn a_parent_waits_for_its_children() {
    let mut world = World::new();
    let held = world.submit(NewJob { delay: Duration::from_secs(9), ..job("parent") });
    world.submit(NewJob { parent: Some(held), ..job("child") });
    world.clock.pass(Duration::from_secs(10));
    let child = world.take(Ask::Now).unwrap();
    assert_eq!((&*child.identity, why(&world, held)), ("child", Waiting::Child));
    assert_eq!(world.take(Ask::Now), None);
    world.end(child.lease, fault(10));
    assert_eq!(world.take(Ask::Now).unwrap().identity, "parent");
}

#[test]
fn two_jobs_of_one_key_are_never_worked_on_at_once() {
    let mut world = World::new();
    let keyed = |name: &str| NewJob { key: Some("package".to_owned()), ..job(name) };
    world.submit(keyed("a"));
    let second = world.submit(keyed("b"));
    world.submit(job("free"));
    let first = world.taken();
    assert_eq!(world.take(Ask::Now).unwrap().identity, "free");
    assert_eq!((world.take(Ask::Now), why(&world, second)), (None, Waiting::Lock));
    let holder = world.reader().lock_holder("package").unwrap();
    assert_eq!(holder, Some(format!("job {}", first.job.0)));
    world.end(first, fault(1));
    let next = world.take(Ask::Ahead).expect("the lock is free, whatever the end was");
    assert_eq!(next.identity, "b");
    world.apply(&Change::GiveBack(next.lease));
    assert_eq!(world.reader().lock_holder("package").unwrap(), None);
}

#[test]
fn a_lock_may_be_somebody_s_who_is_no_job() {
    let mut world = World::new();
    let lock = |holder: &str| Change::Lock { name: "l".into(), holder: holder.into(), life: None };
    let unlock = |holder: &str| Change::Unlock { name: "l".into(), holder: holder.into() };
    world.apply(&lock("ann"));
    world.apply(&lock("ann"));
    assert_eq!(world.refused(&lock("bob")), Refused::Locked("ann".to_owned()));
    assert_eq!(world.refused(&unlock("bob")), Refused::Absent("lock"));
    world.submit(NewJob { key: Some("l".to_owned()), ..job("a") });
    assert_eq!(world.take(Ask::Now), None);
    world.apply(&unlock("ann"));
    assert!(world.take(Ask::Now).is_some());
}

#[test]
fn a_lock_that_was_taken_for_a_life_is_let_go_of_with_it_and_wakes_who_waits() {
    for how in ["closed", "dead", "silent", "boot"] {
        let mut world = World::new();
        let other = opened(&mut world.store, "other", Policy::default());
        let mine = Change::Lock { name: "l".into(), holder: "ann".into(), life: Some(other) };
        let his = Change::Lock { name: "l".into(), holder: "bob".into(), life: None };
        world.apply(&mine);
        world.apply(&mine);
        assert_eq!(world.refused(&his), Refused::Locked("ann".to_owned()));
        world.submit(NewJob { key: Some("l".to_owned()), ..job("a") });
        let (taker, instance) = (world.taker, String::new());
        let take = Change::Take { taker, ask: Ask::Now, instance };
        let Applied::Nothing { next: Some(next) } = world.apply(&take) else { panic!("locked") };
        match how {
            "closed" => world.apply(&Change::CloseTaker(other)),
            // Whoever waits looks again by then, and finds it dead, or silent for too long.
            "dead" => {
                let socket = format!("store/takers/{}", other.0);
                std::fs::remove_file(world.scratch.join(&socket)).unwrap();
                let mut elsewhere = open(&world.scratch, &world.clock);
                let taker = opened(&mut elsewhere, "third", Policy::default());
                assert_ne!(taker, other);
                Applied::Done
            }
            "silent" => {
                world.clock.pass(Duration::from_nanos(next.nanos_from(world.store.now().mono)));
                world.apply(&Change::Sweep(taker))
            }
            _ => {
                world.clock.reboot();
                world.store = open(&world.scratch, &world.clock);
                world.taker = opened(&mut world.store, "q", Policy::default());
                Applied::Done
            }
        };
        assert_eq!(world.reader().lock_holder("l").unwrap(), None, "{how}");
        assert!(world.take(Ask::Now).is_some(), "{how}");
        let gone = Change::Lock { name: "l2".into(), holder: "ann".into(), life: Some(other) };
        if how != "silent" && how != "dead" {
            assert_eq!(world.refused(&gone), Refused::Absent("taker"), "{how}");
        }
    }
}

#[test]
fn a_lock_that_a_dead_taker_of_another_queue_has_with_a_job_is_let_go_of() {
    for how in ["dead", "silent"] {
        let mut world = World::new();
        let mut elsewhere = open(&world.scratch, &world.clock);
        let other = opened(&mut elsewhere, "other", Policy::default());
        for queue in ["other", "q"] {
            let key = Some("k".to_owned());
            world.submit(NewJob { queue: queue.to_owned(), key, ..job("a") });
        }
        let take = |taker| Change::Take { taker, ask: Ask::Now, instance: String::new() };
        assert!(matches!(elsewhere.apply(&take(other)), Ok(Applied::Taken(_))));
        let taker = world.taker;
        let Applied::Nothing { next: Some(next) } = world.apply(&take(taker)) else {
            panic!("nobody looks again")
        };
        // As its process would, when it dies: it closes its sockets and says nothing.
        let alive = (how == "silent").then_some(elsewhere);
        world.clock.pass(Duration::from_nanos(next.nanos_from(world.store.now().mono)));
        world.apply(&Change::Sweep(taker));
        assert!(world.take(Ask::Now).is_some(), "{how}");
        drop(alive);
    }
}

fn request(names: &[&str], held: bool) -> Change {
    Change::Request(Box::new(NewRequest {
        name: "r".to_owned(),
        source: "test".to_owned(),
        jobs: names.iter().map(|name| job(name)).collect(),
        held,
        ..NewRequest::default()
    }))
}

fn stands(world: &World) -> (&'static str, u16) {
    let subject = world.reader().request("r").unwrap().expect("the request");
    (subject.state.name(), subject.fault.0)
}

#[test]
fn a_request_runs_with_its_first_job_and_stops_with_its_last() {
    let mut world = World::new();
    let Applied::Requested(id) = world.apply(&request(&["a", "b"], true)) else { panic!("not") };
    assert_eq!(world.apply(&request(&["c"], false)), Applied::RequestKnown(id));
    assert_eq!((world.take(Ask::Now), stands(&world)), (None, ("hold", 0)));
    world.apply(&Change::Steer(Subject::Request(id), Steer::Release));
    world.apply(&Change::Steer(Subject::Request(id), Steer::Accept));
    let a = world.taken();
    assert_eq!(stands(&world), ("run", 0));
    world.end(a, fault(12));
    assert_eq!(stands(&world), ("run", 0));
    let b = world.taken();
    world.end(b, Ended::default());
    assert_eq!(stands(&world), ("stop", 12));
    let requeue = Steer::Requeue(machine::work::Reach::Failed);
    world.apply(&Change::Steer(Subject::Request(id), requeue));
    let a = world.take(Ask::Now).expect("only what failed is done again");
    assert_eq!((world.take(Ask::Now), &*a.identity), (None, "a"));
    world.end(a.lease, Ended::default());
    assert_eq!(stands(&world), ("stop", 0));
}

#[test]
fn a_request_that_cannot_be_recorded_whole_is_not_recorded_at_all() {
    let mut world = World::new();
    world.submit(job("b"));
    world.refused(&request(&["a", "b"], false));
    assert_eq!(world.reader().request("r").unwrap(), None);
    assert_eq!(world.reader().jobs(None, None, 9).unwrap().len(), 1);
}

#[test]
fn a_cancelled_request_stops_when_the_last_of_its_jobs_has() {
    let mut world = World::new();
    let Applied::Requested(id) = world.apply(&request(&["a", "b"], false)) else { panic!("not") };
    let a = world.taken();
    world.apply(&Change::Steer(Subject::Request(id), Steer::Cancel(Fault::CANCELLED)));
    assert_eq!(stands(&world), ("cancelling", 900));
    world.end(a, fault(1));
    assert_eq!(stands(&world), ("stop", 900));
    assert_eq!(world.take(Ask::Now), None);
}
