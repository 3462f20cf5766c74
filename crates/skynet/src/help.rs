//! The verbs, grouped by what people do.

use clap::Command;
use std::ffi::OsStr;
use std::fmt::Write;

/// What people do, and the verbs for it.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Looking",
        &[
            "status", "top", "list", "log", "cat", "history", "failure", "job", "request", "dead",
            "acts", "export",
        ],
    ),
    (
        "Services",
        &[
            "start", "stop", "restart", "reload", "enable", "disable", "wait", "drain", "resume",
            "apply", "boot", "halt",
        ],
    ),
    (
        "Work",
        &[
            "submit",
            "cancel",
            "requeue",
            "rule",
            "label",
            "replay",
            "launch",
            "register",
            "unregister",
            "engine",
        ],
    ),
    (
        "Setting up",
        &[
            "new",
            "manual",
            "install",
            "uninstall",
            "rebuild",
            "import",
            "check",
            "doctor",
            "notice",
            "completion",
        ],
    ),
];

/// Has a command's help show its verbs in groups.
#[must_use]
pub fn grouped(command: Command) -> Command {
    let all: Vec<&Command> = command.get_subcommands().collect();
    let width = all.iter().map(|verb| verb.get_name().len()).max().unwrap_or(0);
    let is_grouped =
        |verb: &&&Command| GROUPS.iter().any(|(_, verbs)| verbs.contains(&verb.get_name()));
    let others = all.iter().filter(|verb| !is_grouped(verb)).map(|verb| verb.get_name());
    let others = ("Others", others.collect::<Vec<_>>());
    let groups = GROUPS.map(|(what, verbs)| (what, verbs.to_vec())).into_iter().chain([others]);
    let mut template = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    for (what, verbs) in groups {
        let known = verbs.iter().filter_map(|name| all.iter().find(|it| it.get_name() == *name));
        let lines: String = known.map(|verb| line(verb, width)).collect();
        if !lines.is_empty() {
            let _ = write!(template, "\n{what}:\n{lines}");
        }
    }
    template += "\nOptions:\n{options}\n\nskynet help VERB says more of one; man skynet says all.";
    command.help_template(template)
}

fn line(verb: &Command, width: usize) -> String {
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let aliases = verb.get_visible_aliases().map(|alias| format!(" [alias: {alias}]"));
    format!("  {:width$}  {about}{}\n", verb.get_name(), aliases.collect::<String>())
}

/// Returns `skynet help VERB` as `skynet VERB --help`.
#[must_use]
pub fn asked(arguments: &[&'static OsStr]) -> Vec<&'static OsStr> {
    match arguments.split_first() {
        Some((first, verb)) if *first == "help" => [verb, &[OsStr::new("--help")]].concat(),
        _ => arguments.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;

    #[test]
    fn help_of_a_verb_is_asked_for_in_two_ways() {
        let words = |line: &'static str| line.split(' ').map(OsStr::new).collect::<Vec<_>>();
        assert_eq!(asked(&words("help")), words("--help"));
        assert_eq!(asked(&words("help job list")), words("job list --help"));
        assert_eq!(asked(&words("status help")), words("status help"));
        assert_eq!(asked(&[]), Vec::<&OsStr>::new());
    }

    #[test]
    fn a_verb_that_is_in_no_group_is_shown_all_the_same() {
        let command = Command::new("skynet").subcommand(Command::new("status").about("Shows it"));
        let command = command.subcommand(Command::new("juggle").about("Juggles"));
        let help = grouped(command).render_help().to_string();
        assert!(help.contains("\nLooking:\n  status  Shows it\n"), "{help}");
        assert!(help.contains("\nOthers:\n  juggle  Juggles\n"), "{help}");
        assert!(!help.contains("Work:"), "{help}");
    }
}
