//! All reachable states and transitions, and random histories, against the rules in words.

use super::*;
use std::collections::{BTreeMap, HashSet};
use std::vec::Vec;
use std::{format, vec};

const STEP: Duration = Duration::from_millis(500);

fn rules(mode: Mode) -> Rules {
    Rules {
        mode,
        start: Duration::from_secs(2),
        item: Some(Duration::from_secs(2)),
        cancel: Duration::from_millis(1500),
        shutdown: Duration::from_millis(5500),
        restart: Duration::from_millis(500),
        restart_longest: Duration::from_secs(1),
        ahead: 2,
    }
}

/// What is outside, as far as the rules speak of it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Outside {
    alive: bool,
    /// Nothing was heard of it yet.
    fresh: bool,
    hello: bool,
    killed: bool,
    /// Asks that stand, and those taken back whose answer may be on its way.
    asks: [usize; 2],
    late: [usize; 2],
    /// What is in our hands; `true`: begun.
    held: BTreeMap<u32, bool>,
    handed: Option<Key>,
    accepts: bool,
    stopping: bool,
}

#[derive(Clone)]
struct World {
    instance: Instance,
    now: Mono,
    last_start: Option<Mono>,
    outside: Outside,
}

/// Returns the names of all that it has, in hand first.
fn keys(instance: &mut Instance) -> impl Iterator<Item = &mut Key> {
    let hand = instance.hand.iter_mut().map(|hand| &mut hand.key);
    hand.chain(instance.next.keys())
}

impl World {
    fn new(mode: Mode) -> Self {
        let outside = Outside {
            alive: false,
            fresh: false,
            hello: false,
            killed: false,
            asks: [0; 2],
            late: [0; 2],
            held: BTreeMap::new(),
            handed: None,
            accepts: true,
            stopping: false,
        };
        let start = Mono(1_000_000_000_000);
        let instance = Instance::new(rules(mode));
        let mut world = Self { instance, now: start, last_start: None, outside };
        world.step(Event::Begun);
        world
    }

    /// Tells the outside what is about to be told to the machine.
    fn note(&mut self, event: Event) {
        let o = &mut self.outside;
        match event {
            Event::NotStarted | Event::Died { .. } => {
                (o.alive, o.fresh, o.hello, o.killed, o.handed) =
                    (false, false, false, false, None);
            }
            Event::Hello => (o.hello, o.fresh) = (true, false),
            Event::Answered { key, .. } if o.handed == Some(key) => o.handed = None,
            Event::Arrived { key, begun } => {
                let which = usize::from(!begun);
                // Which of them is answered nobody can tell.
                if o.asks[which] > 0 {
                    o.asks[which] -= 1;
                } else {
                    o.late[which] -= 1;
                }
                o.held.insert(key.0, begun);
            }
            Event::Drain => o.accepts = false,
            Event::Resume => o.accepts = !o.stopping,
            Event::Shutdown => (o.accepts, o.stopping) = (false, true),
            _ => {}
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let before = format!("{event:?} in {:?}", self.instance);
        self.note(event);
        let mut out = Actions::default();
        self.instance.step(event, self.now, &mut out);
        let mut all = vec![];
        while let Some(action) = out.pop() {
            self.check(action, &before);
            all.push(action);
        }
        self.check_state(&before);
        all
    }

    fn check(&mut self, action: Action, before: &str) {
        let context = format!("{action:?} after {before}");
        let o = &mut self.outside;
        match action {
            Action::Ask(ask) => {
                assert!(o.accepts, "asked though no item may come: {context}");
                o.asks[ask as usize] += 1;
                let most = if ask == Ask::Now { 1 } else { self.instance.rules.ahead };
                assert!(o.asks[ask as usize] <= most, "asked too often: {context}");
            }
            Action::Withdraw(ask) => {
                assert!(o.asks[ask as usize] > 0, "nothing to take back: {context}");
                o.asks[ask as usize] -= 1;
                o.late[ask as usize] = (o.late[ask as usize] + 1).min(2);
            }
            Action::GiveBack(key) => {
                assert_eq!(o.held.remove(&key.0), Some(false), "not untouched: {context}");
            }
            Action::Interrupt(key) | Action::Finish(key, _) => {
                assert_eq!(o.held.remove(&key.0), Some(true), "not begun or twice: {context}");
                // What is said about it from now on is ignored.
                o.handed = o.handed.filter(|handed| *handed != key);
            }
            Action::Begin(key) => {
                assert_eq!(o.held.insert(key.0, true), Some(false), "begun twice: {context}");
            }
            Action::Start(item) => {
                assert!(!o.alive, "two processes: {context}");
                assert!(!o.stopping, "a start after the order to end: {context}");
                (o.alive, o.fresh, o.handed) = (true, true, item);
                if self.instance.is_persistent() {
                    let spaced = self
                        .last_start
                        .is_none_or(|last| last.after(self.instance.rules.restart) <= self.now);
                    assert!(spaced, "started too soon: {context}");
                    self.last_start = Some(self.now);
                }
            }
            Action::HandOver(key) => {
                assert!(o.alive && o.hello && !o.killed, "to nobody: {context}");
                assert_eq!(o.handed, None, "two in hand: {context}");
                o.handed = Some(key);
            }
            Action::Cancel(key, _) => {
                assert!(o.alive, "said to nobody: {context}");
                assert_eq!(o.handed, Some(key), "of what it has not: {context}");
            }
            Action::TellShutdown | Action::TellEnd | Action::Terminate => {
                assert!(o.alive && !o.killed, "said to nobody: {context}");
            }
            Action::Kill => {
                assert!(o.alive, "killed nobody: {context}");
                o.killed = true;
            }
        }
    }

    fn check_state(&self, before: &str) {
        let o = &self.outside;
        let context = || format!("{:?} after {before}", self.instance);
        let mut known: Vec<u32> = keys(&mut self.instance.clone()).map(|key| key.0).collect();
        known.sort_unstable();
        assert!(o.held.keys().copied().eq(known), "an item is nowhere: {}", context());
        assert_eq!(o.alive, !self.instance.is_absent(), "{}", context());
        let in_hand = self.instance.hand.map(|hand| hand.key);
        assert!(o.handed.is_none() || o.handed == in_hand, "{}", context());
        // Whatever state it is in, something will come: an item, a deadline, a death.
        let waits = o.asks[0] > 0
            || self.instance.deadline().is_some()
            || !o.accepts
            || o.killed
            || in_hand.is_some() && o.alive;
        assert!(waits, "sleeps for ever: {}", context());
        if self.instance.is_finished() {
            assert!(o.held.is_empty() && !o.alive && o.asks == [0; 2], "{}", context());
        }
    }

    fn free_key(&self) -> Key {
        Key((0..4).find(|key| !self.outside.held.contains_key(key)).unwrap())
    }

    /// Everything that can happen now.
    fn events(&self) -> Vec<Event> {
        let o = &self.outside;
        let mut events = vec![Event::Drain, Event::Resume, Event::Shutdown, Event::Tick];
        if o.alive {
            let died = |well, unread| Event::Died { well, unread };
            events.extend([died(true, false), died(false, false)]);
            if self.instance.is_persistent() {
                events.push(died(false, true));
            }
            if o.fresh {
                events.push(Event::NotStarted);
            }
            if self.instance.is_persistent() {
                events.extend([Event::Hello, Event::Broken]);
            }
        }
        if let (Some(key), true) = (o.handed, self.instance.is_persistent()) {
            events.extend([true, false].map(|well| Event::Answered { key, well }));
        }
        events.push(Event::Answered { key: Key(99), well: true });
        for (which, begun) in [(0, true), (1, false)] {
            if o.asks[which] + o.late[which] > 0 {
                events.push(Event::Arrived { key: self.free_key(), begun });
            }
        }
        for key in o.held.keys().map(|key| Key(*key)) {
            events.extend([true, false].map(|hurry| Event::Cancelled { key, hurry }));
            events.push(Event::Overtaken(key));
        }
        events
    }

    /// The state without the time it is, and without the names that items happen to have.
    fn normal(&self) -> (Instance, Outside, Option<u64>) {
        let mut instance = self.instance.clone();
        let now = self.now;
        let future = |at: &mut Mono| *at = Mono(at.nanos_from(now));
        let past = |at: &mut Mono, most: Duration| {
            *at = Mono(now.nanos_from(*at).min(most.as_nanos() as u64));
        };
        match &mut instance.process {
            Process::Absent { until: Some(at) } | Process::Starting { until: at } => future(at),
            _ => {}
        }
        if let Phase::Stopping { notice, end } = &mut instance.phase {
            notice.iter_mut().for_each(future);
            end.iter_mut().for_each(future);
        }
        if let Some(hand) = &mut instance.hand {
            past(&mut hand.since, STEP);
            hand.limit.iter_mut().for_each(future);
            hand.stop.iter_mut().for_each(|stop| future(&mut stop.until));
        }
        past(&mut instance.last_start, rules(Mode::PerItem).restart_longest);
        instance.vain = instance.vain.min(3);
        let since_start = self.last_start.map(|at| self.now.nanos_from(at).min(2_000_000_000));
        let mut outside = self.outside.clone();
        outside.held.clear();
        for (name, key) in (0..).zip(keys(&mut instance)) {
            outside.held.extend(self.outside.held.get(&key.0).map(|begun| (name, *begun)));
            if self.outside.handed == Some(*key) {
                outside.handed = Some(Key(name));
            }
            *key = Key(name);
        }
        (instance, outside, since_start)
    }

    /// From here, told to end: whatever the participant does not do, it is over in time.
    fn ends_in_time(mut self) {
        self.step(Event::Shutdown);
        let rules = self.instance.rules;
        let limit = self.now.after(rules.shutdown + UNDYING);
        while !self.instance.is_finished() {
            let is_over = self.outside.killed && self.instance.hand.is_none();
            if is_over {
                self.step(Event::Died { well: false, unread: false });
            } else {
                let next = self.instance.deadline();
                self.now = next.unwrap_or_else(|| panic!("stuck: {:?}", self.instance));
                self.step(Event::Tick);
            }
            assert!(self.now <= limit, "ends too late: {:?}", self.instance);
        }
    }
}

#[test]
fn no_reachable_state_breaks_a_rule_and_each_ends_in_time() {
    for mode in [Mode::PerItem, Mode::Persistent] {
        let first = World::new(mode);
        let mut seen = HashSet::from([first.normal()]);
        let mut open = vec![first];
        let mut transitions = 0_u64;
        while let Some(world) = open.pop() {
            world.clone().ends_in_time();
            let mut times = vec![world.now];
            let deadline = world.instance.deadline();
            let later = world.now.after(STEP);
            times.extend(deadline);
            if deadline.is_none_or(|at| later < at) {
                times.push(later);
            }
            for now in times {
                let mut at = world.clone();
                at.now = at.now.max(now);
                // Who is late hears of its deadline first.
                if at.instance.deadline().is_some_and(|deadline| deadline <= at.now) {
                    at.step(Event::Tick);
                }
                for event in at.events() {
                    let mut next = at.clone();
                    next.step(event);
                    transitions += 1;
                    if seen.insert(next.normal()) {
                        open.push(next);
                    }
                }
            }
        }
        assert!(seen.len() > 500 && transitions > 5_000, "{} {transitions}", seen.len());
    }
}

/// Takes what happens to be drawn, for a long time.
#[test]
fn random_histories_break_no_rule() {
    let mut bits = 0x2026_1125_u64;
    let mut draw = move |n: usize| {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        (bits >> 11) as usize % n
    };
    for mode in [Mode::PerItem, Mode::Persistent] {
        for _ in 0..2_000 {
            let mut world = World::new(mode);
            for _ in 0..200 {
                world.now = world.now.after(Duration::from_millis(draw(400) as u64));
                let mut events = world.events();
                // Rare, or nothing else would be seen.
                if draw(40) > 0 {
                    events.retain(|event| !matches!(event, Event::Shutdown | Event::Drain));
                }
                let event = events[draw(events.len())];
                world.step(event);
            }
            world.ends_in_time();
        }
    }
}

fn working(mode: Mode) -> World {
    let mut world = World::new(mode);
    if mode == Mode::Persistent {
        world.step(Event::Hello);
    }
    world.step(Event::Arrived { key: Key(0), begun: true });
    world
}

fn answer(world: &mut World, key: u32) -> Vec<Action> {
    world.step(Event::Answered { key: Key(key), well: true })
}

#[test]
fn a_quick_participant_has_the_next_items_at_hand() {
    let mut world = working(Mode::Persistent);
    let all = answer(&mut world, 0);
    assert_eq!(all, [Action::Finish(Key(0), How::Said), Action::Ask(Ask::Now)]);
    let ahead = Action::Ask(Ask::Ahead);
    let all = world.step(Event::Arrived { key: Key(1), begun: true });
    assert_eq!(all, [Action::HandOver(Key(1)), ahead, ahead]);
    assert_eq!(world.step(Event::Arrived { key: Key(2), begun: false }), []);
    assert_eq!(world.step(Event::Arrived { key: Key(3), begun: false }), []);
    // One commit can take all of it.
    for key in [1, 2] {
        let all = answer(&mut world, key);
        let both = [Action::Finish(Key(key), How::Said), Action::Begin(Key(key + 1))];
        assert_eq!(all[..2], both);
        assert_eq!(all[2..], [Action::HandOver(Key(key + 1)), ahead]);
    }
}

#[test]
fn who_takes_longer_has_one_item_at_hand_and_who_takes_long_none() {
    for (taken, asks) in [(BRISK, 2), (2 * BRISK, 1), (QUICK, 1), (2 * QUICK, 0)] {
        let mut world = working(Mode::Persistent);
        world.now = world.now.after(taken);
        answer(&mut world, 0);
        let all = world.step(Event::Arrived { key: Key(1), begun: true });
        assert_eq!(all.len(), 1 + asks, "{taken:?}");
    }
}

#[test]
fn what_is_at_hand_is_given_back_where_the_item_in_hand_takes_longer_and_none_is_asked_for_again() {
    let mut world = working(Mode::Persistent);
    answer(&mut world, 0);
    world.step(Event::Arrived { key: Key(1), begun: true });
    world.step(Event::Arrived { key: Key(2), begun: false });
    world.now = world.instance.deadline().unwrap();
    let all = world.step(Event::Tick);
    assert_eq!(all, [Action::Withdraw(Ask::Ahead), Action::GiveBack(Key(2))]);
    // It was on its way.
    let all = world.step(Event::Arrived { key: Key(3), begun: false });
    assert_eq!(all, [Action::GiveBack(Key(3))]);
    world.now = world.now.after(BRISK);
    let all = answer(&mut world, 1);
    assert_eq!(all, [Action::Finish(Key(1), How::Said), Action::Ask(Ask::Now)]);
    assert_eq!(world.step(Event::Arrived { key: Key(3), begun: true }), [Action::HandOver(Key(3))]);
}

#[test]
fn an_item_that_takes_too_long_is_stopped_then_killed_then_settled_in_five_seconds() {
    for mode in [Mode::PerItem, Mode::Persistent] {
        let mut world = working(mode);
        let begun = world.now;
        let mut all = vec![];
        while world.instance.hand.is_some() {
            world.now = world.instance.deadline().unwrap();
            all.extend(world.step(Event::Tick));
        }
        let (key, late) = (Key(0), How::Late);
        let expected = [Action::Cancel(key, Why::Late), Action::Kill, Action::Finish(key, late)];
        assert_eq!(all, expected);
        assert!(world.now <= begun.after(rules(mode).item.unwrap() + Duration::from_secs(5)));
    }
}

#[test]
fn a_crash_is_told_as_a_crash_even_where_the_socket_closes_first() {
    let mut world = working(Mode::Persistent);
    assert_eq!(world.step(Event::Broken), [Action::Cancel(Key(0), Why::Broken)]);
    let all = world.step(Event::Died { well: false, unread: false });
    assert_eq!(all[0], Action::Finish(Key(0), How::Died));
    let mut world = working(Mode::Persistent);
    world.step(Event::Broken);
    world.now = world.now.after(CLOSED);
    assert_eq!(world.step(Event::Tick), [Action::Kill]);
    assert_eq!(
        world.step(Event::Died { well: false, unread: false })[0],
        Action::Finish(Key(0), How::Broken)
    );
}

#[test]
fn work_that_a_shutdown_cuts_short_is_interrupted_and_what_ends_in_time_counts() {
    for mode in [Mode::PerItem, Mode::Persistent] {
        let mut world = working(mode);
        world.instance.hand.as_mut().unwrap().limit = None;
        world.step(Event::Shutdown);
        world.now = world.instance.deadline().unwrap();
        assert_eq!(world.step(Event::Tick), [Action::TellEnd]);
        world.now = world.instance.deadline().unwrap();
        assert_eq!(world.step(Event::Tick), [Action::Kill, Action::Interrupt(Key(0))]);
        world.step(Event::Died { well: false, unread: false });
        assert!(world.instance.is_finished());
    }
    let mut world = working(Mode::PerItem);
    world.step(Event::Shutdown);
    // Of its own, before it was told anything.
    let all = world.step(Event::Died { well: false, unread: false });
    assert_eq!(all, [Action::Finish(Key(0), How::Said)]);
}

#[test]
fn a_program_that_cannot_be_run_costs_no_item_a_try() {
    let mut world = working(Mode::PerItem);
    assert_eq!(world.step(Event::NotStarted), [Action::Interrupt(Key(0))]);
    world.now = world.instance.deadline().unwrap();
    assert_eq!(world.step(Event::Tick), [Action::Ask(Ask::Now)]);
}
