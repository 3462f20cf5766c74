//! What a page says is to be typed.

use std::fs;
use std::path::Path;

/// Returns the lines of a block of code of a page in Markdown that begins with the line `first`,
/// without their margin.
///
/// # Panics
/// Where there is none.
#[track_caller]
pub fn block(page: &str, first: &str) -> String {
    let lines = page.lines().skip_while(|line| line.strip_prefix("    ") != Some(first));
    let block = lines.take_while(|line| line.is_empty() || line.starts_with("    "));
    let code: Vec<&str> = block.map(|line| line.get(4..).unwrap_or_default()).collect();
    assert!(!code.is_empty(), "no {first:?} in the page");
    code.join("\n")
}

/// Returns a file of this tree.
///
/// # Panics
/// Where it cannot be read.
#[track_caller]
pub fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}
