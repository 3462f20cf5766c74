//! supervise
#![no_std]
#![no_main]
linux::entry!(run);
linux::no_std_program!("supervise");
fn run(_args: linux::entry::Args) -> i32 {
    linux::message::plain("supervise", "fatal", &[b"x"]);
    100
}
