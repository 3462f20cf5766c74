//! envdir and envini: running a program with variables out of files.

use crate::encore_rules;
use ondisk::envfile::{self, Value};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use sys::chain::Chain;
use sys::contents;
use sys::environment::Environment;
use sys::getopt::Options;
use sys::linux::errno::Errno;
use sys::linux::file::HERE;
use sys::linux::{directory, file};
use sys::program::{Program, TROUBLE};

const ENVDIR: Program = Program("envdir");
const ENVINI: Program = Program("envini");

/// What the command lines of both programs say.
struct Order<'a> {
    prefix: &'a [u8],
    source: &'static OsStr,
    child: &'a [&'static OsStr],
}

/// Reads `[ -p prefix ] source child`; `None` = wrong usage.
fn order<'a>(program: Program, words: &'a [&'static OsStr]) -> Option<Order<'a>> {
    let mut options = Options::new(words, "p:");
    let mut prefix = OsStr::new("");
    while let Some(option) = options.next(program) {
        prefix = option.ok()?.1;
    }
    bare_order(prefix.as_bytes(), options.rest())
}

/// The same for 0.76's envdir, which knows no options: a first word `-p` is one all the same, every
/// other is the folder.
fn order_076<'a>(words: &'a [&'static OsStr]) -> Option<Order<'a>> {
    match words {
        [option, prefix, rest @ ..] if *option == "-p" && rest.len() > 1 => {
            bare_order(prefix.as_bytes(), rest)
        }
        words => bare_order(b"", words),
    }
}

fn bare_order<'a>(prefix: &'a [u8], words: &'a [&'static OsStr]) -> Option<Order<'a>> {
    let [source, child @ ..] = words else { return None };
    (!child.is_empty()).then_some(Order { prefix, source, child })
}

/// Says the usage; 111 here, unlike in every other program.
fn usage(program: Program, text: &str) -> i32 {
    let _ = program.usage(text);
    TROUBLE
}

/// The program envdir.
#[must_use]
pub fn envdir(chain: &Chain<'_>) -> i32 {
    if let Some(code) = ENVDIR.standard(chain.words(), "envdir [ -p prefix ] dir child") {
        return code;
    }
    let (order, text) = if encore_rules() {
        (order(ENVDIR, chain.words()), "envdir [ -p prefix ] dir child")
    } else {
        (order_076(chain.words()), "envdir dir child")
    };
    let Some(order) = order else { return usage(ENVDIR, text) };
    let path = chain.word_before(order.child.len());
    let mut environment = Environment::own();
    if let Err(code) = take_folder(path, order.prefix, &mut environment) {
        return code;
    }
    chain.run_with(ENVDIR, order.child.len(), &environment)
}

/// Takes one variable from each file of a folder.
fn take_folder(path: &CStr, prefix: &[u8], environment: &mut Environment) -> Result<(), i32> {
    let dir = OsStr::from_bytes(path.to_bytes());
    let flags = libc::O_RDONLY | libc::O_DIRECTORY;
    let folder = file::open(HERE, path, flags, 0).map_err(|why| unable_to_open(dir, path, why))?;
    let mut text = Vec::new();
    let mut name = Vec::new();
    let failure = directory::for_each(folder.raw(), |file| {
        if file.to_bytes().starts_with(b".") {
            return None;
        }
        // Not to hang at a FIFO: it counts as an empty file, as in the original.
        let read = contents::read(folder.raw(), file, libc::O_NONBLOCK, &mut text);
        match read {
            Ok(()) => {}
            // A link to nowhere, or gone since it was listed: as empty as a file can be.
            Err(Errno(libc::ENOENT)) => text.clear(),
            Err(why) => return Some(unable_to_read(dir, path, file, why)),
        }
        name.clear();
        name.extend_from_slice(prefix);
        name.extend_from_slice(file.to_bytes());
        take(&name, &text, environment);
        None
    });
    match failure {
        Ok(None) => Ok(()),
        Ok(Some(code)) => Err(code),
        Err(why) => Err(ENVDIR.fatal(&["unable to read directory ".as_ref(), dir], why)),
    }
}

fn take(name: &[u8], text: &[u8], environment: &mut Environment) {
    match envfile::value(text) {
        Value::Unset => environment.unset(name),
        Value::Set(value) if value.contains(&0) => {
            let lines: Vec<u8> = value.iter().map(|b| if *b == 0 { b'\n' } else { *b }).collect();
            environment.set(name, &lines);
        }
        Value::Set(value) => environment.set(name, value),
    }
}

/// Says what the original says, which changes into the folder before it reads it.
fn unable_to_open(dir: &OsStr, path: &CStr, why: Errno) -> i32 {
    let what = if why == Errno(libc::EACCES) && file::is_executable(HERE, path) {
        "unable to read directory "
    } else {
        "unable to switch to directory "
    };
    ENVDIR.fatal(&[what.as_ref(), dir], why)
}

fn unable_to_read(dir: &OsStr, path: &CStr, file: &CStr, why: Errno) -> i32 {
    if why == Errno(libc::EACCES) && !file::is_executable(HERE, path) {
        return unable_to_open(dir, path, why);
    }
    let file = OsStr::from_bytes(file.to_bytes());
    ENVDIR.fatal(&["unable to read ".as_ref(), dir, "/".as_ref(), file], why)
}

/// The program envini.
#[must_use]
pub fn envini(chain: &Chain<'_>) -> i32 {
    const USAGE: &str = "envini [ -p prefix ] inifile child";
    if let Some(code) = ENVINI.standard(chain.words(), USAGE) {
        return code;
    }
    let Some(order) = order(ENVINI, chain.words()) else { return usage(ENVINI, USAGE) };
    let path = chain.word_before(order.child.len());
    let mut text = Vec::new();
    if let Err(why) = contents::read(HERE, path, libc::O_NONBLOCK, &mut text) {
        return ENVINI.fatal(&["unable to read ".as_ref(), order.source], why);
    }
    let mut environment = Environment::own();
    for variable in envfile::ini(&text) {
        let name = match variable.section {
            Some(section) => [order.prefix, section, b"_", variable.name].concat(),
            None => [order.prefix, variable.name].concat(),
        };
        environment.set(&name, variable.value);
    }
    chain.run_with(ENVINI, order.child.len(), &environment)
}
