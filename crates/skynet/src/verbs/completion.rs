//! `skynet completion`: what a shell completes.
//!
//! The shell asks this program at each completion: it knows its verbs and options, and reads names
//! from the instance.

use crate::failure::{Answer, Failure};
use crate::screen::Screen;
use crate::service::{self, OWN_LOG, Origin};
use clap::{Arg, Args, Command, ValueEnum};
use clap_complete::aot;
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate};
use exo::config::{self, Whose};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::Path;
use sys::program::TROUBLE;

/// Set by the scripts: which shell asks.
const VARIABLE: &str = "SKYNET_COMPLETE";
/// What stands for a name of a service in the verbs' arguments.
const NAME: &str = "NAME";
/// Verbs that need a participant.
const FOR_PARTICIPANTS: [&str; 13] = [
    "drain", "resume", "manual", "submit", "cancel", "requeue", "replay", "history", "failure",
    "job", "request", "dead", "export",
];
/// Verbs for what was installed by hand.
const FOR_INSTALLED: [&str; 2] = ["uninstall", "rebuild"];

/// Writes the script with which a shell completes what one types.
///
/// It completes verbs, options, and names of services.
/// For bash, in ~/.bashrc: source <(skynet completion bash)
#[derive(Debug, Args)]
pub struct Completion {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
    /// Whose command line.
    #[arg(long, value_enum, default_value_t = Program::Skynet)]
    of: Program,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    Skynet,
    Exo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Runs it.
///
/// # Errors
/// Nobody reads the script.
pub fn run(args: &Completion, screen: &Screen) -> Answer {
    let script = match args.of {
        Program::Skynet => asking(args.shell)?,
        Program::Exo => whole(args.shell),
    };
    screen.put(&script)?;
    Ok(0)
}

/// A script that asks this program each time.
fn asking(shell: Shell) -> Result<String, Failure> {
    let name = shell.to_possible_value().map(|value| value.get_name().to_owned());
    let name = name.unwrap_or_default();
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&name) else {
        return Err(Failure::usage(format!("no script for {name}")));
    };
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "skynet", "skynet", "skynet", &mut script)
        .map_err(|why| Failure::io("make", "the script", &why))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// A script that knows all by itself: exo has a few options, and no names.
fn whole(shell: Shell) -> String {
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Zsh => aot::Shell::Zsh,
        Shell::Fish => aot::Shell::Fish,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut exo::cli::command(), "exo", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Answers a shell that completes; returns the exit code, `None` where none asks.
#[must_use]
pub fn answer(command: fn() -> Command, arguments: &[&'static OsStr]) -> Option<i32> {
    let words = std::iter::once(OsStr::new("skynet")).chain(arguments.iter().copied());
    let whose = whose(arguments);
    let complete = CompleteEnv::with_factory(move || with_names(command(), whose)).var(VARIABLE);
    match complete.try_complete(words, None) {
        Ok(false) => None,
        // We end without std's own end, which would do this.
        Ok(true) => Some(io::stdout().flush().map_or(TROUBLE, |()| 0)),
        // Whatever is said would stand in the middle of the line that is being written.
        Err(_) => Some(TROUBLE),
    }
}

/// Returns whose instance the line is about that is being written: it comes behind a `--`.
fn whose(arguments: &[&OsStr]) -> Whose {
    let line = arguments.iter().skip_while(|word| **word != "--").skip(1);
    let mut options = line.take_while(|word| **word != "--");
    if options.any(|word| *word == "--system") { Whose::System } else { Whose::Callers }
}

/// Has each argument that is a name completed by the names that the verb may be for.
fn with_names(command: Command, whose: Whose) -> Command {
    command.mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        of_verb(verb, &name, whose)
    })
}

/// The same of one verb, and of those below it.
fn of_verb(command: Command, verb: &str, whose: Whose) -> Command {
    let is_name = |arg: &Arg| {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().any(|name| name.split('|').any(|word| word == NAME))
    };
    let command = command.mut_args(|arg| {
        if is_name(&arg) {
            let verb = verb.to_owned();
            arg.add(ArgValueCompleter::new(move |word: &OsStr| candidates(&verb, word, whose)))
        } else {
            arg
        }
    });
    command.mut_subcommands(|below| of_verb(below, verb, whose))
}

/// Looks at no more than the names that begin as the word does: a shell waits for this.
fn candidates(verb: &str, word: &OsStr, whose: Whose) -> Vec<CompletionCandidate> {
    // What is wrong is told by the verb that is completed.
    let site = config::site_as_far_as_it_goes(whose);
    let (Ok((site, _)), Some(word)) = (site, word.to_str()) else { return Vec::new() };
    let places = &site.places;
    let folders = [
        (&places.packaged, Origin::Package),
        (&places.participants, Origin::ByHand),
        (&places.service, Origin::Elsewhere),
    ];
    let mut known: BTreeMap<String, (&Path, Origin)> = BTreeMap::new();
    for (folder, origin) in folders {
        let names = service::names(folder).unwrap_or_default();
        // A name of another kind, made by others, could be more than a word to the shell.
        let good = |name: &String| name.starts_with(word) && work::name::flaw(name).is_none();
        for name in names.into_iter().filter(good) {
            if origin == Origin::Elsewhere {
                known.entry(name).or_insert((folder, origin));
            } else {
                known.insert(name, (folder, origin));
            }
        }
    }
    let wanted = known.into_iter().filter(|(name, (folder, origin))| {
        let dir = folder.join(name);
        let is_enabled = || {
            let link = places.service.join(name);
            link.symlink_metadata().is_ok() && !link.join("down").exists()
        };
        match verb {
            "enable" => !is_enabled() && name != OWN_LOG,
            "disable" => is_enabled() && name != OWN_LOG,
            _ if FOR_PARTICIPANTS.contains(&verb) => dir.join(config::OWN_FILE).exists(),
            _ if FOR_INSTALLED.contains(&verb) => *origin == Origin::ByHand,
            _ => true,
        }
    });
    wanted.map(|(name, _)| CompletionCandidate::new(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_the_option_is_about_the_system_s_instance() {
        let whose_is = |line: &'static str| {
            let words: Vec<&OsStr> = line.split(' ').map(OsStr::new).collect();
            whose(&words)
        };
        assert_eq!(whose_is("-- skynet start s"), Whose::Callers);
        for line in ["-- skynet --system start s", "-- skynet start --system s"] {
            assert_eq!(whose_is(line), Whose::System, "{line}");
        }
        assert_eq!(whose_is("--system -- skynet start -- --system"), Whose::Callers);
    }
}
