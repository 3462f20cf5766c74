//! A terminal that is drawn on as a whole, and given back as it was whatever happens.

use std::sync::Mutex;
use sys::linux::errno::Result;
use sys::linux::fd::{self, Fd};
use sys::linux::process;
use sys::linux::signal::{self, Set, numbers};
use sys::linux::terminal::{self, Mode};

const KEYS: i32 = 0;
const SCREEN: i32 = 1;

/// The other screen, without a cursor, and back.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?25l";
const LEAVE: &[u8] = b"\x1b[?25h\x1b[?1049l";
/// From here on, shown at once; and no more.
const HOLD: &str = "\x1b[?2026h\x1b[H";
const SHOW: &str = "\x1b[J\x1b[?2026l";
/// What is left of a line is blank.
const END_OF_LINE: &str = "\x1b[K";

/// How the terminal was set, while it is set otherwise.
static BEFORE: Mutex<Option<Mode>> = Mutex::new(None);

/// What whoever sits there wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// A key.
    Key(u8),
    /// Up or down by so many lines.
    Scroll(isize),
    /// Up or down by so many screens.
    Page(isize),
    /// The screen has another size, or was covered.
    Redraw,
    /// The end.
    Quit,
}

/// The terminal, for as long as this lives.
pub struct Live {
    signals: Fd,
    has_keys: bool,
}

impl Live {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Signals cannot be waited for, or nothing can be written.
    pub fn enter() -> Result<Self> {
        let wanted = Set::of(&[
            numbers::SIGINT,
            numbers::SIGTERM,
            numbers::SIGHUP,
            numbers::SIGQUIT,
            numbers::SIGTSTP,
            numbers::SIGCONT,
            numbers::SIGWINCH,
            // To set a terminal from the background would stop us before we let go of it.
            numbers::SIGTTOU,
        ]);
        wanted.block_only();
        let signals = wanted.descriptor()?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
        let live = Self { signals, has_keys: terminal::is_terminal(KEYS) };
        live.take()?;
        Ok(live)
    }

    fn take(&self) -> Result<()> {
        if self.has_keys {
            let mode = Mode::of(KEYS)?;
            if let Ok(mut before) = BEFORE.lock() {
                before.get_or_insert(mode);
            }
            mode.by_key().set(KEYS)?;
        }
        fd::write_all(SCREEN, ENTER)
    }

    /// Returns columns and lines.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let (columns, lines) = terminal::size(SCREEN).unwrap_or((80, 24));
        (usize::from(columns), usize::from(lines).max(4))
    }

    /// Returns what becomes readable when there is a wish: the keys, if there are any, and signals.
    #[must_use]
    pub fn descriptors(&self) -> [Option<i32>; 2] {
        [self.has_keys.then_some(KEYS), Some(self.signals.raw())]
    }

    /// Draws a screen: what was there before is not wiped first, so nothing flickers.
    ///
    /// # Errors
    /// As write(2).
    pub fn draw(&self, lines: &[&str]) -> Result<()> {
        let lines = lines.join(&format!("{END_OF_LINE}\r\n"));
        fd::write_all(SCREEN, format!("{HOLD}{lines}{END_OF_LINE}{SHOW}").as_bytes())
    }

    /// Reads keys; called when there are some.
    pub fn keys(&mut self) -> Vec<Wish> {
        let mut bytes = [0; 64];
        if let Ok(len @ 1..) = fd::read(KEYS, &mut bytes) {
            return wishes(&bytes[..len]);
        }
        // Nobody is there any more.
        self.has_keys = false;
        Vec::new()
    }

    /// Reads signals; called when there are some.
    ///
    /// # Errors
    /// The terminal cannot be taken again behind a stop.
    pub fn signals(&mut self) -> Result<Vec<Wish>> {
        let mut wishes = Vec::new();
        while let Some(number) = signal::next(&self.signals) {
            match number {
                numbers::SIGTSTP => {
                    give_back();
                    let _ = signal::kill(process::pid(), numbers::SIGSTOP);
                    self.take()?;
                    wishes.push(Wish::Redraw);
                }
                numbers::SIGCONT => {
                    self.take()?;
                    wishes.push(Wish::Redraw);
                }
                numbers::SIGWINCH | numbers::SIGTTOU => wishes.push(Wish::Redraw),
                _ => wishes.push(Wish::Quit),
            }
        }
        Ok(wishes)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    // Where it has gone there is nothing to give back.
    let _ = fd::write_all(SCREEN, LEAVE);
    if let Ok(before) = BEFORE.try_lock()
        && let Some(before) = *before
    {
        let _ = before.set(KEYS);
    }
}

/// Reads what keys send: letters, and the arrows' sequences.
fn wishes(bytes: &[u8]) -> Vec<Wish> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((&first, others)) = rest.split_first() {
        let (wish, behind) = match rest {
            [0x1b, b'[' | b'O', b'A', behind @ ..] => (Wish::Scroll(-1), behind),
            [0x1b, b'[' | b'O', b'B', behind @ ..] => (Wish::Scroll(1), behind),
            [0x1b, b'[', b'5', b'~', behind @ ..] => (Wish::Page(-1), behind),
            [0x1b, b'[', b'6', b'~', behind @ ..] => (Wish::Page(1), behind),
            // Of any other key that sends several bytes nothing is left over.
            [0x1b, ..] => break,
            _ => match first {
                b'k' => (Wish::Scroll(-1), others),
                b'j' => (Wish::Scroll(1), others),
                b'q' | b'Q' | 3 | 4 => (Wish::Quit, others),
                key => (Wish::Key(key), others),
            },
        };
        found.push(wish);
        rest = behind;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_from_the_sequences_of_others() {
        let wanted =
            [Wish::Key(b'm'), Wish::Scroll(1), Wish::Scroll(-1), Wish::Page(1), Wish::Quit];
        assert_eq!(wishes(b"m\x1b[B\x1bOA\x1b[6~q"), wanted);
        assert_eq!(wishes(b"\x1b[15~q"), []);
        assert_eq!(wishes(b"\x1b"), []);
    }
}
