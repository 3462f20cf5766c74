//! What must not be shown, nor copied to where others read it: values whose names say that they are
//! secret, and passwords in addresses.
//!
//! It is told by names, since a value looks like any other. Where it is not clear where a value ends,
//! too much is hidden rather than too little.

use exo::settings::Settings;
use serde_json::Value;
use serde_json::value::RawValue;
use std::ffi::CString;
use std::fmt::Write;
use std::path::Path;

/// Stands where a value was.
pub const HIDDEN: &str = "(hidden)";

/// Parts of names.
const PARTS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "credential",
    "apikey",
    "accesskey",
    "privatekey",
    "authorization",
    "cookie",
    "bearer",
    "pwd",
];
/// Last words of names.
const ENDS: [&str; 3] = ["key", "pass", "pin"];
/// Programs, or the beginnings of their names, that take a password by `-p` in the same word.
const TAKE_JOINED: [&str; 3] = ["mysql", "mariadb", "sshpass"];

/// Tells whether what has this name is to be hidden.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let last = name.split(|c: char| !c.is_ascii_alphanumeric()).next_back().unwrap_or_default();
    // Its value is where the secret is, and not the secret.
    last != "file" && (PARTS.iter().any(|part| letters.contains(part)) || ENDS.contains(&last))
}

/// Tells whether something in a text is to be hidden.
#[must_use]
pub fn is_in(text: &str) -> bool {
    hide(text) != text
}

/// Tells whether a value is to stay where it is, going by its name and by what is in it.
#[must_use]
pub fn is_secret_value(name: &str, value: &str) -> bool {
    is_secret(name) && !value.is_empty() && !is_file(value) || is_in(value)
}

/// Tells whether a value is the path of a file, such as a key's: that is no secret.
fn is_file(value: &str) -> bool {
    value.starts_with('/') && Path::new(value).exists()
}

/// Returns the lines of a script or of a YAML file without secret values.
#[must_use]
pub fn hide(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = Rest::None;
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let hidden = rest.goes_on_with(line);
        if hidden {
            let indent = line.len() - line.trim_start().len();
            out.push_str(&line[..indent]);
            out.push_str(if line.trim().is_empty() { "" } else { HIDDEN });
        } else if let Some((shown, kind)) = secret_in(line) {
            out.push_str(&without_login(shown));
            out.push_str(if shown.len() < line.len() { HIDDEN } else { "" });
            rest = kind;
        } else {
            out.push_str(&without_login(line));
        }
        out.push_str(end);
    }
    out
}

/// What of the lines that follow belongs to a value that is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    None,
    /// The next line.
    Next,
    /// All until this quotation mark.
    Quoted(char),
    /// All that is indented more than this.
    Indented(usize),
}

impl Rest {
    /// Tells whether a line belongs to the value, and what of the lines behind it does.
    fn goes_on_with(&mut self, line: &str) -> bool {
        let (goes_on, next) = match *self {
            Self::None => (false, Self::None),
            Self::Next if line.trim_end().ends_with('\\') => (true, Self::Next),
            Self::Next => (true, Self::None),
            Self::Quoted(mark) if line.contains(mark) => (true, Self::None),
            Self::Quoted(mark) => (true, Self::Quoted(mark)),
            Self::Indented(by) => {
                let is_deeper = line.trim().is_empty() || indent_of(line) > by;
                (is_deeper, if is_deeper { Self::Indented(by) } else { Self::None })
            }
        };
        *self = next;
        goes_on
    }
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Finds the first secret value of a line: what stands before it, and how far it goes.
fn secret_in(line: &str) -> Option<(&str, Rest)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut at = 0;
    while let Some(from) = line[at..].find(is_part).map(|found| at + found) {
        let end = line[from..].find(|c| !is_part(c)).map_or(line.len(), |len| from + len);
        at = end;
        let name = &line[from..end];
        if !is_secret(name) {
            continue;
        }
        let behind = line[end..].trim_start_matches(['"', '\'']);
        let value = if let Some(value) = behind.trim_start().strip_prefix(['=', ':']) {
            value
        } else if name.starts_with('-') {
            behind
        } else {
            continue;
        };
        let blank = value.len() - value.trim_start_matches([' ', ',', '"', '\'']).len();
        let is_option = name.starts_with('-');
        let shown = &line[..line.len() - value.len() + blank.min(value.len())];
        return Some((shown, rest_of(line, value, is_option)));
    }
    None
}

fn rest_of(line: &str, value: &str, is_option: bool) -> Rest {
    let value = value.trim();
    let mark = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    if value.ends_with('\\') {
        return Rest::Next;
    }
    match mark {
        Some(mark) if value.matches(mark).count() % 2 == 1 => Rest::Quoted(mark),
        // The word behind an option is its value.
        _ if is_option && value.trim_matches([',', '"', '\'']).is_empty() => Rest::Next,
        _ => Rest::Indented(indent_of(line)),
    }
}

/// Returns text with the passwords of addresses such as `amqp://user:password@host` hidden.
fn without_login(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, behind) = rest.split_at(at + 3);
        out.push_str(before);
        let end = behind.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''));
        let (authority, others) = behind.split_at(end.unwrap_or(behind.len()));
        match authority.rsplit_once('@').map(|(login, host)| (login.split_once(':'), host)) {
            Some((Some((user, _)), host)) => {
                let _ = write!(out, "{user}:{HIDDEN}@{host}");
            }
            _ => out.push_str(authority),
        }
        rest = others;
    }
    out.push_str(rest);
    out
}

/// Hides what is secret in settings.
pub fn hide_in(settings: &mut Settings) {
    for (name, value) in &mut settings.environment {
        *value = if is_secret(name) { HIDDEN.to_owned() } else { hide(value) };
    }
    let mut config: Value = serde_json::from_str(settings.config.get()).unwrap_or_default();
    hide_values(&mut config);
    // What is JSON stays JSON.
    if let Ok(config) = RawValue::from_string(config.to_string()) {
        settings.config = config;
    }
    hide_words(&mut settings.command);
    if let Some(words) = &mut settings.exoskeleton {
        hide_words(words);
    }
}

fn hide_values(value: &mut Value) {
    match value {
        Value::Object(all) => {
            for (name, value) in all {
                if is_secret(name) {
                    *value = HIDDEN.into();
                } else {
                    hide_values(value);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(hide_values),
        Value::String(text) => *text = hide(text),
        _ => {}
    }
}

fn hide_words(words: &mut [CString]) {
    let texts: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    for (word, shown) in words.iter_mut().zip(shown_words(&texts)) {
        *word = CString::new(shown).unwrap_or_default();
    }
}

/// Returns the words of a command without what is secret: what follows an option of a secret name, or
/// stands in the same word, and passwords in addresses.
#[must_use]
pub fn shown_words(words: &[String]) -> Vec<String> {
    let program = words.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    let program = program.to_string_lossy();
    let takes_joined = TAKE_JOINED.iter().any(|known| program.starts_with(known));
    // What this word is the value of.
    let mut option = None;
    let shown = words.iter().map(|word| {
        match option.take() {
            Some("-p") if is_something_else(word) => {}
            Some(_) if !word.is_empty() => return HIDDEN.to_owned(),
            _ => {}
        }
        match word.split_once('=') {
            Some((name, _)) if is_secret(name) => return format!("{name}={HIDDEN}"),
            None if takes_joined && word.len() > 2 && word.starts_with("-p") => {
                return format!("-p{HIDDEN}");
            }
            None if word == "-p" || word.starts_with('-') && is_secret(word) => {
                option = Some(word.as_str());
            }
            _ => {}
        }
        hide(word)
    });
    shown.collect()
}

/// Returns the same for a command that is to be run: files that it names are no secrets.
#[must_use]
pub fn carried_words(words: &[String]) -> Vec<String> {
    let shown = shown_words(words).into_iter().zip(words);
    shown.map(|(shown, word)| if is_file(word) { word.clone() } else { shown }).collect()
}

/// Tells whether what stands behind `-p` is a port, a path or another option, as it mostly is.
fn is_something_else(word: &str) -> bool {
    let is_port = word.chars().all(|c| c.is_ascii_digit() || ".:-".contains(c));
    is_port || word.starts_with('-') || word.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_is_secret() {
        for name in ["DB_PASSWORD", "apiKey", "api-key", "AWS_SECRET_ACCESS_KEY", "ssh_key", "key"]
        {
            assert!(is_secret(name), "{name}");
        }
        for name in ["PATH", "keyboard", "monkey", "author", "compass", "spin", "queue"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn no_secret_value_of_a_script_or_a_file_is_shown() {
        let text = "\
#!/bin/sh
export DB_PASSWORD='s3 cret' OTHER=1
export TOKEN=\"s3
cret
s3\" tail
exec work --token s3cret --verbose
exec work --api-key=s3cret \\
    s3cret
exec work --keyboard us
environment: {API_TOKEN: s3cret, LANG: C}
db:
  password: >
    s3cret

    s3cret
  plain: yes
command:
  - --password
  - s3cret
  - tail
\"passwd\": s3cret
uri: amqp://user:s3cret@host/x?y=http://a:s3cret@b
";
        let shown = hide(text);
        assert!(!shown.contains("s3"), "{shown}");
        for line in [
            "#!/bin/sh\n",
            "export DB_PASSWORD='(hidden)\n",
            "exec work --token (hidden)\n",
            "exec work --keyboard us\n",
            "  plain: yes\n",
            "  - tail\n",
            "uri: amqp://user:(hidden)@host/x?y=http://a:(hidden)@b\n",
        ] {
            assert!(shown.contains(line), "{line}{shown}");
        }
        assert_eq!(shown.lines().count(), text.lines().count());
    }

    #[test]
    fn what_is_not_secret_stays_as_it_is() {
        let text = "#!/bin/sh\n# the password is elsewhere\nexec 2>&1\n\tuser: a@b\nhttp://h/a:b@c";
        assert_eq!(hide(text), text);
    }

    #[test]
    fn the_words_of_a_command_lose_what_is_secret_and_what_names_a_file_only_where_it_is_shown() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, shown) in [
            ("w --password a -n 4", "w --password (hidden) -n 4"),
            (
                "w --token=a --password-file /x -pass a",
                "w --token=(hidden) --password-file /x -pass (hidden)",
            ),
            (
                "w -p a -p 80 -p 127.0.0.1:80 -p /x -p -v",
                "w -p (hidden) -p 80 -p 127.0.0.1:80 -p /x -p -v",
            ),
            ("/bin/mysqldump -pa -p", "/bin/mysqldump -p(hidden) -p"),
            ("w -pa amqp://u:a@h --key", "w -pa amqp://u:(hidden)@h --key"),
            ("w https://h/?x=1&token=a", "w https://h/?x=1&token=(hidden)"),
        ] {
            assert_eq!(shown_words(&words(text)), words(shown), "{text}");
            assert_eq!(carried_words(&words(text)), words(shown), "{text}");
        }
        let script = ["sh", "-c", "exec w --token a"].map(str::to_owned);
        assert_eq!(shown_words(&script)[2], "exec w --token (hidden)");
        let file = words("w --tls-key /etc/passwd");
        assert_eq!((&*shown_words(&file)[2], &*carried_words(&file)[2]), (HIDDEN, "/etc/passwd"));
    }

    #[test]
    fn a_value_stays_where_it_is_for_its_name_or_for_what_is_in_it() {
        for (name, value) in [
            ("api_key", "a"),
            ("broker", "amqp://u:a@h/v"),
            ("dsn", "host=h password=a"),
            ("args", "--token a"),
        ] {
            assert!(is_secret_value(name, value), "{name}");
        }
        for (name, value) in [
            ("api_key", ""),
            ("tls_key", "/etc/passwd"),
            ("password_file", "/nowhere"),
            ("site", "https://h/a:b@c"),
        ] {
            assert!(!is_secret_value(name, value), "{name}");
        }
    }

    #[test]
    fn settings_lose_their_secrets_and_nothing_else() {
        let text = b"command: [./w, --password, s3cret, '--token=s3cret', x]
environment: {A_TOKEN: s3cret, URL: 'amqp://u:s3cret@h', LANG: C}
config: {a: {password: [s3cret], b: 1}, c: ['https://u:s3cret@h']}";
        let mut settings = exo::config::read_text(text, "name").unwrap();
        hide_in(&mut settings);
        let shown = exo::config::effective(&settings);
        assert!(!shown.contains("s3cret"), "{shown}");
        for part in [r#""--token=(hidden)","x""#, r#""LANG":"C""#, r#""b":1"#] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
