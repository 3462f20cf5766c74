//! What an engine is told, and the work items that it hands out; what is sent to it is made by
//! [`work::wire`].
//!
//! Source: wire format of the engine, sections 3 to 8.

use super::tree::{Expr, Object, raw};
use super::{process_file, ruby};
use participant::protocol::Flavour;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;
use work::wire;

/// Where in which process an item was handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fei {
    /// Which engine's process.
    #[serde(default)]
    pub engine_id: String,
    /// The process.
    pub wfid: String,
    /// This handing out.
    #[serde(default)]
    pub subid: Option<String>,
    /// Place in the process.
    pub expid: String,
}

/// What a participant says is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Class of the error.
    #[serde(default)]
    pub class: String,
    /// For people.
    #[serde(default)]
    pub message: String,
    /// Where.
    #[serde(default)]
    pub trace: Vec<String>,
}

impl Wrong {
    /// Something that the engine itself finds wrong.
    #[must_use]
    pub fn here(message: impl Into<String>) -> Self {
        Self { class: "skynet".to_owned(), message: message.into(), trace: Vec::new() }
    }
}

/// What is told to an engine.
#[derive(Clone, Debug)]
pub enum Message {
    /// An item comes back, now or after it was kept.
    Reply {
        /// Which.
        fei: Fei,
        /// What it has now.
        fields: Object,
    },
    /// Work on an item failed.
    Error {
        /// Which.
        fei: Fei,
        /// What it has now.
        fields: Object,
        /// What is wrong.
        error: Wrong,
    },
    /// A process is to begin.
    Launch {
        /// What it does.
        tree: Expr,
        /// What its first item has.
        fields: Object,
        /// How it is to be called.
        wfid: Option<String>,
    },
    /// A process, or one step of it, is not wanted any more. Of our own engine only.
    Cancel {
        /// Which process.
        wfid: String,
        /// Which place in it; `None` = all.
        expid: Option<String>,
        /// Why.
        flavour: Flavour,
    },
}

/// Keys of a message that say what it is.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow, default)]
    fei: Option<&'a RawValue>,
    #[serde(default)]
    fields: Option<Object>,
    #[serde(default)]
    workitem_fields: Option<Object>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    definition: Option<&'a RawValue>,
    #[serde(borrow, default)]
    process_definition: Option<&'a RawValue>,
    #[serde(borrow, default)]
    variables: Option<&'a RawValue>,
    #[serde(borrow, default)]
    process_variables: Option<&'a RawValue>,
    #[serde(borrow, default)]
    wfid: Option<Cow<'a, str>>,
    #[serde(default)]
    cancel_process: Option<Cancelled>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cancelled {
    wfid: String,
    #[serde(default)]
    expid: Option<String>,
    #[serde(default)]
    flavour: Option<Flavour>,
}

/// Reads a message.
///
/// # Errors
/// It is none that this engine knows, in words.
pub fn read(bytes: &[u8]) -> Result<Message, String> {
    let outer: Outer<'_> =
        serde_json::from_slice(bytes).map_err(|why| format!("no message of an engine: {why}"))?;
    let error = outer.error.filter(|raw| !matches!(raw.get(), "null" | "false"));
    if let Some(fei) = outer.fei.filter(|_| error.is_some() || outer.fields.is_some()) {
        let fei = serde_json::from_str(fei.get()).map_err(|why| format!("its fei: {why}"))?;
        let mut fields = outer.fields.unwrap_or_default();
        fields.remove("params");
        fields.remove("dispatched_at");
        return Ok(match error {
            Some(error) => Message::Error { fei, fields, error: wrong(error) },
            None => Message::Reply { fei, fields },
        });
    }
    if let Some(Cancelled { wfid, expid, flavour }) = outer.cancel_process {
        return Ok(Message::Cancel { wfid, expid, flavour: flavour.unwrap_or(Flavour::Cancel) });
    }
    let Some(definition) = outer.process_definition.or(outer.definition) else {
        return Err("neither an answer nor a launch: it has no fei and no definition".to_owned());
    };
    let variables = outer.process_variables.or(outer.variables);
    if variables.is_some_and(wire::is_set) {
        return Err("this engine has no variables, and the launch sets some".to_owned());
    }
    let (tree, mut fields) = defined(definition)?;
    fields.extend(outer.fields.or(outer.workitem_fields).unwrap_or_default());
    Ok(Message::Launch { tree, fields, wfid: outer.wfid.map(Cow::into_owned) })
}

/// An error is a text, or an object with these keys.
fn wrong(error: &RawValue) -> Wrong {
    if let Ok(message) = serde_json::from_str::<String>(error.get()) {
        return Wrong { message, ..Wrong::default() };
    }
    let whole = || Wrong { message: error.get().to_owned(), ..Wrong::default() };
    serde_json::from_str(error.get()).unwrap_or_else(|_| whole())
}

/// Reads a definition: the JSON form, as it is or as text, plain Ruby, or a process file.
fn defined(definition: &RawValue) -> Result<(Expr, Object), String> {
    let Ok(text) = serde_json::from_str::<String>(definition.get()) else {
        return Ok((Expr::read(definition.get())?, Object::new()));
    };
    match text.trim_start().bytes().next() {
        Some(b'[') => Ok((Expr::read(&text)?, Object::new())),
        Some(b'<') => Err("definitions in XML are not understood here".to_owned()),
        _ if ruby::is_ruby(&text) => Ok((ruby::read(&text)?, Object::new())),
        _ => {
            let read = process_file::read(text.as_bytes());
            let process = read.map_err(|all| match all.first() {
                Some(first) => first.to_string(),
                None => "it is no definition".to_owned(),
            })?;
            Ok((process.tree, process.fields))
        }
    }
}

/// What is said of a process in each of its items.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its revision.
    pub revision: Option<&'a str>,
    /// When it began.
    pub launched_at: &'a str,
}

/// Returns a work item.
#[must_use]
pub fn item(fei: &Fei, participant: &str, about: About<'_>, fields: &Object) -> Box<RawValue> {
    let About { name, revision, launched_at } = about;
    let fields = raw(fields);
    let head = json!({
        "fei": fei,
        "participant_name": participant,
        "wf_name": name,
        "wf_revision": revision,
        "wf_launched_at": launched_at,
        "sub_wf_name": name,
        "sub_wf_revision": revision,
        "sub_wf_launched_at": launched_at,
        "owner": Value::Null,
        "re_dispatch_count": 0,
    });
    let mut whole: Object = serde_json::from_value(head).unwrap_or_default();
    whole.insert("fields".to_owned(), fields);
    raw(&whole)
}

/// Returns the message that a process, or one place in it, is not wanted any more. The fields are
/// there because a queue takes nothing without.
#[must_use]
pub fn cancel(wfid: &str, expid: Option<&str>, flavour: Flavour) -> Vec<u8> {
    let what = json!({ "wfid": wfid, "expid": expid, "flavour": flavour });
    json!({ "cancel_process": what, "fields": {} }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_message_say_what_it_is() {
        let fei = r#""fei":{"wfid":"w","expid":"0","subid":"s"}"#;
        let read = |rest: &str| read(format!("{{{rest}}}").as_bytes());
        let reply =
            format!("{fei},\"fields\":{{\"params\":{{}},\"dispatched_at\":\"x\",\"n\":1.0}}");
        let Ok(Message::Reply { fei: found, fields }) = read(&reply) else {
            panic!("no reply");
        };
        assert_eq!((&*found.wfid, &*found.expid, found.subid.as_deref()), ("w", "0", Some("s")));
        assert_eq!(serde_json::to_string(&fields).unwrap(), "{\"n\":1.0}");
        for none in ["null", "false"] {
            let text = format!("{fei},\"fields\":{{}},\"error\":{none}");
            assert!(matches!(read(&text), Ok(Message::Reply { .. })));
        }
        for (error, message) in [
            ("\"it broke\"", "it broke"),
            ("{\"class\":\"C\",\"message\":\"it broke\",\"trace\":[\"a\"]}", "it broke"),
            ("\"\"", ""),
            ("{}", ""),
            ("{\"message\":7}", "{\"message\":7}"),
        ] {
            let Ok(Message::Error { error, .. }) = read(&format!("{fei},\"error\":{error}")) else {
                panic!("no error");
            };
            assert_eq!(error.message, message);
        }
    }

    #[test]
    fn a_launch_has_its_definition_in_either_form_and_fields_over_those_of_the_file() {
        let tree = r#"["define",{"name":"x"},[["a",{},[]]]]"#;
        let text = serde_json::to_string(tree).unwrap();
        let file = serde_json::to_string("process: x\nfields: {n: 1, m: 2}\nsteps:\n- do: a\n");
        let file = file.unwrap();
        for (definition, fields) in [
            (format!("\"definition\":{tree}"), "{\"n\":3}"),
            (format!("\"process_definition\":{text}"), "{\"n\":3}"),
            (format!("\"definition\":{file}"), "{\"m\":2,\"n\":3}"),
        ] {
            for key in ["fields", "workitem_fields"] {
                let text = format!("{{{definition},\"{key}\":{{\"n\":3}},\"wfid\":\"w\"}}");
                let Ok(Message::Launch { tree, fields: found, wfid }) = read(text.as_bytes())
                else {
                    panic!("no launch: {text}");
                };
                assert_eq!((tree.title().0, wfid.as_deref()), ("x".to_owned(), Some("w")));
                assert_eq!(serde_json::to_string(&found).unwrap(), fields);
            }
        }
    }

    #[test]
    fn what_is_no_message_says_why() {
        for (text, why) in [
            ("7", "no message"),
            ("{}", "neither an answer nor a launch"),
            ("{\"fei\":{\"wfid\":\"w\"},\"fields\":{}}", "its fei: missing field `expid`"),
            ("{\"fei\":{\"wfid\":\"w\",\"expid\":\"0\"}}", "neither"),
            ("{\"definition\":\"Ruote.process_definition do |x|\"}", "is not understood here"),
            ("{\"definition\":\"<process/>\"}", "in XML"),
            ("{\"definition\":\"nonsense\"}", "keys and values are expected"),
            ("{\"definition\":[\"cursor\",{},[]]}", "begins with define"),
            ("{\"definition\":[\"define\",{},[]],\"variables\":{\"v\":1}}", "no variables"),
            ("{\"definition\":[\"define\",{},[]],\"process_variables\":\"v\"}", "no variables"),
        ] {
            let said = read(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
    }

    #[test]
    fn what_we_write_is_read_as_what_was_meant() {
        let written = wire::unregister("built_.*", "built");
        let Ok(Message::Launch { tree, fields, .. }) = read(&written) else {
            panic!("no launch");
        };
        assert_eq!(tree.at("0_0_0").unwrap().text("action").as_deref(), Some("unregister"));
        let fields = serde_json::to_string(&fields).unwrap();
        assert_eq!(fields, "{\"name\":\"built_.*\",\"queue\":\"built\"}");
        let Ok(Message::Cancel { wfid, expid, flavour }) =
            read(&cancel("w", Some("0_1"), Flavour::Kill))
        else {
            panic!("no cancel");
        };
        assert_eq!((&*wfid, expid.as_deref(), flavour), ("w", Some("0_1"), Flavour::Kill));
    }

    #[test]
    fn an_item_has_what_participants_look_for_and_every_digit() {
        let fei = Fei { expid: "0_0".into(), wfid: "w".into(), ..Fei::default() };
        let fields: Object = serde_json::from_str("{\"n\":12345678901234567890123}").unwrap();
        let about = About { name: "p", revision: None, launched_at: "then" };
        let item = item(&fei, "sizer", about, &fields);
        assert!(item.get().contains("12345678901234567890123"), "{item}");
        let value: Value = serde_json::from_str(item.get()).unwrap();
        assert_eq!((&value["participant_name"], &value["wf_name"]), (&json!("sizer"), &json!("p")));
        assert_eq!(value["fei"]["subid"], Value::Null);
    }
}
