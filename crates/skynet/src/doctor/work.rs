//! Exos that run, and the drop folders.

use super::Ward;
use crate::finding::{Finding, counted};
use crate::life::care;
use exo::control::Request;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An exo answers within a second; one that is stopped never does.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest answer.
const LONGEST: u64 = 4 << 20;
/// exo takes what is in a drop folder at once.
const STUCK: Duration = Duration::from_secs(60);

pub(super) fn look(ward: &Ward<'_>, findings: &mut Vec<Finding>) {
    let mut takers = BTreeMap::new();
    for patient in ward.patients.iter().filter(|patient| patient.service.is_participant) {
        let name = &patient.service.name;
        let loaded = match patient.service.load() {
            Ok(loaded) => loaded,
            Err(failure) => {
                let lines = failure.lines.into_iter();
                let found = lines.map(|line| Finding::error(line).of(name));
                findings.extend(found.map(|found| found.mended_by(format!("skynet check {name}"))));
                continue;
            }
        };
        let is_up = patient.snapshot.kept && patient.snapshot.is_up();
        if let Some(socket) = care::socket_of(&loaded.settings).filter(|_| is_up) {
            let found = match ask(&socket) {
                Ok(status) => troubles(&status),
                Err(why) => vec![silent(&socket, &why)],
            };
            let mend = format!("skynet restart {name}");
            let found = found.into_iter();
            findings.extend(found.map(|found| found.of(name).mended_by(&mend)));
        }
        takers.insert(loaded.settings.queue, (name.clone(), is_up));
    }
    drop_folders(&ward.here.places().spool, &takers, findings);
}

fn ask(socket: &Path) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(&Request::Status.line())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

fn silent(socket: &Path, why: &std::io::Error) -> Finding {
    let what =
        format!("it runs and its exo cannot be asked: {}", exo::ask::unable("ask", socket, why));
    Finding::error(what).because("it can be neither drained nor told to cancel an item")
}

/// What exo itself finds wrong.
fn troubles(answer: &Value) -> Vec<Finding> {
    let status = &answer["status"];
    let mut found = Vec::new();
    if let Some(trouble) = status["trouble"].as_str() {
        let what = format!("exo is cut off from its queue: {trouble}");
        found.push(Finding::error(what).because("it takes no items until that is over"));
    }
    let instances = status["instances"].as_array().map(Vec::as_slice).unwrap_or_default();
    for instance in instances {
        let name = instance["name"].as_str().unwrap_or_default();
        let why = instance["start_failure"].as_str();
        let why = why.or_else(|| instance["next_start"].as_f64().map(|_| "its program ended"));
        if let Some(why) = why {
            found.push(Finding::error(format!("instance {name} does not start: {why}")));
        }
    }
    found
}

/// Files that nobody takes.
fn drop_folders(
    spool: &Path,
    takers: &BTreeMap<String, (String, bool)>,
    findings: &mut Vec<Finding>,
) {
    let Ok(read) = fs::read_dir(spool) else { return };
    for entry in read.filter_map(Result::ok) {
        let Ok(queue) = entry.file_name().into_string() else { continue };
        if queue.starts_with('.') || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let stuck = stuck(&entry.path());
        if stuck == 0 {
            continue;
        }
        let files = counted(&[(stuck, "file")]);
        let what = format!("holds {files} for more than a minute now");
        let (why, mend) = match takers.get(&queue) {
            Some((name, false)) => ("who takes them does not run", format!("skynet start {name}")),
            Some((name, true)) => {
                ("who takes them runs and does not", format!("skynet restart {name}"))
            }
            None => (
                "no participant takes from this queue",
                format!("ls -l {}", entry.path().display()),
            ),
        };
        findings.push(Finding::warning(what).at(&entry.path()).because(why).mended_by(mend));
    }
}

fn stuck(folder: &Path) -> usize {
    let is_old = |stat: Metadata| {
        stat.is_file() && stat.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > STUCK))
    };
    let Ok(read) = fs::read_dir(folder) else { return 0 };
    // A name with a dot is still being written.
    let entries = read.filter_map(Result::ok);
    let whole = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    whole.filter(|entry| entry.metadata().is_ok_and(is_old)).count()
}
