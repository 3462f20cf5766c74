//! A network that fails in mid-item, and a taker that dies each time, with a real RabbitMQ.

use crate::conformance::{Rig, done, event, settled};
use crate::rabbit::{GOOD, REPLIES, Remote, delivered, in_hand, quorum, well};
use crate::support::{item, job};
use machine::work::Limit;
use std::collections::BTreeMap;
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::Rabbit;
use testkit::until;
use testkit::wait::holds_within;
use work::amqp::{self, Queue, Settings};
use work::{Ask, Broker, Ended, Event, NewJob, Policy};

fn answer(name: &str) -> Ended {
    Ended { output: Some(format!("{{\"n\":\"{name}\"}}").into_bytes()), ..done() }
}

/// Does one thing that networks do to a connection that is in use, and goes on with it until it has met
/// the next one, too.
fn disturb(proxy: &Proxy, cycle: usize) {
    let (mode, is_reset) = match cycle % 5 {
        0 => (Mode::Pass, false),
        1 => (Mode::Delay(Duration::from_millis(5)), true),
        2 => (Mode::Refuse, false),
        3 => (Mode::Silent, true),
        _ => (Mode::HalfOpen, true),
    };
    proxy.set(mode);
    if is_reset {
        proxy.reset();
    } else {
        proxy.cut();
    }
    let (accepted, harmed) = (proxy.accepted(), proxy.harmed());
    until(60, || match mode {
        Mode::Pass => true,
        Mode::Delay(_) | Mode::Slow(_) => proxy.accepted() > accepted,
        Mode::Refuse | Mode::Silent | Mode::HalfOpen => proxy.harmed() > harmed,
        Mode::Starved => false,
    });
    proxy.set(Mode::Pass);
    // One that lost what was said waits for its own limit, which takes long: it does the first times.
    if matches!(mode, Mode::Silent | Mode::HalfOpen) && cycle >= 5 {
        proxy.reset();
    }
}

/// Returns how many answers there are of each item.
fn counted(all: &[Vec<u8>]) -> BTreeMap<&[u8], usize> {
    let mut counts = BTreeMap::new();
    for one in all {
        *counts.entry(&**one).or_insert(0) += 1;
    }
    counts
}

#[test]
fn whatever_the_network_does_each_item_is_answered_and_its_answers_are_the_same() {
    let cycles = if std::env::var_os("SKYNET_LONG").is_some() { 1000 } else { 20 };
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    for cycle in 0..cycles {
        let name = format!("n{cycle}");
        let mut delivery = Some(in_hand(&rig, &mut broker, &name));
        assert_eq!(delivery.as_ref().unwrap().job().item, item(&name), "one was done twice");
        rig.clock.pass(GOOD);
        // It ends before, while nothing comes back, or when all is well again.
        if cycle % 3 == 1 {
            proxy.set(Mode::HalfOpen);
        }
        if cycle % 3 < 2 {
            broker.finish(delivery.take().unwrap(), answer(&name));
            broker.flush();
        }
        disturb(&proxy, cycle);
        if let Some(delivery) = delivery {
            well(&mut broker);
            broker.finish(delivery, answer(&name));
        }
        settled(&mut broker);
    }
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    until(60, || rig.messages("q") == (0, 0));
    let all = rig.answers();
    let counts = counted(&all);
    assert_eq!(counts.len(), cycles);
    for cycle in 0..cycles {
        // Where the connection is lost before the confirm is there, and only then, it is sent once more.
        let most = if cycle % 3 < 2 { 2 } else { 1 };
        let answer = answer(&format!("n{cycle}")).output.unwrap();
        let count = counts[&*answer];
        assert!((1..=most).contains(&count), "n{cycle} was answered {count} times");
    }
    println!("{cycles} items, {} of whose answers came twice, the same", all.len() - cycles);
}

/// An item, or an answer, that takes longer over a slow way than a confirm may.
fn large(name: &str) -> Vec<u8> {
    let fei = format!(r#"{{"wfid":"w","subid":"s","expid":"{name}"}}"#);
    format!(r#"{{"fei":{fei},"fields":{{"x":"{}"}}}}"#, "x".repeat(8_000_000)).into_bytes()
}

#[test]
fn over_a_slow_way_large_items_and_answers_are_waited_for() {
    let proxy = Proxy::to(Rabbit::shared().port());
    proxy.set(Mode::Slow(250_000));
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    rig.client().publish("q", &large("b")).unwrap();
    broker.ask(Ask::Now, "q_1");
    broker.finish(delivery, Ended { output: Some(large("a")), ..done() });
    broker.flush();
    let (mut came, mut settled) = (0, 0);
    let both = holds_within(Duration::from_secs(120), || {
        while let Some(event) = broker.next() {
            match event {
                Event::Arrived(_) => came += 1,
                Event::Settled { .. } => settled += 1,
                Event::Trouble { what, .. } => panic!("{what}"),
                _ => {}
            }
        }
        (came, settled) == (1, 1)
    });
    assert!(both, "{came} came, {settled} settled");
    proxy.set(Mode::Pass);
    assert_eq!((proxy.accepted(), rig.answers().len()), (1, 1));
}

#[test]
fn nothing_is_acknowledged_before_its_answer_is_confirmed() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    proxy.set(Mode::HalfOpen);
    broker.finish(delivery, answer("a"));
    broker.flush();
    // The answer is there, and that it is was not heard.
    until(20, || rig.messages(REPLIES) == (1, 0));
    proxy.set(Mode::Refuse);
    proxy.cut();
    until(20, || rig.messages("q") == (1, 0));
    proxy.set(Mode::Pass);
    settled(&mut broker);
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    until(60, || rig.messages("q") == (0, 0));
    let all = rig.answers();
    assert!(all.iter().all(|one| *one == all[0]), "answered twice, and not the same: {all:?}");
}

#[test]
fn what_kills_its_taker_again_and_again_goes_from_a_quorum_queue_to_the_dead_letters() {
    // Our own limit is further away than the queue's.
    let limit = Limit { tries: 100, ..Limit::default() };
    let rig = Remote { policy: Policy { limit, ..Policy::default() }, ..Remote::of_mortals() };
    let mut client = rig.client();
    client.declare("dead letters").unwrap();
    Rabbit::shared().bind_to_fanout(&rig.server.vhost, "dead letters");
    let dead_letter_exchange = Some("amq.fanout".to_owned());
    let queue = Queue { delivery_limit: Some(2), dead_letter_exchange, ..quorum() };
    let settings = Settings { queue, ..rig.settings() };
    for life in 0..3 {
        let mut broker = amqp::Rabbit::open(&settings).unwrap();
        broker.ask(Ask::Now, "q_0");
        broker.flush();
        if life == 0 {
            // Whoever consumes has made the queue.
            until(20, || Rabbit::shared().consumers(&rig.server.vhost, "quorum") == 1);
            client.publish("quorum", &item("a")).unwrap();
        }
        let _in_hand = delivered(&mut broker);
        if life == 1 {
            // One that ends in good order counts as much.
            drop(broker);
        } else {
            rig.kill(broker);
        }
    }
    until(20, || rig.messages("dead letters") == (1, 0));
    until(20, || rig.messages("quorum") == (0, 0));
    assert_eq!(rig.messages(REPLIES), (0, 0), "nobody answered");
}

/// What was fetched and is not wanted after all would go back, and count as delivered.
#[test]
fn of_a_quorum_queue_nothing_is_fetched_that_nobody_waits_for_however_briskly_items_flow() {
    let rig = Remote::new();
    let settings = Settings { queue: quorum(), ..rig.settings() };
    let mut broker = amqp::Rabbit::open(&settings).unwrap();
    for n in 0..60 {
        broker.send(n, NewJob { queue: "quorum".to_owned(), ..job(&format!("w{n}")) });
    }
    for _ in 0..60 {
        event(&mut broker, |event| matches!(event, Event::Sent { job: Ok(_), .. }).then_some(()));
    }
    for _ in 0..30 {
        broker.ask(Ask::Now, "q_0");
        let delivery = delivered(&mut broker);
        broker.finish(delivery, done());
        settled(&mut broker);
    }
    let mut other = rig.client();
    other.consume("quorum").unwrap();
    for _ in 0..30 {
        let message = other.next(Duration::from_secs(10)).unwrap().expect("a message");
        assert!(!message.redelivered, "{:?}", String::from_utf8_lossy(&message.body));
        other.acknowledge(&message).unwrap();
    }
    drop(broker);
}
