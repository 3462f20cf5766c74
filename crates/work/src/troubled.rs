//! What was told of trouble: each kind once, until it is over.

use crate::broker::Event;
use std::collections::BTreeMap;

/// What is in trouble, by a number, and what was told of it.
#[derive(Debug, Default)]
pub(crate) struct Troubled(BTreeMap<usize, String>);

impl Troubled {
    /// Returns what is to be told of trouble with a part: nothing where that was told last.
    pub(crate) fn trouble(&mut self, part: usize, what: String, lasting: bool) -> Option<Event> {
        let told = self.0.insert(part, what.clone());
        let is_new = lasting || told.is_none_or(|told| kind(&told) != kind(&what));
        is_new.then_some(Event::Trouble { what, lasting })
    }

    /// Returns what is to be told when a part is well: what else is in trouble, if anything.
    pub(crate) fn well(&mut self, part: usize) -> Option<Event> {
        self.0.remove(&part)?;
        let what = self.0.values().next().cloned();
        Some(what.map_or(Event::Well, |what| Event::Trouble { what, lasting: false }))
    }
}

/// Returns what two reasons have in common that differ by a name that RabbitMQ made.
fn kind(what: &str) -> Vec<&str> {
    let words = what.split_whitespace();
    words.map(|word| if word.contains("amq.gen-") { "amq.gen" } else { word }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(event: Option<Event>) -> Option<String> {
        match event? {
            Event::Trouble { what, .. } => Some(what),
            Event::Well => Some("well".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_reason_is_told_once_and_another_one_behind_it_too() {
        let mut all = Troubled::default();
        let mut trouble = |part, what: &str| said(all.trouble(part, what.to_owned(), false));
        assert_eq!(trouble(1, "refused"), Some("refused".to_owned()));
        assert_eq!(trouble(1, "refused"), None);
        assert_eq!(trouble(1, "wrong password"), Some("wrong password".to_owned()));
        assert_eq!(trouble(1, "no 'amq.gen-a_b' here"), Some("no 'amq.gen-a_b' here".to_owned()));
        assert_eq!(trouble(1, "no 'amq.gen-c' here"), None);
        assert_eq!(trouble(0, "disk full"), Some("disk full".to_owned()));
        assert_eq!(said(all.well(0)), Some("no 'amq.gen-c' here".to_owned()));
        assert_eq!(said(all.well(0)), None);
        assert_eq!(said(all.well(1)), Some("well".to_owned()));
    }

    #[test]
    fn what_lasts_is_told_in_any_case() {
        let mut all = Troubled::default();
        let _ = all.trouble(0, "damaged".to_owned(), false);
        assert!(all.trouble(0, "damaged".to_owned(), true).is_some());
    }
}
