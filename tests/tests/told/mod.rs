//! An instance whose trouble is told, and whoever is told.

// Helpers of tests fail by panicking.
#![allow(clippy::panic, clippy::unwrap_used)]

use crate::site::{Kind, Place, Site};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use testkit::program;
use testkit::scratch::script;

/// A service that says something and ends as the file `code` says, or sleeps where it is empty.
const ENDS: &str = "#!/bin/sh\necho last words of $$\nexec 2>&1\n\
    while :; do\ncode=$(cat code)\n[ -z \"$code\" ] || exit \"$code\"\nsleep 0.02\ndone\n";

pub(crate) struct Stage {
    pub(crate) site: Site,
}

impl Stage {
    /// Boots an instance with these lines below `notice:`; `{told}` is a folder for what scripts
    /// write, `{file}` a file that takes notices.
    #[track_caller]
    pub(crate) fn new(kind: Kind, notice: &str, scripts: &[(&str, &str)]) -> Self {
        let stage = Self { site: Site::new(kind) };
        stage.configure(notice);
        stage.site.folder(&stage.told());
        fs::set_permissions(stage.told(), Permissions::from_mode(0o777)).unwrap();
        for (name, text) in scripts {
            let text = text.replace("{told}", &stage.folder());
            script(&stage.told().join(name), &text);
        }
        stage.site.own_all(&stage.site.at(Place::Run));
        stage.site.well(&["boot"]);
        stage
    }

    /// The folder for scripts and what they write, as the test reaches it.
    pub(crate) fn told(&self) -> PathBuf {
        self.site.at(Place::Run).join("told")
    }

    /// The same as the instance names it.
    pub(crate) fn folder(&self) -> String {
        self.site.inside(Place::Run).join("told").display().to_string()
    }

    pub(crate) fn configure(&self, notice: &str) {
        let config = self.site.at(Place::Config);
        self.site.folder(&config);
        let file = self.site.inside(Place::Logs).join("notices");
        let notice =
            notice.replace("{file}", &file.display().to_string()).replace("{told}", &self.folder());
        let lines = notice.lines().map(|line| format!("  {line}\n"));
        let path = config.join("skynet.yaml");
        fs::write(&path, format!("notice:\n{}", lines.collect::<String>())).unwrap();
        self.site.own_all(&config);
    }

    /// The notices that the file has.
    pub(crate) fn notices(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.site.at(Place::Logs).join("notices"));
        let text = text.unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits for a notice with this signature, and returns it.
    #[track_caller]
    pub(crate) fn notice(&self, signature: &str) -> Value {
        let mut found = None;
        self.site.until(|| {
            found = self.notices().into_iter().find(|one| one["signature"] == signature);
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.told().join(name)).unwrap_or_default()
    }

    /// A service that ends as it is told, with a logger, enabled and up.
    #[track_caller]
    pub(crate) fn ends(&self, name: &str) -> PathBuf {
        let dir = self.site.service(name, ENDS);
        let log = self.site.inside(Place::Logs).join(name);
        let own = self.site.at(Place::Logs).join(name);
        self.site.folder(&own);
        fs::set_permissions(&own, Permissions::from_mode(0o755)).unwrap();
        let multilog = program("multilog");
        let run = format!("#!/bin/sh\nexec {} t {}\n", multilog.display(), log.display());
        self.site.logger(name, &run);
        std::os::unix::fs::symlink(&log, dir.join("log/main")).unwrap();
        self.code(name, "");
        self.site.well(&["enable", "--now", name]);
        dir
    }

    /// From now on the service ends with this code; with none it sleeps.
    pub(crate) fn code(&self, name: &str, code: &str) {
        let path = self.site.dir(name).join("code");
        let new = path.with_extension("new");
        fs::write(&new, code).unwrap();
        self.site.own_all(&new);
        fs::rename(new, path).unwrap();
    }

    /// The processes of the notifier itself.
    pub(crate) fn notifiers(&self) -> Vec<i32> {
        let is_it = |pid: &i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.ends_with(b"notice\0watch\0")
        };
        self.site.pids("skynet").into_iter().filter(is_it).collect()
    }

    #[track_caller]
    pub(crate) fn kill_notifier(&self) {
        self.site.until(|| self.notifiers().len() == 1);
        let pid = self.notifiers()[0];
        linux::signal::kill(pid, 9).unwrap();
        self.site.until(|| !self.notifiers().contains(&pid));
    }

    /// What the notifier keeps.
    pub(crate) fn state(&self) -> String {
        let store = self.site.at(Place::Store);
        let folder = match self.site.kind {
            Kind::Private => store.join("notice"),
            Kind::System => store.with_file_name("skynet-notice"),
        };
        fs::read_to_string(folder.join("state")).unwrap_or_default()
    }

    pub(crate) fn list(&self) -> Vec<Value> {
        let out = self.site.well(&["notice", "list", "--json"]);
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// How often the service was started.
    pub(crate) fn lives(&self, name: &str) -> usize {
        let log = fs::read_to_string(self.site.at(Place::Logs).join(name).join("current"));
        log.unwrap_or_default().matches("last words").count()
    }
}

/// Takes requests: what each one asked for, and what it sent.
pub(crate) fn request(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let mut room = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| {
                    line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
                })
                .unwrap_or(0);
            if body.len() >= length {
                return (head.to_owned(), body.to_owned());
            }
        }
        let n = stream.read(&mut room).unwrap();
        assert!(n > 0, "{text}");
        bytes.extend_from_slice(&room[..n]);
    }
}

/// Where a process can be seen by everybody to know this.
pub(crate) fn shown(secret: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        for file in ["cmdline", "environ"] {
            let path = entry.path().join(file);
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(secret.len()).any(|part| part == secret.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
    found
}

pub(crate) fn holds(folder: &Path, secret: &str) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                return holds(&path, secret);
            }
            // FIFOs wait for somebody.
            let bytes =
                if path.is_file() { fs::read(path).unwrap_or_default() } else { Vec::new() };
            bytes.windows(secret.len()).any(|part| part == secret.as_bytes())
        })
    })
}

/// How often each signature was told.
pub(crate) fn tally(notices: &[Value]) -> BTreeMap<String, u64> {
    let mut tally = BTreeMap::new();
    for notice in notices {
        let signature = notice["signature"].as_str().unwrap().to_owned();
        *tally.entry(signature).or_default() += 1;
    }
    tally
}
