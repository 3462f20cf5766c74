//! What is asked by AIR, and what is in hand by name.

use super::air::{Names, Order};
use super::thread::{Hand, Thread};
use crate::air::{self, Call, Wanted};
use crate::broker::Event;
use crate::change::Lease;
use machine::time::Mono;
use serde_json::{Value, json};
use std::time::Duration;

/// Questions at once that are not answered yet; who asks more is not answered.
const MOST: usize = 100;

/// Somebody who asks how it stands.
pub(super) struct Caller {
    /// Queue of theirs.
    to: String,
    call: Call,
}

impl Thread {
    /// Has a delivery in hand from now on.
    pub(super) fn hold(&mut self, lease: Lease, hand: Hand) {
        self.order(|| Order::Held(hand.wfid.clone()));
        self.held.insert(lease, hand);
    }

    /// Has a delivery in hand no more.
    pub(super) fn let_loose(&mut self, lease: Lease) -> Option<Hand> {
        let hand = self.held.remove(&lease);
        if let Some(hand) = &hand {
            self.order(|| Order::Free(hand.wfid.clone()));
            if hand.large > 0 {
                self.full_until = Mono(0);
            }
        }
        hand
    }

    /// Tells a new connection what is in hand.
    pub(super) fn name_all(&self) {
        for hand in self.held.values() {
            self.order(|| Order::Held(hand.wfid.clone()));
        }
    }

    /// Tells whoever answers by AIR, if anybody does.
    fn order(&self, order: impl FnOnce() -> Order) {
        let air = self.connected.as_ref().and_then(|connected| connected.kept.air.as_ref());
        if let Some(air) = air {
            // Where it has ended, the connection is given up.
            let _ = air.orders.send(order());
        }
    }

    fn seconds(&self) -> f64 {
        Duration::from_micros(self.store.now().wall.0.max(0).cast_unsigned()).as_secs_f64()
    }

    fn respond(&self, Caller { to, call }: Caller, answer: &Value) {
        if !call.is_over(self.seconds()) {
            self.order(|| Order::Respond { to, body: call.response(answer) });
        }
    }

    /// Something was asked by AIR.
    pub(super) fn called(&mut self, service: &str, to: String, body: &[u8]) {
        let Some(call) = air::read(service, body) else { return };
        if call.is_over(self.seconds()) || self.calls.len() >= MOST {
            return;
        }
        let wanted = call.wanted.clone();
        let caller = Caller { to, call };
        match wanted {
            Ok(Wanted::Status(wfid)) => {
                let names = self.settings.air.as_ref();
                let instance = names.and_then(|names| Names::instance(names, service));
                let instance = instance.map(str::to_owned);
                self.tokens += 1;
                self.calls.insert(self.tokens, caller);
                let ticket = self.tokens;
                self.news.push(Event::StatusAsked { ticket, instance, wfid });
            }
            Ok(Wanted::Cancel(cancel)) => {
                let answer = if self.cancel(&cancel, Duration::ZERO) {
                    json!({ "ok": true })
                } else {
                    failed(&format!("no item of {} is in hand here", cancel.wfid))
                };
                self.respond(caller, &answer);
            }
            Err(why) => self.respond(caller, &failed(&why)),
        }
    }

    /// Answers who asked how it stands.
    pub(super) fn tell(&mut self, ticket: u64, status: &Value) {
        if let Some(caller) = self.calls.remove(&ticket) {
            self.respond(caller, status);
        }
    }
}

/// As over the control socket.
fn failed(why: &str) -> Value {
    json!({ "ok": false, "error": why })
}
