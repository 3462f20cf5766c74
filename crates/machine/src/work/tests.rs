//! All states and events there are, and all histories of some length, against the rules in words.

use super::*;
use std::collections::HashSet;
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
        Event::Renewed(Reach::Failed),
        Event::Renewed(Reach::Any),
        Event::Reverted,
        Event::Expired,
    ];
    for code in [0, 1, 9, 10, 25, 899, 900, 901, 902, 999, 1000] {
        events.push(Event::Ended(Fault(code)));
        events.push(Event::CancelAsked(Fault(code)));
        events.push(Event::Unaccepted(Fault(code)));
        events.push(Event::Closed(Fault(code)));
        events.push(Event::Untold(Fault(code)));
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
        let is_taken_up = matches!(event, Event::Requeued(_) | Event::Renewed(_) | Event::Reverted);
        let is_untold = matches!(event, Event::Untold(_)) && from.fault.kind() == Kind::Done;
        assert!(is_taken_up || is_untold, "the end is the end: {}", context());
        let told = if is_untold { (State::Stop, from.count + 1) } else { (to.state, 0) };
        assert_eq!((to.state, to.count), told, "{}", context());
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
        assert!(ends(event), "nobody ended the attempt: {}", context());
        // Whatever ends it is counted, but for what is nobody's fault, what went well, and what was no
        // try of its own.
        let is_no_try = matches!(event, Event::Interrupted | Event::Closed(_));
        let free = is_no_try || to.fault == Fault::NONE;
        assert_eq!(to.count == from.count, free, "{}", context());
    }
    if to.state == State::Run {
        assert_eq!(from.state, State::Ready { leased: true }, "begun by nobody: {}", context());
    }
    if from.state == State::Cancelling && to.state == State::Stop {
        let done = matches!(event, Event::Ended(Fault::NONE) | Event::Closed(Fault::NONE));
        let kind = if done { Kind::Done } else { Kind::Cancelled };
        assert_eq!(to.fault.kind(), kind, "{}", context());
    }
    assert_eq!(matches!(next, Next::Bury(_)), to.fault == LIMIT.exhausted && buries(event));
    if matches!(next, Next::Retry(_)) && event != Event::Reverted {
        let is_unaccepted = matches!(event, Event::Unaccepted(_));
        let rests = if is_unaccepted { State::New } else { State::Ready { leased: false } };
        assert_eq!(to.state, rests, "{}", context());
        assert_eq!(to.fault.kind(), Kind::Retryable, "nothing without a record: {}", context());
        assert!(to.count > from.count && to.count < LIMIT.tries, "{}", context());
    }
}

fn ends(event: Event) -> bool {
    let is_no_try = matches!(event, Event::Interrupted | Event::Closed(_));
    is_no_try || matches!(event, Event::Ended(_) | Event::Lost | Event::CancelOverdue)
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

/// As the diagram calls it.
fn called(event: Event) -> &'static str {
    let one_of = |names: [&'static str; 4], fault: Fault| match fault.kind() {
        Kind::Done => names[0],
        Kind::Retryable => names[1],
        Kind::Final => names[2],
        Kind::Cancelled => names[3],
    };
    match event {
        Event::Accepted => "accepted",
        Event::Unaccepted(fault) => {
            one_of(["not accepted: 0", "not accepted: 1-9", "not accepted: 10-", "?"], fault)
        }
        Event::Renewed(_) => "renewed",
        Event::Held => "held",
        Event::Released => "released",
        Event::Leased => "taken",
        Event::Begun => "begun",
        Event::GivenBack => "given back",
        Event::Interrupted => "interrupted",
        Event::Ended(fault) => one_of(["ended: 0", "ended: 1-9", "ended: 10-", "?"], fault),
        Event::Lost => "lost",
        Event::CancelAsked(fault) => one_of(["?", "?", "?", "cancel"], fault),
        Event::CancelOverdue => "overdue",
        Event::Closed(fault) => one_of(["closed: 0", "?", "closed: 10-", "closed: 9xx"], fault),
        Event::Untold(fault) => one_of(["?", "?", "untold: 10-", "?"], fault),
        Event::Requeued(_) => "requeued",
        Event::Reverted => "by a rule",
        Event::Expired => "expired",
    }
}

const READY: State = State::Ready { leased: false };
const IN_HAND: State = State::Ready { leased: true };

/// The diagram: from where, by what, where to; `None` = it is cleaned. What is not here does not happen.
const DRAWN: &[(State, &str, &[Option<State>])] = &[
    (State::Hold, "released", &[Some(State::New)]),
    (State::Hold, "cancel", &[Some(State::Stop)]),
    (State::Hold, "closed: 0", &[Some(State::Stop)]),
    (State::Hold, "closed: 10-", &[Some(State::Stop)]),
    (State::Hold, "closed: 9xx", &[Some(State::Stop)]),
    (State::New, "held", &[Some(State::Hold)]),
    (State::New, "accepted", &[Some(READY)]),
    (State::New, "not accepted: 1-9", &[Some(State::New), Some(State::Stop)]),
    (State::New, "not accepted: 10-", &[Some(State::Stop)]),
    (State::New, "renewed", &[Some(State::New)]),
    (State::New, "cancel", &[Some(State::Stop)]),
    (State::New, "closed: 0", &[Some(State::Stop)]),
    (State::New, "closed: 10-", &[Some(State::Stop)]),
    (State::New, "closed: 9xx", &[Some(State::Stop)]),
    (READY, "taken", &[Some(IN_HAND)]),
    (READY, "requeued", &[Some(READY)]),
    (READY, "cancel", &[Some(State::Stop)]),
    (READY, "closed: 0", &[Some(State::Stop)]),
    (READY, "closed: 10-", &[Some(State::Stop)]),
    (READY, "closed: 9xx", &[Some(State::Stop)]),
    (IN_HAND, "begun", &[Some(State::Run)]),
    (IN_HAND, "given back", &[Some(READY)]),
    (IN_HAND, "lost", &[Some(READY)]),
    (IN_HAND, "cancel", &[Some(State::Stop)]),
    (State::Run, "ended: 0", &[Some(State::Stop)]),
    (State::Run, "ended: 1-9", &[Some(READY), Some(State::Stop)]),
    (State::Run, "ended: 10-", &[Some(State::Stop)]),
    (State::Run, "lost", &[Some(READY), Some(State::Stop)]),
    (State::Run, "interrupted", &[Some(READY)]),
    (State::Run, "cancel", &[Some(State::Cancelling)]),
    (State::Run, "closed: 0", &[Some(State::Stop)]),
    (State::Run, "closed: 10-", &[Some(State::Stop)]),
    (State::Run, "closed: 9xx", &[Some(State::Stop)]),
    (State::Cancelling, "ended: 0", &[Some(State::Stop)]),
    (State::Cancelling, "ended: 1-9", &[Some(State::Stop)]),
    (State::Cancelling, "ended: 10-", &[Some(State::Stop)]),
    (State::Cancelling, "lost", &[Some(State::Stop)]),
    (State::Cancelling, "interrupted", &[Some(State::Stop)]),
    (State::Cancelling, "overdue", &[Some(State::Stop)]),
    (State::Cancelling, "cancel", &[Some(State::Cancelling)]),
    (State::Cancelling, "closed: 0", &[Some(State::Stop)]),
    (State::Cancelling, "closed: 10-", &[Some(State::Stop)]),
    (State::Cancelling, "closed: 9xx", &[Some(State::Stop)]),
    (State::Stop, "untold: 10-", &[Some(State::Stop)]),
    (State::Stop, "requeued", &[Some(READY)]),
    (State::Stop, "renewed", &[Some(State::New)]),
    (State::Stop, "by a rule", &[Some(READY)]),
    (State::Stop, "expired", &[None]),
];

#[test]
fn every_pair_of_state_and_event_is_answered_as_the_diagram_says() {
    let mut seen = HashSet::new();
    for subject in subjects() {
        for event in events() {
            if let Ok(next) = subject.step(event, LIMIT) {
                let to = next.subject().map(|to| to.state);
                seen.insert((subject.state, called(event), to));
            }
        }
    }
    let ways = DRAWN.iter().flat_map(|(from, by, to)| to.iter().map(|to| (*from, *by, *to)));
    let drawn: HashSet<_> = ways.collect();
    let (missed, invented): (Vec<_>, Vec<_>) =
        (drawn.difference(&seen).collect(), seen.difference(&drawn).collect());
    assert!(missed.is_empty() && invented.is_empty(), "missed {missed:?}, made up {invented:?}");
}

#[test]
fn what_cannot_be_accepted_is_tried_as_often_as_it_may_and_begins_anew_when_it_is_wanted() {
    let mut subject = Subject::new();
    for count in 1..LIMIT.tries {
        let Ok(Next::Retry(rests)) = subject.step(Event::Unaccepted(Fault(3)), LIMIT) else {
            panic!("{subject:?}")
        };
        assert_eq!((rests.state, rests.fault, rests.count), (State::New, Fault(3), count));
        let accepted = rests.step(Event::Accepted, LIMIT).unwrap().subject().unwrap();
        assert_eq!((accepted.state, accepted.fault), (READY, Fault::NONE));
        subject = rests;
    }
    let step = |s: Subject, event| s.step(event, LIMIT).unwrap().subject().unwrap();
    let over = step(subject, Event::Unaccepted(Fault(3)));
    assert_eq!((over.state, over.fault), (State::Stop, LIMIT.exhausted));
    for from in [over, subject] {
        assert_eq!(step(from, Event::Renewed(Reach::Failed)), Subject::new());
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
