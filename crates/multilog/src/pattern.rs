//! The patterns of `+` and `-`.
//!
//! Two kinds, neither of which can take long: the original's stars never look back, and of
//! encore's shell patterns only the last star does, so that the worst case is the product of the
//! two lengths (at most 1,000 bytes of the line count).

use linux::bytes;

/// How patterns are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kind {
    /// A star before a character matches what does not include that character, a star at the end
    /// everything (multilog(8)).
    #[default]
    Simple,
    /// As fnmatch(3) without flags (daemontools-encore, action `F`).
    Shell,
}

/// Tells whether `pattern` matches the whole of a line, which comes in two parts: its stamp and
/// the rest.
#[must_use]
pub fn matches(kind: Kind, pattern: &[u8], line: [&[u8]; 2]) -> bool {
    match kind {
        Kind::Simple => {
            let mut simple = Simple { pattern };
            simple.eat(line[0]) && simple.eat(line[1]) && simple.is_done()
        }
        Kind::Shell => shell(pattern, line),
    }
}

/// What is left of a simple pattern while a line goes by.
struct Simple<'a> {
    pattern: &'a [u8],
}

impl Simple<'_> {
    /// Matches the next part of the line; tells whether there is hope for the rest.
    fn eat(&mut self, mut part: &[u8]) -> bool {
        loop {
            match *self.pattern {
                [] => return part.is_empty(),
                [b'*'] => return true,
                [b'*', stop, ..] => match bytes::find(stop, part) {
                    None => return true,
                    // The star is done; what it stopped at is the next thing to match.
                    Some(at) => {
                        part = &part[at..];
                        self.pattern = &self.pattern[1..];
                    }
                },
                [byte, ..] => match part {
                    [] => return true,
                    [first, rest @ ..] if *first == byte => {
                        part = rest;
                        self.pattern = &self.pattern[1..];
                    }
                    _ => return false,
                },
            }
        }
    }

    /// Tells whether nothing is missing at the end of the line.
    fn is_done(&self) -> bool {
        matches!(self.pattern, [] | [b'*'])
    }
}

/// Matches as fnmatch(3) does without flags: `*`, `?`, `[...]`, and `\` before what stands for
/// itself.
fn shell(pattern: &[u8], line: [&[u8]; 2]) -> bool {
    let split = line[0].len();
    let at = |i: usize| if i < split { line[0].get(i) } else { line[1].get(i - split) };
    let (mut p, mut i) = (0, 0);
    // Where to go on when what follows the last star fails: that star, and the line behind what
    // it matched.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, i));
            p += 1;
            continue;
        }
        let Some(&byte) = at(i) else {
            return p == pattern.len();
        };
        if let Some(len) = one(&pattern[p.min(pattern.len())..], byte) {
            p += len;
            i += 1;
        } else if let Some((from, taken)) = star {
            star = Some((from, taken + 1));
            p = from + 1;
            i = taken + 1;
        } else {
            return false;
        }
    }
}

/// Matches one byte with the head of a pattern that is no star; returns how long that head is.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [b'[', ref class @ ..] => match bracket(class, byte) {
            Some((true, len)) => Some(1 + len),
            Some((false, _)) => None,
            // Without its end a bracket stands for itself.
            None => (byte == b'[').then_some(1),
        },
        [literal, ..] => (literal == byte).then_some(1),
    }
}

/// Tells whether a bracket expression holds `byte`, and its length up to and with the `]`; `None`
/// where it has no end.
fn bracket(class: &[u8], byte: u8) -> Option<(bool, usize)> {
    let is_negated = matches!(class.first(), Some(b'!' | b'^'));
    let first = usize::from(is_negated);
    let mut at = first;
    let mut found = false;
    loop {
        let rest = class.get(at..)?;
        match *rest {
            [] => return None,
            [b']', ..] if at > first => return Some((found != is_negated, at + 1)),
            [b'[', b':', ref name @ ..] => {
                let end = name.windows(2).position(|pair| pair == b":]")?;
                found |= named(&name[..end], byte);
                at += end + 4;
            }
            _ => {
                let (low, len) = member(rest)?;
                at += len;
                let high = match class.get(at..)? {
                    [b'-', end @ ..] if !matches!(end, [] | [b']', ..]) => {
                        let (high, len) = member(end)?;
                        at += 1 + len;
                        high
                    }
                    _ => low,
                };
                found |= (low..=high).contains(&byte);
            }
        }
    }
}

/// Reads one member of a bracket expression: a byte, or a `\` and a byte.
fn member(class: &[u8]) -> Option<(u8, usize)> {
    match *class {
        [b'\\', escaped, ..] => Some((escaped, 2)),
        [byte, ..] => Some((byte, 1)),
        [] => None,
    }
}

/// Tells whether `byte` is of the class of that name, in the POSIX locale.
fn named(name: &[u8], byte: u8) -> bool {
    match name {
        b"alpha" => byte.is_ascii_alphabetic(),
        b"digit" => byte.is_ascii_digit(),
        b"alnum" => byte.is_ascii_alphanumeric(),
        b"upper" => byte.is_ascii_uppercase(),
        b"lower" => byte.is_ascii_lowercase(),
        // Vertical tab is white space in C and not in Rust.
        b"space" => byte.is_ascii_whitespace() || byte == 0x0b,
        b"blank" => byte == b' ' || byte == b'\t',
        b"punct" => byte.is_ascii_punctuation(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        b"cntrl" => byte.is_ascii_control(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"graph" => byte.is_ascii_graphic(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manual's definition, on a line in one piece. A star before a star takes it literally,
    /// as the original does: the line must have one.
    fn slowly(pattern: &[u8], line: &[u8]) -> bool {
        match pattern {
            [] => line.is_empty(),
            [b'*'] => true,
            [b'*', next, ..] => match line.iter().position(|byte| byte == next) {
                Some(n) => slowly(&pattern[1..], &line[n..]),
                None => false,
            },
            [byte, rest @ ..] => line.first() == Some(byte) && slowly(rest, &line[1..]),
        }
    }

    /// Every text over `letters` up to `len` bytes.
    fn texts(letters: &[u8], len: usize) -> std::vec::Vec<std::vec::Vec<u8>> {
        let mut all = std::vec![std::vec![]];
        let mut from = 0;
        for _ in 0..len {
            let to = all.len();
            for i in from..to {
                for letter in letters {
                    let mut longer = all[i].clone();
                    longer.push(*letter);
                    all.push(longer);
                }
            }
            from = to;
        }
        all
    }

    #[test]
    fn a_simple_pattern_matches_as_the_manual_says_wherever_the_stamp_ends() {
        let lines = texts(b"ab", 6);
        for pattern in texts(b"ab*", 5) {
            for line in &lines {
                let expected = slowly(&pattern, line);
                for cut in 0..=line.len() {
                    let parts = [&line[..cut], &line[cut..]];
                    let found = matches(Kind::Simple, &pattern, parts);
                    assert_eq!(found, expected, "{pattern:?} {line:?} {cut}");
                }
            }
        }
    }

    #[test]
    fn the_manual_s_examples_hold() {
        let simple = |pattern: &str, line: &str| {
            matches(Kind::Simple, pattern.as_bytes(), [b"", line.as_bytes()])
        };
        assert!(simple("hello", "hello"));
        assert!(!simple("hello", "hello world"));
        assert!(simple("named[*]: Cleaned cache *", "named[135]: Cleaned cache of 3121 RRs."));
        assert!(simple("*", ""));
        // The first star stops at a star of the line.
        assert!(simple("**", "ab*") && simple("**b", "a*b") && !simple("**", "ab"));
    }

    #[test]
    fn a_shell_pattern_matches_as_fnmatch_does() {
        for (pattern, line, expected) in [
            ("*", "", true),
            ("*fatal*", "a fatal error", true),
            ("*fatal", "a fatal error", false),
            ("a*b*c", "axxbxbyc", true),
            ("a*b*c", "axxbxby", false),
            ("?", "", false),
            ("?", "x", true),
            ("[abc]x", "bx", true),
            ("[!abc]x", "bx", false),
            ("[^abc]x", "dx", true),
            ("[a-c]", "b", true),
            ("[a-]", "-", true),
            ("[]]", "]", true),
            ("[!]]", "x", true),
            ("[[:digit:]]*", "7 up", true),
            ("[[:digit:]]*", "seven", false),
            ("[[:alpha:]-]", "-", true),
            ("[a", "[a", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("[\\]]", "]", true),
            ("a\\", "a\\", true),
            ("*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("/*", "/a/b", true),
            ("*x", ".x", true),
        ] {
            for cut in 0..=line.len() {
                let parts = [&line.as_bytes()[..cut], &line.as_bytes()[cut..]];
                let found = matches(Kind::Shell, pattern.as_bytes(), parts);
                assert_eq!(found, expected, "{pattern} {line} {cut}");
            }
        }
    }
}
