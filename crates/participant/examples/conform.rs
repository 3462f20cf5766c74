//! The participant that the double of exo talks with; `python/tests/conform.py` does the same.
//! `fields.do` says what.

use participant::{Context, Fault, Flavour, Item, Participant, Start};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

#[derive(Default, Deserialize)]
struct Conform {
    #[serde(default)]
    fail: bool,
    greeting: Option<String>,
    #[serde(skip)]
    engine: String,
}

impl Participant for Conform {
    fn start(&mut self, start: &Start) -> Result<(), Fault> {
        *self = start.config()?;
        if self.fail {
            return Err(Fault::retry("told to fail"));
        }
        self.engine.clone_from(&start.engine);
        println!("started");
        Ok(())
    }

    fn work(&mut self, mut item: Item, context: &Context) -> Result<Item, Fault> {
        let task: String = item.field("do")?;
        println!("{}: {task}", item.wfid().unwrap_or_default());
        match &*task {
            "nothing" => {}
            "look" => {
                let seen: (Option<String>, Option<String>) =
                    (item.param("unit")?, item.field("none")?);
                println!("{:?} {seen:?}", item.wfid());
            }
            "answer" => {
                item.set_field("greeting", &self.greeting)?;
                item.set_field("attempt", &context.attempt())?;
                let unit: Option<String> = item.param("unit")?;
                item.set_field("unit", &unit)?;
                item.set_result(&true)?;
            }
            "engine" => item.set_field("engine", &self.engine)?,
            "forget" => item.forget(),
            "forget_and_fail" => {
                item.forget();
                item.set_field("seen", &true)?;
                return Err(Fault::finally("never told"));
            }
            "forget_and_give_back" => {
                item.set_field("seen", &true)?;
                item.forget();
                return Err(Fault::finally("never told").with_item(item));
            }
            "forget_and_panic" => {
                item.forget();
                std::panic::resume_unwind(Box::new("never told"));
            }
            "retry" => {
                item.set_field("seen", &true)?;
                return Err(Fault::retry("not now").with_code(3).with_item(item));
            }
            "final" => return Err(Fault::finally("never").with_code(12)),
            "error" => drop("x".parse::<u32>()?),
            "wait" => {
                wait(&item, context);
                context.check()?;
            }
            "stumble" => {
                context.on_cancel(|_| std::panic::resume_unwind(Box::new("stumbled")));
                wait(&item, context);
                context.check()?;
            }
            "finish_late" => item.set_field("late", &wait(&item, context))?,
            "stage" if context.stage() == Some("pushed") => item.set_field("found", "pushed")?,
            "stage" => {
                context.set_stage(Some("pushed"));
                std::process::exit(99);
            }
            "forward" => forward(&mut item, context)?,
            "leave" => std::process::exit(5),
            _ => return Err(Fault::finally("unknown task")),
        }
        Ok(item)
    }

    fn stop(&mut self) {
        println!("stopped");
    }
}

/// Waits until it is cancelled; not longer than a test takes.
fn wait(item: &Item, context: &Context) -> Option<Flavour> {
    let (sender, cancelled) = channel();
    let wfid = item.wfid().unwrap_or_default();
    context.on_cancel(move |flavour| {
        println!("{wfid}: cancel {}", format!("{flavour:?}").to_lowercase());
        let _ = sender.send(flavour);
    });
    context.progress(Some(0.25), "waiting");
    cancelled.recv_timeout(Duration::from_secs(60)).ok()
}

fn forward(item: &mut Item, context: &Context) -> Result<(), Fault> {
    let queue: String = item.field("queue")?;
    let mut further = Item::from_json("{}")?;
    further.set_field("n", item.field::<&RawValue>("n")?)?;
    match context.forward(&queue, &further) {
        Ok(job) => item.set_field("job", &job),
        Err(fault) if fault.code() < 10 => item.set_field("refused", fault.text()),
        Err(fault) => Err(fault),
    }
}

fn main() -> ExitCode {
    participant::run(Conform::default())
}
