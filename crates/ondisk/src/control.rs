//! The bytes that `svc` writes into `supervise/control`.
//!
//! Source: daemontools.md 1.3 and, for the second half, 2 (daemontools-encore).

/// One command. The names are the letters of `svc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// `u`: wants up, started if down.
    Up,
    /// `d`: wants down; TERM, then CONT.
    Down,
    /// `o`: started if down, not started again.
    Once,
    /// `x`: supervise lets go of the service once it is down.
    Exit,
    /// `p`: STOP.
    Pause,
    /// `c`: CONT.
    Continue,
    /// `h a i t k q 1 2 w`: a signal, nothing else.
    Signal(Signal),
    /// `+`: what follows goes to the whole process group.
    Group,
    /// `=`: what follows goes to the one process.
    Single,
    /// `L`: what follows is for the logger.
    Logger,
    /// `l`: what follows is for the service.
    Service,
}

/// A signal that a command byte can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// `a`
    Alarm,
    /// `h`
    Hangup,
    /// `i`
    Interrupt,
    /// `k`
    Kill,
    /// `q`
    Quit,
    /// `t`
    Terminate,
    /// `1`
    User1,
    /// `2`
    User2,
    /// `w`
    Window,
}

/// Every command with its byte.
pub const COMMANDS: [(u8, Command); 19] = [
    (b'u', Command::Up),
    (b'd', Command::Down),
    (b'o', Command::Once),
    (b'x', Command::Exit),
    (b'p', Command::Pause),
    (b'c', Command::Continue),
    (b'a', Command::Signal(Signal::Alarm)),
    (b'h', Command::Signal(Signal::Hangup)),
    (b'i', Command::Signal(Signal::Interrupt)),
    (b'k', Command::Signal(Signal::Kill)),
    (b'q', Command::Signal(Signal::Quit)),
    (b't', Command::Signal(Signal::Terminate)),
    (b'1', Command::Signal(Signal::User1)),
    (b'2', Command::Signal(Signal::User2)),
    (b'w', Command::Signal(Signal::Window)),
    (b'+', Command::Group),
    (b'=', Command::Single),
    (b'L', Command::Logger),
    (b'l', Command::Service),
];

impl Command {
    /// Reads a byte; `None` = not a command, to be ignored.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        COMMANDS.iter().find(|(b, _)| *b == byte).map(|(_, command)| *command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_one_command_or_none() {
        let known = (0..=u8::MAX).filter(|b| Command::from_byte(*b).is_some()).count();
        assert_eq!(known, COMMANDS.len());
        for (byte, command) in COMMANDS {
            assert_eq!(Command::from_byte(byte), Some(command));
            assert_eq!(COMMANDS.iter().filter(|(_, c)| *c == command).count(), 1);
        }
    }
}
