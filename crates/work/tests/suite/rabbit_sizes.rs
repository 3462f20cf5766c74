//! A real RabbitMQ that takes less than what is to be sent.

use crate::conformance::{Rig, done, event};
use crate::rabbit::{REPLIES, Remote, in_hand};
use crate::support::{job, place};
use machine::work::Fault;
use std::collections::BTreeMap;
use std::sync::Once;
use testkit::rabbit::Rabbit;
use testkit::until;
use work::amqp::{self, Mail, Mailbox};
use work::{Broker, Ended, Event, JobId, NewJob, Reader};

/// More than all that other tests send.
const MOST: usize = 8 << 20;

/// One whose limit is lower, for connections that are made from now on.
fn remote() -> Remote {
    static SET: Once = Once::new();
    SET.call_once(|| {
        Rabbit::shared().call(&format!("application:set_env(rabbit, max_message_size, {MOST})."));
    });
    Remote::new()
}

/// An item, or an answer, of more than that.
fn large(name: &str) -> Vec<u8> {
    let fei = format!(r#"{{"wfid":"w","subid":"s","expid":"{name}"}}"#);
    format!(r#"{{"fei":{fei},"fields":{{"x":"{}"}}}}"#, "x".repeat(MOST)).into_bytes()
}

/// Waits until it is told that an answer is too large.
fn too_large(broker: &mut amqp::Rabbit) -> (JobId, usize) {
    event(broker, |event| match event {
        Event::TooLarge { job, bytes, most: MOST } => Some((job, bytes)),
        Event::Trouble { what, .. } => panic!("{what}"),
        _ => None,
    })
}

#[test]
fn for_an_answer_that_is_more_than_the_broker_takes_an_error_goes_and_others_go_as_they_are() {
    let rig = remote();
    let mut broker = rig.open();
    let before = in_hand(&rig, &mut broker, "before");
    let too_much = in_hand(&rig, &mut broker, "large");
    let after = in_hand(&rig, &mut broker, "after");
    let (id, output) = (too_much.key().job, large("large"));
    let wanted = [(before.key(), 0), (too_much.key(), 10), (after.key(), 0)];
    broker.finish(before, Ended { output: Some(b"{\"n\":1}".to_vec()), ..done() });
    broker.finish(too_much, Ended { output: Some(output.clone()), ..done() });
    broker.finish(after, Ended { output: Some(b"{\"n\":2}".to_vec()), ..done() });
    broker.flush();
    // Each is settled as its sender hears of it: the first maybe before the broker closes the channel.
    let (mut found, mut refused) = (BTreeMap::new(), None);
    while found.len() < 3 || refused.is_none() {
        event(&mut broker, |event| {
            match event {
                Event::Settled { key, fault, .. } => drop(found.insert(key, fault.0)),
                Event::TooLarge { job, bytes, most: MOST } => refused = Some((job, bytes)),
                Event::Trouble { what, .. } => panic!("{what}"),
                _ => return None,
            }
            Some(())
        });
    }
    assert_eq!((found, refused), (BTreeMap::from(wanted), Some((id, output.len()))));
    until(60, || rig.messages("q") == (0, 0));
    // Now that it is known no channel is closed for the next.
    let next = in_hand(&rig, &mut broker, "next");
    broker.finish(next, Ended { output: Some(large("next")), ..done() });
    broker.flush();
    assert_eq!(too_large(&mut broker).1, large("next").len());
    until(60, || rig.messages("q") == (0, 0));
    let answers: Vec<String> =
        rig.answers().into_iter().map(|it| String::from_utf8(it).unwrap()).collect();
    let of = |what: &str| answers.iter().filter(|it| it.contains(what)).count();
    assert!(of("{\"n\":1}") >= 1 && of("{\"n\":2}") >= 1, "{answers:?}");
    assert_eq!((of("\"expid\":\"large\""), of("\"expid\":\"next\"")), (1, 1), "{answers:?}");
    let why = format!("the answer cannot be sent: it has {} bytes", output.len());
    assert_eq!(of(&why), 1, "{answers:?}");
    assert_eq!(of(r#""error":{"class":"E","message":"the answer cannot"#), 2, "{answers:?}");
    // What was sent is on record, and why.
    let reader = Reader::open(&place(&rig.scratch)).unwrap();
    let attempts = reader.attempts(id).unwrap();
    let last = attempts.last().unwrap();
    let fault = reader.job(id).unwrap().unwrap().subject.fault;
    assert_eq!((fault, last.fault), (Fault(10), Some(Fault(10))));
    let text = last.text.clone().unwrap();
    assert!(text.starts_with("its answer is not sent: it has"), "{text}");
}

#[test]
fn an_item_that_is_more_than_the_broker_takes_is_refused() {
    let rig = remote();
    let mut broker = rig.open();
    broker.send(3, NewJob { queue: REPLIES.to_owned(), item: large("a"), ..job("a") });
    broker.send(4, NewJob { queue: REPLIES.to_owned(), ..job("b") });
    let mut said = Vec::new();
    while said.len() < 2 {
        said.push(event(&mut broker, |event| match event {
            Event::Sent { ticket, job } => Some((ticket, job.err().map(|why| why.to_string()))),
            _ => None,
        }));
    }
    said.sort();
    assert!(said[0].1.as_ref().is_some_and(|why| why.contains("max_message_size")), "{said:?}");
    assert_eq!(said[1], (4, None));
}

#[test]
fn a_mailbox_gives_up_what_is_more_than_the_broker_takes_and_sends_the_others() {
    let rig = remote();
    let mut mailbox = Mailbox::open(rig.server.clone(), "test", "engine").unwrap();
    mailbox.send(1, "q", large("a"));
    mailbox.send(2, "q", b"{}".to_vec());
    let (mut large, mut sent) = (0, 0);
    until(60, || {
        match mailbox.next() {
            Some(Mail::TooLarge(1, _)) => large += 1,
            Some(Mail::Sent(2)) => sent += 1,
            Some(Mail::Sent(1)) => panic!("it was taken"),
            _ => {}
        }
        (large, sent) == (1, 1)
    });
}
