//! The tables: each has rows and peers of its own.

use crate::peer::{self, Folders, Peer};
use crate::rows::{self, Row};
use crate::{loggers, rabbits, readers, workers};

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// The suite beside other suites.
    Suite,
    /// Its logger beside theirs.
    Logger,
    /// exo and its queue beside what else works off items on one machine.
    Queue,
    /// The command for people beside what finds the same.
    Look,
    /// exo with RabbitMQ beside pika and Celery.
    Rabbit,
}

impl Table {
    /// All of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::Suite, Self::Logger, Self::Queue, Self::Look, Self::Rabbit];

    /// Returns its rows, in their order.
    pub(crate) const fn rows(self) -> &'static [Row] {
        match self {
            Self::Suite => rows::ALL,
            Self::Logger => rows::LOGGER,
            Self::Queue => rows::QUEUE,
            Self::Look => rows::LOOK,
            Self::Rabbit => rows::RABBIT,
        }
    }

    /// Returns which table a row belongs to.
    pub(crate) fn of(row: &Row) -> Self {
        let has = |table: &Self| table.rows().iter().any(|known| known.name == row.name);
        Self::ALL.into_iter().find(has).unwrap_or(Self::Suite)
    }

    /// Returns the word on the command line that means all of its rows.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Suite => "suite",
            Self::Logger => "logger",
            Self::Queue => "queue",
            Self::Look => "look",
            Self::Rabbit => "rabbit",
        }
    }

    /// Returns the file that it is kept in.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::Suite => "benchmarks.md",
            Self::Logger => "benchmarks-logger.md",
            Self::Queue => "benchmarks-queue.md",
            Self::Look => "benchmarks-look.md",
            Self::Rabbit => "benchmarks-rabbit.md",
        }
    }

    /// Returns its title, and how to read it and make it again.
    pub(crate) const fn heading(self) -> (&'static str, &'static str) {
        match self {
            Self::Suite => ("Benchmarks", "Less is better everywhere. `tests/bench/run`"),
            Self::Logger => (
                "Benchmarks of the logger",
                "More is better where it says per second, less elsewhere. `tests/bench/run logger`",
            ),
            Self::Queue => (
                "Benchmarks of exo and its queue",
                "More is better where it says a second or least share, less elsewhere. `tests/bench/run queue`",
            ),
            Self::Look => (
                "Benchmarks of looking",
                "More is better where it says per second, less elsewhere. `tests/bench/run look`",
            ),
            Self::Rabbit => (
                "Benchmarks of exo with RabbitMQ",
                "More is better where it says a second, less elsewhere. `tests/bench/run rabbit`",
            ),
        }
    }

    /// Returns what has to be known of its figures, below it.
    pub(crate) const fn note(self) -> Option<&'static str> {
        match self {
            Self::Queue => Some(
                "The participant that stays is a bare loop in Rust that speaks the protocol itself \
                 (bench-noop), so that the figures are exo's own. Participants as authors write them \
                 have the rows of the crate and of the package.",
            ),
            Self::Rabbit => Some(
                "exo's participants are in Python. The goals are asked of one of the package skynet; one \
                 of the older packages (exo, SkyNET) has a thread for each item and is slower than pika. \
                 pika and Celery have one figure for what they take from the queue; only pika with 50 \
                 ahead has it in the row of several participants, too, whose goal names it.",
            ),
            Self::Suite | Self::Logger | Self::Look => None,
        }
    }

    /// Returns whoever is compared and is on this machine, ours first.
    pub(crate) fn peers(self, folders: &Folders) -> Vec<Peer> {
        match self {
            Self::Suite => peer::installed(folders),
            Self::Logger => loggers::installed(folders),
            Self::Queue => workers::installed(folders),
            Self::Look => readers::installed(folders),
            Self::Rabbit => rabbits::installed(folders),
        }
    }
}
