//! Names of participants and queues.

/// Says why a name cannot be a participant's, or that of a queue of this machine, which is a file's
/// name, too.
#[must_use]
pub fn flaw(name: &str) -> Option<&'static str> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || name.len() > 64 {
        Some("has not between 1 and 64 characters")
    } else if name.starts_with('.') {
        Some("begins with a dot")
    } else if !name.bytes().all(is_good) {
        Some("holds something else than letters, digits, -, _ and .")
    } else {
        None
    }
}

/// Says why a name cannot be that of a queue of RabbitMQ, which is no file's name.
#[must_use]
pub fn queue_flaw(name: &str) -> Option<&'static str> {
    text_flaw(name, 255, "has not between 1 and 255 bytes")
}

/// Says why a name cannot be that of a label.
#[must_use]
pub fn label_flaw(name: &str) -> Option<&'static str> {
    text_flaw(name, 64, "has not between 1 and 64 bytes")
}

/// The same of a name that is only shown, and logged. `size`: what is said of one that is empty or longer.
fn text_flaw(name: &str, longest: usize, size: &'static str) -> Option<&'static str> {
    if name.is_empty() || name.len() > longest {
        Some(size)
    } else if name.chars().any(char::is_control) {
        Some("holds a control character")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_of_rabbitmq_may_have_a_name_that_no_file_of_ours_has() {
        let long = "\u{e9}".repeat(127);
        for name in ["a b/c:d", ".a", "..", "gr\u{f6}\u{df}e", "-x", &long] {
            assert_eq!(queue_flaw(name), None, "{name}");
            assert!(name == "-x" || flaw(name).is_some(), "{name}");
        }
        let longer = format!("{long}ab");
        for name in ["", "a\nb", "a\0", "\u{9b}31m", &longer] {
            assert!(queue_flaw(name).is_some() && flaw(name).is_some(), "{name:?}");
        }
    }
}
