//! `skynet status`: how services stand.

use crate::failure::{Answer, code, warn};
use crate::here::Here;
use crate::look::depth::Depth;
use crate::look::{self, Sight, overview, page};
use crate::names::Names;
use crate::{service, svscan};
use clap::Args;
use std::fmt::Write;

/// Shows how services stand: a line each, or all of one.
///
/// Without a name, a line for each service; with names, all that is known of each.
#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    names: Names,
    /// Of a service that is named: so many of the last lines of its log.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5)]
    lines: usize,
    /// An object a line, with the keys that the manual page lists.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// A folder cannot be read.
pub fn run(args: &Status, here: &Here) -> Answer {
    let is_deep = !args.names.names.is_empty();
    let picked = args.names.pick_or_all(service::all(here)?)?;
    let at_most = if is_deep { u64::MAX } else { look::COUNTED };
    let sight = look::see(here, &picked.services, at_most)?;
    if let Err(why) = &sight.store {
        why.lines.iter().for_each(|line| warn(line));
    }
    let text = match (is_deep, args.json) {
        (false, false) => overview::text(&sight, &here.screen, svscan::advice(here)),
        (false, true) => overview::as_json(&sight),
        (true, _) => in_depth(args, here, &sight),
    };
    here.screen.put(&text)?;
    Ok(picked.code(code_of(&sight, is_deep)))
}

fn in_depth(args: &Status, here: &Here, sight: &Sight) -> String {
    let mut text = String::new();
    for (i, seen) in sight.services.iter().enumerate() {
        let depth = Depth::of(here, sight, seen, args.lines);
        if args.json {
            let _ = writeln!(text, "{}", depth.object());
            continue;
        }
        if i > 0 {
            text.push('\n');
        }
        text += &page::text(&depth, &here.screen);
    }
    text
}

fn code_of(sight: &Sight, is_deep: bool) -> i32 {
    if !is_deep {
        0
    } else if sight.services.iter().any(|seen| seen.state == look::state::State::Unknown) {
        code::FAILED
    } else if sight.services.iter().any(|seen| !seen.is_up()) {
        code::DOWN
    } else {
        0
    }
}
