//! A scratch instance of exo whose queue is one of RabbitMQ.

// Each file of tests uses a part of it; helpers of tests fail by panicking.
#![allow(dead_code, clippy::unwrap_used)]

use crate::host::Site;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::time::Duration;
use testkit::rabbit::{PASSWORD, Rabbit, USER};
use work::amqp::{Client, Message, Server};

/// Answers with what it got; waits for the file `go`, or answers with 30,000 bytes more, where the item
/// says so.
pub(crate) const WORK: &str = r#"#!/bin/sh
item=$(cat)
case $item in
*'"do":"wait"'*) trap 'exit 17' TERM; echo begun; until [ -e go ]; do sleep 0.02; done ;;
*'"do":"grow"'*) item=$(echo "$item" | sed "s/.do.:.grow./&,\"pad\":\"$(printf '%030000d' 0)\"/") ;;
esac
printf '%s' "$item" >&3
"#;

pub(crate) struct Remote {
    pub(crate) site: Site,
    pub(crate) server: Server,
}

impl Remote {
    pub(crate) fn new(more: &str) -> Self {
        Self::of(Rabbit::shared().vhost(), "", more)
    }

    /// It answers requests by AIR.
    pub(crate) fn with_air(more: &str) -> Self {
        Self::of(Rabbit::shared().vhost(), "  air: true\n", more)
    }

    /// Its connection is set up by these lines, which come after the usual ones.
    pub(crate) fn by(lines: &str) -> Self {
        Self::of(Rabbit::shared().vhost(), lines, "")
    }

    /// Another machine with the same queue.
    pub(crate) fn beside(&self) -> Self {
        Self::of(self.server.vhost.clone(), "", "")
    }

    fn of(vhost: String, more_of_broker: &str, more: &str) -> Self {
        let rabbit = Rabbit::shared();
        let site = Site::per_item(WORK, more);
        let password_file = site.join("password");
        fs::write(&password_file, PASSWORD).unwrap();
        fs::set_permissions(&password_file, fs::Permissions::from_mode(0o600)).unwrap();
        // exo's worker is `daemon`, and nobody else may read it but root.
        chown(&password_file, Some(1), Some(1)).unwrap();
        let at = format!("  host: 127.0.0.1\n  port: {}\n", rabbit.port());
        let at = if more_of_broker.contains("port:") { "" } else { &at };
        let broker = format!(
            "broker:\n  kind: rabbitmq\n{at}  vhost: {vhost}\n  user: {USER}\n  \
             password-file: {}\n",
            password_file.display(),
        );
        let yaml = site.join("etc/skynet.yaml");
        let whole = fs::read_to_string(&yaml).unwrap();
        fs::write(&yaml, format!("{broker}{more_of_broker}{whole}")).unwrap();
        let server = Server {
            host: "127.0.0.1".to_owned(),
            port: rabbit.port(),
            vhost,
            user: USER.to_owned(),
            password_file,
            tls: false,
            ca: None,
        };
        let remote = Self { site, server };
        remote.client().declare("p").unwrap();
        remote
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.server, "test").unwrap()
    }

    pub(crate) fn messages(&self, queue: &str) -> Option<(usize, usize)> {
        Rabbit::shared().messages(&self.server.vhost, queue)
    }

    /// Waits until `count` items were answered and nothing is left; returns the answers by process,
    /// and which of them came more than once.
    #[track_caller]
    pub(crate) fn answers(&self, count: usize) -> BTreeMap<String, Vec<Vec<u8>>> {
        let bodies = |all: Vec<Message>| all.into_iter().map(|message| message.body).collect();
        self.whole_answers(count).into_iter().map(|(wfid, all)| (wfid, bodies(all))).collect()
    }

    /// Waits until these items are answered: each once, and done once.
    #[track_caller]
    pub(crate) fn are_answered_once_and_done_once(&self, wfids: &[&str]) {
        let answers = self.answers(wfids.len());
        for wfid in wfids {
            assert_eq!(answers[*wfid].len(), 1, "{wfid}");
            assert_eq!(self.site.stopped(wfid).1.len(), 1, "{wfid} was worked on again");
        }
    }

    /// Returns the same with all that stands around them.
    #[track_caller]
    pub(crate) fn whole_answers(&self, count: usize) -> BTreeMap<String, Vec<Message>> {
        let mut client = self.client();
        client.declare("ruote_workitems").unwrap();
        client.consume("ruote_workitems").unwrap();
        let mut all: BTreeMap<String, Vec<Message>> = BTreeMap::new();
        self.site.until(|| {
            while let Some(message) = client.next(Duration::from_millis(50)).unwrap() {
                client.acknowledge(&message).unwrap();
                let answer: Value = serde_json::from_slice(&message.body).unwrap();
                let wfid = answer["fei"]["wfid"].as_str().unwrap().to_owned();
                all.entry(wfid).or_default().push(message);
            }
            all.len() >= count && self.messages("p") == Some((0, 0))
        });
        all
    }

    /// Returns the processes whose items are done, and whose answers are not known to have arrived.
    /// For when no exo runs: what is read then is what the next one knows.
    #[track_caller]
    pub(crate) fn unsure(&self) -> Vec<String> {
        let sql = "import sqlite3, sys; print(*(row[0] for row in sqlite3.connect(sys.argv[1], uri=True)\
                   .execute(\"SELECT wfid FROM job WHERE state = 'stop' AND answered = 0\")))";
        let file = format!("file:{}?mode=ro", self.site.join("store/work.db").display());
        let said = Command::new("python3").args(["-c", sql, &file]).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    #[track_caller]
    pub(crate) fn begun(&self) {
        self.site.until(|| self.site.log().contains("begun"));
    }

    pub(crate) fn go(&self) {
        fs::write(self.site.join("p/go"), "").unwrap();
    }
}

/// Returns what exo says is in its way.
pub(crate) fn trouble(site: &Site) -> Value {
    site.status().map_or(Value::Null, |status| status["trouble"].clone())
}
