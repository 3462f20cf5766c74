use super::*;
use ondisk::record::Identity;
use ondisk::status::Want;
use serde_json::json;

fn at(second: i64) -> Stamp {
    Stamp::from_unix(second, 5)
}

/// A service that runs since `second`.
fn running(second: i64) -> Record {
    Record {
        process: Identity { pid: 7, alive_at: 1 },
        since: at(second),
        phase: Phase::Running,
        want: Want::Up,
        ..Record::new([1; 16], Identity { pid: 1, alive_at: 1 })
    }
}

fn died(second: i64, last_exit: Exit, restarts: u64) -> Record {
    let died = Some(at(second));
    let process = Identity::default();
    Record {
        process,
        since: at(second),
        died,
        phase: Phase::Due,
        last_exit,
        restarts,
        ..running(0)
    }
}

fn found(before: Option<&Record>, now: &Record) -> Option<(String, String, u64)> {
    let seen = before.map(Seen::of);
    let trouble = of_record("web", seen.as_ref(), now, at(100));
    trouble.map(|trouble| (trouble.kind, trouble.signature, trouble.times))
}

fn told(kind: &str, signature: &str, times: u64) -> (String, String, u64) {
    (kind.to_owned(), signature.to_owned(), times)
}

#[test]
fn a_death_that_nobody_asked_for_is_a_crash_and_is_told_once() {
    let (up, dead) = (running(10), died(20, Exit::Signal(11), 0));
    assert_eq!(found(Some(&up), &dead), Some(told("crash", "signal 11", 1)));
    assert_eq!(found(Some(&dead), &dead), None);
    let again = Record { died: dead.died, last_exit: dead.last_exit, restarts: 1, ..running(21) };
    assert_eq!(found(Some(&dead), &again), None);
    // Whether the look falls between death and start or behind both makes no difference.
    assert_eq!(found(Some(&up), &again), Some(told("crash", "signal 11", 1)));
    let twice = died(30, Exit::Code(3), 1);
    assert_eq!(found(Some(&again), &twice), Some(told("crash", "exit 3", 1)));
    assert_eq!(found(Some(&dead), &twice), Some(told("crash", "exit 3", 1)));
    assert_eq!(found(Some(&up), &twice), Some(told("crash", "exit 3", 2)));
    assert_eq!(
        found(Some(&up), &died(20, Exit::Unknown, 0)),
        Some(told("crash", "end unknown", 1))
    );
}

#[test]
fn deaths_while_nobody_looked_are_counted_also_by_another_supervise() {
    let up = Record { restarts: 4, died: Some(at(9)), ..running(10) };
    let later =
        Record { restarts: 14, died: Some(at(40)), last_exit: Exit::Code(1), ..running(41) };
    assert_eq!(found(Some(&up), &later), Some(told("crash", "exit 1", 10)));
    let anew = Record { restarts: 2, ..later };
    assert_eq!(found(Some(&up), &anew), Some(told("crash", "exit 1", 1)));
}

#[test]
fn what_was_asked_for_and_an_end_with_code_0_are_no_trouble() {
    let up = running(10);
    assert_eq!(found(Some(&up), &died(20, Exit::Code(0), 0)), None);
    let asked = Record { asked: true, ..died(20, Exit::Signal(15), 0) };
    assert_eq!(found(Some(&up), &asked), None);
}

#[test]
fn what_cannot_be_run_is_not_up_each_time_that_it_is_tried() {
    let not_run = |second| Record { died: None, ..died(second, Exit::NotRun(2), 0) };
    let wanted = Some(told("not-up", "unable to run it: file does not exist", 1));
    assert_eq!(found(Some(&running(10)), &not_run(20)), wanted);
    assert_eq!(found(Some(&not_run(20)), &not_run(20)), None);
    assert_eq!(found(Some(&not_run(20)), &not_run(21)), wanted);
    // Mended: the record still says how it went before.
    let mended = Record { last_exit: Exit::NotRun(2), ..running(22) };
    assert_eq!(found(Some(&not_run(21)), &mended), None);
    let failed = Record { phase: Phase::Failed, ..died(20, Exit::Code(100), 0) };
    assert_eq!(found(Some(&running(10)), &failed), Some(told("not-up", "exit 100", 1)));
}

#[test]
fn of_a_service_that_is_new_only_what_is_newer_than_the_notifier_counts() {
    assert_eq!(found(None, &died(99, Exit::Code(1), 0)), None);
    assert_eq!(found(None, &died(101, Exit::Code(1), 0)), Some(told("crash", "exit 1", 1)));
    assert_eq!(found(None, &running(101)), None);
}

#[test]
fn an_exo_s_troubles_are_told_once_each_and_those_it_forgot_are_counted() {
    let said = |number: u64, kind: &str| {
        json!({ "number": number, "kind": kind, "instance": "p_0", "how": "signal 9", "line": "bye",
            "wfid": "w", "job": 4, "attempt": 2 })
    };
    let status = json!({ "life": "a", "troubles": 5,
        "last_troubles": [said(5, "ended"), said(4, "not-started")] });
    let (seen, found) = of_exo("p", None, &status, (1, 2)).unwrap();
    assert_eq!(seen, SeenExo { life: "a".into(), troubles: 5 });
    let kinds: Vec<_> = found.iter().map(|one| (one.kind.as_str(), one.times)).collect();
    assert_eq!(kinds, [("not-up", 4), ("disconnected", 1)]);
    assert_eq!(found[1].text, "p_0 went away: signal 9; its last line: bye");
    assert_eq!((found[1].items[0].wfid.as_str(), found[1].items[0].job), ("w", Some(4)));
    assert_eq!(of_exo("p", Some(&seen), &status, (1, 2)).unwrap().1, []);
    let other = SeenExo { life: "b".into(), troubles: 9 };
    assert_eq!(of_exo("p", Some(&other), &status, (1, 2)).unwrap().1.len(), 2);
    // An exo that does not know of this yet.
    assert_eq!(of_exo("p", None, &json!({ "state": "running" }), (1, 2)), None);
}

#[test]
fn dead_items_with_the_same_cause_are_one_group() {
    let dead = |id: i64, reason: &str| Dead {
        id,
        queue: "q".into(),
        job: Some(id),
        wfid: Some(format!("w{id}")),
        fault: 11,
        reason: reason.to_owned(),
        signature: None,
        at: (1, 0),
    };
    let (one, two) =
        (of_dead("p", &dead(1, "no file /a/1")), of_dead("p", &dead(2, "no file /b/2")));
    assert_eq!(one.group(), two.group());
    assert_eq!(one.text, "w1 was put away, fault 11: no file /a/1");
    assert_ne!(one.group(), of_dead("p", &dead(3, "else")).group());
}
