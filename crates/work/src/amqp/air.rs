//! What answers requests by AIR: one queue that has every name by which we are asked.

use super::link::{Link, Patient, answered};
use super::tasks::{LOOK, Teller};
use super::thread::Input;
use crate::air::{REQUEST_EXCHANGE, RESPONSE_EXCHANGE, item_service, service};
use lapin::message::DeliveryResult;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Consumer, ExchangeKind};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout};

/// How long an item is in hand before one may ask about it by its name: to have a name costs more
/// than a short item does.
const LASTING: Duration = Duration::from_secs(1);

/// By which names we are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Of the participant.
    pub participant: String,
    /// Of its instances.
    pub instances: Vec<String>,
    /// Of this machine.
    pub machine: String,
}

impl Names {
    fn services(&self) -> impl Iterator<Item = (&str, String)> {
        self.instances.iter().filter_map(|instance| {
            Some((&**instance, service(&self.participant, instance, &self.machine)?))
        })
    }

    /// Returns the instance that is asked by this name; `None` where an item is asked about.
    pub(super) fn instance(&self, name: &str) -> Option<&str> {
        self.services().find(|(_, known)| known == name).map(|(instance, _)| instance)
    }
}

/// What it is told.
pub(super) enum Order {
    /// An item of this process is in hand.
    Held(String),
    /// Not any more.
    Free(String),
    /// A response, to the caller's queue.
    Respond { to: String, body: Vec<u8> },
}

/// What lives as long as its connection.
pub(super) struct Air {
    pub(super) orders: UnboundedSender<Order>,
    _consumer: Consumer,
}

/// Has requests by all of our names come to the thread, and sends responses.
pub(super) async fn serve(link: &Link, names: &Names, teller: &Teller) -> Result<Air, String> {
    let channel = link.channel().await?;
    let own = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let queue = answered(channel.queue_declare("".into(), own, FieldTable::default())).await?;
    let queue = queue.name().clone();
    let server = Server {
        channel: channel.clone(),
        patient: link.patient(),
        queue: queue.clone(),
        services: names.services().map(|(_, name)| name).collect(),
        held: BTreeMap::new(),
        young: VecDeque::new(),
    };
    server.make().await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let table = FieldTable::default();
    let consumer =
        answered(channel.basic_consume(queue.clone(), "".into(), options, table)).await?;
    let to_thread = teller.clone();
    consumer.set_delegate(move |came: DeliveryResult| {
        if let Ok(Some(request)) = came
            && let Some(to) = request.properties.reply_to()
        {
            to_thread.tell(Input::Called {
                life: to_thread.life,
                service: request.routing_key.to_string(),
                to: to.to_string(),
                body: request.data,
            });
        }
        std::future::ready(())
    });
    let (orders, all) = unbounded_channel();
    let teller = teller.clone();
    tokio::spawn(async move {
        if let Err(why) = server.run(all).await {
            teller.lost(format!("unable to answer by AIR: {why}"));
        }
    });
    Ok(Air { orders, _consumer: consumer })
}

/// A process of which items are in hand.
struct Held {
    since: Instant,
    items: u32,
    has_name: bool,
}

struct Server {
    channel: Channel,
    patient: Patient,
    queue: ShortString,
    /// Those that are known at all times.
    services: Vec<String>,
    held: BTreeMap<String, Held>,
    /// Those that have no name yet, and since when they are here; some may be gone.
    young: VecDeque<(Instant, String)>,
}

impl Server {
    async fn run(mut self, mut orders: UnboundedReceiver<Order>) -> Result<(), String> {
        let mut at = Instant::now();
        loop {
            let first = self.young.front().map(|(since, _)| *since + LASTING);
            let limit = first.map_or(LOOK, |at| at.saturating_duration_since(Instant::now()));
            match timeout(limit, orders.recv()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Order::Held(wfid))) => self.hold(wfid),
                Ok(Some(Order::Free(wfid))) => self.free(&wfid).await?,
                Ok(Some(Order::Respond { to, body })) => self.respond(&to, &body).await?,
                Err(_) => self.name_those_that_last().await?,
            }
            if at.elapsed() >= LOOK {
                self.make().await?;
                at = Instant::now();
            }
        }
    }

    /// Makes the exchanges and gives us our names: nobody says that an exchange was deleted, or made
    /// anew.
    async fn make(&self) -> Result<(), String> {
        for (name, durable) in [(REQUEST_EXCHANGE, true), (RESPONSE_EXCHANGE, false)] {
            let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
            let (kind, table) = (ExchangeKind::Direct, FieldTable::default());
            let asked = self.channel.exchange_declare(name.into(), kind, options, table);
            let made = self.patient.answered(asked).await;
            made.map_err(|why| format!("unable to declare the exchange {name}: {why}"))?;
        }
        let held = self.held.iter().filter(|(_, held)| held.has_name);
        let of_items = held.filter_map(|(wfid, _)| item_service(wfid));
        for name in self.services.iter().cloned().chain(of_items) {
            self.bind(&name).await?;
        }
        Ok(())
    }

    async fn bind(&self, name: &str) -> Result<(), String> {
        let (queue, exchange) = (self.queue.clone(), REQUEST_EXCHANGE.into());
        let (options, table) = (QueueBindOptions::default(), FieldTable::default());
        let asked = self.channel.queue_bind(queue, exchange, name.into(), options, table);
        self.patient.answered(asked).await
    }

    fn hold(&mut self, wfid: String) {
        let since = Instant::now();
        let new = Held { since, items: 0, has_name: false };
        let held = self.held.entry(wfid.clone()).or_insert(new);
        held.items += 1;
        if held.items == 1 {
            self.young.push_back((since, wfid));
        }
    }

    async fn free(&mut self, wfid: &str) -> Result<(), String> {
        let Some(held) = self.held.get_mut(wfid) else { return Ok(()) };
        held.items -= 1;
        if held.items > 0 {
            return Ok(());
        }
        let had_name = held.has_name;
        self.held.remove(wfid);
        match item_service(wfid).filter(|_| had_name) {
            Some(name) => {
                let exchange = REQUEST_EXCHANGE.into();
                let table = FieldTable::default();
                let queue = self.queue.clone();
                self.patient
                    .answered(self.channel.queue_unbind(queue, exchange, name.into(), table))
                    .await
            }
            None => Ok(()),
        }
    }

    async fn name_those_that_last(&mut self) -> Result<(), String> {
        let now = Instant::now();
        while self.young.front().is_some_and(|(since, _)| *since + LASTING <= now) {
            let Some((since, wfid)) = self.young.pop_front() else { break };
            // It may have gone, and another of the same process come.
            let is_it = |held: &&mut Held| held.since == since;
            if let Some(held) = self.held.get_mut(&wfid).filter(is_it)
                && let Some(name) = item_service(&wfid)
            {
                held.has_name = true;
                self.bind(&name).await?;
            }
        }
        Ok(())
    }

    /// Nobody knows whether a response arrives: whoever waits for it has a limit.
    async fn respond(&self, to: &str, body: &[u8]) -> Result<(), String> {
        let properties = BasicProperties::default();
        let options = BasicPublishOptions::default();
        let exchange = RESPONSE_EXCHANGE.into();
        let sent = self.channel.basic_publish(exchange, to.into(), options, body, properties);
        self.patient.answered(sent).await.map(drop)
    }
}
