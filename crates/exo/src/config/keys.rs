//! The keys that there are, and the one that was meant.

/// Where a key may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// At the top of a site file.
    Site,
    /// Below `participants` of a site file.
    Participants,
    /// In a participant's own file.
    Own,
}

/// A key, and what may hold it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    scopes: &'static [Scope],
}

const fn key(name: &'static str, scopes: &'static [Scope]) -> Key {
    Key { name, scopes }
}

const OWN: &[Scope] = &[Scope::Own];
const EACH: &[Scope] = &[Scope::Participants, Scope::Own];
const SITE: &[Scope] = &[Scope::Site];
const ALL: &[Scope] = &[Scope::Site, Scope::Participants, Scope::Own];
const LEVEL: &[Scope] = &[Scope::Site, Scope::Own];

/// All of them, in the order in which they are shown.
pub(crate) const KEYS: [Key; 36] = [
    key("participant", OWN),
    key("queue", EACH),
    key("mode", EACH),
    key("command", OWN),
    key("exoskeleton", EACH),
    key("build", OWN),
    key("user", EACH),
    key("instances", EACH),
    key("time-limit", EACH),
    key("start-limit", EACH),
    key("cancel-grace", EACH),
    key("shutdown-grace", EACH),
    key("restart", EACH),
    key("tries", EACH),
    key("retry", EACH),
    key("item-limit", EACH),
    key("line-limit", EACH),
    key("environment", EACH),
    key("path", EACH),
    key("limits", EACH),
    key("umask", EACH),
    key("config", EACH),
    key("error-class", EACH),
    key("broker", ALL),
    key("ready-fd", EACH),
    key("log-level", LEVEL),
    key("worker-user", SITE),
    key("store", SITE),
    key("safety", SITE),
    key("keep", SITE),
    key("keep-size", SITE),
    key("spool", SITE),
    key("run", SITE),
    key("services", SITE),
    key("notice", SITE),
    key("participants", SITE),
];

/// Keys below `restart` and `retry`.
pub(crate) const DELAYS: [&str; 2] = ["first", "longest"];

/// Keys below `broker`.
pub(crate) const BROKER: [&str; 14] = [
    "kind",
    "host",
    "port",
    "vhost",
    "user",
    "password-file",
    "tls",
    "ca",
    "reply-queue",
    "quorum",
    "delivery-limit",
    "dead-letter-exchange",
    "consumer-timeout",
    "air",
];

/// Keys below `limits`.
pub(crate) const LIMITS: [&str; 6] = ["processes", "files", "memory", "file-size", "core", "cpu"];

impl Key {
    pub(crate) fn may_stand_in(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }
}

/// Other words for a key that people write.
const MEANT: [(&str, &str); 17] = [
    ("name", "participant"),
    ("code", "command"),
    ("run", "command"),
    ("exec", "command"),
    ("runas", "user"),
    ("timeout", "time-limit"),
    ("env", "environment"),
    ("workers", "instances"),
    ("numprocs", "instances"),
    ("retries", "tries"),
    ("attempts", "tries"),
    ("loglevel", "log-level"),
    ("retention", "keep"),
    ("nofile", "files"),
    ("nproc", "processes"),
    ("as", "memory"),
    ("fsize", "file-size"),
];

/// Says why `name` is no key there.
pub(crate) fn unknown(name: &str, scope: Scope) -> String {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        let place = match key.scopes {
            [Scope::Own] => "in the participant's exo.yaml",
            [Scope::Site] | [Scope::Site, ..] => "at the top of skynet.yaml",
            _ => "below participants, or in the participant's exo.yaml",
        };
        return format!("stands in the wrong place; it belongs {place}");
    }
    let known: Vec<&str> =
        KEYS.iter().filter(|key| key.may_stand_in(scope)).map(|key| key.name).collect();
    nearest(name, &known)
}

/// Says which of `known` was meant.
#[must_use]
pub fn nearest(name: &str, known: &[&str]) -> String {
    // What is longer than any key is far from all of them.
    let short: String = name.chars().take(32).collect();
    let plain = short.to_ascii_lowercase().replace(['_', ' '], "-");
    let meant = MEANT.iter().find(|(word, key)| *word == plain && known.contains(key));
    let near = meant.map(|(_, key)| key).or_else(|| {
        known.iter().min_by_key(|key| {
            let starts = key.starts_with(&plain) || plain.starts_with(**key);
            (distance(&plain, key).saturating_sub(if starts { 4 } else { 0 }), key.len())
        })
    });
    near.map_or_else(|| "unknown key".into(), |key| format!("unknown key; did you mean {key}?"))
}

/// Least number of letters inserted, removed, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = a[i - 1] == b[j - 1];
            let mut least = rows[i - 1][j - 1] + usize::from(!same);
            least = least.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("comand", "command"),
            ("Command", "command"),
            ("time_limit", "time-limit"),
            ("timelimit", "time-limit"),
            ("timeout", "time-limit"),
            ("instance", "instances"),
            ("env", "environment"),
            ("environ", "environment"),
            ("retires", "tries"),
            ("quue", "queue"),
            ("limit", "limits"),
            ("name", "participant"),
            ("code", "command"),
        ] {
            let said = unknown(written, Scope::Own);
            assert_eq!(said, format!("unknown key; did you mean {meant}?"), "{written}");
        }
        assert_eq!(nearest("mem", &LIMITS), "unknown key; did you mean memory?");
        assert_eq!(nearest("nofile", &LIMITS), "unknown key; did you mean files?");
    }

    #[test]
    fn a_key_in_the_wrong_place_is_sent_to_the_right_one() {
        assert!(unknown("store", Scope::Own).ends_with("it belongs at the top of skynet.yaml"));
        assert!(unknown("command", Scope::Site).ends_with("in the participant's exo.yaml"));
        assert!(unknown("tries", Scope::Site).contains("below participants"));
    }
}
