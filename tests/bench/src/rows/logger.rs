//! What loggers cost: how fast they take lines, what a line costs that comes alone, how soon it can
//! be read, and memory.

use super::{Figures, median, micros};
use crate::loggers::{self, Job};
use crate::peer::{Family, Peer};
use crate::processes;
use crate::stage::Lab;
use crate::trouble::{Result, Trouble, Unable};
use linux::time::monotonic;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// For how long lines are said at full speed, milliseconds. Whoever is faster gets more.
const MOMENT: u64 = 700;
/// Between two lines of a slow writer, microseconds.
const PAUSE: u64 = 50;
/// Lines for one median of the latency.
const TIMES: usize = 200;

/// The lengths of lines that are measured, with their newlines.
pub(super) const LENGTHS: [u64; 4] = [10, 80, 500, 5000];

/// Where a logger writes; removed when dropped.
struct Log(PathBuf);

impl Log {
    /// One on the run's tmpfs.
    fn in_memory(lab: &Lab) -> Self {
        Self(lab.root.join("log"))
    }

    /// One beside the programs that were built for the run: on a disk, as a rule.
    fn on_disk(lab: &Lab) -> Result<Self> {
        let folder = lab.built.join("disk");
        fs::create_dir_all(&folder).unable(|| format!("make {}", folder.display()))?;
        let log = Self(folder.join("log"));
        // An interrupted run leaves it.
        let _ = fs::remove_dir_all(&log.0);
        Ok(log)
    }

    /// Returns how many bytes the files hold.
    fn bytes(&self) -> u64 {
        let Ok(entries) = fs::read_dir(&self.0) else { return 0 };
        entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum()
    }

    fn current(&self) -> PathBuf {
        self.0.join("current")
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A logger that runs, with the writing end of its pipe.
struct Running {
    child: Child,
    end: ChildStdin,
}

fn start(peer: &Peer, log: &Log, job: Job) -> Result<Option<Running>> {
    let Some(mut command) = loggers::command(peer, &log.0, job)? else { return Ok(None) };
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    let mut child =
        command.spawn().unable(|| format!("run {}", command.get_program().display()))?;
    let end = child.stdin.take().ok_or_else(|| Trouble::new("a logger without a pipe"))?;
    Ok(Some(Running { child, end }))
}

/// One flood or trickle of lines.
struct Flow {
    bytes: f64,
    /// Nanoseconds from the first line to the logger's end.
    taken: f64,
    /// Nanoseconds of processor time.
    processor: f64,
}

/// Says lines of `length` bytes to a logger until it has written them all.
fn flow(
    lab: &Lab,
    peer: &Peer,
    (log, job): (&Log, Job),
    length: u64,
    pause: Option<u64>,
) -> Result<Option<Flow>> {
    let Some(mut logger) = start(peer, log, job)? else { return Ok(None) };
    wait_until_ready(peer, log)?;
    let mut lines = Command::new(lab.tiny("lines"));
    lines.args([length, MOMENT].map(|n| n.to_string()));
    lines.args(pause.map(|pause| pause.to_string()));
    lines.stdout(Stdio::from(logger.end)).stderr(Stdio::piped());
    let begun = monotonic();
    let said = lines.output().unable(|| "run lines".into())?;
    // The command keeps its end of the pipe otherwise, and the logger would never end.
    drop(lines);
    let before = processor_time()?;
    let status = logger.child.wait().unable(|| "wait for the logger".into())?;
    let taken = (monotonic() - begun) as f64;
    let processor = processor_time()? - before;
    let bytes: f64 = String::from_utf8_lossy(&said.stderr).trim().parse().unwrap_or(0.0);
    // Ten files of 16 MiB are kept; the oldest of them may be gone already.
    let least = bytes.min(140e6) as u64;
    let wrote = if job == Job::Select { log.bytes() > 0 } else { log.bytes() >= least };
    if !status.success() || !said.status.success() || !(wrote || peer.name == loggers::NOWHERE) {
        let text = format!("{status}, {bytes} bytes said, {} in the log", log.bytes());
        return Err(Trouble::new(text));
    }
    Ok(Some(Flow { bytes, taken, processor }))
}

/// Loading a program is no logging.
fn wait_until_ready(peer: &Peer, log: &Log) -> Result<()> {
    let end = monotonic() + 5_000_000_000;
    while peer.family != Family::Floor && !log.current().exists() {
        if monotonic() > end {
            return Err(Trouble::new("the logger does not begin"));
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    Ok(())
}

/// Returns the processor time of all children that have ended, nanoseconds.
fn processor_time() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unable(|| "ask for processor time".into())?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 * 1000.0)
}

/// Megabytes and lines per second, processor time per gigabyte.
fn speed(flow: Option<&Flow>, length: u64) -> [Option<f64>; 3] {
    let Some(flow) = flow else { return [None; 3] };
    let speed = flow.bytes / flow.taken * 1e3;
    [Some(speed), Some(speed / length as f64), Some(flow.processor / flow.bytes)]
}

fn speeds(lab: &Lab, peer: &Peer, job: Job, lengths: &[u64], disk: bool) -> Result<Figures> {
    let mut figures = Vec::new();
    for &length in lengths {
        let log = if disk { Log::on_disk(lab)? } else { Log::in_memory(lab) };
        figures.extend(speed(flow(lab, peer, (&log, job), length, None)?.as_ref(), length));
    }
    Ok(figures)
}

/// Lines as they are.
pub(super) fn plain(lab: &Lab, peer: &Peer) -> Result<Figures> {
    speeds(lab, peer, Job::Plain, &LENGTHS, false)
}

/// Lines with stamps.
pub(super) fn stamps(lab: &Lab, peer: &Peer) -> Result<Figures> {
    speeds(lab, peer, Job::Stamps, &LENGTHS, false)
}

/// Both on a disk.
pub(super) fn disk(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let mut figures = speeds(lab, peer, Job::Plain, &[80], true)?;
    figures.extend(speeds(lab, peer, Job::Stamps, &[80], true)?);
    Ok(figures)
}

/// A script of ten patterns.
pub(super) fn select(lab: &Lab, peer: &Peer) -> Result<Figures> {
    speeds(lab, peer, Job::Select, &[80], false)
}

/// What a line costs that comes alone; microseconds of processor time.
pub(super) fn single(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let mut figures = Vec::new();
    for job in [Job::Plain, Job::Stamps] {
        let log = Log::in_memory(lab);
        let flow = flow(lab, peer, (&log, job), 80, Some(PAUSE))?;
        figures.push(flow.map(|flow| flow.processor / 1e3 / (flow.bytes / 80.0)));
    }
    Ok(figures)
}

/// From a line's write to its being in the file; microseconds.
pub(super) fn latency(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let mut figures = Vec::new();
    for job in [Job::Plain, Job::Stamps] {
        let log = Log::in_memory(lab);
        figures.push(match start(peer, &log, job)? {
            Some(logger) if peer.name != loggers::NOWHERE => {
                wait_until_ready(peer, &log)?;
                Some(latency_of(logger, &log.current())?)
            }
            _ => None,
        });
    }
    Ok(figures)
}

fn latency_of(mut logger: Running, current: &Path) -> Result<f64> {
    let file = File::open(current).unable(|| format!("open {}", current.display()))?;
    let length = || file.metadata().map_or(0, |data| data.len());
    let line = [&[b'x'; 79][..], b"\n"].concat();
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        // It is asleep by then, as a logger mostly is.
        std::thread::sleep(Duration::from_millis(1));
        let (before, begun) = (length(), monotonic());
        logger.end.write_all(&line).unable(|| "write a line".into())?;
        while length() == before {
            if monotonic() - begun > 5_000_000_000 {
                return Err(Trouble::new("a line does not come"));
            }
        }
        taken.push(micros(begun, monotonic()));
    }
    drop(logger.end);
    logger.child.wait().unable(|| "wait for the logger".into())?;
    Ok(median(&taken).unwrap_or(f64::NAN))
}

/// Private memory under load, and idle afterwards; KiB.
pub(super) fn memory(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let mut figures = Vec::new();
    for job in [Job::Plain, Job::Stamps] {
        let (log, beside) = (Log::in_memory(lab), Log(lab.root.join("beside")));
        let is_limit = peer.family == Family::Floor;
        match (start(peer, &log, job)?, start(peer, &beside, job)?) {
            (Some(logger), Some(beside)) if !is_limit => {
                figures.extend(memory_of(lab, logger, beside)?.map(Some));
            }
            _ => figures.extend([None; 2]),
        }
    }
    Ok(figures)
}

/// `beside` is another one that has done the same: the pages of the program belong to both, as where
/// there are many services.
fn memory_of(lab: &Lab, mut logger: Running, mut beside: Running) -> Result<[f64; 2]> {
    say(lab, &beside, MOMENT / 7)?.wait().unable(|| "wait for lines".into())?;
    let mut writer = say(lab, &logger, MOMENT)?;
    let pid = logger.child.id() as i32;
    let private = || processes::memory(pid).map(|memory| memory.private as f64);
    let mut most = 0.0_f64;
    while writer.try_wait().unable(|| "wait for lines".into())?.is_none() {
        most = most.max(private()?);
        std::thread::sleep(Duration::from_millis(10));
    }
    // Longer than anything keeps what it may need again.
    std::thread::sleep(Duration::from_secs(2));
    let idle = private()?;
    drop((logger.end, beside.end));
    for child in [&mut logger.child, &mut beside.child] {
        child.wait().unable(|| "wait for the logger".into())?;
    }
    Ok([most, idle])
}

/// Starts to say lines to a logger for so many milliseconds; its pipe stays open afterwards.
fn say(lab: &Lab, logger: &Running, moment: u64) -> Result<Child> {
    let end = logger.end.as_fd().try_clone_to_owned().unable(|| "copy a pipe's end".into())?;
    let mut lines = Command::new(lab.tiny("lines"));
    lines.args([80, moment].map(|n| n.to_string()));
    lines.stdout(end).stderr(Stdio::null());
    lines.spawn().unable(|| "run lines".into())
}
