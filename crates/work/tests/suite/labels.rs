//! Labels, and whose turn they say it is.

use crate::support::{World, ann, job};
use std::time::Duration;
use work::read::Label;
use work::{Ask, Asked, Change, Ended, NewJob, Refused};

fn labelled(name: &str, label: &str) -> NewJob {
    NewJob { label: label.to_owned(), ..job(name) }
}

fn set(name: &str, priority: impl Into<Option<i32>>) -> Asked {
    Asked::SetLabel { name: name.to_owned(), priority: priority.into() }
}

/// Takes all there is, and returns it in this order.
fn taken(world: &mut World) -> String {
    let mut names = String::new();
    while let Some(taken) = world.take(Ask::Now) {
        names += &taken.identity;
        world.end(taken.lease, Ended::default());
    }
    names
}

/// Returns name, priority and jobs that wait of each label.
fn told(world: &World) -> Vec<(String, Option<i32>, u64)> {
    let labels = world.reader().labels().unwrap();
    labels.into_iter().map(|label| (label.name, label.priority, label.waiting)).collect()
}

#[test]
fn a_priority_that_a_label_is_given_holds_for_what_waits_and_until_it_is_taken_back() {
    let mut world = World::new();
    let submit = |world: &mut World, round: &str| {
        for (name, label) in [("a", "low"), ("b", ""), ("c", "none"), ("d", "high"), ("e", "low")] {
            let job = labelled(name, label);
            world.submit(NewJob { wfid: round.to_owned(), ..job });
        }
    };
    submit(&mut world, "first");
    world.ask(set("high", 5));
    world.ask(set("low", -5));
    let all = [("high", Some(5), 1), ("", Some(0), 1), ("low", Some(-5), 2), ("none", None, 1)];
    let all = all.map(|(name, priority, count)| (name.to_owned(), priority, count));
    assert_eq!(told(&world), all);
    assert_eq!(taken(&mut world), "dbaec");
    submit(&mut world, "second");
    world.ask(set("low", i32::MAX));
    assert_eq!(taken(&mut world), "aedbc");
    submit(&mut world, "third");
    world.ask(set("low", None));
    assert_eq!(taken(&mut world), "dbaec", "in the order in which they came up");
    let acts = world.reader().last_acts(9).unwrap();
    let acts: Vec<_> = acts.iter().map(|act| (&*act.what, act.detail.as_deref())).collect();
    let low = |detail| ("label-set", Some(detail));
    let [highest, lowest, high] =
        ["low: priority 2147483647", "low: priority -5", "high: priority 5"].map(low);
    assert_eq!(acts, [("label-drop", Some("low")), highest, lowest, high]);
}

#[test]
fn what_of_a_label_waits_rests_and_is_in_hand_is_counted_and_what_is_over_is_not() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.submit(labelled(name, "l"));
    }
    world.submit(NewJob { delay: Duration::from_secs(9), ..labelled("d", "l") });
    let lease = world.taken();
    world.end(lease, Ended::default());
    world.taken();
    let labels = world.reader().labels().unwrap();
    let l = Label { name: "l".to_owned(), waiting: 1, later: 1, in_hand: 1, ..Label::default() };
    assert_eq!(labels[1], Label { active: true, ..l });
    world.apply(&Change::SetLabel { name: "l".to_owned(), priority: 1, active: false });
    world.ask(set("l", 7));
    let labels = world.reader().labels().unwrap();
    assert_eq!((labels[0].priority, labels[0].active), (Some(7), false), "only that is changed");
    world.ask(set("l", None));
    let labels = world.reader().labels().unwrap();
    assert_eq!((labels[1].priority, labels[1].active), (None, false), "what is held back stays so");
}

#[test]
fn a_label_that_cannot_be_or_is_not_known_is_refused_and_so_are_too_many() {
    let mut world = World::new();
    let asked = |asked| Change::Asked(ann(), asked);
    let long = "x".repeat(65);
    for name in ["", "a\nb", &long] {
        for priority in [Some(1), None] {
            let refused = world.refused(&asked(set(name, priority)));
            assert!(matches!(refused, Refused::Label(..)), "{refused}");
        }
    }
    world.submit(labelled("a", "never set"));
    for name in ["ghost", "never set"] {
        let refused = world.refused(&asked(set(name, None)));
        assert_eq!(refused, Refused::Absent("label that has a priority"));
    }
    let all: Vec<_> = (0..1000).map(|n| asked(set(&format!("l{n}"), n))).collect();
    assert!(world.store.apply_all(&all).unwrap().iter().all(Result::is_ok));
    let refused = world.refused(&asked(set("one more", 1)));
    assert!(refused.to_string().contains("too many labels"), "{refused}");
    world.ask(set("l7", -7));
    world.ask(set("l8", None));
    world.ask(set("one more", 1));
    let names: Vec<_> = told(&world).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), 1002);
    assert!(!names.contains(&"l8".to_owned()), "nothing has it");
}
