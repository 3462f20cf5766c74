//! What is secret stays secret when participants and services of older systems are installed: on a
//! user's instance and on the system's.

#![allow(clippy::unwrap_used, clippy::panic)]

mod site;

use serde_json::{Value, json};
use site::{Kind, Place, Site};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use testkit::run_within;

/// Stands in all that nobody may find anywhere.
const SECRET: &str = "hush";

/// A handler that answers with what it is configured with.
const HANDLER: &str = "\
class ParticipantHandler(object):
    def handle_lifecycle_control(self, ctrl):
        if ctrl.message == 'start':
            self.config = ctrl.config

    def handle_wi(self, wid):
        wid.fields.phrase = self.config.get('own', 'phrase')
        wid.fields.key = self.config.get('own', 'api_key', fallback=None)
        wid.fields.pwd = self.config.get('boss', 'amqp_pwd')
";

const PARTICIPANT: &str = "\
[program:linked]
command = python -m SkyNET.exo
environment = URL=\"https://u:hush@h/\",API_TOKEN=hush,MODE=fast

[participant]
name = linked
code = linked.py

[own]
phrase = open
broker = amqp://user:hush@host/v
dsn = host=h
    password=hush
key_file = /etc/passwd
";

const PROGRAMS: &str = "\
[program:quiet]
command = sleep 1000
environment = URL=\"amqp://u:hush@h/\",DB_PASSWORD=hush,LANG=C

[program:loud]
command = sleep --password hush --token=hush -p hush -p 80 amqp://u:hush@h --key-file /x 1000
";

/// Returns the path of each regular file below a folder that has the secret.
fn leaks(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let kind = path.symlink_metadata().unwrap().file_type();
        if kind.is_dir() {
            found.extend(leaks(&path));
        } else if kind.is_file()
            && String::from_utf8_lossy(&fs::read(&path).unwrap()).contains(SECRET)
        {
            found.push(path.display().to_string());
        }
    }
    found
}

/// Returns mode, owner and group of an installed file, as the instance sees them.
fn access(site: &Site, below: &str) -> String {
    let path = site.inside(Place::Participants).join(below);
    let args = ["-c", "%a %U:%G", path.to_str().unwrap()];
    let said = run_within(site::SOON, &mut site.command("stat", &args));
    said.out().trim().to_owned()
}

/// Does an item; returns the fields of the answer.
#[track_caller]
fn work(site: &Site, name: &str) -> Value {
    let said = site.skynet(&["submit", name, r#"{"fields":{}}"#, "--wait", "--json"]);
    let out = said.out();
    let line = out.lines().next_back().unwrap_or_else(|| panic!("{said:?}"));
    let done: Value = serde_json::from_str(line).unwrap();
    done["answer"]["fields"].clone()
}

/// Puts a file on the desk that others may not read; returns its path.
fn shut(site: &Site, name: &str, text: &str, mode: u32) -> String {
    let path = site.on_desk("shut", &[(name, text)]).join(name);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn what_is_secret_in_older_configuration_is_carried_nowhere_and_its_place_is_told() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let files =
            [("linked.conf", PARTICIPANT), ("linked.py", HANDLER), ("programs.conf", PROGRAMS)];
        let dir = site.on_desk("old", &files);
        let said = site.well(&["import", dir.to_str().unwrap()]);
        let (value, variable) = match kind {
            Kind::System => {
                ("/etc/skynet/linked.conf, for its", "put it into /etc/skynet/linked.env")
            }
            Kind::Private => ("linked.conf beside the code, for you", "have the code read it from"),
        };
        for note in [
            &*format!(
                "linked.conf:3: [program:linked] environment, URL, was not carried over: {variable}"
            ),
            "linked.conf:3: [program:linked] environment, API_TOKEN, was not carried over: ",
            &format!("linked.conf:11: [own] broker was not carried over: put it into {value}"),
            "linked.conf:12: [own] dsn was not carried over: ",
            "programs.conf:3: [program:quiet] environment, URL, was not carried over: have the program",
            "programs.conf:3: [program:quiet] environment, DB_PASSWORD, was not carried over: ",
            "programs.conf:6: [program:loud] command, --password, --token, -p, word 9, was not carried over",
        ] {
            assert!(said.contains(note), "{note}\n{said}");
        }
        assert!(!said.contains(SECRET), "{said}");
        assert_eq!(leaks(&site.at(Place::Participants)), [""; 0]);
        // What is no secret is there.
        let text = fs::read_to_string(site.dir("linked/exo.yaml")).unwrap();
        assert!(text.contains("\"MODE\": \"fast\""), "{text}");
        // Where a secret stood, one may be put back.
        let text = fs::read_to_string(site.dir("linked/linked.conf")).unwrap();
        assert!(text.contains("/etc/passwd"), "{text}");
        let wanted = if kind == Kind::System { "640 root:nogroup" } else { "600 nobody:nogroup" };
        assert_eq!(access(&site, "linked/linked.conf"), wanted);
        let run = fs::read_to_string(site.dir("quiet/run")).unwrap();
        assert!(run.contains("export LANG=C\n"), "{run}");
        let run = fs::read_to_string(site.dir("loud/run")).unwrap();
        let line = "exec sleep --password '(hidden)' '--token=(hidden)' -p '(hidden)' -p 80 \
            'amqp://u:(hidden)@h' --key-file /x 1000\n";
        assert!(run.ends_with(line), "{run}");
        // It does not run with something else in the place of its password.
        site.skynet(&["start", "loud"]);
        let log = site.at(Place::Logs).join("loud/current");
        let told = "loud: a secret of its command was not carried over; edit run\n";
        site.until(|| fs::read_to_string(&log).is_ok_and(|log| log.contains(told)));
        assert_eq!(site.skynet(&["check", "loud"]).code, Some(0));
        site.well(&["stop", "loud"]);
    });
}

#[test]
fn what_others_may_not_read_they_may_not_read_when_it_is_imported() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let code = shut(&site, "b.py", HANDLER, 0o600);
        let text = format!("[participant]\nname=b\ncode={code}\n[own]\nphrase=hush\n");
        let conf = shut(&site, "b.conf", &text, 0o640);
        let text = "[program:c]\ncommand=sleep 1000\nenvironment=PHRASE=hush\n";
        let programs = shut(&site, "c.conf", text, 0o600);
        let said = site.well(&["import", &conf, &programs]);
        let who = if kind == Kind::System { "root and group skynet" } else { "you" };
        let note = format!(":1: others may not read this file: what came of it is for {who} alone");
        assert_eq!(said.matches(&note).count(), 2, "{said}");
        let is = |below: &str, on_system: &str, own: &str| {
            let wanted = if kind == Kind::System { on_system } else { own };
            assert_eq!(access(&site, below), wanted, "{below}");
        };
        is("b/exo.yaml", "640 root:skynet", "600 nobody:nogroup");
        is("b/b.py", "640 root:nogroup", "600 nobody:nogroup");
        is("b/b.conf", "640 root:nogroup", "600 nobody:nogroup");
        is("c/run", "750 root:skynet", "700 nobody:nogroup");
        is("c/log/run", "755 root:root", "755 nobody:nogroup");
        site.well(&["enable", "--now", "b", "c"]);
        assert_eq!(work(&site, "b")["phrase"], json!("hush"));
    });
}

#[test]
fn what_others_may_not_read_they_may_not_read_when_a_handler_is_installed() {
    Site::each(|kind| {
        let site = Site::booted(kind);
        let code = shut(&site, "h.py", HANDLER, 0o600);
        let conf = shut(&site, "own.conf", "[own]\nphrase=hush\n", 0o640);
        site.well(&["install", &code, "-c", &conf, "--enable", "--now"]);
        let wanted = if kind == Kind::System { "640 root:nogroup" } else { "600 nobody:nogroup" };
        assert_eq!(access(&site, "h/h.py"), wanted);
        assert_eq!(access(&site, "h/h.conf"), wanted);
        assert_eq!(work(&site, "h")["phrase"], json!("hush"));

        // Everybody reads this one, but may not for ever. Its keys are indented as one likes.
        let text = "[boss]\n  amqp_host=h\n  amqp_pwd = hush\n    hush\n\n    hush\n\
            [own]\nphrase=p\n  ; c\napi_key=k\n";
        let dir = site.on_desk("open", &[("own.conf", text), ("o.py", HANDLER)]);
        let [conf, code] =
            ["own.conf", "o.py"].map(|name| dir.join(name).to_str().unwrap().to_owned());
        let said = site.ends(0, &["install", &code, "-c", &conf, "--enable", "--now"]);
        let note = format!("{conf}:3: [boss] amqp_pwd was not copied: exo speaks to the broker");
        assert!(said.contains(&note) && !said.contains(SECRET), "{said}");
        assert_eq!(access(&site, "o/o.conf"), wanted);
        let copied = fs::read_to_string(site.dir("o/o.conf")).unwrap();
        assert_eq!(copied, "[boss]\n  amqp_host=h\n[own]\nphrase=p\n  ; c\napi_key=k\n");
        let fields = work(&site, "o");
        assert_eq!((&fields["key"], &fields["pwd"]), (&json!("k"), &json!("boss")), "{fields}");

        // Where nothing is secret, everybody reads on.
        fs::write(&conf, "[own]\nphrase=p\n").unwrap();
        site.well(&["install", &code, "-c", &conf]);
        for file in ["o/o.py", "o/o.conf", "o/exo.yaml"] {
            assert!(access(&site, file).starts_with("644 "), "{file}");
        }
    });
}
