//! The mailbox on a real RabbitMQ: nothing is lost, whatever the connection does.

use crate::rabbit::Remote;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::rabbit::Rabbit;
use testkit::until;
use work::amqp::{Mail, Mailbox, Tag};

/// Seconds in which whatever is to happen has happened on a busy machine.
const SOON: u64 = 60;
const QUEUE: &str = "engine";

fn open(remote: &Remote) -> Mailbox {
    Mailbox::open(remote.server.clone(), "test", QUEUE).unwrap()
}

/// Waits for what is heard next.
#[track_caller]
fn next(mailbox: &mut Mailbox) -> Mail {
    let mut heard = None;
    until(SOON, || {
        heard = mailbox.next();
        heard.is_some()
    });
    heard.unwrap()
}

#[track_caller]
fn message(mailbox: &mut Mailbox) -> (Tag, String, bool) {
    match next(mailbox) {
        Mail::Message { tag, body, redelivered, .. } => {
            (tag, String::from_utf8(body).unwrap(), redelivered)
        }
        other => panic!("{other:?}"),
    }
}

fn ready(remote: &Remote, queue: &str) -> Option<(usize, usize)> {
    Rabbit::shared().messages(&remote.server.vhost, queue)
}

#[test]
fn a_message_comes_again_to_the_next_until_it_is_acknowledged() {
    let remote = Remote::new();
    let mut mailbox = open(&remote);
    let mut client = remote.client();
    client.declare(QUEUE).unwrap();
    client.publish(QUEUE, b"one").unwrap();
    client.publish(QUEUE, b"two").unwrap();
    let (one, text, redelivered) = message(&mut mailbox);
    assert_eq!((&*text, redelivered), ("one", false));
    assert_eq!(message(&mut mailbox).1, "two");
    mailbox.acknowledge(one);
    drop(mailbox);
    let mut mailbox = open(&remote);
    let (two, text, redelivered) = message(&mut mailbox);
    assert_eq!((&*text, redelivered), ("two", true));
    mailbox.acknowledge(two);
    until(SOON, || ready(&remote, QUEUE) == Some((0, 0)));
}

#[test]
fn what_is_for_a_queue_that_is_not_there_waits_for_it_and_makes_none() {
    let remote = Remote::new();
    let mut mailbox = open(&remote);
    mailbox.send(1, "later", b"x".to_vec());
    assert!(matches!(next(&mut mailbox), Mail::Missing(1)));
    mailbox.send(2, "q", b"y".to_vec());
    assert!(matches!(next(&mut mailbox), Mail::Sent(2)));
    assert_eq!(ready(&remote, "later"), None);
    remote.client().declare("later").unwrap();
    assert!(matches!(next(&mut mailbox), Mail::Sent(1)));
    until(SOON, || ready(&remote, "later") == Some((1, 0)));
}

#[test]
fn what_is_given_up_before_its_queue_is_there_never_comes() {
    let remote = Remote::new();
    let mut mailbox = open(&remote);
    for ticket in [1, 2] {
        mailbox.send(ticket, "later", ticket.to_string().into_bytes());
        assert!(matches!(next(&mut mailbox), Mail::Missing(missing) if missing == ticket));
    }
    mailbox.give_up(1);
    let mut heard = next(&mut mailbox);
    // It may have been on its way when it was given up, and found no queue once more.
    while matches!(heard, Mail::Missing(_)) {
        heard = next(&mut mailbox);
    }
    assert!(matches!(heard, Mail::GivenUp(1)), "{heard:?}");
    remote.client().declare("later").unwrap();
    assert!(matches!(next(&mut mailbox), Mail::Sent(2)));
    let mut client = remote.client();
    client.consume("later").unwrap();
    let came = client.next(Duration::from_secs(10)).unwrap().unwrap();
    assert_eq!(came.body, b"2");
    client.acknowledge(&came).unwrap();
    until(SOON, || ready(&remote, "later") == Some((0, 0)));
    mailbox.send(3, "q", b"y".to_vec());
    assert!(matches!(next(&mut mailbox), Mail::Sent(3)));
    // Too late.
    mailbox.give_up(3);
    mailbox.send(4, "q", b"y".to_vec());
    assert!(matches!(next(&mut mailbox), Mail::Sent(4)));
}

#[test]
fn only_one_reads_a_queue_and_the_next_begins_when_that_has_ended() {
    let remote = Remote::new();
    let first = open(&remote);
    let consumers = || Rabbit::shared().consumers(&remote.server.vhost, QUEUE);
    until(SOON, || consumers() == 1);
    let mut second = open(&remote);
    match next(&mut second) {
        Mail::Away(why) => assert!(why.contains("exclusive use"), "{why}"),
        other => panic!("{other:?}"),
    }
    drop(first);
    assert!(matches!(next(&mut second), Mail::Back));
    assert_eq!(consumers(), 1);
}

#[test]
fn all_that_is_sent_arrives_and_is_told_once_however_often_the_connection_is_lost() {
    const MANY: u64 = 300;
    let remote = Remote::new();
    let mut mailbox = open(&remote);
    let (mut told, mut losses) = (BTreeSet::new(), 0);
    for ticket in 0..MANY {
        mailbox.send(ticket, "q", ticket.to_string().into_bytes());
        if ticket % 60 == 30 {
            Rabbit::shared().close_connections(&remote.server.vhost);
        }
        while let Some(mail) = mailbox.next() {
            match mail {
                Mail::Sent(ticket) => assert!(told.insert(ticket), "{ticket} is told twice"),
                Mail::Away(_) => losses += 1,
                _ => {}
            }
        }
    }
    until(SOON, || {
        while let Some(mail) = mailbox.next() {
            match mail {
                Mail::Sent(ticket) => assert!(told.insert(ticket), "{ticket} is told twice"),
                Mail::Away(_) => losses += 1,
                _ => {}
            }
        }
        told.len() as u64 == MANY
    });
    assert!(losses > 0, "no connection was lost");
    let mut client = remote.client();
    client.consume("q").unwrap();
    let mut came = BTreeSet::new();
    while came.len() as u64 != MANY {
        let message = client.next(Duration::from_secs(10)).unwrap().unwrap();
        came.insert(String::from_utf8(message.body.clone()).unwrap());
        client.acknowledge(&message).unwrap();
    }
}

#[test]
fn what_was_in_hand_when_the_connection_was_lost_comes_again_by_another_name() {
    let remote = Remote::new();
    let mut mailbox = open(&remote);
    let mut client = remote.client();
    client.declare(QUEUE).unwrap();
    client.publish(QUEUE, b"one").unwrap();
    drop(client);
    let (old, ..) = message(&mut mailbox);
    Rabbit::shared().close_connections(&remote.server.vhost);
    assert!(matches!(next(&mut mailbox), Mail::Away(_)));
    assert!(matches!(next(&mut mailbox), Mail::Back));
    let (new, text, redelivered) = message(&mut mailbox);
    assert_eq!((&*text, redelivered), ("one", true));
    // Of a connection that is gone: it says nothing of what came since.
    mailbox.acknowledge(old);
    mailbox.send(1, "q", b"y".to_vec());
    assert!(matches!(next(&mut mailbox), Mail::Sent(1)));
    assert_eq!(ready(&remote, QUEUE), Some((0, 1)));
    mailbox.acknowledge(new);
    until(SOON, || ready(&remote, QUEUE) == Some((0, 0)));
}
