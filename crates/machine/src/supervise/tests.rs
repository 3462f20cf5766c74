//! All reachable states and transitions, and random histories, against the rules in words.

use super::*;
use ondisk::control::COMMANDS;
use ondisk::record::Phase as Recorded;
use ondisk::status::Want;
use std::collections::HashSet;
use std::vec::Vec;
use std::{format, vec};

fn restored(want: Want, phase: Recorded) -> Restored {
    Restored {
        want,
        phase,
        paused: false,
        exit_asked: false,
        stopping: false,
        begun: !matches!(phase, Recorded::Down | Recorded::Failed),
        started: None,
    }
}

/// A machine, the time, and what the world outside must be like.
#[derive(Clone)]
struct World {
    machine: Machine,
    now: Mono,
    /// Last start of the service's `run`, for the spacing.
    last_run: [Option<Mono>; 2],
    hung_up: bool,
    last: [Option<Script>; 2],
}

impl World {
    fn new(paired: bool) -> Self {
        Self {
            machine: Machine::new(paired),
            now: Mono(1),
            last_run: [None; 2],
            hung_up: false,
            last: [None; 2],
        }
    }

    fn member(&self, which: Which) -> Option<Member> {
        self.machine.member(which).cloned()
    }

    /// Takes one step and checks every rule that a step can break.
    fn step(&mut self, event: Event) -> Actions {
        let before = self.clone();
        if let Event::Joined(which, found) = event {
            self.last[which as usize] = match found.phase {
                Recorded::Stopping => Some(Script::Stop),
                _ if found.begun => Some(Script::Run),
                _ => None,
            };
        }
        let mut out = Actions::default();
        self.machine.step(event, self.now, &mut out);
        let mut copy = out.clone();
        let mut launches = [false; 2];
        while let Some(action) = copy.pop() {
            self.check_action(action, &before, event);
            if let Action::Launch(which, _) = action {
                launches[which as usize] = true;
            }
        }
        if let Event::NotLaunched(which, _) | Event::Launched(which) = event {
            let waits = self.member(which).is_some_and(|member| member.launching().is_some());
            let context = || format!("{event:?} in {:?}", before.machine);
            assert!(!waits || launches[which as usize], "waits for what has come: {}", context());
        }
        for which in [Which::Service, Which::Logger] {
            if let Some(member) = self.member(which) {
                self.check_member(which, &member, event);
            }
        }
        if let Event::Launched(which) = event
            && self.last[which as usize] == Some(Script::Run)
        {
            self.last_run[which as usize] = Some(self.now);
        }
        out
    }

    fn check_action(&mut self, action: Action, before: &Self, event: Event) {
        let context = || format!("{action:?} after {event:?} in {:?}", before.machine);
        match action {
            Action::Launch(which, script) => {
                let member = before.member(which);
                let was_alive = member.as_ref().is_some_and(Member::has_process);
                let died = matches!(event, Event::Died { which: w, .. } if w == which);
                assert!(!was_alive || died, "two processes of one member: {}", context());
                let now = self.member(which).unwrap();
                assert_eq!(now.launching(), Some(script), "{}", context());
                if script != Script::Stop {
                    assert_ne!(
                        now.want(),
                        Want::Down,
                        "started though down is wanted: {}",
                        context()
                    );
                    assert!(!now.is_exit_asked(), "started though exit was asked: {}", context());
                }
                if let (Script::Run, Some(last)) = (script, self.last_run[which as usize]) {
                    assert!(last.after(SPACING) <= self.now, "too soon: {}", context());
                }
                if script == Script::Stop {
                    let last = self.last[which as usize];
                    // Again only where the first could not be made a process.
                    let again = matches!(event, Event::Tick);
                    let owed = last.is_some() && (last != Some(Script::Stop) || again);
                    assert!(owed, "`stop` is not owed: {}", context());
                }
                self.last[which as usize] = Some(script);
            }
            Action::Signal(which, ..) => {
                let alive = self.member(which).is_some_and(|m| m.has_process());
                assert!(alive, "a signal to nobody: {}", context());
            }
            Action::LetGo(which) => {
                self.last[which as usize] = None;
                let before = before.member(which).unwrap();
                let died = matches!(event, Event::Died { which: w, .. } if w == which);
                assert!(!before.has_process() || died, "let go of a process: {}", context());
            }
            Action::HangUp => {
                assert!(!self.hung_up, "hung up twice: {}", context());
                let service = self.member(Which::Service).unwrap();
                assert!(!service.is_held(), "hung up on a service: {}", context());
                self.hung_up = true;
            }
            Action::Join(which) => {
                let held = before.member(which).is_some_and(|m| m.is_held());
                assert!(!held, "joined twice: {}", context());
            }
            Action::Publish(_)
            | Action::NotifyStart(_)
            | Action::NotifyDeath(..)
            | Action::FindLogger => {}
        }
    }

    fn check_member(&self, which: Which, member: &Member, event: Event) {
        let context = || format!("{which:?} after {event:?}: {:?}", self.machine);
        let busy = member.has_process() || member.launching().is_some();
        if member.is_held() && member.want() == Want::Up && !member.is_exit_asked() {
            let settled = member.recorded() == Recorded::Started;
            assert!(busy || settled || member.deadline().is_some(), "forgotten: {}", context());
        }
        assert!(!member.is_paused() || member.has_process(), "nobody paused: {}", context());
        assert!(!member.is_stopping() || member.has_process(), "nobody stopped: {}", context());
        if member.is_held() && member.is_exit_asked() {
            let ends = busy || member.deadline().is_some();
            assert!(ends, "asked to exit and stays for ever: {}", context());
        }
        if self.machine.is_finished() {
            assert!(!busy, "left alone: {}", context());
        }
    }

    /// Every event that the world may send now, of the given alphabet.
    fn events(&self, commands: &[Command], exits: &[Exit], finds: &[Restored]) -> Vec<Event> {
        let mut events = vec![Event::Terminate];
        for which in [Which::Service, Which::Logger] {
            let Some(member) = self.member(which) else { continue };
            if member.is_held() {
                events.extend(commands.iter().map(|c| Event::Command(which, *c)));
                events.push(Event::NotPublished(which));
            }
            if member.launching().is_some() {
                let obstacles = [Obstacle::Absent, Obstacle::NotRun, Obstacle::NoProcess];
                events.push(Event::Launched(which));
                events.extend(obstacles.map(|o| Event::NotLaunched(which, o)));
            }
            if member.has_process() {
                for permanent in [false, true] {
                    events.extend(exits.iter().map(|&exit| Event::Died { which, exit, permanent }));
                }
            }
            if member.is_joining() {
                events.extend(finds.iter().map(|r| Event::Joined(which, *r)));
                let refusals = [Event::Occupied, Event::Delayed, Event::EntryGone];
                events.extend(refusals.map(|refusal| refusal(which)));
            }
        }
        if self.machine.logger.is_none()
            && self.member(Which::Service).is_some_and(|m| m.launching().is_some())
            && self.machine.paired
        {
            events.extend([true, false].map(|script| Event::LoggerFound { script }));
            events.push(Event::LoggerUnknown);
        }
        events
    }

    fn rebased(&self) -> Machine {
        let mut machine = self.machine.clone();
        machine.service.rebase(self.now);
        if let Some(logger) = &mut machine.logger {
            logger.rebase(self.now);
        }
        machine.find_at = machine.find_at.map(|at| Mono(at.nanos_from(self.now)));
        if let Ending::Draining { until, .. } = &mut machine.ending {
            *until = Mono(until.nanos_from(self.now));
        }
        machine
    }

    /// What follows at once, and what follows when the next deadline has come.
    fn successors(&self, commands: &[Command], exits: &[Exit], finds: &[Restored]) -> Vec<Self> {
        let mut next = Vec::new();
        for event in self.events(commands, exits, finds) {
            let mut world = self.clone();
            world.step(event);
            next.push(world);
        }
        if let Some(at) = self.machine.deadline() {
            let mut world = self.clone();
            world.now = world.now.max(at);
            world.step(Event::Tick);
            next.push(world);
        }
        next
    }
}

const PLAIN: [Command; 8] = [
    Command::Up,
    Command::Down,
    Command::Once,
    Command::Exit,
    Command::Pause,
    Command::Continue,
    Command::Signal(Signal::Kill),
    Command::Signal(Signal::Terminate),
];

fn every_find() -> Vec<Restored> {
    let phases = [
        Recorded::Down,
        Recorded::Due,
        Recorded::Starting,
        Recorded::Running,
        Recorded::Started,
        Recorded::Stopping,
        Recorded::Failed,
    ];
    let mut finds = Vec::new();
    for phase in phases {
        for want in [Want::Up, Want::Down, Want::Once] {
            let plain = restored(want, phase);
            finds.push(plain);
            finds.push(Restored { exit_asked: true, paused: true, ..plain });
            finds.push(Restored { stopping: true, begun: false, started: Some(Mono(1)), ..plain });
        }
    }
    finds
}

fn explore(start: World, commands: &[Command], exits: &[Exit], finds: &[Restored]) -> usize {
    let key = |w: &World| {
        let spaced = w.last_run.map(|at| at.map(|at| at.after(SPACING).nanos_from(w.now)));
        (w.rebased(), spaced, w.hung_up, w.last)
    };
    let mut seen = HashSet::from([key(&start)]);
    let mut frontier = vec![start];
    while let Some(world) = frontier.pop() {
        if world.machine.is_finished() {
            continue;
        }
        for next in world.successors(commands, exits, finds) {
            if seen.insert(key(&next)) {
                frontier.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn every_reachable_state_of_one_member_keeps_the_rules() {
    let exits = [Exit::Code(0), Exit::Code(1), Exit::Signal(9), Exit::Unknown];
    let states = explore(World::new(false), &PLAIN, &exits, &every_find());
    assert!(states > 500, "only {states} states were reached");
}

#[test]
fn every_reachable_state_of_a_pair_keeps_the_rules() {
    let commands = [Command::Up, Command::Down, Command::Exit];
    let finds = [restored(Want::Up, Recorded::Due), restored(Want::Down, Recorded::Running)];
    let mut start = World::new(true);
    start.step(Event::Joined(Which::Service, finds[0]));
    let states = explore(start, &commands, &[Exit::Code(0), Exit::Signal(9)], &finds);
    assert!(states > 5_000, "only {states} states were reached");
}

/// Small, seeded and repeatable; the seed is in the message of whatever fails.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

#[test]
fn random_histories_keep_the_rules_and_can_always_be_ended() {
    let long = std::env::var_os("SKYNET_LONG").is_some();
    let commands = COMMANDS.map(|(_, command)| command);
    let exits = [Exit::Code(0), Exit::Code(100), Exit::Signal(15), Exit::Unknown];
    for seed in 1..if long { 1_000_000 } else { 20_000 } {
        let mut random = Random(seed * 0x9e37_79b9);
        let mut world = World::new(random.below(2) == 0);
        let finds = every_find();
        for _ in 0..random.below(80) {
            world.now = world.now.after(Duration::from_millis(random.below(700) as u64));
            if world.machine.deadline().is_some_and(|at| at <= world.now) {
                world.step(Event::Tick);
            }
            let mut events = world.events(&commands, &exits, &finds);
            events.extend([Event::BurstOver(Which::Service), Event::BurstOver(Which::Logger)]);
            if world.machine.is_finished() {
                break;
            }
            world.step(events[random.below(events.len())]);
        }
        end(&mut world, seed);
    }
}

/// Told to terminate, with every process obeying, a supervise ends within a bounded time.
fn end(world: &mut World, seed: u64) {
    world.step(Event::Terminate);
    for _ in 0..60 {
        if world.machine.is_finished() {
            return;
        }
        let answers = world.events(&[], &[Exit::Code(0)], &[restored(Want::Up, Recorded::Due)]);
        let useful = |e: &Event| !{
            let looks = matches!(e, Event::LoggerFound { .. } | Event::LoggerUnknown);
            looks || matches!(e, Event::Terminate | Event::NotPublished(_))
        };
        if let Some(event) = answers.into_iter().find(useful) {
            world.step(event);
        } else if let Some(at) = world.machine.deadline() {
            world.now = world.now.max(at);
            world.step(Event::Tick);
        }
    }
    panic!("seed {seed}: not ended: {:?}", world.machine);
}

fn up() -> World {
    let mut world = World::new(true);
    world.step(Event::Joined(Which::Service, restored(Want::Up, Recorded::Down)));
    world.step(Event::Command(Which::Service, Command::Up));
    world.step(Event::NotLaunched(Which::Service, Obstacle::Absent));
    world.step(Event::Launched(Which::Service));
    world
}

fn did(out: &mut Actions) -> Vec<Action> {
    std::iter::from_fn(|| out.pop()).collect()
}

#[test]
fn a_service_that_lived_long_is_started_again_at_once() {
    let mut world = up();
    world.now = world.now.after(SPACING);
    let died = Event::Died { which: Which::Service, exit: Exit::Code(0), permanent: false };
    assert!(did(&mut world.step(died)).contains(&Action::Launch(Which::Service, Script::Run)));
}

#[test]
fn down_during_the_restart_delay_cancels_the_start() {
    let mut world = up();
    let died = Event::Died { which: Which::Service, exit: Exit::Code(1), permanent: false };
    world.step(died);
    assert_eq!(world.machine.deadline(), Some(world.now.after(SPACING)));
    let out = did(&mut world.step(Event::Command(Which::Service, Command::Down)));
    assert!(out.contains(&Action::Launch(Which::Service, Script::Stop)));
    world.step(Event::NotLaunched(Which::Service, Obstacle::Absent));
    assert_eq!(world.machine.deadline(), None);
}

#[test]
fn a_logger_that_could_not_be_looked_for_is_looked_for_again_while_its_service_lives() {
    let mut world = up();
    world.step(Event::LoggerUnknown);
    let at = world.machine.deadline().unwrap();
    assert_eq!(at, world.now.after(RETRY));
    world.now = at;
    assert!(did(&mut world.step(Event::Tick)).contains(&Action::FindLogger));
    assert_eq!(world.machine.deadline(), None);
}

#[test]
fn modifiers_end_with_their_burst_but_wait_for_a_client_that_writes_byte_by_byte() {
    let mut world = up();
    world.step(Event::LoggerFound { script: false });
    world.step(Event::Joined(Which::Logger, restored(Want::Up, Recorded::Running)));
    let signal = Command::Signal(Signal::Hangup);
    let from = Which::Service;
    for (bytes, over, expected) in [
        (vec![Command::Logger, signal], false, (Which::Logger, false)),
        (vec![signal], true, (Which::Logger, false)),
        (vec![Command::Group], true, (Which::Service, false)),
        (vec![signal], true, (Which::Service, true)),
        (vec![signal], true, (Which::Service, false)),
    ] {
        let mut sent = Vec::new();
        for byte in &bytes {
            sent.extend(did(&mut world.step(Event::Command(from, *byte))));
        }
        if over {
            world.step(Event::BurstOver(from));
        }
        if bytes.contains(&signal) {
            let kill = Kill::Named(Signal::Hangup);
            assert_eq!(sent, [Action::Signal(expected.0, kill, expected.1)]);
        }
    }
}

#[test]
fn what_is_ours_already_is_asked_for_until_it_is_had() {
    let mut world = World::new(false);
    for _ in 0..3 {
        world.step(Event::Delayed(Which::Service));
        assert!(!world.machine.is_finished());
        // The end that is asked for meanwhile comes once it is known what is to end.
        world.step(Event::Terminate);
        assert!(!world.machine.is_finished());
        world.now = world.machine.deadline().unwrap();
        assert_eq!(did(&mut world.step(Event::Tick)), [Action::Join(Which::Service)]);
    }
    let out = world.step(Event::Joined(Which::Service, restored(Want::Up, Recorded::Running)));
    let term = Action::Signal(Which::Service, Kill::Named(Signal::Terminate), false);
    assert!(did(&mut out.clone()).contains(&term));
    // Somebody else's is none of ours: a plain supervise ends.
    let mut world = World::new(false);
    world.step(Event::Occupied(Which::Service));
    assert!(world.machine.is_finished());
}

#[test]
fn modifiers_are_carried_on_to_the_next_machine() {
    let letters = [Command::Group, Command::Single, Command::Logger, Command::Service];
    let mut seen = HashSet::new();
    for from in [Which::Service, Which::Logger] {
        for first in letters {
            for second in letters {
                let mut before = World::new(true).machine;
                for byte in [first, second] {
                    before.step(Event::Command(from, byte), Mono(1), &mut Actions::default());
                }
                let mut after = World::new(true).machine;
                after.carry_on(from, before.modifiers(from));
                // What follows is of the same burst still; of none where nothing is left to say.
                after.step(Event::BurstOver(from), Mono(1), &mut Actions::default());
                assert_eq!(after.modifiers(from), before.modifiers(from));
                assert_eq!(after.bursts[from as usize].target, before.bursts[from as usize].target);
                seen.insert((from, after.modifiers(from)));
            }
        }
    }
    assert_eq!(seen.len(), 2 * 4);
}

#[test]
fn a_logger_reads_its_pipe_to_the_end_before_supervise_ends() {
    let mut world = up();
    world.step(Event::LoggerFound { script: false });
    world.step(Event::Joined(Which::Logger, restored(Want::Up, Recorded::Running)));
    let out = did(&mut world.step(Event::Terminate));
    assert!(!out.contains(&Action::HangUp));
    let died = |which| Event::Died { which, exit: Exit::Code(0), permanent: false };
    world.step(died(Which::Service));
    let out = did(&mut world.step(Event::NotLaunched(Which::Service, Obstacle::Absent)));
    assert!(out.contains(&Action::HangUp), "{out:?}");
    assert!(!world.machine.is_finished());
    world.step(died(Which::Logger));
    world.step(Event::NotLaunched(Which::Logger, Obstacle::Absent));
    assert!(world.machine.is_finished(), "{:?}", world.machine);
}
