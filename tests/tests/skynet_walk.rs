//! The walk of packaging/doc/first-participant.md, from `skynet new` to `skynet uninstall`.

#![allow(clippy::unwrap_used)]

mod site;

use site::{Place, Site};
use std::fs;
use std::path::Path;
use testkit::page::{self, block};
use testkit::{Output, run_within};

/// Types a line in, in a folder.
fn type_in(site: &Site, dir: &Path, line: &str) -> Output {
    let script = "cd \"$1\" && eval \"$2\"";
    let args = ["-c", script, "sh", dir.to_str().unwrap(), line];
    run_within(site::SOON, &mut site.command("sh", &args))
}

#[test]
fn the_walk_leads_from_a_new_participant_to_a_service_and_back() {
    let page = page::text("packaging/doc/first-participant.md");
    Site::each(|kind| {
        let site = Site::new(kind);
        let desk = site.desk();
        let dir = desk.join("wordcount");
        let first = block(&page, "skynet new wordcount --language python");
        let well = |dir: &Path, first: &str| {
            let line = block(&page, first);
            let said = type_in(&site, dir, line.trim_end());
            assert_eq!(said.code, Some(0), "{line}: {said:?}");
            said
        };
        assert!(first.contains("cd wordcount"));
        well(&desk, "skynet new wordcount --language python");

        let code = block(&page, "#!/usr/bin/env python3");
        fs::write(dir.join("work.py"), &code).unwrap();
        fs::write(dir.join("exo.yaml"), block(&page, "command: ./work.py")).unwrap();
        let words = fs::read_to_string("/etc/group").unwrap().split_whitespace().count();
        let answer = format!("{{\"fields\":{{\"file\":\"/etc/group\",\"words\":{words}}}}}\n");
        let said = well(&dir, r#"echo '{"fields":{"file":"/etc/group"}}' | ./work.py"#);
        let manual = well(&dir, r#"skynet manual . -i '{"fields":{"file":"/etc/group"}}'"#);
        if kind == site::Kind::Private {
            // A system's own /etc has more groups in it.
            assert_eq!((said.out(), manual.out()), (answer.clone(), answer));
        }
        assert!(manual.out().contains("\"words\":"), "{manual:?}");

        let (head, rest) = code.split_once("    with open").unwrap();
        let (_, tail) = rest.split_once("\n\n").unwrap();
        let code = format!("{head}{}\n{tail}", block(&page, "    try:"));
        fs::write(dir.join("work.py"), code).unwrap();
        let (_, behind) = page.split_once("\n## 5. ").unwrap();
        fs::write(dir.join("test"), block(behind, "#!/usr/bin/env python3")).unwrap();
        let said = well(&dir, "./test");
        assert!(said.err().contains("Ran 2 tests"), "{said:?}");

        well(&dir, "skynet boot");
        let said = well(&dir, "skynet install . --enable --now");
        assert!(said.out().contains("wordcount_1: idle"), "{said:?}");
        site.submit("wordcount", "w1");
        let log = site.at(Place::Logs).join("wordcount/current");
        let has = |text: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
        site.until(|| has(" w1/1: "));
        let said = well(&dir, "skynet install . --now");
        assert!(said.out().contains("wordcount: restarted after "), "{said:?}");
        let said = well(&dir, "skynet uninstall --now wordcount");
        assert!(said.out().contains("wordcount: uninstalled; its log stays"), "{said:?}");
        assert!(log.exists());
    });
}
