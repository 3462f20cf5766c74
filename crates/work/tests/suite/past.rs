//! What is asked of history, and lists for people.

use crate::support::{World, fault, job, opened, place};
use machine::work::Fault;
use rusqlite::Connection;
use std::time::Duration;
use work::read::{Span, Which};
use work::{
    Applied, Ask, Change, Ended, JobId, Lasted, NewJob, NewRequest, Policy, Reader, Steer, Subject,
    TakerId, Wall,
};

impl World {
    /// Works on one item of its queue, with this end.
    fn work(&mut self, name: &str, ended: Ended) -> JobId {
        let id = self.submit(job(name));
        let lease = self.taken();
        self.clock.pass(Duration::from_millis(10));
        self.end(lease, ended);
        self.clock.pass(Duration::from_secs(1));
        id
    }

    fn work_elsewhere(&mut self, queue: &str, taker: TakerId) {
        self.submit(NewJob { queue: queue.to_owned(), ..job("elsewhere") });
        let take = Change::Take { taker, ask: Ask::Now, instance: String::new() };
        let Applied::Taken(taken) = self.apply(&take) else { panic!("nothing") };
        self.end(taken.lease, Ended::default());
    }
}

fn signed(code: u16, signature: &str) -> Ended {
    Ended { signature: Some(signature.to_owned()), ..fault(code) }
}

fn attempts(reader: &Reader, queue: &str, span: Span) -> Vec<(Wall, u16, Option<String>)> {
    let mut all = Vec::new();
    let tell = |past: work::read::Past<'_>| {
        assert!(past.begun <= past.ended && past.how == "ended");
        all.push((past.ended, past.fault.0, past.signature.map(str::to_owned)));
    };
    reader.past_attempts(queue, span, tell).unwrap();
    all
}

#[test]
fn history_is_told_queue_by_queue_in_the_order_of_its_ends_within_the_span() {
    let mut world = World::new();
    let other = opened(&mut world.store, "other", Policy::default());
    world.work("a", Ended::default());
    world.work_elsewhere("other", other);
    world.work("b", signed(10, "s"));
    world.work("c", Ended::default());
    let cancelled = world.submit(job("d"));
    let cancel = Steer::Cancel(Fault::CANCELLED);
    world.apply(&Change::Steer(Subject::Job(cancelled), cancel));
    world.submit(NewJob { queue: "waits".to_owned(), ..job("e") });
    let late = NewJob { queue: "late".to_owned(), delay: Duration::from_secs(9), ..job("f") };
    world.submit(late);

    let reader = world.reader();
    assert_eq!(reader.queues().unwrap(), ["late", "other", "q", "waits"]);
    let all = attempts(&reader, "q", Span::ALL);
    let what: Vec<_> = all.iter().map(|(_, code, s)| (*code, s.as_deref())).collect();
    assert_eq!(what, [(0, None), (10, Some("s")), (0, None)]);
    assert!(all.is_sorted_by_key(|(ended, ..)| *ended));
    assert_eq!(attempts(&reader, "other", Span::ALL).len(), 1);
    let middle = Span { since: all[1].0, until: all[2].0 };
    assert_eq!(attempts(&reader, "q", middle), all[1..2]);
    let mut jobs = Vec::new();
    reader.past_jobs("q", Span::ALL, |_, fault| jobs.push(fault.0)).unwrap();
    assert_eq!(jobs, [0, 10, 0, 900]);
    let mut jobs = Vec::new();
    reader.past_jobs("q", middle, |at, fault| jobs.push((at, fault.0))).unwrap();
    assert_eq!(jobs, [(all[1].0, 10)]);
}

#[test]
fn portions_of_history_tell_each_attempt_once_also_while_some_are_removed() {
    let mut world = World::new();
    for n in 0..25 {
        let ended = fault(n % 2 * 10);
        world.work(&n.to_string(), Ended { output: Some(b"{}".to_vec()), ..ended });
    }
    let reader = world.reader();
    let (mut after, mut told) = (None, Vec::new());
    loop {
        let portion = reader.entries("q", Span::ALL, after, 4).unwrap();
        told.extend(portion.entries.iter().map(|entry| (entry.job.0, entry.attempt.ended)));
        assert!(portion.entries.iter().all(|entry| entry.attempt.output.is_none()));
        after = portion.last;
        if after.is_none() {
            break;
        }
        // What is told already may go; the place is known all the same.
        let before = world.store.now().wall;
        let (most, after) = (u64::MAX, JobId(0));
        world.apply(&Change::Clean { before, most, after, at_most: 2 });
    }
    assert!(told.is_sorted_by_key(|(_, ended)| *ended), "{told:?}");
    let mut jobs: Vec<_> = told.iter().map(|(job, _)| *job).collect();
    let count = jobs.len();
    jobs.sort_unstable();
    jobs.dedup();
    assert_eq!((jobs.len(), jobs.last()), (count, Some(&25)));
    assert_eq!(count, 25, "{told:?}");
}

#[test]
fn the_last_attempts_of_a_class_are_found_with_their_answers() {
    let mut world = World::new();
    for n in 0..3 {
        world.work(&format!("a{n}"), Ended { output: Some(b"{}".to_vec()), ..signed(10, "s") });
        world.work(&format!("b{n}"), Ended::default());
    }
    world.work("c", fault(12));
    let reader = world.reader();
    let classes = reader.classes().unwrap();
    let named = |name: &str| classes.iter().find(|class| class.signature == name).unwrap();
    let last = reader.entries_of_class(named("s"), 2).unwrap();
    let names: Vec<_> = last.iter().map(|entry| entry.identity.as_str()).collect();
    assert_eq!(names, ["a2", "a1"]);
    assert_eq!(reader.output(last[0].job, 1).unwrap().as_deref(), Some(&b"{}"[..]));
    // What has no signature is of the class of its code.
    let last = reader.entries_of_class(named("fault 12"), 9).unwrap();
    assert_eq!((last.len(), last[0].identity.as_str()), (1, "c"));
    assert_eq!(reader.output(last[0].job, 1).unwrap(), None);
}

#[test]
fn what_came_when_there_were_too_many_classes_is_found_under_the_last_one() {
    let mut world = World::new();
    world.work("first", signed(10, "known"));
    let raw = Connection::open(place(&world.scratch).database()).unwrap();
    for n in 0..1000 {
        let sql = "INSERT INTO fault VALUES ('q', ?1, 10, '', 1, 0, 0, NULL, NULL)";
        raw.execute(sql, [n.to_string()]).unwrap();
    }
    world.work("second", signed(10, "new"));
    world.work("third", signed(11, "newer"));
    let reader = world.reader();
    let classes = reader.classes().unwrap();
    let other = classes.iter().find(|class| class.signature == "other").unwrap();
    let names = reader.entries_of_class(other, 9).unwrap();
    let names: Vec<_> = names.iter().map(|entry| entry.identity.as_str()).collect();
    assert_eq!(names, ["third", "second"]);
}

#[test]
fn jobs_are_listed_by_their_state() {
    let mut world = World::new();
    let done = world.work("done", Ended::default());
    let failed = world.work("failed", fault(10));
    let retried = world.work("retried", fault(3));
    let cancelled = world.submit(job("cancelled"));
    world.apply(&Change::Steer(Subject::Job(cancelled), Steer::Cancel(Fault::CANCELLED)));
    let running = world.submit(job("running"));
    world.taken();
    let ready = world.submit(NewJob { key: Some("k".to_owned()), ..job("ready") });
    let other = world.submit(NewJob { queue: "other".to_owned(), ..job("other") });
    let reader = world.reader();
    let listed = |which, queue, n| -> Vec<JobId> {
        reader.listed(which, queue, n).unwrap().iter().map(|job| job.id).collect()
    };
    let q = Some("q");
    assert_eq!(listed(Which::Done, q, 9), [done]);
    assert_eq!(listed(Which::Failed, q, 9), [failed]);
    assert_eq!(listed(Which::Cancelled, q, 9), [cancelled]);
    assert_eq!(listed(Which::Run, q, 9), [running]);
    assert_eq!(listed(Which::Ready, q, 9), [ready, retried]);
    assert_eq!(listed(Which::Ready, q, 1), [ready]);
    assert_eq!(listed(Which::Ready, None, 9), [other, ready, retried]);
    assert_eq!(listed(Which::All, q, 3), [ready, running, cancelled]);
    assert_eq!(listed(Which::All, None, 99).len(), 7);
    assert_eq!(listed(Which::Hold, None, 99), []);
    let details = reader.details(ready).unwrap().unwrap();
    assert_eq!((details.key.as_deref(), details.locked_by), (Some("k"), None));
    assert_eq!(details.size, crate::support::item("ready").len() as u64);
}

#[test]
fn a_request_is_found_by_its_name_and_its_number_with_its_jobs() {
    let mut world = World::new();
    let jobs = ["a", "b"].map(job).to_vec();
    let (name, source) = ("r".to_owned(), "test".to_owned());
    world.apply(&Change::Request(Box::new(NewRequest {
        name,
        source,
        jobs,
        ..Default::default()
    })));
    let lease = world.taken();
    world.end(lease, fault(10));
    let reader = world.reader();
    let request = reader.request_called("r").unwrap().unwrap();
    assert_eq!(reader.requests(9).unwrap(), std::slice::from_ref(&request));
    assert_eq!(reader.request_called(&request.id.0.to_string()).unwrap(), Some(request.clone()));
    assert_eq!(reader.request_called("s").unwrap(), None);
    assert_eq!(reader.sums_of_request(request.id).unwrap(), [2, 1, 1]);
    let first = reader.jobs_of_request(request.id, JobId(0), 1).unwrap();
    let second = reader.jobs_of_request(request.id, first[0].id, 9).unwrap();
    assert_eq!((&*first[0].identity, &*second[0].identity), ("a", "b"));
    let details = reader.details(first[0].id).unwrap().unwrap();
    assert_eq!(details.request.as_deref(), Some("r"));
}

#[test]
fn a_dead_item_is_listed_without_its_bytes_and_one_that_is_spoilt_is_told() {
    let mut world = World::new();
    let bury = Change::Bury {
        queue: "q".to_owned(),
        owner: Some(7),
        fault: Fault::INVALID,
        reason: "no item".to_owned(),
        bytes: b"\0x".to_vec(),
    };
    let Applied::Buried { dead: id, .. } = world.apply(&bury) else { panic!("not buried") };
    let reader = world.reader();
    let heads = reader.dead_heads(Some("q"), 9).unwrap();
    assert_eq!((heads.len(), heads[0].size, heads[0].bytes.len()), (1, 2, 0));
    assert_eq!(reader.dead_heads(Some("x"), 9).unwrap(), []);
    assert_eq!(reader.dead_item(id).unwrap().unwrap().bytes, b"\0x");
    let raw = Connection::open(place(&world.scratch).database()).unwrap();
    raw.execute("UPDATE dead SET bytes = x'00'", []).unwrap();
    let why = reader.dead_item(id).unwrap_err().to_string();
    assert!(why.contains("dead item 1") && why.contains("damaged"), "{why}");
}

#[test]
fn a_link_in_place_of_the_store_is_not_followed() {
    let world = World::new();
    let folder = place(&world.scratch).folder().to_owned();
    std::fs::rename(folder.join("work.db"), world.scratch.join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(world.scratch.join("elsewhere"), folder.join("work.db")).unwrap();
    Reader::open(&place(&world.scratch)).unwrap_err();
    // A link to the folder is somebody's wish.
    std::fs::remove_file(folder.join("work.db")).unwrap();
    std::fs::rename(world.scratch.join("elsewhere"), folder.join("work.db")).unwrap();
    let link = world.scratch.join("link");
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    Reader::open(&work::Place::new(link)).unwrap();
}

#[test]
fn an_attempt_was_when_whoever_worked_on_it_says_and_never_ends_before_it_began() {
    let told = |begun, ended| Some(Lasted { begun: Wall(begun), ended: Wall(ended) });
    for ahead in [false, true] {
        // As it was begun, as it is told with its end, and as it is on record then.
        for (at, lasted, expected) in [
            (5, told(100, 120), (100, 120)),
            (100, told(7, 120), (7, 120)),
            (100, told(130, 120), (120, 120)),
            (i64::MAX, None, (0, 0)),
            (100, None, (100, 0)),
        ] {
            let mut world = World::new();
            world.submit(job("a"));
            let ask = if ahead { Ask::Ahead } else { Ask::Now };
            let taken = world.take(ask).unwrap();
            let (lease, instance) = (taken.lease, String::new());
            let mut changes = vec![Change::End(lease, Box::new(Ended { lasted, ..fault(10) }))];
            if ahead {
                changes.insert(0, Change::Begin { lease, instance, at: Wall(at) });
            }
            // Both in one commit, and each in its own.
            for change in &changes {
                world.apply(change);
            }
            let mut together = World::new();
            together.submit(job("a"));
            together.take(ask).unwrap();
            for made in together.store.apply_all(&changes).unwrap() {
                made.unwrap();
            }
            for world in [world, together] {
                let reader = world.reader();
                let attempt = reader.attempts(JobId(1)).unwrap().remove(0);
                let (begun, ended) = (attempt.begun.0, attempt.ended.unwrap().0);
                assert!(begun <= ended, "{ahead} {at} {lasted:?}: {attempt:?}");
                if lasted.is_some() {
                    assert_eq!((begun, ended), expected, "{ahead} {at}: {attempt:?}");
                } else if ahead && at == 100 {
                    assert_eq!(begun, expected.0, "{attempt:?}");
                }
                let job = reader.job(JobId(1)).unwrap().unwrap();
                assert_eq!(job.changed.0, ended, "it stopped with it");
                // Its class is found by the moments of its attempts.
                let class = reader.classes().unwrap().remove(0);
                assert_eq!((class.first.0, class.last.0), (ended, ended));
                assert_eq!(reader.entries_of_class(&class, 9).unwrap().len(), 1);
            }
        }
    }
}

#[test]
fn a_class_of_faults_is_from_its_first_attempt_to_its_last_in_whatever_order_they_are_recorded() {
    let mut world = World::new();
    for (begun, ended) in [(50, 60), (10, 20), (80, 90), (30, 40)] {
        let lasted = Some(Lasted { begun: Wall(begun), ended: Wall(ended) });
        world.work(&begun.to_string(), Ended { lasted, ..signed(10, "s") });
    }
    let reader = world.reader();
    let class = reader.classes().unwrap().remove(0);
    assert_eq!((class.first, class.last, class.count), (Wall(20), Wall(90), 4));
    assert_eq!(reader.entries_of_class(&class, 9).unwrap().len(), 4);
}
