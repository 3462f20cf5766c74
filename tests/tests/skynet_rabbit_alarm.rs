//! A RabbitMQ that takes nothing for a while, since it has an alarm: the stand-in engine, and what people
//! send.

#![allow(clippy::unwrap_used, clippy::panic)]

mod connected;
mod served;
mod site;

use connected::Vhost;
use served::{launch, path, process, serve};
use site::{Kind, Site};
use std::process::Stdio;
use std::time::{Duration, Instant};
use testkit::program;
use testkit::rabbit::Rabbit;

const ENGINE: &str = "ruote_workitems";
/// As long as a look at the queue and its answer may take together, and more.
const LONG: Duration = Duration::from_secs(24);
const SAYS: &str = "RabbitMQ takes nothing: low on disk";

/// A verb that waits.
struct Waiting(std::process::Child);

impl Waiting {
    fn begin(site: &Site, args: &[&str], said: &str) -> Self {
        let mut command = site.command(program("skynet"), args);
        let said = std::fs::File::create(site.desk().join(said)).unwrap();
        Self(command.stdout(Stdio::piped()).stderr(said).spawn().unwrap())
    }

    fn waits(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Waits for its good end; returns what it said on standard output.
    fn out(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

#[test]
fn an_alarm_of_the_broker_is_waited_for_and_what_was_sent_comes_once() {
    let vhost = Vhost::new();
    let site = vhost.machine(Kind::Private);
    vhost.client().declare("raw").unwrap();
    let file = process(&site, "p.yaml", "process: p\nsteps:\n- do: raw\n");
    // They wait until somebody reads them, which an alarm does not forbid.
    let mut all: Vec<String> = (0..3).map(|_| launch(&site, &file)).collect();
    assert_eq!(vhost.messages(ENGINE), Some((3, 0)));
    let alarm = Rabbit::shared().alarm();
    serve(&site);
    site.until(|| site.own_log().contains(SAYS));
    let mut launched = Waiting::begin(&site, &["launch", "--json", &file], "said");
    let said = || std::fs::read_to_string(site.desk().join("said")).unwrap();
    site.until(|| said().contains(SAYS));
    let since = Instant::now();
    site.until(|| since.elapsed() > LONG);
    assert!(launched.waits(), "{}", said());
    assert_eq!(vhost.messages("raw"), Some((0, 0)));
    drop(alarm);
    let object: serde_json::Value = serde_json::from_str(&launched.out()).unwrap();
    all.push(object["wfid"].as_str().unwrap().to_owned());
    assert_eq!(said().matches("RabbitMQ").count(), 1, "{}", said());
    site.until(|| vhost.messages(ENGINE) == Some((0, 0)));
    for wfid in &all {
        site.until(|| path(&site, wfid).len() == 1);
    }
    let log = || site.own_log();
    site.until(|| log().contains("RabbitMQ takes messages again"));
    site.until(|| vhost.messages("raw") == Some((all.len(), 0)));
    assert!(!log().contains("not connected"), "{}", log());
    assert_eq!(log().matches(SAYS).count(), 1, "{}", log());
    let mut raw = vhost.client();
    raw.consume("raw").unwrap();
    while !all.is_empty() {
        let item = raw.next(Duration::from_secs(site::SOON)).unwrap().unwrap();
        let text = String::from_utf8(item.body.clone()).unwrap();
        let which = all.iter().position(|wfid| text.contains(wfid.as_str()));
        all.remove(which.unwrap_or_else(|| panic!("twice: {text}")));
        raw.acknowledge(&item).unwrap();
    }
}
