//! All reachable states and transitions, and random histories, against the rules in words.

use super::*;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Arguments;
use std::vec::Vec;
use std::{format, vec};

mod scenes;

const STEP: Duration = Duration::from_millis(500);

fn rules(mode: Mode) -> Rules {
    looking_ahead(mode, 2)
}

fn looking_ahead(mode: Mode, ahead: usize) -> Rules {
    Rules {
        mode,
        start: Duration::from_secs(2),
        item: Some(Duration::from_secs(2)),
        cancel: Duration::from_millis(1500),
        shutdown: Duration::from_millis(5500),
        restart: Duration::from_millis(500),
        restart_longest: Duration::from_secs(1),
        ahead,
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
    /// Asks that stand, and those that were taken back and are not answered yet.
    asks: [usize; 2],
    back: [usize; 2],
    /// What is in our hands; `true`: begun.
    held: BTreeMap<u32, bool>,
    handed: Option<Key>,
    accepts: bool,
    stopping: bool,
    /// We do not hear what it says.
    kept_waiting: bool,
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
    fn new(rules: Rules) -> Self {
        let outside = Outside {
            alive: false,
            fresh: false,
            hello: false,
            killed: false,
            asks: [0; 2],
            back: [0; 2],
            held: BTreeMap::new(),
            handed: None,
            accepts: true,
            stopping: false,
            kept_waiting: false,
        };
        let start = Mono(1_000_000_000_000);
        let instance = Instance::new(rules);
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
                // Those are older.
                let asks = if o.back[which] > 0 { &mut o.back } else { &mut o.asks };
                asks[which] -= 1;
                o.held.insert(key.0, begun);
            }
            Event::Withdrawn(ask) => o.back[ask as usize] -= 1,
            Event::KeptWaiting(is_so) => o.kept_waiting = is_so,
            Event::Drain => o.accepts = false,
            Event::Resume => o.accepts = !o.stopping,
            Event::Shutdown => (o.accepts, o.stopping) = (false, true),
            _ => {}
        }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        // Put into words only where a rule is broken: there are millions of steps.
        let instance = self.instance.clone();
        let before = format_args!("{event:?} in {instance:?}");
        self.note(event);
        let mut out = Actions::default();
        self.instance.step(event, self.now, &mut out);
        let mut all = vec![];
        while let Some(action) = out.pop() {
            self.check(action, before);
            all.push(action);
        }
        self.check_state(before);
        all
    }

    /// What is told of the next start is what follows a death, however that comes.
    fn check_follower(&self) {
        let state = || format!("{:?}", self.instance);
        if self.instance.is_persistent() || self.instance.is_absent() {
            return assert_eq!(self.instance.follower(), None, "{}", state());
        }
        for well in [false, true] {
            let (mut out, mut started) = (Actions::default(), None);
            self.instance.clone().step(Event::Died { well, unread: false }, self.now, &mut out);
            while let Some(action) = out.pop() {
                if let Action::Start(item) = action {
                    started = item;
                }
            }
            assert_eq!(self.instance.follower(), started, "well: {well}, {}", state());
        }
    }

    fn check(&mut self, action: Action, before: Arguments<'_>) {
        let context = format_args!("{action:?} after {before}");
        let o = &mut self.outside;
        match action {
            Action::Ask(ask) => self.check_ask(ask, context),
            Action::Withdraw(ask) => {
                assert!(o.asks[ask as usize] > 0, "nothing to take back: {context}");
                o.asks[ask as usize] -= 1;
                o.back[ask as usize] += 1;
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
            Action::Kill | Action::GiveUp => {
                assert!(o.alive, "killed nobody: {context}");
                o.killed = true;
            }
        }
    }

    fn check_ask(&mut self, ask: Ask, context: Arguments<'_>) {
        let o = &mut self.outside;
        assert!(o.accepts, "asked though no item may come: {context}");
        assert_eq!(o.back[ask as usize], 0, "asked before it is known: {context}");
        o.asks[ask as usize] += 1;
        let both = o.asks[0] > 0 && o.asks[1] + o.back[1] > 0;
        assert!(!both, "one of them could have to wait though it is begun: {context}");
        let asks = o.asks[ask as usize];
        let all = asks + o.held.len().saturating_sub(1);
        let most = if ask == Ask::Now { 1 } else { self.instance.rules.ahead };
        assert!(all <= most, "asked too often: {context}");
    }

    fn check_state(&self, before: Arguments<'_>) {
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
            || o.back != [0; 2]
            || self.instance.deadline().is_some()
            || !o.accepts
            || o.killed
            || in_hand.is_some() && o.alive;
        assert!(waits, "sleeps for ever: {}", context());
        let begun = o.held.values().filter(|begun| **begun).count();
        assert_eq!(begun, usize::from(in_hand.is_some()), "begun and untouched: {}", context());
        assert!(o.held.len() <= 1 + self.instance.rules.ahead, "too many: {}", context());
        if self.instance.is_finished() {
            assert!(o.held.is_empty() && !o.alive && o.asks == [0; 2], "{}", context());
        }
    }

    fn free_key(&self) -> Key {
        Key((0..2 * MOST_AHEAD as u32).find(|key| !self.outside.held.contains_key(key)).unwrap())
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
            events.push(Event::Broken);
            if self.instance.is_persistent() {
                events.push(Event::Hello);
            }
        }
        if let (Some(key), true) = (o.handed, self.instance.is_persistent()) {
            let words = [Word::Done, Word::Failed, Word::GaveUp];
            events.extend(words.map(|word| Event::Answered { key, word }));
        }
        events.push(Event::Answered { key: Key(99), word: Word::Done });
        for (which, begun) in [(0, true), (1, false)] {
            if o.asks[which] + o.back[which] > 0 {
                events.push(Event::Arrived { key: self.free_key(), begun });
            }
            if o.back[which] > 0 {
                events.push(Event::Withdrawn(if begun { Ask::Now } else { Ask::Ahead }));
            }
        }
        if o.alive || o.kept_waiting {
            events.push(Event::KeptWaiting(!o.kept_waiting));
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
            Process::Absent { until: Some(at) }
            | Process::Starting { until: at }
            | Process::Closed { until: at } => future(at),
            _ => {}
        }
        if let Phase::Stopping { notice, end } = &mut instance.phase {
            notice.iter_mut().for_each(future);
            end.iter_mut().for_each(future);
        }
        if let Some(hand) = &mut instance.hand {
            past(&mut hand.since, STEP);
            if let Some(Limit::At(at)) = &mut hand.limit {
                future(at);
            }
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
        let first = World::new(rules(mode));
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
    for rules in [rules, brisk] {
        let mut most = 0;
        for mode in [Mode::PerItem, Mode::Persistent] {
            // Of each second one that is brisk as a rule.
            for usual in [400, 4].repeat(800) {
                let mut world = World::new(rules(mode));
                for _ in 0..200 {
                    let longest = if draw(20) > 0 { usual } else { 400 };
                    world.now = world.now.after(Duration::from_millis(draw(longest) as u64));
                    let mut events = world.events();
                    // Rare, or nothing else would be seen.
                    if draw(40) > 0 {
                        events.retain(|event| !matches!(event, Event::Shutdown | Event::Drain));
                    }
                    if draw(10) > 0 {
                        events.retain(|event| !is_a_wish_of_others(*event));
                    }
                    let arrives = |event: &Event| matches!(event, Event::Arrived { .. });
                    if draw(3) > 0 && events.iter().any(arrives) {
                        events.retain(arrives);
                    }
                    let event = events[draw(events.len())];
                    world.step(event);
                    world.check_follower();
                    most = most.max(world.instance.next.len());
                }
                world.ends_in_time();
            }
        }
        assert_eq!(most, rules(Mode::PerItem).ahead);
    }
}

fn brisk(mode: Mode) -> Rules {
    looking_ahead(mode, MOST_AHEAD)
}

/// There are as many of these as there are items.
const fn is_a_wish_of_others(event: Event) -> bool {
    matches!(event, Event::Cancelled { .. } | Event::Overtaken(_))
}
