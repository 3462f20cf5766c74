//! The command line.

use crate::rows::{self, Row};
use crate::trouble::{Result, Trouble};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `--help` says.
pub(crate) const USAGE: &str = "\
usage: tests/bench/run [ logger | row ... ] [ --rounds N ] [ --services N ] [ --idle SECONDS ] [ --huge ] [ --write ] [ --out FOLDER ]

Measures the suite beside daemontools, runit and s6 and prints a table, which is also kept in
tests/bench/out. Without a row: all of them but the logger's, which have a table of their own;
logger: all of these. Needs root: a run lives in namespaces of its own.

  --rounds N      how often each peer has its turn (5)
  --services N    how many services are many (1000)
  --idle SECONDS  how long idle suites are watched for context switches (20)
  --huge          lets the growth row go on to 10,000 services
  --write         writes the table to packaging/doc/benchmarks.md as well, the logger's
                  to packaging/doc/benchmarks-logger.md
  --out FOLDER    keeps the table there instead of tests/bench/out
  --help          says this and lists the rows";

/// What was asked for.
pub(crate) struct Options {
    /// The rows, in the order of the table.
    pub(crate) rows: Vec<&'static Row>,
    /// Whether they are the logger's.
    pub(crate) logger: bool,
    /// How often each peer has its turn.
    pub(crate) rounds: usize,
    /// How many services are many.
    pub(crate) services: usize,
    /// For how many seconds idle suites are watched.
    pub(crate) idle_seconds: u64,
    /// Whether the growth row goes on to 10,000 services.
    pub(crate) huge: bool,
    /// Whether the table becomes the committed one.
    pub(crate) write: bool,
    /// The folder that keeps the table.
    pub(crate) out: PathBuf,
    /// The scratch folder, where this is the process inside the namespaces.
    pub(crate) inside: Option<PathBuf>,
}

/// Reads the arguments behind the program's name; `None` = help was asked for.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Option<Options>> {
    let mut options = Options {
        rows: Vec::new(),
        logger: false,
        rounds: 5,
        services: 1000,
        idle_seconds: 20,
        huge: false,
        write: false,
        out: Path::new(env!("CARGO_MANIFEST_DIR")).join("out"),
        inside: None,
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        match arg.to_str().unwrap_or("") {
            "--rounds" => options.rounds = number(&arg, args.next())?,
            "--services" => options.services = number(&arg, args.next())?,
            "--idle" => options.idle_seconds = number(&arg, args.next())? as u64,
            "--huge" => options.huge = true,
            "--write" => options.write = true,
            "--help" => return Ok(None),
            "--out" => options.out = folder(&arg, args.next())?,
            "--inside" => options.inside = args.next().map(PathBuf::from),
            "logger" => options.rows.extend(rows::LOGGER),
            name => options.rows.push(row(name, &arg)?),
        }
    }
    if options.rows.is_empty() {
        options.rows = rows::ALL.iter().collect();
    }
    let place = |row: &&Row| known_rows().position(|known| known.name == row.name);
    options.rows.sort_by_key(place);
    options.rows.dedup_by_key(|row| row.name);
    let of_logger = |row: &&&Row| rows::LOGGER.iter().any(|known| known.name == row.name);
    let count = options.rows.iter().filter(of_logger).count();
    options.logger = count > 0;
    if options.logger && count < options.rows.len() {
        return Err(Trouble::new("the logger's rows have a table of their own"));
    }
    Ok(Some(options))
}

/// Returns the rows of both tables, in their order.
fn known_rows() -> impl Iterator<Item = &'static Row> {
    rows::ALL.iter().chain(rows::LOGGER)
}

fn row(name: &str, arg: &OsString) -> Result<&'static Row> {
    known_rows().find(|row| row.name == name).ok_or_else(|| {
        let known: Vec<_> = known_rows().map(|row| row.name).collect();
        Trouble::new(format!("no row or option {}; rows: {}", arg.display(), known.join(" ")))
    })
}

fn folder(option: &OsString, value: Option<OsString>) -> Result<PathBuf> {
    let value = value.filter(|value| !value.is_empty()).map(PathBuf::from);
    value.ok_or_else(|| Trouble::new(format!("{} needs a folder", option.display())))
}

fn number(option: &OsString, value: Option<OsString>) -> Result<usize> {
    let value = value.and_then(|value| value.to_str().and_then(|text| text.parse().ok()));
    let wrong = || Trouble::new(format!("{} needs a number from 1 on", option.display()));
    value.filter(|&n| n > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Options>> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn rows_come_once_and_in_the_order_of_the_table() {
        let options = parsed("status idle --rounds 2 status").unwrap().unwrap();
        assert_eq!(options.rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["idle", "status"]);
        assert_eq!(options.rounds, 2);
        assert_eq!(parsed("").unwrap().unwrap().rows.len(), rows::ALL.len());
        let logger = parsed("logger logger-select").unwrap().unwrap();
        assert!(logger.logger && logger.rows.len() == rows::LOGGER.len());
    }

    #[test]
    fn mistakes_are_refused() {
        for line in [
            "--rounds",
            "--rounds 0",
            "--services x",
            "--out",
            "no-such-row",
            "--no-such-option",
            "up logger",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
