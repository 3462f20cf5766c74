//! All states and events there are, and all histories of some length, against the rules in words.

use super::*;
use std::collections::{HashMap, HashSet};
use std::vec::Vec;

const LIMIT: Limit = Limit { tries: 3, exhausted: Fault::EXHAUSTED };

fn events() -> Vec<Event> {
    let mut events = std::vec![
        Event::Accepted,
        Event::Held,
        Event::Released,
        Event::Leased,
        Event::Begun,
        Event::GivenBack,
        Event::Interrupted,
        Event::Lost,
        Event::CancelOverdue,
        Event::Requeued(Reach::Failed),
        Event::Requeued(Reach::Any),
        Event::Reverted,
        Event::Expired,
    ];
    for code in [0, 1, 9, 10, 25, 899, 900, 901, 902, 999, 1000] {
        events.push(Event::Ended(Fault(code)));
        events.push(Event::CancelAsked(Fault(code)));
    }
    events
}

/// Takes one step and checks every rule that a step can break.
fn check(from: Subject, event: Event) -> Option<Subject> {
    let next = match from.step(event, LIMIT) {
        Err(_) => return None,
        Ok(Next::Remove) => {
            assert_eq!(from.state, State::Stop, "only what stopped is removed");
            return None;
        }
        Ok(next) => next,
    };
    let to = next.subject().unwrap();
    let over = to.count > LIMIT.tries || to.count == LIMIT.tries && to.state != State::Stop;
    // Two losses may be counted at once.
    assert!(!over || to.state == State::Stop, "{from:?} --{event:?}--> {next:?}");
    check_ends(from, to, event, next);
    Some(to)
}

fn check_ends(from: Subject, to: Subject, event: Event, next: Next) {
    let context = || std::format!("{from:?} --{event:?}--> {next:?}");
    match to.state {
        State::Stop => {
            assert_ne!(to.fault.kind(), Kind::Retryable, "rests: {}", context());
            assert!(!to.wary, "nothing is unknown any more: {}", context());
        }
        State::Cancelling => assert_eq!(to.fault.kind(), Kind::Cancelled, "{}", context()),
        _ => assert!(
            matches!(to.fault.kind(), Kind::Done | Kind::Retryable),
            "final and not stopped: {}",
            context()
        ),
    }
    if from.state == State::Stop {
        let is_taken_up = matches!(event, Event::Requeued(_) | Event::Reverted);
        assert!(is_taken_up, "the end is the end: {}", context());
        assert_eq!(to.count, 0, "{}", context());
    }
    if event == Event::Reverted {
        assert_eq!(from.state, State::Stop, "{}", context());
        assert_eq!(from.fault.kind(), Kind::Final, "only what failed: {}", context());
        assert!(matches!(next, Next::Retry(_)), "never at once: {}", context());
    }
    if let (State::Ready { .. }, Event::Requeued(_)) = (from.state, event) {
        assert!(from.count > 0, "nothing is to be forgotten: {}", context());
        assert_eq!(to, Subject { state: from.state, ..Subject::new() }, "{}", context());
    }
    if from.state.is_running() && !to.state.is_running() {
        let closes = matches!(
            event,
            Event::Ended(_) | Event::Lost | Event::Interrupted | Event::CancelOverdue
        );
        assert!(closes, "nobody ended the attempt: {}", context());
        // Whatever ends it is counted, but for what is nobody's fault and what went well.
        let free = event == Event::Interrupted || to.fault == Fault::NONE;
        assert_eq!(to.count == from.count, free, "{}", context());
    }
    if to.state == State::Run {
        assert_eq!(from.state, State::Ready { leased: true }, "begun by nobody: {}", context());
    }
    if from.state == State::Cancelling && to.state == State::Stop {
        let done = event == Event::Ended(Fault::NONE);
        let kind = if done { Kind::Done } else { Kind::Cancelled };
        assert_eq!(to.fault.kind(), kind, "{}", context());
    }
    assert_eq!(matches!(next, Next::Bury(_)), to.fault == LIMIT.exhausted && buries(event));
    if matches!(next, Next::Retry(_)) && event != Event::Reverted {
        assert_eq!(to.state, State::Ready { leased: false }, "{}", context());
        assert_eq!(to.fault.kind(), Kind::Retryable, "nothing without a record: {}", context());
        assert!(to.count > from.count && to.count < LIMIT.tries, "{}", context());
    }
}

fn buries(event: Event) -> bool {
    matches!(event, Event::Lost) || matches!(event, Event::Ended(f) if f.kind() == Kind::Retryable)
}

/// Every subject that can be, reachable or not.
fn subjects() -> Vec<Subject> {
    let mut all = Vec::new();
    for state in State::ALL {
        for fault in [0, 1, 9, 10, 25, 900, 901, 902] {
            for count in 0..4 {
                for wary in [false, true] {
                    all.push(Subject { state, fault: Fault(fault), count, wary });
                }
            }
        }
    }
    all
}

#[test]
fn every_pair_of_state_and_event_is_answered_as_the_diagram_says() {
    use State::{Cancelling, Hold, New, Run, Stop};
    const READY: State = State::Ready { leased: false };
    const HELD: State = State::Ready { leased: true };
    let drawn: &[(State, &[State])] = &[
        (Hold, &[New, Stop]),
        (New, &[Hold, READY, Stop]),
        (READY, &[READY, HELD, Stop]),
        (HELD, &[READY, Run, Stop]),
        (Run, &[READY, Cancelling, Stop]),
        (Cancelling, &[Cancelling, Stop]),
        (Stop, &[READY]),
    ];
    let mut seen: HashMap<State, Vec<State>> = HashMap::new();
    for subject in subjects() {
        for event in events() {
            if let Some(to) = subject.step(event, LIMIT).ok().and_then(Next::subject) {
                let ways = seen.entry(subject.state).or_default();
                if !ways.contains(&to.state) {
                    ways.push(to.state);
                }
            }
        }
    }
    for (from, ways) in drawn {
        let found = &seen[from];
        assert!(ways.iter().all(|way| found.contains(way)), "{from:?} misses one of {ways:?}");
        assert_eq!(found.len(), ways.len(), "{from:?} goes to {found:?}");
    }
}

#[test]
fn every_reachable_state_keeps_the_rules_and_can_always_be_ended() {
    let mut seen = HashSet::from([Subject::new()]);
    let mut frontier = std::vec![Subject::new()];
    while let Some(subject) = frontier.pop() {
        end(subject);
        for event in events() {
            // The store never leases a wary one without beginning it in the same commit.
            if subject.wary && subject.state.is_leased() && event != Event::Begun {
                continue;
            }
            let Some(next) = check(subject, event) else { continue };
            if seen.insert(next) {
                frontier.push(next);
            }
        }
    }
    assert!(seen.len() > 60, "only {} states were reached", seen.len());
}

/// Whoever wants it ended gets it ended in three steps.
fn end(subject: Subject) {
    let mut now = subject;
    for event in [Event::CancelAsked(Fault::CANCELLED), Event::CancelOverdue] {
        if let Ok(next) = now.step(event, LIMIT) {
            now = next.subject().unwrap();
        }
    }
    assert_eq!(now.state, State::Stop, "{subject:?}");
}

#[test]
fn an_item_that_kills_whoever_takes_it_is_tried_no_more_often_than_the_limit() {
    // Each life either only leased it when it died, though it may have begun, or had begun.
    for tries in 1..6 {
        let limit = Limit { tries, ..LIMIT };
        let mut subject = Subject::new().step(Event::Accepted, limit).unwrap().subject().unwrap();
        let mut deliveries = 0;
        while subject.state != State::Stop {
            // The store lets nobody look ahead at what was tried or is wary.
            let ahead = subject.count == 0 && !subject.wary;
            let mut events = std::vec![Event::Leased];
            if !ahead {
                events.push(Event::Begun);
            }
            events.push(Event::Lost);
            deliveries += 1;
            for event in events {
                subject = subject.step(event, limit).unwrap().subject().unwrap();
            }
        }
        // With a limit of one the loss that nobody could count is one too many.
        assert!(deliveries <= tries.max(2), "{deliveries} of {tries}");
        assert_eq!(subject.fault, Fault::EXHAUSTED);
    }
}

#[test]
fn a_neighbour_that_was_only_looked_ahead_at_loses_no_try() {
    let mut subject = Subject { state: State::Ready { leased: false }, ..Subject::new() };
    for event in [Event::Leased, Event::Lost, Event::Leased, Event::Begun, Event::Ended(Fault(1))] {
        subject = subject.step(event, LIMIT).unwrap().subject().unwrap();
    }
    assert_eq!((subject.count, subject.wary), (1, false));
}

#[test]
fn whichever_of_cancel_and_end_is_first_decides_and_the_second_is_refused() {
    let run = Subject { state: State::Run, ..Subject::new() };
    let step = |s: Subject, e| s.step(e, LIMIT).unwrap().subject().unwrap();
    let (cancel, done) = (Event::CancelAsked(Fault::CANCELLED), Event::Ended(Fault::NONE));
    let first = step(run, done);
    assert_eq!(first.step(cancel, LIMIT), Err(Refusal::NotNow(State::Stop)));
    let second = step(step(run, cancel), done);
    assert_eq!(second.fault, Fault::NONE, "it happened");
    let third = step(step(run, cancel), Event::Ended(Fault(10)));
    assert_eq!(third.fault, Fault::CANCELLED);
    assert_eq!(third.step(done, LIMIT), Err(Refusal::NotNow(State::Stop)));
}

#[test]
fn a_cancel_grows_into_a_kill_once_and_never_the_other_way() {
    let ask = |subject: Subject, why| subject.step(Event::CancelAsked(why), LIMIT);
    let run = Subject { state: State::Run, ..Subject::new() };
    let asked = ask(run, Fault::CANCELLED).unwrap().subject().unwrap();
    for why in [Fault::CANCELLED, Fault::GIVEN_UP] {
        assert_eq!(ask(asked, why), Err(Refusal::NotNow(State::Cancelling)));
    }
    let killed = ask(asked, Fault::KILLED).unwrap().subject().unwrap();
    assert_eq!((killed.state, killed.fault), (State::Cancelling, Fault::KILLED));
    for why in [Fault::CANCELLED, Fault::KILLED, Fault::GIVEN_UP] {
        assert_eq!(ask(killed, why), Err(Refusal::NotNow(State::Cancelling)));
    }
}

#[test]
fn names_lead_back_to_their_states() {
    for state in State::ALL {
        assert_eq!(State::from_name(state.name(), state.is_leased()), Some(state));
    }
    assert_eq!(State::from_name("cleaned", false), None);
}

#[test]
fn delays_grow_to_the_longest_and_differ_from_item_to_item() {
    let backoff = Backoff::default();
    for count in 1..70 {
        let whole = backoff.first.saturating_mul(1 << (count - 1).min(20)).min(backoff.longest);
        for seed in 0..1000 {
            let delay = backoff.after(count, seed);
            assert!(delay >= whole / 2 && delay <= whole, "{delay:?} of {whole:?}");
        }
    }
    let distinct: HashSet<_> = (0..1000).map(|s| backoff.after(3, s)).collect();
    assert!(distinct.len() > 990, "{} of 1000 differ", distinct.len());
}
