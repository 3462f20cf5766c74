//! `skynet doctor`: what is wrong with an installation.

use crate::doctor;
use crate::failure::{Answer, Failure};
use crate::finding::{self, Finding};
use crate::here::Here;
use crate::screen::Screen;
use clap::Args;
use exo::config::{self, Whose};

/// Finds what is wrong with the installation, and what mends it.
///
/// It says why each matters, and changes nothing. Exit codes: 0 nothing but notes was found, 1 something.
#[derive(Debug, Args)]
pub struct Doctor {
    /// An object a line: severity, service, path, line, column, what, why, mend.
    #[arg(long)]
    json: bool,
}

const SUMMARY: &str = "looked at programs, users, folders, services, store, exos, logs, disks, \
                       limits and kernel";

/// Runs it.
///
/// # Errors
/// Which services there are cannot be told.
pub fn run(args: &Doctor, here: &Here) -> Answer {
    finding::show(&doctor::look(here)?, &here.screen, args.json, true, SUMMARY)
}

/// Says that the site's files are in the way of everything else.
///
/// # Errors
/// As write(2).
pub fn without_site(args: &Doctor, whose: Whose, screen: &Screen, failure: Failure) -> Answer {
    let why = "no verb works before, and no exo starts";
    let of_file = |line| Finding::from(line).because(why).mended_by("skynet check");
    let findings: Vec<Finding> = match config::site(whose) {
        Err(trouble) => trouble.lines.into_iter().map(of_file).collect(),
        Ok(_) => return Err(failure),
    };
    finding::show(&findings, screen, args.json, true, "looked at the site's files alone")
}
