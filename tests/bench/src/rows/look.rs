//! Looking at what services said.

use super::{Figures, median, millis};
use crate::peer::Peer;
use crate::readers::{GREP, SKYNET, SVLOG};
use crate::stage::Lab;
use crate::trouble::{Result, Trouble, Unable};
use linux::time::monotonic;
use ondisk::tai64n::Stamp;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes of a file before it is rotated.
const FILE: usize = 16 << 20;
/// Moment of the first line.
const MOMENT: i64 = 1_795_474_469;
/// Lines in a second.
const EACH_SECOND: u64 = 1000;
/// Every so many lines one is of the process that is looked for.
const RARE: u64 = 20_000;
/// Its name.
const WFID: &str = "20261123-needle";
/// How often a first line is waited for.
const TIMES: usize = 20;

/// A log, and who has it.
struct Logs {
    home: PathBuf,
    dir: PathBuf,
    bytes: u64,
    /// The moment of a line near the end.
    late: String,
}

/// Lines of one process, lines with a word, all lines: so many MB in a second; then how long the
/// first line takes: of all, of the last ten, of the last seconds.
pub(super) fn readlog(lab: &Lab, peer: &Peer) -> Result<Figures> {
    let logs = logs(lab)?;
    let speed = |words: Option<Vec<&str>>| -> Result<Option<f64>> {
        let Some(mut command) = words.and_then(|words| command(peer, &logs, &words)) else {
            return Ok(None);
        };
        let (begun, output) = (monotonic(), command.stdout(Stdio::piped()).output());
        let taken = millis(begun, monotonic());
        let output = output.unable(|| format!("run {}", peer.name))?;
        if !output.status.success() || output.stdout.is_empty() {
            return Err(Trouble::new(format!("{}: {}", peer.name, output.status)));
        }
        Ok(Some(logs.bytes as f64 / 1e3 / taken))
    };
    let needle = format!(" {WFID}/");
    let (wfid, word) = match peer.name {
        SKYNET => (Some(vec!["log", "--wfid", WFID]), Some(vec!["log", "--grep", "needle found"])),
        GREP => (Some(vec!["-hF", &needle]), Some(vec!["-hF", "needle found"])),
        _ => (None, None),
    };
    let late = logs.late.as_str();
    let whole = whole(peer, &logs)?;
    Ok(vec![
        speed(wfid)?,
        speed(word)?,
        whole,
        first(peer, &logs, &[])?,
        first(peer, &logs, &["-n", "10"])?,
        first(peer, &logs, &["--since", late])?,
    ])
}

/// Reads everything, and shows times as people read them.
fn whole(peer: &Peer, logs: &Logs) -> Result<Option<f64>> {
    let Some(mut command) = reader(peer, logs, &[]) else { return Ok(None) };
    let (begun, status) = (monotonic(), command.stdout(Stdio::null()).status());
    let taken = millis(begun, monotonic());
    let status = status.unable(|| format!("run {}", peer.name))?;
    if !status.success() {
        return Err(Trouble::new(format!("{}: {status}", peer.name)));
    }
    Ok(Some(logs.bytes as f64 / 1e3 / taken))
}

/// Waits for the first line; milliseconds.
fn first(peer: &Peer, logs: &Logs, words: &[&str]) -> Result<Option<f64>> {
    let mut taken = Vec::new();
    for _ in 0..TIMES {
        let Some(mut command) = reader(peer, logs, words) else { return Ok(None) };
        let begun = monotonic();
        let child = command.stdout(Stdio::piped()).spawn();
        let mut child = child.unable(|| format!("run {}", peer.name))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).unable(|| "read a line".into())?;
        }
        taken.push(millis(begun, monotonic()));
        let _ = child.kill();
        child.wait().unable(|| format!("wait for {}", peer.name))?;
        if line.is_empty() {
            return Err(Trouble::new(format!("{} says nothing", peer.name)));
        }
    }
    Ok(median(&taken))
}

/// Returns what shows lines, for those that do.
fn reader(peer: &Peer, logs: &Logs, words: &[&str]) -> Option<Command> {
    match peer.name {
        SKYNET => command(peer, logs, &[&["log"], words].concat()),
        SVLOG => {
            let mut command = command(peer, logs, words)?;
            command.arg(&logs.dir);
            Some(command)
        }
        _ => None,
    }
}

fn command(peer: &Peer, logs: &Logs, words: &[&str]) -> Option<Command> {
    let mut command = peer.command(peer.name)?;
    command.args(words).env("HOME", &logs.home);
    command.env("XDG_RUNTIME_DIR", logs.home.join("run"));
    if peer.name == GREP {
        let files = fs::read_dir(&logs.dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<_> = files.collect();
        files.sort();
        command.args(files);
    }
    Some(command)
}

/// Writes the log of a participant, once in a run: a MiB for each of the services that are many.
fn logs(lab: &Lab) -> Result<Logs> {
    let home = lab.root.join("look");
    let dir = home.join(".local/state/skynet/log/sizer");
    let bytes = (lab.services as u64) << 20;
    let lines = bytes / line(0).len() as u64;
    let late = label(lines - lines.min(EACH_SECOND));
    let logs = Logs { home, dir, bytes, late };
    if !logs.dir.exists() {
        write(&logs, lines).unable(|| format!("write {}", logs.dir.display()))?;
    }
    Ok(logs)
}

fn write(logs: &Logs, lines: u64) -> std::io::Result<()> {
    let service = logs.home.join(".local/share/skynet/participants/sizer");
    fs::create_dir_all(service.join("log"))?;
    fs::write(service.join("exo.yaml"), "command: ./work\n")?;
    fs::create_dir_all(&logs.dir)?;
    let current = logs.dir.join("current");
    let mut file = BufWriter::new(File::create(&current)?);
    let mut len = 0;
    for n in 0..lines {
        let line = line(n);
        file.write_all(line.as_bytes())?;
        len += line.len();
        if len >= FILE {
            file.flush()?;
            close(&current, &logs.dir.join(format!("{}.s", label(n))))?;
            file = BufWriter::new(File::create(&current)?);
            len = 0;
        }
    }
    file.flush()
}

/// Rotates as multilog does.
fn close(current: &Path, rotated: &Path) -> std::io::Result<()> {
    fs::set_permissions(current, Permissions::from_mode(0o744))?;
    fs::rename(current, rotated)
}

fn label(n: u64) -> String {
    let nanos = n % EACH_SECOND * (1_000_000_000 / EACH_SECOND);
    let stamp = Stamp::from_unix(MOMENT + (n / EACH_SECOND) as i64, nanos as u32);
    String::from_utf8_lossy(&stamp.to_label()).into_owned()
}

/// Returns a line of a log; all of about the same length.
fn line(n: u64) -> String {
    let stamp = label(n);
    if n.is_multiple_of(RARE) {
        return format!("{stamp} sizer_{} {WFID}/1: needle found after {n:012} tries\n", n % 4);
    }
    let process = n / 20 % 100_000;
    format!("{stamp} sizer_{} 20261123-{process:06}/1: {n:012} bytes needed for this\n", n % 4)
}
