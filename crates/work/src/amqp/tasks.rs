//! What is done over a connection without anybody waiting for it: what came of it is told to the
//! thread.

use super::Settings;
use super::air::{self, Air};
use super::link::{
    Heard, Link, Patient, SLOWEST, bind_fanout, declare, ensure, find_dead_letter_exchange, listen,
    look, words,
};
use super::passing::Passing;
use super::thread::{Input, Marks};
use crate::wire::{ATTEMPT, CONTROL_EXCHANGE, FORWARDED, REQUEUED};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Between two looks at the queue.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// How long a confirm may take.
const CONFIRM: Duration = Duration::from_secs(30);
/// The broker's word where its user lacks a right (AMQP 0-9-1, reply code 403).
pub(super) const REFUSED: &str = "ACCESS_REFUSED";

/// Number of a connection; what is told of an earlier one is not heeded.
pub(super) type Life = u64;

/// What became of something that was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Published {
    Safe,
    /// There is no such queue.
    Nowhere,
    /// The broker did not take it, as where the queue is full.
    Refused,
    /// Nobody knows; why there is no word of it.
    Unsure(String),
}

impl From<Confirmation> for Published {
    fn from(confirmation: Confirmation) -> Self {
        match confirmation {
            Confirmation::Ack(None) => Self::Safe,
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Self::Nowhere,
            Confirmation::Nack(None) | Confirmation::NotRequested => Self::Refused,
        }
    }
}

/// Returns how many bytes something has that the broker closed the channel for, and how many it takes,
/// from its words: `PRECONDITION_FAILED - message size 9 is larger than configured max size 8`.
fn too_large(why: &str) -> Option<(usize, usize)> {
    let (_, numbers) = why.split_once("message size ")?;
    let (bytes, most) = numbers.split_once(' ')?;
    let (_, most) = most.split_once("max size ")?;
    let most = most.split(|c: char| !c.is_ascii_digit()).next()?;
    let (bytes, most) = (bytes.parse().ok()?, most.parse().ok()?);
    (bytes > most).then_some((bytes, most))
}

/// Returns how many bytes the broker takes, where it closed a channel for one of these sizes.
pub(super) fn most_taken(why: &str, mut sizes: impl Iterator<Item = usize>) -> Option<usize> {
    let (bytes, most) = too_large(why)?;
    sizes.any(|size| size == bytes).then_some(most)
}

/// What is said behind the reason why something was not taken.
pub(super) const RENEWED: &str = "it is tried again";

/// Who tells the thread.
#[derive(Clone)]
pub(super) struct Teller {
    pub(super) life: Life,
    pub(super) inputs: Sender<Input>,
}

impl Teller {
    pub(super) fn tell(&self, input: Input) {
        // Where nobody listens any more all is over.
        let _ = self.inputs.send(input);
    }

    pub(super) fn lost(&self, why: String) {
        self.tell(Input::Lost { life: self.life, why });
    }
}

/// Has the client library send something, and does not wait for what comes of it. What cannot be sent
/// any more ends with its channel, which tells that by itself.
pub(super) fn begin<T>(what: impl Future<Output = lapin::Result<T>>) {
    let _ = std::pin::pin!(what).poll(&mut Context::from_waker(Waker::noop()));
}

/// Has the client library send something at once, before anything that is said after it. Returns who
/// waits for what comes of it.
pub(super) fn begun<F: Future>(what: F) -> impl Future<Output = F::Output> + use<F> {
    let mut what = Box::pin(what);
    let early = what.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    async move {
        match early {
            Poll::Ready(ended) => ended,
            Poll::Pending => what.await,
        }
    }
}

/// What has to live as long as its connection.
pub(super) struct Kept {
    _control: Option<Heard>,
    pub(super) passing: Passing,
    pub(super) air: Option<Air>,
}

/// What a connection is used by.
pub(super) struct Parts {
    pub(super) link: Link,
    pub(super) kept: Kept,
    pub(super) reader: Channel,
    pub(super) press: Press,
    pub(super) look_now: Arc<Notify>,
}

/// Makes all ready on a new connection: queues and the control exchange, and who looks after it.
pub(super) async fn prepare(
    link: Link,
    settings: &Settings,
    teller: &Teller,
) -> Result<Parts, String> {
    let Settings { queue, reply_queue, .. } = settings;
    let for_blocked = teller.clone();
    // From here on, so that what happens meanwhile is told, too.
    let ended = link.ended(move |why| {
        for_blocked.tell(Input::Blocked { life: for_blocked.life, why });
    });
    if let Some(exchange) = &queue.dead_letter_exchange {
        find_dead_letter_exchange(&link, exchange).await?;
    }
    declare(&link.channel().await?, queue).await?;
    ensure(&link, reply_queue).await?;
    let control = hear_cancels(&link, teller).await?;
    let passing = Passing::begin(&link, control.is_some(), teller).await?;
    let reader = link.channel().await?;
    let press = Press::new(link.publisher().await?, link.patient());
    let watched = link.channel().await?;
    let air = match &settings.air {
        Some(names) => Some(air::serve(&link, names, teller).await?),
        None => None,
    };
    // Only what is used tells of its end: behind all that may fail.
    let look_now = Arc::new(Notify::new());
    let bound = control.as_ref().map(|heard| heard.queue.clone());
    tokio::spawn(watch(
        (watched, link.patient()),
        (queue.name.clone(), bound),
        Arc::clone(&look_now),
        teller.clone(),
    ));
    let for_end = teller.clone();
    tokio::spawn(async move { for_end.lost(ended.await) });
    let kept = Kept { _control: control, passing, air };
    Ok(Parts { link, kept, reader, press, look_now })
}

/// Listens to the control exchange. Where that is not allowed items are worked on all the same, and
/// cancels come by the queue.
async fn hear_cancels(link: &Link, teller: &Teller) -> Result<Option<Heard>, String> {
    let to = teller.clone();
    let heard = move |key: &str, body| {
        to.tell(Input::Control { body, is_forwarded: key == FORWARDED });
    };
    match listen(link, CONTROL_EXCHANGE, heard).await {
        Ok(control) => Ok(Some(control)),
        Err(why) if why.contains(REFUSED) => {
            teller.tell(Input::Unheard { life: teller.life, why });
            Ok(None)
        }
        Err(why) => Err(why),
    }
}

/// Looks at the queue again and again, and when it is told to: that the broker answers at all is our
/// own heartbeat. `bound`: by which cancels come; the exchange may be deleted, or made anew by others.
async fn watch(
    (channel, patient): (Channel, Patient),
    (queue, bound): (String, Option<ShortString>),
    now: Arc<Notify>,
    teller: Teller,
) {
    loop {
        let is_time = tokio::time::timeout(LOOK, now.notified()).await.is_err();
        let on = (&channel, &patient);
        let looked = async {
            if let Some(bound) = bound.as_ref().filter(|_| is_time) {
                bind_fanout(on, CONTROL_EXCHANGE, bound).await?;
            }
            look(on, &queue).await
        };
        match looked.await {
            Ok((ready, consumers)) => {
                teller.tell(Input::Looked { life: teller.life, ready, consumers });
            }
            Err(why) => return teller.lost(why),
        }
    }
}

/// Opens another channel to read from.
pub(super) async fn reopen(link: Arc<Link>, teller: Teller) {
    match link.channel().await {
        Ok(reader) => teller.tell(Input::Reader { life: teller.life, reader }),
        Err(why) => teller.lost(why),
    }
}

/// Closes channels, all of them at once. Tells whether there were any, and the broker says of each that
/// it is closed.
pub(super) async fn close_all(channels: Vec<Channel>) -> bool {
    let begun = |channel: Channel| {
        tokio::spawn(async move { channel.close(200, "OK".into()).await.is_ok() })
    };
    let all: Vec<_> = channels.into_iter().map(begun).collect();
    let mut are_closed = !all.is_empty();
    for one in all {
        are_closed &= one.await.unwrap_or(false);
    }
    are_closed
}

/// Waits for so long.
pub(super) async fn pause(delay: Duration) {
    let _ = tokio::time::timeout(delay, pending::<()>()).await;
}

/// Opens another channel to publish over, after a while.
pub(super) async fn renew(link: Arc<Link>, delay: Duration, teller: Teller) {
    pause(delay).await;
    match link.publisher().await {
        Ok(channel) => {
            let press = Press::new(channel, link.patient());
            teller.tell(Input::Press { life: teller.life, press });
        }
        Err(why) => teller.lost(why),
    }
}

/// Makes a queue that was deleted. Where that fails what is for it comes back once more.
pub(super) async fn make_again(link: Arc<Link>, queue: String) {
    let _ = ensure(&link, &queue).await;
}

/// Returns the name of a line's consumer.
pub(super) fn consumer_tag(line: u64) -> ShortString {
    format!("line-{line}").into()
}

/// Has the broker send messages of a queue on a line: so many, until some of them are settled.
pub(super) fn consume(
    (channel, patient): (&Channel, Patient),
    queue: &str,
    line: u64,
    room: usize,
    teller: &Teller,
) {
    let room = u16::try_from(room).unwrap_or(u16::MAX);
    // It is for the consumers that begin after it.
    begin(channel.basic_qos(room, BasicQosOptions::default()));
    let (channel, queue, teller) = (channel.clone(), queue.to_owned(), teller.clone());
    let why_not = format!("unable to consume from {queue}");
    // At once, or another line's would come between.
    let asked = begun(async move {
        let options = BasicConsumeOptions::default();
        let (name, none) = (consumer_tag(line), FieldTable::default());
        channel.basic_consume(queue.as_str().into(), name, options, none).await
    });
    tokio::spawn(async move {
        match patient.answered(asked).await {
            Ok(stream) => teller.tell(Input::Consumes { life: teller.life, line, stream }),
            // The queue is gone, or its reading not allowed: a new connection makes it anew, or
            // finds the same, and takes its time.
            Err(why) => teller.lost(format!("{why_not}: {why}")),
        }
    });
}

/// Something to be published.
pub(super) struct Publication {
    /// Names it in what is told of it.
    pub(super) token: u64,
    pub(super) queue: String,
    pub(super) body: Arc<Vec<u8>>,
    pub(super) marks: Marks,
}

/// What was published and is not confirmed.
struct OnItsWay {
    token: u64,
    until: Instant,
    confirmed: Pin<Box<dyn Future<Output = Published> + Send>>,
}

/// Publishes one thing after the other; confirms come beside that.
pub(super) struct Press {
    channel: Channel,
    patient: Patient,
    /// Bytes that had moved over the connection when the confirms got their time.
    moved: u64,
    /// When a confirm came last, or none was waited for, or the broker took nothing.
    heard_at: Instant,
    all: Vec<OnItsWay>,
    /// Nobody is woken yet when what was published last is confirmed.
    is_unheard: bool,
    /// There is another soon.
    is_retired: bool,
}

impl Press {
    fn new(channel: Channel, patient: Patient) -> Self {
        let (all, is_unheard, is_retired) = (Vec::new(), false, false);
        let heard_at = Instant::now();
        Self { channel, patient, moved: 0, heard_at, all, is_unheard, is_retired }
    }

    /// Publishes nothing any more, and tells of nothing. Tells whether that was so already.
    pub(super) fn retire(&mut self) -> bool {
        self.all.clear();
        std::mem::replace(&mut self.is_retired, true)
    }

    /// Tells whether somebody has to [`look`](Self::look) before they wait.
    pub(super) fn is_unheard(&self) -> bool {
        self.is_unheard
    }

    /// Publishes something. What comes of it is told by [`look`](Self::look).
    pub(super) fn publish(&mut self, what: Publication) {
        if self.is_retired {
            return;
        }
        if self.all.is_empty() {
            self.moved = self.patient.moved();
            self.heard_at = Instant::now();
        }
        let token = what.token;
        let mut confirmed = Box::pin(publish(self.channel.clone(), what));
        // What has ended by then is told once somebody looks: it must not be asked again.
        let early = confirmed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let confirmed: Pin<Box<dyn Future<Output = Published> + Send>> = match early {
            Poll::Ready(became) => Box::pin(std::future::ready(became)),
            Poll::Pending => confirmed,
        };
        self.is_unheard = true;
        self.all.push(OnItsWay { token, until: Instant::now() + CONFIRM, confirmed });
    }

    /// Returns what became of what was published, as far as it is known. Whoever is in `context` is
    /// woken when there is more.
    pub(super) fn look(&mut self, context: &mut Context<'_>) -> Vec<(u64, Published)> {
        self.is_unheard = false;
        let mut known = Vec::new();
        self.all.retain_mut(|one| match one.confirmed.as_mut().poll(context) {
            Poll::Ready(became) => {
                known.push((one.token, became));
                false
            }
            Poll::Pending => true,
        });
        if !known.is_empty() {
            self.heard_at = Instant::now();
        }
        known
    }

    /// Gives each confirm its time anew where much has moved meanwhile, and one came not too long ago.
    /// Tells whether that is so.
    pub(super) fn goes_on(&mut self) -> bool {
        let is_long = self.heard_at.elapsed() >= SLOWEST;
        let goes_on = !is_long && self.patient.has_moved(self.moved);
        if goes_on {
            self.renew();
        }
        goes_on
    }

    /// Gives each confirm its time anew: the broker took nothing meanwhile.
    pub(super) fn prolong(&mut self) {
        self.heard_at = Instant::now();
        self.renew();
    }

    fn renew(&mut self) {
        self.moved = self.patient.moved();
        let until = Instant::now() + CONFIRM;
        self.all.iter_mut().for_each(|one| one.until = until);
    }

    /// Returns until when the next confirm may take.
    pub(super) fn until(&self) -> Option<Instant> {
        self.all.first().map(|one| one.until)
    }
}

/// Returns a number that a message says of itself.
pub(super) fn number(properties: &BasicProperties, name: &str) -> Option<i64> {
    match properties.headers().as_ref()?.inner().get(name) {
        Some(AMQPValue::LongLongInt(number)) => Some(*number),
        _ => None,
    }
}

async fn publish(channel: Channel, what: Publication) -> Published {
    let Publication { queue, body, marks: Marks { id, attempt, requeued }, .. } = what;
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut properties =
        BasicProperties::default().with_content_type("text/plain".into()).with_delivery_mode(2);
    if let Some(id) = id {
        properties = properties.with_message_id(id.into());
    }
    let numbers = [(ATTEMPT, attempt.map(i64::from)), (REQUEUED, requeued)];
    let mut headers = FieldTable::default();
    for (name, number) in numbers.into_iter().filter_map(|(name, it)| Some((name, it?))) {
        headers.insert(name.into(), AMQPValue::LongLongInt(number));
    }
    if !headers.inner().is_empty() {
        properties = properties.with_headers(headers);
    }
    let sent = channel.basic_publish("".into(), queue.as_str().into(), options, &body, properties);
    let confirmed = async { sent.await?.await };
    confirmed.await.map_or_else(|why| Published::Unsure(words(&why)), Published::from)
}

#[cfg(test)]
mod tests {
    use super::too_large;

    #[test]
    fn how_much_the_broker_takes_is_known_from_its_words_alone() {
        let said = |what: &str| too_large(&format!("PRECONDITION_FAILED - message size {what}"));
        assert_eq!(said("9 is larger than configured max size 8"), Some((9, 8)));
        assert_eq!(said("9 is larger than max size 8; and more"), Some((9, 8)));
        for other in
            ["9 is larger", "8 is larger than max size 9", "x is larger than max size 8", "9"]
        {
            assert_eq!(said(other), None, "{other}");
        }
        assert_eq!(too_large("ACCESS_REFUSED - write access"), None);
    }
}
