//! What the notifier must not forget: a small file, replaced as a whole, and a file for each notice
//! that somebody is still to be told.

use super::message::Notice;
use super::trouble::{Seen, SeenExo, Trouble};
use crate::failure::Failure;
use crate::here::Here;
use crate::kept;
use machine::notice::Group;
use machine::time::Mono;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;
use sys::linux::fd::Fd;
use sys::linux::time;
use sys::trusted;

/// Of those that were told, so many are kept for whoever asks.
const REMEMBERED: usize = 100;
/// Groups that are told apart; trouble of further ones counts as one.
const MOST_GROUPS: usize = 1000;
/// Layout of the file.
const VERSION: u32 = 1;

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// When it was begun, as a label: what is older is not told.
    pub begun: String,
    /// Number of the next notice.
    pub next: u64,
    /// What is known of the records of services and loggers.
    pub services: BTreeMap<String, Seen>,
    /// What is known of exos.
    pub exos: BTreeMap<String, SeenExo>,
    /// The last dead item that is known.
    pub dead: Option<i64>,
    /// What was told less than an hour ago.
    pub groups: BTreeMap<String, Held>,
    /// What is still to be told.
    pub pending: Vec<Pending>,
    /// What was told, the last one first.
    pub told: Vec<Told>,
}

/// A group, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The last of it.
    pub last: Trouble,
    /// Nothing is told before this: nanoseconds since 1970.
    until: i64,
    /// How many were held back.
    pub held: u64,
}

/// A notice on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Its number.
    pub number: u64,
    /// What it is about.
    pub trouble: Trouble,
    /// How many it stands for.
    pub count: u64,
    /// Labels of those who are still to be told; `None` = what goes with it is being gathered.
    pub left: Option<Vec<String>>,
    /// Labels of those whose telling was begun: it is not known whether it was done.
    pub begun: Vec<String>,
}

/// A notice that was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Its number.
    pub number: u64,
    /// What it was about.
    pub trouble: Trouble,
    /// How many it stood for.
    pub count: u64,
    /// How it went, by label: tries, and why none succeeded.
    pub targets: BTreeMap<String, Outcome>,
}

/// How a target took a notice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// It has it.
    pub done: bool,
    /// It is not tried any more.
    pub given_up: bool,
    /// Tries so far.
    pub tries: u32,
    /// Why the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// How safe a change must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Safety {
    /// It survives the death of the notifier.
    Kill,
    /// It also survives a power cut.
    Power,
}

impl State {
    fn new() -> Self {
        let (seconds, nanos) = time::wall();
        let begun = ondisk::tai64n::Stamp::from_unix(seconds, nanos).to_label();
        let begun = String::from_utf8_lossy(&begun).into_owned();
        Self { version: VERSION, begun, next: 1, ..Self::default() }
    }

    /// Returns the name of a group's place: its own, or that of all for which there is no room.
    #[must_use]
    pub fn place_of(&self, trouble: &Trouble) -> String {
        let own = trouble.group();
        if self.groups.contains_key(&own) || self.groups.len() < MOST_GROUPS {
            own
        } else {
            format!("\n{}\n", trouble.kind)
        }
    }

    /// Returns a group as it stands now.
    #[must_use]
    pub fn group(&self, name: &str, every: Duration) -> Group {
        let Some(kept) = self.groups.get(name) else { return Group::default() };
        // A clock that was set back must not keep anybody waiting for longer than was meant.
        let left = kept.until.saturating_sub(wall_nanos()).clamp(0, every.as_nanos() as i64);
        Group::restored(now().after(Duration::from_nanos(left.unsigned_abs())), kept.held)
    }

    /// Keeps a group; `last` is the trouble that it was last.
    pub fn keep_group(&mut self, name: String, group: Group, last: Trouble) {
        let left = group.deadline().map_or(0, |until| until.nanos_from(now()));
        let until = wall_nanos().saturating_add(left.cast_signed());
        self.groups.insert(name, Held { last, until, held: group.held() });
    }

    /// Notes how a try went.
    pub fn outcome(&mut self, number: u64, label: &str, change: impl FnOnce(&mut Outcome)) {
        if let Some(told) = self.told.iter_mut().find(|told| told.number == number) {
            change(told.targets.entry(label.to_owned()).or_default());
        }
    }

    /// Notes that a notice goes out.
    pub fn remember(&mut self, told: Told) {
        self.told.insert(0, told);
        self.told.truncate(REMEMBERED);
    }
}

fn now() -> Mono {
    Mono(time::monotonic())
}

fn wall_nanos() -> i64 {
    let (seconds, nanos) = time::wall();
    seconds.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos))
}

/// The folder in which all of it is.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

const FILE: &str = "state";

impl Folder {
    /// Makes it where it is missing.
    ///
    /// # Errors
    /// It cannot be made, or somebody else could change what is in it.
    pub fn make(here: &Here) -> Result<Self, Failure> {
        let folder = Self::of(here);
        let path = &folder.path;
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.map_err(|why| Failure::io("make", path.display(), &why))?;
        match trusted::look(path) {
            Ok(None) => Ok(folder),
            Ok(Some(flaw)) if here.is_system() => {
                Err(Failure::trouble(format!("unable to use {}: {flaw}", path.display())))
            }
            // Whoever runs this for themselves was warned by the rest of the instance.
            Ok(Some(_)) => Ok(folder),
            Err(why) => Err(Failure::errno("examine", path.display(), why)),
        }
    }

    /// Names it.
    #[must_use]
    pub fn of(here: &Here) -> Self {
        Self { path: here.places().notice.clone() }
    }

    /// Locks it; `None` = another notifier has it.
    ///
    /// # Errors
    /// As open(2).
    pub fn lock(&self) -> Result<Option<Fd>, Failure> {
        kept::lock(&self.path)
    }

    /// Reads what an earlier life left; `None` = there is nothing that can be read, and why.
    ///
    /// # Errors
    /// Why not, in words; where there is no file, an empty text.
    pub fn read(&self) -> Result<State, Failure> {
        let path = self.path.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(State::new()),
            Err(why) => return Err(Failure::io("read", path.display(), &why)),
        };
        let trouble =
            |why: String| Failure::trouble(format!("unable to read {}: {why}", path.display()));
        let state: State =
            serde_json::from_slice(&bytes).map_err(|why| trouble(why.to_string()))?;
        if state.version == VERSION {
            return Ok(state);
        }
        Err(trouble(format!("its version is {}, {VERSION} is known", state.version)))
    }

    /// As [`Folder::read`]; what cannot be read is put aside, and all begins anew.
    #[must_use]
    pub fn read_or_begin(&self) -> (State, Option<Failure>) {
        match self.read() {
            Ok(state) => (state, None),
            Err(why) => {
                let _ = fs::rename(self.path.join(FILE), self.path.join("state.unreadable"));
                (State::new(), Some(why))
            }
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As write(2); what was there before stays then.
    pub fn write(&self, state: &State, safety: Safety) -> std::io::Result<()> {
        self.put(FILE, &serde_json::to_vec(state)?, safety)
    }

    fn notice(number: u64) -> String {
        format!("notice.{number}")
    }

    /// Keeps a notice.
    ///
    /// # Errors
    /// As write(2).
    pub fn write_notice(&self, notice: &Notice) -> std::io::Result<()> {
        let name = Self::notice(notice.number);
        self.put(&name, &serde_json::to_vec(notice)?, Safety::Power)
    }

    /// Reads a notice; `None` = it is not there, or not whole.
    #[must_use]
    pub fn read_notice(&self, number: u64) -> Option<Notice> {
        let bytes = fs::read(self.path.join(Self::notice(number))).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Removes a notice that everybody has.
    pub fn remove_notice(&self, number: u64) {
        let _ = fs::remove_file(self.path.join(Self::notice(number)));
    }

    /// Removes what a life left that was killed in the middle.
    pub fn sweep(&self, state: &State) {
        let Ok(entries) = fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix("notice.").and_then(|rest| rest.parse::<u64>().ok());
            let is_wanted = |number| state.pending.iter().any(|one| one.number == number);
            if name.strip_suffix(".new").is_some()
                || number.is_some_and(|number| !is_wanted(number))
            {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn put(&self, name: &str, bytes: &[u8], safety: Safety) -> std::io::Result<()> {
        kept::replace(&self.path, name, 0o600, bytes, safety == Safety::Power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Scratch;

    fn folder() -> (Scratch, Folder) {
        let scratch = Scratch::new();
        let path = scratch.join("notice");
        fs::create_dir(&path).unwrap();
        (scratch, Folder { path })
    }

    fn trouble(signature: &str) -> Trouble {
        Trouble { signature: signature.to_owned(), kind: "crash".into(), ..Trouble::default() }
    }

    #[test]
    fn what_is_written_is_read_again_and_what_is_cut_is_put_aside() {
        let (_scratch, folder) = folder();
        let mut state = folder.read().unwrap();
        state.next = 7;
        state.dead = Some(3);
        folder.write(&state, Safety::Power).unwrap();
        assert_eq!(folder.read().unwrap().next, 7);
        let file = folder.path.join(FILE);
        let bytes = fs::read(&file).unwrap();
        fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        let (anew, why) = folder.read_or_begin();
        assert_eq!((anew.next, anew.dead), (1, None));
        assert!(why.unwrap().lines[0].starts_with("unable to read "));
        assert_eq!(folder.read().unwrap().next, 1);
    }

    #[test]
    fn a_clock_that_was_set_back_holds_a_group_back_no_longer_than_was_meant() {
        let mut state = State::new();
        let every = Duration::from_secs(60);
        let until = wall_nanos() + 3_600_000_000_000;
        state.groups.insert("g".into(), Held { last: trouble("x"), until, held: 4 });
        let group = state.group("g", every);
        assert_eq!(group.held(), 4);
        assert!(group.deadline().unwrap() <= now().after(every));
        // One whose time is over tells at the next look.
        state.groups.insert("g".into(), Held { last: trouble("x"), until: 0, held: 4 });
        assert!(state.group("g", every).deadline().unwrap() <= now());
    }

    #[test]
    fn groups_are_bounded_and_the_rest_counts_as_one() {
        let mut state = State::new();
        for number in 0..2 * MOST_GROUPS {
            let trouble = trouble(&number.to_string());
            let place = state.place_of(&trouble);
            state.keep_group(place, Group::default(), trouble);
        }
        assert_eq!(state.groups.len(), MOST_GROUPS + 1);
    }

    #[test]
    fn what_a_killed_life_left_is_swept_and_what_is_wanted_stays() {
        let (_scratch, folder) = folder();
        let mut state = State::new();
        for number in [1, 2] {
            folder.write_notice(&Notice { number, ..Notice::default() }).unwrap();
        }
        fs::write(folder.path.join("state.new"), "half").unwrap();
        let left = Some(vec!["mail:a".to_owned()]);
        let (trouble, begun) = (trouble("x"), Vec::new());
        state.pending.push(Pending { number: 2, trouble, count: 1, left, begun });
        folder.sweep(&state);
        assert!(folder.read_notice(1).is_none());
        assert_eq!(folder.read_notice(2).unwrap().number, 2);
        assert!(!folder.path.join("state.new").exists());
    }
}
