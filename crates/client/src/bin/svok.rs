//! svok: tells by its exit code whether a supervise keeps a service directory.
#![no_std]
#![no_main]

use client::observe;
use client::svpath::Paths;
use core::ffi::CStr;
use linux::entry::Args;
use linux::errno::Errno;
use linux::heap::Heap;
use linux::program::{Program, USAGE};

linux::entry!(run);
linux::no_std_program!("svok");

#[global_allocator]
static HEAP: Heap = Heap::new();

const SVOK: Program = Program("svok");

fn run(args: Args) -> i32 {
    if let Some(code) = SVOK.standard(args, "svok dir") {
        return code;
    }
    let Some(dir) = args.get(1).map(CStr::to_bytes) else { return SVOK.usage("svok dir") };
    let mut paths = Paths::from_environment();
    let chdir = |why| SVOK.fatal(&[b"unable to chdir to ", dir], why);
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
                SVOK.fatal(&[b"unable to open ", &file], why)
            }
        },
    }
}
