//! What is said of arguments that make no sense, in one line, by every program with clap.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Says what is wrong with the arguments: what is missing by its name, and of a word that is not known
/// what may have been meant, or else what there is.
#[must_use]
pub fn words(why: &clap::Error) -> String {
    let text = why.render().to_string();
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let first = first.trim_start_matches("error: ");
    let first = first.replace("invalid digit found in string", "not a number");
    format!("{}{}", missing(why).unwrap_or(first), near(why))
}

/// Returns what has to be there and is not.
fn missing(why: &clap::Error) -> Option<String> {
    if why.kind() != ErrorKind::MissingRequiredArgument {
        return None;
    }
    match why.get(ContextKind::InvalidArg)? {
        ContextValue::Strings(all) => Some(format!("missing: {}", all.join(", "))),
        _ => None,
    }
}

/// Returns what may have been meant, or else what there is.
fn near(why: &clap::Error) -> String {
    const SUGGESTED: [ContextKind; 3] =
        [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let nearest = |kind: &ContextKind| match why.get(*kind)? {
        ContextValue::String(word) => Some(word.clone()),
        // The nearest is the last of them.
        ContextValue::Strings(words) => words.last().cloned(),
        _ => None,
    };
    if let Some(word) = SUGGESTED.iter().find_map(nearest) {
        return format!("; did you mean {word}?");
    }
    match why.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(words)) => format!(", but one of {}", words.join(", ")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    #[test]
    fn what_is_missing_and_what_there_is_instead_is_named() {
        let said = |words: &[&str]| {
            let command = Command::new("x")
                .arg(Arg::new("wfid").required(true))
                .arg(Arg::new("flavour").long("flavour").value_parser(["cancel", "kill"]));
            let why = command.try_get_matches_from(words).map(|_| String::new());
            why.unwrap_or_else(|why| super::words(&why))
        };
        assert_eq!(said(&["x"]), "missing: <wfid>");
        let wanted = "invalid value 'foo' for '--flavour <flavour>', but one of cancel, kill";
        assert_eq!(said(&["x", "w", "--flavour", "foo"]), wanted);
        assert!(said(&["x", "w", "--flavour", "kil"]).ends_with("; did you mean kill?"));
    }
}
