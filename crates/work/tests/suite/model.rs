//! The life of a job in the store.

use crate::support::{World, ann, fault, item, job, opened};
use machine::work::{Fault, Limit, Reach};
use std::time::Duration;
use work::{
    Applied, Ask, Asked, Change, Ended, JobId, NewJob, Policy, Refused, Steer, Subject, Wall,
};

#[test]
fn an_item_is_taken_done_and_its_history_told() {
    let mut world = World::new();
    let id = world.submit(NewJob { owner: Some(1000), ..job("a") });
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!((taken.attempt, &taken.item, taken.owner), (1, &item("a"), Some(1000)));
    assert_eq!(world.state(id), ("run", 0, 0));
    assert_eq!(world.take(Ask::Now), None, "one item is visible to one taker");
    let ended = Ended {
        output: Some(b"{\"x\":1}".to_vec()),
        code: Some(0),
        log: Some("@4 12".to_owned()),
        cpu_us: Some(1200),
        peak_kib: Some(9000),
        ..Ended::default()
    };
    let applied = world.end(taken.lease, ended);
    assert_eq!(applied, Applied::Ended { fault: Fault::NONE, retry: None });
    assert_eq!(world.state(id), ("stop", 0, 0));
    let attempts = world.reader().attempts(id).unwrap();
    let [only] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((only.number, &*only.instance, only.code), (1, "q_0", Some(0)));
    assert_eq!((only.how.as_deref(), only.fault), (Some("ended"), Some(Fault::NONE)));
    assert_eq!(
        (only.cpu_us, only.peak_kib, only.log.as_deref()),
        (Some(1200), Some(9000), Some("@4 12"))
    );
    assert_eq!(only.output.as_deref(), Some(&b"{\"x\":1}"[..]));
    assert!(only.ended.unwrap() >= only.begun);
    assert_eq!(world.reader().item(id).unwrap(), Some(item("a")));
}

#[test]
fn what_is_submitted_twice_is_recorded_once() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let again = Change::Submit(Box::new(job("a")));
    assert_eq!(world.apply(&again), Applied::Known(id));
    let lease = world.taken();
    world.end(lease, Ended::default());
    assert_eq!(world.apply(&again), Applied::Known(id), "also when it is done");
    assert_eq!(world.take(Ask::Now), None);
    let other = NewJob { queue: "other".to_owned(), ..job("a") };
    assert_ne!(world.submit(other), id, "in another queue it is another");
}

#[test]
fn another_item_of_a_name_is_refused_and_one_that_cannot_be_named_anew_is_named_apart() {
    let mut world = World::new();
    let id = world.submit(NewJob { owner: Some(7), ..job("a") });
    let other_bytes = NewJob { item: item("b"), owner: Some(7), ..job("a") };
    let other_owner = NewJob { owner: Some(8), ..job("a") };
    for other in [&other_bytes, &other_owner] {
        let refused = world.refused(&Change::Submit(Box::new(other.clone())));
        assert_eq!(refused, Refused::Named(id));
        assert!(refused.to_string().contains("job 1 has its name"), "{refused}");
    }
    let parts = ["c", "d"].map(|part| NewJob { item: item(part), ..job("a") }.named_apart("p"));
    let jobs = parts.clone().map(|part| world.submit(part));
    assert!(jobs[0] != id && jobs[1] != id && jobs[0] != jobs[1], "{jobs:?}");
    let again = world.apply(&Change::Submit(Box::new(parts[1].clone())));
    assert_eq!(again, Applied::Known(jobs[1]), "the next attempt forwards it once more");

    let reason = "has its name".to_owned();
    let (queue, bytes) = ("q".to_owned(), item("a"));
    let bury = Change::Bury { queue, owner: Some(8), fault: Fault::INVALID, reason, bytes };
    let Applied::Buried { dead, .. } = world.apply(&bury) else { panic!("not buried") };
    world.submit(NewJob { identity: "a!!".to_owned(), ..job("a") });
    let revived = world.apply(&Change::Asked(ann(), Asked::Revive(dead)));
    assert!(matches!(revived, Applied::Submitted { .. }), "{revived:?}");
}

#[test]
fn no_taker_gets_an_item_that_is_longer_than_it_takes() {
    let largest = item("small").len();
    let mut world = World::with(Policy { largest, ..Policy::default() });
    let long = NewJob { reply_to: Some("replies".to_owned()), ..job("too long") };
    let id = world.submit(long.clone());
    world.submit(job("small"));
    assert_eq!(world.take(Ask::Now).unwrap().item, item("small"));
    assert_eq!(world.take(Ask::Now), None);
    let reader = world.reader();
    let attempts = reader.attempts(id).unwrap();
    let why = format!("the item has {} bytes; {largest} are allowed", long.item.len());
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].fault, attempts[0].text.as_ref()), (Some(Fault::INVALID), Some(&why)));
    let [dead] = &reader.dead(9).unwrap()[..] else { panic!("not one dead item") };
    assert_eq!((dead.job, &dead.reason, &dead.bytes), (Some(id), &why, &long.item));
    let [answer] = &reader.jobs(Some("replies"), None, 9).unwrap()[..] else { panic!("no answer") };
    let answer = reader.item(answer.id).unwrap().unwrap();
    assert!(String::from_utf8(answer).unwrap().contains(&why));
}

#[test]
fn messages_that_differ_are_never_one_job() {
    let mut world = World::new();
    let taker = world.taker;
    let arrive = |bytes: &str| Change::Arrive {
        known: None,
        job: Box::new(NewJob { item: item(bytes), ..job("a") }),
        taker,
        ask: Ask::Now,
        instance: "q_0".to_owned(),
    };
    let take = |world: &mut World, bytes: &str| match world.apply(&arrive(bytes)) {
        Applied::Taken(taken) => Some(taken.item),
        _ => None,
    };
    assert_eq!(take(&mut world, "a"), Some(item("a")));
    assert_eq!(take(&mut world, "b"), Some(item("b")));
    for known in ["a", "b"] {
        assert_eq!(take(&mut world, known), None, "it was delivered twice");
    }
}

#[test]
fn a_fault_below_ten_is_retried_later_and_from_ten_on_never() {
    for code in 1..=30 {
        let mut world = World::new();
        let id = world.submit(job("a"));
        let lease = world.taken();
        let Applied::Ended { fault: stands, retry } = world.end(lease, fault(code)) else {
            panic!("no end");
        };
        assert_eq!(stands, Fault(code));
        assert_eq!(retry.is_some(), code < 10, "code {code}");
        assert_eq!(world.state(id), (if code < 10 { "ready" } else { "stop" }, code, 1));
        assert_eq!(world.take(Ask::Now), None, "not at once");
        world.clock.pass(Duration::from_secs(3601));
        let again = world.take(Ask::Now).map(|taken| taken.attempt);
        assert_eq!(again, (code < 10).then_some(2), "code {code}");
    }
}

#[test]
fn who_failed_as_often_as_it_may_is_a_dead_item_with_bytes_and_reason() {
    let limit = Limit { tries: 2, exhausted: Fault(27) };
    let mut world = World::with(Policy { limit, ..Policy::default() });
    let id = world.submit(NewJob { owner: Some(7), reply_to: Some("replies".into()), ..job("a") });
    for _ in 0..2 {
        world.clock.pass(Duration::from_secs(3601));
        let lease = world.taken();
        world.end(lease, Ended { output: Some(b"{}".to_vec()), ..fault(5) });
    }
    assert_eq!(world.state(id), ("stop", 27, 2));
    let dead = world.reader().dead(10).unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].job, dead[0].owner, dead[0].fault), (Some(id), Some(7), Fault(5)));
    assert_eq!((&*dead[0].reason, &dead[0].bytes), ("it broke", &item("a")));
    let replies = world.reader().jobs(Some("replies"), None, 9).unwrap();
    assert_eq!(replies.len(), 1, "its sender is answered, once");
    let attempts = world.reader().attempts(id).unwrap();
    assert_eq!(attempts.iter().map(|a| a.fault).collect::<Vec<_>>(), [Some(Fault(5)); 2]);
    world.ask(Asked::Exhume(dead[0].id));
    assert_eq!(world.reader().dead(10).unwrap(), []);
}

#[test]
fn the_answer_is_an_item_of_the_queue_that_wants_it_and_says_which_attempt() {
    for forget in [false, true] {
        let mut world = World::new();
        world.submit(NewJob { reply_to: Some("replies".to_owned()), ..job("a") });
        let lease = world.taken();
        world.end(lease, fault(3));
        world.clock.pass(Duration::from_secs(3601));
        let lease = world.taken();
        world.end(lease, Ended { output: Some(b"{\"y\":2}".to_vec()), forget, ..Ended::default() });
        let replies = world.reader().jobs(Some("replies"), None, 10).unwrap();
        if forget {
            assert_eq!(replies, []);
        } else {
            assert_eq!((&*replies[0].wfid, &*replies[0].identity), ("w", "a#2"));
            let of = world.reader().answer_of(&replies[0]).unwrap();
            assert_eq!(of, Some((lease.job, 2)), "its bytes say nothing of it");
            assert_eq!(world.reader().item(replies[0].id).unwrap().unwrap(), b"{\"y\":2}");
        }
    }
}

#[test]
fn without_an_answer_of_its_own_the_item_goes_back_as_it_came_with_the_error_where_it_failed() {
    for code in [0, 10] {
        let mut world = World::new();
        world.submit(NewJob { reply_to: Some("replies".to_owned()), ..job("a") });
        let lease = world.taken();
        world.end(lease, Ended { fault: Fault(code), ..fault(1) });
        let replies = world.reader().jobs(Some("replies"), None, 10).unwrap();
        let answer = world.reader().item(replies[0].id).unwrap().unwrap();
        if code == 0 {
            assert_eq!(answer, item("a"));
        } else {
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.contains("\"message\":\"it broke\",\"trace\":[]"), "{answer}");
        }
    }
}

#[test]
fn an_orderly_shutdown_gives_back_at_once_and_counts_nothing() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    for attempt in 1..=5 {
        let taken = world.take(Ask::Now).unwrap();
        assert_eq!(taken.attempt, attempt);
        world.apply(&Change::Interrupt(taken.lease, Box::default()));
        assert_eq!(world.state(id), ("ready", 0, 0));
    }
    let attempts = world.reader().attempts(id).unwrap();
    assert!(attempts.iter().all(|a| a.how.as_deref() == Some("interrupted")), "{attempts:?}");
}

#[test]
fn what_was_only_looked_ahead_at_leaves_no_trace() {
    let mut world = World::new();
    let id = world.submit(job("a"));
    let ahead = world.take(Ask::Ahead).unwrap();
    assert!(!ahead.begun);
    assert_eq!(world.state(id), ("ready", 0, 0));
    assert_eq!(world.take(Ask::Now), None, "it is in a hand");
    world.apply(&Change::GiveBack(ahead.lease));
    assert_eq!(world.reader().attempts(id).unwrap(), []);
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!(taken.attempt, 1);
    let refused = world.refused(&Change::GiveBack(ahead.lease));
    assert_eq!(refused, Refused::Overtaken, "an old lease names nothing");
}

#[test]
fn cancel_ends_what_waits_at_once_and_asks_who_works_to_stop() {
    let mut world = World::new();
    let cancel = |id| Change::Steer(Subject::Job(id), Steer::Cancel(Fault::CANCELLED));
    let waiting = world.submit(job("a"));
    world.apply(&cancel(waiting));
    assert_eq!(world.state(waiting), ("stop", 900, 0));
    let running = world.submit(NewJob { reply_to: Some("replies".into()), ..job("b") });
    let lease = world.taken();
    world.apply(&cancel(running));
    assert_eq!(world.state(running), ("cancelling", 900, 0));
    world.end(lease, Ended { output: Some(b"{}".to_vec()), ..fault(4) });
    assert_eq!(world.state(running), ("stop", 900, 1));
    assert_eq!(world.reader().jobs(Some("replies"), None, 9).unwrap(), [], "no answer");
    let overdue = world.submit(job("c"));
    let lease = world.taken();
    world.apply(&cancel(overdue));
    world.apply(&Change::CancelOverdue(lease, Box::default()));
    assert_eq!(world.state(overdue), ("stop", 900, 1));
    assert!(matches!(world.refused(&cancel(overdue)), Refused::NotNow(_)));
}

#[test]
fn however_an_attempt_ends_whose_job_was_being_cancelled_the_cancel_is_its_outcome() {
    for (how, expected) in [
        ("done", Fault::NONE),
        ("ended", Fault::KILLED),
        ("overdue", Fault::KILLED),
        ("lost", Fault::KILLED),
    ] {
        let mut world = World::new();
        let id = world.submit(job("a"));
        let lease = world.taken();
        world.apply(&Change::Steer(Subject::Job(id), Steer::Cancel(Fault::KILLED)));
        let failed = Ended { signature: Some("given up".to_owned()), ..fault(1) };
        match how {
            "done" => drop(world.end(lease, Ended::default())),
            "ended" => drop(world.end(lease, failed)),
            "overdue" => drop(world.apply(&Change::CancelOverdue(lease, Box::new(failed)))),
            _ => drop(world.apply(&Change::CloseTaker(lease.taker))),
        }
        let attempt = world.reader().attempts(id).unwrap().swap_remove(0);
        assert_eq!(attempt.fault, Some(expected), "{how}");
        assert_eq!(world.state(id).1, expected.0, "{how}");
        assert_eq!(attempt.signature, None, "{how}");
        assert_eq!(world.reader().classes().unwrap().len(), 0, "no failure: {how}");
    }
}

#[test]
fn a_requeue_begins_anew_and_the_second_answer_is_told_from_the_first() {
    let mut world = World::new();
    let id = world.submit(NewJob { reply_to: Some("replies".into()), ..job("a") });
    let requeue = |reach| Change::Steer(Subject::Job(id), Steer::Requeue(reach));
    let lease = world.taken();
    world.end(lease, Ended { output: Some(b"1".to_vec()), ..fault(10) });
    world.apply(&requeue(Reach::Failed));
    assert_eq!(world.state(id), ("ready", 0, 0));
    let lease = world.taken();
    world.end(lease, Ended { output: Some(b"2".to_vec()), ..Ended::default() });
    assert!(matches!(world.refused(&requeue(Reach::Failed)), Refused::NotNow(_)));
    world.apply(&requeue(Reach::Any));
    assert_eq!(world.reader().attempts(id).unwrap().len(), 2, "history stays");
    let replies = world.reader().jobs(Some("replies"), None, 9).unwrap();
    assert_eq!(replies.len(), 2);
}

#[test]
fn a_stage_is_handed_to_the_next_attempt() {
    let mut world = World::new();
    world.submit(job("a"));
    let lease = world.taken();
    world.apply(&Change::Stage { lease, stage: Some("push".to_owned()) });
    world.end(lease, fault(2));
    world.clock.pass(Duration::from_secs(3601));
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!(taken.stage.as_deref(), Some("push"));
    // Each attempt is on record with the one that it began with, whatever came later.
    world.apply(&Change::Stage { lease: taken.lease, stage: Some("pull".to_owned()) });
    world.end(taken.lease, fault(2));
    let stage = |world: &World, job, number| {
        let attempt = world.reader().attempt(job, number).unwrap().unwrap();
        (attempt.number, attempt.stage)
    };
    assert_eq!(stage(&world, lease.job, Some(1)), (1, None));
    assert_eq!(stage(&world, lease.job, Some(2)), (2, Some("push".to_owned())));
    assert_eq!(stage(&world, lease.job, None), (2, Some("push".to_owned())));
    assert_eq!(world.reader().attempt(lease.job, Some(3)).unwrap(), None);
    // So is one that begins and ends in one commit, of a job that comes from somewhere else.
    world.submit(NewJob { stage: Some("half".to_owned()), tries: 6, ..job("b") });
    let taken = world.take(Ask::Ahead).unwrap();
    assert_eq!(taken.attempt, 7);
    let begin = Change::Begin { lease: taken.lease, instance: "q_0".to_owned(), at: Wall(7) };
    let end = Change::End(taken.lease, Box::new(fault(2)));
    assert!(world.store.apply_all(&[begin, end]).unwrap().iter().all(Result::is_ok));
    assert_eq!(stage(&world, taken.lease.job, None), (7, Some("half".to_owned())));
    assert_eq!(world.state(taken.lease.job).2, 1, "it counts as untried");
}

#[test]
fn faults_of_one_cause_are_one_class_with_its_owner() {
    let mut world = World::new();
    for n in 0..3 {
        world.submit(job(&n.to_string()));
        let lease = world.taken();
        world.end(lease, Ended { signature: Some("ValueError f".to_owned()), ..fault(11) });
    }
    world.submit(job("other"));
    let lease = world.taken();
    world.end(lease, Ended { text: None, ..fault(12) });
    let blame = |owner: Option<&str>, bug: Option<&str>| Asked::Blame {
        queue: "q".to_owned(),
        signature: "ValueError f".to_owned(),
        owner: owner.map(str::to_owned),
        bug: bug.map(str::to_owned),
    };
    world.ask(blame(Some("bob"), Some("http://bugs/1")));
    world.ask(blame(Some("ann"), None));
    let classes = world.reader().classes().unwrap();
    let told: Vec<_> = classes.iter().map(|c| (&*c.signature, c.count, c.code.0)).collect();
    assert_eq!(told, [("fault 12", 1, 12), ("ValueError f", 3, 11)]);
    let says = |world: &World| {
        let class = world.reader().classes().unwrap().swap_remove(1);
        (class.owner, class.bug)
    };
    assert_eq!(says(&world), (Some("ann".to_owned()), Some("http://bugs/1".to_owned())));
    world.ask(blame(None, Some("")));
    assert_eq!(says(&world), (Some("ann".to_owned()), None));
}

#[test]
fn what_stopped_long_ago_is_removed_in_steps_and_nothing_else() {
    let mut world = World::new();
    let mut ids = Vec::new();
    for n in 0..6 {
        ids.push(world.submit(job(&n.to_string())));
        let lease = world.taken();
        if n != 2 {
            world.end(lease, Ended::default());
        }
    }
    world.clock.pass(Duration::from_secs(100));
    let before = Wall(world.store.now().wall.0 - 50_000_000);
    let young = world.submit(job("young"));
    let lease = world.taken();
    world.end(lease, Ended::default());
    let (mut after, mut all) = (JobId(0), 0);
    loop {
        let applied = world.apply(&Change::Clean { before, most: u64::MAX, after, at_most: 2 });
        let Applied::Cleaned { removed, next, .. } = applied else { panic!("{applied:?}") };
        all += removed;
        match next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(all, 5);
    let left: Vec<_> = world.reader().jobs(None, None, 99).unwrap().iter().map(|j| j.id).collect();
    assert_eq!(left, [young, ids[2]]);
    assert_eq!(world.reader().item(ids[0]).unwrap(), None, "its item went with it");
    assert_eq!(world.reader().attempts(ids[0]).unwrap(), []);
}

#[test]
fn an_item_of_another_broker_is_run_once_and_then_answered_from_the_record() {
    let mut world = World::new();
    let taker = world.taker;
    let arrive = || Change::Arrive {
        known: None,
        job: Box::new(job("a")),
        taker,
        ask: Ask::Now,
        instance: "q_0".to_owned(),
    };
    let Applied::Taken(taken) = world.apply(&arrive()) else { panic!("not taken") };
    assert!(
        matches!(world.apply(&arrive()), Applied::Elsewhere { until: None, .. }),
        "delivered twice at once"
    );
    world.end(taken.lease, Ended { output: Some(b"{\"z\":3}".to_vec()), ..Ended::default() });
    let again = world.apply(&arrive());
    let Applied::Finished { job, answer: Some(answer), .. } = again else { panic!("{again:?}") };
    assert_eq!(answer, b"{\"z\":3}");
    world.apply(&Change::Answered(job, 1));
    let again = world.apply(&arrive());
    assert!(matches!(again, Applied::Finished { answer: None, .. }), "{again:?}");
    assert_eq!(world.reader().attempts(job).unwrap().len(), 1);
}

#[test]
fn who_submits_a_finished_job_again_gets_its_answer_again_and_it_is_not_run() {
    let mut world = World::new();
    let asked = |name: &str| NewJob { reply_to: Some("replies".to_owned()), ..job(name) };
    let again = |world: &mut World, job: NewJob| {
        let known = world.apply(&Change::Submit(Box::new(job)));
        assert!(matches!(known, Applied::Known(_)), "{known:?}");
    };
    let answers = |world: &World, queue: &str| {
        let jobs = world.reader().jobs(Some(queue), None, 9).unwrap();
        let ready = jobs.iter().filter(|job| job.subject.state.name() == "ready");
        let ready: Vec<_> = ready.map(|job| job.id).collect();
        (jobs.len(), ready)
    };
    world.submit(asked("a"));
    again(&mut world, asked("a"));
    let lease = world.taken();
    world.end(lease, Ended { output: Some(b"{\"z\":3}".to_vec()), ..Ended::default() });
    again(&mut world, asked("a"));
    let (count, ready) = answers(&world, "replies");
    assert_eq!((count, ready.len()), (1, 1), "it is on its way already");
    let sender = opened(&mut world.store, "replies", Policy::default());
    for _ in 0..3 {
        let take = Change::Take { taker: sender, ask: Ask::Now, instance: String::new() };
        let Applied::Taken(reply) = world.apply(&take) else { panic!("no answer") };
        assert_eq!((&*reply.item, &*reply.identity), (&b"{\"z\":3}"[..], "a#1"));
        world.end(reply.lease, Ended::default());
        assert!(answers(&world, "replies").1.is_empty());
        again(&mut world, asked("a"));
    }
    let elsewhere = NewJob { reply_to: Some("others".to_owned()), ..job("a") };
    let his = Change::Submit(Box::new(NewJob { owner: Some(7), ..elsewhere.clone() }));
    assert!(matches!(world.refused(&his), Refused::Named(_)));
    assert_eq!(answers(&world, "others").0, 0, "it is not his");
    again(&mut world, elsewhere);
    assert_eq!(answers(&world, "others").1.len(), 1);
    assert_eq!(world.take(Ask::Now), None, "nothing is run again");
}

#[test]
fn what_is_cancelled_forgotten_or_unasked_is_answered_to_who_asks_only() {
    let mut world = World::new();
    let asked = |name: &str| NewJob { reply_to: Some("replies".to_owned()), ..job(name) };
    let count = |world: &World| world.reader().jobs(Some("replies"), None, 9).unwrap().len();
    world.submit(asked("forgotten"));
    let lease = world.taken();
    world.end(lease, Ended { forget: true, ..Ended::default() });
    let id = world.submit(asked("cancelled"));
    world.apply(&Change::Steer(Subject::Job(id), Steer::Cancel(Fault::CANCELLED)));
    world.submit(job("unasked"));
    let lease = world.taken();
    world.end(lease, Ended::default());
    for name in ["forgotten", "cancelled", "unasked"] {
        world.apply(&Change::Submit(Box::new(job(name))));
    }
    for name in ["forgotten", "cancelled"] {
        world.apply(&Change::Submit(Box::new(asked(name))));
    }
    assert_eq!(count(&world), 0);
    world.apply(&Change::Submit(Box::new(asked("unasked"))));
    assert_eq!(count(&world), 1, "now somebody asks");
}

#[test]
fn history_keeps_what_is_known_of_interrupted_and_overdue_attempts() {
    let mut world = World::new();
    let known = Ended {
        fault: Fault::CRASHED,
        signal: Some(9),
        text: Some("half way".to_owned()),
        log: Some("@4 12".to_owned()),
        cpu_us: Some(1200),
        peak_kib: Some(77),
        output: Some(b"{}".to_vec()),
        ..Ended::default()
    };
    let id = world.submit(job("a"));
    let lease = world.taken();
    world.apply(&Change::Interrupt(lease, Box::new(known.clone())));
    let lease = world.taken();
    world.apply(&Change::Steer(Subject::Job(id), Steer::Cancel(Fault::KILLED)));
    world.apply(&Change::CancelOverdue(lease, Box::new(known)));
    let attempts = world.reader().attempts(id).unwrap();
    let how: Vec<_> = attempts.iter().map(|a| (a.how.as_deref(), a.fault)).collect();
    let expected = [("interrupted", Fault::NONE), ("overdue", Fault::KILLED)];
    assert_eq!(how, expected.map(|(how, fault)| (Some(how), Some(fault))));
    for a in attempts {
        assert_eq!((a.signal, a.cpu_us, a.peak_kib), (Some(9), Some(1200), Some(77)));
        assert_eq!((a.log.as_deref(), a.text.as_deref()), (Some("@4 12"), Some("half way")));
        assert_eq!(a.output.as_deref(), Some(&b"{}"[..]));
    }
    assert_eq!(world.state(id), ("stop", 901, 1), "an interrupted try does not count");
}

#[test]
fn an_item_that_names_no_process_goes_by_the_number_of_its_job() {
    let mut world = World::new();
    let reply_to = Some("replies".to_owned());
    let nameless = NewJob { wfid: String::new(), reply_to, ..job("dropped") };
    world.submit(job("a"));
    let id = world.submit(nameless.clone());
    let again = world.apply(&Change::Submit(Box::new(nameless)));
    assert_eq!(again, Applied::Known(id), "its name is as before");
    world.taken();
    let taken = world.take(Ask::Now).unwrap();
    assert_eq!((&*taken.wfid, &*taken.identity), ("job-2", "dropped"));
    let reader = world.reader();
    let ids = |wfid: &str| -> Vec<JobId> {
        reader.jobs_of(wfid).unwrap().iter().map(|job| job.id).collect()
    };
    assert_eq!(ids("job-2"), [id]);
    assert_eq!(reader.job(id).unwrap().unwrap().wfid, "job-2");
    for other in ["", "job-1", "job-", "job-3"] {
        assert_eq!(ids(other), [], "{other}");
    }
    world.end(taken.lease, Ended::default());
    assert_eq!(ids("job-2").len(), 2, "its answer is of the same process");
    let reader = world.reader();
    let answer = reader.jobs(Some("replies"), None, 9).unwrap().remove(0);
    assert_eq!(reader.answer_of(&answer).unwrap(), Some((id, 1)));
    let lookalike = world.submit(NewJob { queue: "replies".to_owned(), ..job("dropped#1") });
    let lookalike = reader.job(lookalike).unwrap().unwrap();
    assert_eq!(reader.answer_of(&lookalike).unwrap(), None, "it is nobody's answer");
}

#[test]
fn an_answer_that_is_the_item_as_it_was_is_not_read_anew_where_whoever_has_it_gives_it() {
    let mut world = World::new();
    let asked = NewJob { reply_to: Some("replies".into()), ..job("a") };
    let id = world.submit(asked.clone());
    let lease = world.taken();
    let given = br#"{"fei":{"wfid":"1"},"fields":{"given":1}}"#.to_vec();
    world.end(lease, Ended { item: Some(given.clone()), ..Ended::default() });
    let reply = world.reader().jobs(Some("replies"), None, 9).unwrap().remove(0).id;
    assert_eq!(world.reader().item(reply).unwrap(), Some(given));
    assert_eq!(world.reader().attempts(id).unwrap()[0].output, None, "nothing is kept twice");
    // What failed has its error in it.
    world.submit(NewJob { identity: "b".into(), ..asked });
    let lease = world.taken();
    world.end(lease, fault(10));
    let reply = world.reader().jobs(Some("replies"), None, 9).unwrap().remove(0).id;
    let item = world.reader().item(reply).unwrap().unwrap();
    assert!(String::from_utf8_lossy(&item).contains("error"), "{item:?}");
}

#[test]
fn a_queue_is_named_as_a_participant_may_be_and_so_is_the_one_for_the_answer() {
    let mut world = World::new();
    let long = "x".repeat(65);
    for name in ["", ".hidden", "a/b", "a b", "../q", &long, "\u{fc}"] {
        let queue = NewJob { queue: name.to_owned(), ..job("a") };
        let reply = NewJob { reply_to: Some(name.to_owned()), ..job("a") };
        for job in [queue, reply] {
            let refused = world.refused(&Change::Submit(Box::new(job)));
            assert!(refused.to_string().starts_with("the name of a queue, "), "{refused}");
        }
    }
    world.submit(NewJob { queue: "x".repeat(64), ..job("a") });
}

#[test]
fn who_makes_up_a_signature_for_each_fault_fills_one_class_from_the_thousandth_on() {
    let mut world = World::new();
    for n in 0..1010 {
        world.submit(job(&n.to_string()));
        let lease = world.taken();
        world.end(lease, Ended { signature: Some(format!("new {n}")), ..fault(10) });
    }
    let classes = world.reader().classes().unwrap();
    assert_eq!(classes.len(), 1001);
    let other = classes.iter().find(|class| class.signature == "other").unwrap();
    assert_eq!(other.count, 10);
}
