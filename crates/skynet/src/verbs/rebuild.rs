//! `skynet rebuild`: installed participants are built anew.

use super::install::Next;
use crate::builder::is_left_out;
use crate::failure::{Answer, Failure, code, say, warn};
use crate::here::Here;
use crate::making::{self, Builds, Making};
use crate::names::Names;
use crate::service::{self, Origin, Service};
use crate::stage::Installed;
use crate::tree::copy;
use clap::Args;

/// Builds installed participants anew, by the build of their exo.yaml.
///
/// That is run in a copy, where root calls as the participant's user; what came of it takes the place
/// of what is installed in one step, but for run, log and exo.yaml, which no build changes.
#[derive(Debug, Args)]
pub struct Rebuild {
    #[command(flatten)]
    names: Names,
    #[command(flatten)]
    next: Next,
}

/// Runs it.
///
/// # Errors
/// None was asked for, or the folder of participants cannot be locked.
pub fn run(args: &Rebuild, here: &Here) -> Answer {
    here.is_for_owner("rebuild participants of")?;
    let mut picked = args.names.pick(service::all(here)?)?;
    picked.services.retain(|service| !args.names.all || can(service));
    if args.names.all && picked.services.is_empty() {
        warn("nothing to build: no participant that was installed by hand has a build");
        return Ok(code::FAILED);
    }
    let mut worst = 0;
    for service in &picked.services {
        let done = rebuild(service, here)
            .and_then(|()| args.next.follow(&service.name, Some(service), "built", here));
        match done {
            Ok(code) => worst = worst.max(code),
            Err(why) => {
                for line in &why.lines {
                    say("warning", &format!("{}: {line}", service.name));
                }
                worst = worst.max(code::FAILED);
            }
        }
    }
    Ok(picked.code(worst))
}

/// Tells whether it is among all: whoever names another one is told why not.
fn can(service: &Service) -> bool {
    let has_build = || service.load().is_ok_and(|loaded| !loaded.settings.build.is_empty());
    service.origin == Origin::ByHand && service.is_participant && has_build()
}

fn rebuild(service: &Service, here: &Here) -> Result<(), Failure> {
    if service.origin != Origin::ByHand {
        return Err(Failure::refused(making::not_ours(service.origin)));
    }
    if !service.is_participant {
        return Err(Failure::refused("it is no participant, and nothing says how it is built"));
    }
    let installed = Installed::lock(here)?;
    let stage = installed.stage(&service.name)?;
    let source = copy::open(&service.dir)?;
    copy::copy(&source, &service.dir, &stage.dir, &is_left_out)?;
    let making = Making::new(&service.name, &service.dir, Builds::Always);
    making::prepare(here, &installed, &stage, &making)?;
    making::put(here, stage, &service.name)
}
