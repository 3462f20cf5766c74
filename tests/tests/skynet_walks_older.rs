//! What the pages about RabbitMQ and about participants of older systems type, typed.

#![allow(clippy::unwrap_used, clippy::panic)]

mod connected;
mod pages;
mod served;
mod site;

use connected::Vhost;
use pages::{doc, shows, typed_in};
use served::{launch, process, serve, state};
use site::{Kind, Place, Site};
use std::fs;

/// A participant as they were written for `SkyNET`.
const HANDLER: &str = r"class ParticipantHandler(object):
    def handle_wi_control(self, ctrl):
        pass

    def handle_lifecycle_control(self, ctrl):
        pass

    def handle_wi(self, wi):
        wi.fields.size = 12
        wi.result = True
";

/// Waits to be cancelled where the item says so.
const WORK: &str = r#"#!/bin/sh
item=$(cat)
echo packing
case $item in
*'"do":"wait"'*) trap 'exit 17' TERM; while :; do sleep 0.05; done ;;
esac
printf '%s' "$item" >&3
"#;

const NIGHTLY: &str = "Ruote.process_definition :name => 'nightly' do\n  sequence do\n    \
    packed_all\n  end\nend\n";

/// Puts the page's configuration of the broker in the place of a machine's, with what is the machine's own.
fn configure_as(site: &Site, page: &str) {
    let file = site.at(Place::Config).join("skynet.yaml");
    let own = fs::read_to_string(&file).unwrap();
    let key = |line: &str| line.split_once(": ").map(|(key, _)| key.to_owned());
    let block = page.lines().skip_while(|line| *line != "    broker:");
    let block = block.take_while(|line| !line.is_empty()).map(|line| &line[4..]);
    // The tests' broker is on this machine, and not encrypted.
    let block = block.filter(|line| *line != "  tls: true");
    let ours = |line: &str| own.lines().find(|own| key(line).is_some() && key(own) == key(line));
    let mut text: Vec<&str> = block.map(|line| ours(line).unwrap_or(line)).collect();
    text.extend(own.lines().find(|line| line.starts_with("  port: ")));
    assert_eq!(text.len(), own.lines().count(), "{text:?}");
    fs::write(&file, text.join("\n") + "\n").unwrap();
    site.own_all(&file);
}

#[test]
fn the_page_about_rabbitmq_sets_up_a_machine_that_works_for_an_engine() {
    const PAGE: &str = "rabbitmq.md";
    Site::each(|kind| {
        let vhost = Vhost::new();
        let site = vhost.machine(kind);
        let page = fs::read_to_string(doc(PAGE)).unwrap();
        configure_as(&site, &page);
        site.on_desk(".", &[("sizer.py", HANDLER), ("nightly.pdef", NIGHTLY)]);
        site.on_desk("packer", &[("exo.yaml", "command: ./work\n"), ("work", WORK)]);
        let is_engine_s = |line: &String| line.starts_with("skynet: warning: ");
        let is_working =
            || site.well(&["status", "packer", "--json"]).contains("\"state\":\"working\"");
        let (mut wfid, mut warnings) = (String::new(), Vec::new());
        for (command, shown) in typed_in(&page[page.find("    $ ").unwrap()..]) {
            let (of_engine, shown) = shown.into_iter().partition(is_engine_s);
            warnings.extend::<Vec<String>>(of_engine);
            if command.contains("history monday") {
                site.until(|| site.skynet(&["history", "monday"]).out().contains(", 1 done;"));
            } else if command.contains("cancel monday") {
                site.well(&["submit", "packer", "--wfid", "monday", "--field", "do=wait"]);
                site.until(is_working);
            }
            let said = shows(&site, PAGE, &command, &shown);
            if command.contains("launch ") {
                said.split(':').next().unwrap().clone_into(&mut wfid);
            }
        }
        site.until(|| !is_working());
        // What was registered and launched waits for an engine.
        serve(&site);
        site.until(|| state(&site, &wfid) == "done");
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        let (_, advice) = warnings[0].split_once("there is no queue packer").unwrap();
        launch(&site, &process(&site, "p.yaml", "process: p\nsteps: [do: missing]\n"));
        let told = format!("there is no queue missing{advice}");
        site.until(|| site.own_log().contains(&told));
    });
}

/// Adds the account that the page has a participant run as.
fn add_img(site: &Site) {
    let etc = site.at(Place::Config).with_file_name("");
    for (file, line) in
        [("passwd", "img:x:64974:64974::/tmp:/bin/sh\n"), ("group", "img:x:64974:\n")]
    {
        let text = fs::read_to_string(etc.join(file)).unwrap();
        fs::write(etc.join(file), text + line).unwrap();
    }
}

#[test]
fn the_page_about_older_participants_installs_and_tries_one() {
    const PAGE: &str = "older-participants.md";
    Site::each(|kind| {
        let site = Site::booted(kind);
        if kind == Kind::System {
            add_img(&site);
        }
        site.on_desk(".", &[("sizer.py", HANDLER)]);
        site.on_desk("sizer", &[("sizer.py", HANDLER), ("helper.py", "SIZE = 12\n")]);
        let package = site.inside(Place::Participants).join("sizer");
        let python = format!("PYTHONPATH={} python3 -B -m SkyNET", package.display());
        let desk = site.desk().display().to_string();
        let mut answers = 0;
        let page = fs::read_to_string(doc(PAGE)).unwrap();
        // What follows is a handler's code.
        let (page, _) = page.split_once("## Items that a handler keeps").unwrap();
        for (command, shown) in typed_in(page) {
            let command = command.replace("/usr/share/boss", &desk);
            let said = shows(&site, PAGE, &command.replace("python3 -m SkyNET", &python), &shown);
            answers += said.matches("\"size\":12").count();
        }
        assert_eq!(answers, 2, "by hand, and by manual");
        let up = site.well(&["status", "sizer", "resizer"]);
        assert!(up.contains("resizer_3"), "{up}");
        let config = fs::read_to_string(site.dir("resizer").join("exo.yaml")).unwrap();
        for line in ["queue: \"sizes\"", "instances: 4", "regexp: \"size_.*\"", "user: \"img\""] {
            assert!(config.contains(line), "{line}\n{config}");
        }
    });
}
