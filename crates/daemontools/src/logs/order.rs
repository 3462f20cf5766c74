//! Which file comes next, while a logger rotates.
//!
//! A file that was read as `current` is met again under other names: as `previous`, as a rotated
//! file, or as a rotated file that a processor made of it, which is another file. So what was read
//! under one of the first two names *owes* a rotated name. A rotated name that appears is that of
//! the same file, if it is the same file; else it belongs to the oldest that owes, once that is no
//! longer there under its old name; else nobody has read it.

use super::folder::{Folder, Id, Listing, Opened};
use super::source::Source;
use super::{BEGINNING, END, Span, Trouble, Why};
use ondisk::tai64n::Stamp;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::CString;
use sys::linux::errno::Errno;
use sys::linux::file;

/// How often the directory is looked at until nothing is renamed meanwhile. After that what is
/// known of the files themselves decides, which is enough unless a processor is at work; one that
/// is gives a rotation more time than this takes.
const LOOKS: usize = 16;
/// Names that are remembered beyond those that are there.
const REMEMBERED: usize = 4096;
/// Files that are held open since they owe a name. Usually there are two; one that somebody took
/// away owes for ever.
const MOST_OWING: usize = 8;

/// A file whose turn comes.
#[derive(Clone, Debug)]
pub enum Next {
    /// A rotated file.
    Rotated(Stamp, CString),
    /// `previous`, or what a processor made of it.
    Closed(Opened),
    /// `current`.
    Current(Opened),
}

impl Next {
    /// Opens it. `None` where it is gone or cannot be read; that was put into `troubles`.
    pub fn open(self, folder: &Folder, troubles: &mut Vec<Trouble>) -> Option<Source> {
        let file = match self {
            Self::Current(file) => return Some(Source::plain(file, true)),
            Self::Closed(file) => file,
            Self::Rotated(stamp, name) => match folder.open_rotated(stamp, &name) {
                Ok(file) => file,
                Err(why) => {
                    let why = Some(Why::System(why));
                    troubles.push(Trouble { verb: "open", file: name, why });
                    return None;
                }
            },
        };
        let name = file.name.clone();
        let (source, why) = Source::new(file);
        if why.is_some() {
            troubles.push(Trouble { verb: "decompress", file: CString::clone(&name), why });
        }
        source
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &CString {
        match self {
            Self::Rotated(_, name) => name,
            Self::Closed(file) | Self::Current(file) => &file.name,
        }
    }

    /// Returns when it was closed, as far as its name says.
    #[must_use]
    pub fn closed(&self) -> Option<Stamp> {
        if let Self::Rotated(stamp, _) = self { Some(*stamp) } else { None }
    }
}

/// A rotated name that is new, and which file it is now.
type New = (Stamp, CString, Option<Id>);

/// Knows what was read, or is about to be.
#[derive(Debug, Default)]
pub struct Order {
    /// Rotated names that are nobody's concern any more.
    seen: BTreeSet<Stamp>,
    /// The same in the order in which they came.
    by_arrival: VecDeque<Stamp>,
    /// Files that were read, or are about to be, before they had a rotated name. Held open, so
    /// that no new file can be taken for one of them.
    owing: VecDeque<Opened>,
    /// Rotated names that are new, in the order in which they appeared.
    arrivals: VecDeque<(Stamp, CString)>,
    /// What is to be read.
    queue: VecDeque<Next>,
    /// When the last rotated file that was taken from the queue was closed.
    last_closed: Option<Stamp>,
    /// What was said to be unreadable.
    said: Vec<Trouble>,
    started: bool,
}

impl Order {
    /// Looks at the directory and puts into the queue what is new.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn refresh(&mut self, folder: &Folder, troubles: &mut Vec<Trouble>) -> Result<(), Trouble> {
        let mut listing = folder.list()?;
        for _ in 1..LOOKS {
            // After the look and before its check: what is told by now happened before.
            self.hear(folder, troubles);
            if folder.is_as(&listing) {
                break;
            }
            listing = folder.list()?;
        }
        for trouble in std::mem::take(&mut listing.troubles) {
            if !self.said.contains(&trouble) {
                self.said.push(trouble.clone());
                troubles.push(trouble);
            }
        }
        self.sort_in(folder, &listing, troubles);
        self.started = true;
        Ok(())
    }

    /// Takes in what was told of new names.
    pub fn hear(&mut self, folder: &Folder, troubles: &mut Vec<Trouble>) {
        let overflow = folder.told(|stamp, name| self.arrivals.push_back((stamp, name)));
        if overflow {
            let file = CString::default();
            let verb = "follow every rotation, too many came at once: lines may be missing";
            troubles.push(Trouble { verb, file, why: None });
        }
    }

    fn sort_in(&mut self, folder: &Folder, listing: &Listing, troubles: &mut Vec<Trouble>) {
        let told: BTreeSet<Stamp> = self.arrivals.iter().map(|(stamp, _)| *stamp).collect();
        let others = listing.rotated.iter().filter(|(stamp, _)| !told.contains(stamp));
        self.arrivals.extend(others.map(|(stamp, name)| (*stamp, name.clone())));
        if !self.started {
            // Nobody has read anything yet: by name, as everybody else reads them.
            self.arrivals.make_contiguous().sort_unstable();
        }
        let new = self.new_names(folder, listing);
        for (stamp, name, id) in &new {
            self.seen.insert(*stamp);
            self.by_arrival.push_back(*stamp);
            if let Some(at) = self.owing.iter().position(|owing| *id == Some(owing.id)) {
                // Those before it must have had theirs.
                self.owing.drain(..=at);
                continue;
            }
            if self.was_replaced(listing, &new) {
                continue;
            }
            if id.is_some() {
                self.queue.push_back(Next::Rotated(*stamp, name.clone()));
            } else if self.started {
                let (file, why) = (name.clone(), Some(Why::System(Errno(libc::ENOENT))));
                troubles.push(Trouble { verb: "open", file, why });
            }
        }
        self.forget(listing);
        let is_named = |file: &Opened| {
            let named = new.iter().any(|(_, _, id)| *id == Some(file.id));
            named || has_rotated_name(folder, file, listing)
        };
        if let Some(previous) = listing.previous.as_ref().filter(|file| !is_named(file)) {
            self.queue_unnamed(previous, Next::Closed);
        }
        if let Some(processed) = listing.processed.as_ref().filter(|file| !is_named(file)) {
            let is_known = self.owing.iter().any(|owing| owing.id == processed.id);
            if !is_known && self.was_replaced(listing, &new) {
                // It will get the name that the other one owed.
                self.owing.push_front(processed.clone());
            } else {
                self.queue_unnamed(processed, Next::Closed);
            }
        }
        if let Some(current) = &listing.current {
            self.queue_unnamed(current, Next::Current);
        }
    }

    /// Takes the names that are new, and looks which files they are now: `None` = removed.
    fn new_names(&mut self, folder: &Folder, listing: &Listing) -> Vec<New> {
        let current = listing.current.as_ref().map(|file| file.id);
        let mut new: Vec<New> = Vec::new();
        while let Some((stamp, name)) = self.arrivals.pop_front() {
            if self.seen.contains(&stamp) || new.iter().any(|(known, ..)| *known == stamp) {
                continue;
            }
            let name = listing.rotated.get(&stamp).cloned().unwrap_or(name);
            let id = folder.id_of(&name);
            if id.is_some() && id == current {
                // Rotated since we looked: its turn comes as `current`.
                self.arrivals.push_front((stamp, name));
                break;
            }
            new.push((stamp, name, id));
        }
        new
    }

    /// Tells whether a rotated name that nobody has read belongs to a file that was read: what a
    /// processor makes of one is another file. The oldest that owes is nowhere else then.
    fn was_replaced(&mut self, listing: &Listing, new: &[New]) -> bool {
        let opened = [&listing.current, &listing.previous, &listing.processed];
        let opened = opened.into_iter().flatten().map(|file| file.id);
        let mut there = opened.chain(new.iter().filter_map(|(_, _, id)| *id));
        let replaced = self.owing.front().is_some_and(|owing| !there.any(|id| id == owing.id));
        if replaced {
            self.owing.pop_front();
        }
        replaced
    }

    fn queue_unnamed(&mut self, file: &Opened, next: fn(Opened) -> Next) {
        if self.owing.iter().any(|owing| owing.id == file.id) {
            return;
        }
        if self.owing.len() == MOST_OWING {
            self.owing.pop_front();
        }
        self.owing.push_back(file.clone());
        self.queue.push_back(next(file.clone()));
    }

    /// Forgets names that were removed long ago. Some are kept: a report may come late.
    fn forget(&mut self, listing: &Listing) {
        let most = listing.rotated.len() + REMEMBERED;
        for _ in most..self.by_arrival.len() {
            if let Some(oldest) = self.by_arrival.pop_front() {
                if listing.rotated.contains_key(&oldest) {
                    self.by_arrival.push_back(oldest);
                } else {
                    self.seen.remove(&oldest);
                }
            }
        }
    }

    /// Returns what is to be read next, and the stretch of time in which it was written.
    pub fn take(&mut self) -> Option<(Next, Span)> {
        let next = self.queue.pop_front()?;
        let closed = next.closed();
        let first = self.last_closed.unwrap_or(BEGINNING);
        self.last_closed = closed.or(self.last_closed);
        let last = closed.unwrap_or(END);
        // Where the clock was set back the names do not tell.
        let span = if first <= last { Span { first, last } } else { Span::ALWAYS };
        Some((next, span))
    }

    /// Leaves out the files that were closed before `since`, but for the last of them, which may
    /// hold the beginning of a line.
    pub fn skip_closed_before(&mut self, since: Stamp) {
        let old = |next: &Next| next.closed().is_some_and(|closed| closed < since);
        while self.queue.get(1).is_some_and(old) {
            let _ = self.take();
        }
    }

    /// Leaves out the files that were begun after `until`, but for the first of them, which may hold
    /// the end of a line.
    pub fn skip_begun_after(&mut self, until: Stamp) {
        let new = |next: &Next| next.closed().is_some_and(|closed| closed > until);
        if let Some(last) = self.queue.iter().position(new) {
            self.queue.truncate(last + 2);
        }
    }

    /// Tells whether something is to be read.
    #[must_use]
    pub fn has_next(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Begins again behind what was read by then: `queue` is what is to be read, `last_closed` when
    /// the last rotated file before it was closed.
    pub fn set_queue(&mut self, queue: VecDeque<Next>, last_closed: Option<Stamp>) {
        self.queue = queue;
        self.last_closed = last_closed;
    }
}

/// Tells whether a file has a rotated name as well: a logger may have been killed between giving it
/// that and taking the other.
fn has_rotated_name(folder: &Folder, file: &Opened, listing: &Listing) -> bool {
    let one = file::stat_fd(file.fd.raw()).is_ok_and(|stat| stat.has_one_name());
    !one && listing.rotated.values().any(|name| folder.id_of(name) == Some(file.id))
}

/// The trouble of a file that stops to be readable.
pub(super) fn unreadable(source: &Source, why: Errno) -> Trouble {
    Trouble { verb: "read", file: CString::clone(&source.name), why: Some(Why::System(why)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A directory with a `current`, which was read, and who read it.
    fn begun(test: &str) -> (PathBuf, Folder, Order) {
        let name = format!("skynet-order-{test}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("current"), "").unwrap();
        let folder = Folder::open(dir.as_os_str()).unwrap();
        let mut order = Order::default();
        order.refresh(&folder, &mut Vec::new()).unwrap();
        assert_eq!(queue(&mut order), ["current"]);
        (dir, folder, order)
    }

    fn rotated(n: i64) -> String {
        let label = Stamp::from_unix(n, 0).to_label();
        String::from_utf8(label.to_vec()).unwrap() + ".s"
    }

    fn rotate(dir: &std::path::Path, n: i64) {
        fs::rename(dir.join("current"), dir.join(rotated(n))).unwrap();
        fs::write(dir.join("current"), "").unwrap();
    }

    fn queue(order: &mut Order) -> Vec<String> {
        let names = std::iter::from_fn(|| order.take());
        names.map(|(next, _)| next.name().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn rotations_after_the_look_at_current_wait_for_the_next_look() {
        let (dir, folder, mut order) = begun("late");
        rotate(&dir, 1);
        let mut listing = folder.list().unwrap();
        rotate(&dir, 2);
        rotate(&dir, 3);
        // Names are looked at later than `current`.
        listing.rotated = folder.list().unwrap().rotated;
        order.sort_in(&folder, &listing, &mut Vec::new());
        assert_eq!(queue(&mut order), ["current"]);
        order.refresh(&folder, &mut Vec::new()).unwrap();
        assert_eq!(queue(&mut order), [rotated(3), "current".to_owned()]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_file_that_somebody_puts_in_is_not_taken_for_the_one_at_hand() {
        let (dir, folder, mut order) = begun("guest");
        fs::write(dir.join(rotated(1)), "").unwrap();
        order.refresh(&folder, &mut Vec::new()).unwrap();
        assert_eq!(queue(&mut order), [rotated(1)]);
        rotate(&dir, 2);
        order.refresh(&folder, &mut Vec::new()).unwrap();
        assert_eq!(queue(&mut order), ["current"]);
        fs::remove_dir_all(dir).unwrap();
    }
}
