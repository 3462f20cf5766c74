//! RabbitMQ, for a verb that has something to say there.

use crate::failure::{Failure, warn};
use exo::settings::Broker;
use participant::protocol::Flavour;
use serde_json::json;
use std::cell::Cell;
use work::amqp::{Client, Server};
use work::wire;

/// What operators of the broker see.
const NAME: &str = "skynet";

/// Returns where it is.
///
/// # Errors
/// The configuration does not say where the password is.
pub fn server(broker: &Broker) -> Result<Server, Failure> {
    if broker.password_file.is_none() {
        let what = "add the file that has the password to skynet.yaml";
        return Err(Failure::trouble(format!("broker.password-file is missing; {what}")));
    }
    Ok(broker.server())
}

/// Connects. Whoever waits then since the broker takes nothing is told so, once.
///
/// # Errors
/// Why not.
pub fn connect(broker: &Broker) -> Result<Client, Failure> {
    let server = server(broker)?;
    let mut client = Client::connect(&server, NAME).map_err(|why| {
        let Server { host, port, .. } = &server;
        Failure::trouble(format!("unable to connect to RabbitMQ at {host}:{port}: {why}"))
    })?;
    let is_told = Cell::new(false);
    client.tell_blocked(move |why| {
        if let Some(why) = why.filter(|_| !is_told.replace(true)) {
            warn(&format!(
                "RabbitMQ takes nothing: {why}; this waits until it does; where it is interrupted, \
                 what was sent may arrive all the same"
            ));
        }
    });
    Ok(client)
}

/// Puts messages into the engine's queue, one after the other, each safe before the next goes.
///
/// # Errors
/// Why not, and how many went.
pub fn tell_engine(broker: &Broker, messages: &[Vec<u8>]) -> Result<(), Failure> {
    let queue = &broker.reply_queue;
    let mut client = connect(broker)?;
    let unable = |why: String| Failure::trouble(format!("unable to send to {queue}: {why}"));
    client.declare(queue).map_err(unable)?;
    for (sent, message) in messages.iter().enumerate() {
        client.publish(queue, message).map_err(|why| {
            let of = if sent == 0 { String::new() } else { format!("; {sent} were sent before") };
            unable(why + &of)
        })?;
    }
    Ok(())
}

/// Tells every exo of the virtual host that nothing of these processes is wanted any more, or nothing at
/// this place of them.
///
/// # Errors
/// Why not.
pub fn cancel_everywhere<'a>(
    broker: &Broker,
    processes: impl IntoIterator<Item = &'a str>,
    expid: Option<&str>,
    why: Flavour,
) -> Result<(), Failure> {
    let mut client = connect(broker)?;
    for wfid in processes {
        let fei = match expid {
            Some(expid) => json!({ "wfid": wfid, "expid": expid }),
            None => json!({ "wfid": wfid }),
        };
        let fei = crate::engine::tree::raw(&fei);
        let message = wire::cancel(&fei, flavour(why), None);
        client.announce(wire::CONTROL_EXCHANGE, &message).map_err(|why| {
            Failure::trouble(format!("unable to cancel {wfid} everywhere: {why}"))
        })?;
    }
    Ok(())
}

/// Returns the word by which engines say how much a cancel is in a hurry.
#[must_use]
pub fn flavour(flavour: Flavour) -> Option<&'static str> {
    match flavour {
        Flavour::Cancel => None,
        Flavour::Kill => Some("kill"),
        Flavour::Timeout => Some("timeout"),
    }
}
