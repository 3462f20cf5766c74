//! Where the items of a local run come from.

use super::session::answers_queue;
use super::{Local, Recorded};
use crate::settings::Settings;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use work::{JobId, NewJob, Place, Reader};

/// An item that says nothing.
const EMPTY: &[u8] = b"{\"fields\":{}}";

/// What some editors write before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The items of a run.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) jobs: Vec<NewJob>,
}

impl Input {
    /// Reads all items.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn read(
        args: &Local,
        settings: &Settings,
        standard: &mut Standard,
    ) -> Result<Self, String> {
        let (mut stage, mut attempt) = (args.stage.clone(), args.attempt);
        let items = if let Some(which) = args.replay {
            let replayed = recorded(args, settings, which)?;
            stage = stage.or(replayed.stage);
            attempt = attempt.or(Some(replayed.attempt));
            vec![replayed.item]
        } else if args.item.is_empty() {
            standard.or_an_empty_one()?
        } else {
            let mut items = Vec::new();
            for word in &args.item {
                items.extend(named(word, standard)?);
            }
            items
        };
        let mut jobs = Vec::new();
        for (number, item) in items.into_iter().enumerate() {
            let name = format!("item {}", number + 1);
            let job = NewJob::from_item(&settings.queue, item, settings.item_limit, &name)
                .map_err(|why| format!("{name} cannot be taken: {why}"))?;
            // The same item twice in one file is meant.
            let identity = format!("{}!{number}", job.identity);
            let (reply_to, stage) = (Some(answers_queue(settings).to_owned()), stage.clone());
            let tries = attempt.map_or(0, |number| number.saturating_sub(1));
            jobs.push(NewJob { identity, reply_to, stage, tries, ..job });
        }
        Ok(Self { jobs })
    }
}

/// A recorded attempt, as it was begun.
struct Replayed {
    item: Vec<u8>,
    stage: Option<String>,
    attempt: u32,
}

/// Reads what an attempt began with; at a job without one, what the first would.
fn recorded(args: &Local, settings: &Settings, which: Recorded) -> Result<Replayed, String> {
    let store = args.store.as_ref().unwrap_or(&settings.store);
    let reader = Reader::open(&Place::new(store)).map_err(|why| why.to_string())?;
    let (id, said) = (JobId(which.job), |why: work::Trouble| why.to_string());
    let missing = |what: String| format!("{} has no {what}", store.display());
    let job = reader.job(id).map_err(said)?;
    let item = reader.item(id).map_err(said)?;
    let (Some(job), Some(item)) = (job, item) else {
        return Err(missing(format!("job {}", which.job)));
    };
    let attempt = reader.attempt(id, which.attempt).map_err(said)?;
    match (attempt, which.attempt) {
        (Some(attempt), _) => Ok(Replayed { item, stage: attempt.stage, attempt: attempt.number }),
        (None, Some(number)) => Err(missing(format!("attempt {number} of job {}", which.job))),
        (None, None) => Ok(Replayed { item, stage: job.stage, attempt: 1 }),
    }
}

/// What came on standard input, which can be read once.
#[derive(Debug, Default)]
pub(super) struct Standard(Option<Vec<Vec<u8>>>);

impl Standard {
    fn items(&mut self) -> Result<Vec<Vec<u8>>, String> {
        if let Some(items) = &self.0 {
            return Ok(items.clone());
        }
        let mut bytes = Vec::new();
        let read = std::io::stdin().lock().read_to_end(&mut bytes);
        read.map_err(|why| format!("unable to read standard input: {why}"))?;
        Ok(self.0.insert(split(&bytes, "standard input")?).clone())
    }

    fn or_an_empty_one(&mut self) -> Result<Vec<Vec<u8>>, String> {
        if sys::linux::terminal::is_terminal(0) {
            return Ok(vec![EMPTY.to_vec()]);
        }
        let items = self.items()?;
        Ok(if items.is_empty() { vec![EMPTY.to_vec()] } else { items })
    }
}

/// Returns the files that items are read from.
pub(super) fn files(args: &Local) -> Vec<PathBuf> {
    let words = args.item.iter().filter(|word| *word != "-" && !is_json(word));
    words.map(PathBuf::from).collect()
}

fn is_json(word: &OsStr) -> bool {
    word.as_bytes().trim_ascii_start().starts_with(b"{")
}

/// Returns the items that a word of the command line stands for.
fn named(word: &OsStr, standard: &mut Standard) -> Result<Vec<Vec<u8>>, String> {
    if word == "-" {
        return standard.items();
    }
    if is_json(word) {
        return Ok(vec![word.as_bytes().to_vec()]);
    }
    let bytes =
        std::fs::read(word).map_err(|why| format!("unable to read {}: {why}", word.display()))?;
    let items = split(&bytes, &word.display().to_string())?;
    if items.is_empty() {
        return Err(format!("{} holds no item", word.display()));
    }
    Ok(items)
}

/// Splits a file of this name: one item that may go over several lines, or one item a line.
fn split(bytes: &[u8], name: &str) -> Result<Vec<Vec<u8>>, String> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut values =
        serde_json::Deserializer::from_slice(bytes).into_iter::<&serde_json::value::RawValue>();
    let mut items = Vec::new();
    loop {
        let begin = values.byte_offset();
        match values.next() {
            None => return Ok(items),
            Some(Ok(value)) => items.push(value.get().as_bytes().to_vec()),
            Some(Err(why)) => {
                let blank = bytes[begin..].iter().take_while(|b| b.is_ascii_whitespace()).count();
                let line = bytes[..begin + blank].split(|b| *b == b'\n').count();
                return Err(format!("{name}: the item that begins in line {line}: {why}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_item_or_one_a_line() {
        let split = |bytes: &[u8]| split(bytes, "items");
        let one = b"{\n \"fields\": {}\n}\n";
        assert_eq!(split(one).unwrap(), [one.trim_ascii().to_vec()]);
        let two = b"{\"fields\":{\"n\":1.0}}\n{\"fields\":{}}\n\n";
        let items = [b"{\"fields\":{\"n\":1.0}}".to_vec(), b"{\"fields\":{}}".to_vec()];
        assert_eq!(split(two).unwrap(), items);
        assert_eq!(split(&[b"\xef\xbb\xbf", &two[..]].concat()).unwrap(), items);
        assert!(split(b"").unwrap().is_empty() && split(b" \n").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_json_is_named_by_its_line() {
        for (text, line) in [
            (&b"{\"a\":"[..], 1),
            (b"{}\n{}\n{\"a\":oops}\n{}\n", 3),
            (b"{}\n\n{\"a\":\n{}\n", 3),
            (b"\n{}\n  oops\n", 3),
            (b"{}\n{\"a\":\"\xff\"}\n", 2),
        ] {
            let why = split(text, "items").unwrap_err();
            let begin = format!("items: the item that begins in line {line}: ");
            assert!(why.starts_with(&begin), "{text:?}: {why}");
        }
    }

    #[test]
    fn json_is_told_from_names_of_files() {
        let read = |word: &str| named(OsStr::new(word), &mut Standard::default());
        assert_eq!(read(" {\"a\":1}").unwrap(), [b" {\"a\":1}".to_vec()]);
        assert!(read("/no/such/file").unwrap_err().contains("/no/such/file"));
    }
}
