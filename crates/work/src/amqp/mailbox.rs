//! The messages of a queue, and a way to send some, for whoever has a loop of its own and no store:
//! an engine.
//!
//! As with a broker a call queues a wish, and what came of it is heard of later. A connection that is
//! lost is made anew, without end. What was sent and is not known to be safe is sent again then;
//! what was not acknowledged comes again. What is for a queue that is not there waits until it is. One
//! over which the broker takes nothing is no lost one: it has an alarm, and is waited for.
//! No two read one queue: the broker refuses the second, which tries again as if it were away.

use super::link::{Link, Patient, answered, declare_fanout, ensure, look, words};
use super::tasks::{LOOK, Life, Published, begin, begun, most_taken};
use super::thread::{CLOSING, GOOD, RECONNECT};
use super::{Server, runtime};
use crate::change::Refused;
use crate::outbox::{self, Inbox, Outbox};
use crate::wire::CONTROL_EXCHANGE;
use lapin::message::DeliveryResult;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// Messages that are on their way to us before they are acknowledged.
pub const AHEAD: u16 = 50;

/// Between two tries to send to a queue that is not there: at first, and at most.
const FIRST_AGAIN: Duration = Duration::from_millis(500);
const LAST_AGAIN: Duration = Duration::from_secs(15);

/// Names a message as long as its connection lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(Life, u64);

impl Tag {
    /// Returns the number of its connection, the first one's being 1.
    #[must_use]
    pub const fn connection(self) -> u64 {
        self.0
    }
}

/// What is heard.
#[derive(Debug)]
pub enum Mail {
    /// A message.
    Message {
        /// To acknowledge it by.
        tag: Tag,
        /// Its bytes.
        body: Vec<u8>,
        /// What its sender calls it, if anything.
        id: Option<String>,
        /// It was delivered before, and not acknowledged.
        redelivered: bool,
    },
    /// What was sent under this number is safe in its queue.
    Sent(u64),
    /// There is no such queue; it waits until there is. Told once.
    Missing(u64),
    /// The broker did not take it, as where the queue is full; it waits until it does. Told once.
    Refused(u64),
    /// It was given up before it was in its queue, and goes nowhere.
    GivenUp(u64),
    /// It is larger than what the broker takes, and why that is so; it goes nowhere.
    TooLarge(u64, String),
    /// There is no connection, and why. It is tried again.
    Away(String),
    /// There is one again.
    Back,
    /// The broker takes nothing, and why: an alarm of its memory or its disk. What is to be sent waits.
    Blocked(String),
    /// It does again.
    Unblocked,
}

/// Something to be sent.
struct Letter {
    exchange: &'static str,
    queue: String,
    body: Arc<Vec<u8>>,
    /// It is on its way, and will be confirmed.
    flies: bool,
    /// An earlier connection ended before it was confirmed: it may be in its queue.
    perhaps: bool,
    /// So often there was no such queue, or it did not take it.
    vain: u32,
    is_unwanted: bool,
}

impl Letter {
    fn new(exchange: &'static str, queue: &str, body: Vec<u8>) -> Self {
        let (queue, body) = (queue.to_owned(), Arc::new(body));
        let (flies, perhaps, is_unwanted) = (false, false, false);
        Self { exchange, queue, body, flies, perhaps, vain: 0, is_unwanted }
    }
}

enum Input {
    Send(u64, Letter),
    GiveUp(u64),
    /// It is time to send it again.
    Again(Life, u64),
    Acknowledge(Tag),
    Close,
    Opened(Life, Result<Box<Open>, String>),
    Came(Life, Box<DeliveryResult>),
    Confirmed(Life, u64, Published),
    /// The broker takes nothing, and why, or does again.
    Blocked(Life, Option<String>),
    Ended(Life, String),
}

/// A connection in use.
struct Open {
    link: Link,
    reader: Channel,
    publisher: Channel,
    consumer: Consumer,
    since: Instant,
}

/// The loop's end.
pub struct Mailbox {
    inputs: UnboundedSender<Input>,
    inbox: Inbox<Mail>,
    thread: Option<JoinHandle<()>>,
}

impl Mailbox {
    /// Begins to connect, and to have the messages of a queue come, which is made where there is
    /// none. `name`: what operators of the broker see.
    ///
    /// # Errors
    /// There is no thread or socket to be had.
    pub fn open(server: Server, name: &str, queue: &str) -> io::Result<Self> {
        let (outbox, inbox) = outbox::pair()?;
        let (inputs, incoming) = unbounded_channel();
        let runtime = runtime()?;
        let (name, queue, to_self) = (name.to_owned(), queue.to_owned(), inputs.clone());
        let thread = std::thread::Builder::new().name("mailbox".to_owned()).spawn(move || {
            let clerk = Clerk {
                server,
                name,
                queue,
                outbox,
                to_self,
                life: 0,
                open: None,
                unsent: BTreeMap::new(),
                vain: 0,
                is_away: false,
                is_blocked: false,
            };
            runtime.block_on(clerk.run(incoming));
        })?;
        Ok(Self { inputs, inbox, thread: Some(thread) })
    }

    /// Returns what becomes readable when there is something to hear.
    #[must_use]
    pub fn wakeup(&self) -> BorrowedFd<'_> {
        self.inbox.wakeup()
    }

    /// Returns what there is to hear.
    #[expect(clippy::should_implement_trait, reason = "there may be more after none")]
    pub fn next(&mut self) -> Option<Mail> {
        self.inbox.next()
    }

    /// Sends a message to a queue; [`Mail::Sent`] tells of its end. Each number is another one.
    pub fn send(&self, ticket: u64, queue: &str, body: Vec<u8>) {
        self.tell(Input::Send(ticket, Letter::new("", queue, body)));
    }

    /// Gives up what was sent and is not known to be in its queue: [`Mail::GivenUp`] where it never
    /// will be, [`Mail::Sent`] where it is too late.
    pub fn give_up(&self, ticket: u64) {
        self.tell(Input::GiveUp(ticket));
    }

    /// Sends a message to every exo of the virtual host.
    pub fn announce(&self, ticket: u64, body: Vec<u8>) {
        self.tell(Input::Send(ticket, Letter::new(CONTROL_EXCHANGE, "", body)));
    }

    /// Says that a message is done with. Where its connection is gone it comes again.
    pub fn acknowledge(&self, tag: Tag) {
        self.tell(Input::Acknowledge(tag));
    }

    fn tell(&self, input: Input) {
        // The thread ends after us.
        let _ = self.inputs.send(input);
    }
}

impl Drop for Mailbox {
    /// What is to be sent goes, as far as the broker takes it soon.
    fn drop(&mut self) {
        self.tell(Input::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread does.
struct Clerk {
    server: Server,
    name: String,
    queue: String,
    outbox: Outbox<Mail>,
    to_self: UnboundedSender<Input>,
    life: Life,
    open: Option<Box<Open>>,
    unsent: BTreeMap<u64, Letter>,
    /// Connections in a row that came to nothing.
    vain: u32,
    is_away: bool,
    /// The broker takes nothing over this connection.
    is_blocked: bool,
}

impl Clerk {
    async fn run(mut self, mut inputs: UnboundedReceiver<Input>) {
        self.connect();
        let mut closing = None;
        loop {
            let left = closing
                .map_or(Duration::MAX, |at: Instant| at.saturating_duration_since(Instant::now()));
            let is_done = self.open.is_none() || !self.unsent.values().any(|it| it.flies);
            if closing.is_some() && (is_done || left.is_zero()) {
                break;
            }
            match timeout(left, inputs.recv()).await {
                Ok(Some(Input::Close)) => closing = Some(Instant::now() + CLOSING),
                Ok(Some(input)) => self.heed(input),
                Ok(None) | Err(_) => break,
            }
        }
        // While the broker takes nothing, that would not be told.
        if let Some(open) = self.open.take().filter(|open| !open.link.patient().is_blocked()) {
            // In good order, so that what was said last arrives.
            let _ = answered(open.link.connection.close(200, "OK".into())).await;
        }
    }

    fn heed(&mut self, input: Input) {
        let life = self.life;
        match input {
            Input::Send(ticket, letter) => {
                self.unsent.insert(ticket, letter);
                self.push(ticket);
            }
            Input::GiveUp(ticket) => self.give_up(ticket),
            Input::Again(of, ticket) if of == life => self.push(ticket),
            Input::Acknowledge(Tag(of, tag)) if of == life => self.acknowledge(tag),
            Input::Opened(of, Ok(open)) if of == life => self.use_it(open),
            Input::Opened(of, Err(why)) | Input::Ended(of, why) if of == life => self.lost(&why),
            Input::Came(of, came) if of == life => self.came(*came),
            Input::Blocked(of, why) if of == life => self.blocked(why),
            Input::Confirmed(of, ticket, became) => {
                let unsure =
                    if let Published::Unsure(why) = &became { Some(why.clone()) } else { None };
                if of == life {
                    self.confirmed(ticket, became);
                }
                // Whatever was said first of a channel that the broker closed: this says why.
                if let Some(why) = unsure {
                    self.drop_what_is_too_large(&why);
                }
            }
            // Of a connection that was given up.
            _ => {}
        }
    }

    fn tell(&mut self, mail: Mail) {
        self.outbox.publish(&mut vec![mail]);
    }

    /// Begins to connect, after a while where the last times were in vain.
    fn connect(&mut self) {
        self.life += 1;
        let (life, to_self) = (self.life, self.to_self.clone());
        let (server, name, queue) = (self.server.clone(), self.name.clone(), self.queue.clone());
        let seed = u64::from(std::process::id()) << 32 ^ life;
        let vain = self.vain;
        tokio::spawn(async move {
            if vain > 0 {
                // Unless all is over meanwhile.
                let _ = timeout(RECONNECT.after(vain, seed), to_self.closed()).await;
            }
            let opened = open(&server, &name, &queue, (life, &to_self)).await;
            let _ = to_self.send(Input::Opened(life, opened.map(Box::new)));
        });
    }

    fn use_it(&mut self, open: Box<Open>) {
        let (life, take) = (self.life, self.to_self.clone());
        // Not before: what is acknowledged needs a connection that is in use.
        open.consumer.set_delegate(move |came: DeliveryResult| {
            let _ = take.send(Input::Came(life, Box::new(came)));
            std::future::ready(())
        });
        self.open = Some(open);
        if std::mem::take(&mut self.is_away) {
            self.tell(Mail::Back);
        }
        self.push_all();
    }

    /// The broker takes nothing, or does again.
    fn blocked(&mut self, why: Option<String>) {
        let was_blocked = std::mem::replace(&mut self.is_blocked, why.is_some());
        match why {
            Some(why) if !was_blocked => self.tell(Mail::Blocked(why)),
            None if was_blocked => {
                self.tell(Mail::Unblocked);
                self.push_all();
            }
            Some(_) | None => {}
        }
    }

    fn push_all(&mut self) {
        let tickets: Vec<u64> = self.unsent.keys().copied().collect();
        for ticket in tickets {
            self.push(ticket);
        }
    }

    fn lost(&mut self, why: &str) {
        let was_good = self.open.take().is_some_and(|open| open.since.elapsed() >= GOOD);
        self.vain = if was_good { 1 } else { self.vain.saturating_add(1) };
        self.is_blocked = false;
        for letter in self.unsent.values_mut() {
            letter.perhaps |= std::mem::take(&mut letter.flies);
        }
        if !std::mem::replace(&mut self.is_away, true) {
            let Server { host, port, .. } = &self.server;
            let line = format!("not connected to RabbitMQ at {host}:{port}: {}", words(&why));
            self.tell(Mail::Away(line));
        }
        self.connect();
    }

    fn came(&mut self, came: DeliveryResult) {
        match came {
            Ok(Some(delivery)) => self.tell(Mail::Message {
                tag: Tag(self.life, delivery.delivery_tag),
                id: delivery.properties.message_id().as_ref().map(ToString::to_string),
                redelivered: delivery.redelivered,
                body: delivery.data,
            }),
            Ok(None) => self.lost("the broker sends no more of the queue"),
            Err(why) => self.lost(&words(&why)),
        }
    }

    /// Publishes something, where there is a connection over which the broker takes it; if not, when
    /// there is one.
    fn push(&mut self, ticket: u64) {
        let open = self.open.as_ref().filter(|_| !self.is_blocked);
        let (Some(open), Some(letter)) = (open, self.unsent.get_mut(&ticket)) else { return };
        if std::mem::replace(&mut letter.flies, true) {
            return;
        }
        // At once, so that all goes in order. What comes of it is waited for elsewhere: an alarm that
        // begins just now may last.
        let confirmed = begun(publish(open.publisher.clone(), letter));
        let (patient, life, to_self) = (open.link.patient(), self.life, self.to_self.clone());
        tokio::spawn(async move {
            let confirmed = patient.answered_within(3 * LOOK, confirmed).await;
            let became = confirmed.map_or_else(Published::Unsure, Published::from);
            let _ = to_self.send(Input::Confirmed(life, ticket, became));
        });
    }

    /// Gives up what the broker closes a channel for, each time that it comes.
    fn drop_what_is_too_large(&mut self, why: &str) {
        let sizes = self.unsent.iter().map(|(ticket, letter)| (*ticket, letter.body.len()));
        let Some(most) = most_taken(why, sizes.clone().map(|(_, bytes)| bytes)) else { return };
        let large: Vec<(u64, usize)> = sizes.filter(|(_, bytes)| *bytes > most).collect();
        for (ticket, bytes) in large {
            let is_unwanted = self.unsent.remove(&ticket).is_some_and(|it| it.is_unwanted);
            let why = Refused::TooLarge { bytes, most }.to_string();
            self.tell(if is_unwanted {
                Mail::GivenUp(ticket)
            } else {
                Mail::TooLarge(ticket, why)
            });
        }
    }

    fn confirmed(&mut self, ticket: u64, became: Published) {
        let Some(letter) = self.unsent.get_mut(&ticket) else { return };
        letter.flies = false;
        let mail = match became {
            Published::Unsure(why) => {
                letter.perhaps = true;
                return self.lost(&format!("what was published is not confirmed: {why}"));
            }
            Published::Safe => Mail::Sent(ticket),
            Published::Nowhere | Published::Refused if letter.is_unwanted => Mail::GivenUp(ticket),
            Published::Nowhere => return self.again(ticket, Mail::Missing(ticket)),
            Published::Refused => return self.again(ticket, Mail::Refused(ticket)),
        };
        self.unsent.remove(&ticket);
        self.tell(mail);
    }

    /// Has it sent again after a while, which is twice as long each time. `why` is told once.
    fn again(&mut self, ticket: u64, why: Mail) {
        let Some(letter) = self.unsent.get_mut(&ticket) else { return };
        // Whatever was sent before, it was for the same queue.
        letter.perhaps = false;
        let wait = FIRST_AGAIN.saturating_mul(1 << letter.vain.min(10)).min(LAST_AGAIN);
        letter.vain = letter.vain.saturating_add(1);
        let is_first = letter.vain == 1;
        let (life, to_self) = (self.life, self.to_self.clone());
        tokio::spawn(async move {
            let _ = timeout(wait, to_self.closed()).await;
            let _ = to_self.send(Input::Again(life, ticket));
        });
        if is_first {
            self.tell(why);
        }
    }

    fn give_up(&mut self, ticket: u64) {
        let Some(letter) = self.unsent.get_mut(&ticket) else { return };
        if letter.flies || letter.perhaps {
            letter.is_unwanted = true;
        } else {
            self.unsent.remove(&ticket);
            self.tell(Mail::GivenUp(ticket));
        }
    }

    fn acknowledge(&mut self, tag: u64) {
        if let Some(open) = &self.open {
            begin(open.reader.basic_ack(tag, BasicAckOptions::default()));
        }
    }
}

/// Sends something; the answer is the broker's confirm.
fn publish(
    channel: Channel,
    letter: &Letter,
) -> impl Future<Output = lapin::Result<Confirmation>> + Send + use<> {
    let (exchange, queue) = (letter.exchange, letter.queue.clone());
    let body = Arc::clone(&letter.body);
    async move {
        let options = BasicPublishOptions {
            mandatory: exchange.is_empty(),
            ..BasicPublishOptions::default()
        };
        let properties =
            BasicProperties::default().with_content_type("text/plain".into()).with_delivery_mode(2);
        let (exchange, queue) = (exchange.into(), queue.as_str().into());
        channel.basic_publish(exchange, queue, options, &body, properties).await?.await
    }
}

/// Connects, and begins to read.
async fn open(
    server: &Server,
    name: &str,
    queue: &str,
    (life, to_self): (Life, &UnboundedSender<Input>),
) -> Result<Open, String> {
    let link = Link::open(server, name).await?;
    let publisher = link.publisher().await?;
    declare_fanout((&publisher, &link.patient()), CONTROL_EXCHANGE).await?;
    ensure(&link, queue).await?;
    let reader = link.channel().await?;
    answered(reader.basic_qos(AHEAD, BasicQosOptions::default())).await?;
    let consumer = answered(reader.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() },
        FieldTable::default(),
    ))
    .await
    .map_err(|why| format!("unable to consume from {queue}: {why}"))?;
    let for_blocked = to_self.clone();
    let ended = link.ended(move |why| {
        let _ = for_blocked.send(Input::Blocked(life, why));
    });
    let to_end = to_self.clone();
    tokio::spawn(async move {
        let _ = to_end.send(Input::Ended(life, ended.await));
    });
    let watched = (link.channel().await?, link.patient());
    tokio::spawn(watch(watched, queue.to_owned(), (life, to_self.clone())));
    Ok(Open { link, reader, publisher, consumer, since: Instant::now() })
}

/// Looks at the queue again and again: that the broker answers at all, and knows that we consume.
async fn watch(
    (channel, patient): (Channel, Patient),
    queue: String,
    (life, to_self): (Life, UnboundedSender<Input>),
) {
    while timeout(LOOK, to_self.closed()).await.is_err() {
        let why = match look((&channel, &patient), &queue).await {
            Ok((_, 0)) => "the broker knows of no consumer".to_owned(),
            Ok(_) => continue,
            Err(why) => why,
        };
        let _ = to_self.send(Input::Ended(life, why));
        return;
    }
}
