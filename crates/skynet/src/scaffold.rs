//! What `skynet new` makes: a participant's folder, from the templates.

use crate::tree::Made;
use crate::tree::given::{self, Given};
use clap::ValueEnum;

/// What a participant is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    /// Persistent: one process for many items.
    Python,
    /// A process for each item.
    Shell,
    /// Persistent; built by ./build.
    Rust,
}

impl Language {
    /// Returns what people call it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Shell => "shell",
            Self::Rust => "Rust",
        }
    }

    /// Returns the file to write the work into.
    #[must_use]
    pub const fn work(self) -> &'static str {
        match self {
            Self::Python => "work.py",
            Self::Shell => "work",
            Self::Rust => "src/main.rs",
        }
    }

    /// Returns the commands that test it, and make it where that is needed.
    #[must_use]
    pub const fn steps(self) -> &'static str {
        match self {
            Self::Python | Self::Shell => "./test",
            Self::Rust => "cargo test && ./build",
        }
    }
}

/// The template's own name, and how it is written as a type.
const TEMPLATE: (&str, &str) = ("sizer", "Sizer");
/// What stands for it in a copy: whatever the participant is called, this is a name in each language.
const WORK: (&str, &str) = ("work", "Work");
/// Keys that the folder's name and the caller decide.
const DECIDED: [&str; 3] = ["participant: ", "queue: ", "user: "];

/// Returns the files of a participant of this name; one in shell does without jq where there is none.
#[must_use]
pub fn participant(name: &str, language: Language, has_jq: bool) -> Vec<Made> {
    let template = match language {
        Language::Python => given::PYTHON,
        Language::Shell => given::SHELL,
        Language::Rust => given::RUST,
    };
    let mut files: Vec<Made> = template.iter().map(|given| adapted(given, name)).collect();
    files.extend(given::PACKAGING.iter().map(|given| packaged(given, language, has_jq)));
    match language {
        Language::Shell if has_jq => {}
        Language::Shell => {
            files.retain(|file| file.path != WORK.0);
            for file in files.iter_mut().filter(|file| file.path == "work-without-jq") {
                WORK.0.clone_into(&mut file.path);
            }
        }
        Language::Python => {
            files.extend(given::PYTHON_PACKAGE.iter().map(|given| given.below("skynet/")));
        }
        Language::Rust => {
            files.extend(given::PARTICIPANT.iter().map(|g| g.below("crates/participant/src/")));
            files.extend(given::LINUX.iter().map(|given| given.below("crates/linux/src/")));
            files.push(Made::plain("crates/participant/Cargo.toml", PARTICIPANT_MANIFEST));
            files.push(Made::plain("crates/linux/Cargo.toml", LINUX_MANIFEST));
        }
    }
    files
}

/// Returns the script that makes packages, with what those of the language need, whether they are of
/// an architecture, and what of the folder does not go into them.
fn packaged(given: &Given, language: Language, has_jq: bool) -> Made {
    let file = given.below("");
    let changes: &[(&str, &str)] = match language {
        // The package for authors is installed once for all, and upgraded by itself.
        Language::Python => &[
            ("'skynet'", "'skynet, python3-skynet'"),
            ("./package ./test", "./package ./test ./skynet"),
        ],
        Language::Shell if has_jq => &[("'skynet'", "'skynet, jq'")],
        Language::Shell => &[],
        Language::Rust => &[
            ("architecture=all", "architecture=any"),
            // It runs with the C library of the machine that built it, and newer ones.
            (
                "debian='skynet'",
                "debian=\"skynet, libc6 (>= $(ldd --version | sed -n '1s/.* //p'))\"",
            ),
            ("./package ./test", "./package ./tests ./src ./crates ./target ./Cargo.* ./build"),
        ],
    };
    let text = file.text.to_string();
    let text = changes.iter().fold(text, |text, (from, to)| text.replace(from, to));
    Made { text: text.into(), ..file }
}

/// Manifests of the crates without the workspace that they are from.
const PARTICIPANT_MANIFEST: &str = concat!(
    "[package]\nname = \"participant\"\nversion = \"",
    env!("CARGO_PKG_VERSION"),
    "\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\nlinux = { path = \"../linux\" }\n",
    "serde = { version = \"1\", features = [\"derive\"] }\n",
    "serde_json = { version = \"1\", features = [\"raw_value\"] }\n",
);
const LINUX_MANIFEST: &str = concat!(
    "[package]\nname = \"linux\"\nversion = \"",
    env!("CARGO_PKG_VERSION"),
    "\"\nedition = \"2024\"\npublish = false\n\n[dependencies]\n",
    "libc = { version = \"0.2\", default-features = false }\n",
);

/// Returns a file of a template as it is in a copy.
fn adapted(given: &Given, name: &str) -> Made {
    let file = given.below("");
    let path = file.path.replace(TEMPLATE.0, WORK.0);
    let mut text = String::new();
    for (number, line) in file.text.lines().enumerate() {
        let is_title = file.path == "README.md" && number == 0;
        if file.path == "exo.yaml" && DECIDED.iter().any(|key| line.starts_with(key)) {
            continue;
        }
        if is_title {
            text.push_str(&line.replacen(TEMPLATE.0, name, 1));
        } else {
            text.push_str(&line.replace(TEMPLATE.0, WORK.0).replace(TEMPLATE.1, WORK.1));
        }
        text.push('\n');
        if file.path == "exo.yaml" && number == 0 {
            text.push_str(EXO_YAML);
        }
    }
    if file.path == "Cargo.toml" {
        text = text.replace("../../../crates/", "crates/").replace(CHECKOUT, COPY);
        text.push_str("\n[workspace]\n");
    }
    Made { path, text: text.into(), ..file }
}

/// Stands below the first line of exo.yaml.
const EXO_YAML: &str = "# Participant and queue are called as this folder is; started by root, it runs as \
    nobody, unless\n# participant, queue and user say otherwise.\n";
/// What the template's Cargo.toml says, and what a copy's does.
const CHECKOUT: &str = "# Where the crate is: a checkout of skynet.";
const COPY: &str = "# It, and what it needs, lies here.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_template_s_name_is_left_whatever_the_participant_is_called() {
        for (language, has_jq) in [
            (Language::Python, false),
            (Language::Shell, false),
            (Language::Shell, true),
            (Language::Rust, false),
        ] {
            let files = participant("a-name.7", language, has_jq);
            let text = |path: &str| {
                let found = files.iter().find(|file| file.path == path);
                found.unwrap_or_else(|| panic!("{language:?}: no {path}")).text.as_ref()
            };
            for file in &files {
                let is_ours = file.path.starts_with("crates/") || file.path.starts_with("skynet/");
                let left = file.text.to_lowercase().contains(TEMPLATE.0);
                assert!(is_ours || !left, "{language:?}: {}:\n{}", file.path, file.text);
                assert!(!file.path.contains(TEMPLATE.0), "{}", file.path);
            }
            assert!(text("README.md").starts_with("# a-name.7: a participant in "));
            assert!(exo::config::read_text(text("exo.yaml").as_bytes(), "a-name.7").is_ok());
            text(language.work());
            let programs = files.iter().filter(|file| file.is_program);
            assert!(programs.filter(|file| file.path.ends_with("run")).count() == 2);
        }
    }
}
