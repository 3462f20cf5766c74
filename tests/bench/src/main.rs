//! Benchmarks of the suite beside daemontools, runit and s6: `tests/bench/run`; of its logger
//! beside theirs: `tests/bench/run logger`; of exo beside huey: `tests/bench/run queue`; of
//! looking beside svstat and grep: `tests/bench/run look`; of exo with `RabbitMQ` beside pika and Celery:
//! `tests/bench/run rabbit`.
//!
//! A row ([`rows`]) measures one suite ([`peer`]) once, on a [`stage`] of its own; the suites take
//! turns, round after round, and the [`report`] shows medians.

// Figures of measurements are far below 2^52.
#![allow(clippy::cast_precision_loss)]

mod loggers;
mod namespace;
mod options;
mod peer;
mod processes;
mod queue;
mod rabbits;
mod readers;
mod report;
mod rows;
mod stage;
mod stamps;
mod table;
mod trouble;
mod workers;

use options::Options;
use peer::{Folders, Peer};
use queue::rabbit::Broker;
use report::Report;
use rows::Row;
use stage::Lab;
use std::path::Path;
use std::process::ExitCode;
use table::Table;
use trouble::{Result, Trouble};

fn main() -> ExitCode {
    let options = match options::parse(std::env::args_os().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}\n", options::USAGE);
            for row in Table::ALL.into_iter().flat_map(Table::rows) {
                println!("  {:<12} {}", row.name, row.measures[0].title.replace("{n}", "N"));
            }
            return ExitCode::SUCCESS;
        }
        Err(trouble) => {
            eprintln!("bench: fatal: {trouble}\n{}", options::USAGE);
            return ExitCode::from(100);
        }
    };
    let code = match &options.inside {
        None => {
            // It ends with this process, which is outside of the namespaces.
            let broker = (options.table == Table::Rabbit).then(Broker::start);
            let broker = broker.map(|broker| ["--broker".to_owned(), broker.text()]);
            namespace::run_inside(broker.as_ref().map_or(&[], |words| words.as_slice()))
        }
        Some(scratch) => namespace::settle_in(scratch).and_then(|()| measure(&options, scratch)),
    };
    code.map_or_else(
        |trouble| {
            eprintln!("bench: fatal: {trouble}");
            ExitCode::from(111)
        },
        |code| ExitCode::from(code as u8),
    )
}

/// Measures all rows and shows the table; returns the exit code.
fn measure(options: &Options, scratch: &Path) -> Result<i32> {
    let folders = Folders::known();
    let peers = options.table.peers(&folders);
    if peers.is_empty() {
        return Err(Trouble::new("no suite is here; tests/bench/prepare gets them"));
    }
    let mut lab = Lab {
        root: scratch.to_owned(),
        services: options.services,
        idle_seconds: options.idle_seconds,
        huge: options.huge,
        round: 0,
        built: folders.built.clone(),
        broker: options.broker.clone(),
    };
    lab.set_up(&folders.built.join("bin"))?;
    let mut report = Report::new(options, &peers);
    for row in &options.rows {
        for round in 0..options.rounds {
            lab.round = round;
            // Another one begins in each round, so that none is always the one after the same.
            for i in 0..peers.len() {
                measure_one(&lab, row, &peers[(i + round) % peers.len()], &mut report);
            }
        }
    }
    report.publish()
}

fn measure_one(lab: &Lab, row: &'static Row, peer: &Peer, report: &mut Report<'_>) {
    let figures = (row.run)(lab, peer);
    let said = match &figures {
        Ok(figures) => {
            let all: Vec<_> = figures.iter().map(|figure| report::figure(*figure)).collect();
            all.join(", ")
        }
        Err(trouble) => format!("failed: {trouble}"),
    };
    eprintln!("bench: {} round {}: {}: {said}", row.name, lab.round + 1, peer.name);
    report.add(row, peer, figures.ok().as_ref());
}
