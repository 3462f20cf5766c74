//! Exos that run, and the drop folders.

use super::Ward;
use crate::finding::{Finding, counted};
use crate::life::care;
use exo::control::Request;
use exo::settings::Broker;
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
                Ok(status) => troubles(&status, &loaded.settings.broker),
                Err(why) => vec![silent(&socket, &why)],
            };
            let mend = format!("skynet restart {name}");
            let mended = |found: Finding| {
                if found.mend.is_empty() { found.mended_by(&mend) } else { found }
            };
            findings.extend(found.into_iter().map(|found| mended(found).of(name)));
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

/// How exo says that the broker has an alarm.
const ALARM: &str = "RabbitMQ takes no answers";

/// Returns what mends a connection to RabbitMQ: exo tries again by itself, so a restart does not.
fn mend_of(trouble: &str, broker: &Broker) -> String {
    if trouble.contains(ALARM) {
        return "room for RabbitMQ: rabbitmq-diagnostics alarms".to_owned();
    }
    if !trouble.contains("not connected to RabbitMQ") {
        return String::new();
    }
    if let Some((_, named)) = trouble.split_once("unable to use dead-letter-exchange ") {
        let name = named.split(':').next().unwrap_or_default();
        return format!("make the exchange {name} in RabbitMQ, with a queue bound to it");
    }
    let file = broker.password_file.as_deref().unwrap_or(Path::new("password-file")).display();
    let user = &broker.user;
    if trouble.contains("PRECONDITION_FAILED") {
        return "quorum, delivery-limit and dead-letter-exchange as the queue has them, or delete the \
                queue in RabbitMQ, with what is in it"
            .to_owned();
    }
    if trouble.contains("Login was refused") || trouble.contains("unable to read the password") {
        return format!("the password of {user} in {file}");
    }
    if trouble.contains("ACCESS_REFUSED") {
        return format!("rights for {user} in {}: rabbitmqctl set_permissions", broker.vhost);
    }
    format!("RabbitMQ at {}:{}, or broker in skynet.yaml", broker.host, broker.port())
}

/// What exo itself finds wrong.
fn troubles(answer: &Value, broker: &Broker) -> Vec<Finding> {
    let status = &answer["status"];
    let mut found = Vec::new();
    if let Some(trouble) = status["trouble"].as_str() {
        let (what, why) = if trouble.contains(ALARM) {
            (trouble.to_owned(), "its answers wait until that is over")
        } else {
            let what = format!("exo is cut off from its queue: {trouble}");
            (what, "it takes no items until that is over")
        };
        let one = Finding::error(what).because(why);
        found.push(one.mended_by(mend_of(trouble, broker)));
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
                ("who takes them runs and does not; its log says why", format!("skynet log {name}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_rabbitmq_refuses_is_mended_where_it_is_wrong_and_by_no_restart() {
        let broker = Broker {
            user: "boss".to_owned(),
            vhost: "/items".to_owned(),
            host: "rabbit".to_owned(),
            password_file: Some("/etc/skynet/boss.password".into()),
            ..Broker::default()
        };
        let mend = |trouble: &str| {
            let answer = json!({"status": {"trouble": trouble}});
            let [found] = &*troubles(&answer, &broker) else { return "not found".to_owned() };
            found.mend.clone()
        };
        let at = |why: &str| mend(&format!("not connected to RabbitMQ at rabbit:5672: {why}"));
        let password = "the password of boss in /etc/skynet/boss.password";
        assert_eq!(at("ACCESS_REFUSED - Login was refused using PLAIN"), password);
        assert_eq!(at("unable to read the password in /etc/skynet/boss.password: no"), password);
        let rights = "rights for boss in /items: rabbitmqctl set_permissions";
        assert_eq!(at("ACCESS_REFUSED - configure access to exchange 'x' refused"), rights);
        let queue = at("unable to declare the queue p: PRECONDITION_FAILED - inequivalent arg");
        assert!(queue.starts_with("quorum, delivery-limit and dead-letter-exchange"), "{queue}");
        let away = "RabbitMQ at rabbit:5672, or broker in skynet.yaml";
        assert_eq!(at("IO error: Connection refused"), away);
        let away = at("unable to use dead-letter-exchange dead: NOT_FOUND");
        assert_eq!(away, "make the exchange dead in RabbitMQ, with a queue bound to it");
        let alarm = mend("RabbitMQ takes no answers: low on disk");
        assert_eq!(alarm, "room for RabbitMQ: rabbitmq-diagnostics alarms");
        assert_eq!(mend("disk is full"), "", "what else is wrong is for the usual one");
    }
}
