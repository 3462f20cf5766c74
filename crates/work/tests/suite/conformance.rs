//! What every broker must do: one suite, whatever the queue is.

use machine::work::Fault;
use std::collections::HashSet;
use std::time::Duration;
use testkit::wait::holds_within;
use work::{Applied, Ask, Asked, Broker, By, Delivery, Ended, Event, JobId, Lease, NewJob, Wall};

/// A queue that the suite can be run on.
pub(crate) trait Rig {
    type Broker: Broker;

    /// Opens the queue `q` as one more taker.
    fn open(&self) -> Self::Broker;

    /// Takes a taker away as if its process had died, as far as that goes without a process.
    fn kill(&self, broker: Self::Broker);

    /// Returns the answers that are in the queue `replies`.
    fn answers(&self) -> Vec<Vec<u8>>;
}

/// Returns the next event that `wanted` picks; what else comes before it is dropped.
#[track_caller]
pub(crate) fn event<T>(broker: &mut impl Broker, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let mut found = None;
    let there = holds_within(Duration::from_secs(60), || {
        while found.is_none()
            && let Some(event) = broker.next()
        {
            found = wanted(event);
        }
        found.is_some()
    });
    assert!(there, "the event does not come");
    found.unwrap()
}

#[track_caller]
pub(crate) fn arrived(broker: &mut impl Broker) -> Delivery {
    event(broker, |event| match event {
        Event::Arrived(delivery) => Some(delivery),
        other => panic!("{other:?}"),
    })
}

#[track_caller]
pub(crate) fn settled(broker: &mut impl Broker) -> (Lease, Fault) {
    event(broker, |event| match event {
        Event::Settled { key, fault, .. } => Some((key, fault)),
        Event::Overtaken(key) => panic!("{key:?} is somebody else's"),
        _ => None,
    })
}

pub(crate) fn job(name: &str) -> NewJob {
    NewJob { reply_to: Some("replies".to_owned()), ..crate::support::job(name) }
}

#[track_caller]
pub(crate) fn send(broker: &mut impl Broker, name: &str) -> Option<JobId> {
    broker.send(7, job(name));
    event(broker, |event| match event {
        Event::Sent { ticket: 7, job } => Some(job.expect("it is taken")),
        _ => None,
    })
}

/// Returns what tells the items of these tests apart.
fn name(delivery: &Delivery) -> &str {
    delivery.job().identity.split('!').next().unwrap()
}

pub(crate) fn done() -> Ended {
    Ended { output: Some(b"{}".to_vec()), ..Ended::default() }
}

/// Nothing comes, as far as a question and its answer can tell.
#[track_caller]
pub(crate) fn silent(broker: &mut impl Broker) {
    let stranger = JobId(i64::MAX);
    broker.make(99, By::default(), Asked::Cancel(stranger, Fault::CANCELLED));
    event(broker, |event| match event {
        Event::Made { ticket: 99, .. } => Some(()),
        other => panic!("{other:?}"),
    });
}

/// Has a commit made, whatever else is told meanwhile.
#[track_caller]
pub(crate) fn committed(broker: &mut impl Broker) {
    broker.make(98, By::default(), Asked::Cancel(JobId(i64::MAX), Fault::CANCELLED));
    event(broker, |event| matches!(event, Event::Made { ticket: 98, .. }).then_some(()));
}

pub(crate) fn run(rig: &impl Rig) {
    an_item_is_taken_finished_and_answered(rig);
    one_ask_is_one_delivery(rig);
    ahead_can_be_given_back_or_begun(rig);
    what_is_interrupted_is_ready_for_another(rig);
    what_a_dead_taker_had_is_delivered_again(rig);
    a_cancel_reaches_who_works_on_it(rig);
    who_cancels_what_it_has_in_hand_itself_hears_of_it_at_once(rig);
    a_withdrawn_ask_is_not_granted(rig);
    each_ask_has_one_answer_also_where_it_is_taken_back(rig);
    what_nobody_looked_at_is_given_back_at_the_end(rig);
    many_items_are_each_answered_once(rig);
}

fn an_item_is_taken_finished_and_answered(rig: &impl Rig) {
    let mut broker = rig.open();
    let before = rig.answers().len();
    broker.ask(Ask::Now, "q_0");
    broker.send(7, job("first"));
    // Where the queue is elsewhere it may be here before it is known to be safe there.
    let (mut sent, mut came) = (None, None);
    event(&mut broker, |event| {
        match event {
            Event::Sent { ticket: 7, job } => sent = Some(job.expect("it is taken")),
            Event::Arrived(delivery) => came = Some(delivery),
            other => panic!("{other:?}"),
        }
        (sent.is_some() && came.is_some()).then_some(())
    });
    let (id, delivery) = (sent.flatten(), came.unwrap());
    let told = delivery.job();
    assert_eq!((told.begun, told.attempt, &*told.instance), (true, 1, "q_0"));
    assert!(id.is_none_or(|id| id == told.lease.job), "another's");
    assert_eq!(told.item, crate::support::item("first"));
    let key = delivery.key();
    broker.finish(delivery, done());
    assert_eq!(settled(&mut broker), (key, Fault::NONE));
    assert_eq!(rig.answers().len(), before + 1, "answered by the time it is settled");
}

fn one_ask_is_one_delivery(rig: &impl Rig) {
    let mut broker = rig.open();
    for name in ["one", "two"] {
        send(&mut broker, name);
    }
    silent(&mut broker);
    broker.ask(Ask::Now, "q_0");
    let one = arrived(&mut broker);
    silent(&mut broker);
    // An idle one elsewhere gets the other.
    let mut idle = rig.open();
    idle.ask(Ask::Now, "q_0");
    let two = arrived(&mut idle);
    assert_eq!((name(&one), name(&two)), ("one", "two"));
    broker.finish(one, done());
    idle.finish(two, done());
    settled(&mut broker);
    settled(&mut idle);
}

fn ahead_can_be_given_back_or_begun(rig: &impl Rig) {
    let mut broker = rig.open();
    send(&mut broker, "ahead");
    broker.ask(Ask::Ahead, "q_0");
    let delivery = arrived(&mut broker);
    assert!(!delivery.job().begun);
    broker.give_back(delivery);
    broker.ask(Ask::Ahead, "q_1");
    let mut delivery = arrived(&mut broker);
    assert_eq!(delivery.job().attempt, 1, "giving back is no attempt");
    broker.begin(&mut delivery, "q_1", Wall(7));
    broker.stage(&delivery, Some("push".to_owned()));
    let key = delivery.key();
    broker.finish(delivery, done());
    let staged = |event| if let Event::Staged(key) = event { Some(key) } else { None };
    assert_eq!(event(&mut broker, staged), key, "it is told first");
    assert_eq!(settled(&mut broker).1, Fault::NONE);
}

fn what_is_interrupted_is_ready_for_another(rig: &impl Rig) {
    let (mut first, mut second) = (rig.open(), rig.open());
    send(&mut first, "interrupted");
    first.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut first);
    second.ask(Ask::Now, "q_0");
    silent(&mut second);
    first.interrupt(delivery, Ended::default());
    first.flush();
    let again = arrived(&mut second);
    assert_eq!(again.job().attempt, 2);
    second.finish(again, done());
    settled(&mut second);
}

fn what_a_dead_taker_had_is_delivered_again(rig: &impl Rig) {
    let mut first = rig.open();
    send(&mut first, "orphan");
    first.ask(Ask::Ahead, "q_0");
    let key = arrived(&mut first).key();
    rig.kill(first);
    let mut second = rig.open();
    second.ask(Ask::Now, "q_0");
    let again = arrived(&mut second);
    assert_eq!(again.key().job, key.job);
    assert_ne!(again.key(), key);
    second.finish(again, done());
    settled(&mut second);
}

fn a_cancel_reaches_who_works_on_it(rig: &impl Rig) {
    let (mut worker, mut other) = (rig.open(), rig.open());
    send(&mut worker, "unwanted");
    worker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut worker);
    let id = delivery.key().job;
    let before = rig.answers().len();
    for asked in [Fault::CANCELLED, Fault::KILLED] {
        other.make(3, By::default(), Asked::Cancel(id, asked));
        let made = event(&mut other, |event| match event {
            Event::Made { ticket: 3, made } => Some(made),
            _ => None,
        });
        assert_eq!(made, Ok(Applied::Done));
        let told = event(&mut worker, |event| match event {
            Event::Cancelled { key, why } => Some((key, why)),
            _ => None,
        });
        assert_eq!(told, (delivery.key(), asked));
    }
    worker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    assert_eq!(settled(&mut worker).1, Fault::KILLED);
    assert_eq!(rig.answers().len(), before, "nobody is answered");
}

fn who_cancels_what_it_has_in_hand_itself_hears_of_it_at_once(rig: &impl Rig) {
    let mut broker = rig.open();
    send(&mut broker, "unwanted here");
    broker.ask(Ask::Now, "q_0");
    let delivery = arrived(&mut broker);
    let id = delivery.key().job;
    broker.make(4, By::default(), Asked::Cancel(id, Fault::CANCELLED));
    event(&mut broker, |event| matches!(event, Event::Made { ticket: 4, .. }).then_some(()));
    // Asked behind it: were it heard of only later, this would be answered first.
    broker.make(5, By::default(), Asked::Cancel(JobId(i64::MAX), Fault::CANCELLED));
    let told = event(&mut broker, |event| match event {
        Event::Cancelled { key, .. } => Some(key),
        other => panic!("{other:?}"),
    });
    assert_eq!(told, delivery.key());
    event(&mut broker, |event| matches!(event, Event::Made { ticket: 5, .. }).then_some(()));
    broker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    assert_eq!(settled(&mut broker).1, Fault::CANCELLED);
}

fn a_withdrawn_ask_is_not_granted(rig: &impl Rig) {
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    broker.withdraw(Ask::Now, "q_0");
    assert_eq!(withdrawn(&mut broker), (Ask::Now, "q_0".to_owned()));
    send(&mut broker, "left");
    silent(&mut broker);
    broker.ask(Ask::Now, "q_1");
    let delivery = arrived(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
}

fn each_ask_has_one_answer_also_where_it_is_taken_back(rig: &impl Rig) {
    const ASKS: usize = 16;
    let mut broker = rig.open();
    for round in 0..20 {
        for n in 0..round % 7 {
            send(&mut broker, &format!("of {round}, {n}"));
        }
        for _ in 0..ASKS {
            broker.ask(Ask::Ahead, "q_0");
        }
        // Some are granted by now, some are being.
        if round % 2 > 0 {
            broker.flush();
        }
        for _ in 0..ASKS {
            broker.withdraw(Ask::Ahead, "q_0");
        }
        let mut here = Vec::new();
        for _ in 0..ASKS {
            here.extend(event(&mut broker, |event| match event {
                Event::Arrived(delivery) => Some(Some(delivery)),
                Event::Withdrawn { ask: Ask::Ahead, .. } => Some(None),
                other => panic!("{other:?}"),
            }));
        }
        silent(&mut broker);
        for delivery in here {
            broker.give_back(delivery);
        }
        for _ in 0..round % 7 {
            broker.ask(Ask::Now, "q_0");
            let delivery = arrived(&mut broker);
            broker.finish(delivery, done());
            settled(&mut broker);
        }
    }
}

#[track_caller]
fn withdrawn(broker: &mut impl Broker) -> (Ask, String) {
    event(broker, |event| match event {
        Event::Withdrawn { ask, instance } => Some((ask, instance)),
        other => panic!("{other:?}"),
    })
}

fn what_nobody_looked_at_is_given_back_at_the_end(rig: &impl Rig) {
    let mut broker = rig.open();
    for name in ["unseen", "unseen too"] {
        send(&mut broker, name);
    }
    broker.ask(Ask::Now, "q_0");
    broker.ask(Ask::Ahead, "q_0");
    // Both are on their way, or here, and this end does not look.
    drop(broker);
    let mut next = rig.open();
    for _ in 0..2 {
        next.ask(Ask::Now, "q_0");
        let delivery = arrived(&mut next);
        assert!(delivery.job().attempt <= 2 && delivery.job().begun);
        next.finish(delivery, done());
        settled(&mut next);
    }
}

fn many_items_are_each_answered_once(rig: &impl Rig) {
    const ITEMS: usize = 60;
    let before = rig.answers().len();
    let mut brokers = [rig.open(), rig.open(), rig.open()];
    for n in 0..ITEMS {
        brokers[0].send(n as u64, job(&format!("many {n}")));
    }
    for broker in &mut brokers {
        broker.ask(Ask::Now, "q_0");
        broker.ask(Ask::Now, "q_1");
    }
    let mut seen = HashSet::new();
    let mut left = ITEMS;
    let all = holds_within(Duration::from_secs(60), || {
        for broker in &mut brokers {
            while let Some(event) = broker.next() {
                match event {
                    Event::Arrived(delivery) => {
                        assert!(seen.insert(delivery.key().job), "delivered twice");
                        broker.finish(delivery, done());
                        broker.ask(Ask::Now, "q_0");
                    }
                    Event::Settled { .. } => left -= 1,
                    Event::Sent { job, .. } => drop(job.expect("it is taken")),
                    other => panic!("{other:?}"),
                }
            }
        }
        left == 0
    });
    assert!(all, "{left} are left");
    assert_eq!(rig.answers().len(), before + ITEMS);
}
