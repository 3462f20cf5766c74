//! One connection: how it is made, what is done over it, how it ends.
//!
//! The client library reads and writes on a thread of its own. A connection that is given up is shut
//! down below the library: whatever it waits for there, it ends.

use super::{Queue, Server, password};
use crate::trouble::without_number;
use futures_core::Stream;
use lapin::auth::AuthProvider;
use lapin::options::{
    BasicConsumeOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::tcp::AsyncTcpStream;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ConnectionStatus, Consumer, ExchangeKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long one step of connecting may take, and an answer of the broker.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds after which a silent connection says that it lives; after two of them it does not.
const HEARTBEAT: u16 = 20;
/// So long an answer is waited for at most while other things move: it may never come, as the confirm of
/// a queue without a majority.
pub(super) const SLOWEST: Duration = Duration::from_secs(1800);
/// Within a wait so many bytes do not move but over a connection that is slow: heartbeats are 8 each.
const MUCH: u64 = 64 << 10;
/// Largest frame: the library has 64 of them as buffers. What is longer goes in several.
const FRAME: u32 = 8192;

/// Tells the broker who we are; the password is read when it is wanted, and not kept.
struct Login {
    user: String,
    password: PathBuf,
}

impl AuthProvider for Login {
    fn mechanism(&self) -> ShortString {
        "PLAIN".into()
    }

    fn auth_starter(&self) -> Result<LongString, String> {
        let password = password::read(&self.password)?;
        Ok(password.starter(&self.user).into())
    }
}

/// The socket below a connection, once there is one.
#[derive(Clone, Default)]
struct Below(Arc<Mutex<Option<TcpStream>>>);

impl Below {
    fn set(&self, socket: &impl AsFd) -> std::io::Result<()> {
        let socket: OwnedFd = socket.as_fd().try_clone_to_owned()?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(TcpStream::from(socket));
        Ok(())
    }

    /// Returns how many bytes have moved over it; none where it has ended.
    fn moved(&self) -> u64 {
        let socket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = socket.as_ref().and_then(|it| linux::socket::moved(it.as_raw_fd()).ok());
        moved.unwrap_or_default()
    }

    fn end(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that is not connected any more is as good.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// A connection. Ends when it is dropped.
pub(super) struct Link {
    pub(super) connection: Connection,
    below: Below,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.below.end();
    }
}

/// Ends what is below a connection that does not come to be.
struct OrEnd(Option<Below>);

impl Drop for OrEnd {
    fn drop(&mut self) {
        if let Some(below) = &self.0 {
            below.end();
        }
    }
}

/// Returns why something went wrong, in words without line breaks.
pub(super) fn words(why: &dyn std::fmt::Display) -> String {
    let text = why.to_string();
    without_number(&text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl Link {
    /// Connects. `name`: what operators of the broker see.
    pub(super) async fn open(server: &Server, name: &str) -> Result<Self, String> {
        if server.tls && !cfg!(feature = "tls") {
            // The library would go on without.
            return Err("this program is built without TLS; build it with the feature tls".into());
        }
        // Before anybody is asked for anything: whoever has it wrong is told here.
        password::read(&server.password_file)?;
        let address = (server.host.clone(), server.port);
        let found = timeout(PATIENCE, tokio::net::lookup_host(address)).await;
        let found = found.map_err(|_| "its name is not answered".to_owned())?;
        let all: Vec<SocketAddr> = found.map_err(|why| words(&why))?.collect();
        let mut last = "its name has no address".to_owned();
        for address in all {
            match Self::to(server, name, address).await {
                Ok(link) => return Ok(link),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    async fn to(server: &Server, name: &str, address: SocketAddr) -> Result<Self, String> {
        let below = Below::default();
        let mut or_end = OrEnd(Some(below.clone()));
        let properties =
            ConnectionProperties::default().with_connection_name(name.into()).with_auth_provider(
                Login { user: server.user.clone(), password: server.password_file.clone() },
            );
        let runtime = lapin::runtime::default_runtime().map_err(|why| words(&why))?;
        let keep = below.clone();
        #[cfg(feature = "tls")]
        let tls = if server.tls {
            Some((super::tls::connector(server.ca.as_ref())?, server.host.clone()))
        } else {
            None
        };
        let connect = Connection::connector(
            uri(server),
            runtime,
            async move |_, runtime| {
                let stream = AsyncTcpStream::connect(&runtime, address).await?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    plain.get_ref().set_nodelay(true)?;
                    keep.set(plain.get_ref())?;
                }
                #[cfg(feature = "tls")]
                if let Some((trusted, host)) = &tls {
                    return Ok(super::tls::encrypted(stream, trusted, host).await?);
                }
                Ok(stream)
            },
            properties,
        );
        let connection = timeout(PATIENCE, connect).await;
        let connection = connection.map_err(|_| "it does not answer".to_owned())?;
        let connection = connection.map_err(|why| words(&why))?;
        or_end.0 = None;
        Ok(Self { connection, below })
    }

    /// Returns once the connection has ended, and why. `blocked` is told why the broker takes nothing,
    /// and by `None` that it does again: an alarm of its memory or its disk.
    pub(super) fn ended(
        &self,
        blocked: impl Fn(Option<String>) + Send + 'static,
    ) -> impl Future<Output = String> + Send + 'static {
        let mut events = Box::pin(self.connection.events_listener());
        async move {
            loop {
                let next = std::future::poll_fn(|cx| Stream::poll_next(Pin::new(&mut events), cx));
                match next.await {
                    Some(lapin::Event::ConnectionBlocked(why)) => blocked(Some(words(&why))),
                    Some(lapin::Event::ConnectionUnblocked) => blocked(None),
                    // A channel is closed by a soft one, where an item takes longer than the broker
                    // waits for acknowledgements, say: its line tells that.
                    Some(lapin::Event::Error(why)) if why.is_amqp_soft_error() => {}
                    Some(lapin::Event::Error(why)) => return words(&why),
                    Some(_) => {}
                    None => return "the connection has ended".to_owned(),
                }
            }
        }
    }

    /// Returns who waits for answers on it.
    pub(super) fn patient(&self) -> Patient {
        Patient { status: self.connection.status().clone(), below: self.below.clone() }
    }

    /// Opens a channel; waits as long as the broker reads nothing, or what stands before it moves.
    pub(super) async fn channel(&self) -> Result<Channel, String> {
        self.patient().answered(self.connection.create_channel()).await
    }

    /// Opens a channel on which what is published is confirmed.
    pub(super) async fn publisher(&self) -> Result<Channel, String> {
        let channel = self.channel().await?;
        let asked = channel.confirm_select(ConfirmSelectOptions::default());
        self.patient().answered(asked).await?;
        Ok(channel)
    }
}

fn uri(server: &Server) -> AMQPUri {
    AMQPUri {
        // What is below is made ready by ourselves.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            // The password comes from elsewhere.
            userinfo: AMQPUserInfo { username: server.user.clone(), password: String::new() },
            host: server.host.clone(),
            port: server.port,
        },
        vhost: server.vhost.clone(),
        query: AMQPQueryString {
            frame_max: Some(FRAME),
            heartbeat: Some(HEARTBEAT),
            ..AMQPQueryString::default()
        },
    }
}

/// Waits for answers on a connection as long as the broker reads nothing of it, or the way there is slow:
/// an answer stands behind all that moves before it.
#[derive(Clone)]
pub(super) struct Patient {
    status: ConnectionStatus,
    below: Below,
}

impl Patient {
    /// Tells whether the broker reads nothing.
    pub(super) fn is_blocked(&self) -> bool {
        self.status.blocked()
    }

    /// Returns how many bytes have moved so far, in either direction.
    pub(super) fn moved(&self) -> u64 {
        self.below.moved()
    }

    /// Tells whether much has moved since that many had.
    pub(super) fn has_moved(&self, since: u64) -> bool {
        self.moved().saturating_sub(since) >= MUCH
    }

    /// Waits for an answer of the broker.
    pub(super) async fn answered<T>(
        &self,
        asked: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, String> {
        self.answered_within(PATIENCE, asked).await
    }

    /// Waits for an answer that may take so long.
    pub(super) async fn answered_within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, String> {
        let mut asked = std::pin::pin!(asked);
        let mut since = Instant::now();
        loop {
            // What was asked before stands behind all that the broker has not read.
            let (was_blocked, moved) = (self.is_blocked(), self.moved());
            match timeout(limit, &mut asked).await {
                Ok(answer) => return answer.map_err(|why| words(&why)),
                Err(_) if was_blocked || self.is_blocked() => since = Instant::now(),
                Err(_) if self.has_moved(moved) && since.elapsed() < SLOWEST => {}
                Err(_) => return Err("it does not answer".to_owned()),
            }
        }
    }
}

/// Waits for an answer of the broker.
pub(super) async fn answered<T>(
    asked: impl Future<Output = lapin::Result<T>>,
) -> Result<T, String> {
    match timeout(PATIENCE, asked).await {
        Ok(answer) => answer.map_err(|why| words(&why)),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// Declares a participant's queue.
pub(super) async fn declare(channel: &Channel, queue: &Queue) -> Result<(), String> {
    let mut arguments = FieldTable::default();
    let text = |text: &str| AMQPValue::LongString(text.into());
    if queue.is_quorum {
        arguments.insert("x-queue-type".into(), text("quorum"));
    }
    if let Some(limit) = queue.delivery_limit {
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(limit));
    }
    if let Some(exchange) = &queue.dead_letter_exchange {
        arguments.insert("x-dead-letter-exchange".into(), text(exchange));
    }
    declare_durable(channel, &queue.name, arguments).await
}

async fn declare_durable(
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), String> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = answered(channel.queue_declare(name.into(), options, arguments)).await;
    declared.map(drop).map_err(|why| format!("unable to declare the queue {name}: {why}"))
}

/// Asks for a queue: how many messages are ready in it and how many consumers it has. Where there is
/// none the channel is of no use any more.
pub(super) async fn look(
    (channel, patient): (&Channel, &Patient),
    name: &str,
) -> Result<(u32, u32), String> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asked = channel.queue_declare(name.into(), options, FieldTable::default());
    patient.answered(asked).await.map(|queue| (queue.message_count(), queue.consumer_count()))
}

/// Makes sure that there is where a queue's dead messages are to go: the broker throws them away
/// else, and tells nobody.
pub(super) async fn find_dead_letter_exchange(link: &Link, name: &str) -> Result<(), String> {
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    let (channel, none) = (link.channel().await?, FieldTable::default());
    let asked = channel.exchange_declare(name.into(), ExchangeKind::Direct, passive, none);
    answered(asked).await.map_err(|why| format!("unable to use dead-letter-exchange {name}: {why}"))
}

/// Makes sure that there is a queue of this name, whoever made it and how.
pub(super) async fn ensure(link: &Link, name: &str) -> Result<(), String> {
    if look((&link.channel().await?, &link.patient()), name).await.is_ok() {
        return Ok(());
    }
    declare_durable(&link.channel().await?, name, FieldTable::default()).await
}

/// Declares a fanout exchange that outlives the broker.
pub(super) async fn declare_fanout(
    (channel, patient): (&Channel, &Patient),
    exchange: &str,
) -> Result<(), String> {
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let none = FieldTable::default();
    let asked = channel.exchange_declare(exchange.into(), ExchangeKind::Fanout, durable, none);
    let declared = patient.answered(asked).await;
    declared.map_err(|why| format!("unable to declare the exchange {exchange}: {why}"))
}

/// What comes by a fanout exchange. Ends when it is dropped.
pub(super) struct Heard {
    /// By which it comes.
    pub(super) queue: ShortString,
    _channel: Channel,
    _consumer: Consumer,
}

/// Has everything that is published to a fanout exchange come to `take`.
pub(super) async fn listen(
    link: &Link,
    exchange: &str,
    take: impl Fn(&str, Vec<u8>) + Send + Sync + 'static,
) -> Result<Heard, String> {
    let channel = link.channel().await?;
    declare_fanout((&channel, &link.patient()), exchange).await?;
    let none = FieldTable::default;
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = answered(channel.queue_declare("".into(), own, none())).await?.name().clone();
    // Before the binding: what may not be read must not pile up.
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer =
        answered(channel.basic_consume(queue.clone(), "".into(), options, none())).await?;
    consumer.set_delegate(move |delivery: lapin::message::DeliveryResult| {
        if let Ok(Some(delivery)) = delivery {
            take(delivery.routing_key.as_str(), delivery.data);
        }
        std::future::ready(())
    });
    bind((&channel, &link.patient()), exchange, &queue).await?;
    Ok(Heard { queue, _channel: channel, _consumer: consumer })
}

/// Makes sure that there is a fanout exchange and that a queue has all that is published there.
pub(super) async fn bind_fanout(
    on: (&Channel, &Patient),
    exchange: &str,
    queue: &ShortString,
) -> Result<(), String> {
    declare_fanout(on, exchange).await?;
    bind(on, exchange, queue).await
}

async fn bind(
    (channel, patient): (&Channel, &Patient),
    exchange: &str,
    queue: &ShortString,
) -> Result<(), String> {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    let asked = channel.queue_bind(queue.clone(), exchange.into(), "".into(), options, none);
    patient.answered(asked).await
}
