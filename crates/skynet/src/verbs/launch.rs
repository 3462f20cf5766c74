//! `skynet launch`: an engine is to begin a process.

use crate::engine::tree::{Object, raw};
use crate::engine::{machine, message, process_file, send, serve};
use crate::failure::{Answer, Failure};
use crate::here::Here;
use clap::Args;
use exo::settings::BrokerKind;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use work::wire;

/// Has the engine begin a process.
///
/// FILE is a process in YAML, or a definition as the engine itself reads it: JSON, Ruby or XML. The
/// engine that comes with skynet understands YAML, JSON, and Ruby that is no program. What stands in FILE with .conf in the
/// place of its ending goes into the fields. Over RabbitMQ it may be another engine that reads it, which
/// gives the process a name of its own.
#[derive(Debug, Args)]
pub struct Launch {
    #[command(flatten)]
    start: Start,
    /// An object: wfid.
    #[arg(long)]
    json: bool,
}

/// What is begun.
#[derive(Debug, Args)]
pub struct Start {
    /// The process.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// A field of its first item; a value that is JSON is that, any other is text. May come several
    /// times.
    #[arg(short, long = "field", value_name = "KEY=VALUE")]
    fields: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// The process cannot be read, or the engine's queue not be used.
pub fn run(args: &Launch, here: &Here) -> Answer {
    here.is_for_owner("launch processes on")?;
    let wfid = machine::new_wfid(serve::now());
    let message = message(&args.start, Some(&wfid))?;
    let is_ours = here.site.broker.kind == BrokerKind::Embedded;
    if is_ours {
        message::read(&message).map_err(Failure::refused)?;
    }
    send::send(here, vec![message])?;
    let line = if args.json {
        format!("{{\"wfid\":\"{wfid}\"}}\n")
    } else if !is_ours {
        format!("{wfid}: launched; an engine that is not skynet's calls it otherwise\n")
    } else {
        format!("{wfid}: launched\n")
    };
    here.screen.put(&line)?;
    Ok(0)
}

/// Returns the message that launches it. What is YAML goes as every engine understands it.
///
/// # Errors
/// What is wrong with the file, the one beside it, or the fields.
pub fn message(start: &Start, wfid: Option<&str>) -> Result<Vec<u8>, Failure> {
    let Start { file, fields } = start;
    let bytes = fs::read(file).map_err(|why| Failure::io("read", file.display(), &why))?;
    let is_yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let (definition, mut all) = if is_yaml {
        let process = process_file::read_named(file, &bytes)?;
        (raw(&process.tree), process.fields)
    } else {
        let text = String::from_utf8(bytes);
        let text = text.map_err(|_| {
            Failure::refused(format!("unable to read {}: it is not UTF-8", file.display()))
        })?;
        (raw(&text), Object::new())
    };
    all.extend(beside(&file.with_extension("conf"))?);
    all.extend(given(fields)?);
    Ok(wire::launch(&definition, Some(&raw(&all)), wfid))
}

/// Reads JSON with lines of comments.
fn beside(path: &Path) -> Result<Object, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(why) if why.kind() == ErrorKind::NotFound => return Ok(Object::new()),
        Err(why) => return Err(Failure::io("read", path.display(), &why)),
    };
    let is_comment = |line: &&str| line.trim_start().starts_with('#');
    // Lines keep their numbers.
    let lines = text.lines().map(|line| if is_comment(&line) { "" } else { line });
    let json = lines.collect::<Vec<_>>().join("\n");
    serde_json::from_str(&json)
        .map_err(|why| Failure::refused(format!("unable to read {}: {why}", path.display())))
}

fn given(fields: &[String]) -> Result<Object, Failure> {
    let mut all = BTreeMap::new();
    for field in fields {
        let Some((key, value)) = field.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("\"{field}\" is no KEY=VALUE")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| raw(value));
        if all.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("field {key} is given twice")));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_command_line_come_over_those_beside_the_file_and_these_over_its_own() {
        let dir = testkit::Scratch::new();
        let file = dir.join("p.yaml");
        fs::write(&file, "process: p\nfields: {a: 1, b: 1, c: 1.0}\nsteps: [do: x]\n").unwrap();
        fs::write(dir.join("p.conf"), "# which\n{\n  # why\n  \"b\": 2, \"a\": 2}\n").unwrap();
        let start = Start { file, fields: vec!["a=3".into(), "t=x y".into()] };
        let message = String::from_utf8(message(&start, None).unwrap()).unwrap();
        let fields = "\"fields\":{\"a\":3,\"b\":2,\"c\":1.0,\"t\":\"x y\"},\"variables\":null}";
        assert!(message.ends_with(fields), "{message}");
        assert!(message.starts_with("{\"definition\":[\"define\",{\"name\":\"p\"},"), "{message}");
    }

    #[test]
    fn what_is_no_yaml_goes_as_it_is() {
        let dir = testkit::Scratch::new();
        let file = dir.join("p.pdef");
        fs::write(&file, "Ruote.process_definition do\nend\n").unwrap();
        let start = Start { file, fields: Vec::new() };
        let message = String::from_utf8(message(&start, None).unwrap()).unwrap();
        assert!(message.contains("\"definition\":\"Ruote.process_definition do\\nend\\n\""));
        let twice = Start { fields: vec!["a=1".into(), "a=2".into()], ..start };
        assert_eq!(super::message(&twice, None).unwrap_err().code, 100);
        fs::write(dir.join("p.conf"), "{\n# x\n\"a\" 1}").unwrap();
        let bad = Start { fields: Vec::new(), ..twice };
        let said = super::message(&bad, None).unwrap_err().lines[0].clone();
        assert!(said.contains("p.conf: expected `:` at line 3 column 5"), "{said}");
    }
}
