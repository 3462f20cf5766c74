//! The key `broker`: where items come from.

use super::Loaded;
use super::keys::{BROKER, nearest};
use super::problem::Problem;
use super::tree::Entry;
use super::values::Field;
use crate::settings::{Broker, BrokerKind, Settings};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use work::units::Span;

/// Names of the kinds.
pub(super) const KINDS: [(&str, BrokerKind); 2] =
    [("embedded", BrokerKind::Embedded), ("rabbitmq", BrokerKind::RabbitMq)];

/// Sets one key below `broker`.
pub(super) fn set(entry: &Entry, whole: &str, broker: &mut Broker) -> Result<(), Problem> {
    let field = Field { key: whole, node: &entry.value };
    match entry.key.as_str() {
        "kind" => broker.kind = field.one_of(&KINDS)?,
        "host" => broker.host = field.line()?,
        "port" => broker.port = Some(field.count(1..=65535)? as u16),
        "vhost" => broker.vhost = field.line()?,
        "user" => broker.user = field.line()?,
        "password-file" => broker.password_file = Some(field.folder()?),
        "tls" => {
            broker.tls = field.truth()?;
            if broker.tls && !cfg!(feature = "tls") {
                return field.wrong("this exo is built without TLS; build it with --features tls");
            }
        }
        "ca" => broker.ca = if field.is_none() { None } else { Some(field.folder()?) },
        "reply-queue" => broker.reply_queue = field.queue()?,
        "quorum" => broker.quorum = field.truth()?,
        "delivery-limit" => {
            let limit = !field.is_none();
            broker.delivery_limit =
                if limit { Some(field.count(1..=1_000_000)? as i32) } else { None };
        }
        "dead-letter-exchange" => {
            broker.dead_letter_exchange = if field.is_none() { None } else { Some(field.line()?) };
        }
        "consumer-timeout" => {
            broker.consumer_timeout = field.duration_or_none(Duration::from_secs(1))?;
        }
        "air" => broker.air = field.truth()?,
        name => return Err(Problem::new(entry.at, whole, nearest(name, &BROKER))),
    }
    Ok(())
}

/// Looks at what must agree.
pub(crate) fn disagreement(broker: &Broker) -> Option<(&'static str, &'static str)> {
    if broker.kind == BrokerKind::Embedded {
        return None;
    }
    if broker.password_file.is_none() {
        return Some((
            "broker.password-file",
            "is missing; add the file that has the password, which nobody but worker-user may read",
        ));
    }
    if broker.ca.is_some() && !broker.tls {
        return Some(("broker.ca", "is for encrypted connections; add \"tls: true\""));
    }
    broker.delivery_limit?;
    let key = "broker.delivery-limit";
    if !broker.quorum {
        return Some((key, "is for quorum queues; add \"quorum: true\""));
    }
    // RabbitMQ drops what was delivered so often, and nobody hears of it.
    broker.dead_letter_exchange.is_none().then_some((
        key,
        "loses the items that reach it; add \"dead-letter-exchange: NAME\" with a queue bound to it",
    ))
}

/// Says that what goes to the broker can be read on the way; `None` = it cannot, or stays on this
/// machine. Between machines that nobody else listens to it may be meant, so it is no error.
#[must_use]
pub fn in_clear(broker: &Broker) -> Option<String> {
    let host = broker.host.as_str();
    let is_here = host.eq_ignore_ascii_case("localhost")
        || host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
    if broker.kind == BrokerKind::Embedded || broker.tls || is_here {
        return None;
    }
    Some(format!(
        "password and items go to {host} unencrypted; where others may listen, set \"tls: true\" below broker"
    ))
}

/// Says that an item may take longer than the broker waits for its acknowledgement; `None` = it may
/// not, or has no limit, as most have.
pub(super) fn too_long(settings: &Settings) -> Option<String> {
    let Settings { broker, times, .. } = settings;
    let (limit, timeout) = (times.item?, broker.consumer_timeout?);
    let is_told = broker.kind == BrokerKind::RabbitMq && limit > timeout;
    is_told.then(|| {
        let (limit, timeout) = (Span(limit), Span(timeout));
        format!(
            "time-limit, {limit}, is longer than the {timeout} in which RabbitMQ wants an item acknowledged: \
             what takes longer is delivered again, to another machine, too; set consumer_timeout there and \
             broker.consumer-timeout here above it"
        )
    })
}

/// Says that items have no time limit while that of the broker is what nobody has looked at; `None` =
/// who says how long that is knows it.
#[must_use]
pub fn no_limit(loaded: &Loaded) -> Option<String> {
    let Loaded { settings: Settings { broker, times, .. }, origins, .. } = loaded;
    let timeout = Span(broker.consumer_timeout?);
    let is_known = times.item.is_some() || origins.contains_key("broker.consumer-timeout");
    (broker.kind == BrokerKind::RabbitMq && !is_known).then(|| {
        format!(
            "an item may take longer than the {timeout} in which RabbitMQ wants it acknowledged, unless set \
             otherwise there, and is delivered again then, to another machine, too; set time-limit below that, \
             or consumer_timeout there above the longest item and broker.consumer-timeout here to the same"
        )
    })
}

/// Says that an item may rest between two tries for longer than that.
pub(super) fn rests_too_long(settings: &Settings) -> Option<String> {
    let Settings { broker, tries, backoff, .. } = settings;
    let timeout = broker.consumer_timeout?;
    // After the last there is none.
    let rest =
        tries.checked_sub(1).filter(|last| *last > 0).map(|last| backoff.most_after(last))?;
    let is_told = broker.kind == BrokerKind::RabbitMq && rest > timeout;
    is_told.then(|| {
        let (rest, timeout) = (Span(rest), Span(timeout));
        format!(
            "an item rests for up to {rest} between two tries, which is longer than the {timeout} in which \
             RabbitMQ wants it acknowledged: it is delivered again meanwhile, to another machine, too; set \
             retry.longest below that, or consumer_timeout there and broker.consumer-timeout here above it"
        )
    })
}

/// Says that RabbitMQ may take an item out of its quorum queue before it was tried as often as it may
/// be: by its deliveries, which an item that is well has, too.
pub(super) fn taken_out(settings: &Settings) -> Option<String> {
    let Settings { broker, tries, .. } = settings;
    if broker.kind == BrokerKind::Embedded || !broker.quorum {
        return None;
    }
    if broker.dead_letter_exchange.is_none() {
        return Some(
            "a quorum queue without dead-letter-exchange: what RabbitMQ has delivered too often, from \
             version 4 on 20 times, it throws away"
                .to_owned(),
        );
    }
    let limit = broker.delivery_limit?;
    let is_told = i64::from(limit) <= i64::from(*tries);
    is_told.then(|| {
        format!(
            "broker.delivery-limit, {limit}, is no more than tries, {tries}: each end of exo and each lost \
             connection in mid-item counts for it, and what RabbitMQ takes out then is answered to nobody; \
             set it well above tries"
        )
    })
}

/// Returns what is in force, by its keys.
pub(crate) fn shown(broker: &Broker) -> BTreeMap<&'static str, String> {
    let kind = KINDS.iter().find(|(_, kind)| *kind == broker.kind).map_or("", |(word, _)| *word);
    let mut all = BTreeMap::from([("kind", kind.to_owned())]);
    if broker.kind == BrokerKind::Embedded {
        return all;
    }
    let none = || "none".to_owned();
    all.extend([
        ("host", broker.host.clone()),
        ("port", broker.port().to_string()),
        ("vhost", broker.vhost.clone()),
        ("user", broker.user.clone()),
        ("tls", broker.tls.to_string()),
        ("reply-queue", broker.reply_queue.clone()),
        ("quorum", broker.quorum.to_string()),
        ("air", broker.air.to_string()),
        ("delivery-limit", broker.delivery_limit.map_or_else(none, |n| n.to_string())),
        ("consumer-timeout", broker.consumer_timeout.map_or_else(none, |t| Span(t).to_string())),
        ("dead-letter-exchange", broker.dead_letter_exchange.clone().unwrap_or_else(none)),
    ]);
    if broker.tls {
        let ca = broker.ca.as_ref();
        let ca = ca.map_or_else(|| "system".to_owned(), |file| file.display().to_string());
        all.insert("ca", ca);
    }
    // The file's name; what is in it is nobody's to see.
    let file = broker.password_file.as_ref().map(|file| file.display().to_string());
    all.extend(file.map(|file| ("password-file", file)));
    all
}

#[cfg(test)]
mod tests {
    use super::super::keys::Scope;
    use super::super::read_text;
    use super::super::tests::layers;
    use super::*;

    #[test]
    fn certificates_are_for_encrypted_connections_and_shown_with_them() {
        let kind = BrokerKind::RabbitMq;
        let password_file = Some("/etc/skynet/password".into());
        let mut broker = Broker { kind, password_file, ..Broker::default() };
        assert!(!shown(&broker).contains_key("ca"));
        broker.ca = Some("/etc/skynet/ca.pem".into());
        assert_eq!(disagreement(&broker).map(|(key, _)| key), Some("broker.ca"));
        broker.tls = true;
        assert_eq!(disagreement(&broker), None);
        let all = shown(&broker);
        assert_eq!((&*all["port"], &*all["ca"]), ("5671", "/etc/skynet/ca.pem"));
    }

    #[test]
    fn what_can_be_read_on_the_way_is_told_unless_it_stays_here() {
        let of = |kind, host: &str, tls| {
            in_clear(&Broker { kind, host: host.to_owned(), tls, ..Broker::default() })
        };
        for host in ["rabbit.example", "192.0.2.1", "2001:db8::1", "localhost.example"] {
            let told = of(BrokerKind::RabbitMq, host, false).unwrap();
            assert!(told.starts_with(&format!("password and items go to {host} ")), "{told}");
            assert_eq!(of(BrokerKind::RabbitMq, host, true), None);
            assert_eq!(of(BrokerKind::Embedded, host, false), None);
        }
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
        {
            assert_eq!(of(BrokerKind::RabbitMq, host, false), None, "{host}");
        }
    }

    #[test]
    fn a_queue_of_rabbitmq_has_any_name_wherever_the_broker_is_said() {
        let name = "sizes of x/y: gr\u{f6}\u{df}e";
        let broker = "broker: {kind: rabbitmq, password-file: /p, reply-queue: 'e/2 x'}";
        let queue = format!("queue: '{name}'");
        for text in [format!("{queue}\n{broker}"), format!("{broker}\n{queue}")] {
            let read = read_text(format!("command: ./w\n{text}\n").as_bytes(), "p").unwrap();
            assert_eq!((read.queue.as_str(), read.broker.reply_queue.as_str()), (name, "e/2 x"));
        }
        for (queue, why) in
            [("\"a\\nb\"", "holds a control character"), (&*"q".repeat(256), "255 bytes")]
        {
            let text = format!("command: ./w\n{broker}\nqueue: {queue}\n");
            let problems = read_text(text.as_bytes(), "p").unwrap_err();
            let told =
                problems.iter().any(|problem| problem.key == "queue" && problem.why.contains(why));
            assert!(told && problems.len() == 1, "{problems:?}");
        }
    }

    #[test]
    fn a_broker_is_merged_key_by_key_and_what_is_missing_or_wrong_is_told() {
        let mut broker = Broker { kind: BrokerKind::RabbitMq, ..Broker::default() };
        assert_eq!(disagreement(&broker).map(|(key, _)| key), Some("broker.password-file"));
        broker.password_file = Some("/etc/skynet/password".into());
        assert_eq!(disagreement(&broker), None);
        assert_eq!((&*shown(&broker)["port"], &*shown(&broker)["kind"]), ("5672", "rabbitmq"));
        broker.delivery_limit = Some(5);
        assert_eq!(disagreement(&broker).map(|(key, _)| key), Some("broker.delivery-limit"));
        broker.quorum = true;
        assert_eq!(disagreement(&broker).map(|(key, _)| key), Some("broker.delivery-limit"));
        broker.dead_letter_exchange = Some("gone".to_owned());
        assert_eq!(disagreement(&broker), None);
        broker.delivery_limit = None;
        broker.dead_letter_exchange = None;
        assert_eq!(disagreement(&broker), None);
        assert_eq!(shown(&Broker::default()).len(), 1, "what is not in force is not shown");
    }

    #[test]
    fn a_time_limit_above_that_of_the_broker_for_acknowledgements_is_told() {
        let told = |limit: &str, broker: &str| {
            let text = format!(
                "command: ./w\ntime-limit: {limit}\nbroker: {{password-file: /p, {broker}}}\n"
            );
            too_long(&read_text(text.as_bytes(), "p").unwrap())
        };
        let why = told("31min", "kind: rabbitmq").unwrap();
        assert!(why.starts_with("time-limit, 31min, is longer than the 30min in which "), "{why}");
        let why = told("61s", "kind: rabbitmq, consumer-timeout: 1min").unwrap();
        assert!(why.starts_with("time-limit, 61s, is longer than the 1min in"), "{why}");
        for (limit, broker) in [
            ("30min", "kind: rabbitmq"),
            ("none", "kind: rabbitmq"),
            ("2h", "kind: rabbitmq, consumer-timeout: 2h"),
            ("2h", "kind: rabbitmq, consumer-timeout: none"),
            ("2h", "kind: embedded"),
        ] {
            assert_eq!(told(limit, broker), None, "{limit}, {broker}");
        }
        for wrong in ["30", "30m", "0s", "soon"] {
            let text = format!("command: ./w\nbroker: {{consumer-timeout: {wrong}}}\n");
            let problems = read_text(text.as_bytes(), "p").unwrap_err();
            assert_eq!(problems[0].key, "broker.consumer-timeout", "{wrong}");
        }
        let all = shown(&Broker { kind: BrokerKind::RabbitMq, ..Broker::default() });
        assert_eq!(all["consumer-timeout"], "30min");
    }

    #[test]
    fn who_has_looked_at_neither_limit_is_told_what_becomes_of_an_item_that_takes_long() {
        let told = |keys: &str, broker: &str| {
            let text = format!("command: ./w\n{keys}broker: {{password-file: /p, {broker}}}\n");
            no_limit(&layers(&[(Scope::Own, &text)]))
        };
        for keys in ["", "time-limit: none\n"] {
            let why = told(keys, "kind: rabbitmq").unwrap();
            assert!(why.starts_with("an item may take longer than the 30min in which "), "{why}");
        }
        for (keys, broker) in [
            ("", "kind: embedded"),
            ("", "kind: rabbitmq, consumer-timeout: 30min"),
            ("", "kind: rabbitmq, consumer-timeout: none"),
            ("time-limit: 30min\n", "kind: rabbitmq"),
        ] {
            assert_eq!(told(keys, broker), None, "{keys}{broker}");
        }
    }

    #[test]
    fn a_rest_above_that_of_the_broker_for_acknowledgements_is_told() {
        let told = |tries: u32, retry: &str, broker: &str| {
            let text = format!(
                "command: ./w\ntries: {tries}\nretry: {{{retry}}}\n\
                 broker: {{password-file: /p, {broker}}}\n"
            );
            rests_too_long(&read_text(text.as_bytes(), "p").unwrap())
        };
        let why = told(3, "first: 16min", "kind: rabbitmq").unwrap();
        let begins =
            "an item rests for up to 32min between two tries, which is longer than the 30min in";
        assert!(why.starts_with(begins), "{why}");
        for (tries, retry, broker) in [
            (3, "first: 10s", "kind: rabbitmq"),
            (1, "first: 40min", "kind: rabbitmq"),
            (3, "first: 15min", "kind: rabbitmq"),
            (30, "longest: 30min", "kind: rabbitmq"),
            (3, "first: 16min", "kind: rabbitmq, consumer-timeout: none"),
            (3, "first: 16min", "kind: embedded"),
        ] {
            assert_eq!(told(tries, retry, broker), None, "{tries}, {retry}, {broker}");
        }
    }

    #[test]
    fn that_an_item_may_be_taken_out_before_its_last_try_is_told() {
        let told = |tries: u32, broker: &str| {
            let text =
                format!("command: ./w\ntries: {tries}\nbroker: {{password-file: /p, {broker}}}\n");
            taken_out(&read_text(text.as_bytes(), "p").unwrap())
        };
        let of = |limit: &str| {
            format!(
                "kind: rabbitmq, quorum: true, dead-letter-exchange: d, delivery-limit: {limit}"
            )
        };
        for (tries, limit) in [(3, "2"), (3, "3"), (1, "1")] {
            let why = told(tries, &of(limit)).unwrap();
            let begins =
                format!("broker.delivery-limit, {limit}, is no more than tries, {tries}: ");
            assert!(why.starts_with(&begins), "{why}");
        }
        let why = told(3, "kind: rabbitmq, quorum: true").unwrap();
        assert!(why.starts_with("a quorum queue without dead-letter-exchange: "), "{why}");
        for broker in [&*of("4"), &of("none"), "kind: rabbitmq", "kind: embedded, quorum: true"] {
            assert_eq!(told(3, broker), None, "{broker}");
        }
    }

    #[test]
    fn a_limit_that_loses_items_is_refused() {
        let limit = "command: ./w\nbroker:\n  kind: rabbitmq\n  password-file: /p\n  quorum: true\n  \
            delivery-limit: 1\n";
        let problems = read_text(limit.as_bytes(), "p").unwrap_err();
        let told = problems.iter().map(ToString::to_string).collect::<String>();
        assert!(
            told.starts_with("broker.delivery-limit: loses the items that reach it; add"),
            "{told}"
        );
        assert!(
            read_text(format!("{limit}  dead-letter-exchange: gone\n").as_bytes(), "p").is_ok()
        );
    }
}
