//! Long text in several lines.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// No line gets narrower than this.
const NARROWEST: usize = 24;

/// Returns text in lines of at most `room` columns, broken at blanks where there are some; in one line
/// where a program reads it. Lines after the first have two columns less, to be set in by these.
#[must_use]
pub fn wrapped(text: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![text.to_owned()] };
    let mut room = room.max(NARROWEST);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        let gap = usize::from(!line.is_empty());
        if line.width() + gap + word.width() <= room {
            line.push_str(&" "[..gap]);
            line.push_str(word);
            continue;
        }
        if !line.is_empty() {
            end(&mut lines, &mut line, &mut room);
        }
        for c in word.chars() {
            if line.width() + c.width().unwrap_or(0) > room {
                end(&mut lines, &mut line, &mut room);
            }
            line.push(c);
        }
    }
    lines.push(line);
    lines
}

fn end(lines: &mut Vec<String>, line: &mut String, room: &mut usize) {
    if lines.is_empty() {
        *room = room.saturating_sub(2).max(NARROWEST - 2);
    }
    lines.push(std::mem::take(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_broken_at_blanks_and_a_long_word_anywhere() {
        assert_eq!(wrapped("a b", None), ["a b"]);
        assert_eq!(wrapped("", Some(80)), [""]);
        let text = format!("one two three four five six {} end", "x".repeat(50));
        let lines = wrapped(&text, Some(24));
        assert_eq!(lines[0], "one two three four five");
        assert!(lines[1..].iter().all(|line| line.width() <= 22), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        // However narrow the terminal is.
        assert!(wrapped(&text, Some(0)).len() < 9);
    }
}
