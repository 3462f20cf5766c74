//! Whose answer an item is: of that job which the store says, whatever else is called so.

use crate::acts::open_jobs;
use crate::support::{World, item, job, opened};
use machine::work::{Fault, Reach};
use std::time::Duration;
use work::read::{Job, Wanted};
use work::{
    Applied, Ask, Change, Ended, JobId, NewJob, Policy, Refused, Steer, Subject, TakerId, Wall,
};

/// A job that wants its answer in the queue `r`.
fn asked(name: &str) -> NewJob {
    NewJob { reply_to: Some("r".to_owned()), owner: Some(7), ..job(name) }
}

/// What answers with its name.
fn says(answer: &str) -> Ended {
    Ended { output: Some(answer.into()), ..Ended::default() }
}

fn submit_again(world: &mut World, job: NewJob) -> JobId {
    match world.apply(&Change::Submit(Box::new(job))) {
        Applied::Known(known) => known,
        other => panic!("{other:?}"),
    }
}

/// Takes all that a queue has, and ends it. Returns the bytes of each.
fn drained(world: &mut World, taker: TakerId) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
    while let Applied::Taken(taken) = world.apply(&take) {
        world.end(taken.lease, Ended::default());
        all.push(taken.item);
    }
    all
}

/// Returns what is in the queue for answers, the oldest first.
fn replies(world: &World) -> Vec<Job> {
    let mut all = world.reader().jobs(Some("r"), None, 99).unwrap();
    all.reverse();
    all
}

fn answers_of(world: &World) -> Vec<Option<(JobId, u32)>> {
    let reader = world.reader();
    replies(world).iter().map(|reply| reader.answer_of(reply).unwrap()).collect()
}

fn is_answered(world: &World, job: JobId) -> bool {
    world.reader().details(job).unwrap().unwrap().answered
}

/// Does the first that waits in the queue `q`, which answers so.
fn end_next(world: &mut World, answer: &str) -> JobId {
    let lease = world.taken();
    world.end(lease, says(answer));
    lease.job
}

#[test]
fn one_item_in_two_queues_has_two_answers_in_the_queue_that_wants_both() {
    let mut world = World::new();
    let second = NewJob { queue: "other".to_owned(), ..asked("a") };
    let ids = [world.submit(asked("a")), world.submit(second.clone())];
    end_next(&mut world, "1");
    let other = opened(&mut world.store, "other", Policy::default());
    let take = Change::Take { taker: other, ask: Ask::Now, instance: String::new() };
    let Applied::Taken(taken) = world.apply(&take) else { panic!("not taken") };
    world.end(taken.lease, says("2"));
    let names: Vec<_> = replies(&world).into_iter().map(|r| (r.wfid, r.identity)).collect();
    assert_eq!(names, [("w".into(), "a#1".into()), ("w".into(), "a#1".into())]);
    assert_eq!(answers_of(&world), ids.map(|id| Some((id, 1))));
    let wanted = Wanted { wfid: "w", expid: None, queue: "r" };
    assert_eq!(open_jobs(&world, &wanted, 1), ["a#1", "a#1"]);
    assert!(ids.iter().all(|id| is_answered(&world, *id)));
    let sender = opened(&mut world.store, "r", Policy::default());
    assert_eq!(drained(&mut world, sender), [b"1", b"2"]);
    // Each gets its own again.
    submit_again(&mut world, second);
    assert_eq!(drained(&mut world, sender), [b"2"]);
    submit_again(&mut world, asked("a"));
    assert_eq!(drained(&mut world, sender), [b"1"]);
}

#[test]
fn what_is_called_as_an_answer_before_it_is_there_takes_nothing_from_it() {
    for owner in [Some(7), Some(8)] {
        let mut world = World::new();
        let lookalike = NewJob { queue: "r".to_owned(), owner, ..job("a#1") };
        let strange = world.submit(lookalike.clone());
        let id = world.submit(asked("a"));
        end_next(&mut world, "{}");
        assert_eq!(answers_of(&world), [None, Some((id, 1))]);
        assert!(is_answered(&world, id));
        assert_eq!(submit_again(&mut world, lookalike), strange, "it has its name, too");
        let sender = opened(&mut world.store, "r", Policy::default());
        assert_eq!(drained(&mut world, sender), [item("a#1"), b"{}".to_vec()]);
        // The one that is taken once more is the answer.
        submit_again(&mut world, asked("a"));
        assert_eq!(drained(&mut world, sender), [b"{}"]);
        let whole = world.reader().job(strange).unwrap().unwrap();
        assert_eq!((whole.subject.state.name(), whole.tries), ("stop", 1), "nobody re-opened it");
    }
}

#[test]
fn what_is_called_as_an_answer_after_it_is_an_item_of_its_own() {
    let mut world = World::new();
    let id = world.submit(asked("a"));
    end_next(&mut world, "{}");
    let lookalike = NewJob { queue: "r".to_owned(), owner: Some(8), ..job("a#1") };
    let strange = world.submit(lookalike.clone());
    assert_eq!(answers_of(&world), [Some((id, 1)), None]);
    assert_eq!(world.reader().named("r", "w", "a#1").unwrap(), Some(strange));
    let other = NewJob { owner: Some(9), ..lookalike };
    let refused = world.refused(&Change::Submit(Box::new(other)));
    assert_eq!(refused, Refused::Named(strange), "among items a name is one's");
    let sender = opened(&mut world.store, "r", Policy::default());
    assert_eq!(drained(&mut world, sender), [b"{}".to_vec(), item("a#1")]);
}

#[test]
fn who_asks_for_no_answer_in_that_queue_makes_none_be_taken_again() {
    let mut world = World::new();
    let strange = world.submit(NewJob { queue: "r".to_owned(), owner: Some(8), ..job("a#1") });
    world.submit(asked("a"));
    let lease = world.taken();
    world.end(lease, Ended { forget: true, ..Ended::default() });
    let sender = opened(&mut world.store, "r", Policy::default());
    assert_eq!(drained(&mut world, sender), [item("a#1")]);
    submit_again(&mut world, asked("a"));
    assert_eq!(world.state(strange).0, "stop", "it is another's");
    assert_eq!(replies(&world).len(), 1, "nobody was to be answered");
}

#[test]
fn an_answer_that_moves_to_another_queue_and_back_is_put_there_once() {
    let mut world = World::new();
    let id = world.submit(asked("a"));
    end_next(&mut world, "{}");
    let sender = opened(&mut world.store, "r", Policy::default());
    let other = opened(&mut world.store, "s", Policy::default());
    assert_eq!(drained(&mut world, sender), [b"{}"]);
    let moved = NewJob { reply_to: Some("s".to_owned()), ..asked("a") };
    submit_again(&mut world, moved);
    assert_eq!(drained(&mut world, other), [b"{}"]);
    submit_again(&mut world, asked("a"));
    assert_eq!(drained(&mut world, sender), [b"{}"]);
    assert_eq!(answers_of(&world), [Some((id, 1))]);
}

#[test]
fn an_answer_outlives_its_job_and_is_not_taken_for_that_of_the_next_of_its_name() {
    let mut world = World::new();
    let first = world.submit(asked("a"));
    end_next(&mut world, "1");
    world.clock.pass(Duration::from_secs(60));
    let before = world.store.now().wall;
    let clean = Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 99 };
    world.apply(&clean);
    assert_eq!(world.reader().job(first).unwrap(), None);
    assert_eq!(answers_of(&world), [None], "that one is gone");
    let second = world.submit(asked("a"));
    end_next(&mut world, "2");
    assert_eq!(answers_of(&world), [None, Some((second, 1))]);
    let sender = opened(&mut world.store, "r", Policy::default());
    assert_eq!(drained(&mut world, sender), [b"1", b"2"]);
    submit_again(&mut world, asked("a"));
    assert_eq!(drained(&mut world, sender), [b"2"]);
}

#[test]
fn an_answer_that_is_cleaned_away_takes_nothing_with_it() {
    let mut world = World::new();
    let id = world.submit(asked("a"));
    end_next(&mut world, "{}");
    let sender = opened(&mut world.store, "r", Policy::default());
    assert_eq!(drained(&mut world, sender), [b"{}"]);
    world.apply(&Change::Steer(Subject::Job(id), Steer::Requeue(Reach::Any)));
    let before = Wall(i64::MAX);
    world.apply(&Change::Clean { before, most: u64::MAX, after: JobId(0), at_most: 99 });
    assert_eq!(replies(&world), []);
    end_next(&mut world, "2");
    assert_eq!(answers_of(&world), [Some((id, 2))]);
    assert_eq!(world.state(id), ("stop", Fault::NONE.0, 0));
}

#[test]
fn an_answer_that_goes_in_the_place_of_another_is_on_record_unless_the_work_is_wanted_again() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    end_next(&mut world, "{\"n\":1}");
    let answer = b"{}".to_vec();
    let instead = Change::Instead { job: id, answer: answer.clone(), why: "too large".to_owned() };
    world.apply(&instead);
    let attempts = world.reader().attempts(id).unwrap();
    assert_eq!(attempts[0].text.as_deref(), Some("too large"));
    assert_eq!((attempts[0].fault, world.state(id)), (Some(Fault::SYSTEM), ("stop", 10, 1)));
    // What failed before stays what it was, and is counted once.
    world.apply(&instead);
    assert_eq!(world.state(id), ("stop", 10, 1));
    let classes = world.reader().classes().unwrap();
    let class = |class: &work::read::Class| (class.signature.clone(), class.count);
    assert_eq!(classes.iter().map(class).collect::<Vec<_>>(), [("answer not sent".to_owned(), 1)]);
    assert_eq!(world.reader().output(id, 1).unwrap(), Some(answer));
    world.apply(&Change::Steer(Subject::Job(id), Steer::Requeue(Reach::Any)));
    assert_eq!(world.refused(&instead), Refused::Overtaken);
}
