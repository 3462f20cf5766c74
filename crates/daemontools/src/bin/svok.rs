//! svok: tells by its exit code whether a supervise keeps a service directory.
#![no_main]

use daemontools::observe;
use daemontools::svpath::Paths;
use std::ffi::OsStr;
use sys::linux::errno::Errno;
use sys::program::{Program, USAGE};

sys::program!(run);

const SVOK: Program = Program("svok");

fn run(args: &[&'static OsStr]) -> i32 {
    if let Some(code) = SVOK.standard(args, "svok dir") {
        return code;
    }
    let [dir, ..] = *args else { return SVOK.usage("svok dir") };
    let mut paths = Paths::from_environment();
    let chdir = |why| SVOK.fatal(&["unable to chdir to ".as_ref(), dir], why);
    if let Err(why) = paths.set(dir) {
        return chdir(why);
    }
    match observe::is_kept(&mut paths) {
        Ok(true) => 0,
        Ok(false) => USAGE,
        Err(why) => match paths.check() {
            Err(why) => chdir(why),
            Ok(()) if why == Errno(libc::ENOENT) => USAGE,
            Ok(()) => {
                let file = paths.shown_with_dir(ondisk::names::OK);
                SVOK.fatal(&["unable to open ".as_ref(), &file], why)
            }
        },
    }
}
