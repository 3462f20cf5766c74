//! How each kind of target is told: a program is run that reads the notice.

use super::child::{Hear, Running};
use super::gather::as_user;
use super::message::Notice;
use crate::failure::Failure;
use crate::here::Here;
use exo::config::notice::{Target, What};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;
use sys::linux::errno::Errno;
use sys::linux::fd;
use sys::linux::file::{self, flags};
use sys::linux::process::euid;
use sys::trusted;

/// The word by which `skynet notice` becomes the process that appends to a file.
pub const WORD: &str = "append";
/// Bytes of what a program says that are kept.
const SAID: usize = 400;
/// Speaks with web servers: TLS and its certificates are the system's to keep up to date.
const CURL: &str = "/usr/bin/curl";
/// Bytes of the longest URL.
const LONGEST_URL: u64 = 4096;
/// So far back in a file a notice is looked for that may be there already.
const BACK: u64 = 4 << 20;

/// Starts telling. `again`: an earlier life may have done it.
///
/// # Errors
/// Why it cannot be started.
pub fn start(
    here: &Here,
    target: &Target,
    sendmail: &Path,
    notice: &Notice,
    again: bool,
) -> Result<Running, String> {
    let user = target.user.as_deref();
    let (mut command, input) = match &target.what {
        What::Command(words) => {
            let mut words = words.iter().map(|word| OsStr::from_bytes(word.to_bytes()));
            let mut command = as_user(here, user, words.next().unwrap_or_default());
            command.args(words);
            (command, notice.line())
        }
        What::Mail(address) => {
            let mut command = as_user(here, user, sendmail.as_os_str());
            // The address is in the letter; a dot alone ends nothing.
            command.args(["-t", "-oi"]);
            (command, notice.letter(address))
        }
        What::Webhook(path) => {
            let mut command = as_user(here, user, OsStr::new(CURL));
            // The URL comes by descriptor 0: arguments and environment are everybody's to see.
            command.args(["-q", "--config", "-"]);
            (command, request(&secret(path)?, &notice.line(), target.time_limit.as_secs()))
        }
        What::File(path) => {
            let own = std::env::current_exe().map_err(|why| why.to_string())?;
            let mut command = Command::new(own);
            command.env_clear().args(["notice", WORD]).arg(path);
            if again {
                command.arg(&notice.id);
            }
            (command, notice.line())
        }
    };
    let program = command.get_program().to_owned();
    Running::start(&mut command, &input, Hear::Errors, SAID)
        .map_err(|why| format!("unable to run {}: {}", program.display(), text(&why)))
}

fn text(why: &io::Error) -> String {
    why.raw_os_error().map_or_else(|| why.to_string(), |n| Errno(n).to_string())
}

/// Reads the URL of a webhook, which nobody else may be able to read.
///
/// # Errors
/// Why not; never with what the file holds.
pub fn secret(path: &Path) -> Result<String, String> {
    let unable = |why: &str| format!("unable to read {}: {why}", path.display());
    let opened = trusted::open_file(path).map_err(|why| unable(&why.to_string()))?;
    if let Some(flaw) = opened.flaw {
        return Err(unable(&format!("not trusted: {flaw}")));
    }
    let mode = file::stat_fd(opened.fd.raw()).map_err(|why| unable(&why.to_string()))?.mode();
    if mode & 0o077 != 0 {
        return Err(unable(&format!("others may read it: chmod 600 {}", path.display())));
    }
    let mut bytes = vec![0; LONGEST_URL as usize];
    let len =
        fd::read_at(opened.fd.raw(), &mut bytes, 0).map_err(|why| unable(&why.to_string()))?;
    let line = bytes[..len].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let url = std::str::from_utf8(line).unwrap_or_default().trim();
    let is_known = url.starts_with("http://") || url.starts_with("https://");
    if !is_known || url.chars().any(|c| c.is_control() || c == ' ') {
        return Err(unable("its first line is no URL that begins with https:// or http://"));
    }
    Ok(url.to_owned())
}

/// Returns curl's configuration: what would be its arguments.
fn request(url: &str, body: &[u8], seconds: u64) -> Vec<u8> {
    let quoted = |text: &str| {
        let mut out = String::from("\"");
        for c in text.chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
        out
    };
    let body = String::from_utf8_lossy(body);
    format!(
        "url = {}\ndata-raw = {}\nheader = \"Content-Type: application/json\"\n\
         proto = \"=http,https\"\nmax-time = {seconds}\noutput = \"/dev/null\"\n\
         fail\nsilent\nshow-error\ngloboff\n",
        quoted(url),
        quoted(body.trim_end()),
    )
    .into_bytes()
}

/// Appends what is on descriptor 0 to a file. `id`: unless a line there has it.
///
/// # Errors
/// The file is not ours alone, or cannot be written.
pub fn append(path: &Path, id: Option<&str>) -> Result<(), Failure> {
    let io = |verb: &str, why: &io::Error| Failure::io(verb, path.display(), why);
    let mut line = Vec::new();
    io::stdin().lock().read_to_end(&mut line).map_err(|why| Failure::io("read", "input", &why))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    match trusted::look(folder) {
        Ok(None) => {}
        Ok(Some(_)) if euid() != 0 => {}
        Ok(Some(flaw)) => {
            return Err(Failure::trouble(format!("unable to write {}: {flaw}", path.display())));
        }
        Err(why) => return Err(Failure::errno("open", folder.display(), why)),
    }
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o640);
    // What is there may be a FIFO that nobody reads.
    options.custom_flags(flags::O_NOFOLLOW | flags::O_NONBLOCK);
    let mut file = options.open(path).map_err(|why| io("open", &why))?;
    let found = file.metadata().map_err(|why| io("examine", &why))?;
    if !found.is_file() || found.nlink() != 1 || found.uid() != euid() {
        let why = "it is not a file of our own with one name";
        return Err(Failure::trouble(format!("unable to write {}: {why}", path.display())));
    }
    file.lock().map_err(|why| io("lock", &why))?;
    if let Some(id) = id
        && has(&mut file, id).map_err(|why| io("read", &why))?
    {
        return Ok(());
    }
    put(&mut file, &line).map_err(|why| io("write", &why))
}

/// Tells whether the end of a file has a line with this id, whole.
fn has(file: &mut File, id: &str) -> io::Result<bool> {
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(BACK)))?;
    let mut bytes = Vec::new();
    file.take(BACK).read_to_end(&mut bytes)?;
    let wanted = format!("\"id\":\"{id}\"");
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    Ok(lines.any(|line| {
        line.ends_with(b"\n") && line.windows(wanted.len()).any(|part| part == wanted.as_bytes())
    }))
}

/// Writes the line, whole or not at all as far as that is ours to decide.
fn put(file: &mut File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let mut last = [b'\n'];
    if before > 0 {
        file.seek(SeekFrom::Start(before - 1))?;
        file.read_exact(&mut last)?;
    }
    // A life that was killed in the middle left half a line.
    let line = if last == [b'\n'] { line.to_vec() } else { [b"\n", line].concat() };
    let written = match file.write(&line) {
        Ok(n) if n == line.len() => return file.sync_data(),
        Ok(n) => n as u64,
        Err(why) if why.kind() == ErrorKind::Interrupted => 0,
        Err(why) => return Err(why),
    };
    if file.metadata()?.len() == before + written {
        file.set_len(before)?;
    }
    Err(ErrorKind::StorageFull.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use testkit::Scratch;

    #[test]
    fn the_url_is_the_first_line_of_a_file_that_nobody_else_may_read() {
        let scratch = Scratch::new();
        let path = scratch.join("hook");
        let mode = |mode| fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        fs::write(&path, "https://x.example/secret-token\nmore\n").unwrap();
        mode(0o600);
        let read = secret(&path);
        mode(0o640);
        let open = secret(&path).unwrap_err();
        mode(0o600);
        fs::write(&path, "ftp://x/secret-token\n").unwrap();
        let other = secret(&path).unwrap_err();
        assert_eq!(read.as_deref(), Ok("https://x.example/secret-token"));
        assert!(open.contains("others may read it: chmod 600"), "{open}");
        assert!(other.contains("is no URL") && !other.contains("secret-token"), "{other}");
        assert!(secret(&scratch.join("none")).unwrap_err().contains("does not exist"));
    }

    #[test]
    fn nothing_in_url_or_body_is_another_option_of_curl() {
        let config = request("http://x/\"\noutput = \"/e", b"{\"a\":\"\\\"\\n\\u0000\"}\n", 7);
        let text = String::from_utf8(config).unwrap();
        let names: Vec<_> = text.lines().map(|line| line.split(" =").next().unwrap()).collect();
        let wanted = [
            "url",
            "data-raw",
            "header",
            "proto",
            "max-time",
            "output",
            "fail",
            "silent",
            "show-error",
            "globoff",
        ];
        assert_eq!(names, wanted, "{text}");
        assert!(
            text.contains("data-raw = \"{\\\"a\\\":\\\"\\\\\\\"\\\\n\\\\u0000\\\"}\"\n"),
            "{text}"
        );
    }

    #[test]
    fn a_line_is_appended_once_and_half_a_line_is_ended_first() {
        let scratch = Scratch::new();
        let path = scratch.join("notices");
        fs::write(&path, "{\"id\":\"a-1\"}\n{\"id\":\"a-2").unwrap();
        let open = || File::options().read(true).append(true).open(&path).unwrap();
        assert!(has(&mut open(), "a-1").unwrap());
        // Half a line is no notice.
        assert!(!has(&mut open(), "a-2").unwrap());
        put(&mut open(), b"{\"id\":\"a-2\"}\n").unwrap();
        assert!(has(&mut open(), "a-2").unwrap());
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"id\":\"a-1\"}\n{\"id\":\"a-2\n{\"id\":\"a-2\"}\n");
    }
}
