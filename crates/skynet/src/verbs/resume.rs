//! `skynet resume`: participants take items again.

use super::drain;
use crate::failure::Answer;
use crate::here::Here;
use crate::life::{self, Patience};
use crate::names::Names;
use clap::Args;
use exo::control::Request;

/// Has participants that were told to drain take items again.
#[derive(Debug, Args)]
pub struct Resume {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// As [`life::run`].
pub fn run(args: &Resume, here: &Here) -> Answer {
    let requests = [Request::Resume];
    life::run(&args.names, args.patience, here, |sight| drain::ask(sight, "resumed", &requests))
}
