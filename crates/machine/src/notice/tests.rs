use super::*;
use std::collections::{HashMap, HashSet};
use std::vec::Vec;

const HOUR: Duration = Duration::from_secs(3600);
const RULES: Rules = Rules {
    limit: Duration::from_secs(30),
    first: Duration::from_secs(10),
    longest: Duration::from_secs(35),
    tries: 4,
};

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

#[test]
fn the_first_is_told_at_once_and_the_others_of_the_hour_are_one_count_at_its_end() {
    let mut group = Group::default();
    assert_eq!(group.happened(1, HOUR, at(5)), Verdict::Tell(1));
    for second in 6..105 {
        assert_eq!(group.happened(1, HOUR, at(second)), Verdict::Hold);
    }
    assert_eq!((group.held(), group.deadline()), (99, Some(at(3605))));
    assert_eq!(group.tick(HOUR, at(3604)), Verdict::Hold);
    assert_eq!(group.tick(HOUR, at(3605)), Verdict::Tell(99));
    // That was a notice, too: the next one is an hour away.
    assert_eq!(group.happened(2, HOUR, at(3606)), Verdict::Hold);
    assert_eq!(group.tick(HOUR, at(7205)), Verdict::Tell(2));
    assert_eq!(group.tick(HOUR, at(10_805)), Verdict::Forget);
}

#[test]
fn what_comes_after_a_quiet_hour_is_told_at_once_with_what_was_held_back() {
    let mut group = Group::restored(at(100), 7);
    assert_eq!(group.happened(1, HOUR, at(99)), Verdict::Hold);
    assert_eq!(group.happened(1, HOUR, at(100)), Verdict::Tell(9));
    assert_eq!(Group::default().happened(0, HOUR, at(1)), Verdict::Hold);
}

/// Whatever happens when: no two notices are closer than an hour, and none is lost or counted twice.
#[test]
fn of_random_histories_each_is_told_once_and_no_two_notices_come_within_an_hour() {
    let mut random = 20_261_126_u64;
    let mut below = |n: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % n
    };
    let mut notices = 0_u64;
    for _ in 0..2_000 {
        let mut groups: HashMap<u64, (Group, u64, Option<Mono>)> = HashMap::new();
        let mut now = at(1);
        let mut happened = 0;
        let mut told = 0;
        for _ in 0..200 {
            now = now.after(Duration::from_secs([0, 1, 600, 3600, 9000][below(5) as usize]));
            let key = below(3);
            let (group, _, last) = groups.entry(key).or_default();
            let verdict = if below(3) > 0 {
                let times = 1 + below(4);
                happened += times;
                group.happened(times, HOUR, now)
            } else {
                group.tick(HOUR, now)
            };
            match verdict {
                Verdict::Tell(count) => {
                    assert!(last.is_none_or(|last| last.after(HOUR) <= now), "too soon");
                    *last = Some(now);
                    told += count;
                    notices += 1;
                }
                Verdict::Hold => {}
                Verdict::Forget => {
                    assert_eq!(group.held(), 0);
                    groups.remove(&key);
                }
            }
        }
        let held: u64 = groups.values().map(|(group, ..)| group.held()).sum();
        assert_eq!(happened, told + held);
        // What is held back will be told.
        assert!(groups.values().all(|(group, ..)| group.held() == 0 || group.deadline().is_some()));
    }
    assert!(notices > 10_000, "only {notices} notices");
}

const EVENTS: [Event; 4] = [Event::Queued, Event::Delivered, Event::Failed, Event::Tick];

fn step(target: &mut Target, event: Event, now: Mono) -> Vec<Action> {
    let mut out = Actions::default();
    target.step(event, now, &mut out);
    std::iter::from_fn(|| out.pop()).collect()
}

fn is_at_it(target: &Target) -> bool {
    matches!(target.state, State::Trying(_) | State::Killed)
}

fn check(before: &Target, event: Event, after: &Target, out: &[Action]) {
    let context = || std::format!("{before:?} --{event:?}--> {after:?} {out:?}");
    let count = |which: Action| out.iter().filter(|action| **action == which).count() as u32;
    let tries = count(Action::Try);
    // One at a time: a try only where none is under way, and one that is under way is known.
    assert!(tries <= 1, "{}", context());
    let over = matches!(event, Event::Delivered | Event::Failed);
    assert!(tries == 0 || !is_at_it(before) || over, "two processes: {}", context());
    assert_eq!(is_at_it(after), is_at_it(before) && !over || tries == 1, "{}", context());
    // Each that is queued ends as done, given up or refused, and is in line until then.
    let queued = u32::from(event == Event::Queued);
    let left = count(Action::Done) + count(Action::GiveUp) + count(Action::Refuse);
    assert_eq!(before.waiting + queued, after.waiting + left, "{}", context());
    assert!(after.waiting <= ROOM, "{}", context());
    // Whatever waits has something that will move it.
    let will_move = is_at_it(after) || after.deadline().is_some();
    assert!(after.waiting == 0 || will_move, "stuck: {}", context());
    assert!(after.tried < RULES.tries, "not given up: {}", context());
    if count(Action::GiveUp) > 0 {
        assert_eq!(before.tried + 1, RULES.tries, "{}", context());
    }
}

#[test]
fn every_reachable_state_of_a_target_keeps_the_rules() {
    let rebased = |target: &Target, now: Mono| {
        let from = |at: Mono| Mono(at.nanos_from(now));
        let state = match target.state {
            State::Trying(at) => State::Trying(from(at)),
            State::Resting(at) => State::Resting(from(at)),
            other => other,
        };
        // From the longest delay on, more failures change nothing.
        Target { state, failures: target.failures.min(5), ..*target }
    };
    let first = Target::new(RULES);
    let mut seen = HashSet::from([first]);
    let mut frontier = Vec::from([first]);
    while let Some(target) = frontier.pop() {
        let at_deadline = target.deadline().map(|at| (Event::Tick, at));
        for (event, now) in EVENTS.map(|event| (event, Mono(0))).into_iter().chain(at_deadline) {
            let answers = matches!(event, Event::Delivered | Event::Failed);
            if answers && !is_at_it(&target) {
                continue;
            }
            let mut after = target;
            let out = step(&mut after, event, now);
            check(&target, event, &after, &out);
            let after = rebased(&after, now);
            if seen.insert(after) {
                frontier.push(after);
            }
        }
    }
    assert!(seen.len() > 1000, "only {} states were reached", seen.len());
}

#[test]
fn a_target_that_fails_is_tried_again_with_growing_delays_and_then_given_up() {
    let mut target = Target::new(RULES);
    let mut now = at(0);
    assert_eq!(step(&mut target, Event::Queued, now), [Action::Try]);
    assert_eq!(step(&mut target, Event::Queued, now), []);
    for delay in [10, 20, 35] {
        assert_eq!(step(&mut target, Event::Failed, now), []);
        assert_eq!(target.deadline(), Some(now.after(Duration::from_secs(delay))));
        now = now.after(Duration::from_secs(delay));
        assert_eq!(step(&mut target, Event::Tick, now), [Action::Try]);
    }
    assert_eq!(step(&mut target, Event::Failed, now), [Action::GiveUp]);
    // The next in line has tries of its own, and no less patience is asked of it.
    assert_eq!((target.waiting(), target.deadline()), (1, Some(now.after(RULES.longest))));
    now = now.after(RULES.longest);
    assert_eq!(step(&mut target, Event::Tick, now), [Action::Try]);
    assert_eq!(step(&mut target, Event::Delivered, now), [Action::Done]);
    assert_eq!(step(&mut target, Event::Queued, now), [Action::Try]);
    assert_eq!(step(&mut target, Event::Failed, now), []);
    assert_eq!(target.deadline(), Some(now.after(RULES.first)));
}

#[test]
fn a_target_that_hangs_is_killed_once_and_counts_as_failed() {
    let mut target = Target::new(RULES);
    step(&mut target, Event::Queued, at(0));
    assert_eq!(step(&mut target, Event::Tick, at(29)), []);
    assert_eq!(step(&mut target, Event::Tick, at(30)), [Action::Kill]);
    assert_eq!((step(&mut target, Event::Tick, at(99)), target.deadline()), (Vec::new(), None));
    assert_eq!(step(&mut target, Event::Failed, at(100)), []);
    assert_eq!(target.deadline(), Some(at(110)));
}
