//! Makes an index of the words of text files.
//!
//! In: `fields.files`, paths; `fields.index`, the file to write. Out: `fields.words`, how many words
//! there are. A line of the index is a word and the files it stands in, each with how often.

use participant::{Context, Fault, Item};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

/// How often a word stands in each file, by the file's number.
type Index = BTreeMap<String, BTreeMap<usize, u64>>;

/// Lines after which somebody may want to know, or to stop.
const BREATH: u64 = 10_000;

fn work(mut item: Item, context: &Context) -> Result<Item, Fault> {
    let files: Vec<String> = item.field("files")?;
    let target: String = item.field("index")?;
    let mut index = Index::new();
    for (number, file) in files.iter().enumerate() {
        context.progress(Some(number as f64 / files.len() as f64), file);
        add(&mut index, number, file, context)?;
    }
    write(&index, &files, &target)?;
    println!("{target}: {} words of {} files", index.len(), files.len());
    item.set_field("words", &index.len())?;
    Ok(item)
}

fn add(index: &mut Index, number: usize, file: &str, context: &Context) -> Result<(), Fault> {
    let opened = fs::File::open(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Fault::finally(format!("{file}: {error}")),
        _ => Fault::retry(format!("{file}: {error}")),
    })?;
    let mut reader = BufReader::new(opened);
    let mut line = Vec::new();
    let mut count = 0_u64;
    while reader.read_until(b'\n', &mut line)? > 0 {
        let text = String::from_utf8_lossy(&line).to_lowercase();
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *index.entry(word.to_owned()).or_default().entry(number).or_default() += 1;
        }
        line.clear();
        count += 1;
        if count.is_multiple_of(BREATH) {
            context.check()?;
        }
    }
    Ok(())
}

/// Written aside and renamed: whoever reads the index finds the old one or the new one.
fn write(index: &Index, files: &[String], target: &str) -> Result<(), Fault> {
    let new = format!("{target}.new");
    let mut out = BufWriter::new(fs::File::create(&new)?);
    for (word, places) in index {
        write!(out, "{word}")?;
        for (number, times) in places {
            let file = files.get(*number).map_or("", String::as_str);
            write!(out, "\t{file}:{times}")?;
        }
        writeln!(out)?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    fs::rename(&new, target)?;
    Ok(())
}

fn main() -> ExitCode {
    participant::run(work)
}
