//! svstat: shows the state of services, a line each; with --json an object each.
#![no_main]

use daemontools::observe::{self, Boot, Trouble};
use daemontools::show::{self, Which};
use daemontools::svpath::Paths;
use daemontools::{encore_rules, json, shares};
use ondisk::tai64n::Stamp;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use sys::getopt::Options;
use sys::linux::terminal::is_terminal;
use sys::program::Program;
use sys::terminal;

sys::program!(run);

const SVSTAT: Program = Program("svstat");
const USAGE_TEXT: &str = "svstat [-L] [-l] dir [dir ...]";

fn run(args: &[&'static OsStr]) -> i32 {
    if let Some(code) = SVSTAT.standard(args, "svstat [--json] dir ...") {
        return code;
    }
    if let [first, dirs @ ..] = args
        && *first == "--json"
    {
        return end(&objects(dirs));
    }
    let encore = encore_rules();
    let mut which = Which::Both;
    let mut dirs = args;
    // In 0.76 there are no options: what looks like one is a directory.
    if encore {
        let mut options = Options::new(args, "lL");
        while let Some(option) = options.next(SVSTAT) {
            which = match option {
                Ok((b'l', _)) => Which::Service,
                Ok(_) => Which::Logger,
                Err(()) => return SVSTAT.usage(USAGE_TEXT),
            };
        }
        dirs = options.rest();
        if dirs.is_empty() {
            return SVSTAT.usage(USAGE_TEXT);
        }
    }
    end(&lines(dirs, encore, which))
}

fn lines(dirs: &[&OsStr], encore: bool, which: Which) -> Vec<u8> {
    let (person, now) = (is_terminal(1), now());
    shares::all(dirs, |dirs| {
        let mut out = Vec::with_capacity(64 * dirs.len());
        let mut paths = Paths::from_environment();
        for dir in dirs {
            let entered = paths.set(dir.as_bytes()).map_err(Trouble::Chdir);
            let seen = entered.and_then(|()| observe::look(&mut paths));
            let name = dir.as_bytes();
            let name = if person { terminal::escaped(name) } else { name.into() };
            show::lines(&mut out, &name, &seen, &mut paths, (encore, which), now);
        }
        out
    })
}

fn objects(dirs: &[&OsStr]) -> Vec<u8> {
    let (boot, now) = (Boot::this(), now());
    shares::all(dirs, |dirs| {
        let mut out = String::new();
        let mut paths = Paths::from_environment();
        for dir in dirs {
            json::service(&mut out, dir, &mut paths, &boot, now);
            out.push('\n');
        }
        out.into_bytes()
    })
}

fn now() -> Stamp {
    let (seconds, nanos) = sys::linux::time::wall();
    Stamp::from_unix(seconds, nanos)
}

fn end(text: &[u8]) -> i32 {
    match show::print(text) {
        Ok(()) => 0,
        Err(why) => SVSTAT.fatal(&["unable to write output".as_ref()], why),
    }
}
