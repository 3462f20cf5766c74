use super::*;
use crate::config::draft::Draft;
use crate::config::keys::Scope;
use crate::config::places::Places;
use crate::config::tree;
use std::path::Path;

fn notice(text: &str) -> Result<Notice, String> {
    let mut draft = Draft::new(&Places::of_system(), Path::new("/"));
    let entries = tree::parse(text.as_bytes()).map_err(|problem| problem.to_string())?;
    let problems = draft.lay(&entries, Scope::Site, Path::new("/file"));
    let text: Vec<_> = problems.iter().map(Problem::to_string).collect();
    if text.is_empty() { Ok(draft.notice) } else { Err(text.join("\n")) }
}

#[test]
fn who_is_told_of_trouble_is_read_with_its_defaults() {
    assert_eq!(notice("keep: none").unwrap(), Notice::default());
    let read = notice(
        "notice:\n  every: 10min\n  kinds: [crash, dead-item]\n  lines: 5\n  retry: {first: 2s}\n  \
         sendmail: /bin/sm\n  targets:\n    - mail: ops@example.org\n    - command: [/bin/tell, a b]\n      \
         user: web\n      time-limit: 5s\n    - {webhook: /etc/hook}\n    - file: /var/log/n\n",
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!((read.every, read.lines), (seconds(600), 5));
    assert_eq!(read.kinds, [Kind::Crash, Kind::DeadItem]);
    assert_eq!((read.retry.first, read.retry.longest), (seconds(2), seconds(3600)));
    let labels: Vec<_> = read.targets.iter().map(|target| target.what.label()).collect();
    let wanted =
        ["mail:ops@example.org", "command:/bin/tell a b", "webhook:/etc/hook", "file:/var/log/n"];
    assert_eq!(labels, wanted);
    assert_eq!(read.targets[1].what, What::Command(vec![c"/bin/tell".into(), c"a b".into()]));
    assert_eq!(
        (read.targets[1].user.as_deref(), read.targets[1].time_limit),
        (Some("web"), seconds(5))
    );
    assert_eq!((read.targets[0].user.as_deref(), read.targets[0].time_limit), (None, seconds(30)));
}

#[test]
fn a_target_that_cannot_be_is_refused_with_its_place() {
    for (target, why) in [
        (
            "mail: \"a\\nBcc: b\"",
            "line 3, column 13: notice.targets.mail: the text holds a control",
        ),
        ("mail: \"-f x\"", "notice.targets.mail: one address is expected"),
        ("mail: a@b@c", "notice.targets.mail: one address is expected"),
        ("mail: a,b", "notice.targets.mail: one address is expected"),
        ("webhook: https://x/secret", "notice.targets.webhook: a URL is often a secret"),
        ("webhook: hook", "notice.targets.webhook: \"hook\" must begin with a slash"),
        ("command: tell", "notice.targets.command: the program must begin with a slash"),
        ("file: notices", "notice.targets.file: \"notices\" must begin with a slash"),
        ("user: web", "line 3, column 7: notice.targets: one of command, mail, webhook and file"),
        ("{mail: a, file: /b}", "notice.targets.file: a target is one thing"),
        ("{file: /b, user: web}", "notice.targets: a file is written by"),
        ("emali: a", "notice.targets.emali: unknown key; did you mean mail?"),
        ("{mail: a, time-limit: 0s}", "notice.targets.time-limit: 0s is less than 1s"),
    ] {
        let said = notice(&format!("notice:\n  targets:\n    - {target}\n")).unwrap_err();
        assert!(said.contains(why), "{target}: {said}");
    }
    for (text, why) in [
        ("notice: none", "notice: keys and values are expected"),
        ("notice: {evry: 1h}", "line 1, column 10: notice.evry: unknown key; did you mean every?"),
        ("notice: {kinds: crash}", "notice.kinds: a list is expected"),
        ("notice: {kinds: [boom]}", "notice.kinds: \"boom\" is none of crash, not-up"),
        ("notice: {retry: {first: 2h}}", "notice.retry: first is more than longest"),
        ("notice: {targets: [{mail: a}, {mail: a}]}", "notice.targets: mail:a is there twice"),
    ] {
        let said = notice(text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}
