//! `skynet requeue`: jobs are tried again, now or by themselves.

use crate::failure::{Answer, Failure, code, warn};
use crate::here::Here;
use crate::items;
use crate::items::act::{self, Act};
use crate::items::pick::{self, Named};
use crate::items::report::{About, Report};
use crate::life;
use crate::past::{classes, queues};
use crate::service;
use crate::store;
use clap::Args;
use daemontools::svlog::when;
use exo::control::Request;
use machine::work::{Kind, State};
use ondisk::tai64n::Stamp;
use std::collections::BTreeSet;
use std::time::Duration;
use work::Reader;
use work::read::{Class, Job};
use work::units::{self, Span};

/// Has jobs tried again from the start, with their tries forgotten.
///
/// Of a process, those that failed, were cancelled, or rest between two tries. With --auto, jobs of
/// participants that fail in a certain way are tried again by themselves from now on, each so often,
/// until a date; rule list shows what holds.
#[derive(Debug, Args)]
pub struct Requeue {
    /// Processes (wfid) or jobs (job-NUMBER), or patterns; with --failed and --auto, participants.
    #[arg(value_name = "WFID|JOB|NAME", required = true)]
    names: Vec<String>,
    /// All that failed of these participants, and what rests between two tries.
    #[arg(long, conflicts_with_all = ["auto", "force"])]
    failed: bool,
    /// Their place among those of their label, highest first.
    #[arg(long, value_name = "N", allow_negative_numbers = true, conflicts_with = "auto")]
    priority: Option<i32>,
    /// Also what is done.
    #[arg(long, conflicts_with = "auto")]
    force: bool,
    /// Class of faults that is to be tried again by itself, as failure list shows it.
    #[arg(long, value_name = "SIGNATURE", requires_all = ["limit", "until"])]
    auto: Option<String>,
    /// How often each job is.
    #[arg(long, value_name = "N", requires = "auto")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Until when: a date, a date and a time, or from now on such as 7d.
    #[arg(long, value_name = "DATE", requires = "auto")]
    until: Option<String>,
    /// How long a job rests before that; without it, 5 minutes.
    #[arg(long, value_name = "TIME", requires = "auto", value_parser = life::time)]
    delay: Option<Duration>,
    /// An object a line: job, wfid, queue, ok, result or error.
    #[arg(long)]
    json: bool,
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or nobody can change it.
pub fn run(args: &Requeue, here: &Here) -> Answer {
    if let Some(signature) = &args.auto {
        return make_rules(args, signature, here);
    }
    let reader = items::reader(here)?;
    let mut report = Report::new(here, args.json);
    let (jobs, some_are_unknown) = wanted(args, here, &reader, &report)?;
    let ids: Vec<i64> = jobs.iter().map(|job| job.id.0).collect();
    let (force, priority) = (args.force, args.priority);
    let request = |jobs| Request::Requeue { jobs, force, priority };
    let came = act::jobs(here, &reader, &ids, &Act { kept: "requeue", request: &request })?;
    for job in &jobs {
        match came.get(&job.id.0) {
            Some(Err(why)) => {
                let hint = if why == "it is done" { "; --force does it again" } else { "" };
                report.failed(&job.into(), &format!("{why}{hint}"));
            }
            _ => report.done(&job.into(), "ready", "ready again"),
        }
    }
    Ok(report.code(some_are_unknown))
}

/// Returns the jobs that are meant, and whether some names are unknown.
fn wanted(
    args: &Requeue,
    here: &Here,
    reader: &Reader,
    report: &Report<'_>,
) -> Result<(Vec<Job>, bool), Failure> {
    if args.failed {
        let (queues, some_are_unknown) = queues(args, Some(reader), here)?;
        let taken = taken(here)?;
        let mut jobs = Vec::new();
        for queue in queues {
            let failed = reader.failed(&queue)?;
            if !failed.is_empty() && !taken.contains(&queue) {
                warn(&format!("no participant here takes from {queue}: its jobs wait for one"));
            }
            if failed.is_empty() {
                let about =
                    About { queue: Some(queue.clone()), name: Some(queue), ..About::default() };
                report.nothing(&about, "nothing of it failed");
            }
            jobs.extend(failed);
        }
        return Ok((jobs, some_are_unknown));
    }
    let picked = pick::pick(reader, &args.names)?;
    let mut jobs = Vec::new();
    for Named { name, is_number, jobs: its } in picked.named {
        // One that is named is refused with the reason, of others those are meant that can be.
        let its: Vec<Job> =
            its.into_iter().filter(|job| is_number || may_be_meant(job, args.force)).collect();
        if its.is_empty() {
            let about = About { name: Some(name), ..About::default() };
            report.nothing(&about, "nothing of it failed; --force is for what is done");
        }
        jobs.extend(its);
    }
    Ok((jobs, picked.some_are_unknown))
}

fn may_be_meant(job: &Job, force: bool) -> bool {
    match job.subject.state {
        State::Stop => force || job.subject.fault.kind() != Kind::Done,
        // What a rule has tried again from the start has no count.
        State::Ready { leased: false } => {
            job.subject.count > 0 || job.due.is_some() && job.tries > 0
        }
        _ => false,
    }
}

/// Returns the queues of the participants that are named, also of those that are not installed any
/// more, and whether some names are unknown, which is said.
fn queues(
    args: &Requeue,
    reader: Option<&Reader>,
    here: &Here,
) -> Result<(Vec<String>, bool), Failure> {
    let known = queues::known(reader)?;
    let picked = queues::pick(&args.names, &known, here)?;
    let some_are_unknown = picked.code(&known) != 0;
    Ok((picked.queues, some_are_unknown))
}

/// Returns the queues from which a participant that is installed takes. One whose configuration
/// cannot be read takes from none.
fn taken(here: &Here) -> Result<BTreeSet<String>, Failure> {
    let services = service::all(here)?;
    let read = services.iter().filter(|service| service.is_participant).map(service::Service::load);
    Ok(read.filter_map(|loaded| Some(loaded.ok()?.settings.queue)).collect())
}

fn make_rules(args: &Requeue, named: &str, here: &Here) -> Answer {
    let text = args.until.as_deref().unwrap_or_default();
    let until = moment(text).ok_or_else(|| {
        Failure::usage(format!("\"{text}\" is no date; write 2030-12-24, or 7d for a week"))
    })?;
    let reader = store::read(here)?;
    let (queues, some_are_unknown) = queues(args, reader.as_ref(), here)?;
    let mut report = Report::new(here, args.json);
    let limit = args.limit.unwrap_or_default();
    let classes = reader.map_or(Ok(Vec::new()), |reader| reader.classes())?;
    for queue in queues {
        let signature = signature(&classes, &queue, named)?;
        let request = |_| Request::RuleSet {
            queue: queue.clone(),
            signature: signature.clone(),
            limit,
            until,
            delay: args.delay.map(|delay| Span(delay).to_string()),
        };
        let name = Some(queue.clone());
        let about = About { queue: Some(queue.clone()), name, ..About::default() };
        match act::one(here, &request)? {
            Ok(rule) => {
                let text = format!("rule {rule}: tried again at most {limit} times a job");
                report.done(&about, "rule", &text);
            }
            Err(why) => report.failed(&about, &why),
        }
    }
    let code = report.code(some_are_unknown);
    Ok(if some_are_unknown && code == 0 { code::UNKNOWN } else { code })
}

/// Returns the signature that is meant: that of a class which is known by this name, else the name.
fn signature(classes: &[Class], queue: &str, name: &str) -> Result<String, Failure> {
    let its: Vec<Class> = classes.iter().filter(|class| class.queue == queue).cloned().collect();
    match classes::find(&its, name) {
        Ok(class) => Ok(class.signature.clone()),
        Err(none) if none.code == code::UNKNOWN => {
            let advice = "taken for the whole signature of one to come; failure list has them all";
            warn(&format!("no failure of {queue} is called {name}; {advice}"));
            Ok(name.to_owned())
        }
        Err(several) => Err(several),
    }
}

/// Reads a moment to come, in seconds since 1970.
fn moment(text: &str) -> Option<i64> {
    let now: Stamp = when::now();
    if let Ok(delay) = units::duration(text) {
        return now.unix_seconds().checked_add(i64::try_from(delay.as_secs()).ok()?);
    }
    when::read(text.as_bytes(), now).map(Stamp::unix_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_a_day_or_a_time_from_now_on() {
        let now = when::now().unix_seconds();
        let week = moment("7d").unwrap();
        assert!((now + 7 * 86_400..now + 7 * 86_400 + 60).contains(&week));
        assert!(moment("2100-12-24").unwrap() > now);
        assert!(moment("2100-12-24 18:00").unwrap() > moment("2100-12-24").unwrap());
        for bad in ["", "soon", "2100-13-45", "x7d"] {
            assert_eq!(moment(bad), None, "{bad}");
        }
    }
}
