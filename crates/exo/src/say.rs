//! exo's own messages: one line each on descriptor 2, in daemontools' form.

use fern::{Dispatch, Output};
use log::{Level, LevelFilter, Record};
use std::borrow::Cow;
use sys::linux::message;
use sys::program::Program;
use sys::terminal;

/// exo, as it speaks.
pub const EXO: Program = Program("exo");

/// Bytes of the longest message: with what stands around it a page, which is what a pipe has room
/// for when it has any.
const LONGEST: usize = 4000;

/// Makes the macros of `log` speak on descriptor 2, down to this level. Once is enough: what comes
/// later changes the level.
pub fn start(level: LevelFilter) {
    let dispatch = Dispatch::new().chain(Output::call(say));
    // An error says that somebody was here before, who speaks likewise.
    let _ = dispatch.apply();
    log::set_max_level(level);
}

/// From now on a message that cannot be said at once is dropped: nobody may be reading.
pub fn never_wait() {
    message::never_wait();
}

fn say(record: &Record<'_>) {
    let text = record.args().to_string();
    message::whole(EXO.0, severity(record.level()), &[&line(&text)], None);
}

/// Returns a message as one line without control bytes.
fn line(text: &str) -> Cow<'_, [u8]> {
    match terminal::escaped(text.as_bytes()) {
        Cow::Borrowed(bytes) if bytes.len() <= LONGEST => Cow::Borrowed(bytes),
        long => {
            let mut end = LONGEST.min(long.len());
            // Not in the middle of a character.
            while end > 0 && long.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
                end -= 1;
            }
            let mut cut = long[..end].to_vec();
            if end < long.len() {
                cut.extend(b"...");
            }
            Cow::Owned(cut)
        }
    }
}

fn severity(level: Level) -> &'static str {
    match level {
        Level::Error => "fatal",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_control_bytes() {
        assert_eq!(&*line("plain é"), "plain é".as_bytes());
        assert_eq!(&*line("a\nexo: fatal: b\x1b[2J\r"), b"a\\x0aexo: fatal: b\\x1b[2J\\x0d");
    }

    #[test]
    fn a_message_is_no_longer_than_a_page_and_is_cut_between_characters() {
        for text in ["é".repeat(5000), format!("x{}", "é".repeat(5000)), "\n".repeat(5000)] {
            let line = line(&text);
            assert!(line.len() <= LONGEST + 3, "{}", line.len());
            let text = std::str::from_utf8(&line).unwrap();
            assert!(text.ends_with("..."));
        }
        assert_eq!(line(&"x".repeat(LONGEST)).len(), LONGEST);
    }

    #[test]
    fn each_level_has_its_word() {
        let words = Level::iter().map(severity).collect::<Vec<_>>();
        assert_eq!(words, ["fatal", "warning", "info", "debug", "debug"]);
    }
}
