//! The command line.

use crate::queue::rabbit::Broker;
use crate::rows::Row;
use crate::table::Table;
use crate::trouble::{Result, Trouble};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `--help` says.
pub(crate) const USAGE: &str = "\
usage: tests/bench/run [ suite | logger | queue | look | rabbit | row ... ] [ --rounds N ] [ --services N ] [ --idle SECONDS ] [ --huge ] [ --write ] [ --out FOLDER ]

Measures the suite beside daemontools, runit and s6, its logger beside theirs, exo beside huey,
looking beside svstat and grep, or exo with RabbitMQ beside pika and Celery, and prints a table, which
is also kept in tests/bench/out. Each of the five has rows of its own; without a row: all of the suite's. Needs root: a run lives in namespaces of its own.

  --rounds N      how often each peer has its turn (5)
  --services N    how many services are many (1000)
  --idle SECONDS  how long idle suites are watched for context switches (20)
  --huge          lets the growth row go on to 10,000 services, the queue's to 1,000,000 items
  --write         writes the table to packaging/doc as well: benchmarks.md,
                  benchmarks-logger.md, benchmarks-queue.md, benchmarks-look.md,
                  benchmarks-rabbit.md
  --out FOLDER    keeps the table there instead of tests/bench/out
  --help          says this and lists the rows";

/// What was asked for.
pub(crate) struct Options {
    /// The rows, in the order of the table.
    pub(crate) rows: Vec<&'static Row>,
    /// Which table they are of.
    pub(crate) table: Table,
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
    /// The RabbitMQ outside of them.
    pub(crate) broker: Option<Broker>,
}

/// Reads the arguments behind the program's name; `None` = help was asked for.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Option<Options>> {
    let mut options = Options {
        rows: Vec::new(),
        table: Table::Suite,
        rounds: 5,
        services: 1000,
        idle_seconds: 20,
        huge: false,
        write: false,
        out: Path::new(env!("CARGO_MANIFEST_DIR")).join("out"),
        inside: None,
        broker: None,
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
            "--broker" => options.broker = Some(broker(&arg, args.next())?),
            "--inside" => options.inside = args.next().map(PathBuf::from),
            name => options.rows.extend(rows(name, &arg)?),
        }
    }
    if options.rows.is_empty() {
        options.rows = Table::Suite.rows().iter().collect();
    }
    let place = |row: &&Row| known_rows().position(|known| known.name == row.name);
    options.rows.sort_by_key(place);
    options.rows.dedup_by_key(|row| row.name);
    options.table = options.rows.first().map_or(Table::Suite, |row| Table::of(row));
    if options.rows.iter().any(|row| Table::of(row) != options.table) {
        return Err(Trouble::new("these rows have tables of their own"));
    }
    Ok(Some(options))
}

/// Returns the rows of all tables, in their order.
fn known_rows() -> impl Iterator<Item = &'static Row> {
    Table::ALL.into_iter().flat_map(Table::rows)
}

/// Returns the row of this name, or all of the table that it means.
fn rows(name: &str, arg: &OsString) -> Result<Vec<&'static Row>> {
    if let Some(table) = Table::ALL.into_iter().find(|table| table.word() == name) {
        return Ok(table.rows().iter().collect());
    }
    let row = known_rows().find(|row| row.name == name).ok_or_else(|| {
        let known: Vec<_> = known_rows().map(|row| row.name).collect();
        Trouble::new(format!("no row or option {}; rows: {}", arg.display(), known.join(" ")))
    })?;
    Ok(vec![row])
}

fn broker(option: &OsString, value: Option<OsString>) -> Result<Broker> {
    let broker = value.and_then(|value| Broker::read(value.to_str()?));
    broker.ok_or_else(|| Trouble::new(format!("{} needs PORT/VHOST", option.display())))
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
        assert_eq!(parsed("").unwrap().unwrap().rows.len(), Table::Suite.rows().len());
        let logger = parsed("logger logger-select").unwrap().unwrap();
        assert!(logger.table == Table::Logger && logger.rows.len() == Table::Logger.rows().len());
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
            "logger queue",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
