//! Whoever works by RabbitMQ: pika and Celery, driven by `python/rabbit_bench.py` and
//! `python/celery_bench.py`.

use super::Bed;
use crate::processes;
use crate::stage::Lab;
use crate::trouble::{Result, Trouble, Unable};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use testkit::rabbit::{PASSWORD, Rabbit};

/// The broker of a run: it is started outside of the run's namespaces, and ends with the run.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    /// At 127.0.0.1.
    pub(crate) port: u16,
    /// The virtual host for everybody.
    pub(crate) vhost: String,
}

impl Broker {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let rabbit = Rabbit::shared();
        Self { port: rabbit.port(), vhost: rabbit.vhost() }
    }

    /// Returns the one of this text.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (port, vhost) = text.split_once('/')?;
        Some(Self { port: port.parse().ok()?, vhost: vhost.to_owned() })
    }

    /// Returns the text that names it.
    pub(crate) fn text(&self) -> String {
        format!("{}/{}", self.port, self.vhost)
    }
}

/// A queue of the broker that nobody else uses. Dropped, it is removed, with that of its answers.
pub(crate) struct Queue {
    broker: Broker,
    python: PathBuf,
    /// Its name.
    pub(crate) name: String,
}

impl Queue {
    /// Makes one.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let broker = lab.broker.clone().ok_or_else(|| Trouble::new("no broker"))?;
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let python = lab.built.join("rabbit/bin/python3");
        Ok(Self { broker, python, name: format!("noop{n}") })
    }

    /// Returns where it is.
    pub(crate) const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Returns the name of the queue that answers go to.
    pub(crate) fn answers(&self) -> String {
        format!("{}.answers", self.name)
    }

    fn command(&self, script: &str, mode: &str, numbers: &[u64]) -> Command {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(&self.python);
        command.env_clear().env("PATH", "/usr/bin:/bin");
        // That it is run by root is known.
        command.env("PYTHONWARNINGS", "ignore").arg(here.join("python").join(script));
        command.arg(mode).arg(self.broker.port.to_string());
        command.args([&self.broker.vhost, &self.name]);
        command.args(numbers.iter().map(ToString::to_string));
        command
    }

    fn spawn(&self, script: &str, mode: &str, numbers: &[u64]) -> Result<Child> {
        let mut command = self.command(script, mode, numbers);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unable(|| format!("run {}", self.python.display()))?;
        let mut stdin = child.stdin.take().ok_or_else(|| Trouble::new("no pipe"))?;
        stdin.write_all(PASSWORD.as_bytes()).unable(|| format!("tell {script} the password"))?;
        Ok(child)
    }

    /// Runs a mode of pika's script to its end; returns what it said.
    fn run(&self, script: &str, mode: &str, numbers: &[u64]) -> Result<String> {
        let child = self.spawn(script, mode, numbers)?;
        let output = child.wait_with_output().unable(|| format!("wait for {script}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Trouble::new(format!("{script} {mode}: {}", output.status)))
    }

    /// Puts items into it.
    pub(crate) fn fill(&self, count: u64) -> Result<()> {
        self.run(PIKA, "fill", &[count]).map(|_| ())
    }

    /// Publishes so many, a confirm for each; returns how many a second. The first tenth is none of
    /// it.
    pub(crate) fn publish(&self, count: u64) -> Result<f64> {
        rate(count, &mut self.run(PIKA, "publish", &[count])?.as_bytes())
    }

    /// Cancels an item; returns when that was, in microseconds since 1970.
    pub(crate) fn cancel(&self, number: u64) -> Result<i64> {
        let said = self.run(PIKA, "cancel", &[number])?;
        said.trim().parse().map_err(|_| Trouble::new(format!("it was cancelled at {said}")))
    }

    /// Asks so often; returns how long each answer took, in milliseconds.
    pub(crate) fn ask(&self, count: u64) -> Result<Vec<f64>> {
        let said = self.run(PIKA, "ask", &[count])?;
        let times: Vec<f64> = said.lines().filter_map(|line| line.parse().ok()).collect();
        if times.len() as u64 == count {
            return Ok(times);
        }
        Err(Trouble::new(format!("{} answers to {count} items", times.len())))
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Err(trouble) = self.run(PIKA, "clear", &[]) {
            eprintln!("bench: warning: {trouble}");
        }
    }
}

const PIKA: &str = "rabbit_bench.py";
const CELERY: &str = "celery_bench.py";

/// Who works beside exo.
#[derive(Clone, Copy)]
pub(crate) enum Rival {
    /// A loop that has so many messages on their way, and answers each.
    Pika { ahead: u64 },
    /// So many workers, with so many messages on their way for each.
    Celery { workers: u64, ahead: u64 },
}

/// A rival at work. Dropped, it is ended.
pub(crate) struct AtWork {
    queue: Queue,
    out: BufReader<ChildStdout>,
    // Last, so that what it has in hand is free when the queue is removed.
    _bed: Bed,
}

impl AtWork {
    /// Has a rival work on a queue with so many items.
    pub(crate) fn start(lab: &Lab, rival: Rival, count: u64) -> Result<Self> {
        let (bed, queue) = (Bed::new(lab)?, Queue::new(lab)?);
        let mut child = match rival {
            Rival::Pika { ahead } => {
                queue.fill(count)?;
                queue.spawn(PIKA, "work", &[count, ahead])?
            }
            Rival::Celery { workers, ahead } => {
                queue.run(CELERY, "fill", &[count])?;
                queue.spawn(CELERY, "work", &[count, workers, ahead])?
            }
        };
        let out = child.stdout.take().ok_or_else(|| Trouble::new("no pipe"))?;
        Ok(Self { queue, out: BufReader::new(out), _bed: bed })
    }

    /// Returns how many of so many items are done a second. The first tenth is none of it.
    pub(crate) fn rate(&mut self, count: u64) -> Result<f64> {
        rate(count, &mut self.out)
    }

    /// Returns its queue.
    pub(crate) const fn queue(&self) -> &Queue {
        &self.queue
    }
}

/// Returns the MiB that everything has which was started for this measurement.
pub(crate) fn memory() -> Result<f64> {
    let mut sum = 0;
    for process in processes::all()? {
        sum += process.memory()?.share;
    }
    Ok(sum as f64 / 1024.0)
}

fn rate(count: u64, out: &mut impl BufRead) -> Result<f64> {
    let mut second = || -> Result<f64> {
        // Celery says other things, too.
        loop {
            let mut line = String::new();
            if out.read_line(&mut line).unable(|| "hear of items".into())? == 0 {
                return Err(Trouble::new("it ended"));
            }
            if let Ok(second) = line.trim().parse() {
                return Ok(second);
            }
        }
    };
    let (begun, ended) = (second()?, second()?);
    Ok((count - count / 10) as f64 / (ended - begun))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_named_by_a_text_that_can_be_read() {
        let broker = Broker { port: 5672, vhost: "v/0".to_owned() };
        let read = Broker::read(&broker.text()).unwrap();
        assert_eq!((read.port, read.vhost), (5672, "v/0".to_owned()));
        assert!(Broker::read("5672").is_none() && Broker::read("x/v").is_none());
    }

    #[test]
    fn the_rate_is_that_of_all_but_the_first_tenth() {
        let found = rate(100, &mut "1.5\n hello\n3.5\n".as_bytes()).unwrap();
        assert!((found - 45.0).abs() < 1e-9, "{found}");
        assert!(rate(100, &mut "1.5\n".as_bytes()).is_err());
    }
}
