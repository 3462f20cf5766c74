//! Many items: the conversation on the socket.
//!
//! One thread listens, so that a cancel is heard while the other works.

use crate::context::{Context, Task};
use crate::item::{Invalid, Item};
use crate::link::{self, Link};
use crate::protocol::{
    DESCRIPTOR, Flavour, FromParticipant, Nonsense, ToParticipant, Told, VERSION,
};
use crate::{Fault, Participant, Start, attempt, say, say_fault};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

enum Job {
    Start { start: Start, protocol: u32 },
    Work { context: Context, item: Result<Item, Invalid> },
}

/// Items that came and are not answered.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<Arc<Task>>>>);

impl Tasks {
    fn all(&self) -> MutexGuard<'_, Vec<Arc<Task>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: u64) -> Option<Arc<Task>> {
        self.all().iter().find(|task| task.id == id).cloned()
    }

    fn cancel_all(&self) {
        let tasks = self.all().clone();
        for task in tasks {
            task.cancel(Flavour::Kill);
        }
    }
}

pub(crate) fn run(participant: &mut impl Participant) -> ExitCode {
    // A child that outlives us must not keep the conversation open.
    let _ = linux::fd::set_cloexec(DESCRIPTOR, true);
    let link = Arc::new(Link::default());
    let tasks = Tasks::default();
    let (sender, jobs) = channel();
    let mut listener = Listener { link: link.clone(), tasks: tasks.clone(), jobs: Some(sender) };
    let thread = std::thread::Builder::new().name("exo".to_owned()).spawn(move || listener.run());
    if let Err(error) = thread {
        say(&format!("fatal: unable to start a thread: {error}"));
        return ExitCode::from(111);
    }
    let code = serve(participant, &link, &tasks, jobs);
    participant.stop();
    code
}

fn serve(
    participant: &mut impl Participant,
    link: &Link,
    tasks: &Tasks,
    jobs: Receiver<Job>,
) -> ExitCode {
    for job in jobs {
        match job {
            Job::Start { start, protocol } => {
                if let Err(fault) = participant.start(&start) {
                    say_fault(&fault);
                    return ExitCode::from(111);
                }
                link.say(FromParticipant::Hello { protocol: protocol.min(VERSION) });
            }
            Job::Work { context, item } => {
                let outcome = match item {
                    Ok(item) => attempt(participant, item, &context),
                    Err(invalid) => Err(Fault::finally(invalid.to_string())),
                };
                // Before the answer: a cancel that comes behind it is for nobody.
                tasks.all().retain(|task| task.id != context.task.id);
                answer(link, &context.task, outcome);
            }
        }
    }
    ExitCode::SUCCESS
}

fn answer(link: &Link, task: &Task, outcome: Result<Item, Fault>) {
    let id = task.id;
    match outcome {
        Ok(item) => {
            let forget = item.is_forgotten();
            let item = if item.is_changed() { link::raw(&item).ok() } else { None };
            link.say(FromParticipant::Result { id, item, forget });
        }
        Err(_) if task.flavour().is_some() => link.say(FromParticipant::Cancelled { id }),
        Err(fault) => {
            say_fault(&fault);
            let trace = fault.trace.iter().map(Into::into).collect();
            let item = fault.item.as_deref().and_then(|item| link::raw(item).ok());
            let (code, text) = (fault.code, (&fault.text).into());
            link.say(FromParticipant::Fault { id, code, text, trace, item });
        }
    }
}

struct Listener {
    link: Arc<Link>,
    tasks: Tasks,
    /// `None` once no more items come.
    jobs: Option<Sender<Job>>,
}

impl Listener {
    /// Listens until exo says no more.
    fn run(&mut self) {
        let mut buffer = vec![0; 64 << 10];
        let mut line = Vec::new();
        while let Ok(n @ 1..) = linux::fd::read(DESCRIPTOR, &mut buffer) {
            let mut rest = buffer.get(..n).unwrap_or_default();
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(rest.get(..end).unwrap_or_default());
                rest = rest.get(end + 1..).unwrap_or_default();
                if let Err(nonsense) = self.hear(&line) {
                    say(&format!("warning: exo said what is not understood: {nonsense}"));
                }
                line.clear();
            }
            line.extend_from_slice(rest);
        }
        self.jobs = None;
        self.link.close();
        self.tasks.cancel_all();
    }

    fn hear(&mut self, line: &[u8]) -> Result<(), Nonsense> {
        let told = Told::read(line)?;
        match told.message()? {
            ToParticipant::Start { protocol, participant, instance, engine, config } => {
                let start = Start {
                    participant: participant.to_owned(),
                    instance: instance.to_owned(),
                    engine: engine.to_owned(),
                    config: config.to_owned(),
                };
                self.pass_on(Job::Start { start, protocol });
            }
            ToParticipant::Work { id, attempt, stage, item } => {
                let task = Arc::new(Task::new(id));
                self.tasks.all().push(task.clone());
                let context = Context {
                    task,
                    attempt,
                    stage: stage.map(str::to_owned),
                    link: Some(self.link.clone()),
                };
                self.pass_on(Job::Work { context, item: Item::received(item) });
            }
            ToParticipant::Cancel { id, flavour } => {
                if let Some(task) = self.tasks.find(id) {
                    task.cancel(flavour);
                }
            }
            ToParticipant::Status { id } => {
                if let Some(task) = self.tasks.find(id) {
                    task.report(&self.link);
                }
            }
            ToParticipant::Shutdown => self.jobs = None,
            ToParticipant::AboutToDie { .. } => self.tasks.cancel_all(),
            ToParticipant::Sent { ticket, job, refused } => self.link.sent(ticket, job, refused),
        }
        Ok(())
    }

    /// After a shutdown nothing is: whoever worked has gone.
    fn pass_on(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}
