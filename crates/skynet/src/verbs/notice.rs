//! `skynet notice`: who is told of trouble, and what was told.

use crate::failure::{Answer, Failure, code, warn};
use crate::here::Here;
use crate::notice::child::{EACH, Running};
use crate::notice::message::{self, utc};
use crate::notice::state::{Folder, Outcome, State, Told};
use crate::notice::trouble::Trouble;
use crate::notice::{self, deliver, gather, post};
use crate::screen::{Column, Table, Tone, clean};
use clap::{Args, Subcommand};
use exo::config::notice::Target;
use machine::time::Mono;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;
use sys::linux::fd;
use sys::linux::time;

/// Shows who was told of which trouble, or tries whether it comes.
///
/// Who is told is configured by the key notice of skynet.yaml.
#[derive(Debug, Args)]
pub struct Notice {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Lists what was told, and what is held back since.
    List {
        /// The last so many; without it, 20.
        #[arg(short, value_name = "N", default_value_t = 20)]
        n: usize,
        /// An object a line.
        #[arg(long)]
        json: bool,
    },
    /// Tells everybody that this is a trial, and says how it went.
    Test,
    /// Watches the instance, and tells: the service skynet-notice.
    Watch,
    /// Reads what goes with a notice.
    #[command(hide = true, name = gather::WORD)]
    Gather,
    /// Appends a notice to a file.
    #[command(hide = true, name = deliver::WORD)]
    Append {
        /// The file.
        path: PathBuf,
        /// Unless a line there has this id.
        id: Option<String>,
    },
}

impl Notice {
    /// Tells whether this process is only a part of a notifier, which told it all that it needs.
    #[must_use]
    pub const fn is_part(&self) -> bool {
        matches!(self.what, What::Gather | What::Append { .. })
    }

    /// Tells whether it changes nothing.
    #[must_use]
    pub const fn only_looks(&self) -> bool {
        matches!(self.what, What::List { .. })
    }
}

/// Runs a part.
///
/// # Errors
/// It cannot do what it is told.
pub fn run_part(args: &Notice) -> Answer {
    match &args.what {
        What::Append { path, id } => deliver::append(path, id.as_deref())?,
        _ => gather::serve().map_err(|why| Failure::io("answer", "the notifier", &why))?,
    }
    Ok(0)
}

/// Runs it.
///
/// # Errors
/// What was told cannot be read, or nobody is to be told by a trial.
pub fn run(args: &Notice, here: &Here) -> Answer {
    here.is_for_owner("see or tell the notices of")?;
    match &args.what {
        What::List { n, json } => list(here, *n, *json),
        What::Test => test(here),
        What::Watch => notice::run(here),
        What::Gather | What::Append { .. } => run_part(args),
    }
}

fn advice(here: &Here) -> String {
    let folder = here.places().config.clone().unwrap_or_default();
    let file = folder.join("skynet.yaml");
    format!("nobody is to be told; add notice: and targets: to {}", file.display())
}

fn list(here: &Here, count: usize, as_json: bool) -> Answer {
    let folder = Folder::of(here);
    let state = folder.read()?;
    let told: Vec<&Told> = state.told.iter().take(count).collect();
    let text = if as_json { objects(&state, &told) } else { table(here, &state, &told) };
    here.screen.put(&text)?;
    if here.site.notice.targets.is_empty() {
        // What nobody can read may name somebody.
        if !here.is_lenient {
            warn(&advice(here));
        }
    } else if folder.lock().is_ok_and(|lock| lock.is_some()) {
        warn("no notifier runs; start it with: skynet boot");
    }
    Ok(0)
}

fn objects(state: &State, told: &[&Told]) -> String {
    let mut text = String::new();
    let common = |trouble: &Trouble| {
        json!({ "service": trouble.service, "kind": trouble.kind, "signature": trouble.signature,
            "text": trouble.text, "time": utc(trouble.at) })
    };
    let mut put = |mut object: Value, more: Value| {
        if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
            object.extend(more);
        }
        let _ = writeln!(text, "{object}");
    };
    for told in told.iter().rev() {
        let more = json!({ "number": told.number, "count": told.count, "targets": told.targets });
        put(common(&told.trouble), more);
    }
    for held in state.groups.values().filter(|held| held.held > 0) {
        put(common(&held.last), json!({ "held": held.held }));
    }
    text
}

fn table(here: &Here, state: &State, told: &[&Told]) -> String {
    let columns = [
        Column::number("NO"),
        Column::new("TIME"),
        Column::new("KIND"),
        Column::text("SERVICE"),
        Column::end_of_text("SIGNATURE"),
        Column::number("COUNT"),
        Column::new("TOLD"),
    ];
    let mut table = Table::new(&columns);
    let mut add = |number: String, trouble: &Trouble, count: u64, (word, tone)| {
        let second = utc(trouble.at).get(..19).unwrap_or_default().replace('T', " ");
        table.add([
            (number, Tone::Plain),
            (second, Tone::Plain),
            (trouble.kind.clone(), Tone::Plain),
            (trouble.service.clone(), Tone::Plain),
            (trouble.signature.clone(), Tone::Plain),
            (count.to_string(), Tone::Plain),
            (word, tone),
        ]);
    };
    for told in told.iter().rev() {
        add(told.number.to_string(), &told.trouble, told.count, standing(told));
    }
    for held in state.groups.values().filter(|held| held.held > 0) {
        let word = ("held back".to_owned(), Tone::Notable);
        add("-".to_owned(), &held.last, held.held, word);
    }
    let mut text = table.lines_of("notices", &here.screen);
    for told in told.iter().rev() {
        for (label, outcome) in &told.targets {
            if let Some(why) = outcome.failure.as_ref().filter(|_| !outcome.done) {
                let (number, label, why) = (told.number, clean(label), clean(why));
                let _ = writeln!(text, "{number}: {label}: {} tries: {why}", outcome.tries);
            }
        }
    }
    text
}

/// Says how far a notice has come.
fn standing(told: &Told) -> (String, Tone) {
    let count = |is: fn(&&Outcome) -> bool| told.targets.values().filter(is).count();
    let (done, given_up) = (count(|one| one.done), count(|one| one.given_up));
    let failing = count(|one| !one.done && !one.given_up && one.failure.is_some());
    match (given_up, failing) {
        _ if told.targets.is_empty() => ("on its way".to_owned(), Tone::Notable),
        (0, 0) => (format!("{done}"), Tone::Good),
        (0, failing) => (format!("{done}, {failing} failing"), Tone::Notable),
        (given_up, _) => (format!("{done}, {given_up} given up"), Tone::Bad),
    }
}

fn test(here: &Here) -> Answer {
    let targets = &here.site.notice.targets;
    if targets.is_empty() {
        return Err(Failure::refused(advice(here)));
    }
    let trouble = Trouble {
        service: "none".to_owned(),
        kind: "trial".to_owned(),
        signature: "trial".to_owned(),
        text: "nothing happened: somebody tried whether notices come".to_owned(),
        times: 1,
        at: time::wall(),
        ..Trouble::default()
    };
    let begun = format!("trial-{}", trouble.at.0);
    let notice = post::notice(here, &begun, 0, (1, trouble));
    let notice = message::Notice { trial: true, ..notice };
    let mut answer = 0;
    for target in targets {
        let begun = time::monotonic();
        let label = target.what.label();
        let label = clean(&label);
        let tried = attempt(here, target, &notice);
        let took = Duration::from_nanos(time::monotonic().saturating_sub(begun));
        let seconds = took.as_secs_f64();
        let line = match &tried {
            Ok(()) => format!("{label}: told after {seconds:.2} s\n"),
            Err(why) => {
                let text = format!("FAILED after {seconds:.2} s: {}", clean(why));
                format!("{label}: {}\n", here.screen.paint(&text, Tone::Bad))
            }
        };
        here.screen.put(&line)?;
        if tried.is_err() {
            answer = code::FAILED;
        }
    }
    Ok(answer)
}

/// Tells one of them, and waits for it.
fn attempt(here: &Here, target: &Target, notice: &message::Notice) -> Result<(), String> {
    let sendmail = &here.site.notice.sendmail;
    let mut running: Running = deliver::start(here, target, sendmail, notice, false)?;
    let mut until = Some(Mono(time::monotonic()).after(target.time_limit));
    loop {
        let now = Mono(time::monotonic());
        if until.is_some_and(|at| at <= now) {
            until = None;
            running.kill();
        }
        let mut fds = Vec::with_capacity(EACH);
        running.interests(&mut fds);
        let left = until.map(|at| at.nanos_from(now));
        fd::poll(&mut fds, left).map_err(|why| why.to_string())?;
        if let Some(end) = running.hear(&fds) {
            let said = String::from_utf8_lossy(&end.said).into_owned();
            let colon = if said.trim().is_empty() { "" } else { ": " };
            return if end.well {
                Ok(())
            } else {
                Err(format!("{}{colon}{}", end.how, said.trim()))
            };
        }
    }
}
