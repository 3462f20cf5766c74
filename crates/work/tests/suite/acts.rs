//! What people ask for, and what rules do for them.

use crate::random::{check, raw};
use crate::support::{World, ann, fault, item, job};
use machine::work::{Fault, Limit, Reach};
use std::time::Duration;
use work::read::{Act, Wanted};
use work::{
    Applied, Ask, Asked, By, Change, DeadId, Ended, JobId, NewJob, NewRequest, NewRule, Policy,
    Refused, RuleId, Wall,
};

const HOUR: Duration = Duration::from_secs(3601);

fn requeue(job: JobId) -> Asked {
    Asked::Requeue { job, reach: Reach::Failed, priority: None }
}

fn failed(world: &mut World, name: &str, ended: Ended) -> JobId {
    let id = world.submit(job(name));
    let lease = world.taken();
    world.end(lease, ended);
    id
}

/// What of each act is for people, but when.
fn told(acts: &[Act]) -> Vec<(&str, u32, Option<&str>)> {
    acts.iter().map(|act| (&*act.what, act.by.uid, act.detail.as_deref())).collect()
}

#[test]
fn what_is_asked_for_a_job_is_kept_with_who_asked_and_when() {
    let mut world = World::new();
    let id = failed(&mut world, "a", fault(10));
    assert_eq!(world.reader().acts(id).unwrap(), []);
    let before = world.store.now().wall;
    world.ask(Asked::Requeue { job: id, reach: Reach::Any, priority: Some(7) });
    world.ask(Asked::Cancel(id, Fault::KILLED));
    let acts = world.reader().acts(id).unwrap();
    assert_eq!(
        told(&acts),
        [("requeue", 1007, Some("force, priority 7")), ("cancel", 1007, Some("kill"))]
    );
    for act in &acts {
        assert_eq!((&act.by, act.job, &*act.queue), (&ann(), Some(id), "q"));
        assert_eq!((act.wfid.as_deref(), act.rule), (Some("w"), None));
        assert!(act.at >= before && act.at <= world.store.now().wall);
    }
    let last = world.reader().last_acts(1).unwrap();
    assert_eq!(last[0], acts[1]);
}

#[test]
fn what_is_refused_is_not_kept() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let all = [
        requeue(id),
        requeue(JobId(99)),
        Asked::Cancel(id, Fault(10)),
        Asked::Cancel(JobId(99), Fault::CANCELLED),
        Asked::Revive(DeadId(99)),
        Asked::Exhume(DeadId(99)),
        Asked::Blame { queue: "q".into(), signature: "s".into(), owner: None, bug: None },
        Asked::DropRule(RuleId(99)),
        Asked::SetRule(Box::default()),
    ];
    for asked in all {
        world.refused(&Change::Asked(ann(), asked));
    }
    assert_eq!(world.reader().last_acts(9).unwrap(), []);
    assert_eq!(world.state(id), ("ready", 0, 0));
}

#[test]
fn a_requeued_job_goes_to_its_new_place_and_one_that_rests_is_tried_at_once() {
    let mut world = World::new();
    let last = failed(&mut world, "a", fault(10));
    let rests = failed(&mut world, "b", fault(3));
    assert_eq!(world.take(Ask::Now), None, "it rests");
    world.ask(Asked::Requeue { job: rests, reach: Reach::Failed, priority: Some(5) });
    world.ask(requeue(last));
    assert_eq!(world.state(rests), ("ready", 0, 0));
    assert_eq!(world.taken().job, rests);
    let again = Change::Asked(ann(), requeue(rests));
    assert!(matches!(world.refused(&again), Refused::NotNow(_)), "it is worked on");
    assert_eq!(world.taken().job, last);
}

#[test]
fn what_is_done_is_tried_again_only_where_that_is_meant() {
    let mut world = World::new();
    let id = failed(&mut world, "a", Ended::default());
    let why = world.refused(&Change::Asked(ann(), requeue(id)));
    assert_eq!(why.to_string(), "it is done");
    world.ask(Asked::Requeue { job: id, reach: Reach::Any, priority: None });
    assert_eq!(world.taken().job, id);
}

#[test]
fn what_is_done_again_begins_from_the_start_and_what_failed_where_it_had_come() {
    for (ended, expected) in [(Ended::default(), None), (fault(10), Some("pushed"))] {
        let mut world = World::new();
        let id = world.submit(job("a"));
        let lease = world.taken();
        world.apply(&Change::Stage { lease, stage: Some("pushed".to_owned()) });
        world.end(lease, ended);
        assert_eq!(world.reader().job(id).unwrap().unwrap().stage.as_deref(), Some("pushed"));
        world.ask(Asked::Requeue { job: id, reach: Reach::Any, priority: None });
        assert_eq!(world.take(Ask::Now).unwrap().stage.as_deref(), expected);
    }
}

/// A job that failed as often as it may, and its dead item.
fn exhausted(world: &mut World, name: &str) -> (JobId, DeadId) {
    let id = failed(world, name, fault(3));
    assert_eq!(world.state(id).0, "stop");
    (id, world.reader().dead(1).unwrap()[0].id)
}

#[test]
fn dead_items_that_never_were_a_job_are_found_by_queue_and_number() {
    let mut world = World::with(once());
    let mut bury = |queue: &str| {
        let (queue, reason) = (queue.to_owned(), "it is none".to_owned());
        let fault = Fault::INVALID;
        let change = Change::Bury { queue, owner: Some(7), fault, reason, bytes: vec![0; 9] };
        let Applied::Buried { dead, .. } = world.apply(&change) else { panic!("not buried") };
        dead
    };
    let ids = ["q", "other", "q", "q"].map(&mut bury);
    let (_, last) = exhausted(&mut world, "a");
    let found = |after, at_most| {
        let all = world.reader().strays_after("q", after, at_most).unwrap();
        assert!(all.iter().all(|dead| dead.size == 9 && dead.bytes.is_empty()));
        all.into_iter().map(|dead| dead.id).collect::<Vec<_>>()
    };
    assert_eq!(found(DeadId(0), 9), [ids[0], ids[2], ids[3]]);
    assert_eq!(found(ids[0], 1), [ids[2]]);
    assert_eq!(found(ids[3], 9), []);
    assert_eq!(world.reader().last_dead().unwrap(), last);
}

fn once() -> Policy {
    Policy { limit: Limit { tries: 1, ..Limit::default() }, ..Policy::default() }
}

#[test]
fn a_job_that_is_requeued_is_no_dead_item_any_more() {
    let mut world = World::with(once());
    let (id, dead) = exhausted(&mut world, "a");
    let (other, left) = exhausted(&mut world, "b");
    world.ask(requeue(id));
    let all = world.reader().dead(9).unwrap();
    assert_eq!(all.iter().map(|dead| dead.id).collect::<Vec<_>>(), [left]);
    assert_eq!(world.apply(&Change::Asked(ann(), Asked::Revive(left))), Applied::Known(other));
    assert_eq!(world.reader().dead(9).unwrap(), []);
    assert_eq!(told(&world.reader().acts(other).unwrap())[0].0, "dead-requeue");
    assert!(matches!(
        world.refused(&Change::Asked(ann(), Asked::Revive(dead))),
        Refused::Absent("dead item")
    ));
    assert_eq!([world.taken().job, world.taken().job], [id, other]);
}

#[test]
fn a_dead_item_whose_job_was_cleaned_away_becomes_a_job_of_its_own() {
    let mut world = World::with(once());
    let (id, dead) = exhausted(&mut world, "a");
    world.clock.pass(HOUR);
    let before = world.store.now().wall;
    world.apply(&Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 9 });
    assert_eq!(world.reader().job(id).unwrap(), None);
    let applied = world.apply(&Change::Asked(ann(), Asked::Revive(dead)));
    let Applied::Submitted { job: new, .. } = applied else { panic!("{applied:?}") };
    assert_ne!(new, id);
    let acts = world.reader().acts(new).unwrap();
    assert_eq!(told(&acts), [("dead-requeue", 1007, Some("dead item 1: it broke"))]);
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!((taken.lease.job, taken.item), (new, item("a")));
}

#[test]
fn a_dead_item_that_is_no_item_stays_dead_until_it_is_dropped() {
    let mut world = World::new();
    let bytes = b"{\"fields\"".to_vec();
    let bury = Change::Bury {
        queue: "q".to_owned(),
        owner: Some(7),
        fault: Fault::INVALID,
        reason: "no item".to_owned(),
        bytes,
    };
    let Applied::Buried { dead, .. } = world.apply(&bury) else { panic!("not buried") };
    let why = world.refused(&Change::Asked(ann(), Asked::Revive(dead)));
    assert!(why.to_string().starts_with("not a work item: "), "{why}");
    world.ask(Asked::Exhume(dead));
    assert_eq!(world.reader().dead(9).unwrap(), []);
    let acts = world.reader().last_acts(9).unwrap();
    assert_eq!(told(&acts), [("dead-drop", 1007, Some("dead item 1: no item"))]);
}

fn bury(world: &mut World, owner: Option<u32>) -> (DeadId, usize) {
    let (queue, reason, bytes) = ("q".to_owned(), "no item".to_owned(), b"{".to_vec());
    let bury = Change::Bury { queue, owner, fault: Fault::INVALID, reason, bytes };
    let Applied::Buried { dead, gone } = world.apply(&bury) else { panic!("not buried") };
    (dead, gone)
}

#[test]
fn of_dead_items_that_never_were_a_job_an_owner_has_the_last_thousand() {
    let mut world = World::with(once());
    world.submit(NewJob { owner: Some(7), ..job("a") });
    let lease = world.taken();
    world.end(lease, fault(3));
    let others = [bury(&mut world, Some(8)).0, bury(&mut world, None).0];
    let all: Vec<_> = (0..1003).map(|_| bury(&mut world, Some(7))).collect();
    let (gone, rest) = all.split_at(3);
    assert!(all.iter().enumerate().all(|(n, (_, gone))| *gone == usize::from(n >= 1000)));
    let left: Vec<_> = world.reader().dead(9999).unwrap().iter().map(|dead| dead.id).collect();
    assert_eq!(left.len(), 1003, "and the one that was a job");
    assert!(gone.iter().all(|(id, _)| !left.contains(id)));
    assert!(
        rest.iter().all(|(id, _)| left.contains(id)) && others.iter().all(|id| left.contains(id))
    );
}

#[test]
fn dead_items_that_never_were_a_job_go_with_their_age_and_labels_when_nothing_has_them() {
    let mut world = World::with(once());
    let (_, dead) = exhausted(&mut world, "a");
    for _ in 0..5 {
        bury(&mut world, Some(7));
    }
    for (name, label) in [("b", "done"), ("c", "done"), ("d", "waits")] {
        world.submit(NewJob { label: label.to_owned(), ..job(name) });
    }
    let set = |name: &str| Change::SetLabel { name: name.to_owned(), priority: 1, active: true };
    world.apply(&set("set"));
    let jobs = vec![NewJob { label: "of a request".to_owned(), ..job("e") }];
    let request = NewRequest {
        name: "r".to_owned(),
        label: "of a request".to_owned(),
        jobs,
        held: true,
        ..NewRequest::default()
    };
    world.apply(&Change::Request(Box::new(request)));
    for _ in 0..2 {
        let lease = world.taken();
        world.end(lease, Ended::default());
    }
    world.clock.pass(HOUR);
    let (young, _) = bury(&mut world, Some(7));
    let raw = raw(&world.scratch);
    let labels = || -> Vec<String> {
        let mut all = raw.prepare("SELECT name FROM label ORDER BY id").unwrap();
        all.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!(labels(), ["", "done", "waits", "set", "of a request"]);
    let before = Wall(world.store.now().wall.0 - 60_000_000);
    let mut after = JobId(0);
    // As often as it says that there is more.
    for look in 0.. {
        assert!(look < 9, "it has no end");
        let step = Change::Clean { before, most: u64::MAX, after, at_most: 2 };
        let Applied::Cleaned { next, .. } = world.apply(&step) else { panic!("not cleaned") };
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    // Labels are looked at before jobs.
    world.apply(&Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 2 });
    assert_eq!(labels(), ["", "waits", "set", "of a request"]);
    let left: Vec<_> = world.reader().dead(99).unwrap().iter().map(|dead| dead.id).collect();
    assert_eq!(left, [young, dead]);
    check(&raw, "afterwards");
}

fn rule(signature: &str, limit: u32, until: Wall) -> Asked {
    let (queue, delay) = ("q".to_owned(), Duration::from_secs(60));
    let signature = signature.to_owned();
    Asked::SetRule(Box::new(NewRule { queue, signature, limit, delay, until }))
}

fn with(signature: &str, code: u16) -> Ended {
    Ended { signature: Some(signature.to_owned()), ..fault(code) }
}

fn in_a_day(world: &World) -> Wall {
    Wall(world.store.now().wall.0 + 86_400_000_000)
}

#[test]
fn a_rule_has_jobs_of_its_class_tried_again_as_often_as_it_says_and_no_others() {
    let mut world = World::new();
    let until = in_a_day(&world);
    let applied = world.apply(&Change::Asked(ann(), rule("flaky", 2, until)));
    let Applied::Ruled(number) = applied else { panic!("{applied:?}") };
    let other = failed(&mut world, "other", with("bug", 11));
    assert_eq!(world.state(other), ("stop", 11, 1));
    let id = world.submit(NewJob { reply_to: Some("replies".to_owned()), ..job("a") });
    for _ in 0..2 {
        let lease = world.taken();
        let applied = world.end(lease, with("flaky", 11));
        assert!(
            matches!(applied, Applied::Ended { fault: Fault(11), retry: Some(_) }),
            "{applied:?}"
        );
        assert_eq!(world.state(id), ("ready", 0, 0));
        assert_eq!(world.take(Ask::Now), None, "it rests first");
        assert_eq!(world.reader().jobs(Some("replies"), None, 9).unwrap(), []);
        world.clock.pass(Duration::from_secs(61));
    }
    let lease = world.taken();
    world.end(lease, with("flaky", 11));
    assert_eq!(world.state(id), ("stop", 11, 1), "no more than twice");
    assert_eq!(world.reader().jobs(Some("replies"), None, 9).unwrap().len(), 1);
    let acts = world.reader().acts(id).unwrap();
    assert_eq!(told(&acts), [("requeue", 1007, Some("by rule 1")); 2]);
    assert!(acts.iter().all(|act| act.rule == Some(number)));
    // The limit is each job's own.
    let next = failed(&mut world, "b", with("flaky", 11));
    assert_eq!(world.state(next).0, "ready");
    let rules = world.reader().rules().unwrap();
    assert_eq!((rules.len(), rules[0].used, rules[0].limit, &rules[0].by), (1, 3, 2, &ann()));
    let classes = world.reader().classes().unwrap();
    let flaky = classes.iter().find(|class| class.signature == "flaky").unwrap();
    assert_eq!(flaky.count, 4, "each of its failures counts");
}

#[test]
fn what_rests_by_a_rule_is_tried_at_once_where_somebody_asks_for_it() {
    let mut world = World::new();
    let until = in_a_day(&world);
    world.ask(rule("flaky", 2, until));
    let id = failed(&mut world, "a", with("flaky", 11));
    assert_eq!((world.state(id), world.take(Ask::Now)), (("ready", 0, 0), None));
    let failed: Vec<_> = world.reader().failed("q").unwrap().iter().map(|job| job.id).collect();
    assert_eq!(failed, [id]);
    let again = Asked::Requeue { job: id, reach: Reach::Failed, priority: None };
    world.ask(again.clone());
    assert_eq!(world.state(id), ("ready", 0, 0));
    // There is nothing to wait for any more.
    let refused = world.refused(&Change::Asked(ann(), again));
    assert!(matches!(refused, Refused::NotNow(_)), "{refused:?}");
    assert_eq!(world.taken().job, id);
    // What was submitted for later was never tried.
    let later = world.submit(NewJob { delay: Duration::from_secs(60), ..job("later") });
    let early = Asked::Requeue { job: later, reach: Reach::Failed, priority: None };
    world.refused(&Change::Asked(ann(), early));
    assert_eq!(world.reader().failed("q").unwrap(), []);
}

#[test]
fn one_of_as_many_rules_as_there_may_be_is_replaced_and_no_other_is_made() {
    let mut world = World::new();
    let until = in_a_day(&world);
    for number in 0..1000 {
        world.ask(rule(&format!("class {number}"), 2, until));
    }
    world.refused(&Change::Asked(ann(), rule("one more", 2, until)));
    world.ask(rule("class 7", 5, until));
    let rules = world.reader().rules().unwrap();
    assert_eq!((rules.len(), rules.iter().filter(|rule| rule.limit == 5).count()), (1000, 1));
}

#[test]
fn a_rule_ends_at_its_date_and_when_it_is_taken_back() {
    let mut world = World::new();
    let until = in_a_day(&world);
    world.ask(rule("flaky", 9, until));
    world.clock.pass(Duration::from_secs(86_401));
    let late = failed(&mut world, "late", with("flaky", 11));
    assert_eq!(world.state(late).0, "stop");
    let over = world.refused(&Change::Asked(ann(), rule("flaky", 9, until)));
    assert!(over.to_string().contains("ended before it begins"), "{over}");
    let until = in_a_day(&world);
    let applied = world.apply(&Change::Asked(By::default(), rule("flaky", 1, until)));
    assert_eq!(applied, Applied::Ruled(RuleId(1)), "in the place of the first");
    let early = failed(&mut world, "early", with("flaky", 11));
    assert_eq!(world.state(early).0, "ready");
    world.ask(Asked::DropRule(RuleId(1)));
    let dropped = failed(&mut world, "dropped", with("flaky", 11));
    assert_eq!(world.state(dropped).0, "stop");
    assert_eq!(world.reader().rules().unwrap(), []);
}

#[test]
fn a_rule_is_for_what_is_exhausted_too_and_that_is_no_dead_item() {
    let mut world = World::with(once());
    let until = in_a_day(&world);
    world.ask(rule("fault 3", 1, until));
    let id = failed(&mut world, "a", fault(3));
    assert_eq!(world.state(id), ("ready", 0, 0));
    assert_eq!(world.reader().dead(9).unwrap(), []);
    world.clock.pass(Duration::from_secs(61));
    let lease = world.taken();
    world.end(lease, fault(3));
    assert_eq!(world.state(id), ("stop", 25, 1));
    assert_eq!(world.reader().dead(9).unwrap().len(), 1);
}

#[test]
fn what_was_cancelled_or_done_is_no_rule_s_to_take_up() {
    let mut world = World::new();
    let until = in_a_day(&world);
    world.ask(rule("flaky", 9, until));
    let id = world.submit(job("a"));
    let lease = world.taken();
    world.ask(Asked::Cancel(id, Fault::CANCELLED));
    world.end(lease, with("flaky", 11));
    assert_eq!(world.state(id).0, "stop");
    let done = failed(&mut world, "b", with("flaky", 0));
    assert_eq!(world.state(done), ("stop", 0, 0));
}

#[test]
fn acts_and_rules_that_are_over_go_as_jobs_do() {
    let mut world = World::new();
    let id = failed(&mut world, "a", fault(10));
    world.ask(requeue(id));
    let until = Wall(world.store.now().wall.0 + 1_000_000);
    world.ask(rule("flaky", 9, until));
    world.clock.pass(HOUR);
    world.ask(Asked::Cancel(id, Fault::CANCELLED));
    let before = Wall(world.store.now().wall.0 - 1_000_000);
    world.apply(&Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 9 });
    assert_eq!(told(&world.reader().acts(id).unwrap()), [("cancel", 1007, None)]);
    assert_eq!(world.reader().rules().unwrap(), []);
}

/// Returns the names of the open jobs of a process, met `at_most` at a time.
pub(crate) fn open_jobs(world: &World, wanted: &Wanted<'_>, at_most: u32) -> Vec<String> {
    let reader = world.reader();
    let (mut names, mut met) = (Vec::new(), None);
    loop {
        let part = reader.open_jobs(wanted, met.as_ref(), at_most).unwrap();
        assert!(part.jobs.len() <= at_most as usize);
        names.extend(part.jobs.into_iter().map(|job| job.identity));
        met = part.next;
        if met.is_none() {
            return names;
        }
    }
}

#[test]
fn the_open_jobs_of_a_process_are_found_in_parts_all_or_those_at_one_place() {
    let mut world = World::new();
    let mut named = |queue: &str, wfid: &str, identity: &str| {
        let (queue, wfid) = (queue.to_owned(), wfid.to_owned());
        world.submit(NewJob { queue, wfid, ..job(identity) })
    };
    for place in 0..7 {
        named("q", "w", &format!("0_{place}!s!"));
        named("other", "w", &format!("0_{place}!s!"));
        named("q", "v", &format!("0_{place}!s!"));
    }
    named("q", "w", "0_1!t!");
    named("q", "w", "0_1");
    named("q", "w", "0_11!s!");
    named("q", "w", "0_1 !s!");
    let nameless = named("q", "", "0_1!drop");
    let stopped = world.reader().named("q", "w", "0_3!s!").unwrap().unwrap();
    world.ask(Asked::Cancel(stopped, Fault::CANCELLED));
    let all = ["0_0!s!", "0_1", "0_1 !s!", "0_1!s!", "0_1!t!", "0_11!s!", "0_2!s!"];
    let all: Vec<&str> = all.into_iter().chain(["0_4!s!", "0_5!s!", "0_6!s!"]).collect();
    let number = format!("job-{}", nameless.0);
    let wanted = |wfid, expid| Wanted { wfid, expid, queue: "q" };
    for at_most in [1, 2, 3, 100] {
        assert_eq!(open_jobs(&world, &wanted("w", None), at_most), all);
        let at_one = open_jobs(&world, &wanted("w", Some("0_1")), at_most);
        assert_eq!(at_one, ["0_1", "0_1!s!", "0_1!t!"]);
        for none in [wanted("w", Some("0_3")), wanted("w", Some("0")), wanted("", None)] {
            assert_eq!(open_jobs(&world, &none, at_most), [""; 0], "{none:?}");
        }
        assert_eq!(open_jobs(&world, &wanted(&number, Some("0_1")), at_most), ["0_1!drop"]);
        assert_eq!(open_jobs(&world, &wanted(&number, Some("0_2")), at_most), [""; 0]);
    }
}
