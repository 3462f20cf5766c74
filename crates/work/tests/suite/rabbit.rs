//! RabbitMQ as the queue: the suite of all brokers on a real one, and what is its own.

use crate::conformance::{self, Rig, done, event, settled};
use crate::support::{Moved, forgotten, item, job, place};
use machine::work::{Backoff, Fault, Kind, Limit};
use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use testkit::proxy::{Mode, Proxy};
use testkit::rabbit::{PASSWORD, Rabbit, USER};
use testkit::{Scratch, until};
use work::amqp::{self, Client, Queue, Server, Settings};
use work::embedded::Keep;
use work::{Ask, Asked, Broker, By, Clock, Ended, Event, NewJob, Policy, Reader, Safety};

/// A connection that lasted so long is tried again at once.
pub(crate) const GOOD: Duration = Duration::from_secs(10);
pub(crate) const REPLIES: &str = "replies";

pub(crate) struct Remote {
    pub(crate) scratch: Scratch,
    pub(crate) clock: Arc<Moved>,
    pub(crate) server: Server,
    pub(crate) policy: Policy,
    /// Answers that were read so far.
    pub(crate) read: RefCell<Vec<Vec<u8>>>,
    /// By which connections can be cut.
    pub(crate) proxy: Option<Proxy>,
}

impl Remote {
    pub(crate) fn new() -> Self {
        Self::by(Rabbit::shared().port())
    }

    /// One whose takers die without a word to the broker; of others the connection ends in good order.
    pub(crate) fn of_mortals() -> Self {
        let proxy = Proxy::to(Rabbit::shared().port());
        let rig = Self::by(proxy.port());
        Self { proxy: Some(proxy), ..rig }
    }

    /// One that goes through another port.
    pub(crate) fn by(port: u16) -> Self {
        let scratch = Scratch::new();
        let password_file = scratch.join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port,
            vhost: Rabbit::shared().vhost(),
            user: USER.to_owned(),
            password_file,
            tls: false,
            ca: None,
        };
        let rig = Self {
            clock: Moved::new(),
            policy: Policy::default(),
            read: RefCell::default(),
            scratch,
            server,
            proxy: None,
        };
        let mut client = rig.client();
        client.declare(REPLIES).unwrap();
        client.declare("q").unwrap();
        rig
    }

    /// Another machine, at the same broker.
    pub(crate) fn beside(&self) -> Self {
        Self {
            scratch: Scratch::new(),
            clock: Moved::new(),
            server: self.server.clone(),
            policy: self.policy,
            read: RefCell::default(),
            proxy: None,
        }
    }

    pub(crate) fn direct(&self) -> Server {
        Server { port: Rabbit::shared().port(), ..self.server.clone() }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.direct(), "test").unwrap()
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            place: place(&self.scratch),
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            safety: Safety::Kill,
            policy: self.policy,
            keep: Keep::default(),
            server: self.server.clone(),
            queue: Queue {
                name: "q".to_owned(),
                is_quorum: false,
                delivery_limit: None,
                dead_letter_exchange: None,
            },
            reply_queue: REPLIES.to_owned(),
            item_limit: work::item::LARGEST,
            error_class: "E".to_owned(),
            air: None,
        }
    }

    /// Returns how many messages are ready in a queue, and how many are in somebody's hand.
    pub(crate) fn messages(&self, queue: &str) -> (usize, usize) {
        Rabbit::shared().messages(&self.server.vhost, queue).unwrap()
    }
}

impl Rig for Remote {
    type Broker = amqp::Rabbit;

    fn open(&self) -> amqp::Rabbit {
        amqp::Rabbit::open(&self.settings()).unwrap()
    }

    fn kill(&self, broker: amqp::Rabbit) {
        if let Some(proxy) = &self.proxy {
            proxy.set(Mode::Refuse);
            proxy.reset();
        }
        // It says nothing of what it has in hand; to the store, that it ends. See `kills` for processes.
        drop(broker);
        if let Some(proxy) = &self.proxy {
            proxy.set(Mode::Pass);
        }
    }

    fn answers(&self) -> Vec<Vec<u8>> {
        let mut client = self.client();
        client.consume(REPLIES).unwrap();
        while self.messages(REPLIES) != (0, 0) {
            if let Some(message) = client.next(Duration::from_secs(5)).unwrap() {
                client.acknowledge(&message).unwrap();
                self.read.borrow_mut().push(message.body);
            }
        }
        self.read.borrow().clone()
    }
}

#[test]
fn rabbitmq_does_what_every_broker_must() {
    conformance::run(&Remote::of_mortals());
}

#[track_caller]
fn trouble(broker: &mut amqp::Rabbit) -> String {
    event(broker, |event| match event {
        Event::Trouble { what, .. } => Some(what),
        _ => None,
    })
}

#[track_caller]
pub(crate) fn well(broker: &mut amqp::Rabbit) {
    event(broker, |event| matches!(event, Event::Well).then_some(()));
}

/// Returns a quorum queue, `quorum`, without limits.
pub(crate) fn quorum() -> Queue {
    Queue {
        name: "quorum".to_owned(),
        is_quorum: true,
        delivery_limit: None,
        dead_letter_exchange: None,
    }
}

/// The next delivery, whatever is said of the connection before it.
#[track_caller]
pub(crate) fn delivered(broker: &mut amqp::Rabbit) -> work::Delivery {
    event(broker, |event| match event {
        Event::Arrived(delivery) => Some(delivery),
        _ => None,
    })
}

/// Has an item worked on until it is in hand.
#[track_caller]
pub(crate) fn in_hand(rig: &Remote, broker: &mut amqp::Rabbit, name: &str) -> work::Delivery {
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    rig.client().publish("q", &item(name)).unwrap();
    delivered(broker)
}

#[test]
fn what_is_no_item_is_kept_with_the_dead_and_holds_up_nothing() {
    let rig = Remote::new();
    let mut client = rig.client();
    for body in [&b"no JSON"[..], br#"{"fields":{}}"#, br#"{"cancel":true}"#, &item("good")] {
        client.publish("q", body).unwrap();
    }
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    let delivery = delivered(&mut broker);
    assert_eq!(delivery.job().item, item("good"));
    broker.finish(delivery, done());
    settled(&mut broker);
    drop(broker);
    let dead = Reader::open(&place(&rig.scratch)).unwrap().dead(99).unwrap();
    let mut reasons: Vec<String> = dead.into_iter().map(|dead| dead.reason).collect();
    reasons.sort();
    assert_eq!(reasons.len(), 3, "{reasons:?}");
    assert!(reasons[0].contains("a cancel: missing field `fei`"), "{reasons:?}");
    assert!(reasons[1].contains("an object is expected"), "{reasons:?}");
    assert!(reasons[2].contains("missing field `fei`"), "{reasons:?}");
    assert_eq!(rig.messages("q"), (0, 0));
    assert_eq!(rig.answers(), [b"{}"]);
}

#[test]
fn of_a_message_that_is_longer_than_an_item_may_be_the_beginning_is_kept() {
    let rig = Remote::new();
    let mut client = rig.client();
    let long = [b"{\"fei\":".as_slice(), &vec![b'x'; 3_000_000]].concat();
    client.publish("q", &long).unwrap();
    client.publish("q", &item("good")).unwrap();
    let mut broker = amqp::Rabbit::open(&Settings { item_limit: 1000, ..rig.settings() }).unwrap();
    broker.ask(Ask::Now, "q_0");
    let delivery = delivered(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
    drop(broker);
    let dead = Reader::open(&place(&rig.scratch)).unwrap().dead(99).unwrap();
    let [dead] = &dead[..] else { panic!("{} dead items", dead.len()) };
    assert_eq!(dead.reason, "the item has 3000007 bytes; 1000 are allowed");
    assert_eq!(dead.bytes, long[..1000]);
    assert_eq!(rig.messages("q"), (0, 0));
}

#[test]
fn a_cancel_reaches_who_works_over_the_control_exchange_and_by_the_queue() {
    let rig = Remote::new();
    let fei = |name: &str| {
        let fei = format!(r#"{{"wfid":"w","expid":"{name}"}}"#);
        serde_json::value::RawValue::from_string(fei).unwrap()
    };
    let mut client = rig.client();
    let mut broker = rig.open();
    for (name, by_queue) in [("a", false), ("b", true)] {
        broker.ask(Ask::Now, "q_0");
        client.publish("q", &item(name)).unwrap();
        let delivery = delivered(&mut broker);
        let cancel = work::wire::cancel(&fei(name), Some("kill"), None);
        if by_queue {
            // It stands behind the item: who looks ahead sees it.
            broker.ask(Ask::Ahead, "q_0");
            broker.flush();
            client.publish("q", &cancel).unwrap();
        } else {
            client.announce(work::wire::CONTROL_EXCHANGE, &cancel).unwrap();
        }
        let told = event(&mut broker, |event| match event {
            Event::Cancelled { key, why } => Some((key, why)),
            other => panic!("{other:?}"),
        });
        assert_eq!(told, (delivery.key(), Fault::KILLED));
        broker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
        assert_eq!(settled(&mut broker).1, Fault::KILLED);
    }
    drop(broker);
    assert_eq!(rig.messages("q"), (0, 0));
    assert!(rig.answers().is_empty(), "nobody is answered");
}

#[test]
fn a_cancel_in_the_queue_of_what_another_has_in_hand_reaches_that_one() {
    let rig = Remote::new();
    let (mut worker, mut idle) = (rig.open(), rig.open());
    let mut client = rig.client();
    worker.ask(Ask::Now, "q_0");
    client.publish("q", &item("a")).unwrap();
    let delivery = delivered(&mut worker);
    idle.ask(Ask::Now, "q_0");
    idle.flush();
    let fei = serde_json::value::RawValue::from_string(r#"{"wfid":"w"}"#.to_owned()).unwrap();
    client.publish("q", &work::wire::cancel(&fei, None, None)).unwrap();
    let key = event(&mut worker, |event| match event {
        Event::Cancelled { key, .. } => Some(key),
        other => panic!("{other:?}"),
    });
    assert_eq!(key, delivery.key());
    worker.finish(delivery, Ended { fault: Fault::CRASHED, ..done() });
    assert_eq!(settled(&mut worker).1.kind(), Kind::Cancelled);
}

#[test]
fn a_failed_item_rests_unacknowledged_and_is_answered_once_after_its_last_try() {
    let backoff = Backoff { first: Duration::from_millis(300), ..Backoff::default() };
    let policy = Policy { backoff, ..Policy::default() };
    let rig = Remote { policy, ..Remote::new() };
    let mut broker = rig.open();
    rig.client().publish("q", &item("a")).unwrap();
    for attempt in 1..=3 {
        broker.ask(Ask::Now, "q_0");
        let delivery = delivered(&mut broker);
        assert_eq!(delivery.job().attempt, attempt);
        assert_eq!(rig.messages("q"), (0, 1));
        broker.finish(delivery, Ended { fault: Fault(3), ..done() });
        let expected = if attempt < 3 { Fault(3) } else { Fault::EXHAUSTED };
        assert_eq!(settled(&mut broker).1, expected);
    }
    until(10, || rig.messages("q") == (0, 0));
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn who_loses_the_connection_goes_on_working_and_answers_once() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    for (name, ends_first) in [("a", true), ("b", false)] {
        broker.ask(Ask::Now, "q_0");
        rig.client().publish("q", &item(name)).unwrap();
        let delivery = delivered(&mut broker);
        proxy.set(Mode::Refuse);
        proxy.reset();
        assert!(trouble(&mut broker).contains("not connected to RabbitMQ at 127.0.0.1:"));
        // Its message is the broker's again, and comes to whoever asks.
        until(10, || rig.messages("q") == (1, 0));
        let key = delivery.key();
        if ends_first {
            broker.finish(delivery, done());
            broker.ask(Ask::Now, "q_0");
            proxy.set(Mode::Pass);
        } else {
            broker.ask(Ask::Now, "q_1");
            proxy.set(Mode::Pass);
            well(&mut broker);
            until(10, || rig.messages("q") == (0, 1));
            broker.finish(delivery, done());
        }
        assert_eq!(settled(&mut broker).0, key);
        until(10, || rig.messages("q") == (0, 0));
    }
    assert_eq!(rig.answers().len(), 2, "one for each");
}

#[test]
fn what_was_finished_by_one_who_died_before_it_answered_is_answered_from_the_record() {
    let rig = Remote::new();
    let named = NewJob { identity: "a!!".to_owned(), ..job("a") };
    let mut store = crate::support::open(&rig.scratch, &rig.clock);
    let taker = crate::support::opened(&mut store, "q", Policy::default());
    let arrive = work::Change::Arrive {
        known: None,
        job: Box::new(NewJob { reply_to: None, ..named }),
        taker,
        ask: Ask::Now,
        instance: "q_0".to_owned(),
    };
    let Ok(work::Applied::Taken(taken)) = store.apply(&arrive) else { panic!("not taken") };
    let answer = Ended { output: Some(br#"{"n":1.0}"#.to_vec()), ..Ended::default() };
    store.apply(&work::Change::End(taken.lease, Box::new(answer))).unwrap();
    drop(store);
    rig.client().publish("q", &item("a")).unwrap();
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    assert!(broker.next().is_none());
    until(20, || rig.messages("q") == (0, 0) && rig.messages(REPLIES) == (1, 0));
    // Asked for, and nothing came: it is not worked on again.
    rig.client().publish("q", &item("b")).unwrap();
    assert_eq!(delivered(&mut broker).job().item, item("b"));
    assert_eq!(rig.answers(), [br#"{"n":1.0}"#]);
}

#[test]
fn a_broker_that_is_away_or_silent_is_tried_again_until_it_is_back() {
    let cycles = if std::env::var_os("SKYNET_LONG").is_some() { 1000 } else { 6 };
    let proxy = Proxy::to(Rabbit::shared().port());
    proxy.set(Mode::Refuse);
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    assert!(trouble(&mut broker).contains("not connected"));
    proxy.set(Mode::Pass);
    well(&mut broker);
    for cycle in 0..cycles {
        match cycle % 3 {
            0 => proxy.cut(),
            1 => {
                proxy.set(Mode::Delay(Duration::from_millis(5)));
                proxy.reset();
            }
            _ => {
                proxy.set(Mode::Refuse);
                proxy.cut();
            }
        }
        trouble(&mut broker);
        proxy.set(Mode::Pass);
        well(&mut broker);
        // Others are tried again ever later.
        rig.clock.pass(GOOD);
    }
    rig.client().publish("q", &item("a")).unwrap();
    let delivery = delivered(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
    assert_eq!(rig.answers().len(), 1);
}

#[test]
fn a_half_open_connection_is_noticed_and_given_up() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    proxy.set(Mode::Silent);
    // Two looks at the queue, of which the second is not answered.
    let noticed = testkit::wait::holds_within(Duration::from_secs(50), || {
        matches!(broker.next(), Some(Event::Trouble { .. }))
    });
    assert!(noticed, "nothing is said");
    proxy.set(Mode::Pass);
    broker.finish(delivery, done());
    let answered = testkit::wait::holds_within(Duration::from_secs(60), || {
        matches!(broker.next(), Some(Event::Settled { .. }))
    });
    assert!(answered, "not connected again");
    assert_eq!(rig.answers().len(), 1);
}

/// The classic failure: the connection lives, the consumer is registered, and nothing comes.
#[test]
fn a_consumer_that_is_sent_nothing_while_items_wait_is_given_up_for_another() {
    let proxy = Proxy::to(Rabbit::shared().port());
    let rig = Remote::by(proxy.port());
    let mut broker = rig.open();
    let delivery = in_hand(&rig, &mut broker, "a");
    broker.finish(delivery, done());
    settled(&mut broker);
    proxy.set(Mode::Starved);
    broker.ask(Ask::Now, "q_0");
    broker.flush();
    for name in ["b", "c", "d", "e"] {
        rig.client().publish("q", &item(name)).unwrap();
    }
    let what = event(&mut broker, |event| match event {
        Event::Trouble { what, .. } => Some(what),
        other => panic!("{other:?}"),
    });
    assert!(what.contains("the broker has items and sends none"), "{what}");
    proxy.set(Mode::Pass);
    let delivery = delivered(&mut broker);
    broker.finish(delivery, done());
    settled(&mut broker);
}

#[test]
fn what_is_requeued_by_hand_is_sent_to_the_queue_and_done_again() {
    let rig = Remote::new();
    let mut broker = rig.open();
    rig.client().publish("q", &item("a")).unwrap();
    let mut jobs = Vec::new();
    for attempt in 1..=2 {
        broker.ask(Ask::Now, "q_0");
        let delivery = delivered(&mut broker);
        assert_eq!(delivery.job().attempt, attempt);
        jobs.push(delivery.key().job);
        broker.finish(delivery, Ended { fault: Fault(11), ..done() });
        settled(&mut broker);
        if attempt == 1 {
            let requeue =
                Asked::Requeue { job: jobs[0], reach: machine::work::Reach::Any, priority: None };
            broker.make(1, By::default(), requeue);
        }
    }
    assert_eq!(jobs[0], jobs[1]);
    assert_eq!(rig.answers().len(), 2, "one for each time that it was asked for");
}

#[test]
fn a_quorum_queue_is_declared_as_one_and_nothing_is_looked_ahead_at() {
    let rig = Remote::new();
    rig.client().announce("dead", b"made").unwrap();
    let dead_letter_exchange = Some("dead".to_owned());
    let queue = Queue { delivery_limit: Some(5), dead_letter_exchange, ..quorum() };
    let mut broker = amqp::Rabbit::open(&Settings { queue, ..rig.settings() }).unwrap();
    broker.ask(Ask::Ahead, "q_0");
    broker.ask(Ask::Now, "q_0");
    broker.send(1, NewJob { queue: "quorum".to_owned(), ..job("a") });
    broker.send(2, NewJob { queue: "quorum".to_owned(), ..job("b") });
    let delivery = delivered(&mut broker);
    until(10, || rig.messages("quorum") == (1, 1));
    // Who takes it back hears so, like of one that could have been granted.
    broker.withdraw(Ask::Ahead, "q_0");
    event(&mut broker, |event| {
        matches!(event, Event::Withdrawn { ask: Ask::Ahead, .. }).then_some(())
    });
    broker.finish(delivery, done());
    settled(&mut broker);
    let kind = Rabbit::shared().call(&format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{}\">>, queue, <<\"quorum\">>)), \
         amqqueue:get_type(Q).",
        rig.server.vhost
    ));
    assert_eq!(kind, "rabbit_quorum_queue");
}

#[test]
fn a_password_that_others_may_read_is_not_used() {
    let rig = Remote::new();
    let file = &rig.server.password_file;
    fs::set_permissions(file, fs::Permissions::from_mode(0o640)).unwrap();
    let mut broker = rig.open();
    let said = trouble(&mut broker);
    assert!(said.contains("others may use it (mode 640); chmod 600 it"), "{said}");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    well(&mut broker);
}

#[test]
fn what_is_sent_to_a_queue_that_is_not_there_is_refused() {
    let rig = Remote::new();
    let mut broker = rig.open();
    broker.send(3, NewJob { queue: "nowhere".to_owned(), ..job("a") });
    broker.send(4, NewJob { delay: Duration::from_secs(1), ..job("a") });
    let mut said = Vec::new();
    while said.len() < 2 {
        said.push(event(&mut broker, |event| match event {
            Event::Sent { ticket, job } => Some((ticket, job.unwrap_err().to_string())),
            _ => None,
        }));
    }
    said.sort();
    assert_eq!(said[0], (3, "there is no such queue".to_owned()));
    assert!(said[1].1.contains("knows no delay"), "{said:?}");
}

#[test]
fn what_dies_with_its_taker_is_answered_with_the_class_that_is_set_unless_it_is_forgotten() {
    let limit = Limit { tries: 1, ..Limit::default() };
    let rig = Remote { policy: Policy { limit, ..Policy::default() }, ..Remote::new() };
    for item in [item("a"), forgotten("b")] {
        let mut broker = rig.open();
        broker.ask(Ask::Now, "q_0");
        broker.flush();
        rig.client().publish("q", &item).unwrap();
        let _in_hand = delivered(&mut broker);
        rig.kill(broker);
        let mut broker = rig.open();
        broker.ask(Ask::Now, "q_0");
        broker.flush();
        until(20, || rig.messages("q") == (0, 0));
    }
    let answers = rig.answers();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let answer = String::from_utf8(answers[0].clone()).unwrap();
    assert!(answer.contains(r#""error":{"class":"E","#), "{answer}");
}
