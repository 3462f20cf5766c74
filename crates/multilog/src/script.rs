//! The script: what the command line asks to be done with each line, in order.

use crate::folder::Settings;
use crate::pattern;
use crate::stamp::{self, MOST_PREFIX};
use core::ffi::CStr;
use ondisk::checksum;
use ondisk::logdir::Code;

/// One action on a line.
#[derive(Clone, Copy)]
pub enum Action {
    /// `-pattern`, `+pattern`: the line is selected (`true`) or not where the pattern matches.
    Select(bool, pattern::Kind, &'static [u8]),
    /// `e`: the line is shown on descriptor 2.
    Alert,
    /// `=file`: the line becomes the file's content.
    Status(&'static CStr),
    /// `dir`: the line is appended to a log directory.
    Log(&'static CStr, Settings),
}

/// What holds for the script as a whole.
#[derive(Clone, Copy, Default)]
pub struct Whole {
    /// The stamp before each line.
    pub stamp: stamp::Kind,
    /// What stands between stamp and line.
    pub prefix: &'static [u8],
    /// No line is lost by kill -9 (`:exact`).
    pub is_exact: bool,
    /// Tells this script from others.
    pub sum: u64,
}

/// A mistake in a script: the action, and what it should have been.
pub type Mistake = (&'static CStr, &'static str);

/// Finds an argument by its number; 0 is the program's name.
pub type Words<'a> = &'a dyn Fn(usize) -> Option<&'static CStr>;

/// Reads a script action by action.
pub struct Script<'a> {
    words: Words<'a>,
    next: usize,
    kind: pattern::Kind,
    settings: Settings,
    whole: Whole,
}

impl<'a> Script<'a> {
    /// Begins with the first argument.
    #[must_use]
    pub fn new(words: Words<'a>) -> Self {
        let stamp = match words(1).map(CStr::to_bytes) {
            Some([b't', ..]) => stamp::Kind::Tai64n,
            Some([b'T', ..]) => stamp::Kind::Accustamp,
            Some(b":iso") => stamp::Kind::Iso,
            _ => stamp::Kind::None,
        };
        Self {
            words,
            next: if stamp == stamp::Kind::None { 1 } else { 2 },
            kind: pattern::Kind::Simple,
            settings: Settings::default(),
            whole: Whole { stamp, is_exact: true, ..Whole::default() },
        }
    }

    /// Returns what holds for all of the script, once it has been read to its end.
    #[must_use]
    pub fn whole(&self) -> Whole {
        let mut sum = checksum::fnv(b"");
        for word in (1..).map_while(self.words) {
            sum = checksum::fnv_on(sum, word.to_bytes_with_nul());
        }
        Whole { sum, ..self.whole }
    }

    /// Returns the next action; what is none of ours and none of the original's is ignored, as the
    /// original does.
    ///
    /// # Errors
    /// An action that begins with `:` and is none, or whose value makes no sense.
    pub fn action(&mut self) -> Result<Option<Action>, Mistake> {
        while let Some(arg) = (self.words)(self.next) {
            self.next += 1;
            if let Some(action) = self.read(arg).map_err(|why| (arg, why))? {
                return Ok(Some(action));
            }
        }
        Ok(None)
    }

    fn read(&mut self, arg: &'static CStr) -> Result<Option<Action>, &'static str> {
        let Some((&first, rest)) = arg.to_bytes().split_first() else { return Ok(None) };
        match first {
            b'-' | b'+' => return Ok(Some(Action::Select(first == b'+', self.kind, rest))),
            b'e' => return Ok(Some(Action::Alert)),
            b'=' => return Ok(Some(Action::Status(behind(arg, 1)))),
            b'.' | b'/' => return Ok(Some(Action::Log(arg, self.settings))),
            b's' => self.settings.size = number(rest).max(4096),
            b'n' => self.settings.keep = u32::try_from(number(rest)).unwrap_or(u32::MAX).max(2),
            b'!' => self.settings.processor = Some(behind(arg, 1)),
            b'F' => self.kind = pattern::Kind::Shell,
            b'S' => self.kind = pattern::Kind::Simple,
            b'w' => self.settings.code = code(rest)?,
            b':' => self.ours(arg, rest)?,
            _ => {}
        }
        Ok(None)
    }

    /// Reads one of our own actions, `:name` or `:name=value`.
    fn ours(&mut self, arg: &'static CStr, word: &'static [u8]) -> Result<(), &'static str> {
        let equals = word.iter().position(|byte| *byte == b'=');
        let (name, value) = match equals {
            Some(at) => (&word[..at], Some(&word[at + 1..])),
            None => (word, None),
        };
        let settings = &mut self.settings;
        match (name, value) {
            (b"total", Some(value)) => settings.total = size(value)?,
            (b"age", Some(value)) => settings.age_ns = period(value)?,
            (b"sync", Some(value)) => settings.sync_ns = period(value)?,
            (b"daily", None) => settings.daily = true,
            (b"then", Some(value)) if is_command(value) => {
                settings.background = Some(behind(arg, 2 + name.len()));
            }
            (b"full", Some(b"wait")) => settings.drop_when_full = false,
            (b"full", Some(b"drop")) => settings.drop_when_full = true,
            (b"full", Some(_)) => return Err("must be wait or drop"),
            (b"exact", Some(b"yes")) => self.whole.is_exact = true,
            (b"exact", Some(b"no")) => self.whole.is_exact = false,
            (b"exact", Some(_)) => return Err("must be yes or no"),
            (b"prefix", Some(value)) if value.len() <= MOST_PREFIX => self.whole.prefix = value,
            (b"prefix", Some(_)) => return Err("longer than 200 bytes"),
            (b"iso", None) => return Err("must be the first action"),
            (b"daily" | b"iso", Some(_)) => return Err("takes no value"),
            (b"then", _) | (b"total" | b"age" | b"sync" | b"full" | b"exact" | b"prefix", None) => {
                return Err("needs a value");
            }
            _ => return Err("there is no such action"),
        }
        Ok(())
    }
}

/// Returns an argument without its first `n` bytes.
fn behind(arg: &'static CStr, n: usize) -> &'static CStr {
    CStr::from_bytes_with_nul(&arg.to_bytes_with_nul()[n..]).unwrap_or(c"")
}

/// Tells whether the shell would run anything: there is more than blanks and comments.
fn is_command(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_start);
    lines.any(|line| line.first().is_some_and(|first| *first != b'#'))
}

/// Reads the digits that a text begins with; none are 0, as in the original.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |n: u64, d| n.saturating_mul(10).saturating_add(u64::from(d - b'0')))
}

/// Reads a positive number and the unit behind it.
fn measure(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let n = number(&text[..digits]);
    (n > 0 && n < u64::MAX).then_some((n, &text[digits..]))
}

/// Reads a size such as `10MiB`.
fn size(text: &[u8]) -> Result<u64, &'static str> {
    let wrong = "no size such as 512KiB, 100MiB or 2GiB";
    let (n, unit) = measure(text).ok_or(wrong)?;
    let shift = match unit {
        b"B" => 0,
        b"k" | b"K" | b"KiB" => 10,
        b"M" | b"MiB" => 20,
        b"G" | b"GiB" => 30,
        b"T" | b"TiB" => 40,
        _ => return Err(wrong),
    };
    n.checked_mul(1 << shift).ok_or(wrong)
}

/// Reads a period such as `10s`, in nanoseconds.
fn period(text: &[u8]) -> Result<u64, &'static str> {
    let wrong = "no time such as 500ms, 10s, 5m, 2h, 1d or 1w";
    let (n, unit) = measure(text).ok_or(wrong)?;
    let millis = match unit {
        b"ms" => 1,
        b"s" => 1000,
        b"m" => 60_000,
        b"h" => 3_600_000,
        b"d" => 86_400_000,
        b"w" => 7 * 86_400_000,
        _ => return Err(wrong),
    };
    n.checked_mul(millis * 1_000_000).ok_or(wrong)
}

/// Reads what ends a rotated file's name in place of `s`.
fn code(text: &[u8]) -> Result<Code, &'static str> {
    let code = Code::new(text).filter(|code| *code != Code::UNFINISHED);
    code.ok_or("must be 1 to 16 bytes without a slash, and not u")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(words: &[&'static CStr]) -> Result<(Vec<Action>, Whole), Mistake> {
        let find = |i: usize| words.get(i.checked_sub(1)?).copied();
        let mut script = Script::new(&find);
        let mut actions = Vec::new();
        while let Some(action) = script.action()? {
            actions.push(action);
        }
        Ok((actions, script.whole()))
    }

    fn log(words: &[&'static CStr]) -> Settings {
        match read(words).unwrap_or_default().0.last() {
            Some(Action::Log(_, settings)) => *settings,
            _ => panic!("no log in {words:?}"),
        }
    }

    #[test]
    fn a_setting_holds_for_the_directories_behind_it() {
        let plain = Settings::default();
        assert_eq!((plain.size, plain.keep), (99_999, 10));
        assert_eq!(log(&[c"./a", c"s5000"]), plain);
        assert_eq!(log(&[c"s5000", c"n3", c"!gzip", c"./a"]).processor, Some(c"gzip"));
        for (word, size) in
            [(c"s5000x", 5000), (c"s", 4096), (c"s1", 4096), (c"s99999999999", 99_999_999_999)]
        {
            assert_eq!(log(&[word, c"/a"]).size, size);
        }
        assert_eq!(log(&[c"n1", c"/a"]).keep, 2);
        assert_eq!(log(&[c"n99999999999999999999999", c"/a"]).keep, u32::MAX);
        assert_eq!(log(&[c":total=3M", c"/a"]).total, 3 << 20);
        assert_eq!(log(&[c":age=2h", c"/a"]).age_ns, 7_200_000_000_000);
        assert_eq!(log(&[c":age=1w", c"/a"]).age_ns, 604_800_000_000_000);
        assert_eq!(log(&[c":then=gzip -9", c"/a"]).background, Some(c"gzip -9"));
        assert_eq!(log(&[c":then=# why\ngzip", c"/a"]).background, Some(c"# why\ngzip"));
        assert!(log(&[c":full=drop", c"/a"]).drop_when_full && !plain.drop_when_full);
        assert_eq!(log(&[c"wgz", c"/a"]).code.as_bytes(), b"gz");
    }

    #[test]
    fn stamps_come_first_and_the_rest_in_order() {
        let whole = |words: &[&'static CStr]| read(words).unwrap_or_default().1;
        assert_eq!(whole(&[c"t"]).stamp, stamp::Kind::Tai64n);
        assert_eq!(whole(&[c"T"]).stamp, stamp::Kind::Accustamp);
        assert_eq!(whole(&[c":iso", c":prefix=web "]).stamp, stamp::Kind::Iso);
        assert_eq!(whole(&[c"e", c"t"]).stamp, stamp::Kind::None);
        assert_eq!(whole(&[c":prefix=web "]).prefix, b"web ");
        assert!(whole(&[]).is_exact && !whole(&[c":exact=no"]).is_exact);
        assert!(whole(&[c"a", c"b"]).sum != whole(&[c"ab"]).sum);
        let (actions, _) =
            read(&[c"-*", c"F", c"+a?", c"S", c"+b", c"", c"x", c"=f"]).unwrap_or_default();
        let [
            Action::Select(false, pattern::Kind::Simple, b"*"),
            Action::Select(true, pattern::Kind::Shell, b"a?"),
            Action::Select(true, pattern::Kind::Simple, b"b"),
            Action::Status(file),
        ] = actions[..]
        else {
            panic!("{} actions", actions.len())
        };
        assert_eq!(file, c"f");
    }

    #[test]
    fn a_mistake_in_an_action_of_ours_is_told() {
        for word in [
            c":",
            c":nonsense",
            c":total",
            c":total=",
            c":total=5",
            c":total=0M",
            c":total=5X",
            c":total=99999999999T",
            c":age=5",
            c":age=h",
            c":sync=",
            c":daily=1",
            c":full=x",
            c":full",
            c":exact=maybe",
            c":iso=1",
            c":then",
            c":then=",
            c":then= \t",
            c":then=#gzip -c",
            c":then=\n # gzip -c\n",
            c"w",
            c"wa/b",
            c"wu",
            c"wabcdefghijklmnopq",
        ] {
            assert_eq!(read(&[c"e", word]).err().map(|(arg, _)| arg), Some(word));
        }
        assert_eq!(read(&[c"e", c":iso"]).err(), Some((c":iso", "must be the first action")));
    }
}
