//! envdir and envini: running a program with variables out of files.

use core::ffi::CStr;
use linux::entry::Args;
use linux::environment::Environment;
use linux::errno::{self, Errno};
use linux::file::{HERE, flags};
use linux::getopt::Options;
use linux::memory::Space;
use linux::program::{Program, TROUBLE};
use linux::{chain, directory, fd, file, process};
use ondisk::envfile::{self, Value};
use ondisk::names::{DAEMONTOOLS_COMPAT, ENCORE};

const ENVDIR: Program = Program("envdir");
const ENVINI: Program = Program("envini");

/// What the command lines of both programs say.
struct Order {
    prefix: &'static [u8],
    source: &'static CStr,
    /// Where the child's words begin.
    child: usize,
}

/// Reads `[ -p prefix ] source child`; `None` = wrong usage.
fn order(program: Program, args: Args) -> Option<Order> {
    let mut options = Options::new(1, "p:");
    let mut prefix: &[u8] = b"";
    while let Some(option) = options.next_in(program, args) {
        prefix = option.ok()?.1;
    }
    bare_order(prefix, args, options.rest())
}

/// The same for 0.76's envdir, which knows no options: a first word `-p` is one all the same, every
/// other is the folder.
fn order_076(args: Args) -> Option<Order> {
    match args.get(2) {
        Some(prefix) if args.len() > 4 && args.get(1) == Some(c"-p") => {
            bare_order(prefix.to_bytes(), args, 3)
        }
        _ => bare_order(b"", args, 1),
    }
}

fn bare_order(prefix: &'static [u8], args: Args, source: usize) -> Option<Order> {
    let child = source + 1;
    let source = args.get(source)?;
    (child < args.len()).then_some(Order { prefix, source, child })
}

/// Says the usage; 111 here, unlike in every other program.
fn usage(program: Program, text: &str) -> i32 {
    let _ = program.usage(text);
    TROUBLE
}

/// The program envdir.
#[must_use]
pub fn envdir(args: Args) -> i32 {
    const USAGE: &str = "envdir [ -p prefix ] dir child";
    if let Some(code) = ENVDIR.standard(args, USAGE) {
        return code;
    }
    let (order, text) = if process::variable(DAEMONTOOLS_COMPAT).is_some_and(|way| way == ENCORE) {
        (order(ENVDIR, args), USAGE)
    } else {
        (order_076(args), "envdir dir child")
    };
    let Some(order) = order else { return usage(ENVDIR, text) };
    let mut environment = Environment::own();
    match take_folder(order.source, order.prefix, &mut environment) {
        Ok(()) => chain::run_with(ENVDIR, args, order.child, &environment),
        Err(code) => code,
    }
}

/// Takes one variable from each file of a folder.
fn take_folder(path: &CStr, prefix: &[u8], environment: &mut Environment) -> Result<(), i32> {
    let flags = flags::O_RDONLY | flags::O_DIRECTORY;
    let folder = file::open(HERE, path, flags, 0).map_err(|why| unable_to_open(path, why))?;
    let mut space = Space::default();
    let failure = directory::for_each(folder.raw(), |file| {
        if file.to_bytes().starts_with(b".") {
            return None;
        }
        let text = match read(folder.raw(), file, &mut space) {
            Ok(text) => text,
            // A link to nowhere, or gone since it was listed: as empty as a file can be.
            Err(Errno(flags::ENOENT)) => &mut [],
            Err(why) => return Some(unable_to_read(path, file, why)),
        };
        take(&[prefix, file.to_bytes()], text, environment);
        None
    });
    match failure {
        Ok(None) => Ok(()),
        Ok(Some(code)) => Err(code),
        Err(why) => Err(ENVDIR.fatal(&[b"unable to read directory ", path.to_bytes()], why)),
    }
}

/// Reads a file into the free space.
fn read<'a>(dir: i32, name: &CStr, space: &'a mut Space) -> errno::Result<&'a mut [u8]> {
    // Not to hang at a FIFO: it counts as an empty file, as in the original.
    let file = file::open(dir, name, flags::O_RDONLY | flags::O_NONBLOCK, 0)?;
    let mut len = 0;
    loop {
        let room = space.room(len, len + 1)?;
        match fd::read(file.raw(), &mut room[len..])? {
            0 => break,
            n => len += n,
        }
    }
    Ok(&mut space.room(len, len)?[..len])
}

fn take(name: &[&[u8]; 2], text: &mut [u8], environment: &mut Environment) {
    let [prefix, file] = name;
    let len = match envfile::value(text) {
        Value::Unset => return environment.put(&[prefix, file]),
        Value::Set(value) => value.len(),
    };
    let value = &mut text[..len];
    for byte in value.iter_mut().filter(|byte| **byte == 0) {
        *byte = b'\n';
    }
    environment.put(&[prefix, file, b"=", value]);
}

/// Says what the original says, which changes into the folder before it reads it.
fn unable_to_open(path: &CStr, why: Errno) -> i32 {
    let what: &[u8] = if why == Errno(flags::EACCES) && file::is_executable(HERE, path) {
        b"unable to read directory "
    } else {
        b"unable to switch to directory "
    };
    ENVDIR.fatal(&[what, path.to_bytes()], why)
}

fn unable_to_read(path: &CStr, file: &CStr, why: Errno) -> i32 {
    if why == Errno(flags::EACCES) && !file::is_executable(HERE, path) {
        return unable_to_open(path, why);
    }
    ENVDIR.fatal(&[b"unable to read ", path.to_bytes(), b"/", file.to_bytes()], why)
}

/// The program envini.
#[must_use]
pub fn envini(args: Args) -> i32 {
    const USAGE: &str = "envini [ -p prefix ] inifile child";
    if let Some(code) = ENVINI.standard(args, USAGE) {
        return code;
    }
    let Some(order) = order(ENVINI, args) else { return usage(ENVINI, USAGE) };
    let mut space = Space::default();
    let text = match read(HERE, order.source, &mut space) {
        Ok(text) => text,
        Err(why) => return ENVINI.fatal(&[b"unable to read ", order.source.to_bytes()], why),
    };
    let mut environment = Environment::own();
    for variable in envfile::ini(text) {
        let (section, line): (&[u8], &[u8]) = variable.section.map_or((b"", b""), |s| (s, b"_"));
        environment.put(&[order.prefix, section, line, variable.name, b"=", variable.value]);
    }
    chain::run_with(ENVINI, args, order.child, &environment)
}
