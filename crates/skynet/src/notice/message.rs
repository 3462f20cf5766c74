//! A notice as it is told: a JSON object, and a letter.

use super::trouble::{Item, Trouble};
use crate::screen::clean;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use sys::linux::local;

/// A notice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Names it for ever: the same where it is told twice.
    pub id: String,
    /// Counted from 1 by this notifier.
    pub number: u64,
    /// Name of the machine.
    pub host: String,
    /// Whose instance it is: `system`, or the name of a user.
    pub instance: String,
    /// How many there were since the last notice with this signature.
    pub count: u64,
    /// When it was, or the last of them: UTC.
    pub time: String,
    /// What happened.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// The last lines of its log.
    pub log: Vec<String>,
    /// Where they are from, or why there are none.
    pub log_from: String,
    /// Nothing happened: somebody tries whether notices come.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trial: bool,
}

impl Notice {
    /// Returns it as one line of JSON, with its end.
    #[must_use]
    pub fn line(&self) -> Vec<u8> {
        // `at` is for the state; `time` says the same to everybody else, `count` what `times` was.
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.remove("at");
            object.remove("times");
        }
        let mut line = value.to_string().into_bytes();
        line.push(b'\n');
        line
    }

    /// Returns it in one line for people.
    #[must_use]
    pub fn subject(&self) -> String {
        let Trouble { service, kind, signature, .. } = &self.trouble;
        let trial = if self.trial { "TRIAL: " } else { "" };
        let times = if self.count > 1 { format!(" ({} times)", self.count) } else { String::new() };
        format!("[skynet {}] {trial}{service}: {kind}: {signature}{times}", self.host)
    }

    /// Returns it as a letter: headers, an empty line, text. What others chose can neither make a
    /// header nor end one.
    #[must_use]
    pub fn letter(&self, to: &str) -> Vec<u8> {
        let mut out = format!(
            "To: {to}\nSubject: {}\nMessage-ID: <{}@{}>\nAuto-Submitted: auto-generated\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: 8bit\n\n",
            header(&self.subject()),
            word(&self.id),
            word(&self.host),
        );
        let mut say = |line: &str| {
            // A dot alone ends a letter for some programs.
            let dot = if line.starts_with('.') { " " } else { "" };
            let _ = writeln!(out, "{dot}{}", clean(line));
        };
        let trouble = &self.trouble;
        say(&format!("{}: {}", trouble.service, trouble.text));
        say("");
        say(&format!("host:      {}, instance {}", self.host, self.instance));
        say(&format!("when:      {}", self.time));
        say(&format!("kind:      {}, signature: {}", trouble.kind, trouble.signature));
        say(&format!("how often: {} since the last notice with this signature", self.count));
        if let Some(death) = &trouble.death {
            say(&format!("restarts:  {}", death.restarts));
        }
        for item in &trouble.items {
            say(&format!("in hand:   {}", item_line(item)));
        }
        say("");
        say(&format!("The last lines of its log, from {}:", self.log_from));
        say("");
        self.log.iter().for_each(|line| say(&format!("  {line}")));
        out.into_bytes()
    }
}

fn item_line(item: &Item) -> String {
    let mut line = item.wfid.clone();
    let mut add = |what: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(line, ", {what} {value}");
        }
    };
    add("job", item.job.map(|job| job.to_string()));
    add("attempt", item.attempt.map(|attempt| attempt.to_string()));
    add("at", item.instance.clone());
    line
}

/// Returns a text as it may stand in a header: visible ASCII, and not too long for one line.
fn header(text: &str) -> String {
    const LONGEST: usize = 200;
    let plain = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    text.chars().take(LONGEST).map(plain).collect()
}

/// The same of what must be one word of few characters.
fn word(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-".contains(c) { c } else { '-' };
    text.chars().map(plain).collect()
}

/// Returns a moment in UTC.
#[must_use]
pub fn utc((seconds, nanos): (i64, u32)) -> String {
    let Some(at) = local::utc(seconds) else { return format!("{seconds} s since 1970") };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        nanos / 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hostile() -> Notice {
        let evil = "x\r\nBcc: everybody@example.org\n\n.\n\x1b[2J\u{9b}é";
        Notice {
            id: "@4000-1".into(),
            host: "h\nX: y".into(),
            count: 2,
            log: vec![".".into(), evil.into()],
            log_from: evil.into(),
            trouble: Trouble {
                service: evil.into(),
                kind: "crash".into(),
                signature: evil.into(),
                text: evil.into(),
                items: vec![Item { wfid: evil.into(), ..Item::default() }],
                ..Trouble::default()
            },
            ..Notice::default()
        }
    }

    #[test]
    fn nothing_that_others_chose_makes_a_header_or_ends_a_letter() {
        let letter = String::from_utf8(hostile().letter("root")).unwrap();
        let (head, body) = letter.split_once("\n\n").unwrap();
        let names: Vec<&str> = head.lines().map(|line| line.split(':').next().unwrap()).collect();
        let wanted = [
            "To",
            "Subject",
            "Message-ID",
            "Auto-Submitted",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        assert_eq!(names, wanted, "{head}");
        assert!(head.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{head}");
        assert!(body.lines().all(|line| line != "."), "{body}");
        assert!(!body.contains(['\r', '\x1b', '\u{9b}']), "{body}");
        assert!(!body.lines().any(|line| line.starts_with("Bcc")), "{body}");
    }

    #[test]
    fn a_line_is_one_object_on_one_line_without_what_is_for_us_alone() {
        let line = hostile().line();
        assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!((value["count"].as_u64(), value["kind"].as_str()), (Some(2), Some("crash")));
        assert!(value.get("times").is_none() && value.get("at").is_none());
    }

    #[test]
    fn moments_are_shown_in_utc() {
        for (moment, text) in [
            ((0, 0), "1970-01-01T00:00:00.000000Z"),
            ((951_782_400, 0), "2000-02-29T00:00:00.000000Z"),
            ((1_795_676_400, 123_456_789), "2026-11-26T07:00:00.123456Z"),
            ((-1, 0), "1969-12-31T23:59:59.000000Z"),
            ((4_107_542_400, 0), "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(utc(moment), text);
        }
    }
}
