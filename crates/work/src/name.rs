//! Names of participants and queues.

/// Says why a name cannot be a participant's or a queue's, which is a file's name, too.
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
