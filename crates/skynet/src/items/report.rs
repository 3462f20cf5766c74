//! How it went for each: a line for people, or an object.

use crate::failure::code;
use crate::here::Here;
use crate::screen::{Tone, clean};
use serde_json::{Value, json};
use work::read::Job;

/// Says what came of each thing, and keeps count.
pub struct Report<'a> {
    here: &'a Here,
    is_json: bool,
    done: usize,
    failed: usize,
}

/// What a line is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Number of the job.
    pub job: Option<i64>,
    /// Process that it belongs to; `job-NUMBER` where there is none.
    pub wfid: Option<String>,
    /// Its queue.
    pub queue: Option<String>,
    /// Number of a dead item.
    pub dead: Option<i64>,
    /// What people gave, where none of these is known.
    pub name: Option<String>,
}

impl From<&Job> for About {
    fn from(job: &Job) -> Self {
        let (wfid, queue) = (Some(job.wfid.clone()), Some(job.queue.clone()));
        Self { job: Some(job.id.0), wfid, queue, ..Self::default() }
    }
}

impl About {
    /// Returns how people are told of it.
    #[must_use]
    pub fn words(&self) -> String {
        let job = self.job.map(|job| format!("job-{job}"));
        let wfid = self.wfid.clone().filter(|wfid| Some(wfid) != job.as_ref());
        let dead = self.dead.map(|dead| format!("dead item {dead}"));
        let all = [dead, job, wfid, self.name.clone()];
        let words = all.into_iter().flatten().collect::<Vec<_>>().join(" ");
        clean(&words).into_owned()
    }

    fn object(&self) -> Value {
        let mut object = json!({});
        let numbers = [("job", self.job), ("dead", self.dead)];
        for (key, value) in numbers.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            object[key] = value.into();
        }
        let texts = [("wfid", &self.wfid), ("queue", &self.queue), ("name", &self.name)];
        for (key, value) in
            texts.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)))
        {
            object[key] = value.as_str().into();
        }
        object
    }
}

impl<'a> Report<'a> {
    /// Begins with none.
    #[must_use]
    pub fn new(here: &'a Here, is_json: bool) -> Self {
        Self { here, is_json, done: 0, failed: 0 }
    }

    /// Returns the exit code, also where nothing was there to be done.
    #[must_use]
    pub fn code(&self, some_are_unknown: bool) -> i32 {
        match (self.failed, some_are_unknown, self.done) {
            (1.., _, _) => code::FAILED,
            (0, true, _) => code::UNKNOWN,
            (0, false, 0) => code::FAILED,
            (0, false, _) => 0,
        }
    }

    /// It is done: `result` in a word, `text` for people.
    pub fn done(&mut self, about: &About, result: &str, text: &str) {
        self.done += 1;
        self.put(about, text, Tone::Plain, || json!({ "ok": true, "result": result }));
    }

    /// It is not, and why.
    pub fn failed(&mut self, about: &About, why: &str) {
        self.failed += 1;
        let text = format!("FAILED: {why}");
        self.put(about, &text, Tone::Bad, || json!({ "ok": false, "error": why }));
    }

    /// There was nothing to do, and why.
    pub fn nothing(&self, about: &About, why: &str) {
        self.put(about, why, Tone::Plain, || json!({ "ok": false, "error": why }));
    }

    fn put(&self, about: &About, text: &str, tone: Tone, more: impl FnOnce() -> Value) {
        let line = if self.is_json {
            let mut object = about.object();
            if let (Value::Object(all), Value::Object(more)) = (&mut object, more()) {
                all.extend(more);
            }
            format!("{object}\n")
        } else {
            let text = clean(text);
            format!("{}: {}\n", about.words(), self.here.screen.paint(&text, tone))
        };
        // Nobody need be reading, and what was begun goes on.
        let _ = self.here.screen.put(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_a_process_is_named_once() {
        let about = |wfid: &str| About {
            job: Some(7),
            wfid: Some(wfid.to_owned()),
            queue: Some("q".to_owned()),
            ..About::default()
        };
        assert_eq!(about("job-7").words(), "job-7");
        assert_eq!(about("w\u{1b}").words(), "job-7 w\\x1b");
        assert_eq!(about("w").object(), json!({ "job": 7, "wfid": "w", "queue": "q" }));
    }
}
