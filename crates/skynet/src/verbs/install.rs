//! `skynet install`: a directory of one's own becomes a service.

use super::{enable, restart};
use crate::builder::is_left_out;
use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::life::{self, Looker, Patience};
use crate::making::{self, Builds, Making};
use crate::names::Names;
use crate::screen::clean;
use crate::service::Service;
use crate::stage::Installed;
use crate::tree::copy;
use clap::Args;
use exo::config::{self, OWN_FILE};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use sys::linux::fd::{self, Fd};
use sys::linux::file;
use sys::linux::file::flags::O_RDONLY;

/// Bytes of the largest exo.yaml.
const LARGEST: usize = 1 << 20;

/// Installs a participant, or any other service, from a directory with its files.
///
/// The directory is copied, checked, and put in its place in one step. What it replaces runs on as it
/// was until it is restarted. Where exo.yaml has a build and the program is missing, it is built.
#[derive(Debug, Args)]
pub struct Install {
    /// The directory.
    dir: PathBuf,
    /// What it is to be called; without it, as exo.yaml or its directory says.
    #[arg(value_name = "AS")]
    name: Option<String>,
    #[command(flatten)]
    next: Next,
}

/// What comes behind an installation.
#[derive(Clone, Copy, Debug, Args)]
pub struct Next {
    /// Have it start at each boot.
    #[arg(long)]
    enable: bool,
    /// Start it, or restart the one that it replaces.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    patience: Patience,
}

/// Runs it.
///
/// # Errors
/// The directory cannot be used or copied, or the name belongs to something else.
pub fn run(args: &Install, here: &Here) -> Answer {
    let source = Source::open(&args.dir, here)?;
    let name = args.name.clone().unwrap_or_else(|| source.name());
    if let Some(flaw) = work::name::flaw(&name) {
        return Err(Failure::usage(format!("the name \"{}\" {flaw}", clean(&name))));
    }
    let installed = Installed::lock(here)?;
    let before = making::may_have(&name, here)?;
    let stage = installed.stage(&name)?;
    copy::copy(&source.fd, &args.dir, &stage.dir, &is_left_out)?;
    let making = Making { name: &name, shown: &args.dir, builds: Builds::IfMissing };
    making::prepare(here, &installed, &stage, &making)?;
    stage.put()?;
    drop(installed);
    args.next.follow(&name, before.as_ref(), "installed", here)
}

impl Next {
    /// Says what was done to a directory, and enables and starts its service as it was asked for.
    ///
    /// # Errors
    /// As [`life::run`].
    pub fn follow(&self, name: &str, before: Option<&Service>, done: &str, here: &Here) -> Answer {
        let runs = before.is_some_and(|before| Looker::new().look(&before.real_dir()).is_up());
        let advice = if runs && !self.now {
            format!("; it runs on as it was until: skynet restart {name}")
        } else {
            String::new()
        };
        let line = format!("{name}: {done}{advice}\n");
        here.screen.put(&line).map_err(|why| Failure::io("write", "output", &why))?;
        let names = Names { names: vec![name.to_owned()], all: false };
        if self.enable {
            let code = life::run(&names, self.patience, here, |sight| {
                enable::plan(sight, here).unwrap_or_else(|why| why)
            })?;
            if code != 0 {
                return Ok(code);
            }
        }
        if self.now {
            return life::run(&names, self.patience, here, |sight| restart::plan(sight, here));
        }
        Ok(0)
    }
}

/// The directory that is installed.
struct Source {
    fd: Fd,
    real: PathBuf,
}

impl Source {
    fn open(path: &Path, here: &Here) -> Result<Self, Failure> {
        let fd = copy::open(path)?;
        let real = path.canonicalize().map_err(|why| Failure::io("open", path.display(), &why))?;
        let folder = &here.places().participants;
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if real.starts_with(&folder) {
            let line = format!("{} is where installed participants are", real.display());
            return Err(Failure::refused(line));
        }
        if folder.starts_with(&real) {
            let line = format!("{} holds the installed participants themselves", real.display());
            return Err(Failure::refused(line));
        }
        Ok(Self { fd, real })
    }

    /// Returns what it is called: as its exo.yaml says, or its folder. What is wrong with the file is
    /// told when it is checked.
    fn name(&self) -> String {
        let own = self.real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let settings = self.configuration().and_then(|text| config::read_text(&text, &own).ok());
        settings.map_or(own, |settings| settings.participant)
    }

    fn configuration(&self) -> Option<Vec<u8>> {
        let name = CString::new(OWN_FILE).unwrap_or_default();
        let (file, _) = file::open_regular(self.fd.raw(), &name, O_RDONLY, 0).ok()?;
        let mut text = vec![0; LARGEST];
        let len = fd::read_at(file.raw(), &mut text, 0).ok()?;
        text.truncate(len);
        Some(text)
    }
}
