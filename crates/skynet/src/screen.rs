//! Colour, width, tables.

use crate::failure::Failure;
use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use std::borrow::Cow;
use std::fmt::Write;
use std::io::{self, Write as _};
use sys::linux::terminal as tty;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Columns of a terminal that does not say.
const USUAL: usize = 80;
/// No column gets narrower than this.
const NARROWEST: usize = 4;

/// Colours of names; none of them says how something is.
const NAMES: [AnsiColor; 5] = [
    AnsiColor::Cyan,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightMagenta,
];

/// When there is colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where answers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns; `None` = a program reads it, and nothing is cut.
    pub width: Option<usize>,
    /// Whether there is colour.
    pub has_colour: bool,
}

/// What a word says, repeated by its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way, or wanting attention.
    Notable,
    /// Not as it should be.
    Bad,
    /// Beside the point.
    Faint,
    /// A heading.
    Heading,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Notable => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Heading => Style::new().bold(),
        }
    }
}

impl Screen {
    /// Looks at descriptor 1.
    #[must_use]
    pub fn here(colour: Colour) -> Self {
        let is_terminal = tty::is_terminal(1);
        let has_colour = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                is_terminal && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
        };
        let width = is_terminal.then(|| tty::columns(1).map_or(USUAL, usize::from));
        Self { width, has_colour }
    }

    /// Returns text in its colour.
    #[must_use]
    pub fn paint<'a>(&self, text: &'a str, tone: Tone) -> Cow<'a, str> {
        if !self.has_colour || tone == Tone::Plain || text.is_empty() {
            return Cow::Borrowed(text);
        }
        let style = tone.style();
        Cow::Owned(format!("{}{text}{}", style.render(), style.render_reset()))
    }

    /// Returns a name in a colour that tells it from the names beside it.
    #[must_use]
    pub fn tint<'a>(&self, name: &'a str, place: usize) -> Cow<'a, str> {
        if !self.has_colour {
            return Cow::Borrowed(name);
        }
        let style = NAMES[place % NAMES.len()].on_default();
        Cow::Owned(format!("{}{name}{}", style.render(), style.render_reset()))
    }

    /// Returns text of ours as it goes there: a terminal gets DEL, and what commands it by one character beyond
    /// ASCII, as JSON may have them; it leaves these alone, other than ESC, by which we paint.
    #[must_use]
    pub fn safe<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let commands = |c: char| ('\u{7f}'..='\u{9f}').contains(&c);
        if self.width.is_none() || !text.contains(commands) {
            return Cow::Borrowed(text);
        }
        Cow::Owned(as_json_has_it(text, commands))
    }

    /// Writes text.
    ///
    /// # Errors
    /// Nobody takes it.
    pub fn put(&self, text: &str) -> Result<(), Failure> {
        write(self.safe(text).as_bytes())
    }

    /// Writes bytes of somebody else as they are; a terminal gets no control character of theirs.
    ///
    /// # Errors
    /// Nobody takes them.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        if self.width.is_none() {
            return write(bytes);
        }
        let shown = bytes.split_inclusive(|byte| *byte == b'\n').map(without_commands);
        write(&shown.collect::<Vec<_>>().concat())
    }
}

/// Returns a line for each word and its value, where there is one.
#[must_use]
pub fn facts<'a>(all: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = String::new();
    for (word, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(text, "{word:<12} {}", clean(&value));
    }
    text
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(|why| Failure::io("write", "output", &why))
}

/// Returns a line of somebody else, with its end, without control characters.
fn without_commands(line: &[u8]) -> Vec<u8> {
    if let Ok(text) = str::from_utf8(line) {
        return as_json_has_it(text, |c| c.is_control() && !matches!(c, '\n' | '\t')).into_bytes();
    }
    let end: &[u8] = if line.ends_with(b"\n") { b"\n" } else { b"" };
    let line = line.strip_suffix(end).unwrap_or(line);
    [&*sys::terminal::escaped_but_tabs(line), end].concat()
}

/// Returns text in which these characters are as JSON may write them.
fn as_json_has_it(text: &str, commands: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if commands(c) {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// Returns what others may have chosen without control characters.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    match sys::terminal::escaped(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Cuts text to `columns`, with `…` where something is missing.
#[must_use]
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let mut kept = String::new();
    let mut used = 0;
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if used + width + 1 > columns {
            break;
        }
        used += width;
        kept.push(c);
    }
    kept.push('…');
    Cow::Owned(kept)
}

/// Cuts the beginning of text off, with `…` where it was.
fn cut_front(text: &str, columns: usize) -> Cow<'_, str> {
    if text.width() <= columns {
        return Cow::Borrowed(text);
    }
    let mut used = 1;
    let kept = text.char_indices().rev().take_while(|(_, c)| {
        used += c.width().unwrap_or(0);
        used <= columns
    });
    let begin = kept.last().map_or(text.len(), |(at, _)| at);
    Cow::Owned(format!("…{}", &text[begin..]))
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// What stands above it.
    pub head: &'static str,
    /// Numbers stand at its right.
    pub is_right: bool,
    /// It may be cut where the terminal is narrow.
    pub may_shrink: bool,
    /// Of one that is cut the end stays.
    pub is_end_shown: bool,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub const fn new(head: &'static str) -> Self {
        Self { head, is_right: false, may_shrink: false, is_end_shown: false }
    }

    /// A column of text that may be cut.
    #[must_use]
    pub const fn text(head: &'static str) -> Self {
        Self { may_shrink: true, ..Self::new(head) }
    }

    /// A column of text whose beginnings are cut, since the ends tell more.
    #[must_use]
    pub const fn end_of_text(head: &'static str) -> Self {
        Self { is_end_shown: true, ..Self::text(head) }
    }

    /// A column of numbers.
    #[must_use]
    pub const fn number(head: &'static str) -> Self {
        Self { is_right: true, ..Self::new(head) }
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    is_dense: bool,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// Begins with no row.
    #[must_use]
    pub fn new(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), is_dense: false, rows: Vec::new() }
    }

    /// Has one blank between columns, not two, where that spares a cut.
    #[must_use]
    pub fn dense(self) -> Self {
        Self { is_dense: true, ..self }
    }

    /// Adds a row; its texts are cleaned.
    pub fn add<T: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = (T, Tone)>) {
        let cells = cells.into_iter().map(|(text, tone)| (clean(text.as_ref()).into_owned(), tone));
        self.rows.push(cells.collect());
    }

    /// Returns its lines below their heads, or, without a row, that there are no `things` to show.
    #[must_use]
    pub fn lines_of(&self, things: &str, screen: &Screen) -> String {
        if self.rows.is_empty() {
            return format!("no {things} to show\n");
        }
        self.lines(screen, true)
    }

    /// Returns its lines, each with its end.
    #[must_use]
    pub fn lines(&self, screen: &Screen, with_head: bool) -> String {
        let (widths, gap) = self.widths(screen.width, with_head);
        let mut out = String::new();
        if with_head {
            let heads = self.columns.iter().map(|column| (column.head, Tone::Heading));
            self.line(&mut out, screen, (&widths, gap), heads);
        }
        for row in &self.rows {
            let cells = row.iter().map(|(text, tone)| (text.as_str(), *tone));
            self.line(&mut out, screen, (&widths, gap), cells);
        }
        out
    }

    /// Returns how wide the columns are, and what is between them.
    fn widths(&self, room: Option<usize>, with_head: bool) -> (Vec<usize>, &'static str) {
        let mut widths: Vec<usize> =
            self.columns.iter().map(|c| if with_head { c.head.width() } else { 0 }).collect();
        for row in &self.rows {
            for (width, (text, _)) in widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        let mut gap = "  ";
        let Some(room) = room else { return (widths, gap) };
        let mut gaps = 2 * widths.len().saturating_sub(1);
        if self.is_dense && widths.iter().sum::<usize>() + gaps > room {
            (gap, gaps) = (" ", gaps / 2);
        }
        while widths.iter().sum::<usize>() + gaps > room {
            // The widest of those that may, one column at a time; they are few.
            let widest = (0..widths.len())
                .filter(|i| self.columns[*i].may_shrink && widths[*i] > NARROWEST)
                .max_by_key(|i| widths[*i]);
            let Some(widest) = widest else { break };
            widths[widest] -= 1;
        }
        (widths, gap)
    }

    fn line<'a>(
        &self,
        out: &mut String,
        screen: &Screen,
        (widths, gap): (&[usize], &str),
        cells: impl Iterator<Item = (&'a str, Tone)>,
    ) {
        let begin = out.len();
        for (i, (text, tone)) in cells.enumerate() {
            let (column, width) = (self.columns[i], widths[i]);
            let cut = if column.is_end_shown { cut_front } else { cut };
            let text = cut(text, width);
            let blank = " ".repeat(width - text.width().min(width));
            let gap = if i > 0 { gap } else { "" };
            let text = screen.paint(&text, tone);
            let _ = if column.is_right {
                write!(out, "{gap}{blank}{text}")
            } else {
                write!(out, "{gap}{text}{blank}")
            };
        }
        let end = out[begin..].trim_end().len() + begin;
        out.truncate(end);
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(width: Option<usize>) -> Screen {
        Screen { width, has_colour: false }
    }

    fn table() -> Table {
        let mut table =
            Table::new(&[Column::new("NAME"), Column::text("ITEM"), Column::number("QUEUE")]);
        table.add([("sizer", Tone::Plain), ("a-long-wfid-0001", Tone::Plain), ("7", Tone::Plain)]);
        table.add([("b\x1b[2J", Tone::Bad), ("", Tone::Plain), ("12345", Tone::Plain)]);
        table
    }

    #[test]
    fn columns_stand_below_their_heads_and_control_bytes_are_shown() {
        let wanted = "NAME      ITEM              QUEUE\n\
                      sizer     a-long-wfid-0001      7\n\
                      b\\x1b[2J                    12345\n";
        assert_eq!(table().lines(&plain(None), true), wanted);
        assert_eq!(table().lines(&plain(Some(80)), true), wanted);
    }

    #[test]
    fn a_terminal_gets_json_without_what_commands_it_and_a_pipe_gets_all() {
        let text = "{\"a\":\"\u{7f}\u{9b}2Jé\"}\n";
        let safe = plain(Some(80)).safe(text).into_owned();
        assert_eq!(safe, "{\"a\":\"\\u007f\\u009b2Jé\"}\n");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&safe), read(text));
        assert_eq!(plain(None).safe(text), text);
    }

    #[test]
    fn a_list_without_a_row_says_so_and_has_no_heads() {
        let none = Table::new(&[Column::new("NAME")]);
        assert_eq!(none.lines_of("jobs", &plain(None)), "no jobs to show\n");
        assert_eq!(table().lines_of("jobs", &plain(None)), table().lines(&plain(None), true));
    }

    #[test]
    fn what_may_shrink_is_cut_and_no_column_is_dropped() {
        let wanted = "NAME      ITEM       QUEUE\n\
                      sizer     a-long-w…      7\n\
                      b\\x1b[2J             12345\n";
        assert_eq!(table().lines(&plain(Some(26)), true), wanted);
        // However narrow: what cannot shrink stays.
        assert!(table().lines(&plain(Some(1)), true).contains("12345"));
    }

    #[test]
    fn of_a_column_whose_end_tells_more_the_beginning_is_cut() {
        let mut table = Table::new(&[Column::new("N"), Column::end_of_text("SIGNATURE")]);
        table.add([("1", Tone::Plain), ("/work.py:#: in f: no size", Tone::Plain)]);
        table.add([("2", Tone::Plain), ("名: 名名名名名名", Tone::Plain)]);
        let wanted = "N  SIGNATURE\n1  …f: no size\n2  …名名名名名\n";
        assert_eq!(table.lines(&plain(Some(14)), true), wanted);
        let whole = "N  SIGNATURE\n1  /work.py:#: in f: no size\n2  名: 名名名名名名\n";
        assert_eq!(table.lines(&plain(None), true), whole);
    }

    #[test]
    fn a_dense_table_spares_blanks_before_letters() {
        let wanted = "NAME     ITEM             QUEUE\n\
                      sizer    a-long-wfid-0001     7\n\
                      b\\x1b[2J                  12345\n";
        assert_eq!(table().dense().lines(&plain(Some(31)), true), wanted);
        assert_eq!(
            table().dense().lines(&plain(Some(33)), true),
            table().lines(&plain(None), true)
        );
    }

    #[test]
    fn wide_characters_take_the_room_that_they_take() {
        assert_eq!(cut("日本語", 6), "日本語");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
    }

    #[test]
    fn colour_is_only_where_it_is_wanted() {
        let coloured = Screen { width: None, has_colour: true };
        assert_eq!(coloured.paint("up", Tone::Plain), "up");
        assert!(coloured.paint("up", Tone::Good).starts_with("\x1b["));
        assert_eq!(plain(None).paint("up", Tone::Good), "up");
    }
}
