//! `skynet submit`: items for a participant.

use crate::failure::{Answer, Failure, warn};
use crate::here::Here;
use crate::items::hand::{self, Own};
use crate::items::input::{self, Manner, Source};
use crate::items::report::Report;
use crate::items::submitted::{self, Sent};
use crate::items::{drop, ended};
use crate::life::{self, care};
use crate::look::asking;
use crate::names::Names;
use crate::rabbit;
use crate::service::{self, Service};
use clap::Args;
use exo::settings::{BrokerKind, Settings};
use serde_json::Value;
use std::ffi::OsString;
use std::time::Duration;
use sys::linux::time;
use work::units::Span;
use work::wire::{self, Incoming};
use work::{Applied, Change, NewJob, Refused};

/// How long a running exo may take to record what was left for it.
const PATIENCE: u64 = 60 * time::SECOND;

/// Submits work items to a participant.
///
/// An ITEM is JSON, or the name of a file that holds one, or - for standard input; without any, and
/// without --field, standard input is read. All are looked at before any is submitted, and all are
/// submitted or none; of what is left in the drop folder for an exo, each is recorded by itself.
#[derive(Debug, Args)]
pub struct Submit {
    /// Participant.
    #[arg(value_name = "NAME")]
    name: String,
    /// Items.
    #[arg(value_name = "ITEM")]
    items: Vec<OsString>,
    /// A field of the item; a value that is JSON is that, any other is text. May come several times.
    #[arg(short, long = "field", value_name = "KEY=VALUE", conflicts_with = "items")]
    fields: Vec<String>,
    /// Each line is an item.
    #[arg(long, conflicts_with = "fields")]
    lines: bool,
    /// The process that items without a fei belong to.
    #[arg(long)]
    wfid: Option<String>,
    /// Place among those of the same label, highest first.
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
    /// Not to be worked on before this is over.
    #[arg(long, value_name = "TIME", value_parser = life::time)]
    delay: Option<Duration>,
    /// Label, whose priority comes first; until it has one its items come last.
    #[arg(long)]
    label: Option<String>,
    /// No two items with the same one are worked on at the same time.
    #[arg(long)]
    key: Option<String>,
    /// Participant's queue that gets the answer, as an item.
    #[arg(long, value_name = "QUEUE")]
    reply_to: Option<String>,
    /// Wait until it is done, and write the answer; its outcome is the exit code.
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = life::time)]
    timeout: Option<Duration>,
    /// An object a line: job, wfid, queue, ok, result or error; with --wait also fault and answer.
    #[arg(long)]
    json: bool,
}

impl Submit {
    fn manner(&self) -> Manner {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let delay = self.delay.map(|delay| Span(delay).to_string());
        let all = [
            ("priority", self.priority.map(Value::from)),
            ("delay", text(&delay)),
            ("label", text(&self.label)),
            ("key", text(&self.key)),
            ("reply-to", text(&self.reply_to)),
        ];
        let envelope = all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Manner { wfid: self.wfid.clone(), envelope }
    }
}

/// Runs it.
///
/// # Errors
/// An item is none, or it cannot be submitted.
pub fn run(args: &Submit, here: &Here) -> Answer {
    let begun = time::monotonic();
    let settings = settings(args, here)?;
    here.is_for_members("submit to participants")?;
    let is_remote = settings.broker.kind == BrokerKind::RabbitMq;
    if is_remote {
        fits_rabbitmq(args, here)?;
    }
    let source = Source { items: &args.items, fields: &args.fields, by_line: args.lines };
    let items = input::read(source, &args.manner(), &settings.queue, settings.item_limit)?;
    if is_remote {
        return publish(args, here, &settings, &items);
    }
    let sent = if hand::may_write(here) {
        record(here, &settings, items, args.json)?
    } else {
        leave(here, &settings, items)?
    };
    if args.wait {
        // It may be waited for without end.
        let socket = care::socket_of(&settings);
        if let Some(why) = socket.and_then(|socket| asking::takes_none(socket, &args.name)) {
            warn(&format!("{} {why}", args.name));
        }
        let limit = args.timeout.map(|limit| life::Patience { no_wait: false, timeout: limit });
        let deadline = limit.map(|limit| limit.deadline(begun));
        return ended::wait(here, &sent, deadline, args.json);
    }
    let mut report = Report::new(here, args.json);
    for sent in &sent {
        match sent {
            Sent::Job { about, is_known: false } => report.done(about, "submitted", "submitted"),
            Sent::Job { about, is_known: true } => {
                report.done(about, "known", "was submitted before");
            }
            Sent::Left(about) => {
                let text = "left in the drop folder, since no exo of it runs";
                report.done(about, "left", text);
            }
            Sent::Refused(about, why) => report.failed(about, why),
        }
    }
    Ok(report.code(false))
}

/// Finds the participant and reads its configuration.
fn settings(args: &Submit, here: &Here) -> Result<Settings, Failure> {
    let names = Names { names: vec![args.name.clone()], all: false };
    let picked = names.pick(service::all(here)?)?;
    let participant = |service: &&Service| service.is_participant;
    match &picked.services[..] {
        [] => Err(Failure::unknown(format!("there is no participant {}", args.name))),
        [service] if participant(&service) => Ok(service.load()?.settings),
        [service] => {
            Err(Failure::refused(format!("{} is no participant, takes no items", service.name)))
        }
        _ => Err(Failure::usage("items are for one participant")),
    }
}

/// Records items as the user whose store it is, all or none.
fn record(
    here: &Here,
    settings: &Settings,
    items: Vec<Vec<u8>>,
    is_json: bool,
) -> Result<Vec<Sent>, Failure> {
    let mut own = Own::open(here)?;
    let owner = Some(own.by().uid);
    let begun = time::wall();
    let mut changes = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let name = format!("submit!{}.{}.{}!{index}", begun.0, begun.1, sys::linux::process::pid());
        let job = NewJob::from_item(&settings.queue, item, settings.item_limit, &name);
        let job = job.map_err(|why| Failure::refused(why.to_string()))?;
        changes.push(Change::Submit(Box::new(NewJob { owner, ..job })));
    }
    let made = own.store().apply_all_or_none(&changes)?;
    let mut complaints = Vec::new();
    let mut sent = Vec::with_capacity(changes.len());
    let mut unknown = None;
    for (change, made) in changes.iter().zip(made) {
        let Change::Submit(job) = change else { continue };
        let about = |id: Option<i64>| submitted::about(job, id);
        sent.push(match made {
            Ok(Applied::Submitted { job: id, label_unknown }) => {
                unknown = unknown.or(label_unknown.then_some(&job.label));
                Sent::Job { about: about(Some(id.0)), is_known: false }
            }
            Ok(Applied::Known(id)) => Sent::Job { about: about(Some(id.0)), is_known: true },
            Ok(_) => Sent::Refused(about(None), "no job came of it".to_owned()),
            Err(why) => {
                if is_json {
                    Report::new(here, true).failed(&about(None), &why.to_string());
                }
                complaints.push(format!("{}: {why}", about(None).words()));
                continue;
            }
        });
    }
    input::unless_wrong(complaints)?;
    if let Some(label) = unknown {
        warn(&format!("nobody gave the label {label} a priority: it comes last, see skynet label"));
    }
    Ok(sent)
}

/// Refuses what is for queues of this machine alone.
fn fits_rabbitmq(args: &Submit, here: &Here) -> Result<(), Failure> {
    here.is_for_owner("publish to participants of")?;
    let manner = args.manner().envelope;
    let given = manner.iter().map(|(key, _)| *key).chain(args.wait.then_some("wait")).next();
    given.map_or(Ok(()), |key| {
        let why = "items for RabbitMQ go as they are, to any machine, and the engine is answered";
        Err(Failure::usage(format!("--{key} is not for {}: {why}", args.name)))
    })
}

/// Publishes items, each safe in the participant's queue before the next goes. Root becomes the user
/// whose the store is first, for good.
fn publish(args: &Submit, here: &Here, settings: &Settings, items: &[Vec<u8>]) -> Answer {
    let mut named = Vec::with_capacity(items.len());
    for item in items {
        match wire::read(item, settings.item_limit) {
            Ok(Incoming::Item(identity)) => {
                named.push(submitted::of_process(&settings.queue, &identity.wfid));
            }
            Ok(Incoming::Cancel(_)) => {
                return Err(Failure::refused("it is a cancel, no item; see: skynet cancel"));
            }
            Err(why) => {
                let hint = "give it a fei, or --wfid; nothing was submitted";
                return Err(Failure::refused(format!("{why}; {hint}")));
            }
        }
    }
    Own::open(here)?;
    let mut client = rabbit::connect(&settings.broker)?;
    let mut report = Report::new(here, args.json);
    let mut lost = None;
    for (item, about) in items.iter().zip(&named) {
        if lost.is_none() {
            lost = client.publish(&settings.queue, item).err();
        }
        match &lost {
            None => report.done(about, "published", "published, for whichever machine takes it"),
            Some(why) => report.failed(about, &format!("not known to be published: {why}")),
        }
    }
    Ok(report.code(false))
}

/// Leaves items in the drop folder, and waits until its exo has recorded them, where it runs. It records
/// each by itself, so what it would refuse of any is not left.
fn leave(here: &Here, settings: &Settings, items: Vec<Vec<u8>>) -> Result<Vec<Sent>, Failure> {
    let mut complaints = Vec::new();
    for item in &items {
        let job = NewJob::from_item(&settings.queue, item.clone(), settings.item_limit, "it");
        let job = job.map_err(|why| Failure::refused(why.to_string()))?;
        let reply_to = job.reply_to.as_deref();
        let flaw = reply_to.and_then(|queue| Some((queue, work::name::flaw(queue)?)));
        let flaw = flaw.map(|(queue, why)| Refused::Queue(queue.to_owned(), why).to_string());
        if let Some(why) = flaw.or_else(|| work::item::flaw_of_process(&job.wfid)) {
            complaints.push(format!("{}: {why}", submitted::about(&job, None).words()));
        }
    }
    input::unless_wrong(complaints)?;
    let watch = submitted::Search::begin(here)?;
    let folder = settings.spool.join(&settings.queue);
    let left = drop::leave(&folder, &settings.queue, items)?;
    let deadline = time::monotonic().saturating_add(PATIENCE);
    watch.find(here, settings, &left, deadline)
}
