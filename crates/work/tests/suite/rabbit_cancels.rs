//! Cancels: behind the item that they are for, before it, and by the exchange; with a real RabbitMQ.

use crate::conformance::{Rig, done, event, settled};
use crate::rabbit::{Remote, delivered};
use crate::support::{item, job};
use machine::work::Fault;
use testkit::until;
use work::amqp::{self, Queue, Settings};
use work::{Ask, Broker, Ended, Event, NewJob};

fn cancel_of(fei: &str) -> Vec<u8> {
    let fei = serde_json::value::RawValue::from_string(fei.to_owned()).unwrap();
    work::wire::cancel(&fei, None)
}

/// The cancel that is told next, and nothing else before it.
#[track_caller]
fn cancelled(broker: &mut amqp::Rabbit) -> work::Lease {
    event(broker, |event| match event {
        Event::Cancelled { key, .. } => Some(key),
        other => panic!("{other:?}"),
    })
}

#[test]
fn a_cancel_right_behind_the_item_in_hand_is_seen_where_nobody_asks_for_another() {
    let rig = Remote::new();
    let mut client = rig.client();
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    client.publish("q", &item("a")).unwrap();
    let delivery = delivered(&mut broker);
    client.publish("q", &cancel_of(r#"{"wfid":"w","expid":"a"}"#)).unwrap();
    assert_eq!(cancelled(&mut broker), delivery.key());
    broker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    settled(&mut broker);
    until(10, || rig.messages("q") == (0, 0));
    assert!(rig.answers().is_empty());
}

#[test]
fn an_item_that_is_only_looked_at_goes_back_to_whoever_asks_for_it() {
    let rig = Remote::new();
    let mut client = rig.client();
    let (mut busy, mut idle) = (rig.open(), rig.open());
    busy.ask(Ask::Now, "q_0");
    client.publish("q", &item("a")).unwrap();
    let in_hand = delivered(&mut busy);
    for name in ["b", "c", "d"] {
        client.publish("q", &item(name)).unwrap();
    }
    for name in ["b", "c", "d"] {
        idle.ask(Ask::Now, "q_0");
        let delivery = delivered(&mut idle);
        assert_eq!((delivery.job().item.clone(), delivery.job().attempt), (item(name), 1));
        idle.finish(delivery, done());
        settled(&mut idle);
    }
    assert!(busy.next().is_none());
    busy.finish(in_hand, done());
    settled(&mut busy);
}

#[test]
fn a_cancel_that_comes_before_its_item_is_remembered_and_the_item_not_handed_over() {
    let rig = Remote::new();
    let mut client = rig.client();
    let mut broker = rig.open();
    for ask in [Ask::Now, Ask::Ahead] {
        broker.ask(Ask::Now, "q_0");
        client.publish("q", &item(&format!("first {ask:?}"))).unwrap();
        let first = delivered(&mut broker);
        let exchange = work::wire::CONTROL_EXCHANGE;
        let late = format!("late {ask:?}");
        client
            .announce(exchange, &cancel_of(&format!(r#"{{"wfid":"w","expid":"{late}"}}"#)))
            .unwrap();
        // They come in their order: the one before has come when this is heard.
        client.announce(exchange, &cancel_of(r#"{"wfid":"w"}"#)).unwrap();
        assert_eq!(cancelled(&mut broker), first.key());
        broker.finish(first, Ended { fault: Fault::CRASHED, ..done() });
        settled(&mut broker);
        client.publish("q", &item(&late)).unwrap();
        client.publish("q", &item(&format!("next {ask:?}"))).unwrap();
        broker.ask(ask, "q_0");
        let mut next = delivered(&mut broker);
        assert_eq!(next.job().item, item(&format!("next {ask:?}")));
        broker.begin(&mut next, "q_0");
        broker.finish(next, done());
        settled(&mut broker);
        until(10, || rig.messages("q") == (0, 0));
    }
    drop(broker);
    assert_eq!(rig.answers().len(), 2, "those that were done");
}

#[test]
fn of_a_quorum_queue_a_cancel_behind_the_item_is_seen_after_it_and_by_the_exchange_at_once() {
    let rig = Remote::new();
    let queue = Queue {
        name: "quorum".to_owned(),
        is_quorum: true,
        delivery_limit: None,
        dead_letter_exchange: None,
    };
    let mut broker = amqp::Rabbit::open(&Settings { queue, ..rig.settings() }).unwrap();
    broker.ask(Ask::Now, "q_0");
    broker.send(1, NewJob { queue: "quorum".to_owned(), ..job("a") });
    let delivery = delivered(&mut broker);
    let mut client = rig.client();
    let cancel = cancel_of(r#"{"wfid":"w"}"#);
    client.publish("quorum", &cancel).unwrap();
    client.announce(work::wire::CONTROL_EXCHANGE, &cancel).unwrap();
    let key = event(&mut broker, |event| match event {
        Event::Cancelled { key, .. } => Some(key),
        Event::Sent { .. } => None,
        other => panic!("{other:?}"),
    });
    assert_eq!(key, delivery.key());
    // Nobody has looked at the one in the queue.
    until(10, || rig.messages("quorum") == (1, 1));
    broker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    settled(&mut broker);
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    until(10, || rig.messages("quorum") == (0, 0));
}
