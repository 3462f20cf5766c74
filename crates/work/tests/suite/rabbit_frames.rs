//! The connection ends behind each frame of AMQP that an item's life takes, with a real RabbitMQ.

use crate::conformance::{done, event, settled};
use crate::rabbit::{GOOD, REPLIES, Remote, delivered};
use crate::support::{item, job};
use machine::work::{Backoff, Fault};
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::Rabbit;
use testkit::until;
use work::{Ask, Broker, Delivery, Ended, Event, NewJob, Policy, amqp};

/// Where items are forwarded to.
const NEXT: &str = "next";

/// What there is to an item's life beside what all have: consume, deliver, publish, confirm, acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Plain,
    /// It fails once, and rests.
    TriedAgain,
    /// An item is sent to another queue.
    Forwards,
    /// The connection is made.
    Connects,
}

struct Sweep {
    proxy: Proxy,
    rig: Remote,
    client: amqp::Client,
    broker: amqp::Rabbit,
}

impl Sweep {
    fn new() -> Self {
        let proxy = Proxy::to(Rabbit::shared().port());
        let backoff = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
        let policy = Policy { backoff, ..Policy::default() };
        let rig = Remote { policy, ..Remote::by(proxy.port()) };
        let mut client = rig.client();
        client.declare(NEXT).unwrap();
        let broker = amqp::Rabbit::open(&rig.settings()).unwrap();
        Self { proxy, rig, client, broker }
    }

    fn ask(&mut self) {
        self.broker.ask(Ask::Now, "q_0");
        self.broker.flush();
    }

    /// Takes an ask back for which nothing may have come.
    #[track_caller]
    fn withdraw(&mut self) {
        self.broker.withdraw(Ask::Now, "q_0");
        event(&mut self.broker, |event| match event {
            Event::Withdrawn { .. } => Some(()),
            Event::Arrived(_) => panic!("it is done once more"),
            _ => None,
        });
    }

    fn consumers(&self) -> usize {
        Rabbit::shared().consumers(&self.rig.server.vhost, "q")
    }

    /// Has it be connected, and nothing asked for.
    fn rest(&mut self) {
        self.ask();
        until(20, || self.consumers() == 1);
        self.withdraw();
        until(20, || self.consumers() == 0);
        // The next connection is tried soon.
        self.rig.clock.pass(GOOD);
    }

    #[track_caller]
    fn delivered(&mut self, name: &str) -> Delivery {
        let delivery = delivered(&mut self.broker);
        assert_eq!(delivery.job().item, item(name), "one was done twice");
        delivery
    }

    /// Has one item go through its life, until nothing is left of it in its queue.
    fn live(&mut self, life: Life, name: &str) {
        self.ask();
        self.client.publish("q", &item(name)).unwrap();
        let mut delivery = self.delivered(name);
        if life == Life::TriedAgain {
            self.broker.finish(delivery, Ended { fault: Fault(3), ..done() });
            assert_eq!(settled(&mut self.broker).1, Fault(3));
            self.ask();
            delivery = self.delivered(name);
            assert_eq!(delivery.job().attempt, 2);
        }
        if life == Life::Forwards {
            self.broker.send(1, NewJob { queue: NEXT.to_owned(), ..job(name) });
            event(&mut self.broker, |event| match event {
                Event::Sent { ticket: 1, job } => Some(job.unwrap()),
                _ => None,
            });
        }
        self.broker.finish(delivery, Ended { output: Some(answer(name)), ..done() });
        assert_eq!(settled(&mut self.broker).1, Fault::NONE);
        // What comes again is asked for.
        self.ask();
        until(60, || self.rig.messages("q") == (0, 0));
        self.withdraw();
    }

    /// Returns how often each message is in a queue, and takes them out.
    fn all_of(&mut self, queue: &str) -> BTreeMap<Vec<u8>, usize> {
        let mut client = self.rig.client();
        client.consume(queue).unwrap();
        let mut counts = BTreeMap::new();
        while self.rig.messages(queue) != (0, 0) {
            if let Some(message) = client.next(Duration::from_secs(5)).unwrap() {
                client.acknowledge(&message).unwrap();
                *counts.entry(message.body).or_insert(0) += 1;
            }
        }
        counts
    }
}

fn answer(name: &str) -> Vec<u8> {
    format!("{{\"n\":\"{name}\"}}").into_bytes()
}

/// Each of these is there, at most once more than once, and nothing else.
#[track_caller]
fn are(all: &BTreeMap<Vec<u8>, usize>, names: &[String], said: impl Fn(&str) -> Vec<u8>) {
    for name in names {
        let count = all.get(&said(name)).copied().unwrap_or_default();
        assert!((1..=2).contains(&count), "{name} is there {count} times");
    }
    assert_eq!(all.len(), names.len(), "{all:?}");
}

/// Ends the connection behind the first frame of an item's life, of another's behind a later one, and so
/// on, until one has a life without that.
fn cut_behind_frames(life: Life, stride: usize) {
    let mut sweep = Sweep::new();
    let mut names = Vec::new();
    let mut was_cut = true;
    while was_cut {
        let name = format!("n{}", names.len() + 1);
        sweep.rest();
        if life == Life::Connects {
            sweep.proxy.set(Mode::Refuse);
            sweep.proxy.cut();
        }
        sweep.proxy.cut_after(1 + stride * names.len());
        sweep.proxy.set(Mode::Pass);
        sweep.live(life, &name);
        was_cut = sweep.proxy.was_cut();
        names.push(name);
    }
    let cuts = names.len() - 1;
    println!("{life:?}: cut behind {cuts} frames");
    assert!(cuts * stride > 10, "it was cut {cuts} times");
    are(&sweep.all_of(REPLIES), &names, answer);
    if life == Life::Forwards {
        are(&sweep.all_of(NEXT), &names, item);
    }
}

#[test]
fn behind_whichever_frame_the_connection_ends_an_item_is_done_once_and_its_answers_are_the_same() {
    cut_behind_frames(Life::Plain, 1);
}

#[test]
fn behind_whichever_frame_the_connection_ends_what_failed_is_tried_again_once() {
    cut_behind_frames(Life::TriedAgain, 1);
}

#[test]
fn behind_whichever_frame_the_connection_ends_what_is_forwarded_arrives() {
    cut_behind_frames(Life::Forwards, 1);
}

#[test]
fn behind_whichever_frame_a_new_connection_ends_the_next_one_goes_on() {
    // Of all of it the long way.
    let stride = if std::env::var_os("SKYNET_LONG").is_some() { 1 } else { 8 };
    cut_behind_frames(Life::Connects, stride);
}
