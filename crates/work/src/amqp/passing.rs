//! Cancels that were found in the queue and mean what somebody else has: they are told to all, by the
//! control exchange.

use super::link::{Link, Patient};
use super::tasks::{Published, REFUSED, Teller};
use super::thread::Input;
use crate::wire::{CONTROL_EXCHANGE, FORWARDED};
use lapin::options::BasicPublishOptions;
use lapin::{BasicProperties, Channel};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Passes cancels on. Each message may be acknowledged once [`Input::PassedOn`] says so: before that,
/// one that an exo took with it when it died comes again.
pub(super) struct Passing {
    found: UnboundedSender<(u64, Vec<u8>)>,
}

impl Passing {
    /// It has a channel of its own, which the broker closes where it does not allow that.
    /// `is_made`: the exchange is made by each connection.
    pub(super) async fn begin(link: &Link, is_made: bool, teller: &Teller) -> Result<Self, String> {
        let channel = link.publisher().await?;
        let (found, all) = unbounded_channel();
        tokio::spawn(pass_all((channel, link.patient()), is_made, all, teller.clone()));
        Ok(Self { found })
    }

    /// Passes on what a message says; `number`: by which it is known here.
    pub(super) fn pass_on(&self, number: u64, body: Vec<u8>) {
        // Where nobody takes it any more the connection is lost.
        let _ = self.found.send((number, body));
    }
}

async fn pass_all(
    (channel, patient): (Channel, Patient),
    is_made: bool,
    mut found: UnboundedReceiver<(u64, Vec<u8>)>,
    teller: Teller,
) {
    let (life, mut may) = (teller.life, true);
    while let Some((number, body)) = found.recv().await {
        let passed =
            if may { pass(&channel, &patient, &body).await } else { Ok(Published::Nowhere) };
        match passed {
            Ok(Published::Refused) => {
                // Others that listen have it.
                let why = "the queue of somebody who listens refuses it".to_owned();
                teller.tell(Input::NotPassed { life, why });
            }
            Ok(_) => {}
            Err(why) if why.contains(REFUSED) || !is_made => {
                may = false;
                teller.tell(Input::NotPassed { life, why });
            }
            // The exchange was deleted, say: the next connection begins by making it anew.
            Err(why) => return teller.lost(format!("unable to pass a cancel on: {why}")),
        }
        teller.tell(Input::PassedOn { life, number });
    }
}

async fn pass(channel: &Channel, patient: &Patient, body: &[u8]) -> Result<Published, String> {
    let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
    let to = (CONTROL_EXCHANGE.into(), FORWARDED.into());
    let sent = channel.basic_publish(to.0, to.1, options, body, none);
    patient.answered(patient.answered(sent).await?).await.map(Published::from)
}
