//! Telling whoever started us that we are ready, or that we end, as `sd_notify(3)` does.

use linux::socket;

/// Who waits to be told.
#[derive(Debug, PartialEq, Eq)]
pub struct Listener {
    /// The path of a socket, or NUL and a bare name.
    path: Vec<u8>,
}

impl Listener {
    /// The variable that names the socket: a path, or `@` and a bare name.
    pub const VARIABLE: &str = "NOTIFY_SOCKET";

    /// Returns the one that the variable's value names; `None` where it names none.
    #[must_use]
    pub fn of(value: &[u8]) -> Option<Self> {
        let mut path = value.to_vec();
        match path.first_mut()? {
            b'/' => {}
            first @ b'@' => *first = 0,
            _ => return None,
        }
        Some(Self { path })
    }

    /// Tells it that we are ready. One that does not listen is not waited for.
    pub fn ready(&self) {
        let _ = socket::tell(&self.path, b"READY=1\n");
    }

    /// Tells it that we have begun to end.
    pub fn stopping(&self) {
        let _ = socket::tell(&self.path, b"STOPPING=1\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_and_bare_names_are_sockets() {
        let path = |value: &[u8]| Listener::of(value).map(|listener| listener.path);
        assert_eq!(path(b"/run/notify"), Some(b"/run/notify".to_vec()));
        assert_eq!(path(b"@bare"), Some(b"\0bare".to_vec()));
        for value in [&b""[..], b"vsock:2:1", b"run/notify"] {
            assert_eq!(path(value), None);
        }
    }
}
