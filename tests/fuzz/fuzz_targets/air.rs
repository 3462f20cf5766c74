#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code)] // Each target has one.
mod properties;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| properties::air(bytes));
