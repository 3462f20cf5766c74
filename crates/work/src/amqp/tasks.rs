//! What is done over a connection without anybody waiting for it: each task tells the thread what
//! came of it.

use super::Settings;
use super::air::{self, Air};
use super::link::{Link, PATIENCE, answered, declare, ensure, listen, look};
use super::thread::Input;
use crate::wire::CONTROL_EXCHANGE;
use futures_core::Stream;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Consumer};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Between two looks at the queue.
pub(super) const LOOK: Duration = Duration::from_secs(10);

/// Number of a connection; what is told of an earlier one is not heeded.
pub(super) type Life = u64;

/// What a line is to do, in this order.
pub(super) enum Order {
    Consume,
    Cancel,
    /// The message is settled for good.
    Ack(u64),
    /// The message is put back, or thrown away.
    Nack {
        tag: u64,
        requeue: bool,
    },
}

/// What a line did, or what came to it.
#[derive(Debug)]
pub(super) enum Said {
    /// It consumes.
    Consumes,
    /// A message.
    Message { tag: u64, body: Vec<u8> },
    /// It consumes no more, as it was ordered.
    Idle,
    /// The broker ended the consumer.
    Unwanted,
    /// The channel is of no use any more: the broker closed it, as where an item took longer than
    /// its time-out for acknowledgements, or all of the connection is lost.
    Gone,
}

/// Something to be published.
pub(super) struct Publication {
    /// Names it in [`Input::Published`].
    pub(super) token: u64,
    pub(super) exchange: &'static str,
    pub(super) key: String,
    pub(super) body: Arc<Vec<u8>>,
    pub(super) id: Option<String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Published {
    Safe,
    /// There is no such queue.
    Nowhere,
    /// Nobody knows.
    Unsure,
}

/// Who tells the thread.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) life: Life,
    pub(super) inputs: UnboundedSender<Input>,
}

impl Teller {
    pub(super) fn tell(&self, input: Input) {
        // Where nobody listens any more all is over.
        let _ = self.inputs.send(input);
    }

    fn line(&self, line: u64, said: Said) {
        self.tell(Input::Line { life: self.life, line, said });
    }

    pub(super) fn lost(&self, why: String) {
        self.tell(Input::Lost { life: self.life, why });
    }
}

/// What has to live as long as its connection.
pub(super) struct Kept {
    _control: (Channel, Consumer),
    pub(super) air: Option<Air>,
}

/// Makes all ready on a new connection: queues and the control exchange, and who looks after it.
pub(super) async fn prepare(
    link: &Link,
    settings: &Settings,
    teller: &Teller,
) -> Result<Kept, String> {
    let Settings { queue, reply_queue, .. } = settings;
    declare(&link.channel().await?, queue).await?;
    ensure(link, reply_queue).await?;
    let for_control = teller.clone();
    let control =
        listen(link, CONTROL_EXCHANGE, move |body| for_control.tell(Input::Control(body))).await?;
    let watched = link.channel().await?;
    tokio::spawn(watch(watched, queue.name.clone(), teller.clone()));
    let (ended, for_end) = (link.ended(), teller.clone());
    tokio::spawn(async move { for_end.lost(ended.await) });
    let air = match &settings.air {
        Some(names) => Some(air::serve(link, names, teller).await?),
        None => None,
    };
    Ok(Kept { _control: control, air })
}

/// Looks at the queue again and again. That the broker answers at all is our own heartbeat.
async fn watch(channel: Channel, queue: String, teller: Teller) {
    while tokio::time::timeout(LOOK, teller.inputs.closed()).await.is_err() {
        match look(&channel, &queue).await {
            Ok((ready, consumers)) => {
                teller.tell(Input::Looked { life: teller.life, ready, consumers });
            }
            Err(why) => return teller.lost(why),
        }
    }
}

/// A channel on which one message at a time is had.
pub(super) async fn line(
    link: Arc<Link>,
    queue: String,
    number: u64,
    teller: Teller,
    mut orders: UnboundedReceiver<Order>,
) {
    let opened = async {
        let channel = link.channel().await?;
        answered(channel.basic_qos(1, BasicQosOptions::default())).await?;
        Ok::<_, String>(channel)
    };
    let channel = match opened.await {
        Ok(channel) => channel,
        Err(why) => return teller.lost(why),
    };
    drop(link);
    let mut consumer = None;
    loop {
        let done = match heard(&mut orders, &mut consumer).await {
            Heard::Order(None) => return,
            Heard::Order(Some(order)) => {
                obey(&channel, &queue, number, &teller, &mut consumer, order).await
            }
            Heard::Came(Some(came)) => came.map(|came| teller.line(number, came)),
            Heard::Came(None) => {
                consumer = None;
                teller.line(number, Said::Unwanted);
                Ok(())
            }
        };
        if done.is_err() {
            return teller.line(number, Said::Gone);
        }
    }
}

/// What a line hears: an order, or a message; `None` = there are no more.
enum Heard {
    Order(Option<Order>),
    Came(Option<Result<Said, String>>),
}

async fn heard(orders: &mut UnboundedReceiver<Order>, consumer: &mut Option<Consumer>) -> Heard {
    poll_fn(|context| {
        if let Poll::Ready(order) = orders.poll_recv(context) {
            return Poll::Ready(Heard::Order(order));
        }
        let Some(consumer) = consumer.as_mut() else { return Poll::Pending };
        Pin::new(consumer).poll_next(context).map(|came| Heard::Came(came.map(message)))
    })
    .await
}

fn message(came: lapin::Result<Delivery>) -> Result<Said, String> {
    let delivery = came.map_err(|why| why.to_string())?;
    Ok(Said::Message { tag: delivery.delivery_tag, body: delivery.data })
}

/// Hears all that was on its way to a consumer that has ended. A line that began anew before that
/// would have a second message beside the first, and nobody would settle it.
async fn drain(mut consumer: Consumer, number: u64, teller: &Teller) -> Result<(), String> {
    while let Some(came) = poll_fn(|context| Pin::new(&mut consumer).poll_next(context)).await {
        teller.line(number, message(came)?);
    }
    Ok(())
}

async fn obey(
    channel: &Channel,
    queue: &str,
    number: u64,
    teller: &Teller,
    consumer: &mut Option<Consumer>,
    order: Order,
) -> Result<(), String> {
    match order {
        Order::Consume => {
            let asked = channel.basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            match answered(asked).await {
                Ok(begun) => *consumer = Some(begun),
                // The queue is gone, or its reading not allowed: a new connection makes it anew, or
                // finds the same, and takes its time.
                Err(why) => {
                    let why = format!("unable to consume from {queue}: {why}");
                    teller.lost(why.clone());
                    return Err(why);
                }
            }
            teller.line(number, Said::Consumes);
        }
        Order::Cancel => {
            if let Some(consumer) = consumer.take() {
                let options = BasicCancelOptions::default();
                answered(channel.basic_cancel(consumer.tag(), options)).await?;
                let drained = tokio::time::timeout(PATIENCE, drain(consumer, number, teller));
                drained.await.map_err(|_| "the end of a consumer does not come".to_owned())??;
            }
            teller.line(number, Said::Idle);
        }
        Order::Ack(tag) => {
            answered(channel.basic_ack(tag, BasicAckOptions::default())).await?;
        }
        Order::Nack { tag, requeue } => {
            let options = BasicNackOptions { requeue, ..BasicNackOptions::default() };
            answered(channel.basic_nack(tag, options)).await?;
        }
    }
    Ok(())
}

/// Publishes one thing after the other; confirms are waited for beside that.
pub(super) async fn publisher(
    link: Arc<Link>,
    teller: Teller,
    mut all: UnboundedReceiver<Publication>,
) {
    let channel = match link.publisher().await {
        Ok(channel) => channel,
        Err(why) => return teller.lost(why),
    };
    drop(link);
    while let Some(Publication { token, exchange, key, body, id }) = all.recv().await {
        let mandatory = exchange.is_empty();
        let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
        let mut properties =
            BasicProperties::default().with_content_type("text/plain".into()).with_delivery_mode(2);
        if let Some(id) = id {
            properties = properties.with_message_id(id.into());
        }
        let asked =
            channel.basic_publish(exchange.into(), key.as_str().into(), options, &body, properties);
        match answered(asked).await {
            Ok(confirm) => {
                let teller = teller.clone();
                tokio::spawn(async move {
                    let became = became(&tokio::time::timeout(3 * PATIENCE, confirm).await);
                    if became == Published::Unsure {
                        teller.lost("what was published is not confirmed".to_owned());
                    }
                    teller.tell(Input::Published { life: teller.life, token, became });
                });
            }
            Err(why) => return teller.lost(why),
        }
    }
}

pub(super) fn became<E, F>(confirmed: &Result<Result<Confirmation, E>, F>) -> Published {
    match confirmed {
        Ok(Ok(Confirmation::Ack(None))) => Published::Safe,
        Ok(Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)))) => Published::Nowhere,
        Ok(Ok(Confirmation::Nack(None) | Confirmation::NotRequested) | Err(_)) | Err(_) => {
            Published::Unsure
        }
    }
}
