//! Requests and what else waits to be seen to: from their record to their end.

use crate::support::{World, fault, job, open};
use crate::waits::why;
use machine::work::{Fault, Reach, Refusal, State};
use std::time::Duration;
use work::read::Waiting;
use work::{
    Applied, Ask, Change, DependencyId, Ended, Entry, JobId, NewJob, NewRequest, Refused,
    RequestId, Steer, Subject, Wall,
};

impl World {
    /// Records a request with these jobs.
    fn request(&mut self, names: &[&str]) -> RequestId {
        let (name, jobs) = ("r".to_owned(), names.iter().map(|name| job(name)).collect());
        let new = NewRequest { name, jobs, ..NewRequest::default() };
        match self.apply(&Change::Request(Box::new(new))) {
            Applied::Requested(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn stands(&self) -> (&'static str, u16, u32) {
        let subject = self.reader().request("r").unwrap().expect("the request");
        (subject.state.name(), subject.fault.0, subject.count)
    }

    fn steer(&mut self, request: RequestId, steer: Steer) {
        self.apply(&Change::Steer(Subject::Request(request), steer));
    }

    /// Removes all that stopped up to now. Tells how many jobs.
    fn clean(&mut self) -> u32 {
        self.clock.pass(Duration::from_secs(1));
        let before = self.store.now().wall;
        self.clean_before(before)
    }

    fn clean_before(&mut self, before: Wall) -> u32 {
        let clean = Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 99 };
        match self.apply(&clean) {
            Applied::Cleaned { removed, next: None, .. } => removed,
            other => panic!("{other:?}"),
        }
    }
}

const CANCEL: Steer = Steer::Cancel(Fault::CANCELLED);

fn expand(request: RequestId, names: &[&str]) -> Change {
    Change::Expand { request, jobs: names.iter().map(|name| job(name)).collect() }
}

fn not_while(state: State) -> Refused {
    Refused::NotNow(Refusal::NotNow(state))
}

#[test]
fn a_request_is_recorded_as_it_came_and_has_all_its_jobs_at_once_or_none() {
    let mut world = World::new();
    let id = world.request(&[]);
    assert_eq!(world.stands(), ("new", 0, 0));
    let accept = Change::Steer(Subject::Request(id), Steer::Accept);
    assert!(matches!(world.refused(&accept), Refused::Senseless(_)), "there is nothing to do");
    world.submit(job("b"));
    let twice = world.refused(&expand(id, &["a", "b"]));
    assert!(matches!(twice, Refused::Senseless(_)), "one is recorded already: {twice}");
    assert_eq!((world.stands().0, world.reader().jobs(None, None, 9).unwrap().len()), ("new", 1));
    let all = expand(id, &["a", "c"]);
    assert_eq!(world.apply(&all), Applied::Requested(id));
    assert_eq!(world.stands(), ("ready", 0, 0));
    let unparsed = Change::Unparsed { request: id, fault: Fault(3) };
    for late in [&all, &unparsed] {
        assert!(matches!(world.refused(late), Refused::Senseless(_)), "it has its jobs");
    }
    while let Some(taken) = world.take(Ask::Now) {
        world.end(taken.lease, Ended::default());
    }
    assert_eq!(world.stands(), ("stop", 0, 0));
    assert_eq!(world.clean(), 3);
    assert_eq!(world.reader().request("r").unwrap(), None);
}

#[test]
fn a_request_that_cannot_be_parsed_rests_and_is_tried_as_often_as_it_may() {
    let mut world = World::new();
    let id = world.request(&[]);
    let unparsed = |code| Change::Unparsed { request: id, fault: Fault(code) };
    for count in [1, 2] {
        world.apply(&unparsed(3));
        assert_eq!(world.stands(), ("new", 3, count));
        let (due, now) = (world.reader().requests(9).unwrap()[0].due, world.store.now().wall);
        assert!(due.is_some_and(|due| due > now), "{due:?} after {now:?}");
    }
    world.apply(&unparsed(3));
    assert_eq!(world.stands(), ("stop", 25, 3));
    world.refused(&unparsed(3));
    world.steer(id, Steer::Requeue(Reach::Failed));
    assert_eq!(world.stands(), ("new", 0, 0));
    assert_eq!(world.reader().requests(9).unwrap()[0].due, None);
    world.apply(&unparsed(3));
    world.steer(id, Steer::Requeue(Reach::Failed));
    assert_eq!(world.stands(), ("new", 0, 0), "at once");
    for code in [0, 900] {
        assert_eq!(world.refused(&unparsed(code)), Refused::NotNow(Refusal::WrongFault));
    }
    world.apply(&unparsed(12));
    assert_eq!((world.stands(), world.clean()), (("stop", 12, 1), 0));
    assert_eq!(world.reader().request("r").unwrap(), None, "it never had a job, and goes");
}

#[test]
fn a_request_without_jobs_is_held_cancelled_and_done_as_any_other() {
    let mut world = World::new();
    let id = world.request(&[]);
    world.steer(id, Steer::Hold);
    assert_eq!(world.refused(&expand(id, &["a"])), not_while(State::Hold));
    world.steer(id, Steer::Release);
    world.steer(id, CANCEL);
    assert_eq!(world.stands(), ("stop", 900, 0));
    assert_eq!(world.refused(&expand(id, &["a"])), not_while(State::Stop));
    world.steer(id, Steer::Requeue(Reach::Failed));
    assert_eq!(world.stands(), ("new", 0, 0));
    world.apply(&expand(id, &[]));
    assert_eq!(world.stands(), ("stop", 0, 0), "there was nothing to be done");
}

#[test]
fn a_request_whose_work_was_done_before_its_cancel_came_through_is_done() {
    let mut world = World::new();
    let id = world.request(&["a"]);
    let lease = world.taken();
    world.steer(id, CANCEL);
    assert_eq!(world.stands(), ("cancelling", 900, 0));
    world.end(lease, Ended::default());
    assert_eq!(world.stands(), ("stop", 0, 0), "as its job: it happened");
    let requeue = Change::Steer(Subject::Request(id), Steer::Requeue(Reach::Failed));
    assert_eq!(world.refused(&requeue), Refused::NotNow(Refusal::Done));
}

#[test]
fn a_request_of_which_part_was_cancelled_is_and_its_jobs_stay_so_until_it_has_stopped() {
    let mut world = World::new();
    let id = world.request(&["a", "b"]);
    let lease = world.taken();
    world.steer(id, CANCEL);
    let b = Subject::Job(JobId(2));
    let requeue = Change::Steer(b, Steer::Requeue(Reach::Failed));
    assert_eq!(world.refused(&requeue), not_while(State::Cancelling));
    world.end(lease, Ended::default());
    assert_eq!(world.stands(), ("stop", 900, 0));
    world.apply(&requeue);
    assert_eq!(world.stands(), ("ready", 0, 0));
    let lease = world.taken();
    assert_eq!(world.stands(), ("run", 0, 0));
    world.end(lease, Ended::default());
    assert_eq!(world.stands(), ("stop", 0, 0));
}

#[test]
fn a_requeue_that_finds_nothing_to_do_leaves_no_request_ready_for_ever() {
    let mut world = World::new();
    let id = world.request(&["a", "b"]);
    let (a, b) = (world.taken(), world.taken());
    world.end(a, fault(12));
    world.clock.pass(Duration::from_secs(60));
    let before = world.store.now().wall;
    world.clock.pass(Duration::from_secs(60));
    world.end(b, Ended::default());
    assert_eq!(world.stands(), ("stop", 12, 0));
    assert_eq!(world.clean_before(before), 1, "what failed is gone");
    world.steer(id, Steer::Requeue(Reach::Failed));
    assert_eq!(world.stands(), ("stop", 0, 0), "what is left of it is done");
    assert_eq!(world.clean(), 1);
    assert_eq!(world.reader().request("r").unwrap(), None);
}

#[test]
fn jobs_are_cancelled_one_by_one_and_their_request_stops_with_the_last() {
    for held in [false, true] {
        let mut world = World::new();
        let jobs = ["a", "b"].map(job).to_vec();
        let new = NewRequest { name: "r".to_owned(), jobs, held, ..NewRequest::default() };
        world.apply(&Change::Request(Box::new(new)));
        for job in [1, 2] {
            assert_ne!(world.stands().0, "stop");
            world.apply(&Change::Steer(Subject::Job(JobId(job)), CANCEL));
        }
        assert_eq!(world.stands(), ("stop", 900, 0));
    }
}

#[test]
fn a_job_may_be_recorded_to_be_accepted_or_kept_back_and_keeps_its_delay() {
    for entry in [Entry::New, Entry::Hold] {
        let mut world = World::new();
        let delay = Duration::from_secs(60);
        let id = world.submit(NewJob { entry, delay, ..job("a") });
        let steer = |steer| Change::Steer(Subject::Job(id), steer);
        let first = if entry == Entry::New { "new" } else { "hold" };
        world.clock.pass(Duration::from_secs(10));
        assert_eq!((world.state(id), world.take(Ask::Now)), ((first, 0, 0), None));
        assert_eq!(why(&world, id), Waiting::NotReady);
        match entry {
            Entry::Hold => world.apply(&steer(Steer::Release)),
            _ => world.apply(&steer(Steer::Hold)),
        };
        let other = if entry == Entry::New { "hold" } else { "new" };
        assert_eq!(world.state(id), (other, 0, 0));
        if entry == Entry::New {
            assert_eq!(world.refused(&steer(Steer::Accept)), not_while(State::Hold));
            world.apply(&steer(Steer::Release));
        }
        world.apply(&steer(Steer::Accept));
        assert_eq!((world.state(id), world.take(Ask::Now)), (("ready", 0, 0), None));
        assert_eq!(why(&world, id), Waiting::Delay);
        world.clock.pass(Duration::from_secs(51));
        let lease = world.taken();
        world.end(lease, Ended::default());
        assert_eq!(world.refused(&steer(Steer::Hold)), not_while(State::Stop));

        let never = world.submit(NewJob { entry, delay, ..job("b") });
        world.apply(&Change::Steer(Subject::Job(never), CANCEL));
        assert_eq!(world.state(never), ("stop", 900, 0));
        assert_eq!(world.reader().job(never).unwrap().unwrap().due, None);
    }
}

fn need(world: &mut World) -> DependencyId {
    let (kind, name) = ("image".to_owned(), "4711".to_owned());
    let need = Change::Need { kind, name, component: String::new(), checker: Some("q".into()) };
    match world.apply(&need) {
        Applied::Needed { dependency, .. } => dependency,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_jobs_wait_for_rests_after_a_fault_and_fails_for_good_in_the_end() {
    let mut world = World::new();
    let id = need(&mut world);
    let found = |world: &World| {
        let found = world.reader().dependency(["image", "4711", ""]).unwrap().unwrap();
        assert_eq!((found.id, found.checker.as_deref()), (id, Some("q")));
        let subject = found.subject;
        ((subject.state.name(), subject.fault.0, subject.count), found.due)
    };
    assert_eq!(found(&world), (("new", 0, 0), None));
    let waits = world.submit(NewJob { dependency: Some(id), ..job("a") });
    for count in [1, 2] {
        world.apply(&Change::Resolve(id, Fault(4)));
        let (stands, due) = found(&world);
        assert_eq!(stands, ("ready", 4, count));
        assert!(due.is_some_and(|due| due > world.store.now().wall), "{due:?}");
        assert_eq!(why(&world, waits), Waiting::Dependency);
    }
    let cancelled = world.refused(&Change::Resolve(id, Fault::CANCELLED));
    assert_eq!(cancelled, Refused::NotNow(Refusal::WrongFault));
    world.apply(&Change::Resolve(id, Fault(4)));
    assert_eq!(found(&world), (("stop", 25, 3), None));
    assert_eq!(world.refused(&Change::Resolve(id, Fault::NONE)), not_while(State::Stop));
    world.apply(&Change::Steer(Subject::Dependency(id), Steer::Requeue(Reach::Failed)));
    assert_eq!(found(&world), (("ready", 0, 0), None));
    world.apply(&Change::Steer(Subject::Dependency(id), CANCEL));
    assert_eq!(found(&world), (("stop", 900, 0), None));
}

#[test]
fn what_is_held_back_is_taken_up_when_it_is_needed_and_may_be_done_all_the_same() {
    let mut world = World::new();
    let id = need(&mut world);
    let hold = Change::Steer(Subject::Dependency(id), Steer::Hold);
    let state = |world: &World| {
        let found = world.reader().dependency(["image", "4711", ""]).unwrap().unwrap();
        found.subject.state
    };
    world.apply(&hold);
    assert_eq!((need(&mut world), state(&world)), (id, State::New));
    world.apply(&hold);
    world.apply(&Change::Resolve(id, Fault::NONE));
    assert_eq!(state(&world), State::Stop);
}

const FIFTY_YEARS: i64 = 50 * 365 * 86_400 * 1_000_000;

#[test]
fn what_rests_between_two_tries_goes_on_resting_after_a_start_of_the_machine() {
    // A machine whose clock does not go on without power begins in 1970.
    for behind in [0, FIFTY_YEARS] {
        let mut world = World::new();
        let (request, dependency) = (world.request(&[]), need(&mut world));
        world.apply(&Change::Unparsed { request, fault: Fault(3) });
        world.apply(&Change::Resolve(dependency, Fault(3)));
        world.submit(job("a"));
        let lease = world.taken();
        world.end(lease, fault(3));
        let conn = crate::random::raw(&world.scratch);
        let rests = |table: &str| -> (i64, i64) {
            let sql = format!("SELECT due, due_at FROM {table}");
            conn.query_row(&sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        let tables = ["request", "dependency", "job"];
        let before = tables.map(rests);
        world.clock.reboot();
        world.clock.set_wall(-behind);
        world.store = open(&world.scratch, &world.clock);
        let now = world.store.now();
        for ((due, at), before) in tables.map(rests).into_iter().zip(before) {
            assert_eq!(at, before.1, "the moment by the wall clock is as it was");
            // The other clock has begun anew: what is left of the rest is five to ten seconds at most.
            let left = due - now.mono.0.cast_signed();
            assert!(left <= 10_000_000_000, "{due} at {now:?}, {before:?} before");
            assert!(behind == 0 || left > 4_000_000_000, "{left}: what is not known is waited for");
        }
    }
}
