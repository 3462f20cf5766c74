//! A work item, whose text stays as it came but for what is changed.

use crate::fault::Fault;
use crate::object::{self, Member};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// A work item: a JSON object with an object `fields` in it.
///
/// Paths lead through objects: `ev.id` is the member `id` of the member `ev` of `fields`. What is
/// not changed keeps its bytes: numbers their digits, objects their order, unknown keys their place.
#[derive(Clone, Debug)]
pub struct Item {
    text: String,
    is_changed: bool,
    forgotten: bool,
    /// Gets the text as it is when nobody is to be answered, for a fault that leaves no item.
    kept: Option<Kept>,
}

/// What is known of an item that the author took and did not give back.
pub(crate) type Kept = Arc<OnceLock<String>>;

/// Why a text is no item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a work item: {}", self.0)
    }
}

impl std::error::Error for Invalid {}

impl Item {
    /// Makes one from a JSON object.
    ///
    /// # Errors
    /// [`Invalid`] where it is none.
    pub fn from_json(text: &str) -> Result<Self, Invalid> {
        let json: &RawValue =
            serde_json::from_str(text).map_err(|error| Invalid(error.to_string()))?;
        Ok(Self { is_changed: true, ..Self::received(json)? })
    }

    /// Takes one that came, and that exo has too as long as nothing in it is changed.
    pub(crate) fn received(json: &RawValue) -> Result<Self, Invalid> {
        if !json.get().starts_with('{') {
            return Err(Invalid("an object is expected".to_owned()));
        }
        Ok(Self { text: json.get().to_owned(), is_changed: false, forgotten: false, kept: None })
    }

    /// Returns it as JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.text
    }

    /// Tells whether anything in it is not as it came.
    #[must_use]
    pub fn is_changed(&self) -> bool {
        self.is_changed
    }

    /// Returns the id of the process that it belongs to; `None` = it tells none.
    #[must_use]
    pub fn wfid(&self) -> Option<String> {
        let value = self.find(&["fei", "wfid"])?;
        serde_json::from_str(self.text.get(value.value)?).ok()
    }

    /// Returns a field, by its path. One that is not there reads as `null`, which an `Option` takes.
    ///
    /// A type that borrows (`&str`, `&RawValue`) saves the copy.
    ///
    /// # Errors
    /// A final fault: it is missing, or something else than a `T`.
    #[track_caller]
    pub fn field<'a, T: Deserialize<'a>>(&'a self, path: &str) -> Result<T, Fault> {
        self.read("field", path, &keys(path))
    }

    /// Returns a parameter: what the process says in the step that called.
    ///
    /// # Errors
    /// As [`Item::field`].
    #[track_caller]
    pub fn param<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<T, Fault> {
        self.read("parameter", name, &["fields", "params", name])
    }

    /// Sets a field; objects on the way to it that are missing are made.
    ///
    /// # Errors
    /// A final fault: what stands on the way is no object, or the value has no form in JSON.
    #[track_caller]
    pub fn set_field(
        &mut self,
        path: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<(), Fault> {
        match self.write(&keys(path), value) {
            Ok(()) => Ok(()),
            Err(why) => Err(Fault::finally(format!("field {path}: {why}"))),
        }
    }

    /// Takes a field out; tells whether it was there.
    pub fn remove_field(&mut self, path: &str) -> bool {
        let keys = keys(path);
        let (Some(member), Some(parent)) =
            (self.find(&keys), self.find(&keys[..keys.len().saturating_sub(1)]))
        else {
            return false;
        };
        object::remove(&mut self.text, parent.value.start, &member);
        self.is_changed = true;
        true
    }

    /// Sets the answer that the process tests in its next `if`.
    ///
    /// # Errors
    /// As [`Item::set_field`].
    #[track_caller]
    pub fn set_result(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Fault> {
        self.set_field("__result__", value)
    }

    /// Has nobody be answered: the item is kept, and somebody answers later. It holds for a fault
    /// that follows, too, whether that has the item or not.
    pub fn forget(&mut self) {
        self.forgotten = true;
        if let Some(kept) = &self.kept {
            // As it was the first time.
            let _ = kept.set(self.text.clone());
        }
    }

    /// Has its text kept where nobody is to be answered.
    pub(crate) fn kept_by(self, kept: &Kept) -> Self {
        Self { kept: Some(kept.clone()), ..self }
    }

    /// Returns the item that was kept, if one was.
    pub(crate) fn of_kept(kept: &Kept) -> Option<Self> {
        let text = kept.get()?.clone();
        Some(Self { text, is_changed: true, forgotten: true, kept: None })
    }

    /// Tells whether nobody is to be answered.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Says in the item itself that nobody is to be answered.
    pub(crate) fn note_forgotten(&mut self) -> Result<(), String> {
        self.write(&["fields", "params", "forget"], &true)
    }

    #[track_caller]
    fn read<'a, T: Deserialize<'a>>(
        &'a self,
        what: &str,
        path: &str,
        keys: &[&str],
    ) -> Result<T, Fault> {
        let found = self.find(keys).and_then(|member| self.text.get(member.value));
        match serde_json::from_str(found.unwrap_or("null")) {
            Ok(value) => Ok(value),
            Err(_) if found.is_none() => Err(Fault::finally(format!("{what} {path} is missing"))),
            Err(error) => Err(Fault::finally(format!("{what} {path}: {error}"))),
        }
    }

    fn find(&self, keys: &[&str]) -> Option<Member> {
        let mut at = 0;
        let mut found = None;
        for key in keys {
            if !self.is_object(at) {
                return None;
            }
            let member = object::find(&self.text, at, key)?;
            at = member.value.start;
            found = Some(member);
        }
        found
    }

    fn is_object(&self, at: usize) -> bool {
        self.text.as_bytes().get(at) == Some(&b'{')
    }

    fn write(&mut self, keys: &[&str], value: &(impl Serialize + ?Sized)) -> Result<(), String> {
        let mut json = serde_json::to_string(value).map_err(|error| error.to_string())?;
        let mut at = 0;
        for (i, key) in keys.iter().enumerate() {
            let rest = keys.get(i + 1..).unwrap_or_default();
            let Some(member) = object::find(&self.text, at, key) else {
                nest(&mut json, rest);
                object::insert(&mut self.text, at, key, &json);
                break;
            };
            at = member.value.start;
            let is_null = self.text.get(member.value.clone()) == Some("null");
            if rest.is_empty() || is_null {
                nest(&mut json, rest);
                self.text.replace_range(member.value, &json);
                break;
            }
            if !self.is_object(at) {
                return Err(format!("{key} is no object"));
            }
        }
        self.is_changed = true;
        Ok(())
    }
}

/// Puts objects around a value, one for each key.
fn nest(json: &mut String, keys: &[&str]) {
    for key in keys.iter().rev() {
        *json = format!("{{{}:{json}}}", serde_json::Value::from(*key));
    }
}

fn keys(path: &str) -> Vec<&str> {
    std::iter::once("fields").chain(path.split('.')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ODD: &str = concat!(
        r#"{"fei":{"wfid":"w-1","expid":"0"}, "fields":{"big":123456789012345678901234567890,"#,
        r#""one":1.0,"zero":-0,"huge":1E400, "params":{"unit":"MB"}, "dup":1,"dup":2,"#,
        r#""ev":{"id":4711,"n":null}},"\u00fcber":"\ud800" }"#
    );

    fn item() -> Item {
        Item::received(serde_json::from_str(ODD).unwrap()).unwrap()
    }

    #[test]
    fn fields_are_read_by_their_types() {
        let item = item();
        assert_eq!(item.wfid().as_deref(), Some("w-1"));
        assert_eq!(item.field::<u32>("ev.id").unwrap(), 4711);
        assert_eq!(item.field::<u32>("dup").unwrap(), 2);
        assert_eq!(item.field::<&RawValue>("huge").unwrap().get(), "1E400");
        assert_eq!(item.param::<&str>("unit").unwrap(), "MB");
        assert_eq!(item.field::<Option<u32>>("ev.none").unwrap(), None);
        assert_eq!(item.field::<Option<u32>>("one.none").unwrap(), None);
        let said = item.field::<u32>("ev.none").unwrap_err();
        assert_eq!((said.code, &*said.text), (10, "field ev.none is missing"));
        assert!(item.param::<u32>("unit").unwrap_err().text.starts_with("parameter unit: invalid"));
    }

    #[test]
    fn what_is_not_touched_keeps_its_bytes() {
        let mut item = item();
        assert!(!item.is_changed());
        item.set_field("size", &2.5).unwrap();
        item.set_field("ev.id", "x").unwrap();
        item.set_field("ev.n.deep", &[1]).unwrap();
        item.set_result(&true).unwrap();
        assert!(item.remove_field("one"));
        assert!(!item.remove_field("one"));
        assert!(item.is_changed());
        let expected = ODD
            .replace(r#""one":1.0,"#, "")
            .replace("4711", r#""x""#)
            .replace(r#""n":null}"#, r#""n":{"deep":[1]}},"size":2.5,"__result__":true"#);
        assert_eq!(item.json(), expected);
    }

    #[test]
    fn an_item_without_fields_gets_them() {
        let mut item = Item::from_json("{}").unwrap();
        item.set_field("a.b", &1).unwrap();
        assert_eq!(item.json(), r#"{"fields":{"a":{"b":1}}}"#);
        assert!(item.set_field("a.b.c", &1).unwrap_err().text.contains("b is no object"));
    }

    #[test]
    fn what_is_no_object_is_no_item() {
        for text in ["", "[]", "1", "{", "{}{}", "{\"a\":}", "\u{0}"] {
            assert!(Item::from_json(text).is_err(), "{text}");
        }
    }
}
