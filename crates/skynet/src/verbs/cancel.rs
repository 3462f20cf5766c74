//! `skynet cancel`: jobs are not wanted any more.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::items::act::{self, Act};
use crate::items::hand::Own;
use crate::items::pick::{self, Named};
use crate::items::report::{About, Report};
use crate::items::watch::Watch;
use crate::items::{self};
use crate::life::Patience;
use crate::rabbit;
use clap::Args;
use exo::ask::FlavourWord;
use exo::control::{Request, code_of};
use exo::settings::BrokerKind;
use machine::work::{Fault, Kind, State};
use std::collections::{BTreeMap, BTreeSet};
use sys::linux::time;
use work::read::Job;
use work::{JobId, Reader};

/// Who was asked to stop already.
const STOPS: &str =
    "it is being cancelled, and killed at the end of its cancel-grace; at once by --flavour kill";

/// Cancels jobs that wait or are worked on.
///
/// What waits is cancelled at once; who works on a job is told to stop, and ended where it does not.
/// What was told to stop and does not is killed at once by --flavour kill.
/// A job that is done before it hears of it, or in spite of it, stays done, which is said, and counts as failed.
/// Where items come from RabbitMQ every machine hears of a process, or a place in it, that the owner of
/// this instance cancels; what still waits in RabbitMQ is not reached.
#[derive(Debug, Args)]
pub struct Cancel {
    /// Processes (wfid) or jobs (job-NUMBER), or patterns with *, ? and [...].
    #[arg(value_name = "WFID|JOB", required = true)]
    names: Vec<String>,
    /// Only the item at this place in its process.
    #[arg(long)]
    expid: Option<String>,
    /// Why, and how much of a hurry.
    #[arg(long, value_enum, default_value = "cancel")]
    flavour: FlavourWord,
    /// An object a line: job, wfid, queue, ok, result or error.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// The store cannot be read, or nobody can change it.
pub fn run(args: &Cancel, here: &Here) -> Answer {
    let deadline = args.patience.deadline(time::monotonic());
    let reader = items::reader(here)?;
    let watch = Watch::begin(here)?;
    let (local, everywhere) = split(args, here, &reader)?;
    let picked = pick::pick(&reader, &local)?;
    let mut report = Report::new(here, args.json);
    let jobs = wanted(&picked.named, args, &report);
    let ids: Vec<i64> = jobs.iter().map(|job| job.id.0).collect();
    let flavour = args.flavour.into();
    let request = |jobs| Request::CancelJobs { jobs, flavour };
    let act = Act { kept: "cancel", request: &request };
    let came = act::jobs(here, &reader, &ids, &act)?;
    let mut open = BTreeMap::new();
    for job in jobs {
        match came.get(&job.id.0) {
            Some(Err(why)) => report.failed(&job.into(), why),
            _ => drop(open.insert(job.id, job)),
        }
    }
    tell_all(here, &picked.named, &everywhere, args, &mut report)?;
    let deadline = if args.patience.no_wait { 0 } else { deadline };
    let all =
        watch.until(&reader, Some(deadline), |reader| look(reader, &mut open, &mut report))?;
    if !all {
        for job in open.into_values() {
            if args.patience.no_wait {
                report.done(&job.into(), "told", "told to stop");
            } else {
                report.failed(&job.into(), "told to stop, and still worked on");
            }
        }
    }
    Ok(report.code(picked.some_are_unknown))
}

/// Returns the names that are looked for here, and those that only other machines may have at work:
/// steps of theirs may have been done here before.
fn split(
    args: &Cancel,
    here: &Here,
    reader: &Reader,
) -> Result<(Vec<String>, Vec<String>), Failure> {
    let (mut local, mut everywhere) = (Vec::new(), Vec::new());
    for name in &args.names {
        let is_open = |job: &Job| job.subject.state != State::Stop && is_meant(job, args);
        let is_here = || Ok::<_, Failure>(reader.jobs_of(name)?.iter().any(is_open));
        let is_wfid = !pick::is_pattern(name) && JobId::of_process(name).is_none();
        let is_other = is_remote(here) && is_wfid && !is_here()?;
        (if is_other { &mut everywhere } else { &mut local }).push(name.clone());
    }
    Ok((local, everywhere))
}

/// Tells whether other machines are to hear of it: from whoever has the password.
fn is_remote(here: &Here) -> bool {
    here.site.broker.kind == BrokerKind::RabbitMq && here.uid == here.owner()
}

/// Tells whether a job is at the place that is named, if one is.
fn is_meant(job: &Job, args: &Cancel) -> bool {
    let expid = job.identity.split('!').next();
    args.expid.as_deref().is_none_or(|wanted| expid == Some(wanted))
}

/// Has every exo of the virtual host hear of processes. Root becomes the user whose the store is
/// first, for good.
fn tell_all(
    here: &Here,
    named: &[Named],
    everywhere: &[String],
    args: &Cancel,
    report: &mut Report<'_>,
) -> Result<(), Failure> {
    let of_jobs = named.iter().filter(|named| !named.is_number).flat_map(|named| &named.jobs);
    let all: BTreeSet<&str> = of_jobs
        .map(|job| job.wfid.as_str())
        .chain(everywhere.iter().map(String::as_str))
        .filter(|wfid| !wfid.is_empty())
        .collect();
    if all.is_empty() || !is_remote(here) {
        return Ok(());
    }
    Own::open(here)?;
    let expid = args.expid.as_deref();
    rabbit::cancel_everywhere(&here.site.broker, all, expid, args.flavour.into())?;
    for wfid in everywhere {
        let about = About { wfid: Some(wfid.clone()), ..About::default() };
        report.done(
            &about,
            "told",
            "nothing of it waits or is worked on here; every machine is told",
        );
    }
    Ok(())
}

/// Returns the jobs that can be cancelled; says of names where none can.
fn wanted<'a>(named: &'a [Named], args: &Cancel, report: &Report<'_>) -> Vec<&'a Job> {
    let mut all = Vec::new();
    for named in named {
        let is_meant = |job: &&Job| is_meant(job, args);
        let why = code_of(args.flavour.into());
        let is_open = |job: &&Job| job.subject.can_be_cancelled(why);
        let open: Vec<&Job> = named.jobs.iter().filter(is_meant).filter(is_open).collect();
        if open.is_empty() {
            let about = About { name: Some(named.name.clone()), ..About::default() };
            let stops = |job: &Job| job.subject.state == State::Cancelling;
            report.nothing(
                &about,
                match named.jobs.iter().filter(is_meant).find(|job| stops(job)) {
                    Some(job) if job.subject.fault == Fault::KILLED => "it is being killed",
                    Some(_) => STOPS,
                    None => "nothing of it waits or is worked on",
                },
            );
        }
        all.extend(open);
    }
    all
}

/// Says of each job that has stopped how; tells whether all have.
fn look(
    reader: &Reader,
    open: &mut BTreeMap<JobId, &Job>,
    report: &mut Report<'_>,
) -> Result<bool, Failure> {
    let mut over = Vec::new();
    for (id, job) in open.iter() {
        let stands = reader.job(*id)?.map(|now| now.subject);
        match stands {
            Some(stands) if stands.state != State::Stop => continue,
            Some(stands) if stands.fault.kind() != Kind::Cancelled => {
                report.failed(&(*job).into(), "done before it heard of it, or in spite of it");
            }
            // Cleaned away meanwhile, or as was asked.
            _ => report.done(&(*job).into(), "cancelled", "cancelled"),
        }
        over.push(*id);
    }
    for id in over {
        open.remove(&id);
    }
    Ok(open.is_empty())
}
