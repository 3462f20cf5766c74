//! `skynet new`: a participant to begin with.

use crate::failure::{Answer, Failure};
use crate::here::Here;
use crate::scaffold::{self, Language};
use crate::screen::clean;
use crate::tree;
use clap::Args;
use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use sys::linux::errno::Errno;
use sys::linux::file::flags::{EEXIST, O_DIRECTORY, O_RDONLY};
use sys::linux::file::{self, HERE};
use sys::linux::process;
use sys::trusted;

/// Makes the folder of a new participant, which works as it is.
///
/// There are code, test, service directory and README.
/// It works as it is, and puts the size of a file into the item; write your own work into it. Nothing
/// that is there is ever overwritten.
#[derive(Debug, Args)]
pub struct New {
    /// What it is to be called: letters, digits, -, _ and .
    #[arg(value_name = "PARTICIPANT")]
    name: String,
    /// What it is written in.
    #[arg(short, long, value_enum)]
    language: Language,
    /// The folder to make it in; without it, the current one.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    dir: PathBuf,
}

/// Runs it.
///
/// # Errors
/// It cannot have this name, there is one already, or it cannot be written.
pub fn run(args: &New, here: &Here) -> Answer {
    let name = &args.name;
    if let Some(flaw) = work::name::flaw(name) {
        return Err(Failure::usage(format!("the name \"{}\" {flaw}", clean(name))));
    }
    let dir = args.dir.join(name);
    let shown = clean(&dir.to_string_lossy()).into_owned();
    if fs::symlink_metadata(&dir).is_ok() {
        return Err(is_there(&shown));
    }
    look_at(&args.dir)?;
    make(&args.dir, name, args.language).map_err(|why| match why {
        Trouble::Taken => is_there(&shown),
        Trouble::Other(why) => why,
    })?;
    let language = args.language;
    let text = format!(
        "{shown}: made, a participant in {}; write your work into {}\n\
         try it:     cd {shown} && {}\n            \
         skynet manual . -i '{{\"fields\":{{\"file\":\"/etc/passwd\"}}}}'\n\
         install it: skynet install .\n",
        language.title(),
        language.work(),
        language.steps(),
    );
    here.screen.put(&text)?;
    Ok(0)
}

fn is_there(shown: &str) -> Failure {
    Failure::refused(format!("{shown} is there already; give another name, or another --dir"))
}

/// Where others can write they could put their own in the place of what root makes.
fn look_at(dir: &Path) -> Result<(), Failure> {
    if process::euid() != 0 {
        return Ok(());
    }
    match trusted::look(dir) {
        Ok(None) => Ok(()),
        Ok(Some(flaw)) => {
            Err(Failure::refused(format!("root makes nothing where others can: {flaw}")))
        }
        Err(why) => Err(Failure::errno("open", dir.display(), why)),
    }
}

/// Tells whether `$PATH` has a program.
fn has_program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

enum Trouble {
    Taken,
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(why: Failure) -> Self {
        Self::Other(why)
    }
}

/// It gets its name when it is whole.
fn make(parent: &Path, name: &str, language: Language) -> Result<(), Trouble> {
    let hidden = format!(".{name}.{}", process::pid());
    let new = parent.join(&hidden);
    let made = DirBuilder::new().mode(0o755).create(&new);
    made.map_err(|why| Failure::io("make", new.display(), &why))?;
    let put = || -> Result<(), Trouble> {
        tree::write(&new, &scaffold::participant(name, language, has_program("jq")))?;
        let c = |bytes: &[u8]| CString::new(bytes).unwrap_or_default();
        let folder = file::open(HERE, &c(parent.as_os_str().as_bytes()), O_RDONLY | O_DIRECTORY, 0);
        let put = folder.and_then(|folder| {
            file::rename_new(folder.raw(), &c(hidden.as_bytes()), &c(name.as_bytes()))
        });
        put.map_err(|why| match why {
            Errno(EEXIST) => Trouble::Taken,
            why => Failure::errno("rename", new.display(), why).into(),
        })
    };
    put().inspect_err(|_| drop(fs::remove_dir_all(&new)))
}
