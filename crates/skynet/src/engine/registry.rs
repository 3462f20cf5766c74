//! Which step goes to which queue.

use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use work::name;

/// The name that it is kept by, among the processes: none of them has it.
pub const NAME: &str = "registry";

/// What was registered, in the order in which it is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    /// Patterns and queues.
    pub entries: Vec<Entry>,
}

/// Names of steps, and where they go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// A regular expression for the whole name.
    pub pattern: String,
    /// The participant's queue.
    pub queue: String,
}

fn compiled(pattern: &str) -> Result<Regex, regex_lite::Error> {
    Regex::new(&format!("^(?:{pattern})$"))
}

/// Says why a text is no pattern to this engine.
#[must_use]
pub fn flaw(pattern: &str) -> Option<String> {
    compiled(pattern).err().map(|why| why.to_string())
}

impl Registry {
    /// Registers a pattern, in its place where it is known, after all others where it is not.
    ///
    /// # Errors
    /// It is no pattern, or there can be no queue of this name.
    pub fn set(&mut self, pattern: &str, queue: &str) -> Result<(), String> {
        if let Some(why) = flaw(pattern) {
            return Err(format!("{pattern:?} is no pattern: {why}"));
        }
        if let Some(flaw) = name::queue_flaw(queue) {
            return Err(format!("the name of a queue, {queue:?}, {flaw}"));
        }
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.pattern == pattern) {
            queue.clone_into(&mut entry.queue);
        } else {
            let (pattern, queue) = (pattern.to_owned(), queue.to_owned());
            self.entries.push(Entry { pattern, queue });
        }
        Ok(())
    }

    /// Forgets a pattern.
    ///
    /// # Errors
    /// It is not registered.
    pub fn remove(&mut self, pattern: &str) -> Result<(), String> {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.pattern != pattern);
        let is_gone = self.entries.len() < before;
        if is_gone { Ok(()) } else { Err(format!("{pattern:?} is not registered")) }
    }

    /// Returns the queue of a step: that of the first pattern that fits, else the one of its name.
    ///
    /// # Errors
    /// No pattern fits, and there can be no queue of its name.
    pub fn queue_of(&self, step: &str) -> Result<String, String> {
        let fits = |entry: &&Entry| compiled(&entry.pattern).is_ok_and(|it| it.is_match(step));
        if let Some(entry) = self.entries.iter().find(fits) {
            return Ok(entry.queue.clone());
        }
        match name::flaw(step) {
            None => Ok(step.to_owned()),
            Some(flaw) => Err(format!("no pattern fits {step:?}, which as a queue's name {flaw}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_fits_the_whole_name_has_the_step() {
        let mut registry = Registry::default();
        registry.set("built_.*", "built").unwrap();
        registry.set("built_x|other", "second").unwrap();
        for (step, queue) in
            [("built_x", "built"), ("other", "second"), ("rebuilt_x", "rebuilt_x"), ("a", "a")]
        {
            assert_eq!(registry.queue_of(step).as_deref(), Ok(queue));
        }
        registry.set("built_.*", "third").unwrap();
        assert_eq!((registry.entries.len(), registry.queue_of("built_x")), (2, Ok("third".into())));
        registry.remove("built_.*").unwrap();
        assert_eq!(registry.queue_of("built_x").as_deref(), Ok("second"));
        assert!(registry.remove("built_.*").unwrap_err().contains("not registered"));
    }

    #[test]
    fn what_is_no_pattern_or_queue_is_refused() {
        let mut registry = Registry::default();
        assert!(registry.set("(", "q").unwrap_err().contains("is no pattern"));
        assert!(registry.set("a", "b\nc").unwrap_err().contains("the name of a queue"));
        assert!(registry.queue_of("a b").unwrap_err().contains("no pattern fits"));
        assert_eq!(registry, Registry::default());
    }
}
