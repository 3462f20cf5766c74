//! exo and a real RabbitMQ that is encrypted, with certificates made for the test.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod host;
mod remote;

use host::item;
use remote::{Remote, trouble};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use testkit::Scratch;
use testkit::rabbit::{PASSWORD, Rabbit};

/// Somebody who signs certificates, and one of a server that they signed, for `localhost` alone.
struct Authority {
    scratch: Scratch,
}

impl Authority {
    fn new() -> Self {
        let authority = Self { scratch: Scratch::new() };
        // exo's worker reads it, which is another user.
        fs::set_permissions(authority.scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ours =
            "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ours";
        let server = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
             -subj /CN=localhost -addext subjectAltName=DNS:localhost \
             -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key";
        for arguments in [ours, server] {
            let mut openssl = Command::new("openssl");
            openssl.args(arguments.split_whitespace()).current_dir(authority.scratch.path());
            let output = openssl.stdin(Stdio::null()).output().expect("openssl");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        authority
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// Has RabbitMQ listen with this certificate, too; returns the port.
    fn serve(&self) -> u16 {
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
        Rabbit::shared().call(&format!(
            "rabbit_networking:start_ssl_listener({{\"127.0.0.1\", {port}}}, \
             [{{certfile, \"{}\"}}, {{keyfile, \"{}\"}}], 1).",
            cert.display(),
            key.display(),
        ));
        port
    }
}

fn lines(host: &str, port: u16, ca: &Path) -> String {
    format!("  host: {host}\n  port: {port}\n  tls: true\n  ca: {}\n", ca.display())
}

/// What is said of a connection that is not made, over which no item came.
fn refused(host: &str, port: u16, ca: &Path) -> String {
    let remote = Remote::by(&lines(host, port, ca));
    let exo = remote.site.exo();
    remote.client().publish("p", item("w1", "{}").as_bytes()).unwrap();
    remote.site.until(|| trouble(&remote.site).is_string());
    let said = trouble(&remote.site).as_str().unwrap().to_owned();
    assert_eq!(remote.messages("p"), Some((1, 0)));
    drop(exo);
    said
}

#[test]
fn items_come_over_an_encrypted_connection_and_are_answered_over_it() {
    let authority = Authority::new();
    let remote = Remote::by(&lines("localhost", authority.serve(), &authority.file("ca.pem")));
    let exo = remote.site.exo();
    let sent = item("w1", r#"{"n":1.0}"#);
    remote.client().publish("p", sent.as_bytes()).unwrap();
    assert_eq!(remote.answers(1)["w1"], [sent.as_bytes()]);
    let encrypted = Rabbit::shared().call(
        "length([C || [{ssl, true}, {user, _}] = C <- rabbit_networking:connection_info_all([ssl, user])]).",
    );
    assert_eq!(encrypted, "1");
    drop(exo);
}

#[test]
fn a_certificate_that_somebody_else_signed_or_for_another_host_is_refused_in_words() {
    let (authority, other) = (Authority::new(), Authority::new());
    let port = authority.serve();
    let said = refused("localhost", port, &other.file("ca.pem"));
    assert!(said.contains("invalid peer certificate") && said.contains("broker.ca"), "{said}");
    assert!(!said.contains("the port"), "{said}");
    let said = refused("127.0.0.1", port, &authority.file("ca.pem"));
    assert!(said.contains("not valid for name") && said.contains("must name the host"), "{said}");
    fs::write(authority.file("none.pem"), "nothing\n").unwrap();
    let said = refused("localhost", port, &authority.file("none.pem"));
    assert!(said.contains("there are none"), "{said}");
}

#[test]
fn a_port_that_may_not_be_one_for_tls_is_told_as_such() {
    let authority = Authority::new();
    let said = refused("localhost", Rabbit::shared().port(), &authority.file("ca.pem"));
    assert!(said.contains("the port may not be one for TLS, as 5671 is"), "{said}");
}

#[test]
fn who_is_not_encrypted_hears_neither_account_nor_password() {
    let authority = Authority::new();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut all = vec![0; 4096];
        let first = stream.read(&mut all).unwrap();
        all.truncate(first);
        // As one that speaks AMQP without TLS would.
        let _ = stream.write_all(b"AMQP\0\0\x09\x01");
        let _ = stream.read_to_end(&mut all);
        all
    });
    let said = refused("localhost", port, &authority.file("ca.pem"));
    assert!(said.contains("no encrypted connection"), "{said}");
    let heard = heard.join().unwrap();
    let says = |what: &str| heard.windows(what.len()).any(|bytes| bytes == what.as_bytes());
    assert_eq!(heard.first(), Some(&0x16), "the first thing is a handshake");
    assert!(!says(PASSWORD) && !says("PLAIN") && !says("AMQP"));
}
