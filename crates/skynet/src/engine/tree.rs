//! What a process is made of: expressions, as the engine's JSON form has them.
//!
//! Source: wire format of the engine, section 7.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Keys and values whose numbers keep their digits.
pub type Object = BTreeMap<String, Box<RawValue>>;

/// Deepest nesting of a definition.
const DEEPEST: usize = 32;

/// The participant that every engine has itself: makes a pattern of names known, or forgets it.
pub const REGISTER: &str = "boss_register";

/// Attributes of a step that are for the engine alone.
pub const OWN: [&str; 4] = ["if", "unless", "on_error", "forget"];

/// Attributes of a step by which a real engine does what this one does not.
pub const NOT_HERE: [&str; 8] =
    ["timeout", "timers", "on_timeout", "on_cancel", "on_terminate", "flank", "lose", "await"];

/// The same of what is no step, besides those.
const NOT_THERE: [&str; 11] = [
    "count",
    "merge",
    "merge_type",
    "remaining",
    "over_if",
    "over_unless",
    "wait_for",
    "on_re_apply",
    "filter",
    "take",
    "discard",
];

/// Expressions of a real engine that this one does not have; they are no participants' names.
const UNKNOWN: &[&str] = &[
    "add_branches",
    "apply",
    "await",
    "break",
    "cancel_process",
    "case",
    "citerator",
    "concurrent_iterator",
    "continue",
    "cron",
    "cursor",
    "dec",
    "echo",
    "equals",
    "error",
    "every",
    "filter",
    "given",
    "if",
    "inc",
    "iterator",
    "jump",
    "let",
    "listen",
    "lose",
    "loop",
    "noop",
    "on_error",
    "once",
    "read",
    "redo",
    "ref",
    "registerp",
    "repeat",
    "reserve",
    "restore",
    "rewind",
    "save",
    "set",
    "skip",
    "stall",
    "stop",
    "subprocess",
    "that",
    "the",
    "timers",
    "undo",
    "unless",
    "unregisterp",
    "unset",
    "wait",
    "when",
];

/// An expression: name, attributes, children.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Expr(pub String, pub Object, pub Vec<Expr>);

/// What an expression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its children, one after the other.
    Sequence,
    /// Its children, at the same time.
    Concurrence,
    /// Work for a participant.
    Step,
}

impl Expr {
    /// Returns what it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.0.as_str() {
            "define" | "process_definition" | "sequence" => Kind::Sequence,
            "concurrence" => Kind::Concurrence,
            _ => Kind::Step,
        }
    }

    /// Returns the name of the participant of a step.
    #[must_use]
    pub fn participant(&self) -> String {
        if self.0 != "participant" {
            return self.0.clone();
        }
        if let Some(name) = self.text("ref") {
            return name;
        }
        let bare = self.1.iter().find(|(_, value)| value.get() == "null");
        bare.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// Returns an attribute that is a text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        serde_json::from_str(self.1.get(key)?.get()).ok()
    }

    /// Returns the expression at a place, `0_1_2`: of this one, its second child's third child.
    #[must_use]
    pub fn at(&self, expid: &str) -> Option<&Self> {
        let mut numbers = expid.split('_');
        numbers.next()?;
        let mut found = self;
        for number in numbers {
            found = found.2.get(number.parse::<usize>().ok()?)?;
        }
        Some(found)
    }

    /// Returns the name of a definition, and its revision.
    #[must_use]
    pub fn title(&self) -> (String, Option<String>) {
        (self.text("name").unwrap_or_else(|| "process".to_owned()), self.text("revision"))
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// It is none, or has what this engine does not know.
    pub fn read(json: &str) -> Result<Self, String> {
        let tree: Self = serde_json::from_str(json)
            .map_err(|why| format!("a definition is [NAME, {{ATTRIBUTES}}, [CHILDREN]]: {why}"))?;
        tree.check()?;
        Ok(tree)
    }

    /// Says what this engine does not know of it.
    ///
    /// # Errors
    /// What, in words.
    pub fn check(&self) -> Result<(), String> {
        if !self.is_definition() {
            return Err(format!("a process begins with define, not with {}", self.0));
        }
        self.check_below(0)
    }

    fn check_below(&self, depth: usize) -> Result<(), String> {
        if depth > DEEPEST {
            return Err(format!("expressions are more than {DEEPEST} deep"));
        }
        if UNKNOWN.contains(&self.0.as_str()) {
            return Err(format!("this engine has no expression {}", self.0));
        }
        self.check_attributes()?;
        if self.kind() == Kind::Step {
            if !self.2.is_empty() {
                return Err(format!("{} has expressions below it, which a step cannot", self.0));
            }
            if self.participant().is_empty() {
                return Err("a step names no participant".to_owned());
            }
        }
        for key in ["if", "unless"] {
            let Some(value) = self.1.get(key) else { continue };
            let text = self.text(key);
            let plain = matches!(value.get(), "true" | "false");
            let text = text.or_else(|| plain.then(|| value.get().to_owned()));
            let text = text.ok_or_else(|| format!("the {key} of {} is no text", self.0))?;
            super::condition::check(&text).map_err(|why| format!("{key} of {}: {why}", self.0))?;
        }
        if depth > 0 && self.is_definition() {
            return Err("this engine has no processes within processes".to_owned());
        }
        self.2.iter().try_for_each(|child| child.check_below(depth + 1))
    }

    /// Says which attribute has an effect in a real engine that it has not here.
    fn check_attributes(&self) -> Result<(), String> {
        let is_step = self.kind() == Kind::Step;
        if !is_step && self.1.contains_key("forget") {
            return Err(format!("this engine can forget steps, no {}", self.0));
        }
        for (key, value) in &self.1 {
            let has_effect =
                NOT_HERE.contains(&key.as_str()) || !is_step && NOT_THERE.contains(&key.as_str());
            // A definition's name may stand there as a key.
            let is_name = value.get() == "null" && self.is_definition();
            if has_effect && !is_name {
                return Err(format!("this engine has no {key}, which {} has", self.0));
            }
            for text in [key, value.get()] {
                if let Some(name) = super::dollar::foreign(text) {
                    let why = "variables and Ruby";
                    return Err(format!(
                        "this engine has no {why}, as in ${{{name}}} of {}",
                        self.0
                    ));
                }
            }
        }
        Ok(())
    }

    fn is_definition(&self) -> bool {
        matches!(self.0.as_str(), "define" | "process_definition")
    }
}

/// Returns a value as JSON text that is kept as it is.
#[must_use]
pub fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Expr, String> {
        Expr::read(json)
    }

    #[test]
    fn the_form_of_a_real_engine_is_read_and_written_as_it_was() {
        let text = r#"["define",{"name":"x","revision":"2"},[["sequence",{},[["sizer",{"n":12345678901234567890123,"unit":"MB"},[]],["participant",{"ref":"b"},[]],["participant",{"c":null},[]]]]]]"#;
        let tree = read(text).unwrap();
        assert_eq!(serde_json::to_string(&tree).unwrap(), text);
        assert_eq!(tree.title(), ("x".to_owned(), Some("2".to_owned())));
        let names: Vec<_> =
            ["0_0_0", "0_0_1", "0_0_2"].map(|at| tree.at(at).unwrap().participant()).into();
        assert_eq!(names, ["sizer", "b", "c"]);
        assert!(tree.at("0_0_3").is_none() && tree.at("0_x").is_none());
    }

    #[test]
    fn what_changes_nothing_may_stand_there() {
        for tree in [
            r#"["process_definition",{"nightly":null,"revision":"1","on_error":"x"},[]]"#,
            r#"["define",{},[["sequence",{"tag":"t","if":"${f:x}","unless":"${y}"},[]]]]"#,
            r#"["define",{},[["a",{"count":1,"tag":"t","merge":"${f:v}","name":"x"},[]]]]"#,
        ] {
            read(tree).unwrap();
        }
    }

    #[test]
    fn what_this_engine_does_not_know_is_refused_and_named() {
        for (tree, why) in [
            (r#"["sequence",{},[]]"#, "begins with define"),
            (r#"["define",{},[["cursor",{},[]]]]"#, "no expression cursor"),
            (r#"["define",{},[["a",{"timeout":"1h"},[]]]]"#, "no timeout"),
            (r#"["define",{},[["a",{},[["b",{},[]]]]]]"#, "below it"),
            (r#"["define",{},[["participant",{},[]]]]"#, "names no participant"),
            (r#"["define",{},[["define",{},[]]]]"#, "within processes"),
            (r#"["define",{},[["sequence",{"forget":true},[]]]]"#, "can forget steps"),
            (
                r#"["define",{},[["concurrence",{"count":1},[]]]]"#,
                "no count, which concurrence has",
            ),
            (r#"["define",{},[["sequence",{"timers":"1h: x"},[]]]]"#, "no timers"),
            (r#"["define",{"on_cancel":"x"},[]]"#, "no on_cancel, which define"),
            (r#"["define",{},[["a",{"on_timeout":"x"},[]]]]"#, "no on_timeout, which a has"),
            (r#"["define",{},[["a",{"lose":true},[]]]]"#, "no lose"),
            (r#"["define",{},[["a",{"x":["y",{"z":"is ${v:z}"}]},[]]]]"#, "as in ${v:z} of a"),
            (r#"["define",{},[["a",{"${ r:1 }":1},[]]]]"#, "no variables and Ruby"),
            (r#"["define",{},[["a",{"if":"${variable:x} == 1"},[]]]]"#, "as in ${variable:x}"),
            (r#"["define",{},[["a",{"if":7},[]]]]"#, "is no text"),
            (r#"["define",{},[["a",{"if":"x =="},[]]]]"#, "if of a: "),
            (r#"["define"]"#, "a definition is"),
            ("{}", "a definition is"),
        ] {
            let said = read(tree).unwrap_err();
            assert!(said.contains(why), "{tree}: {said}");
        }
        let deep = format!("{}{}", r#"["sequence",{},["#.repeat(40), "]]".repeat(40));
        assert!(read(&format!(r#"["define",{{}},[{deep}]]"#)).unwrap_err().contains("deep"));
    }
}
