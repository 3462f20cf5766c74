//! The participants below examples/, at real work.

use crate::{here, python, pythons};
use participant::protocol::ToParticipant;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use testkit::Scratch;
use testkit::exo::{Ended, Exo, OneItem, Program};

fn example(file: &str) -> String {
    let path = here().join("../../examples").join(file);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Has items worked on by one process, and returns the last word about each.
fn persistent(program: &Program, items: &[Value]) -> Vec<Value> {
    let mut exo = Exo::greet(program, "{}");
    let mut answers = Vec::new();
    for (id, item) in (1..).zip(items) {
        exo.work(id, &item.to_string());
        let answer = loop {
            let said = exo.hear();
            if said["type"] != json!("progress") {
                break said;
            }
        };
        answers.push(answer);
    }
    exo.say(&ToParticipant::Shutdown);
    assert_eq!(exo.end().code, Some(0), "{}", exo.log());
    answers
}

fn fields(fields: &Value) -> Value {
    json!({"fei": {"wfid": "w"}, "fields": fields})
}

/// Writes a source package: `hello`, or one with something evil in it.
const PACKAGE: &str = r#"
import hashlib, io, os, sys, tarfile
folder, evil = sys.argv[1:]
def archive(name, members):
    with tarfile.open(os.path.join(folder, name), "w:xz") as tar:
        for path, data in members:
            info = tarfile.TarInfo(path)
            if data.startswith("-> "):
                info.type, info.linkname = tarfile.SYMTYPE, data[3:]
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data.encode()))
    with open(os.path.join(folder, name), "rb") as file:
        data = file.read()
    return f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}"
upstream = [("hello-1.0/src/hello.c", "int main(void) { return 0; }"), ("hello-1.0/doc/link", "-> ../src/hello.c")]
upstream += [tuple(evil.split("=", 1))] if evil else []
sums = [
    archive("hello_1.0-1.debian.tar.xz", [("debian/control", "Source: hello"), ("debian/rules", "x")]),
    archive("hello_1.0.orig.tar.xz", upstream),
]
with open(os.path.join(folder, "hello_1.0-1.dsc"), "w") as file:
    file.write("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 3.0 (quilt)\nSource: hello\n")
    file.write("Version: 1.0-1\nChecksums-Sha256:\n" + "\n".join(sums) + "\n\n-----BEGIN PGP SIGNATURE-----\nx\n")
"#;

/// Makes a folder with a package in it; returns the item that asks for it.
fn package(scratch: &Scratch, name: &str, evil: &str) -> (PathBuf, Value) {
    let folder = scratch.join(name);
    fs::create_dir(&folder).unwrap();
    let made = Command::new(&pythons()[0]).args(["-c", PACKAGE, text(&folder), evil]).status();
    assert!(made.unwrap().success());
    let item = json!({"dsc": folder.join("hello_1.0-1.dsc"), "into": folder});
    (folder, fields(&item))
}

#[test]
fn a_source_package_is_checked_and_unpacked() {
    let scratch = Scratch::new();
    let (folder, good) = package(&scratch, "good", "");
    let (damaged, bad) = package(&scratch, "damaged", "");
    fs::write(damaged.join("hello_1.0.orig.tar.xz"), "x").unwrap();
    let (early, missing) = package(&scratch, "early", "");
    fs::remove_file(early.join("hello_1.0-1.debian.tar.xz")).unwrap();
    let none = fields(&json!({"dsc": example("debian-source/exo.yaml"), "into": folder}));
    for interpreter in pythons() {
        let program = python(interpreter, &[&example("debian-source/unpack.py")]);
        // Twice, as after an outage.
        let items = [good.clone(), good.clone(), bad.clone(), missing.clone(), none.clone()];
        let answers = persistent(&program, &items);
        for answer in &answers[..2] {
            let out = &answer["item"]["fields"];
            assert_eq!((&out["version"], &out["files"]), (&json!("1.0-1"), &json!(4)), "{answer}");
        }
        let control = fs::read_to_string(folder.join("hello-1.0-1/debian/control")).unwrap();
        assert_eq!(control, "Source: hello");
        assert!(fs::read(folder.join("hello-1.0-1/doc/link")).unwrap().starts_with(b"int main"));
        let codes: Vec<&Value> = answers[2..].iter().map(|answer| &answer["code"]).collect();
        assert_eq!(codes, [&json!(11), &json!(1), &json!(10)]);
    }
    // Nothing half done is left.
    let left = |folder: &Path| fs::read_dir(folder).unwrap().count();
    assert_eq!((left(&folder), left(&damaged), left(&early)), (4, 3, 2));
}

#[test]
fn what_a_source_package_lacks_is_said_in_one_sentence() {
    let scratch = Scratch::new();
    let into = scratch.path();
    let dsc = scratch.join("no.dsc");
    let later = format!("{} is not there yet", dsc.display());
    let cases = [
        (json!({ "into": into }), 10, "field dsc is missing, or no path"),
        (json!({ "dsc": 7, "into": into }), 10, "field dsc is missing, or no path"),
        (json!({ "dsc": dsc }), 10, "field into is missing, or no path"),
        (json!({ "dsc": dsc, "into": into }), 1, &*later),
    ];
    let items = cases.each_ref().map(|(said, ..)| fields(said));
    for interpreter in pythons() {
        let program = python(interpreter, &[&example("debian-source/unpack.py")]);
        let answers = persistent(&program, &items);
        for (answer, (_, code, text)) in answers.iter().zip(&cases) {
            assert_eq!((&answer["code"], &answer["text"]), (&json!(code), &json!(text)));
        }
    }
}

/// Both have no page that is served, and no package, and say so: the kit is found.
#[test]
fn the_participants_in_python_run_by_hand_as_their_readmes_say() {
    for (name, says) in [("check-links", "refused"), ("debian-source", "is not there yet")] {
        let folder = PathBuf::from(example(name));
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let mut lines = readme.lines().filter_map(|line| line.strip_prefix("    "));
        let line = lines.find(|line| line.ends_with("<items")).expect("how to run it");
        let typed = ["http://127.0.0.1:8000/", "/var/tmp/hello"];
        let nowhere = ["http://127.0.0.1:1/", "/nowhere/hello"];
        let items = fs::read_to_string(folder.join("items")).unwrap();
        let items = items.replace(typed[0], nowhere[0]).replace(typed[1], nowhere[1]);
        let scratch = Scratch::new();
        fs::write(scratch.join("items"), items).unwrap();
        let line = line.replace("<items", &format!("<{}", scratch.join("items").display()));
        let said = testkit::run(
            Command::new("/bin/sh")
                .args(["-c", &line])
                .current_dir(folder)
                .env_remove("PYTHONPATH")
                .env("PYTHONDONTWRITEBYTECODE", "1"),
        );
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err().contains(says), "{said:?}");
    }
}

#[test]
fn a_source_package_cannot_write_elsewhere() {
    let scratch = Scratch::new();
    let evil = [
        "hello-1.0/../../out=x",
        "hello-1.0/a/../../../out=x",
        "/hello-1.0/out=x",
        "hello-1.0/l=-> /etc",
        "hello-1.0/l=-> ../out",
        "hello-1.0/l=-> src/../../out",
    ];
    for interpreter in pythons() {
        let program = python(interpreter, &[&example("debian-source/unpack.py")]);
        for (number, member) in evil.iter().enumerate() {
            let name = format!("{number}{}", interpreter.display()).replace('/', "_");
            let (folder, item) = package(&scratch, &name, member);
            let answer = &persistent(&program, &[item])[0];
            assert_eq!(answer["code"], json!(12), "{member}: {answer}");
            assert_eq!(fs::read_dir(folder).unwrap().count(), 3, "{member}");
        }
    }
    assert!(!scratch.join("out").exists());
}

/// Serves the files of a folder; those whose name says so only where they are asked for by GET.
const SERVE: &str = r#"
import http.server, functools, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_HEAD(self):
        for code in (405, 501):
            if f"get-only-{code}" in self.path:
                return self.send_error(code)
        super().do_HEAD()
handler = functools.partial(Handler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"#;

/// A web server on this machine alone, ended with the test.
struct Server(Child, String);

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(&pythons()[0])
            .args(["-c", SERVE, text(folder)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, format!("http://127.0.0.1:{}", port.trim()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn links_of_a_page_are_checked() {
    let scratch = Scratch::new();
    let page = "<a href=there.html#x>1</a> <a href='there.html'>2</a> <img src=/nowhere.png>\
                <a href=mailto:x>3</a> <a href='http://127.0.0.1:1/'>4</a>";
    fs::write(scratch.join("index.html"), page).unwrap();
    fs::write(scratch.join("there.html"), "x").unwrap();
    let server = Server::start(scratch.path());
    let url = |path: &str| fields(&json!({"url": format!("{}{path}", server.1)}));
    let gone = fields(&json!({"url": "http://127.0.0.1:1/"}));
    let odd = fields(&json!({"url": "file:///etc/passwd"}));
    for interpreter in pythons() {
        let program = python(interpreter, &[&example("check-links/links.py")]);
        let items = [url("/"), url("/nowhere"), gone.clone(), odd.clone()];
        let answers = persistent(&program, &items);
        let out = &answers[0]["item"]["fields"];
        assert_eq!(out["links"], json!(3), "{}", answers[0]);
        let nowhere = json!({"url": format!("{}/nowhere.png", server.1), "reason": "404"});
        assert_eq!(out["broken"][0], nowhere);
        assert!(out["broken"][1]["reason"].as_str().unwrap().contains("refused"), "{out}");
        let codes: Vec<&Value> = answers[1..].iter().map(|answer| &answer["code"]).collect();
        assert_eq!(codes, [&json!(10), &json!(1), &json!(10)]);
    }
}

#[test]
fn a_link_whose_server_answers_get_alone_is_a_good_one() {
    let scratch = Scratch::new();
    let page = "<a href=get-only-405.html>1</a> <a href=get-only-501.html>2</a>\
                <a href=get-only-405-gone.html>3</a>";
    fs::write(scratch.join("index.html"), page).unwrap();
    // Longer than what fits in between: nobody is to read it.
    for name in ["get-only-405.html", "get-only-501.html"] {
        fs::write(scratch.join(name), vec![b'x'; 32 << 20]).unwrap();
    }
    let server = Server::start(scratch.path());
    let gone = format!("{}/get-only-405-gone.html", server.1);
    for interpreter in pythons() {
        let program = python(interpreter, &[&example("check-links/links.py")]);
        let answer = &persistent(&program, &[fields(&json!({ "url": server.1 }))])[0];
        let out = &answer["item"]["fields"];
        let broken = json!([{ "url": gone, "reason": "404" }]);
        assert_eq!((&out["links"], &out["broken"]), (&json!(3), &broken), "{answer}");
    }
}

#[test]
fn no_link_of_a_page_keeps_the_others_from_being_checked() {
    let scratch = Scratch::new();
    // A server that speaks something else.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let odd = format!("http://{}/", other.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in other.incoming().flatten() {
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(b"220 ready\r\n");
        }
    });
    let page = format!(
        "<a href='a b.html'>1</a> <a href=' \u{e4}.html?q=\u{e4} b '>2</a> <a href='a%20b.html'>3</a>\
         <a href='http://[x/'>4</a> <a href='//[y'>5</a> <a href='http://a b/'>6</a> <a href='{odd}'>7</a>\
         <a href='http://\u{e4}..b/'>8</a> <a href='gone \u{e4}.html'>9</a>"
    );
    let page = format!("<meta charset=utf-8>{page}");
    for name in ["index.html", "a b.html", "\u{e4}.html"] {
        fs::write(scratch.join(name), &page).unwrap();
    }
    let server = Server::start(scratch.path());
    let item = |url: &str| fields(&json!({ "url": url }));
    let items = [
        item(&server.1),
        item(&format!("{}/\u{e4}.html", server.1)),
        item("http://[x/"),
        item("http://a b/"),
    ];
    for interpreter in pythons() {
        let program = python(interpreter, &[&example("check-links/links.py")]);
        let answers = persistent(&program, &items);
        for answer in &answers[..2] {
            let out = &answer["item"]["fields"];
            let broken = out["broken"].as_array().unwrap_or_else(|| panic!("{answer}"));
            let is_told = |url: &str| {
                let reason = &broken.iter().find(|link| link["url"] == url).unwrap()["reason"];
                reason.as_str().is_some_and(|reason| !reason.is_empty())
            };
            let gone = format!("{}/gone \u{e4}.html", server.1);
            for url in ["http://[x/", "//[y", "http://a b/", &odd, "http://\u{e4}..b/", &gone] {
                assert!(is_told(url), "{url}: {answer}");
            }
            assert_eq!((broken.len(), &out["links"]), (6, &json!(9)), "{answer}");
        }
        let codes: Vec<&Value> = answers[2..].iter().map(|answer| &answer["code"]).collect();
        assert_eq!(codes, [&json!(10), &json!(10)]);
    }
}

#[test]
fn words_of_texts_are_indexed() {
    let scratch = Scratch::new();
    let (one, two, index) = (scratch.join("one"), scratch.join("two"), scratch.join("index"));
    fs::write(&one, "The cat, the Hat.\n").unwrap();
    fs::write(&two, "cat\n\u{dc}ber-cat").unwrap();
    let program = crate::templates::built("word-index");
    let item = |files: &[&Path]| fields(&json!({"files": files, "index": index}));
    let answers = persistent(&program, &[item(&[&one, &two]), item(&[&one, &scratch.join("no")])]);
    assert_eq!(answers[0]["item"]["fields"]["words"], json!(4), "{}", answers[0]);
    assert_eq!(answers[1]["code"], json!(10));
    let (one, two) = (one.display(), two.display());
    let expected =
        format!("cat\t{one}:1\t{two}:2\nhat\t{one}:1\nthe\t{one}:2\n\u{fc}ber\t{two}:1\n");
    assert_eq!(fs::read_to_string(index).unwrap(), expected);
}

/// Writes a tarball with a project in it, whose program is this code.
fn project(tarball: &Path, code: &str) {
    let makefile = "all: hello\ninstall:\n\tmkdir -p $(DESTDIR)/bin\n\tcp hello $(DESTDIR)/bin\n";
    let scratch = Scratch::new();
    let source = scratch.join("hello");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("Makefile"), makefile).unwrap();
    fs::write(source.join("hello.c"), code).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["-czf", text(tarball), "-C", text(scratch.path()), "hello"]);
    assert!(tar.status().unwrap().success());
}

fn build_c(tarball: &Path, into: &Path) -> Ended {
    let program = Program { command: vec![example("build-c/build")], environment: Vec::new() };
    let item = fields(&json!({"tarball": tarball, "into": into}));
    OneItem::start(&program, item.to_string().as_bytes(), &[]).end()
}

#[test]
fn a_project_is_built_and_its_log_kept() {
    let scratch = Scratch::new();
    let build = |name: &str, code: &str| -> Ended {
        let tarball = scratch.join(&format!("{name}.tar.gz"));
        project(&tarball, code);
        build_c(&tarball, scratch.path())
    };
    let good = "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n";
    for _ in 0..2 {
        let ended = build("hello-1.0", good);
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        let answer: Value = serde_json::from_str(&ended.answer).unwrap();
        let made = PathBuf::from(answer["fields"]["made"].as_str().unwrap());
        assert_eq!(testkit::run(&mut Command::new(made.join("bin/hello"))).out(), "hello\n");
        let log = fs::read_to_string(answer["fields"]["log"].as_str().unwrap()).unwrap();
        assert!(log.contains("hello.c"), "{log}");
    }
    let ended = build("broken-1.0", "int main(void) { return x; }\n");
    assert_eq!((ended.code, &*ended.answer), (Some(12), ""), "{}", ended.log);
    let log = fs::read_to_string(scratch.join("broken-1.0.log")).unwrap();
    assert!(log.contains("error"), "{log}");
    let left: Vec<_> =
        fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
    assert_eq!(build_c(&scratch.join("no.tar.gz"), scratch.path()).code, Some(1));
}

#[test]
fn a_build_deletes_nothing_but_what_an_earlier_one_made() {
    let code = "int main(void) { return 0; }\n";
    for (name, made) in [
        ("hello-1.0.tgz", "hello-1.0"),
        ("hello-1.0.tar", "hello-1.0"),
        ("hello.tar.1.tar.gz", "hello.tar.1"),
        ("hello", "hello.made"),
    ] {
        let scratch = Scratch::new();
        let tarball = scratch.join(name);
        project(&tarball, code);
        let before = fs::read(&tarball).unwrap();
        for _ in 0..2 {
            let ended = build_c(&tarball, scratch.path());
            assert_eq!(ended.code, Some(0), "{name}: {}", ended.log);
            let answer: Value = serde_json::from_str(&ended.answer).unwrap();
            assert_eq!(answer["fields"]["made"], json!(scratch.join(made)));
        }
        assert_eq!(fs::read(&tarball).unwrap(), before, "{name}");
    }

    // What would be deleted is the folder itself, the one above it, the tarball, or a file.
    let scratch = Scratch::new();
    let within = scratch.join("within");
    fs::create_dir(&within).unwrap();
    symlink("within/real", scratch.join("within.tgz")).unwrap();
    fs::write(scratch.join("file"), "kept").unwrap();
    for name in [".tar.gz", ".tgz", "..tar.gz", "...tar.gz", "within/within.tgz", "file.tgz"] {
        project(&scratch.join(name), code);
        let ended = build_c(&scratch.join(name), scratch.path());
        assert_eq!((ended.code, &*ended.answer), (Some(10), ""), "{name}: {}", ended.log);
        assert!(scratch.join(name).is_file(), "{name}");
    }
    project(&within.join("real"), code);
    assert_eq!(build_c(&scratch.join("within.tgz"), scratch.path()).code, Some(10));
    assert!(within.join("real").is_file());
    assert_eq!(fs::read_to_string(scratch.join("file")).unwrap(), "kept");
}

#[test]
fn every_example_has_what_a_service_directory_needs() {
    for name in ["debian-source", "check-links", "word-index", "build-c"] {
        for script in ["run", "log/run"] {
            let script = PathBuf::from(example(&format!("{name}/{script}")));
            assert!(testkit::scratch::is_executable(&script), "{}", script.display());
        }
        let items = fs::read_to_string(example(&format!("{name}/items"))).unwrap();
        for item in items.lines() {
            assert!(serde_json::from_str::<Value>(item).unwrap()["fields"].is_object(), "{item}");
        }
        let readme = fs::read_to_string(example(&format!("{name}/README.md"))).unwrap();
        assert!(readme.starts_with(&format!("# {name}\n")));
        // As root the logger cannot write otherwise.
        assert!(readme.contains("`install -d -o skynetlog -g skynetlog log/main`"), "{name}");
    }
}
