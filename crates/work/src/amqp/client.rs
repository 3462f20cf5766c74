//! A plain connection for whoever publishes and reads a few messages: a tool, an engine, a test.
//!
//! ```no_run
//! use std::time::Duration;
//! use work::amqp::{Client, Server};
//! # fn main() -> Result<(), String> {
//! let server = Server {
//!     host: "localhost".into(), port: 5672, vhost: "boss".into(), user: "boss".into(),
//!     password_file: "/etc/skynet/boss.password".into(), tls: false, ca: None,
//! };
//! let mut client = Client::connect(&server, "skynet register")?;
//! client.declare("ruote_workitems")?;
//! client.publish("ruote_workitems", &work::wire::register("sizer", "sizer"))?;
//! client.consume("ruote_workitems")?;
//! while let Some(message) = client.next(Duration::from_secs(1))? {
//!     println!("{} bytes", message.body.len());
//!     client.acknowledge(&message)?;
//! }
//! # Ok(())
//! # }
//! ```

use super::link::{Link, answered, declare_fanout, ensure};
use super::tasks::{self, Published};
use super::{Server, runtime};
use crate::trouble::reason;
use crate::wire::ATTEMPT;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Consumer};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Messages that are on their way to us before they are acknowledged.
const AHEAD: u16 = 50;

/// Delivery mode of a message that is written to the disk.
const PERSISTENT: u8 = 2;

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Its bytes.
    pub body: Vec<u8>,
    /// It was delivered before, and not acknowledged.
    pub redelivered: bool,
    /// What its sender calls it, if anything.
    pub id: Option<String>,
    /// Number of the attempt that it is the answer of, as exo says it.
    pub attempt: Option<i64>,
    /// What its sender says it is, by a name of MIME.
    pub content_type: Option<String>,
    /// It survives a restart of the broker, where its queue does.
    pub is_persistent: bool,
    tag: u64,
}

/// A connection. Each call waits for its answer, ten seconds at most, or as long as the broker takes
/// nothing or what stands before it moves, and says in words what went wrong; after that connect anew.
/// What is not acknowledged goes back when this is dropped.
pub struct Client {
    runtime: Runtime,
    link: Link,
    publisher: Channel,
    reader: Channel,
    consumers: Vec<Consumer>,
    came: UnboundedReceiver<lapin::message::DeliveryResult>,
    take: UnboundedSender<lapin::message::DeliveryResult>,
}

impl Client {
    /// Connects. `name`: what operators of the broker see.
    ///
    /// # Errors
    /// Why not, in words: after "unable to connect to HOST:PORT: ".
    pub fn connect(server: &Server, name: &str) -> Result<Self, String> {
        let runtime = runtime().map_err(|why| reason(&why))?;
        let (take, came) = unbounded_channel();
        let (link, publisher, reader) = runtime.block_on(async {
            let link = Link::open(server, name).await?;
            let publisher = link.publisher().await?;
            let reader = link.channel().await?;
            answered(reader.basic_qos(AHEAD, BasicQosOptions::default())).await?;
            Ok::<_, String>((link, publisher, reader))
        })?;
        Ok(Self { runtime, link, publisher, reader, consumers: Vec::new(), came, take })
    }

    /// Has `tell` hear, while a call waits, why the broker takes nothing, and by `None` that it does
    /// again: an alarm of its memory or its disk.
    pub fn tell_blocked(&mut self, tell: impl Fn(Option<&str>) + Send + 'static) {
        let ended = self.link.ended(move |why| tell(why.as_deref()));
        // That it has ended is said by each call.
        self.runtime.spawn(async move { drop(ended.await) });
    }

    /// Makes sure that there is a queue; a new one is durable.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn declare(&mut self, queue: &str) -> Result<(), String> {
        self.runtime.block_on(ensure(&self.link, queue))
    }

    /// Puts a message into a queue. When this returns it is safe there.
    ///
    /// # Errors
    /// Why not, in words; that there is no such queue, too.
    pub fn publish(&mut self, queue: &str, body: &[u8]) -> Result<(), String> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        match self.published("", queue, options, body)? {
            Published::Safe => Ok(()),
            Published::Nowhere => Err(format!("there is no queue {queue}")),
            Published::Refused => Err(format!("the broker did not take it for {queue}")),
            Published::Unsure(why) => Err(why),
        }
    }

    /// Puts a message into a fanout exchange, for whoever listens there.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn announce(&mut self, exchange: &str, body: &[u8]) -> Result<(), String> {
        let on = (&self.publisher, &self.link.patient());
        self.runtime.block_on(declare_fanout(on, exchange))?;
        self.published(exchange, "", BasicPublishOptions::default(), body).map(drop)
    }

    fn published(
        &mut self,
        exchange: &str,
        key: &str,
        options: BasicPublishOptions,
        body: &[u8],
    ) -> Result<Published, String> {
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_delivery_mode(PERSISTENT);
        self.runtime.block_on(async {
            let asked = self.publisher.basic_publish(
                exchange.into(),
                key.into(),
                options,
                body,
                properties,
            );
            let patient = self.link.patient();
            patient.answered(patient.answered(asked).await?).await.map(Published::from)
        })
    }

    /// Has the messages of a queue come to [`next`](Self::next), too.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn consume(&mut self, queue: &str) -> Result<(), String> {
        let take = self.take.clone();
        let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
        let asked = self.reader.basic_consume(queue.into(), "".into(), options, none);
        let consumer = self.runtime.block_on(self.link.patient().answered(asked))?;
        consumer.set_delegate(move |delivery: lapin::message::DeliveryResult| {
            // Whoever does not listen any more has dropped the connection.
            let _ = take.send(delivery);
            std::future::ready(())
        });
        self.consumers.push(consumer);
        Ok(())
    }

    /// Returns the next message; `None` = there was none for so long.
    ///
    /// # Errors
    /// The connection, or a consumer, has ended.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Message>, String> {
        let next =
            self.runtime.block_on(async { tokio::time::timeout(patience, self.came.recv()).await });
        match next {
            Err(_) => Ok(None),
            Ok(Some(Ok(Some(delivery)))) => Ok(Some(Message {
                redelivered: delivery.redelivered,
                tag: delivery.delivery_tag,
                id: delivery.properties.message_id().as_ref().map(ToString::to_string),
                attempt: tasks::number(&delivery.properties, ATTEMPT),
                content_type: delivery.properties.content_type().as_ref().map(ToString::to_string),
                is_persistent: *delivery.properties.delivery_mode() == Some(PERSISTENT),
                body: delivery.data,
            })),
            Ok(Some(Err(why))) => Err(super::link::words(&why)),
            Ok(Some(Ok(None)) | None) => Err("the broker sends no more of the queue".to_owned()),
        }
    }

    /// Says that a message is done with.
    ///
    /// # Errors
    /// Why not, in words: it comes again.
    pub fn acknowledge(&mut self, message: &Message) -> Result<(), String> {
        let asked = self.reader.basic_ack(message.tag, BasicAckOptions::default());
        self.runtime.block_on(self.link.patient().answered(asked))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.link.patient().is_blocked() {
            // It would not be told.
            return;
        }
        // In good order, so that what was said last arrives.
        let _ = self.runtime.block_on(answered(self.link.connection.close(200, "OK".into())));
    }
}
