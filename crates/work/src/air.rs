//! AIR, requests and their responses over AMQP, as pure functions: reference section 10.
//!
//! A request is `{"msgID": ANY, "args": [], "kwargs": {}, "deadline": SECONDS or null}`, and its
//! response `{"msgID": the same, "return": ANY}`. What we offer takes the name of what is wanted as
//! its first argument, or by the keyword `method`, and the others by their place or their keyword:
//! `status`, `wfid`; `cancel`, `wfid`, `expid`, `flavour`.

use crate::wire::Cancel;
use machine::work::Fault;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Direct exchange, durable, that requests are sent to, by the name of the service.
pub const REQUEST_EXCHANGE: &str = "AIR-request";
/// Direct exchange, not durable, that responses are sent to, by the name of the caller's queue.
pub const RESPONSE_EXCHANGE: &str = "AIR-response";

/// Seconds by which clocks may differ: so much later than its deadline nothing is answered.
const DRIFT: f64 = 3.0;
/// Longest routing key.
const LONGEST_NAME: usize = 255;
/// Longest request.
const LONGEST: usize = 64 << 10;
/// What comes before the process in the name of what is asked about an item.
const OF_ITEM: &str = "skynet.wi.";

/// A request.
#[derive(Clone, Debug)]
pub struct Call {
    /// As its sender names it.
    id: Box<RawValue>,
    /// When nobody waits for the response any more, in seconds since 1970.
    deadline: Option<f64>,
    /// What is wanted, or what is wrong with it, in words.
    pub wanted: Result<Wanted, String>,
}

/// What may be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// How it stands with whoever works on this process; `None` = with everybody.
    Status(Option<String>),
    /// Items are not wanted any more.
    Cancel(Cancel),
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "msgID", borrow)]
    id: &'a RawValue,
    #[serde(default)]
    args: Value,
    #[serde(default)]
    kwargs: Value,
    #[serde(default)]
    deadline: Value,
}

/// Reads a request that came for a service; `None` where it is none, and nobody can be answered.
#[must_use]
pub fn read(service: &str, body: &[u8]) -> Option<Call> {
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    if body.len() > LONGEST || !is_object {
        return None;
    }
    let head: Head<'_> = serde_json::from_slice(body).ok()?;
    let mut kwargs = match head.kwargs {
        Value::Object(kwargs) => kwargs,
        _ => Map::new(),
    };
    let args = match head.args {
        Value::Array(args) => args,
        _ => Vec::new(),
    };
    let names = ["method", "wfid", "expid", "flavour"];
    let extra = args.len() > names.len();
    // Whoever has the name of an item's service knows its process.
    if let Some(wfid) = process_of(service) {
        kwargs.insert("wfid".into(), wfid.into());
    }
    for (name, value) in names.into_iter().zip(args) {
        kwargs.entry(name).or_insert(value);
    }
    let wanted = if extra { Err("too many arguments".to_owned()) } else { wanted(&kwargs) };
    Some(Call { id: head.id.to_owned(), deadline: head.deadline.as_f64(), wanted })
}

fn wanted(arguments: &Map<String, Value>) -> Result<Wanted, String> {
    let text = |name: &str| match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(format!("{name} is no text")),
    };
    let wfid = text("wfid")?.map(str::to_owned);
    match text("method")? {
        Some("status") => Ok(Wanted::Status(wfid)),
        Some("cancel") => {
            let wfid = wfid.filter(|wfid| !wfid.is_empty());
            let wfid = wfid.ok_or("which process? Its wfid is missing")?;
            let item = text("expid")?.map(|expid| format!("{expid}!"));
            let why = match text("flavour")? {
                None | Some("cancel") => Fault::CANCELLED,
                Some("kill") => Fault::KILLED,
                Some("timeout") => Fault::GIVEN_UP,
                Some(_) => return Err("flavour is cancel, kill or timeout".to_owned()),
            };
            Ok(Wanted::Cancel(Cancel { wfid, item, sent: None, why }))
        }
        _ => Err("the first argument is status or cancel".to_owned()),
    }
}

impl Call {
    /// Tells whether nobody waits any more, at so many seconds since 1970.
    #[must_use]
    pub fn is_over(&self, now: f64) -> bool {
        self.deadline.is_some_and(|deadline| now > deadline + DRIFT)
    }

    /// Returns the response.
    #[must_use]
    pub fn response(&self, answer: &Value) -> Vec<u8> {
        #[derive(Serialize)]
        struct Response<'a> {
            #[serde(rename = "msgID")]
            id: &'a RawValue,
            r#return: &'a Value,
        }
        // It has nothing but JSON that was read or made.
        serde_json::to_vec(&Response { id: &self.id, r#return: answer }).unwrap_or_default()
    }
}

/// Returns the name of the service that an instance is on a machine. Two machines may have the same
/// participant: by a name without the machine both would answer.
#[must_use]
pub fn service(participant: &str, instance: &str, machine: &str) -> Option<String> {
    named(format!("skynet.{participant}.{instance}.{machine}"))
}

/// Returns the name of the service that whoever works on an item of this process is.
#[must_use]
pub fn item_service(wfid: &str) -> Option<String> {
    named(format!("{OF_ITEM}{wfid}"))
}

fn named(name: String) -> Option<String> {
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Returns the process whose items a service is about; `None` where it is an instance.
fn process_of(service: &str) -> Option<&str> {
    service.strip_prefix(OF_ITEM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn call(body: &Value) -> Call {
        read("skynet.p.p_0.here", body.to_string().as_bytes()).unwrap()
    }

    fn cancel(item: Option<&str>, why: Fault) -> Wanted {
        Wanted::Cancel(Cancel { wfid: "w".into(), item: item.map(str::to_owned), sent: None, why })
    }

    #[test]
    fn arguments_have_their_place_or_their_keyword() {
        for (args, kwargs, wanted) in [
            (json!(["status"]), json!({}), Wanted::Status(None)),
            (json!(["status", "w"]), json!(null), Wanted::Status(Some("w".into()))),
            (json!([]), json!({"method": "status", "wfid": null}), Wanted::Status(None)),
            (json!(["cancel", "w"]), json!({}), cancel(None, Fault::CANCELLED)),
            (json!(["cancel", "w", "0_1", "kill"]), json!(7), cancel(Some("0_1!"), Fault::KILLED)),
            (
                json!(null),
                json!({"method": "cancel", "wfid": "w", "flavour": "timeout"}),
                cancel(None, Fault::GIVEN_UP),
            ),
        ] {
            let called = call(&json!({"msgID": 1, "args": args, "kwargs": kwargs}));
            assert_eq!(called.wanted, Ok(wanted), "{args} {kwargs}");
        }
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (args, kwargs, why) in [
            (json!([]), json!({}), "first argument"),
            (json!({"method": "status"}), json!([]), "first argument"),
            (json!(["dance"]), json!({}), "first argument"),
            (json!(["cancel"]), json!({}), "wfid is missing"),
            (json!(["cancel", ""]), json!({}), "wfid is missing"),
            (json!(["cancel", 7]), json!({}), "wfid is no text"),
            (json!(["cancel", "w", null, "hard"]), json!({}), "flavour is"),
            (json!(["status", "w", "0", "kill", 5]), json!({}), "too many"),
        ] {
            let called = call(&json!({"msgID": 1, "args": args, "kwargs": kwargs}));
            let said = called.wanted.unwrap_err();
            assert!(said.contains(why), "{args} {kwargs}: {said}");
        }
    }

    #[test]
    fn what_is_no_request_is_nobody_s() {
        for body in ["", "1", "[]", "{}", r#"["a",[],{},null]"#, r#"{"args":[]}"#] {
            assert!(read("s", body.as_bytes()).is_none(), "{body}");
        }
        let long = json!({"msgID": "x".repeat(LONGEST)}).to_string();
        assert!(read("s", long.as_bytes()).is_none());
    }

    #[test]
    fn a_response_has_the_name_of_its_request_as_it_was_written() {
        let body = br#"{"msgID": 1.50, "args": ["status"]}"#;
        let called = read("s", body).unwrap();
        assert_eq!(
            called.response(&json!({"ok": true})),
            br#"{"msgID":1.50,"return":{"ok":true}}"#
        );
    }

    #[test]
    fn three_seconds_after_its_deadline_a_request_is_over() {
        let called = call(&json!({"msgID": 1, "deadline": 1_795_334_830.5}));
        assert!(!called.is_over(1_795_334_833.4) && called.is_over(1_795_334_833.6));
        for never in [json!(null), json!("soon")] {
            assert!(!call(&json!({"msgID": 1, "deadline": never})).is_over(f64::MAX));
        }
    }

    #[test]
    fn who_asks_about_an_item_by_its_name_means_its_process_alone() {
        let name = item_service("w").unwrap();
        let body = br#"{"msgID": 1, "args": ["cancel", "another"]}"#;
        let Some(Call { wanted: Ok(Wanted::Cancel(cancel)), .. }) = read(&name, body) else {
            panic!("{name}")
        };
        assert_eq!(cancel.wfid, "w");
        assert_eq!(service("p", "p_0", "here").unwrap(), "skynet.p.p_0.here");
        assert_eq!(item_service(&"w".repeat(246)), None);
    }
}
