//! A real RabbitMQ: items that take long, each over a channel of its own.

use crate::conformance::{self, Rig, done, event, settled};
use crate::rabbit::{Remote, delivered};
use crate::rabbit_kept;
use crate::support::{item, place};
use machine::work::Fault;
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::Rabbit;
use testkit::{until, wait::holds_within};
use work::amqp::{self, Client, Server};
use work::{Ask, Asked, Broker, By, Delivery, Ended, Event, JobId, Reader};

#[test]
fn what_took_long_is_settled_before_the_channel_that_it_came_over_is_closed() {
    let rig = Remote::new();
    let other = rig.beside();
    let (mut broker, mut idle) = (rig.open(), other.open());
    let (mut client, vhost) = (rig.client(), &rig.server.vhost);
    for round in 0..4 {
        broker.ask(Ask::Now, "q_0");
        client.publish("q", &item(&format!("n{round}"))).unwrap();
        let delivery = delivered(&mut broker);
        idle.ask(Ask::Now, "q_0");
        idle.flush();
        // What has the item, what looks for its cancel, and the other's.
        until(20, || Rabbit::shared().consumers(vhost, "q") == 3);
        // So long that what is next is to come over another channel.
        rig.clock.pass(Duration::from_secs(6));
        conformance::committed(&mut broker);
        until(20, || Rabbit::shared().consumers(vhost, "q") == 2);
        // So long that the first one is closed as soon as nothing is open there: by this end.
        rig.clock.pass(Duration::from_secs(2));
        broker.finish(delivery, Ended { forget: true, ..done() });
        settled(&mut broker);
        until(20, || rig.messages("q") == (0, 0));
        idle.withdraw(Ask::Now, "q_0");
        event(&mut idle, |event| match event {
            Event::Withdrawn { .. } => Some(()),
            Event::Arrived(_) => panic!("it is done once more"),
            _ => None,
        });
    }
    assert!(rig.answers().is_empty());
}

#[test]
fn each_of_many_items_that_take_long_is_alone_on_its_channel() {
    const ITEMS: usize = 20;
    let rig = Remote::new();
    let (mut broker, mut client, vhost) = (rig.open(), rig.client(), &rig.server.vhost);
    let mut in_hand = Vec::new();
    for n in 0..ITEMS {
        broker.ask(Ask::Now, &format!("q_{n}"));
        client.publish("q", &item(&format!("n{n}"))).unwrap();
        in_hand.push(delivered(&mut broker));
        let before = Rabbit::shared().channels(vhost);
        // So long that what is next is to come over another channel.
        rig.clock.pass(Duration::from_secs(6));
        conformance::committed(&mut broker);
        until(20, || Rabbit::shared().channels(vhost) == before + 1);
    }
    for delivery in in_hand {
        broker.finish(delivery, Ended { forget: true, ..done() });
        settled(&mut broker);
    }
    until(20, || rig.messages("q") == (0, 0));
}

/// Returns what `wanted` picks, while the connection lasts.
#[track_caller]
fn calmly<T>(broker: &mut amqp::Rabbit, wanted: impl Fn(Event) -> Option<T>) -> T {
    event(broker, |event| match event {
        Event::Trouble { what, .. } => panic!("{what}"),
        other => wanted(other),
    })
}

/// Has one more item in hand.
#[track_caller]
fn taken(broker: &mut amqp::Rabbit, client: &mut Client, name: &str) -> Delivery {
    broker.ask(Ask::Now, name);
    client.publish("q", &item(name)).unwrap();
    calmly(broker, |event| match event {
        Event::Arrived(delivery) => Some(delivery),
        _ => None,
    })
}

/// So long that what is next is to come over another channel.
fn pass(rig: &Remote, broker: &mut amqp::Rabbit) {
    rig.clock.pass(Duration::from_secs(6));
    broker.make(98, By::default(), Asked::Cancel(JobId(i64::MAX), Fault::CANCELLED));
    broker.flush();
}

#[test]
fn who_may_not_have_a_channel_for_each_loses_the_connection_once() {
    const MORE: usize = 2;
    let rig = Remote::new();
    let (rabbit, vhost) = (Rabbit::shared(), &rig.server.vhost);
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    until(20, || rabbit.consumers(vhost, "q") == 1);
    let usual = rabbit.channels(vhost);
    drop(broker);
    until(20, || rabbit.channels(vhost) == 0);
    rabbit.add_user("few", vhost, usual + MORE);
    let server = Server { user: "few".to_owned(), ..rig.server.clone() };
    let few = Remote { server, ..rig.beside() };
    // Whose channel is not among them.
    let mut client = rig.client();
    let mut broker = few.open();
    let (mut in_hand, mut lost) = (Vec::new(), None);
    while lost.is_none() {
        assert!(in_hand.len() <= MORE + 2, "more channels than are allowed");
        in_hand.push(taken(&mut broker, &mut client, &format!("n{}", in_hand.len())));
        let before = rabbit.channels(vhost);
        pass(&few, &mut broker);
        until(20, || {
            while let Some(event) = broker.next() {
                if let Event::Trouble { what, .. } = event {
                    lost = Some(what);
                }
            }
            lost.is_some() || rabbit.channels(vhost) > before
        });
    }
    let why = lost.unwrap();
    assert!(why.contains("number of channels opened"), "{why}");
    // Over the next one as many as it may have, and no more.
    for n in 0..MORE + 3 {
        in_hand.push(taken(&mut broker, &mut client, &format!("m{n}")));
        pass(&few, &mut broker);
    }
    for delivery in in_hand {
        broker.finish(delivery, Ended { forget: true, ..done() });
        calmly(&mut broker, |event| matches!(event, Event::Settled { .. }).then_some(()));
    }
    until(20, || rig.messages("q") == (0, 0));
}

#[test]
fn however_many_channels_there_are_the_end_waits_for_the_broker_once() {
    // On a busy machine the end of one may take longer than it may, too.
    let is_known = (0..3).any(|_| knows_after_its_end_what_it_had_settled(12));
    assert!(is_known, "the end waits for each channel");
}

/// Ends one that has as many channels to a broker that is slow; tells whether the broker said then
/// that it had read what was acknowledged.
fn knows_after_its_end_what_it_had_settled(channels: usize) -> bool {
    let (rabbit, proxy) = (Rabbit::shared(), Proxy::to(Rabbit::shared().port()));
    let rig = Remote::by(proxy.port());
    let (mut broker, mut client, vhost) =
        (rabbit_kept::open(&rig), rig.client(), &rig.server.vhost);
    let (mut in_hand, mut jobs) = (Vec::new(), Vec::new());
    for n in 0..channels {
        in_hand.push(taken(&mut broker, &mut client, &format!("n{n}")));
        jobs.push(in_hand[n].key().job);
        let before = rabbit.channels(vhost);
        pass(&rig, &mut broker);
        until(20, || rabbit.channels(vhost) > before);
    }
    for delivery in in_hand {
        broker.finish(delivery, Ended { forget: true, ..done() });
        settled(&mut broker);
    }
    until(20, || rig.messages("q") == (0, 0));
    // One after the other they would take longer than the end may.
    proxy.set(Mode::Delay(Duration::from_millis(150)));
    drop(broker);
    proxy.set(Mode::Pass);
    rig.clock.pass(rabbit_kept::A_WHILE);
    let _broker = rabbit_kept::open(&rig);
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    let are_gone = || jobs.iter().all(|job| reader.job(*job).unwrap().is_none());
    holds_within(Duration::from_secs(20), are_gone)
}

#[test]
fn of_more_participants_than_messages_are_had_ahead_each_has_an_item() {
    const MANY: usize = 230;
    let rig = Remote::new();
    let (mut broker, mut client) = (rig.open(), rig.client());
    for n in 0..MANY {
        client.publish("q", &item(&format!("n{n}"))).unwrap();
        broker.ask(Ask::Now, &format!("q_{n}"));
    }
    broker.flush();
    let all: Vec<_> = (0..MANY).map(|_| delivered(&mut broker)).collect();
    for delivery in all {
        broker.finish(delivery, Ended { forget: true, ..done() });
    }
    broker.flush();
    until(60, || rig.messages("q") == (0, 0));
}
