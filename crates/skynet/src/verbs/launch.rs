//! `skynet launch`: an engine is to begin a process.

use crate::engine::tree::{Object, raw};
use crate::engine::{machine, message, process_file, send, serve};
use crate::failure::{Answer, Failure, warn};
use crate::here::Here;
use clap::Args;
use exo::settings::BrokerKind;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use work::wire;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Has the engine begin a process.
///
/// FILE is a process in YAML, or a definition as the engine itself reads it: JSON, which is sent as the
/// tree that it is, or Ruby or XML, as text. The
/// engine that comes with skynet understands YAML, JSON, and Ruby that is no program. What stands in FILE with .conf in the
/// place of its ending goes into the fields. Over RabbitMQ it may be another engine that reads it, which
/// gives the process a name of its own.
#[derive(Debug, Args)]
pub struct Launch {
    #[command(flatten)]
    start: Start,
    /// A variable of the process, as --field gives a field, for an engine that has variables: skynet's own
    /// has none, and refuses the launch. May come several times.
    #[arg(long = "variable", value_name = "KEY=VALUE")]
    variables: Vec<String>,
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
    let is_ours = here.site.broker.kind == BrokerKind::Embedded;
    let message = message(&args.start, &args.variables, Some(&wfid), is_ours)?;
    if is_ours {
        message::read(&message).map_err(Failure::refused)?;
    } else if !args.variables.is_empty() {
        warn("skynet's own engine has no variables, and refuses what sets some");
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

/// Returns the message that launches it. What is YAML goes as every engine understands it; what ours does
/// not is told, where another may.
///
/// # Errors
/// What is wrong with the file, the one beside it, the fields, or the variables.
pub fn message(
    start: &Start,
    variables: &[String],
    wfid: Option<&str>,
    is_ours: bool,
) -> Result<Vec<u8>, Failure> {
    let Start { file, fields } = start;
    let bytes = fs::read(file).map_err(|why| Failure::io("read", file.display(), &why))?;
    let (definition, mut all) = definition(file, bytes, is_ours)?;
    all.extend(beside(&file.with_extension("conf"))?);
    all.extend(given("field", fields)?);
    let variables = given("variable", variables)?;
    let variables = (!variables.is_empty()).then(|| raw(&variables));
    Ok(wire::launch(&definition, Some(&raw(&all)), variables.as_deref(), wfid))
}

/// Returns what a file defines, and the fields that it sets itself.
///
/// Source: wire format of the engine, section 7.
fn definition(
    file: &Path,
    bytes: Vec<u8>,
    is_ours: bool,
) -> Result<(Box<RawValue>, Object), Failure> {
    let ends = |with: &[&str]| file.extension().is_some_and(|end| with.iter().any(|e| end == *e));
    let begins = |with: &[u8]| text_of(&bytes).trim_ascii_start().starts_with(with);
    let is_json = ends(&["json"]);
    // JSON's objects are YAML's: keys and values, as people write a process.
    if ends(&["yaml", "yml"]) || is_json && begins(b"{") {
        let process = if is_ours {
            process_file::read_named(file, &bytes)?
        } else {
            let (process, lines) = process_file::read_for_another(file, &bytes)?;
            if !lines.is_empty() {
                warn("skynet's own engine does not understand what is sent as it is:");
            }
            for line in &lines {
                warn(line);
            }
            process
        };
        return Ok((raw(&process.tree), process.fields));
    }
    let unable =
        |why: String| Failure::refused(format!("unable to read {}: {why}", file.display()));
    // No definition in another language begins like that.
    if is_json || begins(b"[") {
        let tree =
            serde_json::from_slice(text_of(&bytes)).map_err(|why| unable(why.to_string()))?;
        return Ok((tree, Object::new()));
    }
    let text = String::from_utf8(bytes).map_err(|_| unable("it is not UTF-8".to_owned()))?;
    Ok((raw(&text), Object::new()))
}

/// Returns a text without the mark that some editors write before it.
fn text_of(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
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

fn given(what: &str, pairs: &[String]) -> Result<Object, Failure> {
    let mut all = BTreeMap::new();
    for pair in pairs {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(Failure::usage(format!("\"{pair}\" is no KEY=VALUE")));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| raw(value));
        if all.insert(key.to_owned(), value).is_some() {
            return Err(Failure::usage(format!("{what} {key} is given twice")));
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
        let message = String::from_utf8(message(&start, &[], None, true).unwrap()).unwrap();
        let fields = "\"fields\":{\"a\":3,\"b\":2,\"c\":1.0,\"t\":\"x y\"},\"variables\":null}";
        assert!(message.ends_with(fields), "{message}");
        assert!(message.starts_with("{\"definition\":[\"define\",{\"name\":\"p\"},"), "{message}");
    }

    #[test]
    fn json_goes_as_the_tree_that_it_is_with_every_digit() {
        let dir = testkit::Scratch::new();
        let tree = "[\"define\", {\"name\": \"p\"},\n [[\"a\", {\"n\": 1.50}, []]]]";
        let launched = |name: &str, text: &str| {
            let file = dir.join(name);
            fs::write(&file, text).unwrap();
            let message = message(&Start { file, fields: Vec::new() }, &[], None, true);
            message.map(|bytes| String::from_utf8(bytes).unwrap())
        };
        for (name, text) in
            [("p.json", format!("\u{feff}{tree}\n")), ("p.pdef", format!("\n{tree}\n"))]
        {
            let message = launched(name, &text).unwrap();
            assert!(message.starts_with(&format!("{{\"definition\":{tree},")), "{message}");
            assert!(message::read(message.as_bytes()).is_ok(), "{message}");
        }
        let file = "{\n\t\"process\": \"p\", \"fields\": {\"n\": 1.50},\n\t\"steps\": [{\"do\": \"x\"}]\n}\n";
        let message = launched("file.json", file).unwrap();
        assert!(message.starts_with("{\"definition\":[\"define\",{\"name\":\"p\"},"), "{message}");
        assert!(message.contains("\"fields\":{\"n\":1.50}"), "{message}");
        for (name, text, said) in [
            ("a.json", "[\"define\",\n  {\"name\" 1}]", "a.json: expected `:` at line 2 column 11"),
            ("b.pdef", "[\"define\",\n{},", "b.pdef: EOF while parsing a value at line 2 column 3"),
            ("c.json", "define", "c.json: expected value at line 1 column 1"),
            ("d.json", "[]]", "d.json: trailing characters at line 1 column 3"),
            (
                "e.json",
                "{\n  \"process\": p,\n  \"stops\": []}",
                "e.json: line 3, column 3: stops: ",
            ),
        ] {
            let failure = launched(name, text).unwrap_err();
            assert_eq!(failure.code, 1, "{failure:?}");
            assert!(failure.lines[0].contains(said), "{:?}", failure.lines);
        }
    }

    #[test]
    fn variables_go_beside_the_fields_and_this_engine_refuses_them() {
        let dir = testkit::Scratch::new();
        let file = dir.join("p.yaml");
        fs::write(&file, "process: p\nsteps: [do: x]\n").unwrap();
        let start = Start { file, fields: vec!["a=1".into()] };
        let launched = |variables: &[&str]| {
            let variables: Vec<String> = variables.iter().map(ToString::to_string).collect();
            message(&start, &variables, None, true)
        };
        let message = launched(&["n=1.50", "t=x y", "o={\"a\":[1]}"]).unwrap();
        let end =
            "\"fields\":{\"a\":1},\"variables\":{\"n\":1.50,\"o\":{\"a\":[1]},\"t\":\"x y\"}}";
        assert!(String::from_utf8_lossy(&message).ends_with(end), "{message:?}");
        assert!(message::read(&message).unwrap_err().contains("no variables"));
        for bad in [&["x"][..], &["=1"], &["v=1", "v=2"]] {
            assert_eq!(launched(bad).unwrap_err().code, 100);
        }
    }

    #[test]
    fn what_is_neither_yaml_nor_json_goes_as_it_is() {
        let dir = testkit::Scratch::new();
        let file = dir.join("p.pdef");
        fs::write(&file, "Ruote.process_definition do\nend\n").unwrap();
        let start = Start { file, fields: Vec::new() };
        let message = String::from_utf8(message(&start, &[], None, true).unwrap()).unwrap();
        assert!(message.contains("\"definition\":\"Ruote.process_definition do\\nend\\n\""));
        let twice = Start { fields: vec!["a=1".into(), "a=2".into()], ..start };
        assert_eq!(super::message(&twice, &[], None, true).unwrap_err().code, 100);
        fs::write(dir.join("p.conf"), "{\n# x\n\"a\" 1}").unwrap();
        let bad = Start { fields: Vec::new(), ..twice };
        let said = super::message(&bad, &[], None, true).unwrap_err().lines[0].clone();
        assert!(said.contains("p.conf: expected `:` at line 3 column 5"), "{said}");
    }
}
