//! skynet's command line.

use crate::failure::{Answer, SKYNET};
use crate::help;
use crate::here::Here;
use crate::screen::{Colour, Screen};
use crate::usage;
use crate::verbs::{
    acts, apply, boot, cancel, cat, check, completion, dead, disable, doctor, drain, enable,
    engine, export, failures, halt, history, import, install, job, label, launch, list, log,
    manual, new, notice, rebuild, register, reload, replay, request, requeue, restart, resume,
    rule, start, status, stop, submit, top, uninstall, wait,
};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exo::config::Whose;
use std::ffi::OsStr;
use sys::linux::fd;

/// One command for services and participants: root works on the system, everybody else on an
/// instance of their own.
#[derive(Debug, Parser)]
#[command(name = "skynet", version, disable_help_subcommand = true, infer_subcommands = false)]
struct Cli {
    /// When there is colour: auto (on a terminal, unless `NO_COLOR` is set), always or never.
    #[arg(long, global = true, value_enum, default_value_t)]
    #[arg(hide_possible_values = true, hide_default_value = true)]
    color: Colour,
    /// Work on the system's instance, not on one of our own.
    #[arg(long, global = true)]
    system: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(visible_alias = "ls")]
    List(list::List),
    #[command(visible_alias = "ps")]
    Status(status::Status),
    Top(top::Top),
    Cat(cat::Cat),
    #[command(visible_alias = "logs")]
    Log(log::Log),
    Enable(enable::Enable),
    Disable(disable::Disable),
    #[command(visible_alias = "up")]
    Start(start::Start),
    #[command(visible_alias = "down")]
    Stop(stop::Stop),
    Restart(restart::Restart),
    Reload(reload::Reload),
    Drain(drain::Drain),
    Resume(resume::Resume),
    Wait(wait::Wait),
    Apply(apply::Apply),
    Check(check::Check),
    Submit(submit::Submit),
    Launch(launch::Launch),
    Register(register::Register),
    Unregister(register::Unregister),
    Engine(engine::Engine),
    Cancel(cancel::Cancel),
    Requeue(requeue::Requeue),
    Rule(rule::Rule),
    Label(label::Label),
    Acts(acts::Acts),
    Replay(replay::Replay),
    Doctor(doctor::Doctor),
    Notice(notice::Notice),
    Boot(boot::Boot),
    Halt(halt::Halt),
    History(history::History),
    Failure(failures::Failures),
    Job(job::Jobs),
    Request(request::Requests),
    Dead(dead::DeadItems),
    Export(export::Export),
    New(new::New),
    Install(install::Install),
    Uninstall(uninstall::Uninstall),
    Rebuild(rebuild::Rebuild),
    Import(import::Import),
    #[command(visible_alias = "local")]
    Manual(manual::Manual),
    Completion(completion::Completion),
}

impl Verb {
    /// Tells whether it only looks, stops something or takes that back, or begins with the machine, where
    /// services that have nothing to do with the site's files are started: that must be possible whatever is
    /// wrong with those.
    fn is_harmless(&self) -> bool {
        matches!(
            self,
            Self::List(_)
                | Self::Status(_)
                | Self::Top(_)
                | Self::Cat(_)
                | Self::Log(_)
                | Self::Stop(_)
                | Self::Boot(_)
                | Self::Halt(_)
                | Self::Drain(_)
                | Self::Resume(_)
                | Self::Cancel(_)
                | Self::Wait(_)
                | Self::Acts(_)
                | Self::History(_)
                | Self::Job(_)
                | Self::Request(_)
                | Self::Export(_)
        ) || self.only_looks()
    }

    /// Tells so of the verbs that change something by another word.
    const fn only_looks(&self) -> bool {
        match self {
            Self::Failure(args) => args.only_looks(),
            Self::Dead(args) => args.only_looks(),
            Self::Rule(args) => args.only_looks(),
            Self::Label(args) => args.only_looks(),
            Self::Notice(args) => args.only_looks(),
            Self::Engine(args) => args.only_looks(),
            _ => false,
        }
    }

    fn run(&self, here: &Here) -> Answer {
        match self {
            Self::List(args) => list::run(args, here),
            Self::Status(args) => status::run(args, here),
            Self::Top(args) => top::run(args, here),
            Self::Cat(args) => cat::run(args, here),
            Self::Log(args) => log::run(args, here),
            Self::Enable(args) => enable::run(args, here),
            Self::Disable(args) => disable::run(args, here),
            Self::Start(args) => start::run(args, here),
            Self::Stop(args) => stop::run(args, here),
            Self::Restart(args) => restart::run(args, here),
            Self::Reload(args) => reload::run(args, here),
            Self::Drain(args) => drain::run(args, here),
            Self::Resume(args) => resume::run(args, here),
            Self::Wait(args) => wait::run(args, here),
            Self::Apply(args) => apply::run(args, here),
            Self::Check(args) => check::run(args, here),
            Self::Submit(args) => submit::run(args, here),
            Self::Launch(args) => launch::run(args, here),
            Self::Register(args) => register::run(args, here),
            Self::Unregister(args) => register::run_unregister(args, here),
            Self::Engine(args) => engine::run(args, here),
            Self::Cancel(args) => cancel::run(args, here),
            Self::Requeue(args) => requeue::run(args, here),
            Self::Rule(args) => rule::run(args, here),
            Self::Label(args) => label::run(args, here),
            Self::Acts(args) => acts::run(args, here),
            Self::Replay(args) => replay::run(args, here),
            Self::Doctor(args) => doctor::run(args, here),
            Self::Notice(args) => notice::run(args, here),
            Self::Boot(args) => boot::run(args, here),
            Self::Halt(args) => halt::run(args, here),
            Self::History(args) => history::run(args, here),
            Self::Failure(args) => failures::run(args, here),
            Self::Job(args) => job::run(args, here),
            Self::Request(args) => request::run(args, here),
            Self::Dead(args) => dead::run(args, here),
            Self::Export(args) => export::run(args, here),
            Self::New(args) => new::run(args, here),
            Self::Install(args) => install::run(args, here),
            Self::Uninstall(args) => uninstall::run(args, here),
            Self::Rebuild(args) => rebuild::run(args, here),
            Self::Import(args) => import::run(args, here),
            Self::Manual(args) => manual::run(args, here),
            Self::Completion(args) => completion::run(args, &here.screen),
        }
    }
}

fn parsed(arguments: &[&OsStr]) -> Result<Cli, clap::Error> {
    let words = std::iter::once(OsStr::new("skynet")).chain(arguments.iter().copied());
    let mut command = help::grouped(Cli::command());
    let matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|why| why.format(&mut command))
}

/// Ran as skynet; returns the exit code.
#[must_use]
pub fn run(arguments: &[&'static OsStr]) -> i32 {
    fd::fill_standard();
    SKYNET.end_on_panic();
    exo::say::start(::log::LevelFilter::Warn);
    if let Some(code) = completion::answer(Cli::command, arguments) {
        return code;
    }
    let arguments = &*help::asked(arguments);
    let answer = match parsed(arguments) {
        // Read by shells as they start, whatever is wrong with the instance.
        Ok(Cli { verb: Verb::Completion(args), color, .. }) => {
            completion::run(&args, &Screen::here(color))
        }
        // Run by a part of the instance, perhaps as another user: it has no instance of its own.
        Ok(Cli { verb: Verb::Notice(args), .. }) if args.is_part() => notice::run_part(&args),
        Ok(cli) => {
            let screen = Screen::here(cli.color);
            let whose = if cli.system { Whose::System } else { Whose::Callers };
            let find = if cli.verb.is_harmless() { Here::find_leniently } else { Here::find };
            match (find(whose, screen), &cli.verb) {
                (Ok(here), verb) => verb.run(&here),
                // What hinders the others is what these are for.
                (Err(failure), Verb::Check(args)) => {
                    check::without_site(args, whose, &screen, failure)
                }
                (Err(failure), Verb::Doctor(args)) => {
                    doctor::without_site(args, whose, &screen, failure)
                }
                (Err(failure), _) => Err(failure),
            }
        }
        Err(why) => usage::explain(&why, &Cli::command(), arguments),
    };
    answer.unwrap_or_else(|failure| failure.say())
}
