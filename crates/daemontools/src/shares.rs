//! Looking at many services in shares, side by side: what it takes is mostly the kernel's time,
//! which several processors can give at once.

use std::thread::{Builder, scope};

/// Fewer services than this are looked at before another thread has begun.
const LEAST: usize = 64;
/// More threads would wait for each other.
const MOST: usize = 4;

/// Returns what `tell` says of all `things`, in their order; it is asked for some of them at a time.
pub fn all<T: Sync, R: Send>(things: &[T], tell: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let tell = &tell;
    let mut shares = things.chunks(things.len().div_ceil(MOST).max(LEAST));
    let Some(first) = shares.next() else { return Vec::new() };
    scope(|scope| {
        let begin = |share| (share, Builder::new().spawn_scoped(scope, move || tell(share)));
        let others: Vec<_> = shares.map(begin).collect();
        let mut said = tell(first);
        for (share, thread) in others {
            let theirs = thread.ok().and_then(|thread| thread.join().ok());
            // Where there can be no more threads, this one does it.
            said.extend(theirs.unwrap_or_else(|| tell(share)));
        }
        said
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn each_is_told_of_once_and_in_order_however_many_there_are() {
        for count in [0, 1, LEAST, LEAST + 1, MOST * LEAST, MOST * LEAST + 1, 5000] {
            let names: Vec<String> = (0..count).map(|i| format!("{i};")).collect();
            let dirs: Vec<&OsStr> = names.iter().map(OsStr::new).collect();
            let said =
                all(&dirs, |share| share.iter().flat_map(|d| d.as_bytes()).copied().collect());
            assert_eq!(said, names.concat().into_bytes());
        }
    }
}
