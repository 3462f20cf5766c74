//! The worker: one loop for broker, participants and whoever asks.

mod act;
mod answer;
mod cancels;
mod control;
mod crowd;
mod drops;
mod follow;
mod hear;
mod large;
mod link;
mod log;
mod moments;
mod not_started;
mod one_item;
mod peer;
mod printed;
mod refusal;
mod settle;
mod slot;
mod to_keeper;
mod told;
mod troubles;
mod usage;
mod wait;
mod way;

use crate::keeper::{self, WorkerEnds};
use crate::order::Order;
use crate::settings::{self, BrokerKind, Life, Settings};
use ::log::{error, info, warn};
use cancels::Cancels;
use control::Control;
use drops::Drops;
use large::Large;
use link::AT_ONCE;
use log::Log;
use machine::exo::{Event, Key, Mode, Rules};
use machine::time::{Mono, earlier};
use machine::work::{Fault, Kind, Limit};
use slot::Slot;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use sys::linux::errno::Errno;
use sys::linux::{fd, time};
use sys::program::TROUBLE;
use to_keeper::{ToKeeper, Wrong};
use troubles::Troubles;
use way::Way;
use work::amqp::{self, Rabbit};
use work::embedded::{self, Keep};
use work::{Broker, Clock, DropFolder, Embedded, Now, Place, Policy};

/// The clocks of this machine.
pub struct Clocks {
    boot: String,
}

impl Clocks {
    /// Learns which boot this is. Where that cannot be known, what was measured in an earlier one
    /// would count for ever: no store may be opened then.
    ///
    /// # Errors
    /// Why it is not known, in words.
    pub fn of_this_boot() -> Result<Arc<Self>, String> {
        let unable = |why: &str| format!("unable to open the store: unable to read {BOOT}: {why}");
        let boot = std::fs::read_to_string(BOOT).map_err(|why| {
            let why = why.raw_os_error().map_or_else(|| why.to_string(), |n| Errno(n).to_string());
            unable(&why)
        })?;
        match boot.trim() {
            "" => Err(unable("it is empty")),
            boot => Ok(Arc::new(Self { boot: boot.to_owned() })),
        }
    }
}

/// Tells one boot from all others.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

impl Clock for Clocks {
    fn now(&self) -> Now {
        Now { mono: now(), wall: moments::wall(time::wall()) }
    }

    fn boot(&self) -> String {
        self.boot.clone()
    }
}

fn now() -> Mono {
    Mono(time::monotonic())
}

/// Items that all instances have at hand together, one each in any case: each is in memory.
const AHEAD: usize = 256;
/// The same of RabbitMQ, which hands out a smaller number before they are acknowledged.
const FETCHED: usize = 128;

/// What the whole exo does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Draining,
    Stopping,
}

/// Items that ended since this exo began, as the store has them.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    done: u64,
    failed: u64,
    cancelled: u64,
}

impl Settled {
    /// Returns the number of those that ended like this one.
    const fn of(&mut self, fault: Fault) -> &mut u64 {
        match fault.kind() {
            Kind::Done => &mut self.done,
            Kind::Retryable | Kind::Final => &mut self.failed,
            Kind::Cancelled => &mut self.cancelled,
        }
    }
}

struct Worker {
    settings: Settings,
    broker: Box<dyn Broker>,
    keeper: ToKeeper,
    control: Control,
    cancels: Cancels,
    /// Sees files that arrive in the drop folder.
    drops: Option<Drops>,
    log: Log,
    slots: Vec<Slot>,
    large: Large,
    /// What happened to an instance and was not told its machine yet.
    events: VecDeque<(usize, Event)>,
    phase: Phase,
    /// Whose output is read first.
    turn: usize,
    keys: u32,
    /// What the broker cannot do at the moment.
    trouble: Option<String>,
    /// What went wrong so far.
    troubles: Troubles,
    is_ready: bool,
    /// Items settled, by how they ended.
    settled: Settled,
    /// Where bytes are read to.
    room: Vec<u8>,
    /// Exit code, once all is to end at once.
    over: Option<i32>,
    /// Another exo takes our place, once nothing is in hand.
    is_replaced: bool,
    /// How far that is.
    way: Way,
    /// There are descriptors for what starts need that are yet to come.
    is_roomy: bool,
    /// Exit code where it ends in good order.
    code: i32,
    begun: Mono,
}

/// Runs the worker until it is told to end; returns the exit code.
#[must_use]
pub fn run(settings: Settings, ends: WorkerEnds) -> i32 {
    let broker = match open(&settings) {
        Ok(broker) => broker,
        Err(why) => {
            error!("{why}");
            return TROUBLE;
        }
    };
    let rules = rules(&settings);
    let names = settings.instance_names();
    let slots = (0..).zip(names).map(|(number, name)| Slot::new(name, number, rules)).collect();
    let drops = Drops::watch(&settings, now());
    let control = Control::new(
        ends.control,
        ends.keeper_pid.cast_unsigned(),
        ends.participant_uid,
        &settings,
    );
    let mut worker = Worker {
        broker,
        keeper: ToKeeper::new(ends.keeper),
        control,
        cancels: Cancels::default(),
        drops,
        log: Log::new(),
        slots,
        large: Large::new(settings.instances),
        events: VecDeque::new(),
        phase: match settings.life {
            Life::Service { is_drained: true } => Phase::Draining,
            Life::Service { is_drained: false } | Life::Session => Phase::Running,
        },
        turn: 0,
        keys: 0,
        trouble: None,
        troubles: Troubles::new(),
        is_ready: false,
        settled: Settled::default(),
        room: vec![0; AT_ONCE],
        over: None,
        is_replaced: false,
        way: Way::default(),
        is_roomy: keeper::are_plenty(settings.instances),
        code: 0,
        begun: now(),
        settings,
    };
    // What was dropped behind the first look, and before the folder was watched.
    worker.broker.collect();
    worker.work()
}

fn open(settings: &Settings) -> Result<Box<dyn Broker>, String> {
    match settings.broker.kind {
        BrokerKind::Embedded => open_embedded(settings),
        BrokerKind::RabbitMq => open_rabbitmq(settings),
    }
}

fn policy(settings: &Settings) -> Policy {
    let limit = Limit { tries: settings.tries, ..Limit::default() };
    let (backoff, largest) = (settings.backoff, settings.item_limit);
    Policy { limit, backoff, largest, ..Policy::default() }
}

const fn keep(settings: &Settings) -> Keep {
    Keep { age: settings.keep, size: settings.keep_size }
}

fn open_rabbitmq(settings: &Settings) -> Result<Box<dyn Broker>, String> {
    let at = &settings.broker;
    let broker = Rabbit::open(&amqp::Settings {
        place: Place::new(&settings.store),
        clock: Clocks::of_this_boot()?,
        safety: settings.safety,
        policy: policy(settings),
        keep: keep(settings),
        server: at.server(),
        queue: amqp::Queue {
            name: settings.queue.clone(),
            is_quorum: at.quorum,
            delivery_limit: at.delivery_limit,
            dead_letter_exchange: at.dead_letter_exchange.clone(),
        },
        reply_queue: at.reply_queue.clone(),
        item_limit: settings.item_limit,
        error_class: settings.error_class.clone(),
        air: at.air.then(|| amqp::Names {
            participant: settings.participant.clone(),
            instances: settings.instance_names().collect(),
            machine: sys::host::name(),
        }),
    });
    Ok(Box::new(broker.map_err(|trouble| trouble.to_string())?))
}

fn open_embedded(settings: &Settings) -> Result<Box<dyn Broker>, String> {
    let drop_folder =
        DropFolder::open(&drop_folder(settings), &settings.queue, settings.item_limit);
    let broker = Embedded::open(&embedded::Settings {
        place: Place::new(&settings.store),
        clock: Clocks::of_this_boot()?,
        safety: settings.safety,
        queue: settings.queue.clone(),
        policy: policy(settings),
        drop_folder: Some(drop_folder),
        keep: keep(settings),
        error_class: settings.error_class.clone(),
    });
    Ok(Box::new(broker.map_err(|trouble| trouble.to_string())?))
}

fn drop_folder(settings: &Settings) -> std::path::PathBuf {
    settings.spool.join(&settings.queue)
}

fn rules(settings: &Settings) -> Rules {
    let mode = match settings.mode {
        settings::Mode::PerItem => Mode::PerItem,
        settings::Mode::Persistent => Mode::Persistent,
    };
    let times = settings.times;
    let ahead = match settings.broker.kind {
        BrokerKind::Embedded => AHEAD,
        BrokerKind::RabbitMq => FETCHED,
    };
    Rules {
        mode,
        start: times.start,
        item: times.item,
        cancel: times.cancel,
        shutdown: times.shutdown,
        restart: times.restart,
        restart_longest: times.restart_longest,
        ahead: (ahead / usize::from(settings.instances.max(1))).clamp(1, machine::exo::MOST_AHEAD),
    }
}

impl Worker {
    fn work(&mut self) -> i32 {
        info!(
            "{} takes items from the queue {}, {} at a time",
            self.settings.participant, self.settings.queue, self.settings.instances
        );
        let begun = if self.phase == Phase::Running { Event::Begun } else { Event::Drain };
        self.tell_all(begun);
        if self.settings.mode == settings::Mode::PerItem {
            self.ready();
        }
        loop {
            self.hear_broker();
            self.decide();
            self.log.flush(now());
            self.heed_log();
            self.make_way();
            if let Some(code) = self.over {
                return code;
            }
            if self.phase == Phase::Stopping && self.slots.iter().all(|s| s.machine.is_finished()) {
                return self.end();
            }
            self.answer_waiters();
            self.go_on_cancelling();
            self.share_out();
            self.decide();
            self.broker.flush();
            self.look_ahead();
            self.wait();
        }
    }

    /// Ends in good order: what was wished of the broker is granted when it is dropped.
    fn end(&mut self) -> i32 {
        /// As long as supervise and its logger need to go on.
        const PATIENCE: Duration = Duration::from_secs(2);
        let until = now().after(PATIENCE);
        while let Some(out) = self.log.interest()
            && now() < until
        {
            let _ = fd::poll(&mut [out], Some(until.nanos_from(now())));
            self.log.flush(now());
        }
        info!("{} ends", self.settings.participant);
        self.code
    }

    /// Tells the machines what happened and does what they say, until nothing follows any more.
    fn decide(&mut self) {
        let now = now();
        for slot in 0..self.slots.len() {
            if self.slots[slot].machine.deadline().is_some_and(|at| at <= now) {
                self.events.push_back((slot, Event::Tick));
            }
        }
        while let Some((slot, event)) = self.events.pop_front() {
            if !self.may_be_told(slot, event, now) {
                continue;
            }
            let mut actions = machine::exo::Actions::default();
            self.slots[slot].machine.step(event, now, &mut actions);
            while let Some(action) = actions.pop() {
                self.perform(slot, action);
            }
            if let Event::Died { .. } = event {
                self.death_is_told(slot);
            }
        }
    }

    /// Takes no item while much that was printed waits for a reader: a process for one item leaves
    /// some, whether there is room or not.
    fn heed_log(&mut self) {
        if let Some(is_full) = self.log.heed()
            && self.phase == Phase::Running
            && !self.is_replaced
        {
            self.tell_all(if is_full { Event::Drain } else { Event::Resume });
            self.decide();
        }
    }

    /// Tells all machines the same.
    fn tell_all(&mut self, event: Event) {
        self.events.extend((0..self.slots.len()).map(|slot| (slot, event)));
    }

    fn deadline(&self) -> Option<Mono> {
        // Who waits for the keeper is told of no time.
        let told = self.slots.iter().filter(|slot| !slot.is_recalling());
        let machines = told.map(|slot| slot.machine.deadline());
        let drops = self.drops.as_ref().and_then(Drops::deadline);
        let first = machines.fold(earlier(self.log.deadline(), drops), earlier);
        let asked = earlier(self.control.deadline(), self.cancels.deadline());
        let own = earlier(self.large.deadline(), self.way.deadline());
        let stuck = self.slots.iter().filter_map(Slot::deadline).min();
        let own = earlier(own, stuck);
        earlier(earlier(first, asked), own)
    }

    /// Says that items are taken, once.
    fn ready(&mut self) {
        if !self.is_ready {
            self.is_ready = true;
            self.order(&Order::Ready, &[]);
        }
    }

    /// Sends an order to the keeper. Tells whether it went out.
    fn order(&mut self, order: &Order, fds: &[i32]) -> bool {
        let Some(bytes) = order.encode() else { return false };
        let Err(wrong) = self.keeper.order(&bytes, fds) else { return true };
        self.keeper_failed(wrong, "order");
        false
    }

    /// Says what is wrong with the keeper; without one we have to end.
    fn keeper_failed(&mut self, wrong: Wrong, verb: &str) {
        match wrong {
            Wrong::Deaf => return warn!("the keeper does not listen"),
            Wrong::Gone if self.phase != Phase::Stopping => error!("the keeper is gone"),
            Wrong::Refused(why) if self.over.is_none() => {
                error!("unable to {verb} the keeper: {why}");
            }
            Wrong::Gone | Wrong::Refused(_) => {}
        }
        self.over = Some(TROUBLE);
    }

    fn shut_down(&mut self) {
        if self.phase != Phase::Stopping {
            info!("{} takes no more items and ends", self.settings.participant);
            self.phase = Phase::Stopping;
            self.tell_all(Event::Shutdown);
        }
    }

    fn new_key(&mut self) -> Key {
        self.keys = self.keys.wrapping_add(1);
        Key(self.keys)
    }
}
