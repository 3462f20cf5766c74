//! svup: tells by its exit code whether a service is up.
#![no_std]
#![no_main]

extern crate alloc;

use client::observe::{self, Boot, Half, StatusFile, Trouble};
use client::svpath::Paths;
use core::ffi::CStr;
use linux::entry::Args;
use linux::errno::Errno;
use linux::file::{self, HERE};
use linux::getopt::Options;
use linux::heap::Heap;
use linux::program::{Program, USAGE};
use ondisk::names::{LOG, LOG_RECORD, OK, RECORD, STATUS};
use ondisk::record::Phase;
use ondisk::status::State;

linux::entry!(run);
linux::no_std_program!("svup");

#[global_allocator]
static HEAP: Heap = Heap::new();

const SVUP: Program = Program("svup");
const USAGE_TEXT: &str = "svup [-L] [-l] dir";
/// Not up; wrong usage has the same code, as in daemontools-encore.
const NOT_UP: i32 = USAGE;

/// `-l` and `-L`, the last of them counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Both, the logger only where the supervise folder tells of one.
    Both,
    Service,
    Logger,
}

fn run(args: Args) -> i32 {
    if let Some(code) = SVUP.standard(args, USAGE_TEXT) {
        return code;
    }
    let mut which = Which::Both;
    let mut options = Options::new(1, "lL");
    while let Some(option) = options.next_in(SVUP, args) {
        which = match option {
            Ok((b'l', _)) => Which::Service,
            Ok(_) => Which::Logger,
            Err(()) => return SVUP.usage(USAGE_TEXT),
        };
    }
    let Some(dir) = args.get(options.rest()).map(CStr::to_bytes) else {
        return SVUP.usage(USAGE_TEXT);
    };
    let mut paths = Paths::from_environment();
    match is_up(dir, which, &mut paths) {
        Ok(true) => 0,
        Ok(false) => NOT_UP,
        Err(code) => code,
    }
}

fn is_up(dir: &[u8], which: Which, paths: &mut Paths) -> Result<bool, i32> {
    let Some(status) = read(dir, paths)? else { return Ok(false) };
    if which != Which::Logger && !half_is_up(&status.service()) && !record_says_started(paths) {
        return Ok(false);
    }
    if which == Which::Service {
        return Ok(true);
    }
    if let Some(logger) = status.logger() {
        return Ok(half_is_up(&logger));
    }
    if let Some(record) = observe::read_record(paths, LOG_RECORD) {
        return Ok(Boot::this().has(&record, &record.process));
    }
    if which == Which::Both {
        return Ok(true);
    }
    // A logger with a service directory of its own.
    if file::stat(HERE, paths.in_dir(LOG), true).is_ok_and(|log| log.is_dir()) {
        let log = [dir, b"/", LOG.to_bytes()].concat();
        return Ok(read(&log, paths)?.is_some_and(|log| half_is_up(&log.service())));
    }
    Ok(false)
}

fn half_is_up(half: &Half) -> bool {
    half.status.pid != 0 || matches!(half.state(), Some(State::Started | State::Running))
}

/// Tells what 18 bytes cannot: the service is up without a process.
fn record_says_started(paths: &mut Paths) -> bool {
    observe::read_record(paths, RECORD).is_some_and(|record| record.phase == Phase::Started)
}

/// Reads the status of a service that is supervised; `None` = it is not.
fn read(dir: &[u8], paths: &mut Paths) -> Result<Option<StatusFile>, i32> {
    let chdir = |why| SVUP.fatal(&[b"unable to chdir to ", dir], why);
    paths.set(dir).map_err(chdir)?;
    paths.check().map_err(chdir)?;
    let missing = |why: &Errno| *why == Errno(libc::ENOENT);
    match observe::is_kept(paths) {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(why) if missing(&why) => return Ok(None),
        Err(why) => return Err(fatal(b"unable to open ", OK, paths, why)),
    }
    match observe::read_status(paths) {
        Ok(status) => Ok(Some(status)),
        Err(Trouble::OpenStatus(why)) if missing(&why) => Ok(None),
        Err(Trouble::OpenStatus(why)) => Err(fatal(b"unable to open ", STATUS, paths, why)),
        Err(Trouble::ReadStatus(Some(why))) => Err(fatal(b"unable to read ", STATUS, paths, why)),
        Err(_) => {
            let file = paths.shown_with_dir(STATUS);
            Err(SVUP.fatal_plain(&[b"bad data in ", &file, b": truncated file"]))
        }
    }
}

fn fatal(verb: &[u8], name: &CStr, paths: &Paths, why: Errno) -> i32 {
    SVUP.fatal(&[verb, &paths.shown_with_dir(name)], why)
}
